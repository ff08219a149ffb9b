//! The affine update: the one loop that writes weights and momentum.
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

use super::norm::Terms;
use crate::simd::{self, Kernel, Lanes, WIDTH};

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

/// Elements that are scaled at a time where `prescale` is not 1.
const BLOCK: usize = 4 * WIDTH;

/// Updates weights and momentum. The slices have one length; callers check.
pub(crate) fn with_momentum(k: Coefficients, weights: &mut [f32], gradients: &[f32], momentum: &mut [f32]) {
    if k.prescale != 1.0 {
        let k_scaled = Coefficients { prescale: 1.0, ..k };
        let blocks = weights.chunks_mut(BLOCK).zip(momentum.chunks_mut(BLOCK));
        for ((weights, momentum), gradients) in blocks.zip(gradients.chunks(BLOCK)) {
            let scaled = scaled(gradients, k.prescale);
            with_momentum(k_scaled, weights, scaled.get(..gradients.len()).unwrap_or(&[]), momentum);
        }
        return;
    }
    match (k.decay != 0.0, k.direct != 0.0 || k.shrink != 0.0) {
        (false, false) => simd::dispatch(Momentum::<false, false> { k, weights, gradients, momentum }),
        (true, false) => simd::dispatch(Momentum::<true, false> { k, weights, gradients, momentum }),
        (false, true) => simd::dispatch(Momentum::<false, true> { k, weights, gradients, momentum }),
        (true, true) => simd::dispatch(Momentum::<true, true> { k, weights, gradients, momentum }),
    }
}

/// Updates weights that have no momentum; of `k` only `prescale`, `gradient` and `decay` count. The slices have one
/// length; callers check.
pub(crate) fn without_momentum(k: Coefficients, weights: &mut [f32], gradients: &[f32]) {
    if k.prescale != 1.0 {
        let k_scaled = Coefficients { prescale: 1.0, ..k };
        for (weights, gradients) in weights.chunks_mut(BLOCK).zip(gradients.chunks(BLOCK)) {
            let scaled = scaled(gradients, k.prescale);
            without_momentum(k_scaled, weights, scaled.get(..gradients.len()).unwrap_or(&[]));
        }
        return;
    }
    if k.decay == 0.0 {
        simd::dispatch(Plain::<false> { k, weights, gradients });
    } else {
        simd::dispatch(Plain::<true> { k, weights, gradients });
    }
}

/// Replaces a gradient by `gradient·g + decay·w`. The slices have one length; callers check.
pub(crate) fn rescale(k: Coefficients, gradients: &mut [f32], weights: &[f32]) {
    simd::dispatch(Rescale { k, gradients, weights });
}

/// A block of a gradient times a power of two, padded with zeros.
fn scaled(gradients: &[f32], prescale: f32) -> [f32; BLOCK] {
    let mut block = [0.0; BLOCK];
    for (to, from) in block.iter_mut().zip(gradients) {
        *to = *from * prescale;
    }
    block
}

struct Momentum<'a, const DECAY: bool, const EXTRA: bool> {
    k: Coefficients,
    weights: &'a mut [f32],
    gradients: &'a [f32],
    momentum: &'a mut [f32],
}

