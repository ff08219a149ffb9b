//! A loop over two arrays, one of which it writes.

use super::head_len;
use crate::lanes::{Arithmetic, Kernel, Lanes, One, SCALAR, WIDTH};

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
    /// The new values of the first vector, if there are as many elements.
    #[inline(always)]
    fn first<L: Lanes>(map: &M, lanes: L, to: &[f32], from: &[f32]) -> Option<L::Vector> {
        Some(map.map(lanes, lanes.load(to.first_chunk()?), lanes.load(from.first_chunk()?)))
    }
}

impl<M: Map> Kernel for Zip<'_, M> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Zip { map, to, from } = self;
        if SCALAR {
            for (to, from) in to.iter_mut().zip(from) {
                *to = map.map(One, *to, *from);
            }
            return;
        }
        let len = to.len().min(from.len());
        let Some(last) = len.checked_sub(WIDTH) else {
            lanes.store_partial(map.map(lanes, lanes.load_partial(to), lanes.load_partial(from)), to);
            return;
        };
        let head_len = head_len([to.as_ptr(), from.as_ptr()], len);
        // Vectors at both ends overlap those between. They are made of the old numbers, so an element gets the same new one twice.
        let head = if head_len > 0 { Self::first(&map, lanes, to, from) } else { None };
        let ends = (to.get(last..).unwrap_or_default(), from.get(last..).unwrap_or_default());
        let tail = if (len - head_len).is_multiple_of(WIDTH) { None } else { Self::first(&map, lanes, ends.0, ends.1) };

        let middle = (to.get_mut(head_len..).unwrap_or_default(), from.get(head_len..).unwrap_or_default());
        for (to, from) in middle.0.as_chunks_mut().0.iter_mut().zip(middle.1.as_chunks().0) {
            lanes.store(map.map(lanes, lanes.load(to), lanes.load(from)), to);
        }
        for (at, new) in [(0, head), (last, tail)] {
            if let (Some(new), Some(to)) = (new, to.get_mut(at..).and_then(|to| to.first_chunk_mut())) {
                lanes.store(new, to);
            }
        }
    }
}
