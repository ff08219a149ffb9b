//! NovoGrad: momentum of gradients that are normalised layer by layer. [`NovoGradConfig`] has the formula.

use super::double::{self, add, div, is_zero, less, mul, power};
use super::larc::{LarcConfig, LarcFactor};
use super::layer::LayerConfig;
use super::limit::Luc;
use super::rule::{GradientNorm, Moments, Needs, Norms, Plan, Rule, RuleState, StepNorm};
use super::update::Update;
use crate::error::{ConfigError, check, is_non_negative};

/// Settings of [`NovoGrad`](crate::NovoGrad): momentum of gradients that are normalised layer by layer.
///
/// ```text
/// v = beta2·v + (1 − beta2)·|g|²               one number per layer; v = |g|² in the first step
/// m = beta1·m + (g / (√v + eps) + weight_decay·w)
/// w = w − lr·m
/// ```
///
/// By default `beta1` is 0.95, `beta2` 0.98, `eps` 1e-8 and `weight_decay` 0; [`DEFAULT`](NovoGradConfig::DEFAULT) has
/// the other settings. Fields may be added: write `..NovoGradConfig::DEFAULT`.
///
/// Sources: Ginsburg et al., *Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training of Deep
/// Networks* (arXiv 1905.11286), and the page "Optimizers" of NVIDIA's OpenSeq2Seq.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NovoGradConfig {
    /// How much of the momentum is kept from step to step, at least 0 and less than 1. At 0 there is no momentum and
    /// layers need no memory for it.
    pub beta1: f64,
    /// How much of the second moment is kept from step to step, at least 0 and less than 1. At 0 every gradient is
    /// divided by its own norm, which is what OpenSeq2Seq's code in fact does.
    pub beta2: f64,
    /// A term added to the root of the second moment. At least 0.
    pub eps: f64,
    /// A term added to the second moment under the root. At least 0.
    pub eps_root: f64,
    /// Weight decay: how strongly weights are pulled to zero. At least 0.
    pub weight_decay: f64,
    /// How the decay acts.
    pub decay_mode: DecayMode,
    /// How the second moment begins.
    pub v_init: VInit,
    /// Whether new gradients enter the momentum with the weight `1 − beta1`.
    pub gradient_averaging: GradientAveraging,
    /// Whether the largest second moment so far is used.
    pub amsgrad: bool,
    /// LARC in front of the rule: its factor multiplies the gradient that NovoGrad sees, so the second moment is of
    /// `factor·|g|`. The decay is NovoGrad's, and not part of LARC's ratio. Not allowed with [`MomentNorm::Max`].
    pub larc: Option<LarcConfig>,
    /// A limit of the step by the norm of the weights, after the momentum.
    pub luc: Option<Luc>,
    /// Whether the momentum begins at the first normalised gradient instead of 0, so that the first step is
    /// `(1 + beta1)` times as long (without gradient averaging), as in pytorch_optimizer 3.
    pub starts_at_gradient: bool,
    /// How the moments' start from zero is corrected.
    pub bias_correction: BiasCorrection,
    /// Which norm of the gradient is averaged.
    pub norm: MomentNorm,
    /// Whether the momentum accumulates raw gradients and is normalised when applied, which is apex's default. Decay is
    /// then always decoupled.
    pub raw_momentum: bool,
    /// Whether the learning rate is part of the momentum, as in TensorFlow Addons.
    pub rate_in_momentum: bool,
    /// Whether to ascend the gradient instead.
    pub maximize: bool,
}

/// How weight decay acts in [`NovoGrad`](crate::NovoGrad); coupled by default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DecayMode {
    /// It is added to the normalised gradient and so enters the momentum.
    Coupled,
    /// Weights shrink by `lr·decay` in addition to the step.
    Decoupled,
    /// Weights shrink by `lr²/max_rate·decay` in addition to the step: timm's "corrected" decay.
    Corrected {
        /// The largest learning rate of the schedule. Greater than 0.
        max_rate: f64,
    },
    /// Weights shrink by `decay` in addition to the step, whatever the learning rate.
    Fixed,
}

impl DecayMode {
    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        match self {
            DecayMode::Corrected { max_rate } => ConfigError::unless_positive("decay_mode.max_rate", *max_rate),
            _ => Ok(()),
        }
    }
}

