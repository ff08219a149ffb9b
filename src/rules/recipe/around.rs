//! The rate policy and the loss scaler of a recipe.

use super::error::RecipeError;
use super::value::Value;
use super::words::Words;
use crate::rules::loss_scale::{Backoff, LogMax, LossScaler, LossScaling};
use crate::rules::rates::{
    CosineDecay, ExpDecay, FixedLr, InvPolyDecay, PiecewiseConstant, PolyDecay, TransformerPolicy,
};
use crate::rules::schedule::{RatePolicy, Schedule};
use alloc::vec::Vec;

const POLICIES: &str = "fixed_lr, piecewise_constant, exp_decay, poly_decay, cosine_decay, transformer_policy or \
                        inv_poly_decay";

/// The policy of `lr_policy` and `lr_policy_params`, before the length of the training run is known.
pub(super) fn rates(words: &mut Words) -> Result<RatePolicy<Vec<f64>>, RecipeError> {
    words.require("lr_policy")?;
    let name = words.text("lr_policy")?.unwrap_or_default();
    let mut params = words.table_or_empty("lr_policy_params")?;
    let policy = policy(&name, &mut params)?;
    params.finish()?;
    schedule(policy.clone().for_training(1, 1))?;
    Ok(policy)
}

/// Checks a policy that is complete.
pub(super) fn schedule(policy: RatePolicy<Vec<f64>>) -> Result<Schedule<Vec<f64>>, RecipeError> {
    Schedule::try_from(policy).map_err(|error| RecipeError::of_table("lr_policy_params", error))
}

fn policy(name: &str, params: &mut Words) -> Result<RatePolicy<Vec<f64>>, RecipeError> {
    Ok(match name {
        "fixed_lr" => RatePolicy::FixedLr(FixedLr { learning_rate: rate(params)? }),
        "piecewise_constant" => RatePolicy::PiecewiseConstant(piecewise(params)?),
        "exp_decay" => RatePolicy::ExpDecay(exp_decay(params)?),
        "poly_decay" => RatePolicy::PolyDecay(poly_decay(params)?),
        "cosine_decay" => RatePolicy::CosineDecay(cosine_decay(params)?),
        "transformer_policy" => RatePolicy::TransformerPolicy(transformer(params)?),
        "inv_poly_decay" => RatePolicy::InvPolyDecay(inv_poly_decay(params)?),
        _ => return Err(RecipeError::Value { place: "lr_policy".into(), found: name.into(), allowed: POLICIES }),
    })
}

fn rate(params: &mut Words) -> Result<f64, RecipeError> {
    params.require("learning_rate")?;
    Ok(params.number("learning_rate")?.unwrap_or_default())
}

fn piecewise(params: &mut Words) -> Result<PiecewiseConstant<Vec<f64>>, RecipeError> {
    params.require("boundaries")?;
    params.require("decay_rates")?;
    let (learning_rate, mut steps_per_epoch) = (rate(params)?, 0);
    let (boundaries, decay_rates) = (params.list("boundaries")?, params.list("decay_rates")?);
    params.set_count("steps_per_epoch", &mut steps_per_epoch)?;
    Ok(PiecewiseConstant { learning_rate, boundaries, decay_rates, steps_per_epoch })
}

fn exp_decay(params: &mut Words) -> Result<ExpDecay, RecipeError> {
    let mut decay = ExpDecay { learning_rate: rate(params)?, ..ExpDecay::DEFAULT };
    params.require("decay_rate")?;
    params.set("decay_rate", &mut decay.decay_rate)?;
    params.set_count("decay_steps", &mut decay.decay_steps)?;
    params.set_flag("use_staircase_decay", &mut decay.use_staircase_decay)?;
    params.set_whole("begin_decay_at", &mut decay.begin_decay_at)?;
    params.set("min_lr", &mut decay.min_lr)?;
    Ok(decay)
}

