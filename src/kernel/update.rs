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

use super::copy;
use super::norm::{
    LEAF, Plain, TILE, TILE_LEAVES, Terms, VECTORS, fold_leaves, left_len, summed_leaf, sums_of_squares,
};
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
        simd::dispatch(Zip { map: Subtract::<false>(k), to: weights, from: gradients });
    } else {
        simd::dispatch(Zip { map: Subtract::<true>(k), to: weights, from: gradients });
    }
}

/// [`with_momentum`], and the sum of squares of the new weights.
pub(crate) fn with_momentum_and_sum(
    k: Coefficients,
    weights: &mut [f32],
    gradients: &[f32],
    momentum: &mut [f32],
) -> f64 {
    let len = weights.len();
    if len > TILE {
        let mid = left_len(len);
        if let (Some((w1, w2)), Some((g1, g2)), Some((m1, m2))) =
            (weights.split_at_mut_checked(mid), gradients.split_at_checked(mid), momentum.split_at_mut_checked(mid))
        {
            return with_momentum_and_sum(k, w1, g1, m1) + with_momentum_and_sum(k, w2, g2, m2);
        }
    }
    // To sum while updating, vectors must begin where leaves do. An update that gains more by beginning on a cache line
    // is followed by the sum, while the tile is in the level-2 cache.
    let peels = head_len([weights.as_ptr(), gradients.as_ptr(), momentum.as_ptr()], len) > 0;
    if peels || k.prescale != 1.0 {
        with_momentum(k, weights, gradients, momentum);
        let [sum] = sums_of_squares(Plain, [&*weights]);
        return sum;
    }
    match (k.decay != 0.0, k.direct != 0.0 || k.shrink != 0.0) {
        (false, false) => simd::dispatch(AndSum(Momentum::<false, false> { k, weights, gradients, momentum })),
        (true, false) => simd::dispatch(AndSum(Momentum::<true, false> { k, weights, gradients, momentum })),
        (false, true) => simd::dispatch(AndSum(Momentum::<false, true> { k, weights, gradients, momentum })),
        (true, true) => simd::dispatch(AndSum(Momentum::<true, true> { k, weights, gradients, momentum })),
    }
}

/// [`without_momentum`], and the sum of squares of the new weights.
pub(crate) fn without_momentum_and_sum(k: Coefficients, weights: &mut [f32], gradients: &[f32]) -> f64 {
    let len = weights.len();
    if len > TILE {
        let mid = left_len(len);
        if let (Some((w1, w2)), Some((g1, g2))) = (weights.split_at_mut_checked(mid), gradients.split_at_checked(mid)) {
            return without_momentum_and_sum(k, w1, g1) + without_momentum_and_sum(k, w2, g2);
        }
    }
    without_momentum(k, weights, gradients);
    let [sum] = sums_of_squares(Plain, [&*weights]);
    sum
}

/// Replaces a gradient by `gradient·g + decay·w`. The slices have one length; callers check.
pub(crate) fn rescale(k: Coefficients, gradients: &mut [f32], weights: &[f32]) {
    simd::dispatch(Zip { map: Rescale(k), to: gradients, from: weights });
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

impl<const DECAY: bool, const EXTRA: bool> Momentum<'_, DECAY, EXTRA> {
    /// Updates one vector and returns the new weights.
    #[inline(always)]
    fn update<L: Lanes>(
        k: &Coefficients,
        lanes: L,
        weights: &mut [f32; WIDTH],
        gradients: &[f32; WIDTH],
        momentum: &mut [f32; WIDTH],
    ) -> L::Vector {
        let w = lanes.load(weights);
        let mut h = lanes.mul(lanes.splat(k.gradient), lanes.load(gradients));
        if DECAY {
            h = lanes.add(h, lanes.mul(lanes.splat(k.decay), w));
        }
        let m = lanes.add(lanes.mul(lanes.splat(k.momentum), lanes.load(momentum)), h);
        let mut u = lanes.mul(lanes.splat(k.rate), m);
        if EXTRA {
            u = lanes.add(u, lanes.mul(lanes.splat(k.direct), h));
            u = lanes.add(u, lanes.mul(lanes.splat(k.shrink), w));
        }
        lanes.store(m, momentum);
        let w = lanes.sub(w, u);
        lanes.store(w, weights);
        w
    }

    /// Updates less than a vector and returns the new weights, padded with zeros.
    #[inline(always)]
    fn update_partial<L: Lanes>(
        k: &Coefficients,
        lanes: L,
        weights: &mut [f32],
        gradients: &[f32],
        momentum: &mut [f32],
    ) -> L::Vector {
        if weights.is_empty() {
            return lanes.splat(0.0);
        }
        let (mut w, mut m) = (padded(weights), padded(momentum));
        let new = Self::update(k, lanes, &mut w, &padded(gradients), &mut m);
        copy(&w, weights);
        copy(&m, momentum);
        new
    }
}

