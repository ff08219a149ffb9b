//! A rule with the crate's kernels.

use crate::error::ConfigError;
use crate::kernel::machine::{Machine, Threads};
use crate::lanes::Backend;
use crate::rules::adam::{AdamConfig, AdamRule};
use crate::rules::any::AnyRule;
use crate::rules::novograd::{NovoGradConfig, NovoGradRule};
use crate::rules::policy::{NonFinite, Policy};
use crate::rules::rule::{Moments, Rule};
use crate::rules::sgd::{SgdConfig, SgdRule};

/// A training step made of a [`Rule`] and the crate's kernels.
///
/// [`Sgd`], [`NovoGrad`] and [`Adam`] are optimizers, each with its `new`; [`any`](Optimizer::any) makes one whose rule
/// is chosen at run time, and [`from_rule`](Optimizer::from_rule) one with your own rule.
/// [`step_layer`](Optimizer::step_layer) updates one layer, and [`step`](Optimizer::step) a model.
///
/// An optimizer is a handful of scalars, which are checked once and never change. It holds no memory of a layer: that
/// belongs to the caller, or to a `Memory` (feature `alloc`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimizer<R> {
    pub(super) rule: R,
    pub(super) policy: Policy,
    /// The instruction set to use, even if the processor has a better one.
    backend: Option<Backend>,
}

/// Stochastic gradient descent, plain or with momentum, with LARC or LARS if its configuration has
/// [`larc`](SgdConfig::larc). Choose LARC where no single learning rate suits all layers, as with large batches: it
/// lowers the rate where it is too large. The formula and the default numbers are at [`SgdConfig`] and
/// [`LarcConfig`](crate::LarcConfig).
///
/// ```
/// use layerwise::{LarcConfig, LayerMemory, Sgd, SgdConfig, SgdState};
///
/// let larc = Some(LarcConfig::DEFAULT);
/// let sgd = Sgd::new(SgdConfig { momentum: 0.9, larc, ..SgdConfig::DEFAULT })?;
///
/// let (mut weights, mut momentum, mut state) = ([0.3, 0.4], [0.0; 2], SgdState::default());
/// let layer = LayerMemory::new(&mut weights, &[30.0, 40.0], &mut state);
/// let report = sgd.step_layer(0.1, layer.momentum(&mut momentum)).unwrap();
/// assert_eq!((report.gradient_norm, report.clipped), (50.0, true));
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
pub type Sgd = Optimizer<SgdRule>;

/// NovoGrad: momentum of gradients that are normalised layer by layer. Choose it where the size of gradients varies
/// greatly between layers or between steps: a step depends on their direction, and little on their size. The formula
/// and the default numbers are at [`NovoGradConfig`].
///
/// ```
/// use layerwise::{LayerMemory, NovoGrad, NovoGradConfig, NovoGradState};
///
/// const NOVOGRAD: NovoGrad = match NovoGrad::new(NovoGradConfig::DEFAULT) {
///     Ok(novograd) => novograd,
///     Err(_) => panic!("a bad setting does not compile"),
/// };
///
/// let (mut weights, mut momentum, mut state) = ([0.5, -0.5], [0.0; 2], NovoGradState::default());
/// let layer = LayerMemory::new(&mut weights, &[3.0, 4.0], &mut state);
/// let report = NOVOGRAD.step_layer(0.1, layer.momentum(&mut momentum))?;
/// assert_eq!((weights, report.gradient_norm), ([0.44, -0.58], 5.0));
/// # Ok::<(), layerwise::Error>(())
/// ```
pub type NovoGrad = Optimizer<NovoGradRule>;

/// Adam, AdamW, and with a [trust ratio](AdamConfig::trust_ratio) LAMB. Choose Adam where the size of gradients varies
/// between weights, as in transformers and embeddings; it keeps two moments, 8 bytes a weight. LAMB is Adam for large
/// batches. The formula and the default numbers are at [`AdamConfig`].
///
/// ```
/// use layerwise::{Adam, AdamConfig, AdamState, LayerMemory};
///
/// let adamw = Adam::new(AdamConfig { weight_decay: 0.01, ..AdamConfig::DEFAULT })?;
/// let (mut weights, mut momentum, mut second_moment) = ([0.5, -0.5], [0.0; 2], [0.0; 2]);
/// let mut state = AdamState::default();
/// let layer = LayerMemory::new(&mut weights, &[3.0, 4.0], &mut state)
///     .momentum(&mut momentum)
///     .second_moment(&mut second_moment);
/// let report = adamw.step_layer(0.1, layer).unwrap();
/// assert_eq!((weights, report.gradient_norm), ([0.3995, -0.5995], 5.0));
/// # Ok::<(), layerwise::ConfigError>(())
/// ```
pub type Adam = Optimizer<AdamRule>;

/// An optimizer whose rule is chosen at run time, say by a configuration file. The state of a layer is three numbers,
/// for every rule.
///
/// ```
/// use layerwise::{Adam, AdamConfig, AnyOptimizer, NovoGrad, NovoGradConfig};
///
/// fn optimizer(name: &str) -> Option<AnyOptimizer> {
///     Some(match name {
///         "adam" => Adam::new(AdamConfig::DEFAULT).ok()?.any(),
///         "novograd" => NovoGrad::new(NovoGradConfig::DEFAULT).ok()?.any(),
///         _ => return None,
///     })
/// }
/// assert!(optimizer("adam").is_some() && optimizer("eve").is_none());
/// ```
pub type AnyOptimizer = Optimizer<AnyRule>;

