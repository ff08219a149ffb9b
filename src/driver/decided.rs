//! The second phase of a step in pieces.

use super::apply::Coefficients;
use super::check::{check_arrays, check_config, check_leaves, check_subtrees};
use super::layer::{Case, Decision, without_norm};
use super::optimizer::Optimizer;
use super::step_norm::{step_scalars, step_sums};
use super::tree::{Cover, Tree};
use crate::error::{Argument, Error, check_length};
use crate::kernel::machine::{Machine, Threads};
use crate::lanes::Backend;
use crate::memory::layer::{LayerMemory, LayerView};
use crate::memory::report::{Outcome, Report};
use crate::rules::double::sqrt;
use crate::rules::layer::LayerConfig;
use crate::rules::rule::{Moments, Plan, Rule, RuleState, StepNorm};
use crate::rules::step::Step;
use crate::rules::update::Update;
use core::ops::Range;

/// What the first phase measured of one layer. Give it to the second phase, for the same layer.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub(super) report: Report,
    /// The number of elements of the layer.
    pub(super) len: usize,
}

impl Measured {
    /// What was measured, unless the layer is frozen by now.
    fn seen(&self, config: &LayerConfig) -> Report {
        if config.frozen { Report::FROZEN } else { self.report }
    }
}

/// The second phase of a step: layers are updated, in any order.
#[must_use]
#[derive(Debug)]
pub struct Decided<'o, R> {
    pub(super) optimizer: &'o Optimizer<R>,
    pub(super) step: Step,
    pub(super) decision: Decision,
    pub(super) gradient_norm: f64,
}

impl<R: Rule> Decided<'_, R> {
    /// What all gradients are multiplied by to clip them; 1 without clipping.
    pub fn clip(&self) -> f64 {
        self.decision.clip
    }

    /// Whether no layer is updated, because one of them cannot be.
    ///
    /// This depends on the norms, and on the plans that were [confirmed](Decided::confirm).
    pub fn skips(&self) -> bool {
        self.decision.skip
    }

    /// The norm of the gradient of the whole model, before clipping.
    pub fn gradient_norm(&self) -> f64 {
        self.gradient_norm
    }

    /// Checks whether a planned layer can be updated. If it cannot, and the policy skips whole steps, no layer is
    /// updated.
    ///
    /// [`Optimizer::step`] does this for all layers before it updates the first. Do the same if a plan may overflow
    /// `f32`: [plan](Decided::plan) each layer, confirm it, and when all are confirmed, apply them. If
    /// [`skips`](Decided::skips) becomes true, earlier plans are out of date: plan again.
    ///
    /// # Errors
    ///
    /// [`Error::StepNotSeen`] if the rule [needs the norm of the step](Planned::needs_step) first.
    pub fn confirm(&mut self, planned: &Planned<R::State>) -> Result<(), Error> {
        if planned.needs_step() {
            return Err(Error::StepNotSeen);
        }
        if planned.report.outcome.is_bad() && self.optimizer.skips_steps() {
            self.decision = Decision { clip: 1.0, skip: true };
        }
        Ok(())
    }

    /// Updates a whole layer.
    ///
    /// # Errors
    ///
    /// As [`Optimizer::step_layer`], and [`Error::Length`] if a layer of another length was measured; then nothing is
    /// written.
    pub fn apply(&self, measured: Measured, layer: LayerMemory<'_, R::State>) -> Result<Report, Error> {
        self.optimizer.check_layer(&self.step, &layer)?;
        check_length(Argument::Weights, measured.len, layer.weights.len())?;
        let machine = self.optimizer.machine(Threads::One);
        let seen = measured.seen(&layer.config);
        Ok(self.optimizer.update(machine, &self.step, self.decision, seen, layer, None))
    }

    /// The decision for a layer that is updated in chunks. Every worker may call this, and all get the same decision.
    ///
    /// # Errors
    ///
    /// [`Error::LearningRate`], [`Error::Decay`] and [`Error::State`].
    pub fn plan(&self, measured: Measured, config: &LayerConfig, state: R::State) -> Result<Planned<R::State>, Error> {
        check_config(self.step.lr, config)?;
        let (seen, len) = (measured.seen(config), measured.len);
        let optimizer = self.optimizer;
        if !config.frozen && !optimizer.rule.accepts(state) {
            return Err(Error::State { layer: None });
        }
        let case = Case { step: &self.step, decision: self.decision, seen: &seen, config };
        let mut planned = Planned {
            len,
            seen,
            report: seen,
            config: *config,
            plan: Plan::new(Update::ZERO, 0.0),
            coefficients: Coefficients::ZERO,
            needs: StepNorm::None,
            before: state,
            next: state,
            moments: optimizer.moments(),
            backend: optimizer.machine(Threads::One).backend,
        };
        if let Some(report) = case.left_alone() {
            planned.report = report;
            return Ok(planned);
        }
        (planned.plan, planned.next) = optimizer.plan(case, state);
        planned.needs = optimizer.rule.needs(config).step;
        if planned.needs == StepNorm::None {
            self.settle(&mut planned);
        }
        Ok(planned)
    }

    /// Gives the rule the norm of the step that it planned, from the [sums of all leaves](Planned::step_leaf_sums) of
    /// the step, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if there are more or fewer sums than the layer has leaves.
    pub fn limit(&self, planned: Planned<R::State>, step_sums: &[f64]) -> Result<Planned<R::State>, Error> {
        if !planned.needs_step() {
            return Ok(planned);
        }
        let leaves = check_leaves(0, planned.len, step_sums.len())?;
        self.limit_subtrees(planned, leaves.zip(step_sums.iter().copied()))
    }

    /// As [`limit`](Decided::limit), from the [sums of nodes](Planned::step_subtree_sums) that together cover all
    /// leaves, from left to right.
    ///
    /// # Errors
    ///
    /// [`Error::Pieces`] if they do not.
    pub fn limit_subtrees(
        &self,
        mut planned: Planned<R::State>,
        step_sums: impl IntoIterator<Item = (Range<usize>, f64)>,
    ) -> Result<Planned<R::State>, Error> {
        if !planned.needs_step() {
            return Ok(planned);
        }
        let sum = Tree::of_len(planned.len).fold(step_sums, |left, right| left + right)?;
        let needed = core::mem::replace(&mut planned.needs, StepNorm::None);
        let norm = sqrt(sum.unwrap_or(0.0));
        let case = self.case(&planned);
        // (An empty layer has a norm of 0, whatever its scalars.)
        let scalars = step_scalars(needed, &planned.plan.update, planned.moments);
        if norm.is_finite() && scalars.is_some() {
            planned.plan = self.optimizer.limited(case, planned.plan, norm);
            self.settle(&mut planned);
        } else {
            planned.report = case.left(without_norm(&planned.plan, needed, planned.moments));
        }
        Ok(planned)
    }

    /// Converts a final plan to `f32`.
    fn settle(&self, planned: &mut Planned<R::State>) {
        let coefficients = self.optimizer.coefficients(&planned.plan);
        let case = self.case(planned);
        let report = match coefficients {
            Some(_) => case.applied(&planned.plan, true),
            None => case.left(Outcome::OutOfRange),
        };
        planned.report = report;
        planned.coefficients = coefficients.unwrap_or(Coefficients::ZERO);
    }

    fn case<'a>(&'a self, planned: &'a Planned<R::State>) -> Case<'a> {
        Case { step: &self.step, decision: self.decision, seen: &planned.seen, config: &planned.config }
    }
}