impl<const DECAY: bool, const EXTRA: bool> Kernel for Momentum<'_, DECAY, EXTRA> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let k = &self.k;
        let addresses = [self.weights.as_ptr(), self.gradients.as_ptr(), self.momentum.as_ptr()];
        let head = head_len(addresses, self.weights.len());
        let Some((weights_head, weights)) = self.weights.split_at_mut_checked(head) else { return };
        let Some((gradients_head, gradients)) = self.gradients.split_at_checked(head) else { return };
        let Some((momentum_head, momentum)) = self.momentum.split_at_mut_checked(head) else { return };
        Self::update_partial(k, lanes, weights_head, gradients_head, momentum_head);
        let (weights, weights_tail) = weights.as_chunks_mut();
        let (gradients, gradients_tail) = gradients.as_chunks();
        let (momentum, momentum_tail) = momentum.as_chunks_mut();
        for ((weights, gradients), momentum) in weights.iter_mut().zip(gradients).zip(momentum) {
            Self::update(k, lanes, weights, gradients, momentum);
        }
        Self::update_partial(k, lanes, weights_tail, gradients_tail, momentum_tail);
    }
}

/// An update of at most a tile that sums the squares of the new weights as a norm would.
struct AndSum<U>(U);

impl<const DECAY: bool, const EXTRA: bool> Kernel for AndSum<Momentum<'_, DECAY, EXTRA>> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> f64 {
        let Momentum { k, weights, gradients, momentum } = self.0;
        let leaves = weights.len().div_ceil(LEAF);
        let mut sums = [[0.0]; TILE_LEAVES];
        let parts = weights.chunks_mut(LEAF).zip(gradients.chunks(LEAF)).zip(momentum.chunks_mut(LEAF));
        for (((weights, gradients), momentum), sum) in parts.zip(&mut sums) {
            let mut squares = [lanes.splat(0.0); VECTORS];
            let (vectors, weights_tail) = weights.as_chunks_mut();
            let (groups, last) = vectors.as_chunks_mut::<VECTORS>();
            let (g_vectors, gradients_tail) = gradients.as_chunks();
            let (g_groups, g_last) = g_vectors.as_chunks::<VECTORS>();
            let (m_vectors, momentum_tail) = momentum.as_chunks_mut();
            let (m_groups, m_last) = m_vectors.as_chunks_mut::<VECTORS>();
            for ((w, g), m) in groups.iter_mut().zip(g_groups).zip(m_groups) {
                for v in 0..VECTORS {
                    let new = Momentum::<DECAY, EXTRA>::update(&k, lanes, &mut w[v], &g[v], &mut m[v]);
                    squares[v] = lanes.add(squares[v], lanes.mul(new, new));
                }
            }
            if let ([w], [g], [m]) = (last, g_last, m_last) {
                let new = Momentum::<DECAY, EXTRA>::update(&k, lanes, w, g, m);
                squares[0] = lanes.add(squares[0], lanes.mul(new, new));
            }
            let whole = g_vectors.len() % VECTORS;
            let new = Momentum::<DECAY, EXTRA>::update_partial(&k, lanes, weights_tail, gradients_tail, momentum_tail);
            squares[whole] = lanes.add(squares[whole], lanes.mul(new, new));
            *sum = [summed_leaf(lanes, squares, weights)];
        }
        let [sum] = fold_leaves(&mut sums, leaves);
        sum
    }
}

