//! LARC and LARS: a factor for a layer's gradient. [`LarcConfig`] has the formula.

use super::double::{add, at_least, is_zero, less, mul};
use super::layer::LayerConfig;
use super::rule::{GradientNorm, Needs, Norms};
use crate::error::{ConfigError, check, is_non_negative};

/// Settings of LARC and LARS, which adapt the learning rate of each layer to its weights and gradient. They belong in
/// [`SgdConfig::larc`](crate::SgdConfig::larc), or in a [`Larc`] in front of your own optimizer.
///
/// ```text
/// local = eta·|w| / (|g| + decay·|w| + eps)             the local rate
/// Clip:  factor = min(max(local / lr, min_update), 1)   LARC: the rate becomes min(lr, local)
/// Scale: factor = max(local, min_update)                LARS: the rate becomes lr·local
/// g     = factor·(g + decay·w)
/// ```
///
/// By default the mode is Clip, `eta` is 0.002, `eps` 1e-8 and `min_update` 0; [`DEFAULT`](LarcConfig::DEFAULT) has the
/// other settings. Fields may be added: write `..LarcConfig::DEFAULT`.
///
/// Sources: You, Gitman and Ginsburg, *Large Batch Training of Convolutional Networks* (arXiv 1708.03888), and the page
/// "Optimizers" of NVIDIA's OpenSeq2Seq.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LarcConfig {
    /// Whether the factor clips the learning rate or replaces it.
    pub mode: LarcMode,
    /// The trust coefficient: the norm of a step at the local rate, with neither decay nor momentum, relative to the
    /// norm of the layer's weights. Greater than 0.
    pub eta: f64,
    /// A term of the denominator that keeps it from zero. At least 0; greater than 0 with [`ZeroNorm::Formula`].
    pub eps: f64,
    /// The smallest factor. At least 0.
    pub min_update: f64,
    /// The largest factor in [`Scale`](LarcMode::Scale) mode, greater than 0; none by default. mxnet's is 100,
    /// composer's 1.
    pub max_update: Option<f64>,
    /// A floor for both norms in the ratio: a smaller norm counts as this one. At least 0; 0 in every other system but
    /// optax's `scale_by_trust_ratio`.
    ///
    /// At 0, a layer of *tiny* weights hardly learns, although a layer of zeros does: from weights of 10⁻³⁰, the first
    /// thousands of steps are just as small, and a single weight that has to cross zero gets stuck there. 10⁻³ fixes
    /// this.
    pub min_norm: f64,
    /// What happens to a layer whose weights or gradient are zero.
    pub zero_norm: ZeroNorm,
    /// How the ratio accounts for weight decay.
    pub decay_in_ratio: DecayInRatio,
    /// Whether layers without weight decay are exempt from adaptation, as in timm and bolts. In front of NovoGrad and
    /// Adam a decay counts in whatever way it acts.
    pub only_with_decay: bool,
}

/// What LARC's factor does to the learning rate: `Clip`, the default, is LARC, and `Scale` is LARS.
///
/// In [`Clip`](LarcMode::Clip) mode the learning rate is an upper limit: if in doubt, choose it too large.
///
/// With momentum, either never raise that rate, or set [`rate_in_momentum`](crate::SgdConfig::rate_in_momentum) or
/// [`luc`](crate::SgdConfig::luc), a limit of the step. Otherwise a rising rate, as in a warm-up or after a restart,
/// multiplies momentum from gradients that LARC did not need to reduce at the lower rate:
///
/// ```
/// use layerwise::norms::l2_norm;
/// use layerwise::settings::Luc;
/// use layerwise::{LarcConfig, LayerMemory, Sgd, SgdConfig, SgdState};
///
/// // How far the second step moves the weights, relative to their norm, if the rate rises from 0 to 0.1.
/// let moved = |rate_in_momentum, luc| {
///     let larc = Some(LarcConfig::DEFAULT);
///     let sgd = Sgd::new(SgdConfig { momentum: 0.9, rate_in_momentum, luc, larc, ..SgdConfig::DEFAULT }).unwrap();
///     let (mut weights, mut momentum, mut state) = ([0.3, 0.4], [0.0; 2], SgdState::default());
///     for lr in [0.0, 0.1] {
///         let layer = LayerMemory::new(&mut weights, &[30.0, 40.0], &mut state).momentum(&mut momentum);
///         sgd.step_layer(lr, layer).unwrap();
///     }
///     l2_norm(&[weights[0] - 0.3, weights[1] - 0.4]) / l2_norm(&[0.3, 0.4])
/// };
/// assert!(moved(false, None) > 9.0);
/// assert!(moved(true, None) < 0.00201);
/// let luc = Luc { trust: 0.02, ..Luc::DEFAULT };
/// assert!(moved(false, Some(luc)) < 1.01 * luc.trust);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum LarcMode {
    /// The effective rate is the smaller of the learning rate and the local rate: LARC.
    Clip,
    /// The effective rate is the product of the learning rate and the local rate: LARS. It diverges easily if the rate
    /// is large.
    Scale,
}

