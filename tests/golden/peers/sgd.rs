//! Gradient descent with LARC or LARS, and LARC in front of torch's optimizers.

use super::{LOOPS_OF_TORCH, Settings, adam, is_3};
use crate::keys::Keys;
use layerwise::{AdamConfig, AdamDecay, DecayInRatio, LarcConfig, LarcMode, LayerConfig, SgdConfig};
use serde_json::Value;

fn with_larc(larc: LarcConfig) -> SgdConfig {
    SgdConfig { larc: Some(larc), ..SgdConfig::DEFAULT }
}

fn clip_or_scale(clip: bool) -> LarcMode {
    if clip { LarcMode::Clip } else { LarcMode::Scale }
}

/// The keys that torch's SGD and all its relatives share.
fn torch(k: &mut Keys, base: SgdConfig) -> SgdConfig {
    k.no_matter(&LOOPS_OF_TORCH);
    SgdConfig {
        // A null is no momentum, whatever the peer's default.
        momentum: k.number("momentum", if k.has("momentum") { 0.0 } else { base.momentum }),
        dampening: k.number("dampening", base.dampening),
        weight_decay: k.number("weight_decay", base.weight_decay),
        nesterov: k.flag("nesterov", base.nesterov),
        ..base
    }
}

/// LARC adds the decay to the gradient before the inner optimizer sees it. So AdamW becomes Adam, and ascending would
/// flip the sign of the decay too.
pub fn apex_larc(k: &mut Keys) -> Settings {
    let mut larc = k.part("larc");
    let config = LarcConfig {
        eta: larc.number("trust_coefficient", LarcConfig::APEX.eta),
        mode: clip_or_scale(larc.flag("clip", true)),
        eps: larc.number("eps", LarcConfig::APEX.eps),
        ..LarcConfig::APEX
    };
    larc.finish();
    let mut inner = k.part("inner");
    inner.no_matter(&["lr"]);
    inner.never(&["maximize"]);
    let around = |base: AdamConfig| AdamConfig { larc: Some(config), decay_mode: AdamDecay::L2, ..base };
    let settings = match inner.read("cls", Value::as_str) {
        Some("SGD") => torch(&mut inner, with_larc(config)).into(),
        Some("Adam") => adam::torch(&mut inner, around(AdamConfig::TORCH_ADAM)).into(),
        Some("AdamW") => adam::torch(&mut inner, around(AdamConfig::TORCH_ADAMW)).into(),
        class => panic!("apex.parallel.LARC: the optimizer {class:?} is not known"),
    };
    inner.finish();
    settings
}

/// OpenSeq2Seq has the decay in the gradient that LARC measures.
pub fn openseq2seq(k: &mut Keys) -> SgdConfig {
    let larc = LarcConfig { decay_in_ratio: DecayInRatio::NormOfSum, ..openseq2seq_larc(k.part("larc")) };
    torch(k, with_larc(larc))
}

pub fn openseq2seq_larc(mut larc: Keys) -> LarcConfig {
    let mode = |mode: &Value| match mode.as_str()? {
        "clip" => Some(LarcMode::Clip),
        "scale" => Some(LarcMode::Scale),
        _ => None,
    };
    let config = LarcConfig {
        eta: larc.number("eta", LarcConfig::OPENSEQ2SEQ.eta),
        mode: larc.read("mode", mode).unwrap_or(LarcMode::Clip),
        min_update: larc.number("min_update", LarcConfig::OPENSEQ2SEQ.min_update),
        eps: larc.number("epsilon", LarcConfig::OPENSEQ2SEQ.eps),
        ..LarcConfig::OPENSEQ2SEQ
    };
    larc.finish();
    config
}

pub fn timm_lars(k: &mut Keys) -> SgdConfig {
    let larc = LarcConfig {
        eta: k.number("trust_coeff", LarcConfig::TIMM.eta),
        eps: k.number("eps", LarcConfig::TIMM.eps),
        mode: clip_or_scale(k.flag("trust_clip", false)),
        only_with_decay: !k.flag("always_adapt", false),
        ..LarcConfig::TIMM
    };
    k.never(&["caution"]);
    torch(k, SgdConfig { larc: Some(larc), momentum: 0.0, ..SgdConfig::TIMM_LARS })
}

pub fn bolts_lars(k: &mut Keys) -> SgdConfig {
    let larc = LarcConfig {
        eta: k.number("trust_coefficient", LarcConfig::BOLTS.eta),
        eps: k.number("eps", LarcConfig::BOLTS.eps),
        ..LarcConfig::BOLTS
    };
    torch(k, SgdConfig { larc: Some(larc), ..SgdConfig::BOLTS_LARS })
}

pub fn pytorch_optimizer_lars(k: &mut Keys, version: &str) -> Settings {
    let (base, larc) = if is_3(version) {
        (SgdConfig::PYTORCH_OPTIMIZER_3_LARS, LarcConfig::PYTORCH_OPTIMIZER_3)
    } else {
        (SgdConfig::PYTORCH_OPTIMIZER_LARS, LarcConfig::PYTORCH_OPTIMIZER)
    };
    let larc = LarcConfig { eta: k.number("trust_coefficient", larc.eta), ..larc };
    let layer = if k.number("param_ndim", 2.0) > 1.0 { LayerConfig::DEFAULT } else { LayerConfig::PLAIN };
    let maximize = k.flag("maximize", false);
    let config = torch(k, SgdConfig { maximize, larc: Some(larc), ..base });
    Settings { layer, ..config.into() }
}

pub fn optax_lars(k: &mut Keys) -> Settings {
    let larc = LarcConfig {
        eta: k.number("trust_coefficient", LarcConfig::OPTAX.eta),
        eps: k.number("eps", LarcConfig::OPTAX.eps),
        ..LarcConfig::OPTAX
    };
    let layer = LayerConfig {
        decay: if k.flag("weight_decay_mask", true) { 1.0 } else { 0.0 },
        adapt: k.flag("trust_ratio_mask", true),
        ..LayerConfig::DEFAULT
    };
    let config = torch(k, SgdConfig { larc: Some(larc), ..SgdConfig::OPTAX_LARS });
    Settings { layer, momentum_sign: -1.0, ..config.into() }
}

pub fn optax_trust_ratio(k: &mut Keys) -> SgdConfig {
    with_larc(LarcConfig {
        eta: k.number("trust_coefficient", 1.0),
        eps: k.number("eps", 0.0),
        min_norm: k.number("min_norm", 0.0),
        ..LarcConfig::OPTAX
    })
}
