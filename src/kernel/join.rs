//! Who works on the two halves of a tree: one thread, or two.
//!
//! Kernels that walk a tree take a [`Join`], so that serial and parallel code is one recursion and cannot differ.

/// A way to run two halves of the work.
pub(crate) trait Join: Copy + Send + Sync {
    /// Pieces of at most this many elements are not divided for the sake of threads.
    const GRAIN: usize;

    /// Runs both and returns both results.
    fn join<A: Send, B: Send>(self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B);
}

/// One after the other.
#[derive(Clone, Copy)]
pub(crate) struct Serial;

impl Join for Serial {
    const GRAIN: usize = usize::MAX;

    #[inline(always)]
    fn join<A: Send, B: Send>(self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        (a(), b())
    }
}

/// On the threads of rayon's current pool.
#[cfg(feature = "rayon")]
#[derive(Clone, Copy)]
pub(crate) struct Threads;

#[cfg(feature = "rayon")]
impl Join for Threads {
    const GRAIN: usize = 64 * super::norm::LEAF;

    fn join<A: Send, B: Send>(self, a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
        rayon::join(a, b)
    }
}
