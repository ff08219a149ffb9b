//! Rust optimizers as C structs: the numbers of the header.

use layerwise::{
    AdamConfig, AdamCorrection, AdamDecay, AnyOptimizer, AnyRule, BiasCorrection, DecayInRatio, DecayMode,
    GradientAveraging, LarcConfig, LarcMode, Luc, MomentNorm, NonFinite, NovoGradConfig, SgdConfig, VInit, ZeroNorm,
};
use layerwise_c::{lw_adam, lw_larc, lw_luc, lw_novograd, lw_optimizer, lw_rule, lw_sgd};

pub(super) fn optimizer(optimizer: &AnyOptimizer) -> lw_optimizer {
    let mut of = lw_rule { adam: lw_adam::default() };
    let (rule, larc, luc) = match optimizer.rule() {
        AnyRule::Sgd(rule) => {
            of.sgd = sgd(rule.config());
            (1, rule.config().larc, rule.config().luc)
        }
        AnyRule::NovoGrad(rule) => {
            of.novograd = novograd(rule.config());
            (2, rule.config().larc, rule.config().luc)
        }
        AnyRule::Adam(rule) => {
            of.adam = adam(rule.config());
            (3, rule.config().larc, rule.config().luc)
        }
        other => panic!("no rule of the header: {other:?}"),
    };
    lw_optimizer {
        rule,
        non_finite: (optimizer.policy().non_finite == NonFinite::SkipStep).into(),
        reserved: [0; 3],
        clip_norm: optimizer.policy().clip_norm.unwrap_or(0.0),
        larc: larc.map_or(lw_larc::default(), |config| larc_of(&config)),
        luc: luc.map_or(lw_luc::default(), luc_of),
        of,
    }
}

fn larc_of(config: &LarcConfig) -> lw_larc {
    lw_larc {
        eta: config.eta,
        eps: config.eps,
        min_update: config.min_update,
        max_update: config.max_update.unwrap_or(0.0),
        min_norm: config.min_norm,
        mode: if config.mode == LarcMode::Clip { 1 } else { 2 },
        zero_norm: match config.zero_norm {
            ZeroNorm::PlainStep => 0,
            ZeroNorm::PlainStepWithoutDecay => 1,
            ZeroNorm::PlainStepUnlessDecaying => 2,
            _ => 3,
        },
        decay_in_ratio: match config.decay_in_ratio {
            DecayInRatio::No => 0,
            DecayInRatio::SumOfNorms => 1,
            _ => 2,
        },
        only_with_decay: config.only_with_decay.into(),
        reserved: [0; 4],
    }
}

fn luc_of(luc: Luc) -> lw_luc {
    lw_luc { trust: luc.trust, eps: luc.eps, freezes_zeros: luc.freezes_zeros.into(), reserved: [0; 7] }
}

fn sgd(config: &SgdConfig) -> lw_sgd {
    lw_sgd {
        momentum: config.momentum,
        dampening: config.dampening,
        weight_decay: config.weight_decay,
        dampen_first_step: config.dampen_first_step.into(),
        nesterov: config.nesterov.into(),
        rate_in_momentum: config.rate_in_momentum.into(),
        maximize: config.maximize.into(),
        starts_at_gradient: config.starts_at_gradient.into(),
        reserved: [0; 3],
    }
}

fn novograd(config: &NovoGradConfig) -> lw_novograd {
    let (decay_mode, max_rate) = match config.decay_mode {
        DecayMode::Coupled => (0, 0.0),
        DecayMode::Decoupled => (1, 0.0),
        DecayMode::Corrected { max_rate } => (2, max_rate),
        _ => (3, 0.0),
    };
    lw_novograd {
        beta1: config.beta1,
        beta2: config.beta2,
        eps: config.eps,
        eps_root: config.eps_root,
        weight_decay: config.weight_decay,
        max_rate,
        decay_mode,
        v_init: match config.v_init {
            VInit::WhileZero => 0,
            VInit::FirstStep => 1,
            _ => 2,
        },
        gradient_averaging: match config.gradient_averaging {
            GradientAveraging::Off => 0,
            GradientAveraging::On => 1,
            _ => 2,
        },
        bias_correction: match config.bias_correction {
            BiasCorrection::Off => 0,
            BiasCorrection::Moments => 1,
            BiasCorrection::StepSize => 2,
            _ => 3,
        },
        norm: (config.norm == MomentNorm::Max).into(),
        amsgrad: config.amsgrad.into(),
        starts_at_gradient: config.starts_at_gradient.into(),
        raw_momentum: config.raw_momentum.into(),
        rate_in_momentum: config.rate_in_momentum.into(),
        maximize: config.maximize.into(),
        reserved: [0; 6],
    }
}

fn adam(config: &AdamConfig) -> lw_adam {
    let (decay_mode, max_rate) = match config.decay_mode {
        AdamDecay::L2 => (0, 0.0),
        AdamDecay::InUpdate => (1, 0.0),
        AdamDecay::Decoupled => (2, 0.0),
        AdamDecay::Corrected { max_rate } => (3, max_rate),
        _ => (4, 0.0),
    };
    let ratio = config.trust_ratio;
    lw_adam {
        beta1: config.beta1,
        beta2: config.beta2,
        eps: config.eps,
        eps_root: config.eps_root,
        weight_decay: config.weight_decay,
        max_rate,
        ratio_eps: ratio.map_or(0.0, |ratio| ratio.eps),
        max_weights: ratio.and_then(|ratio| ratio.max_weights).unwrap_or(0.0),
        max_ratio: ratio.and_then(|ratio| ratio.max_ratio).unwrap_or(0.0),
        decay_mode,
        bias_correction: match config.bias_correction {
            AdamCorrection::Off => 0,
            AdamCorrection::Moments => 1,
            AdamCorrection::Rate => 2,
            _ => 3,
        },
        grad_averaging: config.grad_averaging.into(),
        maximize: config.maximize.into(),
        trust_ratio: ratio.is_some().into(),
        ratio_only_with_decay: ratio.is_some_and(|ratio| ratio.only_with_decay).into(),
        reserved: [0; 2],
    }
}
