//! The laws that hold for every layer and every setting.

#[path = "../harness/mod.rs"]
mod harness;
mod larc;
#[path = "../reference/mod.rs"]
mod reference;
mod strategies;

use harness::optimizers::{keeps_momentum, keeps_second_moment};
use harness::{Host, bits, wide};
use layerwise::pieces::{LEAF, LayerView};
use layerwise::rule::Rule;
use layerwise::{
    Adam, AdamConfig, AdamDecay, AdamState, CarriedNorms, DecayMode, Error, GradientAveraging, Larc, LarcConfig,
    LarcMode, LayerConfig, LayerMemory, NovoGrad, NovoGradConfig, NovoGradState, Optimizer, Outcome, Policy, Report,
    Sgd, SgdConfig, SgdState, Step, l2_norm,
};
use proptest::prelude::*;
use strategies::{adam_configs, larc_configs, layer_configs, layers, novograd_configs, sgd_configs, steps};

fn momentum_for<R: Rule>(optimizer: &Optimizer<R>, len: usize, fill: f32) -> Vec<f32> {
    vec![fill; if keeps_momentum(optimizer) { len } else { 0 }]
}

fn second_moment_for<R: Rule>(optimizer: &Optimizer<R>, len: usize, fill: f32) -> Vec<f32> {
    vec![fill; if keeps_second_moment(optimizer) { len } else { 0 }]
}

/// Runs some steps; returns weights, moments (one after the other) and reports.
fn run<R: Rule>(
    optimizer: &Optimizer<R>,
    config: LayerConfig,
    step: impl Into<Step>,
    weights: &[f32],
    gradients: &[Vec<f32>],
) -> (Vec<f32>, Vec<f32>, Vec<Report>) {
    let step = step.into();
    let mut weights = weights.to_vec();
    let mut momentum = momentum_for(optimizer, weights.len(), 0.0);
    let mut second_moment = second_moment_for(optimizer, weights.len(), 0.0);
    let mut state = R::State::default();
    let mut reports = vec![];
    for gradients in gradients {
        let layer = LayerMemory::new(&mut weights, gradients, &mut state).momentum(&mut momentum);
        let layer = layer.second_moment(&mut second_moment).config(config);
        reports.push(optimizer.step_layer(step, layer).unwrap());
    }
    (weights, [momentum, second_moment].concat(), reports)
}

/// The same; returns only the bits of weights and moments.
fn bits_of_run<R: Rule>(
    optimizer: &Optimizer<R>,
    config: LayerConfig,
    step: impl Into<Step>,
    weights: &[f32],
    gradients: &[Vec<f32>],
) -> [Vec<u32>; 2] {
    let (weights, moments, _) = run(optimizer, config, step, weights, gradients);
    [bits(&weights), bits(&moments)]
}

/// All gradients multiplied by a power of two, without losing a bit.
fn scaled(gradients: &[Vec<f32>], power: i32) -> [Vec<Vec<f32>>; 2] {
    let map = |f: &dyn Fn(f32) -> f32| gradients.iter().map(|g| g.iter().map(|x| f(*x)).collect()).collect();
    // Squares of small elements could lose bits to underflow, and scaled ones would not.
    let tidy = |x: f32| if x.abs() < 1e-6 { 0.0 } else { x };
    [map(&tidy), map(&|x| tidy(x) * 2f64.powi(power) as f32)]
}

/// Runs some steps with a carried norm and compares every bit with those without.
fn carries_the_same<R: Rule>(
    optimizer: &Optimizer<R>,
    config: LayerConfig,
    start: &[f32],
    gradients: &[Vec<f32>],
) -> Result<(), TestCaseError> {
    let (expected, expected_moments, reports) = run(optimizer, config, 0.1, start, gradients);
    let (mut weights, mut state, mut norm) = (start.to_vec(), R::State::default(), CarriedNorms::default());
    let mut momentum = momentum_for(optimizer, start.len(), 0.0);
    let mut second_moment = second_moment_for(optimizer, start.len(), 0.0);
    for (gradients, expected) in gradients.iter().zip(reports) {
        let layer = LayerMemory::new(&mut weights, gradients, &mut state).momentum(&mut momentum);
        let layer = layer.second_moment(&mut second_moment);
        let before = norm.weights();
        let report = optimizer.step_layer(0.1, layer.config(config).norms(&mut norm)).unwrap();
        prop_assert_eq!(report.weight_norm.to_bits(), expected.weight_norm.to_bits());
        prop_assert_eq!(report.factor.to_bits(), expected.factor.to_bits());
        // A norm of 0 counts as unknown, and that of weights that have overflowed is forgotten.
        let looks = optimizer.rule().needs(&config).weights;
        let carried = match report.outcome {
            Outcome::Applied => Some(l2_norm(&weights)).filter(|norm| looks && *norm > 0.0),
            Outcome::Overflowed => None,
            _ => before,
        };
        prop_assert_eq!(norm.weights().map(f64::to_bits), carried.map(f64::to_bits));
    }
    prop_assert_eq!(bits(&weights), bits(&expected));
    prop_assert_eq!(bits(&[momentum, second_moment].concat()), bits(&expected_moments));
    Ok(())
}

