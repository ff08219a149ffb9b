//! The arithmetic of updates, which writes weights and states.
//!
//! The order of the operations is part of the crate's contract. With `g`, `w`, `m` one element of gradient, weights and
//! momentum, and each operation rounded to `f32`:
//!
//! ```text
//! h = gradient·g                      (+ decay·w, unless decay is 0)
//! m = momentum·m + h
//! u = rate·m                          (+ direct·h + shrink·w, unless both are 0)
//! w = w − u
//! ```
//!
//! Without momentum, `u` is `h`: `w = w − gradient·g`, or `w = w − (gradient·g + decay·w)`. With a second moment, of
//! which `v` is one element, these are `m` and `u` (if `d` is 0, the quotient is 0):
//!
//! ```text
//! m = momentum·m + share·h
//! v = keep·v + (fresh·h)·h
//! d = √(unbias·v + eps_root) + eps
//! u = (rate·m) / d                    (+ direct·h, unless direct is 0)
//!                                     (+ shrink·w, unless shrink is 0)
//! ```

use crate::lanes::Arithmetic;
use core::marker::PhantomData;

/// Scalars in memory.
pub(crate) trait Scalars: Sync {
    /// The same scalars, each as a `V`.
    type As<V: Copy>: Copy;

    /// Broadcasts each scalar to a vector. A loop does this before it begins, because the compiler cannot know that its
    /// stores do not change the scalars.
    fn splat<A: Arithmetic>(&self, a: A) -> Self::As<A::Vector>;
}

/// The scalars of a formula in vectors.
pub(crate) type Splat<F, A, const N: usize> = <<F as Formula<N>>::Scalars as Scalars>::As<<A as Arithmetic>::Vector>;

/// A vector of weights, of each state, and of gradients.
#[derive(Clone, Copy)]
pub(crate) struct Numbers<V, const N: usize> {
    pub(crate) w: V,
    pub(crate) states: [V; N],
    pub(crate) g: V,
}

/// An update of weights and states, element by element.
pub(crate) trait Formula<const N: usize>: Sized {
    type Scalars: Scalars;

    /// The new states. A loop stores them before it continues, because registers are few.
    fn states<A: Arithmetic>(a: A, k: &Splat<Self, A, N>, old: Numbers<A::Vector, N>) -> [A::Vector; N];

    /// What is subtracted from the weights, computed from old weights and new states. (The compiler reuses what
    /// `states` has computed.)
    fn step<A: Arithmetic>(a: A, k: &Splat<Self, A, N>, x: Numbers<A::Vector, N>) -> A::Vector;

    /// The new weights, from old weights and new states.
    #[inline(always)]
    fn weights<A: Arithmetic>(a: A, k: &Splat<Self, A, N>, x: Numbers<A::Vector, N>) -> A::Vector {
        a.sub(x.w, Self::step(a, k, x))
    }
}

/// A scalar in memory, eight bytes from the next: two adjacent scalars, stored one by one and loaded together, would
/// defeat store forwarding.
#[derive(Clone, Copy, Debug)]
#[repr(align(8))]
pub(crate) struct Apart(pub(crate) f32);

impl Apart {
    /// Compares bits, for processors without float instructions.
    #[inline(always)]
    fn is_zero(self) -> bool {
        self.0.to_bits() << 1 == 0
    }
}

/// The scalars of an affine update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Affine<V> {
    pub(crate) gradient: V,
    pub(crate) decay: V,
    pub(crate) momentum: V,
    pub(crate) rate: V,
    pub(crate) direct: V,
    pub(crate) shrink: V,
}

impl Scalars for Affine<Apart> {
    type As<V: Copy> = Affine<V>;

    #[inline(always)]
    fn splat<A: Arithmetic>(&self, a: A) -> Affine<A::Vector> {
        Affine {
            gradient: a.splat(self.gradient.0),
            decay: a.splat(self.decay.0),
            momentum: a.splat(self.momentum.0),
            rate: a.splat(self.rate.0),
            direct: a.splat(self.direct.0),
            shrink: a.splat(self.shrink.0),
        }
    }
}

impl<V: Copy> Affine<V> {
    /// `h`.
    #[inline(always)]
    fn h<A: Arithmetic<Vector = V>>(&self, a: A, form: Form, w: V, g: V) -> V {
        let h = a.mul(self.gradient, g);
        if form.decay { a.add(h, a.mul(self.decay, w)) } else { h }
    }

