//! 16-bit floats.

use super::ops::{Element, Lanes, WIDTH};
use half::{bf16, f16};

/// Both types are read and written in the same way.
macro_rules! elements {
    ($($type:ident $widen:ident $narrow:ident $get:path, $of:path;)*) => { $(
        impl Element for $type {
            const SIGN: u32 = 1 << 15;

            #[inline(always)]
            fn load<L: Lanes>(lanes: L, from: &[$type; WIDTH]) -> L::Vector {
                lanes.$widen(from)
            }

            #[inline(always)]
            fn load_up_to<L: Lanes>(lanes: L, from: &[$type]) -> L::Vector {
                match from.first_chunk() {
                    Some(whole) => lanes.$widen(whole),
                    None => lanes.$widen(&padded(from, 0)),
                }
            }

            #[inline(always)]
            fn load_last<L: Lanes>(lanes: L, from: &[$type]) -> L::Vector {
                lanes.$widen(&padded(from, WIDTH.saturating_sub(from.len())))
            }

            #[inline(always)]
            fn store<L: Lanes>(lanes: L, vector: L::Vector, to: &mut [$type; WIDTH]) {
                lanes.$narrow(vector, to);
            }

            #[inline(always)]
            fn bits(self) -> u32 {
                self.to_bits().into()
            }

            #[inline(always)]
            fn of_size(size: u32) -> f32 {
                $type::from_bits(size as u16).to_f32()
            }

            #[inline(always)]
            fn get(self) -> f32 {
                $get(self)
            }

            #[inline(always)]
            fn of(x: f32) -> $type {
                $of(x)
            }
        }
    )* };
}
elements! {
    bf16 widen_bf16 narrow_bf16 widen, narrow;
    f16 widen_f16 narrow_f16 f16_to_f32, f16_from_f32;
}

/// Exact. (The method of `bf16` checks for NaN first; here the arithmetic that follows handles it.)
#[inline(always)]
fn widen(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

/// Rounded to nearest, ties to even. A NaN stays one. (The method of `bf16` gives the same result with more branches.)
#[inline(always)]
pub(super) fn narrow(x: f32) -> bf16 {
    let bits = x.to_bits();
    // Adds half a unit in the last place of the result, or slightly less if that place is even. Overflow gives an
    // infinity.
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    bf16::from_bits(if x.is_nan() { bits >> 16 | 0x40 } else { rounded >> 16 } as u16)
}

/// (Out of line: in software this is a lot of code.)
#[inline(never)]
fn f16_to_f32(x: f16) -> f32 {
    x.to_f32()
}

/// (Out of line: in software this is a lot of code.)
#[inline(never)]
fn f16_from_f32(x: f32) -> f16 {
    f16::from_f32(x)
}

/// Sixteen numbers: these from the index `at` on, and zeros elsewhere.
#[inline(always)]
fn padded<E: Copy + Default>(from: &[E], at: usize) -> [E; WIDTH] {
    let mut x = [E::default(); WIDTH];
    for (x, from) in x.iter_mut().skip(at).zip(from) {
        *x = *from;
    }
    x
}

/// A number from the upper and the lower half of its bits.
#[inline(always)]
pub(crate) fn join(upper: bf16, lower: u16) -> f32 {
    f32::from_bits(u32::from(upper.to_bits()) << 16 | u32::from(lower))
}

/// The upper and the lower half of the bits of a number.
#[inline(always)]
pub(crate) fn split(x: f32) -> (bf16, u16) {
    (bf16::from_bits((x.to_bits() >> 16) as u16), x.to_bits() as u16)
}

/// Clamps to `-max..=max`; a NaN stays a NaN. (The method of `f32` panics if `max` is a NaN.)
#[inline(always)]
pub(crate) fn clamp(x: f32, max: f32) -> f32 {
    if x > max {
        max
    } else if x < -max {
        -max
    } else {
        x
    }
}
