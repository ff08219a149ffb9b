//! The largest absolute value of an array.

use super::join::Join;
use crate::lanes::{self, Kernel, Lanes};

/// The largest absolute value; NaN if there is a NaN.
pub(crate) fn max_abs(join: Join, x: &[f32]) -> f32 {
    f32::from_bits(max_bits(join, x))
}

/// The largest absolute value as bits.
fn max_bits(join: Join, x: &[f32]) -> u32 {
    if join.of(x.len()) == Join::Serial {
        return lanes::dispatch(MaxBits(x));
    }
    let (left, right) = x.split_at(x.len() / 2);
    let (left, right) = join.join(|| max_bits(join, left), || max_bits(join, right));
    left.max(right)
}

/// The loop of [`max_bits`].
///
/// Without the sign, the bits of floats order as integers do, and every NaN is above infinity. A maximum of integers has
/// one result whatever the order, so the compiler may vectorise this loop as it likes.
struct MaxBits<'a>(&'a [f32]);

impl Kernel for MaxBits<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) -> u32 {
        self.0.iter().fold(0, |max, x| max.max(x.to_bits() & 0x7fff_ffff))
    }
}
