//! The numeric contract, one scalar at a time: what every backend and every way through the crate must give, bit for
//! bit.

use layerwise::rule::{GradientNorm, Needs, Norms, Plan, Rule, StepNorm, Update};
use layerwise::{LayerConfig, Outcome, Policy, Report, Step};

const LEAF: usize = 1024;
const LANES: usize = 32;

/// Leaves, then the tree.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    if x.len() <= LEAF {
        return leaf(x);
    }
    let leaves = x.len().div_ceil(LEAF);
    let left = leaves.next_power_of_two() / 2 * LEAF;
    sum_of_squares(&x[..left]) + sum_of_squares(&x[left..])
}

/// The sum of squares of one leaf.
pub fn leaf(x: &[f32]) -> f64 {
    let two = |exponent: i32| 2f64.powi(exponent);
    let sum = lanes(x, 1.0);
    if !sum.is_finite() {
        return f64::from(lanes(x, two(-70) as f32)) * two(140);
    }
    if f64::from(sum) < two(-100) {
        return f64::from(lanes(x, two(96) as f32)) * two(-192);
    }
    f64::from(sum)
}

fn lanes(x: &[f32], scale: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for (i, x) in x.iter().enumerate() {
        let scaled = scale * x;
        let square = scaled * scaled;
        lanes[i % LANES] += square;
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

/// The largest absolute value; NaN if there is a NaN.
pub fn max_norm(x: &[f32]) -> f32 {
    if x.iter().any(|x| x.is_nan()) {
        return f32::NAN;
    }
    x.iter().fold(0.0_f32, |max, x| max.max(x.abs()))
}

/// One element of an update: new weight and new momentum, in the written order.
pub fn update(update: &Update, w: f32, g: f32, m: f32) -> (f32, f32) {
    let (gradient, g) = scaled(update.gradient, g);
    let [decay, momentum, rate, direct, shrink] =
        [update.decay, update.momentum, update.rate, update.direct, update.shrink].map(|x| x as f32);
    let mut h = gradient * g;
    if decay != 0.0 {
        h += decay * w;
    }
    let kept = momentum * m;
    let m = kept + h;
    let mut u = rate * m;
    if direct != 0.0 || shrink != 0.0 {
        u += direct * h;
        u += shrink * w;
    }
    (w - u, m)
}

/// The same without momentum.
pub fn plain_update(update: &Update, w: f32, g: f32) -> f32 {
    let rate = update.rate + update.direct;
    let (gradient, g) = scaled(rate * update.gradient, g);
    let decay = (rate * update.decay + update.shrink) as f32;
    let mut u = gradient * g;
    if decay != 0.0 {
        u += decay * w;
    }
    w - u
}

/// `gradient·g + decay·w`, which replaces a gradient.
pub fn rescaled(update: &Update, w: f32, g: f32) -> f32 {
    let (gradient, g) = scaled(update.gradient, g);
    let mut h = gradient * g;
    h += update.decay as f32 * w;
    h
}

/// A coefficient of the gradient in `f32`, and the gradient; where the coefficient is too large or too small for
/// products that keep all their bits, a power of two passes from one to the other.
fn scaled(coefficient: f64, g: f32) -> (f32, f32) {
    let two = |exponent: i32| 2f64.powi(exponent);
    if coefficient.abs() > two(100) {
        return ((coefficient / two(90)) as f32, two(90) as f32 * g);
    }
    if coefficient.abs() < two(-100) && coefficient != 0.0 {
        return ((coefficient * two(90)) as f32, two(-90) as f32 * g);
    }
    (coefficient as f32, g)
}

/// Whether all scalars of an update are numbers that `f32` has.
pub fn in_range(update: &Update, with_momentum: bool) -> bool {
    let Update { gradient, decay, momentum, rate, direct, shrink } = *update;
    let fits = |x: &f64| (*x as f32).is_finite();
    if with_momentum {
        return scaled(gradient, 0.0).0.is_finite() && [decay, momentum, rate, direct, shrink].iter().all(fits);
    }
    scaled((rate + direct) * gradient, 0.0).0.is_finite() && fits(&((rate + direct) * decay + shrink))
}

/// The norms that a rule asks for, of gradients multiplied by `scale`; NaN where it does not ask.
pub fn norms(needs: &Needs, scale: f64, w: &[f32], g: &[f32]) -> Norms {
    let gradient = match needs.gradient {
        GradientNorm::L2 => scale * sum_of_squares(g).sqrt(),
        GradientNorm::Max => scale * f64::from(max_norm(g)),
        GradientNorm::L2WithDecay(decay) => decayed_norm(scale as f32, decay as f32, w, g),
        _ => panic!("a norm that the contract does not know"),
    };
    Norms::new(gradient, if needs.weights { sum_of_squares(w).sqrt() } else { f64::NAN })
}

/// The norm of `scale·g + decay·w`.
fn decayed_norm(scale: f32, decay: f32, w: &[f32], g: &[f32]) -> f64 {
    if !scale.is_finite() || !decay.is_finite() {
        return f64::INFINITY;
    }
    let term = |(w, g): (&f32, &f32)| {
        let (g, w) = (scale * g, decay * w);
        g + w
    };
    sum_of_squares(&w.iter().zip(g).map(term).collect::<Vec<_>>()).sqrt()
}

/// The norm of the momentum that an update would write. Here the decay is always added, and absent momentum is 0.
pub fn new_momentum_norm(update: &Update, w: &[f32], g: &[f32], m: &[f32]) -> f64 {
    let new = |i: usize| {
        let h = rescaled(update, w[i], g[i]);
        let (momentum, m) = if m.is_empty() { (0.0, w[i]) } else { (update.momentum as f32, m[i]) };
        let kept = momentum * m;
        kept + h
    };
    sum_of_squares(&(0..w.len()).map(new).collect::<Vec<_>>()).sqrt()
}

/// One layer in plain slices; the momentum is empty where the rule keeps none.
#[derive(Debug)]
pub struct Layer<'a, S> {
    pub config: LayerConfig,
    pub weights: &'a mut [f32],
    pub gradients: &'a [f32],
    pub momentum: &'a mut [f32],
    pub state: &'a mut S,
}

/// What is decided for all layers of a step together.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    /// What all gradients are multiplied by.
    pub clip: f64,
    /// Whether all layers are left alone.
    pub skip: bool,
}

