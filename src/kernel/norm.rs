//! Sums of squares that are accurate, never overflow, and have the same bits everywhere.
//!
//! The order of the additions is fixed by the length alone; it is part of the crate's contract:
//!
//! 1. An array is cut into leaves of [`LEAF`] elements. In a leaf, element `i` adds its square to the `f32` lane
//!    `i mod` [`LANES`]; a partial group counts as padded with zeros. The lanes then fold by halves to one `f32`.
//! 2. A leaf whose sum is not finite, or so small that squares may have been lost to underflow, is summed again with
//!    its elements scaled by a power of two (the idea of BLAS's `nrm2`), and the scale is taken out in `f64`.
//! 3. Leaves combine in `f64` along a binary tree: the left part of a node holds the largest power of two of leaves
//!    that is smaller than the whole.
//!
//! Which lane is the first of a vector is free. The fold adds lanes that are half a turn apart, then a quarter, and so on, so it has
//! the same result for lanes that are turned, and vectors may begin on a cache line where a leaf does not.

use super::join::Join;
use super::{head_len, scalar};
use crate::lanes::{self, Arithmetic, Kernel, Lanes, SCALAR, WIDTH};

/// Elements in a leaf, the unit in which work may be divided.
pub(crate) const LEAF: usize = 1024;

/// Vectors in a group, one accumulator each.
pub(crate) const VECTORS: usize = 2;

/// Independent `f32` accumulators in a leaf.
///
/// Thirty-two, by measurement (ns per element at 64 Ki, Zen 3, 16 / 32 / 64 lanes in one run): one norm 0.073 / 0.068 /
/// 0.071 with SSE2 and 0.058 / 0.049 / 0.050 with AVX2; two norms together 0.135 / 0.143 / 0.186 and 0.107 / 0.102 /
/// 0.116. Sixteen lanes wait for the latency of the additions, sixty-four spill.
pub(crate) const LANES: usize = VECTORS * WIDTH;

/// Leaves that one kernel call sums; a power of two, so that a tile is a subtree. Without vectors there is little to gain from
/// more than one, and memory for their sums is dear.
pub(crate) const TILE_LEAVES: usize = if SCALAR { 1 } else { 16 };

/// Elements that one kernel call reads of each array.
pub(crate) const TILE: usize = TILE_LEAVES * LEAF;

/// Below this sum a square may have been rounded as a subnormal or to zero. 1024 such losses of at most 2⁻¹⁵⁰ each
/// are far below the last bit of any larger sum.
const SMALL: f32 = f32::from_bits((127 - 100) << 23);

/// Scale for a leaf with a small sum: every element, down to the smallest subnormal, gets a normal square.
const UP: f32 = f32::from_bits((127 + 96) << 23);

/// Scale for a leaf whose sum overflowed: no sum of 1024 squares of scaled `f32` overflows.
const DOWN: f32 = f32::from_bits((127 - 70) << 23);

/// What takes the scales out of a sum of squares.
const UNSCALE_UP: f64 = 1.0 / (UP as f64 * UP as f64);
const UNSCALE_DOWN: f64 = 1.0 / (DOWN as f64 * DOWN as f64);

/// What is squared and summed: `P` arrays are read, `K` terms are made of each element.
pub(crate) trait Terms<const P: usize, const K: usize>: Copy + Send + Sync {
    /// Whether a term is an array itself, so that a leaf of one array may stand beside another leaf of it.
    const PLAIN: bool = false;

    /// The terms of one vector of each array.
    fn terms<A: Arithmetic>(self, lanes: A, parts: [A::Vector; P]) -> [A::Vector; K];
}

/// The arrays themselves.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

impl<const P: usize> Terms<P, P> for Plain {
    const PLAIN: bool = true;

    #[inline(always)]
    fn terms<A: Arithmetic>(self, _: A, parts: [A::Vector; P]) -> [A::Vector; P] {
        parts
    }
}

/// The weights, and the gradient plus `self` times the weights.
#[derive(Clone, Copy)]
pub(crate) struct Decayed(pub(crate) f32);

impl Terms<2, 2> for Decayed {
    #[inline(always)]
    fn terms<A: Arithmetic>(self, lanes: A, [weights, gradients]: [A::Vector; 2]) -> [A::Vector; 2] {
        let decay = lanes.mul(lanes.splat(self.0), weights);
        [weights, lanes.add(gradients, decay)]
    }
}

