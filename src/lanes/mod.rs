//! Lanes: sixteen `f32` at a time.
//!
//! This floor has loads, stores, sums, differences, products, quotients, square roots and one fold, and does not know
//! what they are for. Each is exact, or rounded by IEEE 754 in a fixed order, so it gives the same bits on every
//! instruction set. Operations that would make machines differ (a fused multiply-add, a reduction in native order, an
//! approximate reciprocal) do not exist here.
//!
//! | file | what is in it |
//! |---|---|
//! | `ops` | the operations |
//! | `one` | arithmetic without vectors |
//! | `element` | numbers in memory, and their conversion to lanes |
//! | `halves` | the same for 16-bit floats |
//! | `backend` | the choice of an instruction set |
//! | `portable` | lanes of the crate `wide`, for every target |
//! | `avx2`, `avx512` | lanes of `core::arch`: all of the crate's unsafe code |
//!
//! A new instruction set is a new file with the same functions as `avx2.rs`: a token type whose existence proves that
//! the processor has the instructions, with `Arithmetic` and `Lanes` for it, and an arm in `Backend`.
//!
//! `RUSTFLAGS='--cfg layerwise_backend="portable"'` (or `"scalar"`, `"avx2"`, `"avx512"`) forces a backend. If the
//! processor does not support it, the portable one is used.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512;
mod backend;
mod element;
#[cfg(feature = "half")]
mod halves;
mod one;
mod ops;
mod portable;
#[cfg(test)]
mod tests;

pub use backend::Backend;
pub(crate) use backend::dispatch;
#[cfg(feature = "half")]
pub(crate) use halves::{clamp, join, split};
pub(crate) use one::{One, Two};
pub(crate) use ops::{Arithmetic, Element, Kernel, Lanes, Loop, WIDTH};
pub(crate) use portable::ONE_BY_ONE;
