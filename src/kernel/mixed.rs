//! Updates of layers that have 16-bit floats.
//!
//! If the processor has conversion instructions, the loop of [`typed`](super::typed) converts these floats as it loads
//! and stores them. Otherwise, and for less than a vector, they are converted block by block in buffers of `f32`.

use super::any::sum_of_squares;
use super::array::Array;
use super::convert::{narrow, widen};
use super::formulas::Forms;
use super::machine::{Machine, Threads};
use super::numbers::{Copied, Numbers, NumbersMut};
use super::shape::{TILE, left_len};
use super::stream::{Memory, Written};
use super::typed::Update;
use crate::lanes::{Backend, ONE_BY_ONE, WIDTH};
use core::array;

/// Elements in a block.
const BLOCK: usize = 256;

/// From this length on, it pays to handle the elements before the first cache line separately.
const LARGE: usize = 16 * 1024;

/// The memory of (a piece of) a layer: weights, gradients, the moments of the update, all of equal length, and an
/// optional copy.
pub(crate) struct Mixed<'a> {
    pub(crate) weights: NumbersMut<'a>,
    pub(crate) gradients: Numbers<'a>,
    pub(crate) momentum: NumbersMut<'a>,
    pub(crate) second: &'a mut [f32],
    pub(crate) copy: Option<Copied<'a>>,
}

impl Mixed<'_> {
    /// Reborrows the memory.
    #[inline(always)]
    fn reborrow(&mut self) -> Mixed<'_> {
        Mixed {
            weights: self.weights.reborrow(),
            gradients: self.gradients,
            momentum: self.momentum.reborrow(),
            second: self.second,
            copy: self.copy.as_mut().map(|copy| Copied { to: copy.to.reborrow(), largest: copy.largest }),
        }
    }

    /// Splits at `mid`, or at the end if that is before `mid`.
    fn split_at(self, mid: usize) -> (Self, Self) {
        let (w1, w2) = self.weights.split_at(mid);
        let (g1, g2) = self.gradients.split_at(mid);
        let (m1, m2) = self.momentum.split_at(mid);
        let (v1, v2) = self.second.split_at_mut(mid.min(self.second.len()));
        let (c1, c2) = self.copy.map(|copy| copy.split_at(mid)).unzip();
        (
            Mixed { weights: w1, gradients: g1, momentum: m1, second: v1, copy: c1 },
            Mixed { weights: w2, gradients: g2, momentum: m2, second: v2, copy: c2 },
        )
    }

    /// Updates the whole memory, with `N` moments. With `sum`, returns the sum of squares of the new weights.
    #[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
    pub(crate) fn apply<K: Forms<N>, const N: usize>(
        &mut self,
        machine: Machine,
        prescale: f32,
        k: &K,
        sum: bool,
    ) -> Written {
        // (Without vectors, a kernel takes any length.)
        if (machine.threads != Threads::One || (sum && !ONE_BY_ONE)) && self.weights.len() > TILE {
            return self.apply_halves::<K, N>(machine, prescale, k, sum);
        }
        let finite = if machine.backend.converts() && (ONE_BY_ONE || self.weights.len() >= WIDTH) {
            self.convert_from_line::<K, N>(machine.backend, prescale, k)
        } else {
            self.through_buffers::<K, N>(machine.backend, prescale, k)
        };
        let sum_of_squares = if sum { sum_of_squares(machine, self.weights.read()) } else { 0.0 };
        Written { sum_of_squares, finite }
    }

    fn apply_halves<K: Forms<N>, const N: usize>(
        &mut self,
        machine: Machine,
        prescale: f32,
        k: &K,
        sum: bool,
    ) -> Written {
        let mid = left_len(self.weights.len());
        let (mut left, mut right) = self.reborrow().split_at(mid);
        let left = || left.apply::<K, N>(machine, prescale, k, sum);
        machine.both(left, || right.apply::<K, N>(machine, prescale, k, sum)).into()
    }

    /// Updates the whole memory with the loop for its types. In a large layer, that loop begins at a cache line of the
    /// weights; the loop for whole weights does so in small layers too.
    #[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
    fn convert_from_line<K: Forms<N>, const N: usize>(&mut self, backend: Backend, prescale: f32, k: &K) -> bool {
        let head_len = if ONE_BY_ONE || self.weights.len() < LARGE { 0 } else { self.weights.head_len() };
        if head_len == 0 {
            return self.convert::<K, N>(backend, prescale, k);
        }
        let (mut head, mut rest) = self.reborrow().split_at(head_len);
        head.through_buffers::<K, N>(backend, prescale, k) & rest.convert::<K, N>(backend, prescale, k)
    }

    /// Updates the whole memory with the loop for its types, and returns whether all new weights are finite.
    #[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
    fn convert<K: Forms<N>, const N: usize>(&mut self, backend: Backend, prescale: f32, k: &K) -> bool {
        let Mixed { weights, gradients, momentum, second, copy } = self.reborrow();
        // Without momentum, its type does not matter.
        let momentum = if N == 0 { NumbersMut::F32(&mut []) } else { momentum };
        let update = Update { k, prescale, backend, weights, second, copy };
        match (gradients, momentum) {
            (Numbers::F32(g), NumbersMut::F32(m)) => update.of::<_, _, N, false>(g, m),
            (Numbers::F32(g), NumbersMut::Bf16(m)) => update.of::<_, _, N, false>(g, m),
            (Numbers::Bf16(g), NumbersMut::F32(m)) => update.of::<_, _, N, true>(g, m),
            (Numbers::Bf16(g), NumbersMut::Bf16(m)) => update.of::<_, _, N, true>(g, m),
            (Numbers::F16(g), NumbersMut::F32(m)) => update.of::<_, _, N, false>(g, m),
            (Numbers::F16(g), NumbersMut::Bf16(m)) => update.of::<_, _, N, false>(g, m),
            // Callers ensure that there are no other types.
            _ => true,
        }
    }

    /// Updates the whole memory through buffers, and returns whether all new weights are finite.
    #[inline(never)]
    fn through_buffers<K: Forms<N>, const N: usize>(&mut self, backend: Backend, prescale: f32, k: &K) -> bool {
        let (mut finite, mut rest) = (true, self.reborrow());
        while rest.weights.len() > 0 {
            let block;
            (block, rest) = rest.split_at(BLOCK);
            finite &= block.through_buffer::<K, N>(backend, prescale, k);
        }
        finite
    }

    /// Updates a block.
    fn through_buffer<K: Forms<N>, const N: usize>(self, backend: Backend, prescale: f32, k: &K) -> bool {
        let [mut weights, mut gradients, mut momentum] = [[0.0; BLOCK]; 3];
        let weights = widen(backend, self.weights.read(), &mut weights);
        let gradients = widen(backend, self.gradients, &mut gradients);
        let momentum = widen(backend, self.momentum.read(), &mut momentum);
        let machine = Machine { backend, threads: Threads::One };
        let written = {
            let mut states = [&mut *momentum, self.second].into_iter();
            let states = array::from_fn(|_| states.next().unwrap_or_default());
            Memory::<N> { weights: &mut *weights, gradients, states }.apply(machine, prescale, k, false)
        };
        if N > 0 {
            narrow(backend, momentum, self.momentum, f32::INFINITY);
        }
        narrow(backend, weights, self.weights, f32::INFINITY);
        if let Some(Copied { to, largest }) = self.copy {
            narrow(backend, weights, to, largest);
        }
        written.finite
    }
}
