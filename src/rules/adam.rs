//! Adam, AdamW and LAMB: momentum and a second moment, element by element.

use super::double::{add, div, is_zero, mul, power, sqrt};
use super::larc::{LarcConfig, LarcFactor};
use super::layer::LayerConfig;
use super::limit::Luc;
use super::rule::{Moments, Needs, Norms, Plan, Rule, RuleState, StepNorm};
use super::update::{SecondMoment, Update};
use crate::error::{ConfigError, check};

/// Settings of [`Adam`](crate::Adam): of Adam, AdamW, and with a [`trust_ratio`](AdamConfig::trust_ratio) of LAMB.
///
/// ```text
/// h = g                                            + decay·w, if it is L2
/// m = beta1·m + (1 − beta1)·h
/// v = beta2·v + (1 − beta2)·h·h
/// u = (m / c1) / (√(v / c2 + eps_root) + eps)      + decay·w, if it is in the update
/// w = w − lr·r·u                                   − lr·decay·w, if it is decoupled
///
/// c1 = 1 − beta1ᵗ, c2 = 1 − beta2ᵗ                 r = |w| / |u| in LAMB, otherwise 1
/// ```
///
/// `t` counts the steps that the layer has taken. By default `beta1` is 0.9, `beta2` 0.999, `eps` 1e-8, the decay 0 and
/// decoupled, and there is no trust ratio: Adam. AdamW is [`TORCH_ADAMW`](AdamConfig::TORCH_ADAMW), LAMB
/// [`TIMM_LAMB`](AdamConfig::TIMM_LAMB) or [`OPTAX_LAMB`](AdamConfig::OPTAX_LAMB);
/// [`DEFAULT`](AdamConfig::DEFAULT) has the other settings. Fields may be added: write `..AdamConfig::DEFAULT`.
///
/// A *finite* gradient whose square overflows `f32` would freeze its weight. So a layer whose gradient has a norm above
/// 1.8·10¹⁹ is skipped and reported as [`OutOfRange`](crate::Outcome::OutOfRange). With [`L2`](AdamDecay::L2) decay,
/// `decay·w` can do the same for weights above 10¹⁹. That is not checked, because it needs the norm of the weights.
///
/// Sources: Kingma and Ba, *Adam* (arXiv 1412.6980); Loshchilov and Hutter, *Decoupled Weight Decay Regularization*
/// (arXiv 1711.05101); You et al., *Large Batch Optimization for Deep Learning: Training BERT in 76 minutes* (arXiv
/// 1904.00962).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    /// How much of the momentum is kept from step to step, at least 0 and less than 1; 0.9 by default.
    pub beta1: f64,
    /// How much of the second moment is kept from step to step, at least 0 and less than 1; 0.999 by default.
    pub beta2: f64,
    /// A term added to the root of the second moment. At least 0; 10⁻⁸ by default.
    pub eps: f64,
    /// A term added to the second moment under the root. At least 0; 0 by default.
    pub eps_root: f64,
    /// Weight decay: how strongly weights are pulled to zero. At least 0; 0 by default.
    pub weight_decay: f64,
    /// How the decay acts; decoupled by default.
    pub decay_mode: AdamDecay,
    /// How the moments' start from zero is corrected; both moments by default.
    pub bias_correction: AdamCorrection,
    /// Whether new gradients enter the momentum with the weight `1 − beta1`, which is the default, or with weight 1.
    pub grad_averaging: bool,
    /// LAMB's trust ratio.
    pub trust_ratio: Option<TrustRatio>,
    /// LARC in front of the rule: `h = factor·(g + decay·w)`, where `decay` is 0 unless the decay mode is L2.
    pub larc: Option<LarcConfig>,
    /// A limit of the step.
    pub luc: Option<Luc>,
    /// Whether to ascend the gradient instead.
    pub maximize: bool,
}

