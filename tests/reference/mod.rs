//! The algorithms in plain `f64`: the readable statement of what the crate computes.
//!
//! Everything here is written to be read: one loop per formula, no fusion, no SIMD, and no more range than `f64` has.
//! It shares the configuration types with the crate, but no arithmetic.
//!
//! `contract` states the same to the last bit: the numeric contract, one scalar at a time. `exact` sums as exactly as
//! `f64` can. `cast` converts 32-bit floats to 16 bits and back. `tree` is the tree of every sum. `tolerances` says how
//! far the crate may be from all this.

#![allow(dead_code)] // Each test uses its own part.

pub mod cast;
pub mod contract;
pub mod exact;
pub mod tolerances;
pub mod tree;

use layerwise::{
    AdamConfig, AdamCorrection, AdamDecay, BiasCorrection, DecayInRatio, DecayMode, GradientAveraging, LarcConfig,
    LarcMode, LayerConfig, Luc, MomentNorm, NovoGradConfig, SgdConfig, Step, TrustRatio, VInit, ZeroNorm,
};

/// One layer and everything that is remembered about it.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub weights: Vec<f64>,
    pub momentum: Vec<f64>,
    /// NovoGrad's second moment, one number for the layer.
    pub second_moment: f64,
    pub max_second_moment: f64,
    /// Adam's second moment, one number for each weight.
    pub second_moments: Vec<f64>,
    pub steps: i32,
    /// The sum of the sizes of all terms of each weight in the last step, and of each moment: `f32` rounding errors are
    /// proportional to it.
    pub weight_sizes: Vec<f64>,
    pub momentum_sizes: Vec<f64>,
    pub second_moment_sizes: Vec<f64>,
    /// The same for the step before it is limited, whose norm a rule gets.
    pub step_sizes: Vec<f64>,
    pub planned_step: Vec<f64>,
    /// The largest factor between a weight and what was added to its momentum in the last step.
    pub rate: f64,
}

impl Memory {
    pub fn new(weights: &[f32]) -> Self {
        let weights: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
        let zeros = vec![0.0; weights.len()];
        Memory { momentum: zeros.clone(), second_moments: zeros, weights, ..Memory::default() }
    }

    /// Each weight with its momentum (0 where there is none) and gradient.
    fn all<'a>(&'a self, gradients: &'a [f64]) -> impl Iterator<Item = [f64; 3]> + 'a {
        let momentum = self.momentum.iter().copied().chain(std::iter::repeat(0.0));
        self.weights.iter().zip(momentum).zip(gradients).map(|((w, m), g)| [*w, m, *g])
    }

    /// Keeps a step that is planned, and its size.
    fn plan(&mut self, gradients: &[f64], step: impl Fn(f64, f64, f64) -> f64) {
        let sizes = self.all(gradients).map(|[w, m, g]| step(w.abs(), m.abs(), g.abs())).collect();
        let steps = self.all(gradients).map(|[w, m, g]| step(w, m, g)).collect();
        (self.planned_step, self.step_sizes) = (steps, sizes);
    }

    /// Replaces weights and momentum with the results of `new`, and their sizes with the results of `size` on absolute
    /// values.
    fn update(
        &mut self,
        gradients: &[f64],
        new: impl Fn(f64, f64, f64) -> (f64, f64),
        size: impl Fn(f64, f64, f64) -> (f64, f64),
    ) {
        let sizes = self.all(gradients).map(|[w, m, g]| size(w.abs(), m.abs(), g.abs())).unzip();
        (self.weight_sizes, self.momentum_sizes) = sizes;
        let keeps_momentum = !self.momentum.is_empty();
        (self.weights, self.momentum) = self.all(gradients).map(|[w, m, g]| new(w, m, g)).unzip();
        if !keeps_momentum {
            self.momentum.clear();
        }
    }
}

pub fn l2_norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

pub fn max_norm(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |max, x| x.abs().max(max))
}

/// `rate` limited by LUC, for a layer whose step at rate 1 has this norm.
fn luc_rate(luc: Option<Luc>, rate: f64, weight_norm: f64, step_norm: f64) -> f64 {
    match luc {
        Some(luc) if step_norm + luc.eps > 0.0 && (weight_norm > 0.0 || luc.freezes_zeros) => {
            rate.min(luc.trust * weight_norm / (step_norm + luc.eps))
        }
        _ => rate,
    }
}

