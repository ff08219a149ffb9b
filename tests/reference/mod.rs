//! The algorithms in plain `f64`: the readable statement of what the crate computes.
//!
//! Everything here is written for the eye. One loop per formula, no fusion, no SIMD, no care for range beyond what
//! `f64` gives. It shares the configuration types with the crate, and no arithmetic.
//!
//! `contract` is the same to the last bit: the page of the numeric contract, one scalar at a time. `exact` sums as
//! exactly as `f64` can.

#![allow(dead_code)] // Each test uses its own part.

pub mod contract;
pub mod exact;

use layerwise::{
    BiasCorrection, DecayInRatio, DecayMode, GradientAveraging, LarcConfig, LarcMode, LayerConfig, MomentNorm,
    NovoGradConfig, SgdConfig, Step, VInit, ZeroNorm,
};

/// One layer and all that is remembered of it.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub weights: Vec<f64>,
    pub momentum: Vec<f64>,
    pub second_moment: f64,
    pub max_second_moment: f64,
    pub steps: i32,
    /// The sum of the sizes of all terms that made each weight in the last step, and each momentum: what `f32` may
    /// round is in proportion to it.
    pub weight_sizes: Vec<f64>,
    pub momentum_sizes: Vec<f64>,
    /// The largest factor between a weight and what was added to its momentum in the last step.
    pub rate: f64,
}

impl Memory {
    pub fn new(weights: &[f32]) -> Self {
        let weights: Vec<f64> = weights.iter().map(|&w| f64::from(w)).collect();
        Memory { momentum: vec![0.0; weights.len()], weights, ..Memory::default() }
    }

    /// Each weight with its momentum (0 where there is none) and gradient.
    fn all<'a>(&'a self, gradients: &'a [f64]) -> impl Iterator<Item = [f64; 3]> + 'a {
        let momentum = self.momentum.iter().copied().chain(std::iter::repeat(0.0));
        self.weights.iter().zip(momentum).zip(gradients).map(|((w, m), g)| [*w, m, *g])
    }

    /// Replaces weights and momentum by what `new` makes of them, and their sizes by what `size` makes of their
    /// absolute values.
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

/// LARC's factor and the weight decay it leaves.
pub fn larc_factor(config: &LarcConfig, lr: f64, decay: f64, weights: &[f64], gradients: &[f64]) -> (f64, f64) {
    if config.only_with_decay && decay == 0.0 {
        return (1.0, decay);
    }
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
        LarcMode::Scale => (local.max(config.min_update), decay),
        LarcMode::Clip if lr == 0.0 => (1.0, decay),
        LarcMode::Clip => ((local / lr).max(config.min_update).min(1.0), decay),
    }
}

/// The gradients as a rule sees them: scaled, and turned round where it ascends.
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
    let (factor, decay) = match &config.larc {
        Some(larc) if layer.adapt => larc_factor(larc, lr, decay, &memory.weights, &gradients),
        _ => (1.0, decay),
    };
    let first = memory.steps == 0;
    memory.steps += 1;
    let dampening = if first && !config.dampen_first_step { 0.0 } else { config.dampening };
    let (rate_in, rate_out) = if config.rate_in_momentum { (lr, 1.0) } else { (1.0, lr) };
    // The same lines for the numbers and for their sizes.
    let step = |w: f64, m: f64, g: f64, sign: f64| {
        let h = rate_in * factor * (g + decay * w);
        if config.momentum == 0.0 {
            return (w + sign * rate_out * h, 0.0);
        }
        let m = config.momentum * m + (1.0 - dampening) * h;
        let step = if config.nesterov { h + config.momentum * m } else { m };
        (w + sign * rate_out * step, m)
    };
    memory.update(&gradients, |w, m, g| step(w, m, g, -1.0), |w, m, g| step(w, m, g, 1.0));
    memory.rate = rate_out / (1.0 - dampening);
    factor
}

/// NovoGrad's second moment with a new gradient in it.
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

/// One step of NovoGrad.
pub fn novograd(
    config: &NovoGradConfig,
    layer: &LayerConfig,
    step: impl Into<Step>,
    gradients: &[f64],
    memory: &mut Memory,
) {
    let step = step.into();
    let mut lr = step.lr * layer.rate;
    let decay = config.weight_decay * layer.decay;
    let gradients = scaled(gradients, &step, config.maximize);
    let first = memory.steps == 0;
    let v = second_moment(config, &gradients, memory);
    memory.steps += 1;
    let t = memory.steps;

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
        config.beta1 * m + share * h
    };
    let weight_norm = l2_norm(&memory.weights);
    let momentum_norm = l2_norm(&memory.all(&gradients).map(|[w, m, g]| new_momentum(w, m, g)).collect::<Vec<_>>());
    let mut rate = if config.rate_in_momentum { 1.0 / unbias } else { lr / unbias };
    if config.raw_momentum {
        rate = normalised(rate);
    }
    if let Some(luc) = config.luc.filter(|_| layer.adapt) {
        let momentum_norm = momentum_norm + luc.eps;
        if momentum_norm > 0.0 && (weight_norm > 0.0 || luc.freezes_zeros) {
            rate = rate.min(luc.trust * weight_norm / momentum_norm);
        }
    }
    let shrink = match config.decay_mode {
        _ if config.raw_momentum => lr * decay,
        DecayMode::Coupled => 0.0,
        DecayMode::Decoupled => lr * decay,
        DecayMode::Corrected { max_rate } => lr * lr / max_rate * decay,
        DecayMode::Fixed => decay,
    };
    let step = |w: f64, m: f64, g: f64, sign: f64| {
        let m = new_momentum(w, m, g);
        (w + sign * (rate * m + shrink * w), m)
    };
    memory.update(&gradients, |w, m, g| step(w, m, g, -1.0), |w, m, g| step(w, m, g, 1.0));
    memory.rate = rate;
}