/// What happens to a layer whose weights or gradient are zero, so that the ratio is meaningless; the plain step by
/// default.
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
    /// No special case, as in OpenSeq2Seq: a zero-initialised layer starts at `min_update` times the learning rate.
    Formula,
}

/// How LARC's ratio accounts for weight decay; `SumOfNorms` by default.
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
    /// layers of zeros:
    ///
    /// ```
    /// use layerwise::settings::{DecayInRatio, LarcMode, ZeroNorm};
    /// use layerwise::LarcConfig;
    ///
    /// let default = LarcConfig {
    ///     mode: LarcMode::Clip,
    ///     eta: 0.002,
    ///     eps: 1e-8,
    ///     min_update: 0.0,
    ///     max_update: None,
    ///     min_norm: 0.0,
    ///     zero_norm: ZeroNorm::PlainStep,
    ///     decay_in_ratio: DecayInRatio::SumOfNorms,
    ///     only_with_decay: false,
    /// };
    /// assert_eq!(LarcConfig::DEFAULT, default);
    /// ```
    pub const DEFAULT: LarcConfig = LarcConfig {
        mode: LarcMode::Clip,
        eta: 0.002,
        eps: 1e-8,
        min_update: 0.0,
        max_update: None,
        min_norm: 0.0,
        zero_norm: ZeroNorm::PlainStep,
        decay_in_ratio: DecayInRatio::SumOfNorms,
        only_with_decay: false,
    };

    pub(crate) const fn check(&self) -> Result<(), ConfigError> {
        check!(ConfigError::unless_positive("larc.eta", self.eta));
        check!(ConfigError::unless_non_negative("larc.eps", self.eps));
        if matches!(self.zero_norm, ZeroNorm::Formula) {
            check!(ConfigError::unless_positive("larc.eps", self.eps));
        }
        check!(ConfigError::unless_non_negative("larc.min_update", self.min_update));
        if let Some(max) = self.max_update {
            check!(ConfigError::unless_positive("larc.max_update", max));
        }
        ConfigError::unless_non_negative("larc.min_norm", self.min_norm)
    }
}

impl Default for LarcConfig {
    fn default() -> Self {
        LarcConfig::DEFAULT
    }
}

/// Layer-wise adaptive rate control: a factor for the gradient of a layer, in front of any optimizer.
///
/// [`Sgd`](crate::Sgd) takes its settings in [`SgdConfig::larc`](crate::SgdConfig::larc). For your own optimizer,
/// [`factor`](Larc::factor) gives the number and [`scale_gradients`](Larc::scale_gradients) applies it. The formula and
/// the default numbers are at [`LarcConfig`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Larc {
    config: LarcConfig,
}

