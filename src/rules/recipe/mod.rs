//! A training run of OpenSeq2Seq, from its configuration.
//!
//! | file | what is in it |
//! |---|---|
//! | `value` | a parsed configuration |
//! | `words` | its keys and values, taken one by one |
//! | `rule` | the optimizer, LARC, the regularizer |
//! | `around` | the rate policy, the loss scaler |
//! | `error` | errors |

mod around;
pub(crate) mod error;
mod rule;
pub(crate) mod value;
mod words;

use super::any::AnyRule;
use super::loss_scale::LossScaler;
use super::policy::{NonFinite, Policy};
use super::schedule::{RatePolicy, Schedule};
use alloc::string::ToString;
use alloc::vec::Vec;
use error::RecipeError;
use value::Configuration;
use words::Words;

/// A training run as OpenSeq2Seq configures it: optimizer, learning rates, clipping, loss scale, length.
///
/// `serde` reads it from an OpenSeq2Seq configuration; in JSON, names of classes and functions are strings.
/// [`training`](Recipe::training) derives what a training loop needs.
///
/// ```
/// use layerwise::recipe::Recipe;
/// use layerwise::schedule::LossScaleState;
///
/// let text = r#"{
///     "optimizer": "NovoGrad",
///     "optimizer_params": {"beta1": 0.95, "beta2": 0.98, "weight_decay": 0.001, "grad_averaging": false},
///     "lr_policy": "poly_decay",
///     "lr_policy_params": {"learning_rate": 0.02, "min_lr": 1e-05, "power": 2.0},
///     "larc_params": {"larc_eta": 0.001},
///     "dtype": "mixed",
///     "loss_scaling": "Backoff",
///     "num_epochs": 400
/// }"#;
/// let recipe: Recipe = serde_json::from_str(text)?;
/// let training = recipe.training(100)?; // an epoch has 100 batches
/// assert_eq!((training.steps, training.schedule.rate(0), training.schedule.rate(40_000)), (40_000, 0.02, 1e-5));
///
/// let optimizer = training.optimizer();
/// assert!(matches!(optimizer.rule(), layerwise::AnyRule::NovoGrad(_)));
/// let scaler = training.loss_scaler.unwrap();
/// assert_eq!(scaler.scale(&LossScaleState::START), 16384.0);
///
/// let error = serde_json::from_str::<Recipe>(r#"{"optimizer": "SGD", "optimizer_params": {"beta1": 0.9}}"#);
/// assert!(error.unwrap_err().to_string().contains("optimizer_params.beta1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What the keys mean
///
/// | keys | meaning |
/// |---|---|
/// | `optimizer` | `Momentum`, `SGD`, `Adam`, `LazyAdamOptimizer` (the same as `Adam`), `AdamW`, `NovoGrad` |
/// | `optimizer_params` | TensorFlow's, with its defaults; `Momentum` needs `momentum`, `AdamW` `weight_decay` |
/// | `lr_policy`, `lr_policy_params` | a [`RatePolicy`]; missing settings are derived from the length of the run |
/// | `larc_params` | LARC in front: `larc_eta`, the rest as in [`OPENSEQ2SEQ`](crate::LarcConfig::OPENSEQ2SEQ) |
/// | `regularizer`, `regularizer_params` | `l2_regularizer` with `scale`: L2 decay; not with `AdamW` and `NovoGrad` |
/// | `max_grad_norm` | [`clip_norm`](Policy::clip_norm); excludes `larc_params` |
/// | `dtype` | `float32`, the default, or `mixed` |
/// | `loss_scaling`, `loss_scaling_params` | a number, `Backoff` or `LogMax`; counts only where `dtype` is `mixed` |
/// | `iter_size` | the number of batches over which the gradient of a step is averaged; 1 by default |
/// | `num_epochs` or `max_steps` | the length: one of the two |
///
/// The host sets [`decay`](crate::LayerConfig::decay) to 0 for a layer without regularizer, and `adapt: false` for a
/// layer that LARC must not adapt. `AdamW` and `NovoGrad` have their own decay, so they exclude a regularizer.
///
/// Keys that do not affect training steps, such as `logdir`, `data_layer` or `encoder_params`, are ignored. Any other
/// key is an error.
///
/// # Where it differs from OpenSeq2Seq
///
/// - NovoGrad follows OpenSeq2Seq's page: `epsilon` is outside the root, and the second moment is kept from step to
///   step. `"eps_inside_sqrt": true` and `"ema_persisted": false` in `optimizer_params` reproduce its code.
/// - `max_grad_norm` clips the gradient of the loss. In OpenSeq2Seq that gradient includes the regularizer.
/// - Loss scalers have the defaults of [`Backoff`](crate::schedule::Backoff) and [`LogMax`](crate::schedule::LogMax),
///   and a step whose gradients are not finite is always skipped.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(try_from = "Configuration")]
pub struct Recipe {
    rule: AnyRule,
    policy: Policy,
    rates: RatePolicy<Vec<f64>>,
    loss_scaler: Option<LossScaler>,
    iter_size: u64,
    length: Length,
    is_mixed: bool,
}

