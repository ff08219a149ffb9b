//! Special 16-bit floats, and numbers out of range.

use crate::backends::{Case, backends, on};
use crate::host::{Array, Type, bits, joined, lower, random, upper};
use half::{bf16, f16};
use layerwise::rule::{Moments, Rule};
use layerwise::{
    Adam, AdamConfig, LarcConfig, LayerMemory, NovoGrad, NovoGradConfig, Optimizer, Outcome, Sgd, SgdConfig, SgdState,
    Step,
};

const LENGTHS: [usize; 4] = [1, 16, 37, 1100];

fn larc() -> Sgd {
    Sgd::new(SgdConfig { momentum: 0.9, larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT }).unwrap()
}

fn novograd() -> NovoGrad {
    NovoGrad::new(NovoGradConfig { weight_decay: 0.01, ..NovoGradConfig::DEFAULT }).unwrap()
}

/// A gradient that is not finite: nothing is written.
fn writes_nothing<R: Rule + Copy>(optimizer: &Optimizer<R>) {
    for (kind, x) in [Type::Bf16, Type::F16].into_iter().flat_map(|kind| [f32::NAN, f32::INFINITY].map(|x| (kind, x))) {
        for (len, (name, backend)) in LENGTHS.into_iter().flat_map(|len| backends().map(move |backend| (len, backend)))
        {
            let _case = Case(|| format!("{kind:?}, {x}, {len}, {name}"));
            let w = random(len, 1, 1.0);
            let (mut upper_half, mut lower_half, mut second) = (upper(&w), lower(&w), vec![1.0; len]);
            let (mut momentum, mut copy) = (vec![bf16::ONE; len], vec![f16::ONE; len]);
            let mut numbers = random(len, 2, 1.0);
            numbers[len - 1] = x;
            let (gradients, mut state) = (Array::new(kind, &numbers), R::State::default());
            let layer = LayerMemory::new(&mut upper_half, gradients.get(), &mut state).lower(&mut lower_half);
            let layer = layer.momentum(&mut momentum).copy(&mut copy);
            let second_moment = if optimizer.moments() >= Moments::FirstAndSecond { len } else { 0 };
            let layer = layer.second_moment(&mut second[..second_moment]);
            let report = on(*optimizer, backend).step_layer(0.1, layer).unwrap();
            assert_eq!(report.outcome, Outcome::NonFinite);
            assert_eq!(bits(&joined(&upper_half, &lower_half)), bits(&w));
            assert!(momentum.iter().all(|m| *m == bf16::ONE) && copy.iter().all(|w| *w == f16::ONE));
            assert!(second.iter().all(|v| *v == 1.0) && state == R::State::default());
        }
    }
}

#[test]
fn a_gradient_that_is_not_finite_leaves_a_layer_as_it_was() {
    writes_nothing(&larc());
    writes_nothing(&novograd());
    writes_nothing(&Adam::new(AdamConfig::TORCH_ADAMW).unwrap());
}

#[test]
fn weights_that_overflow_are_written_and_reported() {
    // The sum of the weights overflows at both rates, a weight only at the higher one.
    for (rate, outcome) in [(0.9, Outcome::Applied), (1.0, Outcome::Overflowed)] {
        for (len, (name, backend)) in LENGTHS.into_iter().flat_map(|len| backends().map(move |backend| (len, backend)))
        {
            for split in [false, true] {
                let _case = Case(|| format!("{name}, {len}, {split}"));
                let mut w = vec![1.0; len];
                w[len - 1] = 2e37;
                let (mut upper, mut lower, mut copy) = (upper(&w), lower(&w), vec![f16::ZERO; len]);
                let (gradients, mut state) = (vec![bf16::MIN; len], SgdState::default());
                let layer = match split {
                    true => LayerMemory::new(&mut upper, &gradients, &mut state).lower(&mut lower),
                    false => LayerMemory::new(&mut w, &gradients, &mut state),
                };
                let sgd = on(Sgd::new(SgdConfig::DEFAULT).unwrap(), backend);
                let report = sgd.step_layer(rate, layer.saturating_copy(&mut copy)).unwrap();
                assert_eq!(report.outcome, outcome);
                let w = if split { joined(&upper, &lower) } else { w };
                assert_eq!(w[len - 1].is_finite(), outcome == Outcome::Applied);
                assert!(copy.iter().all(|w| *w == f16::MAX));
            }
        }
    }
}

/// All others are written, in a layer of several blocks and in one that begins off a cache line.
#[test]
fn a_weight_that_overflows_is_found_wherever_it_is() {
    for (len, (name, backend)) in [300, 20_000].into_iter().flat_map(|len| backends().map(move |on| (len, on))) {
        for (offset, at) in (0..4).flat_map(|offset| [0, 20, 255, 256, len - 1].map(|at| (offset, at))) {
            let _case = Case(|| format!("{name}, {len} from {offset} on, at {at}"));
            let (mut weights, mut gradients) = (vec![1.0; offset + len], vec![bf16::ONE; len]);
            (weights[offset + at], gradients[at]) = (-f32::MAX, bf16::MAX);
            let mut state = SgdState::default();
            let layer = LayerMemory::new(&mut weights[offset..], &gradients, &mut state);
            let sgd = on(Sgd::new(SgdConfig::DEFAULT).unwrap(), backend);
            assert_eq!(sgd.step_layer(0.5, layer).unwrap().outcome, Outcome::Overflowed);
            assert_eq!(weights[offset + at], f32::NEG_INFINITY);
            assert_eq!(weights[offset..].iter().filter(|w| **w == 0.5).count(), len - 1);
        }
    }
}