/// LARC, if it adapts this layer, whose weight decay is `decay` in whatever way it acts.
fn adapting(larc: &Option<LarcConfig>, layer: &LayerConfig, decay: f64) -> Option<LarcConfig> {
    larc.filter(|larc| layer.adapt && !(larc.only_with_decay && decay == 0.0))
}

/// LARC's factor, and what it leaves of the weight decay that is added to the gradient.
pub fn larc_factor(config: &LarcConfig, lr: f64, decay: f64, weights: &[f64], gradients: &[f64]) -> (f64, f64) {
    let decayed: Vec<f64> = gradients.iter().zip(weights).map(|(g, w)| g + decay * w).collect();
    let gradient_norm = match config.decay_in_ratio {
        DecayInRatio::NormOfSum => l2_norm(&decayed),
        _ => l2_norm(gradients),
    };
    let w = l2_norm(weights).max(config.min_norm);
    let g = gradient_norm.max(config.min_norm);
    let denominator = if config.decay_in_ratio == DecayInRatio::SumOfNorms { g + decay * w } else { g };
    match config.zero_norm {
        ZeroNorm::PlainStep if w == 0.0 || g == 0.0 => return (1.0, decay),
        ZeroNorm::PlainStepWithoutDecay if w == 0.0 || g == 0.0 => return (1.0, 0.0),
        ZeroNorm::PlainStepUnlessDecaying if w == 0.0 || denominator == 0.0 => return (1.0, decay),
        _ => {}
    }
    let local = config.eta * w / (denominator + config.eps);
    match config.mode {
        LarcMode::Scale => (local.max(config.min_update).min(config.max_update.unwrap_or(f64::INFINITY)), decay),
        LarcMode::Clip if lr == 0.0 => (1.0, decay),
        LarcMode::Clip => ((local / lr).max(config.min_update).min(1.0), decay),
    }
}

/// The gradients as a rule sees them: scaled, and negated if it ascends.
fn scaled(gradients: &[f64], step: &Step, maximize: bool) -> Vec<f64> {
    let scale = if maximize { -step.gradient_scale } else { step.gradient_scale };
    gradients.iter().map(|g| scale * g).collect()
}

/// One step of gradient descent; returns LARC's factor.
pub fn sgd(
    config: &SgdConfig,
    layer: &LayerConfig,
    step: impl Into<Step>,
    gradients: &[f64],
    memory: &mut Memory,
) -> f64 {
    let step = step.into();
    let lr = step.lr * layer.rate;
    let decay = config.weight_decay * layer.decay;
    let gradients = scaled(gradients, &step, config.maximize);
    let (factor, decay) = match &adapting(&config.larc, layer, decay) {
        Some(larc) => larc_factor(larc, lr, decay, &memory.weights, &gradients),
        None => (1.0, decay),
    };
    let first = memory.steps == 0;
    memory.steps += 1;
    let dampening = if first && !config.dampen_first_step { 0.0 } else { config.dampening };
    let (rate_in, rate_out) = if config.rate_in_momentum { (lr, 1.0) } else { (1.0, lr) };
    // The step at rate 1, and the new momentum. The same lines for the numbers and for their sizes.
    let step = |w: f64, m: f64, g: f64| {
        let h = rate_in * factor * (g + decay * w);
        if config.momentum == 0.0 {
            return (h, 0.0);
        }
        let m = if first && config.starts_at_gradient { rate_in * g } else { m };
        let m = config.momentum * m + (1.0 - dampening) * h;
        (if config.nesterov { h + config.momentum * m } else { m }, m)
    };
    memory.plan(&gradients, |w, m, g| step(w, m, g).0);
    let luc = config.luc.filter(|_| layer.adapt);
    let rate = luc_rate(luc, rate_out, l2_norm(&memory.weights), l2_norm(&memory.planned_step));
    let next = |w: f64, m: f64, g: f64, sign: f64| {
        let (step, m) = step(w, m, g);
        (w + sign * rate * step, m)
    };
    memory.update(&gradients, |w, m, g| next(w, m, g, -1.0), |w, m, g| next(w, m, g, 1.0));
    memory.rate = rate_out / (1.0 - dampening);
    factor
}

