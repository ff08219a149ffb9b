//! What LARC and LARS do to a layer, and which layers are exempt.

use crate::harness::optimizers::LARCS;
use layerwise::rule::Norms;
use layerwise::{
    Adam, AdamConfig, Larc, LarcConfig, LayerConfig, LayerMemory, Luc, NovoGrad, NovoGradConfig, NovoGradState, Sgd,
    SgdConfig, SgdState, ZeroNorm,
};

/// LARC without momentum and decay.
fn larc(config: LarcConfig) -> Sgd {
    Sgd::new(SgdConfig { larc: Some(config), ..SgdConfig::DEFAULT }).unwrap()
}

#[test]
fn a_zero_initialised_layer_learns() {
    for config in LARCS {
        let (mut weights, mut state) = ([0.0; 20], SgdState::default());
        for _ in 0..10 {
            larc(config).step_layer(0.1, LayerMemory::new(&mut weights, &[1.0; 20], &mut state)).unwrap();
        }
        if config.zero_norm == ZeroNorm::Formula {
            // OpenSeq2Seq's layers of zeros first move at 1e-7 of their rate.
            assert!(weights.iter().all(|&w| w < 0.0 && w > -1e-6), "{config:?}: {weights:?}");
        } else {
            assert!(weights.iter().all(|&w| w < -0.09), "{config:?}: {weights:?}");
        }
    }
    for (luc, learns) in [(Luc::DEFAULT, true), (Luc::NEMO, false)] {
        let novograd = NovoGrad::new(NovoGradConfig { luc: Some(luc), ..NovoGradConfig::DEFAULT }).unwrap();
        let (mut weights, mut momentum, mut state) = ([0.0; 20], [0.0; 20], NovoGradState::default());
        let layer = LayerMemory::new(&mut weights, &[1.0; 20], &mut state).momentum(&mut momentum);
        novograd.step_layer(0.1, layer).unwrap();
        assert_eq!(weights[0] < -0.01, learns);
    }
}

#[test]
fn a_larc_of_optax_with_decay_ignores_a_zero_gradient() {
    // Optax uses the norm of gradient plus decay, which is not zero here.
    let sgd = Sgd::new(SgdConfig { weight_decay: 0.1, ..SgdConfig::OPTAX_LARS }).unwrap();
    let (mut weights, mut momentum, mut state) = ([1.0; 5], [0.0; 5], SgdState::default());
    let layer = LayerMemory::new(&mut weights, &[0.0; 5], &mut state).momentum(&mut momentum);
    let report = sgd.step_layer(0.1, layer).unwrap();
    assert!((report.factor - 0.01).abs() < 1e-8, "{}", report.factor);
}

#[test]
fn larc_tames_gradients_of_any_size() {
    let sgd = larc(LarcConfig::DEFAULT);
    for size in [3.4e38, 1e30, 1e10] {
        let (mut weights, mut state) = (vec![1.0; 2000], SgdState::default());
        let report = sgd.step_layer(1.0, LayerMemory::new(&mut weights, &vec![size; 2000], &mut state)).unwrap();
        assert!(report.applied() && report.clipped);
        assert!(weights.iter().all(|w| (w - 0.998).abs() < 1e-6), "gradients of {size}: {}", weights[0]);
    }
}

#[test]
fn the_bound_of_larc_is_the_page_s() {
    // lr_k = min(lr, eta·|w|/|g|)
    let larc = Larc::new(LarcConfig { eps: 0.0, ..LarcConfig::DEFAULT }).unwrap();
    for (w, g, lr) in [(1.0, 1.0, 0.1), (100.0, 1.0, 0.1), (1e-3, 50.0, 3.0), (3.0, 0.02, 0.2)] {
        let effective = lr * larc.factor(lr, 0.0, &Norms::new(g, w)).factor;
        let expected = f64::min(lr, 0.002 * w / g);
        assert!((effective - expected).abs() <= 1e-15 * expected);
    }
}

#[test]
fn its_configuration_exempts_a_layer() {
    let sgd = Sgd::new(SgdConfig { weight_decay: 0.5, ..*larc(LarcConfig::DEFAULT).config() }).unwrap();
    let step = |config| {
        let (mut weights, mut state) = ([1.0], SgdState::default());
        let layer = LayerMemory::new(&mut weights, &[1.0], &mut state).config(config);
        let report = sgd.step_layer(0.25, layer).unwrap();
        (weights[0], report.clipped, report.weight_norm.is_nan())
    };
    assert!(step(LayerConfig::DEFAULT).1);
    assert_eq!(step(LayerConfig { adapt: false, ..LayerConfig::DEFAULT }), (0.625, false, true));
    assert_eq!(step(LayerConfig::PLAIN), (0.75, false, true));
    assert_eq!(step(LayerConfig { decay: 2.0, ..LayerConfig::PLAIN }), (0.5, false, true));
    assert_eq!(step(LayerConfig { rate: 2.0, ..LayerConfig::PLAIN }), (0.5, false, true));
    assert_eq!(step(LayerConfig { rate: 0.0, ..LayerConfig::DEFAULT }).0, 1.0);
}

#[test]
fn settings_of_the_peers_are_valid() {
    for config in LARCS {
        Larc::new(config).unwrap();
    }
    let sgds = [
        SgdConfig::TIMM_LARS,
        SgdConfig::BOLTS_LARS,
        SgdConfig::PYTORCH_OPTIMIZER_LARS,
        SgdConfig::PYTORCH_OPTIMIZER_3_LARS,
        SgdConfig::OPTAX_LARS,
        SgdConfig::LARS_PAPER,
    ];
    for config in sgds {
        Sgd::new(config).unwrap();
        assert!(config.larc.is_some());
    }
    let novograds = [
        NovoGradConfig::OPENSEQ2SEQ,
        NovoGradConfig::OPENSEQ2SEQ_LARC,
        NovoGradConfig::NEMO,
        NovoGradConfig::TIMM,
        NovoGradConfig::OPTAX,
        NovoGradConfig::TFA,
        NovoGradConfig::PYTORCH_OPTIMIZER,
        NovoGradConfig::PYTORCH_OPTIMIZER_3,
        NovoGradConfig::APEX,
    ];
    for config in novograds {
        NovoGrad::new(config).unwrap();
    }
    let adams = [
        AdamConfig::TORCH_ADAM,
        AdamConfig::TORCH_ADAMW,
        AdamConfig::TENSORFLOW,
        AdamConfig::OPTAX_ADAM,
        AdamConfig::OPTAX_ADAMW,
        AdamConfig::OPTAX_LAMB,
        AdamConfig::TIMM_LAMB,
        AdamConfig::APEX_LAMB,
        AdamConfig::PYTORCH_OPTIMIZER_LAMB,
    ];
    for config in adams {
        Adam::new(config).unwrap();
    }
}
