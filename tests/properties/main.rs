//! The laws that hold for every layer and every setting.

mod reference;

use layerwise::{
    BiasCorrection, CarriedNorms, DecayInRatio, DecayMode, Error, GradientAveraging, Larc, LarcConfig, LarcMode, Layer,
    LayerView, Luc, MomentNorm, Norms, NovoGrad, NovoGradConfig, NovoGradState, Optimizer, Outcome, Policy, Report,
    Rule, Sgd, SgdConfig, SgdState, VInit, ZeroNorm, l2_norm,
};
use proptest::prelude::*;
use reference::oracle::{Host, wide};

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Weights and a few gradients of one length, of ordinary size. Some elements are zero.
fn layers(steps: usize) -> impl Strategy<Value = (Vec<f32>, Vec<Vec<f32>>)> {
    let len = prop_oneof![4 => 1..70_usize, 1 => 1000..5000_usize];
    let element = || prop_oneof![8 => -1.0..1.0_f32, 1 => Just(0.0)];
    len.prop_flat_map(move |len| {
        let array = move || prop::collection::vec(element(), len);
        (array(), prop::collection::vec(array(), steps))
    })
}

fn larc_configs() -> impl Strategy<Value = LarcConfig> {
    (
        any::<bool>(),
        1e-4..0.1,
        prop_oneof![Just(0.0), 1e-9..1e-3],
        prop_oneof![Just(0.0), 1e-7..1e-2],
        prop_oneof![3 => Just(0.0), 1 => 1e-3..1.0],
        0..4_u8,
        0..3_u8,
        any::<bool>(),
    )
        .prop_map(|(clip, eta, eps, min_update, min_norm, zero_norm, decay_in_ratio, only_with_decay)| {
            LarcConfig {
                mode: if clip { LarcMode::Clip } else { LarcMode::Scale },
                eta,
                eps: if zero_norm == 3 { eps + 1e-8 } else { eps },
                min_update,
                min_norm,
                zero_norm: [
                    ZeroNorm::PlainStep,
                    ZeroNorm::PlainStepWithoutDecay,
                    ZeroNorm::PlainStepUnlessDecaying,
                    ZeroNorm::Formula,
                ][usize::from(zero_norm)],
                decay_in_ratio: [DecayInRatio::No, DecayInRatio::SumOfNorms, DecayInRatio::NormOfSum]
                    [usize::from(decay_in_ratio)],
                only_with_decay,
            }
        })
}

fn sgd_configs() -> impl Strategy<Value = SgdConfig> {
    (
        prop_oneof![Just(0.0), 0.1..0.99],
        prop_oneof![Just(0.0), 0.1..0.9],
        any::<[bool; 4]>(),
        prop_oneof![Just(0.0), 1e-4..0.5],
        prop::option::of(larc_configs()),
    )
        .prop_map(|(momentum, dampening, [first, nesterov, inside, maximize], weight_decay, larc)| SgdConfig {
            momentum,
            dampening,
            dampen_first_step: first,
            nesterov,
            weight_decay,
            rate_in_momentum: inside,
            maximize,
            larc: larc.map(|larc| Larc::new(larc).unwrap()),
        })
}

