//! A wrong argument is an error, and nothing is written.

use crate::harness::optimizers::{Fixed, adam, lamb, larc, larc_adam, larc_novograd, luc, novograd, plain, skipping};
use crate::harness::{Host, Net, Walk, backends, on, walks};
use crate::{OUT_OF_RANGE, host, host_without_momentum, length, net};
use layerwise::pieces::{LEAF, LayerView, SUMS, leaf_sums};
use layerwise::rule::{Moments, Rule, Update};
use layerwise::{
    Adam, AdamConfig, AdamDecay, AdamState, AnyOptimizer, Argument, BytesError, CarriedNorms, ConfigError, DecayMode,
    Error, GradientSum, Larc, LarcConfig, LayerConfig, LayerMemory, LayerSpan, Layers, LayersError, Luc, MomentNorm,
    NovoGrad, NovoGradConfig, NovoGradState, Optimizer, Outcome, Policy, Report, Sgd, SgdConfig, SgdState, Step,
    TrustRatio, ZeroNorm, accumulate, accumulate_finite, accumulate_model, floats, floats_mut, floats_of,
    floats_of_mut,
};

/// The error of a step of one layer. The test's host must predict it.
fn refused<R: Rule>(optimizer: &Optimizer<R>, step: impl Into<Step>, mut host: Host<R::State>) -> Error {
    host.step(optimizer, step).unwrap_err()
}

/// The error of a step of two layers, the same for every walk; nothing is written.
fn refused_by_all<R: Rule<State = NovoGradState> + Sync>(
    optimizer: &Optimizer<R>,
    step: impl Into<Step>,
    spoil: impl Fn(&mut Net<NovoGradState>),
    walks: &[Walk],
) -> Error {
    let step = step.into();
    let errors = walks.iter().map(|walk| {
        let mut net = net();
        spoil(&mut net);
        let before = net.clone();
        let error = net.try_step(optimizer, step, *walk).unwrap_err();
        net.assert_same(&format!("{walk:?}"), &before);
        error
    });
    let errors: Vec<_> = errors.collect();
    // Compared as text, because a NaN rate does not equal itself.
    assert!(errors.iter().all(|error| format!("{error:?}") == format!("{:?}", errors[0])), "{errors:?}");
    errors[0]
}

#[test]
fn slices_of_different_lengths() {
    for len in [0, 3, 40] {
        let longer = |host: &[f32]| [host, &[1.0]].concat();
        let even = host::<SgdState>(len);
        let gradients = Host::new(even.weights.get(), &longer(even.gradients.get()), even.momentum.get(), [0; 3]);
        assert_eq!(refused(&larc(), 0.1, gradients), length(Argument::Gradients, len, len + 1));
        let momentum = Host::new(even.weights.get(), even.gradients.get(), &longer(even.momentum.get()), [0; 3]);
        assert_eq!(refused(&larc(), 0.1, momentum), length(Argument::Momentum, len, len + 1));
    }
    let (mut two, mut one) = ([5.0; 2], [5.0; 1]);
    let gradients = length(Argument::Gradients, 2, 1);
    assert_eq!(accumulate(&mut two, &[1.0], 1.0), Err(gradients));
    assert_eq!(accumulate_finite(&mut two, &[f32::NAN], 1.0), Err(gradients));
    let in_layer = Error::Length { layer: Some(0), what: Argument::Gradients, expected: 2, found: 1 };
    assert_eq!(accumulate_model(&mut [GradientSum::new(&mut two, &[1.0])], 1.0), Err(in_layer));
    let larc = Larc::new(LarcConfig::DEFAULT).unwrap();
    assert_eq!(larc.scale_gradients(0.1, 0.0, &two, &mut one).unwrap_err(), gradients);
    let mut sums = [7.0; 2];
    assert_eq!(leaf_sums(&[1.0; 1000], 0, &mut sums), Err(length(Argument::Sums, 1, 2)));
    assert_eq!((two, one, sums), ([5.0; 2], [5.0], [7.0; 2]));
}

