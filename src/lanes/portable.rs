//! Lanes of the crate `wide`, which uses the instructions that the target is compiled for (SSE2, AVX, NEON, simd128).
//! On targets without vectors, kernels work one number at a time and hardly use these lanes.

#[cfg(feature = "half")]
use super::halves::{clamp, join, split};
#[cfg(feature = "half")]
use super::ops::Element;
use super::ops::{Arithmetic, Kernel, Lanes, WIDTH};
#[cfg(feature = "half")]
use half::{bf16, f16};
use wide::f32x16;

/// Whether to process numbers one by one, because the target has no vectors that the portable lanes could use.
pub(crate) const ONE_BY_ONE: bool = cfg!(any(
    layerwise_backend = "scalar",
    not(any(
        target_feature = "sse2",
        all(target_arch = "aarch64", target_feature = "neon"),
        target_feature = "simd128",
    ))
));

/// The token of the portable lanes, which every target has.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Arithmetic for Portable {
    type Vector = f32x16;
    type Block = [f32; WIDTH];

    /// Not inlined: callers with better lanes should not pay for its stack frame.
    #[inline(never)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn blocks(x: &[f32]) -> &[[f32; WIDTH]] {
        x.as_chunks().0
    }

    #[inline(always)]
    fn blocks_mut(x: &mut [f32]) -> &mut [[f32; WIDTH]] {
        x.as_chunks_mut().0
    }

    #[inline(always)]
    fn get(self, from: &[f32; WIDTH]) -> f32x16 {
        self.load(from)
    }

    #[inline(always)]
    fn set(self, vector: f32x16, to: &mut [f32; WIDTH]) {
        self.store(vector, to);
    }

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

    #[inline(always)]
    fn div(self, a: f32x16, b: f32x16) -> f32x16 {
        (a / b) & b.simd_ne(f32x16::ZERO)
    }

    #[inline(always)]
    fn div_nonzero(self, a: f32x16, b: f32x16) -> f32x16 {
        a / b
    }

    #[inline(always)]
    #[allow(clippy::disallowed_methods, reason = "machines with vectors have an instruction for it")]
    fn sqrt(self, a: f32x16) -> f32x16 {
        if ONE_BY_ONE { f32x16::new(a.to_array().map(libm::sqrtf)) } else { a.sqrt() }
    }
}

impl Lanes for Portable {
    const LEAVES: usize = 1;
    const MASKS: bool = false;
    #[cfg(feature = "half")]
    const CONVERTS: bool = false;

    #[inline(always)]
    fn load(self, from: &[f32; WIDTH]) -> f32x16 {
        f32x16::new(*from)
    }

    #[inline(always)]
    fn load_last(self, from: &[f32]) -> f32x16 {
        let mut x = [0.0; WIDTH];
        copy(from, x.get_mut(WIDTH.saturating_sub(from.len())..).unwrap_or_default());
        self.load(&x)
    }

    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> f32x16 {
        let mut x = [0.0; WIDTH];
        copy(from, &mut x);
        self.load(&x)
    }

    #[inline(always)]
    fn store(self, vector: f32x16, to: &mut [f32; WIDTH]) {
        *to = vector.to_array();
    }

    #[inline(always)]
    fn store_partial(self, vector: f32x16, to: &mut [f32]) {
        copy(&vector.to_array(), to);
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn join(self, upper: &[bf16; WIDTH], lower: &[u16; WIDTH]) -> f32x16 {
        let mut x = [0.0; WIDTH];
        for ((x, upper), lower) in x.iter_mut().zip(upper).zip(lower) {
            *x = join(*upper, *lower);
        }
        f32x16::new(x)
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn split(self, vector: f32x16, upper: &mut [bf16; WIDTH], lower: &mut [u16; WIDTH]) {
        for ((x, upper), lower) in vector.to_array().into_iter().zip(upper).zip(lower) {
            (*upper, *lower) = split(x);
        }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn clamp(self, vector: f32x16, max: f32) -> f32x16 {
        let mut x = vector.to_array();
        for x in &mut x {
            *x = clamp(*x, max);
        }
        f32x16::new(x)
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn widen_bf16(self, from: &[bf16; WIDTH]) -> f32x16 {
        widened(from)
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn widen_f16(self, from: &[f16; WIDTH]) -> f32x16 {
        widened_f16(from)
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn narrow_bf16(self, vector: f32x16, to: &mut [bf16; WIDTH]) {
        narrowed(vector, to);
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn narrow_f16(self, vector: f32x16, to: &mut [f16; WIDTH]) {
        narrowed_f16(vector, to);
    }

    #[inline(always)]
    fn are_finite(self, vector: f32x16) -> bool {
        self.fold(vector).is_finite()
    }

    #[inline(always)]
    fn fold(self, vector: f32x16) -> f32 {
        let mut x = vector.to_array();
        let mut half = WIDTH / 2;
        while let (true, Some((left, right))) = (half > 0, x.split_at_mut_checked(half)) {
            for (left, right) in left.iter_mut().zip(right) {
                *left += *right;
            }
            half /= 2;
        }
        let [sum, ..] = x;
        sum
    }
}

/// Copies elements up to the end of the shorter slice.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Sixteen numbers, one by one. (A loop, because a closure over an array would be a call.)
#[cfg(feature = "half")]
#[inline(always)]
fn widened<E: Element>(from: &[E; WIDTH]) -> f32x16 {
    let mut x = [0.0; WIDTH];
    for (x, from) in x.iter_mut().zip(from) {
        *x = from.get();
    }
    f32x16::new(x)
}

/// The inverse.
#[cfg(feature = "half")]
#[inline(always)]
fn narrowed<E: Element>(vector: f32x16, to: &mut [E; WIDTH]) {
    for (to, x) in to.iter_mut().zip(vector.to_array()) {
        *to = E::of(x);
    }
}

/// The same for `f16`. (Separate, because it is a lot of code.)
#[cfg(feature = "half")]
#[inline(never)]
fn widened_f16(from: &[f16; WIDTH]) -> f32x16 {
    widened(from)
}

/// The inverse.
#[cfg(feature = "half")]
#[inline(never)]
fn narrowed_f16(vector: f32x16, to: &mut [f16; WIDTH]) {
    narrowed(vector, to);
}
