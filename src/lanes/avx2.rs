//! Lanes of AVX2: two registers of eight.

use super::ops::{Arithmetic, Element, Kernel, Lanes, WIDTH};
use core::arch::x86_64::*;

cpufeatures::new!(cpu, "avx2");

/// The token of AVX2; to have one is to have the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Avx2(());

impl Avx2 {
    /// A token, if this processor and its system have AVX2.
    #[inline]
    pub(super) fn detect() -> Option<Self> {
        cpu::get().then_some(Avx2(()))
    }

    /// Those of sixteen floats whose masks are not 0, and zeros.
    ///
    /// # Safety
    ///
    /// The floats must be readable; what the masks leave out is not read, and needs no memory.
    #[inline(always)]
    unsafe fn load_masked(self, from: *const f32, masks: &[i32; WIDTH]) -> [__m256; 2] {
        let masks = masks.as_ptr().cast();
        // SAFETY: the token proves that the processor has AVX2; both loads of masks are of eight integers inside of
        // sixteen; the caller vouches for the floats.
        unsafe {
            let masks = [_mm256_loadu_si256(masks), _mm256_loadu_si256(masks.add(1))];
            [_mm256_maskload_ps(from, masks[0]), _mm256_maskload_ps(from.wrapping_add(8), masks[1])]
        }
    }
}

impl Arithmetic for Avx2 {
    type Vector = [__m256; 2];
    type Block<E: Element> = [E; WIDTH];

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2")]
        fn run<K: Kernel>(lanes: Avx2, kernel: K) -> K::Output {
            kernel.run(lanes)
        }
        // SAFETY: the token proves that the processor has AVX2.
        unsafe { run(self, kernel) }
    }

    #[inline(always)]
    fn blocks<E: Element>(x: &[E]) -> &[[E; WIDTH]] {
        x.as_chunks().0
    }

    #[inline(always)]
    fn blocks_mut<E: Element>(x: &mut [E]) -> &mut [[E; WIDTH]] {
        x.as_chunks_mut().0
    }

    #[inline(always)]
    fn get<E: Element>(self, from: &[E; WIDTH]) -> Self::Vector {
        E::load(self, from)
    }

    #[inline(always)]
    fn set<E: Element>(self, vector: Self::Vector, to: &mut [E; WIDTH]) {
        E::store(self, vector, to);
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
    fn sqrt(self, a: Self::Vector) -> Self::Vector {
        // SAFETY: the token proves that the processor has AVX2.
        unsafe { [_mm256_sqrt_ps(a[0]), _mm256_sqrt_ps(a[1])] }
    }
}

impl Lanes for Avx2 {
    const LEAVES: usize = 2;
    const MASKS: bool = true;

    #[inline(always)]
    fn load(self, from: &[f32; WIDTH]) -> Self::Vector {
        // SAFETY: the token proves that the processor has AVX2; both loads are of eight floats inside of sixteen, and
        // need no alignment.
        unsafe { [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))] }
    }

    #[inline(always)]
    fn load_last(self, from: &[f32]) -> Self::Vector {
        let len = from.len().min(WIDTH);
        // SAFETY: the masks allow the last `len` of sixteen floats that end where these do.
        unsafe { self.load_masked(from.as_ptr().wrapping_sub(WIDTH - len), masks(len)) }
    }

    #[inline(always)]
    fn load_partial(self, from: &[f32]) -> Self::Vector {
        let len = from.len().min(WIDTH);
        // SAFETY: the masks allow the first `len`.
        unsafe { self.load_masked(from.as_ptr(), masks(2 * WIDTH - len)) }
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector, to: &mut [f32; WIDTH]) {
        let to = to.as_mut_ptr();
        // SAFETY: the token proves that the processor has AVX2; both stores are of eight floats inside of sixteen, and
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
        // SAFETY: the token proves that the processor has AVX2. Each store is of as many floats as its bit in `len`
        // says, after those of the higher bits, and needs no alignment.
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
                _mm_storel_pd(at(len & 12).cast(), _mm_castps_pd(four));
                four = _mm_movehl_ps(four, four);
            }
            if len & 1 != 0 {
                _mm_store_ss(at(len & 14), four);
            }
        }
    }

    #[inline(always)]
    fn are_finite(self, vector: Self::Vector) -> bool {
        // SAFETY: the token proves that the processor has AVX2.
        unsafe {
            // Of what is not finite the difference is NaN.
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

/// Masks of sixteen elements, from one that allows none: of `n` the last `n`, of `32 - n` the first `n`.
#[inline(always)]
fn masks(n: usize) -> &'static [i32; WIDTH] {
    static MASKS: [[i32; WIDTH]; 3] = [[0; WIDTH], [-1; WIDTH], [0; WIDTH]];
    MASKS.as_flattened().get(n..).and_then(|masks| masks.first_chunk()).unwrap_or(&[0; WIDTH])
}
