//! Norms of flat slices.
//!
//! They are accurate (relative error far below 10⁻⁶ at any length), never overflow or underflow, and have the same bits
//! on every machine. Only a NaN or an infinity in the data makes one non-finite.

use crate::error::{Error, Slice, check_length};
use crate::kernel::join::Serial;
use crate::kernel::norm::{self, Plain};

/// The L2 norm `√(Σ xᵢ²)`.
///
/// ```
/// assert_eq!(layerwise::l2_norm(&[3.0, 4.0]), 5.0);
/// assert_eq!(layerwise::l2_norm(&[1e20; 4]) as f32, 2e20); // the squares overflow an f32
/// assert_eq!(layerwise::l2_norm(&[1e-23; 4]) as f32, 2e-23); // the squares are below the smallest f32
/// assert!(layerwise::l2_norm(&[1.0, f32::NAN]).is_nan());
/// ```
pub fn l2_norm(x: &[f32]) -> f64 {
    libm::sqrt(sum_of_squares(x))
}

/// The L2 norms of weights and gradients of one length, in one pass.
///
/// Each has the bits of [`l2_norm`].
///
/// # Errors
///
/// [`Error::Length`] if the lengths differ.
///
/// ```
/// assert_eq!(layerwise::l2_norms(&[3.0, 4.0], &[0.0, 0.5])?, [5.0, 0.5]);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub fn l2_norms(weights: &[f32], gradients: &[f32]) -> Result<[f64; 2], Error> {
    check_length(Slice::Gradients, weights.len(), gradients.len())?;
    Ok(norm::sums_of_squares(Serial, Plain, [weights, gradients]).map(libm::sqrt))
}

/// The sum of squares `Σ xᵢ²`.
///
/// ```
/// assert_eq!(layerwise::sum_of_squares(&[1.0, 2.0, 3.0]), 14.0);
/// assert_eq!(layerwise::sum_of_squares(&[]), 0.0);
/// ```
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let [sum] = norm::sums_of_squares(Serial, Plain, [x]);
    sum
}

/// The maximum norm `max |xᵢ|`; NaN if there is a NaN, 0 of an empty slice.
///
/// ```
/// assert_eq!(layerwise::max_norm(&[1.0, -3.0, 2.0]), 3.0);
/// assert!(layerwise::max_norm(&[f32::NAN, 1.0]).is_nan());
/// ```
pub fn max_norm(x: &[f32]) -> f32 {
    norm::max_abs(Serial, x)
}
