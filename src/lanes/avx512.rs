//! Lanes of AVX-512: one register of sixteen.

use super::ops::{Arithmetic, Kernel, Lanes, WIDTH};
use core::arch::x86_64::*;
#[cfg(feature = "half")]
use half::{bf16, f16};

cpufeatures::new!(cpu, "avx512f");

/// The token of AVX-512. Holding one proves that the processor has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx512(());

impl Avx512 {
    /// A token, if this processor and its operating system support AVX-512.
    #[inline]
    pub(super) fn detect() -> Option<Self> {
        cpu::get().then_some(Avx512(()))
    }
}

impl Arithmetic for Avx512 {
    type Vector = __m512;
    type Block = [f32; WIDTH];

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f")]
        fn run<K: Kernel>(lanes: Avx512, kernel: K) -> K::Output {
            kernel.run(lanes)
        }
        // SAFETY: the token proves that the processor has AVX-512.
        unsafe { run(self, kernel) }
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
    fn get(self, from: &[f32; WIDTH]) -> __m512 {
        self.load(from)
    }

    #[inline(always)]
    fn set(self, vector: __m512, to: &mut [f32; WIDTH]) {
        self.store(vector, to);
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: the token proves that the processor has AVX-512.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves that the processor has AVX-512.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves that the processor has AVX-512.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves that the processor has AVX-512.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves that the processor has AVX-512.
        unsafe { _mm512_maskz_div_ps(_mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(b, _mm512_setzero_ps()), a, b) }
    }

    #[inline(always)]
    fn div_nonzero(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: the token proves that the processor has AVX-512.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        // SAFETY: the token proves that the processor has AVX-512.
        unsafe { _mm512_sqrt_ps(a) }
    }
}

impl Lanes for Avx512 {
    const LEAVES: usize = 4;
    const MASKS: bool = true;
    #[cfg(feature = "half")]
    const CONVERTS: bool = true;

    #[inline(always)]
    fn load(self, from: &[f32; WIDTH]) -> __m512 {
        // SAFETY: the token proves that the processor has AVX-512; the load is of sixteen floats, and needs no
        // alignment.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }

    #[inline(always)]
    fn load_last(self, from: &[f32]) -> __m512 {
        let skipped = WIDTH.saturating_sub(from.len());
        // SAFETY: the token proves that the processor has AVX-512; the mask selects the last of sixteen floats that end
        // where these do; the others are not read, and may be outside the allocation.
        unsafe { _mm512_maskz_loadu_ps(!mask(skipped), from.as_ptr().wrapping_sub(skipped)) }
    }

    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> __m512 {
        // SAFETY: the token proves that the processor has AVX-512; the mask selects no more floats than there are; the
        // others are not read, and may be outside the allocation.
        unsafe { _mm512_maskz_loadu_ps(mask(from.len()), from.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, vector: __m512, to: &mut [f32; WIDTH]) {
        // SAFETY: the token proves that the processor has AVX-512; the store is of sixteen floats, and needs no
        // alignment.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn store_partial(self, vector: __m512, to: &mut [f32]) {
        // SAFETY: the token proves that the processor has AVX-512; the mask selects no more floats than there is room
        // for; the others are not written, and may be outside the allocation.
        unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), mask(to.len()), vector) }
    }

    #[inline(always)]
    fn first(self, vector: __m512, len: usize) -> __m512 {
        // SAFETY: the token proves that the processor has AVX-512.
        unsafe { _mm512_maskz_mov_ps(mask(len), vector) }
    }

    #[inline(always)]
    fn last(self, vector: __m512, len: usize) -> __m512 {
        // SAFETY: the token proves that the processor has AVX-512.
        unsafe { _mm512_maskz_mov_ps(!mask(WIDTH.saturating_sub(len)), vector) }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn join(self, upper: &[bf16; WIDTH], lower: &[u16; WIDTH]) -> __m512 {
        // SAFETY: the token proves that the processor has AVX-512; both loads are of sixteen halves, and need no
        // alignment.
        unsafe {
            let upper = _mm512_cvtepu16_epi32(_mm256_loadu_si256(upper.as_ptr().cast()));
            let lower = _mm512_cvtepu16_epi32(_mm256_loadu_si256(lower.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_or_si512(_mm512_slli_epi32::<16>(upper), lower))
        }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn split(self, vector: __m512, upper: &mut [bf16; WIDTH], lower: &mut [u16; WIDTH]) {
        // SAFETY: the token proves that the processor has AVX-512; both stores are of sixteen halves, and need no
        // alignment.
        unsafe {
            let bits = _mm512_castps_si512(vector);
            let high = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(bits));
            _mm256_storeu_si256(upper.as_mut_ptr().cast(), high);
            _mm256_storeu_si256(lower.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(bits));
        }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn clamp(self, vector: __m512, max: f32) -> __m512 {
        // SAFETY: the token proves that the processor has AVX-512. `min` and `max` return their second operand if one
        // is a NaN.
        unsafe { _mm512_max_ps(_mm512_set1_ps(-max), _mm512_min_ps(_mm512_set1_ps(max), vector)) }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn widen_bf16(self, from: &[bf16; WIDTH]) -> __m512 {
        // SAFETY: the token proves that the processor has AVX-512; the load is of sixteen halves, and needs no
        // alignment.
        unsafe {
            let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
        }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn widen_f16(self, from: &[f16; WIDTH]) -> __m512 {
        // SAFETY: the token proves that the processor has AVX-512; the load is of sixteen halves, and needs no
        // alignment.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())) }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn narrow_bf16(self, vector: __m512, to: &mut [bf16; WIDTH]) {
        // SAFETY: the token proves that the processor has AVX-512; the store is of sixteen halves, and needs no
        // alignment.
        unsafe {
            // NaNs become the default NaN, so that the addition does not overflow.
            let number = _mm512_fixupimm_ps::<0>(vector, vector, _mm512_set1_epi32(NAN_TO_NAN));
            let bits = _mm512_castps_si512(number);
            let odd = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x1_0000));
            let up = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));
            let up = _mm512_mask_add_epi32(up, odd, bits, _mm512_set1_epi32(0x8000));
            let halves = _mm512_srli_epi32::<16>(up);
            _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm512_cvtepi32_epi16(halves));
        }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn narrow_f16(self, vector: __m512, to: &mut [f16; WIDTH]) {
        // SAFETY: the token proves that the processor has AVX-512; the store is of sixteen halves, and needs no
        // alignment.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(vector)) }
    }

    #[inline(always)]
    fn are_finite(self, vector: __m512) -> bool {
        // SAFETY: the token proves that the processor has AVX-512.
        unsafe {
            // `x - x` is NaN if `x` is not finite, and 0 otherwise.
            let zero = _mm512_sub_ps(vector, vector);
            _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(zero, zero) == 0
        }
    }

    #[inline(always)]
    fn fold(self, vector: __m512) -> f32 {
        // SAFETY: the token proves that the processor has AVX-512, which implies AVX.
        unsafe {
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(vector)));
            let eight = _mm256_add_ps(_mm512_castps512_ps256(vector), high);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
}

/// What `vfixupimmps` does with each class of numbers, four bits each: the first two classes, NaNs, become the default
/// NaN.
#[cfg(feature = "half")]
const NAN_TO_NAN: i32 = 0x33;

/// A bit for each of the first elements, sixteen at most.
#[inline(always)]
fn mask(len: usize) -> __mmask16 {
    // A shift by more than fifteen bits gives 0.
    !u16::MAX.checked_shl(len.try_into().unwrap_or(u32::MAX)).unwrap_or(0)
}