#[test]
fn pieces_of_different_lengths() {
    let optimizer = skipping(luc());
    let (mut two, one, mut sums) = ([5.0; 2], [5.0; 1], [[7.0; SUMS]; 2]);
    let [gradients, momentum, of_sums] = [Argument::Gradients, Argument::Momentum, Argument::Sums]
        .map(|what| move |len, found| length(what, len, found));
    let mut pass = optimizer.pass(0.1).unwrap();
    let view = LayerView::new(&two, &two).momentum(&two);
    assert_eq!(pass.measure(LayerView::new(&two, &one).momentum(&two)).unwrap_err(), gradients(2, 1));
    assert_eq!(pass.measure(LayerView::new(&two, &two).momentum(&one)).unwrap_err(), momentum(2, 1));
    assert_eq!(pass.leaf_sums(LayerView::new(&two, &one).momentum(&two), 0, &mut sums[..1]), Err(gradients(2, 1)));
    assert_eq!(pass.leaf_sums(view, 0, &mut sums), Err(of_sums(1, 2)));
    let measured = pass.measure(view).unwrap();
    let decided = pass.decide();
    let planned = decided.plan(measured, &LayerConfig::DEFAULT, NovoGradState::default()).unwrap();
    let mut step_sums = [7.0; 2];
    assert_eq!(
        planned.step_leaf_sums(LayerView::new(&two, &one).momentum(&two), 0, &mut step_sums[..1]),
        Err(gradients(2, 1))
    );
    assert_eq!(planned.step_leaf_sums(view, 0, &mut step_sums), Err(of_sums(1, 2)));
    let planned = decided.limit(planned, &[1.0]).unwrap();
    let (mut m, mut state) = ([5.0; 2], NovoGradState::default());
    assert_eq!(planned.apply(LayerMemory::new(&mut two, &one, &mut ()).momentum(&mut m)), Err(gradients(2, 1)));
    assert_eq!(
        planned.apply(LayerMemory::new(&mut two, &[1.0; 2], &mut ()).momentum(&mut m[..1])),
        Err(momentum(2, 1))
    );
    let layer = LayerMemory::new(&mut two, &one, &mut state).momentum(&mut m);
    assert_eq!(decided.apply(measured, layer).unwrap_err(), gradients(2, 1));
    assert_eq!((two, m, sums, step_sums), ([5.0; 2], [5.0; 2], [[7.0; SUMS]; 2], [7.0; 2]));
}

#[test]
fn momentum_that_is_missing() {
    let missing = |layer| Error::Missing { layer, what: Argument::Momentum };
    assert_eq!(refused(&larc(), 0.1, host_without_momentum(20)), missing(None));
    assert_eq!(
        missing(None).to_string(),
        "the rule keeps momentum: give it by `.momentum(..)`, as long as the weights"
    );
    // A missing array counts as empty.
    let (mut weights, mut state) = ([1.0; 20], SgdState::default());
    let layer = LayerMemory::new(&mut weights, &[1.0; 20], &mut state);
    assert_eq!(larc().step_layer(0.1, layer).unwrap_err(), missing(None));
    assert_eq!((weights, state), ([1.0; 20], SgdState::default()));
    assert_eq!(refused_by_all(&novograd(), 0.1, |net| net.momentum.clear(), &walks()), missing(Some(0)));
    // With a policy that skips whole steps and a rule that limits its step, the momentum is read before the decision.
    let optimizer = skipping(luc());
    let mut pass = optimizer.pass(0.1).unwrap();
    assert_eq!(pass.measure(LayerView::new(&weights, &weights)).unwrap_err(), missing(None));
    assert_eq!(pass.leaf_sums(LayerView::new(&weights, &weights), 0, &mut [[0.0; SUMS]]), Err(missing(None)));
}

#[test]
fn a_second_moment_that_is_missing() {
    let missing = |layer| Error::Missing { layer, what: Argument::SecondMoment };
    for optimizer in [adam(), lamb(), skipping(lamb())] {
        assert_eq!(refused(&optimizer, 0.1, host(20)), missing(None));
        let longer = host(20).second_moment(&[0.0; 21], 0);
        assert_eq!(refused(&optimizer, 0.1, longer), length(Argument::SecondMoment, 20, 21));
    }
    assert_eq!(
        missing(None).to_string(),
        "the rule keeps second_moment: give it by `.second_moment(..)`, as long as the weights"
    );
    for walk in walks() {
        let mut net: Net<AdamState> = net();
        assert_eq!(net.try_step(&adam(), 0.1, walk).unwrap_err(), missing(Some(0)), "{walk:?}");
    }
    // With a policy that skips whole steps and a rule that limits its step, the moments are read before the decision.
    let (x, optimizer) = ([1.0; 20], skipping(lamb()));
    let mut pass = optimizer.pass(0.1).unwrap();
    let view = LayerView::new(&x, &x).momentum(&x);
    assert_eq!(pass.measure(view).unwrap_err(), missing(None));
    assert_eq!(pass.leaf_sums(view, 0, &mut [[0.0; SUMS]]), Err(missing(None)));
}

#[test]
fn momentum_for_a_rule_that_keeps_none() {
    assert_eq!(refused(&plain(), 0.1, host(20)), length(Argument::Momentum, 0, 20));
    let second = host(20).second_moment(&[0.0; 20], 0);
    assert_eq!(refused(&novograd(), 0.1, second), length(Argument::SecondMoment, 0, 20));
}