/// The sums of squares of the terms of arrays of one length. (Arrays of different lengths give zeros: no caller has
/// them, and a wrong answer cannot panic.)
#[inline]
pub(crate) fn sums_of_squares<T: Terms<P, K>, const P: usize, const K: usize>(
    join: Join,
    terms: T,
    parts: [&[f32]; P],
) -> [f64; K] {
    if SCALAR && T::PLAIN && P > 1 {
        // One array after the other takes no longer there, and needs no code of its own.
        let mut sums = [0.0; K];
        for (sum, part) in sums.iter_mut().zip(parts) {
            [*sum] = sums_of_squares(join, Plain, [part]);
        }
        return sums;
    }
    let len = parts.first().map_or(0, |part| part.len());
    if len <= LEAF {
        return if SCALAR { leaf_apart(terms, parts) } else { lanes::dispatch(Leaf { terms, parts }) };
    }
    tree(join, terms, parts, len)
}

/// A leaf in a function of its own, which keeps the frames of the recursion small.
#[inline(never)]
fn leaf_apart<T: Terms<P, K>, const P: usize, const K: usize>(terms: T, parts: [&[f32]; P]) -> [f64; K] {
    lanes::dispatch(Leaf { terms, parts })
}

/// The same for more than a leaf.
fn tree<T: Terms<P, K>, const P: usize, const K: usize>(
    join: Join,
    terms: T,
    parts: [&[f32]; P],
    len: usize,
) -> [f64; K] {
    if TILE > LEAF && len <= TILE {
        return lanes::dispatch(Tile { terms, parts });
    }
    let (mut left, mut right) = (parts, parts);
    for (part, (l, r)) in parts.iter().zip(left.iter_mut().zip(&mut right)) {
        let Some((head, tail)) = part.split_at_checked(left_len(len)) else { return [0.0; K] };
        (*l, *r) = (head, tail);
    }
    let join = join.of(len);
    let (mut sums, right): ([f64; K], [f64; K]) =
        join.join(|| sums_of_squares(join, terms, left), || sums_of_squares(join, terms, right));
    for (sum, right) in sums.iter_mut().zip(right) {
        *sum += right;
    }
    sums
}

/// Where a node of more than one tile splits: at the largest power of two of tiles that is smaller than the whole.
/// (A node of one tile has nothing to split; whoever asked would get a tile, and no panic.)
pub(crate) fn left_len(len: usize) -> usize {
    TILE << (len.saturating_sub(1) / TILE).checked_ilog2().unwrap_or(0)
}

/// One kernel call for a small array: at most [`LEAF`] elements.
struct Leaf<'a, T, const P: usize, const K: usize> {
    terms: T,
    parts: [&'a [f32]; P],
}

impl<T: Terms<P, K>, const P: usize, const K: usize> Kernel for Leaf<'_, T, P, K> {
    type Output = [f64; K];

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> [f64; K] {
        leaf_sums(lanes, self.terms, self.parts)
    }
}

/// One kernel call: at most [`TILE`] elements of each array.
struct Tile<'a, T, const P: usize, const K: usize> {
    terms: T,
    parts: [&'a [f32]; P],
}

impl<T: Terms<P, K>, const P: usize, const K: usize> Kernel for Tile<'_, T, P, K> {
    type Output = [f64; K];

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> [f64; K] {
        let mut sums = [[0.0; K]; TILE_LEAVES];
        let mut rest = self.parts;
        let mut paired = 0;
        if let ([part], true, true) = (self.parts.as_slice(), T::PLAIN, L::MANY_REGISTERS) {
            // The two leaves are half a tile apart, which keeps two streams of memory open.
            let leaves = part.as_chunks::<LEAF>().0;
            let (left, right) = leaves.split_at(leaves.len() / 2);
            let (left_sums, right_sums) = sums.split_at_mut(left.len().min(TILE_LEAVES));
            let to = left_sums.iter_mut().zip(right_sums);
            for ((left_sum, right_sum), (left, right)) in to.zip(left.iter().zip(right)) {
                let [left, right] = leaf_sums(lanes, Plain, [left.as_slice(), right.as_slice()]);
                (*left_sum, *right_sum) = ([left; K], [right; K]);
            }
            paired = 2 * left.len();
            rest = rest.map(|part| part.get(paired * LEAF..).unwrap_or(&[]));
        }
        for sum in sums.iter_mut().skip(paired) {
            let mut leaf = rest;
            for (leaf, rest) in leaf.iter_mut().zip(&mut rest) {
                (*leaf, *rest) = rest.split_at_checked(LEAF).unwrap_or((rest, &[]));
            }
            *sum = leaf_sums(lanes, self.terms, leaf);
            if rest.iter().all(|part| part.is_empty()) {
                break;
            }
        }
        let len = self.parts.first().map_or(0, |part| part.len());
        fold_leaves(&mut sums, len.div_ceil(LEAF))
    }
}

