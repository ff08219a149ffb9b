//! Loss scalers: by what to multiply the loss so that its gradients fit into 16 bits.
//!
//! ```text
//! Static   the scale never changes
//! Backoff  a bad step: scale = scale / step_factor;   step_window good steps in a row: scale = scale · step_factor
//! LogMax   scale = 2^(log_max − (mean + overflow_std_dev·deviation))       of log2(max |g|), by moving averages
//! ```
//!
//! Source: NVIDIA's OpenSeq2Seq, `open_seq2seq/optimizers/automatic_loss_scaler.py`, and its page "Mixed Precision
//! Training".

use super::double::{is_zero, sqrt};
use crate::error::{ConfigError, check, is_non_negative};
use libm::{log2, pow};

/// The settings of a loss scaler; [`LossScaler`] checks them and does the work.
///
/// With the feature `serde` they are read under OpenSeq2Seq's names.
///
/// ```
/// use layerwise::schedule::{Backoff, LossScaleState, LossScaler, LossScaling};
///
/// let scaler = LossScaler::new(LossScaling::Static(512.0))?;
/// assert_eq!(scaler.scale(&LossScaleState::START), 512.0);
/// # #[cfg(feature = "serde")]
/// # {
///
/// let text = r#"{"Backoff": {"step_window": 1000}}"#; // feature `serde`
/// let read: LossScaling = serde_json::from_str(text).unwrap();
/// assert_eq!(read, LossScaling::Backoff(Backoff { step_window: 1000, ..Backoff::DEFAULT }));
/// # }
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum LossScaling {
    /// The same scale at every step, finite and greater than 0. Steps whose gradients are not finite are skipped.
    /// (OpenSeq2Seq takes such steps, and ruins the weights.)
    Static(f64),
    /// Lower the scale when a gradient overflows, and raise it after a while without overflow.
    Backoff(Backoff),
    /// Follow the size of the gradients.
    LogMax(LogMax),
}

/// OpenSeq2Seq's `Backoff`: it lowers the scale when a gradient overflows, and raises it after a while without
/// overflow. Try it first for gradients in `f16`.
///
/// ```text
/// a gradient is not finite:            scale = scale / step_factor
/// every step_window-th finite step:    scale = scale · step_factor
/// always:                              scale_min ≤ scale ≤ scale_max;  scale_max at first
/// ```
///
/// If a gradient is not finite, the step is skipped, and the count of finite steps restarts. Its state is two numbers:
/// the scale, and the number of finite steps in a row.
///
/// ```
/// use layerwise::schedule::{Backoff, LossScaleState, LossScaler, LossScaling};
///
/// let scaler = LossScaler::new(LossScaling::Backoff(Backoff { step_window: 2, ..Backoff::DEFAULT }))?;
/// let mut state = LossScaleState::default();
/// let scales = [true, false, false, true, true].map(|finite| scaler.update(&mut state, finite, 0.0).scale);
/// assert_eq!(scales, [16384.0, 8192.0, 4096.0, 4096.0, 8192.0]);
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
///
/// Fields may be added: write `..Backoff::DEFAULT`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The smallest scale. Greater than 0.
    pub scale_min: f64,
    /// The largest scale, and the first. At least `scale_min`.
    pub scale_max: f64,
    /// The factor by which the scale falls and rises. Greater than 1; with a power of two nothing is rounded.
    pub step_factor: f64,
    /// After how many finite steps in a row the scale is raised. At least 1.
    pub step_window: u32,
}

impl Backoff {
    /// OpenSeq2Seq's settings: from 1 to 2¹⁴, by a factor of 2, every 2000 steps. (Some of its versions go up to 2²⁴.)
    ///
    /// ```
    /// use layerwise::schedule::Backoff;
    ///
    /// let default = Backoff { scale_min: 1.0, scale_max: 16384.0, step_factor: 2.0, step_window: 2000 };
    /// assert_eq!(Backoff::DEFAULT, default);
    /// ```
    pub const DEFAULT: Backoff = Backoff { scale_min: 1.0, scale_max: 16384.0, step_factor: 2.0, step_window: 2000 };

    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        check!(check_limits(self.scale_min, self.scale_max));
        if !(self.step_factor > 1.0 && self.step_factor.is_finite()) {
            return Err(ConfigError { setting: "step_factor", value: self.step_factor, allowed: "finite and > 1" });
        }
        ConfigError::unless_positive("step_window", self.step_window as f64)
    }

    fn scale(&self, [scale, ..]: [f64; 4]) -> f64 {
        if is_zero(scale) { self.scale_max } else { clamp(scale, self.scale_min, self.scale_max) }
    }

    fn update(&self, numbers: &mut [f64; 4], finite: bool) {
        let scale = self.scale(*numbers);
        let good_steps = numbers[1] + 1.0;
        let (scale, good_steps) = if !finite {
            (scale / self.step_factor, 0.0)
        } else if good_steps < f64::from(self.step_window) {
            (scale, good_steps)
        } else {
            (scale * self.step_factor, 0.0)
        };
        *numbers = [clamp(scale, self.scale_min, self.scale_max), good_steps, 0.0, 0.0];
    }
}

