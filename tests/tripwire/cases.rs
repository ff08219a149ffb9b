//! The cases of the tripwire: fixed inputs, and the resulting bits. They need no `std`, so firmware can run them.

#[cfg(feature = "half")]
use crate::halves::{self, Halves};
use crate::settings;
use layerwise::pieces::{LEAF, Tree, add, subtree_sums};
use layerwise::rule::{Moments, Rule};
use layerwise::{
    Adam, Backend, CarriedNorms, Floats, LarcConfig, LayerConfig, LayerMemory, NovoGrad, Optimizer, Report, Sgd,
    SgdConfig, SgdState, Step, accumulate,
};

/// The longest array: four leaves and a partial one, so that there is a tree.
pub const LEN: usize = 5000;

/// The arrays that the cases use, in the caller's memory.
pub struct Arrays {
    pub weights: [f32; LEN],
    pub gradients: [f32; LEN],
    pub momentum: [f32; LEN],
    pub second_moment: [f32; LEN],
    #[cfg(feature = "half")]
    pub halves: Halves,
}

impl Arrays {
    pub const ZEROS: Arrays = Arrays {
        weights: [0.0; LEN],
        gradients: [0.0; LEN],
        momentum: [0.0; LEN],
        second_moment: [0.0; LEN],
        #[cfg(feature = "half")]
        halves: Halves::ZEROS,
    };
}

/// Numbers by a linear congruential generator (Knuth's MMIX constants), the same everywhere. All 24 bits of the
/// mantissa are in use, so that any missing or extra rounding shows.
pub struct Numbers(pub u64);

impl Numbers {
    fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// From -2 to 2, but not close to zero; times a power of two.
    pub fn fill(&mut self, to: &mut [f32], exponent: impl Fn(usize) -> i32) {
        for (i, x) in to.iter_mut().enumerate() {
            let bits = self.bits();
            let exponent = (127 + exponent(i)) as u32;
            *x = f32::from_bits(bits & 0x807f_ffff | exponent << 23);
        }
    }
}

/// Hashes the bits of an array into one number (FNV-1a over words), so that any change shows.
pub fn hash(x: &[f32]) -> u64 {
    hash_words(x.iter().map(|x| x.to_bits()))
}

/// The same for words.
pub fn hash_words(words: impl Iterator<Item = u32>) -> u64 {
    words.fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ u64::from(word)).wrapping_mul(0x100_0000_01b3))
}

/// Runs all cases on a backend, or on the crate's choice, and passes the name and bits of each to `found`.
pub fn run(arrays: &mut Arrays, backend: Option<Backend>, mut found: impl FnMut(&str, &str, u64)) {
    norms(arrays, backend, &mut found);
    subnormal(arrays, backend, &mut found);
    nodes(arrays, backend, &mut found);
    let plain = Way {
        numbers: ["weights", "momentum", "second moment", "reports"],
        backend,
        step: Step::new(0.01),
        decay: 1.0,
    };
    for (name, config) in settings::SGD {
        plain.steps(name, Sgd::new(config).ok(), arrays, &mut found);
    }
    for (name, config) in settings::NOVOGRAD {
        plain.steps(name, NovoGrad::new(config).ok(), arrays, &mut found);
    }
    let numbers = ["weights, scaled", "momentum, scaled", "second moment, scaled", "reports, scaled"];
    let scaled = Way { numbers, step: plain.step.gradient_scale(0.3), decay: 0.7, ..plain };
    for (name, config) in settings::SGD {
        scaled.steps(name, Sgd::new(config).ok(), arrays, &mut found);
    }
    for (name, config) in settings::NOVOGRAD {
        scaled.steps(name, NovoGrad::new(config).ok(), arrays, &mut found);
    }
    // If the scalar is far from 1, a power of two moves from it to the gradient.
    for (numbers, scale) in [
        (["weights, scaled up", "momentum, scaled up", "", "reports, scaled up"], 1e33),
        (["weights, scaled down", "momentum, scaled down", "", "reports, scaled down"], 1e-33),
    ] {
        let far = Way { numbers, step: plain.step.gradient_scale(scale), ..scaled };
        for (name, config) in [settings::SGD[0], settings::SGD[3]] {
            far.steps(name, Sgd::new(config).ok(), arrays, &mut found);
        }
    }
    for way in [&plain, &scaled] {
        more_rules(way, arrays, &mut found);
    }
    #[cfg(feature = "half")]
    halves::run(arrays, backend, &mut found);
}

