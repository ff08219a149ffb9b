//! A policy that skips whole steps writes all layers or none. The norm of the gradient and the clip are decided before
//! the updates.

use crate::harness::optimizers::{
    adam_luc, clipping, keeps_second_moment, lamb, larc_adam, luc, novograd, plain, sgd_luc, skipping,
};
use crate::harness::{Net, Totals, Walk, walks};
use layerwise::rule::{Rule, RuleState};
use layerwise::{LayerConfig, Luc, NovoGrad, NovoGradConfig, NovoGradState, Optimizer, Outcome, SgdState};

const LENGTHS: [usize; 4] = [40, 1025, 3, 70_000];

/// Ways to a step of a whole model.
#[derive(Clone, Copy, Debug)]
enum Way {
    Walk(Walk),
    Pass,
    Chunks,
}

fn ways() -> Vec<Way> {
    walks().into_iter().map(Way::Walk).chain([Way::Pass, Way::Chunks]).collect()
}

fn step<R: Rule + Sync>(way: Way, net: &mut Net<R::State>, optimizer: &Optimizer<R>) -> Totals {
    match way {
        Way::Walk(walk) => net.step(optimizer, 0.1, walk),
        Way::Pass => net.step_by_pass(optimizer, 0.1),
        Way::Chunks => net.step_in_chunks(optimizer, 0.1, &mut fastrand::Rng::with_seed(1)),
    }
}

fn net<S: RuleState>(momentum: bool) -> Net<S> {
    Net::new(&LENGTHS.map(|len| (len, LayerConfig::DEFAULT)), 0, momentum, true, 9)
}

/// Spoils a layer of each model: then no layer may be written, and the reports say which one was bad.
fn is_all_or_nothing<R: Rule + Sync>(
    optimizer: &Optimizer<R>,
    momentum: bool,
    expected: Outcome,
    spoil: impl Fn(&mut Net<R::State>, usize),
) {
    for (bad, way) in (0..LENGTHS.len()).flat_map(|bad| ways().into_iter().map(move |way| (bad, way))) {
        let mut net = net(momentum);
        if keeps_second_moment(optimizer) {
            net = net.with_second_moment(9);
        }
        spoil(&mut net, bad);
        let before = net.clone();
        let totals = step(way, &mut net, optimizer);
        let what = format!("{way:?}, layer {bad}");
        assert_eq!((totals.applied, totals.skipped, totals.clip), (0, LENGTHS.len(), 1.0), "{what}");
        for (layer, report) in net.reports.iter().enumerate() {
            assert_eq!(report.outcome, if layer == bad { expected } else { Outcome::StepSkipped }, "{what}");
        }
        net.reports.clone_from(&before.reports);
        net.assert_same(&what, &before);
    }
}

/// The first element of a layer.
fn start<S>(net: &Net<S>, layer: usize) -> usize {
    net.spans[layer].start
}

#[test]
fn momentum_that_is_not_finite_skips_the_step_of_a_rule_that_limits_it() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        is_all_or_nothing(&skipping(luc()), true, Outcome::NonFinite, |net, layer| {
            let last = start(net, layer) + LENGTHS[layer] - 1;
            net.momentum[last] = bad;
        });
        is_all_or_nothing(&skipping(sgd_luc()), true, Outcome::NonFinite, |net, layer| {
            let first = start(net, layer);
            net.momentum[first] = bad;
        });
        for optimizer in [skipping(lamb()), skipping(adam_luc())] {
            is_all_or_nothing(&optimizer, true, Outcome::NonFinite, |net, layer| {
                let first = start(net, layer);
                net.momentum[first] = bad;
            });
            // (Not an infinite second moment: its step is 0.)
            is_all_or_nothing(&optimizer, true, Outcome::NonFinite, |net, layer| {
                let last = start(net, layer) + LENGTHS[layer] - 1;
                net.second_moment[last] = f32::NAN;
            });
        }
    }
}

#[test]
fn momentum_that_would_overflow_skips_the_step_of_a_rule_that_limits_it() {
    // The decay adds the weights to the momentum.
    let config = NovoGradConfig { luc: Some(Luc::DEFAULT), weight_decay: 1.0, ..NovoGradConfig::DEFAULT };
    let optimizer = skipping(NovoGrad::new(config).unwrap());
    is_all_or_nothing(&optimizer, true, Outcome::NonFinite, |net, layer| {
        let at = start(net, layer) + 1;
        (net.momentum[at], net.weights[at]) = (3e38, 3e38);
    });
}

#[test]
fn gradients_that_are_not_finite_skip_the_step() {
    let spoil = |net: &mut Net<SgdState>, layer| {
        let at = start(net, layer);
        net.gradients[at] = f32::INFINITY;
    };
    is_all_or_nothing(&skipping(plain()), false, Outcome::NonFinite, spoil);
}

