//! Whole models, updated in every way that the crate offers, and by the contract.

use super::compare::{Totals, assert_same, assert_same_report};
use super::data::uniform;
use crate::reference::contract::{self, Decision};
use layerwise::rule::{Rule, RuleState};
use layerwise::{
    CarriedNorms, Error, FlatModel, LayerConfig, LayerMemory, LayerSpan, Layers, Model, NonFinite, Optimizer, Outcome,
    Report, Step, Summary,
};
use std::ops::Range;

/// A model in one buffer, with the memory of a rule.
#[derive(Clone, Debug)]
pub struct Net<S> {
    pub spans: Vec<LayerSpan>,
    /// Which layers have no gradient and are not lent.
    pub absent: Vec<bool>,
    /// The length that all buffers should have.
    pub len: usize,
    pub weights: Vec<f32>,
    pub gradients: Vec<f32>,
    pub momentum: Vec<f32>,
    pub second_moment: Vec<f32>,
    pub states: Vec<S>,
    /// Carried norms, or none at all.
    pub norms: Vec<CarriedNorms>,
    pub reports: Vec<Report>,
}

/// How a step visits the layers.
#[derive(Clone, Copy, Debug)]
pub enum Walk {
    /// A [`FlatModel`].
    Flat,
    /// A slice of [`LayerMemory`].
    Slice,
    /// A host's own model type, which lends layers to a closure. Only here may layers be absent.
    Lent,
    /// A [`FlatModel`] on this number of threads.
    #[cfg(feature = "rayon")]
    FlatParallel(usize),
    /// A slice of [`LayerMemory`] on this number of threads.
    #[cfg(feature = "rayon")]
    SliceParallel(usize),
}

/// All walks; those on threads with 1 to 8 threads.
pub fn walks() -> Vec<Walk> {
    #[cfg_attr(not(feature = "rayon"), expect(unused_mut))]
    let mut walks = vec![Walk::Flat, Walk::Slice, Walk::Lent];
    #[cfg(feature = "rayon")]
    walks.extend((1..=8).flat_map(|threads| [Walk::FlatParallel(threads), Walk::SliceParallel(threads)]));
    walks
}

/// Runs on a pool of this number of threads, at most 8. Pools are kept.
#[cfg(feature = "rayon")]
pub fn on_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    static POOLS: [std::sync::OnceLock<rayon::ThreadPool>; 9] = [const { std::sync::OnceLock::new() }; 9];
    let pool = || rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    POOLS[threads].get_or_init(pool).install(run)
}

/// The elements of a layer.
pub fn range(span: &LayerSpan) -> Range<usize> {
    span.start..span.start + span.len
}

impl<S: RuleState> Net<S> {
    /// A model of layers of these lengths, `gap` elements apart, of ordinary numbers.
    pub fn new(layers: &[(usize, LayerConfig)], gap: usize, momentum: bool, carried: bool, seed: u64) -> Self {
        let mut spans = vec![];
        let mut end = 0;
        for &(len, config) in layers {
            spans.push(LayerSpan::new(end, len).config(config));
            end += len + gap;
        }
        Net {
            absent: vec![false; spans.len()],
            states: vec![S::default(); spans.len()],
            norms: if carried { vec![CarriedNorms::default(); spans.len()] } else { vec![] },
            reports: vec![Report::default(); spans.len()],
            spans,
            len: end,
            weights: uniform(end, 0.1, seed),
            gradients: uniform(end, 3.0, seed ^ 1),
            momentum: if momentum { uniform(end, 0.5, seed ^ 2) } else { vec![] },
            second_moment: vec![],
        }
    }

    /// The same model with a second moment.
    pub fn with_second_moment(self, seed: u64) -> Self {
        let second_moment = uniform(self.len, 1.0, seed ^ 3).into_iter().map(f32::abs).collect();
        Net { second_moment, ..self }
    }

