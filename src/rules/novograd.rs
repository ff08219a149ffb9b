//! NovoGrad: momentum of gradients that are normalised layer by layer.
//!
//! ```text
//! v = b2·v + (1 − b2)·|g|²                                one scalar per layer; v = |g|² to begin with
//! m = b1·m + (g / (√v + eps) + decay·w)
//! w = w − lr·m
//! ```
//!
//! Sources: Ginsburg et al., *Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training of Deep Networks*
//! (arXiv 1905.11286), and the page "Optimizers" of NVIDIA's OpenSeq2Seq.

use crate::error::{ConfigError, check, is_non_negative};
use crate::{GradientNorm, Layer, Needs, Norms, Optimizer, Plan, Rule, Update};

/// Settings of [`NovoGrad`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields, remote = "Self"))]
pub struct NovoGradConfig {
    /// How much of the momentum is kept from step to step, at least 0 and less than 1. At 0 there is no momentum and
    /// layers need no memory for it.
    pub beta1: f64,
    /// How much of the second moment is kept from step to step, at least 0 and less than 1. At 0 every gradient is
    /// divided by its own norm, which is what OpenSeq2Seq's code really does.
    pub beta2: f64,
    /// A term added to the root of the second moment. At least 0.
    #[cfg_attr(feature = "serde", serde(rename = "epsilon", alias = "eps"))]
    pub eps: f64,
    /// A term added to the second moment under the root. At least 0.
    pub eps_root: f64,
    /// How strongly weights are pulled to zero. At least 0.
    pub weight_decay: f64,
    /// How the decay acts.
    pub decay_mode: DecayMode,
    /// How the second moment begins.
    pub v_init: VInit,
    /// Whether new gradients enter the momentum with the weight `1 − beta1`.
    pub gradient_averaging: GradientAveraging,
    /// Whether the largest second moment so far is used.
    pub amsgrad: bool,
    /// Layer-wise update clipping, NeMo's limit of a step by the norm of the weights.
    pub luc: Option<Luc>,
    /// Which correction of the moments' start from zero is made.
    pub bias_correction: BiasCorrection,
    /// Which norm of the gradient is averaged.
    pub norm: MomentNorm,
    /// Whether the momentum is of raw gradients, and is normalised when it is applied, as is apex's default. Decay is
    /// then always decoupled.
    pub raw_momentum: bool,
    /// Whether the learning rate is part of the momentum, as in TensorFlow Addons.
    pub rate_in_momentum: bool,
    /// Whether to ascend the gradient instead.
    pub maximize: bool,
}

/// How weight decay acts in [`NovoGrad`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum DecayMode {
    /// It is added to the normalised gradient and so enters the momentum.
    Coupled,
    /// Weights shrink by `lr·decay` beside the step.
    Decoupled,
    /// Weights shrink by `lr²/max_rate·decay` beside the step, timm's "corrected" decay.
    Corrected {
        /// The largest learning rate of the schedule. Greater than 0.
        max_rate: f64,
    },
    /// Weights shrink by `decay` beside the step, whatever the learning rate.
    Fixed,
}

/// How NovoGrad's second moment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum VInit {
    /// It is the squared norm for as long as it is zero: a zero gradient at the start does not count.
    WhileZero,
    /// It is the squared norm of the first gradient, even if that is zero.
    FirstStep,
    /// It is zero, and the first gradient is averaged in.
    Zero,
}

/// Whether new gradients enter the momentum with the weight `1 − beta1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum GradientAveraging {
    /// They enter whole.
    Off,
    /// They do.
    On,
    /// They do, except the first.
    AfterFirstStep,
}

/// How the start of the moments from zero is made good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum BiasCorrection {
    /// Not at all.
    Off,
    /// At step `t` the momentum is divided by `1 − beta1ᵗ` and the root of the second moment by `√(1 − beta2ᵗ)`, as in
    /// apex.
    Moments,
    /// At step `t` the learning rate is multiplied by `√(1 − beta2ᵗ)`, as in pytorch_optimizer.
    StepSize,
}

/// Which norm of the gradient NovoGrad averages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum MomentNorm {
    /// The square of the L2 norm; its root normalises.
    L2,
    /// The maximum norm itself, as in apex with `norm_type` 0; no root is taken.
    Max,
}

