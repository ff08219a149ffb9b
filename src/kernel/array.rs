//! Read-only arrays, whose element type is known at compile time or at run time.

use super::scalar;
use super::shape::{LANES, VECTORS, head_len};
use crate::lanes::{Element, Lanes, WIDTH};

/// A read-only array.
pub(crate) trait Array: Copy + Send + Sync {
    /// The number of elements.
    fn len(self) -> usize;
    /// The first `mid` elements, or all if there are fewer, and the rest.
    fn split_at(self, mid: usize) -> (Self, Self);
    /// One element, or 0 if it is out of bounds.
    fn get(self, i: usize) -> f32;
    /// Whether all elements are zero.
    fn is_zero(self) -> bool;
    /// The sum of squares of a leaf on a machine without vectors.
    fn squares_one_by_one(self) -> f32;
}

/// An array that is read vector by vector.
pub(crate) trait Vectors: Array {
    /// Its whole groups of [`LANES`] elements.
    type Groups: Copy;

    /// How many leaves may be summed side by side: fewer of 16-bit floats, whose conversion takes longer than the sums.
    const LEAVES: usize;

    /// The whole groups.
    fn groups(self) -> Self::Groups;
    /// How many groups there are.
    fn count(groups: Self::Groups) -> usize;
    /// The elements after the last whole group.
    fn rest(self) -> Self;
    /// A vector of a group; zeros if there is none.
    fn vector<L: Lanes>(lanes: L, groups: Self::Groups, group: usize, vector: usize) -> L::Vector;
    /// At most a vector of elements, followed by zeros.
    fn load_first<L: Lanes>(self, lanes: L) -> L::Vector;
    /// At most a vector of elements, preceded by zeros.
    fn load_last<L: Lanes>(self, lanes: L) -> L::Vector;
    /// How many elements precede the first vector boundary; 0 if alignment does not matter.
    fn head_len(self) -> usize;
}

impl<E: Element> Array for &[E] {
    #[inline(always)]
    fn len(self) -> usize {
        <[E]>::len(self)
    }

    #[inline(always)]
    fn split_at(self, mid: usize) -> (Self, Self) {
        self.split_at_checked(mid).unwrap_or((self, &[]))
    }

    #[inline(always)]
    fn get(self, i: usize) -> f32 {
        <[E]>::get(self, i).map_or(0.0, |x| x.get())
    }

    /// There is no early exit, so that the compiler can vectorise. The sign is ignored.
    #[inline(always)]
    fn is_zero(self) -> bool {
        self.iter().fold(0, |bits, x| bits | x.bits()) & !E::SIGN == 0
    }

    #[inline]
    fn squares_one_by_one(self) -> f32 {
        scalar::squares(self)
    }
}

impl<'a, E: Element> Vectors for &'a [E] {
    type Groups = &'a [[[E; WIDTH]; VECTORS]];

    const LEAVES: usize = if size_of::<E>() == size_of::<f32>() { 4 } else { 2 };

    #[inline(always)]
    fn groups(self) -> Self::Groups {
        self.as_chunks::<WIDTH>().0.as_chunks::<VECTORS>().0
    }

    #[inline(always)]
    fn count(groups: Self::Groups) -> usize {
        groups.len()
    }

    #[inline(always)]
    fn rest(self) -> Self {
        self.as_chunks::<LANES>().1
    }

    #[inline(always)]
    fn vector<L: Lanes>(lanes: L, groups: Self::Groups, group: usize, vector: usize) -> L::Vector {
        let from = groups.get(group).map(|group| &group[vector % VECTORS]);
        from.map_or(lanes.splat(0.0), |from| E::load(lanes, from))
    }

    #[inline(always)]
    fn load_first<L: Lanes>(self, lanes: L) -> L::Vector {
        E::load_up_to(lanes, self)
    }

    #[inline(always)]
    fn load_last<L: Lanes>(self, lanes: L) -> L::Vector {
        E::load_last(lanes, self)
    }

    #[inline(always)]
    fn head_len(self) -> usize {
        head_len(self)
    }
}