#[test]
fn copies_overflow_where_weights_do_not() {
    for (name, backend) in backends() {
        for len in LENGTHS {
            let _case = Case(|| format!("{name}, {len}"));
            // Between the largest f16 and what would be the next one, and beyond the largest bf16.
            for (w, in_f16, in_bf16) in [
                (65519.0, f16::MAX, bf16::from_f32(65536.0)),
                (65520.0, f16::INFINITY, bf16::from_f32(65536.0)),
                (-f32::MAX, f16::NEG_INFINITY, bf16::NEG_INFINITY),
                (1e-40, f16::ZERO, bf16::from_bits(1)),
                (-6e-8, f16::from_bits(0x8001), bf16::from_f32(-6e-8)),
            ] {
                let sgd = on(Sgd::new(SgdConfig::DEFAULT).unwrap(), backend);
                let (mut weights, gradients, mut state) = (vec![w; len], vec![f16::ZERO; len], SgdState::default());
                let (mut halves, mut upper) = (vec![f16::ONE; len], vec![bf16::ONE; len]);
                let layer = LayerMemory::new(&mut weights, &gradients, &mut state).copy(&mut halves);
                assert_eq!(sgd.step_layer(0.1, layer).unwrap().outcome, Outcome::Applied);
                let layer = LayerMemory::new(&mut weights, &gradients, &mut state).copy(&mut upper);
                assert_eq!(sgd.step_layer(0.1, layer).unwrap().outcome, Outcome::Applied);
                assert!(halves.iter().all(|x| x.to_bits() == in_f16.to_bits()), "{w}: {:?}", halves[0]);
                assert!(upper.iter().all(|x| x.to_bits() == in_bf16.to_bits()), "{w}: {:?}", upper[0]);
            }
        }
    }
}

/// A step on 16-bit gradients, and one on the same numbers in `f32`.
fn steps_alike<R: Rule + Copy>(optimizer: &Optimizer<R>, step: Step, kind: Type, gradients: &[f32], weights: &[f32]) {
    for (name, backend) in backends() {
        let _case = Case(|| format!("{name}, {kind:?}, {step:?}, {}", gradients.len()));
        let optimizer = on(*optimizer, backend);
        let halves = Array::new(kind, gradients);
        let (mut upper, mut lower, mut whole) = (upper(weights), lower(weights), weights.to_vec());
        let moment = || vec![0.0; weights.len()];
        let (mut m1, mut m2, mut s1, mut s2) = (moment(), moment(), R::State::default(), R::State::default());
        let ours = LayerMemory::new(&mut upper, halves.get(), &mut s1).lower(&mut lower).momentum(&mut m1);
        let widened = halves.widened();
        let theirs = LayerMemory::new(&mut whole, &widened, &mut s2).momentum(&mut m2);
        let [ours, theirs] = [optimizer.step_layer(step, ours), optimizer.step_layer(step, theirs)];
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        assert_eq!(bits(&joined(&upper, &lower)), bits(&whole));
        assert_eq!((bits(&m1), s1), (bits(&m2), s2));
    }
}

#[test]
fn gradients_far_from_1_are_scaled() {
    for (kind, len) in [Type::Bf16, Type::F16].into_iter().flat_map(|kind| LENGTHS.map(|len| (kind, len))) {
        for scale in [1e-30, 1e-37, 1.0, 1e30, 1e37] {
            let (gradients, weights) = (random(len, 1, 1.0), random(len, 2, 1.0));
            let step = Step::new(0.1).gradient_scale(scale);
            steps_alike(&larc(), step, kind, &gradients, &weights);
            steps_alike(&novograd(), step, kind, &gradients, &weights);
        }
    }
}

#[test]
fn subnormal_gradients_and_zeros_make_the_step_of_f32() {
    for (kind, smallest) in [(Type::Bf16, 1e-40), (Type::F16, 1e-7)] {
        for len in LENGTHS {
            for (gradients, weights) in [
                (random(len, 1, smallest), random(len, 2, 1.0)),
                (random(len, 1, smallest), random(len, 2, 1e-38)),
                (vec![0.0; len], random(len, 2, 1.0)),
                (vec![-0.0; len], vec![0.0; len]),
                (random(len, 1, 1.0), vec![-0.0; len]),
                // Weights of which the upper halves are zeros.
                (random(len, 1, 1.0), vec![1e-41; len]),
            ] {
                steps_alike(&larc(), Step::new(0.1), kind, &gradients, &weights);
                steps_alike(&novograd(), Step::new(0.1), kind, &gradients, &weights);
            }
        }
    }
}
