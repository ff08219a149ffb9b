//! The seven rate policies: settings, and the rate at a step. What they share is in `schedule`.

use super::double::{at_least, sqrt};
use crate::error::{ConfigError, check};
use core::f64::consts::PI;
use libm::{cos, pow};

pub(super) const fn check_rate(learning_rate: f64) -> Result<(), ConfigError> {
    ConfigError::unless_positive("learning_rate", learning_rate)
}

pub(super) const fn check_lists(boundaries: &[f64], decay_rates: &[f64]) -> Result<(), ConfigError> {
    if boundaries.len() != decay_rates.len() {
        let value = decay_rates.len() as f64;
        return Err(ConfigError { setting: "decay_rates.len", value, allowed: "the number of boundaries" });
    }
    let (mut boundaries, mut before) = (boundaries, 0.0);
    while let [boundary, rest @ ..] = boundaries {
        if !(*boundary >= before && boundary.is_finite()) {
            let allowed = "finite, >= 0 and not less than the boundary before it";
            return Err(ConfigError { setting: "boundaries", value: *boundary, allowed });
        }
        (boundaries, before) = (rest, *boundary);
    }
    let mut decay_rates = decay_rates;
    while let [rate, rest @ ..] = decay_rates {
        check!(ConfigError::unless_non_negative("decay_rates", *rate));
        decay_rates = rest;
    }
    Ok(())
}

/// The rate of a policy that rises from 0 for `warmup_steps`, holds until `begin`, and then follows `decay`, a function
/// of the progress of the decay: 0 at its beginning, 1 from its end on.
#[inline]
fn warmed_up(
    step: u64,
    learning_rate: f64,
    warmup_steps: u64,
    begin: u64,
    decay_steps: u64,
    decay: impl FnOnce(f64) -> f64,
) -> f64 {
    let begin = begin.max(warmup_steps);
    if step < warmup_steps {
        learning_rate * step as f64 / warmup_steps as f64
    } else if step < begin {
        learning_rate
    } else {
        decay((step - begin).min(decay_steps) as f64 / decay_steps as f64)
    }
}

/// OpenSeq2Seq's `fixed_lr`: the same rate at every step. Use it to find a rate, or if the host changes the rate.
///
/// ```
/// use layerwise::schedule::{FixedLr, RatePolicy, Schedule};
///
/// let schedule = Schedule::new(RatePolicy::FixedLr(FixedLr { learning_rate: 0.1 }))?;
/// assert_eq!(schedule.rate(1_000_000), 0.1);
/// assert!(Schedule::new(RatePolicy::FixedLr(FixedLr::DEFAULT)).is_err()); // the rate is not set
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedLr {
    /// The rate. Greater than 0; give it a value.
    pub learning_rate: f64,
}

impl FixedLr {
    /// Rate not set: 0, which is refused.
    pub const DEFAULT: FixedLr = FixedLr { learning_rate: 0.0 };

    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        check_rate(self.learning_rate)
    }
}

/// OpenSeq2Seq's `piecewise_constant`: the rate falls at certain steps or epochs. Use it to reproduce published runs,
/// say those that divide the rate by ten after 30, 60 and 80 epochs.
///
/// ```text
/// rate = learning_rate · decay_rates[i]    the last i with boundaries[i] · steps_per_epoch < t
/// ```
///
/// At the step of a boundary the rate is still the old one. This is TensorFlow's `tf.train.piecewise_constant`.
///
/// ```
/// use layerwise::schedule::{PiecewiseConstant, RatePolicy, Schedule};
///
/// const DROPS: PiecewiseConstant = PiecewiseConstant {
///     learning_rate: 1.0,
///     boundaries: &[10.0, 20.0],
///     decay_rates: &[0.5, 0.25],
///     ..PiecewiseConstant::DEFAULT
/// };
/// let schedule = Schedule::new(RatePolicy::PiecewiseConstant(DROPS))?;
/// assert_eq!([0, 10, 11, 20, 21].map(|step| schedule.rate(step)), [1.0, 1.0, 0.5, 0.5, 0.25]);
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
///
/// Fields may be added: write `..PiecewiseConstant::DEFAULT`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PiecewiseConstant<L = &'static [f64]> {
    /// The rate at the start. Greater than 0; give it a value.
    pub learning_rate: f64,
    /// The epochs, or steps, after which the rate falls: at least 0, in ascending order.
    pub boundaries: L,
    /// What `learning_rate` is multiplied by after each boundary, at least 0; one for each boundary.
    pub decay_rates: L,
    /// How many steps an epoch has. At 0, the default, boundaries are steps, unless
    /// [`for_training`](crate::schedule::RatePolicy::for_training) sets the number.
    pub steps_per_epoch: u64,
}

