//! Settings that together reach every branch of every rule. They need no `std`, so firmware can use them.

use layerwise::{
    AdamConfig, AdamCorrection, AdamDecay, BiasCorrection, DecayInRatio, DecayMode, GradientAveraging, LarcConfig,
    LarcMode, Luc, MomentNorm, NovoGradConfig, SgdConfig, TrustRatio, VInit,
};

const LARC: SgdConfig = SgdConfig {
    momentum: 0.9,
    weight_decay: 0.01,
    larc: Some(LarcConfig { eta: 0.02, ..LarcConfig::DEFAULT }),
    ..SgdConfig::DEFAULT
};

pub const SGD: [(&str, SgdConfig); 11] = [
    ("sgd", SgdConfig::DEFAULT),
    ("sgd decay", SgdConfig { weight_decay: 0.01, maximize: true, ..SgdConfig::DEFAULT }),
    ("sgd momentum", SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT }),
    (
        "sgd nesterov",
        SgdConfig { momentum: 0.9, nesterov: true, dampening: 0.1, weight_decay: 0.01, ..SgdConfig::DEFAULT },
    ),
    ("larc", LARC),
    ("larc without momentum", SgdConfig { momentum: 0.0, ..LARC }),
    ("larc nesterov", SgdConfig { nesterov: true, ..LARC }),
    ("larc apex", SgdConfig { larc: Some(LarcConfig::APEX), ..LARC }),
    ("larc openseq2seq", SgdConfig { larc: Some(LarcConfig::OPENSEQ2SEQ), ..LARC }),
    (
        "lars",
        SgdConfig {
            larc: Some(LarcConfig { mode: LarcMode::Scale, ..LarcConfig::DEFAULT }),
            rate_in_momentum: true,
            ..LARC
        },
    ),
    (
        "lars norm of sum",
        SgdConfig { larc: Some(LarcConfig { decay_in_ratio: DecayInRatio::NormOfSum, ..LarcConfig::OPTAX }), ..LARC },
    ),
];

const NOVO: NovoGradConfig = NovoGradConfig { weight_decay: 0.01, ..NovoGradConfig::DEFAULT };

pub const NOVOGRAD: [(&str, NovoGradConfig); 13] = [
    ("novograd", NovoGradConfig::DEFAULT),
    ("novograd decay", NOVO),
    ("novograd without momentum", NovoGradConfig { beta1: 0.0, ..NOVO }),
    ("novograd decoupled", NovoGradConfig { decay_mode: DecayMode::Decoupled, v_init: VInit::FirstStep, ..NOVO }),
    ("novograd corrected", NovoGradConfig { decay_mode: DecayMode::Corrected { max_rate: 0.1 }, ..NOVO }),
    ("novograd fixed", NovoGradConfig { decay_mode: DecayMode::Fixed, v_init: VInit::Zero, amsgrad: true, ..NOVO }),
    ("novograd averaging", NovoGradConfig { gradient_averaging: GradientAveraging::On, ..NOVO }),
    ("novograd moments", NovoGradConfig { bias_correction: BiasCorrection::Moments, ..NOVO }),
    ("novograd step size", NovoGradConfig { bias_correction: BiasCorrection::StepSize, maximize: true, ..NOVO }),
    ("novograd raw", NovoGradConfig { raw_momentum: true, ..NOVO }),
    ("novograd maximum", NovoGradConfig { norm: MomentNorm::Max, ..NOVO }),
    ("novograd luc", NovoGradConfig { luc: Some(Luc { trust: 0.01, ..Luc::DEFAULT }), ..NOVO }),
    (
        "novograd tfa",
        NovoGradConfig {
            rate_in_momentum: true,
            gradient_averaging: GradientAveraging::AfterFirstStep,
            luc: Some(Luc::NEMO),
            ..NOVO
        },
    ),
];

const LUC: Luc = Luc { trust: 0.01, ..Luc::DEFAULT };
const EAGER: LarcConfig = LarcConfig { eta: 0.02, ..LarcConfig::DEFAULT };

