//! Loops: the sums of squares behind every norm, and the affine update.
//!
//! This floor moves memory. It knows nothing of hyper-parameters (it gets ready scalars) and nothing of instruction
//! sets (it is written over [`crate::simd::Lanes`]). No kernel allocates or can panic.

pub(crate) mod join;
pub(crate) mod norm;
mod scalar;
pub(crate) mod update;

/// Copies as many elements as both slices have.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}
