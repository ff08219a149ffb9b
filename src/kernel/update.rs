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

use super::head_len;
use super::join::Join;
use super::norm::{
    LANES, LEAF, Plain, TILE, TILE_LEAVES, Terms, VECTORS, fold_leaves, left_len, summed_leaf, sums_of_squares,
};
use super::zip::{Map, Zip};
use crate::simd::{self, Arithmetic, Kernel, Lanes, One, SCALAR, WIDTH};
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
    fn split_at(self, mid: usize) -> (Slices<'a>, Slices<'a>) {
        let (w1, w2) = self.weights.split_at_mut(mid.min(self.weights.len()));
        let (g1, g2) = self.gradients.split_at(mid.min(self.gradients.len()));
        let (m1, m2) = self.momentum.split_at_mut(mid.min(self.momentum.len()));
        (Slices { weights: w1, gradients: g1, momentum: m1 }, Slices { weights: w2, gradients: g2, momentum: m2 })
    }

    fn reborrow(&mut self) -> Slices<'_> {
        Slices { weights: self.weights, gradients: self.gradients, momentum: self.momentum }
    }

    /// The vectors of weights, gradients and momentum from `at` on, if there are as many elements.
    #[inline(always)]
    fn load<L: Lanes>(&self, lanes: L, at: usize) -> Option<[L::Vector; 3]> {
        let (w, g, m) = (self.weights.get(at..)?, self.gradients.get(at..)?, self.momentum.get(at..)?);
        Some([lanes.load(w.first_chunk()?), lanes.load(g.first_chunk()?), lanes.load(m.first_chunk()?)])
    }

    /// At most a vector of each, padded with zeros.
    #[inline(always)]
    fn load_partial<L: Lanes>(&self, lanes: L) -> [L::Vector; 3] {
        [lanes.load_partial(self.weights), lanes.load_partial(self.gradients), lanes.load_partial(self.momentum)]
    }

    /// At most a vector of each, behind zeros.
    #[inline(always)]
    fn load_last<L: Lanes>(&self, lanes: L) -> [L::Vector; 3] {
        [lanes.load_last(self.weights), lanes.load_last(self.gradients), lanes.load_last(self.momentum)]
    }

    /// Replaces weights and momentum from `at` on.
    #[inline(always)]
    fn store<L: Lanes>(&mut self, lanes: L, at: usize, new: [L::Vector; 2]) {
        for (x, new) in [&mut *self.weights, &mut *self.momentum].into_iter().zip(new) {
            if let Some(x) = x.get_mut(at..).and_then(|x| x.first_chunk_mut()) {
                lanes.store(new, x);
            }
        }
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
            simd::dispatch(Zip { map: Subtract::<false>(k), to, from });
        } else {
            simd::dispatch(Zip { map: Subtract::<true>(k), to, from });
        }
        return 0.0;
    }
    match (k.decay != 0.0, k.direct != 0.0 || k.shrink != 0.0) {
        (false, false) => simd::dispatch(Momentum::<false, false, SUM> { k, slices }),
        (true, false) => simd::dispatch(Momentum::<true, false, SUM> { k, slices }),
        (false, true) => simd::dispatch(Momentum::<false, true, SUM> { k, slices }),
        (true, true) => simd::dispatch(Momentum::<true, true, SUM> { k, slices }),
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
    simd::dispatch(Zip { map: Rescale(k), to: gradients, from: weights });
}

/// The new weights and momentum of old weights, gradients and momentum, with or without the terms of `decay`, and of `direct` and
/// `shrink`.
#[inline(always)]
fn with_momentum<A: Arithmetic>(
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

struct Momentum<'a, const DECAY: bool, const EXTRA: bool, const SUM: bool> {
    k: &'a Coefficients,
    slices: Slices<'a>,
}

