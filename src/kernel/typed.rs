//! The loop that writes layers with 16-bit floats. It converts them as it loads and stores.
//!
//! There are many combinations of types. Each combination for gradients and momentum has its own loop. The kind of
//! weights (whole, split, with a copy) and the form of the update are checked for every vector, which a processor
//! predicts well.

use super::formulas::{Form, Forms, Numbers as Of, Scalars};
use super::numbers::{Copied, NumbersMut};
use super::shape::head_len;
use super::stream::all_finite;
use crate::lanes::{Arithmetic, Backend, Element, Kernel, Lanes, ONE_BY_ONE, One, WIDTH, clamp, dispatch, join, split};
use half::{bf16, f16};

/// An update, before the types of gradients and momentum are known.
pub(super) struct Update<'a, K> {
    pub(super) k: &'a K,
    pub(super) prescale: f32,
    pub(super) backend: Backend,
    pub(super) weights: NumbersMut<'a>,
    pub(super) second: &'a mut [f32],
    pub(super) copy: Option<Copied<'a>>,
}

impl<K> Update<'_, K> {
    /// Updates the whole memory, and returns whether all new weights are finite. `COMMON` types also have a loop for
    /// whole weights without a copy.
    #[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
    pub(super) fn of<G: Element, M: Element, const N: usize, const COMMON: bool>(
        self,
        gradients: &[G],
        momentum: &mut [M],
    ) -> bool
    where
        K: Forms<N>,
    {
        let Update { k, prescale, backend, weights, second, copy } = self;
        let (whole, upper, lower) = match weights {
            NumbersMut::F32(whole) => (whole, Default::default(), Default::default()),
            NumbersMut::Split(upper, lower) => (Default::default(), upper, lower),
            _ => return true,
        };
        let largest = copy.as_ref().map_or(0.0, |copy| copy.largest);
        let (bf16_copy, f16_copy) = match copy.map(|copy| copy.to) {
            Some(NumbersMut::Bf16(copy)) => (copy, Default::default()),
            Some(NumbersMut::F16(copy)) => (Default::default(), copy),
            _ => Default::default(),
        };
        let memory = &mut Typed { whole, upper, lower, gradients, momentum, second, bf16_copy, f16_copy, largest };
        let k = &(k, prescale);
        if const { COMMON && N > 0 && !ONE_BY_ONE }
            && memory.lower.is_empty()
            && memory.bf16_copy.is_empty()
            && memory.f16_copy.is_empty()
        {
            return dispatch(backend, Loop::<K, G, M, N, true> { k, memory });
        }
        let kernel = Loop::<K, G, M, N, false> { k, memory };
        // (Called by name, so that it is inlined.)
        if ONE_BY_ONE { kernel.run_one() } else { dispatch(backend, kernel) }
    }
}

/// The memory of a layer as the loop takes it. Missing arrays are empty.
struct Typed<'a, G, M> {
    whole: &'a mut [f32],
    upper: &'a mut [bf16],
    lower: &'a mut [u16],
    gradients: &'a [G],
    momentum: &'a mut [M],
    second: &'a mut [f32],
    bf16_copy: &'a mut [bf16],
    f16_copy: &'a mut [f16],
    /// The copy is clamped to `-largest..=largest`.
    largest: f32,
}

/// The loop. Its output is whether all new weights are finite. With `WHOLE` it is for whole weights without a copy
/// only.
struct Loop<'a, 'b, K, G, M, const N: usize, const WHOLE: bool> {
    /// The scalars, and what gradients are multiplied by first.
    k: &'a (&'a K, f32),
    memory: &'a mut Typed<'b, G, M>,
}

/// Scalars in vectors.
struct Splat<K: Scalars, A: Arithmetic> {
    k: K::As<A::Vector>,
    prescale: A::Vector,
    form: Form,
}

impl<K: Scalars, A: Arithmetic> Splat<K, A> {
    #[inline(always)]
    fn of<const N: usize>(a: A, k: &K, prescale: f32) -> Self
    where
        K: Forms<N>,
    {
        Splat { k: k.splat(a), prescale: a.splat(prescale), form: k.form() }
    }

    /// New weights and states, from old ones.
    #[inline(always)]
    fn updated<const N: usize>(&self, a: A, form: Form, old: Of<A::Vector, N>) -> (A::Vector, [A::Vector; N])
    where
        K: Forms<N>,
    {
        let old = Of { g: a.mul(self.prescale, old.g), ..old };
        let states = K::states(a, form, &self.k, old);
        (a.sub(old.w, K::step(a, form, &self.k, Of { states, ..old })), states)
    }
}

