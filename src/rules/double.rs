//! Scalar `f64` arithmetic that is cheap on processors without instructions for it.
//!
//! A Cortex-M4F has none: a product is a call of about 80 instructions, a quotient one of 120. But most factors in a
//! rule are exactly 1 and most terms exactly 0, so checking the right operand avoids most calls. Everything here gives
//! the bits of the operator it replaces. On processors with `f64` instructions it is that operator.

/// Whether `f64` arithmetic is done in software.
const SOFT: bool = cfg!(any(target_arch = "arm", target_arch = "riscv32"));

const ONE: u64 = 1.0_f64.to_bits();
const INFINITY: u64 = f64::INFINITY.to_bits();
const SIGN: u64 = 1 << 63;

/// `a * b`, where `b` is often 1 or 0.
#[inline(always)]
pub(crate) fn mul(a: f64, b: f64) -> f64 {
    if SOFT { f64::from_bits(soft_mul(a.to_bits(), b.to_bits())) } else { a * b }
}

// Operands are bits, which are passed in core registers. LLVM may inline these checks, and folds them if a setting is
// constant. The operations themselves must not be inlined: LLVM considers them cheap, and would rather do one than
// branch.
fn soft_mul(a: u64, b: u64) -> u64 {
    if b == ONE {
        a
    } else if b == 0 && a < INFINITY {
        0
    } else {
        product(a, b)
    }
}

#[inline(never)]
fn product(a: u64, b: u64) -> u64 {
    (f64::from_bits(a) * f64::from_bits(b)).to_bits()
}

/// `a * b`, where `b` is nearly always 1, so that nothing has to wait for the product.
#[inline(always)]
pub(crate) fn scaled(a: f64, b: f64) -> f64 {
    if SOFT {
        mul(a, b)
    } else if b == 1.0 {
        a
    } else {
        a * b
    }
}

/// `a / b`, where `b` is often 1.
#[inline(always)]
pub(crate) fn div(a: f64, b: f64) -> f64 {
    if SOFT { f64::from_bits(soft_div(a.to_bits(), b.to_bits())) } else { a / b }
}

fn soft_div(a: u64, b: u64) -> u64 {
    if b == ONE { a } else { quotient(a, b) }
}

#[inline(never)]
fn quotient(a: u64, b: u64) -> u64 {
    (f64::from_bits(a) / f64::from_bits(b)).to_bits()
}

/// `a + b`, where `b` is often 0.
#[inline(always)]
pub(crate) fn add(a: f64, b: f64) -> f64 {
    if SOFT { f64::from_bits(soft_add(a.to_bits(), b.to_bits())) } else { a + b }
}

fn soft_add(a: u64, b: u64) -> u64 {
    // Only for numbers without a sign: −0 + 0 is 0.
    if b == 0 && a < INFINITY { a } else { sum(a, b) }
}

#[inline(never)]
fn sum(a: u64, b: u64) -> u64 {
    (f64::from_bits(a) + f64::from_bits(b)).to_bits()
}

/// `x == 0.0`.
#[inline(always)]
pub(crate) const fn is_zero(x: f64) -> bool {
    // In halves: LLVM would recognise a comparison of the whole, and call the library.
    let bits = x.to_bits();
    ((bits >> 32) as u32) << 1 | bits as u32 == 0
}

/// `a < b`, where `b` is at least 0, or is a NaN and `a` is at least 0.
#[inline(always)]
pub(crate) fn less(a: f64, b: f64) -> bool {
    if SOFT { soft_less(a.to_bits(), b.to_bits()) } else { a < b }
}

fn soft_less(a: u64, b: u64) -> bool {
    // The bits of numbers without a sign have the order of the numbers. Of those with a sign, all but −0 and NaN are
    // less.
    let a = if a == SIGN { 0 } else { a };
    if a <= INFINITY { a < b && b <= INFINITY } else { a > SIGN && a <= SIGN | INFINITY }
}

/// The larger of `x` and `floor`, which is at least 0. (`f64::max` would prefer a number to a NaN.)
#[inline(always)]
pub(crate) fn at_least(x: f64, floor: f64) -> f64 {
    if SOFT {
        f64::from_bits(soft_at_least(x.to_bits(), floor.to_bits()))
    } else if x < floor {
        floor
    } else {
        x
    }
}

#[inline(never)]
fn soft_at_least(x: u64, floor: u64) -> u64 {
    if soft_less(x, floor) { floor } else { x }
}

/// The square root, correctly rounded.
#[inline(always)]
pub(crate) fn sqrt(x: f64) -> f64 {
    if SOFT { soft_sqrt(x) } else { libm::sqrt(x) }
}

