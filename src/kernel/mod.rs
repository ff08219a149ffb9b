//! Loops: the sums of squares behind every norm, and the affine update.
//!
//! This floor moves memory. It knows nothing of hyper-parameters (it gets ready scalars) and nothing of instruction
//! sets (it is written over [`crate::simd::Lanes`]). No kernel allocates or can panic.

pub(crate) mod norm;
pub(crate) mod update;
