//! Bad data are an outcome: the layer stays as it was, and its report says why.

use crate::harness::optimizers::{
    Fixed, LARCS, SECOND_UPDATES, adam, adam_luc, lamb, larc, larc_adam, luc, novograd, plain, sgd_luc, skipping,
};
use crate::harness::{Host, Net, Walk, bits, walks, wide};
use crate::reference::{self, Memory};
use crate::{NON_FINITE, OUT_OF_RANGE, host, host_without_momentum, net};
use layerwise::rule::{Moments, Needs, Rule, RuleState, SecondMoment, StepNorm, Update};
use layerwise::{
    Adam, AdamConfig, AdamState, BiasCorrection, CarriedNorms, FlatModel, Larc, LarcConfig, LarcMode, LayerConfig,
    LayerMemory, LayerSpan, Layers, Luc, Model, MomentNorm, NonFinite, NovoGrad, NovoGradConfig, NovoGradState,
    Optimizer, Outcome, Policy, Report, Sgd, SgdConfig, SgdState, Step, TrustRatio, l2_norm,
};

/// A layer with both moments.
fn of_adam(len: usize) -> Host<AdamState> {
    host(len).second_moment(&vec![0.01; len], 3)
}

/// The outcome of a step that is not taken.
fn skipped<R: Rule>(optimizer: &Optimizer<R>, mut host: Host<R::State>) -> Outcome {
    let before = host.clone();
    let report = host.step(optimizer, 0.1).unwrap();
    assert!(!report.applied());
    host.assert_same(&before);
    report.outcome
}

fn outcomes<S>(net: &Net<S>) -> Vec<Outcome> {
    net.reports.iter().map(|report| report.outcome).collect()
}

#[test]
fn non_finite_gradients() {
    for bad in NON_FINITE {
        for at in [0, 20, 36] {
            let mut of_sgd = host(37);
            of_sgd.gradients.get_mut()[at] = bad;
            assert_eq!(skipped(&larc(), of_sgd), Outcome::NonFinite);
            let mut of_novograd = host(37);
            of_novograd.gradients.get_mut()[at] = bad;
            assert_eq!(skipped(&novograd(), of_novograd), Outcome::NonFinite);
        }
        let mut gradients = [1.0, bad];
        let larc = Larc::new(LarcConfig::DEFAULT).unwrap();
        let report = larc.scale_gradients(0.1, 0.0, &[1.0; 2], &mut gradients).unwrap();
        assert!(report.outcome == Outcome::NonFinite && gradients[0] == 1.0);
    }
}

#[test]
fn non_finite_weights() {
    for bad in NON_FINITE {
        let mut of_sgd = host(37);
        of_sgd.weights.get_mut()[36] = bad;
        assert_eq!(skipped(&larc(), of_sgd), Outcome::NonFinite);
        let mut of_novograd = host(37);
        of_novograd.weights.get_mut()[36] = bad;
        assert_eq!(skipped(&luc(), of_novograd), Outcome::NonFinite);
        for optimizer in [lamb(), adam_luc(), larc_adam()] {
            let mut of_adam = of_adam(37);
            of_adam.weights.get_mut()[0] = bad;
            assert_eq!(skipped(&optimizer, of_adam), Outcome::NonFinite);
        }
    }
}

