//! What a norm squares and sums.

use super::array::Array;
use super::formulas::{Affine, Apart, Form, Forms, Numbers, Scalars, TwoMoments};
use super::shape::LANES;
use crate::lanes::{Arithmetic, One};

/// A term made of one element of each of `N` arrays. It is 0 where all of them are.
pub(crate) trait Term<const N: usize>: Copy + Send + Sync {
    /// The term of one vector of each array.
    fn of<A: Arithmetic>(self, a: A, elements: [A::Vector; N]) -> A::Vector;

    /// The sum of squares of a leaf on a machine without vectors, in `f32`.
    #[inline]
    fn squares_one_by_one<X: Array>(self, leaf: &[X; N]) -> f32 {
        squares_of_term(self, leaf)
    }
}

/// The array itself.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

impl Term<1> for Plain {
    #[inline(always)]
    fn of<A: Arithmetic>(self, _: A, [x]: [A::Vector; 1]) -> A::Vector {
        x
    }

    #[inline]
    fn squares_one_by_one<X: Array>(self, [leaf]: &[X; 1]) -> f32 {
        leaf.squares_one_by_one()
    }
}

/// The gradient with weight decay, `scale·g + decay·w`, from weights and gradients.
#[derive(Clone, Copy)]
pub(crate) struct Decayed {
    pub(crate) scale: f32,
    pub(crate) decay: f32,
}

impl Term<2> for Decayed {
    #[inline(always)]
    fn of<A: Arithmetic>(self, a: A, [w, g]: [A::Vector; 2]) -> A::Vector {
        a.add(a.mul(a.splat(self.scale), g), a.mul(a.splat(self.decay), w))
    }
}

/// The new momentum that an update would write, computed from weights, gradients and momentum, for rules that need its
/// norm first.
#[derive(Clone, Copy)]
pub(crate) struct NewMomentum<'a> {
    pub(crate) prescale: f32,
    pub(crate) k: &'a Affine<Apart>,
}

impl Term<3> for NewMomentum<'_> {
    #[inline(always)]
    fn of<A: Arithmetic>(self, a: A, [w, g, m]: [A::Vector; 3]) -> A::Vector {
        let (k, g) = (self.k.splat(a), a.mul(a.splat(self.prescale), g));
        let [m] = Affine::states(a, Form::ALL, &k, Numbers { w, states: [m], g });
        m
    }
}

/// The step that an update would subtract from the weights, computed from weights, gradients and states, for rules that
/// need its norm first.
#[derive(Clone, Copy)]
pub(crate) struct StepOf<'a, K> {
    pub(crate) prescale: f32,
    pub(crate) k: &'a K,
}

impl<K: Scalars> StepOf<'_, K> {
    #[inline(always)]
    fn step<A: Arithmetic, const N: usize>(self, a: A, form: Form, old: Numbers<A::Vector, N>) -> A::Vector
    where
        K: Forms<N>,
    {
        let (k, old) = (&self.k.splat(a), Numbers { g: a.mul(a.splat(self.prescale), old.g), ..old });
        K::step(a, form, k, Numbers { states: K::states(a, form, k, old), ..old })
    }
}

/// Without momentum: the step is `h`.
impl Term<2> for StepOf<'_, Affine<Apart>> {
    #[inline(always)]
    fn of<A: Arithmetic>(self, a: A, [w, g]: [A::Vector; 2]) -> A::Vector {
        self.step::<A, 0>(a, Form { direct: false, shrink: false, ..Form::ALL }, Numbers { w, states: [], g })
    }
}

/// With momentum.
impl Term<3> for StepOf<'_, Affine<Apart>> {
    #[inline(always)]
    fn of<A: Arithmetic>(self, a: A, [w, g, m]: [A::Vector; 3]) -> A::Vector {
        self.step::<A, 1>(a, Form::ALL, Numbers { w, states: [m], g })
    }
}

/// With momentum and second moment.
impl Term<4> for StepOf<'_, TwoMoments<Apart>> {
    #[inline(always)]
    fn of<A: Arithmetic>(self, a: A, [w, g, m, v]: [A::Vector; 4]) -> A::Vector {
        self.step::<A, 2>(a, Form::ALL, Numbers { w, states: [m, v], g })
    }
}

/// Another term times a scale.
#[derive(Clone, Copy)]
pub(super) struct Times<T> {
    pub(super) term: T,
    pub(super) scale: f32,
}

impl<T: Term<N>, const N: usize> Term<N> for Times<T> {
    #[inline(always)]
    fn of<A: Arithmetic>(self, a: A, elements: [A::Vector; N]) -> A::Vector {
        a.mul(self.term.of(a, elements), a.splat(self.scale))
    }
}

/// The same for any term, where size matters more than speed: it is mostly for leaves that are summed again.
pub(super) fn squares_of_term<T: Term<N>, X: Array, const N: usize>(term: T, leaf: &[X; N]) -> f32 {
    fold(0, 1, &|lane| {
        let mut sum = 0.0;
        let (mut i, len) = (lane, leaf.first().map_or(0, |part| part.len()));
        while i < len {
            let term = term.of(One, leaf.map(|part| part.get(i)));
            sum += term * term;
            i += LANES;
        }
        sum
    })
}

/// The sums of the lanes `first`, `first + step` and so on, folded by halves.
fn fold(first: usize, step: usize, lane: &impl Fn(usize) -> f32) -> f32 {
    if step == LANES { lane(first) } else { fold(first, 2 * step, lane) + fold(first + step, 2 * step, lane) }
}
