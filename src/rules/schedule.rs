//! Learning rates that change from step to step: the seven rate policies of NVIDIA's OpenSeq2Seq.
//!
//! | policy | rate at step `t`, counted from 0 |
//! |---|---|
//! | `fixed_lr` | `lr` |
//! | `piecewise_constant` | `lr` times the decay rate of the last boundary that was passed |
//! | `exp_decay` | `lr·rateˢ`, `s = (t − begin)/steps` |
//! | `poly_decay` | `(lr − min)·(1 − s)ᵖ + min`, `s = min(t − begin, steps)/steps` |
//! | `cosine_decay` | `lr·((1 − a)·(1 + cos πs)/2 + a)`, the same `s` |
//! | `transformer_policy` | `coefficient·lr/√d·min((t + 1)/w¹·⁵, 1/√(t + 1))` |
//! | `inv_poly_decay` | `lr/(1 + q·t)ᵖ` |
//!
//! They are pure functions of the step, in `f64`. Powers and cosines come from the crate `libm`, so they have the same
//! bits on every machine.
//!
//! Source: `open_seq2seq/optimizers/lr_policies.py`.

use super::rates::{
    CosineDecay, ExpDecay, FixedLr, InvPolyDecay, PiecewiseConstant, PolyDecay, TransformerPolicy, check_lists,
    check_rate,
};
use crate::error::{ConfigError, check};

/// The settings of a rate policy, one of the seven of OpenSeq2Seq. [`Schedule`] checks them and computes the rates.
///
/// `L` is the list type of [`PiecewiseConstant`]: a slice in programs, and a collection such as `Vec<f64>` for settings
/// that are read from a file.
///
/// With the feature `serde` a policy is read under OpenSeq2Seq's names: its name, then its parameters.
///
/// ```
/// use layerwise::schedule::{PolyDecay, RatePolicy, Schedule};
///
/// let decay = PolyDecay { learning_rate: 0.02, power: 2.0, ..PolyDecay::DEFAULT };
/// let policy = RatePolicy::PolyDecay(decay).for_training(1000, 0); // 1000 steps in all
/// let schedule = Schedule::new(policy)?;
/// assert_eq!([0, 500, 1000].map(|step| schedule.rate(step)), [0.02, 0.005, 0.0]);
/// # #[cfg(feature = "serde")]
/// # {
///
/// let text = r#"{"poly_decay": {"learning_rate": 0.02, "power": 2.0}}"#; // feature `serde`
/// let read: RatePolicy<Vec<f64>> = serde_json::from_str(text).unwrap();
/// assert_eq!(read, RatePolicy::PolyDecay(decay));
/// # }
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "serde", serde(bound(serialize = "L: AsRef<[f64]>")))]
#[cfg_attr(feature = "serde", serde(bound(deserialize = "L: AsRef<[f64]> + Default + FromIterator<f64>")))]
#[non_exhaustive]
pub enum RatePolicy<L = &'static [f64]> {
    /// The same rate at every step.
    FixedLr(FixedLr),
    /// A rate that falls at certain steps or epochs.
    PiecewiseConstant(PiecewiseConstant<L>),
    /// Exponential decay.
    ExpDecay(ExpDecay),
    /// Polynomial decay, after a warm-up.
    PolyDecay(PolyDecay),
    /// Half a period of a cosine, after a warm-up.
    CosineDecay(CosineDecay),
    /// The rate of the Transformer paper.
    TransformerPolicy(TransformerPolicy),
    /// The inverse of a polynomial.
    InvPolyDecay(InvPolyDecay),
}

/// A checked rate policy: the learning rate of every step.
///
/// A step that is skipped, say because a gradient overflowed under a [loss scale](crate::schedule::LossScaler), does
/// not count: the next step has the same number, and so the same rate. A step that skipped only some layers counts.
///
/// ```
/// use layerwise::schedule::{CosineDecay, RatePolicy, Schedule};
///
/// const DECAY: CosineDecay =
///     CosineDecay { learning_rate: 0.1, warmup_steps: 10, decay_steps: 90, ..CosineDecay::DEFAULT };
/// let schedule = Schedule::new(RatePolicy::CosineDecay(DECAY))?;
/// assert_eq!(schedule.rate(5), 0.05); // half of the warm-up
/// assert_eq!(schedule.rate(10), 0.1);
/// assert!((schedule.rate(55) - 0.05).abs() < 1e-15);
/// assert_eq!(schedule.rate(100), 0.0);
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule<L = &'static [f64]> {
    policy: RatePolicy<L>,
}

impl<'a> Schedule<&'a [f64]> {
    /// Checks the settings. For lists that are not slices, use `Schedule::try_from`, which does the same.
    ///
    /// # Errors
    ///
    /// The first setting that is outside its range or not set.
    pub const fn new(policy: RatePolicy<&'a [f64]>) -> Result<Self, ConfigError> {
        check!(policy.check());
        if let RatePolicy::PiecewiseConstant(policy) = &policy {
            check!(check_lists(policy.boundaries, policy.decay_rates));
        }
        Ok(Schedule { policy })
    }
}

impl<L: AsRef<[f64]>> TryFrom<RatePolicy<L>> for Schedule<L> {
    type Error = ConfigError;

