//! The driver for one layer: norms, rule, update. It is written once for all rules.

use crate::error::{Error, Slice, check_length, is_non_negative};
use crate::kernel::join::Join;
use crate::kernel::update::Slices;
use crate::{ConfigError, GradientNorm, Layer, LayerView, Needs, Norms, Outcome, Plan, Policy, Report, Rule};

/// A training step made of a [`Rule`] and the crate's kernels.
///
/// [`Sgd`](crate::Sgd) and [`NovoGrad`](crate::NovoGrad) are optimizers; [`from_rule`](Optimizer::from_rule) makes one of
/// a rule of your own. An optimizer is a handful of scalars: it is checked when it is made, never changes, and holds no
/// memory of a layer. That belongs to the caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimizer<R> {
    pub(crate) rule: R,
    pub(crate) policy: Policy,
}

impl<R: Rule> Optimizer<R> {
    /// An optimizer that follows `rule`.
    pub const fn from_rule(rule: R) -> Self {
        Optimizer { rule, policy: Policy::DEFAULT }
    }

    /// The same optimizer with another policy for whole steps.
    ///
    /// # Errors
    ///
    /// The setting that is outside its range, or `clip_norm` if the rule [does not allow it](Rule::allows_clipping).
    ///
    /// ```
    /// use layerwise::{Larc, LarcConfig, NovoGrad, NovoGradConfig, Policy, Sgd, SgdConfig};
    ///
    /// let clip = Policy { clip_norm: Some(1.0), ..Policy::DEFAULT };
    /// let novograd = NovoGrad::new(NovoGradConfig::DEFAULT)?.with_policy(clip)?;
    /// assert_eq!(novograd.policy().clip_norm, Some(1.0));
    ///
    /// let larc = Some(Larc::new(LarcConfig::DEFAULT)?);
    /// assert!(Sgd::new(SgdConfig { larc, ..SgdConfig::DEFAULT })?.with_policy(clip).is_err());
    /// # Ok::<(), layerwise::ConfigError>(())
    /// ```
    pub fn with_policy(self, policy: Policy) -> Result<Self, ConfigError> {
        policy.check(self.rule.allows_clipping())?;
        Ok(Optimizer { policy, ..self })
    }

    /// The policy for whole steps.
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The rule, for hosts that run the pieces themselves.
    pub const fn rule(&self) -> &R {
        &self.rule
    }

