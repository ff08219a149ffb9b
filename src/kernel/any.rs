//! Sums of squares of arrays of numbers of any type.
//!
//! Gradients of 16 bits have loops of their own. Several arrays together, of which some have 16 bits, are few: they are
//! converted leaf by leaf.

use super::machine::Machine;
use super::numbers::{Numbers, f32s};
use super::squares;
use super::terms::{Plain, Term};
#[cfg(feature = "half")]
use super::{
    array::Array,
    convert::widen,
    machine::cut,
    shape::{LEAF, Tree},
    squares::leaf_one_by_one,
};
#[cfg(feature = "half")]
use crate::lanes::ONE_BY_ONE;
use crate::lanes::{Backend, Element};

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

/// The sum of squares of a term of arrays of one length.
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

/// The sum of squares of each leaf, in one column of a table with a row for each leaf.
#[inline(always)]
pub(crate) fn leaf_sums<T: Term<N>, const N: usize, const M: usize>(
    backend: Backend,
    term: T,
    arrays: [Numbers<'_>; N],
    sums: &mut [[f64; M]],
    column: usize,
) {
    match f32s(arrays) {
        Some(arrays) => squares::leaf_sums(backend, term, arrays, sums, column),
        #[cfg(feature = "half")]
        None => leaves(backend, term, arrays, &mut sums.iter_mut().filter_map(|row| row.get_mut(column))),
        #[cfg(not(feature = "half"))]
        None => {}
    }
}

/// The sum of each leaf, of which some numbers have 16 bits.
#[cfg(feature = "half")]
#[inline(never)]
fn leaves<T: Term<N>, const N: usize>(
    backend: Backend,
    term: T,
    arrays: [Numbers<'_>; N],
    sums: &mut dyn Iterator<Item = &mut f64>,
) {
    let mut rest = arrays;
    for sum in sums {
        *sum = leaf(backend, term, cut(&mut rest, LEAF));
    }
}

/// The sum of at most a tile, of which some numbers have 16 bits.
#[cfg(feature = "half")]
#[inline(never)]
fn tile<T: Term<N>, const N: usize>(backend: Backend, term: T, arrays: [Numbers<'_>; N]) -> f64 {
    let (mut tree, mut rest) = (Tree::EMPTY, arrays);
    while rest.first().is_some_and(|rest| rest.len() > 0) {
        tree.push(1, leaf(backend, term, cut(&mut rest, LEAF)));
    }
    tree.sum()
}

/// The sum of a leaf, of which some numbers have 16 bits.
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
