//! The operations: arithmetic, vectors, numbers in memory, and kernels, the loops that are written over them.

#[cfg(feature = "half")]
use half::{bf16, f16};

/// How many elements one vector holds, whatever the width of the machine's registers.
pub(crate) const WIDTH: usize = 16;

/// The arithmetic that formulas are written over.
///
/// The implementing type is a token: code that holds one may use its instructions.
pub(crate) trait Arithmetic: Copy {
    /// Numbers in the machine's registers.
    type Vector: Copy;

    /// The same number of elements in memory.
    type Block;

    /// Runs a kernel with this arithmetic, in a function that is compiled for its instructions.
    fn run<K: Kernel>(self, kernel: K) -> K::Output;

    /// The whole blocks of an array.
    fn blocks(x: &[f32]) -> &[Self::Block];
    /// The whole blocks of an array.
    fn blocks_mut(x: &mut [f32]) -> &mut [Self::Block];
    /// Loads a block.
    fn get(self, from: &Self::Block) -> Self::Vector;
    /// Stores a block.
    fn set(self, vector: Self::Vector, to: &mut Self::Block);

    /// Sets all lanes to `value`.
    fn splat(self, value: f32) -> Self::Vector;
    /// `a + b` in each lane, rounded once.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a - b` in each lane, rounded once.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b` in each lane, rounded once.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a / b` in each lane, rounded once; 0 where `b` is 0.
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a / b` in each lane, rounded once, where no `b` is 0.
    fn div_nonzero(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// The square root in each lane, rounded once.
    fn sqrt(self, a: Self::Vector) -> Self::Vector;
}

/// Vectors of sixteen numbers, over which loops are generic.
pub(crate) trait Lanes: Arithmetic {
    /// How many leaves can be summed at once without running out of registers: 1, 2 or 4.
    const LEAVES: usize;

    /// Whether partial vectors load as fast as whole ones, so that a norm may begin with a partial vector.
    const MASKS: bool;

    /// Whether there are instructions that convert 16-bit floats.
    #[cfg(feature = "half")]
    const CONVERTS: bool;

    /// Loads sixteen values from memory of any alignment.
    fn load(self, from: &[f32; WIDTH]) -> Self::Vector;
    /// Loads at most sixteen values into the last lanes, and zeros into the others.
    fn load_last(self, from: &[f32]) -> Self::Vector;
    /// Loads at most sixteen values, and zeros into the lanes after them.
    fn load_partial(self, from: &[f32]) -> Self::Vector;
    /// Stores sixteen values to memory of any alignment.
    fn store(self, vector: Self::Vector, to: &mut [f32; WIDTH]);

    /// Stores as many of sixteen values as there is room for.
    fn store_partial(self, vector: Self::Vector, to: &mut [f32]);

    /// The same, for a slice that may have room for all of them.
    #[inline(always)]
    fn store_up_to(self, vector: Self::Vector, to: &mut [f32]) {
        if let Some(whole) = to.first_chunk_mut() { self.store(vector, whole) } else { self.store_partial(vector, to) }
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

    /// The first `len` lanes moved to the end of the vector, after zeros.
    #[inline(always)]
    fn first_as_last(self, vector: Self::Vector, len: usize) -> Self::Vector {
        let mut x = [0.0; WIDTH];
        self.store(vector, &mut x);
        self.load_last(x.get(..len).unwrap_or_default())
    }

    /// Sixteen numbers from the upper and the lower halves of their bits.
    #[cfg(feature = "half")]
    fn join(self, upper: &[bf16; WIDTH], lower: &[u16; WIDTH]) -> Self::Vector;
    /// The upper and the lower halves of the bits.
    #[cfg(feature = "half")]
    fn split(self, vector: Self::Vector, upper: &mut [bf16; WIDTH], lower: &mut [u16; WIDTH]);
    /// Clamps to `-max..=max`; a NaN stays a NaN.
    #[cfg(feature = "half")]
    fn clamp(self, vector: Self::Vector, max: f32) -> Self::Vector;
    /// Sixteen numbers, exactly.
    #[cfg(feature = "half")]
    fn widen_bf16(self, from: &[bf16; WIDTH]) -> Self::Vector;
    /// Sixteen numbers, exactly.
    #[cfg(feature = "half")]
    fn widen_f16(self, from: &[f16; WIDTH]) -> Self::Vector;
    /// Sixteen numbers, rounded to nearest, ties to even. A NaN stays one.
    #[cfg(feature = "half")]
    fn narrow_bf16(self, vector: Self::Vector, to: &mut [bf16; WIDTH]);
    /// Sixteen numbers, rounded to nearest, ties to even. A NaN stays one.
    #[cfg(feature = "half")]
    fn narrow_f16(self, vector: Self::Vector, to: &mut [f16; WIDTH]);

    /// Whether all lanes are finite.
    fn are_finite(self, vector: Self::Vector) -> bool;

    /// The sum of all lanes, folded by halves: lane `i` and lane `i + 8`, then `i` and `i + 4`, and so on. Other orders
    /// would round differently.
    fn fold(self, vector: Self::Vector) -> f32;
}

/// A number in memory that is an `f32` in registers.
pub(crate) trait Element: Copy + Default + Send + Sync {
    /// The sign bit. Without it, the bits of floats order as integers do.
    const SIGN: u32;

    /// Sixteen numbers.
    fn load<L: Lanes>(lanes: L, from: &[Self; WIDTH]) -> L::Vector;
    /// At most sixteen numbers, padded with zeros.
    fn load_up_to<L: Lanes>(lanes: L, from: &[Self]) -> L::Vector;
    /// At most sixteen numbers as the last of a vector, after zeros.
    fn load_last<L: Lanes>(lanes: L, from: &[Self]) -> L::Vector;
    /// Sixteen numbers.
    #[cfg(feature = "half")]
    fn store<L: Lanes>(lanes: L, vector: L::Vector, to: &mut [Self; WIDTH]);
    /// Its bits.
    fn bits(self) -> u32;
    /// An integer with the order of absolute values. Every NaN is above infinity, and only zeros give 0.
    #[inline(always)]
    fn size(self) -> u32 {
        self.bits() & !Self::SIGN
    }
    /// The absolute value with this [`size`](Element::size).
    fn of_size(size: u32) -> f32;
    /// One number.
    fn get(self) -> f32;
    /// One number.
    #[cfg(feature = "half")]
    fn of(x: f32) -> Self;
}

/// A loop that can run on any lanes. [`dispatch`](super::backend::dispatch) chooses which.
pub(crate) trait Kernel {
    /// What the loop returns.
    type Output;

    /// Runs the loop. Implementations are `#[inline(always)]`, so that they are compiled for the instruction set of
    /// `lanes`.
    ///
    /// A fast kernel is at most two words, which are passed in registers, and holds references to slices, not slices. A
    /// slice is stored as a pointer and a length, then copied with one load; a processor cannot forward two stores to
    /// one load, so the copy waits until all stores before it are in the cache.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;

    /// Runs the loop one number at a time, with the same result, on a machine without vectors.
    fn run_one(self) -> Self::Output;
}

/// A loop that the compiler vectorises: an integer loop, whose result does not depend on the order.
pub(crate) struct Loop<F>(pub(crate) F);

impl<R, F: FnOnce() -> R> Kernel for Loop<F> {
    type Output = R;

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) -> R {
        self.0()
    }

    #[inline(always)]
    fn run_one(self) -> R {
        self.0()
    }
}
