//! The settings of other systems in the words of this crate.

use layerwise::{
    AdamConfig, AdamCorrection, AdamDecay, BiasCorrection, DecayMode, GradientAveraging, LarcConfig, LarcMode,
    LayerConfig, Luc, MomentNorm, NovoGradConfig, SgdConfig, TrustRatio, VInit,
};
use serde_json::{Map, Value};

/// A rule, and its settings.
pub enum Config {
    Sgd(SgdConfig),
    NovoGrad(NovoGradConfig),
    Adam(AdamConfig),
}

/// A peer's settings.
pub struct Settings {
    pub config: Config,
    pub layer: LayerConfig,
    /// The global norm to which the peer clips, if it does.
    pub clip_norm: Option<f64>,
}

impl From<Config> for Settings {
    fn from(config: Config) -> Self {
        Settings { config, layer: LayerConfig::DEFAULT, clip_norm: None }
    }
}

/// A trace's `config`, of which every key must be understood.
struct Keys<'a>(&'a Map<String, Value>, Vec<&'static str>);

impl Keys<'_> {
    fn get(&mut self, key: &'static str) -> Option<&Value> {
        self.1.push(key);
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn number(&mut self, key: &'static str, default: f64) -> f64 {
        self.get(key).map_or(default, |value| value.as_f64().unwrap())
    }

    fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.get(key).map_or(default, |value| value.as_bool().unwrap_or_else(|| value.as_f64().unwrap() != 0.0))
    }

    /// The settings of a part of the peer.
    fn object(&mut self, key: &'static str) -> Map<String, Value> {
        self.get(key).and_then(Value::as_object).cloned().unwrap_or_default()
    }

    fn betas(&mut self, default: [f64; 2]) -> [f64; 2] {
        self.get("betas").map_or(default, |value| [value[0].as_f64().unwrap(), value[1].as_f64().unwrap()])
    }

    fn finish(self, peer: &str) {
        for key in self.0.keys() {
            assert!(self.1.contains(&key.as_str()), "{peer}: the setting {key} is not understood");
        }
    }
}

/// The settings of a peer; nothing if there is no such peer.
pub fn settings(peer: &str, version: &str, config: &Map<String, Value>) -> Option<Settings> {
    let mut keys = Keys(config, vec!["lr"]);
    let k = &mut keys;
    let settings = match peer {
        "apex.parallel.LARC" => apex_larc(k, peer),
        "OpenSeq2Seq LARC + tf MomentumOptimizer/SGD" => sgd(openseq2seq_larc(k, peer)),
        "timm.optim.Lars" => sgd(timm_lars(k)),
        "lightning-bolts LARS" => sgd(bolts_lars(k)),
        "pytorch_optimizer.LARS" => pytorch_optimizer_lars(k, version),
        "optax.lars" => optax_lars(k),
        "optax.chain(scale_by_trust_ratio, scale_by_learning_rate)" => sgd(optax_trust_ratio(k)),
        "OpenSeq2Seq NovoGrad" => novograd(openseq2seq_novograd(k, peer)),
        "NeMo Novograd" | "DeepLearningExamples Jasper/QuartzNet Novograd" => novograd(nemo_novograd(k)),
        "timm.optim.NvNovoGrad" => novograd(timm_novograd(k)),
        "optax.novograd" => novograd(optax_novograd(k)),
        "tensorflow_addons NovoGrad" => novograd(tfa_novograd(k)),
        "pytorch_optimizer.NovoGrad" => novograd(pytorch_optimizer_novograd(k, version)),
        "apex.optimizers.FusedNovoGrad" => novograd(apex_novograd(k)),
        "torch.optim.Adam" => adam(torch_adam(k, AdamConfig::TORCH_ADAM)),
        "torch.optim.AdamW" => adam(torch_adam(k, AdamConfig::TORCH_ADAMW)),
        "tf.train.AdamOptimizer" => adam(tensorflow_adam(k)),
        "optax.adam" => adam(optax_adam(k, AdamConfig::OPTAX_ADAM)),
        "optax.adamw" => adam(optax_adam(k, AdamConfig::OPTAX_ADAMW)),
        "optax.lamb" => adam(optax_adam(k, AdamConfig::OPTAX_LAMB)),
        "timm.optim.Lamb" => timm_lamb(k),
        "apex.optimizers.FusedLAMB" => apex_lamb(k),
        "pytorch_optimizer.Lamb" => pytorch_optimizer_lamb(k),
        _ => return None,
    };
    keys.finish(peer);
    Some(settings)
}