/// How NovoGrad's second moment starts; `WhileZero` by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum VInit {
    /// While it is zero, it is set to the squared norm: zero gradients at the start do not count.
    WhileZero,
    /// It is set to the squared norm of the first gradient, even if that is zero.
    FirstStep,
    /// It starts at zero, and the first gradient is averaged in.
    Zero,
}

/// Whether new gradients enter the momentum with the weight `1 − beta1`; off by default. In text, `true` is `On` and
/// `false` is `Off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradientAveraging {
    /// They enter with weight 1.
    Off,
    /// They enter with the weight `1 − beta1`.
    On,
    /// They enter with the weight `1 − beta1`, except the first.
    AfterFirstStep,
}

/// How the moments, which begin at zero, are corrected in the first steps; off by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum BiasCorrection {
    /// Not at all.
    Off,
    /// At step `t` the momentum is divided by `1 − beta1ᵗ` and the root of the second moment by `√(1 − beta2ᵗ)`, as in
    /// apex.
    Moments,
    /// At step `t` the learning rate of the step is multiplied by `√(1 − beta2ᵗ)`, as in pytorch_optimizer. A decay in
    /// addition to the step uses the given rate.
    StepSize,
    /// At step `t` the learning rate of the step is multiplied by `√(1 − beta2ᵗ) / (1 − beta1ᵗ)`, as in
    /// pytorch_optimizer 3. A decay in addition to the step uses the given rate.
    Rate,
}

/// Which norm of the gradient NovoGrad averages; the L2 norm by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum MomentNorm {
    /// The square of the L2 norm; its root normalises.
    L2,
    /// The maximum norm itself, as in apex with `norm_type` 0; no root is taken.
    Max,
}

impl NovoGradConfig {
    /// The defaults of the OpenSeq2Seq page, with no weight decay:
    ///
    /// ```
    /// use layerwise::settings::{BiasCorrection, DecayMode, GradientAveraging, MomentNorm, VInit};
    /// use layerwise::NovoGradConfig;
    ///
    /// let default = NovoGradConfig {
    ///     beta1: 0.95,
    ///     beta2: 0.98,
    ///     eps: 1e-8,
    ///     eps_root: 0.0,
    ///     weight_decay: 0.0,
    ///     decay_mode: DecayMode::Coupled,
    ///     v_init: VInit::WhileZero,
    ///     gradient_averaging: GradientAveraging::Off,
    ///     amsgrad: false,
    ///     larc: None,
    ///     luc: None,
    ///     starts_at_gradient: false,
    ///     bias_correction: BiasCorrection::Off,
    ///     norm: MomentNorm::L2,
    ///     raw_momentum: false,
    ///     rate_in_momentum: false,
    ///     maximize: false,
    /// };
    /// assert_eq!(NovoGradConfig::DEFAULT, default);
    /// ```
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
        larc: None,
        luc: None,
        starts_at_gradient: false,
        bias_correction: BiasCorrection::Off,
        norm: MomentNorm::L2,
        raw_momentum: false,
        rate_in_momentum: false,
        maximize: false,
    };

    pub(crate) const fn check(&self) -> Result<(), ConfigError> {
        check!(ConfigError::unless_fraction("beta1", self.beta1));
        check!(ConfigError::unless_fraction("beta2", self.beta2));
        check!(ConfigError::unless_non_negative("eps", self.eps));
        check!(ConfigError::unless_non_negative("eps_root", self.eps_root));
        check!(ConfigError::unless_non_negative("weight_decay", self.weight_decay));
        check!(self.decay_mode.check());
        if let Some(larc) = &self.larc {
            check!(larc.check());
            if matches!(self.norm, MomentNorm::Max) {
                // LARC's ratio needs the L2 norm, and only one norm of the gradient is measured.
                return Err(ConfigError { setting: "larc", value: larc.eta, allowed: "unset: `norm` is the maximum" });
            }
        }
        if let Some(luc) = &self.luc {
            check!(luc.check());
        }
        Ok(())
    }
}

impl Default for NovoGradConfig {
    fn default() -> Self {
        NovoGradConfig::DEFAULT
    }
}

/// The rule of [`NovoGrad`](crate::NovoGrad). You need its name only if your own rule contains it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NovoGradRule {
    config: NovoGradConfig,
    /// `1 − beta1` and `1 − beta2`, in `f64`: rounding a beta to `f32` first would spoil the fifth digit.
    one_minus_beta1: f64,
    one_minus_beta2: f64,
}

