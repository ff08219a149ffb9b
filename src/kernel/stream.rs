//! The loop that writes: it computes new weights and states from old ones and gradients.
//!
//! One loop, [`Memory::update`], serves every formula, vectors and single numbers. With vectors it begins at the first
//! cache line of the weights. The elements before it, and those after the last whole vector, are covered by vectors
//! that overlap the others.
//!
//! The sum of squares of the new weights saves the next step from reading them for it. It is computed from the vectors
//! as they are stored; one vector may contain the end of a leaf and the beginning of the next. (Reading the weights
//! again, a leaf and a half after they were stored, makes a LARC step of 256, 1 Ki, 4 Ki and 64 Ki elements take 1.53,
//! 1.40, 1.25 and 1.05 times as long as C. This way it is 1.23, 1.13, 1.04 and 1.02: Zen 4, AVX-512, arrays 16 bytes
//! off a line.)

use super::formulas::{Affine, AnyForm, Apart, Fixed, Form, Forms, Formula, Numbers, Rescale, Scalars, Splat};
use super::machine::{Machine, Threads};
use super::shape::{LEAF, TILE, TreeSum, head_len, left_len};
use super::squares::{checked, sum_of_squares};
use super::terms::Plain;
use crate::lanes::{Arithmetic, Backend, Element, Kernel, Lanes, ONE_BY_ONE, One, Two, WIDTH, dispatch};
use core::{array, ops::Range};

/// New weights and states.
type New<V, const N: usize> = (V, [V; N]);

/// The memory of (a piece of) a layer: weights, gradients, and `N` states (the momentum, then the second moment), all
/// of equal length.
pub(crate) struct Memory<'a, const N: usize> {
    pub(crate) weights: &'a mut [f32],
    pub(crate) gradients: &'a [f32],
    pub(crate) states: [&'a mut [f32]; N],
}

/// What an update wrote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Written {
    /// The sum of squares of the new weights, if requested.
    pub(crate) sum_of_squares: f64,
    /// Whether all new weights are finite.
    pub(crate) finite: bool,
}

/// Combines two halves.
impl From<(Written, Written)> for Written {
    #[inline]
    fn from((left, right): (Written, Written)) -> Written {
        Written { sum_of_squares: left.sum_of_squares + right.sum_of_squares, finite: left.finite && right.finite }
    }
}

