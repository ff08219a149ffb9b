//! Lanes: sixteen `f32` at a time.
//!
//! This floor knows six operations and nothing of what they are used for. Each one is exact or rounded once by
//! IEEE 754, so it gives the same bits on every instruction set. What cannot be expressed here (a fused
//! multiply-add, a reduction, an approximate reciprocal) cannot make two machines differ.
//!
//! A new instruction set is a new file beside `portable.rs`: a token type whose existence proves that the processor
//! has the instructions, an implementation of [`Lanes`] for it, and an arm in [`dispatch`].

mod portable;

/// How many elements one vector holds, whatever the width of the machine's registers.
pub(crate) const WIDTH: usize = 16;

/// The operations that kernels are written over.
///
/// The implementing type is a token: whoever holds one may use its instructions.
pub(crate) trait Lanes: Copy {
    /// Sixteen `f32` in the machine's registers.
    type Vector: Copy;

    /// All sixteen lanes set to `value`.
    fn splat(self, value: f32) -> Self::Vector;
    /// Sixteen values from memory of any alignment.
    fn load(self, from: &[f32; WIDTH]) -> Self::Vector;
    /// Sixteen values to memory of any alignment.
    fn store(self, vector: Self::Vector, to: &mut [f32; WIDTH]);
    /// `a + b` in each lane, rounded once.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a - b` in each lane, rounded once.
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b` in each lane, rounded once.
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
}

/// A loop that can run on any lanes. [`dispatch`] chooses which.
pub(crate) trait Kernel {
    /// What the loop returns.
    type Output;

    /// Runs the loop. Implementations are `#[inline(always)]`, so that they are compiled for the instruction set of
    /// `lanes`.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Runs a kernel on the best lanes there are.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(portable::Portable)
}
