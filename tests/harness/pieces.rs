//! Steps of a [`Net`] by `layerwise::pieces`, as in hosts with their own loops or workers.

use super::compare::Totals;
use super::data::{cuts, leaf_cuts};
use super::net::{Net, range};
use layerwise::pieces::{Decided, LEAF, LayerView, Measured, Pass, Planned, SUMS, Tree};
use layerwise::rule::{Rule, RuleState};
use layerwise::{LayerMemory, NonFinite, Optimizer, Outcome, Report, Step};
use std::ops::Range;

/// The most chunks of a layer.
const CHUNKS: usize = 6;

impl<S: RuleState> Net<S> {
    /// A step by whole layers: measure, decide, apply.
    pub fn step_by_pass<R: Rule<State = S>>(&mut self, optimizer: &Optimizer<R>, step: impl Into<Step>) -> Totals {
        let step = step.into();
        let mut pass = optimizer.pass(step).unwrap();
        let layers = self.present();
        let measured: Vec<_> = layers.iter().map(|&i| pass.measure(self.layer(i).view()).unwrap()).collect();
        let decided = pass.decide();
        // Planned only to find out whether all layers can be updated.
        let rng = &mut fastrand::Rng::with_seed(0);
        let planned: Vec<_> = layers.iter().zip(&measured).map(|(&i, m)| self.plan(&decided, *m, i, rng)).collect();
        if self.leaves_alone(optimizer, &step, &layers, &planned) {
            return self.totals(decided.gradient_norm(), 1.0);
        }
        for (i, measured) in layers.into_iter().zip(measured) {
            self.reports[i] = decided.apply(measured, self.layer(i)).unwrap();
        }
        self.totals(decided.gradient_norm(), decided.clip())
    }

    /// A step in which workers measure and update chunks of each layer, cut at random and in any order. They combine
    /// sums of leaves, or of nodes of the tree. It carries no norms.
    pub fn step_in_chunks<R: Rule<State = S>>(
        &mut self,
        optimizer: &Optimizer<R>,
        step: impl Into<Step>,
        rng: &mut fastrand::Rng,
    ) -> Totals {
        let step = step.into();
        let mut pass = optimizer.pass(step).unwrap();
        let layers = self.present();
        let measured: Vec<_> = layers.iter().map(|&i| self.measure(&mut pass, i, rng)).collect();
        let decided = pass.decide();
        let planned: Vec<_> = layers.iter().zip(measured).map(|(&i, m)| self.plan(&decided, m, i, rng)).collect();
        if self.leaves_alone(optimizer, &step, &layers, &planned) {
            return self.totals(decided.gradient_norm(), 1.0);
        }
        for (i, planned) in layers.into_iter().zip(planned) {
            let mut finite = true;
            for chunk in shuffled(cuts(self.spans[i].len, CHUNKS, rng), rng) {
                finite &= planned.apply(self.chunk(i, chunk)).unwrap();
            }
            (self.reports[i], self.states[i]) = planned.report();
            if !finite {
                self.reports[i].outcome = Outcome::Overflowed;
            }
        }
        self.totals(decided.gradient_norm(), decided.clip())
    }

    /// The layers that have a gradient; the others get their report.
    fn present(&mut self) -> Vec<usize> {
        self.reports.fill(Report::ABSENT);
        (0..self.spans.len()).filter(|&i| !self.absent[i]).collect()
    }

    /// Measures a layer in chunks.
    fn measure<R: Rule<State = S>>(&self, pass: &mut Pass<'_, R>, index: usize, rng: &mut fastrand::Rng) -> Measured {
        let (len, config) = (self.spans[index].len, &self.spans[index].config);
        if rng.bool() {
            let pieces = subtrees(len, [f64::NAN; SUMS], rng, |chunk, sums| {
                pass.subtree_sums(self.view(index, chunk.clone()), len, chunk.start, sums).unwrap();
            });
            return pass.fold_subtrees(config, len, pieces).unwrap();
        }
        let mut sums = vec![[f64::NAN; SUMS]; len.div_ceil(LEAF)];
        for chunk in shuffled(leaf_cuts(len, CHUNKS, rng), rng) {
            let sums = &mut sums[leaves(&chunk)];
            pass.leaf_sums(self.view(index, chunk.clone()), chunk.start, sums).unwrap();
        }
        pass.fold(config, len, &sums).unwrap()
    }