#[test]
fn one_layer_with_a_wrong_length() {
    let lengths = [[20, 20, 20], [20, 19, 20], [20, 20, 21]];
    for (bad, what, found) in [(1, Argument::Gradients, 19), (2, Argument::Momentum, 21)] {
        let host = |[w, g, m]: [usize; 3]| (vec![1.0; w], vec![1.0; g], vec![1.0; m], NovoGradState::default());
        let mut hosts = [host(lengths[0]), host(lengths[bad])];
        let before = hosts.clone();
        let mut layers = hosts.each_mut().map(|(w, g, m, state)| LayerMemory::new(w, g, state).momentum(m));
        let error = Error::Length { layer: Some(1), what, expected: 20, found };
        assert_eq!(novograd().step(0.1, &mut layers, &mut [Report::ABSENT; 2]), Err(error));
        #[cfg(feature = "rayon")]
        assert_eq!(novograd().step_parallel(0.1, &mut layers, &mut [Report::ABSENT; 2]), Err(error));
        assert_eq!(novograd().step(0.1, &mut layers, &mut [Report::ABSENT; 3]), Err(length(Argument::Reports, 2, 3)));
        assert_eq!(hosts, before);
    }
    let error = Error::Length { layer: Some(1), what: Argument::Momentum, expected: 20, found: 19 };
    assert_eq!(error.to_string(), "layer 1: momentum: 20 elements expected, 19 found");
}

#[test]
fn memory_that_does_not_fit_the_table() {
    let flat: Vec<Walk> = walks().into_iter().filter(|walk| !matches!(walk, Walk::Slice | Walk::Lent)).collect();
    #[cfg(feature = "rayon")]
    let flat: Vec<Walk> = flat.into_iter().filter(|walk| !matches!(walk, Walk::SliceParallel(_))).collect();
    let refused = |spoil: fn(&mut Net<_>)| refused_by_all(&novograd(), 0.1, spoil, &flat);
    assert_eq!(refused(|net| net.weights.truncate(74)), length(Argument::Weights, 75, 74));
    assert_eq!(refused(|net| net.gradients.push(0.0)), length(Argument::Gradients, 75, 76));
    assert_eq!(refused(|net| net.momentum.truncate(70)), length(Argument::Momentum, 75, 70));
    assert_eq!(refused(|net| net.states.truncate(1)), length(Argument::States, 2, 1));
    assert_eq!(refused(|net| net.norms = vec![CarriedNorms::new(); 3]), length(Argument::Norms, 2, 3));
    assert_eq!(refused(|net| net.reports.truncate(1)), length(Argument::Reports, 2, 1));
}

#[test]
#[cfg(feature = "alloc")]
fn tensors_that_do_not_fit_a_memory() {
    let mut memory = larc().memory([3, 2]);
    let (mut weights, gradients) = ([vec![1.0; 3], vec![1.0; 2]], [vec![1.0; 3], vec![1.0; 2]]);
    let before = (memory.clone(), weights.clone());
    let fewer = memory.step(&larc(), 0.1, weights.iter_mut().zip(&gradients).take(1));
    assert_eq!(fewer, Err(Error::Layers { expected: 2, found: 1 }));
    let swapped = memory.step(&larc(), 0.1, weights.iter_mut().zip(&gradients).rev());
    assert_eq!(swapped, Err(Error::Length { layer: Some(0), what: Argument::Weights, expected: 3, found: 2 }));
    assert_eq!(memory.layer(2, &mut weights[0], &gradients[0]).unwrap_err(), Error::Layers { expected: 2, found: 3 });
    assert_eq!((memory, weights), before);
}

#[test]
#[cfg(feature = "alloc")]
fn a_saved_memory_that_does_not_fit() {
    use layerwise::LoadError;
    let mut memory = larc().memory([3, 2]);
    let saved = memory.to_bytes();
    let mut load = |bytes: &[u8]| memory.load(bytes).unwrap_err();
    assert_eq!(load(b"another file"), LoadError::Format);
    assert_eq!(load(&saved[..saved.len() - 1]), LoadError::Length);
    assert_eq!(load(&larc().memory([3]).to_bytes()), LoadError::Layers { expected: 2, found: 1 });
    assert_eq!(load(&larc().memory([3, 3]).to_bytes()), LoadError::Layer { layer: 1 });
    let mut of_novograd = novograd().memory([3, 2]);
    of_novograd.step(&novograd(), 0.1, [(&mut [1.0; 3][..], &[1.0; 3][..]), (&mut [1.0; 2], &[1.0; 2])]).unwrap();
    assert_eq!(load(&of_novograd.to_bytes()), LoadError::State { layer: 0 });
    assert_eq!(memory, larc().memory([3, 2]));
    #[cfg(feature = "half")]
    {
        let split = larc().memory([3, 2]).split_weights(|layer| layer == 1);
        for (other, layer) in [(larc().memory([3, 2]).bf16_momentum(), 0), (split, 1)] {
            assert_eq!(memory.load(&other.to_bytes()), Err(LoadError::Layer { layer }));
        }
        assert_eq!(memory, larc().memory([3, 2]));
    }
}