fn poly_decay(params: &mut Words) -> Result<PolyDecay, RecipeError> {
    let mut decay = PolyDecay { learning_rate: rate(params)?, ..PolyDecay::DEFAULT };
    params.set_count("decay_steps", &mut decay.decay_steps)?;
    params.set("power", &mut decay.power)?;
    params.set_whole("begin_decay_at", &mut decay.begin_decay_at)?;
    params.set("min_lr", &mut decay.min_lr)?;
    params.set_whole("warmup_steps", &mut decay.warmup_steps)?;
    Ok(decay)
}

fn cosine_decay(params: &mut Words) -> Result<CosineDecay, RecipeError> {
    let mut decay = CosineDecay { learning_rate: rate(params)?, ..CosineDecay::DEFAULT };
    params.set_count("decay_steps", &mut decay.decay_steps)?;
    params.set("power", &mut decay.power)?;
    params.set_whole("begin_decay_at", &mut decay.begin_decay_at)?;
    params.set("min_lr", &mut decay.min_lr)?;
    params.set_whole("warmup_steps", &mut decay.warmup_steps)?;
    Ok(decay)
}

fn transformer(params: &mut Words) -> Result<TransformerPolicy, RecipeError> {
    let mut policy = TransformerPolicy { learning_rate: rate(params)?, ..TransformerPolicy::DEFAULT };
    params.require("d_model")?;
    params.set_count("d_model", &mut policy.d_model)?;
    params.set_whole("warmup_steps", &mut policy.warmup_steps)?;
    policy.max_lr = params.number("max_lr")?;
    params.set("coefficient", &mut policy.coefficient)?;
    Ok(policy)
}

fn inv_poly_decay(params: &mut Words) -> Result<InvPolyDecay, RecipeError> {
    let mut decay = InvPolyDecay { learning_rate: rate(params)?, ..InvPolyDecay::DEFAULT };
    params.set_count("decay_steps", &mut decay.decay_steps)?;
    params.set("min_lr", &mut decay.min_lr)?;
    params.set("power", &mut decay.power)?;
    params.set_whole("begin_decay_at", &mut decay.begin_decay_at)?;
    params.set_whole("warmup_steps", &mut decay.warmup_steps)?;
    Ok(decay)
}

/// The scaler of `loss_scaling` and `loss_scaling_params`.
pub(super) fn loss_scaler(words: &mut Words) -> Result<Option<LossScaler>, RecipeError> {
    let mut params = words.table_or_empty("loss_scaling_params")?;
    let scaling = match words.take("loss_scaling") {
        None => None,
        Some(Value::Text(name)) if name.eq_ignore_ascii_case("backoff") => {
            Some(LossScaling::Backoff(backoff(&mut params)?))
        }
        Some(Value::Text(name)) if name.eq_ignore_ascii_case("logmax") => {
            Some(LossScaling::LogMax(log_max(&mut params)?))
        }
        Some(value) => match value.number() {
            Some(scale) => Some(LossScaling::Static(scale)),
            None => return Err(words.refuse("loss_scaling", &value, "a number, Backoff or LogMax")),
        },
    };
    params.finish()?;
    scaling.map(LossScaler::new).transpose().map_err(|error| match error.setting {
        "loss_scaling" => RecipeError::of_setting("loss_scaling", error),
        _ => RecipeError::of_table("loss_scaling_params", error),
    })
}

fn backoff(params: &mut Words) -> Result<Backoff, RecipeError> {
    let mut config = Backoff::DEFAULT;
    params.set("scale_min", &mut config.scale_min)?;
    params.set("scale_max", &mut config.scale_max)?;
    params.set("step_factor", &mut config.step_factor)?;
    let step_window = params.count("step_window")?.unwrap_or(config.step_window.into());
    config.step_window = u32::try_from(step_window).unwrap_or(u32::MAX);
    Ok(config)
}

fn log_max(params: &mut Words) -> Result<LogMax, RecipeError> {
    let mut config = LogMax::DEFAULT;
    params.set("scale_min", &mut config.scale_min)?;
    params.set("scale_max", &mut config.scale_max)?;
    params.set("log_max", &mut config.log_max)?;
    params.set("beta1", &mut config.beta1)?;
    params.set("beta2", &mut config.beta2)?;
    params.set("overflow_std_dev", &mut config.overflow_std_dev)?;
    params.set_flag("as_executed", &mut config.as_executed)?;
    Ok(config)
}
