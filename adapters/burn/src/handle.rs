//! Access to an optimizer after it has been given to burn.

use crate::Error;
use layerwise::Outcome;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Sets the gradient scale of an optimizer between steps, and reports what happened in its steps.
///
/// burn owns an optimizer once it is part of a `ModuleOptimizer`, and has no place for reports. A handle is cheap to
/// clone, and all clones share their state.
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

/// How many parameters had each outcome, over all steps so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Updated, with finite weights.
    pub applied: usize,
    /// Not updated, because of a NaN or an infinity, or because the step overflows `f32`.
    pub skipped: usize,
    /// Updated, with a weight that is no longer finite: load a checkpoint.
    pub overflowed: usize,
    /// Not updated, because their configuration freezes them.
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
    /// batches whose gradients burn adds up. This needs no extra pass over memory.
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

    /// What has happened so far. In a good step only `applied` and `frozen` grow.
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