impl<K: Forms<N>, G: Element, M: Element, const N: usize, const WHOLE: bool> Kernel
    for Loop<'_, '_, K, G, M, N, WHOLE>
{
    type Output = bool;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> bool {
        let Loop { k: &(k, prescale), memory } = self;
        let Some(last) = memory.gradients.len().checked_sub(WIDTH).filter(|_| L::CONVERTS) else { return true };
        let k = &Splat::of(lanes, k, prescale);
        // The loop for whole weights begins at a cache line. The vectors at both ends overlap those in between. They
        // are computed from the old numbers, so an element in both gets the same new number twice.
        let head_len = if WHOLE { head_len(memory.whole) } else { 0 };
        let mut sums = [lanes.splat(0.0); 2];
        let first = if head_len > 0 { memory.blocks(0).updated::<L, K, N, WHOLE>(lanes, k, 0) } else { None };
        let rest = if (last - head_len) % WIDTH > 0 {
            memory.blocks(last).updated::<L, K, N, WHOLE>(lanes, k, 0)
        } else {
            None
        };
        let mut blocks = memory.blocks(head_len);
        for i in 0..blocks.gradients.len() {
            let Some(new) = blocks.updated::<L, K, N, WHOLE>(lanes, k, i) else { break };
            blocks.store::<L, N, WHOLE>(lanes, i, new);
            sums = [sums[1], lanes.add(sums[0], new.0)];
        }
        if let Some(new) = first {
            memory.blocks(0).store::<L, N, WHOLE>(lanes, 0, new);
            sums[0] = lanes.add(sums[0], new.0);
        }
        if let Some(new) = rest {
            memory.blocks(last).store::<L, N, WHOLE>(lanes, 0, new);
            sums[1] = lanes.add(sums[1], new.0);
        }
        lanes.are_finite(lanes.add(sums[0], sums[1])) || memory.is_finite()
    }

    /// (Inlined in firmware, so that constants and missing arrays fold away.)
    #[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
    fn run_one(self) -> bool {
        let Loop { k: &(k, prescale), memory } = self;
        let k = Splat::of(One, k, prescale);
        let Form { decay, direct, shrink, guarded } = k.form;
        // A loop for each usual form: processors without vectors predict branches poorly.
        let sum = match (decay, direct || shrink) {
            _ if const { N > 1 } && (direct || guarded) => memory.update_all(&k, k.form),
            (false, false) => memory.update_all(&k, K::usual(false, false)),
            (false, true) => memory.update_all(&k, K::usual(false, true)),
            (true, false) => memory.update_all(&k, K::usual(true, false)),
            (true, true) => memory.update_all(&k, K::usual(true, true)),
        };
        sum.is_finite() || memory.is_finite()
    }
}

/// The whole vectors of a memory.
struct Blocks<'a, G, M> {
    whole: &'a mut [[f32; WIDTH]],
    upper: &'a mut [[bf16; WIDTH]],
    lower: &'a mut [[u16; WIDTH]],
    gradients: &'a [[G; WIDTH]],
    momentum: &'a mut [[M; WIDTH]],
    second: &'a mut [[f32; WIDTH]],
    bf16_copy: &'a mut [[bf16; WIDTH]],
    f16_copy: &'a mut [[f16; WIDTH]],
    largest: f32,
}