/// OpenSeq2Seq's `LogMax`: it follows the size of the gradients, so that overflow is rare. Use it if steps should
/// rarely be skipped; it needs the largest gradient of each step.
///
/// ```text
/// x         = log2(max |g|)                                     log_max, if that is not finite
/// mean      = (beta1·mean + (1 − beta1)·x) / (1 − beta1ᵗ)
/// deviation = √(max(0, average of x² − (average of x)²))        averages as above, with beta2
/// scale     = 2^(log_max − (mean + overflow_std_dev·deviation))
/// ```
///
/// Gradients of zeros are ignored. The scale is 1 at first, and always between `scale_min` and `scale_max`.
///
/// If the logarithms are normally distributed, 3.09 deviations put one step in a thousand above `2^log_max`.
///
/// The gradients are those of the unscaled loss: divide gradients of a scaled loss by the scale. Its state is four
/// numbers: the averages with `beta1` and `beta2`, the average of the squares, and the number of steps in them.
///
/// OpenSeq2Seq's code differs from its intent; [`as_executed`](LogMax::as_executed) reproduces the code.
///
/// ```
/// use layerwise::schedule::{LogMax, LossScaleState, LossScaler, LossScaling};
///
/// let scaler = LossScaler::new(LossScaling::LogMax(LogMax::DEFAULT))?;
/// let mut state = LossScaleState::default();
/// for max_norm in [16.0, 16.0, 0.0] {
///     let scale = scaler.update(&mut state, true, max_norm).scale;
///     assert!((scale - 4096.0).abs() < 1e-9); // 16·4096 is 2¹⁶
/// }
/// let overflow = scaler.update(&mut state, false, f64::INFINITY);
/// assert!(overflow.skip && overflow.scale < 1024.0);
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
///
/// Fields may be added: write `..LogMax::DEFAULT`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogMax {
    /// The smallest scale. Greater than 0.
    pub scale_min: f64,
    /// The largest scale. At least `scale_min`.
    pub scale_max: f64,
    /// The base-2 logarithm of the largest gradient that fits: 16 for `f16`. From 0 to 1024.
    pub log_max: f64,
    /// How much of the mean is kept from step to step, at least 0 and less than 1.
    pub beta1: f64,
    /// How much of the averages behind the deviation is kept from step to step, at least 0 and less than 1.
    pub beta2: f64,
    /// How many deviations the mean stays below `log_max`. At least 0.
    pub overflow_std_dev: f64,
    /// Whether to compute what OpenSeq2Seq's code computes, in `f64` instead of `f32`. There, a gradient that is not
    /// finite counts as `x = 2^log_max`, not `log_max`, which pins the scale to `scale_min` for thousands of steps; a
    /// gradient of zeros makes the scale NaN in all later steps; the scale is computed with 16 whatever `log_max` is;
    /// and the first scale is 1 whatever the limits are.
    pub as_executed: bool,
}

impl LogMax {
    /// OpenSeq2Seq's settings, as intended: from 1 to 2¹⁴, for gradients up to 2¹⁶, averages of about 100 and 1000
    /// steps, 3.09 deviations. (Some of its versions go up to 2²⁴.)
    ///
    /// ```
    /// use layerwise::schedule::LogMax;
    ///
    /// let default = LogMax {
    ///     scale_min: 1.0,
    ///     scale_max: 16384.0,
    ///     log_max: 16.0,
    ///     beta1: 0.99,
    ///     beta2: 0.999,
    ///     overflow_std_dev: 3.09,
    ///     as_executed: false,
    /// };
    /// assert_eq!(LogMax::DEFAULT, default);
    /// ```
    pub const DEFAULT: LogMax = LogMax {
        scale_min: 1.0,
        scale_max: 16384.0,
        log_max: 16.0,
        beta1: 0.99,
        beta2: 0.999,
        overflow_std_dev: 3.09,
        as_executed: false,
    };

