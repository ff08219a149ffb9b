//! The sum of squares of a leaf on machines without vectors: plain loops in the order of the contract, without an array of lanes.
//!
//! A fold by halves adds lanes `i` and `i + 16`, then `i` and `i + 8`, and so on. Seen from its end it is a tree, whose leaves are
//! lanes: each is summed when the tree comes to it.

use super::norm::{LANES, Terms};
use crate::lanes::{One, fold_by_halves};

/// Lanes whose sums are in registers together while a leaf goes by. (More do not fit beside the elements.)
const BLOCK: usize = 8;

/// The sum of squares of one leaf.
pub(super) fn squares(leaf: &[f32]) -> f32 {
    let quarter = |start| {
        let mut sums = block(leaf, start);
        add(&mut sums, &block(leaf, start + LANES / 2));
        sums
    };
    let mut sums = quarter(0);
    add(&mut sums, &quarter(BLOCK));
    fold_by_halves(sums)
}

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
    for group in groups {
        let Some(&[s, t, u, v, w, x, y, z]) = group.as_chunks::<BLOCK>().0.get(start / BLOCK) else { break };
        a += s * s;
        b += t * t;
        c += u * u;
        d += v * v;
        e += w * w;
        f += x * x;
        g += y * y;
        h += z * z;
    }
    let mut lanes = [a, b, c, d, e, f, g, h];
    for (lane, x) in lanes.iter_mut().zip(tail.get(start..).unwrap_or_default()) {
        *lane += x * x;
    }
    lanes
}

/// The same of any terms and scale, where speed matters less than size: most often this is a leaf that is summed again.
pub(super) fn squares_of_terms<T: Terms<P, K>, const P: usize, const K: usize>(
    terms: T,
    leaf: [&[f32]; P],
    scale: Option<f32>,
) -> [f32; K] {
    fold(0, 1, &|lane| {
        let mut sums = [0.0; K];
        let (mut i, len) = (lane, leaf.first().map_or(0, |part| part.len()));
        while i < len {
            let parts = leaf.map(|part| part.get(i).copied().unwrap_or(0.0));
            i += LANES;
            for (sum, term) in sums.iter_mut().zip(terms.terms(One, parts)) {
                let term = scale.map_or(term, |scale| term * scale);
                *sum += term * term;
            }
        }
        sums
    })
}

/// The sums of the lanes `first`, `first + step` and so on, folded by halves.
fn fold<const K: usize>(first: usize, step: usize, lane: &impl Fn(usize) -> [f32; K]) -> [f32; K] {
    if step == LANES {
        return lane(first);
    }
    let mut sums = fold(first, 2 * step, lane);
    for (sum, other) in sums.iter_mut().zip(fold(first + step, 2 * step, lane)) {
        *sum += other;
    }
    sums
}