/// NovoGrad's second moment, updated with a new gradient.
fn second_moment(config: &NovoGradConfig, gradients: &[f64], memory: &mut Memory) -> f64 {
    let s = match config.norm {
        MomentNorm::L2 => l2_norm(gradients).powi(2),
        MomentNorm::Max => max_norm(gradients),
    };
    let v = &mut memory.second_moment;
    *v = match config.v_init {
        VInit::WhileZero if *v == 0.0 => s,
        VInit::FirstStep if memory.steps == 0 => s,
        _ => config.beta2 * *v + (1.0 - config.beta2) * s,
    };
    if !config.amsgrad {
        return *v;
    }
    memory.max_second_moment = memory.max_second_moment.max(*v);
    memory.max_second_moment
}

/// One step of NovoGrad; returns LARC's factor.
pub fn novograd(
    config: &NovoGradConfig,
    layer: &LayerConfig,
    step: impl Into<Step>,
    gradients: &[f64],
    memory: &mut Memory,
) -> f64 {
    let step = step.into();
    let mut lr = step.lr * layer.rate;
    let decay = config.weight_decay * layer.decay;
    let mut gradients = scaled(gradients, &step, config.maximize);
    let larc = match &adapting(&config.larc, layer, decay) {
        Some(larc) => larc_factor(larc, lr, 0.0, &memory.weights, &gradients).0,
        None => 1.0,
    };
    gradients.iter_mut().for_each(|g| *g *= larc);
    let first = memory.steps == 0;
    let v = second_moment(config, &gradients, memory);
    memory.steps += 1;
    let t = memory.steps;

    // Before the rate is corrected, which is for the step alone.
    let shrink = match config.decay_mode {
        _ if config.raw_momentum => lr * decay,
        DecayMode::Coupled => 0.0,
        DecayMode::Decoupled => lr * decay,
        DecayMode::Corrected { max_rate } => lr * lr / max_rate * decay,
        DecayMode::Fixed => decay,
    };

    let mut root = match config.norm {
        MomentNorm::L2 => (v + config.eps_root).sqrt(),
        MomentNorm::Max => v + config.eps_root,
    };
    let mut unbias = 1.0;
    match config.bias_correction {
        BiasCorrection::Off => {}
        BiasCorrection::Moments => {
            root /= (1.0 - config.beta2.powi(t)).sqrt();
            unbias = 1.0 - config.beta1.powi(t);
        }
        BiasCorrection::StepSize => lr *= (1.0 - config.beta2.powi(t)).sqrt(),
        BiasCorrection::Rate => lr *= (1.0 - config.beta2.powi(t)).sqrt() / (1.0 - config.beta1.powi(t)),
    }
    let denominator = root + config.eps;
    let normalised = |x: f64| if denominator == 0.0 { 0.0 } else { x / denominator };
    let share = match config.gradient_averaging {
        GradientAveraging::Off => 1.0,
        GradientAveraging::AfterFirstStep if first => 1.0,
        _ => 1.0 - config.beta1,
    };
    let new_momentum = |w: f64, m: f64, g: f64| {
        let mut h = if config.raw_momentum { g } else { normalised(g) };
        if !config.raw_momentum && config.decay_mode == DecayMode::Coupled {
            h += decay * w;
        }
        if config.rate_in_momentum {
            h *= lr;
        }
        let m = if first && config.starts_at_gradient { h } else { m };
        config.beta1 * m + share * h
    };
    memory.plan(&gradients, new_momentum);
    let mut rate = if config.rate_in_momentum { 1.0 / unbias } else { lr / unbias };
    if config.raw_momentum {
        rate = normalised(rate);
    }
    let luc = config.luc.filter(|_| layer.adapt);
    rate = luc_rate(luc, rate, l2_norm(&memory.weights), l2_norm(&memory.planned_step));
    let step = |w: f64, m: f64, g: f64, sign: f64| {
        let m = new_momentum(w, m, g);
        (w + sign * (rate * m + shrink * w), m)
    };
    memory.update(&gradients, |w, m, g| step(w, m, g, -1.0), |w, m, g| step(w, m, g, 1.0));
    memory.rate = rate;
    larc
}

/// LAMB's ratio.
fn trust_ratio(ratio: &TrustRatio, weight_norm: f64, step_norm: f64) -> f64 {
    let weight_norm = weight_norm.min(ratio.max_weights.unwrap_or(f64::INFINITY));
    if weight_norm == 0.0 || step_norm == 0.0 {
        return 1.0;
    }
    (weight_norm / (step_norm + ratio.eps)).min(ratio.max_ratio.unwrap_or(f64::INFINITY))
}