#[test]
fn rates_out_of_range() {
    let is_rate =
        |error, layer: Option<usize>| matches!(error, Error::LearningRate { layer: found, .. } if found == layer);
    for rate in OUT_OF_RANGE {
        assert!(is_rate(refused(&larc(), rate, host(20)), None));
        let config = LayerConfig { rate, ..LayerConfig::DEFAULT };
        assert!(is_rate(refused(&larc(), 0.1, Host { config, ..host(20) }), None));
        assert!(is_rate(refused_by_all(&novograd(), rate, |_| {}, &walks()), None));
        let walks = [Walk::Slice, Walk::Lent]; // a table refuses it
        assert!(is_rate(refused_by_all(&novograd(), 0.1, |net| net.spans[1].config = config, &walks), Some(1)));
        assert!(is_rate(plain().pass(rate).unwrap_err(), None));
        let larc = Larc::new(LarcConfig::DEFAULT).unwrap();
        assert!(is_rate(larc.scale_gradients(rate, 0.0, &[1.0], &mut [1.0]).unwrap_err(), None));
    }
    let config = LayerConfig { rate: 1e300, ..LayerConfig::DEFAULT };
    let infinite = Error::LearningRate { layer: None, rate: f64::INFINITY };
    assert_eq!(refused(&larc(), 1e300, Host { config, ..host(20) }), infinite);
    let fast = refused_by_all(&novograd(), 1e300, |net| net.spans[1].config = config, &walks());
    assert_eq!(fast, Error::LearningRate { layer: Some(1), rate: f64::INFINITY });
}

#[test]
fn gradient_scales_out_of_range() {
    for scale in OUT_OF_RANGE.into_iter().chain([0.0, -0.0]) {
        let step = Step::new(0.1).gradient_scale(scale);
        let is_scale = |error| matches!(error, Error::GradientScale(found) if found.to_bits() == scale.to_bits());
        assert!(is_scale(refused(&larc(), step, host(20))));
        assert!(is_scale(refused_by_all(&novograd(), step, |_| {}, &walks())));
        assert!(is_scale(plain().pass(step).unwrap_err()));
    }
    // The scale of a sum may be 0 or negative, but not too large.
    for scale in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
        let is_scale = |error| matches!(error, Error::GradientScale(found) if found.to_bits() == scale.to_bits());
        let mut sum = [1.0];
        assert!(is_scale(accumulate(&mut sum, &[1.0], scale).unwrap_err()));
        assert!(is_scale(accumulate_finite(&mut sum, &[f32::NAN], scale).unwrap_err()));
        assert!(is_scale(accumulate_model(&mut [GradientSum::new(&mut sum, &[1.0])], scale).unwrap_err()));
        assert_eq!(sum, [1.0]);
    }
}

#[test]
fn decay_out_of_range() {
    let larc_in_front = Larc::new(LarcConfig::DEFAULT).unwrap();
    let is_decay = |error, layer: Option<usize>| matches!(error, Error::Decay { layer: found, .. } if found == layer);
    for decay in OUT_OF_RANGE {
        let mut gradients = [1.0; 20];
        assert!(is_decay(larc_in_front.scale_gradients(0.1, decay, &[1.0; 20], &mut gradients).unwrap_err(), None));
        assert_eq!(gradients, [1.0; 20]);
        let config = LayerConfig { decay, ..LayerConfig::DEFAULT };
        assert!(is_decay(refused(&larc(), 0.1, Host { config, ..host(20) }), None));
        let walks = [Walk::Slice, Walk::Lent]; // a table refuses it
        assert!(is_decay(refused_by_all(&novograd(), 0.1, |net| net.spans[1].config = config, &walks), Some(1)));
    }
}

#[test]
fn a_state_that_no_rule_has_left() {
    let any = |optimizer: AnyOptimizer, state: [f64; 3]| {
        let second_moment = vec![0.0; if optimizer.moments() == Moments::FirstAndSecond { 20 } else { 0 }];
        Host { state, ..host(20) }.second_moment(&second_moment, 0).step(&optimizer, 0.1).map(|r| r.outcome)
    };
    let refused = Error::State { layer: None };
    for bad in [-1.0, 0.5, 5e9, f64::NAN, f64::INFINITY] {
        for optimizer in [larc().any(), lamb().any()] {
            assert_eq!(any(optimizer, [bad, 0.0, 0.0]), Err(refused), "{bad}");
            assert_eq!(any(optimizer, [3.0, 0.0, bad]), Err(refused), "a second number, {bad}");
        }
        assert_eq!(any(novograd().any(), [0.25, 0.0, bad]), Err(refused), "{bad}");
    }
    for bad in OUT_OF_RANGE {
        assert_eq!(any(novograd().any(), [bad, 0.0, 3.0]), Err(refused), "{bad}");
    }
    for (optimizer, state) in
        [(larc().any(), [3.0, 0.0, 0.0]), (lamb().any(), [3.0, 0.0, 0.0]), (novograd().any(), [0.25, 0.0, 3.0])]
    {
        assert_eq!(any(optimizer, state), Ok(Outcome::Applied));
    }
    for walk in walks() {
        let mut net: Net<[f64; 3]> = net();
        net.states[1] = [0.0, 0.0, 0.5];
        let before = net.clone();
        assert_eq!(net.try_step(&novograd().any(), 0.1, walk), Err(Error::State { layer: Some(1) }), "{walk:?}");
        net.assert_same(&format!("{walk:?}"), &before);
    }
    assert_eq!(refused.to_string(), "the state cannot come from a step of this rule");
}

