//! What differs from step to step.

use super::double::is_zero;
use crate::error::{Error, is_non_negative};

/// What one step is given beside memory. A number is a step with this learning rate, so `0.1` will do for a `Step`.
///
/// ```
/// use layerwise::Step;
///
/// let scaled = Step::new(0.1).gradient_scale(1.0 / 1024.0); // gradients of a loss that was multiplied by 1024
/// assert_eq!(Step::from(0.1).gradient_scale, 1.0);
/// # assert_eq!(scaled.lr, 0.1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// The learning rate, finite and at least 0.
    pub lr: f64,
    /// What all gradients are multiplied by first, finite and greater than 0: one over the loss scale, or over the
    /// number of micro-batches that were added up. Norms, clipping and rules see the scaled gradient. It costs no pass
    /// over memory.
    pub gradient_scale: f64,
}

impl Step {
    /// A step with this learning rate, and gradients as they are.
    pub const fn new(lr: f64) -> Self {
        Step { lr, gradient_scale: 1.0 }
    }

    /// The same step with gradients that are multiplied by `gradient_scale`.
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