impl PiecewiseConstant<&'static [f64]> {
    /// Rate not set, and no boundaries.
    ///
    /// ```
    /// use layerwise::schedule::PiecewiseConstant;
    ///
    /// let default: PiecewiseConstant = PiecewiseConstant {
    ///     learning_rate: 0.0,
    ///     boundaries: &[],
    ///     decay_rates: &[],
    ///     steps_per_epoch: 0,
    /// };
    /// assert_eq!(PiecewiseConstant::DEFAULT, default);
    /// ```
    pub const DEFAULT: PiecewiseConstant =
        PiecewiseConstant { learning_rate: 0.0, boundaries: &[], decay_rates: &[], steps_per_epoch: 0 };
}

impl<L: AsRef<[f64]>> PiecewiseConstant<L> {
    #[cfg(feature = "serde")]
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check_rate(self.learning_rate)?;
        check_lists(self.boundaries.as_ref(), self.decay_rates.as_ref())
    }

    pub(super) fn rate(&self, step: u64) -> f64 {
        let steps_per_epoch = self.steps_per_epoch.max(1) as f64;
        let passed = |&(boundary, _): &(&f64, &f64)| step as f64 > boundary * steps_per_epoch;
        let drops = self.boundaries.as_ref().iter().zip(self.decay_rates.as_ref());
        self.learning_rate * drops.take_while(passed).last().map_or(1.0, |(_, decay_rate)| *decay_rate)
    }
}

/// OpenSeq2Seq's `exp_decay`: a rate that falls exponentially. Use it if the length of the training run is not known.
///
/// ```text
/// s    = (t − begin_decay_at) / decay_steps          rounded down with use_staircase_decay
/// rate = max(min_lr, learning_rate · decay_rateˢ)    s = 0 before begin_decay_at
/// ```
///
/// This is TensorFlow's `tf.train.exponential_decay` with a beginning and a floor.
///
/// ```
/// use layerwise::schedule::{ExpDecay, RatePolicy, Schedule};
///
/// let decay = ExpDecay { learning_rate: 1.0, decay_steps: 10, decay_rate: 0.5, min_lr: 0.1, ..ExpDecay::DEFAULT };
/// let smooth = Schedule::new(RatePolicy::ExpDecay(decay))?;
/// assert_eq!([0, 10, 20, 1000].map(|step| smooth.rate(step)), [1.0, 0.5, 0.25, 0.1]);
/// let stairs = Schedule::new(RatePolicy::ExpDecay(ExpDecay { use_staircase_decay: true, ..decay }))?;
/// assert_eq!([9, 10, 19].map(|step| stairs.rate(step)), [1.0, 0.5, 0.5]);
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
///
/// Fields may be added: write `..ExpDecay::DEFAULT`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpDecay {
    /// The rate at the start. Greater than 0; give it a value.
    pub learning_rate: f64,
    /// The number of steps in which the rate is multiplied by `decay_rate` once. At least 1; give it a value, or let
    /// [`for_training`](crate::schedule::RatePolicy::for_training) do so.
    pub decay_steps: u64,
    /// What the rate is multiplied by in `decay_steps` steps. Greater than 0; give it a value. Above 1, the rate rises.
    pub decay_rate: f64,
    /// Whether the rate falls in stairs, every `decay_steps` steps.
    pub use_staircase_decay: bool,
    /// The step at which the decay begins.
    pub begin_decay_at: u64,
    /// The smallest rate. At least 0.
    pub min_lr: f64,
}

