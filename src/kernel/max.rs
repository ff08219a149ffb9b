//! The largest absolute value of an array.

#[cfg(feature = "half")]
use super::array::Array;
use super::machine::Machine;
use super::numbers::Numbers;
use crate::lanes::{Backend, Element, Loop, dispatch};

/// The largest absolute value; NaN if there is a NaN.
#[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
pub(crate) fn max_abs(machine: Machine, x: Numbers<'_>) -> f32 {
    fn of<E: Element>(machine: Machine, x: &[E]) -> f32 {
        E::of_size(machine.reduce(&[x], &|&[x]| max_size(machine.backend, x), u32::max))
    }
    match x {
        Numbers::F32(x) => of(machine, x),
        #[cfg(feature = "half")]
        Numbers::Bf16(x) => of(machine, x),
        #[cfg(feature = "half")]
        Numbers::F16(x) => of(machine, x),
        #[cfg(feature = "half")]
        Numbers::Split(..) => f32::of_size((0..x.len()).fold(0, |max, i| max.max(x.get(i).size()))),
    }
}

/// The largest `size` of an element.
fn max_size<E: Element>(backend: Backend, x: &[E]) -> u32 {
    dispatch(backend, Loop(|| x.iter().fold(0, |max, x| max.max(x.size()))))
}
