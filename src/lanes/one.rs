//! Arithmetic without vectors: one number at a time, or two.

use super::ops::{Arithmetic, Element, Kernel};

/// One number at a time.
#[derive(Clone, Copy)]
pub(crate) struct One;

impl Arithmetic for One {
    type Vector = f32;
    type Block<E: Element> = E;

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run_one()
    }

    #[inline(always)]
    fn blocks<E: Element>(x: &[E]) -> &[E] {
        x
    }

    #[inline(always)]
    fn blocks_mut<E: Element>(x: &mut [E]) -> &mut [E] {
        x
    }

    #[inline(always)]
    fn get<E: Element>(self, from: &E) -> f32 {
        from.get()
    }

    #[inline(always)]
    fn set<E: Element>(self, vector: f32, to: &mut E) {
        *to = E::of(vector);
    }

    #[inline(always)]
    fn splat(self, value: f32) -> f32 {
        value
    }

    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }

    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }

    #[inline(always)]
    fn mul(self, a: f32, b: f32) -> f32 {
        a * b
    }

    #[inline(always)]
    fn div(self, a: f32, b: f32) -> f32 {
        if b == 0.0 { 0.0 } else { a / b }
    }

    #[inline(always)]
    fn div_nonzero(self, a: f32, b: f32) -> f32 {
        a / b
    }

    #[inline(always)]
    fn sqrt(self, a: f32) -> f32 {
        libm::sqrtf(a)
    }
}

/// Two numbers, one after the other: one iteration of a loop without vectors.
#[derive(Clone, Copy)]
pub(crate) struct Two;

impl Arithmetic for Two {
    type Vector = [f32; 2];
    type Block<E: Element> = [E; 2];

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run_one()
    }

    #[inline(always)]
    fn blocks<E: Element>(x: &[E]) -> &[[E; 2]] {
        x.as_chunks().0
    }

    #[inline(always)]
    fn blocks_mut<E: Element>(x: &mut [E]) -> &mut [[E; 2]] {
        x.as_chunks_mut().0
    }

    #[inline(always)]
    fn get<E: Element>(self, [a, b]: &[E; 2]) -> [f32; 2] {
        [a.get(), b.get()]
    }

    #[inline(always)]
    fn set<E: Element>(self, [a, b]: [f32; 2], to: &mut [E; 2]) {
        *to = [E::of(a), E::of(b)];
    }

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 2] {
        // (When optimising for size, `[value; 2]` would be a loop.)
        [value, value]
    }

    #[inline(always)]
    fn add(self, a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
        [a[0] + b[0], a[1] + b[1]]
    }

    #[inline(always)]
    fn sub(self, a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
        [a[0] - b[0], a[1] - b[1]]
    }

    #[inline(always)]
    fn mul(self, a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
        [a[0] * b[0], a[1] * b[1]]
    }

    #[inline(always)]
    fn div(self, a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
        [One.div(a[0], b[0]), One.div(a[1], b[1])]
    }

    #[inline(always)]
    fn div_nonzero(self, a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
        [a[0] / b[0], a[1] / b[1]]
    }

    #[inline(always)]
    fn sqrt(self, a: [f32; 2]) -> [f32; 2] {
        [One.sqrt(a[0]), One.sqrt(a[1])]
    }
}