    /// OpenSeq2Seq's code as it is executed.
    pub const OPENSEQ2SEQ: LogMax = LogMax { as_executed: true, ..LogMax::DEFAULT };

    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        check!(check_limits(self.scale_min, self.scale_max));
        if !(self.log_max >= 0.0 && self.log_max <= 1024.0) {
            return Err(ConfigError { setting: "log_max", value: self.log_max, allowed: ">= 0 and <= 1024" });
        }
        check!(ConfigError::unless_fraction("beta1", self.beta1));
        check!(ConfigError::unless_fraction("beta2", self.beta2));
        ConfigError::unless_non_negative("overflow_std_dev", self.overflow_std_dev)
    }

    fn scale(&self, [mean, slow_mean, mean_square, steps]: [f64; 4]) -> f64 {
        if is_zero(steps) {
            return if self.as_executed { 1.0 } else { clamp(1.0, self.scale_min, self.scale_max) };
        }
        let (correction1, correction2) = (1.0 - pow(self.beta1, steps), 1.0 - pow(self.beta2, steps));
        let slow_mean = slow_mean / correction2;
        let variance = mean_square / correction2 - slow_mean * slow_mean;
        let deviation = if variance < 0.0 { 0.0 } else { sqrt(variance) };
        let log_max = if self.as_executed { 16.0 } else { self.log_max };
        let scale = pow(2.0, log_max - (mean / correction1 + self.overflow_std_dev * deviation));
        clamp(scale, self.scale_min, self.scale_max)
    }

    fn update(&self, numbers: &mut [f64; 4], finite: bool, max_norm: f64) {
        let x = match (finite, self.as_executed) {
            (true, false) if is_zero(max_norm) => return,
            (true, _) => log2(max_norm),
            (false, false) => self.log_max,
            (false, true) => pow(2.0, self.log_max),
        };
        let average = |old, beta, x| beta * old + (1.0 - beta) * x;
        let [mean, slow_mean, mean_square, steps] = *numbers;
        let slow = (average(slow_mean, self.beta2, x), average(mean_square, self.beta2, x * x));
        *numbers = [average(mean, self.beta1, x), slow.0, slow.1, steps + 1.0];
    }
}

/// A checked loss scaler. It says by what to multiply the loss, so that small gradients do not vanish in 16 bits, and
/// which steps to skip because a gradient overflowed.
///
/// Each training step has this order:
///
/// 1. Multiply the loss by the [`scale`](LossScaler::scale), and compute the gradients.
/// 2. Step with [`gradient_scale`](crate::Step::gradient_scale)` = 1 / scale`, and with the policy
///    [`SkipStep`](crate::NonFinite::SkipStep) if there are several layers. Then a gradient that is not finite changes
///    nothing, neither weights nor moments nor the layers' counters, and [`skipped`](crate::Summary::skipped) is not 0.
/// 3. [`update`](LossScaler::update) the state. A skipped step does not count: the
///    [schedule](crate::schedule::Schedule) does not advance either.
///
/// ```
/// use layerwise::schedule::{Backoff, FixedLr, LossScaleState, LossScaler, LossScaling, RatePolicy, Schedule};
/// use layerwise::{LayerMemory, Sgd, SgdConfig, SgdState, Step};
///
/// let schedule = Schedule::new(RatePolicy::FixedLr(FixedLr { learning_rate: 0.5 }))?;
/// let scaler = LossScaler::new(LossScaling::Backoff(Backoff::DEFAULT))?;
/// let sgd = Sgd::new(SgdConfig::DEFAULT)?;
/// let (mut weights, mut layer) = ([1.0_f32], SgdState::default());
///
/// let (mut step, mut state) = (0, LossScaleState::default());
/// for gradient in [1.0_f32, f32::INFINITY, 1.0] {
///     let scale = scaler.scale(&state);
///     let scaled = [gradient * scale as f32]; // what a model computes from a scaled loss
///     let this = Step::new(schedule.rate(step)).gradient_scale(1.0 / scale);
///     let report = sgd.step_layer(this, LayerMemory::new(&mut weights, &scaled, &mut layer))?;
///     // `LogMax` needs the largest gradient here, not 0.
///     if !scaler.update(&mut state, report.applied(), 0.0).skip {
///         step += 1;
///     }
/// }
/// assert_eq!((step, layer.steps, weights), (2, 2, [0.0]));
/// assert_eq!(scaler.scale(&state), 8192.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossScaler {
    scaling: LossScaling,
}

/// What a [`LossScaler`] remembers from step to step. All zeros is the state before the first step, so that a
/// microcontroller can keep it in `.bss`.
///
/// It is four numbers, for checkpoints: see [`to_numbers`](LossScaleState::to_numbers) and [`LossScaler::restore`].
///
/// ```
/// use layerwise::schedule::{Backoff, LossScaleState, LossScaler, LossScaling};
///
/// let scaler = LossScaler::new(LossScaling::Backoff(Backoff::DEFAULT))?;
/// let mut state = LossScaleState::START;
/// for finite in [false, true, true] {
///     assert_eq!(scaler.update(&mut state, finite, 0.0).skip, !finite);
/// }
/// assert_eq!(state.to_numbers(), [8192.0, 2.0, 0.0, 0.0]); // the scale, and finite steps in a row
/// assert_eq!(scaler.restore([8192.0, 2.0, 0.0, 0.0]), Some(state));
/// assert_eq!(scaler.restore([-1.0, 2.0, 0.0, 0.0]), None);
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossScaleState {
    numbers: [f64; 4],
}

