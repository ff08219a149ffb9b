//! The driver for many layers.

use crate::driver::one::{check_rate, frozen, report};
use crate::error::{Error, Slice, check_length};
use crate::kernel::join::Join;
use crate::{CarriedNorms, LayerSpan, LayerView, Layers, NonFinite, Norms, Optimizer, Outcome, Policy, Report, Rule};

/// What an optimizer remembers of a model, in the caller's memory.
#[derive(Debug)]
pub struct ModelState<'a, S> {
    /// The momentum, laid out as the weights are, or empty if the rule keeps none. Zeros are right for the first step.
    pub momentum: &'a mut [f32],
    /// What the rule remembers of each layer besides. Defaults are right for the first step.
    pub states: &'a mut [S],
    /// The norms that are carried from step to step for each layer, or empty; see [`CarriedNorms`].
    pub norms: &'a mut [CarriedNorms],
}

/// What a step over many layers did.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Summary {
    /// How many layers have been updated.
    pub applied: usize,
    /// How many layers were left as they were although they are not frozen; their reports say why.
    pub skipped: usize,
    /// The norm of the gradient norms of all layers whose norms are finite: the global gradient norm, before clipping.
    pub gradient_norm: f64,
    /// What all gradients were multiplied by to clip them; 1 if they were not.
    pub clip: f64,
}

