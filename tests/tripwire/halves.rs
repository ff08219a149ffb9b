//! The cases of 16-bit floats. Their names begin with "16 bits".

use crate::cases::{Arrays, LEN, Numbers, hash, hash_words, on, sum_of_squares};
use crate::settings;
use half::{bf16, f16};
use layerwise::rule::{Moments, Rule};
use layerwise::{
    Adam, Backend, CarriedNorms, Floats, FloatsMut, LayerMemory, NovoGrad, Optimizer, Sgd, SgdConfig, SgdState, Step,
    accumulate,
};

/// The arrays of 16 bits that the cases use.
pub struct Halves {
    bf16_gradients: [bf16; LEN],
    f16_gradients: [f16; LEN],
    momentum: [bf16; LEN],
    upper: [bf16; LEN],
    lower: [u16; LEN],
    bf16_copy: [bf16; LEN],
    f16_copy: [f16; LEN],
}

impl Halves {
    pub const ZEROS: Halves = Halves {
        bf16_gradients: [bf16::ZERO; LEN],
        f16_gradients: [f16::ZERO; LEN],
        momentum: [bf16::ZERO; LEN],
        upper: [bf16::ZERO; LEN],
        lower: [0; LEN],
        bf16_copy: [bf16::ZERO; LEN],
        f16_copy: [f16::ZERO; LEN],
    };

    /// Rounds gradients to both types.
    fn set_gradients(&mut self, gradients: &[f32]) {
        for ((to_bf16, to_f16), x) in self.bf16_gradients.iter_mut().zip(&mut self.f16_gradients).zip(gradients) {
            (*to_bf16, *to_f16) = (bf16::from_f32(*x), f16::from_f32(*x));
        }
    }

    fn gradients(&self, of: Type) -> Floats<'_> {
        match of {
            Type::Bf16 => (&self.bf16_gradients).into(),
            Type::F16 => (&self.f16_gradients).into(),
        }
    }

    /// Splits weights into halves.
    fn split(&mut self, weights: &[f32]) {
        for ((upper, lower), w) in self.upper.iter_mut().zip(&mut self.lower).zip(weights) {
            (*upper, *lower) = (bf16::from_bits((w.to_bits() >> 16) as u16), w.to_bits() as u16);
        }
    }

    fn joined(&self) -> impl Iterator<Item = u32> {
        self.upper.iter().zip(&self.lower).map(|(u, l)| u32::from(u.to_bits()) << 16 | u32::from(*l))
    }
}

#[derive(Clone, Copy)]
enum Type {
    Bf16,
    F16,
}

const TYPES: [(Type, [&str; 4]); 2] = [
    (Type::Bf16, ["16 bits of bf16", "bf16 widened", "bf16 copied", "bf16 copied, saturating"]),
    (Type::F16, ["16 bits of f16", "f16 widened", "f16 copied", "f16 copied, saturating"]),
];

pub fn run(arrays: &mut Arrays, backend: Option<Backend>, found: &mut impl FnMut(&str, &str, u64)) {
    for (of, [name, widened, copied, saturating]) in TYPES {
        found(name, widened, hash_widened(arrays, backend, of));
        found(name, copied, hash_copied(arrays, backend, of, false));
        found(name, saturating, hash_copied(arrays, backend, of, true));
        sums(arrays, backend, of, name, found);
    }
    let plain =
        Way { backend, step: Step::new(0.01), gradients: Type::Bf16, bf16_momentum: true, weights: Weights::F32 };
    let scaled = Way { step: plain.step.gradient_scale(0.3), ..plain };
    let split = Way { gradients: Type::F16, bf16_momentum: false, weights: Weights::Split, ..scaled };
    plain.steps("16 bits novograd", NovoGrad::new(settings::NOVOGRAD[1].1).ok(), arrays, found);
    // At a rate high enough for the limit to act.
    let fast = Way { step: Step::new(0.5).gradient_scale(0.3), ..plain };
    fast.steps("16 bits novograd luc", NovoGrad::new(settings::NOVOGRAD[11].1).ok(), arrays, found);
    split.steps("16 bits larc", Sgd::new(settings::SGD[4].1).ok(), arrays, found);
    split.steps("16 bits larc without momentum", Sgd::new(settings::SGD[5].1).ok(), arrays, found);
    split.steps("16 bits lars norm of sum", Sgd::new(settings::SGD[10].1).ok(), arrays, found);
    split.steps("16 bits lamb", Adam::new(settings::ADAM_AND_LAMB[12].1).ok(), arrays, found);
    let adamw = Adam::new(settings::ADAM_AND_LAMB[2].1).ok();
    Way { weights: Weights::Copied(Type::Bf16), ..plain }.steps("16 bits adamw, bf16 copy", adamw, arrays, found);
    Way { weights: Weights::Copied(Type::F16), ..plain }.steps("16 bits adamw, f16 copy", adamw, arrays, found);
    for (name, scale) in [("16 bits scaled up", 1e33), ("16 bits scaled down", 1e-33)] {
        let far = Way { step: plain.step.gradient_scale(scale), ..split };
        far.steps(name, Sgd::new(settings::SGD[3].1).ok(), arrays, found);
    }
}