    /// Plans the update of a layer, and measures the planned step in chunks if the rule needs its norm.
    fn plan<R: Rule<State = S>>(
        &self,
        decided: &Decided<'_, R>,
        measured: Measured,
        index: usize,
        rng: &mut fastrand::Rng,
    ) -> Planned<S> {
        let planned = decided.plan(measured, &self.spans[index].config, self.states[index]).unwrap();
        if !planned.needs_step() {
            return planned;
        }
        let len = self.spans[index].len;
        if rng.bool() {
            let pieces = subtrees(len, f64::NAN, rng, |chunk, sums| {
                planned.step_subtree_sums(self.view(index, chunk.clone()), chunk.start, sums).unwrap();
            });
            return decided.limit_subtrees(planned, pieces).unwrap();
        }
        let mut sums = vec![f64::NAN; len.div_ceil(LEAF)];
        for chunk in shuffled(leaf_cuts(len, CHUNKS, rng), rng) {
            let sums = &mut sums[leaves(&chunk)];
            planned.step_leaf_sums(self.view(index, chunk.clone()), chunk.start, sums).unwrap();
        }
        let limited = decided.limit(planned, &sums).unwrap();
        assert!(!limited.needs_step());
        limited
    }

    /// Whether a host that skips whole steps finds a planned step out of range or not finite, and takes no step. If so,
    /// it fills in the reports of all layers.
    fn leaves_alone<R: Rule<State = S>>(
        &mut self,
        optimizer: &Optimizer<R>,
        step: &Step,
        layers: &[usize],
        planned: &[Planned<S>],
    ) -> bool {
        let reports: Vec<_> = planned.iter().map(|planned| planned.report().0).collect();
        let bad = |report: &Report| matches!(report.outcome, Outcome::NonFinite | Outcome::OutOfRange);
        if optimizer.policy().non_finite != NonFinite::SkipStep || !reports.iter().any(bad) {
            return false;
        }
        for (&i, mut report) in layers.iter().zip(reports) {
            if report.applied() {
                (report.outcome, report.factor, report.clipped) = (Outcome::StepSkipped, 1.0, false);
                report.effective_rate = step.lr * self.spans[i].config.rate;
            }
            self.reports[i] = report;
        }
        true
    }

    /// A chunk of a layer, to be read.
    fn view(&self, index: usize, chunk: Range<usize>) -> LayerView<'_> {
        let span = &self.spans[index];
        let chunk = range(span).start + chunk.start..range(span).start + chunk.end;
        LayerView::new(&self.weights[chunk.clone()], &self.gradients[chunk.clone()])
            .momentum(self.momentum.get(chunk.clone()).unwrap_or_default())
            .second_moment(self.second_moment.get(chunk).unwrap_or_default())
            .config(span.config)
    }

    /// A chunk of a layer, to be written.
    fn chunk(&mut self, index: usize, chunk: Range<usize>) -> LayerMemory<'_, S> {
        let span = &self.spans[index];
        let chunk = range(span).start + chunk.start..range(span).start + chunk.end;
        LayerMemory::new(&mut self.weights[chunk.clone()], &self.gradients[chunk.clone()], &mut self.states[index])
            .momentum(self.momentum.get_mut(chunk.clone()).unwrap_or_default())
            .second_moment(self.second_moment.get_mut(chunk).unwrap_or_default())
            .config(span.config)
    }
}

/// The chunks between cuts, in any order.
fn shuffled(cuts: Vec<usize>, rng: &mut fastrand::Rng) -> Vec<Range<usize>> {
    let mut chunks: Vec<_> = cuts.windows(2).map(|cut| cut[0]..cut[1]).collect();
    rng.shuffle(&mut chunks);
    chunks
}

/// The sums of the nodes of an array, computed in random chunks.
fn subtrees<T: Copy>(
    len: usize,
    unset: T,
    rng: &mut fastrand::Rng,
    measure: impl Fn(Range<usize>, &mut [T]),
) -> Vec<(Range<usize>, T)> {
    let cuts = leaf_cuts(len, CHUNKS, rng);
    let of_chunk = |cut: &[usize]| {
        let nodes = Tree::of_len(len).cover(leaves(&(cut[0]..cut[1])));
        let mut sums = vec![unset; nodes.len()];
        measure(cut[0]..cut[1], &mut sums);
        nodes.zip(sums)
    };
    cuts.windows(2).flat_map(of_chunk).collect()
}

/// The leaves of a chunk.
fn leaves(chunk: &Range<usize>) -> Range<usize> {
    chunk.start / LEAF..chunk.end.div_ceil(LEAF)
}
