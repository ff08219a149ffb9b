//! Norms and sums of 16-bit floats have the same bits as those of the same numbers in `f32`.

use crate::backends::{Case, backends};
use crate::host::{Array, Type, bits, random};
use layerwise::pieces::{LEAF, fold_leaf_sums, leaf_sums};
use layerwise::{
    Backend, CarriedNorms, Floats, GradientSum, accumulate, accumulate_finite, accumulate_model, l2_norm, max_norm,
    sum_of_squares,
};

const LENGTHS: [usize; 20] =
    [0, 1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 65, 127, 300, 1023, 1024, 1025, 3000, 4 * LEAF + 5];
const TYPES: [Type; 2] = [Type::Bf16, Type::F16];

/// Ordinary numbers, subnormal ones of `f16` and of `bf16`, and large ones.
const SCALES: [f32; 4] = [1.0, 1e-6, 1e-39, 6e4];

fn sum_on(backend: Option<Backend>, x: Floats<'_>) -> f64 {
    backend.map_or_else(|| sum_of_squares_of(x), |backend| layerwise::on::sum_of_squares(backend, x))
}

fn sum_of_squares_of(x: Floats<'_>) -> f64 {
    assert_eq!(l2_norm(x).to_bits(), sum_of_squares(x).sqrt().to_bits());
    sum_of_squares(x)
}

fn max_on(backend: Option<Backend>, x: Floats<'_>) -> f32 {
    backend.map_or_else(|| max_norm(x), |backend| layerwise::on::max_norm(backend, x))
}

#[test]
fn norms_are_those_of_widened_numbers_at_every_alignment() {
    for (kind, scale) in TYPES.into_iter().flat_map(|kind| SCALES.map(|scale| (kind, scale))) {
        let array = Array::new(kind, &random(LENGTHS[19] + 40, 1, scale));
        let widened = array.widened();
        for len in LENGTHS {
            for start in if len < 1000 { 0..34 } else { 0..3 } {
                let (ours, theirs) = (array.get().get(start..start + len).unwrap(), &widened[start..start + len]);
                let (sum, max) = (sum_of_squares(theirs), max_norm(theirs));
                for (name, backend) in backends() {
                    let _case = Case(|| format!("{kind:?}, {scale}, {len} from {start}, {name}"));
                    assert_eq!(sum_on(backend, ours).to_bits(), sum.to_bits());
                    assert_eq!(max_on(backend, ours).to_bits(), max.to_bits());
                }
            }
        }
    }
}

#[test]
fn a_number_that_is_none_is_in_the_norm_wherever_it_is() {
    for (kind, x) in TYPES.into_iter().flat_map(|kind| [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(|x| (kind, x)))
    {
        for (len, at) in [(1, 0), (17, 16), (40, 3), (1025, 1024), (2000, 1100)] {
            let mut numbers = random(len, 1, 1.0);
            numbers[at] = x;
            let array = Array::new(kind, &numbers);
            for (name, backend) in backends() {
                let _case = Case(|| format!("{kind:?}, {x}, {at} of {len}, {name}"));
                assert!(!sum_on(backend, array.get()).is_finite());
                let max = max_on(backend, array.get());
                assert!(if x.is_nan() { max.is_nan() } else { max == f32::INFINITY });
            }
        }
    }
}

#[test]
fn sums_of_leaves_are_those_of_widened_numbers() {
    for (kind, len) in TYPES.into_iter().flat_map(|kind| [0, 5, 1024, 1030, 5000].map(|len| (kind, len))) {
        let array = Array::new(kind, &random(len, 1, 1.0));
        let (mut ours, mut theirs) = (vec![0.0; len.div_ceil(LEAF)], vec![0.0; len.div_ceil(LEAF)]);
        let cut = len.min(2 * LEAF);
        let (left, right) = ours.split_at_mut(cut.div_ceil(LEAF));
        leaf_sums(array.get().get(0..cut).unwrap(), 0, left).unwrap();
        leaf_sums(array.get().get(cut..len).unwrap(), cut.next_multiple_of(LEAF), right).unwrap();
        leaf_sums(&array.widened(), 0, &mut theirs).unwrap();
        assert_eq!(ours, theirs, "{kind:?}, {len}");
        assert_eq!(fold_leaf_sums(&ours).to_bits(), sum_of_squares(array.get()).to_bits());
    }
}

#[test]
fn gradients_of_16_bits_are_accumulated() {
    for (kind, len) in TYPES.into_iter().flat_map(|kind| LENGTHS.map(|len| (kind, len))) {
        for scale in [1.0, 0.3, -1e-33, 1e33] {
            let gradients = Array::new(kind, &random(len, 1, 1.0));
            let sum = random(len, 2, 1.0);
            let (mut ours, mut theirs) = (sum.clone(), sum.clone());
            let expected = accumulate(&mut theirs, &gradients.widened(), scale).unwrap();
            let squares = accumulate(&mut ours, gradients.get(), scale).unwrap();
            assert_eq!(bits(&ours), bits(&theirs), "{kind:?}, {len}, {scale}");
            assert_eq!(squares.to_bits(), expected.to_bits());

            ours.copy_from_slice(&sum);
            assert_eq!(accumulate_finite(&mut ours, gradients.get(), scale), Ok(Some(expected)));
            assert_eq!(bits(&ours), bits(&theirs));

            ours.copy_from_slice(&sum);
            let mut norms = CarriedNorms::new();
            let mut layers = [GradientSum::new(&mut ours, gradients.get()).norms(&mut norms)];
            assert_eq!(accumulate_model(&mut layers, scale), Ok(true));
            assert_eq!(bits(&ours), bits(&theirs));
        }
    }
}

#[test]
fn gradients_that_are_not_finite_are_kept_out_of_a_sum() {
    for (kind, x) in TYPES.into_iter().flat_map(|kind| [f32::NAN, f32::NEG_INFINITY].map(|x| (kind, x))) {
        let bad = Array::new(kind, &[1.0, x, 1.0]);
        let mut sum = [5.0; 3];
        assert_eq!(accumulate_finite(&mut sum, bad.get(), 1.0), Ok(None));
        assert_eq!(accumulate_model(&mut [GradientSum::new(&mut sum, bad.get())], 1.0), Ok(false));
        assert_eq!(sum, [5.0; 3]);
    }
}
