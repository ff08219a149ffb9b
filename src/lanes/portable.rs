//! Lanes of the crate `wide`: whatever the compiler was told the target has (SSE2, AVX, NEON, simd128). Where it has none,
//! kernels go one by one ([`SCALAR`](super::SCALAR)) and hardly use them.

use super::{Arithmetic, Lanes, WIDTH};
use wide::f32x16;

/// The token of the portable lanes; every machine has them.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Arithmetic for Portable {
    type Vector = f32x16;

    #[inline(always)]
    fn splat(self, value: f32) -> f32x16 {
        f32x16::splat(value)
    }

    #[inline(always)]
    fn add(self, a: f32x16, b: f32x16) -> f32x16 {
        a + b
    }

    #[inline(always)]
    fn sub(self, a: f32x16, b: f32x16) -> f32x16 {
        a - b
    }

    #[inline(always)]
    fn mul(self, a: f32x16, b: f32x16) -> f32x16 {
        a * b
    }
}

impl Lanes for Portable {
    const MANY_REGISTERS: bool = false;
    const MASKS: bool = false;

    #[inline(always)]
    fn load(self, from: &[f32; WIDTH]) -> f32x16 {
        f32x16::new(*from)
    }

    #[inline(always)]
    fn store(self, vector: f32x16, to: &mut [f32; WIDTH]) {
        *to = vector.to_array();
    }
}