fn novograd_configs() -> impl Strategy<Value = NovoGradConfig> {
    let numbers = (
        prop_oneof![Just(0.0), 0.1..0.99],
        prop_oneof![Just(0.0), 0.1..0.999],
        prop_oneof![Just(0.0), 1e-9..1e-2],
        prop_oneof![Just(0.0), 1e-9..1e-2],
        prop_oneof![Just(0.0), 1e-4..0.5],
    );
    let luc = prop::option::of((1e-4..0.1, prop_oneof![Just(0.0), 1e-9..1e-2], any::<bool>()));
    (numbers, 0..4_u8, 0..3_usize, 0..3_usize, 0..3_usize, any::<[bool; 5]>(), luc).prop_map(
        |((beta1, beta2, eps, eps_root, weight_decay), decay, v_init, averaging, bias, flags, luc)| {
            let [amsgrad, max, raw_momentum, rate_in_momentum, maximize] = flags;
            NovoGradConfig {
                beta1,
                beta2,
                eps,
                eps_root,
                weight_decay,
                decay_mode: [
                    DecayMode::Coupled,
                    DecayMode::Decoupled,
                    DecayMode::Corrected { max_rate: 1.0 },
                    DecayMode::Fixed,
                ][usize::from(decay)],
                v_init: [VInit::WhileZero, VInit::FirstStep, VInit::Zero][v_init],
                gradient_averaging: [GradientAveraging::Off, GradientAveraging::On, GradientAveraging::AfterFirstStep]
                    [averaging],
                amsgrad,
                luc: luc.map(|(trust, eps, freezes_zeros)| Luc { trust, eps, freezes_zeros }),
                bias_correction: [BiasCorrection::Off, BiasCorrection::Moments, BiasCorrection::StepSize][bias],
                norm: if max { MomentNorm::Max } else { MomentNorm::L2 },
                raw_momentum,
                rate_in_momentum,
                maximize,
            }
        },
    )
}

fn switches() -> impl Strategy<Value = Layer> {
    (any::<bool>(), any::<bool>(), prop_oneof![Just(1.0), 0.0..2.0]).prop_map(|(adapt, decay, rate)| Layer {
        adapt,
        decay,
        rate,
        frozen: false,
    })
}

/// Runs some steps; returns weights, momentum and reports.
fn run<R: Rule>(
    optimizer: &Optimizer<R>,
    layer: &Layer,
    lr: f64,
    weights: &[f32],
    gradients: &[Vec<f32>],
) -> (Vec<f32>, Vec<f32>, Vec<Report>) {
    let mut weights = weights.to_vec();
    let mut momentum = vec![0.0; optimizer.momentum_len(weights.len())];
    let mut state = R::State::default();
    let mut reports = vec![];
    for gradients in gradients {
        let (weights, momentum, state) = (&mut weights, &mut momentum, &mut state);
        let view = LayerView { layer: *layer, weights, gradients, momentum, state, norms: None };
        reports.push(optimizer.step_view(lr, view).unwrap());
    }
    (weights, momentum, reports)
}