/// What [`NovoGrad`](crate::NovoGrad) remembers about a layer. All zeros is the state before the first step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NovoGradState {
    /// The second moment: the moving average of the squared L2 norm of the gradient, or of its maximum norm.
    pub second_moment: f64,
    /// The largest second moment so far; stays 0 without [`amsgrad`](NovoGradConfig::amsgrad).
    pub max_second_moment: f64,
    /// How many steps the layer has taken.
    pub steps: u32,
}

impl RuleState for NovoGradState {
    fn to_numbers(self) -> [f64; 3] {
        [self.second_moment, self.max_second_moment, self.steps.into()]
    }

    fn from_numbers([second_moment, max_second_moment, steps]: [f64; 3]) -> Option<Self> {
        let steps = u32::from_numbers([steps, 0.0, 0.0])?;
        let state = NovoGradState { second_moment, max_second_moment, steps };
        state.is_possible().then_some(state)
    }
}

impl NovoGradState {
    #[cfg(feature = "serde")]
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless_non_negative("second_moment", self.second_moment)?;
        ConfigError::unless_non_negative("max_second_moment", self.max_second_moment)
    }

    /// Whether a step can have produced this state.
    #[inline]
    fn is_possible(&self) -> bool {
        is_non_negative(self.second_moment) && is_non_negative(self.max_second_moment)
    }
}

impl NovoGradRule {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// The first setting that is outside its range.
    #[inline(always)]
    pub const fn new(config: NovoGradConfig) -> Result<Self, ConfigError> {
        check!(config.check());
        let one_minus_beta1 = 1.0 - config.beta1;
        let one_minus_beta2 = 1.0 - config.beta2;
        Ok(NovoGradRule { config, one_minus_beta1, one_minus_beta2 })
    }

    /// The settings.
    pub const fn config(&self) -> &NovoGradConfig {
        &self.config
    }

    /// Updates the state with a gradient norm, and returns the second moment to normalise by: NaN if no step can have
    /// produced the state, or if the new second moment overflows.
    #[inline]
    fn second_moment(&self, gradient_norm: f64, state: &mut NovoGradState) -> f64 {
        if !state.is_possible() {
            return f64::NAN;
        }
        let new = match self.config.norm {
            MomentNorm::L2 => gradient_norm * gradient_norm,
            MomentNorm::Max => gradient_norm,
        };
        let begins = match self.config.v_init {
            VInit::WhileZero => is_zero(state.second_moment),
            VInit::FirstStep => state.steps == 0,
            VInit::Zero => false,
        };
        state.second_moment =
            if begins { new } else { self.config.beta2 * state.second_moment + self.one_minus_beta2 * new };
        // A square that overflows `f64`, from a gradient with a huge scale, would stay in the state.
        if !is_non_negative(state.second_moment) {
            return f64::NAN;
        }
        if !self.config.amsgrad {
            return state.second_moment;
        }
        if less(state.max_second_moment, state.second_moment) {
            state.max_second_moment = state.second_moment;
        }
        state.max_second_moment
    }

    /// What the normalised gradient is multiplied by, the inverse of NovoGrad's denominator; `correction` is apex's.
    #[inline]
    fn factor(&self, second_moment: f64, correction: Option<f64>) -> f64 {
        let config = &self.config;
        let mut root = add(second_moment, config.eps_root);
        if config.norm == MomentNorm::L2 {
            root = double::sqrt(root);
        }
        if let Some(correction) = correction {
            root = div(root, correction);
        }
        let denominator = root + config.eps;
        // A denominator of zero means that every gradient was zero.
        if is_zero(denominator) { 0.0 } else { 1.0 / denominator }
    }

    /// The weight decay of a layer.
    #[inline]
    fn decay(&self, layer: &LayerConfig) -> f64 {
        mul(self.config.weight_decay, layer.decay)
    }

    /// The share of the weights that is added to `h`, and the share that is subtracted from them directly.
    #[inline]
    fn pulls(&self, lr: f64, layer: &LayerConfig) -> (f64, f64) {
        let decay = self.decay(layer);
        match self.config.decay_mode {
            _ if self.config.raw_momentum => (0.0, mul(lr, decay)),
            DecayMode::Coupled => (decay, 0.0),
            DecayMode::Decoupled => (0.0, mul(lr, decay)),
            DecayMode::Corrected { max_rate } => (0.0, mul(div(mul(lr, lr), max_rate), decay)),
            DecayMode::Fixed => (0.0, decay),
        }
    }
}

