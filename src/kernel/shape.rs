//! The order of every sum, which is part of the crate's contract. It depends only on the length of the array:
//!
//! 1. An array is cut into leaves of [`LEAF`] elements. In a leaf, element `i` adds its square to the `f32` lane
//!    `i mod` [`LANES`]; a partial group counts as padded with zeros. The lanes then fold by halves to one `f32`.
//! 2. A leaf whose sum is not finite, or so small that squares may have been lost to underflow, is summed again with
//!    its elements scaled by a power of two (the idea of BLAS's `nrm2`), and the scale is divided out in `f64`.
//! 3. Leaves combine in `f64` along a binary tree: the number of leaves in the left part of a node is the largest power
//!    of two below that of the node.
//!
//! The lanes may be rotated. The fold pairs lanes 16, 8, 4, 2 and 1 apart, which gives the same result after any
//! rotation. So vectors may begin at a cache line even if the leaf does not.

use crate::lanes::{ONE_BY_ONE, WIDTH};

/// Elements in a leaf, the unit in which work may be divided.
pub(crate) const LEAF: usize = 1024;

/// Vectors in a group, one accumulator each.
pub(crate) const VECTORS: usize = 2;

/// Independent `f32` accumulators in a leaf.
///
/// Thirty-two, by measurement (ns per element at 64 Ki, Zen 3, 16 / 32 / 64 lanes in one run): one norm 0.073 / 0.068 /
/// 0.071 with SSE2 and 0.058 / 0.049 / 0.050 with AVX2; two norms together 0.135 / 0.143 / 0.186 and 0.107 / 0.102 /
/// 0.116. Sixteen lanes are bound by the latency of additions; sixty-four spill registers.
pub(crate) const LANES: usize = VECTORS * WIDTH;

/// The largest piece that is not divided between threads: a subtree of 64 leaves; three arrays of this size about fill
/// a core's own cache.
pub(crate) const TILE: usize = 64 * LEAF;

/// The most elements that one call of a kernel sums: a tile. Without vectors it is a leaf, because more gains nothing.
pub(crate) const UNIT: usize = if ONE_BY_ONE { LEAF } else { TILE };

/// Where an array of more than one unit splits: at the largest power of two of units below its length. (A single unit
/// does not split; for one, this returns a unit instead of panicking.)
pub(crate) fn left_len(len: usize) -> usize {
    UNIT << (len.saturating_sub(1) / UNIT).checked_ilog2().unwrap_or(0)
}

/// How many elements precede the first vector boundary, which for `f32` is a cache line; 0 if the array is too short
/// for alignment to matter.
#[inline(always)]
pub(crate) fn head_len<E>(x: &[E]) -> usize {
    let line = WIDTH * size_of::<E>();
    let offset = x.as_ptr().addr() % line;
    if x.len() < 16 * WIDTH { 0 } else { (line - offset) % line / size_of::<E>() }
}

/// The sum of a tile's leaves along the tree. Leaves are added in order.
///
/// It holds the sums of complete subtrees like the digits of a binary counter: adding a leaf adds 1, and a carry adds
/// two subtrees of the same height.
pub(crate) struct TreeSum {
    leaves: usize,
    /// Indexed by height.
    subtrees: [f64; (TILE / LEAF).ilog2() as usize + 1],
}

impl TreeSum {
    pub(crate) const EMPTY: TreeSum = TreeSum { leaves: 0, subtrees: [0.0; (TILE / LEAF).ilog2() as usize + 1] };

    /// Adds the sum of the next leaf, or of the next few: their number is a power of two that divides the number of
    /// leaves before them.
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
