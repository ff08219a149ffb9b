//! Who works on the two halves of a tree: one thread, or two.
//!
//! Kernels that walk a tree take a [`Join`], so that serial and parallel code is one recursion and cannot differ.

use super::norm::LEAF;

/// A way to run two halves of the work.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Join {
    /// One after the other.
    Serial,
    /// On the threads of rayon's current pool.
    #[cfg(feature = "rayon")]
    Threads,
}

impl Join {
    /// Pieces of at most this many elements are not divided for the sake of threads.
    pub(crate) const GRAIN: usize = 64 * LEAF;

    /// The same way for pieces that are worth it; small ones stay on one thread.
    #[inline]
    pub(crate) fn of(self, len: usize) -> Join {
        if len <= Join::GRAIN { Join::Serial } else { self }
    }

    /// Runs both and returns both results.
    #[inline]
    pub(crate) fn join<A: Send, B: Send>(self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        match self {
            Join::Serial => (a(), b()),
            #[cfg(feature = "rayon")]
            Join::Threads => rayon::join(a, b),
        }
    }
}
