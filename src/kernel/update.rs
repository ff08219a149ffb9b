//! The affine update, which writes weights and momentum.
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
//! Without momentum it is `w = w − gradient·g`, or `w = w − (gradient·g + decay·w)`.

use super::join::Join;
use super::momentum::Momentum;
use super::norm::{Plain, TILE, Terms, left_len, sums_of_squares};
use super::zip::{Map, Zip};
use crate::lanes::{self, Arithmetic, SCALAR, WIDTH};
use core::array;

/// The scalars of an update, ready for the lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coefficients {
    /// A power of two that the gradient is multiplied by first, so that `gradient` neither overflows nor loses bits.
    /// It is 1 unless the gradient's norm is astronomically large or small.
    pub(crate) prescale: f32,
    pub(crate) gradient: f32,
    pub(crate) decay: f32,
    pub(crate) momentum: f32,
    pub(crate) rate: f32,
    pub(crate) direct: f32,
    pub(crate) shrink: f32,
}

impl Coefficients {
    /// Whether all are finite.
    #[inline]
    pub(crate) fn are_finite(&self) -> bool {
        let Coefficients { prescale: _, gradient, decay, momentum, rate, direct, shrink } = *self;
        // Not in a loop: of settings that are constants nothing is left.
        let of_gradient = gradient.is_finite() && decay.is_finite() && momentum.is_finite();
        of_gradient && rate.is_finite() && direct.is_finite() && shrink.is_finite()
    }
}

/// The memory of (a piece of) a layer: slices of one length, except that `momentum` is empty where there is none; then
/// only `prescale`, `gradient` and `decay` of the coefficients count.
pub(crate) struct Slices<'a> {
    pub(crate) weights: &'a mut [f32],
    pub(crate) gradients: &'a [f32],
    pub(crate) momentum: &'a mut [f32],
}

impl<'a> Slices<'a> {
    /// Two pieces, cut at `mid` or where the slices end.
    #[inline(always)]
    pub(super) fn split_at(self, mid: usize) -> (Slices<'a>, Slices<'a>) {
        let (w1, w2) = self.weights.split_at_mut(mid.min(self.weights.len()));
        let (g1, g2) = self.gradients.split_at(mid.min(self.gradients.len()));
        let (m1, m2) = self.momentum.split_at_mut(mid.min(self.momentum.len()));
        (Slices { weights: w1, gradients: g1, momentum: m1 }, Slices { weights: w2, gradients: g2, momentum: m2 })
    }

    /// The same for a shorter time.
    pub(super) fn reborrow(&mut self) -> Slices<'_> {
        Slices { weights: self.weights, gradients: self.gradients, momentum: self.momentum }
    }
}

/// Elements that are scaled at a time where `prescale` is not 1.
const BLOCK: usize = 4 * WIDTH;

/// Updates weights and momentum.
pub(crate) fn apply(join: Join, k: &Coefficients, slices: Slices<'_>) {
    let len = slices.weights.len();
    if join.of(len) == Join::Serial {
        update::<false>(k, slices);
        return;
    }
    let (left, right) = slices.split_at(left_len(len));
    join.join(|| apply(join, k, left), || apply(join, k, right));
}

/// [`apply`], and the sum of squares of the new weights.
pub(crate) fn apply_and_sum(join: Join, k: &Coefficients, mut slices: Slices<'_>) -> f64 {
    let len = slices.weights.len();
    if len > TILE {
        let (left, right) = slices.split_at(left_len(len));
        let join = join.of(len);
        let (left, right) = join.join(|| apply_and_sum(join, k, left), || apply_and_sum(join, k, right));
        return left + right;
    }
    if SCALAR || k.prescale != 1.0 || slices.momentum.is_empty() {
        update::<false>(k, slices.reborrow());
        let [sum] = sums_of_squares(Join::Serial, Plain, [&*slices.weights]);
        return sum;
    }
    update::<true>(k, slices)
}

/// Runs the loop of the form that the coefficients have. With `SUM`, returns the sum of squares of the new weights of at
/// most a tile; callers see to it that there is momentum and that `prescale` is 1.
#[inline]
fn update<const SUM: bool>(k: &Coefficients, slices: Slices<'_>) -> f64 {
    // One by one, a multiplication by 1 costs less than code for the case that it is not 1.
    if k.prescale != 1.0 && !SCALAR {
        update_prescaled(k, slices);
        return 0.0;
    }
    if slices.momentum.is_empty() {
        let Slices { weights: to, gradients: from, .. } = slices;
        if k.decay == 0.0 {
            lanes::dispatch(Zip { map: Subtract::<false>(k), to, from });
        } else {
            lanes::dispatch(Zip { map: Subtract::<true>(k), to, from });
        }
        return 0.0;
    }
    match (k.decay != 0.0, k.direct != 0.0 || k.shrink != 0.0) {
        (false, false) => lanes::dispatch(Momentum::<false, false, SUM> { k, slices }),
        (true, false) => lanes::dispatch(Momentum::<true, false, SUM> { k, slices }),
        (false, true) => lanes::dispatch(Momentum::<false, true, SUM> { k, slices }),
        (true, true) => lanes::dispatch(Momentum::<true, true, SUM> { k, slices }),
    }
}

