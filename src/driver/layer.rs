//! What a step does to one layer, in two phases: it measures, then it decides and writes.
//!
//! All of it is inlined into the caller's step, so that constant settings fold, and no struct goes through memory: a
//! wide load that follows narrow stores to the same bytes stalls, because the processor cannot forward them.

use super::apply::Coefficients;
use super::measure::norms;
use super::optimizer::Optimizer;
use super::step_norm::step_norm;
use crate::kernel::machine::{Machine, Threads};
use crate::memory::layer::{LayerMemory, LayerView};
use crate::memory::report::{Outcome, Report};
use crate::rules::double::{mul, scaled};
use crate::rules::layer::LayerConfig;
use crate::rules::rule::{Moments, Norms, Plan, Rule, StepNorm};
use crate::rules::step::Step;

/// The decision for all layers of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision {
    /// What all gradients are multiplied by.
    pub(super) clip: f64,
    /// Whether all layers are left alone.
    pub(super) skip: bool,
}

/// The decision for one layer that can be updated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decided<S> {
    pub(super) plan: Plan,
    /// The state after the step.
    next: S,
    /// The norm of the planned step, if the rule needs it.
    pub(super) step_norm: f64,
}

impl<R: Rule> Optimizer<R> {
    /// Both phases of a step, for one layer that is the whole model.
    #[inline(always)]
    pub(super) fn one(&self, threads: Threads, step: &Step, layer: LayerMemory<'_, R::State>) -> Report {
        let machine = self.machine(threads);
        let seen = self.measured(machine, step, &layer.view());
        let decision = Decision { clip: self.clip(seen.gradient_norm), skip: false };
        self.update(machine, step, decision, seen, layer, None)
    }

    /// The first phase, for one layer: its norms, in a preliminary report.
    #[inline(always)]
    pub(super) fn measured(&self, machine: Machine, step: &Step, layer: &LayerView<'_>) -> Report {
        if layer.config.frozen {
            return Report::FROZEN;
        }
        let norms = norms(machine, self.rule.needs(&layer.config), step.gradient_scale, layer);
        self.seen(step, &layer.config, norms)
    }

    /// The report of a layer with these norms, before anything is decided.
    #[inline(always)]
    pub(super) fn seen(&self, step: &Step, config: &LayerConfig, norms: Norms) -> Report {
        let finite = norms.gradient.is_finite() && (norms.weights.is_finite() || !self.rule.needs(config).weights);
        Report {
            gradient_norm: norms.gradient,
            weight_norm: norms.weights,
            effective_rate: mul(step.lr, config.rate),
            outcome: if finite { Outcome::Applied } else { Outcome::NonFinite },
            counts: finite,
            ..Report::ABSENT
        }
    }

    /// What the rule plans, and the state after it.
    #[inline(always)]
    pub(super) fn plan(&self, case: Case<'_>, state: R::State) -> (Plan, R::State) {
        let (mut plan, next) = self.rule.plan(case.lr(), case.config, &case.norms(), state);
        plan.update.gradient = scaled(plan.update.gradient, scaled(case.step.gradient_scale, case.decision.clip));
        (plan, next)
    }

    /// The rule's plan after it has seen the norm of the step.
    #[inline(always)]
    pub(super) fn limited(&self, case: Case<'_>, plan: Plan, step_norm: f64) -> Plan {
        self.rule.limit(case.lr(), case.config, &case.norms(), plan, step_norm)
    }

    /// The scalars of a plan in `f32`; `None` if they do not fit, or if the plan needs moments that the rule does not
    /// keep.
    #[inline(always)]
    pub(super) fn coefficients(&self, plan: &Plan) -> Option<Coefficients> {
        Coefficients::of(&plan.update, self.moments())
    }

