//! What a kernel may use: an instruction set, and one thread or more.
//!
//! Every walk along a tree takes a [`Machine`], so that serial and parallel code is one recursion and cannot differ.

use super::array::Array;
use super::shape::{TILE, UNIT, left_len};
use crate::lanes::Backend;

/// What a kernel may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) backend: Backend,
    pub(crate) threads: Threads,
}

/// Who works on two halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The calling thread, on one after the other.
    One,
    /// The threads of rayon's current pool.
    #[cfg(feature = "rayon")]
    Pool,
}

impl Machine {
    /// The calling thread alone, with the best instructions that its processor has.
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

    /// Reduces arrays of one length to one value: `unit` reduces at most a unit, `combine` joins the results of two
    /// halves.
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

/// Cuts `len` elements, or what there is, off the beginning of each array and returns them.
#[inline(always)]
pub(crate) fn cut<X: Array, const N: usize>(arrays: &mut [X; N], len: usize) -> [X; N] {
    let mut heads = *arrays;
    for (head, array) in heads.iter_mut().zip(arrays) {
        (*head, *array) = array.split_at(len);
    }
    heads
}