#[test]
fn settings_out_of_range() {
    let error = Sgd::new(SgdConfig { momentum: 1.0, ..SgdConfig::DEFAULT }).unwrap_err();
    assert_eq!((error.setting, error.value, error.allowed), ("momentum", 1.0, ">= 0 and < 1"));
    let name = |result: Result<(), ConfigError>| result.map_err(|error| error.setting);
    let base = LarcConfig::DEFAULT;
    let larc = |config: LarcConfig| {
        let in_sgd = name(Sgd::new(SgdConfig { larc: Some(config), ..SgdConfig::DEFAULT }).map(|_| ()));
        assert_eq!(name(Larc::new(config).map(|_| ())), in_sgd);
        in_sgd
    };
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(larc(LarcConfig { eta: bad, ..base }), Err("larc.eta"));
        assert_eq!(larc(LarcConfig { eps: bad, ..base }), Err("larc.eps"));
        assert_eq!(larc(LarcConfig { min_update: bad, ..base }), Err("larc.min_update"));
        assert_eq!(larc(LarcConfig { min_norm: bad, ..base }), Err("larc.min_norm"));
    }
    assert_eq!(larc(LarcConfig { eta: 0.0, ..base }), Err("larc.eta"));
    assert_eq!(larc(LarcConfig { eps: 0.0, zero_norm: ZeroNorm::Formula, ..base }), Err("larc.eps"));

    let sgd = |config: SgdConfig| name(Sgd::new(config).map(|_| ()));
    let base = SgdConfig::DEFAULT;
    for bad in [-0.1, 1.0, f64::NAN] {
        assert_eq!(sgd(SgdConfig { momentum: bad, ..base }), Err("momentum"));
        assert_eq!(sgd(SgdConfig { dampening: bad, ..base }), Err("dampening"));
    }
    assert_eq!(sgd(SgdConfig { weight_decay: -1.0, ..base }), Err("weight_decay"));

    let novograd = |config: NovoGradConfig| name(NovoGrad::new(config).map(|_| ()));
    let base = NovoGradConfig::DEFAULT;
    for bad in [-0.1, 1.0, f64::NAN] {
        assert_eq!(novograd(NovoGradConfig { beta1: bad, ..base }), Err("beta1"));
        assert_eq!(novograd(NovoGradConfig { beta2: bad, ..base }), Err("beta2"));
    }
    assert_eq!(novograd(NovoGradConfig { eps: -1.0, ..base }), Err("eps"));
    assert_eq!(novograd(NovoGradConfig { eps_root: f64::INFINITY, ..base }), Err("eps_root"));
    assert_eq!(novograd(NovoGradConfig { weight_decay: f64::NAN, ..base }), Err("weight_decay"));
    let corrected = DecayMode::Corrected { max_rate: 0.0 };
    assert_eq!(novograd(NovoGradConfig { decay_mode: corrected, ..base }), Err("decay_mode.max_rate"));
    let luc = |luc| novograd(NovoGradConfig { luc: Some(luc), ..base });
    assert_eq!(luc(Luc { trust: 0.0, ..Luc::DEFAULT }), Err("luc.trust"));
    assert_eq!(luc(Luc { eps: -1.0, ..Luc::DEFAULT }), Err("luc.eps"));
}