#[test]
fn non_finite_momentum_before_a_limit() {
    for bad in NON_FINITE {
        let mut host = host(37);
        host.momentum.get_mut()[0] = bad;
        assert_eq!(skipped(&luc(), host), Outcome::NonFinite);
    }
    for bad in NON_FINITE {
        let mut of_sgd = host(37);
        of_sgd.momentum.get_mut()[0] = bad;
        assert_eq!(skipped(&sgd_luc(), of_sgd), Outcome::NonFinite);
        for optimizer in [lamb(), adam_luc()] {
            let mut momentum = of_adam(37);
            momentum.momentum.get_mut()[36] = bad;
            assert_eq!(skipped(&optimizer, momentum), Outcome::NonFinite);
        }
    }
    // With an infinite second moment the step is 0: only a NaN or a negative one has no step.
    for (bad, outcome) in [(f32::NAN, Outcome::NonFinite), (-1.0, Outcome::NonFinite)] {
        let mut second = of_adam(37);
        second.second_moment.get_mut()[20] = bad;
        assert_eq!(skipped(&lamb(), second), outcome);
    }
    // A finite momentum, but the new momentum overflows `f32`.
    let config = NovoGradConfig { weight_decay: 1.0, ..*luc().config() };
    let mut host = host(37);
    (host.weights.get_mut()[5], host.momentum.get_mut()[5]) = (3e38, 3e38);
    assert_eq!(skipped(&NovoGrad::new(config).unwrap(), host), Outcome::NonFinite);
}

#[test]
fn non_finite_numbers_nobody_reads() {
    for bad in NON_FINITE {
        let (mut host, mut healthy) = (host(37), host(37));
        (host.weights.get_mut()[3], host.momentum.get_mut()[30]) = (bad, bad);
        assert_eq!(host.step(&novograd(), 0.1).unwrap().outcome, Outcome::Overflowed);
        assert!(healthy.step(&novograd(), 0.1).unwrap().applied());
        // The decay adds the weight to the momentum.
        for i in 0..37 {
            assert_eq!(host.weights.get()[i].is_finite(), i != 3 && i != 30);
            assert_eq!(host.momentum.get()[i].is_finite(), i != 3 && i != 30);
            assert!(host.weights.get()[i] == healthy.weights.get()[i] || i == 3 || i == 30);
        }
        // Plain descent checks no weights, and updates the good ones.
        let mut host = host_without_momentum(2);
        host.weights.get_mut()[1] = bad;
        let healthy = host.weights.get()[0] - 0.1 * host.gradients.get()[0];
        assert_eq!(host.step(&plain(), 0.1).unwrap().outcome, Outcome::Overflowed);
        assert_eq!((host.weights.get()[0], host.state.steps), (healthy, 1));
        // So does Adam.
        let (mut host, mut healthy) = (of_adam(37), of_adam(37));
        (host.weights.get_mut()[3], host.momentum.get_mut()[30]) = (bad, bad);
        assert_eq!(host.step(&adam(), 0.1).unwrap().outcome, Outcome::Overflowed);
        assert!(healthy.step(&adam(), 0.1).unwrap().applied());
        assert_eq!(host.state, healthy.state);
        for i in 0..37 {
            assert_eq!(host.weights.get()[i].is_finite(), i != 3 && i != 30);
            assert!(host.weights.get()[i] == healthy.weights.get()[i] || i == 3 || i == 30);
        }
    }
}

#[test]
fn second_moments_that_nobody_looks_at() {
    for bad in [f32::NAN, -1.0] {
        let mut host = of_adam(37);
        host.second_moment.get_mut()[20] = bad;
        assert_eq!(host.step(&adam(), 0.1).unwrap().outcome, Outcome::Overflowed);
        assert!((0..37).all(|i| host.weights.get()[i].is_finite() == (i != 20)), "{bad}");
        assert_eq!(host.state.steps, 1);
    }
    for optimizer in [adam(), lamb(), adam_luc()] {
        let mut host = of_adam(37);
        host.second_moment.get_mut()[20] = f32::INFINITY;
        assert!(host.step(&optimizer, 0.1).unwrap().applied());
    }
    let undecayed = Adam::new(AdamConfig::DEFAULT).unwrap();
    let mut host = of_adam(37);
    host.second_moment.get_mut()[20] = f32::INFINITY;
    let before = host.weights.get()[20];
    for steps in 1..4 {
        assert!(host.step(&undecayed, 0.1).unwrap().applied());
        assert_eq!((host.weights.get()[20], host.state.steps), (before, steps));
    }
}

