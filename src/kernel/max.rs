//! The largest absolute value of an array.

use super::machine::Machine;
use super::shape::LEAF;
use crate::lanes::{Backend, Loop, dispatch};

/// The largest absolute value; NaN if there is a NaN.
pub(crate) fn max_abs(machine: Machine, x: &[f32]) -> f32 {
    f32::from_bits(machine.reduce(&[x], &|&[x]| max_bits(machine.backend, x), u32::max))
}

/// The largest absolute value of each leaf of an array, in one column of a table with a row for each leaf.
pub(crate) fn leaf_maxima<const M: usize>(backend: Backend, x: &[f32], maxima: &mut [[f64; M]], column: usize) {
    for (row, leaf) in maxima.iter_mut().zip(x.chunks(LEAF)) {
        if let Some(max) = row.get_mut(column) {
            *max = f32::from_bits(max_bits(backend, leaf)).into();
        }
    }
}

/// The bits of the largest absolute value. Without the sign, the bits of floats order as integers do, and every NaN is
/// above infinity.
fn max_bits(backend: Backend, x: &[f32]) -> u32 {
    dispatch(backend, Loop(|| x.iter().fold(0, |max, x| max.max(x.to_bits() & 0x7fff_ffff))))
}
