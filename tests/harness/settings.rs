//! Settings that together go through every branch of every rule, for tests that must see them all. Needs no `std`, so
//! that firmware can run them.

use layerwise::{
    BiasCorrection, DecayInRatio, DecayMode, GradientAveraging, LarcConfig, LarcMode, Luc, MomentNorm, NovoGradConfig,
    SgdConfig, VInit,
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