#[test]
fn a_step_that_leaves_f32() {
    let mut host = host_without_momentum(37);
    host.gradients.get_mut()[7] = 3e38;
    let report = host.step(&plain(), 10.0).unwrap();
    assert_eq!((report.outcome, host.weights.get()[7]), (Outcome::Overflowed, f32::NEG_INFINITY));
    assert!(!report.applied() && host.state.steps == 1);
    // It is found after the write, so a policy cannot prevent it.
    for optimizer in [novograd(), skipping(novograd())] {
        for walk in walks() {
            let mut net: Net<NovoGradState> = net();
            net.momentum[50] = f32::INFINITY;
            let totals = net.step(&optimizer, 0.1, walk);
            assert_eq!((totals.applied, totals.skipped, totals.overflowed), (1, 0, 1));
            assert_eq!(outcomes(&net), [Outcome::Applied, Outcome::Overflowed]);
            assert_eq!([net.states[0].steps, net.states[1].steps], [1, 1]);
        }
    }
}

#[test]
fn one_non_finite_layer_of_several() {
    for (non_finite, expected) in [
        (NonFinite::SkipLayer, [Outcome::Applied, Outcome::NonFinite]),
        (NonFinite::SkipStep, [Outcome::StepSkipped, Outcome::NonFinite]),
    ] {
        let optimizer = novograd().with_policy(Policy { non_finite, ..Policy::DEFAULT }).unwrap();
        for walk in walks() {
            let mut net = net();
            net.gradients[60] = f32::NAN;
            let before = net.clone();
            net.step(&optimizer, 0.1, walk);
            assert_eq!(outcomes(&net), expected);
            assert_eq!(net.weights[..40] == before.weights[..40], non_finite == NonFinite::SkipStep);
            assert_eq!(net.weights[40..], before.weights[40..]);
            assert_eq!(net.momentum[40..], before.momentum[40..]);
            assert_eq!(net.states[1], before.states[1]);
            assert_eq!(net.states[0] == before.states[0], non_finite == NonFinite::SkipStep);
        }
    }
}

#[test]
fn one_layer_of_several_without_a_step() {
    type Spoil = fn(&mut Net<NovoGradState>);
    let spoils: [(Spoil, Outcome); 3] = [
        (|net| net.momentum[50] = f32::NAN, Outcome::NonFinite),
        (|net| net.states[1].second_moment = -1.0, Outcome::OutOfRange),
        (|net| net.spans[1].config.rate = 1e300, Outcome::OutOfRange),
    ];
    for (spoil, outcome) in spoils {
        for walk in walks() {
            let mut net = net();
            spoil(&mut net);
            let mut left_alone = net.clone();
            net.step(&luc(), 0.1, walk);
            assert_eq!(outcomes(&net), [Outcome::Applied, outcome]);
            let before = left_alone.clone();
            left_alone.step(&skipping(luc()), 0.1, walk);
            assert_eq!(outcomes(&left_alone), [Outcome::StepSkipped, outcome]);
            left_alone.reports.clone_from(&before.reports);
            left_alone.assert_same("a skipped step", &before);
        }
    }
}

#[test]
fn numbers_that_are_not_trained() {
    for walk in walks() {
        for optimizer in [novograd(), skipping(luc())] {
            let mut net = net();
            net.spans[1].config = LayerConfig::FROZEN;
            for i in [40, 44, 45, 69, 74] {
                (net.weights[i], net.gradients[i], net.momentum[i]) = (f32::NAN, f32::NAN, f32::INFINITY);
            }
            let before = net.clone();
            let totals = net.step(&optimizer, 0.1, walk);
            assert_eq!((totals.applied, totals.skipped, net.reports[1].outcome), (1, 0, Outcome::Frozen));
            assert_eq!(bits(&net.weights[40..]), bits(&before.weights[40..]));
            assert_eq!(bits(&net.momentum[40..]), bits(&before.momentum[40..]));
            assert_ne!(net.weights[..40], before.weights[..40]);
        }
    }
    // The slices of a frozen layer may have any length.
    let (mut weights, mut state) = ([1.0; 20], SgdState::default());
    let layer = LayerMemory::new(&mut weights, &[f32::NAN], &mut state).config(LayerConfig::FROZEN);
    assert_eq!(larc().step_layer(0.1, layer).unwrap().outcome, Outcome::Frozen);
}