    /// Updates one layer with the default switches, [`Layer::DEFAULT`].
    ///
    /// `weights` and `gradients` have the layer's length; so has `momentum` if the rule keeps one, and otherwise it is
    /// empty. Momentum of zeros and a default `state` are right for the first step.
    ///
    /// A NaN or an infinity in the gradients (or in weights whose norm the rule looks at) is an outcome, not an error:
    /// the layer is left untouched and the report says so.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] and [`Error::LearningRate`]; then nothing is written.
    ///
    /// ```
    /// use layerwise::{NovoGrad, NovoGradConfig, NovoGradState};
    ///
    /// const NOVOGRAD: NovoGrad = match NovoGrad::new(NovoGradConfig::DEFAULT) {
    ///     Ok(novograd) => novograd,
    ///     Err(_) => panic!("a bad setting does not compile"),
    /// };
    ///
    /// let (mut weights, mut momentum, mut state) = ([0.5, -0.5], [0.0; 2], NovoGradState::default());
    /// let report = NOVOGRAD.step_layer(0.1, &mut weights, &[3.0, 4.0], &mut momentum, &mut state)?;
    /// assert_eq!(weights, [0.44, -0.58]);
    /// assert_eq!(report.gradient_norm, 5.0);
    ///
    /// let report = NOVOGRAD.step_layer(0.1, &mut weights, &[f32::NAN, 4.0], &mut momentum, &mut state)?;
    /// assert!(!report.applied());
    /// assert_eq!(weights, [0.44, -0.58]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn step_layer(
        &self,
        lr: f64,
        weights: &mut [f32],
        gradients: &[f32],
        momentum: &mut [f32],
        state: &mut R::State,
    ) -> Result<Report, Error> {
        self.step_view(lr, LayerView { layer: Layer::DEFAULT, weights, gradients, momentum, state, norms: None })
    }

    /// Updates one layer with switches and, if wanted, carried norms of its own; otherwise like
    /// [`step_layer`](Optimizer::step_layer). A [`Policy`] treats the layer as a model of one.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] and [`Error::LearningRate`]; then nothing is written.
    pub fn step_view(&self, lr: f64, mut view: LayerView<'_, R::State>) -> Result<Report, Error> {
        self.check(lr, &view)?;
        Ok(self.step_checked(Join::Serial, lr, &mut view))
    }

    /// Checks what the caller can get wrong of one layer.
    #[inline]
    pub(crate) fn check(&self, lr: f64, view: &LayerView<'_, R::State>) -> Result<(), Error> {
        let len = view.weights.len();
        check_rate(lr, view.layer.rate)?;
        check_length(Slice::Gradients, len, view.gradients.len())?;
        check_length(Slice::Momentum, self.momentum_len(len), view.momentum.len())
    }

    /// Norms, rule, update of one layer.
    #[inline]
    pub(crate) fn step_checked(&self, join: Join, lr: f64, view: &mut LayerView<'_, R::State>) -> Report {
        if view.layer.frozen {
            return frozen(view);
        }
        let norms = self.measure(join, view);
        self.update(join, lr, self.policy.clip(norms.gradient), &norms, view)
    }

    /// The norms of a layer that the rule needs. What is carried of the gradient is used up.
    #[inline]
    pub(crate) fn measure(&self, join: Join, view: &mut LayerView<'_, R::State>) -> Norms {
        let needs = self.rule.needs(&view.layer);
        let Some(carried) = view.norms.as_deref_mut() else {
            return needs.measure_of(join, view.weights, view.gradients);
        };
        let weights = carried.weights.filter(|_| needs.weights);
        let gradient = carried.gradient.take().filter(|_| needs.gradient == GradientNorm::L2);
        let missing = Needs { weights: needs.weights && weights.is_none(), ..needs };
        match gradient {
            None => {
                let norms = missing.measure_of(join, view.weights, view.gradients);
                Norms { weights: weights.or(norms.weights), ..norms }
            }
            // The norm of the weights alone is measured as that of a gradient.
            Some(gradient) if missing.weights => {
                let alone = Needs { weights: false, ..needs };
                Norms { gradient, weights: Some(alone.measure_of(join, view.weights, view.weights).gradient) }
            }
            Some(gradient) => Norms { gradient, weights },
        }
    }

    /// Rule and update of one layer. The rule sees a gradient that is multiplied by `clip`.
    #[inline]
    pub(crate) fn update(
        &self,
        join: Join,
        lr: f64,
        clip: f64,
        norms: &Norms,
        view: &mut LayerView<'_, R::State>,
    ) -> Report {
        let lr = lr * view.layer.rate;
        if !norms.are_finite() {
            return report(norms, lr, None, Outcome::NonFinite);
        }
        let needs = self.rule.needs(&view.layer);
        let clipped = Norms { gradient: clip * norms.gradient, ..*norms };
        let mut next = *view.state;
        let mut plan = self.rule.plan(lr, &view.layer, &clipped, &mut next);
        plan.update.gradient *= clip;
        if needs.new_momentum {
            match plan.update.new_momentum_norm_of(join, view.weights, view.gradients, view.momentum) {
                Ok(norm) if norm.is_finite() => plan = self.rule.limit(lr, &clipped, plan, norm),
                Ok(_) => return report(norms, lr, None, Outcome::NonFinite),
                Err(_) => return report(norms, lr, None, Outcome::OutOfRange),
            }
        }
        let slices = Slices { weights: view.weights, gradients: view.gradients, momentum: view.momentum };
        // Asked of the rule, whose settings may be constants.
        let with_momentum = self.rule.keeps_momentum();
        let applied = match &mut view.norms {
            Some(carried) if needs.weights => plan
                .update
                .apply_and_sum_to(join, with_momentum, slices)
                .map(|sum| carried.weights = Some(libm::sqrt(sum))),
            Some(carried) => plan.update.apply_to(join, with_momentum, slices).map(|()| carried.forget_weights()),
            None => plan.update.apply_to(join, with_momentum, slices),
        };
        if applied.is_err() {
            return report(norms, lr, None, Outcome::OutOfRange);
        }
        *view.state = next;
        report(norms, lr, Some(&plan), Outcome::Applied)
    }

    /// How long the momentum of a layer of `len` weights must be: `len`, or 0 if the rule keeps none.
    ///
    /// ```
    /// use layerwise::{Sgd, SgdConfig};
    ///
    /// assert_eq!(Sgd::new(SgdConfig::DEFAULT)?.momentum_len(100), 0);
    /// assert_eq!(Sgd::new(SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT })?.momentum_len(100), 100);
    /// # Ok::<(), layerwise::ConfigError>(())
    /// ```
    #[inline]
    pub fn momentum_len(&self, len: usize) -> usize {
        if self.rule.keeps_momentum() { len } else { 0 }
    }
}

/// Checks a learning rate and a layer's multiplier.
pub(crate) fn check_rate(lr: f64, multiplier: f64) -> Result<(), Error> {
    let rate = lr * multiplier;
    if is_non_negative(lr) && is_non_negative(multiplier) && is_non_negative(rate) {
        Ok(())
    } else {
        Err(Error::LearningRate(rate))
    }
}

/// Passes a frozen layer by. What is carried of its gradient is of this step, not of the next.
#[inline]
pub(crate) fn frozen<S>(view: &mut LayerView<'_, S>) -> Report {
    if let Some(carried) = &mut view.norms {
        carried.forget_gradient();
    }
    Report::FROZEN
}

/// The report of a layer; without a plan, of one that was left alone.
#[inline]
pub(crate) fn report(norms: &Norms, lr: f64, plan: Option<&Plan>, outcome: Outcome) -> Report {
    Report {
        gradient_norm: norms.gradient,
        weight_norm: norms.weights.unwrap_or(f64::NAN),
        factor: plan.map_or(1.0, |plan| plan.factor),
        effective_rate: plan.map_or(lr, |plan| plan.effective_rate),
        clipped: plan.is_some_and(|plan| plan.clipped),
        outcome,
    }
}
