//! How settings are read and written with serde.
//!
//! Whatever is read is checked. So these types cannot derive serde's traits: for each there is a private type here with
//! the same fields, whose derived functions read and write the public type. (Derived at the public type itself, these
//! functions would be public too, and read without a check.)

use super::adam::AdamCorrection;
use super::larc::{DecayInRatio, LarcMode, ZeroNorm};
use super::novograd::{BiasCorrection, MomentNorm, VInit};
use super::policy::NonFinite;
use super::{adam, exact, exact_list, larc, layer, limit, loss_scale, novograd, policy, rates, sgd};
use core::fmt;
use serde::de::value::StrDeserializer;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Implements serde's traits for the public type with the functions of the private type of the same name, and calls
/// `check` on every value read.
macro_rules! checked {
    ($($module:ident::$type:ident),*) => {
        $(
            impl Serialize for $module::$type {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    $type::serialize(self, serializer)
                }
            }

            impl<'de> Deserialize<'de> for $module::$type {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let value = $type::deserialize(deserializer)?;
                    value.check().map_err(D::Error::custom)?;
                    Ok(value)
                }
            }
        )*
    };
}

checked!(sgd::SgdConfig, larc::LarcConfig, limit::Luc, novograd::NovoGradConfig, novograd::NovoGradState);
checked!(novograd::DecayMode, adam::AdamConfig, adam::AdamDecay, adam::TrustRatio);
checked!(layer::LayerConfig, policy::Policy, loss_scale::LossScaling, loss_scale::Backoff, loss_scale::LogMax);
checked!(rates::FixedLr, rates::ExpDecay, rates::PolyDecay, rates::CosineDecay, rates::TransformerPolicy);
checked!(rates::InvPolyDecay);

// The macro has no type parameters.
impl<L: AsRef<[f64]>> Serialize for rates::PiecewiseConstant<L> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        PiecewiseConstant::serialize(self, serializer)
    }
}

impl<'de, L: AsRef<[f64]> + Default + FromIterator<f64>> Deserialize<'de> for rates::PiecewiseConstant<L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = PiecewiseConstant::deserialize(deserializer)?;
        value.check().map_err(D::Error::custom)?;
        Ok(value)
    }
}

impl Serialize for novograd::GradientAveraging {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        GradientAveraging::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for novograd::GradientAveraging {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(NameOrFlag)
        } else {
            GradientAveraging::deserialize(deserializer)
        }
    }
}

/// The name of a variant, or OpenSeq2Seq's `true` and `false`.
struct NameOrFlag;

impl Visitor<'_> for NameOrFlag {
    type Value = novograd::GradientAveraging;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, \"off\", \"on\" or \"after_first_step\"")
    }

    fn visit_bool<E: Error>(self, averages: bool) -> Result<Self::Value, E> {
        Ok(if averages { novograd::GradientAveraging::On } else { novograd::GradientAveraging::Off })
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        GradientAveraging::deserialize(StrDeserializer::new(name))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(default = "sgd::SgdConfig::default", deny_unknown_fields, remote = "sgd::SgdConfig")]
struct SgdConfig {
    #[serde(with = "exact")]
    momentum: f64,
    #[serde(with = "exact")]
    dampening: f64,
    dampen_first_step: bool,
    #[serde(alias = "use_nesterov")]
    nesterov: bool,
    #[serde(with = "exact")]
    weight_decay: f64,
    rate_in_momentum: bool,
    maximize: bool,
    larc: Option<larc::LarcConfig>,
    luc: Option<limit::Luc>,
    starts_at_gradient: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(default = "larc::LarcConfig::default", deny_unknown_fields, remote = "larc::LarcConfig")]