#[test]
fn adam_and_limits_out_of_range() {
    let name = |result: Result<(), ConfigError>| result.map_err(|error| error.setting);
    let adam = |config: AdamConfig| name(Adam::new(config).map(|_| ()));
    let base = AdamConfig::DEFAULT;
    for bad in [-0.1, 1.0, f64::NAN] {
        assert_eq!(adam(AdamConfig { beta1: bad, ..base }), Err("beta1"));
        assert_eq!(adam(AdamConfig { beta2: bad, ..base }), Err("beta2"));
    }
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(adam(AdamConfig { eps: bad, ..base }), Err("eps"));
        assert_eq!(adam(AdamConfig { eps_root: bad, ..base }), Err("eps_root"));
        assert_eq!(adam(AdamConfig { weight_decay: bad, ..base }), Err("weight_decay"));
        let ratio = |ratio| adam(AdamConfig { trust_ratio: Some(ratio), ..base });
        assert_eq!(ratio(TrustRatio { eps: bad, ..TrustRatio::DEFAULT }), Err("trust_ratio.eps"));
        assert_eq!(ratio(TrustRatio { max_weights: Some(bad), ..TrustRatio::DEFAULT }), Err("trust_ratio.max_weights"));
        assert_eq!(ratio(TrustRatio { max_ratio: Some(bad), ..TrustRatio::DEFAULT }), Err("trust_ratio.max_ratio"));
    }
    assert_eq!(
        adam(AdamConfig { decay_mode: AdamDecay::Corrected { max_rate: 0.0 }, ..base }),
        Err("decay_mode.max_rate")
    );

    let luc = Some(Luc { trust: 0.0, ..Luc::DEFAULT });
    assert_eq!(adam(AdamConfig { luc, ..base }), Err("luc.trust"));
    assert_eq!(name(Sgd::new(SgdConfig { luc, ..SgdConfig::DEFAULT }).map(|_| ())), Err("luc.trust"));
    let larc = Some(LarcConfig { max_update: Some(0.0), ..LarcConfig::DEFAULT });
    assert_eq!(adam(AdamConfig { larc, ..base }), Err("larc.max_update"));
    let novograd = |config: NovoGradConfig| name(NovoGrad::new(config).map(|_| ()));
    assert_eq!(novograd(NovoGradConfig { larc, ..NovoGradConfig::DEFAULT }), Err("larc.max_update"));
    // LARC's ratio needs the L2 norm.
    let (larc, norm) = (Some(LarcConfig::DEFAULT), MomentNorm::Max);
    assert_eq!(novograd(NovoGradConfig { larc, norm, ..NovoGradConfig::DEFAULT }), Err("larc"));
}

#[test]
fn a_clip_that_a_rule_does_not_allow() {
    let clip = Policy { clip_norm: Some(1.0), ..Policy::DEFAULT };
    assert!(plain().with_policy(clip).is_ok() && larc().with_policy(clip).is_err());
    // LARC in front of other rules excludes it too; LAMB's ratio does not.
    assert!(larc_novograd().with_policy(clip).is_err() && larc_adam().with_policy(clip).is_err());
    assert!(larc_adam().any().with_policy(clip).is_err() && lamb().with_policy(clip).is_ok());
    let maximum = NovoGrad::new(NovoGradConfig { norm: MomentNorm::Max, ..NovoGradConfig::DEFAULT }).unwrap();
    assert_eq!(maximum.with_policy(clip).unwrap_err().setting, "clip_norm");
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(plain().with_policy(Policy { clip_norm: Some(bad), ..clip }).is_err());
    }
}

