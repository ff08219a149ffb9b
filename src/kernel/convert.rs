//! 16-bit floats to `f32` and back, for arrays without their own loop.

use super::array::Array;
use super::numbers::{Numbers, NumbersMut};
use crate::lanes::{Backend, Element, Kernel, Lanes, clamp, dispatch, join, split};
use half::bf16;

/// Converts numbers to `f32`, as many as fit in the buffer.
pub(crate) fn widen<'a>(backend: Backend, from: Numbers<'_>, buffer: &'a mut [f32]) -> &'a mut [f32] {
    let len = from.len().min(buffer.len());
    let to = buffer.get_mut(..len).unwrap_or_default();
    match from {
        Numbers::F32(from) => dispatch(backend, Widen { from, to: &mut *to }),
        Numbers::Bf16(from) => dispatch(backend, Widen { from, to: &mut *to }),
        Numbers::F16(from) => dispatch(backend, Widen { from, to: &mut *to }),
        Numbers::Split(upper, lower) => dispatch(backend, Join { upper, lower, to: &mut *to }),
    }
    to
}

/// Converts numbers: clamped to `-largest..=largest` and rounded to nearest, or split into halves.
pub(crate) fn narrow(backend: Backend, from: &[f32], to: NumbersMut<'_>, largest: f32) {
    match to {
        NumbersMut::F32(to) => dispatch(backend, Narrow { from, to, largest }),
        NumbersMut::Bf16(to) => dispatch(backend, Narrow { from, to, largest }),
        NumbersMut::F16(to) => dispatch(backend, Narrow { from, to, largest }),
        NumbersMut::Split(upper, lower) => dispatch(backend, Cut { from, upper, lower }),
    }
}

struct Widen<'a, E> {
    from: &'a [E],
    to: &'a mut [f32],
}

impl<E: Element> Kernel for Widen<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let ((from, from_rest), (to, to_rest)) = (self.from.as_chunks(), self.to.as_chunks_mut());
        for (from, to) in from.iter().zip(to) {
            lanes.store(E::load(lanes, from), to);
        }
        Widen { from: from_rest, to: to_rest }.run_one();
    }

    #[inline(always)]
    fn run_one(self) {
        for (from, to) in self.from.iter().zip(self.to) {
            *to = from.get();
        }
    }
}

struct Narrow<'a, E> {
    from: &'a [f32],
    to: &'a mut [E],
    largest: f32,
}

impl<E: Element> Kernel for Narrow<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let ((from, from_rest), (to, to_rest)) = (self.from.as_chunks(), self.to.as_chunks_mut());
        let clamps = self.largest.is_finite();
        for (from, to) in from.iter().zip(to) {
            let x = lanes.load(from);
            E::store(lanes, if clamps { lanes.clamp(x, self.largest) } else { x }, to);
        }
        Narrow { from: from_rest, to: to_rest, ..self }.run_one();
    }

    #[inline(always)]
    fn run_one(self) {
        for (from, to) in self.from.iter().zip(self.to) {
            *to = E::of(clamp(*from, self.largest));
        }
    }
}

/// Joins the halves of the bits of numbers.
struct Join<'a> {
    upper: &'a [bf16],
    lower: &'a [u16],
    to: &'a mut [f32],
}

impl Kernel for Join<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let ((upper, upper_rest), (lower, lower_rest)) = (self.upper.as_chunks(), self.lower.as_chunks());
        let (to, to_rest) = self.to.as_chunks_mut();
        for ((upper, lower), to) in upper.iter().zip(lower).zip(to) {
            lanes.store(lanes.join(upper, lower), to);
        }
        Join { upper: upper_rest, lower: lower_rest, to: to_rest }.run_one();
    }

    #[inline(always)]
    fn run_one(self) {
        for ((upper, lower), to) in self.upper.iter().zip(self.lower).zip(self.to) {
            *to = join(*upper, *lower);
        }
    }
}

/// Splits numbers into the halves of their bits.
struct Cut<'a> {
    from: &'a [f32],
    upper: &'a mut [bf16],
    lower: &'a mut [u16],
}

impl Kernel for Cut<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let (from, from_rest) = self.from.as_chunks();
        let ((upper, upper_rest), (lower, lower_rest)) = (self.upper.as_chunks_mut(), self.lower.as_chunks_mut());
        for ((from, upper), lower) in from.iter().zip(upper).zip(lower) {
            lanes.split(lanes.load(from), upper, lower);
        }
        Cut { from: from_rest, upper: upper_rest, lower: lower_rest }.run_one();
    }

    #[inline(always)]
    fn run_one(self) {
        for ((from, upper), lower) in self.from.iter().zip(self.upper).zip(self.lower) {
            (*upper, *lower) = split(*from);
        }
    }
}
