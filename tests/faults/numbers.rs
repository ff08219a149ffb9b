//! Numbers at the ends of their range.

use crate::harness::{backends, data::uniform, same};
use crate::reference::contract;
use layerwise::rule::Norms;
use layerwise::{DecayInRatio, Larc, LarcConfig, LarcMode, ZeroNorm, sum_of_squares};

const LEAF: usize = layerwise::pieces::LEAF;

/// Leaves like those of an embedding: zeros, numbers whose squares underflow, and ordinary ones.
#[test]
fn leaves_of_zeros_have_the_sums_of_all_others() {
    let fills: [fn(usize) -> f32; 5] =
        [|_| 0.0, |_| -0.0, |_| 1e-30, |i| f32::from_bits(i as u32 % 3), |i| (i % 7) as f32 - 3.0];
    let mut rng = fastrand::Rng::with_seed(5);
    for leaves in (1..20).chain([63, 64, 65]) {
        for len in [leaves * LEAF, leaves * LEAF - 1, leaves * LEAF - 1000] {
            let kinds: Vec<usize> = (0..leaves).map(|_| rng.usize(..fills.len())).collect();
            let x: Vec<f32> = (0..len).map(|i| fills[kinds[i / LEAF]](i)).collect();
            let expected = contract::sum_of_squares(&x);
            for (name, backend) in backends() {
                let sum = match backend {
                    Some(backend) => layerwise::on::sum_of_squares(backend, &x),
                    None => sum_of_squares(&x),
                };
                assert_eq!(sum.to_bits(), expected.to_bits(), "{name}, leaves {kinds:?}");
            }
        }
    }
    // One number among zeros.
    for at in [0, 1, LEAF - 1, LEAF, 3 * LEAF + 17, 5 * LEAF - 1] {
        let mut x = vec![0.0; 5 * LEAF];
        x[at] = 1e-30;
        assert!(sum_of_squares(&x) > 0.0 && sum_of_squares(&x) == contract::sum_of_squares(&x), "at {at}");
    }
}

/// Settings that reach every branch of LARC.
fn larcs() -> Vec<Larc> {
    let zeros =
        [ZeroNorm::PlainStep, ZeroNorm::PlainStepWithoutDecay, ZeroNorm::PlainStepUnlessDecaying, ZeroNorm::Formula];
    let ratios = [DecayInRatio::No, DecayInRatio::SumOfNorms, DecayInRatio::NormOfSum];
    let mut larcs = vec![];
    for zero_norm in zeros {
        for decay_in_ratio in ratios {
            for mode in [LarcMode::Clip, LarcMode::Scale] {
                for only_with_decay in [false, true] {
                    let config = LarcConfig { mode, zero_norm, decay_in_ratio, only_with_decay, ..LarcConfig::DEFAULT };
                    larcs.push(Larc::new(config).unwrap());
                }
            }
        }
    }
    larcs
}

#[test]
fn larc_makes_nothing_of_numbers_that_are_none() {
    let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -f64::MIN_POSITIVE];
    for larc in larcs() {
        for numbers in [[0.1, 0.01, 2.0, 3.0], [0.0; 4], [0.1, 0.0, 0.0, 3.0], [0.1, 0.0, 2.0, 0.0]] {
            let factor =
                |[lr, decay, gradient, weights]: [f64; 4]| larc.factor(lr, decay, &Norms::new(gradient, weights));
            assert!(factor(numbers).factor.is_finite(), "{larc:?} of {numbers:?}");
            for (at, bad) in (0..4).flat_map(|at| bad.map(|bad| (at, bad))) {
                let mut numbers = numbers;
                numbers[at] = bad;
                let result = factor(numbers);
                assert!(result.factor.is_nan() && !result.clipped, "{larc:?} of {numbers:?}: {result:?}");
                assert!(same(result.decay, numbers[1]));
            }
            // -0 is 0.
            let signed = numbers.map(|x| if x == 0.0 { -0.0 } else { x });
            assert_eq!(factor(signed), factor(numbers), "{larc:?} of {numbers:?}");
        }
    }
    // The norm of the weights is missing.
    let larc = Larc::new(LarcConfig::DEFAULT).unwrap();
    assert!(larc.factor(0.1, 0.0, &Norms::new(1.0, f64::NAN)).factor.is_nan());
}

#[test]
fn larc_sees_weights_of_any_size() {
    // With |w| of 1e-30 the local rate is about as small; with `min_norm` the layer learns like one of zeros.
    for (min_norm, learns) in [(0.0, false), (1e-3, true)] {
        let larc = Larc::new(LarcConfig { min_norm, ..LarcConfig::DEFAULT }).unwrap();
        let gradients = uniform(20, 1.0, 6);
        let norms = Norms::new(layerwise::l2_norm(&gradients), 1e-30);
        assert_eq!(larc.factor(0.1, 0.0, &norms).factor > 1e-6, learns);
    }
}