#[test]
fn layers_that_are_not_lent() {
    for optimizer in [novograd(), skipping(luc())] {
        let mut net: Net<NovoGradState> = net();
        net.absent[1] = true;
        (net.weights[50], net.gradients[51], net.momentum[52]) = (f32::NAN, f32::NAN, f32::NAN);
        net.reports[1] = Report::FROZEN;
        let before = net.clone();
        let totals = net.step(&optimizer, 0.1, Walk::Lent);
        assert_eq!((totals.applied, totals.skipped, totals.overflowed), (1, 0, 0));
        assert_eq!(outcomes(&net), [Outcome::Applied, Outcome::Absent]);
        assert_eq!(totals.gradient_norm, net.reports[0].gradient_norm);
        assert!(net.reports[1].gradient_norm.is_nan() && net.reports[1].effective_rate == 0.0);
        assert_eq!(bits(&net.weights[40..]), bits(&before.weights[40..]));
        assert_eq!(bits(&net.momentum[40..]), bits(&before.momentum[40..]));
        assert_eq!(net.states[1], before.states[1]);
    }
}

#[test]
fn numbers_of_any_size() {
    let start: Vec<f32> = (0..300).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let shape: Vec<f32> = (0..300).map(|i| (i % 13) as f32 / 6.0 - 1.0).collect();
    let configs = [
        NovoGradConfig { eps: 0.0, weight_decay: 0.01, ..NovoGradConfig::DEFAULT },
        NovoGradConfig { eps: 0.0, beta1: 0.0, ..NovoGradConfig::DEFAULT },
        NovoGradConfig { eps: 0.0, luc: Some(Luc { trust: 0.1, ..Luc::NEMO }), ..NovoGradConfig::DEFAULT },
    ];
    for config in configs {
        let novograd = NovoGrad::new(config).unwrap();
        for size in [3.4e38, 1e38, 1e30, 1e20, 1.0, 1e-20, 1e-30, 1e-37, 1e-42] {
            let gradients: Vec<f32> = shape.iter().map(|x| x * size).collect();
            let (mut host, mut memory) = (Host::for_optimizer(&novograd, &start), Memory::new(&start));
            host.set_gradients(&gradients);
            for _ in 0..3 {
                let report = host.step(&novograd, 0.1).unwrap();
                assert!(report.applied(), "gradients of {size}: {report:?}");
                let step = Step::new(0.1);
                reference::novograd(&config, &LayerConfig::DEFAULT, step, &wide(&gradients), &mut memory);
            }
            for (ours, theirs) in host.weights.get().iter().zip(&memory.weights) {
                assert!((f64::from(*ours) - theirs).abs() < 1e-6, "gradients of {size}: {ours} instead of {theirs}");
            }
        }
    }
    for size in [3e38, 1e20, 1e-20, 1e-42] {
        let mut host = host::<NovoGradState>(37);
        host.gradients.get_mut().iter_mut().for_each(|g| *g *= size / 10.0);
        host.momentum.get_mut().fill(0.0);
        let config = NovoGradConfig { eps: 0.0, ..NovoGradConfig::DEFAULT };
        let report = host.step(&NovoGrad::new(config).unwrap(), 0.1).unwrap();
        // A first step moves the weights by the learning rate in total.
        assert!(report.applied() && (l2_norm(host.momentum.get()) - 1.0).abs() < 1e-6, "{size}: {report:?}");
    }
}