impl<const N: usize> Memory<'_, N> {
    /// Splits at `mid`, or at the end if that is before `mid`.
    fn split_at(self, mid: usize) -> (Self, Self) {
        let (w1, w2) = self.weights.split_at_mut(mid.min(self.weights.len()));
        let (g1, g2) = self.gradients.split_at(mid.min(self.gradients.len()));
        let mut s1 = array::from_fn(|_| <&mut [f32]>::default());
        let mut s2 = array::from_fn(|_| <&mut [f32]>::default());
        for ((s1, s2), state) in s1.iter_mut().zip(&mut s2).zip(self.states) {
            (*s1, *s2) = state.split_at_mut(mid.min(state.len()));
        }
        (Memory { weights: w1, gradients: g1, states: s1 }, Memory { weights: w2, gradients: g2, states: s2 })
    }

    /// Reborrows the memory.
    #[inline(always)]
    fn reborrow(&mut self) -> Memory<'_, N> {
        let states = self.states.each_mut().map(|state| &mut **state);
        Memory { weights: self.weights, gradients: self.gradients, states }
    }

    /// The new numbers of a vector from `at` on, or of the elements that are left.
    #[inline(always)]
    fn new_at<F: Formula<N>, L: Lanes>(&self, lanes: L, k: &Splat<F, L, N>, at: usize) -> New<L::Vector, N> {
        let mut states = [lanes.splat(0.0); N];
        for (vector, state) in states.iter_mut().zip(&self.states) {
            *vector = f32::load_up_to(lanes, state.get(at..).unwrap_or_default());
        }
        let w = f32::load_up_to(lanes, self.weights.get(at..).unwrap_or_default());
        let g = f32::load_up_to(lanes, self.gradients.get(at..).unwrap_or_default());
        let old = Numbers { w, states, g };
        let states = F::states(lanes, k, old);
        (F::weights(lanes, k, Numbers { states, ..old }), states)
    }

    /// Stores new numbers from `at` on.
    #[inline(always)]
    fn store_at<L: Lanes>(&mut self, lanes: L, at: usize, (w, states): New<L::Vector, N>) {
        for (state, vector) in self.states.iter_mut().zip(states) {
            lanes.store_up_to(vector, state.get_mut(at..).unwrap_or_default());
        }
        lanes.store_up_to(w, self.weights.get_mut(at..).unwrap_or_default());
    }

    /// Updates the whole blocks of a range, and passes the new weights to `see`. This is the loop of all updates, over
    /// vectors or single numbers.
    #[inline(always)]
    fn update<F: Formula<N>, A: Arithmetic>(
        &mut self,
        a: A,
        k: &Splat<F, A, N>,
        range: Range<usize>,
        mut see: impl FnMut(A::Vector),
    ) {
        let [first, second] = two(&mut self.states);
        let weights = A::blocks_mut(self.weights.get_mut(range.clone()).unwrap_or_default());
        let gradients = A::blocks(self.gradients.get(range.clone()).unwrap_or_default());
        let first = A::blocks_mut(first.get_mut(range.clone()).unwrap_or_default());
        let second = A::blocks_mut(second.get_mut(range).unwrap_or_default());
        let count = weights.len();
        // Equal lengths, so that the loop has no bounds checks.
        if gradients.len() != count || (N > 0 && first.len() != count) || (N > 1 && second.len() != count) {
            return;
        }
        for i in 0..count {
            let (Some(w), Some(g)) = (weights.get_mut(i), gradients.get(i)) else { break };
            let mut states = [a.splat(0.0); N];
            if let ([old, ..], Some(state)) = (states.as_mut_slice(), first.get(i)) {
                *old = a.get(state);
            }
            if let ([_, old, ..], Some(state)) = (states.as_mut_slice(), second.get(i)) {
                *old = a.get(state);
            }
            let mut x = Numbers { w: a.get(w), states, g: a.get(g) };
            x.states = F::states(a, k, x);
            if let ([new, ..], Some(state)) = (x.states.as_slice(), first.get_mut(i)) {
                a.set(*new, state);
            }
            if let ([_, new, ..], Some(state)) = (x.states.as_slice(), second.get_mut(i)) {
                a.set(*new, state);
            }
            let new = F::weights(a, k, x);
            a.set(new, w);
            see(new);
        }
    }

    /// Updates the whole memory, with [`Affine`] scalars or with [`TwoMoments`](super::formulas::TwoMoments). With
    /// `sum`, returns the sum of squares of the new weights.
    #[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
    pub(crate) fn apply<K: Forms<N>>(&mut self, machine: Machine, prescale: f32, k: &K, sum: bool) -> Written {
        // A kernel takes any length, unless threads share the work, or it would sum more leaves than `TreeSum` holds.
        if self.weights.len() > TILE && (machine.threads != Threads::One || (sum && !ONE_BY_ONE)) {
            return self.apply_halves(machine, prescale, k, sum);
        }
        let form = k.form();
        let Form { decay, direct, shrink, guarded } = form;
        // With two moments, some settings are rare.
        if const { N > 1 } && (direct || guarded) {
            return self.stream::<AnyForm<'_, K>, false>(machine.backend, prescale, &(k, form), sum);
        }
        match (decay, direct || shrink) {
            (false, false) => self.stream::<Fixed<K, false, false>, true>(machine.backend, prescale, k, sum),
            (true, false) => self.stream::<Fixed<K, true, false>, true>(machine.backend, prescale, k, sum),
            (false, true) => self.stream::<Fixed<K, false, true>, true>(machine.backend, prescale, k, sum),
            (true, true) => self.stream::<Fixed<K, true, true>, true>(machine.backend, prescale, k, sum),
        }
    }

    fn apply_halves<K: Forms<N>>(&mut self, machine: Machine, prescale: f32, k: &K, sum: bool) -> Written {
        let mid = left_len(self.weights.len());
        let (mut left, mut right) = self.reborrow().split_at(mid);
        machine.both(|| left.apply(machine, prescale, k, sum), || right.apply(machine, prescale, k, sum)).into()
    }

    /// Updates the whole memory with one form of the formula. Common forms have a loop that also computes the sum of
    /// squares (`SUMS`).
    #[inline]
    fn stream<F: Formula<N>, const SUMS: bool>(
        &mut self,
        backend: Backend,
        prescale: f32,
        k: &F::Scalars,
        sum: bool,
    ) -> Written {
        let mut written = if prescale != 1.0 {
            self.prescaled(prescale, &|memory| dispatch(backend, Stream::<F, N, false> { k, memory }))
        } else if SUMS && sum && !ONE_BY_ONE {
            return dispatch(backend, Stream::<F, N, true> { k, memory: self });
        } else {
            dispatch(backend, Stream::<F, N, false> { k, memory: self })
        };
        if sum {
            let machine = Machine { backend, threads: Threads::One };
            written.sum_of_squares = sum_of_squares(machine, Plain, [&*self.weights]);
        }
        written
    }

    /// Multiplies the gradient by a power of two, vector by vector, and updates with the result. (This is rare, so it
    /// is compiled once for all forms.)
    #[cold]
    #[inline(never)]
    fn prescaled(&mut self, prescale: f32, update: &dyn Fn(&mut Memory<'_, N>) -> Written) -> Written {
        const BLOCK: usize = if ONE_BY_ONE { 1 } else { WIDTH };
        let mut written = Written { sum_of_squares: 0.0, finite: true };
        let mut rest = self.reborrow();
        while !rest.weights.is_empty() {
            let len = rest.weights.len().min(BLOCK);
            let (block, after) = rest.split_at(len);
            let mut scaled = [0.0; BLOCK];
            for (scaled, g) in scaled.iter_mut().zip(block.gradients) {
                *scaled = prescale * g;
            }
            let gradients = scaled.get(..len).unwrap_or_default();
            written.finite &= update(&mut Memory { weights: block.weights, gradients, states: block.states }).finite;
            rest = after;
        }
        written
    }

    /// Updates, and returns a sum that is not finite if a new weight is not.
    #[inline(always)]
    fn update_all<F: Formula<N>, L: Lanes>(&mut self, lanes: L, k: &Splat<F, L, N>) -> L::Vector {
        let len = self.weights.len();
        let Some(last) = len.checked_sub(WIDTH) else {
            let new = self.new_at::<F, L>(lanes, k, 0);
            self.store_at(lanes, 0, new);
            return new.0;
        };
        // The vectors at both ends overlap those in between. They are computed from the old numbers, so an element in
        // both gets the same new number twice.
        let head_len = head_len(self.weights);
        let head = if head_len > 0 { Some(self.new_at::<F, L>(lanes, k, 0)) } else { None };
        let whole = (len - head_len) / WIDTH;
        let tail = if head_len + whole * WIDTH < len { Some(self.new_at::<F, L>(lanes, k, last)) } else { None };
        let mut sums = [lanes.splat(0.0); 2];
        self.update::<F, L>(lanes, k, head_len..head_len + whole * WIDTH, |w| {
            // With a second moment, registers are few, and one addition a vector is no bottleneck.
            if N < 2 { sums = [sums[1], lanes.add(sums[0], w)] } else { sums[0] = lanes.add(sums[0], w) }
        });
        if let Some(head) = head {
            self.store_at(lanes, 0, head);
            sums[0] = lanes.add(sums[0], head.0);
        }
        if let Some(tail) = tail {
            self.store_at(lanes, last, tail);
            sums[1] = lanes.add(sums[1], tail.0);
        }
        lanes.add(sums[0], sums[1])
    }

    /// Updates at most a tile, and returns the sum of squares of the new weights.
    #[inline(always)]
    fn update_and_sum<F: Formula<N>, L: Lanes>(&mut self, lanes: L, k: &Splat<F, L, N>) -> f64 {
        const WHOLE: usize = LEAF / WIDTH - 1;
        let len = self.weights.len();
        let square = |w| lanes.mul(w, w);
        let zero = lanes.splat(0.0);
        let head_len = head_len(self.weights);
        let mut head = None;
        // Lanes are rotated by `head_len`: the elements before the first whole vector are the last lanes of a vector.
        let mut sums = [zero; 2];
        if head_len > 0 {
            let new = self.new_at::<F, L>(lanes, k, 0);
            sums[1] = square(lanes.first_as_last(new.0, head_len));
            head = Some(new);
        }
        let (mut start, mut at) = (0, head_len);
        let mut tree = TreeSum::EMPTY;
        loop {
            let whole = ((len - at) / WIDTH).min(WHOLE);
            self.update::<F, L>(lanes, k, at..at + whole * WIDTH, |w| sums = [sums[1], lanes.add(sums[0], square(w))]);
            at += whole * WIDTH;
            if let Some(head) = head.take() {
                self.store_at(lanes, 0, head);
            }
            // A vector that may belong to two leaves, or be partial.
            let mut next = zero;
            if at < len {
                let new = self.new_at::<F, L>(lanes, k, at);
                self.store_at(lanes, at, new);
                at = len.min(at + WIDTH);
                let squares = square(new.0);
                let sum = &mut sums[0];
                if whole == WHOLE {
                    *sum = lanes.add(*sum, lanes.first(squares, WIDTH - head_len));
                    next = lanes.last(squares, head_len);
                } else {
                    *sum = lanes.add(*sum, squares);
                }
            }
            let leaf = self.weights.get(start..len.min(start + LEAF)).unwrap_or_default();
            tree.push(1, checked(lanes, Plain, &[leaf], lanes.fold(lanes.add(sums[0], sums[1]))));
            start += LEAF;
            if start >= len {
                return tree.sum();
            }
            sums = [zero, next];
        }
    }
}