impl<const DECAY: bool, const EXTRA: bool> Kernel for Momentum<'_, DECAY, EXTRA> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let [gradient, decay, momentum] = [self.k.gradient, self.k.decay, self.k.momentum].map(|x| lanes.splat(x));
        let [rate, direct, shrink] = [self.k.rate, self.k.direct, self.k.shrink].map(|x| lanes.splat(x));
        let update = |weights: &mut [f32; WIDTH], gradients: &[f32; WIDTH], momenta: &mut [f32; WIDTH]| {
            let w = lanes.load(weights);
            let mut h = lanes.mul(gradient, lanes.load(gradients));
            if DECAY {
                h = lanes.add(h, lanes.mul(decay, w));
            }
            let m = lanes.add(lanes.mul(momentum, lanes.load(momenta)), h);
            let mut u = lanes.mul(rate, m);
            if EXTRA {
                u = lanes.add(lanes.add(u, lanes.mul(direct, h)), lanes.mul(shrink, w));
            }
            lanes.store(m, momenta);
            lanes.store(lanes.sub(w, u), weights);
        };
        let (weights, weights_tail) = self.weights.as_chunks_mut();
        let (gradients, gradients_tail) = self.gradients.as_chunks();
        let (momenta, momenta_tail) = self.momentum.as_chunks_mut();
        for ((weights, gradients), momenta) in weights.iter_mut().zip(gradients).zip(momenta) {
            update(weights, gradients, momenta);
        }
        if !weights_tail.is_empty() {
            let (mut weights, mut momenta) = (padded(weights_tail), padded(momenta_tail));
            update(&mut weights, &padded(gradients_tail), &mut momenta);
            copy(&weights, weights_tail);
            copy(&momenta, momenta_tail);
        }
    }
}

struct Plain<'a, const DECAY: bool> {
    k: Coefficients,
    weights: &'a mut [f32],
    gradients: &'a [f32],
}

impl<const DECAY: bool> Kernel for Plain<'_, DECAY> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let [gradient, decay] = [self.k.gradient, self.k.decay].map(|x| lanes.splat(x));
        zip_vectors(self.weights, self.gradients, |weights, gradients| {
            let w = lanes.load(weights);
            let mut u = lanes.mul(gradient, lanes.load(gradients));
            if DECAY {
                u = lanes.add(u, lanes.mul(decay, w));
            }
            lanes.store(lanes.sub(w, u), weights);
        });
    }
}

struct Rescale<'a> {
    k: Coefficients,
    gradients: &'a mut [f32],
    weights: &'a [f32],
}

impl Kernel for Rescale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let [prescale, gradient, decay] = [self.k.prescale, self.k.gradient, self.k.decay].map(|x| lanes.splat(x));
        zip_vectors(self.gradients, self.weights, |gradients, weights| {
            let g = lanes.mul(gradient, lanes.mul(prescale, lanes.load(gradients)));
            lanes.store(lanes.add(g, lanes.mul(decay, lanes.load(weights))), gradients);
        });
    }
}

/// Runs `update` on the vectors of two slices and, padded with zeros, on what is left over.
#[inline(always)]
fn zip_vectors(to: &mut [f32], from: &[f32], update: impl Fn(&mut [f32; WIDTH], &[f32; WIDTH])) {
    let (to, to_tail) = to.as_chunks_mut();
    let (from, from_tail) = from.as_chunks();
    for (to, from) in to.iter_mut().zip(from) {
        update(to, from);
    }
    if !to_tail.is_empty() {
        let mut last = padded(to_tail);
        update(&mut last, &padded(from_tail));
        copy(&last, to_tail);
    }
}

/// A partial vector, padded with zeros.
#[inline(always)]
fn padded(tail: &[f32]) -> [f32; WIDTH] {
    let mut vector = [0.0; WIDTH];
    copy(tail, &mut vector);
    vector
}

/// Copies as many elements as both slices have.
#[inline(always)]
fn copy(from: &[f32], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// The new momentum that an update would write, for rules that look at its norm first.
#[derive(Clone, Copy)]
pub(crate) struct NewMomentum(pub(crate) Coefficients);

impl Terms<3, 1> for NewMomentum {
    #[inline(always)]
    fn terms<L: Lanes>(self, lanes: L, [weights, gradients, momentum]: [L::Vector; 3]) -> [L::Vector; 1] {
        let k = self.0;
        let g = lanes.mul(lanes.splat(k.prescale), gradients);
        let h = lanes.add(lanes.mul(lanes.splat(k.gradient), g), lanes.mul(lanes.splat(k.decay), weights));
        [lanes.add(lanes.mul(lanes.splat(k.momentum), momentum), h)]
    }
}
