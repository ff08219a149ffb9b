//! Stochastic gradient descent, plain or with momentum, with or without LARC.
//!
//! ```text
//! h = factor·(g + decay·w)
//! m = momentum·m + (1 − dampening)·h
//! w = w − lr·m                or, Nesterov,  w = w − lr·(h + momentum·m)
//! ```

use crate::error::{ConfigError, check};
use crate::{GradientNorm, Larc, LarcFactor, Layer, Needs, Norms, Optimizer, Plan, Rule, Update};

/// Settings of [`Sgd`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields, remote = "Self"))]
pub struct SgdConfig {
    /// How much of the momentum is kept from step to step, at least 0 and less than 1. At 0 there is no momentum and
    /// layers need no memory for it.
    pub momentum: f64,
    /// How much of the gradient is kept out of the momentum, at least 0 and less than 1.
    pub dampening: f64,
    /// Whether the very first gradient is dampened too. It is not in torch, where the momentum starts as the gradient.
    pub dampen_first_step: bool,
    /// Whether the step looks ahead along the momentum.
    pub nesterov: bool,
    /// L2 regularisation: this times the weights is added to the gradient. At least 0.
    pub weight_decay: f64,
    /// Whether the learning rate is part of the momentum, as in the LARS paper, optax and TensorFlow.
    pub rate_in_momentum: bool,
    /// Whether to ascend the gradient instead.
    pub maximize: bool,
    /// Layer-wise adaptation of the rate.
    pub larc: Option<Larc>,
}

impl SgdConfig {
    /// Plain gradient descent: no momentum, no decay, no adaptation.
    pub const DEFAULT: SgdConfig = SgdConfig {
        momentum: 0.0,
        dampening: 0.0,
        dampen_first_step: false,
        nesterov: false,
        weight_decay: 0.0,
        rate_in_momentum: false,
        maximize: false,
        larc: None,
    };

    const fn check(&self) -> Result<(), ConfigError> {
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

/// Stochastic gradient descent, with [`Larc`] if its configuration has one.
///
/// ```
/// use layerwise::{Larc, LarcConfig, Sgd, SgdConfig, SgdState};
///
/// let larc = Larc::new(LarcConfig { eta: 0.002, ..LarcConfig::DEFAULT })?;
/// let sgd = Sgd::new(SgdConfig { momentum: 0.9, larc: Some(larc), ..SgdConfig::DEFAULT })?;
///
/// let (mut weights, mut momentum, mut state) = ([0.3, 0.4], [0.0; 2], SgdState::default());
/// let report = sgd.step_layer(0.1, &mut weights, &[30.0, 40.0], &mut momentum, &mut state).unwrap();
/// assert_eq!((report.gradient_norm, report.clipped), (50.0, true));
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
pub type Sgd = Optimizer<SgdRule>;

/// The rule of [`Sgd`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdRule {
    config: SgdConfig,
}

/// What [`Sgd`] remembers of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
#[repr(C)]
pub struct SgdState {
    /// How many steps the layer has taken. Only the first matters, and only with dampening.
    pub steps: u32,
}

impl Sgd {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// The first setting that is outside its range.
    pub const fn new(config: SgdConfig) -> Result<Self, ConfigError> {
        check!(config.check());
        Ok(Optimizer::from_rule(SgdRule { config }))
    }

    /// The settings.
    pub const fn config(&self) -> &SgdConfig {
        &self.rule.config
    }
}

impl SgdRule {
    fn decay(&self, layer: &Layer) -> f64 {
        if layer.decay { self.config.weight_decay } else { 0.0 }
    }

    fn larc(&self, layer: &Layer) -> Option<&Larc> {
        self.config.larc.as_ref().filter(|_| layer.adapt)
    }

    fn sign(&self) -> f64 {
        if self.config.maximize { -1.0 } else { 1.0 }
    }
}

impl Rule for SgdRule {
    type State = SgdState;

    #[inline]
    fn keeps_momentum(&self) -> bool {
        self.config.momentum != 0.0
    }

    fn allows_clipping(&self) -> bool {
        self.config.larc.is_none()
    }

    #[inline]
    fn needs(&self, layer: &Layer) -> Needs {
        match self.larc(layer) {
            Some(larc) => larc.needs(self.sign() * self.decay(layer)),
            None => Needs { gradient: GradientNorm::L2, weights: false, new_momentum: false },
        }
    }

    #[inline]
    fn plan(&self, lr: f64, layer: &Layer, norms: &Norms, state: &mut SgdState) -> Plan {
        let config = &self.config;
        let decay = self.decay(layer);
        let LarcFactor { factor, decay, clipped } = match self.larc(layer) {
            Some(larc) => larc.factor(lr, decay, norms),
            None => LarcFactor { factor: 1.0, decay, clipped: false },
        };
        let undampened = !self.keeps_momentum() || (state.steps == 0 && !config.dampen_first_step);
        let kept = if undampened { 1.0 } else { 1.0 - config.dampening };
        // The learning rate belongs either to the momentum or to the step, and Nesterov's step takes the undampened h.
        let (rate_in, rate_out) = if config.rate_in_momentum { (lr, 1.0) } else { (1.0, lr) };
        let (rate, direct) =
            if config.nesterov { (rate_out * config.momentum, rate_out / kept) } else { (rate_out, 0.0) };
        state.steps = state.steps.saturating_add(1);
        Plan {
            update: Update {
                gradient: self.sign() * kept * rate_in * factor,
                decay: kept * rate_in * factor * decay,
                momentum: config.momentum,
                rate,
                direct,
                shrink: 0.0,
            },
            factor,
            effective_rate: lr * factor,
            clipped,
        }
    }
}

#[cfg(feature = "serde")]
crate::serde_checked!(SgdConfig);
