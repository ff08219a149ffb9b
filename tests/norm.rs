//! Norms: their bits on every backend, their accuracy, and the range in which they are right.

mod harness;
mod reference;

use harness::data::{LONG, NORM_LENGTHS};
use harness::{Array, Case, backends, uniform};
use layerwise::pieces::LayerView;
use layerwise::rule::{GradientNorm, Moments, Needs, Update};
use layerwise::{Backend, LayerMemory, Optimizer, Step, l2_norm, max_norm, sum_of_squares};
use reference::{contract, exact, tolerances};

/// The sum of squares on a backend.
fn sum_on(backend: Option<Backend>, x: &[f32]) -> f64 {
    backend.map_or_else(|| sum_of_squares(x), |backend| layerwise::on::sum_of_squares(backend, x))
}

/// The maximum norm on a backend.
fn max_on(backend: Option<Backend>, x: &[f32]) -> f32 {
    backend.map_or_else(|| max_norm(x), |backend| layerwise::on::max_norm(backend, x))
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
    for len in NORM_LENGTHS.into_iter().chain(LONG) {
        for (kind, x) in kinds(len).iter().enumerate() {
            let expected = contract::sum_of_squares(x).to_bits();
            for (name, backend) in backends() {
                assert_eq!(sum_on(backend, x).to_bits(), expected, "{name}: {len} elements of kind {kind}");
            }
        }
    }
}

#[test]
fn alignment_does_not_matter() {
    for len in [1, 17, 255, 256, 300, 1024, 1040, 3000, 4900, 70_000] {
        let x = uniform(len, 1.0, 1);
        let (sum, max) = (contract::sum_of_squares(&x).to_bits(), contract::max_norm(&x).to_bits());
        for offset in 0..16 {
            let shifted = Array::new(&x, offset);
            for (name, backend) in backends() {
                let what = format!("{name}: {len} elements, {offset} after a cache line");
                assert_eq!(sum_on(backend, shifted.get()).to_bits(), sum, "{what}");
                assert_eq!(max_on(backend, shifted.get()).to_bits(), max, "{what}");
            }
        }
    }
}

#[test]
fn error_is_below_2e_7_up_to_2_to_the_24() {
    for exponent in (0..=24).step_by(2) {
        let len = 1 << exponent;
        // No cancellation, and nothing rounds to zero: the case in which serial sums fail.
        let x: Vec<f32> = uniform(len, 1.0, exponent as u64).iter().map(|x| 1.0 + x / 2.0).collect();
        let error = relative_error(l2_norm(&x), &x);
        assert!(error < tolerances::NORM, "{len} elements: {error:e}");
    }
}

#[test]
fn every_exponent_of_f32_is_in_range() {
    for exponent in -149..=127 {
        let scale = 2f64.powi(exponent) as f32;
        for len in [1, 4, 40, 1500] {
            let x: Vec<f32> = uniform(len, 1.0, 3).iter().map(|x| x * scale).chain([scale]).collect();
            for (name, backend) in backends() {
                let error = relative_error(sum_on(backend, &x).sqrt(), &x);
                assert!(error < tolerances::NORM, "{name}: {len} elements of 2^{exponent}: {error:e}");
            }
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
            assert!(error < tolerances::NORM, "{len} elements: {error:e}");
        }
    }
}

#[test]
fn only_bad_data_makes_a_norm_non_finite() {
    for len in NORM_LENGTHS.into_iter().filter(|&len| len > 0) {
        for position in [0, len / 2, len - 1] {
            let mut x = uniform(len, 1e30, 5);
            for (name, backend) in backends() {
                let norms = |x: &[f32]| [sum_on(backend, x), max_on(backend, x).into()];
                let what = format!("{name}: {len} elements, element {position}");
                x[position] = 1e30;
                assert!(norms(&x).iter().all(|norm| norm.is_finite()), "{what}");
                x[position] = f32::NEG_INFINITY;
                assert_eq!(norms(&x), [f64::INFINITY; 2], "{what}");
                x[position] = f32::NAN;
                assert!(norms(&x).iter().all(|norm| norm.is_nan()), "{what}");
            }
        }
    }
}

#[test]
fn max_norm_is_the_largest_magnitude() {
    for len in NORM_LENGTHS {
        for x in kinds(len) {
            let expected = x.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
            for (name, backend) in backends() {
                assert_eq!(max_on(backend, &x), expected, "{name}: {len} elements");
            }
        }
    }
}

/// Every combination of norms that a rule can need has the bits of the contract, at several scales of the gradient.
#[test]
fn norms_that_rules_need_are_those_of_the_contract() {
    let gradient = [GradientNorm::L2, GradientNorm::Max, GradientNorm::L2WithDecay(0.25)];
    for (needs, scale) in gradient.into_iter().flat_map(|norm| {
        let needs = Needs::GRADIENT.gradient(norm);
        [(needs, 1.0), (needs.weights(), 0.3), (needs.weights(), 1e-30), (needs, 1e30)]
    }) {
        for len in NORM_LENGTHS {
            let (weights, gradients) = (uniform(len, 1.0, 1), uniform(len, 0.1, 2));
            let (weights, gradients) = (Array::new(&weights, len), Array::new(&gradients, 3 * len));
            let expected = contract::norms(&needs, scale, weights.get(), gradients.get());
            for (name, backend) in backends() {
                let _case = Case(|| format!("{name}: {len} elements, {needs:?}, scale {scale}"));
                let rule = harness::optimizers::Fixed { update: Update::ZERO, moments: Moments::None, needs };
                let optimizer = harness::on(Optimizer::from_rule(rule), backend);
                let step = Step::new(0.1).gradient_scale(scale);

                let mut pass = optimizer.pass(step).unwrap();
                let measured = pass.measure(LayerView::new(weights.get(), gradients.get())).unwrap();
                let (mut w, mut state) = (weights.get().to_vec(), 0);
                let layer = LayerMemory::new(&mut w, gradients.get(), &mut state);
                let report = pass.decide().apply(measured, layer).unwrap();
                assert!(harness::same(report.gradient_norm, expected.gradient), "{report:?}, {expected:?}");
                assert!(harness::same(report.weight_norm, expected.weights), "{report:?}, {expected:?}");
            }
        }
    }
}
