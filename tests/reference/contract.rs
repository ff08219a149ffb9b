//! The numeric contract, one scalar at a time: what every backend and every path through the crate must give, bit for
//! bit.

use layerwise::rule::{GradientNorm, Moments, Needs, Norms, Plan, Rule, SecondMoment, StepNorm, Update};
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
    let sum = lanes(x, 1.0);
    if !sum.is_finite() {
        return f64::from(lanes(x, two(-70) as f32)) * two(140);
    }
    if f64::from(sum) < two(-100) {
        return f64::from(lanes(x, two(96) as f32)) * two(-192);
    }
    f64::from(sum)
}

/// A power of two. (`powi` may be inexact, and is in Miri.)
fn two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
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

/// Which terms of an update are added even if their scalars are 0: all of them, for the norm of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Terms {
    All,
    Needed,
}

/// One element of a step: what is subtracted from the weight, and the new moments, in the written order.
fn step_of(update: &Update, terms: Terms, w: f32, g: f32, [m, v]: [f32; 2]) -> (f32, [f32; 2]) {
    let (gradient, g) = scaled(update.gradient, g);
    let [decay, momentum, rate, direct, shrink] =
        [update.decay, update.momentum, update.rate, update.direct, update.shrink].map(|x| x as f32);
    let mut h = gradient * g;
    if terms == Terms::All || decay != 0.0 {
        h += decay * w;
    }
    let kept = momentum * m;
    let (mut u, m, v) = match &update.second {
        None => {
            let m = kept + h;
            (rate * m, m, v)
        }
        Some(second) => {
            let share = second.share as f32;
            let m = kept + share * h;
            let (v, denominator) = second_moment(second, h, v);
            let step = rate * m;
            (if denominator == 0.0 { 0.0 } else { step / denominator }, m, v)
        }
    };
    // With a second moment, each term is left out on its own.
    let both = update.second.is_none() && (direct != 0.0 || shrink != 0.0);
    if terms == Terms::All || both || direct != 0.0 {
        u += direct * h;
    }
    if terms == Terms::All || both || shrink != 0.0 {
        u += shrink * w;
    }
    (u, [m, v])
}

/// The new second moment, and the divisor of the momentum.
fn second_moment(second: &SecondMoment, h: f32, v: f32) -> (f32, f32) {
    let fresh = (1.0 - second.keep) as f32;
    let [keep, unbias, eps_root, eps] = [second.keep, second.unbias, second.eps_root, second.eps].map(|x| x as f32);
    let kept = keep * v;
    let new = fresh * h;
    let square = new * h;
    let v = kept + square;
    let unbiased = unbias * v;
    let root = (unbiased + eps_root).sqrt();
    (v, root + eps)
}

/// One element of a step without moments.
fn plain_step_of(update: &Update, terms: Terms, w: f32, g: f32) -> f32 {
    let rate = update.rate + update.direct;
    let (gradient, g) = scaled(rate * update.gradient, g);
    let decay = (rate * update.decay + update.shrink) as f32;
    let mut u = gradient * g;
    if terms == Terms::All || decay != 0.0 {
        u += decay * w;
    }
    u
}

/// One element of an update: new weight and new moments.
pub fn update(update: &Update, w: f32, g: f32, moments: [f32; 2]) -> (f32, [f32; 2]) {
    let (u, moments) = step_of(update, Terms::Needed, w, g, moments);
    (w - u, moments)
}

/// The same without moments.
pub fn plain_update(update: &Update, w: f32, g: f32) -> f32 {
    w - plain_step_of(update, Terms::Needed, w, g)
}

/// `gradient·g + decay·w`, which replaces a gradient.
pub fn rescaled(update: &Update, w: f32, g: f32) -> f32 {
    let (gradient, g) = scaled(update.gradient, g);
    let mut h = gradient * g;
    h += update.decay as f32 * w;
    h
}

/// A coefficient of the gradient in `f32`, and the gradient. If the coefficient is so large or small that products
/// would lose bits, a power of two moves from one to the other.
fn scaled(coefficient: f64, g: f32) -> (f32, f32) {
    if coefficient.abs() > two(100) {
        return ((coefficient / two(90)) as f32, two(90) as f32 * g);
    }
    if coefficient.abs() < two(-100) && coefficient != 0.0 {
        return ((coefficient * two(90)) as f32, two(-90) as f32 * g);
    }
    (coefficient as f32, g)
}

/// Whether all scalars of an update are finite in `f32`, no epsilon is negative, and the rule keeps the moments that the
/// update needs.
pub fn in_range(update: &Update, moments: Moments) -> bool {
    let Update { gradient, decay, momentum, rate, direct, shrink, second } = *update;
    let fits = |x: &f64| (*x as f32).is_finite();
    if let Some(SecondMoment { share, keep, unbias, eps_root, eps, .. }) = second {
        let finite = [share, keep, 1.0 - keep, unbias, eps_root, eps].iter().all(fits);
        if moments != Moments::FirstAndSecond || !finite || (eps_root as f32) < 0.0 || (eps as f32) < 0.0 {
            return false;
        }
    }
    if moments != Moments::None {
        return scaled(gradient, 0.0).0.is_finite() && [decay, momentum, rate, direct, shrink].iter().all(fits);
    }
    scaled((rate + direct) * gradient, 0.0).0.is_finite() && fits(&((rate + direct) * decay + shrink))
}