/// Layer-wise update clipping: what a step takes of the momentum is at most `trust·|w| / (|m| + eps)`, with the new momentum
/// as it is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub struct Luc {
    /// How much of a layer's weight norm one step may move. Greater than 0.
    pub trust: f64,
    /// A term of the denominator that keeps it from zero. At least 0.
    pub eps: f64,
    /// Whether a layer of zeros stays zero for ever, as it does in NeMo. If not, it takes the plain step.
    pub freezes_zeros: bool,
}

impl Luc {
    /// NeMo's trust of 0.001, and the plain step for layers of zeros.
    pub const DEFAULT: Luc = Luc { trust: 0.001, eps: 1e-8, freezes_zeros: false };
}

impl Default for Luc {
    fn default() -> Self {
        Luc::DEFAULT
    }
}

impl NovoGradConfig {
    /// The defaults of the OpenSeq2Seq page, with no weight decay.
    pub const DEFAULT: NovoGradConfig = NovoGradConfig {
        beta1: 0.95,
        beta2: 0.98,
        eps: 1e-8,
        eps_root: 0.0,
        weight_decay: 0.0,
        decay_mode: DecayMode::Coupled,
        v_init: VInit::WhileZero,
        gradient_averaging: GradientAveraging::Off,
        amsgrad: false,
        luc: None,
        bias_correction: BiasCorrection::Off,
        norm: MomentNorm::L2,
        raw_momentum: false,
        rate_in_momentum: false,
        maximize: false,
    };

    const fn check(&self) -> Result<(), ConfigError> {
        check!(ConfigError::unless_fraction("beta1", self.beta1));
        check!(ConfigError::unless_fraction("beta2", self.beta2));
        check!(ConfigError::unless_non_negative("eps", self.eps));
        check!(ConfigError::unless_non_negative("eps_root", self.eps_root));
        check!(ConfigError::unless_non_negative("weight_decay", self.weight_decay));
        if let DecayMode::Corrected { max_rate } = self.decay_mode {
            check!(ConfigError::unless_positive("max_rate", max_rate));
        }
        if let Some(luc) = &self.luc {
            check!(ConfigError::unless_positive("trust", luc.trust));
            check!(ConfigError::unless_non_negative("eps", luc.eps));
        }
        Ok(())
    }
}

impl Default for NovoGradConfig {
    fn default() -> Self {
        NovoGradConfig::DEFAULT
    }
}

/// NovoGrad. See [`Optimizer::step_layer`] for an example.
pub type NovoGrad = Optimizer<NovoGradRule>;

/// The rule of [`NovoGrad`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NovoGradRule {
    config: NovoGradConfig,
    /// `1 − beta1` and `1 − beta2`, in `f64`: rounding a beta to `f32` first would spoil the fifth digit.
    one_minus_beta1: f64,
    one_minus_beta2: f64,
}

/// What [`NovoGrad`] remembers of a layer. All zeros is the state before the first step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[repr(C)]
pub struct NovoGradState {
    /// The second moment: the moving average of the squared L2 norm of the gradient, or of its maximum norm.
    pub second_moment: f64,
    /// The largest second moment so far; stays 0 without [`amsgrad`](NovoGradConfig::amsgrad).
    pub max_second_moment: f64,
    /// How many steps the layer has taken.
    pub steps: u32,
}

impl NovoGrad {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// The first setting that is outside its range.
    pub const fn new(config: NovoGradConfig) -> Result<Self, ConfigError> {
        check!(config.check());
        let one_minus_beta1 = 1.0 - config.beta1;
        let one_minus_beta2 = 1.0 - config.beta2;
        Ok(Optimizer::from_rule(NovoGradRule { config, one_minus_beta1, one_minus_beta2 }))
    }

    /// The settings.
    pub const fn config(&self) -> &NovoGradConfig {
        &self.rule.config
    }
}

impl NovoGradRule {
    fn luc(&self, layer: &Layer) -> Option<&Luc> {
        self.config.luc.as_ref().filter(|_| layer.adapt)
    }

    /// Takes a gradient norm into the state and returns the second moment to normalise by: NaN if the state is one that no step
    /// has left.
    fn second_moment(&self, gradient_norm: f64, state: &mut NovoGradState) -> f64 {
        if ![state.second_moment, state.max_second_moment].iter().all(|v| is_non_negative(*v)) {
            return f64::NAN;
        }
        let new = match self.config.norm {
            MomentNorm::L2 => gradient_norm * gradient_norm,
            MomentNorm::Max => gradient_norm,
        };
        let begins = match self.config.v_init {
            VInit::WhileZero => state.second_moment == 0.0,
            VInit::FirstStep => state.steps == 0,
            VInit::Zero => false,
        };
        state.second_moment =
            if begins { new } else { self.config.beta2 * state.second_moment + self.one_minus_beta2 * new };
        if !self.config.amsgrad {
            return state.second_moment;
        }
        if state.second_moment > state.max_second_moment {
            state.max_second_moment = state.second_moment;
        }
        state.max_second_moment
    }
}

