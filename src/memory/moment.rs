//! An array of `f32` or `bf16` that an owner keeps.

use super::floats::{Floats, FloatsMut};
use alloc::vec::Vec;
#[cfg(feature = "half")]
use half::bf16;

/// Momentum of either type.
#[derive(Clone, Debug)]
pub(super) enum Moment {
    F32(Vec<f32>),
    #[cfg(feature = "half")]
    Bf16(Vec<bf16>),
}

impl Moment {
    /// The numbers.
    pub(super) fn get(&self) -> Floats<'_> {
        match self {
            Moment::F32(x) => x.into(),
            #[cfg(feature = "half")]
            Moment::Bf16(x) => x.into(),
        }
    }

    /// The numbers, writable.
    pub(super) fn get_mut(&mut self) -> FloatsMut<'_> {
        match self {
            Moment::F32(x) => x.into(),
            #[cfg(feature = "half")]
            Moment::Bf16(x) => x.into(),
        }
    }

    /// The size of a number in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Moment::F32(_) => 4,
            #[cfg(feature = "half")]
            Moment::Bf16(_) => 2,
        }
    }

    /// Writes the bytes of all numbers, little-endian.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        match self {
            Moment::F32(x) => to.extend(x.iter().flat_map(|x| x.to_le_bytes())),
            #[cfg(feature = "half")]
            Moment::Bf16(x) => to.extend(x.iter().flat_map(|x| x.to_le_bytes())),
        }
    }

    /// The same numbers in `bf16`, rounded to nearest.
    #[cfg(feature = "half")]
    pub(super) fn to_bf16(&self) -> Self {
        match self {
            Moment::F32(x) => Moment::Bf16(x.iter().map(|x| bf16::from_f32(*x)).collect()),
            Moment::Bf16(x) => Moment::Bf16(x.clone()),
        }
    }
}
