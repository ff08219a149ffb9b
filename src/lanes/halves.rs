//! Numbers of 16 bits.

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
            fn store_up_to<L: Lanes>(lanes: L, vector: L::Vector, to: &mut [$type]) {
                if let Some(whole) = to.first_chunk_mut() {
                    return lanes.$narrow(vector, whole);
                }
                let mut x = [$type::default(); WIDTH];
                lanes.$narrow(vector, &mut x);
                for (to, x) in to.iter_mut().zip(x) {
                    *to = x;
                }
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

/// Exactly. (The method of `bf16` looks for a NaN first; the arithmetic that follows does what is to be done with one.)
#[inline(always)]
fn widen(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

/// Rounded to nearest, ties to even. A NaN stays one. (The method of `bf16` gives the same, and has more branches.)
#[inline(always)]
pub(super) fn narrow(x: f32) -> bf16 {
    let bits = x.to_bits();
    // Half of the last place, or a little less before an even number. What overflows becomes an infinity.
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    bf16::from_bits(if x.is_nan() { bits >> 16 | 0x40 } else { rounded >> 16 } as u16)
}

/// (Without an instruction for it this is much code.)
#[inline(never)]
fn f16_to_f32(x: f16) -> f32 {
    x.to_f32()
}

/// (Without an instruction for it this is much code.)
#[inline(never)]
fn f16_from_f32(x: f32) -> f16 {
    f16::from_f32(x)
}

/// Sixteen numbers with these at an index, and zeros.
#[inline(always)]
fn padded<E: Copy + Default>(from: &[E], at: usize) -> [E; WIDTH] {
    let mut x = [E::default(); WIDTH];
    for (x, from) in x.iter_mut().skip(at).zip(from) {
        *x = *from;
    }
    x
}

/// A number of the upper and the lower half of its bits.
#[inline(always)]
pub(crate) fn join(upper: bf16, lower: u16) -> f32 {
    f32::from_bits(u32::from(upper.to_bits()) << 16 | u32::from(lower))
}

/// The upper and the lower half of the bits of a number.
#[inline(always)]
pub(crate) fn split(x: f32) -> (bf16, u16) {
    (bf16::from_bits((x.to_bits() >> 16) as u16), x.to_bits() as u16)
}

/// What is beyond `-max..=max` brought to its end; a NaN stays. (The method of `f32` panics if `max` is a NaN.)
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