    /// `u`, given its first term.
    #[inline(always)]
    fn u<A: Arithmetic<Vector = V>>(&self, a: A, form: Form, first: V, h: V, w: V) -> V {
        let u = if form.direct { a.add(first, a.mul(self.direct, h)) } else { first };
        if form.shrink { a.add(u, a.mul(self.shrink, w)) } else { u }
    }
}

/// The scalars of an update with a second moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TwoMoments<V> {
    pub(crate) affine: Affine<V>,
    pub(crate) share: V,
    pub(crate) keep: V,
    pub(crate) fresh: V,
    pub(crate) unbias: V,
    pub(crate) eps_root: V,
    pub(crate) eps: V,
}

impl Scalars for TwoMoments<Apart> {
    type As<V: Copy> = TwoMoments<V>;

    #[inline(always)]
    fn splat<A: Arithmetic>(&self, a: A) -> TwoMoments<A::Vector> {
        TwoMoments {
            affine: self.affine.splat(a),
            share: a.splat(self.share.0),
            keep: a.splat(self.keep.0),
            fresh: a.splat(self.fresh.0),
            unbias: a.splat(self.unbias.0),
            eps_root: a.splat(self.eps_root.0),
            eps: a.splat(self.eps.0),
        }
    }
}

/// Which terms an update has. Terms whose scalars are 0 are left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) decay: bool,
    pub(crate) direct: bool,
    pub(crate) shrink: bool,
    /// Whether to add `eps_root` and to check for division by 0.
    pub(crate) guarded: bool,
}

impl Form {
    pub(crate) const ALL: Form = Form { decay: true, direct: true, shrink: true, guarded: true };
}

/// An update whose form depends on its scalars.
pub(crate) trait Forms<const N: usize>: Scalars {
    /// Its form.
    fn form(&self) -> Form;

    /// A form that has its own loop: with or without the `decay` term, with or without the usual extra terms of `u`.
    fn usual(decay: bool, extra: bool) -> Form;

    /// [`Formula::states`] of a form.
    fn states<A: Arithmetic>(a: A, form: Form, k: &Self::As<A::Vector>, old: Numbers<A::Vector, N>) -> [A::Vector; N];

    /// [`Formula::step`] of a form.
    fn step<A: Arithmetic>(a: A, form: Form, k: &Self::As<A::Vector>, x: Numbers<A::Vector, N>) -> A::Vector;
}

/// The first update at the top of this file. Its only state, if any, is the momentum.
impl<const N: usize> Forms<N> for Affine<Apart> {
    #[inline(always)]
    fn form(&self) -> Form {
        let extra = N > 0 && !(self.direct.is_zero() && self.shrink.is_zero());
        <Self as Forms<N>>::usual(!self.decay.is_zero(), extra)
    }

    /// Both extra terms, or neither.
    #[inline(always)]
    fn usual(decay: bool, extra: bool) -> Form {
        Form { decay, direct: extra, shrink: extra, guarded: false }
    }

    #[inline(always)]
    fn states<A: Arithmetic>(a: A, form: Form, k: &Affine<A::Vector>, old: Numbers<A::Vector, N>) -> [A::Vector; N] {
        let mut states = old.states;
        if let Some(m) = states.first_mut() {
            *m = a.add(a.mul(k.momentum, *m), k.h(a, form, old.w, old.g));
        }
        states
    }

    #[inline(always)]
    fn step<A: Arithmetic>(a: A, form: Form, k: &Affine<A::Vector>, x: Numbers<A::Vector, N>) -> A::Vector {
        let h = k.h(a, form, x.w, x.g);
        let first = x.states.first().map_or(h, |m| a.mul(k.rate, *m));
        k.u(a, form, first, h, x.w)
    }
}

/// The second update at the top of this file. Its states are the momentum and the second moment.
impl Forms<2> for TwoMoments<Apart> {
    #[inline(always)]
    fn form(&self) -> Form {
        let Affine { decay, direct, shrink, .. } = self.affine;
        Form {
            decay: !decay.is_zero(),
            direct: !direct.is_zero(),
            shrink: !shrink.is_zero(),
            guarded: !self.eps_root.is_zero() || self.eps.is_zero(),
        }
    }

    #[inline(always)]
    fn usual(decay: bool, shrink: bool) -> Form {
        Form { decay, direct: false, shrink, guarded: false }
    }

