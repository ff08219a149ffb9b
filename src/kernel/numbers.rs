//! Arrays whose element type is known at run time.

use super::array::Array;
#[cfg(feature = "half")]
use super::shape::head_len;
#[cfg(feature = "half")]
use super::terms::{Plain, squares_of_term};
#[cfg(feature = "half")]
use crate::lanes::join;
#[cfg(feature = "half")]
use half::{bf16, f16};

/// A read-only array.
#[derive(Clone, Copy)]
pub(crate) enum Numbers<'a> {
    F32(&'a [f32]),
    #[cfg(feature = "half")]
    Bf16(&'a [bf16]),
    #[cfg(feature = "half")]
    F16(&'a [f16]),
    /// The upper and the lower halves of the bits of `f32`.
    #[cfg(feature = "half")]
    Split(&'a [bf16], &'a [u16]),
}

/// A writable array.
#[cfg(feature = "half")]
pub(crate) enum NumbersMut<'a> {
    F32(&'a mut [f32]),
    Bf16(&'a mut [bf16]),
    F16(&'a mut [f16]),
    /// The upper and the lower halves of the bits of `f32`.
    Split(&'a mut [bf16], &'a mut [u16]),
}

/// The arrays as slices, if all are of `f32`.
#[inline(always)]
pub(crate) fn f32s<'a, const N: usize>(arrays: [Numbers<'a>; N]) -> Option<[&'a [f32]; N]> {
    let mut f32s = [&[] as &[f32]; N];
    for (f32s, array) in f32s.iter_mut().zip(arrays) {
        match array {
            Numbers::F32(x) => *f32s = x,
            #[cfg(feature = "half")]
            _ => return None,
        }
    }
    Some(f32s)
}

impl Array for Numbers<'_> {
    #[inline]
    fn len(self) -> usize {
        match self {
            Numbers::F32(x) => x.len(),
            #[cfg(feature = "half")]
            Numbers::Bf16(x) => x.len(),
            #[cfg(feature = "half")]
            Numbers::F16(x) => x.len(),
            #[cfg(feature = "half")]
            Numbers::Split(upper, _) => upper.len(),
        }
    }

    #[inline(never)]
    fn split_at(self, mid: usize) -> (Self, Self) {
        match self {
            Numbers::F32(x) => both(Array::split_at(x, mid), Numbers::F32),
            #[cfg(feature = "half")]
            Numbers::Bf16(x) => both(Array::split_at(x, mid), Numbers::Bf16),
            #[cfg(feature = "half")]
            Numbers::F16(x) => both(Array::split_at(x, mid), Numbers::F16),
            #[cfg(feature = "half")]
            Numbers::Split(upper, lower) => {
                let (u1, u2) = Array::split_at(upper, mid);
                let (l1, l2) = lower.split_at_checked(mid).unwrap_or((lower, &[]));
                (Numbers::Split(u1, l1), Numbers::Split(u2, l2))
            }
        }
    }

    #[inline]
    fn get(self, i: usize) -> f32 {
        match self {
            Numbers::F32(x) => Array::get(x, i),
            #[cfg(feature = "half")]
            Numbers::Bf16(x) => Array::get(x, i),
            #[cfg(feature = "half")]
            Numbers::F16(x) => Array::get(x, i),
            #[cfg(feature = "half")]
            Numbers::Split(upper, lower) => match (upper.get(i), lower.get(i)) {
                (Some(upper), Some(lower)) => join(*upper, *lower),
                _ => 0.0,
            },
        }
    }

    #[inline]
    fn is_zero(self) -> bool {
        match self {
            Numbers::F32(x) => x.is_zero(),
            #[cfg(feature = "half")]
            Numbers::Bf16(x) => x.is_zero(),
            #[cfg(feature = "half")]
            Numbers::F16(x) => x.is_zero(),
            #[cfg(feature = "half")]
            Numbers::Split(upper, lower) => upper.is_zero() && lower.iter().fold(0, |bits, x| bits | x) == 0,
        }
    }

    #[inline]
    fn squares_one_by_one(self) -> f32 {
        match self {
            Numbers::F32(x) => x.squares_one_by_one(),
            #[cfg(feature = "half")]
            Numbers::Bf16(x) => x.squares_one_by_one(),
            #[cfg(feature = "half")]
            Numbers::F16(x) => x.squares_one_by_one(),
            #[cfg(feature = "half")]
            Numbers::Split(..) => squares_of_term(Plain, &[self]),
        }
    }
}

#[cfg(feature = "half")]
impl NumbersMut<'_> {
    /// The number of elements.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.read().len()
    }

    /// How many elements precede the first vector boundary.
    pub(crate) fn head_len(&self) -> usize {
        match self {
            NumbersMut::F32(x) => head_len(x),
            NumbersMut::Bf16(x) => head_len(x),
            NumbersMut::F16(x) => head_len(x),
            NumbersMut::Split(upper, _) => head_len(upper),
        }
    }

    /// A read-only view.
    #[inline(always)]
    pub(crate) fn read(&self) -> Numbers<'_> {
        match self {
            NumbersMut::F32(x) => Numbers::F32(x),
            NumbersMut::Bf16(x) => Numbers::Bf16(x),
            NumbersMut::F16(x) => Numbers::F16(x),
            NumbersMut::Split(upper, lower) => Numbers::Split(upper, lower),
        }
    }

    /// Reborrows the array.
    #[inline(always)]
    pub(crate) fn reborrow(&mut self) -> NumbersMut<'_> {
        match self {
            NumbersMut::F32(x) => NumbersMut::F32(x),
            NumbersMut::Bf16(x) => NumbersMut::Bf16(x),
            NumbersMut::F16(x) => NumbersMut::F16(x),
            NumbersMut::Split(upper, lower) => NumbersMut::Split(upper, lower),
        }
    }

    /// The first `mid` elements, or all if there are fewer, and the rest.
    #[inline(never)]
    pub(crate) fn split_at(self, mid: usize) -> (Self, Self) {
        match self {
            NumbersMut::F32(x) => both(split_mut(x, mid), NumbersMut::F32),
            NumbersMut::Bf16(x) => both(split_mut(x, mid), NumbersMut::Bf16),
            NumbersMut::F16(x) => both(split_mut(x, mid), NumbersMut::F16),
            NumbersMut::Split(upper, lower) => {
                let ((u1, u2), (l1, l2)) = (split_mut(upper, mid), split_mut(lower, mid));
                (NumbersMut::Split(u1, l1), NumbersMut::Split(u2, l2))
            }
        }
    }
}

#[cfg(feature = "half")]
#[inline]
fn split_mut<E>(x: &mut [E], mid: usize) -> (&mut [E], &mut [E]) {
    x.split_at_mut(mid.min(x.len()))
}

/// Two parts of one array.
#[inline]
fn both<X, Y>((left, right): (X, X), numbers: impl Fn(X) -> Y) -> (Y, Y) {
    (numbers(left), numbers(right))
}

/// Where a copy of the new weights is written.
#[cfg(feature = "half")]
pub(crate) struct Copied<'a> {
    pub(crate) to: NumbersMut<'a>,
    /// Weights are clamped to `-largest..=largest`; infinity for no clamping.
    pub(crate) largest: f32,
}

#[cfg(feature = "half")]
impl Copied<'_> {
    /// The copies of the first `mid` weights, and of the rest.
    pub(crate) fn split_at(self, mid: usize) -> (Self, Self) {
        let (left, right) = self.to.split_at(mid);
        (Copied { to: left, largest: self.largest }, Copied { to: right, largest: self.largest })
    }
}