    fn try_from(policy: RatePolicy<L>) -> Result<Self, ConfigError> {
        policy.check()?;
        if let RatePolicy::PiecewiseConstant(policy) = &policy {
            check_lists(policy.boundaries.as_ref(), policy.decay_rates.as_ref())?;
        }
        Ok(Schedule { policy })
    }
}

impl<L> Schedule<L> {
    /// The settings.
    pub const fn policy(&self) -> &RatePolicy<L> {
        &self.policy
    }
}

impl<L: AsRef<[f64]>> Schedule<L> {
    /// The learning rate of a step. The first step is 0. Every step has a rate, even after the end of a decay.
    #[inline]
    pub fn rate(&self, step: u64) -> f64 {
        match &self.policy {
            RatePolicy::FixedLr(policy) => policy.learning_rate,
            RatePolicy::PiecewiseConstant(policy) => policy.rate(step),
            RatePolicy::ExpDecay(policy) => policy.rate(step),
            RatePolicy::PolyDecay(policy) => policy.rate(step),
            RatePolicy::CosineDecay(policy) => policy.rate(step),
            RatePolicy::TransformerPolicy(policy) => policy.rate(step),
            RatePolicy::InvPolyDecay(policy) => policy.rate(step),
        }
    }
}

impl<L> RatePolicy<L> {
    /// Fills in settings that depend on the length of the training run, as OpenSeq2Seq does. `steps` is the total
    /// number of steps. `steps_per_epoch` is 0 if the length is given in steps, or epochs are not known.
    ///
    /// If not set, `decay_steps` becomes `steps` minus the step at which the decay begins, at least 1, and
    /// `steps_per_epoch` becomes the argument. Settings that have values keep them.
    ///
    /// ```
    /// use layerwise::schedule::{CosineDecay, PiecewiseConstant, RatePolicy, Schedule};
    ///
    /// let cosine = CosineDecay { learning_rate: 0.1, warmup_steps: 100, ..CosineDecay::DEFAULT };
    /// let full = CosineDecay { decay_steps: 900, ..cosine };
    /// let policy: RatePolicy = RatePolicy::CosineDecay(cosine);
    /// assert_eq!(policy.for_training(1000, 0), RatePolicy::CosineDecay(full));
    ///
    /// let drop: PiecewiseConstant = PiecewiseConstant {
    ///     learning_rate: 0.1,
    ///     boundaries: &[30.0],
    ///     decay_rates: &[0.1],
    ///     ..PiecewiseConstant::DEFAULT
    /// };
    /// let policy = RatePolicy::PiecewiseConstant(drop).for_training(90 * 50, 50); // 90 epochs of 50 steps
    /// let schedule = Schedule::new(policy)?;
    /// assert_eq!(schedule.rate(30 * 50), 0.1);
    /// assert!((schedule.rate(30 * 50 + 1) - 0.01).abs() < 1e-15);
    /// # Ok::<(), layerwise::ConfigError>(())
    /// ```
    #[must_use]
    pub fn for_training(mut self, steps: u64, steps_per_epoch: u64) -> Self {
        let fill = |decay_steps: &mut u64, begin: u64| {
            if *decay_steps == 0 {
                *decay_steps = steps.saturating_sub(begin).max(1);
            }
        };
        match &mut self {
            RatePolicy::FixedLr(_) | RatePolicy::TransformerPolicy(_) => {}
            RatePolicy::PiecewiseConstant(policy) if policy.steps_per_epoch == 0 => {
                policy.steps_per_epoch = steps_per_epoch;
            }
            RatePolicy::PiecewiseConstant(_) => {}
            RatePolicy::ExpDecay(policy) => fill(&mut policy.decay_steps, policy.begin_decay_at),
            RatePolicy::PolyDecay(policy) => {
                fill(&mut policy.decay_steps, policy.begin_decay_at.max(policy.warmup_steps));
            }
            RatePolicy::CosineDecay(policy) => {
                fill(&mut policy.decay_steps, policy.begin_decay_at.max(policy.warmup_steps));
            }
            RatePolicy::InvPolyDecay(policy) => {
                fill(&mut policy.decay_steps, policy.begin_decay_at.max(policy.warmup_steps));
            }
        }
        self
    }

    /// Refuses what is out of range or not set, except in lists.
    const fn check(&self) -> Result<(), ConfigError> {
        check!(self.check_numbers());
        match self {
            RatePolicy::ExpDecay(ExpDecay { decay_steps: 0, .. })
            | RatePolicy::PolyDecay(PolyDecay { decay_steps: 0, .. })
            | RatePolicy::CosineDecay(CosineDecay { decay_steps: 0, .. })
            | RatePolicy::InvPolyDecay(InvPolyDecay { decay_steps: 0, .. }) => {
                Err(ConfigError { setting: "decay_steps", value: 0.0, allowed: ">= 1; `for_training` can fill it in" })
            }
            _ => Ok(()),
        }
    }

    const fn check_numbers(&self) -> Result<(), ConfigError> {
        match self {
            RatePolicy::FixedLr(policy) => policy.check(),
            RatePolicy::PiecewiseConstant(policy) => check_rate(policy.learning_rate),
            RatePolicy::ExpDecay(policy) => policy.check(),
            RatePolicy::PolyDecay(policy) => policy.check(),
            RatePolicy::CosineDecay(policy) => policy.check(),
            RatePolicy::TransformerPolicy(policy) => policy.check(),
            RatePolicy::InvPolyDecay(policy) => policy.check(),
        }
    }
}