impl ExpDecay {
    /// Rate, length and decay not set; a smooth decay from step 0 towards 0.
    ///
    /// ```
    /// use layerwise::schedule::ExpDecay;
    ///
    /// let default = ExpDecay {
    ///     learning_rate: 0.0,
    ///     decay_steps: 0,
    ///     decay_rate: 0.0,
    ///     use_staircase_decay: false,
    ///     begin_decay_at: 0,
    ///     min_lr: 0.0,
    /// };
    /// assert_eq!(ExpDecay::DEFAULT, default);
    /// ```
    pub const DEFAULT: ExpDecay = ExpDecay {
        learning_rate: 0.0,
        decay_steps: 0,
        decay_rate: 0.0,
        use_staircase_decay: false,
        begin_decay_at: 0,
        min_lr: 0.0,
    };

    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        check!(check_rate(self.learning_rate));
        check!(ConfigError::unless_positive("decay_rate", self.decay_rate));
        ConfigError::unless_non_negative("min_lr", self.min_lr)
    }

    pub(super) fn rate(&self, step: u64) -> f64 {
        let steps = step.saturating_sub(self.begin_decay_at);
        let exponent = if self.use_staircase_decay {
            steps.checked_div(self.decay_steps).unwrap_or(0) as f64
        } else {
            steps as f64 / self.decay_steps as f64
        };
        at_least(self.learning_rate * pow(self.decay_rate, exponent), self.min_lr)
    }
}

/// OpenSeq2Seq's `poly_decay`: a warm-up, then a polynomial. Try it first: by default it is a straight line to 0.
///
/// ```text
/// begin = max(begin_decay_at, warmup_steps)
/// s     = min(t − begin, decay_steps) / decay_steps
/// rate  = learning_rate · t / warmup_steps                        if t < warmup_steps
/// rate  = learning_rate                                           otherwise, if t < begin
/// rate  = (learning_rate − min_lr)·(1 − s)^power + min_lr         otherwise
/// ```
///
/// From `begin + decay_steps` on the rate is `min_lr`. This is TensorFlow's `tf.train.polynomial_decay` with a warm-up.
///
/// ```
/// use layerwise::schedule::{PolyDecay, RatePolicy, Schedule};
///
/// let decay = PolyDecay { learning_rate: 0.5, decay_steps: 100, power: 2.0, warmup_steps: 10, ..PolyDecay::DEFAULT };
/// let schedule = Schedule::new(RatePolicy::PolyDecay(decay))?;
/// assert_eq!([0, 5, 10, 60, 110].map(|step| schedule.rate(step)), [0.0, 0.25, 0.5, 0.125, 0.0]);
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
///
/// Fields may be added: write `..PolyDecay::DEFAULT`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolyDecay {
    /// The rate after the warm-up. Greater than 0; give it a value.
    pub learning_rate: f64,
    /// How many steps the decay takes. At least 1; give it a value, or let
    /// [`for_training`](crate::schedule::RatePolicy::for_training) do so.
    pub decay_steps: u64,
    /// The power. Greater than 0; 1, the default, is a straight line.
    pub power: f64,
    /// The step at which the decay begins, unless the warm-up ends later.
    pub begin_decay_at: u64,
    /// The rate at the end. At least 0.
    pub min_lr: f64,
    /// How many steps the rate takes to rise from 0.
    pub warmup_steps: u64,
}

