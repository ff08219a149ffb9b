//! What differs from step to step.

use super::double::is_zero;
use crate::error::{Error, is_non_negative};

/// The arguments of a step besides memory. A number converts to a step with that learning rate, so you can write `0.1`
/// for a `Step`.
///
/// ```
/// use layerwise::Step;
///
/// // For gradients of a loss that was multiplied by 1024:
/// let scaled = Step::new(0.1).gradient_scale(1.0 / 1024.0);
/// assert_eq!(Step::from(0.1).gradient_scale, 1.0);
/// # assert_eq!(scaled.lr, 0.1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// The learning rate, finite and at least 0.
    pub lr: f64,
    /// What all gradients are multiplied by first, finite and greater than 0: one over the loss scale, or over the
    /// number of micro-batches that were added up. Norms, clipping and rules see the scaled gradient. Scaling needs no
    /// extra pass over memory.
    pub gradient_scale: f64,
}

impl Step {
    /// A step with this learning rate, and unscaled gradients.
    pub const fn new(lr: f64) -> Self {
        Step { lr, gradient_scale: 1.0 }
    }

    /// Sets the scale of the gradients.
    #[must_use]
    pub const fn gradient_scale(self, gradient_scale: f64) -> Self {
        Step { gradient_scale, ..self }
    }

    /// Refuses numbers out of range.
    #[inline]
    pub(crate) const fn check(&self) -> Result<(), Error> {
        if !is_non_negative(self.lr) {
            return Err(Error::LearningRate { layer: None, rate: self.lr });
        }
        if !is_non_negative(self.gradient_scale) || is_zero(self.gradient_scale) {
            return Err(Error::GradientScale(self.gradient_scale));
        }
        Ok(())
    }
}

impl From<f64> for Step {
    #[inline]
    fn from(lr: f64) -> Self {
        Step::new(lr)
    }
}