/// One step of Adam, AdamW or LAMB; returns LARC's factor.
pub fn adam(
    config: &AdamConfig,
    layer: &LayerConfig,
    step: impl Into<Step>,
    gradients: &[f64],
    memory: &mut Memory,
) -> f64 {
    let step = step.into();
    let lr = step.lr * layer.rate;
    let decay = config.weight_decay * layer.decay;
    let gradients = scaled(gradients, &step, config.maximize);
    let l2 = if config.decay_mode == AdamDecay::L2 { decay } else { 0.0 };
    let (factor, l2) = match &adapting(&config.larc, layer, decay) {
        Some(larc) => larc_factor(larc, lr, l2, &memory.weights, &gradients),
        None => (1.0, l2),
    };
    let in_update = if config.decay_mode == AdamDecay::InUpdate { decay } else { 0.0 };
    let shrink = match config.decay_mode {
        AdamDecay::L2 | AdamDecay::InUpdate => 0.0,
        AdamDecay::Decoupled => lr * decay,
        AdamDecay::Corrected { max_rate } => lr * lr / max_rate * decay,
        AdamDecay::Fixed => decay,
    };
    memory.steps += 1;
    let c1 = 1.0 - config.beta1.powi(memory.steps);
    let c2 = 1.0 - config.beta2.powi(memory.steps);
    // What momentum, second moment and rate are divided by.
    let (of_m, of_v, of_rate) = match config.bias_correction {
        AdamCorrection::Off => (1.0, 1.0, 1.0),
        AdamCorrection::Moments => (c1, c2, 1.0),
        AdamCorrection::Rate => (1.0, 1.0, c1),
        AdamCorrection::TensorFlow => (c1 / c2.sqrt(), 1.0, 1.0),
    };
    let share = if config.grad_averaging { 1.0 - config.beta1 } else { 1.0 };

    // Element by element: weight, momentum, second moment, step at rate 1, each with its size.
    let elements: Vec<_> = memory
        .all(&gradients)
        .zip(&memory.second_moments)
        .map(|([w, m, g], v)| {
            let h = factor * (g + l2 * w);
            let h_size = factor * (g.abs() + l2 * w.abs());
            let m_size = config.beta1 * m.abs() + share * h_size;
            let m = config.beta1 * m + share * h;
            let v_size = config.beta2 * v + (1.0 - config.beta2) * h_size * h_size;
            let v = config.beta2 * v + (1.0 - config.beta2) * h * h;
            let root = (v / of_v + config.eps_root).sqrt() + config.eps;
            let quotient = |x: f64| if root == 0.0 { 0.0 } else { x / of_m / root };
            let step = quotient(m) + in_update * w;
            let step_size = quotient(m_size) + quotient(m.abs()) * v_size.max(v) / v.max(1e-300) + in_update * w.abs();
            [m, m_size, v, v_size, step, step_size]
        })
        .collect();
    let column = |i: usize| elements.iter().map(|element| element[i]).collect::<Vec<f64>>();
    (memory.momentum, memory.momentum_sizes) = (column(0), column(1));
    (memory.second_moments, memory.second_moment_sizes) = (column(2), column(3));
    (memory.planned_step, memory.step_sizes) = (column(4), column(5));

    let (weight_norm, step_norm) = (l2_norm(&memory.weights), l2_norm(&memory.planned_step));
    let adapts = |ratio: &TrustRatio| layer.adapt && !(ratio.only_with_decay && decay == 0.0);
    let ratio = config.trust_ratio.filter(adapts);
    let ratio = ratio.map_or(1.0, |ratio| trust_ratio(&ratio, weight_norm * (1.0 - shrink).abs(), step_norm));
    let rate = luc_rate(config.luc.filter(|_| layer.adapt), lr / of_rate * ratio, weight_norm, step_norm);
    let next = |(w, element): (&f64, &[f64; 6])| {
        (w - rate * element[4] - shrink * w, w.abs() + rate * element[5] + shrink * w.abs())
    };
    (memory.weights, memory.weight_sizes) = memory.weights.iter().zip(&elements).map(next).unzip();
    memory.rate = rate;
    factor
}