#[test]
#[cfg(feature = "serde")]
fn stored_settings_out_of_range() {
    let read = |text| serde_json::from_str::<NovoGradConfig>(text).map_err(|error| error.to_string());
    assert!(read(r#"{"beta1": 0.9}"#).is_ok());
    assert!(read(r#"{"beta1": 1.5}"#).unwrap_err().contains("beta1 is 1.5, but must be >= 0 and < 1"));
    assert!(read(r#"{"beta3": 0.9}"#).unwrap_err().contains("unknown field `beta3`"));
    assert!(serde_json::from_str::<Policy>(r#"{"clip_norm": -1}"#).is_err());
    assert!(serde_json::from_str::<LayerConfig>(r#"{"rate": -1}"#).is_err());
    assert!(serde_json::from_str::<LayerSpan>(r#"{"start": 0, "len": 1, "config": {"decay": -1}}"#).is_err());
}

#[test]
fn tables_that_do_not_fit() {
    let span = LayerSpan::new;
    let check = |spans: &[LayerSpan], len| (Layers::new(spans, len).err(), Layers::with_gaps(spans, len).err());
    let both = |error| (Some(error), Some(error));
    assert_eq!(check(&[span(0, 3), span(2, 2)], 4), both(LayersError::Overlap { layer: 1 }));
    assert_eq!(check(&[span(0, 2), span(2, 2), span(1, 2)], 4), both(LayersError::Overlap { layer: 2 }));
    assert_eq!(check(&[span(0, 3), span(1, 0)], 3), both(LayersError::Overlap { layer: 1 }));
    assert_eq!(check(&[span(0, 3), span(3, 2)], 4), both(LayersError::OutOfBounds { layer: 1 }));
    assert_eq!(check(&[span(0, 3), span(5, 0)], 4).1, Some(LayersError::OutOfBounds { layer: 1 }));
    assert_eq!(
        check(&[span(0, usize::MAX), span(usize::MAX, 2)], usize::MAX),
        both(LayersError::OutOfBounds { layer: 1 })
    );
    assert_eq!(check(&[span(1, 3)], 4), (Some(LayersError::Gap { layer: 0 }), None));
    assert_eq!(check(&[span(0, 2), span(3, 1)], 4), (Some(LayersError::Gap { layer: 1 }), None));
    assert_eq!(check(&[span(0, 3)], 4), (Some(LayersError::Gap { layer: 1 }), None));
    assert_eq!(check(&[], 4), (Some(LayersError::Gap { layer: 0 }), None));
    for bad in OUT_OF_RANGE {
        let rate = LayerConfig { rate: bad, ..LayerConfig::DEFAULT };
        assert_eq!(check(&[span(0, 1).config(rate)], 1), both(LayersError::Rate { layer: 0 }));
        let decay = LayerConfig { decay: bad, ..LayerConfig::DEFAULT };
        assert_eq!(check(&[span(0, 1), span(1, 1).config(decay)], 2), both(LayersError::Decay { layer: 1 }));
    }
    assert_eq!(LayerSpan::contiguous([usize::MAX, 2])[1].start, usize::MAX);
    assert_eq!(LayerSpan::follow([usize::MAX, 2]).last(), Some(span(usize::MAX, 2)));
    assert_eq!(LayersError::Gap { layer: 1 }.to_string(), "there is a gap before layer 1");
}

/// A buffer from another language, aligned to 4 bytes.
#[repr(align(4))]
struct Buffer([u8; 83]);

#[test]
fn misaligned_bytes() {
    let mut buffer = Buffer([1; 83]);
    assert_eq!(floats(&buffer.0[..80]).unwrap(), [f32::from_ne_bytes([1; 4]); 20]);
    assert_eq!(floats_mut(&mut buffer.0[..80]).unwrap().len(), 20);
    for offset in 1..4 {
        assert_eq!(floats(&buffer.0[offset..80 + offset]), Err(BytesError::Misaligned { size: 4 }));
        assert_eq!(floats_mut(&mut buffer.0[offset..80 + offset]), Err(BytesError::Misaligned { size: 4 }));
        // An empty buffer may begin anywhere.
        assert!(floats(&buffer.0[offset..offset]).unwrap().is_empty());
        assert!(floats_mut(&mut buffer.0[offset..offset]).unwrap().is_empty());
    }
    let error = Error::Bytes { what: Argument::Momentum, error: BytesError::Misaligned { size: 4 } };
    assert_eq!(error.to_string(), "momentum: the bytes do not begin at a multiple of 4");
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(floats_of::<f32>(&buffer.0[1..5]), Err(BytesError::Misaligned { size: 4 }));
    #[cfg(feature = "half")]
    {
        use half::{bf16, f16};
        let misaligned = BytesError::Misaligned { size: 2 };
        for offset in [0, 2] {
            let bytes = &mut buffer.0[offset..6 + offset];
            assert_eq!(floats_of::<bf16>(bytes).unwrap(), [bf16::from_bits(0x0101); 3]);
            assert_eq!(floats_of::<f16>(bytes).unwrap(), [f16::from_bits(0x0101); 3]);
            floats_of_mut::<bf16>(bytes).unwrap()[2] = bf16::ONE;
            assert_eq!(floats_of_mut::<f16>(bytes).unwrap()[2], f16::from_bits(bf16::ONE.to_bits()));
            bytes.fill(1);
        }
        for offset in [1, 3] {
            assert_eq!(floats_of::<bf16>(&buffer.0[offset..6 + offset]), Err(misaligned));
            assert_eq!(floats_of_mut::<f16>(&mut buffer.0[offset..6 + offset]), Err(misaligned));
            assert!(floats_of::<f16>(&buffer.0[offset..offset]).unwrap().is_empty());
            assert!(floats_of_mut::<bf16>(&mut buffer.0[offset..offset]).unwrap().is_empty());
        }
        assert_eq!(misaligned.to_string(), "the bytes do not begin at a multiple of 2");
    }
}

#[test]
fn parts_of_a_float() {
    let mut buffer = Buffer([1; 83]);
    for len in [1, 3, 79, 81] {
        assert_eq!(floats(&buffer.0[..len]), Err(BytesError::PartialFloat { len, size: 4 }));
        assert_eq!(floats_mut(&mut buffer.0[..len]), Err(BytesError::PartialFloat { len, size: 4 }));
        assert_eq!(floats_of_mut::<f32>(&mut buffer.0[..len]), Err(BytesError::PartialFloat { len, size: 4 }));
        #[cfg(feature = "half")]
        {
            let error = BytesError::PartialFloat { len, size: 2 };
            assert_eq!(floats_of::<half::bf16>(&buffer.0[..len]), Err(error));
            assert_eq!(floats_of_mut::<half::f16>(&mut buffer.0[..len]), Err(error));
            assert_eq!(error.to_string(), format!("{len} bytes are not a whole number of floats of 2 bytes"));
        }
    }
}

#[test]
fn chunks_that_begin_off_a_leaf() {
    let optimizer = luc();
    let x = [1.0; 20];
    let view = LayerView::new(&x, &x).momentum(&x);
    let mut pass = optimizer.pass(0.1).unwrap();
    let measured = pass.measure(view).unwrap();
    for start in [1, 20, LEAF - 1, LEAF + 16, usize::MAX] {
        let off_leaf = Err(Error::OffLeaf { start });
        let (mut sums, mut step_sums) = ([[7.0; SUMS]], [7.0]);
        assert_eq!(leaf_sums(&x, start, &mut step_sums), off_leaf);
        assert_eq!(pass.leaf_sums(view, start, &mut sums), off_leaf);
        let other = optimizer.pass(0.1).unwrap().decide();
        let planned = other.plan(measured, &LayerConfig::DEFAULT, NovoGradState::default()).unwrap();
        assert_eq!(planned.step_leaf_sums(view, start, &mut step_sums), off_leaf);
        assert_eq!((sums, step_sums), ([[7.0; SUMS]], [7.0]));
    }
    assert_eq!(leaf_sums(&x, 3 * LEAF, &mut [0.0]), Ok(()));
}

#[test]
fn a_step_that_its_rule_has_not_seen() {
    let optimizer = luc();
    let (mut w, mut m) = ([1.0; 20], [0.5; 20]);
    let mut pass = optimizer.pass(0.1).unwrap();
    let measured = pass.measure(LayerView::new(&w, &[1.0; 20])).unwrap();
    let mut decided = pass.decide();
    let planned = decided.plan(measured, &LayerConfig::DEFAULT, NovoGradState::default()).unwrap();
    assert_eq!(decided.confirm(&planned), Err(Error::StepNotSeen));
    let result = planned.apply(LayerMemory::new(&mut w, &[1.0; 20], &mut ()).momentum(&mut m));
    assert_eq!(result, Err(Error::StepNotSeen));
    assert_eq!((w, m), ([1.0; 20], [0.5; 20]));
}

/// Pieces check a layer's settings and state.
#[test]
fn pieces_with_settings_out_of_range() {
    let optimizer = novograd().any();
    let mut pass = optimizer.pass(0.1).unwrap();
    let measured = pass.measure(LayerView::new(&[1.0; 20], &[1.0; 20])).unwrap();
    let decided = optimizer.pass(0.1).unwrap().decide();
    for bad in OUT_OF_RANGE {
        for (config, of_rate) in [
            (LayerConfig { rate: bad, ..LayerConfig::DEFAULT }, true),
            (LayerConfig { decay: bad, ..LayerConfig::DEFAULT }, false),
            (LayerConfig { rate: bad, ..LayerConfig::FROZEN }, true),
        ] {
            let is_refused = |error| match error {
                Error::LearningRate { layer: None, .. } => of_rate,
                Error::Decay { layer: None, .. } => !of_rate,
                _ => false,
            };
            assert!(is_refused(pass.fold(&config, 20, &[[1.0; SUMS]]).unwrap_err()));
            assert!(is_refused(decided.plan(measured, &config, [0.0; 3]).unwrap_err()));
        }
        let state = decided.plan(measured, &LayerConfig::DEFAULT, [bad, 0.0, 3.0]);
        assert_eq!(state.unwrap_err(), Error::State { layer: None });
    }
    assert!(decided.plan(measured, &LayerConfig::DEFAULT, [0.0; 3]).unwrap().report().0.applied());
}

#[test]
fn carried_norms_that_are_stale() {
    for (name, backend) in backends() {
        let optimizer = on(larc(), backend);
        let mut host = host::<SgdState>(37);
        host.norms = Some(CarriedNorms::new());
        host.step(&optimizer, 0.1).unwrap();
        host.weights.get_mut()[36] *= 0.5; // a clamp, say
        let update = Update { gradient: 1.0, rate: 0.1, ..Update::ZERO };
        if cfg!(debug_assertions) {
            assert_eq!(host.step(&optimizer, 0.1).unwrap_err(), Error::StaleNorm { layer: None }, "{name}");
            // In pieces it is refused where it is read, before any layer is written.
            let (mut pass, layer) = (optimizer.pass(0.1).unwrap(), host.memory());
            assert_eq!(pass.measure(layer.view()).unwrap_err(), Error::StaleNorm { layer: None }, "{name}");
            let _ = pass.measure(layer.view().config(LayerConfig::FROZEN)).unwrap();
            // A rule that does not need the norm of the weights does not check it.
            let mut other = crate::host::<u32>(37);
            other.norms = host.norms;
            assert!(other.step(&Fixed::optimizer(update, true), 0.1).unwrap().applied());
        }
        host.norms.as_mut().unwrap().forget_weights();
        assert!(host.step(&optimizer, 0.1).unwrap().applied(), "{name}");
    }
    let stale = Error::StaleNorm { layer: Some(2) };
    let text = "layer 2: the weights have changed since their norm was carried: call `forget_weights` then";
    assert_eq!(stale.to_string(), text);
}
