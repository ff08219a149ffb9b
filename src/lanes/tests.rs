//! Quotients and roots have the same bits as scalar code on every backend.

use super::{Arithmetic, Backend, Kernel, Lanes, One, Two, WIDTH, dispatch};

/// Edge cases, and the same number of random bit patterns.
fn numbers() -> impl Iterator<Item = f32> {
    let edges = [0, 1, 2, 0x7f_ffff, 0x80_0000, 0x80_0001, 0x3f7f_ffff, 0x3f80_0000, 0x3f80_0001, 0x4040_0000];
    let large = [0x7e80_0000, 0x7f7f_fffe, 0x7f7f_ffff, 0x7f80_0000, 0x7f80_0001, 0x7fc0_0000];
    let random = (0..240_u32).map(|i| (i + 1).wrapping_mul(0x9e37_79b9) & 0x7fff_ffff);
    let bits = edges.into_iter().chain(large).chain(random);
    bits.flat_map(|bits| [f32::from_bits(bits), -f32::from_bits(bits)])
}

fn quotient(a: f32, b: f32) -> f32 {
    if b == 0.0 { 0.0 } else { a / b }
}

/// The same bits, or both NaN.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Sixteen quotients, and the roots of the divisors.
struct Both {
    dividend: f32,
    divisors: [f32; WIDTH],
}

impl Kernel for Both {
    type Output = [[f32; WIDTH]; 2];

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let divisors = lanes.load(&self.divisors);
        let mut results = [[0.0; WIDTH]; 2];
        lanes.store(lanes.div(lanes.splat(self.dividend), divisors), &mut results[0]);
        lanes.store(lanes.sqrt(divisors), &mut results[1]);
        results
    }

    fn run_one(self) -> Self::Output {
        [self.divisors.map(|b| One.div(self.dividend, b)), self.divisors.map(|b| One.sqrt(b))]
    }
}

#[test]
fn quotients_and_roots_have_the_bits_of_single_numbers() {
    for backend in Backend::available() {
        for dividend in numbers() {
            let mut rest = numbers();
            while let Some(first) = rest.next() {
                let mut divisors = [first; WIDTH];
                divisors[1..].fill_with(|| rest.next().unwrap_or(first));
                let [quotients, roots] = dispatch(backend, Both { dividend, divisors });
                for (i, divisor) in divisors.into_iter().enumerate() {
                    let (name, quotient) = (backend.name(), quotient(dividend, divisor));
                    assert!(same(quotients[i], quotient), "{name}: {dividend:e} / {divisor:e}");
                    assert!(same(roots[i], libm::sqrtf(divisor)), "{name}: root of {divisor:e}");
                }
            }
        }
    }
}

#[test]
fn two_numbers_have_the_bits_of_one() {
    for a in numbers() {
        for b in numbers() {
            let ([x, y], [r, s]) = (Two.div([a, b], [b, a]), Two.sqrt([a, b]));
            assert!(same(x, quotient(a, b)) && same(y, quotient(b, a)), "{a:e} and {b:e}");
            assert!(same(r, libm::sqrtf(a)) && same(s, libm::sqrtf(b)), "roots of {a:e} and {b:e}");
        }
    }
}

/// All upper halves, with lower halves at the edges of rounding.
#[cfg(feature = "half")]
#[test]
fn numbers_of_16_bits_are_those_of_the_crate_half() {
    use super::Element;
    use half::bf16;

    for upper in 0..=u16::MAX {
        let x = bf16::from_bits(upper);
        assert!(same(x.get(), x.to_f32()), "{upper:x}");
        for lower in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
            let x = f32::from_bits(u32::from(upper) << 16 | lower);
            assert_eq!(bf16::of(x).to_bits(), bf16::from_f32(x).to_bits(), "{:x}", x.to_bits());
        }
    }
}

/// Sixteen numbers rounded to `bf16`.
#[cfg(feature = "half")]
struct Narrow([f32; WIDTH]);

#[cfg(feature = "half")]
impl Kernel for Narrow {
    type Output = [half::bf16; WIDTH];

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Self::Output {
        let mut to = [half::bf16::ZERO; WIDTH];
        lanes.narrow_bf16(lanes.load(&self.0), &mut to);
        to
    }

    fn run_one(self) -> Self::Output {
        self.0.map(super::Element::of)
    }
}

/// Whatever the payload of a NaN: none may be rounded to an infinity.
#[cfg(feature = "half")]
#[test]
fn vectors_are_rounded_to_bf16_as_single_numbers() {
    const LOWER: [u32; WIDTH / 2] = [0, 1, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff];
    for backend in Backend::available() {
        for upper in (0..=u16::MAX).step_by(2) {
            let upper = [upper, upper + 1].map(|upper| u32::from(upper) << 16);
            let x: [f32; WIDTH] = core::array::from_fn(|i| f32::from_bits(upper[i % 2] | LOWER[i / 2]));
            for (rounded, x) in dispatch(backend, Narrow(x)).into_iter().zip(x) {
                let (name, expected) = (backend.name(), half::bf16::from_f32(x));
                assert!(same(rounded.to_f32(), expected.to_f32()), "{name}: {:x}", x.to_bits());
            }
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_best_instructions_of_the_processor_are_used() {
    extern crate std;

    if super::backend::FORCED {
        return;
    }
    let avx512 = std::is_x86_feature_detected!("avx512f");
    let avx2 = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("f16c");
    let expected = [("avx512", avx512), ("avx2", avx2), ("portable", true)];
    let expected = expected.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name);
    assert!(Backend::available().map(Backend::name).eq(expected));
    assert_eq!(Some(Backend::best()), Backend::available().next());
}