#[test]
fn gradients_whose_squares_overflow() {
    // In all other systems the second moment of such a weight stays infinite, and the weight never moves again.
    for optimizer in [adam(), lamb(), skipping(lamb()), adam_luc()] {
        for large in [1.9e19, 1e30, f32::MAX] {
            let mut host = of_adam(37);
            host.gradients.get_mut()[36] = large;
            assert_eq!(skipped(&optimizer, host), Outcome::OutOfRange, "{large}");
        }
        let mut host = of_adam(37);
        host.gradients.get_mut()[36] = 1.8e19;
        assert!(host.step(&optimizer, 0.1).unwrap().applied());
        assert!(host.second_moment.get()[36].is_finite());
        // What counts is the norm of the gradient that the rule sees.
        let mut host = of_adam(37);
        host.gradients.get_mut()[30..].fill(1e19);
        assert_eq!(skipped(&optimizer, host), Outcome::OutOfRange);
        let mut host = of_adam(37);
        host.gradients.get_mut()[36] = f32::MAX;
        assert!(host.step(&optimizer, Step::new(0.1).gradient_scale(1e-20)).unwrap().applied());
        let scaled = Step::new(0.1).gradient_scale(1e20);
        assert_eq!(of_adam(37).step(&optimizer, scaled).unwrap().outcome, Outcome::OutOfRange);
    }
    let mut host = of_adam(37);
    host.gradients.get_mut()[36] = f32::MAX;
    assert!(host.step(&larc_adam(), 0.1).unwrap().applied(), "LARC tames the gradient");
}

#[test]
fn steps_beyond_f32() {
    assert_eq!(host_without_momentum(37).step(&plain(), 1e300).unwrap().outcome, Outcome::OutOfRange);
    let sgd = Sgd::new(SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT }).unwrap();
    let mut host = Host { state: SgdState { steps: 4 }, ..host(37) };
    let before = host.clone();
    assert_eq!(host.step(&sgd, 1e300).unwrap().outcome, Outcome::OutOfRange);
    host.assert_same(&before);
    // A gradient scale belongs to the step.
    let scale = Step::new(1.0).gradient_scale(1e300);
    assert_eq!(host_without_momentum(37).step(&plain(), scale).unwrap().outcome, Outcome::OutOfRange);
    // LARC in front of a host's optimizer.
    let larc = Larc::new(LarcConfig { mode: LarcMode::Scale, eta: 1e300, ..LarcConfig::DEFAULT }).unwrap();
    let mut gradients = [1.0; 3];
    assert_eq!(larc.scale_gradients(0.1, 0.0, &[1.0; 3], &mut gradients).unwrap().outcome, Outcome::OutOfRange);
    assert_eq!(gradients, [1.0; 3]);
}

#[test]
fn plans_beyond_f32() {
    let limiting = Needs::GRADIENT.weights().step(StepNorm::Momentum);
    for bad in [f64::NAN, f64::INFINITY, -1e300] {
        let updates = [
            Update { gradient: bad, rate: 1.0, ..Update::ZERO },
            Update { decay: bad, rate: 1.0, ..Update::ZERO },
            Update { rate: bad, gradient: 1.0, decay: 1.0, ..Update::ZERO },
            Update { direct: bad, gradient: 1.0, ..Update::ZERO },
            Update { shrink: bad, gradient: 1.0, ..Update::ZERO },
        ];
        for update in updates {
            for needs in [Needs::GRADIENT, limiting] {
                let optimizer = |moments| Optimizer::from_rule(Fixed { update, moments, needs });
                assert_eq!(skipped(&optimizer(Moments::First), host(37)), Outcome::OutOfRange, "{update:?}");
                assert_eq!(skipped(&optimizer(Moments::None), host_without_momentum(37)), Outcome::OutOfRange);
            }
        }
        let update = Update { momentum: bad, gradient: 1.0, ..Update::ZERO };
        assert_eq!(skipped(&Fixed::optimizer(update, true), host(37)), Outcome::OutOfRange);
    }
}

