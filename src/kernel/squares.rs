//! Sums of squares that are accurate, never overflow, and have the same bits everywhere. [`shape`](super::shape)
//! defines the order of the additions.

use super::array::{Array, Vectors};
use super::machine::{Machine, cut};
use super::shape::{LEAF, TILE, TreeSum, VECTORS};
use super::terms::{Plain, Term, Times, squares_of_term};
use crate::lanes::{Arithmetic, Kernel, Lanes, Loop, ONE_BY_ONE, One, WIDTH, dispatch};
use core::array;

/// Below this sum, a square may have been rounded to a subnormal or to zero. Above it, 1024 such errors of at most
/// 2⁻¹⁵⁰ each are far below the last bit of the sum.
const SMALL: f32 = f32::from_bits((127 - 100) << 23);

/// Scale for a leaf with a small sum: every element, down to the smallest subnormal, gets a normal square.
const UP: f32 = f32::from_bits((127 + 96) << 23);

/// Scale for a leaf whose sum overflowed: no sum of 1024 squares of scaled `f32` overflows.
const DOWN: f32 = f32::from_bits((127 - 70) << 23);

/// The factors that divide the scales out of a sum of squares.
const UNSCALE_UP: f64 = 1.0 / (UP as f64 * UP as f64);
const UNSCALE_DOWN: f64 = 1.0 / (DOWN as f64 * DOWN as f64);

/// The sum of squares of a term of arrays of equal length. (Different lengths would give a wrong sum, not a panic. No
/// caller passes them.)
#[inline]
pub(crate) fn sum_of_squares<T: Term<N>, X: Vectors, const N: usize>(machine: Machine, term: T, arrays: [X; N]) -> f64 {
    let in_cache = arrays.first().is_some_and(|array| array.len() <= TILE);
    let unit = |arrays: &[X; N]| dispatch(machine.backend, Unit { term, arrays, in_cache });
    machine.reduce(&arrays, &unit, |left, right| left + right)
}

/// The sums of squares of two arrays of equal length, with the bits of [`sum_of_squares`]. Summing two leaves side by
/// side hides the latency of the additions.
#[inline]
pub(crate) fn sums_of_squares(machine: Machine, [a, b]: [&[f32]; 2]) -> [f64; 2] {
    if a.len() <= LEAF && !ONE_BY_ONE {
        return dispatch(machine.backend, TwoLeaves(&[[a], [b]])).into();
    }
    [a, b].map(|array| sum_of_squares(machine, Plain, [array]))
}

/// The sum of squares of at most a leaf.
#[cfg(feature = "half")]
pub(super) fn one_leaf<T: Term<N>, X: Vectors, const N: usize>(
    backend: crate::lanes::Backend,
    term: T,
    leaf: [X; N],
) -> f64 {
    dispatch(backend, Unit { term, arrays: &leaf, in_cache: true })
}

/// The loop over at most a unit.
struct Unit<'a, T, X, const N: usize> {
    term: T,
    arrays: &'a [X; N],
    in_cache: bool,
}

impl<T: Term<N>, X: Vectors, const N: usize> Kernel for Unit<'_, T, X, N> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> f64 {
        let sum = Sum { lanes, term: self.term, in_cache: self.in_cache };
        if self.arrays.first().is_some_and(|array| array.len() > LEAF) {
            return sum.tile(self.arrays);
        }
        let [sum] = sum.exact(array::from_ref(self.arrays));
        sum
    }

    #[inline]
    fn run_one(self) -> f64 {
        leaf_one_by_one(self.term, self.arrays)
    }
}

pub(super) fn leaf_one_by_one<T: Term<N>, X: Array, const N: usize>(term: T, leaf: &[X; N]) -> f64 {
    let sum = term.squares_one_by_one(leaf);
    let scaled = |scale| squares_of_term(Times { term, scale }, leaf);
    if is_exact(sum) { f64::from(sum) } else { rescue(One, leaf, sum, scaled) }
}

