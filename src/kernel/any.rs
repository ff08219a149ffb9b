//! Sums of squares of arrays of any element type.
//!
//! Single 16-bit arrays, as gradients are, have their own loops. Terms of several arrays, some of them of 16 bits, are
//! rare: those arrays are converted leaf by leaf.

use super::machine::{Machine, cut};
use super::numbers::{Numbers, f32s};
use super::shape::LEAF;
use super::squares;
use super::terms::{Plain, Term};
#[cfg(feature = "half")]
use super::{array::Array, convert::widen, shape::TreeSum, squares::leaf_one_by_one};
use crate::lanes::Element;
#[cfg(feature = "half")]
use crate::lanes::{Backend, ONE_BY_ONE};

/// The sum of squares of an array.
#[inline(always)]
pub(crate) fn sum_of_squares(machine: Machine, x: Numbers<'_>) -> f64 {
    fn of<E: Element>(machine: Machine, x: &[E]) -> f64 {
        squares::sum_of_squares(machine, Plain, [x])
    }
    match x {
        Numbers::F32(x) => of(machine, x),
        #[cfg(feature = "half")]
        Numbers::Bf16(x) => of(machine, x),
        #[cfg(feature = "half")]
        Numbers::F16(x) => of(machine, x),
        #[cfg(feature = "half")]
        Numbers::Split(..) => sum_of_term(machine, Plain, [x]),
    }
}

/// The sum of squares of a term of arrays of equal length.
#[inline(always)]
pub(crate) fn sum_of_term<T: Term<N>, const N: usize>(machine: Machine, term: T, arrays: [Numbers<'_>; N]) -> f64 {
    match f32s(arrays) {
        Some(arrays) => squares::sum_of_squares(machine, term, arrays),
        #[cfg(feature = "half")]
        None => machine.reduce(&arrays, &|unit| tile(machine.backend, term, *unit), |left, right| left + right),
        #[cfg(not(feature = "half"))]
        None => f64::NAN,
    }
}

/// Measures each piece of arrays of equal length, and fills one column of a table that has a row for each piece. The
/// pieces are contiguous, and `leaves` gives the number of leaves of each.
#[inline]
pub(crate) fn each_piece<const N: usize, const M: usize>(
    arrays: [Numbers<'_>; N],
    leaves: impl Iterator<Item = usize>,
    rows: &mut [[f64; M]],
    column: usize,
    measure: impl Fn([Numbers<'_>; N]) -> f64,
) {
    let mut rest = arrays;
    for (row, leaves) in rows.iter_mut().zip(leaves) {
        let measured = measure(cut(&mut rest, leaves.saturating_mul(LEAF)));
        if let Some(place) = row.get_mut(column) {
            *place = measured;
        }
    }
}

/// The sum of at most a tile, where some arrays have 16 bits.
#[cfg(feature = "half")]
#[inline(never)]
fn tile<T: Term<N>, const N: usize>(backend: Backend, term: T, arrays: [Numbers<'_>; N]) -> f64 {
    let (mut tree, mut rest) = (TreeSum::EMPTY, arrays);
    while rest.first().is_some_and(|rest| rest.len() > 0) {
        tree.push(1, leaf(backend, term, cut(&mut rest, LEAF)));
    }
    tree.sum()
}

/// The sum of a leaf, where some arrays have 16 bits.
#[cfg(feature = "half")]
#[inline(never)]
fn leaf<T: Term<N>, const N: usize>(backend: Backend, term: T, leaf: [Numbers<'_>; N]) -> f64 {
    if ONE_BY_ONE {
        return leaf_one_by_one(term, &leaf);
    }
    let mut buffers = [[0.0; LEAF]; N];
    let mut converted = [&[] as &[f32]; N];
    for ((array, buffer), converted) in leaf.into_iter().zip(&mut buffers).zip(&mut converted) {
        *converted = match array {
            Numbers::F32(x) => x,
            array => widen(backend, array, buffer),
        };
    }
    squares::one_leaf(backend, term, converted)
}
