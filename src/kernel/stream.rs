//! The loop that writes.

use super::formulas::{Affine, Apart, Formula, Rescale, Step};
use super::machine::{Machine, Threads};
use super::shape::{LEAF, TILE, Tree, head_len, left_len};
use super::squares::{checked, sum_of_squares};
use super::terms::Plain;
use crate::lanes::{Backend, Element, Kernel, Lanes, One, WIDTH, dispatch};
use core::array;

/// The memory of (a piece of) a layer: weights, gradients, and `N` states (the momentum, if there is one), all of one length.
pub(crate) struct Memory<'a, S, G, const N: usize> {
    pub(crate) weights: &'a mut [f32],
    pub(crate) gradients: &'a [G],
    pub(crate) states: [&'a mut [S]; N],
}

/// What an update wrote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Written {
    /// The sum of squares of the new weights, if it was asked for.
    pub(crate) sum_of_squares: f64,
    /// Whether all new weights are finite.
    pub(crate) finite: bool,
}

impl<'a, S: Element, G: Element, const N: usize> Memory<'a, S, G, N> {
    /// Two pieces, cut at `mid` or where the slices end.
    fn split_at(self, mid: usize) -> (Self, Self) {
        let (w1, w2) = self.weights.split_at_mut(mid.min(self.weights.len()));
        let (g1, g2) = self.gradients.split_at(mid.min(self.gradients.len()));
        let mut s1 = array::from_fn(|_| <&mut [S]>::default());
        let mut s2 = array::from_fn(|_| <&mut [S]>::default());
        for ((s1, s2), state) in s1.iter_mut().zip(&mut s2).zip(self.states) {
            (*s1, *s2) = state.split_at_mut(mid.min(state.len()));
        }
        (Memory { weights: w1, gradients: g1, states: s1 }, Memory { weights: w2, gradients: g2, states: s2 })
    }

    /// The same for a shorter time.
    #[inline(always)]
    fn reborrow(&mut self) -> Memory<'_, S, G, N> {
        let states = self.states.each_mut().map(|state| &mut **state);
        Memory { weights: self.weights, gradients: self.gradients, states }
    }

    /// Whether all slices have one length. Callers see to it; where the compiler knows it too, loops need no checks.
    #[inline(always)]
    fn is_even(&self) -> bool {
        let len = self.weights.len();
        self.gradients.len() == len && self.states.iter().all(|state| state.len() == len)
    }

    /// The new numbers of one vector (or what there is) from `at` on.
    #[inline(always)]
    fn new_at<F: Formula<N>, L: Lanes>(
        &self,
        lanes: L,
        k: &F::Scalars<L::Vector>,
        at: usize,
    ) -> (L::Vector, [L::Vector; N]) {
        let mut states = [lanes.splat(0.0); N];
        for (vector, state) in states.iter_mut().zip(&self.states) {
            *vector = S::load_up_to(lanes, state.get(at..).unwrap_or_default());
        }
        let w = f32::load_up_to(lanes, self.weights.get(at..).unwrap_or_default());
        let g = G::load_up_to(lanes, self.gradients.get(at..).unwrap_or_default());
        F::new(lanes, k, w, states, g)
    }

    /// Stores new numbers from `at` on.
    #[inline(always)]
    fn store_at<L: Lanes>(&mut self, lanes: L, at: usize, (w, states): (L::Vector, [L::Vector; N])) {
        for (state, vector) in self.states.iter_mut().zip(states) {
            S::store_up_to(lanes, vector, state.get_mut(at..).unwrap_or_default());
        }
        f32::store_up_to(lanes, w, self.weights.get_mut(at..).unwrap_or_default());
    }

    /// Updates `count` vectors from `from` on, and shows the new weights to `see`.
    #[inline(always)]
    fn update<F: Formula<N>, L: Lanes>(
        &mut self,
        lanes: L,
        k: &F::Scalars<L::Vector>,
        from: usize,
        count: usize,
        mut see: impl FnMut(L::Vector),
    ) {
        let [first, second] = two(&mut self.states);
        // Cut to one length, so that no access is checked in the loop.
        let first = vectors_mut(first, from, count).unwrap_or_default();
        let second = vectors_mut(second, from, count).unwrap_or_default();
        let weights = vectors_mut(self.weights, from, count).unwrap_or_default();
        let gradients = self.gradients.get(from..).and_then(|x| x.as_chunks().0.get(..count)).unwrap_or_default();
        if weights.len() != count
            || gradients.len() != count
            || (N > 0 && first.len() != count)
            || (N > 1 && second.len() != count)
        {
            return;
        }
        for i in 0..count {
            let (Some(w), Some(g)) = (weights.get_mut(i), gradients.get(i)) else { break };
            let mut old = [lanes.splat(0.0); N];
            if let ([old, ..], Some(state)) = (old.as_mut_slice(), first.get(i)) {
                *old = S::load(lanes, state);
            }
            if let ([_, old, ..], Some(state)) = (old.as_mut_slice(), second.get(i)) {
                *old = S::load(lanes, state);
            }
            let (new_w, new) = F::new(lanes, k, lanes.load(w), old, G::load(lanes, g));
            if let ([new, ..], Some(state)) = (new.as_slice(), first.get_mut(i)) {
                S::store(lanes, *new, state);
            }
            if let ([_, new, ..], Some(state)) = (new.as_slice(), second.get_mut(i)) {
                S::store(lanes, *new, state);
            }
            lanes.store(new_w, w);
            see(new_w);
        }
    }
}

