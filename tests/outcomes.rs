//! Edge cases: zeros, extremes, bad numbers, bad settings.

mod reference;

use layerwise::{
    Larc, LarcConfig, LarcMode, Layer, LayerView, Luc, Norms, NovoGrad, NovoGradConfig, NovoGradState, Outcome, Sgd,
    SgdConfig, SgdState, ZeroNorm, l2_norm,
};
use reference::Memory;

const ALL_LARCS: [LarcConfig; 8] = [
    LarcConfig::DEFAULT,
    LarcConfig::OPENSEQ2SEQ,
    LarcConfig::APEX,
    LarcConfig::TIMM,
    LarcConfig::BOLTS,
    LarcConfig::PYTORCH_OPTIMIZER,
    LarcConfig::OPTAX,
    LarcConfig::LARS_PAPER,
];

fn larc(config: LarcConfig) -> Sgd {
    Sgd::new(SgdConfig { larc: Some(Larc::new(config).unwrap()), ..SgdConfig::DEFAULT }).unwrap()
}

fn novograd(config: NovoGradConfig) -> NovoGrad {
    NovoGrad::new(config).unwrap()
}

#[test]
fn a_zero_initialised_layer_learns() {
    for config in ALL_LARCS {
        let mut weights = [0.0; 20];
        let mut state = SgdState::default();
        for _ in 0..10 {
            larc(config).step_layer(0.1, &mut weights, &[1.0; 20], &mut [], &mut state).unwrap();
        }
        if config.zero_norm == ZeroNorm::Formula {
            // OpenSeq2Seq's layers of zeros first crawl at 1e-7 of their rate.
            assert!(weights.iter().all(|&w| w < 0.0 && w > -1e-6), "{config:?}: {weights:?}");
        } else {
            assert!(weights.iter().all(|&w| w < -0.09), "{config:?}: {weights:?}");
        }
    }
    for (luc, learns) in [(Luc::DEFAULT, true), (Luc::NEMO, false)] {
        let novograd = novograd(NovoGradConfig { luc: Some(luc), ..NovoGradConfig::DEFAULT });
        let (mut weights, mut momentum, mut state) = ([0.0; 20], [0.0; 20], NovoGradState::default());
        novograd.step_layer(0.1, &mut weights, &[1.0; 20], &mut momentum, &mut state).unwrap();
        assert_eq!(weights[0] < -0.01, learns);
    }
}

#[test]
fn zero_gradients_and_zero_rates_divide_nothing() {
    for config in ALL_LARCS {
        for mode in [LarcMode::Clip, LarcMode::Scale] {
            let sgd = larc(LarcConfig { mode, ..config });
            for (weight, gradient, lr) in [(0.0, 0.0, 0.1), (1.0, 0.0, 0.1), (1.0, 1.0, 0.0), (0.0, 0.0, 0.0)] {
                let mut weights = [weight; 5];
                let report =
                    sgd.step_layer(lr, &mut weights, &[gradient; 5], &mut [], &mut SgdState::default()).unwrap();
                assert_eq!(report.outcome, Outcome::Applied);
                assert!(report.factor.is_finite());
                assert_eq!(weights, [weight; 5], "{config:?}");
            }
        }
    }
    // Without any epsilon, a layer that has never had a gradient would divide zero by zero.
    let novograd = novograd(NovoGradConfig { eps: 0.0, ..NovoGradConfig::DEFAULT });
    let (mut weights, mut momentum, mut state) = ([1.0; 5], [0.0; 5], NovoGradState::default());
    assert!(novograd.step_layer(0.1, &mut weights, &[0.0; 5], &mut momentum, &mut state).unwrap().applied());
    assert_eq!(weights, [1.0; 5]);
    assert!(novograd.step_layer(0.1, &mut weights, &[2.0; 5], &mut momentum, &mut state).unwrap().applied());
    assert!(weights[0] < 1.0);
}

