//! Lanes of AVX2: two registers of eight.

use super::ops::{Arithmetic, Kernel, Lanes, WIDTH};
use core::arch::x86_64::*;
#[cfg(feature = "half")]
use half::{bf16, f16};

cpufeatures::new!(cpu, "avx2");

/// The token of AVX2, and with 16-bit floats of F16C. Holding one proves that the processor has the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx2(());

impl Avx2 {
    /// A token, if this processor and its operating system support the instructions.
    #[inline]
    pub(super) fn detect() -> Option<Self> {
        #[cfg(feature = "half")]
        if !has_f16c() {
            return None;
        }
        cpu::get().then_some(Avx2(()))
    }

    /// Loads those of sixteen floats whose masks are −1, and zeros for the others.
    ///
    /// # Safety
    ///
    /// Masks must be 0 or −1. The floats whose masks are −1 must be readable. The others are not read, and may be
    /// outside the allocation.
    #[inline(always)]
    unsafe fn load_masked(self, from: *const f32, masks: &[i32; WIDTH]) -> [__m256; 2] {
        let masks = masks.as_ptr().cast();
        // SAFETY: the token proves that the processor has AVX2; both loads of masks are of eight integers inside
        // sixteen; the caller vouches for the floats.
        unsafe {
            let masks = [_mm256_loadu_si256(masks), _mm256_loadu_si256(masks.add(1))];
            [_mm256_maskload_ps(from, masks[0]), _mm256_maskload_ps(from.wrapping_add(8), masks[1])]
        }
    }
}

impl Arithmetic for Avx2 {
    type Vector = [__m256; 2];
    type Block = [f32; WIDTH];

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg_attr(feature = "half", target_feature(enable = "f16c"))]
        #[target_feature(enable = "avx2")]
        fn run<K: Kernel>(lanes: Avx2, kernel: K) -> K::Output {
            kernel.run(lanes)
        }
        // SAFETY: the token proves that the processor has AVX2 (and F16C, where that is used).
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
    fn get(self, from: &[f32; WIDTH]) -> Self::Vector {
        self.load(from)
    }

    #[inline(always)]
    fn set(self, vector: Self::Vector, to: &mut [f32; WIDTH]) {
        self.store(vector, to);
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        // SAFETY: the token proves that the processor has AVX2.
        unsafe { [_mm256_set1_ps(value); 2] }
    }

    #[inline(always)]
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the token proves that the processor has AVX2.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the token proves that the processor has AVX2.
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the token proves that the processor has AVX2.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn div(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the token proves that the processor has AVX2.
        unsafe {
            let zero = _mm256_setzero_ps();
            let some = [_mm256_cmp_ps::<_CMP_NEQ_UQ>(b[0], zero), _mm256_cmp_ps::<_CMP_NEQ_UQ>(b[1], zero)];
            [_mm256_and_ps(_mm256_div_ps(a[0], b[0]), some[0]), _mm256_and_ps(_mm256_div_ps(a[1], b[1]), some[1])]
        }
    }

    #[inline(always)]
    fn div_nonzero(self, a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the token proves that the processor has AVX2.
        unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn sqrt(self, a: Self::Vector) -> Self::Vector {
        // SAFETY: the token proves that the processor has AVX2.
        unsafe { [_mm256_sqrt_ps(a[0]), _mm256_sqrt_ps(a[1])] }
    }
}

impl Lanes for Avx2 {
    const LEAVES: usize = 2;
    const MASKS: bool = true;
    #[cfg(feature = "half")]
    const CONVERTS: bool = true;