/// The first state and the second, empty where there is none. (By name, not in a loop: the compiler proves that accesses are in
/// bounds before it unrolls loops.)
#[inline(always)]
fn two<'b, S, const N: usize>(states: &'b mut [&mut [S]; N]) -> [&'b mut [S]; 2] {
    match states.as_mut_slice() {
        [] => [&mut [], &mut []],
        [first] => [first, &mut []],
        [first, second, ..] => [first, second],
    }
}

/// `count` vectors from `from` on.
#[inline(always)]
fn vectors_mut<T>(x: &mut [T], from: usize, count: usize) -> Option<&mut [[T; WIDTH]]> {
    x.get_mut(from..)?.as_chunks_mut().0.get_mut(..count)
}

/// Updates a layer. With `sum`, returns the sum of squares of the new weights.
#[inline]
pub(crate) fn apply<S: Element, G: Element, const N: usize>(
    machine: Machine,
    prescale: f32,
    k: &Affine<Apart>,
    memory: &mut Memory<'_, S, G, N>,
    sum: bool,
) -> Written {
    if memory.weights.len() > TILE {
        apply_halves(machine, prescale, k, memory, sum)
    } else {
        tile(machine.backend, prescale, k, memory, sum)
    }
}

fn apply_halves<S: Element, G: Element, const N: usize>(
    machine: Machine,
    prescale: f32,
    k: &Affine<Apart>,
    memory: &mut Memory<'_, S, G, N>,
    sum: bool,
) -> Written {
    let len = memory.weights.len();
    let (mut left, mut right) = memory.reborrow().split_at(left_len(len));
    let (left, right) =
        machine.both(|| apply(machine, prescale, k, &mut left, sum), || apply(machine, prescale, k, &mut right, sum));
    Written { sum_of_squares: left.sum_of_squares + right.sum_of_squares, finite: left.finite && right.finite }
}

/// Updates at most a tile by the form of the formula that the scalars have.
fn tile<S: Element, G: Element, const N: usize>(
    backend: Backend,
    prescale: f32,
    k: &Affine<Apart>,
    memory: &mut Memory<'_, S, G, N>,
    sum: bool,
) -> Written {
    if prescale != 1.0 {
        return prescaled(backend, prescale, k, memory, sum);
    }
    match (k.decay.0 != 0.0, N > 0 && (k.direct.0 != 0.0 || k.shrink.0 != 0.0)) {
        (false, false) => stream::<Step<false, false>, S, G, N>(backend, k, memory, sum),
        (true, false) => stream::<Step<true, false>, S, G, N>(backend, k, memory, sum),
        (false, true) => stream::<Step<false, true>, S, G, N>(backend, k, memory, sum),
        (true, true) => stream::<Step<true, true>, S, G, N>(backend, k, memory, sum),
    }
}

#[inline]
fn stream<F: Formula<N>, S: Element, G: Element, const N: usize>(
    backend: Backend,
    k: &F::Scalars<Apart>,
    memory: &mut Memory<'_, S, G, N>,
    sum: bool,
) -> Written {
    let written = if sum {
        dispatch(backend, Stream::<F, S, G, N, true> { k, memory })
    } else {
        dispatch(backend, Stream::<F, S, G, N, false> { k, memory })
    };
    written
}

