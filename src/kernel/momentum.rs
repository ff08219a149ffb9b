//! The loop over weights, gradients and momentum, which can sum the squares of the new weights on its way.

use super::head_len;
use super::norm::{LANES, LEAF, TILE_LEAVES, VECTORS, fold_summed_leaves};
use super::update::{Coefficients, Slices, with_momentum};
use crate::lanes::{Kernel, Lanes, One, SCALAR, WIDTH};

/// The update with momentum, with or without the terms of `decay`, and of `direct` and `shrink`. With `SUM`, there is at most a
/// tile, and its output is the sum of squares of the new weights.
pub(super) struct Momentum<'a, const DECAY: bool, const EXTRA: bool, const SUM: bool> {
    pub(super) k: &'a Coefficients,
    pub(super) slices: Slices<'a>,
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

    /// The new weights of at most a vector, padded with zeros. A whole vector is updated; of less than one nothing is stored.
    #[inline(always)]
    fn at_most_a_vector<L: Lanes>(k: &Coefficients, lanes: L, slices: Slices<'_>) -> L::Vector {
        let Slices { weights, gradients, momentum } = slices;
        if let (Some(w), Some(g), Some(m)) =
            (weights.first_chunk_mut(), gradients.first_chunk(), momentum.first_chunk_mut())
        {
            return Self::vector(k, lanes, w, g, m);
        }
        let [w, _] = Self::updated(k, lanes, Slices { weights, gradients, momentum }.load_partial(lanes));
        w
    }

    /// Updates all whole vectors; less than one behind them is left to whoever stores the tail. With `SUM`, adds the squares of all
    /// new weights to sums.
    #[inline(always)]
    fn vectors<L: Lanes>(k: &Coefficients, lanes: L, slices: Slices<'_>, sums: &mut [L::Vector; VECTORS]) {
        let (w_groups, w_rest) = slices.weights.as_chunks_mut::<LANES>();
        let (g_groups, g_rest) = slices.gradients.as_chunks::<LANES>();
        let (m_groups, m_rest) = slices.momentum.as_chunks_mut::<LANES>();
        for ((w, g), m) in w_groups.iter_mut().zip(g_groups).zip(m_groups) {
            let vectors = w.as_chunks_mut().0.iter_mut().zip(g.as_chunks().0).zip(m.as_chunks_mut().0);
            for (((w, g), m), sum) in vectors.zip(&mut *sums) {
                let new = Self::vector(k, lanes, w, g, m);
                if SUM {
                    *sum = lanes.add(*sum, lanes.mul(new, new));
                }
            }
        }
        let vectors = w_rest.chunks_mut(WIDTH).zip(g_rest.chunks(WIDTH)).zip(m_rest.chunks_mut(WIDTH));
        for (((weights, gradients), momentum), sum) in vectors.zip(sums) {
            let new = Self::at_most_a_vector(k, lanes, Slices { weights, gradients, momentum });
            if SUM {
                *sum = lanes.add(*sum, lanes.mul(new, new));
            }
        }
    }

    /// Updates any number of elements, beginning on a cache line where all slices can. With `SUM`, there is at most a tile, and the
    /// sums of the new weights' squares in each leaf are left in `leaves`.
    #[inline(always)]
    fn stream<L: Lanes>(k: &Coefficients, lanes: L, mut slices: Slices<'_>, leaves: &mut [f32; TILE_LEAVES]) {
        let mut sums = [lanes.splat(0.0); VECTORS];
        let len = slices.weights.len();
        let Some(last) = len.checked_sub(WIDTH) else {
            let [w, m] = Self::updated(k, lanes, slices.load_partial(lanes));
            lanes.store_partial(m, slices.momentum);
            lanes.store_partial(w, slices.weights);
            leaves[0] = lanes.fold(lanes.mul(w, w));
            return;
        };
        let head_len = head_len([slices.weights.as_ptr(), slices.gradients.as_ptr(), slices.momentum.as_ptr()], len);
        // Vectors at both ends overlap those between. They are made of the old numbers, so an element gets the same new one twice.
        let old = if head_len > 0 { slices.load(lanes, 0) } else { None };
        let head = old.map(|old| Self::updated(k, lanes, old));
        let old = if (len - head_len).is_multiple_of(WIDTH) { None } else { slices.load(lanes, last) };
        let tail = old.map(|old| Self::updated(k, lanes, old));

        let (before, mut rest) = slices.reborrow().split_at(head_len);
        if SUM {
            // Lanes are turned as in a norm, so a vector may have the end of one leaf and the head of the next.
            if head_len > 0 {
                let [w, _] = Self::updated(k, lanes, before.load_last(lanes));
                sums[VECTORS - 1] = lanes.mul(w, w);
            }
            for leaf in leaves.iter_mut().take(len.div_ceil(LEAF)) {
                let (leaf_slices, behind) = rest.split_at(LEAF);
                let (whole, shared) = leaf_slices.split_at(LEAF - WIDTH);
                rest = behind;
                Self::vectors(k, lanes, whole, &mut sums);
                let [a, mut b] = sums;
                if !shared.weights.is_empty() {
                    let new = Self::at_most_a_vector(k, lanes, shared);
                    // A factor of 0 makes a NaN of an infinity, but then no sum is believed.
                    let ones = [1.0; WIDTH];
                    let (head, end) = ones.split_at(head_len.min(WIDTH));
                    let (end, head) = (lanes.mul(lanes.load_partial(end), new), lanes.mul(lanes.load_last(head), new));
                    b = lanes.add(b, lanes.mul(end, end));
                    sums = [lanes.splat(0.0), lanes.mul(head, head)];
                }
                *leaf = lanes.fold(lanes.add(a, b));
            }
        } else {
            Self::vectors(k, lanes, rest, &mut sums);
        }
        if let Some(head) = head {
            slices.store(lanes, 0, head);
        }
        if let Some(tail) = tail {
            slices.store(lanes, last, tail);
        }
    }
}

impl<const DECAY: bool, const EXTRA: bool, const SUM: bool> Kernel for Momentum<'_, DECAY, EXTRA, SUM> {
    type Output = f64;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> f64 {
        let Momentum { k, mut slices } = self;
        if SCALAR {
            for ((w, g), m) in slices.weights.iter_mut().zip(slices.gradients).zip(slices.momentum) {
                [*w, *m] = with_momentum(k, DECAY, EXTRA, One, [*w, k.prescale * *g, *m]);
            }
            return 0.0;
        }
        let mut leaves = [0.0; TILE_LEAVES];
        Self::stream(k, lanes, slices.reborrow(), &mut leaves);
        if SUM { fold_summed_leaves(lanes, &leaves, slices.weights) } else { 0.0 }
    }
}

impl Slices<'_> {
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