impl<R: Rule> Optimizer<R> {
    /// Updates all layers of a model whose weights lie in one buffer.
    ///
    /// `weights`, `gradients` and the momentum are as long as `layers` says; there is a state and a report for each layer,
    /// and a carried norm for each or none at all. Each layer gets what
    /// [`step_layer`](Optimizer::step_layer) gives it, bit for bit, unless the [`Policy`] says otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] and [`Error::LearningRate`]; then nothing is written.
    ///
    /// ```
    /// use layerwise::{Layer, LayerSpan, Layers, ModelState, NovoGrad, NovoGradConfig, NovoGradState, Report};
    ///
    /// const SPANS: [LayerSpan; 2] = [
    ///     LayerSpan { start: 0, len: 4, layer: Layer::DEFAULT },
    ///     LayerSpan { start: 4, len: 2, layer: Layer::PLAIN },
    /// ];
    /// let layers = Layers::new(&SPANS, 6).unwrap();
    /// let novograd = NovoGrad::new(NovoGradConfig { weight_decay: 0.01, ..NovoGradConfig::DEFAULT }).unwrap();
    /// let (mut weights, mut momentum) = ([1.0; 6], [0.0; 6]);
    /// let (mut states, mut reports) = ([NovoGradState::default(); 2], [Report::default(); 2]);
    ///
    /// let state = ModelState { momentum: &mut momentum, states: &mut states, norms: &mut [] };
    /// let summary = novograd.step(0.1, &layers, &mut weights, &[0.5, 0.5, 0.5, 0.5, 3.0, 4.0], state, &mut reports)?;
    /// assert_eq!((summary.applied, summary.skipped), (2, 0));
    /// assert_eq!(reports.map(|report| report.gradient_norm), [1.0, 5.0]);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn step(
        &self,
        lr: f64,
        layers: &Layers<'_>,
        weights: &mut [f32],
        gradients: &[f32],
        state: ModelState<'_, R::State>,
        reports: &mut [Report],
    ) -> Result<Summary, Error> {
        let mut model = self.flat(lr, layers, weights, gradients, state, reports.len())?;
        Ok(self.run(&mut model, reports, |phase, model, reports| self.walk(phase, lr, model, reports)))
    }

    /// Updates all layers of a model whose layers lie in separate allocations; otherwise like [`step`](Optimizer::step).
    ///
    /// # Errors
    ///
    /// [`Error::LengthInLayer`], [`Error::Length`] of the reports, and [`Error::LearningRate`]; then nothing is written.
    ///
    /// ```
    /// use layerwise::{Layer, LayerView, Report, Sgd, SgdConfig, SgdState};
    ///
    /// let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap();
    /// let (mut kernel, mut bias) = (vec![1.0; 9], vec![1.0; 3]);
    /// let (mut kernel_state, mut bias_state) = (SgdState::default(), SgdState::default());
    /// let layer = Layer::DEFAULT;
    /// let mut views = [
    ///     LayerView { layer, weights: &mut kernel, gradients: &[1.0; 9], momentum: &mut [], state: &mut kernel_state, norms: None },
    ///     LayerView { layer, weights: &mut bias, gradients: &[2.0; 3], momentum: &mut [], state: &mut bias_state, norms: None },
    /// ];
    /// let summary = sgd.step_views(0.25, &mut views, &mut [Report::default(); 2])?;
    /// assert_eq!(summary.applied, 2);
    /// assert_eq!((kernel[0], bias[0]), (0.75, 0.5));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn step_views(
        &self,
        lr: f64,
        views: &mut [LayerView<'_, R::State>],
        reports: &mut [Report],
    ) -> Result<Summary, Error> {
        self.check_views(lr, views, reports.len())?;
        Ok(self.run(&mut Views(views), reports, |phase, model, reports| self.walk(phase, lr, model, reports)))
    }

    /// Checks what the caller can get wrong of a model in one buffer.
    pub(crate) fn flat<'a>(
        &self,
        lr: f64,
        layers: &Layers<'a>,
        weights: &'a mut [f32],
        gradients: &'a [f32],
        state: ModelState<'a, R::State>,
        reports: usize,
    ) -> Result<Flat<'a, R::State>, Error> {
        let ModelState { momentum, states, norms } = state;
        check_rate(lr, layers.max_rate())?;
        check_length(Slice::Weights, layers.len(), weights.len())?;
        check_length(Slice::Gradients, layers.len(), gradients.len())?;
        check_length(Slice::Momentum, self.momentum_len(layers.len()), momentum.len())?;
        check_length(Slice::States, layers.count(), states.len())?;
        if !norms.is_empty() {
            check_length(Slice::Norms, layers.count(), norms.len())?;
        }
        check_length(Slice::Reports, layers.count(), reports)?;
        Ok(Flat { spans: layers.spans(), start: 0, weights, gradients, momentum, states, norms })
    }

    /// Checks what the caller can get wrong of a model in separate allocations.
    pub(crate) fn check_views(&self, lr: f64, views: &[LayerView<'_, R::State>], reports: usize) -> Result<(), Error> {
        check_rate(lr, 1.0)?;
        check_length(Slice::Reports, views.len(), reports)?;
        for (layer, view) in views.iter().enumerate() {
            self.check(lr, view).map_err(|error| match error {
                Error::Length { slice, expected, found } => Error::LengthInLayer { layer, slice, expected, found },
                error => error,
            })?;
        }
        Ok(())
    }

    /// A step over a model that has been checked. `walk` carries a phase out on all layers.
    pub(crate) fn run<M>(
        &self,
        model: &mut M,
        reports: &mut [Report],
        walk: impl Fn(Phase, &mut M, &mut [Report]),
    ) -> Summary {
        if self.policy == Policy::DEFAULT {
            walk(Phase::Step, model, reports);
            return summary(reports, 1.0);
        }
        walk(Phase::Measure, model, reports);
        if self.policy.non_finite == NonFinite::SkipStep && reports.iter().any(|r| r.outcome == Outcome::NonFinite) {
            for report in reports.iter_mut().filter(|report| report.applied()) {
                report.outcome = Outcome::StepSkipped;
            }
            return summary(reports, 1.0);
        }
        let clip = self.policy.clip(summary(reports, 1.0).gradient_norm);
        walk(Phase::Update { clip }, model, reports);
        summary(reports, clip)
    }

    /// Carries a phase out on one layer after the other.
    pub(crate) fn walk<M: Model<R::State>>(&self, phase: Phase, lr: f64, model: &mut M, reports: &mut [Report]) {
        for (layer, report) in reports.iter_mut().enumerate() {
            if let Some(mut view) = model.view(layer) {
                self.phase(Join::Serial, phase, lr, &mut view, report);
            }
        }
    }

    /// Carries a phase out on one layer.
    #[inline]
    pub(crate) fn phase(&self, join: Join, phase: Phase, lr: f64, view: &mut LayerView<'_, R::State>, to: &mut Report) {
        match phase {
            Phase::Step => *to = self.step_checked(join, lr, view),
            _ if view.layer.frozen => *to = frozen(view),
            Phase::Measure => {
                let norms = self.measure(join, view);
                let outcome = if norms.are_finite() { Outcome::Applied } else { Outcome::NonFinite };
                *to = report(&norms, lr * view.layer.rate, None, outcome);
            }
            Phase::Update { clip } => {
                let weights = self.rule.needs(&view.layer).weights.then_some(to.weight_norm);
                let norms = Norms { gradient: to.gradient_norm, weights };
                *to = self.update(join, lr, clip, &norms, view);
            }
        }
    }
}

