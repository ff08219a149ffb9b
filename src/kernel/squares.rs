//! Sums of squares that are accurate, never overflow, and have the same bits everywhere; [`shape`](super::shape) has the order
//! of the additions.

use super::machine::{Machine, cut};
use super::max::MaxBits;
use super::scalar;
use super::shape::{LANES, LEAF, TILE, Tree, VECTORS, head_len};
use super::terms::Term;
use crate::lanes::{Arithmetic, Backend, Element, Kernel, Lanes, One, WIDTH, dispatch};
use core::array;

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

/// The sum of squares of a term of arrays of one length. (Arrays of different lengths give a wrong sum, and no panic. No
/// caller has them.)
#[inline]
pub(crate) fn sum_of_squares<T: Term<N>, const N: usize>(machine: Machine, term: T, arrays: [&[f32]; N]) -> f64 {
    let backend = machine.backend;
    let len = arrays.first().map_or(0, |array| array.len());
    if len <= LEAF {
        return dispatch(backend, Leaf { term, arrays: &arrays });
    }
    let tile = |arrays: &[&[f32]; N]| dispatch(backend, Tile { term, arrays, in_cache: len <= TILE });
    machine.reduce(&arrays, &tile, |left, right| left + right)
}

/// The sum of squares of each leaf of a term, in one column of a table with a row for each leaf.
pub(crate) fn leaf_sums<T: Term<N>, const N: usize, const M: usize>(
    backend: Backend,
    term: T,
    arrays: [&[f32]; N],
    sums: &mut [[f64; M]],
    column: usize,
) {
    let mut rest = arrays;
    for row in sums {
        let leaf = dispatch(backend, Leaf { term, arrays: &cut(&mut rest, LEAF) });
        if let Some(sum) = row.get_mut(column) {
            *sum = leaf;
        }
    }
}

/// The loop over at most a leaf.
struct Leaf<'a, T, const N: usize> {
    term: T,
    arrays: &'a [&'a [f32]; N],
}

impl<T: Term<N>, const N: usize> Kernel for Leaf<'_, T, N> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> f64 {
        leaf(lanes, self.term, self.arrays, true)
    }

    #[inline]
    fn run_one(self) -> f64 {
        leaf_one_by_one(self.term, self.arrays)
    }
}

/// The loop over at most a tile.
struct Tile<'a, T, const N: usize> {
    term: T,
    arrays: &'a [&'a [f32]; N],
    /// Whether the arrays are likely to be in a cache: then leaves go side by side. Memory is read fastest from one end to the
    /// other.
    in_cache: bool,
}

impl<T: Term<N>, const N: usize> Kernel for Tile<'_, T, N> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> f64 {
        let Tile { term, arrays, in_cache } = self;
        let len = arrays.first().map_or(0, |array| array.len());
        if arrays.iter().any(|array| array.len() != len) {
            return 0.0;
        }
        let mut tree = Tree::EMPTY;
        let mut rest = *arrays;
        if in_cache && N == 1 {
            match L::LEAVES {
                4 => side_by_side::<L, T, N, 4>(lanes, term, &mut rest, &mut tree),
                2 => side_by_side::<L, T, N, 2>(lanes, term, &mut rest, &mut tree),
                _ => {}
            }
        }
        one_after_another(rest, tree, |arrays| leaf(lanes, term, arrays, in_cache))
    }

    #[inline]
    fn run_one(self) -> f64 {
        one_after_another(*self.arrays, Tree::EMPTY, |arrays| leaf_one_by_one(self.term, arrays))
    }
}

/// Adds what is left of a tile to its tree.
#[inline(always)]
fn one_after_another<const N: usize>(mut rest: [&[f32]; N], mut tree: Tree, leaf: impl Fn(&[&[f32]; N]) -> f64) -> f64 {
    while rest.first().is_some_and(|rest| !rest.is_empty()) {
        tree.push(1, leaf(&cut(&mut rest, LEAF)));
    }
    tree.sum()
}

/// Cuts off as many leaves as there are groups of `B`, and sums them group by group.
#[inline(always)]
fn side_by_side<L: Lanes, T: Term<N>, const N: usize, const B: usize>(
    lanes: L,
    term: T,
    rest: &mut [&[f32]; N],
    tree: &mut Tree,
) {
    while rest.iter().all(|rest| rest.len() >= B * LEAF) {
        let mut leaves = [*rest; B];
        for leaf in &mut leaves {
            *leaf = cut(rest, LEAF);
        }
        let sums: [f32; B] = squares(lanes, term, &leaves, None, true);
        let mut exact = [0.0; B];
        for ((exact, sum), leaf) in exact.iter_mut().zip(sums).zip(&leaves) {
            *exact = checked(lanes, term, leaf, sum);
        }
        let sum = match *exact.as_slice() {
            [a, b, c, d] => (a + b) + (c + d),
            [a, b] => a + b,
            _ => f64::NAN,
        };
        tree.push(B, sum);
    }
}

/// The sum of squares of one leaf.
#[inline(always)]
pub(super) fn leaf<L: Lanes, T: Term<N>, const N: usize>(lanes: L, term: T, leaf: &[&[f32]; N], in_cache: bool) -> f64 {
    let [sum] = squares(lanes, term, array::from_ref(leaf), None, in_cache);
    checked(lanes, term, leaf, sum)
}

