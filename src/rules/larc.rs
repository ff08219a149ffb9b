//! LARC and LARS: a factor for a layer's gradient.
//!
//! ```text
//! local  = eta·|w| / (|g| + decay·|w| + eps)
//! Clip   : factor = min(max(local / lr, min_update), 1)      so that the effective rate is min(lr, local)
//! Scale  : factor = max(local, min_update)                   this is LARS
//! g'     = factor·(g + decay·w)
//! ```
//!
//! Sources: You, Gitman and Ginsburg, *Large Batch Training of Convolutional Networks* (arXiv 1708.03888), and the page
//! "Optimizers" of NVIDIA's OpenSeq2Seq.

use crate::driver::one::{check_rate, report};
use crate::error::{ConfigError, Error, Slice, check, check_length, is_non_negative};
use crate::{GradientNorm, Needs, Norms, Outcome, Plan, Report, Update};

/// Settings of [`Larc`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields, remote = "Self"))]
pub struct LarcConfig {
    /// Whether the factor clips the learning rate or replaces it.
    #[cfg_attr(feature = "serde", serde(rename = "larc_mode", alias = "mode"))]
    pub mode: LarcMode,
    /// The trust coefficient: how much of a layer's weight norm one step may move. Greater than 0.
    #[cfg_attr(feature = "serde", serde(rename = "larc_eta", alias = "eta"))]
    pub eta: f64,
    /// A term of the denominator that keeps it from zero. At least 0; greater than 0 with [`ZeroNorm::Formula`].
    #[cfg_attr(feature = "serde", serde(rename = "epsilon", alias = "eps"))]
    pub eps: f64,
    /// The smallest factor. At least 0.
    pub min_update: f64,
    /// Norms smaller than this count as this. At least 0; 0 in every peer but optax's `scale_by_trust_ratio`.
    pub min_norm: f64,
    /// What a layer gets whose weights or gradient are zero.
    pub zero_norm: ZeroNorm,
    /// How weight decay enters the ratio.
    pub decay_in_ratio: DecayInRatio,
    /// Whether layers without weight decay are exempt from adaptation, as in timm and bolts.
    pub only_with_decay: bool,
}

/// What LARC's factor does to the learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum LarcMode {
    /// The effective rate is the smaller of the learning rate and the local rate: LARC.
    Clip,
    /// The effective rate is the product of the learning rate and the local rate: LARS. Diverges easily.
    Scale,
}

/// What a layer gets whose weights or gradient are zero, so that the ratio says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum ZeroNorm {
    /// Factor 1: the plain step, with decay. A zero-initialised layer learns.
    PlainStep,
    /// Factor 1 without decay, as in apex.
    PlainStepWithoutDecay,
    /// Factor 1 where the weights or the denominator are zero, but not for a zero gradient with decay, as in
    /// pytorch_optimizer.
    PlainStepUnlessDecaying,
    /// No special case, as in OpenSeq2Seq: a zero-initialised layer moves at `min_update` of its rate for ever.
    Formula,
}

/// How weight decay enters LARC's ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum DecayInRatio {
    /// The denominator is `|g| + eps`.
    No,
    /// The denominator is `|g| + decay·|w| + eps`.
    SumOfNorms,
    /// The denominator is `|g + decay·w| + eps`, as in optax.
    NormOfSum,
}

impl LarcConfig {
    /// Clip mode with the trust coefficient 0.002 of the OpenSeq2Seq page, decay in the ratio, and the plain step for
    /// layers of zeros.
    pub const DEFAULT: LarcConfig = LarcConfig {
        mode: LarcMode::Clip,
        eta: 0.002,
        eps: 1e-8,
        min_update: 0.0,
        min_norm: 0.0,
        zero_norm: ZeroNorm::PlainStep,
        decay_in_ratio: DecayInRatio::SumOfNorms,
        only_with_decay: false,
    };

    const fn check(&self) -> Result<(), ConfigError> {
        check!(ConfigError::unless_positive("eta", self.eta));
        check!(ConfigError::unless_non_negative("eps", self.eps));
        if matches!(self.zero_norm, ZeroNorm::Formula) {
            check!(ConfigError::unless_positive("eps", self.eps));
        }
        check!(ConfigError::unless_non_negative("min_update", self.min_update));
        ConfigError::unless_non_negative("min_norm", self.min_norm)
    }
}

impl Default for LarcConfig {
    fn default() -> Self {
        LarcConfig::DEFAULT
    }
}

/// Layer-wise adaptive rate control: a factor for the gradient of a layer, in front of any optimizer.
///
/// [`Sgd`](crate::Sgd) takes one in its configuration. For an optimizer of your own, [`factor`](Larc::factor) gives the
/// number and [`scale_gradients`](Larc::scale_gradients) applies it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "LarcConfig", into = "LarcConfig"))]
pub struct Larc {
    config: LarcConfig,
}

/// What LARC decides for a layer: its gradient becomes `factor·(g + decay·w)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LarcFactor {
    /// What gradient and decay are multiplied by.
    pub factor: f64,
    /// The weight decay that is left.
    pub decay: f64,
    /// Whether the learning rate was clipped.
    pub clipped: bool,
}

impl Larc {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// The first setting that is outside its range.
    pub const fn new(config: LarcConfig) -> Result<Self, ConfigError> {
        check!(config.check());
        Ok(Larc { config })
    }

