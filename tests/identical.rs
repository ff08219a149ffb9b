//! Updates and steps have the bits of the contract on every backend of this processor, whatever the alignment.

mod harness;
mod reference;

use harness::data::{LONG, UPDATE_LENGTHS};
use harness::optimizers::{Fixed, SECOND_UPDATES, UPDATES};
use harness::{Array, Case, Host, KINDS, assert_same, backends, fill, numbers, on, same, settings, uniform};
use layerwise::rule::{Rule, StepNorm, Update};
use layerwise::{Adam, CarriedNorms, Larc, LarcConfig, LayerConfig, NovoGrad, Optimizer, Sgd, Step};
use reference::contract;

/// Offsets of three arrays from a cache line, in elements: every alignment, equal and different. Long arrays get only a
/// few.
fn offsets(len: usize) -> impl Iterator<Item = [usize; 3]> {
    (0..16).flat_map(|i| [[i; 3], [i, 5 * i % 16, 11 * i % 16]]).step_by(if len > 3000 { 7 } else { 1 })
}

#[test]
fn updates_have_the_bits_of_the_contract_at_any_alignment() {
    for (seed, len) in (0..).zip(UPDATE_LENGTHS) {
        for (i, offsets) in offsets(len).enumerate() {
            for (j, update) in UPDATES.into_iter().enumerate() {
                let scale = [1.0, 1e30, 1e-30, 1e-41][(i + j) % 4];
                let [w, g, m] = [0, 1, 2].map(|i| uniform(len, scale, 3 * seed + i));
                for (name, backend) in backends() {
                    let _case = Case(|| format!("{name}: {len} elements at {offsets:?}, scale {scale}, {update:?}"));
                    for momentum in [false, true] {
                        let m = if momentum { &m[..] } else { &[] };
                        Host::new(&w, &g, m, offsets)
                            .step(&on(Fixed::optimizer(update, momentum), backend), 0.1)
                            .unwrap();
                        let mut host = Host::new(&w, &g, m, offsets);
                        host.norms = Some(CarriedNorms::new());
                        host.step(&on(Fixed::summing(update, momentum), backend), 0.1).unwrap();
                    }
                }
            }
        }
    }
}

#[test]
fn updates_with_a_second_moment_have_the_bits_of_the_contract_at_any_alignment() {
    for (seed, len) in (0..).zip(UPDATE_LENGTHS) {
        for (i, offsets) in offsets(len).enumerate() {
            for (j, update) in SECOND_UPDATES.into_iter().enumerate() {
                let kind = KINDS[(i + j) % KINDS.len()];
                let [w, g, m, v] = [0, 1, 2, 3].map(|i| numbers(kind, len, 4 * seed + i));
                let v: Vec<f32> = v.into_iter().map(f32::abs).collect();
                for (name, backend) in backends() {
                    let _case = Case(|| format!("{name}: {len} {kind} elements at {offsets:?}, {update:?}"));
                    let host = || Host::new(&w, &g, &m, offsets).second_moment(&v, 7 * offsets[1] % 16);
                    host().step(&on(Fixed::optimizer(update, true), backend), 0.1).unwrap();
                    let mut host = host();
                    host.norms = Some(CarriedNorms::new());
                    host.step(&on(Fixed::summing(update, true), backend), 0.1).unwrap();
                }
            }
        }
    }
}

/// The plan does not depend on the norm, which only goes into the report.
#[test]
fn norms_of_steps_have_the_bits_of_the_contract() {
    for (seed, len) in (0..).zip(UPDATE_LENGTHS) {
        for (i, update) in UPDATES.into_iter().chain(SECOND_UPDATES).enumerate() {
            let kind = KINDS[(seed as usize + i) % KINDS.len()];
            let [w, g, m, v] = [0, 1, 2, 3].map(|i| numbers(kind, len, 4 * seed + i));
            let v: Vec<f32> = v.into_iter().map(f32::abs).collect();
            for (name, backend) in backends() {
                for (needed, momentum) in [StepNorm::Step, StepNorm::Momentum]
                    .into_iter()
                    .flat_map(|needed| [(needed, false), (needed, true)])
                {
                    let _case = Case(|| format!("{name}: {len} {kind} elements, {needed:?}, {momentum}, {update:?}"));
                    let optimizer = on(Fixed::seeing(update, momentum, needed), backend);
                    let mut host = Host::at(&optimizer, &w, [1, 2, 3, 4]);
                    host.set_gradients(&g);
                    host.momentum.get_mut().iter_mut().zip(&m).for_each(|(to, from)| *to = *from);
                    host.second_moment.get_mut().iter_mut().zip(&v).for_each(|(to, from)| *to = *from);
                    host.step(&optimizer, Step::new(0.1).gradient_scale(0.3)).unwrap();
                }
            }
        }
    }
}

/// If the gradient's scalar is beyond 2^±100, a power of two moves from it to the gradient.
#[test]
fn updates_by_astronomical_scalars_have_the_bits_of_the_contract() {
    for (seed, len) in (0..).zip([1, 15, 16, 33, 300, 1025, 5000]) {
        for gradient in [1e-300, 1e-60, -1e-38, 2e-30, 1e30, 2e30, -1e38, 1e60, 1e300] {
            for kind in KINDS {
                let [w, g, m] = [0, 1, 2].map(|i| numbers(kind, len, 3 * seed + i));
                for (name, backend) in backends() {
                    let _case = Case(|| format!("{name}: {len} {kind} elements, gradient times {gradient:e}"));
                    let update = Update { gradient, momentum: 0.5, rate: 0.1, shrink: 0.1, ..Update::ZERO };
                    let mut host = Host::new(&w, &g, &m, [seed as usize; 3]);
                    host.step(&on(Fixed::optimizer(update, true), backend), 0.1).unwrap();
                    let update = Update { gradient: 1.0, rate: 1.0, ..Update::ZERO };
                    let mut host = Host::new(&w, &g, &[], [seed as usize; 3]);
                    let step = Step::new(0.1).gradient_scale(gradient.abs());
                    host.step(&on(Fixed::summing(update, false), backend), step).unwrap();
                }
            }
        }
    }
}

