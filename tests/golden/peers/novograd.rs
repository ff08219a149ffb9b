//! NovoGrad.

use super::sgd::openseq2seq_larc;
use super::{LOOPS_OF_TORCH, Settings, is_3, largest_rate};
use crate::keys::Keys;
use layerwise::{BiasCorrection, DecayMode, GradientAveraging, Luc, MomentNorm, NovoGradConfig, VInit};
use serde_json::Value;

fn averaging(k: &mut Keys, on: GradientAveraging, default: bool) -> GradientAveraging {
    if k.flag("grad_averaging", default) { on } else { GradientAveraging::Off }
}

/// The keys that NeMo's, NVIDIA's and timm's NovoGrad share.
pub fn torch(k: &mut Keys, base: NovoGradConfig) -> NovoGradConfig {
    k.no_matter(&LOOPS_OF_TORCH);
    let [beta1, beta2] = k.betas([base.beta1, base.beta2]);
    NovoGradConfig {
        beta1,
        beta2,
        eps: k.number("eps", base.eps),
        weight_decay: k.number("weight_decay", base.weight_decay),
        gradient_averaging: averaging(k, GradientAveraging::On, false),
        amsgrad: k.flag("amsgrad", base.amsgrad),
        ..base
    }
}

pub fn openseq2seq(k: &mut Keys) -> NovoGradConfig {
    let larc = k.get("larc").is_some().then(|| openseq2seq_larc(k.part("larc")));
    let epsilon = k.number("epsilon", 1e-8);
    let (eps, eps_root) = if k.flag("eps_inside_sqrt", true) { (0.0, epsilon) } else { (epsilon, 0.0) };
    let beta2 = k.number("beta2", 0.98);
    NovoGradConfig {
        beta1: k.number("beta1", 0.95),
        beta2: if k.flag("ema_persisted", true) { beta2 } else { 0.0 },
        eps,
        eps_root,
        weight_decay: k.number("weight_decay", 0.0),
        gradient_averaging: averaging(k, GradientAveraging::On, false),
        larc,
        ..NovoGradConfig::OPENSEQ2SEQ
    }
}

pub fn nemo(k: &mut Keys) -> NovoGradConfig {
    let luc =
        Luc { trust: k.number("luc_trust", Luc::NEMO.trust), eps: k.number("luc_eps", Luc::NEMO.eps), ..Luc::NEMO };
    let luc = k.flag("luc", false).then_some(luc);
    torch(k, NovoGradConfig { luc, ..NovoGradConfig::NEMO })
}

pub fn timm(k: &mut Keys) -> NovoGradConfig {
    let (max_rate, corrected) = (largest_rate(k), k.flag("corrected_weight_decay", false));
    let decay_mode = match (k.flag("decoupled_decay", false), corrected) {
        (false, _) => DecayMode::Coupled,
        (true, false) => DecayMode::Decoupled,
        (true, true) => DecayMode::Corrected { max_rate },
    };
    k.never(&["caution"]);
    torch(k, NovoGradConfig { decay_mode, ..NovoGradConfig::TIMM })
}

pub fn optax(k: &mut Keys) -> NovoGradConfig {
    NovoGradConfig {
        beta1: k.number("b1", 0.9),
        beta2: k.number("b2", 0.25),
        eps: k.number("eps", 1e-6),
        eps_root: k.number("eps_root", 0.0),
        weight_decay: k.number("weight_decay", 0.0),
        ..NovoGradConfig::OPTAX
    }
}

pub fn tfa(k: &mut Keys) -> Settings {
    let f32_rounded = |x: f64| f64::from(x as f32);
    let config = NovoGradConfig {
        beta1: f32_rounded(k.number("beta_1", 0.9)),
        beta2: f32_rounded(k.number("beta_2", 0.999)),
        eps: k.number("epsilon", 1e-7),
        weight_decay: f32_rounded(k.number("weight_decay", 0.0)),
        gradient_averaging: averaging(k, GradientAveraging::AfterFirstStep, false),
        amsgrad: k.flag("amsgrad", false),
        ..NovoGradConfig::TFA
    };
    Settings { momentum_sign: -1.0, ..config.into() }
}

pub fn pytorch_optimizer(k: &mut Keys, version: &str) -> NovoGradConfig {
    let [beta1, beta2] = k.betas([0.95, 0.98]);
    let base = if is_3(version) { NovoGradConfig::PYTORCH_OPTIMIZER_3 } else { NovoGradConfig::PYTORCH_OPTIMIZER };
    let debias = k.flag("adam_debias", false);
    let averaged = if is_3(version) { GradientAveraging::On } else { GradientAveraging::AfterFirstStep };
    k.no_matter(&LOOPS_OF_TORCH);
    NovoGradConfig {
        beta1,
        beta2,
        eps: k.number("eps", 1e-8),
        weight_decay: k.number("weight_decay", 0.0),
        decay_mode: match (k.flag("weight_decouple", false), k.flag("fixed_decay", false)) {
            (false, _) => DecayMode::Coupled,
            (true, false) => DecayMode::Decoupled,
            (true, true) => DecayMode::Fixed,
        },
        gradient_averaging: averaging(k, averaged, false),
        bias_correction: if debias { BiasCorrection::StepSize } else { base.bias_correction },
        maximize: k.flag("maximize", false),
        ..base
    }
}

/// apex keeps the norm itself, and the maximum norm is not a root.
pub fn apex(k: &mut Keys) -> Settings {
    let [beta1, beta2] = k.betas([0.9, 0.999]);
    let norm = |value: &Value| match value.as_f64()? {
        0.0 => Some(MomentNorm::Max),
        2.0 => Some(MomentNorm::L2),
        _ => None,
    };
    let norm = k.read("norm_type", norm).unwrap_or(MomentNorm::L2);
    let corrects = k.flag("bias_correction", true);
    k.never(&["amsgrad"]);
    k.no_matter(&LOOPS_OF_TORCH);
    let config = NovoGradConfig {
        beta1,
        beta2,
        eps: k.number("eps", 1e-8),
        weight_decay: k.number("weight_decay", 0.0),
        v_init: if k.flag("init_zero", false) { VInit::Zero } else { VInit::FirstStep },
        gradient_averaging: averaging(k, GradientAveraging::On, true),
        bias_correction: if corrects { BiasCorrection::Moments } else { BiasCorrection::Off },
        norm,
        raw_momentum: !k.flag("reg_inside_moment", false),
        ..NovoGradConfig::APEX
    };
    Settings { keeps_root: norm == MomentNorm::L2, ..config.into() }
}
