//! Steps over one layer and over many.

use super::layer::{Case, Decision};
use super::optimizer::Optimizer;
use crate::error::Error;
use crate::kernel::machine::Threads;
use crate::memory::layer::LayerMemory;
use crate::memory::model::Model;
use crate::memory::report::{Outcome, Report, Summary};
use crate::rules::double::sqrt;
use crate::rules::policy::Policy;
use crate::rules::rule::Rule;
use crate::rules::step::Step;

impl<R: Rule> Optimizer<R> {
    /// Updates one layer. A [`Policy`](crate::Policy) treats it as a model of one.
    ///
    /// A NaN or an infinity in the gradients (or in weights whose norm the rule needs) is an outcome, not an error: the
    /// layer stays as it was, and the report says so.
    ///
    /// # Errors
    ///
    /// [`Error::LearningRate`], [`Error::GradientScale`], [`Error::Decay`], [`Error::Length`], [`Error::Missing`],
    /// [`Error::Type`], [`Error::State`] and, in builds with debug assertions, [`Error::StaleNorm`]; then nothing is
    /// written.
    ///
    /// ```
    /// use layerwise::{LayerMemory, NovoGrad, NovoGradConfig, NovoGradState};
    ///
    /// let novograd = NovoGrad::new(NovoGradConfig::DEFAULT).unwrap();
    /// let (mut weights, mut momentum, mut state) = ([0.5, -0.5], [0.0; 2], NovoGradState::default());
    /// for gradients in [[3.0, 4.0], [f32::NAN, 4.0]] {
    ///     let layer = LayerMemory::new(&mut weights, &gradients, &mut state).momentum(&mut momentum);
    ///     let report = novograd.step_layer(0.1, layer)?;
    ///     assert_eq!(report.applied(), !gradients[0].is_nan());
    ///     assert_eq!(weights, [0.44, -0.58]);
    /// }
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    // Inlined, because returning the report through memory costs 15 ns: it is stored field by field and copied in
    // larger pieces, and a processor cannot forward several stores to one load.
    #[inline(always)]
    pub fn step_layer(&self, step: impl Into<Step>, layer: LayerMemory<'_, R::State>) -> Result<Report, Error> {
        let step = step.into();
        step.check()?;
        self.check_layer(&step, &layer)?;
        Ok(self.one(Threads::One, &step, layer))
    }

    /// Updates all layers of a model. `reports` has one element for each.
    ///
    /// Each layer gets what [`step_layer`](Optimizer::step_layer) gives it, bit for bit, unless the
    /// [`Policy`](crate::Policy) says otherwise. [`FlatModel`](crate::FlatModel) and [`Model`] have examples.
    ///
    /// # Errors
    ///
    /// As [`step_layer`](Optimizer::step_layer), naming the layer, and what [`Model::check`] refuses; then nothing is
    /// written.
    #[inline]
    pub fn step(
        &self,
        step: impl Into<Step>,
        model: &mut (impl Model<R::State> + ?Sized),
        reports: &mut [Report],
    ) -> Result<Summary, Error> {
        let step = step.into();
        self.check_model(&step, model, reports)?;
        Ok(self.run(&step, &mut OneByOne(model), reports))
    }

    /// Takes a step. The layers have been checked.
    #[inline]
    pub(super) fn run(&self, step: &Step, layers: &mut impl Walk<R>, reports: &mut [Report]) -> Summary {
        let mut decision = Decision { clip: 1.0, skip: false };
        if self.policy == Policy::DEFAULT {
            layers.walk(self, step, Phase::Step, reports);
            return summary(reports, gradient_norm(reports), decision);
        }
        layers.walk(self, step, Phase::Measure, reports);
        let gradient_norm = gradient_norm(reports);
        if self.skips_steps() {
            decision.skip = any_bad(reports);
        }
        if !decision.skip {
            decision.clip = self.clip(gradient_norm);
            if self.skips_steps() {
                layers.walk(self, step, Phase::Foresee(decision), reports);
                if any_bad(reports) {
                    decision = Decision { clip: 1.0, skip: true };
                }
            }
        }
        layers.walk(self, step, Phase::Update(decision), reports);
        summary(reports, gradient_norm, decision)
    }

    /// Runs a phase on one layer.
    #[inline]
    pub(super) fn visit(
        &self,
        threads: Threads,
        step: &Step,
        phase: Phase,
        layer: LayerMemory<'_, R::State>,
        report: &mut Report,
    ) {
        let machine = self.machine(threads);
        match phase {
            Phase::Step => *report = self.one(threads, step, layer),
            Phase::Measure => *report = self.measured(machine, step, &layer.view()),
            Phase::Foresee(decision) => {
                let (seen, config) = (*report, layer.config);
                let case = Case { step, decision, seen: &seen, config: &config };
                match self.decided(machine, case, &layer, None) {
                    Ok(decided) if self.coefficients(&decided.plan).is_none() => {
                        *report = case.left(Outcome::OutOfRange)
                    }
                    // Holds the norm of the step until the next phase, which writes the rate.
                    Ok(decided) => report.effective_rate = decided.step_norm,
                    Err(left) => *report = left,
                }
            }
            Phase::Update(decision) => {
                let foreseen = self.skips_steps().then_some(report.effective_rate);
                *report = self.update(machine, step, decision, *report, layer, foreseen);
            }
        }
    }
}

/// What is done to each layer before the next phase begins.
#[derive(Clone, Copy)]
pub(super) enum Phase {
    /// All of a step.
    Step,
    /// Norms, into the reports.
    Measure,
    /// Plans, to find out whether every layer can be updated. Keeps only the outcome and the norm of the step.
    Foresee(Decision),
    /// Plans and updates, with the norms in the reports.
    Update(Decision),
}

/// Layers that can be visited, by one thread or by many.
pub(super) trait Walk<R: Rule> {
    /// Runs a phase on all layers.
    fn walk(&mut self, optimizer: &Optimizer<R>, step: &Step, phase: Phase, reports: &mut [Report]);
}

/// The layers of a model, one after the other.
pub(super) struct OneByOne<'m, M: ?Sized>(pub(super) &'m mut M);

impl<R: Rule, M: Model<R::State> + ?Sized> Walk<R> for OneByOne<'_, M> {
    #[inline]
    fn walk(&mut self, optimizer: &Optimizer<R>, step: &Step, phase: Phase, reports: &mut [Report]) {
        for (index, report) in reports.iter_mut().enumerate() {
            self.0.layer(index, |layer| optimizer.visit(Threads::One, step, phase, layer, report));
        }
    }
}

/// Whether a layer cannot be updated.
fn any_bad(reports: &[Report]) -> bool {
    reports.iter().any(|report| report.outcome.is_bad())
}

/// The norm of the gradient of the whole model.
fn gradient_norm(reports: &[Report]) -> f64 {
    let mut sum = 0.0;
    for report in reports.iter().filter(|report| report.counts) {
        sum += report.gradient_norm * report.gradient_norm;
    }
    sqrt(sum)
}

/// The summary of all reports.
fn summary(reports: &[Report], gradient_norm: f64, decision: Decision) -> Summary {
    let mut summary = Summary { applied: 0, skipped: 0, overflowed: 0, gradient_norm, clip: decision.clip };
    for report in reports {
        match report.outcome {
            Outcome::Applied => summary.applied += 1,
            Outcome::Overflowed => summary.overflowed += 1,
            Outcome::Frozen | Outcome::Absent => {}
            Outcome::NonFinite | Outcome::OutOfRange | Outcome::StepSkipped => summary.skipped += 1,
        }
    }
    summary
}