impl Sgd {
    /// Checks the settings of stochastic gradient descent.
    ///
    /// # Errors
    ///
    /// The first setting that is outside its range.
    // Inlined, here and for the other rules: settings are usually built just before the call, and a copy of them would
    // wait for their stores.
    #[inline(always)]
    pub const fn new(config: SgdConfig) -> Result<Self, ConfigError> {
        match SgdRule::new(config) {
            Ok(rule) => Ok(Optimizer::from_rule(rule)),
            Err(error) => Err(error),
        }
    }

    /// The settings.
    pub const fn config(&self) -> &SgdConfig {
        self.rule.config()
    }
}

impl NovoGrad {
    /// Checks the settings of NovoGrad.
    ///
    /// # Errors
    ///
    /// The first setting that is outside its range.
    #[inline(always)]
    pub const fn new(config: NovoGradConfig) -> Result<Self, ConfigError> {
        match NovoGradRule::new(config) {
            Ok(rule) => Ok(Optimizer::from_rule(rule)),
            Err(error) => Err(error),
        }
    }

    /// The settings.
    pub const fn config(&self) -> &NovoGradConfig {
        self.rule.config()
    }
}

impl Adam {
    /// Checks the settings of Adam.
    ///
    /// # Errors
    ///
    /// The first setting that is outside its range.
    #[inline(always)]
    pub const fn new(config: AdamConfig) -> Result<Self, ConfigError> {
        match AdamRule::new(config) {
            Ok(rule) => Ok(Optimizer::from_rule(rule)),
            Err(error) => Err(error),
        }
    }

    /// The settings.
    pub const fn config(&self) -> &AdamConfig {
        self.rule.config()
    }
}

impl<R: Rule> Optimizer<R> {
    /// Converts the optimizer to one whose rule is chosen at run time, with three numbers for its state.
    pub fn any(self) -> AnyOptimizer
    where
        R: Into<AnyRule>,
    {
        Optimizer { rule: self.rule.into(), policy: self.policy, backend: self.backend }
    }

    /// An optimizer that follows `rule`.
    pub const fn from_rule(rule: R) -> Self {
        Optimizer { rule, policy: Policy::DEFAULT, backend: None }
    }

    /// Sets the policy for whole steps.
    ///
    /// # Errors
    ///
    /// The setting that is outside its range, or `clip_norm` if the rule [does not allow it](Rule::allows_clipping).
    ///
    /// ```
    /// use layerwise::{LarcConfig, NovoGrad, NovoGradConfig, Policy, Sgd, SgdConfig};
    ///
    /// let clip = Policy { clip_norm: Some(1.0), ..Policy::DEFAULT };
    /// let novograd = NovoGrad::new(NovoGradConfig::DEFAULT)?.with_policy(clip)?;
    /// assert_eq!(novograd.policy().clip_norm, Some(1.0));
    ///
    /// let larc = SgdConfig { larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT };
    /// assert!(Sgd::new(larc)?.with_policy(clip).is_err());
    /// # Ok::<(), layerwise::ConfigError>(())
    /// ```
    #[inline]
    pub fn with_policy(self, policy: Policy) -> Result<Self, ConfigError> {
        policy.check()?;
        if let Some(value) = policy.clip_norm
            && !self.rule.allows_clipping()
        {
            return Err(ConfigError {
                setting: "clip_norm",
                value,
                allowed: "unset, as with LARC: this rule does not allow it",
            });
        }
        Ok(Optimizer { policy, ..self })
    }

    /// The policy for whole steps.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The rule.
    pub const fn rule(&self) -> &R {
        &self.rule
    }

    /// The arrays that the rule keeps in addition to the weights.
    #[inline]
    pub fn moments(&self) -> Moments {
        self.rule.moments().min(R::MOMENTS)
    }

    /// How long the momentum of a layer of `len` weights must be: `len`, or 0 if the rule keeps none.
    #[inline]
    pub fn momentum_len(&self, len: usize) -> usize {
        if self.moments() == Moments::None { 0 } else { len }
    }

    /// Uses the given instruction set, for tests and benchmarks.
    #[doc(hidden)]
    pub fn on(self, backend: Backend) -> Self {
        Optimizer { backend: Some(backend), ..self }
    }

    #[inline]
    pub(super) fn machine(&self, threads: Threads) -> Machine {
        Machine { backend: self.backend.unwrap_or_else(Backend::best), threads }
    }

    /// What gradients are multiplied by if this is their norm over the whole model.
    #[inline]
    pub(super) fn clip(&self, gradient_norm: f64) -> f64 {
        self.policy.clip(gradient_norm)
    }

    /// Whether the whole step is skipped if one layer cannot be updated.
    #[inline]
    pub(super) fn skips_steps(&self) -> bool {
        self.policy.non_finite == NonFinite::SkipStep
    }
}