impl PolyDecay {
    /// Rate and length not set; a straight line to 0 from step 0, without warm-up.
    ///
    /// ```
    /// use layerwise::schedule::PolyDecay;
    ///
    /// let default = PolyDecay {
    ///     learning_rate: 0.0,
    ///     decay_steps: 0,
    ///     power: 1.0,
    ///     begin_decay_at: 0,
    ///     min_lr: 0.0,
    ///     warmup_steps: 0,
    /// };
    /// assert_eq!(PolyDecay::DEFAULT, default);
    /// ```
    pub const DEFAULT: PolyDecay =
        PolyDecay { learning_rate: 0.0, decay_steps: 0, power: 1.0, begin_decay_at: 0, min_lr: 0.0, warmup_steps: 0 };

    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        check!(check_rate(self.learning_rate));
        check!(ConfigError::unless_positive("power", self.power));
        ConfigError::unless_non_negative("min_lr", self.min_lr)
    }

    pub(super) fn rate(&self, step: u64) -> f64 {
        let PolyDecay { learning_rate, decay_steps, power, begin_decay_at, min_lr, warmup_steps } = *self;
        warmed_up(step, learning_rate, warmup_steps, begin_decay_at, decay_steps, |over| {
            (learning_rate - min_lr) * pow(1.0 - over, power) + min_lr
        })
    }
}

/// OpenSeq2Seq's `cosine_decay`: a warm-up, then half a period of a cosine. Use it instead of a straight line to keep
/// the rate high for longer.
///
/// ```text
/// begin = max(begin_decay_at, warmup_steps)
/// s     = min(t − begin, decay_steps) / decay_steps
/// rate  = learning_rate · t / warmup_steps                        if t < warmup_steps
/// rate  = learning_rate                                           otherwise, if t < begin
/// rate  = learning_rate·((1 − min_lr)·(1 + cos πs)/2 + min_lr)    otherwise
/// ```
///
/// `min_lr` is a fraction here, not a rate: from `begin + decay_steps` on the rate is `min_lr` *times* `learning_rate`.
/// This is TensorFlow's `tf.train.cosine_decay`, with `alpha = min_lr`, and a warm-up. Without restarts it is equation
/// 5 of Loshchilov and Hutter, *SGDR: Stochastic Gradient Descent with Warm Restarts* (arXiv 1608.03983).
///
/// ```
/// use layerwise::schedule::{CosineDecay, RatePolicy, Schedule};
///
/// let decay = CosineDecay { learning_rate: 0.5, decay_steps: 100, min_lr: 0.25, ..CosineDecay::DEFAULT };
/// let schedule = Schedule::new(RatePolicy::CosineDecay(decay))?;
/// assert_eq!([0, 100, 200].map(|step| schedule.rate(step)), [0.5, 0.125, 0.125]);
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
///
/// Fields may be added: write `..CosineDecay::DEFAULT`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineDecay {
    /// The rate after the warm-up. Greater than 0; give it a value.
    pub learning_rate: f64,
    /// How many steps the decay takes. At least 1; give it a value, or let
    /// [`for_training`](crate::schedule::RatePolicy::for_training) do so.
    pub decay_steps: u64,
    /// Ignored, and 1 by default: OpenSeq2Seq's `cosine_decay` has this parameter and ignores it too. At least 0.
    pub power: f64,
    /// The step at which the decay begins, unless the warm-up ends later.
    pub begin_decay_at: u64,
    /// The rate at the end as a fraction of `learning_rate`. At least 0.
    pub min_lr: f64,
    /// How many steps the rate takes to rise from 0.
    pub warmup_steps: u64,
}