/// Limits of the step, LARC in front of NovoGrad and Adam, second moments, and rules chosen at run time.
fn more_rules(way: &Way, arrays: &mut Arrays, found: &mut impl FnMut(&str, &str, u64)) {
    for (name, config) in settings::SGD_LIMITED {
        way.steps(name, Sgd::new(config).ok(), arrays, found);
    }
    for (name, config) in settings::NOVOGRAD_IN_FRONT {
        way.steps(name, NovoGrad::new(config).ok(), arrays, found);
    }
    for (name, config) in settings::ADAM_AND_LAMB {
        way.steps(name, Adam::new(config).ok(), arrays, found);
    }
    let any_sgd = Sgd::new(settings::SGD[4].1).ok().map(Optimizer::any);
    way.steps("any larc", any_sgd, arrays, found);
    let any_novograd = NovoGrad::new(settings::NOVOGRAD[11].1).ok().map(Optimizer::any);
    way.steps("any novograd luc", any_novograd, arrays, found);
    let any_adam = Adam::new(settings::ADAM_AND_LAMB[12].1).ok().map(Optimizer::any);
    way.steps("any lamb", any_adam, arrays, found);
}

/// The sum of squares on a backend, or on the crate's choice.
pub fn sum_of_squares<'a>(backend: Option<Backend>, x: impl Into<Floats<'a>>) -> f64 {
    match backend {
        Some(backend) => layerwise::on::sum_of_squares(backend, x),
        None => layerwise::sum_of_squares(x),
    }
}

/// Norms of numbers of every size.
fn norms(arrays: &mut Arrays, backend: Option<Backend>, found: &mut impl FnMut(&str, &str, u64)) {
    let Arrays { weights, gradients, .. } = arrays;
    for (name, exponent) in [
        ("ordinary", (|_| 0) as fn(usize) -> i32),
        ("huge", |_| 127),
        ("tiny", |_| -120),
        ("large and small", |i| if i % 3 == 0 { 100 } else { -100 }),
        ("leaf by leaf", |i| if i < 1024 { 90 } else { -90 }),
        // The sum of these leaves needs more bits than an f64 has, so the order of the additions shows.
        ("first leaf large", |i| if i < 1024 { 0 } else { -15 }),
        ("second leaf large", |i| if i / 1024 == 1 { 0 } else { -16 }),
        ("third leaf large", |i| if i / 1024 == 2 { 0 } else { -17 }),
        ("first leaf huge", |i| if i < 1024 { 0 } else { -21 }),
    ] {
        Numbers(1).fill(weights, exponent);
        Numbers(2).fill(gradients, exponent);
        for (what, len) in [("of 1", 1), ("of 31", 31), ("of 1025", 1025), ("of 3000", 3000), ("of 5000", LEN)] {
            found(name, what, sum_of_squares(backend, &weights[..len]).to_bits());
        }
        // At a rate of 0 LARC measures both norms and changes nothing.
        let larc = SgdConfig { larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT };
        let report = plain_step(larc, backend, 0.0, weights, gradients);
        found(name, "two norms", report.weight_norm.to_bits() ^ report.gradient_norm.to_bits());
        let max = match backend {
            Some(backend) => layerwise::on::max_norm(backend, &*weights),
            None => layerwise::max_norm(&*weights),
        };
        found(name, "maximum", max.to_bits().into());
    }
}

/// Sums of the nodes of chunks, and a sum of two arrays.
fn nodes(arrays: &mut Arrays, backend: Option<Backend>, found: &mut impl FnMut(&str, &str, u64)) {
    let Arrays { weights, gradients, .. } = arrays;
    // Leaves of very different sizes, so that the order of the additions shows.
    Numbers(1).fill(weights, |i| -11 * (i / LEAF % 3) as i32);
    Numbers(2).fill(gradients, |_| 0);
    let tree = Tree::of_len(LEN);
    for (name, what, start) in [("nodes", "of 5000", 0), ("nodes", "from 1024", 1), ("nodes", "from 3072", 3)] {
        let (mut sums, chunk) = ([0.0; 3], &weights[start * LEAF..]);
        let nodes = tree.cover(start..tree.leaves());
        let sums = &mut sums[..nodes.len()];
        let done = match backend {
            Some(backend) => layerwise::on::subtree_sums(backend, chunk, LEN, start * LEAF, sums),
            None => subtree_sums(chunk, LEN, start * LEAF, sums),
        };
        let mix = |bits: u64, sum: &f64| bits.rotate_left(9) ^ sum.to_bits();
        found(name, what, done.map_or(0, |()| sums.iter().fold(0, mix)));
    }
    let sum = match backend {
        Some(backend) => layerwise::on::add(backend, &mut *weights, &*gradients),
        None => add(&mut *weights, &*gradients),
    };
    found("nodes", "added", sum.map_or(0, f64::to_bits) ^ hash(weights));
}