/// What gradients with this norm over all layers are multiplied by.
pub fn clip(policy: &Policy, norm: f64) -> f64 {
    policy.clip_norm.filter(|limit| norm > *limit).map_or(1.0, |limit| limit / norm)
}

/// The first phase of a step: the norms of a layer, in a report of one that can be updated or cannot.
pub fn measure<R: Rule>(rule: &R, step: &Step, layer: &Layer<'_, R::State>) -> Report {
    if layer.config.frozen {
        return Report::FROZEN;
    }
    let needs = rule.needs(&layer.config);
    let norms = norms(&needs, step.gradient_scale, layer.weights, layer.gradients);
    let finite = norms.gradient.is_finite() && (norms.weights.is_finite() || !needs.weights);
    let mut report = Report::ABSENT;
    report.gradient_norm = norms.gradient;
    report.weight_norm = norms.weights;
    report.effective_rate = step.lr * layer.config.rate;
    report.outcome = if finite { Outcome::Applied } else { Outcome::NonFinite };
    report
}

/// The second phase: what would be done to a layer that was measured, and its next state; or why it is left alone. It
/// writes nothing.
pub fn plan<R: Rule>(
    rule: &R,
    step: &Step,
    clip: f64,
    measured: &Report,
    layer: &Layer<'_, R::State>,
) -> Result<(Plan, R::State), Outcome> {
    if measured.outcome != Outcome::Applied {
        return Err(measured.outcome);
    }
    let (lr, config) = (step.lr * layer.config.rate, &layer.config);
    let norms = Norms::new(clip * measured.gradient_norm, measured.weight_norm);
    let (mut plan, next) = rule.plan(lr, config, &norms, *layer.state);
    plan.update.gradient *= clip * step.gradient_scale;
    if rule.needs(config).step == StepNorm::Momentum {
        if !in_range(&plan.update, true) {
            return Err(Outcome::OutOfRange);
        }
        let norm = new_momentum_norm(&plan.update, layer.weights, layer.gradients, layer.momentum);
        if !norm.is_finite() {
            return Err(Outcome::NonFinite);
        }
        plan = rule.limit(lr, config, &norms, plan, norm);
    }
    let with_momentum = rule.moments() != layerwise::rule::Moments::None;
    if in_range(&plan.update, with_momentum) { Ok((plan, next)) } else { Err(Outcome::OutOfRange) }
}

/// The third phase: updates a layer, or leaves it alone.
pub fn apply<R: Rule>(
    rule: &R,
    step: &Step,
    decision: &Decision,
    measured: Report,
    layer: Layer<'_, R::State>,
) -> Report {
    let mut report = measured;
    if decision.skip {
        if report.outcome == Outcome::Applied {
            report.outcome = Outcome::StepSkipped;
        }
        return report;
    }
    let (plan, next) = match plan(rule, step, decision.clip, &measured, &layer) {
        Ok(planned) => planned,
        Err(outcome) => {
            report.outcome = outcome;
            return report;
        }
    };
    let Layer { weights, gradients, momentum, state, .. } = layer;
    for (i, (w, g)) in weights.iter_mut().zip(gradients).enumerate() {
        match momentum.get_mut(i) {
            Some(m) => (*w, *m) = update(&plan.update, *w, *g, *m),
            None => *w = plain_update(&plan.update, *w, *g),
        }
    }
    *state = next;
    report.factor = plan.factor;
    report.effective_rate = plan.effective_rate;
    report.clipped = plan.clipped;
    if !weights.iter().all(|w| w.is_finite()) {
        report.outcome = Outcome::Overflowed;
    }
    report
}

/// A whole step of a layer that is all of the model.
pub fn step<R: Rule>(rule: &R, policy: &Policy, step: &Step, layer: Layer<'_, R::State>) -> Report {
    let measured = measure(rule, step, &layer);
    let decision = Decision { clip: clip(policy, measured.gradient_norm), skip: false };
    apply(rule, step, &decision, measured, layer)
}