#[test]
fn a_planned_step_beyond_f32_skips_the_step() {
    let fast = LayerConfig { rate: 1e300, ..LayerConfig::DEFAULT };
    is_all_or_nothing(&skipping(plain()), false, Outcome::OutOfRange, |net, layer| net.spans[layer].config = fast);
    for optimizer in [skipping(novograd()), skipping(luc())] {
        is_all_or_nothing(&optimizer, true, Outcome::OutOfRange, |net, layer| net.spans[layer].config = fast);
        // A state that no step can have produced.
        let state = NovoGradState { second_moment: f64::NAN, ..NovoGradState::default() };
        is_all_or_nothing(&optimizer, true, Outcome::OutOfRange, |net, layer| net.states[layer] = state);
        // The planned decay overflows `f32`, the rate does not.
        let decaying = LayerConfig { decay: 1e300, ..LayerConfig::DEFAULT };
        is_all_or_nothing(&optimizer, true, Outcome::OutOfRange, |net, layer| net.spans[layer].config = decaying);
    }
}

#[test]
fn a_gradient_whose_square_overflows_skips_the_step() {
    for optimizer in [skipping(lamb()), skipping(adam_luc()), skipping(clipping(lamb(), 1e30))] {
        is_all_or_nothing(&optimizer, true, Outcome::OutOfRange, |net, layer| {
            let at = start(net, layer);
            net.gradients[at] = 1e25;
        });
    }
    // LARC reduces it before Adam sees it.
    let mut net = net(true).with_second_moment(9);
    net.gradients[0] = 1e25;
    assert_eq!(net.step(&skipping(larc_adam()), 0.1, Walk::Flat).applied, LENGTHS.len());
}

#[test]
fn a_healthy_step_is_that_of_any_other_policy() {
    for (optimizer, momentum) in [(novograd(), true), (luc(), true)] {
        let net = || net(momentum).without_norms();
        let mut expected = net();
        let totals = expected.step(&optimizer, 0.1, Walk::Flat);
        for way in ways() {
            let mut net = net();
            step(way, &mut net, &skipping(optimizer)).assert_same("totals", &totals);
            net.assert_same(&format!("{way:?}"), &expected);
        }
    }
}

type Spoil = fn(&mut Net<NovoGradState>);

/// Two layers with gradients of norm 3 and 4, the second one bad; the clip is to a norm of 1.
fn two_layers(spoil: impl Fn(&mut Net<NovoGradState>)) -> Net<NovoGradState> {
    let mut net = Net::new(&[(9, LayerConfig::DEFAULT), (16, LayerConfig::DEFAULT)], 0, true, false, 3);
    net.gradients.fill(1.0);
    spoil(&mut net);
    net
}

#[test]
fn clip_and_gradient_norm_agree_whatever_the_updates_find() {
    let spoils: [(Spoil, Outcome); 4] = [
        (|net| net.momentum[20] = f32::NAN, Outcome::NonFinite),
        (|net| net.states[1].second_moment = -1.0, Outcome::OutOfRange),
        (|net| net.spans[1].config.rate = 1e300, Outcome::OutOfRange),
        (|_| {}, Outcome::Applied),
    ];
    for (spoil, outcome) in spoils {
        for way in ways() {
            let optimizer = clipping(luc(), 1.0);
            let mut net = two_layers(spoil);
            let totals = step(way, &mut net, &optimizer);
            assert_eq!((totals.gradient_norm, totals.clip), (5.0, 1.0 / 5.0), "{way:?}");
            assert_eq!(
                net.reports.iter().map(|report| report.outcome).collect::<Vec<_>>(),
                [Outcome::Applied, outcome]
            );
            assert_eq!(net.reports.iter().map(|report| report.gradient_norm).collect::<Vec<_>>(), [3.0, 4.0]);
        }
    }
    // A gradient that is not finite does not count in norm and clip.
    for way in ways() {
        let mut net = two_layers(|net| net.gradients[20] = f32::NAN);
        let totals = step(way, &mut net, &clipping(luc(), 1.0));
        assert_eq!((totals.gradient_norm, totals.clip), (3.0, 1.0 / 3.0), "{way:?}");
    }
    // A skipped step clips nothing.
    for way in ways() {
        let mut net = two_layers(|net| net.momentum[20] = f32::NAN);
        let totals = step(way, &mut net, &skipping(clipping(luc(), 1.0)));
        assert_eq!((totals.gradient_norm, totals.clip, totals.skipped), (5.0, 1.0, 2), "{way:?}");
    }
}