/// The first and the second state, empty if there is none. (Not a loop: the compiler proves accesses in bounds before
/// it unrolls loops.)
#[inline(always)]
fn two<'b, const N: usize>(states: &'b mut [&mut [f32]; N]) -> [&'b mut [f32]; 2] {
    match states.as_mut_slice() {
        [] => [&mut [], &mut []],
        [first] => [first, &mut []],
        [first, second, ..] => [first, second],
    }
}

/// Replaces a gradient by `gradient·(prescale·g) + decay·w`. Callers ensure that the slices have equal lengths.
pub(crate) fn rescale(backend: Backend, prescale: f32, k: Affine<Apart>, gradients: &mut [f32], weights: &[f32]) {
    let memory = &mut Memory { weights: gradients, gradients: weights, states: [] };
    dispatch(backend, Stream::<Rescale, 0, false> { k: &(Apart(prescale), k), memory });
}

/// A formula over arrays. With `SUM` they are at most a tile, and the output includes the sum of squares of the new
/// weights.
struct Stream<'a, 'b, F: Formula<N>, const N: usize, const SUM: bool> {
    k: &'a F::Scalars,
    memory: &'a mut Memory<'b, N>,
}

impl<F: Formula<N>, const N: usize, const SUM: bool> Kernel for Stream<'_, '_, F, N, SUM> {
    type Output = Written;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Written {
        let k = &self.k.splat(lanes);
        let memory = &mut self.memory.reborrow();
        let len = memory.weights.len();
        if memory.gradients.len() != len || memory.states.iter().any(|state| state.len() != len) {
            // Callers ensure that this does not happen. The check tells the compiler, so that loops need no bounds
            // checks.
            return Written { sum_of_squares: 0.0, finite: true };
        }
        if SUM {
            let sum_of_squares = memory.update_and_sum::<F, L>(lanes, k);
            return Written { sum_of_squares, finite: sum_of_squares.is_finite() };
        }
        // A sum with an infinity or a NaN in it is not finite. (This check costs 0 to 1 % of a NovoGrad step with
        // AVX-512, and 0 to 2.5 % with AVX2.)
        let sum = memory.update_all::<F, L>(lanes, k);
        Written { sum_of_squares: 0.0, finite: lanes.are_finite(sum) || all_finite(memory.weights) }
    }

    /// The weights are summed afterwards.
    #[inline(never)]
    fn run_one(self) -> Written {
        let Stream { k, memory } = self;
        let (len, mut sum) = (memory.weights.len(), 0.0);
        // The product of two numbers is not finite if one of them is not: one instruction checks both.
        memory.update::<F, Two>(Two, &k.splat(Two), 0..len & !1, |[a, b]| sum += a * b);
        memory.update::<F, One>(One, &k.splat(One), len & !1..len, |w| sum += w);
        Written { sum_of_squares: 0.0, finite: sum.is_finite() || all_finite(memory.weights) }
    }
}

/// Whether all are finite. Called if their sum is not finite, because the sum may only have overflowed.
#[cold]
#[inline(never)]
pub(super) fn all_finite(x: &[f32]) -> bool {
    x.iter().all(|x| x.is_finite())
}
