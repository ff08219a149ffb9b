//! The sum of squares of a leaf on machines without vectors: plain loops in the order of the contract, without an array of lanes.
//!
//! A fold by halves adds lanes `i` and `i + 16`, then `i` and `i + 8`, and so on. Seen from its end it is a tree, whose leaves are
//! lanes: each is summed when the tree comes to it.

use super::shape::LANES;
use super::terms::Term;
use crate::lanes::One;

/// Lanes whose sums are in registers together while a leaf goes by. (More do not fit beside the elements.)
const BLOCK: usize = 8;

/// The sum of squares of one leaf.
pub(super) fn squares(leaf: &[f32]) -> f32 {
    // A short leaf has lanes of zeros, which no sum needs.
    let len = leaf.len();
    let mut sums = block(leaf, 0);
    if len > 2 * BLOCK {
        add(&mut sums, &block(leaf, 2 * BLOCK));
    }
    if len > BLOCK {
        let mut others = block(leaf, BLOCK);
        if len > 3 * BLOCK {
            add(&mut others, &block(leaf, 3 * BLOCK));
        }
        add(&mut sums, &others);
    }
    // The fold by halves, but not in a loop.
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[inline(never)]
fn add(to: &mut [f32; BLOCK], other: &[f32; BLOCK]) {
    for (to, other) in to.iter_mut().zip(other) {
        *to += other;
    }
}

/// The lanes from `start` on. (Loops over arrays would not be unrolled where the compiler is asked for small code.)
#[inline(never)]
fn block(leaf: &[f32], start: usize) -> [f32; BLOCK] {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = [0.0; BLOCK];
    let (groups, tail) = leaf.as_chunks::<LANES>();
    let mut square = |&[s, t, u, v, w, x, y, z]: &[f32; BLOCK]| {
        a += s * s;
        b += t * t;
        c += u * u;
        d += v * v;
        e += w * w;
        f += x * x;
        g += y * y;
        h += z * z;
    };
    for group in groups {
        let Some(block) = group.as_chunks::<BLOCK>().0.get(start / BLOCK) else { break };
        square(block);
    }
    let mut tail = tail.get(start..).unwrap_or_default();
    if let Some(block) = tail.first_chunk() {
        square(block);
        tail = &[];
    }
    let mut lanes = [a, b, c, d, e, f, g, h];
    for (lane, x) in lanes.iter_mut().zip(tail) {
        *lane += x * x;
    }
    lanes
}

/// The same of any term and scale, where speed matters less than size: most often this is a leaf that is summed again.
pub(super) fn squares_of_term<T: Term<N>, const N: usize>(term: T, leaf: &[&[f32]; N], scale: f32) -> f32 {
    fold(0, 1, &|lane| {
        let mut sum = 0.0;
        let (mut i, len) = (lane, leaf.first().map_or(0, |part| part.len()));
        while i < len {
            let term = term.of(One, leaf.map(|part| part.get(i).copied().unwrap_or(0.0))) * scale;
            sum += term * term;
            i += LANES;
        }
        sum
    })
}

/// The sums of the lanes `first`, `first + step` and so on, folded by halves.
fn fold(first: usize, step: usize, lane: &impl Fn(usize) -> f32) -> f32 {
    if step == LANES { lane(first) } else { fold(first, 2 * step, lane) + fold(first + step, 2 * step, lane) }
}