/// How weight decay acts in [`Adam`](crate::Adam); decoupled by default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AdamDecay {
    /// It is added to the gradient and so enters both moments: Adam with L2 regularisation.
    L2,
    /// It is added to the step `u`, before LAMB's ratio. A LAMB layer without gradient then shrinks by the share
    /// `lr` per step, whatever the decay: its step is decay alone, and the ratio scales it to the norm of the weights.
    InUpdate,
    /// Weights shrink by `lr·decay` in addition to the step: AdamW.
    Decoupled,
    /// Weights shrink by `lr²/max_rate·decay` in addition to the step: timm's "corrected" decay.
    Corrected {
        /// The largest learning rate of the schedule. Greater than 0.
        max_rate: f64,
    },
    /// Weights shrink by `decay` in addition to the step, whatever the learning rate.
    Fixed,
}

impl AdamDecay {
    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        match self {
            AdamDecay::Corrected { max_rate } => ConfigError::unless_positive("decay_mode.max_rate", *max_rate),
            _ => Ok(()),
        }
    }
}

/// How Adam's moments, which begin at zero, are corrected in the first steps; both by default.
///
/// `c1` is `1 − beta1ᵗ` and `c2` is `1 − beta2ᵗ`, where `t` counts the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum AdamCorrection {
    /// Not at all.
    Off,
    /// Both moments are divided by their correction: `m / c1` and `v / c2`.
    Moments,
    /// The learning rate is divided by `c1`, outside LAMB's ratio; the second moment is not corrected
    /// (pytorch_optimizer's LAMB).
    Rate,
    /// The step is multiplied by `√c2 / c1`, so eps is added before the correction (TensorFlow).
    TensorFlow,
}

/// LAMB's trust ratio, of the norms of weights and step: with it, the norm of a step is that of the weights times the
/// learning rate.
///
/// ```text
/// r = min(|w|, max_weights) / (|u| + eps), at most max_ratio        1 if either norm is 0
/// ```
///
/// With a decay in addition to the step, `|w|` is the norm after the decay. By default `eps` is 0 and there are no
/// limits. It belongs in [`AdamConfig::trust_ratio`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrustRatio {
    /// A term added to the norm of the step. At least 0; 0 by default.
    pub eps: f64,
    /// A cap on the norm of the weights. Greater than 0; none by default.
    pub max_weights: Option<f64>,
    /// The largest ratio. Greater than 0; none by default.
    pub max_ratio: Option<f64>,
    /// Whether layers without weight decay are exempt, as in timm and apex.
    pub only_with_decay: bool,
}

impl TrustRatio {
    /// The ratio of the paper, for all layers:
    ///
    /// ```
    /// use layerwise::settings::TrustRatio;
    ///
    /// let default = TrustRatio { eps: 0.0, max_weights: None, max_ratio: None, only_with_decay: false };
    /// assert_eq!(TrustRatio::DEFAULT, default);
    /// ```
    pub const DEFAULT: TrustRatio = TrustRatio { eps: 0.0, max_weights: None, max_ratio: None, only_with_decay: false };

    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        check!(ConfigError::unless_non_negative("trust_ratio.eps", self.eps));
        if let Some(max) = self.max_weights {
            check!(ConfigError::unless_positive("trust_ratio.max_weights", max));
        }
        if let Some(max) = self.max_ratio {
            check!(ConfigError::unless_positive("trust_ratio.max_ratio", max));
        }
        Ok(())
    }

    /// The ratio for these norms.
    #[inline]
    fn ratio(&self, weights: f64, step: f64) -> f64 {
        let smaller = |x: f64, max: Option<f64>| max.filter(|max| x > *max).unwrap_or(x);
        let weights = smaller(weights, self.max_weights);
        if is_zero(weights) || is_zero(step) {
            return 1.0;
        }
        smaller(weights / (step + self.eps), self.max_ratio)
    }
}

impl Default for TrustRatio {
    fn default() -> Self {
        TrustRatio::DEFAULT
    }
}