impl LossScaleState {
    /// The state before the first step.
    pub const START: LossScaleState = LossScaleState { numbers: [0.0; 4] };

    /// The numbers: scale and count for `Backoff`, averages and count for `LogMax`, none for `Static`; the rest are 0.
    pub const fn to_numbers(self) -> [f64; 4] {
        self.numbers
    }
}

/// What a [`LossScaler`] decides after a step.
///
/// ```
/// use layerwise::schedule::{LossScaleState, LossScaler, LossScaling};
///
/// let scaler = LossScaler::new(LossScaling::Static(512.0))?;
/// let update = scaler.update(&mut LossScaleState::default(), true, 0.0);
/// assert!(update.scale == 512.0 && !update.skip);
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
#[non_exhaustive]
pub struct LossScaleUpdate {
    /// The scale for the loss of the next step.
    pub scale: f64,
    /// Whether this step must be skipped: weights, moments and the layers' counters stay as they are, and the schedule
    /// does not advance.
    pub skip: bool,
}

impl LossScaling {
    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        match self {
            LossScaling::Static(scale) => ConfigError::unless_positive("loss_scaling", *scale),
            LossScaling::Backoff(backoff) => backoff.check(),
            LossScaling::LogMax(log_max) => log_max.check(),
        }
    }
}

impl LossScaler {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// The first setting that is outside its range.
    pub const fn new(scaling: LossScaling) -> Result<Self, ConfigError> {
        check!(scaling.check());
        Ok(LossScaler { scaling })
    }

    /// The settings.
    pub const fn scaling(&self) -> &LossScaling {
        &self.scaling
    }

    /// The scale for the loss of the next step.
    #[inline]
    pub fn scale(&self, state: &LossScaleState) -> f64 {
        match &self.scaling {
            LossScaling::Static(scale) => *scale,
            LossScaling::Backoff(backoff) => backoff.scale(state.numbers),
            LossScaling::LogMax(log_max) => log_max.scale(state.numbers),
        }
    }

    /// Updates the state with a step, and decides.
    ///
    /// `finite` is whether all gradients of the step were finite. `max_norm` is the largest magnitude among them,
    /// divided by the scale. Only `LogMax` uses it: an infinite, NaN or negative value counts as a step that was not
    /// finite. For the other scalers, pass 0.
    #[inline]
    pub fn update(&self, state: &mut LossScaleState, finite: bool, max_norm: f64) -> LossScaleUpdate {
        let finite = match &self.scaling {
            LossScaling::Static(_) => finite,
            LossScaling::Backoff(backoff) => {
                backoff.update(&mut state.numbers, finite);
                finite
            }
            LossScaling::LogMax(log_max) => {
                let finite = finite && is_non_negative(max_norm);
                log_max.update(&mut state.numbers, finite, max_norm);
                finite
            }
        };
        LossScaleUpdate { scale: self.scale(state), skip: !finite }
    }

    /// The state with these numbers; `None` if a scaler of this kind cannot have produced them.
    ///
    /// Settings may have changed since: a scale outside the limits is clamped.
    pub fn restore(&self, numbers: [f64; 4]) -> Option<LossScaleState> {
        let whole = |count: f64| count as u64 as f64 == count;
        let possible = match (&self.scaling, numbers) {
            (_, [0.0, 0.0, 0.0, 0.0]) => true,
            (LossScaling::Backoff(_), [scale, good_steps, 0.0, 0.0]) => {
                scale > 0.0 && scale.is_finite() && whole(good_steps)
            }
            (LossScaling::LogMax(log_max), [mean, slow_mean, mean_square, steps]) => {
                mean.is_finite()
                    && slow_mean.is_finite()
                    && is_non_negative(mean_square)
                    && steps >= 1.0
                    && whole(steps)
                    // Averages near the limit of `f64` would give no scale.
                    && !log_max.scale(numbers).is_nan()
            }
            _ => false,
        };
        possible.then_some(LossScaleState { numbers })
    }
}

const fn check_limits(scale_min: f64, scale_max: f64) -> Result<(), ConfigError> {
    check!(ConfigError::unless_positive("scale_min", scale_min));
    if scale_max >= scale_min && scale_max.is_finite() {
        return Ok(());
    }
    Err(ConfigError { setting: "scale_max", value: scale_max, allowed: "finite and >= scale_min" })
}

/// `x` clamped to `min..=max`. A NaN stays a NaN.
fn clamp(x: f64, min: f64, max: f64) -> f64 {
    if x < min {
        min
    } else if x > max {
        max
    } else {
        x
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff::DEFAULT
    }
}

impl Default for LogMax {
    fn default() -> Self {
        LogMax::DEFAULT
    }
}