#[test]
fn plans_for_moments_a_rule_lacks() {
    for update in SECOND_UPDATES {
        for needs in [Needs::GRADIENT, Needs::GRADIENT.step(StepNorm::Step), Needs::GRADIENT.step(StepNorm::Momentum)] {
            let optimizer = |moments| Optimizer::from_rule(Fixed { update, moments, needs });
            assert_eq!(skipped(&optimizer(Moments::First), host(37)), Outcome::OutOfRange, "{needs:?}");
            assert_eq!(skipped(&optimizer(Moments::None), host_without_momentum(37)), Outcome::OutOfRange, "{needs:?}");
            let kept: Host<u32> = host(37).second_moment(&[0.5; 37], 0);
            let report = { kept }.step(&optimizer(Moments::FirstAndSecond), 0.1).unwrap();
            assert!(report.applied(), "{update:?}: {report:?}");
        }
    }
    // A scalar of the second moment that is not a finite `f32`, and an epsilon that is negative.
    let second = SECOND_UPDATES[0].second.unwrap();
    let mut bad = vec![SecondMoment { eps_root: -1e-15, ..second }, SecondMoment { eps: -1e-15, ..second }];
    for scalar in [f64::NAN, f64::INFINITY, -1e300] {
        bad.extend([
            SecondMoment { share: scalar, ..second },
            SecondMoment { keep: scalar, ..second },
            SecondMoment { unbias: scalar, ..second },
            SecondMoment { eps_root: scalar, ..second },
            SecondMoment { eps: scalar, ..second },
        ]);
    }
    for second in bad {
        let update = Update { second: Some(second), ..SECOND_UPDATES[0] };
        for needs in [Needs::GRADIENT, Needs::GRADIENT.step(StepNorm::Step)] {
            let rule = Fixed { update, moments: Moments::FirstAndSecond, needs };
            let host = host(37).second_moment(&[0.5; 37], 0);
            assert_eq!(skipped(&Optimizer::from_rule(rule), host), Outcome::OutOfRange, "{second:?}");
        }
    }
    // Here only the share takes the coefficient of the gradient beyond `f32`, and the norm of the momentum needs both.
    let update = Update { gradient: 3e65, second: Some(SecondMoment { share: 1.8, ..second }), ..SECOND_UPDATES[0] };
    let needs = Needs::GRADIENT.step(StepNorm::Momentum);
    let optimizer = Optimizer::from_rule(Fixed { update, moments: Moments::FirstAndSecond, needs });
    for len in [0, 37] {
        let host = host(len).second_moment(&vec![0.5; len], 0);
        assert_eq!(skipped(&optimizer, host), Outcome::NonFinite, "{len}");
    }
}

#[test]
fn a_state_no_step_has_left() {
    for second_moment in OUT_OF_RANGE {
        for norm in [MomentNorm::L2, MomentNorm::Max] {
            let novograd = NovoGrad::new(NovoGradConfig { norm, ..NovoGradConfig::DEFAULT }).unwrap();
            let state = NovoGradState { second_moment, max_second_moment: 0.0, steps: 3 };
            assert_eq!(skipped(&novograd, Host { state, ..host(37) }), Outcome::OutOfRange);
            let mut zeros = Host { state, ..host(37) };
            zeros.gradients.get_mut().fill(0.0);
            assert_eq!(skipped(&novograd, zeros), Outcome::OutOfRange);
        }
    }
}

