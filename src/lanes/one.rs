//! Arithmetic without vectors: one number at a time, or two.

use super::ops::{Arithmetic, Kernel};

/// One number at a time.
#[derive(Clone, Copy)]
pub(crate) struct One;

impl Arithmetic for One {
    type Vector = f32;
    type Block = f32;

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run_one()
    }

    #[inline(always)]
    fn blocks(x: &[f32]) -> &[f32] {
        x
    }

    #[inline(always)]
    fn blocks_mut(x: &mut [f32]) -> &mut [f32] {
        x
    }

    #[inline(always)]
    fn get(self, from: &f32) -> f32 {
        *from
    }

    #[inline(always)]
    fn set(self, vector: f32, to: &mut f32) {
        *to = vector;
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
    type Block = [f32; 2];

    #[inline]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run_one()
    }

    #[inline(always)]
    fn blocks(x: &[f32]) -> &[[f32; 2]] {
        x.as_chunks().0
    }

    #[inline(always)]
    fn blocks_mut(x: &mut [f32]) -> &mut [[f32; 2]] {
        x.as_chunks_mut().0
    }

    #[inline(always)]
    fn get(self, [a, b]: &[f32; 2]) -> [f32; 2] {
        // (One by one: copying the array whole costs a Cortex-M 4 % more instructions.)
        [*a, *b]
    }

    #[inline(always)]
    fn set(self, [a, b]: [f32; 2], to: &mut [f32; 2]) {
        *to = [a, b];
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