/// Runs some steps with a carried norm and compares every bit with those without.
fn carries_the_same<R: Rule>(
    optimizer: &Optimizer<R>,
    layer: &Layer,
    start: &[f32],
    gradients: &[Vec<f32>],
) -> Result<(), TestCaseError> {
    let (expected, expected_momentum, reports) = run(optimizer, layer, 0.1, start, gradients);
    let (mut weights, mut state, mut norm) = (start.to_vec(), R::State::default(), CarriedNorms::default());
    let mut momentum = vec![0.0; optimizer.momentum_len(start.len())];
    for (gradients, expected) in gradients.iter().zip(reports) {
        let (weights, momentum, state) = (&mut weights, &mut momentum, &mut state);
        let view = LayerView { layer: *layer, weights, gradients, momentum, state, norms: Some(&mut norm) };
        let report = optimizer.step_view(0.1, view).unwrap();
        prop_assert_eq!(report.weight_norm.to_bits(), expected.weight_norm.to_bits());
        prop_assert_eq!(report.factor.to_bits(), expected.factor.to_bits());
        prop_assert!(norm.weights().is_none_or(|norm| norm.to_bits() == l2_norm(weights).to_bits()));
        prop_assert_eq!(norm.weights().is_some(), optimizer.rule().needs(layer).weights);
    }
    prop_assert_eq!(bits(&weights), bits(&expected));
    prop_assert_eq!(bits(&momentum), bits(&expected_momentum));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sgd_is_the_reference(
        config in sgd_configs(), layer in switches(), lr in prop_oneof![Just(0.0), 1e-4..1.0_f64],
        (start, gradients) in layers(3),
    ) {
        let mut host = Host::for_optimizer(&Sgd::new(config).unwrap(), &start);
        for gradients in gradients {
            host.gradients.get_mut().copy_from_slice(&gradients);
            prop_assert!(host.step_sgd(&config, Policy::DEFAULT, lr, layer).unwrap().applied());
        }
    }

    #[test]
    fn novograd_is_the_reference(
        config in novograd_configs(), layer in switches(), lr in prop_oneof![Just(0.0), 1e-4..0.1_f64],
        (start, gradients) in layers(3),
    ) {
        let mut host = Host::for_optimizer(&NovoGrad::new(config).unwrap(), &start);
        for gradients in gradients {
            host.gradients.get_mut().copy_from_slice(&gradients);
            prop_assert!(host.step_novograd(&config, Policy::DEFAULT, lr, layer).unwrap().applied());
        }
    }

    #[test]
    fn norms_scale_by_powers_of_two((x, _) in layers(0), exponent in -40..40_i32) {
        // Small elements could lose bits of their squares to underflow, which scaling would not.
        let x: Vec<f32> = x.iter().map(|x| if x.abs() < 1e-6 { 0.0 } else { *x }).collect();
        let two = 2f64.powi(exponent);
        let scaled: Vec<f32> = x.iter().map(|x| x * two as f32).collect();
        prop_assert_eq!(l2_norm(&scaled), two * l2_norm(&x));
    }

    #[test]
    fn novograd_does_not_see_the_scale_of_gradients(
        (start, gradients) in layers(3), exponent in -30..30_i32, amsgrad: bool, averages: bool,
    ) {
        let config = NovoGradConfig {
            eps: 0.0,
            amsgrad,
            weight_decay: 0.01,
            gradient_averaging: if averages { GradientAveraging::On } else { GradientAveraging::Off },
            ..NovoGradConfig::DEFAULT
        };
        let novograd = NovoGrad::new(config).unwrap();
        let tidy = |x: f32| if x.abs() < 1e-6 { 0.0 } else { x };
        let gradients: Vec<Vec<f32>> = gradients.iter().map(|g| g.iter().map(|x| tidy(*x)).collect()).collect();
        let two = 2f64.powi(exponent) as f32;
        let scaled: Vec<Vec<f32>> = gradients.iter().map(|g| g.iter().map(|x| x * two).collect()).collect();
        let (weights, momentum, _) = run(&novograd, &Layer::DEFAULT, 0.01, &start, &gradients);
        let (scaled_weights, scaled_momentum, _) = run(&novograd, &Layer::DEFAULT, 0.01, &start, &scaled);
        prop_assert_eq!(bits(&weights), bits(&scaled_weights));
        prop_assert_eq!(bits(&momentum), bits(&scaled_momentum));
    }

    #[test]
    fn a_mirrored_layer_takes_mirrored_steps(
        sgd in sgd_configs(), novograd in novograd_configs(), (start, gradients) in layers(2),
    ) {
        let mirror = |x: &Vec<f32>| x.iter().map(|x| -x).collect::<Vec<f32>>();
        let mirrored: Vec<Vec<f32>> = gradients.iter().map(mirror).collect();
        let run_both = |start: &[f32], gradients: &[Vec<f32>]| {
            let sgd = run(&Sgd::new(sgd).unwrap(), &Layer::DEFAULT, 0.1, start, gradients);
            let novograd = run(&NovoGrad::new(novograd).unwrap(), &Layer::DEFAULT, 0.1, start, gradients);
            [sgd.0, sgd.1, novograd.0, novograd.1]
        };
        let there = run_both(&start, &gradients);
        let back = run_both(&mirror(&start), &mirrored);
        for (there, back) in there.iter().zip(&back) {
            prop_assert_eq!(there, &mirror(back));
        }
    }

    #[test]
    fn layers_do_not_see_each_other(
        config in novograd_configs(), models in prop::collection::vec(layers(2), 2..5), seed: u64,
    ) {
        let novograd = NovoGrad::new(config).unwrap();
        let alone: Vec<_> =
            models.iter().map(|(w, g)| run(&novograd, &Layer::DEFAULT, 0.1, w, g).0).collect();
        // All layers step by step, in another order at each step.
        let mut together: Vec<_> = models
            .iter()
            .map(|(w, _)| (w.clone(), vec![0.0; novograd.momentum_len(w.len())], NovoGradState::default()))
            .collect();
        let mut order: Vec<usize> = (0..models.len()).collect();
        let mut rng = fastrand::Rng::with_seed(seed);
        for step in 0..2 {
            rng.shuffle(&mut order);
            for &i in &order {
                let (w, m, state) = &mut together[i];
                novograd.step_layer(0.1, w, &models[i].1[step], m, state).unwrap();
            }
        }
        for (alone, (together, ..)) in alone.iter().zip(&together) {
            prop_assert_eq!(bits(alone), bits(together));
        }
    }

    #[test]
    fn without_a_rate_no_weight_moves(config in sgd_configs(), novograd in novograd_configs(), (start, gradients) in layers(3)) {
        let (weights, ..) = run(&Sgd::new(config).unwrap(), &Layer::DEFAULT, 0.0, &start, &gradients);
        prop_assert_eq!(bits(&weights), bits(&start));
        let free = NovoGradConfig { decay_mode: DecayMode::Coupled, ..novograd };
        let (weights, ..) = run(&NovoGrad::new(free).unwrap(), &Layer::DEFAULT, 0.0, &start, &gradients);
        prop_assert_eq!(bits(&weights), bits(&start));
    }

    #[test]
    fn larc_never_takes_more_than_the_plain_step(
        config in larc_configs(), lr in 1e-4..100.0_f64, (start, gradients) in layers(1),
    ) {
        let larc = Larc::new(LarcConfig { mode: LarcMode::Clip, ..config }).unwrap();
        let plain = run(&Sgd::new(SgdConfig::DEFAULT).unwrap(), &Layer::DEFAULT, lr, &start, &gradients).0;
        let sgd = Sgd::new(SgdConfig { larc: Some(larc), ..SgdConfig::DEFAULT }).unwrap();
        let (weights, _, reports) = run(&sgd, &Layer::DEFAULT, lr, &start, &gradients);
        prop_assert!(reports[0].factor <= 1.0 && reports[0].effective_rate <= lr);
        for ((w0, w), plain) in start.iter().zip(&weights).zip(&plain) {
            prop_assert!((w - w0).abs() <= (plain - w0).abs());
        }
    }

    #[test]
    fn a_refused_call_changes_nothing(
        config in novograd_configs(), (start, gradients) in layers(1), fault in 0..6_usize,
    ) {
        let novograd = NovoGrad::new(config).unwrap();
        let mut weights = start.clone();
        let mut momentum = vec![0.5; novograd.momentum_len(start.len())];
        let mut g = gradients[0].clone();
        let (mut lr, mut layer) = (0.1, Layer::DEFAULT);
        match fault {
            0 => lr = -1.0,
            1 => lr = f64::NAN,
            2 => layer.rate = f64::INFINITY,
            3 => layer.rate = -1.0,
            4 => g.push(0.0),
            _ => momentum.push(0.0),
        }
        let mut state = NovoGradState { second_moment: 0.25, max_second_moment: 0.5, steps: 3 };
        let (before, momentum_before) = (state, bits(&momentum));
        let (w, m, v) = (&mut weights, &mut momentum, &mut state);
        let view = LayerView { layer, weights: w, gradients: &g, momentum: m, state: v, norms: None };
        let error = novograd.step_view(lr, view).unwrap_err();
        prop_assert_eq!(matches!(error, Error::LearningRate(_)), fault < 4);
        prop_assert_eq!(matches!(error, Error::Length { .. }), fault >= 4);
        prop_assert_eq!(bits(&weights), bits(&start));
        prop_assert_eq!(bits(&momentum), momentum_before);
        prop_assert_eq!(state, before);
    }

    #[test]
    fn a_non_finite_layer_is_left_alone(
        sgd in sgd_configs(), novograd in novograd_configs(), (start, gradients) in layers(1), at: prop::sample::Index,
        bad in prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
    ) {
        let mut g = gradients[0].clone();
        *at.get_mut(&mut g) = bad;

        let optimizer = Sgd::new(sgd).unwrap();
        let mut weights = start.clone();
        let mut momentum = vec![0.5; optimizer.momentum_len(start.len())];
        let mut state = SgdState { steps: 3 };
        let report = optimizer.step_layer(0.1, &mut weights, &g, &mut momentum, &mut state).unwrap();
        prop_assert_eq!(report.outcome, Outcome::NonFinite);
        prop_assert_eq!(bits(&weights), bits(&start));
        prop_assert!(momentum.iter().all(|m| *m == 0.5) && state.steps == 3);

        let optimizer = NovoGrad::new(novograd).unwrap();
        let mut momentum = vec![0.5; optimizer.momentum_len(start.len())];
        let mut state = NovoGradState { second_moment: 0.25, max_second_moment: 0.5, steps: 3 };
        let before = state;
        let report = optimizer.step_layer(0.1, &mut weights, &g, &mut momentum, &mut state).unwrap();
        prop_assert_eq!(report.outcome, Outcome::NonFinite);
        prop_assert_eq!(bits(&weights), bits(&start));
        prop_assert!(momentum.iter().all(|m| *m == 0.5) && state == before);
    }

    #[test]
    fn the_pieces_give_the_whole(config in novograd_configs(), (start, gradients) in layers(1), cut: prop::sample::Index) {
        let config = NovoGradConfig { beta1: 0.9, luc: None, ..config };
        let novograd = NovoGrad::new(config).unwrap();
        let (whole, whole_momentum, _) = run(&novograd, &Layer::DEFAULT, 0.1, &start, &gradients);

        let rule = novograd.rule();
        let norms: Norms = rule.needs(&Layer::DEFAULT).measure(&start, &gradients[0]).unwrap();
        let plan = rule.plan(0.1, &Layer::DEFAULT, &norms, &mut NovoGradState::default());
        let (mut weights, mut momentum) = (start.clone(), vec![0.0; start.len()]);
        let cut = cut.index(start.len());
        let (w1, w2) = weights.split_at_mut(cut);
        let (m1, m2) = momentum.split_at_mut(cut);
        plan.update.apply_with_momentum(w2, &gradients[0][cut..], m2).unwrap();
        plan.update.apply_with_momentum(w1, &gradients[0][..cut], m1).unwrap();
        prop_assert_eq!(bits(&weights), bits(&whole));
        prop_assert_eq!(bits(&momentum), bits(&whole_momentum));
    }

    #[test]
    fn a_carried_norm_changes_nothing(
        sgd in sgd_configs(), novograd in novograd_configs(), layer in switches(), (start, gradients) in layers(3), huge: bool,
    ) {
        // Weights that are huge or tiny go through the rescue of the sums.
        let start: Vec<f32> = start.iter().map(|w| w * if huge { 1e30 } else { 1e-30 }).collect();
        carries_the_same(&Sgd::new(sgd).unwrap(), &layer, &start, &gradients)?;
        carries_the_same(&NovoGrad::new(novograd).unwrap(), &layer, &start, &gradients)?;
    }

    #[test]
    fn larc_in_front_of_a_host_is_larc_in_sgd(
        config in larc_configs(), lr in 1e-3..1.0_f64, decay in prop_oneof![Just(0.0), 1e-3..0.5], (start, gradients) in layers(1),
    ) {
        let larc = Larc::new(config).unwrap();
        let mut scaled = gradients[0].clone();
        let report = larc.scale_gradients(lr, decay, &start, &mut scaled).unwrap();
        let expected = reference::larc_factor(&config, lr, decay, &wide(&start), &wide(&gradients[0]));
        prop_assert!((report.factor - expected.0).abs() <= 1e-6 * expected.0);
        for ((g, w), scaled) in gradients[0].iter().zip(&start).zip(&scaled) {
            let expected = expected.0 * (f64::from(*g) + expected.1 * f64::from(*w));
            prop_assert!((f64::from(*scaled) - expected).abs() <= 2e-6 * expected_scale(report.factor));
        }
    }
}

/// The largest gradient that LARC's factor may leave of elements below 1.
fn expected_scale(factor: f64) -> f64 {
    2.0 * factor
}
