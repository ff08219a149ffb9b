//! Loops: the sums of squares behind every norm, and the affine update.
//!
//! This floor moves memory. It knows nothing of hyper-parameters (it gets ready scalars) and nothing of instruction
//! sets (it is written over [`crate::simd::Lanes`]). No kernel allocates or can panic.

pub(crate) mod join;
pub(crate) mod norm;
mod scalar;
pub(crate) mod update;
mod zip;

use crate::simd::WIDTH;

/// Copies as many elements as both slices have.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// How many elements to update before the rest of every slice begins on a cache line: 0 where the slices have different
/// alignments, or are too short for it to matter.
///
/// An update may be cut anywhere, for every element is computed alone. (A norm may not: its lanes go by index.)
#[inline(always)]
fn head_len<const N: usize>(slices: [*const f32; N], len: usize) -> usize {
    const LINE: usize = 64;
    let offset = slices.first().map_or(0, |slice| slice.addr() % LINE);
    if len < 16 * WIDTH || slices.iter().any(|slice| slice.addr() % LINE != offset) {
        return 0;
    }
    (LINE - offset) % LINE / size_of::<f32>()
}

/// A partial vector, padded with zeros.
#[inline(always)]
fn padded(tail: &[f32]) -> [f32; WIDTH] {
    let mut vector = [0.0; WIDTH];
    copy(tail, &mut vector);
    vector
}