/// What LARC decides for a layer: its gradient becomes `factor·(g + decay·w)`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LarcFactor {
    /// What gradient and decay are multiplied by.
    pub factor: f64,
    /// The weight decay to apply: the given decay, or 0 if LARC turns it off.
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

    /// The norms that [`factor`](Larc::factor) needs for a layer with this weight decay.
    pub fn needs(&self, decay: f64) -> Needs {
        self.config.needs(decay)
    }

    /// The factor for a layer with these norms, at learning rate `lr` and weight decay `decay`.
    ///
    /// A number that is negative, infinite or NaN makes the factor NaN.
    ///
    /// ```
    /// use layerwise::rule::Norms;
    /// use layerwise::{Larc, LarcConfig};
    ///
    /// let larc = Larc::new(LarcConfig { eps: 0.0, ..LarcConfig::DEFAULT })?;
    /// // The local rate is 0.002·5/10 = 0.001, a tenth of the learning rate.
    /// let decision = larc.factor(0.01, 0.0, &Norms::new(10.0, 5.0));
    /// assert!((decision.factor - 0.1).abs() < 1e-12 && decision.clipped);
    /// # Ok::<(), layerwise::ConfigError>(())
    /// ```
    #[must_use]
    pub fn factor(&self, lr: f64, decay: f64, norms: &Norms) -> LarcFactor {
        if ![lr, decay, norms.gradient, norms.weights].into_iter().all(is_non_negative) {
            return LarcFactor { factor: f64::NAN, ..LarcFactor::plain(decay) };
        }
        if self.config.exempts(decay) { LarcFactor::plain(decay) } else { self.config.factor(lr, decay, norms) }
    }
}

impl LarcFactor {
    /// The factor of a layer without LARC.
    const fn plain(decay: f64) -> LarcFactor {
        LarcFactor { factor: 1.0, decay, clipped: false }
    }
}

impl LarcConfig {
    /// The norms that [`factor`](LarcConfig::factor) needs.
    #[inline]
    pub(super) fn needs(&self, decay: f64) -> Needs {
        match self.decay_in_ratio {
            DecayInRatio::NormOfSum if !is_zero(decay) => {
                Needs::GRADIENT.weights().gradient(GradientNorm::L2WithDecay(decay))
            }
            _ => Needs::GRADIENT.weights(),
        }
    }

    /// The factor of a layer, with LARC or without. `decay` is its weight decay, in whatever way it acts; `added` is the
    /// part of it that is added to the gradient.
    #[inline]
    pub(super) fn of_layer(
        larc: &Option<LarcConfig>,
        layer: &LayerConfig,
        lr: f64,
        [decay, added]: [f64; 2],
        norms: &Norms,
    ) -> LarcFactor {
        match layer.adapted(larc) {
            Some(larc) if !larc.exempts(decay) => larc.factor(lr, added, norms),
            _ => LarcFactor::plain(added),
        }
    }

    /// Whether a layer with this weight decay, in whatever way it acts, is exempt from adaptation.
    #[inline]
    fn exempts(&self, decay: f64) -> bool {
        self.only_with_decay && is_zero(decay)
    }

    /// The factor of a layer that is not exempt, of numbers that are finite and at least 0. `decay` is the part of the
    /// weight decay that is added to the gradient.
    #[inline]
    fn factor(&self, lr: f64, decay: f64, norms: &Norms) -> LarcFactor {
        let plain = LarcFactor::plain(decay);
        let weights = at_least(norms.weights, self.min_norm);
        let gradient = at_least(norms.gradient, self.min_norm);
        let denominator = match self.decay_in_ratio {
            DecayInRatio::SumOfNorms => add(gradient, mul(weights, decay)),
            DecayInRatio::No | DecayInRatio::NormOfSum => gradient,
        };
        match self.zero_norm {
            ZeroNorm::PlainStep if is_zero(weights) || is_zero(gradient) => return plain,
            ZeroNorm::PlainStepWithoutDecay if is_zero(weights) || is_zero(gradient) => {
                return LarcFactor { decay: 0.0, ..plain };
            }
            ZeroNorm::PlainStepUnlessDecaying if is_zero(weights) || is_zero(denominator) => return plain,
            _ => {}
        }
        let local = self.eta * weights / (denominator + self.eps);
        match self.mode {
            LarcMode::Scale => {
                let factor = at_least(local, self.min_update);
                let factor = self.max_update.filter(|max| *max < factor).unwrap_or(factor);
                LarcFactor { factor, ..plain }
            }
            LarcMode::Clip if is_zero(lr) => plain,
            LarcMode::Clip => {
                let factor = at_least(local / lr, self.min_update);
                if less(factor, 1.0) { LarcFactor { factor, clipped: true, ..plain } } else { plain }
            }
        }
    }
}

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