fn sgd(config: SgdConfig) -> Settings {
    Config::Sgd(config).into()
}

fn novograd(config: NovoGradConfig) -> Settings {
    Config::NovoGrad(config).into()
}

fn adam(config: AdamConfig) -> Settings {
    Config::Adam(config).into()
}

fn with_larc(larc: LarcConfig) -> SgdConfig {
    SgdConfig { larc: Some(larc), ..SgdConfig::DEFAULT }
}

fn clip_or_scale(clip: bool) -> LarcMode {
    if clip { LarcMode::Clip } else { LarcMode::Scale }
}

fn apex_larc(k: &mut Keys, peer: &str) -> Settings {
    let larc = k.object("larc");
    let mut larc = Keys(&larc, vec![]);
    let config = LarcConfig {
        eta: larc.number("trust_coefficient", LarcConfig::APEX.eta),
        mode: clip_or_scale(larc.flag("clip", true)),
        eps: larc.number("eps", LarcConfig::APEX.eps),
        ..LarcConfig::APEX
    };
    larc.finish(peer);
    let inner = k.object("inner");
    let mut inner = Keys(&inner, vec!["cls"]);
    let settings = match inner.0["cls"].as_str() {
        Some("SGD") => sgd(torch_sgd(&mut inner, with_larc(config))),
        Some("Adam") => adam(torch_adam(&mut inner, AdamConfig { larc: Some(config), ..AdamConfig::TORCH_ADAM })),
        cls => panic!("{peer}: no rule is called {cls:?}"),
    };
    inner.finish(peer);
    settings
}

fn openseq2seq_larc(k: &mut Keys, peer: &str) -> SgdConfig {
    let larc = openseq2seq_larc_params(&k.object("larc"), peer);
    torch_sgd(k, with_larc(larc))
}

fn openseq2seq_larc_params(larc: &Map<String, Value>, peer: &str) -> LarcConfig {
    let mut larc = Keys(larc, vec![]);
    let config = LarcConfig {
        eta: larc.number("eta", LarcConfig::OPENSEQ2SEQ.eta),
        mode: clip_or_scale(larc.get("mode").is_none_or(|mode| mode != "scale")),
        min_update: larc.number("min_update", LarcConfig::OPENSEQ2SEQ.min_update),
        eps: larc.number("epsilon", LarcConfig::OPENSEQ2SEQ.eps),
        ..LarcConfig::OPENSEQ2SEQ
    };
    larc.finish(peer);
    config
}

fn timm_lars(k: &mut Keys) -> SgdConfig {
    let larc = LarcConfig {
        eta: k.number("trust_coeff", LarcConfig::TIMM.eta),
        eps: k.number("eps", LarcConfig::TIMM.eps),
        mode: clip_or_scale(k.flag("trust_clip", false)),
        only_with_decay: !k.flag("always_adapt", false),
        ..LarcConfig::TIMM
    };
    torch_sgd(k, SgdConfig { larc: Some(larc), ..SgdConfig::TIMM_LARS })
}

fn bolts_lars(k: &mut Keys) -> SgdConfig {
    let larc = LarcConfig {
        eta: k.number("trust_coefficient", LarcConfig::BOLTS.eta),
        eps: k.number("eps", LarcConfig::BOLTS.eps),
        ..LarcConfig::BOLTS
    };
    torch_sgd(k, SgdConfig { larc: Some(larc), ..SgdConfig::BOLTS_LARS })
}

fn pytorch_optimizer_lars(k: &mut Keys, version: &str) -> Settings {
    let (base, larc) = if is_3(version) {
        (SgdConfig::PYTORCH_OPTIMIZER_3_LARS, LarcConfig::PYTORCH_OPTIMIZER_3)
    } else {
        (SgdConfig::PYTORCH_OPTIMIZER_LARS, LarcConfig::PYTORCH_OPTIMIZER)
    };
    let larc = LarcConfig { eta: k.number("trust_coefficient", larc.eta), ..larc };
    let layer = if k.number("param_ndim", 2.0) > 1.0 { LayerConfig::DEFAULT } else { LayerConfig::PLAIN };
    let maximize = k.flag("maximize", false);
    let base = SgdConfig { maximize, larc: Some(larc), ..base };
    Settings { layer, ..sgd(torch_sgd(k, base)) }
}

fn optax_lars(k: &mut Keys) -> Settings {
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
    Settings { layer, ..sgd(torch_sgd(k, SgdConfig { larc: Some(larc), ..SgdConfig::OPTAX_LARS })) }
}

