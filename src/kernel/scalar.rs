//! The sum of squares of a leaf on processors without vectors: plain loops in the order of the contract, without an
//! array of lanes.
//!
//! A fold by halves adds lanes `i` and `i + 16`, then `i` and `i + 8`, and so on. This is a tree with lanes as its
//! leaves. Going through it depth first, each lane is summed only when it is needed.

use super::shape::LANES;
use crate::lanes::Element;

/// A quarter of the lanes: as many sums as fit in registers together with the elements.
const QUARTER: usize = LANES / 4;

/// The sum of squares of one leaf.
pub(super) fn squares<E: Element>(leaf: &[E]) -> f32 {
    // In a short leaf some lanes are zero, and are not summed.
    let len = leaf.len();
    let mut sums = quarter(leaf, 0);
    if len > 2 * QUARTER {
        add(&mut sums, &quarter(leaf, 2));
    }
    if len > QUARTER {
        let mut others = quarter(leaf, 1);
        if len > 3 * QUARTER {
            add(&mut others, &quarter(leaf, 3));
        }
        add(&mut sums, &others);
    }
    // The fold by halves, unrolled.
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[inline(never)]
fn add(to: &mut [f32; QUARTER], other: &[f32; QUARTER]) {
    for (to, other) in to.iter_mut().zip(other) {
        *to += other;
    }
}

/// The sums of a quarter of the lanes. (When optimising for size, the compiler would not unroll loops over arrays.)
#[inline(never)]
fn quarter<E: Element>(leaf: &[E], quarter: usize) -> [f32; QUARTER] {
    // `% 4` proves to the compiler that the index is in bounds.
    let start = quarter % 4 * QUARTER;
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = [0.0; QUARTER];
    let (groups, tail) = leaf.as_chunks::<LANES>();
    for group in groups {
        let Some(&[s, t, u, v, w, x, y, z]) = group.get(start..).and_then(|x| x.first_chunk()) else { break };
        a += square(s);
        b += square(t);
        c += square(u);
        d += square(v);
        e += square(w);
        f += square(x);
        g += square(y);
        h += square(z);
    }
    let mut lanes = [a, b, c, d, e, f, g, h];
    for (lane, x) in lanes.iter_mut().zip(tail.get(start..).unwrap_or_default()) {
        *lane += square(*x);
    }
    lanes
}

#[inline(always)]
fn square<E: Element>(x: E) -> f32 {
    x.get() * x.get()
}
