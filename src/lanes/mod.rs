//! Lanes: sixteen `f32` at a time.
//!
//! This floor knows loads, stores, sums, differences, products, quotients, square roots and one fold, and nothing of
//! what they are used for. Each is exact, or rounded in one written order by IEEE 754, so it gives the same bits on
//! every instruction set. What cannot be expressed here (a fused multiply-add, a reduction in the machine's own order,
//! an approximate reciprocal) cannot make two machines differ.
//!
//! | file | what is in it |
//! |---|---|
//! | `ops` | the operations |
//! | `one` | arithmetic without vectors |
//! | `element` | numbers in memory, and their conversion to lanes |
//! | `halves` | the same for numbers of 16 bits |
//! | `backend` | the choice of an instruction set |
//! | `portable` | lanes of the crate `wide`, for every machine |
//! | `avx2`, `avx512` | lanes of `core::arch`: all of the crate's unsafe code |
//!
//! A new instruction set is a new file with the same functions as `avx2.rs`: a token type whose existence proves that
//! the processor has the instructions, with `Arithmetic` and `Lanes` for it, and an arm in `Backend`.
//!
//! `RUSTFLAGS='--cfg layerwise_backend="portable"'` (or `"scalar"`, `"avx2"`, `"avx512"`) forces a backend. Where the
//! processor does not have it, the portable one is used.

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
