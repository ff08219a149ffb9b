//! The order of every sum, which is part of the crate's contract. The length of an array alone decides it:
//!
//! 1. An array is cut into leaves of [`LEAF`] elements. In a leaf, element `i` adds its square to the `f32` lane
//!    `i mod` [`LANES`]; a partial group counts as padded with zeros. The lanes then fold by halves to one `f32`.
//! 2. A leaf whose sum is not finite, or so small that squares may have been lost to underflow, is summed again with
//!    its elements scaled by a power of two (the idea of BLAS's `nrm2`), and the scale is taken out in `f64`.
//! 3. Leaves combine in `f64` along a binary tree: the left part of a node holds the largest power of two of leaves
//!    that is smaller than the whole.
//!
//! Which lane is the first of a vector is free. The fold adds lanes that are half a turn apart, then a quarter, and so
//! on, so it has the same result for lanes that are turned, and vectors may begin on a cache line where a leaf does
//! not.

use crate::lanes::{ONE_BY_ONE, WIDTH};

/// Elements in a leaf, the unit in which work may be divided.
pub(crate) const LEAF: usize = 1024;

/// Vectors in a group, one accumulator each.
pub(crate) const VECTORS: usize = 2;

/// Independent `f32` accumulators in a leaf.
///
/// Thirty-two, by measurement (ns per element at 64 Ki, Zen 3, 16 / 32 / 64 lanes in one run): one norm 0.073 / 0.068 /
/// 0.071 with SSE2 and 0.058 / 0.049 / 0.050 with AVX2; two norms together 0.135 / 0.143 / 0.186 and 0.107 / 0.102 /
/// 0.116. Sixteen lanes wait for the latency of the additions, sixty-four spill.
pub(crate) const LANES: usize = VECTORS * WIDTH;

/// Elements that are not divided between threads: a subtree of 64 leaves, about what a core's own cache holds of three
/// arrays.
pub(crate) const TILE: usize = 64 * LEAF;

/// Elements that one call of a kernel sums: a tile with vectors. One by one, nothing is gained by more than a leaf.
pub(crate) const UNIT: usize = if ONE_BY_ONE { LEAF } else { TILE };

/// Where an array of more than one unit splits: at the largest power of two of units that is smaller than the whole.
/// (A unit has nothing to split; a caller that asks gets a unit, and no panic.)
pub(crate) fn left_len(len: usize) -> usize {
    UNIT << (len.saturating_sub(1) / UNIT).checked_ilog2().unwrap_or(0)
}

/// How many elements of an array there are before it comes to a multiple of a vector, for `f32` a cache line: 0 where
/// it is too short for it to matter.
#[inline(always)]
pub(crate) fn head_len<E>(x: &[E]) -> usize {
    let line = WIDTH * size_of::<E>();
    let offset = x.as_ptr().addr() % line;
    if x.len() < 16 * WIDTH { 0 } else { (line - offset) % line / size_of::<E>() }
}

/// The sum of a tile's leaves along the tree, which takes them in their order.
///
/// It keeps the sums of complete subtrees as a binary counter keeps its digits: a leaf is added as 1 is, and a carry
/// adds two subtrees of one height.
pub(crate) struct TreeSum {
    leaves: usize,
    /// By their height.
    subtrees: [f64; (TILE / LEAF).ilog2() as usize + 1],
}

impl TreeSum {
    pub(crate) const EMPTY: TreeSum = TreeSum { leaves: 0, subtrees: [0.0; (TILE / LEAF).ilog2() as usize + 1] };

    /// Takes the sum of the next leaf, or of the next few: a power of two of them that divides the number of those
    /// before.
    #[inline(always)]
    pub(crate) fn push(&mut self, leaves: usize, mut sum: f64) {
        let mut height = leaves.trailing_zeros() as usize;
        while self.leaves >> height & 1 == 1 {
            sum += self.subtrees.get(height).copied().unwrap_or(f64::NAN);
            height += 1;
        }
        if let Some(subtree) = self.subtrees.get_mut(height) {
            *subtree = sum;
        }
        self.leaves += leaves;
    }

    /// The sum of all leaves: subtrees are added from the smallest, which is the last, to the largest.
    #[inline(always)]
    pub(crate) fn sum(&self) -> f64 {
        let (mut sum, mut left) = (0.0, self.leaves);
        while left != 0 {
            sum += self.subtrees.get(left.trailing_zeros() as usize).copied().unwrap_or(f64::NAN);
            left &= left - 1;
        }
        sum
    }
}
