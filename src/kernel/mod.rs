//! Loops: the sums of squares behind every norm, and the affine update.
//!
//! This floor moves memory. It knows nothing of hyper-parameters (it gets ready scalars) and nothing of instruction
//! sets (it is written over [`crate::lanes::Lanes`]). No kernel allocates or can panic.

pub(crate) mod join;
pub(crate) mod max;
mod momentum;
pub(crate) mod norm;
mod scalar;
pub(crate) mod update;
mod zip;

use crate::lanes::WIDTH;

/// How many elements there are before every slice begins on a cache line: 0 where the slices have different alignments, or are too
/// short for it to matter.
///
/// An update may begin anywhere, for every element is computed alone; and so may a norm, if it turns its lanes.
#[inline(always)]
fn head_len<const N: usize>(slices: [*const f32; N], len: usize) -> usize {
    const LINE: usize = 64;
    let offset = slices.first().map_or(0, |slice| slice.addr() % LINE);
    if len < 16 * WIDTH || slices.iter().any(|slice| slice.addr() % LINE != offset) {
        return 0;
    }
    (LINE - offset) % LINE / size_of::<f32>()
}