/// The length of a training run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Length {
    Epochs(u64),
    Steps(u64),
}

/// What a training loop needs from a [`Recipe`]. Its optimizer is made by [`optimizer`](Training::optimizer).
///
/// Each step has this order. [`LossScaler`] shows it in code, and `examples/recipe` trains with it.
///
/// 1. Compute the gradients of the scaled loss for `iter_size` batches, and average them.
/// 2. Step at the rate of the [schedule](Training::schedule), with a
///    [`gradient_scale`](crate::Step::gradient_scale) of one over the loss scale.
/// 3. Update the loss scale. If the step was not skipped, it counts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Training {
    pub(crate) rule: AnyRule,
    pub(crate) policy: Policy,
    /// The learning rate of every step.
    pub schedule: Schedule<Vec<f64>>,
    /// The loss scaler; `None` if the recipe does not scale the loss.
    pub loss_scaler: Option<LossScaler>,
    /// The number of batches over which the gradient of a step is averaged. At least 1.
    pub iter_size: u64,
    /// How many steps the training has.
    pub steps: u64,
    /// How many steps an epoch has; 0 if the recipe does not count epochs.
    pub steps_per_epoch: u64,
    /// Whether the recipe asks for 16-bit weights and gradients in addition to the `f32` weights. The host decides.
    pub is_mixed: bool,
}

impl TryFrom<Configuration> for Recipe {
    type Error = RecipeError;

    fn try_from(configuration: Configuration) -> Result<Self, RecipeError> {
        let mut words = Words::of(configuration.0);
        for word in OF_THE_HOST {
            words.take(word);
        }
        let has_larc = words.require("larc_params").is_ok();
        let rule = rule::rule(&mut words)?;
        let rates = around::rates(&mut words)?;
        let is_mixed = is_mixed(&mut words)?;
        let loss_scaler = around::loss_scaler(&mut words)?.filter(|_| is_mixed);
        let policy = policy(&mut words, has_larc, loss_scaler.is_some())?;
        let iter_size = words.count("iter_size")?.unwrap_or(1);
        let length = length(&mut words)?;
        words.finish()?;
        Ok(Recipe { rule, policy, rates, loss_scaler, iter_size, length, is_mixed })
    }
}

/// Keys of OpenSeq2Seq that do not affect training steps.
const OF_THE_HOST: [&str; 34] = [
    "base_model",
    "batch_size_per_gpu",
    "bench_start",
    "data_layer",
    "data_layer_params",
    "decoder",
    "decoder_params",
    "encoder",
    "encoder_params",
    "eval_batch_size_per_gpu",
    "eval_steps",
    "finetune",
    "gpu_ids",
    "hooks",
    "initializer",
    "initializer_params",
    "lm_vocab_file",
    "load_model",
    "logdir",
    "loss",
    "loss_params",
    "num_checkpoints",
    "num_gpus",
    "print_bench_info_steps",
    "print_loss_steps",
    "print_samples_steps",
    "processed_data_folder",
    "random_seed",
    "restore_best_checkpoint",
    "save_checkpoint_steps",
    "save_summaries_steps",
    "summaries",
    "use_horovod",
    "use_xla_jit",
];