    #[inline(always)]
    fn load(self, from: &[f32; WIDTH]) -> Self::Vector {
        // SAFETY: the token proves that the processor has AVX2; both loads are of eight floats inside sixteen, and need
        // no alignment.
        unsafe { [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))] }
    }

    #[inline(always)]
    fn load_last(self, from: &[f32]) -> Self::Vector {
        let len = from.len().min(WIDTH);
        // SAFETY: the masks select the last `len` of sixteen floats that end where these do.
        unsafe { self.load_masked(from.as_ptr().wrapping_sub(WIDTH - len), masks(len)) }
    }

    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> Self::Vector {
        let len = from.len().min(WIDTH);
        // SAFETY: the masks select the first `len`.
        unsafe { self.load_masked(from.as_ptr(), masks(2 * WIDTH - len)) }
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector, to: &mut [f32; WIDTH]) {
        let to = to.as_mut_ptr();
        // SAFETY: the token proves that the processor has AVX2; both stores are of eight floats inside sixteen, and
        // need no alignment.
        unsafe {
            _mm256_storeu_ps(to, vector[0]);
            _mm256_storeu_ps(to.add(8), vector[1]);
        }
    }

    #[inline(always)]
    fn store_partial(self, [low, high]: Self::Vector, to: &mut [f32]) {
        let start = to.as_mut_ptr();
        let at = |i: usize| start.wrapping_add(i);
        let len = to.len().min(WIDTH);
        // SAFETY: the token proves that the processor has AVX2. Each bit of `len` that is set stores that number of
        // floats, after those of the higher bits: together the first `len`, for which there is room. No store needs
        // alignment.
        unsafe {
            if len == WIDTH {
                _mm256_storeu_ps(at(0), low);
                _mm256_storeu_ps(at(8), high);
                return;
            }
            let mut eight = low;
            if len & 8 != 0 {
                _mm256_storeu_ps(at(0), low);
                eight = high;
            }
            let mut four = _mm256_castps256_ps128(eight);
            if len & 4 != 0 {
                _mm_storeu_ps(at(len & 8), four);
                four = _mm256_extractf128_ps::<1>(eight);
            }
            if len & 2 != 0 {
                _mm_storel_epi64(at(len & 12).cast(), _mm_castps_si128(four));
                four = _mm_movehl_ps(four, four);
            }
            if len & 1 != 0 {
                _mm_store_ss(at(len & 14), four);
            }
        }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn join(self, upper: &[bf16; WIDTH], lower: &[u16; WIDTH]) -> Self::Vector {
        let ([a, b], lower) = (self.widen_bf16(upper), lower.as_ptr().cast::<__m128i>());
        // SAFETY: the token proves that the processor has AVX2; both loads are of eight halves inside sixteen, and need
        // no alignment.
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(lower));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(lower.add(1)));
            [_mm256_or_ps(a, _mm256_castsi256_ps(low)), _mm256_or_ps(b, _mm256_castsi256_ps(high))]
        }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn split(self, vector: Self::Vector, upper: &mut [bf16; WIDTH], lower: &mut [u16; WIDTH]) {
        // SAFETY: the token proves that the processor has AVX2; both stores are of sixteen halves, and need no
        // alignment.
        unsafe {
            let [a, b] = [_mm256_castps_si256(vector[0]), _mm256_castps_si256(vector[1])];
            let high = packed(_mm256_srli_epi32::<16>(a), _mm256_srli_epi32::<16>(b));
            _mm256_storeu_si256(upper.as_mut_ptr().cast(), high);
            let mask = _mm256_set1_epi32(0xffff);
            let low = packed(_mm256_and_si256(a, mask), _mm256_and_si256(b, mask));
            _mm256_storeu_si256(lower.as_mut_ptr().cast(), low);
        }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn clamp(self, vector: Self::Vector, max: f32) -> Self::Vector {
        // SAFETY: the token proves that the processor has AVX2. `min` and `max` return their second operand if one is a
        // NaN.
        unsafe {
            let (max, min) = (_mm256_set1_ps(max), _mm256_set1_ps(-max));
            let [a, b] = [_mm256_min_ps(max, vector[0]), _mm256_min_ps(max, vector[1])];
            [_mm256_max_ps(min, a), _mm256_max_ps(min, b)]
        }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn widen_bf16(self, from: &[bf16; WIDTH]) -> Self::Vector {
        let from = from.as_ptr().cast::<__m128i>();
        // SAFETY: the token proves that the processor has AVX2; both loads are of eight halves inside sixteen, and need
        // no alignment.
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(from));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.add(1)));
            [_mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)), _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high))]
        }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn widen_f16(self, from: &[f16; WIDTH]) -> Self::Vector {
        let from = from.as_ptr().cast::<__m128i>();
        // SAFETY: the token proves that the processor has AVX2 and F16C; both loads are of eight halves inside sixteen,
        // and need no alignment.
        unsafe { [_mm256_cvtph_ps(_mm_loadu_si128(from)), _mm256_cvtph_ps(_mm_loadu_si128(from.add(1)))] }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn narrow_bf16(self, vector: Self::Vector, to: &mut [bf16; WIDTH]) {
        // SAFETY: the token proves that the processor has AVX2; the store is of sixteen halves, and needs no alignment.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), packed(rounded(vector[0]), rounded(vector[1]))) }
    }

    #[cfg(feature = "half")]
    #[inline(always)]
    fn narrow_f16(self, vector: Self::Vector, to: &mut [f16; WIDTH]) {
        let to = to.as_mut_ptr().cast::<__m128i>();
        // SAFETY: the token proves that the processor has AVX2 and F16C; both stores are of eight halves inside
        // sixteen, and need no alignment.
        unsafe {
            _mm_storeu_si128(to, _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(vector[0]));
            _mm_storeu_si128(to.add(1), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(vector[1]));
        }
    }

    #[inline(always)]
    fn are_finite(self, vector: Self::Vector) -> bool {
        // SAFETY: the token proves that the processor has AVX2.
        unsafe {
            // `x - x` is NaN if `x` is not finite, and 0 otherwise.
            let sum = _mm256_add_ps(vector[0], vector[1]);
            let zero = _mm256_sub_ps(sum, sum);
            _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(zero, zero)) == 0
        }
    }

    #[inline(always)]
    fn fold(self, vector: Self::Vector) -> f32 {
        // SAFETY: the token proves that the processor has AVX2.
        unsafe {
            let eight = _mm256_add_ps(vector[0], vector[1]);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
}

/// Whether the processor has F16C, which `cpufeatures` cannot detect. (All processors with AVX2 have it, but nothing
/// guarantees that.)
#[cfg(feature = "half")]
#[inline]
fn has_f16c() -> bool {
    use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

    const NO: u8 = 1;
    const YES: u8 = 2;
    /// The result is cached: `cpuid` is slow, above all on virtual machines.
    static KNOWN: AtomicU8 = AtomicU8::new(0);

    if cfg!(target_feature = "f16c") {
        return true;
    }
    if KNOWN.load(Relaxed) == 0 {
        // SAFETY: every x86-64 processor has `cpuid` and its leaf 1. (In later compilers the call is safe.)
        #[allow(unused_unsafe)]
        let features = unsafe { __cpuid(1) }.ecx;
        KNOWN.store(if features & 1 << 29 != 0 { YES } else { NO }, Relaxed);
    }
    KNOWN.load(Relaxed) == YES
}

/// `masks(n)` selects the last `n` of sixteen elements, and `masks(32 - n)` the first `n`.
#[inline(always)]
fn masks(n: usize) -> &'static [i32; WIDTH] {
    static MASKS: [[i32; WIDTH]; 3] = [[0; WIDTH], [-1; WIDTH], [0; WIDTH]];
    MASKS.as_flattened().get(n..).and_then(|masks| masks.first_chunk()).unwrap_or(&[0; WIDTH])
}

/// Packs the lower halves of sixteen integers, whose upper halves are 0.
///
/// # Safety
///
/// The processor must have AVX2.
#[cfg(feature = "half")]
#[inline(always)]
unsafe fn packed(low: __m256i, high: __m256i) -> __m256i {
    // SAFETY: the caller vouches for AVX2. (Packing works within 128-bit halves; the permutation restores the order.)
    unsafe { _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, high)) }
}

/// Eight numbers rounded to `bf16`, in the lower halves of 32-bit integers, whose upper halves are 0.
///
/// # Safety
///
/// The processor must have AVX2.
#[cfg(feature = "half")]
#[inline(always)]
unsafe fn rounded(x: __m256) -> __m256i {
    // SAFETY: the caller vouches for AVX2.
    unsafe {
        let bits = _mm256_castps_si256(x);
        let high = _mm256_srli_epi32::<16>(bits);
        let odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
        let up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
        _mm256_blendv_epi8(_mm256_srli_epi32::<16>(up), _mm256_or_si256(high, _mm256_set1_epi32(0x40)), nan)
    }
}