    #[inline(always)]
    fn states<A: Arithmetic>(
        a: A,
        form: Form,
        k: &TwoMoments<A::Vector>,
        old: Numbers<A::Vector, 2>,
    ) -> [A::Vector; 2] {
        let (h, [m, v]) = (k.affine.h(a, form, old.w, old.g), old.states);
        let m = a.add(a.mul(k.affine.momentum, m), a.mul(k.share, h));
        [m, a.add(a.mul(k.keep, v), a.mul(a.mul(k.fresh, h), h))]
    }

    #[inline(always)]
    fn step<A: Arithmetic>(a: A, form: Form, k: &TwoMoments<A::Vector>, x: Numbers<A::Vector, 2>) -> A::Vector {
        let (h, [m, v]) = (k.affine.h(a, form, x.w, x.g), x.states);
        let (v, m) = (a.mul(k.unbias, v), a.mul(k.affine.rate, m));
        let first = if form.guarded {
            a.div(m, a.add(a.sqrt(a.add(v, k.eps_root)), k.eps))
        } else {
            a.div_nonzero(m, a.add(a.sqrt(v), k.eps))
        };
        k.affine.u(a, form, first, h, x.w)
    }
}

/// An update whose form is known at compile time: one loop for each form.
pub(crate) struct Fixed<K, const DECAY: bool, const EXTRA: bool>(PhantomData<K>);

impl<K: Forms<N>, const DECAY: bool, const EXTRA: bool, const N: usize> Formula<N> for Fixed<K, DECAY, EXTRA> {
    type Scalars = K;

    #[inline(always)]
    fn states<A: Arithmetic>(a: A, k: &Splat<Self, A, N>, old: Numbers<A::Vector, N>) -> [A::Vector; N] {
        K::states(a, K::usual(DECAY, EXTRA), k, old)
    }

    #[inline(always)]
    fn step<A: Arithmetic>(a: A, k: &Splat<Self, A, N>, x: Numbers<A::Vector, N>) -> A::Vector {
        K::step(a, K::usual(DECAY, EXTRA), k, x)
    }
}

/// An update that checks its form for every vector: one loop for all forms.
pub(crate) struct AnyForm<'a, K>(PhantomData<&'a K>);

impl<'a, K: Forms<N>, const N: usize> Formula<N> for AnyForm<'a, K> {
    type Scalars = (&'a K, Form);

    #[inline(always)]
    fn states<A: Arithmetic>(a: A, (k, form): &Splat<Self, A, N>, old: Numbers<A::Vector, N>) -> [A::Vector; N] {
        K::states(a, *form, k, old)
    }

    #[inline(always)]
    fn step<A: Arithmetic>(a: A, (k, form): &Splat<Self, A, N>, x: Numbers<A::Vector, N>) -> A::Vector {
        K::step(a, *form, k, x)
    }
}

impl<K: Scalars> Scalars for (&K, Form) {
    type As<V: Copy> = (K::As<V>, Form);

    #[inline(always)]
    fn splat<A: Arithmetic>(&self, a: A) -> (K::As<A::Vector>, Form) {
        (self.0.splat(a), self.1)
    }
}

/// Replaces a gradient `g` with `gradient·(prescale·g) + decay·w`: here the gradient is written, and the weights are
/// read.
pub(crate) struct Rescale;

impl Scalars for (Apart, Affine<Apart>) {
    type As<V: Copy> = (V, Affine<V>);

    #[inline(always)]
    fn splat<A: Arithmetic>(&self, a: A) -> (A::Vector, Affine<A::Vector>) {
        (a.splat(self.0.0), self.1.splat(a))
    }
}

impl Formula<0> for Rescale {
    type Scalars = (Apart, Affine<Apart>);

    #[inline(always)]
    fn states<A: Arithmetic>(_: A, _: &Splat<Self, A, 0>, _: Numbers<A::Vector, 0>) -> [A::Vector; 0] {
        []
    }

    #[inline(always)]
    fn step<A: Arithmetic>(a: A, (prescale, k): &Splat<Self, A, 0>, x: Numbers<A::Vector, 0>) -> A::Vector {
        k.h(a, Form::ALL, x.g, a.mul(*prescale, x.w))
    }

    #[inline(always)]
    fn weights<A: Arithmetic>(a: A, k: &Splat<Self, A, 0>, x: Numbers<A::Vector, 0>) -> A::Vector {
        Self::step(a, k, x)
    }
}
