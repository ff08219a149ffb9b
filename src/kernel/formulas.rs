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
//! Without momentum, `u` is `h`: `w = w − gradient·g`, or `w = w − (gradient·g + decay·w)`.

use crate::lanes::Arithmetic;

/// New weights and states.
pub(crate) type New<V, const N: usize> = (V, [V; N]);

/// The new weights and states of old ones and a gradient, element by element.
pub(crate) trait Formula<const N: usize> {
    /// The scalars of the formula: in memory, or each in all lanes of a vector.
    type Scalars<V: Copy>: Copy;

    /// Puts the scalars into vectors. A loop does so before it begins: the compiler cannot know that its stores do not
    /// change them.
    fn splat<A: Arithmetic>(a: A, k: &Self::Scalars<Apart>) -> Self::Scalars<A::Vector>;

    /// The new weights and states.
    fn next<A: Arithmetic>(
        a: A,
        k: &Self::Scalars<A::Vector>,
        w: A::Vector,
        states: [A::Vector; N],
        g: A::Vector,
    ) -> New<A::Vector, N>;
}

/// A scalar in memory, eight bytes from the next: two that are stored one by one and loaded together would wait for the
/// cache.
#[derive(Clone, Copy, Debug)]
#[repr(align(8))]
pub(crate) struct Apart(pub(crate) f32);

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

impl Affine<Apart> {
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

/// The update of the top of this page, with or without the terms of `decay`, and of `direct` and `shrink`. Its one
/// state is the momentum.
pub(crate) struct Step<const DECAY: bool, const EXTRA: bool>;

impl<const DECAY: bool, const EXTRA: bool, const N: usize> Formula<N> for Step<DECAY, EXTRA> {
    type Scalars<V: Copy> = Affine<V>;

    #[inline(always)]
    fn splat<A: Arithmetic>(a: A, k: &Affine<Apart>) -> Affine<A::Vector> {
        k.splat(a)
    }

    #[inline(always)]
    fn next<A: Arithmetic>(
        a: A,
        k: &Affine<A::Vector>,
        w: A::Vector,
        mut states: [A::Vector; N],
        g: A::Vector,
    ) -> New<A::Vector, N> {
        let mut h = a.mul(k.gradient, g);
        if DECAY {
            h = a.add(h, a.mul(k.decay, w));
        }
        let mut u = h;
        if let Some(m) = states.first_mut() {
            *m = a.add(a.mul(k.momentum, *m), h);
            u = a.mul(k.rate, *m);
        }
        if EXTRA {
            u = a.add(u, a.mul(k.direct, h));
            u = a.add(u, a.mul(k.shrink, w));
        }
        (a.sub(w, u), states)
    }
}

/// `gradient·(prescale·g) + decay·w` instead of a gradient `g`: here the gradient is written, and the weights are read.
pub(crate) struct Rescale;

impl Formula<0> for Rescale {
    type Scalars<V: Copy> = (V, Affine<V>);

    #[inline(always)]
    fn splat<A: Arithmetic>(a: A, (prescale, k): &(Apart, Affine<Apart>)) -> (A::Vector, Affine<A::Vector>) {
        (a.splat(prescale.0), k.splat(a))
    }

    #[inline(always)]
    fn next<A: Arithmetic>(
        a: A,
        (prescale, k): &(A::Vector, Affine<A::Vector>),
        g: A::Vector,
        _: [A::Vector; 0],
        w: A::Vector,
    ) -> New<A::Vector, 0> {
        let g = a.mul(k.gradient, a.mul(*prescale, g));
        (a.add(g, a.mul(k.decay, w)), [])
    }
}
