//! The driver: norms, rule, update. It is written once for all rules.

use crate::error::{Error, Slice, check_length};
use crate::{Layer, Needs, Norms, Outcome, Plan, Report, Rule};

/// A training step made of a [`Rule`] and the crate's kernels.
///
/// [`Sgd`](crate::Sgd) and [`NovoGrad`](crate::NovoGrad) are optimizers; [`from_rule`](Optimizer::from_rule) makes one of
/// a rule of your own. An optimizer is a handful of scalars: it is checked when it is made, never changes, and holds no
/// memory of a layer. That belongs to the caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimizer<R> {
    pub(crate) rule: R,
}

impl<R: Rule> Optimizer<R> {
    /// An optimizer that follows `rule`.
    pub const fn from_rule(rule: R) -> Self {
        Optimizer { rule }
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
        self.step_layer_with(&Layer::DEFAULT, lr, weights, gradients, momentum, state)
    }

    /// Updates one layer with switches of its own; otherwise like [`step_layer`](Optimizer::step_layer).
    ///
    /// # Errors
    ///
    /// [`Error::Length`] and [`Error::LearningRate`]; then nothing is written.
    pub fn step_layer_with(
        &self,
        layer: &Layer,
        lr: f64,
        weights: &mut [f32],
        gradients: &[f32],
        momentum: &mut [f32],
        state: &mut R::State,
    ) -> Result<Report, Error> {
        self.step(layer, lr, weights, gradients, momentum, state, None)
    }

    /// Updates one layer like [`step_layer_with`](Optimizer::step_layer_with), and carries the norm of its weights to the
    /// next step.
    ///
    /// A rule that looks at the norm of the weights (LARC, LARS, LUC) then reads them once a step, not twice. Results have
    /// the same bits. Whoever changes the weights between two steps must [`forget`](CarriedNorm::forget) the norm.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] and [`Error::LearningRate`]; then nothing is written.
    ///
    /// ```
    /// use layerwise::{CarriedNorm, Larc, LarcConfig, Layer, Sgd, SgdConfig, SgdState, l2_norm};
    ///
    /// let larc = Larc::new(LarcConfig::DEFAULT).unwrap();
    /// let sgd = Sgd::new(SgdConfig { larc: Some(larc), ..SgdConfig::DEFAULT }).unwrap();
    /// let (mut weights, mut state, mut norm) = ([0.3, 0.4], SgdState::default(), CarriedNorm::default());
    /// for _ in 0..3 {
    ///     sgd.step_layer_carrying(&Layer::DEFAULT, 0.1, &mut weights, &[1.0, 2.0], &mut [], &mut state, &mut norm)?;
    ///     assert_eq!(norm.get(), Some(l2_norm(&weights)));
    /// }
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    #[allow(clippy::too_many_arguments)] // One slice and one scalar for each thing that a layer has.
    pub fn step_layer_carrying(
        &self,
        layer: &Layer,
        lr: f64,
        weights: &mut [f32],
        gradients: &[f32],
        momentum: &mut [f32],
        state: &mut R::State,
        norm: &mut CarriedNorm,
    ) -> Result<Report, Error> {
        self.step(layer, lr, weights, gradients, momentum, state, Some(norm))
    }

    #[allow(clippy::too_many_arguments)]
    fn step(
        &self,
        layer: &Layer,
        lr: f64,
        weights: &mut [f32],
        gradients: &[f32],
        momentum: &mut [f32],
        state: &mut R::State,
        carried: Option<&mut CarriedNorm>,
    ) -> Result<Report, Error> {
        let lr = layer_rate(lr, layer)?;
        check_length(Slice::Gradients, weights.len(), gradients.len())?;
        check_length(Slice::Momentum, self.momentum_len(weights.len()), momentum.len())?;
        let needs = self.rule.needs(layer);
        let norms = match carried.as_ref().and_then(|norm| norm.get()) {
            Some(norm) if needs.weights => {
                Norms { weights: Some(norm), ..Needs { weights: false, ..needs }.measure(weights, gradients)? }
            }
            _ => needs.measure(weights, gradients)?,
        };
        if !norms.are_finite() {
            return Ok(report(&norms, lr, None, Outcome::NonFinite));
        }
        let mut next = *state;
        let mut plan = self.rule.plan(lr, layer, &norms, &mut next);
        if needs.new_momentum {
            match plan.update.new_momentum_norm(weights, gradients, momentum) {
                Ok(norm) if norm.is_finite() => plan = self.rule.limit(lr, &norms, plan, norm),
                Ok(_) => return Ok(report(&norms, lr, None, Outcome::NonFinite)),
                Err(_) => return Ok(report(&norms, lr, None, Outcome::OutOfRange)),
            }
        }
        let applied = match carried {
            Some(carried) if needs.weights => {
                plan.update.apply_and_sum(weights, gradients, momentum).map(|sum| carried.norm = Some(libm::sqrt(sum)))
            }
            Some(carried) => {
                carried.forget();
                plan.update.apply_to(weights, gradients, momentum)
            }
            None => plan.update.apply_to(weights, gradients, momentum),
        };
        if applied.is_err() {
            return Ok(report(&norms, lr, None, Outcome::OutOfRange));
        }
        *state = next;
        Ok(report(&norms, lr, Some(&plan), Outcome::Applied))
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
    pub fn momentum_len(&self, len: usize) -> usize {
        if self.rule.keeps_momentum() { len } else { 0 }
    }
}

/// The L2 norm of a layer's weights, carried from one step to the next by
/// [`step_layer_carrying`](Optimizer::step_layer_carrying). The default is an unknown norm, which the next step measures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CarriedNorm {
    norm: Option<f64>,
}

impl CarriedNorm {
    /// The norm, if it is known.
    pub fn get(&self) -> Option<f64> {
        self.norm
    }

    /// Makes the norm unknown, after the weights were changed by other means than a step.
    pub fn forget(&mut self) {
        self.norm = None;
    }
}

/// The learning rate of a layer, checked.
pub(crate) fn layer_rate(lr: f64, layer: &Layer) -> Result<f64, Error> {
    let rate = lr * layer.rate;
    let valid = |x: f64| x >= 0.0 && x.is_finite();
    if valid(lr) && valid(layer.rate) && valid(rate) { Ok(rate) } else { Err(Error::LearningRate(rate)) }
}

/// The report of a layer; without a plan, of one that was left alone.
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
