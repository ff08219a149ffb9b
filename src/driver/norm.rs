//! Norms of flat slices.
//!
//! They are accurate at any length: at most 37 roundings of `f32` enter a sum, so the relative error of a norm is below
//! 1.2·10⁻⁶ whatever the data, and 10⁻⁷ or less on data that are not made to be bad. They never overflow or underflow, and
//! have the same bits on every machine. Only a NaN or an infinity in the data makes one non-finite.

use crate::error::{Error, Slice, check_length};
use crate::kernel::join::Join;
use crate::kernel::max::max_abs;
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
    Ok(norm::sums_of_squares(Join::Serial, Plain, [weights, gradients]).map(libm::sqrt))
}

/// The sum of squares `Σ xᵢ²`.
///
/// ```
/// assert_eq!(layerwise::sum_of_squares(&[1.0, 2.0, 3.0]), 14.0);
/// assert_eq!(layerwise::sum_of_squares(&[]), 0.0);
/// ```
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let [sum] = norm::sums_of_squares(Join::Serial, Plain, [x]);
    sum
}

/// The maximum norm `max |xᵢ|`; NaN if there is a NaN, 0 of an empty slice.
///
/// ```
/// assert_eq!(layerwise::max_norm(&[1.0, -3.0, 2.0]), 3.0);
/// assert!(layerwise::max_norm(&[f32::NAN, 1.0]).is_nan());
/// ```
pub fn max_norm(x: &[f32]) -> f32 {
    max_abs(Join::Serial, x)
}

/// Elements in a leaf, the unit in which the work on a norm may be divided: chunks that hosts sum on their own threads or
/// machines begin at multiples of it.
pub const LEAF: usize = norm::LEAF;

/// The sum of squares of each leaf of [`LEAF`] elements (the last may be shorter), for hosts that divide a layer between
/// threads or machines of their own.
///
/// `sums` has `x.len()` / [`LEAF`] elements, rounded up. Bring the sums of all chunks of a layer together in their order, and
/// [`fold_leaf_sums`] makes the norm of them, with the bits of the serial one.
///
/// # Errors
///
/// [`Error::Length`] if `sums` has another length; then nothing is written.
///
/// ```
/// use layerwise::{LEAF, fold_leaf_sums, leaf_sums, sum_of_squares};
///
/// let x: Vec<f32> = (0..5000).map(|i| i as f32).collect();
/// let mut sums = vec![0.0; 5]; // 5000 elements are four leaves and a part
/// let (left, right) = x.split_at(3 * LEAF);
/// leaf_sums(left, &mut sums[..3])?; // on one thread
/// leaf_sums(right, &mut sums[3..])?; // on another
/// assert_eq!(fold_leaf_sums(&sums), sum_of_squares(&x));
/// # Ok::<(), layerwise::Error>(())
/// ```
pub fn leaf_sums(x: &[f32], sums: &mut [f64]) -> Result<(), Error> {
    check_length(Slice::Sums, x.len().div_ceil(LEAF), sums.len())?;
    norm::leaf_sums_of_squares(x, sums);
    Ok(())
}

/// The sum of squares of a layer of which these are the [`leaf_sums`]: the sums of all its leaves, in their order.
pub fn fold_leaf_sums(sums: &[f64]) -> f64 {
    norm::fold_leaf_sums(sums)
}