/// Takes a step in two chunks, and compares every bit with a whole step.
fn two_chunks_give_the_whole<R: Rule>(
    optimizer: &Optimizer<R>,
    start: &[f32],
    gradients: &[f32],
    cut: usize,
) -> Result<(), TestCaseError> {
    let config = LayerConfig::DEFAULT;
    let (whole, whole_moments, reports) = run(optimizer, config, 0.1, start, &[gradients.to_vec()]);
    let (mut weights, mut momentum) = (start.to_vec(), momentum_for(optimizer, start.len(), 0.0));
    let mut second_moment = second_moment_for(optimizer, start.len(), 0.0);
    let mut pass = optimizer.pass(0.1).unwrap();
    let measured = pass.measure(LayerView::new(start, gradients)).unwrap();
    let decided = pass.decide();
    let mut planned = decided.plan(measured, &config, R::State::default()).unwrap();
    if planned.needs_step() {
        let mut sums = vec![0.0; start.len().div_ceil(LEAF)];
        let view = LayerView::new(start, gradients).momentum(&momentum).second_moment(&second_moment);
        planned.step_leaf_sums(view, 0, &mut sums).unwrap();
        planned = decided.limit(planned, &sums).unwrap();
    }
    let (w1, w2) = weights.split_at_mut(cut);
    let momentum_cut = cut.min(momentum.len());
    let (m1, m2) = momentum.split_at_mut(momentum_cut);
    let second_cut = cut.min(second_moment.len());
    let (v1, v2) = second_moment.split_at_mut(second_cut);
    planned.apply(LayerMemory::new(w2, &gradients[cut..], &mut ()).momentum(m2).second_moment(v2)).unwrap();
    planned.apply(LayerMemory::new(w1, &gradients[..cut], &mut ()).momentum(m1).second_moment(v1)).unwrap();
    prop_assert_eq!(format!("{:?}", planned.report().0), format!("{:?}", reports[0]));
    prop_assert_eq!(bits(&weights), bits(&whole));
    prop_assert_eq!(bits(&[momentum, second_moment].concat()), bits(&whole_moments));
    Ok(())
}