impl AdamConfig {
    /// Adam as in its paper and torch, with no decay:
    ///
    /// ```
    /// use layerwise::AdamConfig;
    /// use layerwise::settings::{AdamCorrection, AdamDecay};
    ///
    /// let default = AdamConfig {
    ///     beta1: 0.9,
    ///     beta2: 0.999,
    ///     eps: 1e-8,
    ///     eps_root: 0.0,
    ///     weight_decay: 0.0,
    ///     decay_mode: AdamDecay::Decoupled,
    ///     bias_correction: AdamCorrection::Moments,
    ///     grad_averaging: true,
    ///     trust_ratio: None,
    ///     larc: None,
    ///     luc: None,
    ///     maximize: false,
    /// };
    /// assert_eq!(AdamConfig::DEFAULT, default);
    /// ```
    pub const DEFAULT: AdamConfig = AdamConfig {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        eps_root: 0.0,
        weight_decay: 0.0,
        decay_mode: AdamDecay::Decoupled,
        bias_correction: AdamCorrection::Moments,
        grad_averaging: true,
        trust_ratio: None,
        larc: None,
        luc: None,
        maximize: false,
    };

    pub(crate) const fn check(&self) -> Result<(), ConfigError> {
        check!(ConfigError::unless_fraction("beta1", self.beta1));
        check!(ConfigError::unless_fraction("beta2", self.beta2));
        check!(ConfigError::unless_non_negative("eps", self.eps));
        check!(ConfigError::unless_non_negative("eps_root", self.eps_root));
        check!(ConfigError::unless_non_negative("weight_decay", self.weight_decay));
        check!(self.decay_mode.check());
        if let Some(ratio) = &self.trust_ratio {
            check!(ratio.check());
        }
        if let Some(larc) = &self.larc {
            check!(larc.check());
        }
        if let Some(luc) = &self.luc {
            check!(luc.check());
        }
        Ok(())
    }
}

impl Default for AdamConfig {
    fn default() -> Self {
        AdamConfig::DEFAULT
    }
}

/// The square root of the largest `f32`.
const LARGEST_ROOT: f64 = 1.844_674_352_395_373e19;

/// The rule of [`Adam`](crate::Adam).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamRule {
    config: AdamConfig,
    /// `1 − beta1`, in `f64`.
    one_minus_beta1: f64,
}

/// What [`Adam`](crate::Adam) remembers about a layer besides its moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub struct AdamState {
    /// How many steps the layer has taken.
    pub steps: u32,
}

impl RuleState for AdamState {
    fn to_numbers(self) -> [f64; 3] {
        self.steps.to_numbers()
    }

    fn from_numbers(numbers: [f64; 3]) -> Option<Self> {
        Some(AdamState { steps: u32::from_numbers(numbers)? })
    }
}

impl AdamRule {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// The first setting that is outside its range.
    #[inline(always)]
    pub const fn new(config: AdamConfig) -> Result<Self, ConfigError> {
        check!(config.check());
        Ok(AdamRule { config, one_minus_beta1: 1.0 - config.beta1 })
    }

    /// The settings.
    pub const fn config(&self) -> &AdamConfig {
        &self.config
    }

    fn trust_ratio(&self, layer: &LayerConfig) -> Option<&TrustRatio> {
        let exempt = |ratio: &&TrustRatio| ratio.only_with_decay && is_zero(self.decay(layer));
        layer.adapted(&self.config.trust_ratio).filter(|ratio| !exempt(ratio))
    }

    fn decay(&self, layer: &LayerConfig) -> f64 {
        mul(self.config.weight_decay, layer.decay)
    }

    /// The decay that is added to the gradient.
    fn l2(&self, layer: &LayerConfig) -> f64 {
        if self.config.decay_mode == AdamDecay::L2 { self.decay(layer) } else { 0.0 }
    }

    /// The share of the weights that is subtracted in addition to the step.
    fn shrink(&self, lr: f64, layer: &LayerConfig) -> f64 {
        let decay = self.decay(layer);
        match self.config.decay_mode {
            AdamDecay::L2 | AdamDecay::InUpdate => 0.0,
            AdamDecay::Decoupled => mul(lr, decay),
            AdamDecay::Corrected { max_rate } => mul(div(mul(lr, lr), max_rate), decay),
            AdamDecay::Fixed => decay,
        }
    }

