//! How far results may be from those of the reference, and from recorded ones. What is not listed here is exact.

/// The relative error of a norm: 37 roundings to `f32` in a row, which mostly cancel.
pub const NORM: f64 = 2e-7;

/// The relative error of LARC's factor: two norms, whose sum may lose a digit.
pub const FACTOR: f64 = 3e-6;

/// Weights and moments after one step, relative to the sizes of the terms added up in it.
pub const STEP: f64 = 6e-6;

/// Norms, and weights after ten steps relative to the largest: the crate against recorded runs in `f32` or `f64`.
pub const RECORDED: f64 = 2e-6;

/// The same for the reference. It computes as the recorded systems do; the difference is the number of stored digits.
pub const RECORDED_BY_REFERENCE: f64 = 1e-9;

/// Rates, relative to the largest, of a system that computes them in `f32`.
pub const RATE_IN_F32: f64 = 2e-7;

/// Loss scales that follow logarithms, relative to the scale, of a system that computes them in `f32`.
pub const LOG_MAX_IN_F32: f64 = 1e-4;

/// Loss scales that are halved and doubled, of the same system, if its numbers are not powers of two.
pub const BACKOFF_IN_F32: f64 = 1e-5;

/// Rates and loss scales that were computed with 60 digits.
pub const SCHEDULE: f64 = 1e-12;

/// The deviation after many steps, relative to the weights: the last bit of `f32` times the length of a random walk,
/// with some margin.
pub fn of_steps(steps: u64) -> f64 {
    2f64.powi(-24) * 4.0 * (1.0 + (steps as f64).sqrt())
}