/// What is done to each layer before the next phase begins.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    /// All of a step.
    Step,
    /// The norms alone, into the report.
    Measure,
    /// The update alone, by the norms in the report.
    Update { clip: f64 },
}

/// Layers that can be visited by number.
pub(crate) trait Model<S> {
    /// The memory of a layer.
    fn view(&mut self, layer: usize) -> Option<LayerView<'_, S>>;
}

/// Layers in one buffer.
pub(crate) struct Flat<'a, S> {
    pub(crate) spans: &'a [LayerSpan],
    /// Where in the buffer the slices begin.
    pub(crate) start: usize,
    pub(crate) weights: &'a mut [f32],
    pub(crate) gradients: &'a [f32],
    pub(crate) momentum: &'a mut [f32],
    pub(crate) states: &'a mut [S],
    pub(crate) norms: &'a mut [CarriedNorms],
}

impl<S> Model<S> for Flat<'_, S> {
    #[inline]
    fn view(&mut self, layer: usize) -> Option<LayerView<'_, S>> {
        let span = self.spans.get(layer)?;
        let start = span.start - self.start;
        let range = start..start + span.len;
        Some(LayerView {
            layer: span.layer,
            weights: self.weights.get_mut(range.clone())?,
            gradients: self.gradients.get(range.clone())?,
            momentum: self.momentum.get_mut(range).unwrap_or_default(),
            state: self.states.get_mut(layer)?,
            norms: self.norms.get_mut(layer),
        })
    }
}

/// Layers in separate allocations.
pub(crate) struct Views<'a, 'b, S>(pub(crate) &'a mut [LayerView<'b, S>]);

impl<S> Model<S> for Views<'_, '_, S> {
    fn view(&mut self, layer: usize) -> Option<LayerView<'_, S>> {
        let LayerView { layer, weights, gradients, momentum, state, norms } = self.0.get_mut(layer)?;
        Some(LayerView { layer: *layer, weights, gradients, momentum, state, norms: norms.as_deref_mut() })
    }
}

/// What the reports say together.
fn summary(reports: &[Report], clip: f64) -> Summary {
    let mut summary = Summary { applied: 0, skipped: 0, gradient_norm: 0.0, clip };
    for report in reports {
        match report.outcome {
            Outcome::Applied => summary.applied += 1,
            Outcome::Frozen => {}
            Outcome::NonFinite | Outcome::OutOfRange | Outcome::StepSkipped => summary.skipped += 1,
        }
        if report.gradient_norm.is_finite() && report.outcome != Outcome::NonFinite {
            summary.gradient_norm += report.gradient_norm * report.gradient_norm;
        }
    }
    summary.gradient_norm = libm::sqrt(summary.gradient_norm);
    summary
}