    fn signed(&self, x: f64) -> f64 {
        if self.config.maximize { -x } else { x }
    }

    /// Whether the rule needs the norm of the step before it is taken. The step is then planned at rate 1.
    fn waits(&self, layer: &LayerConfig) -> bool {
        self.trust_ratio(layer).is_some() || layer.adapted(&self.config.luc).is_some()
    }
}

impl Rule for AdamRule {
    type State = AdamState;
    const MOMENTS: Moments = Moments::FirstAndSecond;

    fn allows_clipping(&self) -> bool {
        self.config.larc.is_none()
    }

    #[inline]
    fn needs(&self, layer: &LayerConfig) -> Needs {
        let larc = layer.adapted(&self.config.larc);
        let needs = larc.map_or(Needs::GRADIENT, |larc| larc.needs(self.signed(self.l2(layer))));
        if self.waits(layer) { needs.weights().step(StepNorm::Step) } else { needs }
    }

    #[inline]
    fn plan(&self, lr: f64, layer: &LayerConfig, norms: &Norms, state: AdamState) -> (Plan, AdamState) {
        let config = &self.config;
        let steps = state.steps.saturating_add(1);
        let decays = [self.decay(layer), self.l2(layer)];
        let LarcFactor { factor, decay: l2, clipped } = LarcConfig::of_layer(&config.larc, layer, lr, decays, norms);
        let shrink = self.shrink(lr, layer);
        let c1 = || 1.0 - power(config.beta1, steps);
        let c2 = || 1.0 - power(config.beta2, steps);
        let (of_step, lr, unbias) = match config.bias_correction {
            AdamCorrection::Off => (1.0, lr, 1.0),
            AdamCorrection::Moments => (div(1.0, c1()), lr, div(1.0, c2())),
            AdamCorrection::Rate => (1.0, div(lr, c1()), 1.0),
            AdamCorrection::TensorFlow => (div(sqrt(c2()), c1()), lr, 1.0),
        };
        let in_update = if config.decay_mode == AdamDecay::InUpdate { self.decay(layer) } else { 0.0 };
        let waits = self.waits(layer);
        // No plan if squares overflow f32: the second moment would stay infinite.
        let of_step = if mul(norms.gradient, factor) > LARGEST_ROOT { f64::NAN } else { of_step };
        let update = Update {
            gradient: self.signed(factor),
            decay: mul(factor, l2),
            momentum: config.beta1,
            rate: if waits { of_step } else { mul(of_step, lr) },
            direct: 0.0,
            shrink: if waits { in_update } else { add(mul(in_update, lr), shrink) },
            second: Some(SecondMoment {
                share: if config.grad_averaging { self.one_minus_beta1 } else { 1.0 },
                keep: config.beta2,
                unbias,
                eps_root: config.eps_root,
                eps: config.eps,
            }),
        };
        (Plan::new(update, lr).factor(factor).clipped(clipped), AdamState { steps })
    }

    #[inline]
    fn limit(&self, lr: f64, layer: &LayerConfig, norms: &Norms, plan: Plan, step: f64) -> Plan {
        let shrink = self.shrink(lr, layer);
        // The ratio uses the norm of the weights after a decay that acts in addition to the step.
        let weights = mul(norms.weights, (1.0 - shrink).abs());
        let ratio = self.trust_ratio(layer).map_or(1.0, |ratio| ratio.ratio(weights, step));
        let mut rate = mul(plan.effective_rate, ratio);
        let limit = layer.adapted(&self.config.luc).and_then(|luc| luc.limit(rate, norms.weights, step));
        rate = limit.unwrap_or(rate);
        let Update { rate: of_step, shrink: in_update, .. } = plan.update;
        let update = Update { rate: mul(of_step, rate), shrink: add(mul(in_update, rate), shrink), ..plan.update };
        Plan { update, factor: plan.factor, effective_rate: rate, clipped: plan.clipped || limit.is_some() }
    }
}