impl Rule for NovoGradRule {
    type State = NovoGradState;

    #[inline]
    fn keeps_momentum(&self) -> bool {
        self.config.beta1 != 0.0
    }

    fn allows_clipping(&self) -> bool {
        self.config.norm == MomentNorm::L2
    }

    #[inline]
    fn needs(&self, layer: &Layer) -> Needs {
        let gradient = match self.config.norm {
            MomentNorm::L2 => GradientNorm::L2,
            MomentNorm::Max => GradientNorm::Max,
        };
        let limited = self.luc(layer).is_some();
        Needs { gradient, weights: limited, new_momentum: limited }
    }

    #[inline]
    fn plan(&self, lr: f64, layer: &Layer, norms: &Norms, state: &mut NovoGradState) -> Plan {
        let config = &self.config;
        let first = state.steps == 0;
        let second_moment = self.second_moment(norms.gradient, state);
        state.steps = state.steps.saturating_add(1);

        let power = |beta| power(beta, state.steps);
        let (correction1, correction2, lr) = match config.bias_correction {
            BiasCorrection::Off => (1.0, 1.0, lr),
            BiasCorrection::Moments => (1.0 - power(config.beta1), libm::sqrt(1.0 - power(config.beta2)), lr),
            BiasCorrection::StepSize => (1.0, 1.0, lr * libm::sqrt(1.0 - power(config.beta2))),
        };
        let root = match config.norm {
            MomentNorm::L2 => libm::sqrt(second_moment + config.eps_root),
            MomentNorm::Max => second_moment + config.eps_root,
        };
        let denominator = root / correction2 + config.eps;
        // A denominator of zero means that every gradient was zero.
        let factor = if denominator == 0.0 { 0.0 } else { 1.0 / denominator };

        let averages = match config.gradient_averaging {
            GradientAveraging::Off => false,
            GradientAveraging::On => true,
            GradientAveraging::AfterFirstStep => !first,
        };
        let share = if averages { self.one_minus_beta1 } else { 1.0 };
        let decay = if layer.decay { config.weight_decay } else { 0.0 };
        let (coupled, shrink) = match config.decay_mode {
            _ if config.raw_momentum => (0.0, lr * decay),
            DecayMode::Coupled => (decay, 0.0),
            DecayMode::Decoupled => (0.0, lr * decay),
            DecayMode::Corrected { max_rate } => (0.0, lr * lr / max_rate * decay),
            DecayMode::Fixed => (0.0, decay),
        };
        let sign = if config.maximize { -1.0 } else { 1.0 };
        let (rate_in, rate_out) =
            if config.rate_in_momentum { (lr, 1.0 / correction1) } else { (1.0, lr / correction1) };
        let (factor_in, factor_out) = if config.raw_momentum { (1.0, factor) } else { (factor, 1.0) };
        Plan {
            update: Update {
                gradient: sign * share * rate_in * factor_in,
                decay: share * rate_in * coupled,
                momentum: config.beta1,
                rate: rate_out * factor_out,
                direct: 0.0,
                shrink,
            },
            factor,
            effective_rate: lr,
            clipped: false,
        }
    }

    fn limit(&self, _: f64, norms: &Norms, mut plan: Plan, new_momentum_norm: f64) -> Plan {
        let (Some(luc), Some(weights)) = (&self.config.luc, norms.weights) else { return plan };
        let momentum = new_momentum_norm + luc.eps;
        if momentum == 0.0 || (weights == 0.0 && !luc.freezes_zeros) {
            return plan;
        }
        let limit = luc.trust * weights / momentum;
        if limit < plan.update.rate {
            plan.effective_rate *= limit / plan.update.rate;
            plan.update.rate = limit;
            plan.clipped = true;
        }
        plan
    }
}

/// `base` to the power of `exponent`, by squaring: the same bits everywhere, and no logarithm on a microcontroller.
fn power(mut base: f64, mut exponent: u32) -> f64 {
    let mut product = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            product *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    product
}

#[cfg(feature = "serde")]
crate::serde_checked!(NovoGradConfig);