/// The square root in integer arithmetic: 79 instructions; `libm` takes 169 and a table.
#[inline(never)]
fn soft_sqrt(x: f64) -> f64 {
    let mut bits = x.to_bits();
    let mut exponent = (bits >> 52) as i32; // with the sign
    if exponent == 0 || exponent >= 0x7ff {
        if is_zero(x) || bits == INFINITY {
            return x;
        }
        if bits > INFINITY {
            return f64::NAN;
        }
        // A subnormal number: shift until the leading bit is where normal numbers have it.
        exponent = 1;
        while bits >> 52 == 0 {
            bits <<= 1;
            exponent -= 1;
        }
    }
    // x = m·4ᵉ with m from 1 to 4. `a` is m as a fixed-point number with 62 bits after the point, `high` its upper
    // half.
    let odd = exponent & 1 == 0;
    let a = bits << 11 | SIGN;
    let a = if odd { a } else { a >> 1 };
    let high = (a >> 32) as u32;
    let times = |a: u32, b: u32| u64::from(a) * u64::from(b);
    let upper = |a, b| (times(a, b) >> 32) as u32;
    // `r` is 1/√m with 32 bits after the point, never too large: a linear estimate that is off by at most 3.4 %, then
    // three steps of Newton's method, each rounded down.
    let mut r =
        if odd { 3_766_000_000 - (high >> 2) - (high >> 3) } else { (5_229_000_000_u64 - u64::from(high)) as u32 };
    for _ in 0..3 {
        r = (times(r, (3 << 30) - 2 - upper(upper(r, r), high)) >> 31) as u32;
    }
    // √m with 31 bits after the point, then, corrected by the remainder, with 54: too low by less than 1.25 units of
    // the last bit.
    let s = (times(high, r) >> 31) as u32;
    let remainder = a - times(s, s);
    let s = (u64::from(s) << 23) + (times((remainder >> 6) as u32, r) >> 35);
    // An exact remainder decides between two neighbours.
    let y = s >> 2;
    let y = y + u64::from((a << 42).wrapping_sub(y.wrapping_mul(y)) > y);
    f64::from_bits(((((exponent + 1021) >> 1) as u64) << 52) + y)
}

/// `base` to the power of `exponent`, by squaring: it gives the same bits everywhere and needs no logarithm.
pub(crate) fn power(mut base: f64, mut exponent: u32) -> f64 {
    let mut product = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            product *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers at the ends of every range, with both signs.
    fn edges() -> impl Iterator<Item = f64> {
        let sizes = [
            0,
            1,
            ONE - 1,
            ONE,
            ONE + 1,
            INFINITY - 1,
            INFINITY,
            INFINITY + 1,
            1 << 52,
            (1 << 52) - 1,
            0x3fd5_5555_5555_5555,
        ];
        sizes.into_iter().flat_map(|bits| [bits, bits | SIGN]).map(f64::from_bits)
    }

    fn same(a: u64, b: f64) -> bool {
        a == b.to_bits() || (f64::from_bits(a).is_nan() && b.is_nan())
    }

    #[test]
    fn soft_operations_have_the_bits_of_the_operators() {
        for (a, b) in edges().flat_map(|a| edges().map(move |b| (a, b))) {
            let (x, y) = (a.to_bits(), b.to_bits());
            assert!(same(soft_mul(x, y), a * b), "{a:e} * {b:e}");
            assert!(same(soft_div(x, y), a / b), "{a:e} / {b:e}");
            assert!(same(soft_add(x, y), a + b), "{a:e} + {b:e}");
            if b >= 0.0 && (b > 0.0 || y == 0) || (b.is_nan() && a >= 0.0) {
                assert_eq!(soft_less(x, y), a < b, "{a:e} < {b:e}");
                assert!(same(soft_at_least(x, y), if a < b { b } else { a }), "{a:e} at least {b:e}");
            }
            assert_eq!(is_zero(a), a == 0.0, "{a:e}");
        }
    }

    #[test]
    fn soft_roots_have_the_bits_of_the_instruction() {
        let mut seed = 1_u64;
        let random = core::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from_bits(seed ^ seed >> 29)
        });
        // The last bit is hardest next to squares, and next to squares of midpoints between two numbers.
        let squares = (1..1 << 18).map(|i| f64::from_bits(ONE + (i << 34))).flat_map(|x| {
            let bits = (x * x).to_bits();
            [bits - 1, bits, bits + 1].map(f64::from_bits)
        });
        for x in edges().chain(random.take(2_000_000)).chain(squares) {
            assert!(same(soft_sqrt(x).to_bits(), libm::sqrt(x)), "{x:e}: {:e}", soft_sqrt(x));
        }
    }
}