impl CosineDecay {
    /// Rate and length not set; a decay to 0 from step 0, without warm-up.
    ///
    /// ```
    /// use layerwise::schedule::CosineDecay;
    ///
    /// let default = CosineDecay {
    ///     learning_rate: 0.0,
    ///     decay_steps: 0,
    ///     power: 1.0,
    ///     begin_decay_at: 0,
    ///     min_lr: 0.0,
    ///     warmup_steps: 0,
    /// };
    /// assert_eq!(CosineDecay::DEFAULT, default);
    /// ```
    pub const DEFAULT: CosineDecay =
        CosineDecay { learning_rate: 0.0, decay_steps: 0, power: 1.0, begin_decay_at: 0, min_lr: 0.0, warmup_steps: 0 };

    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        check!(check_rate(self.learning_rate));
        check!(ConfigError::unless_non_negative("power", self.power));
        ConfigError::unless_non_negative("min_lr", self.min_lr)
    }

    pub(super) fn rate(&self, step: u64) -> f64 {
        let CosineDecay { learning_rate, decay_steps, begin_decay_at, min_lr, warmup_steps, .. } = *self;
        warmed_up(step, learning_rate, warmup_steps, begin_decay_at, decay_steps, |over| {
            learning_rate * ((1.0 - min_lr) * (0.5 * (1.0 + cos(PI * over))) + min_lr)
        })
    }
}

/// OpenSeq2Seq's `transformer_policy`: a warm-up, then the inverse square root of the step. Use it for transformers, or
/// if the length of the training run is not known.
///
/// ```text
/// rate = coefficient · learning_rate / √d_model · min((t + 1) / warmup_steps^1.5, 1 / √(t + 1))
/// ```
///
/// If `max_lr` is set, the rate is at most that. It peaks at `t + 1 = warmup_steps`; without warm-up, at the first step.
/// Source: Vaswani et al., *Attention Is All You Need* (arXiv 1706.03762), section 5.3, where
/// `coefficient · learning_rate` is 1.
///
/// ```
/// use layerwise::schedule::{RatePolicy, Schedule, TransformerPolicy};
///
/// let policy = TransformerPolicy { learning_rate: 2.0, d_model: 256, warmup_steps: 4, ..TransformerPolicy::DEFAULT };
/// let schedule = Schedule::new(RatePolicy::TransformerPolicy(policy))?;
/// assert_eq!([0, 3, 15].map(|step| schedule.rate(step)), [2.0 / 16.0 / 8.0, 2.0 / 16.0 / 2.0, 2.0 / 16.0 / 4.0]);
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
///
/// Fields may be added: write `..TransformerPolicy::DEFAULT`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransformerPolicy {
    /// A multiplier of the rate. Greater than 0; give it a value.
    pub learning_rate: f64,
    /// The width of the model. At least 1; give it a value.
    pub d_model: u64,
    /// For how many steps the rate rises.
    pub warmup_steps: u64,
    /// The largest rate, greater than 0, if there is one.
    pub max_lr: Option<f64>,
    /// Another multiplier of the rate, greater than 0. OpenSeq2Seq recommends 0.002 with Adam.
    pub coefficient: f64,
}

impl TransformerPolicy {
    /// Rate and width not set; coefficient 1, no warm-up, no largest rate.
    ///
    /// ```
    /// use layerwise::schedule::TransformerPolicy;
    ///
    /// let default = TransformerPolicy {
    ///     learning_rate: 0.0,
    ///     d_model: 0,
    ///     warmup_steps: 0,
    ///     max_lr: None,
    ///     coefficient: 1.0,
    /// };
    /// assert_eq!(TransformerPolicy::DEFAULT, default);
    /// ```
    pub const DEFAULT: TransformerPolicy =
        TransformerPolicy { learning_rate: 0.0, d_model: 0, warmup_steps: 0, max_lr: None, coefficient: 1.0 };

    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        check!(check_rate(self.learning_rate));
        check!(ConfigError::unless_positive("d_model", self.d_model as f64));
        if let Some(max_lr) = self.max_lr {
            check!(ConfigError::unless_positive("max_lr", max_lr));
        }
        ConfigError::unless_positive("coefficient", self.coefficient)
    }

    pub(super) fn rate(&self, step: u64) -> f64 {
        let (step, warmup) = (step as f64 + 1.0, self.warmup_steps as f64);
        // Without warm-up the quotient is infinite.
        let (rising, falling) = (step / (warmup * sqrt(warmup)), 1.0 / sqrt(step));
        let decay = if rising < falling { rising } else { falling };
        let rate = self.coefficient / sqrt(self.d_model as f64) * decay * self.learning_rate;
        match self.max_lr {
            Some(max_lr) if max_lr < rate => max_lr,
            _ => rate,
        }
    }
}

