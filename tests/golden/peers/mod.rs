//! The settings of other systems, translated to this crate: a list of peers, and a function for each.
//!
//! A setting that no function reads is a failure, and so is one that the crate does not have.

mod adam;
mod novograd;
mod sgd;

pub use sgd::openseq2seq_larc;

use crate::keys::Keys;
use layerwise::{AdamConfig, LayerConfig, NovoGradConfig, SgdConfig};
use serde_json::Value;

/// A rule, and its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Config {
    Sgd(SgdConfig),
    NovoGrad(NovoGradConfig),
    Adam(AdamConfig),
}

/// A peer's settings.
pub struct Settings {
    pub config: Config,
    pub layer: LayerConfig,
    pub clip: Option<Clip>,
    /// 1, or -1 if the peer adds its momentum to the weights.
    pub momentum_sign: f64,
    /// Whether the second moment that the peer keeps is the root of this crate's.
    pub keeps_root: bool,
}

/// The peer's clip of the global gradient norm: the gradient is multiplied by `norm / (|g| + eps)` if that is less than
/// 1.
pub struct Clip {
    pub norm: f64,
    pub eps: f64,
}

impl From<Config> for Settings {
    fn from(config: Config) -> Self {
        Settings { config, layer: LayerConfig::DEFAULT, clip: None, momentum_sign: 1.0, keeps_root: false }
    }
}

impl From<SgdConfig> for Settings {
    fn from(config: SgdConfig) -> Self {
        Config::Sgd(config).into()
    }
}

impl From<NovoGradConfig> for Settings {
    fn from(config: NovoGradConfig) -> Self {
        Config::NovoGrad(config).into()
    }
}

impl From<AdamConfig> for Settings {
    fn from(config: AdamConfig) -> Self {
        Config::Adam(config).into()
    }
}

/// The settings of a peer.
pub fn settings(peer: &str, version: &str, config: &Value) -> Settings {
    let mut keys = Keys::new(peer, config);
    // The rate of each step is in the trace; that of the constructor matters for few peers.
    keys.no_matter(&["lr"]);
    let k = &mut keys;
    let settings = match peer {
        "apex.parallel.LARC" => sgd::apex_larc(k),
        "OpenSeq2Seq LARC + tf MomentumOptimizer/SGD" => sgd::openseq2seq(k).into(),
        "timm.optim.Lars" => sgd::timm_lars(k).into(),
        "lightning-bolts LARS" => sgd::bolts_lars(k).into(),
        "pytorch_optimizer.LARS" => sgd::pytorch_optimizer_lars(k, version),
        "optax.lars" => sgd::optax_lars(k),
        "optax.chain(scale_by_trust_ratio, scale_by_learning_rate)" => sgd::optax_trust_ratio(k).into(),
        "OpenSeq2Seq NovoGrad" => novograd::openseq2seq(k).into(),
        "NeMo Novograd" => novograd::nemo(k).into(),
        "DeepLearningExamples Jasper/QuartzNet Novograd" => novograd::torch(k, NovoGradConfig::NEMO).into(),
        "timm.optim.NvNovoGrad" => novograd::timm(k).into(),
        "optax.novograd" => novograd::optax(k).into(),
        "tensorflow_addons NovoGrad" => novograd::tfa(k),
        "pytorch_optimizer.NovoGrad" => novograd::pytorch_optimizer(k, version).into(),
        "apex.optimizers.FusedNovoGrad" => novograd::apex(k),
        "torch.optim.Adam" => adam::torch(k, AdamConfig::TORCH_ADAM).into(),
        "torch.optim.AdamW" => adam::torch(k, AdamConfig::TORCH_ADAMW).into(),
        "tf.train.AdamOptimizer" => adam::tensorflow(k).into(),
        "optax.adam" => adam::optax(k, AdamConfig::OPTAX_ADAM),
        "optax.adamw" => adam::optax(k, AdamConfig::OPTAX_ADAMW),
        "optax.lamb" => adam::optax(k, AdamConfig::OPTAX_LAMB),
        "timm.optim.Lamb" => adam::timm_lamb(k),
        "apex.optimizers.FusedLAMB" => adam::apex_lamb(k),
        "pytorch_optimizer.Lamb" => adam::pytorch_optimizer_lamb(k, version),
        _ => panic!("the peer {peer} is not known"),
    };
    keys.finish();
    settings
}

/// Settings of torch's optimizers, and of those like them, that do not change results.
const LOOPS_OF_TORCH: [&str; 5] = ["foreach", "fused", "capturable", "differentiable", "set_grad_none"];

/// Whether this is a version of pytorch_optimizer before 4.
fn is_3(version: &str) -> bool {
    version.starts_with("3.")
}

/// The rate by which timm's "corrected" decay divides: the one at construction.
fn largest_rate(k: &mut Keys) -> f64 {
    let lr = k.number("lr", 0.0);
    k.number("max_lr_snapshot", lr)
}
