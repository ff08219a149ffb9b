//! The optimizer of a recipe, with LARC and the regularizer.

use super::error::RecipeError;
use super::words::Words;
use crate::error::ConfigError;
use crate::rules::adam::{AdamConfig, AdamCorrection, AdamDecay, AdamRule};
use crate::rules::any::AnyRule;
use crate::rules::double::is_zero;
use crate::rules::larc::{DecayInRatio, LarcConfig, LarcMode};
use crate::rules::novograd::{GradientAveraging, NovoGradConfig, NovoGradRule};
use crate::rules::sgd::{SgdConfig, SgdRule};
use alloc::format;
use alloc::string::{String, ToString};

const OPTIMIZERS: &str = "Momentum, SGD, Adam, LazyAdamOptimizer, AdamW or NovoGrad";

/// The rule of `optimizer`, `optimizer_params`, `larc_params`, `regularizer` and `regularizer_params`.
pub(super) fn rule(words: &mut Words) -> Result<AnyRule, RecipeError> {
    words.require("optimizer")?;
    let name = words.text("optimizer")?.unwrap_or_default();
    let mut params = words.table_or_empty("optimizer_params")?;
    let l2 = regularizer(words)?;
    let larc = larc(words, l2)?;
    let rule = match name.as_str() {
        "Momentum" => momentum(&mut params, l2, larc)?,
        "SGD" => SgdRule::new(SgdConfig { weight_decay: l2, larc, ..SgdConfig::DEFAULT }).map(AnyRule::Sgd),
        "Adam" | "LazyAdamOptimizer" => adam(&mut params, l2, larc)?,
        "AdamW" | "NovoGrad" if !is_zero(l2) => {
            let reason = "this optimizer has a weight_decay of its own";
            return Err(RecipeError::Conflict { place: "optimizer", other: "regularizer", reason });
        }
        "AdamW" => adam_w(&mut params, larc)?,
        "NovoGrad" => novograd(&mut params, larc)?,
        _ => return Err(RecipeError::Value { place: "optimizer".into(), found: name, allowed: OPTIMIZERS }),
    };
    params.finish()?;
    rule.map_err(|error| RecipeError::of_setting(place(&error, !is_zero(l2)), error))
}

/// The place that the value of a setting comes from.
fn place(error: &ConfigError, is_regularized: bool) -> String {
    match error.setting {
        "larc.eta" => "larc_params.larc_eta".to_string(),
        "larc.eps" => "larc_params.epsilon".to_string(),
        "larc.min_update" => "larc_params.min_update".to_string(),
        "eps" | "eps_root" => "optimizer_params.epsilon".to_string(),
        "weight_decay" if is_regularized => "regularizer_params.scale".to_string(),
        setting => format!("optimizer_params.{setting}"),
    }
}

/// The scale of L2 regularisation; 0 if there is none.
fn regularizer(words: &mut Words) -> Result<f64, RecipeError> {
    let mut params = words.table_or_empty("regularizer_params")?;
    let scale = match words.text("regularizer")?.as_deref() {
        None => None,
        Some("l2_regularizer") => {
            params.require("scale")?;
            params.number("scale")?
        }
        Some(other) => {
            let (place, found) = ("regularizer".into(), other.into());
            return Err(RecipeError::Value { place, found, allowed: "l2_regularizer" });
        }
    };
    params.finish()?;
    Ok(scale.unwrap_or(0.0))
}

/// LARC with OpenSeq2Seq's defaults. The gradient that it measures there already includes the regularizer.
fn larc(words: &mut Words, l2: f64) -> Result<Option<LarcConfig>, RecipeError> {
    let Some(mut params) = words.table("larc_params")? else { return Ok(None) };
    let mut larc = LarcConfig::OPENSEQ2SEQ;
    if !is_zero(l2) {
        larc.decay_in_ratio = DecayInRatio::NormOfSum;
    }
    params.require("larc_eta")?;
    params.set("larc_eta", &mut larc.eta)?;
    params.set("min_update", &mut larc.min_update)?;
    params.set("epsilon", &mut larc.eps)?;
    larc.mode = match params.text("larc_mode")?.as_deref() {
        None | Some("clip") => LarcMode::Clip,
        Some("scale") => LarcMode::Scale,
        Some(other) => {
            let (place, found) = (params.place("larc_mode"), other.into());
            return Err(RecipeError::Value { place, found, allowed: "clip or scale" });
        }
    };
    params.finish()?;
    Ok(Some(larc))
}

type Checked = Result<Result<AnyRule, ConfigError>, RecipeError>;

fn momentum(params: &mut Words, l2: f64, larc: Option<LarcConfig>) -> Checked {
    let mut config = SgdConfig { weight_decay: l2, larc, ..SgdConfig::DEFAULT };
    params.require("momentum")?;
    params.set("momentum", &mut config.momentum)?;
    params.set_flag("use_nesterov", &mut config.nesterov)?;
    Ok(SgdRule::new(config).map(AnyRule::Sgd))
}

fn adam(params: &mut Words, l2: f64, larc: Option<LarcConfig>) -> Checked {
    let mut config = AdamConfig { weight_decay: l2, decay_mode: AdamDecay::L2, larc, ..TENSORFLOW };
    moments(params, &mut config)?;
    Ok(AdamRule::new(config).map(AnyRule::Adam))
}

fn adam_w(params: &mut Words, larc: Option<LarcConfig>) -> Checked {
    let mut config = AdamConfig { decay_mode: AdamDecay::Decoupled, larc, ..TENSORFLOW };
    params.require("weight_decay")?;
    params.set("weight_decay", &mut config.weight_decay)?;
    moments(params, &mut config)?;
    Ok(AdamRule::new(config).map(AnyRule::Adam))
}

/// TensorFlow's Adam.
const TENSORFLOW: AdamConfig = AdamConfig { bias_correction: AdamCorrection::TensorFlow, ..AdamConfig::DEFAULT };

fn moments(params: &mut Words, config: &mut AdamConfig) -> Result<(), RecipeError> {
    params.set("beta1", &mut config.beta1)?;
    params.set("beta2", &mut config.beta2)?;
    params.set("epsilon", &mut config.eps)
}

fn novograd(params: &mut Words, larc: Option<LarcConfig>) -> Checked {
    let mut config = NovoGradConfig { larc, ..NovoGradConfig::DEFAULT };
    params.set("beta1", &mut config.beta1)?;
    params.set("beta2", &mut config.beta2)?;
    params.set("epsilon", &mut config.eps)?;
    params.set("weight_decay", &mut config.weight_decay)?;
    if params.flag("grad_averaging")? == Some(true) {
        config.gradient_averaging = GradientAveraging::On;
    }
    // For the two points in which OpenSeq2Seq's code differs from its page.
    if params.flag("eps_inside_sqrt")? == Some(true) {
        (config.eps_root, config.eps) = (config.eps, 0.0);
    }
    let rule = NovoGradRule::new(config);
    if params.flag("ema_persisted")? == Some(false) && rule.is_ok() {
        return Ok(NovoGradRule::new(NovoGradConfig { beta2: 0.0, ..config }).map(AnyRule::NovoGrad));
    }
    Ok(rule.map(AnyRule::NovoGrad))
}