/// Subnormal numbers, which would be lost on a machine that flushes them to zero.
fn subnormal(arrays: &mut Arrays, backend: Option<Backend>, found: &mut impl FnMut(&str, &str, u64)) {
    let Arrays { weights, gradients, .. } = arrays;
    for (i, x) in weights.iter_mut().enumerate() {
        *x = f32::from_bits(1 + i as u32);
    }
    found("subnormal", "of 5000", sum_of_squares(backend, &*weights).to_bits());
    Numbers(3).fill(gradients, |_| -126);
    plain_step(SgdConfig::DEFAULT, backend, 0.3, weights, gradients);
    found("subnormal", "update", hash(weights));
    let sum = accumulate(&mut *weights, &*gradients, 0.3).map_or(0, f64::to_bits);
    found("subnormal", "accumulated", sum ^ hash(weights));
}

/// A step without momentum.
fn plain_step(config: SgdConfig, backend: Option<Backend>, lr: f64, weights: &mut [f32], gradients: &[f32]) -> Report {
    let mut state = SgdState::default();
    let layer = LayerMemory::new(weights, gradients, &mut state);
    let report = Sgd::new(config).ok().and_then(|sgd| on(sgd, backend).step_layer(lr, layer).ok());
    report.unwrap_or_default()
}

pub fn on<R: Rule>(optimizer: Optimizer<R>, backend: Option<Backend>) -> Optimizer<R> {
    match backend {
        Some(backend) => optimizer.on(backend),
        None => optimizer,
    }
}

/// How to step a layer.
struct Way {
    /// The names of what is found.
    numbers: [&'static str; 4],
    backend: Option<Backend>,
    step: Step,
    /// The layer's multiplier of the decay.
    decay: f64,
}

impl Way {
    /// Three steps of one layer.
    fn steps<R: Rule>(
        &self,
        name: &str,
        optimizer: Option<Optimizer<R>>,
        arrays: &mut Arrays,
        found: &mut impl FnMut(&str, &str, u64),
    ) {
        let Some(optimizer) = optimizer.map(|optimizer| on(optimizer, self.backend)) else { return };
        let Arrays { weights, gradients, momentum, second_moment, .. } = arrays;
        Numbers(4).fill(weights, |_| -4);
        momentum.fill(0.0);
        second_moment.fill(0.0);
        let momentum = if optimizer.moments() >= Moments::First { &mut momentum[..] } else { &mut [] };
        let second_moment =
            if optimizer.moments() >= Moments::FirstAndSecond { &mut second_moment[..] } else { &mut [] };
        let (mut state, mut norms) = (R::State::default(), CarriedNorms::default());
        let mut reports = 0;
        for step in 0..3 {
            Numbers(5 + step).fill(gradients, |_| 1);
            let layer = LayerMemory::new(&mut *weights, &*gradients, &mut state)
                .momentum(&mut *momentum)
                .second_moment(&mut *second_moment)
                .config(LayerConfig { decay: self.decay, ..LayerConfig::DEFAULT })
                .norms(&mut norms);
            if let Ok(report) = optimizer.step_layer(self.step, layer) {
                reports ^= report.gradient_norm.to_bits() ^ report.factor.to_bits() ^ report.effective_rate.to_bits();
            }
        }
        let [of_weights, of_momentum, of_second_moment, of_reports] = self.numbers;
        found(name, of_weights, hash(weights));
        found(name, of_momentum, hash(momentum));
        if !second_moment.is_empty() {
            found(name, of_second_moment, hash(second_moment));
        }
        found(name, of_reports, reports ^ norms.weights().map_or(0, f64::to_bits));
    }
}
