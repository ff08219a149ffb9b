//! A loop over two arrays, one of which it writes.

use super::{copy, head_len, padded};
use crate::simd::{Arithmetic, Kernel, Lanes, One, SCALAR};

/// What the loop does to a vector.
pub(super) trait Map {
    /// The new value of the vector that is written.
    fn map<A: Arithmetic>(&self, lanes: A, to: A::Vector, from: A::Vector) -> A::Vector;
}

/// The loop.
pub(super) struct Zip<'a, M> {
    pub(super) map: M,
    /// The array that is written.
    pub(super) to: &'a mut [f32],
    pub(super) from: &'a [f32],
}

impl<M: Map> Zip<'_, M> {
    /// Maps less than a vector.
    #[inline(always)]
    fn map_partial<L: Lanes>(map: &M, lanes: L, to: &mut [f32], from: &[f32]) {
        if !to.is_empty() {
            let mut vector = padded(to);
            lanes.store(map.map(lanes, lanes.load(&vector), lanes.load(&padded(from))), &mut vector);
            copy(&vector, to);
        }
    }
}

impl<M: Map> Kernel for Zip<'_, M> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        if SCALAR {
            for (to, from) in self.to.iter_mut().zip(self.from) {
                *to = self.map.map(One, *to, *from);
            }
            return;
        }
        let head = head_len([self.to.as_ptr(), self.from.as_ptr()], self.to.len());
        let Some((to_head, to)) = self.to.split_at_mut_checked(head) else { return };
        let Some((from_head, from)) = self.from.split_at_checked(head) else { return };
        Self::map_partial(&self.map, lanes, to_head, from_head);
        let (to, to_tail) = to.as_chunks_mut();
        let (from, from_tail) = from.as_chunks();
        for (to, from) in to.iter_mut().zip(from) {
            lanes.store(self.map.map(lanes, lanes.load(to), lanes.load(from)), to);
        }
        Self::map_partial(&self.map, lanes, to_tail, from_tail);
    }
}