    /// The decision for a layer, or its report if it is not updated. If the rule needs the norm of its step, it is
    /// measured here, unless it is known.
    #[inline(always)]
    pub(super) fn decided(
        &self,
        machine: Machine,
        case: Case<'_>,
        layer: &LayerMemory<'_, R::State>,
        step_norm: Option<f64>,
    ) -> Result<Decided<R::State>, Report> {
        if let Some(report) = case.left_alone() {
            return Err(report);
        }
        let (plan, next) = self.plan(case, *layer.state);
        let needed = self.rule.needs(case.config).step;
        if needed == StepNorm::None {
            return Ok(Decided { plan, next, step_norm: f64::NAN });
        }
        // (At `opt-level = "s"` a closure would be a call.)
        let step_norm = match step_norm {
            Some(norm) => norm,
            None => self::step_norm(machine, needed, &plan.update, self.moments(), &layer.view()),
        };
        if !step_norm.is_finite() {
            return Err(case.left(without_norm(&plan, needed, self.moments())));
        }
        Ok(Decided { plan: self.limited(case, plan, step_norm), next, step_norm })
    }

    /// The second phase, for one layer, with its report from the first.
    #[inline(always)]
    pub(super) fn update(
        &self,
        machine: Machine,
        step: &Step,
        decision: Decision,
        seen: Report,
        mut layer: LayerMemory<'_, R::State>,
        step_norm: Option<f64>,
    ) -> Report {
        let config = layer.config;
        let case = Case { step, decision, seen: &seen, config: &config };
        let mut norms = layer.norms.take();
        if let Some(norms) = &mut norms {
            // The carried norm of the gradient belongs to this step only.
            norms.forget_gradient();
        }
        let Decided { plan, next, .. } = match self.decided(machine, case, &layer, step_norm) {
            Ok(decided) => decided,
            Err(report) => return report,
        };
        let Some(coefficients) = self.coefficients(&plan) else { return case.left(Outcome::OutOfRange) };
        *layer.state = next;
        let sum = norms.is_some() && self.rule.needs(&config).weights;
        let written = coefficients.write::<R, _>(machine, self.moments(), sum, layer);
        if let Some(norms) = norms {
            if sum && written.finite { norms.set_weights(written.sum_of_squares) } else { norms.forget_weights() }
        }
        case.applied(&plan, written.finite)
    }
}

/// Why a planned step has no finite norm.
#[cold]
pub(super) fn without_norm(plan: &Plan, needed: StepNorm, moments: Moments) -> Outcome {
    // The norm of the momentum uses the scalars as they are, even without momentum.
    let moments = if needed == StepNorm::Momentum { moments.max(Moments::First) } else { moments };
    if Coefficients::of(&plan.update, moments).is_some() { Outcome::NonFinite } else { Outcome::OutOfRange }
}

/// One layer in the second phase of a step.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) step: &'a Step,
    pub(super) decision: Decision,
    /// What the first phase found.
    pub(super) seen: &'a Report,
    pub(super) config: &'a LayerConfig,
}

impl Case<'_> {
    #[inline(always)]
    fn lr(&self) -> f64 {
        mul(self.step.lr, self.config.rate)
    }

    /// The norms that the rule sees.
    #[inline(always)]
    fn norms(&self) -> Norms {
        Norms { gradient: scaled(self.seen.gradient_norm, self.decision.clip), weights: self.seen.weight_norm }
    }

    /// The report of a layer that is not updated, if that is known before the rule plans.
    #[inline(always)]
    pub(super) fn left_alone(&self) -> Option<Report> {
        if self.seen.outcome != Outcome::Applied {
            return Some(*self.seen);
        }
        self.decision.skip.then(|| self.left(Outcome::StepSkipped))
    }

    /// The report of a layer that is not updated.
    #[inline(always)]
    pub(super) fn left(&self, outcome: Outcome) -> Report {
        Report { effective_rate: self.lr(), outcome, ..*self.seen }
    }

    /// The report of a layer that has been updated.
    #[inline(always)]
    pub(super) fn applied(&self, plan: &Plan, finite: bool) -> Report {
        Report {
            factor: plan.factor,
            effective_rate: plan.effective_rate,
            clipped: plan.clipped,
            outcome: if finite { Outcome::Applied } else { Outcome::Overflowed },
            ..*self.seen
        }
    }
}