/// OpenSeq2Seq's `inv_poly_decay`: the inverse of a polynomial. Use it if training may continue after `decay_steps`:
/// the rate keeps falling, ever more slowly.
///
/// ```text
/// q    = ((learning_rate / min_lr)^(1/power) − 1) / decay_steps
/// rate = learning_rate / (1 + q·t)^power
/// ```
///
/// `min_lr` is taken to be at least 10⁻⁸ and at most `learning_rate`. The rate is `min_lr` at step `decay_steps`, and
/// keeps falling. If `q` overflows `f64`, the first rate is NaN, which every step refuses.
///
/// ```
/// use layerwise::schedule::{InvPolyDecay, RatePolicy, Schedule};
///
/// let decay = InvPolyDecay { learning_rate: 1.0, decay_steps: 12, min_lr: 0.25, ..InvPolyDecay::DEFAULT };
/// let schedule = Schedule::new(RatePolicy::InvPolyDecay(decay))?; // q is 1/4
/// assert_eq!([0, 4, 12, 28].map(|step| schedule.rate(step)), [1.0, 0.5, 0.25, 0.125]);
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
///
/// Fields may be added: write `..InvPolyDecay::DEFAULT`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvPolyDecay {
    /// The rate at the start. Greater than 0; give it a value.
    pub learning_rate: f64,
    /// The step at which the rate is `min_lr`. At least 1; give it a value, or let
    /// [`for_training`](crate::schedule::RatePolicy::for_training) do so.
    pub decay_steps: u64,
    /// The rate at step `decay_steps`. At least 0.
    pub min_lr: f64,
    /// The power, greater than 0.
    pub power: f64,
    /// Not in the formula, as in OpenSeq2Seq: it only shortens `decay_steps` where
    /// [`for_training`](crate::schedule::RatePolicy::for_training) fills that in.
    pub begin_decay_at: u64,
    /// The same as `begin_decay_at`; the larger of the two counts.
    pub warmup_steps: u64,
}

impl InvPolyDecay {
    /// Rate and length not set; power 1, down to the smallest possible rate, 10⁻⁸.
    ///
    /// ```
    /// use layerwise::schedule::InvPolyDecay;
    ///
    /// let default = InvPolyDecay {
    ///     learning_rate: 0.0,
    ///     decay_steps: 0,
    ///     min_lr: 0.0,
    ///     power: 1.0,
    ///     begin_decay_at: 0,
    ///     warmup_steps: 0,
    /// };
    /// assert_eq!(InvPolyDecay::DEFAULT, default);
    /// ```
    pub const DEFAULT: InvPolyDecay = InvPolyDecay {
        learning_rate: 0.0,
        decay_steps: 0,
        min_lr: 0.0,
        power: 1.0,
        begin_decay_at: 0,
        warmup_steps: 0,
    };

    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        check!(check_rate(self.learning_rate));
        check!(ConfigError::unless_non_negative("min_lr", self.min_lr));
        ConfigError::unless_positive("power", self.power)
    }

    pub(super) fn rate(&self, step: u64) -> f64 {
        let min_lr = at_least(self.min_lr, 1e-8);
        let ratio = at_least(self.learning_rate / min_lr, 1.0);
        let q = (pow(ratio, 1.0 / self.power) - 1.0) / self.decay_steps as f64;
        self.learning_rate / pow(1.0 + q * step as f64, self.power)
    }
}

/// Implements `Default`.
macro_rules! settings {
    ($($type:ty),*) => {
        $(
            impl Default for $type {
                fn default() -> Self {
                    <$type>::DEFAULT
                }
            }
        )*
    };
}
settings!(FixedLr, ExpDecay, PolyDecay, CosineDecay, TransformerPolicy, InvPolyDecay);