/// Multiplies the gradient by a power of two, vector by vector, and updates with that.
#[cold]
#[inline(never)]
fn prescaled<S: Element, G: Element, const N: usize>(
    backend: Backend,
    prescale: f32,
    k: &Affine<Apart>,
    memory: &mut Memory<'_, S, G, N>,
    sum: bool,
) -> Written {
    let mut finite = true;
    let mut rest = memory.reborrow();
    while !rest.weights.is_empty() {
        let (Memory { weights, gradients, states }, behind) = rest.split_at(WIDTH);
        let mut scaled = [0.0; WIDTH];
        for (to, g) in scaled.iter_mut().zip(gradients) {
            *to = prescale * g.get();
        }
        let gradients = scaled.get(..weights.len()).unwrap_or_default();
        finite &= tile(backend, 1.0, k, &mut Memory { weights, gradients, states }, false).finite;
        rest = behind;
    }
    let machine = Machine { backend, threads: Threads::One };
    Written { sum_of_squares: if sum { sum_of_squares(machine, Plain, [&*memory.weights]) } else { 0.0 }, finite }
}

/// Replaces a gradient by `gradient·(prescale·g) + decay·w`. The slices have one length; callers check.
pub(crate) fn rescale(backend: Backend, prescale: f32, k: Affine<Apart>, gradients: &mut [f32], weights: &[f32]) {
    let memory = &mut Memory::<f32, f32, 0> { weights: gradients, gradients: weights, states: [] };
    dispatch(backend, Stream::<Rescale, f32, f32, 0, false> { k: &(Apart(prescale), k), memory });
}

/// The loop: a formula over at most a tile. With `SUM`, its output has the sum of squares of the new weights.
struct Stream<'a, 'b, F: Formula<N>, S, G, const N: usize, const SUM: bool> {
    k: &'a F::Scalars<Apart>,
    memory: &'a mut Memory<'b, S, G, N>,
}

impl<F: Formula<N>, S: Element, G: Element, const N: usize, const SUM: bool> Kernel
    for Stream<'_, '_, F, S, G, N, SUM>
{
    type Output = Written;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Written {
        let k = &F::splat(lanes, self.k);
        let memory = &mut self.memory.reborrow();
        if !memory.is_even() {
            return Written { sum_of_squares: 0.0, finite: true };
        }
        if SUM {
            let sum_of_squares = update_and_sum::<F, L, S, G, N>(lanes, k, memory);
            return Written { sum_of_squares, finite: sum_of_squares.is_finite() };
        }
        // Once there is an infinity or a NaN in a sum, the sum is not finite any more.
        let sum = update::<F, L, S, G, N>(lanes, k, memory);
        Written { sum_of_squares: 0.0, finite: sum.is_finite() || all_finite(memory.weights) }
    }

    #[inline]
    fn run_one(self) -> Written {
        let sum = one_by_one::<F, S, G, N>(self.k, self.memory);
        let finite = sum.is_finite() || all_finite(self.memory.weights);
        let machine = Machine::serial();
        let sum_of_squares = if SUM { sum_of_squares(machine, Plain, [&*self.memory.weights]) } else { 0.0 };
        Written { sum_of_squares, finite }
    }
}

/// Updates at most a tile, and returns a sum of the new weights.
#[inline(always)]
fn update<F: Formula<N>, L: Lanes, S: Element, G: Element, const N: usize>(
    lanes: L,
    k: &F::Scalars<L::Vector>,
    memory: &mut Memory<'_, S, G, N>,
) -> f32 {
    let len = memory.weights.len();
    let Some(last) = len.checked_sub(WIDTH) else {
        let new = memory.new_at::<F, L>(lanes, k, 0);
        memory.store_at(lanes, 0, new);
        return lanes.fold(new.0);
    };
    // Vectors at both ends overlap those between. They are made of the old numbers, so an element gets the same new one twice.
    let head_len = head_len(memory.weights);
    let head = if head_len > 0 { Some(memory.new_at::<F, L>(lanes, k, 0)) } else { None };
    let whole = (len - head_len) / WIDTH;
    let tail = if head_len + whole * WIDTH < len { Some(memory.new_at::<F, L>(lanes, k, last)) } else { None };
    let mut sums = [lanes.splat(0.0); 2];
    memory.update::<F, L>(lanes, k, head_len, whole, |w| sums = [sums[1], lanes.add(sums[0], w)]);
    for (at, new) in [(0, head), (last, tail)] {
        if let Some(new) = new {
            memory.store_at(lanes, at, new);
            sums[0] = lanes.add(sums[0], new.0);
        }
    }
    lanes.fold(lanes.add(sums[0], sums[1]))
}

