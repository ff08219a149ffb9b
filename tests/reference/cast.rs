//! Casts between 32 and 16 bits, from the formats of IEEE 754: bits to bits, in integers.
//!
//! | | sign | exponent | fraction |
//! |---|---|---|---|
//! | `f32` | 1 | 8 | 23 |
//! | `bf16` | 1 | 8 | 7 |
//! | `f16` | 1 | 5 | 10 |
//!
//! They round to the nearest number, ties to even. Numbers beyond the largest become infinity, or with saturation the
//! largest number. A NaN stays a NaN; here it becomes the quiet one without a sign.

/// A NaN of each format.
pub const NAN: u32 = 0x7fc0_0000;
pub const NAN_BF16: u16 = 0x7fc0;
pub const NAN_F16: u16 = 0x7e00;

/// The exponent of infinity and NaN.
const INFINITY: u32 = 0x7f80_0000;
const INFINITY_BF16: u16 = 0x7f80;
const INFINITY_F16: u16 = 0x7c00;

/// The number without its last `bits` bits, rounded; 0 if it has fewer bits.
fn without_last(number: u64, bits: u32) -> u64 {
    if bits >= 60 {
        return 0;
    }
    let (kept, lost, half) = (number >> bits, number & ((1 << bits) - 1), (1 << bits) >> 1);
    // If no bits are lost, there is nothing to round.
    if bits > 0 && (lost > half || lost == half && kept & 1 == 1) { kept + 1 } else { kept }
}

/// Adds the sign of a 32-bit float to a 16-bit magnitude.
fn signed(x: u32, magnitude: u16) -> u16 {
    (x >> 31 << 15) as u16 | magnitude
}

/// The largest finite number instead of infinity.
fn saturated(magnitude: u16, infinity: u16) -> u16 {
    if magnitude == infinity { infinity - 1 } else { magnitude }
}

fn is_nan(x: u32) -> bool {
    x << 1 > INFINITY << 1
}

/// The magnitude in `bf16`, the upper half of an `f32`. A fraction that rounds up carries into the exponent, as it
/// should.
fn magnitude_bf16(x: u32) -> u16 {
    without_last(u64::from(x << 1 >> 1), 16) as u16
}

/// The magnitude in `f16`.
fn magnitude_f16(x: u32) -> u16 {
    let (exponent, fraction) = (x << 1 >> 24, u64::from(x & 0x7f_ffff));
    if x << 1 >= INFINITY << 1 {
        return INFINITY_F16;
    }
    // Subnormal numbers of `f32` are far below those of `f16`.
    let significand = if exponent == 0 { fraction } else { fraction | 1 << 23 };
    // The exponents of 1 are 127 and 15. From 113 on the number is normal in `f16`, and its fraction loses 13 bits;
    // below, one more for each exponent.
    let magnitude = match exponent.checked_sub(112) {
        Some(exponent @ 1..) => (u64::from(exponent - 1) << 10) + without_last(significand, 13),
        _ => without_last(significand, 13 + (113 - exponent)),
    };
    u16::try_from(magnitude).map_or(INFINITY_F16, |magnitude| magnitude.min(INFINITY_F16))
}

pub fn f32_to_bf16(x: u32) -> u16 {
    if is_nan(x) { NAN_BF16 } else { signed(x, magnitude_bf16(x)) }
}

pub fn f32_to_bf16_saturating(x: u32) -> u16 {
    if is_nan(x) { NAN_BF16 } else { signed(x, saturated(magnitude_bf16(x), INFINITY_BF16)) }
}

pub fn f32_to_f16(x: u32) -> u16 {
    if is_nan(x) { NAN_F16 } else { signed(x, magnitude_f16(x)) }
}

pub fn f32_to_f16_saturating(x: u32) -> u16 {
    if is_nan(x) { NAN_F16 } else { signed(x, saturated(magnitude_f16(x), INFINITY_F16)) }
}

pub fn bf16_to_f32(x: u16) -> u32 {
    let x = u32::from(x) << 16;
    if is_nan(x) { NAN } else { x }
}

pub fn f16_to_f32(x: u16) -> u32 {
    let (sign, exponent, fraction) = (u32::from(x) >> 15 << 31, u32::from(x) >> 10 & 31, u32::from(x) & 0x3ff);
    match (exponent, fraction) {
        (0, 0) => sign,
        // A subnormal number: its highest bit becomes the implicit one.
        (0, _) => {
            let highest = 31 - fraction.leading_zeros();
            sign | (highest + 127 - 24) << 23 | fraction << (23 - highest) & 0x7f_ffff
        }
        (31, 0) => sign | INFINITY,
        (31, _) => NAN,
        _ => sign | (exponent + 112) << 23 | fraction << 13,
    }
}
