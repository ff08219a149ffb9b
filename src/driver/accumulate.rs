//! The sum of several gradients.

use crate::{Error, Update};

/// Adds `scale` times a gradient to a sum of gradients, and returns the sum of squares of what it has written.
///
/// It has the bits of [`sum_of_squares`](crate::sum_of_squares), so after the last of several micro-batches the step needs
/// not read the gradient for its norm: hand the result to [`CarriedNorms::set_gradient`](crate::CarriedNorms::set_gradient).
/// A `scale` of one over the number of micro-batches makes their mean; one over the loss scale undoes that.
///
/// # Errors
///
/// [`Error::Length`] if the lengths differ, [`Error::Update`] if `scale` is not a finite `f32`; then nothing is written.
///
/// ```
/// let mut mean = [0.0; 2];
/// layerwise::accumulate(&mut mean, &[2.0, 4.0], 0.5)?;
/// let sum_of_squares = layerwise::accumulate(&mut mean, &[4.0, 4.0], 0.5)?;
/// assert_eq!((mean, sum_of_squares), ([3.0, 4.0], 25.0));
/// # Ok::<(), layerwise::Error>(())
/// ```
pub fn accumulate(sum: &mut [f32], gradients: &[f32], scale: f64) -> Result<f64, Error> {
    Update { gradient: -scale, direct: 1.0, ..Update::NONE }.apply_and_sum(sum, gradients, &mut [])
}