#[test]
fn a_larc_of_optax_with_decay_ignores_a_zero_gradient() {
    // The norm of the sum of gradient and decay is what counts there, and it is not zero.
    let sgd = Sgd::new(SgdConfig { weight_decay: 0.1, ..SgdConfig::OPTAX_LARS }).unwrap();
    let (mut weights, mut momentum) = ([1.0; 5], [0.0; 5]);
    let report = sgd.step_layer(0.1, &mut weights, &[0.0; 5], &mut momentum, &mut SgdState::default()).unwrap();
    assert!((report.factor - 0.01).abs() < 1e-8, "{}", report.factor);
}

#[test]
fn gradients_of_any_size_take_the_right_step() {
    let start: Vec<f32> = (0..300).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
    let shape: Vec<f32> = (0..300).map(|i| (i % 13) as f32 / 6.0 - 1.0).collect();
    let configs = [
        NovoGradConfig { eps: 0.0, weight_decay: 0.01, ..NovoGradConfig::DEFAULT },
        NovoGradConfig { eps: 0.0, beta1: 0.0, ..NovoGradConfig::DEFAULT },
        NovoGradConfig { eps: 0.0, luc: Some(Luc { trust: 0.1, ..Luc::NEMO }), ..NovoGradConfig::DEFAULT },
    ];
    for config in configs {
        let novograd = novograd(config);
        for size in [3.4e38, 1e38, 1e30, 1e20, 1.0, 1e-20, 1e-30, 1e-37, 1e-42] {
            let gradients: Vec<f32> = shape.iter().map(|x| x * size).collect();
            let wide: Vec<f64> = gradients.iter().map(|&g| f64::from(g)).collect();
            let (mut weights, mut state) = (start.clone(), NovoGradState::default());
            let mut momentum = vec![0.0; novograd.momentum_len(300)];
            let mut memory = Memory::new(&start);
            for _ in 0..3 {
                let report = novograd.step_layer(0.1, &mut weights, &gradients, &mut momentum, &mut state).unwrap();
                assert!(report.applied(), "gradients of {size}: {report:?}");
                reference::novograd(&config, &Layer::DEFAULT, 0.1, &wide, &mut memory);
            }
            for (ours, theirs) in weights.iter().zip(&memory.weights) {
                assert!((f64::from(*ours) - theirs).abs() < 1e-6, "gradients of {size}: {ours} instead of {theirs}");
            }
        }
    }
}

#[test]
fn larc_tames_gradients_of_any_size() {
    let sgd = larc(LarcConfig::DEFAULT);
    for size in [3.4e38, 1e30, 1e10] {
        let mut weights = vec![1.0; 2000];
        let report = sgd.step_layer(1.0, &mut weights, &vec![size; 2000], &mut [], &mut SgdState::default()).unwrap();
        assert!(report.applied() && report.clipped);
        assert!(weights.iter().all(|w| (w - 0.998).abs() < 1e-6), "gradients of {size}: {}", weights[0]);
    }
}

#[test]
fn non_finite_weights_stop_a_rule_that_reads_them() {
    let mut weights = [1.0, f32::NAN];
    let mut state = SgdState::default();
    let report = larc(LarcConfig::DEFAULT).step_layer(0.1, &mut weights, &[1.0; 2], &mut [], &mut state).unwrap();
    assert_eq!(report.outcome, Outcome::NonFinite);
    assert_eq!((weights[0], state.steps), (1.0, 0));
    // Plain descent does not look at the weights, and the healthy one is updated.
    let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap();
    assert!(sgd.step_layer(0.1, &mut weights, &[1.0; 2], &mut [], &mut state).unwrap().applied());
    assert_eq!(weights[0], 0.9);
}

