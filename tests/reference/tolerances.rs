//! How far results may be from those of the reference, and from recorded ones. What is not listed here is exact.

/// A norm, as a part of it: 37 roundings to `f32` in a row, which mostly cancel.
pub const NORM: f64 = 2e-7;

/// A factor of LARC, as a part of it: two norms, of which a sum may lose a digit.
pub const FACTOR: f64 = 3e-6;

/// Weights and moments after one step, as a part of the sizes of what was added up in it.
pub const STEP: f64 = 6e-6;

/// Norms, and weights after ten steps as a part of the largest: the crate against recorded runs in `f32` or `f64`.
pub const RECORDED: f64 = 2e-6;

/// The same of the reference. It computes as the recorded systems do; what differs is the digits that were stored.
pub const RECORDED_BY_REFERENCE: f64 = 1e-9;

/// Rates, as a part of the largest, of a system that computes them in `f32`.
pub const RATE_IN_F32: f64 = 2e-7;

/// Loss scales that follow logarithms, as a part of the scale, of a system that computes them in `f32`.
pub const LOG_MAX_IN_F32: f64 = 1e-4;

/// Loss scales that are halved and doubled, of the same system, where its numbers are no powers of two.
pub const BACKOFF_IN_F32: f64 = 1e-5;

/// Rates and loss scales that were computed with 60 digits.
pub const SCHEDULE: f64 = 1e-12;

/// The deviation of many steps, as a part of the weights: the last bit of `f32`, times the length of a random walk, with
/// room.
pub fn of_steps(steps: u64) -> f64 {
    2f64.powi(-24) * 4.0 * (1.0 + (steps as f64).sqrt())
}
