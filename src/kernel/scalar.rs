//! The sum of squares of a leaf on machines without vectors: plain loops in the order of the contract, without an array
//! of lanes.
//!
//! A fold by halves adds lanes `i` and `i + 16`, then `i` and `i + 8`, and so on. Seen from its end it is a tree, whose
//! leaves are lanes: each is summed when the tree comes to it.

use super::shape::LANES;
use crate::lanes::Element;

/// A quarter of the lanes: as many sums as registers hold beside the elements.
const QUARTER: usize = LANES / 4;

/// The sum of squares of one leaf.
pub(super) fn squares<E: Element>(leaf: &[E]) -> f32 {
    // A short leaf has lanes of zeros, which no sum needs.
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
    // The fold by halves, but not in a loop.
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[inline(never)]
fn add(to: &mut [f32; QUARTER], other: &[f32; QUARTER]) {
    for (to, other) in to.iter_mut().zip(other) {
        *to += other;
    }
}

/// The sums of a quarter of the lanes. (Loops over arrays would not be unrolled where the compiler is asked for small
/// code.)
#[inline(never)]
fn quarter<E: Element>(leaf: &[E], quarter: usize) -> [f32; QUARTER] {
    // In bounds, as far as the compiler knows too.
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