impl<G: Element, M: Element> Typed<'_, G, M> {
    /// The whole vectors from an element on.
    #[inline(always)]
    fn blocks(&mut self, start: usize) -> Blocks<'_, G, M> {
        Blocks {
            whole: blocks_mut(self.whole, start),
            upper: blocks_mut(self.upper, start),
            lower: blocks_mut(self.lower, start),
            gradients: self.gradients.get(start..).unwrap_or_default().as_chunks().0,
            momentum: blocks_mut(self.momentum, start),
            second: blocks_mut(self.second, start),
            bf16_copy: blocks_mut(self.bf16_copy, start),
            f16_copy: blocks_mut(self.f16_copy, start),
            largest: self.largest,
        }
    }

    /// Whether all arrays of an update with `N` moments have equal lengths. Callers ensure this; the check tells the
    /// compiler, so that loops need no bounds checks.
    #[inline(always)]
    fn has_one_length<const N: usize>(&self) -> bool {
        let len = self.gradients.len();
        let weights = self.whole.len() == len || (self.upper.len() == len && self.lower.len() == len);
        weights && (N == 0 || self.momentum.len() == len) && (N < 2 || self.second.len() == len)
    }

    /// Updates all elements one by one with a form, and returns a sum that is not finite if a new weight is not.
    #[inline(always)]
    fn update_all<K: Forms<N>, const N: usize>(&mut self, k: &Splat<K, One>, form: Form) -> f32 {
        let mut sum = 0.0;
        if self.has_one_length::<N>() {
            for i in 0..self.gradients.len() {
                let Some(w) = self.update_one(k, form, i) else { break };
                sum += w;
            }
        }
        sum
    }

    /// Updates one element and returns its new weight.
    #[inline(always)]
    fn update_one<K: Forms<N>, const N: usize>(&mut self, k: &Splat<K, One>, form: Form, i: usize) -> Option<f32> {
        let w = match self.whole.get(i) {
            Some(w) => *w,
            None => join(*self.upper.get(i)?, *self.lower.get(i)?),
        };
        let mut states = [0.0; N];
        if let ([m, ..], Some(old)) = (states.as_mut_slice(), self.momentum.get(i)) {
            *m = old.get();
        }
        if let ([_, v, ..], Some(old)) = (states.as_mut_slice(), self.second.get(i)) {
            *v = *old;
        }
        let (w, states) = k.updated(One, form, Of { w, states, g: self.gradients.get(i)?.get() });
        if let ([m, ..], Some(new)) = (states.as_slice(), self.momentum.get_mut(i)) {
            *new = M::of(*m);
        }
        if let ([_, v, ..], Some(new)) = (states.as_slice(), self.second.get_mut(i)) {
            *new = *v;
        }
        if let Some(new) = self.whole.get_mut(i) {
            *new = w;
        } else if let (Some(upper), Some(lower)) = (self.upper.get_mut(i), self.lower.get_mut(i)) {
            (*upper, *lower) = split(w);
        }
        if let Some(copy) = self.bf16_copy.get_mut(i) {
            *copy = bf16::of(clamp(w, self.largest));
        }
        if let Some(copy) = self.f16_copy.get_mut(i) {
            *copy = f16::of(clamp(w, self.largest));
        }
        Some(w)
    }

    /// Whether all weights are finite. Called if their sum is not finite, because the sum may only have overflowed.
    #[inline(always)]
    fn is_finite(&self) -> bool {
        if self.upper.is_empty() { all_finite(self.whole) } else { halves_are_finite(self.upper) }
    }
}

impl<G: Element, M: Element> Blocks<'_, G, M> {
    /// The new numbers of a vector.
    #[inline(always)]
    fn updated<L: Lanes, K: Forms<N>, const N: usize, const WHOLE: bool>(
        &self,
        lanes: L,
        k: &Splat<K, L>,
        i: usize,
    ) -> Option<New<L, N>> {
        let w = match self.whole.get(i) {
            Some(w) => lanes.load(w),
            None if WHOLE => return None,
            None => lanes.join(self.upper.get(i)?, self.lower.get(i)?),
        };
        let mut states = [lanes.splat(0.0); N];
        if let [m, ..] = states.as_mut_slice() {
            *m = M::load(lanes, self.momentum.get(i)?);
        }
        if let [_, v, ..] = states.as_mut_slice() {
            *v = lanes.load(self.second.get(i)?);
        }
        Some(k.updated(lanes, k.form, Of { w, states, g: G::load(lanes, self.gradients.get(i)?) }))
    }

    /// Stores them.
    #[inline(always)]
    fn store<L: Lanes, const N: usize, const WHOLE: bool>(&mut self, lanes: L, i: usize, (w, states): New<L, N>) {
        if let ([m, ..], Some(to)) = (states.as_slice(), self.momentum.get_mut(i)) {
            M::store(lanes, *m, to);
        }
        if let ([_, v, ..], Some(to)) = (states.as_slice(), self.second.get_mut(i)) {
            lanes.store(*v, to);
        }
        if let Some(to) = self.whole.get_mut(i) {
            lanes.store(w, to);
        }
        if WHOLE {
            return;
        }
        if let (Some(upper), Some(lower)) = (self.upper.get_mut(i), self.lower.get_mut(i)) {
            lanes.split(w, upper, lower);
        }
        if let Some(to) = self.bf16_copy.get_mut(i) {
            lanes.narrow_bf16(lanes.clamp(w, self.largest), to);
        } else if let Some(to) = self.f16_copy.get_mut(i) {
            lanes.narrow_f16(lanes.clamp(w, self.largest), to);
        }
    }
}

/// Whether all numbers with these upper halves, which contain the exponents, are finite.
#[cold]
#[inline(never)]
fn halves_are_finite(upper: &[bf16]) -> bool {
    upper.iter().all(|upper| upper.is_finite())
}

/// New weights and states.
type New<L, const N: usize> = (<L as Arithmetic>::Vector, [<L as Arithmetic>::Vector; N]);

#[inline(always)]
fn blocks_mut<E>(x: &mut [E], start: usize) -> &mut [[E; WIDTH]] {
    x.get_mut(start..).unwrap_or_default().as_chunks_mut().0
}