/// The loop over at most a leaf of each of two arrays.
struct TwoLeaves<'a>(&'a [[&'a [f32]; 1]; 2]);

impl Kernel for TwoLeaves<'_> {
    type Output = (f64, f64);

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> (f64, f64) {
        let sum = Sum { lanes, term: Plain, in_cache: true };
        if L::LEAVES > 1 {
            return sum.exact(self.0).into();
        }
        let [a, b] = self.0.each_ref().map(array::from_ref);
        let ([a], [b]) = (sum.exact(a), sum.exact(b));
        (a, b)
    }

    #[inline]
    fn run_one(self) -> (f64, f64) {
        self.0.map(|leaf| leaf_one_by_one(Plain, &leaf)).into()
    }
}

/// Sums with vectors.
#[derive(Clone, Copy)]
struct Sum<L, T, const N: usize> {
    lanes: L,
    term: T,
    /// In cache, it is fastest to sum leaves side by side and to begin vectors at cache lines. Main memory is read
    /// fastest in order.
    in_cache: bool,
}

impl<L: Lanes, T: Term<N>, const N: usize> Sum<L, T, N> {
    /// The sum of at most a tile.
    #[inline(always)]
    fn tile<X: Vectors>(self, arrays: &[X; N]) -> f64 {
        let len = arrays.first().map_or(0, |array| array.len());
        if arrays.iter().any(|array| array.len() != len) {
            return 0.0;
        }
        let mut tree = TreeSum::EMPTY;
        let mut rest = *arrays;
        if self.in_cache && N == 1 {
            match (L::LEAVES, X::LEAVES) {
                (4, 4) => self.groups::<4, X>(&mut rest, &mut tree),
                (1, _) => {}
                _ => self.groups::<2, X>(&mut rest, &mut tree),
            }
        }
        self.groups::<1, X>(&mut rest, &mut tree);
        if rest.first().is_some_and(|rest| rest.len() > 0) {
            let [sum] = self.exact(&[rest]);
            tree.push(1, sum);
        }
        tree.sum()
    }

    /// Removes the whole leaves that fill groups of `B`, and sums them group by group.
    #[inline(always)]
    fn groups<const B: usize, X: Vectors>(self, rest: &mut [X; N], tree: &mut TreeSum) {
        let mut sum = 1.0;
        while rest.iter().all(|rest| rest.len() >= B * LEAF) {
            let mut group = cut(rest, B * LEAF);
            // More leaves of zeros may follow, and checking costs less than summing twice.
            if sum != 0.0 || !are_zeros(self.lanes, &group) {
                let mut leaves = [group; B];
                for leaf in &mut leaves {
                    *leaf = cut(&mut group, LEAF);
                }
                sum = match *self.exact(&leaves).as_slice() {
                    [a, b, c, d] => (a + b) + (c + d),
                    [a, b] => a + b,
                    [a] => a,
                    _ => f64::NAN,
                };
            }
            tree.push(B, sum);
        }
    }

    /// The sums of leaves of equal length.
    #[inline(always)]
    fn exact<const B: usize, X: Vectors>(self, leaves: &[[X; N]; B]) -> [f64; B] {
        let mut exact = [0.0; B];
        for ((exact, sum), leaf) in exact.iter_mut().zip(self.in_f32(leaves)).zip(leaves) {
            *exact = checked(self.lanes, self.term, leaf, sum);
        }
        exact
    }

    /// The sums of leaves of equal length in `f32`, side by side.
    #[inline(always)]
    fn in_f32<const B: usize, X: Vectors>(self, leaves: &[[X; N]; B]) -> [f32; B] {
        let lanes = self.lanes;
        let mut sums = [[lanes.splat(0.0); VECTORS]; B];
        let mut leaves = *leaves;
        // A single array is read from a cache line on; several arrays may be aligned differently.
        let head_len = match leaves.as_flattened() {
            [first, ..] if N == 1 && self.in_cache && L::MASKS => first.head_len(),
            _ => 0,
        };
        if head_len > 0 {
            for (sums, leaf) in sums.iter_mut().zip(&mut leaves) {
                self.add_square(self.load(cut(leaf, head_len), |x| x.load_last(lanes)), &mut sums[VECTORS - 1]);
            }
        }
        let groups = leaves.map(|leaf| leaf.map(X::groups));
        let count = groups.first().and_then(|leaf| leaf.first()).map_or(0, |groups| X::count(*groups));
        if groups.iter().any(|leaf| leaf.iter().any(|groups| X::count(*groups) != count)) {
            return [0.0; B];
        }
        for i in 0..count {
            for v in 0..VECTORS {
                for (sums, leaf) in sums.iter_mut().zip(groups) {
                    let mut parts = [lanes.splat(0.0); N];
                    for (part, groups) in parts.iter_mut().zip(leaf) {
                        *part = X::vector(lanes, groups, i, v);
                    }
                    self.add_square(parts, &mut sums[v]);
                }
            }
        }
        for (sums, leaf) in sums.iter_mut().zip(leaves) {
            let rest = leaf.map(X::rest);
            for (v, sum) in sums.iter_mut().enumerate() {
                let rest = rest.map(|rest| rest.split_at(v * WIDTH).1);
                if rest.iter().all(|rest| rest.len() == 0) {
                    break;
                }
                self.add_square(self.load(rest, |x| x.load_first(lanes)), sum);
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
    fn load<X: Vectors>(self, arrays: [X; N], load: impl Fn(X) -> L::Vector) -> [L::Vector; N] {
        let mut parts = [self.lanes.splat(0.0); N];
        for (part, array) in parts.iter_mut().zip(arrays) {
            *part = load(array);
        }
        parts
    }

    /// Adds the square of the term of one vector of each array.
    #[inline(always)]
    fn add_square(self, parts: [L::Vector; N], sum: &mut L::Vector) {
        let term = self.term.of(self.lanes, parts);
        *sum = self.lanes.add(*sum, self.lanes.mul(term, term));
    }
}

/// The sum of a leaf. If squares were too large or too small, the leaf is summed again.
#[inline(always)]
pub(super) fn checked<A, T, X, const N: usize>(a: A, term: T, leaf: &[X; N], sum: f32) -> f64
where
    A: Arithmetic,
    T: Term<N>,
    X: Vectors,
{
    if is_exact(sum) { f64::from(sum) } else { rescue(a, leaf, sum, |scale| a.run(ScaledLeaf { term, scale, leaf })) }
}

/// Whether no square of a leaf can have overflowed or underflowed.
#[inline(always)]
fn is_exact(sum: f32) -> bool {
    (SMALL..=f32::MAX).contains(&sum)
}

/// The sum of a leaf whose squares are too large or too small: scales the elements first.
#[cold]
#[inline(never)]
fn rescue<A, X, const N: usize>(a: A, leaf: &[X; N], sum: f32, scaled: impl Fn(f32) -> f32) -> f64
where
    A: Arithmetic,
    X: Array,
{
    if sum == 0.0 && are_zeros(a, leaf) {
        return 0.0;
    }
    let (scale, unscale) = if sum < SMALL { (UP, UNSCALE_UP) } else { (DOWN, UNSCALE_DOWN) };
    f64::from(scaled(scale)) * unscale
}

/// Whether all elements are zero. This is common: embeddings, and layers that get no gradient. (Out of line, so that
/// each kernel is smaller. Firmware has one kernel, where a call would be larger.)
#[cfg_attr(not(any(target_arch = "arm", target_arch = "riscv32")), inline(never))]
fn are_zeros<A: Arithmetic, X: Array, const N: usize>(a: A, arrays: &[X; N]) -> bool {
    a.run(Loop(|| arrays.iter().all(|array| array.is_zero())))
}

/// The sum of squares of a leaf in `f32`, of scaled terms.
struct ScaledLeaf<'a, T, X, const N: usize> {
    term: T,
    scale: f32,
    leaf: &'a [X; N],
}

impl<T: Term<N>, X: Vectors, const N: usize> Kernel for ScaledLeaf<'_, T, X, N> {
    type Output = f32;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> f32 {
        let term = Times { term: self.term, scale: self.scale };
        let [sum] = Sum { lanes, term, in_cache: false }.in_f32(array::from_ref(self.leaf));
        sum
    }

    #[inline]
    fn run_one(self) -> f32 {
        squares_of_term(Times { term: self.term, scale: self.scale }, self.leaf)
    }
}