/// The same on a machine without vectors.
fn leaf_one_by_one<T: Term<N>, const N: usize>(term: T, leaf: &[&[f32]; N]) -> f64 {
    checked(One, term, leaf, term.squares_one_by_one(leaf))
}

/// The sum of a leaf, if squares were neither too large nor too small for it.
#[inline(always)]
pub(super) fn checked<A: Arithmetic, T: Term<N>, const N: usize>(a: A, term: T, leaf: &[&[f32]; N], sum: f32) -> f64 {
    if (SMALL..=f32::MAX).contains(&sum) { f64::from(sum) } else { rescue(a, term, leaf, sum) }
}

/// The sum of a leaf whose squares are too small, or too large, by way of numbers of a better size.
#[cold]
#[inline(never)]
fn rescue<A: Arithmetic, T: Term<N>, const N: usize>(a: A, term: T, leaf: &[&[f32]; N], sum: f32) -> f64 {
    // Zeros are common: embeddings, and layers that get no gradient.
    if sum == 0.0 && leaf.iter().all(|array| a.run(MaxBits(array)) == 0) {
        return 0.0;
    }
    let (scale, unscale) = if sum < SMALL { (UP, UNSCALE_UP) } else { (DOWN, UNSCALE_DOWN) };
    f64::from(a.run(Scaled { term, leaf, scale })) * unscale
}

/// The sum of squares of a leaf of elements multiplied by `scale`.
struct Scaled<'a, T, const N: usize> {
    term: T,
    leaf: &'a [&'a [f32]; N],
    scale: f32,
}

impl<T: Term<N>, const N: usize> Kernel for Scaled<'_, T, N> {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> f32 {
        let [sum] = squares(lanes, self.term, array::from_ref(self.leaf), Some(self.scale), false);
        sum
    }

    #[inline]
    fn run_one(self) -> f32 {
        scalar::squares_of_term(self.term, self.leaf, self.scale)
    }
}

/// The sums of squares of `B` leaves of one length in `f32`, side by side. With `turned`, lanes may be.
#[inline(always)]
fn squares<L: Lanes, T: Term<N>, const N: usize, const B: usize>(
    lanes: L,
    term: T,
    leaves: &[[&[f32]; N]; B],
    scale: Option<f32>,
    turned: bool,
) -> [f32; B] {
    let mut sums = [[lanes.splat(0.0); VECTORS]; B];
    let mut leaves = *leaves;
    // One array is read from a cache line on; several may have different alignments.
    let head_len = match leaves.as_flattened() {
        [first, ..] if N == 1 && turned && L::MASKS => head_len(first),
        _ => 0,
    };
    if head_len > 0 {
        for (sums, leaf) in sums.iter_mut().zip(&mut leaves) {
            let parts = load_each(lanes, cut(leaf, head_len), L::load_last);
            add_square(lanes, term, parts, scale, &mut sums[VECTORS - 1]);
        }
    }
    let groups = leaves.map(|leaf| leaf.map(|part| part.as_chunks::<WIDTH>().0.as_chunks::<VECTORS>().0));
    let count = groups.first().and_then(|leaf| leaf.first()).map_or(0, |groups| groups.len());
    if groups.iter().any(|leaf| leaf.iter().any(|groups| groups.len() != count)) {
        return [0.0; B];
    }
    for i in 0..count {
        for v in 0..VECTORS {
            for (sums, leaf) in sums.iter_mut().zip(groups) {
                let mut parts = [lanes.splat(0.0); N];
                for (part, groups) in parts.iter_mut().zip(leaf) {
                    if let Some(group) = groups.get(i) {
                        *part = lanes.load(&group[v]);
                    }
                }
                add_square(lanes, term, parts, scale, &mut sums[v]);
            }
        }
    }
    for (sums, leaf) in sums.iter_mut().zip(leaves) {
        let rest = leaf.map(|part| part.as_chunks::<LANES>().1);
        for (v, sum) in sums.iter_mut().enumerate() {
            let rest = rest.map(|rest| rest.get(v * WIDTH..).unwrap_or_default());
            if rest.iter().all(|rest| rest.is_empty()) {
                break;
            }
            add_square(lanes, term, load_each(lanes, rest, f32::load_up_to), scale, sum);
        }
    }
    let mut folded = [0.0; B];
    for (folded, [a, b]) in folded.iter_mut().zip(sums) {
        *folded = lanes.fold(lanes.add(a, b));
    }
    folded
}

/// Loads (a part of) a vector of each array.
#[inline(always)]
fn load_each<L: Lanes, const N: usize>(
    lanes: L,
    arrays: [&[f32]; N],
    load: impl Fn(L, &[f32]) -> L::Vector,
) -> [L::Vector; N] {
    let mut parts = [lanes.splat(0.0); N];
    for (part, array) in parts.iter_mut().zip(arrays) {
        *part = load(lanes, array);
    }
    parts
}

/// Adds the square of the term of one vector of each array.
#[inline(always)]
fn add_square<L: Lanes, T: Term<N>, const N: usize>(
    lanes: L,
    term: T,
    parts: [L::Vector; N],
    scale: Option<f32>,
    sum: &mut L::Vector,
) {
    let mut term = term.of(lanes, parts);
    if let Some(scale) = scale {
        term = lanes.mul(term, lanes.splat(scale));
    }
    *sum = lanes.add(*sum, lanes.mul(term, term));
}
