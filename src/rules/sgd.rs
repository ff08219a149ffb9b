//! Stochastic gradient descent, plain or with momentum, with or without LARC. [`SgdConfig`] has the formula.

use super::double::{add, div, is_zero, mul};
use super::larc::{LarcConfig, LarcFactor};
use super::layer::LayerConfig;
use super::limit::Luc;
use super::rule::{Moments, Needs, Norms, Plan, Rule, RuleState, StepNorm};
use super::update::Update;
use crate::error::{ConfigError, check};

/// Settings of [`Sgd`](crate::Sgd): stochastic gradient descent, plain or with momentum, with or without LARC.
///
/// ```text
/// h = factor·(g + weight_decay·w)       factor is that of LARC, or 1
/// m = momentum·m + (1 − dampening)·h    in the first step m = h
/// w = w − lr·m                          or, with nesterov, w = w − lr·(h + momentum·m)
/// ```
///
/// With `rate_in_momentum`, `lr` multiplies `h` instead of `m`. By default all numbers are 0 and there is no LARC. With
/// LARC, weight decay of 1e-4 to 5e-4 and momentum 0.9 are usual. Fields may be added: write `..SgdConfig::DEFAULT`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdConfig {
    /// How much of the momentum is kept from step to step, at least 0 and less than 1. At 0 there is no momentum and
    /// layers need no memory for it.
    pub momentum: f64,
    /// The share of the gradient that does not enter the momentum, at least 0 and less than 1.
    pub dampening: f64,
    /// Whether the very first gradient is dampened too. In torch it is not: the momentum starts as the gradient.
    pub dampen_first_step: bool,
    /// Whether the step looks ahead along the momentum.
    pub nesterov: bool,
    /// L2 regularisation: this times the weights is added to the gradient. At least 0.
    pub weight_decay: f64,
    /// Whether the learning rate is part of the momentum, as in the LARS paper, optax and TensorFlow.
    pub rate_in_momentum: bool,
    /// Whether to ascend the gradient instead.
    pub maximize: bool,
    /// Layer-wise adaptation of the rate: LARC or LARS.
    pub larc: Option<LarcConfig>,
    /// A limit of the step by the norm of the weights, after the momentum.
    pub luc: Option<Luc>,
    /// Whether the momentum starts at the raw first gradient instead of 0, as in pytorch_optimizer's LARS before
    /// version 4.
    pub starts_at_gradient: bool,
}

impl SgdConfig {
    /// Plain gradient descent: no momentum, no decay, no adaptation.
    ///
    /// ```
    /// use layerwise::SgdConfig;
    ///
    /// let default = SgdConfig {
    ///     momentum: 0.0,
    ///     dampening: 0.0,
    ///     dampen_first_step: false,
    ///     nesterov: false,
    ///     weight_decay: 0.0,
    ///     rate_in_momentum: false,
    ///     maximize: false,
    ///     larc: None,
    ///     luc: None,
    ///     starts_at_gradient: false,
    /// };
    /// assert_eq!(SgdConfig::DEFAULT, default);
    /// ```
    pub const DEFAULT: SgdConfig = SgdConfig {
        momentum: 0.0,
        dampening: 0.0,
        dampen_first_step: false,
        nesterov: false,
        weight_decay: 0.0,
        rate_in_momentum: false,
        maximize: false,
        larc: None,
        luc: None,
        starts_at_gradient: false,
    };

    pub(crate) const fn check(&self) -> Result<(), ConfigError> {
        if let Some(larc) = &self.larc {
            check!(larc.check());
        }
        if let Some(luc) = &self.luc {
            check!(luc.check());
        }
        check!(ConfigError::unless_fraction("momentum", self.momentum));
        check!(ConfigError::unless_fraction("dampening", self.dampening));
        ConfigError::unless_non_negative("weight_decay", self.weight_decay)
    }
}

impl Default for SgdConfig {
    fn default() -> Self {
        SgdConfig::DEFAULT
    }
}

/// The rule of [`Sgd`](crate::Sgd). You need its name only if your own rule contains it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdRule {
    config: SgdConfig,
    /// `1 − dampening`, precomputed: without `f64` instructions it takes a hundred instructions.
    one_minus_dampening: f64,
}

/// What [`Sgd`](crate::Sgd) remembers about a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct SgdState {
    /// How many steps the layer has taken. The rule only distinguishes the first step from the others, and only with
    /// dampening or [`starts_at_gradient`](SgdConfig::starts_at_gradient).
    pub steps: u32,
}