impl<const DECAY: bool, const EXTRA: bool, const SUM: bool> Momentum<'_, DECAY, EXTRA, SUM> {
    /// The new weights and momentum of old weights, gradients and momentum.
    #[inline(always)]
    fn updated<L: Lanes>(k: &Coefficients, lanes: L, vectors: [L::Vector; 3]) -> [L::Vector; 2] {
        with_momentum(k, DECAY, EXTRA, lanes, vectors)
    }

    /// Updates one vector and returns the new weights.
    #[inline(always)]
    fn vector<L: Lanes>(
        k: &Coefficients,
        lanes: L,
        weights: &mut [f32; WIDTH],
        gradients: &[f32; WIDTH],
        momentum: &mut [f32; WIDTH],
    ) -> L::Vector {
        let [w, m] = Self::updated(k, lanes, [lanes.load(weights), lanes.load(gradients), lanes.load(momentum)]);
        lanes.store(m, momentum);
        lanes.store(w, weights);
        w
    }

    /// Updates any number of elements, beginning on a cache line where all slices can. With `SUM`, there is at most a leaf, and the
    /// sums of the new weights' squares are returned, in lanes that a norm folds.
    #[inline(always)]
    fn stream<L: Lanes>(k: &Coefficients, lanes: L, mut slices: Slices<'_>) -> [L::Vector; VECTORS] {
        let mut sums = [lanes.splat(0.0); VECTORS];
        let len = slices.weights.len();
        let Some(last) = len.checked_sub(WIDTH) else {
            let [w, m] = Self::updated(k, lanes, slices.load_partial(lanes));
            lanes.store_partial(m, slices.momentum);
            lanes.store_partial(w, slices.weights);
            return [lanes.mul(w, w), lanes.splat(0.0)];
        };
        let head_len = head_len([slices.weights.as_ptr(), slices.gradients.as_ptr(), slices.momentum.as_ptr()], len);
        // Vectors at both ends overlap those between. They are made of the old numbers, so an element gets the same new one twice.
        let old = if head_len > 0 { slices.load(lanes, 0) } else { None };
        let head = old.map(|old| Self::updated(k, lanes, old));
        let old = if (len - head_len).is_multiple_of(WIDTH) { None } else { slices.load(lanes, last) };
        let tail = old.map(|old| Self::updated(k, lanes, old));

        let (before, middle) = slices.reborrow().split_at(head_len);
        if SUM && head_len > 0 {
            let [w, _] = Self::updated(k, lanes, before.load_last(lanes));
            sums[VECTORS - 1] = lanes.mul(w, w);
        }
        let (w_groups, w_rest) = middle.weights.as_chunks_mut::<LANES>();
        let (g_groups, g_rest) = middle.gradients.as_chunks::<LANES>();
        let (m_groups, m_rest) = middle.momentum.as_chunks_mut::<LANES>();
        for ((w, g), m) in w_groups.iter_mut().zip(g_groups).zip(m_groups) {
            let vectors = w.as_chunks_mut().0.iter_mut().zip(g.as_chunks().0).zip(m.as_chunks_mut().0);
            for (((w, g), m), sum) in vectors.zip(&mut sums) {
                let new = Self::vector(k, lanes, w, g, m);
                if SUM {
                    *sum = lanes.add(*sum, lanes.mul(new, new));
                }
            }
        }
        let vectors = w_rest.chunks_mut(WIDTH).zip(g_rest.chunks(WIDTH)).zip(m_rest.chunks_mut(WIDTH));
        for (((weights, gradients), momentum), sum) in vectors.zip(&mut sums) {
            let new = if let (Some(w), Some(g), Some(m)) =
                (weights.first_chunk_mut(), gradients.first_chunk(), momentum.first_chunk_mut())
            {
                Self::vector(k, lanes, w, g, m)
            } else {
                let [w, _] = Self::updated(k, lanes, Slices { weights, gradients, momentum }.load_partial(lanes));
                w
            };
            if SUM {
                *sum = lanes.add(*sum, lanes.mul(new, new));
            }
        }
        if let Some(head) = head {
            slices.store(lanes, 0, head);
        }
        if let Some(tail) = tail {
            slices.store(lanes, last, tail);
        }
        sums
    }

    /// Updates at most a tile and sums the squares of the new weights as a norm would.
    #[inline(always)]
    fn tile<L: Lanes>(k: &Coefficients, lanes: L, mut slices: Slices<'_>) -> f64 {
        let len = slices.weights.len();
        let mut sums = [[0.0]; TILE_LEAVES];
        for sum in sums.iter_mut().take(len.div_ceil(LEAF)) {
            let (mut leaf, rest) = slices.split_at(LEAF);
            let lanes_sums = Self::stream(k, lanes, leaf.reborrow());
            *sum = [summed_leaf(lanes, lanes_sums, leaf.weights)];
            slices = rest;
        }
        let [sum] = fold_leaves(&mut sums, len.div_ceil(LEAF));
        sum
    }
}

impl<const DECAY: bool, const EXTRA: bool, const SUM: bool> Kernel for Momentum<'_, DECAY, EXTRA, SUM> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> f64 {
        let Momentum { k, slices } = self;
        if SUM {
            return Self::tile(k, lanes, slices);
        }
        if SCALAR {
            for ((w, g), m) in slices.weights.iter_mut().zip(slices.gradients).zip(slices.momentum) {
                [*w, *m] = with_momentum(k, DECAY, EXTRA, One, [*w, k.prescale * *g, *m]);
            }
        } else {
            Self::stream(k, lanes, slices);
        }
        0.0
    }
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