/// All finite numbers of a type, as gradients of a step that adds them to weights of -0.
fn hash_widened(arrays: &mut Arrays, backend: Option<Backend>, of: Type) -> u64 {
    let Arrays { weights, halves, .. } = arrays;
    let (mut at, mut words) = (0_u32, 0);
    while at < 1 << 16 {
        let finite = |bits: u16, infinity: u16| if bits & 0x7fff < infinity { bits } else { 0 };
        for i in 0..LEN {
            let bits = (at as usize + i) as u16;
            halves.bf16_gradients[i] = bf16::from_bits(finite(bits, 0x7f80));
            halves.f16_gradients[i] = f16::from_bits(finite(bits, 0x7c00));
        }
        weights.fill(-0.0);
        let adding = Sgd::new(SgdConfig { maximize: true, ..SgdConfig::DEFAULT }).ok();
        let mut state = SgdState::default();
        let layer = LayerMemory::new(&mut *weights, halves.gradients(of), &mut state);
        let _ = adding.map(|sgd| on(sgd, backend).step_layer(1.0, layer));
        words ^= hash(weights).rotate_left(at);
        at += LEN as u32;
    }
    words
}

/// Copies of many weights, which a step at a rate of 0 does not change. All NaNs count as equal.
fn hash_copied(arrays: &mut Arrays, backend: Option<Backend>, of: Type, saturating: bool) -> u64 {
    let Arrays { weights, gradients, halves, .. } = arrays;
    gradients.fill(0.0);
    let mut words = 0;
    for part in 0..14 {
        for (i, w) in weights.iter_mut().enumerate() {
            *w = f32::from_bits(((part * LEN + i) as u32).wrapping_mul(0x9e37_79b1));
        }
        let copy: FloatsMut = match of {
            Type::Bf16 => (&mut halves.bf16_copy).into(),
            Type::F16 => (&mut halves.f16_copy).into(),
        };
        let mut state = SgdState::default();
        let layer = LayerMemory::new(&mut *weights, &*gradients, &mut state);
        let layer = if saturating { layer.saturating_copy(copy) } else { layer.copy(copy) };
        let _ = Sgd::new(SgdConfig::DEFAULT).map(|sgd| on(sgd, backend).step_layer(0.0, layer));
        words ^= halves.hash_of_copy(of).rotate_left(part as u32);
    }
    words
}

impl Halves {
    fn hash_of_copy(&self, of: Type) -> u64 {
        let one_nan = |bits: u16, infinity: u16| u32::from(if bits & 0x7fff > infinity { infinity + 1 } else { bits });
        match of {
            Type::Bf16 => hash_words(self.bf16_copy.iter().map(|x| one_nan(x.to_bits(), 0x7f80))),
            Type::F16 => hash_words(self.f16_copy.iter().map(|x| one_nan(x.to_bits(), 0x7c00))),
        }
    }
}

