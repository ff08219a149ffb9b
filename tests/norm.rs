//! Norms: their bits, their accuracy, and the range in which they are right.

mod reference;

use layerwise::{GradientNorm, Needs, l2_norm, l2_norms, max_norm, sum_of_squares};
use reference::{contract, exact};

/// Lengths around every boundary of the contract.
const LENGTHS: [usize; 30] = [
    0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 1023, 1024, 1025, 1055, 2047, 2048, 2049, 3072, 4099,
    16383, 16384, 16385, 49153, 70001,
];

fn uniform(len: usize, scale: f32, seed: u64) -> Vec<f32> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| scale * (2.0 * rng.f32() - 1.0)).collect()
}

fn relative_error(norm: f64, x: &[f32]) -> f64 {
    let exact = exact::sum_of_squares(x).sqrt();
    if norm == exact { 0.0 } else { (norm - exact).abs() / exact }
}

/// Values of every kind that an array may hold.
fn kinds(len: usize) -> Vec<Vec<f32>> {
    let mut kinds: Vec<Vec<f32>> = [1.0, 1e30, 1e-30, 1e-42, 3e38, 1e-19, 1e19]
        .iter()
        .zip(0..)
        .map(|(&scale, seed)| uniform(len, scale, seed))
        .collect();
    // Huge and tiny numbers side by side, in one leaf and leaf by leaf.
    kinds.push(uniform(len, 1.0, 8).iter().enumerate().map(|(i, x)| x * [1e30, 1e-30, 1.0][i % 3]).collect());
    kinds.push(uniform(len, 1.0, 9).iter().enumerate().map(|(i, x)| x * [1e30, 1e-30][i / 1024 % 2]).collect());
    kinds.push(vec![-0.0; len]);
    kinds
}

#[test]
fn bits_are_those_of_the_contract() {
    for len in LENGTHS {
        for (kind, x) in kinds(len).iter().enumerate() {
            assert_eq!(
                sum_of_squares(x).to_bits(),
                contract::sum_of_squares(x).to_bits(),
                "{len} elements of kind {kind}"
            );
        }
    }
}

#[test]
fn two_norms_in_one_pass_have_the_bits_of_one() {
    for len in LENGTHS {
        let kinds = kinds(len);
        for (x, y) in kinds.iter().zip(kinds.iter().rev()) {
            let both = l2_norms(x, y).unwrap();
            assert_eq!(both.map(f64::to_bits), [l2_norm(x), l2_norm(y)].map(f64::to_bits), "{len} elements");
        }
    }
}

#[test]
fn alignment_does_not_matter() {
    let x = uniform(5000, 1.0, 1);
    let expected = sum_of_squares(&x[..4900]).to_bits();
    for offset in 0..16 {
        let mut shifted = vec![0.0; offset];
        shifted.extend(&x[..4900]);
        assert_eq!(sum_of_squares(&shifted[offset..]).to_bits(), expected);
    }
}

#[test]
fn error_is_below_2e_7_up_to_2_to_the_24() {
    for exponent in (0..=24).step_by(2) {
        let len = 1 << exponent;
        // Without cancellation and with nothing to round to zero, the case in which serial sums fail.
        let x: Vec<f32> = uniform(len, 1.0, exponent as u64).iter().map(|x| 1.0 + x / 2.0).collect();
        let error = relative_error(l2_norm(&x), &x);
        assert!(error < 2e-7, "{len} elements: {error:e}");
    }
}

#[test]
fn every_exponent_of_f32_is_in_range() {
    for exponent in -149..=127 {
        let scale = 2f64.powi(exponent) as f32;
        for len in [1, 4, 40, 1500] {
            let x: Vec<f32> = uniform(len, 1.0, 3).iter().map(|x| x * scale).chain([scale]).collect();
            let error = relative_error(l2_norm(&x), &x);
            assert!(error < 2e-7, "{len} elements of 2^{exponent}: {error:e}");
        }
    }
    assert_eq!(l2_norm(&[1e20; 4]) as f32, 2e20);
    assert_eq!(l2_norm(&[1e-23; 4]) as f32, 2e-23);
    assert!(relative_error(l2_norm(&[f32::MAX; 4]), &[f32::MAX; 4]) < 1e-14); // no f32 holds 2·MAX
    assert_eq!(l2_norm(&[f32::from_bits(1); 4]), 2.0 * f64::from(f32::from_bits(1)));
}

#[test]
fn mixed_magnitudes_in_one_leaf_are_right() {
    for len in [64, 1000, 5000] {
        for x in kinds(len) {
            let error = relative_error(l2_norm(&x), &x);
            assert!(error < 2e-7, "{len} elements: {error:e}");
        }
    }
}

#[test]
fn only_bad_data_makes_a_norm_non_finite() {
    for len in LENGTHS.into_iter().filter(|&len| len > 0) {
        for position in [0, len / 2, len - 1] {
            let mut x = uniform(len, 1e30, 5);
            assert!(l2_norm(&x).is_finite() && max_norm(&x).is_finite());
            x[position] = f32::NEG_INFINITY;
            assert_eq!(l2_norm(&x), f64::INFINITY);
            assert_eq!(max_norm(&x), f32::INFINITY);
            x[position] = f32::NAN;
            assert!(l2_norm(&x).is_nan() && max_norm(&x).is_nan());
        }
    }
}

#[test]
fn max_norm_is_the_largest_magnitude() {
    for len in LENGTHS {
        let x = uniform(len, 1.0, 6);
        let expected = x.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
        assert_eq!(max_norm(&x), expected);
    }
}

#[test]
fn norm_of_gradient_plus_decay_is_the_norm_of_the_sum() {
    for len in LENGTHS {
        let (weights, gradients) = (uniform(len, 1.0, 1), uniform(len, 0.1, 2));
        let decayed: Vec<f32> = weights.iter().zip(&gradients).map(|(w, g)| g + 0.25 * w).collect();
        let needs = Needs { gradient: GradientNorm::L2WithDecay(0.25), weights: true, new_momentum: false };
        let norms = needs.measure(&weights, &gradients).unwrap();
        assert_eq!(norms.gradient.to_bits(), l2_norm(&decayed).to_bits());
        assert_eq!(norms.weights.map(f64::to_bits), Some(l2_norm(&weights).to_bits()));
    }
}