#[test]
fn steps_beyond_f32_are_not_taken() {
    let sgd = Sgd::new(SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT }).unwrap();
    let (mut weights, mut momentum, mut state) = ([1.0; 3], [0.5; 3], SgdState { steps: 4 });
    let report = sgd.step_layer(1e300, &mut weights, &[1.0; 3], &mut momentum, &mut state).unwrap();
    assert_eq!(report.outcome, Outcome::OutOfRange);
    assert_eq!((weights, momentum, state.steps), ([1.0; 3], [0.5; 3], 4));

    // State from a damaged file is no better.
    let novograd = novograd(NovoGradConfig::DEFAULT);
    for second_moment in [f64::NAN, -1.0] {
        let mut state = NovoGradState { second_moment, ..NovoGradState::default() };
        let report = novograd.step_layer(0.1, &mut weights, &[0.0; 3], &mut momentum, &mut state).unwrap();
        assert_eq!(report.outcome, Outcome::OutOfRange);
        assert_eq!((weights, momentum, state.steps), ([1.0; 3], [0.5; 3], 0));
    }
}

#[test]
fn layers_may_be_empty() {
    let mut state = NovoGradState::default();
    assert!(novograd(NovoGradConfig::DEFAULT).step_layer(0.1, &mut [], &[], &mut [], &mut state).unwrap().applied());
    assert!(
        larc(LarcConfig::DEFAULT).step_layer(0.1, &mut [], &[], &mut [], &mut SgdState::default()).unwrap().applied()
    );
}

#[test]
fn layer_switches_exempt_a_layer() {
    let config = SgdConfig { weight_decay: 0.5, ..*larc(LarcConfig::DEFAULT).config() };
    let sgd = Sgd::new(config).unwrap();
    let step = |layer| {
        let mut weights = [1.0];
        let state = &mut SgdState::default();
        let view = LayerView { layer, weights: &mut weights, gradients: &[1.0], momentum: &mut [], state, norms: None };
        let report = sgd.step_view(0.25, view).unwrap();
        (weights[0], report.clipped, report.weight_norm.is_nan())
    };
    assert!(step(Layer::DEFAULT).1);
    assert_eq!(step(Layer { adapt: false, ..Layer::DEFAULT }), (0.625, false, true));
    assert_eq!(step(Layer::PLAIN), (0.75, false, true));
    assert_eq!(step(Layer { rate: 2.0, ..Layer::PLAIN }), (0.5, false, true));
    assert_eq!(step(Layer { rate: 0.0, ..Layer::DEFAULT }).0, 1.0);
}

#[test]
fn settings_of_the_peers_are_valid() {
    for config in ALL_LARCS {
        Larc::new(config).unwrap();
    }
    let sgds = [
        SgdConfig::TIMM_LARS,
        SgdConfig::BOLTS_LARS,
        SgdConfig::PYTORCH_OPTIMIZER_LARS,
        SgdConfig::OPTAX_LARS,
        SgdConfig::LARS_PAPER,
    ];
    for config in sgds {
        Sgd::new(config).unwrap();
        assert!(config.larc.is_some());
    }
    let novograds = [
        NovoGradConfig::OPENSEQ2SEQ,
        NovoGradConfig::NEMO,
        NovoGradConfig::TIMM,
        NovoGradConfig::OPTAX,
        NovoGradConfig::TFA,
        NovoGradConfig::PYTORCH_OPTIMIZER,
        NovoGradConfig::APEX,
    ];
    for config in novograds {
        NovoGrad::new(config).unwrap();
    }
}

#[test]
fn the_bound_of_larc_is_the_page_s() {
    // lr_k = min(lr, eta·|w|/|g|)
    let larc = Larc::new(LarcConfig { eps: 0.0, ..LarcConfig::DEFAULT }).unwrap();
    for (w, g, lr) in [(1.0, 1.0, 0.1), (100.0, 1.0, 0.1), (1e-3, 50.0, 3.0), (3.0, 0.02, 0.2)] {
        let effective = lr * larc.factor(lr, 0.0, &Norms { weights: Some(w), gradient: g }).factor;
        let expected = f64::min(lr, 0.002 * w / g);
        assert!((effective - expected).abs() <= 1e-15 * expected);
    }
    assert_eq!(l2_norm(&[]), 0.0);
}