impl Rule for NovoGradRule {
    type State = NovoGradState;
    const MOMENTS: Moments = Moments::First;

    #[inline]
    fn moments(&self) -> Moments {
        if is_zero(self.config.beta1) { Moments::None } else { Moments::First }
    }

    fn allows_clipping(&self) -> bool {
        self.config.norm == MomentNorm::L2 && self.config.larc.is_none()
    }

    #[inline]
    fn needs(&self, layer: &LayerConfig) -> Needs {
        let gradient = match self.config.norm {
            MomentNorm::L2 => GradientNorm::L2,
            MomentNorm::Max => GradientNorm::Max,
        };
        let needs = Needs::GRADIENT.gradient(gradient);
        let needs = if layer.adapted(&self.config.larc).is_some() { needs.weights() } else { needs };
        if layer.adapted(&self.config.luc).is_some() { needs.weights().step(StepNorm::Momentum) } else { needs }
    }

    #[inline(always)]
    fn plan(&self, lr: f64, layer: &LayerConfig, norms: &Norms, mut state: NovoGradState) -> (Plan, NovoGradState) {
        let config = &self.config;
        let first = state.steps == 0;
        let decays = [self.decay(layer), 0.0];
        let LarcFactor { factor: front, clipped, .. } = LarcConfig::of_layer(&config.larc, layer, lr, decays, norms);
        let second_moment = self.second_moment(mul(norms.gradient, front), &mut state);
        state.steps = state.steps.saturating_add(1);

        // A decay in addition to the step uses the given rate, before the correction below, as in pytorch_optimizer.
        let (coupled, shrink) = self.pulls(lr, layer);
        // What apex divides momentum and second moment by; and pytorch_optimizer's rate.
        let power = |beta| power(beta, state.steps);
        let (correction1, correction2, lr) = match config.bias_correction {
            BiasCorrection::Off => (1.0, None, lr),
            BiasCorrection::Moments => (1.0 - power(config.beta1), Some(double::sqrt(1.0 - power(config.beta2))), lr),
            BiasCorrection::StepSize => (1.0, None, mul(lr, double::sqrt(1.0 - power(config.beta2)))),
            BiasCorrection::Rate => {
                (1.0, None, lr * double::sqrt(1.0 - power(config.beta2)) / (1.0 - power(config.beta1)))
            }
        };
        let factor = self.factor(second_moment, correction2);
        let averages = match config.gradient_averaging {
            GradientAveraging::Off => false,
            GradientAveraging::On => true,
            GradientAveraging::AfterFirstStep => !first,
        };
        // Rate and factor each belong either to the momentum or to the step.
        let (rate_in, rate_out) =
            if config.rate_in_momentum { (lr, div(1.0, correction1)) } else { (1.0, div(lr, correction1)) };
        let (factor_in, factor_out) = if config.raw_momentum { (1.0, factor) } else { (factor, 1.0) };
        let share = if averages { self.one_minus_beta1 } else { 1.0 };
        let share = if first && config.starts_at_gradient { share + config.beta1 } else { share };
        let share = mul(share, rate_in);
        let gradient = mul(mul(factor_in, share), front);
        let update = Update {
            gradient: if config.maximize { -gradient } else { gradient },
            decay: if is_zero(coupled) { 0.0 } else { mul(coupled, share) },
            momentum: config.beta1,
            rate: mul(rate_out, factor_out),
            direct: 0.0,
            shrink,
            second: None,
        };
        (Plan::new(update, mul(lr, front)).factor(mul(factor, front)).clipped(clipped), state)
    }

    fn limit(&self, _: f64, layer: &LayerConfig, norms: &Norms, mut plan: Plan, step: f64) -> Plan {
        let limit = layer.adapted(&self.config.luc).and_then(|luc| luc.limit(plan.update.rate, norms.weights, step));
        if let Some(limit) = limit {
            plan.effective_rate *= limit / plan.update.rate;
            plan.update.rate = limit;
            plan.clipped = true;
        }
        plan
    }
}