fn optax_trust_ratio(k: &mut Keys) -> SgdConfig {
    with_larc(LarcConfig {
        eta: k.number("trust_coefficient", 1.0),
        eps: k.number("eps", 0.0),
        min_norm: k.number("min_norm", 0.0),
        ..LarcConfig::OPTAX
    })
}

fn openseq2seq_novograd(k: &mut Keys, peer: &str) -> NovoGradConfig {
    let larc = k.get("larc").and_then(Value::as_object).map(|larc| openseq2seq_larc_params(larc, peer));
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

fn nemo_novograd(k: &mut Keys) -> NovoGradConfig {
    let luc =
        Luc { trust: k.number("luc_trust", Luc::NEMO.trust), eps: k.number("luc_eps", Luc::NEMO.eps), ..Luc::NEMO };
    let luc = k.flag("luc", false).then_some(luc);
    torch_novograd(k, NovoGradConfig { luc, ..NovoGradConfig::NEMO })
}

fn timm_novograd(k: &mut Keys) -> NovoGradConfig {
    let corrected = k.flag("corrected_weight_decay", false);
    let max_rate = k.number("max_lr_snapshot", 0.03125);
    let decay_mode = match (k.flag("decoupled_decay", false), corrected) {
        (false, _) => DecayMode::Coupled,
        (true, false) => DecayMode::Decoupled,
        (true, true) => DecayMode::Corrected { max_rate },
    };
    torch_novograd(k, NovoGradConfig { decay_mode, ..NovoGradConfig::TIMM })
}

fn optax_novograd(k: &mut Keys) -> NovoGradConfig {
    NovoGradConfig {
        beta1: k.number("b1", 0.9),
        beta2: k.number("b2", 0.25),
        eps: k.number("eps", 1e-6),
        eps_root: k.number("eps_root", 0.0),
        weight_decay: k.number("weight_decay", 0.0),
        ..NovoGradConfig::OPTAX
    }
}

fn tfa_novograd(k: &mut Keys) -> NovoGradConfig {
    let f32_rounded = |x: f64| f64::from(x as f32);
    NovoGradConfig {
        beta1: f32_rounded(k.number("beta_1", 0.9)),
        beta2: f32_rounded(k.number("beta_2", 0.999)),
        eps: k.number("epsilon", 1e-7),
        weight_decay: f32_rounded(k.number("weight_decay", 0.0)),
        gradient_averaging: averaging(k, GradientAveraging::AfterFirstStep, false),
        amsgrad: k.flag("amsgrad", false),
        ..NovoGradConfig::TFA
    }
}

fn pytorch_optimizer_novograd(k: &mut Keys, version: &str) -> NovoGradConfig {
    let [beta1, beta2] = k.betas([0.95, 0.98]);
    let base = if is_3(version) { NovoGradConfig::PYTORCH_OPTIMIZER_3 } else { NovoGradConfig::PYTORCH_OPTIMIZER };
    let debias = k.flag("adam_debias", false);
    let averaged = if is_3(version) { GradientAveraging::On } else { GradientAveraging::AfterFirstStep };
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

fn apex_novograd(k: &mut Keys) -> NovoGradConfig {
    let [beta1, beta2] = k.betas([0.9, 0.999]);
    let corrects = k.flag("bias_correction", true);
    NovoGradConfig {
        beta1,
        beta2,
        eps: k.number("eps", 1e-8),
        weight_decay: k.number("weight_decay", 0.0),
        v_init: if k.flag("init_zero", false) { VInit::Zero } else { VInit::FirstStep },
        gradient_averaging: averaging(k, GradientAveraging::On, true),
        bias_correction: if corrects { BiasCorrection::Moments } else { BiasCorrection::Off },
        norm: if k.number("norm_type", 2.0) == 0.0 { MomentNorm::Max } else { MomentNorm::L2 },
        raw_momentum: !k.flag("reg_inside_moment", false),
        ..NovoGradConfig::APEX
    }
}

fn timm_lamb(k: &mut Keys) -> Settings {
    let base = torch_adam(k, AdamConfig::TIMM_LAMB);
    // The largest rate so far, which `corrected_weight_decay` would divide by, is not in the configuration.
    assert!(!k.flag("corrected_weight_decay", false));
    let trust_ratio = TrustRatio {
        max_ratio: k.flag("trust_clip", false).then_some(1.0),
        only_with_decay: !k.flag("always_adapt", false),
        ..TrustRatio::DEFAULT
    };
    let config = AdamConfig {
        decay_mode: if k.flag("decoupled_decay", false) { AdamDecay::Decoupled } else { base.decay_mode },
        trust_ratio: Some(trust_ratio),
        ..lamb(k, base)
    };
    Settings { clip_norm: k.get("max_grad_norm").and_then(Value::as_f64), ..adam(config) }
}

fn apex_lamb(k: &mut Keys) -> Settings {
    let base = torch_adam(k, AdamConfig::APEX_LAMB);
    let trust_ratio = TrustRatio { only_with_decay: !k.flag("use_nvlamb", false), ..TrustRatio::DEFAULT };
    let config = AdamConfig {
        decay_mode: if k.flag("adam_w_mode", true) { base.decay_mode } else { AdamDecay::L2 },
        trust_ratio: Some(trust_ratio),
        ..lamb(k, base)
    };
    Settings { clip_norm: Some(k.number("max_grad_norm", 1.0)), ..adam(config) }
}

fn pytorch_optimizer_lamb(k: &mut Keys) -> Settings {
    let base = AdamConfig::PYTORCH_OPTIMIZER_LAMB;
    let eps = k.number("eps", base.eps);
    let ratio = TrustRatio { eps, max_weights: Some(k.number("clamp", 10.0)), ..TrustRatio::DEFAULT };
    let config = AdamConfig {
        decay_mode: match (k.flag("weight_decouple", true), k.flag("fixed_decay", false)) {
            (true, false) => AdamDecay::Decoupled,
            (true, true) => AdamDecay::Fixed,
            (false, _) => AdamDecay::InUpdate,
        },
        trust_ratio: if k.flag("adam", false) { None } else { Some(ratio) },
        bias_correction: if k.flag("adam_debias", false) { AdamCorrection::Off } else { AdamCorrection::Rate },
        ..torch_adam(k, base)
    };
    let config = AdamConfig { grad_averaging: k.flag("grad_averaging", true), ..config };
    let (clips, max) = (k.flag("pre_norm", false), k.number("max_grad_norm", 1.0));
    Settings { clip_norm: clips.then_some(max), ..adam(config) }
}

fn tensorflow_adam(k: &mut Keys) -> AdamConfig {
    AdamConfig {
        beta1: k.number("beta1", 0.9),
        beta2: k.number("beta2", 0.999),
        eps: k.number("epsilon", 1e-8),
        ..AdamConfig::TENSORFLOW
    }
}

fn optax_adam(k: &mut Keys, base: AdamConfig) -> AdamConfig {
    AdamConfig {
        beta1: k.number("b1", base.beta1),
        beta2: k.number("b2", base.beta2),
        eps: k.number("eps", base.eps),
        eps_root: k.number("eps_root", base.eps_root),
        weight_decay: k.number("weight_decay", base.weight_decay),
        ..base
    }
}

/// The keys that torch's Adam and all its relatives share.
fn torch_adam(k: &mut Keys, base: AdamConfig) -> AdamConfig {
    let [beta1, beta2] = k.betas([base.beta1, base.beta2]);
    AdamConfig {
        beta1,
        beta2,
        eps: k.number("eps", base.eps),
        weight_decay: k.number("weight_decay", base.weight_decay),
        ..base
    }
}

/// The keys that timm's and apex's LAMB share.
fn lamb(k: &mut Keys, base: AdamConfig) -> AdamConfig {
    let corrects = k.flag("bias_correction", true);
    AdamConfig {
        bias_correction: if corrects { base.bias_correction } else { AdamCorrection::Off },
        grad_averaging: k.flag("grad_averaging", true),
        ..base
    }
}

/// Whether this is a version of pytorch_optimizer before 4.
fn is_3(version: &str) -> bool {
    version.starts_with("3.")
}

/// The keys that torch's SGD and all its relatives share.
fn torch_sgd(k: &mut Keys, base: SgdConfig) -> SgdConfig {
    SgdConfig {
        momentum: k.number("momentum", if k.0.contains_key("momentum") { 0.0 } else { base.momentum }),
        dampening: k.number("dampening", base.dampening),
        weight_decay: k.number("weight_decay", base.weight_decay),
        nesterov: k.flag("nesterov", base.nesterov),
        ..base
    }
}

/// The keys that NeMo's and timm's NovoGrad share.
fn torch_novograd(k: &mut Keys, base: NovoGradConfig) -> NovoGradConfig {
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

fn averaging(k: &mut Keys, on: GradientAveraging, default: bool) -> GradientAveraging {
    if k.flag("grad_averaging", default) { on } else { GradientAveraging::Off }
}
