//! What a program can still reach of an optimizer that it has given to burn.

use crate::Error;
use layerwise::Outcome;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The gradient scale of an optimizer, to be set between steps, and what has happened in its steps.
///
/// burn owns an optimizer once it is part of a `ModuleOptimizer`, and has no place for reports. A handle is cheap to
/// clone, and all clones are one.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The bits of an `f64`.
    gradient_scale: AtomicU64,
    applied: AtomicUsize,
    skipped: AtomicUsize,
    overflowed: AtomicUsize,
    frozen: AtomicUsize,
}

/// How many parameters have had which outcome, over all steps so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Updated, with finite weights.
    pub applied: usize,
    /// Left as they were, because of a NaN or an infinity, or for a step beyond the range of `f32`.
    pub skipped: usize,
    /// Updated, with a weight that is no longer finite: load a checkpoint.
    pub overflowed: usize,
    /// Left as they were, because their configuration says so.
    pub frozen: usize,
}

impl Handle {
    pub(crate) fn new() -> Self {
        let [applied, skipped, overflowed, frozen] = [0; 4].map(AtomicUsize::new);
        let gradient_scale = AtomicU64::new(1_f64.to_bits());
        Handle(Arc::new(Shared { gradient_scale, applied, skipped, overflowed, frozen }))
    }

    /// What all gradients are multiplied by; 1 at first.
    pub fn gradient_scale(&self) -> f64 {
        f64::from_bits(self.0.gradient_scale.load(Relaxed))
    }

    /// Sets what all gradients are multiplied by from the next step on: one over the loss scale, or over the number of
    /// batches whose gradients burn adds up. It costs no pass over memory.
    ///
    /// # Errors
    ///
    /// [`Error::GradientScale`] if it is not finite, or not greater than 0.
    pub fn set_gradient_scale(&self, scale: f64) -> Result<(), Error> {
        if !(scale.is_finite() && scale > 0.0) {
            return Err(Error::GradientScale(scale));
        }
        self.0.gradient_scale.store(scale.to_bits(), Relaxed);
        Ok(())
    }

    /// What has happened so far. In a step that has gone well only `applied` and `frozen` grow.
    pub fn counts(&self) -> Counts {
        let Shared { applied, skipped, overflowed, frozen, .. } = &*self.0;
        let [applied, skipped, overflowed, frozen] =
            [applied, skipped, overflowed, frozen].map(|count| count.load(Relaxed));
        Counts { applied, skipped, overflowed, frozen }
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        let count = match outcome {
            Outcome::Applied => &self.0.applied,
            Outcome::Overflowed => &self.0.overflowed,
            Outcome::Frozen => &self.0.frozen,
            _ => &self.0.skipped,
        };
        count.fetch_add(1, Relaxed);
    }
}