    /// One layer.
    pub fn layer(&mut self, index: usize) -> LayerMemory<'_, S> {
        let span = self.spans[index];
        let layer =
            LayerMemory::new(&mut self.weights[range(&span)], &self.gradients[range(&span)], &mut self.states[index])
                .momentum(self.momentum.get_mut(range(&span)).unwrap_or_default())
                .second_moment(self.second_moment.get_mut(range(&span)).unwrap_or_default())
                .config(span.config);
        match self.norms.get_mut(index) {
            Some(norms) => layer.norms(norms),
            None => layer,
        }
    }

    /// The layers as separate allocations of a host, and the reports.
    pub fn layers(&mut self) -> (Vec<LayerMemory<'_, S>>, &mut [Report]) {
        let Net { spans, weights, gradients, momentum, second_moment, states, norms, reports, .. } = self;
        let (mut weights, mut momentum, mut norms) = (&mut weights[..], &mut momentum[..], norms.iter_mut());
        let mut second_moment = &mut second_moment[..];
        let mut start = 0;
        let mut layers = vec![];
        for (span, state) in spans.iter().zip(states) {
            let (skip, end) = (span.start - start, span.start - start + span.len);
            let (w, w_rest) = weights.split_at_mut(end);
            let (m, m_rest) = momentum.split_at_mut(if momentum.is_empty() { 0 } else { end });
            let (v, v_rest) = second_moment.split_at_mut(if second_moment.is_empty() { 0 } else { end });
            (weights, momentum, second_moment, start) = (w_rest, m_rest, v_rest, span.start + span.len);
            let layer = LayerMemory::new(&mut w[skip..], &gradients[range(span)], state)
                .momentum(m.get_mut(skip..).unwrap_or_default())
                .second_moment(v.get_mut(skip..).unwrap_or_default())
                .config(span.config);
            layers.push(match norms.next() {
                Some(norms) => layer.norms(norms),
                None => layer,
            });
        }
        (layers, reports)
    }

    pub fn step<R: Rule<State = S> + Sync>(
        &mut self,
        optimizer: &Optimizer<R>,
        step: impl Into<Step>,
        walk: Walk,
    ) -> Totals {
        self.try_step(optimizer, step, walk).unwrap().into()
    }

    /// A step of a model. Its table of layers is right; for walks over layers, the lengths are too.
    pub fn try_step<R: Rule<State = S> + Sync>(
        &mut self,
        optimizer: &Optimizer<R>,
        step: impl Into<Step>,
        walk: Walk,
    ) -> Result<Summary, Error> {
        let step = step.into();
        assert!(matches!(walk, Walk::Lent) || !self.absent.contains(&true), "only a host's own type leaves out layers");
        match walk {
            Walk::Flat => self.flat(|model, reports| optimizer.step(step, model, reports)),
            Walk::Slice => {
                let (mut layers, reports) = self.layers();
                optimizer.step(step, &mut layers[..], reports)
            }
            Walk::Lent => {
                let mut reports = std::mem::take(&mut self.reports);
                let result = optimizer.step(step, &mut Lent(self), &mut reports);
                self.reports = reports;
                result
            }
            #[cfg(feature = "rayon")]
            Walk::FlatParallel(threads) => {
                self.flat(|model, reports| on_threads(threads, || optimizer.step_parallel(step, model, reports)))
            }
            #[cfg(feature = "rayon")]
            Walk::SliceParallel(threads) => {
                let (mut layers, reports) = self.layers();
                on_threads(threads, || optimizer.step_parallel(step, &mut layers[..], reports))
            }
        }
    }

    /// Runs something on the model as a [`FlatModel`].
    fn flat<T>(&mut self, run: impl FnOnce(&mut FlatModel<'_, S>, &mut [Report]) -> T) -> T {
        let layers = Layers::with_gaps(&self.spans, self.len).unwrap();
        let model = FlatModel::new(&layers, &mut self.weights, &self.gradients, &mut self.states)
            .momentum(&mut self.momentum)
            .second_moment(&mut self.second_moment);
        let mut model = if self.norms.is_empty() { model } else { model.norms(&mut self.norms) };
        run(&mut model, &mut self.reports)
    }

    /// Updates the layers one by one, as a host without a table would.
    pub fn step_one_by_one<R: Rule<State = S>>(&mut self, optimizer: &Optimizer<R>, step: impl Into<Step>) {
        let step = step.into();
        for index in 0..self.spans.len() {
            self.reports[index] = match self.absent[index] {
                true => Report::ABSENT,
                false => optimizer.step_layer(step, self.layer(index)).unwrap(),
            };
        }
    }

    /// Updates the model by the contract, without carried norms.
    pub fn step_by_contract<R: Rule<State = S>>(&mut self, optimizer: &Optimizer<R>, step: impl Into<Step>) -> Totals {
        let (step, rule, policy) = (step.into(), optimizer.rule(), optimizer.policy());
        let mut reports = self.each(|_, layer| contract::measure(rule, &step, &layer));

        // Decided before anything is updated.
        let counts = |report: &&Report| report.outcome == Outcome::Applied;
        let squares = reports.iter().filter(counts).map(|report| report.gradient_norm * report.gradient_norm);
        let gradient_norm = squares.fold(0.0, |sum, square| sum + square).sqrt();
        let mut decision = Decision { clip: contract::clip(policy, gradient_norm), skip: false };
        if policy.non_finite == NonFinite::SkipStep {
            let planned = self.each(|i, layer| {
                let mut report = reports[i];
                if let Err(outcome) = contract::plan(rule, &step, decision.clip, &report, &layer) {
                    report.outcome = outcome;
                }
                report
            });
            let bad = |report: &Report| matches!(report.outcome, Outcome::NonFinite | Outcome::OutOfRange);
            // If the norms are bad, no step is planned.
            if !reports.iter().any(bad) {
                reports = planned;
            }
            if reports.iter().any(bad) {
                decision = Decision { clip: 1.0, skip: true };
            }
        }

        self.reports = self.each(|i, layer| contract::apply(rule, &step, &decision, reports[i], layer));
        self.totals(gradient_norm, decision.clip)
    }

    /// The summary of the reports, with the decision for the whole step.
    pub fn totals(&self, gradient_norm: f64, clip: f64) -> Totals {
        let count = |outcomes: &[Outcome]| self.reports.iter().filter(|r| outcomes.contains(&r.outcome)).count();
        Totals {
            applied: count(&[Outcome::Applied]),
            skipped: count(&[Outcome::NonFinite, Outcome::OutOfRange, Outcome::StepSkipped]),
            overflowed: count(&[Outcome::Overflowed]),
            gradient_norm,
            clip,
        }
    }

    /// The report of each layer by the contract. An absent layer is not run.
    fn each(&mut self, mut run: impl FnMut(usize, contract::Layer<'_, S>) -> Report) -> Vec<Report> {
        let Net { spans, absent, weights, gradients, momentum, second_moment, states, .. } = self;
        let report = |(index, span): (usize, &LayerSpan)| {
            if absent[index] {
                return Report::ABSENT;
            }
            let layer = contract::Layer {
                config: span.config,
                weights: &mut weights[range(span)],
                gradients: &gradients[range(span)],
                momentum: momentum.get_mut(range(span)).unwrap_or_default(),
                second_moment: second_moment.get_mut(range(span)).unwrap_or_default(),
                state: &mut states[index],
            };
            run(index, layer)
        };
        spans.iter().enumerate().map(report).collect()
    }

    /// Fails unless two models are the same, bit for bit.
    pub fn assert_same(&self, what: &str, other: &Self) {
        assert_same(&format!("weight, {what},"), &self.weights, &other.weights);
        assert_same(&format!("gradient, {what},"), &self.gradients, &other.gradients);
        assert_same(&format!("momentum, {what},"), &self.momentum, &other.momentum);
        assert_same(&format!("second moment, {what},"), &self.second_moment, &other.second_moment);
        for (ours, theirs) in self.reports.iter().zip(&other.reports) {
            assert_same_report(ours, theirs);
        }
        assert_eq!(
            format!("{:?}", (&self.states, &self.norms)),
            format!("{:?}", (&other.states, &other.norms)),
            "{what}"
        );
    }

    /// The same model without carried norms.
    pub fn without_norms(&self) -> Self {
        Net { norms: vec![], ..self.clone() }
    }
}

/// A host's own model type.
struct Lent<'n, S>(&'n mut Net<S>);

impl<S: RuleState> Model<S> for Lent<'_, S> {
    fn count(&self) -> usize {
        self.0.spans.len()
    }

    fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, S>)) {
        if !self.0.absent[index] {
            visit(self.0.layer(index));
        }
    }
}