/// Updates at most a tile, and returns the sum of squares of the new weights.
#[inline(always)]
fn update_and_sum<F: Formula<N>, L: Lanes, S: Element, G: Element, const N: usize>(
    lanes: L,
    k: &F::Scalars<L::Vector>,
    memory: &mut Memory<'_, S, G, N>,
) -> f64 {
    const WHOLE: usize = LEAF / WIDTH - 1;
    let len = memory.weights.len();
    let square = |w| lanes.mul(w, w);
    let zero = lanes.splat(0.0);
    let head_len = head_len(memory.weights);
    let mut head = None;
    let mut sums = [zero; 2];
    if head_len > 0 {
        let new = memory.new_at::<F, L>(lanes, k, 0);
        head = Some(new);
        let mut x = [0.0; 2 * WIDTH];
        if let (_, Some(to)) = (0, x.get_mut(WIDTH - head_len..).and_then(|x| x.first_chunk_mut())) {
            lanes.store(new.0, to);
        }
        if let Some(x) = x.first_chunk() {
            sums[1] = square(lanes.load(x));
        }
    }
    let (mut start, mut at) = (0, head_len);
    let mut tree = Tree::EMPTY;
    loop {
        let whole = ((len - at) / WIDTH).min(WHOLE);
        memory.update::<F, L>(lanes, k, at, whole, |w| sums = [sums[1], lanes.add(sums[0], square(w))]);
        at += whole * WIDTH;
        if let Some(head) = head.take() {
            memory.store_at(lanes, 0, head);
        }
        // A vector that may belong to two leaves, or may be less than one.
        let mut next = zero;
        if at < len {
            let new = memory.new_at::<F, L>(lanes, k, at);
            memory.store_at(lanes, at, new);
            at = len.min(at + WIDTH);
            let squares = square(new.0);
            if whole == WHOLE {
                sums[0] = lanes.add(sums[0], lanes.first(squares, WIDTH - head_len));
                next = lanes.last(squares, head_len);
            } else {
                sums[0] = lanes.add(sums[0], squares);
            }
        }
        let leaf = memory.weights.get(start..len.min(start + LEAF)).unwrap_or_default();
        tree.push(1, checked(lanes, Plain, &[leaf], lanes.fold(lanes.add(sums[0], sums[1]))));
        start += LEAF;
        if start >= len {
            return tree.sum();
        }
        sums = [zero, next];
    }
}

/// Whether all are finite: for sums that are not, which may have overflowed.
#[cold]
#[inline(never)]
fn all_finite(x: &[f32]) -> bool {
    x.iter().all(|x| x.is_finite())
}

/// The loop on a machine without vectors, once for updates with a sum and without. Returns a sum of the new weights.
#[inline(never)]
fn one_by_one<F: Formula<N>, S: Element, G: Element, const N: usize>(
    k: &F::Scalars<Apart>,
    memory: &mut Memory<'_, S, G, N>,
) -> f32 {
    let k = &F::splat(One, k);
    let Memory { weights, gradients, states } = memory;
    let [first, second] = two(states);
    let len = weights.len();
    let mut sum = 0.0;
    if gradients.len() != len || (N > 0 && first.len() != len) || (N > 1 && second.len() != len) {
        return sum;
    }
    for i in 0..len {
        let (Some(w), Some(g)) = (weights.get_mut(i), gradients.get(i)) else { break };
        let mut old = [0.0; N];
        if let ([old, ..], Some(state)) = (old.as_mut_slice(), first.get(i)) {
            *old = state.get();
        }
        if let ([_, old, ..], Some(state)) = (old.as_mut_slice(), second.get(i)) {
            *old = state.get();
        }
        let (new_w, new) = F::new(One, k, *w, old, g.get());
        if let ([new, ..], Some(state)) = (new.as_slice(), first.get_mut(i)) {
            *state = S::of(*new);
        }
        if let ([_, new, ..], Some(state)) = (new.as_slice(), second.get_mut(i)) {
            *state = S::of(*new);
        }
        *w = new_w;
        sum += new_w;
    }
    sum
}
