//! Norms of slices.
//!
//! They are accurate at any length: each element passes through at most 37 `f32` roundings, so the relative error of a
//! norm is below 1.2·10⁻⁶ for any data, and 10⁻⁷ or less for data that are not adversarial. They never overflow or
//! underflow, and have the same bits on every machine. Only a NaN or an infinity in the data makes a norm non-finite.

use super::numbers::numbers;
use crate::kernel::any;
use crate::kernel::machine::Machine;
use crate::kernel::max::max_abs;
use crate::kernel::numbers::Numbers;
use crate::memory::floats::Floats;
use crate::rules::double::sqrt;

/// The L2 norm `√(Σ xᵢ²)`.
///
/// ```
/// use layerwise::norms::l2_norm;
///
/// assert_eq!(l2_norm(&[3.0, 4.0]), 5.0);
/// assert_eq!(l2_norm(&[1e20; 4]) as f32, 2e20); // the squares overflow an f32
/// assert_eq!(l2_norm(&[1e-23; 4]) as f32, 2e-23); // the squares are below the smallest f32
/// assert!(l2_norm(&[1.0, f32::NAN]).is_nan());
/// ```
pub fn l2_norm<'a>(x: impl Into<Floats<'a>>) -> f64 {
    sqrt(sum_of_squares(x))
}

/// The sum of squares `Σ xᵢ²`.
///
/// ```
/// use layerwise::norms::sum_of_squares;
///
/// assert_eq!(sum_of_squares(&[1.0, 2.0, 3.0]), 14.0);
/// assert_eq!(sum_of_squares(&[0.0; 0]), 0.0);
/// ```
pub fn sum_of_squares<'a>(x: impl Into<Floats<'a>>) -> f64 {
    sum_of_squares_on(Machine::serial(), numbers(x.into()))
}

/// The maximum norm `max |xᵢ|`; NaN if there is a NaN, 0 for an empty slice. It is the size of an element, hence the
/// `f32`.
///
/// ```
/// use layerwise::norms::max_norm;
///
/// assert_eq!(max_norm(&[1.0, -3.0, 2.0]), 3.0);
/// assert!(max_norm(&[f32::NAN, 1.0]).is_nan());
/// ```
pub fn max_norm<'a>(x: impl Into<Floats<'a>>) -> f32 {
    max_abs(Machine::serial(), numbers(x.into()))
}

// Not generic: the loops are compiled once, in this crate. Firmware keeps only the loops for the types that it uses.

#[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
fn sum_of_squares_on(machine: Machine, x: Numbers<'_>) -> f64 {
    any::sum_of_squares(machine, x)
}

/// The same with a given instruction set, for tests and benchmarks.
#[doc(hidden)]
pub mod on {
    use super::{numbers, sum_of_squares_on};
    use crate::driver::accumulate::add_on;
    use crate::driver::pieces::subtree_sums_on;
    use crate::error::Error;
    use crate::kernel::machine::{Machine, Threads};
    use crate::kernel::max::max_abs;
    use crate::lanes::Backend;
    use crate::memory::floats::{Floats, FloatsMut};

    pub fn add<'a>(
        backend: Backend,
        sum: impl Into<FloatsMut<'a>>,
        other: impl Into<Floats<'a>>,
    ) -> Result<f64, Error> {
        add_on(Machine { backend, threads: Threads::One }, sum.into(), other.into())
    }

    pub fn subtree_sums<'a>(
        backend: Backend,
        chunk: impl Into<Floats<'a>>,
        len: usize,
        start: usize,
        sums: &mut [f64],
    ) -> Result<(), Error> {
        subtree_sums_on(Machine { backend, threads: Threads::One }, chunk.into(), len, start, sums)
    }

    pub fn sum_of_squares<'a>(backend: Backend, x: impl Into<Floats<'a>>) -> f64 {
        sum_of_squares_on(Machine { backend, threads: Threads::One }, numbers(x.into()))
    }

    pub fn max_norm<'a>(backend: Backend, x: impl Into<Floats<'a>>) -> f32 {
        max_abs(Machine { backend, threads: Threads::One }, numbers(x.into()))
    }
}
