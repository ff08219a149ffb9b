//! Steps over many layers on the threads of rayon.
//!
//! A model is split between two layers into parts of about the same cost, recursively, until a part is one layer or
//! worth no more than one task. The kernels then split a large layer along the tree of the numeric contract.

use super::optimizer::Optimizer;
use super::step::{OneByOne, Phase, Walk};
use crate::error::Error;
use crate::kernel::machine::Threads;
use crate::kernel::shape::TILE;
use crate::memory::flat::FlatModel;
use crate::memory::layer::LayerMemory;
use crate::memory::model::Model;
use crate::memory::report::{Report, Summary};
use crate::rules::rule::Rule;
use crate::rules::step::Step;

/// The fixed cost of a layer, in elements.
const LAYER: usize = 512;

impl<R: Rule + Sync> Optimizer<R> {
    /// [`step`](Optimizer::step) on the threads of rayon's current pool, with the same bits.
    ///
    /// Layers are divided between threads by cost, large ones in pieces and small ones in batches, so that neither one
    /// huge layer nor thousands of biases keep all but one thread waiting. To step your own model type on threads, pass
    /// the list of its layers: `tensors.iter_mut().map(Tensor::memory).collect::<Vec<_>>()`.
    ///
    /// # Errors
    ///
    /// As [`step`](Optimizer::step); then nothing is written.
    ///
    /// ```
    /// use layerwise::{FlatModel, LayerSpan, Layers, Report, Sgd, SgdConfig, SgdState};
    ///
    /// let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap();
    /// let spans = LayerSpan::contiguous([100_000, 10]);
    /// let layers = Layers::new(&spans, 100_010).unwrap();
    /// let (mut weights, gradients, mut states) = (vec![1.0; 100_010], vec![1.0; 100_010], [SgdState::default(); 2]);
    /// let mut model = FlatModel::new(&layers, &mut weights, &gradients, &mut states);
    /// sgd.step_parallel(0.5, &mut model, &mut [Report::ABSENT; 2])?;
    /// assert!(weights.iter().all(|w| *w == 0.5));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn step_parallel(
        &self,
        step: impl Into<Step>,
        model: &mut (impl Parallel<R::State> + ?Sized),
        reports: &mut [Report],
    ) -> Result<Summary, Error> {
        let step = step.into();
        self.check_model(&step, model, reports)?;
        Ok(self.run(&step, &mut Divided(model), reports))
    }
}

/// The layers of a model, split between threads.
struct Divided<'m, M: ?Sized>(&'m mut M);

impl<R: Rule + Sync, M: Parallel<R::State> + ?Sized> Walk<R> for Divided<'_, M> {
    fn walk(&mut self, optimizer: &Optimizer<R>, step: &Step, phase: Phase, reports: &mut [Report]) {
        divide(optimizer, step, phase, self.0.part(), reports);
    }
}

fn divide<R: Rule + Sync>(
    optimizer: &Optimizer<R>,
    step: &Step,
    phase: Phase,
    mut part: impl Part<R::State>,
    reports: &mut [Report],
) {
    if let [report] = reports {
        part.layer(0, |layer| optimizer.visit(Threads::Pool, step, phase, layer, report));
        return;
    }
    let Some(middle) = part.middle() else {
        OneByOne(&mut part).walk(optimizer, step, phase, reports);
        return;
    };
    let Some((left_reports, right_reports)) = reports.split_at_mut_checked(middle) else { return };
    let Some((left, right)) = part.split_at(middle) else { return };
    rayon::join(
        || divide(optimizer, step, phase, left, left_reports),
        || divide(optimizer, step, phase, right, right_reports),
    );
}

/// Models that can lend all their layers at once: [`FlatModel`], and slices, arrays and `Vec`s of [`LayerMemory`].
/// Sealed.
pub trait Parallel<S>: Model<S> + sealed::Sealed {
    #[doc(hidden)]
    type Part<'p>: Part<S>
    where
        Self: 'p;

    #[doc(hidden)]
    fn part(&mut self) -> Self::Part<'_>;
}

mod sealed {
    pub trait Sealed {}
}

/// Layers that can be split between threads.
#[doc(hidden)]
pub trait Part<S>: Model<S> + Sized + Send {
    /// The layer at which to split into two parts of about the same cost; `None` if there are fewer than two layers, or
    /// all together are worth no more than one task.
    fn middle(&self) -> Option<usize>;

    /// The layers before `layer`, and the others.
    fn split_at(self, layer: usize) -> Option<(Self, Self)>;
}

impl<S> sealed::Sealed for FlatModel<'_, S> {}

impl<'a, S: Send> Parallel<S> for FlatModel<'a, S> {
    type Part<'p>
        = FlatModel<'p, S>
    where
        Self: 'p;

    fn part(&mut self) -> FlatModel<'_, S> {
        self.reborrow()
    }
}