/// Adds the sums of a tile's leaves pair by pair. Zeros in the place of absent leaves change no sum, so the tree may
/// always be a full one.
#[inline(always)]
pub(crate) fn fold_leaves<const K: usize>(sums: &mut [[f64; K]; TILE_LEAVES], leaves: usize) -> [f64; K] {
    let mut width = leaves.min(TILE_LEAVES).next_power_of_two();
    while width > 1 {
        width /= 2;
        for i in 0..width {
            let Some(&[mut sum, right]) = sums.as_chunks::<2>().0.get(i) else { break };
            for (sum, right) in sum.iter_mut().zip(right) {
                *sum += right;
            }
            if let Some(to) = sums.get_mut(i) {
                *to = sum;
            }
        }
    }
    sums[0]
}

/// The sum of squares of each leaf of an array, for hosts that add them up by [`fold_leaf_sums`].
pub(crate) fn leaf_sums_of_squares(x: &[f32], sums: &mut [f64]) {
    lanes::dispatch(Leaves { x, sums });
}

struct Leaves<'a> {
    x: &'a [f32],
    sums: &'a mut [f64],
}

impl Kernel for Leaves<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for (sum, leaf) in self.sums.iter_mut().zip(self.x.chunks(LEAF)) {
            [*sum] = leaf_sums(lanes, Plain, [leaf]);
        }
    }
}

/// The sum of the sums of leaves, along the tree that [`sums_of_squares`] walks.
pub(crate) fn fold_leaf_sums(sums: &[f64]) -> f64 {
    match sums {
        [] => 0.0,
        [sum] => *sum,
        _ => {
            let half = sums.len().next_power_of_two() / 2;
            sums.split_at_checked(half).map_or(0.0, |(left, right)| fold_leaf_sums(left) + fold_leaf_sums(right))
        }
    }
}

/// The sums of squares of one leaf, right over the whole range of `f32`.
#[inline(always)]
fn leaf_sums<L: Lanes, T: Terms<P, K>, const P: usize, const K: usize>(
    lanes: L,
    terms: T,
    leaf: [&[f32]; P],
) -> [f64; K] {
    let sums = squares(lanes, terms, leaf, None);
    let mut rescued = sums.map(f64::from);
    for (k, (rescued, sum)) in rescued.iter_mut().zip(sums).enumerate() {
        let small = sum < SMALL;
        if small || !sum.is_finite() {
            let (scale, unscale) = if small { (UP, UNSCALE_UP) } else { (DOWN, UNSCALE_DOWN) };
            let scaled = squares(lanes, terms, leaf, Some(scale)).get(k).copied().unwrap_or(f32::NAN);
            *rescued = f64::from(scaled) * unscale;
        }
    }
    rescued
}

/// The sum of squares of at most a tile, of which an update has summed the leaves.
#[inline(always)]
pub(crate) fn fold_summed_leaves<L: Lanes>(lanes: L, summed: &[f32; TILE_LEAVES], x: &[f32]) -> f64 {
    let sum = |summed: f32, leaf| {
        let right = summed >= SMALL && summed.is_finite();
        if right { [f64::from(summed)] } else { leaf_sums(lanes, Plain, [leaf]) }
    };
    if x.len() <= LEAF {
        let [sum] = sum(summed[0], x);
        return sum;
    }
    let mut sums = [[0.0]; TILE_LEAVES];
    for ((to, summed), leaf) in sums.iter_mut().zip(summed).zip(x.chunks(LEAF)) {
        *to = sum(*summed, leaf);
    }
    let [sum] = fold_leaves(&mut sums, x.len().div_ceil(LEAF));
    sum
}