impl RuleState for SgdState {
    fn to_numbers(self) -> [f64; 3] {
        self.steps.to_numbers()
    }

    fn from_numbers(numbers: [f64; 3]) -> Option<Self> {
        Some(SgdState { steps: u32::from_numbers(numbers)? })
    }
}

impl SgdRule {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// The first setting that is outside its range.
    #[inline(always)]
    pub const fn new(config: SgdConfig) -> Result<Self, ConfigError> {
        check!(config.check());
        Ok(SgdRule { config, one_minus_dampening: 1.0 - config.dampening })
    }

    /// The settings.
    pub const fn config(&self) -> &SgdConfig {
        &self.config
    }

    #[inline]
    fn decay(&self, layer: &LayerConfig) -> f64 {
        mul(self.config.weight_decay, layer.decay)
    }

    /// `x`, or `-x` to ascend the gradient.
    #[inline]
    fn signed(&self, x: f64) -> f64 {
        if self.config.maximize { -x } else { x }
    }
}

impl Rule for SgdRule {
    type State = SgdState;
    const MOMENTS: Moments = Moments::First;

    #[inline]
    fn moments(&self) -> Moments {
        if is_zero(self.config.momentum) { Moments::None } else { Moments::First }
    }

    fn allows_clipping(&self) -> bool {
        self.config.larc.is_none()
    }

    #[inline]
    fn needs(&self, layer: &LayerConfig) -> Needs {
        let larc = layer.adapted(&self.config.larc);
        let needs = larc.map_or(Needs::GRADIENT, |larc| larc.needs(self.signed(self.decay(layer))));
        if layer.adapted(&self.config.luc).is_some() { needs.weights().step(StepNorm::Step) } else { needs }
    }

    #[inline(always)]
    fn plan(&self, lr: f64, layer: &LayerConfig, norms: &Norms, state: SgdState) -> (Plan, SgdState) {
        let config = &self.config;
        let decay = self.decay(layer);
        let LarcFactor { factor, decay, clipped } = LarcConfig::of_layer(&config.larc, layer, lr, [decay; 2], norms);
        let undampened = is_zero(config.momentum) || (state.steps == 0 && !config.dampen_first_step);
        let kept = if undampened { 1.0 } else { self.one_minus_dampening };
        // The learning rate belongs either to the momentum or to the step, and Nesterov's step takes the undampened h.
        let (rate_in, rate_out) = if config.rate_in_momentum { (lr, 1.0) } else { (1.0, lr) };
        // A step whose norm the rule needs is planned at rate 1.
        let rate_out = if layer.adapted(&self.config.luc).is_some() { 1.0 } else { rate_out };
        let (rate, direct) =
            if config.nesterov { (mul(config.momentum, rate_out), div(rate_out, kept)) } else { (rate_out, 0.0) };
        let share = mul(factor, mul(rate_in, kept));
        let mut update = Update {
            gradient: self.signed(share),
            // No product with a decay of 0, so that a constant 0 stays constant.
            decay: if is_zero(decay) { 0.0 } else { mul(share, decay) },
            momentum: config.momentum,
            rate,
            direct,
            shrink: 0.0,
            second: None,
        };
        if config.starts_at_gradient && state.steps == 0 {
            // The old momentum is the first gradient, and Nesterov's step takes `h` without it.
            let whole = add(share, mul(config.momentum, rate_in));
            update.gradient = self.signed(whole);
            if config.nesterov && !is_zero(whole) {
                update.direct = direct * (share / whole);
                update.shrink = (direct - update.direct) * update.decay;
            }
        }
        let plan = Plan::new(update, mul(lr, factor)).factor(factor).clipped(clipped);
        (plan, SgdState { steps: state.steps.saturating_add(1) })
    }

    fn limit(&self, lr: f64, layer: &LayerConfig, norms: &Norms, plan: Plan, step: f64) -> Plan {
        let full = if self.config.rate_in_momentum { 1.0 } else { lr };
        let limit = layer.adapted(&self.config.luc).and_then(|luc| luc.limit(full, norms.weights, step));
        let rate = limit.unwrap_or(full);
        let Update { rate: of_momentum, direct, .. } = plan.update;
        let shrink = mul(plan.update.shrink, rate);
        let update = Update { rate: mul(of_momentum, rate), direct: mul(direct, rate), shrink, ..plan.update };
        let left = if limit.is_some() { plan.effective_rate * (rate / full) } else { plan.effective_rate };
        Plan { update, effective_rate: left, clipped: plan.clipped || limit.is_some(), ..plan }
    }
}