    /// The settings.
    pub const fn config(&self) -> &LarcConfig {
        &self.config
    }

    /// The norms that [`factor`](Larc::factor) wants for a layer with this weight decay.
    pub fn needs(&self, decay: f64) -> Needs {
        let gradient = match self.config.decay_in_ratio {
            DecayInRatio::NormOfSum if decay != 0.0 => GradientNorm::L2WithDecay(decay),
            _ => GradientNorm::L2,
        };
        Needs { gradient, weights: true, new_momentum: false }
    }

    /// The factor for a layer with these norms, at learning rate `lr` and weight decay `decay`.
    ///
    /// ```
    /// use layerwise::{Larc, LarcConfig, Norms};
    ///
    /// let larc = Larc::new(LarcConfig { eps: 0.0, ..LarcConfig::DEFAULT })?;
    /// let norms = Norms { weights: Some(5.0), gradient: 10.0 };
    /// // The local rate is 0.002·5/10 = 0.001, a tenth of the learning rate.
    /// let decision = larc.factor(0.01, 0.0, &norms);
    /// assert!((decision.factor - 0.1).abs() < 1e-12 && decision.clipped);
    /// # Ok::<(), layerwise::ConfigError>(())
    /// ```
    pub fn factor(&self, lr: f64, decay: f64, norms: &Norms) -> LarcFactor {
        let config = &self.config;
        let plain = LarcFactor { factor: 1.0, decay, clipped: false };
        if config.only_with_decay && decay == 0.0 {
            return plain;
        }
        let weights = at_least(norms.weights.unwrap_or(0.0), config.min_norm);
        let gradient = at_least(norms.gradient, config.min_norm);
        let denominator = match config.decay_in_ratio {
            DecayInRatio::SumOfNorms => gradient + decay * weights,
            DecayInRatio::No | DecayInRatio::NormOfSum => gradient,
        };
        match config.zero_norm {
            ZeroNorm::PlainStep if weights == 0.0 || gradient == 0.0 => return plain,
            ZeroNorm::PlainStepWithoutDecay if weights == 0.0 || gradient == 0.0 => {
                return LarcFactor { decay: 0.0, ..plain };
            }
            ZeroNorm::PlainStepUnlessDecaying if weights == 0.0 || denominator == 0.0 => return plain,
            _ => {}
        }
        let local = config.eta * weights / (denominator + config.eps);
        match config.mode {
            LarcMode::Scale => LarcFactor { factor: at_least(local, config.min_update), ..plain },
            LarcMode::Clip if lr == 0.0 => plain,
            LarcMode::Clip => {
                let factor = at_least(local / lr, config.min_update);
                if factor < 1.0 { LarcFactor { factor, clipped: true, ..plain } } else { plain }
            }
        }
    }

    /// Replaces the gradients of a layer by `factor·(g + decay·w)`, for a host optimizer that does the rest.
    ///
    /// The host must not apply weight decay again. With non-finite gradients or weights nothing is written, and the
    /// report says so: skip the layer.
    ///
    /// # Errors
    ///
    /// [`Error::Length`], [`Error::LearningRate`] and [`Error::WeightDecay`]; then nothing is written.
    ///
    /// ```
    /// use layerwise::{Larc, LarcConfig};
    ///
    /// let larc = Larc::new(LarcConfig::DEFAULT).unwrap();
    /// let (weights, mut gradients) = ([0.3, 0.4], [300.0, 400.0]);
    /// let report = larc.scale_gradients(0.1, 0.0, &weights, &mut gradients)?;
    /// // No step moves a layer by more than 0.002 of its norm, whatever the gradient.
    /// assert!(report.clipped && 0.1 * layerwise::l2_norm(&gradients) <= 0.002 * 0.5 * 1.000001);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn scale_gradients(
        &self,
        lr: f64,
        decay: f64,
        weights: &[f32],
        gradients: &mut [f32],
    ) -> Result<Report, Error> {
        check_rate(lr, 1.0)?;
        if !is_non_negative(decay) {
            return Err(Error::WeightDecay(decay));
        }
        check_length(Slice::Gradients, weights.len(), gradients.len())?;
        let norms = self.needs(decay).measure(weights, gradients)?;
        if !norms.are_finite() {
            return Ok(report(&norms, lr, None, Outcome::NonFinite));
        }
        let LarcFactor { factor, decay, clipped } = self.factor(lr, decay, &norms);
        let update = Update { gradient: factor, decay: factor * decay, ..Update::NONE };
        if update.rescale(gradients, weights).is_err() {
            return Ok(report(&norms, lr, None, Outcome::OutOfRange));
        }
        let plan = Plan { update, factor, effective_rate: factor * lr, clipped };
        Ok(report(&norms, lr, Some(&plan), Outcome::Applied))
    }
}

/// The larger of two numbers. (`f64::max` would prefer a number to a NaN.)
fn at_least(x: f64, floor: f64) -> f64 {
    if x < floor { floor } else { x }
}

#[cfg(feature = "serde")]
crate::serde_checked!(LarcConfig);

impl TryFrom<LarcConfig> for Larc {
    type Error = ConfigError;

    fn try_from(config: LarcConfig) -> Result<Self, ConfigError> {
        Larc::new(config)
    }
}

impl From<Larc> for LarcConfig {
    fn from(larc: Larc) -> Self {
        larc.config
    }
}