#[test]
fn carried_norms_that_are_not_finite() {
    let mut host = host(37);
    let mut norms = CarriedNorms::default();
    norms.set_gradient(f64::INFINITY);
    let step = |host: &mut Host<SgdState>, norms: &mut CarriedNorms| {
        larc().step_layer(0.1, host.memory().norms(norms)).unwrap().outcome
    };
    assert_eq!(step(&mut host, &mut norms), Outcome::NonFinite);
    assert_eq!(step(&mut host, &mut norms), Outcome::Applied, "it is used once");
    // An invalid norm counts as unknown, and is measured.
    for sum in [f64::NAN, -1.0, 0.0] {
        norms.set_gradient(sum);
        norms.set_weights(sum);
        assert_eq!((norms.gradient(), norms.weights()), (None, None));
        assert_eq!(step(&mut host, &mut norms), Outcome::Applied);
    }
}

#[test]
fn layers_of_no_elements() {
    let report = host(0).step(&larc(), 0.1).unwrap();
    assert_eq!((report.outcome, report.gradient_norm, report.weight_norm), (Outcome::Applied, 0.0, 0.0));
    for optimizer in [adam(), lamb(), skipping(lamb())] {
        assert!(host(0).step(&optimizer, 0.1).unwrap().applied());
    }
    for optimizer in [novograd(), luc(), skipping(luc())] {
        assert!(host(0).step(&optimizer, 0.1).unwrap().applied());
        for walk in walks() {
            let spans = [(0, LayerConfig::DEFAULT), (40, LayerConfig::DEFAULT), (0, LayerConfig::FROZEN)];
            let mut net = Net::new(&spans, 0, true, true, 2);
            let totals = net.step(&optimizer, 0.1, walk);
            assert_eq!((totals.applied, totals.skipped), (2, 0), "{walk:?}");
        }
    }
}

#[test]
fn models_without_layers() {
    let nothing: &mut [f32] = &mut [];
    for optimizer in [novograd(), skipping(luc())] {
        let spans: [LayerSpan; 0] = [];
        for (layers, len) in [(Layers::new(&spans, 0).unwrap(), 0), (Layers::with_gaps(&spans, 3).unwrap(), 3)] {
            let (mut weights, gradients) = (vec![1.0; len], vec![f32::NAN; len]);
            let mut model = FlatModel::new(&layers, &mut weights, &gradients, &mut []).momentum(&mut *nothing);
            assert_eq!((model.count(), layers.elements()), (0, len));
            let summary = optimizer.step(0.1, &mut model, &mut []).unwrap();
            assert_eq!((summary.applied, summary.skipped, summary.gradient_norm), (0, 0, 0.0));
            #[cfg(feature = "rayon")]
            assert_eq!(optimizer.step_parallel(0.1, &mut model, &mut []), Ok(summary));
            assert_eq!(weights, vec![1.0; len]);
        }
        assert_eq!(optimizer.step(0.1, &mut [], &mut []).unwrap().applied, 0);
        assert_eq!(optimizer.pass(0.1).unwrap().decide().gradient_norm(), 0.0);
    }
}