/// The norms that a rule needs, of gradients multiplied by `scale`; NaN for the others.
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

/// The norm of a planned step. Here all terms are added, and absent momentum is 0.
fn step_norm<S>(needed: StepNorm, update: &Update, moments: Moments, layer: &Layer<'_, S>) -> f64 {
    let (w, g) = (&*layer.weights, layer.gradients);
    // The share of a second moment's update goes into the scalars of `h`.
    let share = update.second.map_or(1.0, |second| second.share);
    let shared = Update { gradient: share * update.gradient, decay: share * update.decay, ..*update };
    if needed == StepNorm::Momentum && !in_range(&shared, Moments::FirstAndSecond) {
        return f64::INFINITY; // of an empty layer too
    }
    let element = |i: usize| match needed {
        StepNorm::Momentum => {
            let h = rescaled(&shared, w[i], g[i]);
            let (momentum, m) = layer.momentum.get(i).map_or((0.0, w[i]), |m| (update.momentum as f32, *m));
            let kept = momentum * m;
            kept + h
        }
        StepNorm::Step if moments == Moments::None => plain_step_of(update, Terms::All, w[i], g[i]),
        StepNorm::Step => step_of(update, Terms::All, w[i], g[i], layer.moments(i)).0,
        _ => panic!("a norm that the contract does not know"),
    };
    sum_of_squares(&(0..w.len()).map(element).collect::<Vec<_>>()).sqrt()
}

/// One layer in plain slices; moments are empty where the rule keeps none.
#[derive(Debug)]
pub struct Layer<'a, S> {
    pub config: LayerConfig,
    pub weights: &'a mut [f32],
    pub gradients: &'a [f32],
    pub momentum: &'a mut [f32],
    pub second_moment: &'a mut [f32],
    pub state: &'a mut S,
}

impl<S> Layer<'_, S> {
    /// The moments of one weight; 0 where the rule keeps none.
    fn moments(&self, i: usize) -> [f32; 2] {
        [&self.momentum, &self.second_moment].map(|moment| moment.get(i).copied().unwrap_or(0.0))
    }
}

/// The decision for all layers of a step.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    /// What all gradients are multiplied by.
    pub clip: f64,
    /// Whether the whole step is skipped.
    pub skip: bool,
}

/// What gradients with this norm over all layers are multiplied by.
pub fn clip(policy: &Policy, norm: f64) -> f64 {
    policy.clip_norm.filter(|limit| norm > *limit).map_or(1.0, |limit| limit / norm)
}

/// The first phase of a step: the norms of a layer, in a report that says whether it can be updated.
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

/// The second phase: the update of a measured layer and its next state, or the reason why it is not updated. It writes
/// nothing.
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
    let (lr, config, moments) = (step.lr * layer.config.rate, &layer.config, rule.moments());
    let norms = Norms::new(clip * measured.gradient_norm, measured.weight_norm);
    let (mut plan, next) = rule.plan(lr, config, &norms, *layer.state);
    plan.update.gradient *= clip * step.gradient_scale;
    let needed = rule.needs(config).step;
    if needed != StepNorm::None {
        // The norm of the momentum uses the scalars as they are, even without momentum.
        let scalars = if needed == StepNorm::Momentum { moments.max(Moments::First) } else { moments };
        if !in_range(&plan.update, scalars) {
            return Err(Outcome::OutOfRange);
        }
        let norm = step_norm(needed, &plan.update, moments, layer);
        if !norm.is_finite() {
            return Err(Outcome::NonFinite);
        }
        plan = rule.limit(lr, config, &norms, plan, norm);
    }
    if in_range(&plan.update, moments) { Ok((plan, next)) } else { Err(Outcome::OutOfRange) }
}

/// The third phase: updates a layer, or skips it.
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
    for (i, g) in layer.gradients.iter().enumerate() {
        if rule.moments() == Moments::None {
            layer.weights[i] = plain_update(&plan.update, layer.weights[i], *g);
            continue;
        }
        let (w, [m, v]) = update(&plan.update, layer.weights[i], *g, layer.moments(i));
        (layer.weights[i], layer.momentum[i]) = (w, m);
        if let Some(second_moment) = layer.second_moment.get_mut(i) {
            *second_moment = v;
        }
    }
    *layer.state = next;
    report.factor = plan.factor;
    report.effective_rate = plan.effective_rate;
    report.clipped = plan.clipped;
    if !layer.weights.iter().all(|w| w.is_finite()) {
        report.outcome = Outcome::Overflowed;
    }
    report
}

/// A whole step of a model of one layer.
pub fn step<R: Rule>(rule: &R, policy: &Policy, step: &Step, layer: Layer<'_, R::State>) -> Report {
    let measured = measure(rule, step, &layer);
    let decision = Decision { clip: clip(policy, measured.gradient_norm), skip: false };
    apply(rule, step, &decision, measured, layer)
}