/// The sums of squares of one leaf in `f32`, of elements multiplied by `scale` if there is one.
#[inline(always)]
fn squares<L: Lanes, T: Terms<P, K>, const P: usize, const K: usize>(
    lanes: L,
    terms: T,
    leaf: [&[f32]; P],
    scale: Option<f32>,
) -> [f32; K] {
    if SCALAR {
        if !T::PLAIN || scale.is_some() {
            return scalar::squares_of_terms(terms, leaf, scale);
        }
        let mut sums = [0.0; K];
        for (sum, part) in sums.iter_mut().zip(leaf) {
            *sum = scalar::squares(part);
        }
        return sums;
    }
    let mut sums = [[lanes.splat(0.0); VECTORS]; K];
    let len = leaf.first().map_or(0, |part| part.len());
    let head_len = if L::MASKS { head_len(leaf.map(|part| part.as_ptr()), len) } else { 0 };
    let mut rest = leaf;
    if head_len > 0 {
        // Lanes are turned until the first one behind the head is the first of a vector.
        let mut parts = [lanes.splat(0.0); P];
        for (part, rest) in parts.iter_mut().zip(&mut rest) {
            let (head, behind) = rest.split_at_checked(head_len).unwrap_or((rest, &[]));
            (*part, *rest) = (lanes.load_last(head), behind);
        }
        add_squares(lanes, terms, parts, scale, VECTORS - 1, &mut sums);
    }
    add_vectors(lanes, terms, rest, scale, &mut sums);
    let mut folded = [0.0; K];
    for (folded, [a, b]) in folded.iter_mut().zip(sums) {
        *folded = lanes.fold(lanes.add(a, b));
    }
    folded
}

/// Adds the squares of the terms of arrays, vector by vector, padded with zeros. The arrays have one length.
#[inline(always)]
fn add_vectors<L: Lanes, T: Terms<P, K>, const P: usize, const K: usize>(
    lanes: L,
    terms: T,
    arrays: [&[f32]; P],
    scale: Option<f32>,
    sums: &mut [[L::Vector; VECTORS]; K],
) {
    let groups = arrays.map(|array| array.as_chunks::<WIDTH>().0.as_chunks::<VECTORS>().0);
    let count = groups.first().map_or(0, |groups| groups.len());
    if groups.iter().any(|groups| groups.len() != count) {
        return;
    }
    for i in 0..count {
        for v in 0..VECTORS {
            let mut parts = [lanes.splat(0.0); P];
            for (part, groups) in parts.iter_mut().zip(groups) {
                if let Some(group) = groups.get(i) {
                    *part = lanes.load(&group[v]);
                }
            }
            add_squares(lanes, terms, parts, scale, v, sums);
        }
    }
    let rest = arrays.map(|array| array.as_chunks::<LANES>().1);
    for v in 0..VECTORS {
        let rest = rest.map(|rest| rest.get(v * WIDTH..).unwrap_or_default());
        if rest.iter().all(|rest| rest.is_empty()) {
            break;
        }
        let mut parts = [lanes.splat(0.0); P];
        for (part, rest) in parts.iter_mut().zip(rest) {
            *part = if let Some(whole) = rest.first_chunk() { lanes.load(whole) } else { lanes.load_partial(rest) };
        }
        add_squares(lanes, terms, parts, scale, v, sums);
    }
}

/// Adds the squares of the terms of one vector of each array to the sums of vector `v` of a group.
#[inline(always)]
fn add_squares<L: Lanes, T: Terms<P, K>, const P: usize, const K: usize>(
    lanes: L,
    terms: T,
    parts: [L::Vector; P],
    scale: Option<f32>,
    v: usize,
    sums: &mut [[L::Vector; VECTORS]; K],
) {
    for (sum, mut term) in sums.iter_mut().zip(terms.terms(lanes, parts)) {
        if let Some(scale) = scale {
            term = lanes.mul(term, lanes.splat(scale));
        }
        sum[v] = lanes.add(sum[v], lanes.mul(term, term));
    }
}