struct LarcConfig {
    #[serde(rename = "larc_mode", alias = "mode")]
    mode: LarcMode,
    #[serde(rename = "larc_eta", alias = "eta", with = "exact")]
    eta: f64,
    #[serde(rename = "epsilon", alias = "eps", with = "exact")]
    eps: f64,
    #[serde(with = "exact")]
    min_update: f64,
    #[serde(with = "exact::option")]
    max_update: Option<f64>,
    #[serde(with = "exact")]
    min_norm: f64,
    zero_norm: ZeroNorm,
    decay_in_ratio: DecayInRatio,
    only_with_decay: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(default = "limit::Luc::default", deny_unknown_fields, remote = "limit::Luc")]
struct Luc {
    #[serde(with = "exact")]
    trust: f64,
    #[serde(with = "exact")]
    eps: f64,
    freezes_zeros: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(default = "novograd::NovoGradConfig::default", deny_unknown_fields, remote = "novograd::NovoGradConfig")]
struct NovoGradConfig {
    #[serde(with = "exact")]
    beta1: f64,
    #[serde(with = "exact")]
    beta2: f64,
    #[serde(rename = "epsilon", alias = "eps", with = "exact")]
    eps: f64,
    #[serde(with = "exact")]
    eps_root: f64,
    #[serde(with = "exact")]
    weight_decay: f64,
    decay_mode: novograd::DecayMode,
    v_init: VInit,
    #[serde(alias = "grad_averaging")]
    gradient_averaging: novograd::GradientAveraging,
    amsgrad: bool,
    larc: Option<larc::LarcConfig>,
    luc: Option<limit::Luc>,
    starts_at_gradient: bool,
    bias_correction: BiasCorrection,
    norm: MomentNorm,
    raw_momentum: bool,
    rate_in_momentum: bool,
    maximize: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", remote = "novograd::DecayMode")]
enum DecayMode {
    Coupled,
    Decoupled,
    Corrected {
        #[serde(with = "exact")]
        max_rate: f64,
    },
    Fixed,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", remote = "novograd::GradientAveraging")]
enum GradientAveraging {
    Off,
    On,
    AfterFirstStep,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "novograd::NovoGradState")]
struct NovoGradState {
    #[serde(with = "exact")]
    second_moment: f64,
    #[serde(with = "exact")]
    max_second_moment: f64,
    steps: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(default = "adam::AdamConfig::default", deny_unknown_fields, remote = "adam::AdamConfig")]
struct AdamConfig {
    #[serde(with = "exact")]
    beta1: f64,
    #[serde(with = "exact")]
    beta2: f64,
    #[serde(rename = "epsilon", alias = "eps", with = "exact")]
    eps: f64,
    #[serde(with = "exact")]
    eps_root: f64,
    #[serde(with = "exact")]
    weight_decay: f64,
    decay_mode: adam::AdamDecay,
    bias_correction: AdamCorrection,
    grad_averaging: bool,
    trust_ratio: Option<adam::TrustRatio>,
    larc: Option<larc::LarcConfig>,
    luc: Option<limit::Luc>,
    maximize: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", remote = "adam::AdamDecay")]
enum AdamDecay {
    L2,
    InUpdate,
    Decoupled,
    Corrected {
        #[serde(with = "exact")]
        max_rate: f64,
    },
    Fixed,
}

#[derive(Serialize, Deserialize)]
#[serde(default = "adam::TrustRatio::default", deny_unknown_fields, remote = "adam::TrustRatio")]
struct TrustRatio {
    #[serde(with = "exact")]
    eps: f64,
    #[serde(with = "exact::option")]
    max_weights: Option<f64>,
    #[serde(with = "exact::option")]
    max_ratio: Option<f64>,
    only_with_decay: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(default = "layer::LayerConfig::default", deny_unknown_fields, remote = "layer::LayerConfig")]
struct LayerConfig {
    adapt: bool,
    #[serde(with = "exact")]
    rate: f64,
    #[serde(with = "exact")]
    decay: f64,
    frozen: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(default = "policy::Policy::default", deny_unknown_fields, remote = "policy::Policy")]
struct Policy {
    non_finite: NonFinite,
    #[serde(with = "exact::option")]
    clip_norm: Option<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "loss_scale::LossScaling")]
enum LossScaling {
    #[serde(alias = "static")]
    Static(#[serde(with = "exact")] f64),
    #[serde(alias = "backoff")]
    Backoff(loss_scale::Backoff),
    #[serde(alias = "logmax")]
    LogMax(loss_scale::LogMax),
}

#[derive(Serialize, Deserialize)]
#[serde(default = "loss_scale::Backoff::default", deny_unknown_fields, remote = "loss_scale::Backoff")]
struct Backoff {
    #[serde(with = "exact")]
    scale_min: f64,
    #[serde(with = "exact")]
    scale_max: f64,
    #[serde(with = "exact")]
    step_factor: f64,
    step_window: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(default = "loss_scale::LogMax::default", deny_unknown_fields, remote = "loss_scale::LogMax")]
struct LogMax {
    #[serde(with = "exact")]
    scale_min: f64,
    #[serde(with = "exact")]
    scale_max: f64,
    #[serde(with = "exact")]
    log_max: f64,
    #[serde(with = "exact")]
    beta1: f64,
    #[serde(with = "exact")]
    beta2: f64,
    #[serde(with = "exact")]
    overflow_std_dev: f64,
    as_executed: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(default = "rates::FixedLr::default", deny_unknown_fields, remote = "rates::FixedLr")]
struct FixedLr {
    #[serde(with = "exact")]
    learning_rate: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(default = "rates::PiecewiseConstant::default", deny_unknown_fields, remote = "rates::PiecewiseConstant")]
#[serde(bound(serialize = "L: AsRef<[f64]>", deserialize = "L: Default + FromIterator<f64>"))]
struct PiecewiseConstant<L> {
    #[serde(with = "exact")]
    learning_rate: f64,
    #[serde(with = "exact_list")]
    boundaries: L,
    #[serde(with = "exact_list")]
    decay_rates: L,
    steps_per_epoch: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(default = "rates::ExpDecay::default", deny_unknown_fields, remote = "rates::ExpDecay")]
struct ExpDecay {
    #[serde(with = "exact")]
    learning_rate: f64,
    decay_steps: u64,
    #[serde(with = "exact")]
    decay_rate: f64,
    use_staircase_decay: bool,
    begin_decay_at: u64,
    #[serde(with = "exact")]
    min_lr: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(default = "rates::PolyDecay::default", deny_unknown_fields, remote = "rates::PolyDecay")]
struct PolyDecay {
    #[serde(with = "exact")]
    learning_rate: f64,
    decay_steps: u64,
    #[serde(with = "exact")]
    power: f64,
    begin_decay_at: u64,
    #[serde(with = "exact")]
    min_lr: f64,
    warmup_steps: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(default = "rates::CosineDecay::default", deny_unknown_fields, remote = "rates::CosineDecay")]
struct CosineDecay {
    #[serde(with = "exact")]
    learning_rate: f64,
    decay_steps: u64,
    #[serde(with = "exact")]
    power: f64,
    begin_decay_at: u64,
    #[serde(with = "exact")]
    min_lr: f64,
    warmup_steps: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(default = "rates::TransformerPolicy::default", deny_unknown_fields, remote = "rates::TransformerPolicy")]
struct TransformerPolicy {
    #[serde(with = "exact")]
    learning_rate: f64,
    d_model: u64,
    warmup_steps: u64,
    #[serde(with = "exact::option")]
    max_lr: Option<f64>,
    #[serde(with = "exact")]
    coefficient: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(default = "rates::InvPolyDecay::default", deny_unknown_fields, remote = "rates::InvPolyDecay")]
struct InvPolyDecay {
    #[serde(with = "exact")]
    learning_rate: f64,
    decay_steps: u64,
    #[serde(with = "exact")]
    min_lr: f64,
    #[serde(with = "exact")]
    power: f64,
    begin_decay_at: u64,
    warmup_steps: u64,
}
