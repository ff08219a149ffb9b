//! Lanes: sixteen `f32` at a time.
//!
//! This floor knows loads, stores, sums, differences, products and one fold, and nothing of what they are used for. Each is
//! exact, or rounded in one written order by IEEE 754, so it gives the same bits on every instruction set. What cannot be
//! expressed here (a fused multiply-add, a reduction in the machine's own order, an approximate reciprocal) cannot make two
//! machines differ.
//!
//! | file | what is in it |
//! |---|---|
//! | `mod` | the operations |
//! | `element` | numbers in memory, and their conversion to lanes |
//! | `backend` | the choice of an instruction set |
//! | `portable` | lanes of the crate `wide`, for every machine |
//! | `avx2`, `avx512` | lanes of `core::arch`: all of the crate's unsafe code |
//!
//! A new instruction set is a new file with the same functions as `avx2.rs`: a token type whose existence proves that the
//! processor has the instructions, with [`Arithmetic`] and [`Lanes`] for it, and an arm in [`Backend`].
//!
//! `RUSTFLAGS='--cfg layerwise_backend="portable"'` (or `"scalar"`, `"avx2"`, `"avx512"`) forces a backend. Where the processor
//! does not have it, the portable one is used.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod avx512;
mod backend;
mod element;
mod portable;

pub use backend::Backend;
pub(crate) use backend::{Kernel, dispatch};
pub(crate) use element::Element;

/// How many elements one vector holds, whatever the width of the machine's registers.
pub(crate) const WIDTH: usize = 16;

/// The arithmetic that formulas are written over.
///
/// The implementing type is a token: code that holds one may use its instructions.
pub(crate) trait Arithmetic: Copy {
    /// Numbers in the machine's registers.
    type Vector: Copy;

    /// Runs a kernel with this arithmetic, in a function that is compiled for its instructions.
    fn run<K: Kernel>(self, kernel: K) -> K::Output;

    /// All of them set to `value`.
    fn splat(self, value: f32) -> Self::Vector;
    /// `a + b` in each lane, rounded once.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a - b` in each lane, rounded once.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b` in each lane, rounded once.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
}

/// One number at a time.
#[derive(Clone, Copy)]
pub(crate) struct One;

impl Arithmetic for One {
    type Vector = f32;

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run_one()
    }

    #[inline(always)]
    fn splat(self, value: f32) -> f32 {
        value
    }

    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }

    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }

    #[inline(always)]
    fn mul(self, a: f32, b: f32) -> f32 {
        a * b
    }
}

/// Vectors of sixteen numbers, which loops are written over.
pub(crate) trait Lanes: Arithmetic {
    /// How many leaves of a norm have sums that the registers hold at once: 1, 2 or 4.
    const LEAVES: usize;

    /// Whether a part of a vector is loaded as fast as a whole one, so that a norm may begin with a part.
    const MASKS: bool;

    /// Sixteen values from memory of any alignment.
    fn load(self, from: &[f32; WIDTH]) -> Self::Vector;
    /// At most sixteen values as the last of a vector, after zeros.
    fn load_last(self, from: &[f32]) -> Self::Vector;
    /// At most sixteen values, padded with zeros.
    fn load_partial(self, from: &[f32]) -> Self::Vector;
    /// Sixteen values to memory of any alignment.
    fn store(self, vector: Self::Vector, to: &mut [f32; WIDTH]);

    /// As many of sixteen values as there is room for.
    #[inline(always)]
    fn store_partial(self, vector: Self::Vector, to: &mut [f32]) {
        let mut x = [0.0; WIDTH];
        self.store(vector, &mut x);
        copy(&x, to);
    }

    /// The first `len` lanes, and zeros in the others.
    #[inline(always)]
    fn first(self, vector: Self::Vector, len: usize) -> Self::Vector {
        let mut x = [0.0; WIDTH];
        self.store(vector, &mut x);
        self.load_partial(x.get(..len).unwrap_or_default())
    }

    /// The last `len` lanes, and zeros in the others.
    #[inline(always)]
    fn last(self, vector: Self::Vector, len: usize) -> Self::Vector {
        let mut x = [0.0; WIDTH];
        self.store(vector, &mut x);
        self.load_last(x.get(WIDTH.saturating_sub(len)..).unwrap_or_default())
    }

    /// The sum of all lanes, folded by halves: lane `i` and lane `i + 8`, then `i` and `i + 4`, and so on. Other orders
    /// would round differently.
    fn fold(self, vector: Self::Vector) -> f32;
}

/// Copies as many elements as both slices have.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}