/// A layer with a bad gradient stays as it was.
fn leaves_alone<R: Rule>(
    optimizer: &Optimizer<R>,
    start: &[f32],
    gradients: &[f32],
    state: R::State,
) -> Result<(), TestCaseError> {
    let (mut weights, mut momentum) = (start.to_vec(), momentum_for(optimizer, start.len(), 0.5));
    let mut second_moment = second_moment_for(optimizer, start.len(), 0.5);
    let mut after = state;
    let layer = LayerMemory::new(&mut weights, gradients, &mut after).momentum(&mut momentum);
    let layer = layer.second_moment(&mut second_moment);
    prop_assert_eq!(optimizer.step_layer(0.1, layer).unwrap().outcome, Outcome::NonFinite);
    prop_assert_eq!(bits(&weights), bits(start));
    prop_assert!(momentum.iter().chain(&second_moment).all(|m| *m == 0.5) && after == state);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sgd_is_the_reference(
        config in sgd_configs(), layer in layer_configs(), step in steps(prop_oneof![Just(0.0), 1e-4..1.0_f64]),
        (start, gradients) in layers(3),
    ) {
        let mut host = Host::for_optimizer(&Sgd::new(config).unwrap(), &start);
        host.config = layer;
        for gradients in gradients {
            host.set_gradients(&gradients);
            prop_assert!(host.step_sgd(&config, Policy::DEFAULT, step).unwrap().applied());
        }
    }

    #[test]
    fn novograd_is_the_reference(
        config in novograd_configs(), layer in layer_configs(), step in steps(prop_oneof![Just(0.0), 1e-4..0.1_f64]),
        (start, gradients) in layers(3),
    ) {
        let mut host = Host::for_optimizer(&NovoGrad::new(config).unwrap(), &start);
        host.config = layer;
        for gradients in gradients {
            host.set_gradients(&gradients);
            prop_assert!(host.step_novograd(&config, Policy::DEFAULT, step).unwrap().applied());
        }
    }

    #[test]
    fn adam_is_the_reference(
        config in adam_configs(), layer in layer_configs(), step in steps(prop_oneof![Just(0.0), 1e-4..0.1_f64]),
        (start, gradients) in layers(3),
    ) {
        let mut host = Host::for_optimizer(&Adam::new(config).unwrap(), &start);
        host.config = layer;
        for gradients in gradients {
            host.set_gradients(&gradients);
            prop_assert!(host.step_adam(&config, Policy::DEFAULT, step).unwrap().applied());
        }
    }

    #[test]
    fn norms_scale_by_powers_of_two((x, _) in layers(0), exponent in -40..40_i32) {
        // Squares of small elements could lose bits to underflow, and scaled ones would not.
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
        let [gradients, scaled] = scaled(&gradients, exponent);
        let run = |gradients: &[Vec<f32>]| bits_of_run(&novograd, LayerConfig::DEFAULT, 0.01, &start, gradients);
        prop_assert_eq!(run(&gradients), run(&scaled));
    }

    #[test]
    fn a_gradient_scale_is_that_of_scaled_gradients(
        sgd in sgd_configs(), novograd in novograd_configs(), adam in adam_configs(), layer in layer_configs(),
        (start, gradients) in layers(2), exponent in -20..20_i32,
    ) {
        let [gradients, scaled] = scaled(&gradients, exponent);
        let step = Step::new(0.1).gradient_scale(2f64.powi(exponent));
        let sgd = Sgd::new(sgd).unwrap();
        prop_assert_eq!(
            bits_of_run(&sgd, layer, step, &start, &gradients),
            bits_of_run(&sgd, layer, 0.1, &start, &scaled)
        );
        let novograd = NovoGrad::new(novograd).unwrap();
        prop_assert_eq!(
            bits_of_run(&novograd, layer, step, &start, &gradients),
            bits_of_run(&novograd, layer, 0.1, &start, &scaled)
        );
        let adam = Adam::new(adam).unwrap();
        prop_assert_eq!(
            bits_of_run(&adam, layer, step, &start, &gradients),
            bits_of_run(&adam, layer, 0.1, &start, &scaled)
        );
    }

    #[test]
    fn a_multiplier_of_the_decay_is_that_of_the_setting(
        sgd in sgd_configs(), novograd in novograd_configs(), adam in adam_configs(), (start, gradients) in layers(2),
        decay in 0.0..2.0_f64,
    ) {
        let layer = LayerConfig { decay, ..LayerConfig::DEFAULT };
        let run = |config| bits_of_run(&Sgd::new(config).unwrap(), LayerConfig::DEFAULT, 0.1, &start, &gradients);
        let expected = run(SgdConfig { weight_decay: sgd.weight_decay * decay, ..sgd });
        prop_assert_eq!(bits_of_run(&Sgd::new(sgd).unwrap(), layer, 0.1, &start, &gradients), expected);
        let run = |config| bits_of_run(&NovoGrad::new(config).unwrap(), LayerConfig::DEFAULT, 0.1, &start, &gradients);
        let expected = run(NovoGradConfig { weight_decay: novograd.weight_decay * decay, ..novograd });
        prop_assert_eq!(bits_of_run(&NovoGrad::new(novograd).unwrap(), layer, 0.1, &start, &gradients), expected);
        let run = |config| bits_of_run(&Adam::new(config).unwrap(), LayerConfig::DEFAULT, 0.1, &start, &gradients);
        let expected = run(AdamConfig { weight_decay: adam.weight_decay * decay, ..adam });
        prop_assert_eq!(bits_of_run(&Adam::new(adam).unwrap(), layer, 0.1, &start, &gradients), expected);
    }

    #[test]
    fn a_mirrored_layer_takes_mirrored_steps(
        sgd in sgd_configs(), novograd in novograd_configs(), adam in adam_configs(), (start, gradients) in layers(2),
    ) {
        let mirror = |x: &Vec<f32>| x.iter().map(|x| -x).collect::<Vec<f32>>();
        let mirrored: Vec<Vec<f32>> = gradients.iter().map(mirror).collect();
        let run_both = |start: &[f32], gradients: &[Vec<f32>]| {
            let sgd = run(&Sgd::new(sgd).unwrap(), LayerConfig::DEFAULT, 0.1, start, gradients);
            let novograd = run(&NovoGrad::new(novograd).unwrap(), LayerConfig::DEFAULT, 0.1, start, gradients);
            let adam = run(&Adam::new(adam).unwrap(), LayerConfig::DEFAULT, 0.1, start, gradients);
            [sgd.0, sgd.1, novograd.0, novograd.1, adam.0]
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
            models.iter().map(|(w, g)| run(&novograd, LayerConfig::DEFAULT, 0.1, w, g).0).collect();
        // All layers step by step, in another order at each step.
        let mut together: Vec<_> = models
            .iter()
            .map(|(w, _)| (w.clone(), momentum_for(&novograd, w.len(), 0.0), NovoGradState::default()))
            .collect();
        let mut order: Vec<usize> = (0..models.len()).collect();
        let mut rng = fastrand::Rng::with_seed(seed);
        for step in 0..2 {
            rng.shuffle(&mut order);
            for &i in &order {
                let (w, m, state) = &mut together[i];
                novograd.step_layer(0.1, LayerMemory::new(w, &models[i].1[step], state).momentum(m)).unwrap();
            }
        }
        for (alone, (together, ..)) in alone.iter().zip(&together) {
            prop_assert_eq!(bits(alone), bits(together));
        }
    }

    #[test]
    fn without_a_rate_no_weight_moves(
        config in sgd_configs(), novograd in novograd_configs(), adam in adam_configs(), (start, gradients) in layers(3),
    ) {
        let free = AdamConfig { weight_decay: if adam.decay_mode == AdamDecay::Fixed { 0.0 } else { 0.1 }, ..adam };
        let (weights, ..) = run(&Adam::new(free).unwrap(), LayerConfig::DEFAULT, 0.0, &start, &gradients);
        prop_assert_eq!(bits(&weights), bits(&start));
        let (weights, ..) = run(&Sgd::new(config).unwrap(), LayerConfig::DEFAULT, 0.0, &start, &gradients);
        prop_assert_eq!(bits(&weights), bits(&start));
        let free = NovoGradConfig { decay_mode: DecayMode::Coupled, ..novograd };
        let (weights, ..) = run(&NovoGrad::new(free).unwrap(), LayerConfig::DEFAULT, 0.0, &start, &gradients);
        prop_assert_eq!(bits(&weights), bits(&start));
    }

    #[test]
    fn larc_never_takes_more_than_the_plain_step(
        config in larc_configs(), lr in 1e-4..100.0_f64, (start, gradients) in layers(1),
    ) {
        let larc = LarcConfig { mode: LarcMode::Clip, ..config };
        let plain = run(&Sgd::new(SgdConfig::DEFAULT).unwrap(), LayerConfig::DEFAULT, lr, &start, &gradients).0;
        let sgd = Sgd::new(SgdConfig { larc: Some(larc), ..SgdConfig::DEFAULT }).unwrap();
        let (weights, _, reports) = run(&sgd, LayerConfig::DEFAULT, lr, &start, &gradients);
        prop_assert!(reports[0].factor <= 1.0 && reports[0].effective_rate <= lr);
        for ((w0, w), plain) in start.iter().zip(&weights).zip(&plain) {
            prop_assert!((w - w0).abs() <= (plain - w0).abs());
        }
    }

    #[test]
    fn a_refused_call_changes_nothing(
        config in novograd_configs(), (start, gradients) in layers(1), fault in 0..8_usize,
    ) {
        let novograd = NovoGrad::new(config).unwrap();
        let mut weights = start.clone();
        let mut momentum = momentum_for(&novograd, start.len(), 0.5);
        let mut g = gradients[0].clone();
        let (mut step, mut layer) = (Step::new(0.1), LayerConfig::DEFAULT);
        match fault {
            0 => step.lr = -1.0,
            1 => step.lr = f64::NAN,
            2 => layer.rate = f64::INFINITY,
            3 => layer.rate = -1.0,
            4 => layer.decay = f64::NAN,
            5 => step.gradient_scale = 0.0,
            6 => g.push(0.0),
            _ => momentum.push(0.0),
        }
        let mut state = NovoGradState { second_moment: 0.25, max_second_moment: 0.5, steps: 3 };
        let (before, momentum_before) = (state, bits(&momentum));
        let memory = LayerMemory::new(&mut weights, &g, &mut state).momentum(&mut momentum).config(layer);
        let error = novograd.step_layer(step, memory).unwrap_err();
        prop_assert!(match fault {
            0..4 => matches!(error, Error::LearningRate { .. }),
            4 => matches!(error, Error::Decay { .. }),
            5 => matches!(error, Error::GradientScale(_)),
            _ => matches!(error, Error::Length { .. }),
        }, "{}", error);
        prop_assert_eq!(bits(&weights), bits(&start));
        prop_assert_eq!(bits(&momentum), momentum_before);
        prop_assert_eq!(state, before);
    }

    #[test]
    fn a_non_finite_layer_is_left_alone(
        sgd in sgd_configs(), novograd in novograd_configs(), adam in adam_configs(), (start, gradients) in layers(1),
        at: prop::sample::Index, bad in prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
    ) {
        let mut g = gradients[0].clone();
        *at.get_mut(&mut g) = bad;
        leaves_alone(&Sgd::new(sgd).unwrap(), &start, &g, SgdState { steps: 3 })?;
        let state = NovoGradState { second_moment: 0.25, max_second_moment: 0.5, steps: 3 };
        leaves_alone(&NovoGrad::new(novograd).unwrap(), &start, &g, state)?;
        leaves_alone(&Adam::new(adam).unwrap(), &start, &g, AdamState { steps: 3 })?;
    }

    #[test]
    fn two_chunks_are_the_whole(
        sgd in sgd_configs(), novograd in novograd_configs(), adam in adam_configs(), (start, gradients) in layers(1),
        cut: prop::sample::Index,
    ) {
        let cut = cut.index(start.len());
        two_chunks_give_the_whole(&Sgd::new(sgd).unwrap(), &start, &gradients[0], cut)?;
        two_chunks_give_the_whole(&NovoGrad::new(novograd).unwrap(), &start, &gradients[0], cut)?;
        two_chunks_give_the_whole(&Adam::new(adam).unwrap(), &start, &gradients[0], cut)?;
    }

    #[test]
    fn a_carried_norm_changes_nothing(
        sgd in sgd_configs(), novograd in novograd_configs(), adam in adam_configs(), layer in layer_configs(),
        (start, gradients) in layers(3), huge: bool,
    ) {
        // Weights that are huge or tiny go through the rescue of the sums.
        let start: Vec<f32> = start.iter().map(|w| w * if huge { 1e30 } else { 1e-30 }).collect();
        carries_the_same(&Sgd::new(sgd).unwrap(), layer, &start, &gradients)?;
        carries_the_same(&NovoGrad::new(novograd).unwrap(), layer, &start, &gradients)?;
        carries_the_same(&Adam::new(adam).unwrap(), layer, &start, &gradients)?;
    }

    #[test]
    fn larc_in_front_of_a_host_is_larc_in_sgd(
        config in larc_configs(), lr in 1e-3..1.0_f64, decay in prop_oneof![Just(0.0), 1e-3..0.5],
        (start, gradients) in layers(1),
    ) {
        let larc = Larc::new(config).unwrap();
        let mut scaled = gradients[0].clone();
        let report = larc.scale_gradients(lr, decay, &start, &mut scaled).unwrap();
        let expected = if config.only_with_decay && decay == 0.0 {
            (1.0, decay)
        } else {
            reference::larc_factor(&config, lr, decay, &wide(&start), &wide(&gradients[0]))
        };
        prop_assert!((report.factor - expected.0).abs() <= 1e-6 * expected.0);
        for ((g, w), scaled) in gradients[0].iter().zip(&start).zip(&scaled) {
            let expected = expected.0 * (f64::from(*g) + expected.1 * f64::from(*w));
            prop_assert!((f64::from(*scaled) - expected).abs() <= 2e-6 * expected_scale(report.factor));
        }
    }
}

/// The largest gradient after LARC's factor, for elements below 1.
fn expected_scale(factor: f64) -> f64 {
    2.0 * factor
}