/// Two steps of a layer at every length, size and alignment; the second with a scaled gradient and the layer's own
/// decay.
fn steps_are_those_of_the_contract<R: Rule>(setting: &str, optimizer: Optimizer<R>)
where
    Optimizer<R>: Copy,
{
    for (seed, len) in (0..).zip(UPDATE_LENGTHS) {
        for (kind, [a, b, c]) in
            KINDS.iter().flat_map(|kind| offsets(len).step_by(5).map(move |offsets| (kind, offsets)))
        {
            for (name, backend) in backends() {
                let _case = Case(|| format!("{name}: {setting}, {len} {kind} elements at {a}, {b}, {c}"));
                let optimizer = on(optimizer, backend);
                let mut rng = fastrand::Rng::with_seed(seed);
                let mut weights = vec![0.0; len];
                fill(kind, &mut weights, &mut rng);
                let mut host = Host::at(&optimizer, &weights, [a, b, c, 3 * a]);
                host.norms = (seed % 2 == 0).then(CarriedNorms::default);
                for step in [Step::new(0.01), Step::new(0.01).gradient_scale(0.3)] {
                    fill(kind, host.gradients.get_mut(), &mut rng);
                    host.step(&optimizer, step).unwrap();
                    host.config = LayerConfig { decay: 0.7, ..LayerConfig::DEFAULT };
                }
            }
        }
    }
}

#[test]
fn sgd_steps_are_those_of_the_contract() {
    for (name, config) in settings::SGD {
        steps_are_those_of_the_contract(name, Sgd::new(config).unwrap());
    }
}

#[test]
fn novograd_steps_are_those_of_the_contract() {
    for (name, config) in settings::NOVOGRAD {
        steps_are_those_of_the_contract(name, NovoGrad::new(config).unwrap());
    }
}

#[test]
fn limited_steps_and_larc_in_front_are_those_of_the_contract() {
    for (name, config) in settings::SGD_LIMITED {
        steps_are_those_of_the_contract(name, Sgd::new(config).unwrap());
    }
    for (name, config) in settings::NOVOGRAD_IN_FRONT {
        steps_are_those_of_the_contract(name, NovoGrad::new(config).unwrap());
    }
}

#[test]
fn adam_and_lamb_steps_are_those_of_the_contract() {
    for (name, config) in settings::ADAM_AND_LAMB {
        steps_are_those_of_the_contract(name, Adam::new(config).unwrap());
    }
}

/// Layers of more than one tile, which are divided along the tree.
#[test]
fn steps_of_long_layers_are_those_of_the_contract() {
    for (seed, len) in (0..).zip(LONG) {
        for (name, backend) in backends() {
            let _case = Case(|| format!("{name}: {len} elements"));
            let w = uniform(len, 1.0, seed);
            let mut host = Host::for_optimizer(&harness::optimizers::larc(), &w);
            host.norms = Some(CarriedNorms::new());
            for seed in 1..3 {
                host.set_gradients(&uniform(len, 1.0, seed));
                host.step(&on(harness::optimizers::larc(), backend), 0.1).unwrap();
            }
            let g = uniform(len, 1.0, seed);
            sees_a_long_step(&on(harness::optimizers::luc(), backend), &w, &g);
            sees_a_long_step(&on(harness::optimizers::sgd_luc(), backend), &w, &g);
            sees_a_long_step(&on(harness::optimizers::lamb(), backend), &w, &g);
        }
    }
}

fn sees_a_long_step<R: Rule>(optimizer: &Optimizer<R>, w: &[f32], g: &[f32]) {
    let mut host = Host::for_optimizer(optimizer, w);
    host.set_gradients(g);
    host.step(optimizer, 0.1).unwrap();
}

#[test]
fn larc_in_front_has_the_bits_of_the_contract() {
    for (seed, len) in (0..).zip(UPDATE_LENGTHS) {
        for (kind, config) in KINDS.iter().flat_map(|kind| [(kind, LarcConfig::DEFAULT), (kind, LarcConfig::OPTAX)]) {
            let _case = Case(|| format!("{len} {kind} elements, {config:?}"));
            let (larc, decay) = (Larc::new(config).unwrap(), 0.01);
            let (w, g) = (numbers(kind, len, seed), numbers(kind, len, seed + 100));
            let norms = contract::norms(&larc.needs(decay), 1.0, &w, &g);
            let factor = larc.factor(0.1, decay, &norms);
            let update = Update { gradient: factor.factor, decay: factor.factor * factor.decay, ..Update::ZERO };
            let expected: Vec<f32> = w.iter().zip(&g).map(|(w, g)| contract::rescaled(&update, *w, *g)).collect();

            let mut scaled = Array::new(&g, len);
            let report = larc.scale_gradients(0.1, decay, &w, scaled.get_mut()).unwrap();
            assert!(report.applied() && report.clipped == factor.clipped, "{report:?}");
            assert!(
                same(report.factor, factor.factor) && same(report.effective_rate, factor.factor * 0.1),
                "{report:?}"
            );
            assert!(
                same(report.gradient_norm, norms.gradient) && same(report.weight_norm, norms.weights),
                "{report:?}"
            );
            scaled.assert_guards();
            assert_same("gradient", scaled.get(), &expected);
        }
    }
}