fn is_mixed(words: &mut Words) -> Result<bool, RecipeError> {
    match words.text("dtype")?.as_deref() {
        None | Some("float32") => Ok(false),
        Some("mixed") => Ok(true),
        Some(other) => {
            let (place, found) = ("dtype".into(), other.into());
            Err(RecipeError::Value { place, found, allowed: "float32 or mixed" })
        }
    }
}

fn policy(words: &mut Words, has_larc: bool, scales_loss: bool) -> Result<Policy, RecipeError> {
    let clip_norm = words.number("max_grad_norm")?;
    if has_larc && clip_norm.is_some() {
        let reason = "LARC bounds each layer itself";
        return Err(RecipeError::Conflict { place: "larc_params", other: "max_grad_norm", reason });
    }
    let non_finite = if scales_loss { NonFinite::SkipStep } else { NonFinite::SkipLayer };
    let policy = Policy { non_finite, clip_norm };
    policy.check().map_err(|error| RecipeError::of_setting("max_grad_norm", error))?;
    Ok(policy)
}

fn length(words: &mut Words) -> Result<Length, RecipeError> {
    match (words.count("num_epochs")?, words.count("max_steps")?) {
        (Some(epochs), None) => Ok(Length::Epochs(epochs)),
        (None, Some(steps)) => Ok(Length::Steps(steps)),
        (None, None) => Err(RecipeError::Missing { place: "num_epochs or max_steps".into() }),
        (Some(_), Some(_)) => {
            let reason = "each is the whole length";
            Err(RecipeError::Conflict { place: "num_epochs", other: "max_steps", reason })
        }
    }
}

impl Recipe {
    /// Derives what a training loop needs. `batches_per_epoch` is the number of batches in an epoch. If each step
    /// averages over several machines, their batches together count as one.
    ///
    /// An epoch has `batches_per_epoch / iter_size` steps, rounded down. Recipes with `max_steps` do not count epochs
    /// and ignore the argument: boundaries of `piecewise_constant` are then steps.
    ///
    /// # Errors
    ///
    /// A [`RecipeError`] if a recipe with `num_epochs` has epochs without a step, or more steps than can be counted.
    pub fn training(&self, batches_per_epoch: u64) -> Result<Training, RecipeError> {
        let (steps, steps_per_epoch) = match self.length {
            Length::Steps(steps) => (steps, 0),
            Length::Epochs(epochs) => self.steps(epochs, batches_per_epoch)?,
        };
        Ok(Training {
            rule: self.rule,
            policy: self.policy,
            schedule: around::schedule(self.rates.clone().for_training(steps, steps_per_epoch))?,
            loss_scaler: self.loss_scaler,
            iter_size: self.iter_size,
            steps,
            steps_per_epoch,
            is_mixed: self.is_mixed,
        })
    }

    /// The number of steps of all epochs, and of one.
    fn steps(&self, epochs: u64, batches_per_epoch: u64) -> Result<(u64, u64), RecipeError> {
        let steps_per_epoch = batches_per_epoch.checked_div(self.iter_size).unwrap_or(0);
        if steps_per_epoch == 0 {
            let (place, found) = ("iter_size".into(), self.iter_size.to_string());
            return Err(RecipeError::Value { place, found, allowed: "at most the number of batches of an epoch" });
        }
        let Some(steps) = epochs.checked_mul(steps_per_epoch) else {
            let (place, found) = ("num_epochs".into(), epochs.to_string());
            return Err(RecipeError::Value { place, found, allowed: "so small that its steps can be counted" });
        };
        Ok((steps, steps_per_epoch))
    }
}