/// The decision for one layer.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub struct Planned<S> {
    len: usize,
    seen: Report,
    report: Report,
    config: LayerConfig,
    plan: Plan,
    coefficients: Coefficients,
    /// The norm of the step that the rule needs before the plan is final.
    needs: StepNorm,
    before: S,
    next: S,
    moments: Moments,
    backend: Backend,
}

impl<S: RuleState> Planned<S> {
    /// Whether the rule needs the norm of the [step](Planned::step_leaf_sums) that it planned: if so, call
    /// [`Decided::limit`] before applying it.
    pub fn needs_step(&self) -> bool {
        self.needs != StepNorm::None
    }

    /// The sum of squares of each leaf of the planned step of a chunk, which begins at the element `start` of its
    /// layer.
    ///
    /// # Errors
    ///
    /// [`Error::OffLeaf`] if `start` is not a multiple of [`LEAF`](super::pieces::LEAF), [`Error::Length`],
    /// [`Error::Missing`] and [`Error::Type`]; then nothing is written.
    pub fn step_leaf_sums(&self, chunk: LayerView<'_>, start: usize, sums: &mut [f64]) -> Result<(), Error> {
        let leaves = check_leaves(start, chunk.weights.len(), sums.len())?;
        self.step_sums(&chunk, leaves, sums)
    }

    /// The sum of squares of each node that [covers](Tree::cover) a chunk of the planned step, which begins at the
    /// element `start` of its layer: what [`Decided::limit_subtrees`] takes.
    ///
    /// # Errors
    ///
    /// As [`Pass::subtree_sums`](super::pieces::Pass::subtree_sums).
    pub fn step_subtree_sums(&self, chunk: LayerView<'_>, start: usize, sums: &mut [f64]) -> Result<(), Error> {
        let nodes = check_subtrees(self.len, start, chunk.weights.len(), sums.len())?;
        self.step_sums(&chunk, nodes, sums)
    }

    fn step_sums(&self, chunk: &LayerView<'_>, pieces: Cover, sums: &mut [f64]) -> Result<(), Error> {
        check_arrays(self.moments, chunk, chunk.weights.check())?;
        let machine = Machine { backend: self.backend, threads: Threads::One };
        step_sums(machine, self.needs, &self.plan.update, self.moments, chunk, pieces, sums);
        Ok(())
    }

    /// Updates a chunk, which may begin anywhere. Nothing is written if the layer is not updated; if it is frozen, the
    /// chunk is not even checked. The state of the chunk is ignored: pass `&mut ()`, and store the state that
    /// [`report`](Planned::report) returns.
    ///
    /// Returns whether all new weights are finite; `true` if nothing is written. If those of one chunk are not, the
    /// layer has [overflowed](Outcome::Overflowed). Carried norms of the chunk are neither read nor written.
    ///
    /// # Errors
    ///
    /// [`Error::Length`], [`Error::Missing`], [`Error::Type`], and [`Error::StepNotSeen`] if the rule [needs the norm
    /// of the step](Planned::needs_step) first; then nothing is written.
    pub fn apply<T>(&self, chunk: LayerMemory<'_, T>) -> Result<bool, Error> {
        if self.config.frozen {
            return Ok(true);
        }
        check_arrays(self.moments, &chunk.view(), chunk.weights.check())?;
        if self.needs_step() {
            return Err(Error::StepNotSeen);
        }
        if !self.report.applied() {
            return Ok(true);
        }
        let machine = Machine { backend: self.backend, threads: Threads::One };
        Ok(self.coefficients.write_any(machine, self.moments, false, chunk).finite)
    }

    /// The report of the layer, and its state after the step: the old one if the layer is not updated.
    #[must_use]
    pub fn report(&self) -> (Report, S) {
        (self.report, if self.report.applied() { self.next } else { self.before })
    }
}
