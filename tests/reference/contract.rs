//! The numeric contract, one scalar at a time: what every backend and every way through the crate must give, bit for bit.

use layerwise::{GradientNorm, Layer, Needs, Norms, Outcome, Plan, Policy, Report, Rule, Update};

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

fn leaf(x: &[f32]) -> f64 {
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

/// A coefficient of the gradient in `f32`, and the gradient; where the coefficient is too large or too small for products
/// that keep all their bits, a power of two passes from one to the other.
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

/// The norms that a rule asks for.
pub fn norms(needs: &Needs, w: &[f32], g: &[f32]) -> Norms {
    let gradient = match needs.gradient {
        GradientNorm::L2 => sum_of_squares(g).sqrt(),
        GradientNorm::Max if g.iter().any(|g| g.is_nan()) => f64::NAN,
        GradientNorm::Max => f64::from(g.iter().fold(0.0_f32, |max, g| max.max(g.abs()))),
        GradientNorm::L2WithDecay(decay) if !(decay as f32).is_finite() => f64::INFINITY,
        GradientNorm::L2WithDecay(decay) => {
            let sum: Vec<f32> = w
                .iter()
                .zip(g)
                .map(|(w, g)| {
                    let d = decay as f32 * w;
                    g + d
                })
                .collect();
            sum_of_squares(&sum).sqrt()
        }
    };
    Norms { gradient, weights: needs.weights.then(|| sum_of_squares(w).sqrt()) }
}

/// A whole step of a layer, and its report.
#[allow(clippy::too_many_arguments)]
pub fn step<R: Rule>(
    rule: &R,
    policy: &Policy,
    lr: f64,
    layer: &Layer,
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    state: &mut R::State,
) -> Report {
    if layer.frozen {
        return Report::FROZEN;
    }
    let norms = norms(&rule.needs(layer), w, g);
    let clip = clip(policy, norms.gradient);
    update_by(rule, lr, clip, layer, &norms, w, g, m, state)
}

/// What gradients with this norm over all layers are multiplied by.
pub fn clip(policy: &Policy, norm: f64) -> f64 {
    policy.clip_norm.filter(|limit| norm > *limit).map_or(1.0, |limit| limit / norm)
}

/// The part of a step that comes after the norms.
#[allow(clippy::too_many_arguments)]
pub fn update_by<R: Rule>(
    rule: &R,
    lr: f64,
    clip: f64,
    layer: &Layer,
    norms: &Norms,
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    state: &mut R::State,
) -> Report {
    let lr = lr * layer.rate;
    let left_alone = |outcome| Report {
        gradient_norm: norms.gradient,
        weight_norm: norms.weights.unwrap_or(f64::NAN),
        factor: 1.0,
        effective_rate: lr,
        clipped: false,
        outcome,
    };
    if !norms.are_finite() {
        return left_alone(Outcome::NonFinite);
    }
    let clipped = Norms { gradient: clip * norms.gradient, weights: norms.weights };
    let mut next = *state;
    let mut plan = rule.plan(lr, layer, &clipped, &mut next);
    plan.update.gradient *= clip;
    if rule.needs(layer).new_momentum {
        if !in_range(&plan.update, true) {
            return left_alone(Outcome::OutOfRange);
        }
        let norm = new_momentum_norm(&plan.update, w, g, m);
        if !norm.is_finite() {
            return left_alone(Outcome::NonFinite);
        }
        plan = rule.limit(lr, &clipped, plan, norm);
    }
    if !in_range(&plan.update, rule.keeps_momentum()) {
        return left_alone(Outcome::OutOfRange);
    }
    if m.is_empty() {
        w.iter_mut().zip(g).for_each(|(w, g)| *w = plain_update(&plan.update, *w, *g));
    } else {
        w.iter_mut().zip(g).zip(m).for_each(|((w, g), m)| (*w, *m) = update(&plan.update, *w, *g, *m));
    }
    *state = next;
    let Plan { factor, effective_rate, clipped, .. } = plan;
    Report { factor, effective_rate, clipped, ..left_alone(Outcome::Applied) }
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
