//! Steps over many layers on the threads of rayon.
//!
//! A model is divided between layers where both parts cost the same, again and again, until a part is worth one task or is
//! one layer. A large layer is then divided by the kernels, along the tree of the numeric contract.

use crate::driver::many::{Flat, Model, Phase, Views};
use crate::kernel::join::Join;
use crate::{Error, LayerView, Layers, ModelState, Optimizer, Report, Rule, Summary};

/// What a layer costs beside its elements, in elements.
const LAYER: usize = 512;

impl<R: Rule + Sync> Optimizer<R>
where
    R::State: Send,
{
    /// [`step`](Optimizer::step) on the threads of rayon's current pool, with the same bits. Needs the feature `rayon`.
    ///
    /// Layers are divided between threads by cost, large ones in pieces and small ones in batches, so that neither one huge
    /// layer nor thousands of biases keep all but one thread waiting.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] and [`Error::LearningRate`]; then nothing is written.
    ///
    /// ```
    /// use layerwise::{LayerSpan, Layers, ModelState, Report, Sgd, SgdConfig, SgdState};
    ///
    /// let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap();
    /// let spans = LayerSpan::contiguous([100_000, 10]);
    /// let layers = Layers::new(&spans, 100_010).unwrap();
    /// let (mut weights, gradients) = (vec![1.0; 100_010], vec![1.0; 100_010]);
    /// let mut states = [SgdState::default(); 2];
    /// let state = ModelState { momentum: &mut [], states: &mut states, norms: &mut [] };
    /// sgd.step_parallel(0.5, &layers, &mut weights, &gradients, state, &mut [Report::default(); 2])?;
    /// assert!(weights.iter().all(|w| *w == 0.5));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn step_parallel(
        &self,
        lr: f64,
        layers: &Layers<'_>,
        weights: &mut [f32],
        gradients: &[f32],
        state: ModelState<'_, R::State>,
        reports: &mut [Report],
    ) -> Result<Summary, Error> {
        let mut model = self.flat(lr, layers, weights, gradients, state, reports.len())?;
        Ok(self.run(&mut model, reports, |phase, model, reports| self.divide(phase, lr, model.reborrow(), reports)))
    }

    /// [`step_views`](Optimizer::step_views) on the threads of rayon's current pool, with the same bits. Needs the feature
    /// `rayon`.
    ///
    /// # Errors
    ///
    /// [`Error::LengthInLayer`], [`Error::Length`] of the reports, and [`Error::LearningRate`]; then nothing is written.
    pub fn step_views_parallel(
        &self,
        lr: f64,
        views: &mut [LayerView<'_, R::State>],
        reports: &mut [Report],
    ) -> Result<Summary, Error> {
        self.check_views(lr, views, reports.len())?;
        Ok(self
            .run(&mut Views(views), reports, |phase, model, reports| self.divide(phase, lr, Views(model.0), reports)))
    }

    /// Carries a phase out on all layers.
    fn divide<M: Divide<R::State> + Send>(&self, phase: Phase, lr: f64, mut model: M, reports: &mut [Report]) {
        if let [report] = reports {
            if let Some(mut view) = model.view(0) {
                self.phase(Join::Threads, phase, lr, &mut view, report);
            }
            return;
        }
        let Some(mid) = model.middle() else {
            self.walk(phase, lr, &mut model, reports);
            return;
        };
        let (left, right) = model.split_at(mid);
        let Some((left_reports, right_reports)) = reports.split_at_mut_checked(mid) else { return };
        Join::Threads
            .join(|| self.divide(phase, lr, left, left_reports), || self.divide(phase, lr, right, right_reports));
    }
}

/// Layers that can be divided between threads.
trait Divide<S>: Model<S> + Sized {
    /// The layer at which two parts of about the same cost meet; nothing if all layers together are worth one task.
    fn middle(&self) -> Option<usize>;

    /// The layers before `layer`, and the others.
    fn split_at(self, layer: usize) -> (Self, Self);
}

impl<S> Flat<'_, S> {
    fn reborrow(&mut self) -> Flat<'_, S> {
        Flat {
            spans: self.spans,
            start: self.start,
            weights: self.weights,
            gradients: self.gradients,
            momentum: self.momentum,
            states: self.states,
            norms: self.norms,
        }
    }
}

impl<S> Divide<S> for Flat<'_, S> {
    fn middle(&self) -> Option<usize> {
        let cost_before = |layer: usize, start: usize| start - self.start + layer * LAYER;
        let cost = cost_before(self.spans.len(), self.start + self.weights.len());
        if cost <= Join::GRAIN {
            return None;
        }
        let (mut low, mut high) = (1, self.spans.len() - 1);
        while low < high {
            let mid = low + (high - low) / 2;
            if self.spans.get(mid).is_some_and(|span| cost_before(mid, span.start + span.len / 2) < cost / 2) {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        Some(low)
    }

    fn split_at(self, layer: usize) -> (Self, Self) {
        let Flat { spans, start, weights, gradients, momentum, states, norms } = self;
        let (s1, s2) = spans.split_at(layer);
        let middle = s2.first().map_or(start + weights.len(), |span| span.start);
        let cut = middle - start;
        let (w1, w2) = weights.split_at_mut(cut);
        let (g1, g2) = gradients.split_at(cut);
        let (m1, m2) = momentum.split_at_mut(cut.min(momentum.len()));
        let (t1, t2) = states.split_at_mut(layer);
        let (n1, n2) = norms.split_at_mut(layer.min(norms.len()));
        (
            Flat { spans: s1, start, weights: w1, gradients: g1, momentum: m1, states: t1, norms: n1 },
            Flat { spans: s2, start: middle, weights: w2, gradients: g2, momentum: m2, states: t2, norms: n2 },
        )
    }
}

impl<S> Divide<S> for Views<'_, '_, S> {
    fn middle(&self) -> Option<usize> {
        let cost = |view: &LayerView<'_, S>| view.weights.len() + LAYER;
        let total = self.0.iter().map(cost).sum::<usize>();
        if total <= Join::GRAIN {
            return None;
        }
        let mut before = 0;
        let middle = self.0.iter().take_while(|view| {
            before += cost(view);
            before - cost(view) / 2 < total / 2
        });
        Some(middle.count().clamp(1, self.0.len() - 1))
    }

    fn split_at(self, layer: usize) -> (Self, Self) {
        let (left, right) = self.0.split_at_mut(layer);
        (Views(left), Views(right))
    }
}
