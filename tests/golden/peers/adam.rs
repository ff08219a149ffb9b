//! Adam, AdamW, LAMB.

use super::{Clip, LOOPS_OF_TORCH, Settings, is_3, largest_rate};
use crate::keys::{Keys, number};
use layerwise::{AdamConfig, AdamCorrection, AdamDecay, LayerConfig, TrustRatio};

/// The keys that torch's Adam and all its relatives share.
fn betas_eps_decay(k: &mut Keys, base: AdamConfig) -> AdamConfig {
    k.no_matter(&LOOPS_OF_TORCH);
    let [beta1, beta2] = k.betas([base.beta1, base.beta2]);
    AdamConfig {
        beta1,
        beta2,
        eps: k.number("eps", base.eps),
        weight_decay: k.number("weight_decay", base.weight_decay),
        ..base
    }
}

/// torch's Adam, which is AdamW with `decoupled_weight_decay`, and AdamW.
pub fn torch(k: &mut Keys, base: AdamConfig) -> AdamConfig {
    let decoupled = k.flag("decoupled_weight_decay", false) && base.larc.is_none();
    let decay_mode = if decoupled { AdamDecay::Decoupled } else { base.decay_mode };
    k.never(&["amsgrad"]);
    AdamConfig { decay_mode, maximize: k.flag("maximize", false), ..betas_eps_decay(k, base) }
}

pub fn tensorflow(k: &mut Keys) -> AdamConfig {
    k.no_matter(&["use_locking", "name"]);
    AdamConfig {
        beta1: k.number("beta1", 0.9),
        beta2: k.number("beta2", 0.999),
        eps: k.number("epsilon", 1e-8),
        ..AdamConfig::TENSORFLOW
    }
}

pub fn optax(k: &mut Keys, base: AdamConfig) -> Settings {
    k.never(&["nesterov"]);
    let config = AdamConfig {
        beta1: k.number("b1", base.beta1),
        beta2: k.number("b2", base.beta2),
        eps: k.number("eps", base.eps),
        eps_root: k.number("eps_root", base.eps_root),
        weight_decay: k.number("weight_decay", base.weight_decay),
        ..base
    };
    // The mask is that of the decay. (`optax.adam` has none.)
    let decay = if k.flag("mask", true) { 1.0 } else { 0.0 };
    // The type of the momentum: only null is known.
    k.read::<()>("mu_dtype", |_| None);
    Settings { layer: LayerConfig { decay, ..LayerConfig::DEFAULT }, ..config.into() }
}

/// The keys that timm's and apex's LAMB share.
fn lamb(k: &mut Keys, base: AdamConfig) -> AdamConfig {
    let corrects = k.flag("bias_correction", true);
    AdamConfig {
        bias_correction: if corrects { base.bias_correction } else { AdamCorrection::Off },
        grad_averaging: k.flag("grad_averaging", true),
        ..betas_eps_decay(k, base)
    }
}

/// The limit of the norm: 1 if it is absent, none if it is null.
fn clip(k: &mut Keys, eps: f64) -> Option<Clip> {
    let absent = !k.has("max_grad_norm");
    let norm = k.read("max_grad_norm", number).or(absent.then_some(1.0));
    norm.map(|norm| Clip { norm, eps })
}

pub fn timm_lamb(k: &mut Keys) -> Settings {
    let base = lamb(k, AdamConfig::TIMM_LAMB);
    let (max_rate, corrected) = (largest_rate(k), k.flag("corrected_weight_decay", false));
    k.never(&["caution"]);
    let trust_ratio = TrustRatio {
        max_ratio: k.flag("trust_clip", false).then_some(1.0),
        only_with_decay: !k.flag("always_adapt", false),
        ..TrustRatio::DEFAULT
    };
    let decay_mode = match (k.flag("decoupled_decay", false), corrected) {
        (false, _) => base.decay_mode,
        (true, false) => AdamDecay::Decoupled,
        (true, true) => AdamDecay::Corrected { max_rate },
    };
    let config = AdamConfig { decay_mode, trust_ratio: Some(trust_ratio), ..base };
    Settings { clip: clip(k, 0.0), ..config.into() }
}

pub fn apex_lamb(k: &mut Keys) -> Settings {
    let base = lamb(k, AdamConfig::APEX_LAMB);
    k.never(&["amsgrad"]);
    let trust_ratio = TrustRatio { only_with_decay: !k.flag("use_nvlamb", false), ..TrustRatio::DEFAULT };
    let config = AdamConfig {
        decay_mode: if k.flag("adam_w_mode", true) { base.decay_mode } else { AdamDecay::L2 },
        trust_ratio: Some(trust_ratio),
        ..base
    };
    Settings { clip: clip(k, 0.0), ..config.into() }
}

pub fn pytorch_optimizer_lamb(k: &mut Keys, version: &str) -> Settings {
    let base = betas_eps_decay(k, AdamConfig::PYTORCH_OPTIMIZER_LAMB);
    let ratio = TrustRatio { eps: base.eps, max_weights: Some(k.number("clamp", 10.0)), ..TrustRatio::DEFAULT };
    k.never(&["rectify", "adanorm"]);
    k.no_matter(&["degenerated_to_sgd", "n_sma_threshold", "r", "adanorm_r"]); // of those two
    let config = AdamConfig {
        decay_mode: match (k.flag("weight_decouple", true), k.flag("fixed_decay", false)) {
            (true, false) => AdamDecay::Decoupled,
            (true, true) => AdamDecay::Fixed,
            (false, _) => AdamDecay::InUpdate,
        },
        trust_ratio: if k.flag("adam", false) { None } else { Some(ratio) },
        bias_correction: if k.flag("adam_debias", false) { AdamCorrection::Off } else { AdamCorrection::Rate },
        grad_averaging: k.flag("grad_averaging", true),
        maximize: k.flag("maximize", false),
        ..base
    };
    let (clips, limit) = (k.flag("pre_norm", false), clip(k, config.eps));
    assert!(!(clips && is_3(version)), "pytorch_optimizer.Lamb {version}: the setting pre_norm is known of version 4");
    // 0 is no limit there.
    Settings { clip: limit.filter(|limit| clips && limit.norm != 0.0), ..config.into() }
}