impl<S: Send> Part<S> for FlatModel<'_, S> {
    fn middle(&self) -> Option<usize> {
        let (spans, range) = (self.layers().spans(), self.range());
        let cost_before = |layer: usize, start: usize| start - range.start + layer * LAYER;
        let cost = cost_before(spans.len(), range.end);
        if spans.len() < 2 || cost <= TILE {
            return None;
        }
        let (mut low, mut high) = (1, spans.len() - 1);
        while low < high {
            let mid = low + (high - low) / 2;
            if spans.get(mid).is_some_and(|span| cost_before(mid, span.start + span.len / 2) < cost / 2) {
                low = mid + 1;
            } else {
                high = mid;
            }
        }
        Some(low)
    }

    fn split_at(self, layer: usize) -> Option<(Self, Self)> {
        FlatModel::split_at(self, layer)
    }
}

/// A part of a sequence of layers.
#[doc(hidden)]
pub struct Sequence<'p, 'a, S>(&'p mut [LayerMemory<'a, S>]);

impl<S> Model<S> for Sequence<'_, '_, S> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, S>)) {
        self.0.layer(index, visit);
    }
}

impl<S: Send> Part<S> for Sequence<'_, '_, S> {
    fn middle(&self) -> Option<usize> {
        let cost = |layer: &LayerMemory<'_, S>| layer.weights.len() + LAYER;
        let total = self.0.iter().map(cost).sum::<usize>();
        if self.0.len() < 2 || total <= TILE {
            return None;
        }
        let mut before = 0;
        let middle = self.0.iter().take_while(|layer| {
            before += cost(layer);
            before - cost(layer) / 2 < total / 2
        });
        Some(middle.count().clamp(1, self.0.len() - 1))
    }

    fn split_at(self, layer: usize) -> Option<(Self, Self)> {
        let (left, right) = self.0.split_at_mut_checked(layer)?;
        Some((Sequence(left), Sequence(right)))
    }
}

/// Three types that are slices.
macro_rules! sequences {
    ($($(#[$if:meta])? [$($generics:tt)*] $type:ty;)*) => { $(
        $(#[$if])?
        impl<'a, S, $($generics)*> sealed::Sealed for $type {}

        $(#[$if])?
        impl<'a, S: Send, $($generics)*> Parallel<S> for $type {
            type Part<'p> = Sequence<'p, 'a, S> where Self: 'p;

            fn part(&mut self) -> Sequence<'_, 'a, S> {
                Sequence(&mut self[..])
            }
        }
    )* };
}
sequences! {
    [] [LayerMemory<'a, S>];
    [const N: usize] [LayerMemory<'a, S>; N];
    #[cfg(feature = "alloc")] [] alloc::vec::Vec<LayerMemory<'a, S>>;
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    extern crate std;

    use super::{LAYER, Parallel, Part, TILE};
    use crate::memory::flat::FlatModel;
    use crate::memory::layer::LayerMemory;
    use crate::memory::table::{LayerSpan, Layers};
    use std::{vec, vec::Vec};

    /// The costs of two parts differ by no more than the larger of the two layers where they meet, two fixed costs, and
    /// the rounding of halves.
    fn assert_equal_parts<S>(part: impl Part<S>, lengths: &[usize]) {
        let cost = |lengths: &[usize]| lengths.iter().map(|len| len + LAYER).sum::<usize>();
        let Some(middle) = part.middle() else {
            return assert!(lengths.len() < 2 || cost(lengths) <= TILE);
        };
        assert!(cost(lengths) > TILE);
        let (left, right) = lengths.split_at(middle);
        let most = lengths[middle - 1].max(lengths[middle]) + 2 * LAYER + 2;
        assert!(cost(left).abs_diff(cost(right)) <= most, "{lengths:?} at {middle}");
        let (left_part, right_part) = part.split_at(middle).unwrap();
        assert_equal_parts(left_part, left);
        assert_equal_parts(right_part, right);
    }

    #[test]
    fn parts_cost_the_same() {
        let mut rng = fastrand::Rng::with_seed(1);
        for count in (0..60).chain([1000]) {
            let most = [100, 3000, 40_000][count % 3];
            let lengths: Vec<usize> = (0..count).map(|_| rng.usize(..most)).collect();
            let total = lengths.iter().sum();
            let (mut weights, gradients, mut states) = (vec![0.0; total], vec![0.0; total], vec![(); count]);

            let spans: Vec<_> = LayerSpan::follow(lengths.iter().copied()).collect();
            let layers = Layers::new(&spans, total).unwrap();
            assert_equal_parts(FlatModel::new(&layers, &mut weights, &gradients, &mut states).part(), &lengths);

            let mut arrays: Vec<_> = lengths.iter().map(|&len| (vec![0.0; len], vec![0.0; len], ())).collect();
            let mut model: Vec<_> = arrays.iter_mut().map(|(w, g, state)| LayerMemory::new(w, &*g, state)).collect();
            assert_equal_parts(model.part(), &lengths);
        }
    }
}
