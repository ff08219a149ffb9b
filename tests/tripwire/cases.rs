//! The cases of the tripwire: fixed inputs, and the bits that come of them. Needs no `std`, so that firmware can run it.

use crate::settings;
use layerwise::{
    CarriedNorms, Layer, LayerView, NovoGrad, Optimizer, Rule, Sgd, Update, accumulate, l2_norms, max_norm,
    sum_of_squares,
};

/// The longest array: four leaves and a part, so that there is a tree.
pub const LEN: usize = 5000;

/// The arrays that the cases use, in the caller's memory.
pub struct Arrays {
    pub weights: [f32; LEN],
    pub gradients: [f32; LEN],
    pub momentum: [f32; LEN],
}

impl Arrays {
    pub const ZEROS: Arrays = Arrays { weights: [0.0; LEN], gradients: [0.0; LEN], momentum: [0.0; LEN] };
}

/// Numbers by a linear congruential generator (Knuth's MMIX constants), the same everywhere. All 24 bits of a mantissa are
/// in use, so that any rounding that is left out or added shows.
struct Numbers(u64);

impl Numbers {
    fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// From -2 to 2, but not close to zero; times a power of two.
    fn fill(&mut self, to: &mut [f32], exponent: impl Fn(usize) -> i32) {
        for (i, x) in to.iter_mut().enumerate() {
            let bits = self.bits();
            let exponent = (127 + exponent(i)) as u32;
            *x = f32::from_bits(bits & 0x807f_ffff | exponent << 23);
        }
    }
}

/// Mixes the bits of an array into one number (FNV-1a over words), so that no change goes unseen.
fn hash(x: &[f32]) -> u64 {
    x.iter().fold(0xcbf2_9ce4_8422_2325, |hash, x| (hash ^ u64::from(x.to_bits())).wrapping_mul(0x100_0000_01b3))
}

/// Runs all cases and tells `found` the name of each and its bits.
pub fn run(arrays: &mut Arrays, mut found: impl FnMut(&str, &str, u64)) {
    let Arrays { weights, gradients, .. } = arrays;
    for (name, exponent) in [
        ("ordinary", (|_| 0) as fn(usize) -> i32),
        ("huge", |_| 127),
        ("tiny", |_| -120),
        ("large and small", |i| if i % 3 == 0 { 100 } else { -100 }),
        ("leaf by leaf", |i| if i < 1024 { 90 } else { -90 }),
        // The sums of these leaves add up to more bits than an f64 has, so the order in which they are added shows.
        ("first leaf large", |i| if i < 1024 { 0 } else { -15 }),
        ("second leaf large", |i| if i / 1024 == 1 { 0 } else { -16 }),
        ("third leaf large", |i| if i / 1024 == 2 { 0 } else { -17 }),
    ] {
        Numbers(1).fill(weights, exponent);
        Numbers(2).fill(gradients, exponent);
        for (what, len) in [("of 1", 1), ("of 31", 31), ("of 1025", 1025), ("of 3000", 3000), ("of 5000", LEN)] {
            found(name, what, sum_of_squares(&weights[..len]).to_bits());
        }
        let both = l2_norms(weights, gradients).map_or(0, |[w, g]| w.to_bits() ^ g.to_bits());
        found(name, "two norms", both);
        found(name, "maximum", max_norm(weights).to_bits().into());
    }
    // Subnormal numbers, which a machine that flushes them would lose.
    for (i, x) in weights.iter_mut().enumerate() {
        *x = f32::from_bits(1 + i as u32);
    }
    found("subnormal", "of 5000", sum_of_squares(weights).to_bits());
    Numbers(3).fill(gradients, |_| -126);
    let shrink = Update { gradient: 0.3, direct: 1.0, ..Update::NONE };
    let shrunk = shrink.apply(weights, gradients).map_or(0, |()| hash(weights));
    found("subnormal", "update", shrunk);
    let sum = accumulate(weights, gradients, 0.3).map_or(0, f64::to_bits);
    found("subnormal", "accumulated", sum ^ hash(weights));

    for (name, config) in settings::SGD {
        if let Ok(optimizer) = Sgd::new(config) {
            steps(name, &optimizer, arrays, &mut found);
        }
    }
    for (name, config) in settings::NOVOGRAD {
        if let Ok(optimizer) = NovoGrad::new(config) {
            steps(name, &optimizer, arrays, &mut found);
        }
    }
}

/// Three steps of one layer.
fn steps<R: Rule>(name: &str, optimizer: &Optimizer<R>, arrays: &mut Arrays, found: &mut impl FnMut(&str, &str, u64)) {
    let Arrays { weights, gradients, momentum } = arrays;
    Numbers(4).fill(weights, |_| -4);
    momentum.fill(0.0);
    let momentum = &mut momentum[..optimizer.momentum_len(LEN)];
    let (mut state, mut norms) = (R::State::default(), CarriedNorms::default());
    let mut reports = 0;
    for step in 0..3 {
        Numbers(5 + step).fill(gradients, |_| 1);
        let view = LayerView {
            layer: Layer::DEFAULT,
            weights: weights.as_mut_slice(),
            gradients: gradients.as_slice(),
            momentum: &mut *momentum,
            state: &mut state,
            norms: Some(&mut norms),
        };
        if let Ok(report) = optimizer.step_view(0.01, view) {
            reports ^= report.gradient_norm.to_bits() ^ report.factor.to_bits() ^ report.effective_rate.to_bits();
        }
    }
    found(name, "weights", hash(weights));
    found(name, "momentum", hash(momentum));
    found(name, "reports", reports ^ norms.weights().map_or(0, f64::to_bits));
}