/// More of gradient descent: the limit of the step, the momentum that starts at the gradient, the largest factor.
pub const SGD_LIMITED: [(&str, SgdConfig); 6] = [
    ("sgd luc", SgdConfig { luc: Some(LUC), ..SgdConfig::DEFAULT }),
    ("sgd momentum luc", SgdConfig { momentum: 0.9, weight_decay: 0.01, luc: Some(LUC), ..SgdConfig::DEFAULT }),
    (
        "sgd nesterov luc",
        SgdConfig { momentum: 0.9, nesterov: true, dampening: 0.1, luc: Some(LUC), ..SgdConfig::DEFAULT },
    ),
    ("larc luc", SgdConfig { luc: Some(Luc::NEMO), rate_in_momentum: true, ..LARC }),
    ("larc starts at gradient", SgdConfig { starts_at_gradient: true, dampen_first_step: true, ..LARC }),
    (
        "lars at most",
        SgdConfig {
            starts_at_gradient: true,
            nesterov: true,
            larc: Some(LarcConfig { mode: LarcMode::Scale, max_update: Some(0.0015), ..EAGER }),
            ..LARC
        },
    ),
];

/// More of NovoGrad: LARC in front, and the corrections of pytorch_optimizer 3.
pub const NOVOGRAD_IN_FRONT: [(&str, NovoGradConfig); 4] = [
    ("novograd larc", NovoGradConfig { larc: Some(EAGER), ..NOVO }),
    ("novograd larc luc", NovoGradConfig { larc: Some(EAGER), luc: Some(LUC), ..NOVO }),
    ("novograd lars", NovoGradConfig { larc: Some(LarcConfig::OPTAX), beta1: 0.0, ..NOVO }),
    (
        "novograd rate",
        NovoGradConfig {
            bias_correction: BiasCorrection::Rate,
            starts_at_gradient: true,
            gradient_averaging: GradientAveraging::On,
            ..NOVO
        },
    ),
];

const ADAM: AdamConfig = AdamConfig { weight_decay: 0.01, ..AdamConfig::DEFAULT };
const LAMB: AdamConfig =
    AdamConfig { decay_mode: AdamDecay::InUpdate, trust_ratio: Some(TrustRatio::DEFAULT), eps: 1e-6, ..ADAM };

pub const ADAM_AND_LAMB: [(&str, AdamConfig); 15] = [
    ("adam", AdamConfig::DEFAULT),
    ("adam l2", AdamConfig { decay_mode: AdamDecay::L2, ..ADAM }),
    ("adamw", ADAM),
    ("adam in update", AdamConfig { decay_mode: AdamDecay::InUpdate, eps_root: 0.01, ..ADAM }),
    ("adam corrected", AdamConfig { decay_mode: AdamDecay::Corrected { max_rate: 0.1 }, maximize: true, ..ADAM }),
    ("adam fixed", AdamConfig { decay_mode: AdamDecay::Fixed, bias_correction: AdamCorrection::Off, ..ADAM }),
    ("adam rate", AdamConfig { bias_correction: AdamCorrection::Rate, ..ADAM }),
    ("adam tensorflow", AdamConfig { bias_correction: AdamCorrection::TensorFlow, grad_averaging: false, ..ADAM }),
    ("adam without momentum", AdamConfig { beta1: 0.0, beta2: 0.0, eps: 0.0, ..ADAM }),
    ("adam luc", AdamConfig { luc: Some(LUC), ..ADAM }),
    ("adam larc", AdamConfig { larc: Some(EAGER), decay_mode: AdamDecay::L2, ..ADAM }),
    (
        "adam larc norm of sum",
        AdamConfig { larc: Some(LarcConfig::OPTAX), decay_mode: AdamDecay::L2, maximize: true, ..ADAM },
    ),
    ("lamb", LAMB),
    (
        "lamb decoupled",
        AdamConfig {
            decay_mode: AdamDecay::Decoupled,
            bias_correction: AdamCorrection::Rate,
            trust_ratio: Some(TrustRatio { eps: 1e-6, max_weights: Some(3.0), only_with_decay: true, max_ratio: None }),
            ..LAMB
        },
    ),
    (
        "lamb at most",
        AdamConfig {
            trust_ratio: Some(TrustRatio { max_ratio: Some(0.05), ..TrustRatio::DEFAULT }),
            luc: Some(LUC),
            larc: Some(EAGER),
            ..LAMB
        },
    ),
];