/// What a loop over two arrays, one of which it writes, does to a vector.
trait Map {
    /// The new value of the vector that is written.
    fn map<L: Lanes>(&self, lanes: L, to: L::Vector, from: L::Vector) -> L::Vector;
}

/// `w − (gradient·g + decay·w)`.
struct Subtract<const DECAY: bool>(Coefficients);

impl<const DECAY: bool> Map for Subtract<DECAY> {
    #[inline(always)]
    fn map<L: Lanes>(&self, lanes: L, weights: L::Vector, gradients: L::Vector) -> L::Vector {
        let mut u = lanes.mul(lanes.splat(self.0.gradient), gradients);
        if DECAY {
            u = lanes.add(u, lanes.mul(lanes.splat(self.0.decay), weights));
        }
        lanes.sub(weights, u)
    }
}

/// `gradient·g + decay·w`.
struct Rescale(Coefficients);

impl Map for Rescale {
    #[inline(always)]
    fn map<L: Lanes>(&self, lanes: L, gradients: L::Vector, weights: L::Vector) -> L::Vector {
        let k = &self.0;
        let g = lanes.mul(lanes.splat(k.gradient), lanes.mul(lanes.splat(k.prescale), gradients));
        lanes.add(g, lanes.mul(lanes.splat(k.decay), weights))
    }
}

struct Zip<'a, M> {
    map: M,
    to: &'a mut [f32],
    from: &'a [f32],
}

impl<M: Map> Zip<'_, M> {
    /// Maps less than a vector.
    #[inline(always)]
    fn map_partial<L: Lanes>(map: &M, lanes: L, to: &mut [f32], from: &[f32]) {
        if !to.is_empty() {
            let mut vector = padded(to);
            lanes.store(map.map(lanes, lanes.load(&vector), lanes.load(&padded(from))), &mut vector);
            copy(&vector, to);
        }
    }
}

impl<M: Map> Kernel for Zip<'_, M> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let head = head_len([self.to.as_ptr(), self.from.as_ptr()], self.to.len());
        let Some((to_head, to)) = self.to.split_at_mut_checked(head) else { return };
        let Some((from_head, from)) = self.from.split_at_checked(head) else { return };
        Self::map_partial(&self.map, lanes, to_head, from_head);
        let (to, to_tail) = to.as_chunks_mut();
        let (from, from_tail) = from.as_chunks();
        for (to, from) in to.iter_mut().zip(from) {
            lanes.store(self.map.map(lanes, lanes.load(to), lanes.load(from)), to);
        }
        Self::map_partial(&self.map, lanes, to_tail, from_tail);
    }
}

/// How many elements to update before the rest of every slice begins on a cache line: 0 where the slices have different
/// alignments, or are too short for it to matter.
///
/// An update may be cut anywhere, for every element is computed alone. (A norm may not: its lanes go by index.)
#[inline(always)]
fn head_len<const N: usize>(slices: [*const f32; N], len: usize) -> usize {
    const LINE: usize = 64;
    let offset = slices.first().map_or(0, |slice| slice.addr() % LINE);
    if len < 16 * WIDTH || slices.iter().any(|slice| slice.addr() % LINE != offset) {
        return 0;
    }
    (LINE - offset) % LINE / size_of::<f32>()
}

/// A partial vector, padded with zeros.
#[inline(always)]
fn padded(tail: &[f32]) -> [f32; WIDTH] {
    let mut vector = [0.0; WIDTH];
    copy(tail, &mut vector);
    vector
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