/// Multiplies the gradient by a power of two, block by block, and updates with the rest of the coefficients.
#[cold]
fn update_prescaled(k: &Coefficients, mut slices: Slices<'_>) {
    let k_scaled = &Coefficients { prescale: 1.0, ..*k };
    while !slices.weights.is_empty() {
        let (block, rest) = slices.split_at(BLOCK);
        let scaled: [f32; BLOCK] = array::from_fn(|i| block.gradients.get(i).map_or(0.0, |g| g * k.prescale));
        let gradients = scaled.get(..block.gradients.len()).unwrap_or(&[]);
        update::<false>(k_scaled, Slices { gradients, ..block });
        slices = rest;
    }
}

/// Replaces a gradient by `gradient·g + decay·w`. The slices have one length; callers check.
pub(crate) fn rescale(k: &Coefficients, gradients: &mut [f32], weights: &[f32]) {
    lanes::dispatch(Zip { map: Rescale(k), to: gradients, from: weights });
}

/// The new weights and momentum of old weights, gradients and momentum, with or without the terms of `decay`, and of `direct` and
/// `shrink`.
#[inline(always)]
pub(super) fn with_momentum<A: Arithmetic>(
    k: &Coefficients,
    decay: bool,
    extra: bool,
    a: A,
    [w, g, m]: [A::Vector; 3],
) -> [A::Vector; 2] {
    let mut h = a.mul(a.splat(k.gradient), g);
    if decay {
        h = a.add(h, a.mul(a.splat(k.decay), w));
    }
    let m = a.add(a.mul(a.splat(k.momentum), m), h);
    let mut u = a.mul(a.splat(k.rate), m);
    if extra {
        u = a.add(u, a.mul(a.splat(k.direct), h));
        u = a.add(u, a.mul(a.splat(k.shrink), w));
    }
    [a.sub(w, u), m]
}

/// The new weights of old weights and gradients, with or without the term of `decay`.
#[inline(always)]
fn without_momentum<A: Arithmetic>(k: &Coefficients, decay: bool, a: A, [w, g]: [A::Vector; 2]) -> A::Vector {
    let mut u = a.mul(a.splat(k.gradient), g);
    if decay {
        u = a.add(u, a.mul(a.splat(k.decay), w));
    }
    a.sub(w, u)
}

/// `w − (gradient·g + decay·w)`.
struct Subtract<'a, const DECAY: bool>(&'a Coefficients);

impl<const DECAY: bool> Map for Subtract<'_, DECAY> {
    #[inline(always)]
    fn map<A: Arithmetic>(&self, lanes: A, weights: A::Vector, gradients: A::Vector) -> A::Vector {
        let k = self.0;
        let gradients = if SCALAR { lanes.mul(lanes.splat(k.prescale), gradients) } else { gradients };
        without_momentum(k, DECAY, lanes, [weights, gradients])
    }
}

/// `gradient·g + decay·w`.
struct Rescale<'a>(&'a Coefficients);

impl Map for Rescale<'_> {
    #[inline(always)]
    fn map<A: Arithmetic>(&self, lanes: A, gradients: A::Vector, weights: A::Vector) -> A::Vector {
        let k = self.0;
        let g = lanes.mul(lanes.splat(k.gradient), lanes.mul(lanes.splat(k.prescale), gradients));
        lanes.add(g, lanes.mul(lanes.splat(k.decay), weights))
    }
}

/// The new momentum that an update would write, for rules that look at its norm first.
#[derive(Clone, Copy)]
pub(crate) struct NewMomentum<'a>(pub(crate) &'a Coefficients);

impl Terms<3, 1> for NewMomentum<'_> {
    #[inline(always)]
    fn terms<A: Arithmetic>(self, lanes: A, [weights, gradients, momentum]: [A::Vector; 3]) -> [A::Vector; 1] {
        let k = self.0;
        let g = lanes.mul(lanes.splat(k.prescale), gradients);
        let h = lanes.add(lanes.mul(lanes.splat(k.gradient), g), lanes.mul(lanes.splat(k.decay), weights));
        [lanes.add(lanes.mul(lanes.splat(k.momentum), momentum), h)]
    }
}
