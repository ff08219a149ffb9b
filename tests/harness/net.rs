//! Whole models, stepped in every way that the crate has, and by the contract.

use super::contract;
use super::oracle::{assert_same, assert_same_report, same};
use layerwise::{
    CarriedNorms, Error, Layer, LayerSpan, LayerView, Layers, ModelState, NonFinite, Norms, Optimizer, Outcome, Report,
    Rule, Summary,
};
use std::fmt::Debug;

/// A model in one buffer, with the memory of a rule.
#[derive(Clone, Debug)]
pub struct Model<S> {
    pub spans: Vec<LayerSpan>,
    /// The length that all buffers should have.
    pub len: usize,
    pub weights: Vec<f32>,
    pub gradients: Vec<f32>,
    pub momentum: Vec<f32>,
    pub states: Vec<S>,
    pub norms: Vec<CarriedNorms>,
    pub reports: Vec<Report>,
}

/// How a step visits the layers.
#[derive(Clone, Copy, Debug)]
pub enum Walk {
    Serial,
    Views,
    #[cfg(feature = "rayon")]
    Parallel(usize),
    #[cfg(feature = "rayon")]
    ViewsParallel(usize),
}

/// Runs on a pool of this many threads, which stays.
#[cfg(feature = "rayon")]
fn on_threads<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
    static POOLS: [std::sync::OnceLock<rayon::ThreadPool>; 9] = [const { std::sync::OnceLock::new() }; 9];
    let pool = || rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    POOLS[threads].get_or_init(pool).install(run)
}

#[cfg(not(feature = "rayon"))]
pub fn walks() -> Vec<Walk> {
    vec![Walk::Serial, Walk::Views]
}

#[cfg(feature = "rayon")]
pub fn walks() -> Vec<Walk> {
    let parallel = (1..=8).flat_map(|threads| [Walk::Parallel(threads), Walk::ViewsParallel(threads)]);
    [Walk::Serial, Walk::Views].into_iter().chain(parallel).collect()
}

impl<S: Copy + Default + Send + Sync> Model<S> {
    /// A model of these layers, `gap` elements apart.
    pub fn new(layers: &[(usize, Layer)], gap: usize, momentum: bool, carried: bool, seed: u64) -> Self {
        let mut spans = vec![];
        let mut end = 0;
        for &(len, layer) in layers {
            spans.push(LayerSpan { start: end, len, layer });
            end += len + gap;
        }
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut numbers = |scale: f32| (0..end).map(|_| scale * (2.0 * rng.f32() - 1.0)).collect::<Vec<_>>();
        let (weights, gradients) = (numbers(0.1), numbers(3.0));
        let momentum = if momentum { numbers(0.5) } else { vec![] };
        Model {
            states: vec![S::default(); spans.len()],
            norms: if carried { vec![CarriedNorms::default(); spans.len()] } else { vec![] },
            reports: vec![Report::default(); spans.len()],
            spans,
            len: end,
            weights,
            gradients,
            momentum,
        }
    }

    pub fn step<R: Rule<State = S> + Sync>(&mut self, optimizer: &Optimizer<R>, lr: f64, walk: Walk) -> Summary {
        self.try_step(optimizer, lr, walk).unwrap()
    }

    /// A step of a model of which the table of layers is right, and for walks over views the lengths too.
    pub fn try_step<R: Rule<State = S> + Sync>(
        &mut self,
        optimizer: &Optimizer<R>,
        lr: f64,
        walk: Walk,
    ) -> Result<Summary, Error> {
        let layers = Layers::with_gaps(&self.spans, self.len).unwrap();
        let state = ModelState { momentum: &mut self.momentum, states: &mut self.states, norms: &mut self.norms };
        let (weights, gradients, reports) = (&mut self.weights, &self.gradients, &mut self.reports);
        match walk {
            Walk::Serial => optimizer.step(lr, &layers, weights, gradients, state, reports),
            #[cfg(feature = "rayon")]
            Walk::Parallel(threads) => {
                on_threads(threads, || optimizer.step_parallel(lr, &layers, weights, gradients, state, reports))
            }
            Walk::Views => optimizer.step_views(lr, &mut views(&self.spans, weights, gradients, state), reports),
            #[cfg(feature = "rayon")]
            Walk::ViewsParallel(threads) => {
                let mut views = views(&self.spans, weights, gradients, state);
                on_threads(threads, || optimizer.step_views_parallel(lr, &mut views, reports))
            }
        }
    }

