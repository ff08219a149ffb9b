//! What a kernel may use: an instruction set, and one or more threads.
//!
//! Every recursion over a tree takes a [`Machine`], so serial and parallel code are the same and cannot differ.

use super::array::Array;
use super::shape::{TILE, UNIT, left_len};
use crate::lanes::Backend;

/// What a kernel may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) backend: Backend,
    pub(crate) threads: Threads,
}

/// Where the two halves of a tree run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// On the calling thread, one after the other.
    One,
    /// On the threads of rayon's current pool.
    #[cfg(feature = "rayon")]
    Pool,
}

impl Machine {
    /// The calling thread alone, with the best instruction set of its processor.
    #[inline]
    pub(crate) fn serial() -> Machine {
        Machine { backend: Backend::best(), threads: Threads::One }
    }

    /// Runs both and returns both results.
    #[inline]
    pub(crate) fn both<A: Send, B: Send>(self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        match self.threads {
            Threads::One => (a(), b()),
            #[cfg(feature = "rayon")]
            Threads::Pool => rayon::join(a, b),
        }
    }

    /// Reduces arrays of equal length to one value: `unit` reduces at most a unit, `combine` combines the results of
    /// two halves.
    #[inline]
    pub(crate) fn reduce<X: Array, const N: usize, R: Send>(
        self,
        arrays: &[X; N],
        unit: &(impl Fn(&[X; N]) -> R + Sync),
        combine: fn(R, R) -> R,
    ) -> R {
        let len = arrays.first().map_or(0, |array| array.len());
        if len <= UNIT { unit(arrays) } else { self.reduce_halves(arrays, len, unit, combine) }
    }

    fn reduce_halves<X: Array, const N: usize, R: Send>(
        self,
        arrays: &[X; N],
        len: usize,
        unit: &(impl Fn(&[X; N]) -> R + Sync),
        combine: fn(R, R) -> R,
    ) -> R {
        // A tile is too little work to divide between threads.
        let machine = if len <= TILE { Machine { threads: Threads::One, ..self } } else { self };
        let mut right = *arrays;
        let left = cut(&mut right, left_len(len));
        let (left, right) =
            machine.both(|| machine.reduce(&left, unit, combine), || machine.reduce(&right, unit, combine));
        combine(left, right)
    }
}

/// Removes the first `len` elements, or all if there are fewer, from each array and returns them.
#[inline(always)]
pub(crate) fn cut<X: Array, const N: usize>(arrays: &mut [X; N], len: usize) -> [X; N] {
    let mut heads = *arrays;
    for (head, array) in heads.iter_mut().zip(arrays) {
        (*head, *array) = array.split_at(len);
    }
    heads
}
