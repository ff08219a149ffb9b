//! Lanes: sixteen `f32` at a time.
//!
//! This floor knows loads, stores, sums, differences, products and one fold, and nothing of what they are used for. Each is exact, or
//! rounded in one written order by IEEE 754, so it gives the same bits on every instruction set. What cannot be expressed here (a fused
//! multiply-add, a reduction in the machine's own order, an approximate reciprocal) cannot make two machines differ.
//!
//! A new instruction set is a new file beside `avx2.rs`: a token type whose existence proves that the processor has the
//! instructions, implementations of [`Arithmetic`] and [`Lanes`] for it, and an arm in [`dispatch`].
//!
//! Tests force a backend by `RUSTFLAGS='--cfg layerwise_backend="portable"'` (or `"scalar"`, `"avx2"`,
//! `"avx512"`): the others are then not used, and where the processor has not got the one that is forced, the portable one is.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

/// How many elements one vector holds, whatever the width of the machine's registers.
pub(crate) const WIDTH: usize = 16;

/// Whether numbers are best handled one by one, because this machine has no vectors that the portable lanes could use. Kernels
/// then run plain loops in the order of the contract, with the formulas that they have for vectors.
pub(crate) const SCALAR: bool = cfg!(any(
    layerwise_backend = "scalar",
    not(any(
        target_feature = "sse2",
        all(target_arch = "aarch64", target_feature = "neon"),
        target_feature = "simd128",
    ))
));

/// The arithmetic that formulas are written over.
///
/// The implementing type is a token: whoever holds one may use its instructions.
pub(crate) trait Arithmetic: Copy {
    /// Numbers in the machine's registers.
    type Vector: Copy;

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
    /// Whether the registers hold the sums of two leaves of a norm at once.
    const MANY_REGISTERS: bool;

    /// Whether a part of a vector is loaded as fast as a whole one.
    const MASKS: bool;

    /// Sixteen values from memory of any alignment.
    fn load(self, from: &[f32; WIDTH]) -> Self::Vector;
    /// Sixteen values to memory of any alignment.
    fn store(self, vector: Self::Vector, to: &mut [f32; WIDTH]);

    /// At most sixteen values as the last of a vector, behind zeros.
    #[inline(always)]
    fn load_last(self, from: &[f32]) -> Self::Vector {
        let mut x = [0.0; WIDTH];
        copy(from, x.get_mut(WIDTH.saturating_sub(from.len())..).unwrap_or_default());
        self.load(&x)
    }

    /// At most sixteen values, padded with zeros.
    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> Self::Vector {
        let mut x = [0.0; WIDTH];
        copy(from, &mut x);
        self.load(&x)
    }

    /// As many of sixteen values as there is room for.
    #[inline(always)]
    fn store_partial(self, vector: Self::Vector, to: &mut [f32]) {
        let mut x = [0.0; WIDTH];
        self.store(vector, &mut x);
        copy(&x, to);
    }

    /// The sum of all lanes, folded by halves: lane `i` and lane `i + 8`, then `i` and `i + 4`, and so on. Other orders
    /// would round differently.
    #[inline(always)]
    fn fold(self, vector: Self::Vector) -> f32 {
        let mut x = [0.0; WIDTH];
        self.store(vector, &mut x);
        fold_by_halves(x)
    }
}

/// Copies as many elements as both slices have.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// The sum of an array whose length is a power of two, folded by halves.
#[inline(always)]
pub(crate) fn fold_by_halves<const N: usize>(mut x: [f32; N]) -> f32 {
    let mut half = N / 2;
    while let (true, Some((left, right))) = (half > 0, x.split_at_mut_checked(half)) {
        for (left, right) in left.iter_mut().zip(right) {
            *left += *right;
        }
        half /= 2;
    }
    x.first().copied().unwrap_or(0.0)
}

/// A loop that can run on any lanes. [`dispatch`] chooses which.
pub(crate) trait Kernel {
    /// What the loop returns.
    type Output;

    /// Runs the loop. Implementations are `#[inline(always)]`, so that they are compiled for the instruction set of
    /// `lanes`.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Whether a backend may be used: all may, unless one is forced.
#[cfg(target_arch = "x86_64")]
macro_rules! allowed {
    ($backend:literal) => {
        cfg!(any(
            layerwise_backend = $backend,
            not(any(
                layerwise_backend = "scalar",
                layerwise_backend = "portable",
                layerwise_backend = "avx2",
                layerwise_backend = "avx512"
            ))
        ))
    };
}

/// Runs a kernel on the best lanes that the processor has.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(lanes) = avx512::Avx512::detect().filter(|_| allowed!("avx512")) {
            return lanes.run(kernel);
        }
        if let Some(lanes) = avx2::Avx2::detect().filter(|_| allowed!("avx2")) {
            return lanes.run(kernel);
        }
    }
    kernel.run(portable::Portable)
}