/// Norms of gradients, subnormal ones among them, and their sum.
fn sums(arrays: &mut Arrays, backend: Option<Backend>, of: Type, name: &str, found: &mut impl FnMut(&str, &str, u64)) {
    let Arrays { weights, gradients, halves, .. } = arrays;
    Numbers(8).fill(gradients, |i| 14 - (i % 39) as i32);
    halves.set_gradients(gradients);
    for (what, len) in [("of 1", 1), ("of 31", 31), ("of 1025", 1025), ("of 5000", LEN)] {
        if let Some(gradients) = halves.gradients(of).get(0..len) {
            found(name, what, sum_of_squares(backend, gradients).to_bits());
        }
    }
    Numbers(9).fill(weights, |_| 0);
    let sum = accumulate(&mut *weights, halves.gradients(of), 0.3).map_or(0, f64::to_bits);
    found(name, "accumulated", sum ^ hash(weights));
}

#[derive(Clone, Copy)]
enum Weights {
    F32,
    Split,
    /// With a copy; an `f16` copy saturates.
    Copied(Type),
}

/// How to step a layer.
#[derive(Clone, Copy)]
struct Way {
    backend: Option<Backend>,
    step: Step,
    gradients: Type,
    bf16_momentum: bool,
    weights: Weights,
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
        let largest = if let Weights::Copied(_) = self.weights { 22 } else { 1 };
        Numbers(10).fill(&mut arrays.weights, |i| (i % largest) as i32 - 4);
        arrays.halves.split(&arrays.weights);
        arrays.momentum.fill(0.0);
        arrays.halves.momentum.fill(bf16::ZERO);
        arrays.second_moment.fill(0.0);
        let (mut state, mut norms) = (R::State::default(), CarriedNorms::default());
        let mut reports = 0;
        for step in 0..3 {
            Numbers(11 + step).fill(&mut arrays.gradients, |_| 1);
            arrays.halves.set_gradients(&arrays.gradients);
            let layer = self.layer(optimizer.moments(), arrays, &mut state).norms(&mut norms);
            if let Ok(report) = optimizer.step_layer(self.step, layer) {
                reports ^= report.gradient_norm.to_bits() ^ report.factor.to_bits() ^ report.effective_rate.to_bits();
            }
        }
        found(name, "reports", reports ^ norms.weights().map_or(0, f64::to_bits));
        self.results(name, arrays, found);
    }

    fn layer<'a, S>(&self, moments: Moments, arrays: &'a mut Arrays, state: &'a mut S) -> LayerMemory<'a, S> {
        let Arrays { weights, momentum, second_moment, halves, .. } = arrays;
        let Halves { bf16_gradients, f16_gradients, momentum: of_bf16, upper, lower, bf16_copy, f16_copy } = halves;
        let gradients: Floats = match self.gradients {
            Type::Bf16 => bf16_gradients.into(),
            Type::F16 => f16_gradients.into(),
        };
        let layer = match self.weights {
            Weights::F32 => LayerMemory::new(weights, gradients, state),
            Weights::Split => LayerMemory::new(upper, gradients, state).lower(lower),
            Weights::Copied(Type::Bf16) => LayerMemory::new(weights, gradients, state).copy(bf16_copy),
            Weights::Copied(Type::F16) => LayerMemory::new(weights, gradients, state).saturating_copy(f16_copy),
        };
        let layer = match (moments >= Moments::First, self.bf16_momentum) {
            (true, true) => layer.momentum(of_bf16),
            (true, false) => layer.momentum(momentum),
            (false, _) => layer,
        };
        if moments >= Moments::FirstAndSecond { layer.second_moment(second_moment) } else { layer }
    }

    /// The results of the steps. Arrays that they do not use are zeros.
    fn results(&self, name: &str, arrays: &Arrays, found: &mut impl FnMut(&str, &str, u64)) {
        let halves = &arrays.halves;
        match self.weights {
            Weights::Split => found(name, "weights", hash_words(halves.joined())),
            _ => found(name, "weights", hash(&arrays.weights)),
        }
        if let Weights::Copied(of) = self.weights {
            found(name, "copy", halves.hash_of_copy(of));
        }
        let of_bf16 = hash_words(halves.momentum.iter().map(|m| m.to_bits().into()));
        found(name, "momentum", if self.bf16_momentum { of_bf16 } else { hash(&arrays.momentum) });
        found(name, "second moment", hash(&arrays.second_moment));
    }
}