    /// Steps the model by the page of the contract, without carried norms.
    pub fn step_by_contract<R: Rule<State = S>>(&mut self, optimizer: &Optimizer<R>, lr: f64) -> Summary {
        let (rule, policy) = (optimizer.rule(), optimizer.policy());
        let range = |span: &LayerSpan| span.start..span.start + span.len;
        let measured: Vec<Norms> = self
            .spans
            .iter()
            .map(|span| {
                contract::norms(&rule.needs(&span.layer), &self.weights[range(span)], &self.gradients[range(span)])
            })
            .collect();
        let trained =
            || self.spans.iter().zip(&measured).filter(|(span, _)| !span.layer.frozen).map(|(_, norms)| norms);
        let skips = policy.non_finite == NonFinite::SkipStep && trained().any(|norms| !norms.are_finite());
        let squares = trained().filter(|norms| norms.are_finite()).map(|norms| norms.gradient * norms.gradient);
        let clip = if skips { 1.0 } else { contract::clip(policy, squares.sum::<f64>().sqrt()) };

        let mut summary = Summary { applied: 0, skipped: 0, gradient_norm: 0.0, clip };
        for (i, (span, norms)) in self.spans.iter().zip(&measured).enumerate() {
            let (layer, w, g) = (&span.layer, &mut self.weights[range(span)], &self.gradients[range(span)]);
            let m = self.momentum.get_mut(range(span)).unwrap_or_default();
            let report = if layer.frozen {
                Report::FROZEN
            } else if skips && norms.are_finite() {
                let (gradient_norm, weight_norm) = (norms.gradient, norms.weights.unwrap_or(f64::NAN));
                let (effective_rate, outcome) = (lr * layer.rate, Outcome::StepSkipped);
                Report { gradient_norm, weight_norm, effective_rate, outcome, ..Report::FROZEN }
            } else {
                contract::update_by(rule, lr, clip, layer, norms, w, g, m, &mut self.states[i])
            };
            match report.outcome {
                Outcome::Frozen => {}
                Outcome::Applied => summary.applied += 1,
                _ => summary.skipped += 1,
            }
            if !layer.frozen && report.outcome != Outcome::NonFinite {
                summary.gradient_norm += report.gradient_norm * report.gradient_norm;
            }
            self.reports[i] = report;
        }
        summary.gradient_norm = summary.gradient_norm.sqrt();
        summary
    }

    /// Fails unless two models are the same, bit for bit.
    pub fn assert_same(&self, what: &str, other: &Self)
    where
        S: Debug,
    {
        assert_same(&format!("weight, {what},"), &self.weights, &other.weights);
        assert_same(&format!("gradient, {what},"), &self.gradients, &other.gradients);
        assert_same(&format!("momentum, {what},"), &self.momentum, &other.momentum);
        for (ours, theirs) in self.reports.iter().zip(&other.reports) {
            assert_same_report(ours, theirs);
        }
        assert_eq!(
            format!("{:?}", (&self.states, &self.norms)),
            format!("{:?}", (&other.states, &other.norms)),
            "{what}"
        );
    }

    /// Steps each layer by itself, as a host without a table would.
    pub fn step_one_by_one<R: Rule<State = S>>(&mut self, optimizer: &Optimizer<R>, lr: f64) {
        let state = ModelState { momentum: &mut self.momentum, states: &mut self.states, norms: &mut self.norms };
        let views = views(&self.spans, &mut self.weights, &self.gradients, state);
        for (view, report) in views.into_iter().zip(&mut self.reports) {
            *report = optimizer.step_view(lr, view).unwrap();
        }
    }
}

/// Fails unless two summaries are the same.
pub fn assert_same_summary(ours: &Summary, theirs: &Summary) {
    let agree = same(ours.gradient_norm, theirs.gradient_norm) && same(ours.clip, theirs.clip);
    assert!(
        agree && (ours.applied, ours.skipped) == (theirs.applied, theirs.skipped),
        "{ours:?} instead of {theirs:?}"
    );
}

/// The layers of a buffer as a host has them that allocates each.
pub fn views<'a, S>(
    spans: &[LayerSpan],
    mut weights: &'a mut [f32],
    gradients: &'a [f32],
    state: ModelState<'a, S>,
) -> Vec<LayerView<'a, S>> {
    let ModelState { mut momentum, states, norms } = state;
    let mut norms = norms.iter_mut();
    let mut start = 0;
    let mut views = vec![];
    for (span, state) in spans.iter().zip(states) {
        let (skip, end) = (span.start - start, span.start - start + span.len);
        let (w, w_rest) = weights.split_at_mut(end);
        let (m, m_rest) = momentum.split_at_mut(if momentum.is_empty() { 0 } else { end });
        (weights, momentum, start) = (w_rest, m_rest, span.start + span.len);
        views.push(LayerView {
            layer: span.layer,
            weights: &mut w[skip..],
            gradients: &gradients[span.start..span.start + span.len],
            momentum: m.get_mut(skip..).unwrap_or_default(),
            state,
            norms: norms.next(),
        });
    }
    views
}