#[test]
fn zeros() {
    fn layer<S: RuleState>(weight: f32, gradient: f32) -> Host<S> {
        Host::new(&[weight; 37], &[gradient; 37], &[0.0; 37], [0; 3])
    }
    let sgd = Sgd::new(SgdConfig { weight_decay: 0.0, ..*larc().config() }).unwrap();
    for (weight, gradient, lr) in [(0.0, 1.0, 0.1), (1.0, 0.0, 0.1), (0.0, 0.0, 0.1), (1.0, 1.0, 0.0)] {
        let mut host = layer(weight, gradient);
        let report = host.step(&sgd, lr).unwrap();
        assert!(report.applied() && report.factor == 1.0);
        assert_eq!(host.weights.get(), [weight - lr as f32 * gradient; 37]);
        for novograd in [novograd(), luc()] {
            let mut host = layer(weight, gradient);
            assert!(host.step(&novograd, lr).unwrap().applied());
            assert!(host.weights.get().iter().all(|w| w.is_finite()));
        }
    }
    for config in LARCS {
        for mode in [LarcMode::Clip, LarcMode::Scale] {
            let larc = Some(LarcConfig { mode, ..config });
            let sgd = Sgd::new(SgdConfig { larc, ..SgdConfig::DEFAULT }).unwrap();
            for (weight, gradient, lr) in [(0.0, 0.0, 0.1), (1.0, 0.0, 0.1), (1.0, 1.0, 0.0), (0.0, 0.0, 0.0)] {
                let mut host = Host::new(&[weight; 5], &[gradient; 5], &[], [0; 3]);
                let report = host.step(&sgd, lr).unwrap();
                assert!(report.applied() && report.factor.is_finite());
                assert_eq!(host.weights.get(), [weight; 5], "{config:?}");
            }
        }
    }
    for (weight, gradient, lr) in [(0.0, 1.0, 0.1), (1.0, 0.0, 0.1), (0.0, 0.0, 0.1), (1.0, 1.0, 0.0)] {
        for optimizer in [adam(), lamb(), adam_luc(), larc_adam()] {
            let mut host = layer(weight, gradient).second_moment(&[0.0; 37], 0);
            assert!(host.step(&optimizer, lr).unwrap().applied());
            assert!(host.weights.get().iter().all(|w| w.is_finite()));
        }
        let adam = Adam::new(AdamConfig { eps: 0.0, ..AdamConfig::DEFAULT }).unwrap();
        let mut host = layer(weight, gradient).second_moment(&[0.0; 37], 0);
        assert!(host.step(&adam, lr).unwrap().applied());
        assert!(host.weights.get().iter().all(|w| (w - (weight - lr as f32 * gradient)).abs() < 1e-6));
    }
    // The ratio of a zero step is 1, whatever is added to its norm.
    let ratio = TrustRatio { eps: 1e-6, ..TrustRatio::DEFAULT };
    let lamb = Adam::new(AdamConfig { trust_ratio: Some(ratio), ..AdamConfig::DEFAULT }).unwrap();
    let mut host = layer(1.0, 0.0).second_moment(&[0.0; 37], 0);
    assert_eq!(host.step(&lamb, 0.1).unwrap().effective_rate, 0.1);
    // Without any epsilon, a layer that has never had a gradient would divide zero by zero.
    let novograd = NovoGrad::new(NovoGradConfig { eps: 0.0, ..NovoGradConfig::DEFAULT }).unwrap();
    let mut host = Host::new(&[1.0; 5], &[0.0; 5], &[0.0; 5], [0; 3]);
    assert!(host.step(&novograd, 0.1).unwrap().applied());
    assert_eq!(host.weights.get(), [1.0; 5]);
    host.set_gradients(&[2.0; 5]);
    assert!(host.step(&novograd, 0.1).unwrap().applied());
    assert!(host.weights.get()[0] < 1.0);
}

#[test]
fn more_steps_than_can_be_counted() {
    let mut of_sgd = Host { state: SgdState { steps: u32::MAX }, ..host(37) };
    assert!(of_sgd.step(&larc(), 0.1).unwrap().applied());
    assert_eq!(of_sgd.state.steps, u32::MAX);
    let config = NovoGradConfig { bias_correction: BiasCorrection::Moments, ..NovoGradConfig::DEFAULT };
    let state = NovoGradState { steps: u32::MAX, second_moment: 1.0, max_second_moment: 0.0 };
    let mut of_novograd = Host { state, ..host(37) };
    assert!(of_novograd.step(&NovoGrad::new(config).unwrap(), 0.1).unwrap().applied());
    assert_eq!(of_novograd.state.steps, u32::MAX);
    let mut of_adam = Host { state: AdamState { steps: u32::MAX }, ..of_adam(37) };
    assert!(of_adam.step(&lamb(), 0.1).unwrap().applied());
    assert_eq!(of_adam.state.steps, u32::MAX);
}
