//! Sums of the gradients of several micro-batches: the bits of the contract, or nothing at all.

mod harness;
mod reference;

use harness::data::{KINDS, NORM_LENGTHS, numbers, uniform};
use harness::{assert_same, bits, optimizers};
use layerwise::rule::Update;
use layerwise::{
    Argument, CarriedNorms, Error, GradientSum, LayerMemory, Report, SgdState, accumulate, accumulate_finite,
    accumulate_model, sum_of_squares,
};
use reference::contract;

const NON_FINITE: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
/// Scales that are refused: not finite, or so large that almost any `f32` overflows.
const NO_SCALES: [f64; 5] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e66, -1e300];

type Accumulate = fn(&mut [GradientSum<'_>], f64) -> Result<bool, Error>;

/// On one thread, and on many.
const WAYS: &[Accumulate] = &[
    accumulate_model,
    #[cfg(feature = "rayon")]
    layerwise::accumulate_model_parallel,
];

/// A sum of gradients, element by element.
fn expected(sum: &[f32], gradients: &[f32], scale: f64) -> Vec<f32> {
    // The sum takes the place of the weights.
    let update = Update { gradient: -scale, rate: 1.0, ..Update::ZERO };
    sum.iter().zip(gradients).map(|(sum, g)| contract::plain_update(&update, *sum, *g)).collect()
}

#[test]
fn a_sum_has_the_bits_of_the_contract() {
    for (len, kind) in NORM_LENGTHS.into_iter().flat_map(|len| KINDS.map(|kind| (len, kind))) {
        let (start, gradients) = (numbers(kind, len, 1), numbers(kind, len, 2));
        for scale in [1.0, 1.0 / 3.0, -0.5, 0.0, 1e35, 1e-35] {
            let expected = expected(&start, &gradients, scale);
            let mut sum = start.clone();
            let squares = accumulate(&mut sum, &gradients, scale).unwrap();
            assert_same(kind, &sum, &expected);
            assert!(harness::same(squares, sum_of_squares(&sum)), "{len} {kind} numbers: {squares:e}");

            let mut sum = start.clone();
            let finite = accumulate_finite(&mut sum, &gradients, scale).unwrap();
            assert_same(kind, &sum, &expected);
            assert!(harness::same(finite.unwrap(), squares));
        }
    }
}

#[test]
fn every_finite_scale_up_to_2_to_the_218_will_do() {
    for power in [-1000, -218, -91, 90, 101, 180, 217] {
        let scale = 2f64.powi(power);
        let (gradient, mut sum) = (2f64.powi((-power).clamp(-126, 127)) as f32, [1.0]);
        accumulate(&mut sum, &[gradient], scale).unwrap();
        assert_eq!(sum, [1.0 + (f64::from(gradient) * scale) as f32], "2^{power}");
    }
    for scale in NO_SCALES {
        let refused = |result| {
            let Err(Error::GradientScale(found)) = result else { panic!("{scale}: {result:?}") };
            assert!(harness::same(found, scale));
        };
        let (mut sum, mut norms) = ([1.0; 20], CarriedNorms::new());
        refused(accumulate(&mut sum, &[1.0; 20], scale).map(|_| ()));
        for gradients in [[1.0; 20], [f32::NAN; 20]] {
            refused(accumulate_finite(&mut sum, &gradients, scale).map(|_| ()));
            for way in WAYS {
                let mut layers = [GradientSum::new(&mut sum, &gradients).norms(&mut norms)];
                refused(way(&mut layers, scale).map(|_| ()));
                refused(way(&mut [], scale).map(|_| ()));
            }
        }
        assert_eq!((sum, norms), ([1.0; 20], CarriedNorms::new()));
    }
}

#[test]
fn a_gradient_that_is_not_finite_is_kept_out() {
    for bad in NON_FINITE {
        for len in [1, 15, 16, 17, 31, 33, 1023, 1025, 16_385] {
            for at in [0, len / 2, len - 1] {
                let (start, mut gradients) = (uniform(len, 1.0, 3), uniform(len, 1.0, 4));
                gradients[at] = bad;
                let mut sum = start.clone();
                assert_eq!(accumulate_finite(&mut sum, &gradients, 0.5).unwrap(), None);
                assert_eq!(bits(&sum), bits(&start));
                let mut model = [GradientSum::new(&mut sum, &gradients)];
                assert!(!accumulate_model(&mut model, 0.5).unwrap());
                #[cfg(feature = "rayon")]
                assert!(!layerwise::accumulate_model_parallel(&mut model, 0.5).unwrap());
                assert_eq!(bits(&sum), bits(&start));
                // The other calls add it, and report it.
                assert!(!layerwise::pieces::add(&mut sum.clone(), &gradients).unwrap().is_finite());
                assert!(!accumulate(&mut sum, &gradients, 0.5).unwrap().is_finite());
                assert!(sum.iter().enumerate().all(|(i, x)| x.is_finite() == (i != at)));
            }
        }
    }
}

#[test]
fn a_sum_that_overflows_is_found_by_the_step() {
    let largest = [f32::MAX; 3];
    assert_eq!(accumulate(&mut largest.clone(), &largest, 1.0), Ok(f64::INFINITY));
    assert_eq!(accumulate_finite(&mut largest.clone(), &largest, 1.0), Ok(Some(f64::INFINITY)));
    let (mut sum, mut norms) = ([f32::MAX; 3], CarriedNorms::new());
    assert!(accumulate_model(&mut [GradientSum::new(&mut sum, &[f32::MAX; 3]).norms(&mut norms)], 1.0).unwrap());
    assert_eq!((sum, norms.gradient()), ([f32::INFINITY; 3], Some(f64::INFINITY)));
    let (mut weights, mut state) = ([1.0; 3], SgdState::default());
    let layer = LayerMemory::new(&mut weights, &sum, &mut state).norms(&mut norms);
    let report = optimizers::plain().step_layer(0.1, layer).unwrap();
    assert_eq!((report.outcome, weights), (layerwise::Outcome::NonFinite, [1.0; 3]));
}

#[test]
fn slices_of_different_lengths_are_refused() {
    let wrong = |layer, expected, found| Error::Length { layer, what: Argument::Gradients, expected, found };
    for gradient in [1.0, f32::NAN] {
        let (mut sum, shorter) = ([1.0; 3], [gradient; 2]);
        assert_eq!(accumulate(&mut sum, &[gradient; 4], 1.0), Err(wrong(None, 3, 4)));
        assert_eq!(accumulate_finite(&mut sum, &shorter, 1.0), Err(wrong(None, 3, 2)));
        for way in WAYS {
            let (mut first, mut norms) = ([1.0; 5], CarriedNorms::new());
            let first_layer = GradientSum::new(&mut first, &[1.0; 5]).norms(&mut norms);
            let result = way(&mut [first_layer, GradientSum::new(&mut sum, &shorter)], 1.0);
            assert_eq!(result, Err(wrong(Some(1), 3, 2)));
            assert_eq!((first, norms), ([1.0; 5], CarriedNorms::new()));
        }
        assert_eq!(sum, [1.0; 3]);
    }
}

/// Layers of all sizes, one of them larger than a task.
const LENGTHS: [usize; 7] = [3, 0, 200_003, 17, 1024, 5000, 70_001];

fn tensors(seed: u64) -> Vec<Vec<f32>> {
    (seed..).zip(LENGTHS).map(|(seed, len)| uniform(len, 1.0, seed)).collect()
}

/// Adds a micro-batch to the sums of a model.
fn add(way: Accumulate, sums: &mut [Vec<f32>], gradients: &[Vec<f32>], norms: &mut [CarriedNorms], scale: f64) -> bool {
    let layers = sums.iter_mut().zip(gradients).zip(norms);
    let layers = layers.map(|((sum, gradients), norms)| GradientSum::new(sum, gradients).norms(norms));
    way(&mut layers.collect::<Vec<_>>(), scale).unwrap()
}

#[test]
fn a_model_is_accumulated_as_its_layers_are() {
    for way in WAYS {
        let mut sums = tensors(0);
        let mut norms = vec![CarriedNorms::new(); LENGTHS.len()];
        let mut expected = sums.clone();
        for round in 1..4 {
            let gradients = tensors(100 * round);
            assert!(add(*way, &mut sums, &gradients, &mut norms, 0.25));
            for ((sum, gradients), norms) in expected.iter_mut().zip(&gradients).zip(&norms) {
                let mut known = CarriedNorms::new();
                known.set_gradient(accumulate(sum, gradients, 0.25).unwrap());
                assert_eq!(*norms, known);
            }
            assert_eq!(sums, expected);
        }
    }
}

#[test]
fn a_model_is_accumulated_whole_or_not_at_all() {
    for (way, bad) in WAYS.iter().zip(NON_FINITE.into_iter().cycle()) {
        for (layer, len) in LENGTHS.into_iter().enumerate().filter(|(_, len)| *len > 0) {
            let (mut sums, mut norms) = (tensors(0), vec![CarriedNorms::new(); LENGTHS.len()]);
            assert!(add(*way, &mut sums, &tensors(100), &mut norms, 1.0));
            let before = (sums.clone(), norms.clone());
            let mut gradients = tensors(200);
            gradients[layer][len - 1] = bad;
            assert!(!add(*way, &mut sums, &gradients, &mut norms, 1.0));
            assert!((sums, norms) == before, "layer {layer}");
        }
        assert!(way(&mut [], 1.0).unwrap(), "nothing is finite");
    }
}

#[test]
fn a_step_need_not_measure_what_was_accumulated() {
    let optimizer = optimizers::larc();
    for way in WAYS {
        let (mut sums, mut norms) = (tensors(0), vec![CarriedNorms::new(); LENGTHS.len()]);
        assert!(add(*way, &mut sums, &tensors(100), &mut norms, 0.5));
        let step = |mut norms: Option<&mut [CarriedNorms]>| {
            let (mut weights, mut momentum) = (tensors(300), LENGTHS.map(|len| vec![0.0; len]));
            let (mut states, mut reports) = ([SgdState::default(); 7], [Report::ABSENT; 7]);
            let layers = weights.iter_mut().zip(&sums).zip(&mut momentum).zip(&mut states).enumerate();
            for (i, (((w, g), m), state)) in layers {
                let mut layer = LayerMemory::new(w, g, state).momentum(m);
                if let Some(norms) = &mut norms {
                    layer = layer.norms(&mut norms[i]);
                }
                reports[i] = optimizer.step_layer(0.1, layer).unwrap();
            }
            (weights, momentum, reports.map(|report| report.gradient_norm))
        };
        let measured = step(None);
        assert!(step(Some(&mut norms)) == measured);
        // A norm of a gradient is used once.
        assert!(norms.iter().all(|norms| norms.gradient().is_none()));
    }
}
