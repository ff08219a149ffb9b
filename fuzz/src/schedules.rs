//! Learning rates and loss scales: any settings, any steps, any series of overflows, and restored states.

use crate::harness::compare::non_negative;
use crate::harness::same;
use crate::input;
use arbitrary::{Result, Unstructured};
use layerwise::schedule::{
    Backoff, CosineDecay, ExpDecay, FixedLr, InvPolyDecay, LogMax, LossScaleState, LossScaler, LossScaling,
    PiecewiseConstant, PolyDecay, RatePolicy, Schedule, TransformerPolicy,
};

pub fn schedules(u: &mut Unstructured) -> Result<()> {
    rates(u)?;
    scales(u)
}

/// A number of steps: few, or any.
pub fn steps(u: &mut Unstructured) -> Result<u64> {
    if u.ratio(7, 8)? { u.int_in_range(0..=2000) } else { u.arbitrary() }
}

fn policy(u: &mut Unstructured) -> Result<RatePolicy<Vec<f64>>> {
    let (learning_rate, min_lr) = (input::rate(u)?, input::setting(u, &[0.0, 1e-5, 0.1])?);
    let (power, decay_rate) = (input::setting(u, &[1.0, 2.0, 0.5])?, input::setting(u, &[0.5, 0.1, 2.0])?);
    let [decay_steps, begin_decay_at, warmup_steps, d_model] = [steps(u)?, steps(u)?, steps(u)?, steps(u)?];
    Ok(match u.int_in_range(0..=6)? {
        0 => RatePolicy::FixedLr(FixedLr { learning_rate }),
        1 => RatePolicy::PiecewiseConstant(piecewise(u, learning_rate)?),
        2 => {
            let use_staircase_decay = u.arbitrary()?;
            let decay =
                ExpDecay { learning_rate, decay_steps, decay_rate, begin_decay_at, min_lr, use_staircase_decay };
            RatePolicy::ExpDecay(decay)
        }
        3 => {
            RatePolicy::PolyDecay(PolyDecay { learning_rate, decay_steps, power, begin_decay_at, min_lr, warmup_steps })
        }
        4 => {
            let decay = CosineDecay { learning_rate, decay_steps, power, begin_decay_at, min_lr, warmup_steps };
            RatePolicy::CosineDecay(decay)
        }
        5 => {
            let (max_lr, coefficient) = (u.arbitrary::<bool>()?.then_some(min_lr), power);
            let policy = TransformerPolicy { learning_rate, d_model, warmup_steps, max_lr, coefficient };
            RatePolicy::TransformerPolicy(policy)
        }
        _ => {
            let decay = InvPolyDecay { learning_rate, decay_steps, min_lr, power, begin_decay_at, warmup_steps };
            RatePolicy::InvPolyDecay(decay)
        }
    })
}

/// Mostly boundaries in their order, with as many rates.
fn piecewise(u: &mut Unstructured, learning_rate: f64) -> Result<PiecewiseConstant<Vec<f64>>> {
    let len = u.int_in_range(0..=4)?;
    let mut boundaries: Vec<f64> =
        (0..len).map(|_| input::setting(u, &[0.0, 1.0, 2.5, 30.0])).collect::<Result<_>>()?;
    if u.ratio(7, 8)? {
        boundaries.sort_by(f64::total_cmp);
    }
    let len = input::perhaps_other_len(u, len)?;
    let decay_rates = (0..len).map(|_| input::setting(u, &[0.5, 0.1, 1.0])).collect::<Result<_>>()?;
    Ok(PiecewiseConstant { learning_rate, boundaries, decay_rates, steps_per_epoch: steps(u)? })
}

fn rates(u: &mut Unstructured) -> Result<()> {
    let policy = policy(u)?;
    let valid = numbers_are_valid(&policy);
    let schedule = Schedule::try_from(policy.clone());
    assert_eq!(schedule.is_ok(), valid && !has_no_length(&policy), "{policy:?}");
    let filled = policy.for_training(steps(u)?, steps(u)?);
    let Ok(filled) = Schedule::try_from(filled) else {
        assert!(!valid, "what is left to the length of the training is not filled in");
        return Ok(());
    };
    let text = serde_json::to_string(filled.policy()).unwrap();
    let read = Schedule::try_from(serde_json::from_str::<RatePolicy<Vec<f64>>>(&text).unwrap()).unwrap();
    assert_eq!(read, filled, "{text}");
    for schedule in schedule.iter().chain([&filled]) {
        for _ in 0..u.int_in_range(1..=8)? {
            check_rate(schedule.policy(), steps(u)?, schedule.rate(0), |step| schedule.rate(step));
        }
    }
    Ok(())
}

/// Fails unless a rate matches the formula. No rate is below 0.
fn check_rate(policy: &RatePolicy<Vec<f64>>, step: u64, first: f64, rate: impl Fn(u64) -> f64) {
    let found = rate(step);
    // (Beyond the range of `f64` a rate is infinite, or NaN, which a step refuses.)
    assert!([first, found].iter().all(|rate| rate.is_nan() || *rate >= 0.0), "{found} at {step} of {policy:?}");
    let (expected, error) = expected_rate(policy, step);
    if settings_of(policy).into_iter().all(is_ordinary) && expected.is_finite() && error < 0.1 {
        let size = expected.max(settings_of(policy)[0]);
        assert!((found - expected).abs() <= error * size, "{found} instead of {expected} at {step} of {policy:?}");
    }
}

/// The numbers of a policy, the learning rate first.
fn settings_of(policy: &RatePolicy<Vec<f64>>) -> Vec<f64> {
    match policy {
        RatePolicy::FixedLr(p) => vec![p.learning_rate],
        RatePolicy::PiecewiseConstant(p) => [&[p.learning_rate], &p.boundaries[..], &p.decay_rates[..]].concat(),
        RatePolicy::ExpDecay(p) => vec![p.learning_rate, p.decay_rate, p.min_lr],
        RatePolicy::PolyDecay(p) => vec![p.learning_rate, p.power, p.min_lr],
        RatePolicy::CosineDecay(p) => vec![p.learning_rate, p.min_lr],
        RatePolicy::TransformerPolicy(p) => vec![p.learning_rate, p.coefficient, p.max_lr.unwrap_or(0.0)],
        RatePolicy::InvPolyDecay(p) => vec![p.learning_rate, p.power, p.min_lr],
        other => panic!("no policy of OpenSeq2Seq: {other:?}"),
    }
}

fn is_ordinary(setting: f64) -> bool {
    setting == 0.0 || (1e-6..1e6).contains(&setting)
}

fn positive(x: f64) -> bool {
    non_negative(x) && x != 0.0
}

/// Whether all settings but a length are in range.
fn numbers_are_valid(policy: &RatePolicy<Vec<f64>>) -> bool {
    positive(settings_of(policy)[0])
        && match policy {
            RatePolicy::PiecewiseConstant(p) => {
                p.boundaries.len() == p.decay_rates.len()
                    && p.boundaries.iter().chain(&p.decay_rates).copied().all(non_negative)
                    && p.boundaries.is_sorted()
            }
            RatePolicy::ExpDecay(p) => positive(p.decay_rate) && non_negative(p.min_lr),
            RatePolicy::PolyDecay(p) => positive(p.power) && non_negative(p.min_lr),
            RatePolicy::CosineDecay(p) => non_negative(p.power) && non_negative(p.min_lr),
            RatePolicy::TransformerPolicy(p) => {
                p.d_model > 0 && positive(p.coefficient) && p.max_lr.is_none_or(positive)
            }
            RatePolicy::InvPolyDecay(p) => positive(p.power) && non_negative(p.min_lr),
            _ => true,
        }
}

/// Whether a decay has no length yet.
fn has_no_length(policy: &RatePolicy<Vec<f64>>) -> bool {
    match policy {
        RatePolicy::ExpDecay(p) => p.decay_steps == 0,
        RatePolicy::PolyDecay(p) => p.decay_steps == 0,
        RatePolicy::CosineDecay(p) => p.decay_steps == 0,
        RatePolicy::InvPolyDecay(p) => p.decay_steps == 0,
        _ => false,
    }
}

/// The rate of the documented formula, and its tolerance relative to the larger of it and the learning rate.
fn expected_rate(policy: &RatePolicy<Vec<f64>>, step: u64) -> (f64, f64) {
    let t = step as f64;
    let expected = match policy {
        RatePolicy::FixedLr(p) => p.learning_rate,
        RatePolicy::PiecewiseConstant(p) => {
            let boundary = |epoch: f64| epoch * p.steps_per_epoch.max(1) as f64;
            let passed = p.boundaries.iter().filter(|epoch| t > boundary(**epoch)).count();
            p.learning_rate * if passed == 0 { 1.0 } else { p.decay_rates[passed - 1] }
        }
        RatePolicy::ExpDecay(p) => {
            let steps = step.saturating_sub(p.begin_decay_at);
            let whole = (steps / p.decay_steps) as f64;
            let s = if p.use_staircase_decay { whole } else { steps as f64 / p.decay_steps as f64 };
            (p.learning_rate * p.decay_rate.powf(s)).max(p.min_lr)
        }
        RatePolicy::PolyDecay(p) => match over(step, p.warmup_steps, p.begin_decay_at, p.decay_steps) {
            Err(risen) => p.learning_rate * risen,
            Ok(s) => (p.learning_rate - p.min_lr) * (1.0 - s).powf(p.power) + p.min_lr,
        },
        RatePolicy::CosineDecay(p) => match over(step, p.warmup_steps, p.begin_decay_at, p.decay_steps) {
            Err(risen) => p.learning_rate * risen,
            Ok(s) => {
                let half_period = (1.0 + (std::f64::consts::PI * s).cos()) / 2.0;
                p.learning_rate * ((1.0 - p.min_lr) * half_period + p.min_lr)
            }
        },
        RatePolicy::TransformerPolicy(p) => {
            let decay = ((t + 1.0) / (p.warmup_steps as f64).powf(1.5)).min((t + 1.0).sqrt().recip());
            let rate = p.coefficient * p.learning_rate / (p.d_model as f64).sqrt() * decay;
            rate.min(p.max_lr.unwrap_or(f64::INFINITY))
        }
        RatePolicy::InvPolyDecay(p) => {
            let ratio = (p.learning_rate / p.min_lr.max(1e-8)).max(1.0);
            let q = (ratio.powf(1.0 / p.power) - 1.0) / p.decay_steps as f64;
            // The rounding error of the difference above grows with the step and with the power.
            let error = 1e-12 * (1.0 + t / p.decay_steps as f64) * p.power.max(1.0);
            return (p.learning_rate / (1.0 + q * t).powf(p.power), error);
        }
        other => panic!("no policy of OpenSeq2Seq: {other:?}"),
    };
    // The floor of a cosine decay may be many times the learning rate.
    (expected, 1e-12 * settings_of(policy).into_iter().fold(1.0, f64::max))
}

/// The progress of a decay, or of the rise before it.
fn over(step: u64, warmup_steps: u64, begin_decay_at: u64, decay_steps: u64) -> std::result::Result<f64, f64> {
    let begin = begin_decay_at.max(warmup_steps);
    if step < begin {
        return Err(if step < warmup_steps { step as f64 / warmup_steps as f64 } else { 1.0 });
    }
    Ok((step - begin).min(decay_steps) as f64 / decay_steps as f64)
}

pub fn scaling(u: &mut Unstructured) -> Result<LossScaling> {
    let (scale_min, scale_max) = (input::setting(u, &[1.0, 0.5])?, input::setting(u, &[16384.0, 64.0, 16777216.0])?);
    Ok(match u.int_in_range(0..=2)? {
        0 => LossScaling::Static(scale_max),
        1 => {
            let (step_factor, step_window) = (input::setting(u, &[2.0, 3.0, 1.5])?, u.int_in_range(0..=5)?);
            LossScaling::Backoff(Backoff { scale_min, scale_max, step_factor, step_window })
        }
        _ => LossScaling::LogMax(LogMax {
            scale_min,
            scale_max,
            log_max: input::setting(u, &[16.0, 15.0])?,
            beta1: input::setting(u, &[0.99, 0.9, 0.0])?,
            beta2: input::setting(u, &[0.999, 0.9, 0.0])?,
            overflow_std_dev: input::setting(u, &[3.09, 0.0, 1.0])?,
            as_executed: u.ratio(1, 4)?,
        }),
    })
}

fn scaling_is_valid(scaling: &LossScaling) -> bool {
    let limits = |min: f64, max: f64| positive(min) && max >= min && max.is_finite();
    match *scaling {
        LossScaling::Static(scale) => positive(scale),
        LossScaling::Backoff(Backoff { scale_min, scale_max, step_factor, step_window }) => {
            limits(scale_min, scale_max) && step_factor > 1.0 && step_factor.is_finite() && step_window > 0
        }
        LossScaling::LogMax(c) => {
            limits(c.scale_min, c.scale_max)
                && (0.0..=1024.0).contains(&c.log_max)
                && [c.beta1, c.beta2].iter().all(|beta| (0.0..1.0).contains(beta))
                && non_negative(c.overflow_std_dev)
        }
        other => panic!("no scaling of OpenSeq2Seq: {other:?}"),
    }
}

fn scales(u: &mut Unstructured) -> Result<()> {
    let scaling = scaling(u)?;
    let scaler = LossScaler::new(scaling);
    assert_eq!(scaler.is_ok(), scaling_is_valid(&scaling), "{scaling:?}");
    let Ok(scaler) = scaler else { return Ok(()) };
    let text = serde_json::to_string(&scaling).unwrap();
    assert_eq!(serde_json::from_str::<LossScaling>(&text).unwrap(), scaling, "{text}");

    let (mut state, mut backoff, mut logarithms) = (LossScaleState::START, None, vec![]);
    check_scale(&scaling, scaler.scale(&state));
    for _ in 0..u.int_in_range(1..=40)? {
        let (finite, max_norm) = (u.ratio(3, 4)?, input::setting(u, &[16.0, 0.0, 1e-3, 300.0])?);
        let update = scaler.update(&mut state, finite, max_norm);
        assert!(same(update.scale, scaler.scale(&state)));
        check_scale(&scaling, update.scale);
        let is_largest = !matches!(scaling, LossScaling::LogMax(_)) || non_negative(max_norm);
        assert_eq!(update.skip, !(finite && is_largest));
        match &scaling {
            LossScaling::Backoff(config) => {
                let (scale, _) = back_off(config, &mut backoff, finite);
                assert!(same(update.scale, scale), "{} instead of {scale} by {config:?}", update.scale);
            }
            LossScaling::LogMax(config) if !config.as_executed => {
                if update.skip || max_norm > 0.0 {
                    logarithms.push(if update.skip { config.log_max } else { max_norm.log2() });
                }
                check_log_max(config, &logarithms, update.scale);
            }
            _ => {}
        }
        if u.ratio(1, 4)? && !is_as_executed(&scaling) {
            // Training stops and resumes.
            let restored = scaler.restore(state.to_numbers());
            assert_eq!(restored, Some(state), "{scaling:?}");
            state = restored.unwrap_or_default();
        }
    }
    restored(u, &scaler)
}

fn is_as_executed(scaling: &LossScaling) -> bool {
    matches!(scaling, LossScaling::LogMax(config) if config.as_executed)
}

/// A scale is always within its limits. (With OpenSeq2Seq's code as executed it may be NaN, and starts at 1.)
fn check_scale(scaling: &LossScaling, scale: f64) {
    match scaling {
        LossScaling::Static(of_all_steps) => assert!(same(scale, *of_all_steps)),
        LossScaling::Backoff(Backoff { scale_min, scale_max, .. })
        | LossScaling::LogMax(LogMax { scale_min, scale_max, as_executed: false, .. }) => {
            assert!((*scale_min..=*scale_max).contains(&scale), "{scale} of {scaling:?}");
        }
        _ => {}
    }
}

/// The scale after a step, and how many have been good in a row.
fn back_off(config: &Backoff, state: &mut Option<(f64, u32)>, finite: bool) -> (f64, u32) {
    let (scale, good) = state.unwrap_or((config.scale_max, 0));
    let (scale, good) = match (finite, good + 1 == config.step_window) {
        (false, _) => (scale / config.step_factor, 0),
        (true, true) => (scale * config.step_factor, 0),
        (true, false) => (scale, good + 1),
    };
    *state.insert((scale.clamp(config.scale_min, config.scale_max), good))
}

/// Fails unless a scale is that of the formulas, after these logarithms of largest gradients.
fn check_log_max(config: &LogMax, logarithms: &[f64], scale: f64) {
    let ordinary = [config.beta1, config.beta2].iter().all(|beta| *beta == 0.0 || (1e-3..0.9999).contains(beta));
    if logarithms.is_empty() || !ordinary || config.overflow_std_dev > 10.0 {
        return;
    }
    // An average as a sum over all steps: the older a step, the less it weighs.
    let average = |beta: f64, f: &dyn Fn(f64) -> f64| {
        let weights = || (0..logarithms.len() as i32).map(|age| beta.powi(age));
        let sum: f64 = weights().zip(logarithms.iter().rev()).map(|(weight, x)| weight * f(*x)).sum();
        sum / weights().sum::<f64>()
    };
    let mean = average(config.beta2, &|x| x);
    let deviation = average(config.beta2, &|x| (x - mean) * (x - mean)).sqrt();
    let exponent = config.log_max - (average(config.beta1, &|x| x) + config.overflow_std_dev * deviation);
    // The deviation is the root of a difference of squares, which loses half of its digits if it is small.
    let largest = logarithms.iter().fold(1.0_f64, |largest, x| largest.max(x.abs()));
    let error = largest * 1e-11 + config.overflow_std_dev * (1e-10 * largest * largest / deviation).min(1e-5 * largest);
    let [least, most] = [-error, error].map(|error| {
        let scale = (exponent + error).exp2().clamp(config.scale_min, config.scale_max);
        scale * (1.0 + error.signum() * 1e-12)
    });
    assert!((least..=most).contains(&scale), "{scale} is not between {least} and {most}, {config:?} of {logarithms:?}");
}

/// Any numbers give a state whose scales are within the limits, or are refused.
fn restored(u: &mut Unstructured, scaler: &LossScaler) -> Result<()> {
    let mut number = || if u.ratio(1, 4)? { u.arbitrary() } else { input::setting(u, &[0.0, 1.0, 64.0, -3.0]) };
    let numbers = [number()?, number()?, number()?, number()?];
    let Some(mut state) = scaler.restore(numbers) else { return Ok(()) };
    assert_eq!(state.to_numbers(), numbers);
    check_scale(scaler.scaling(), scaler.scale(&state));
    for _ in 0..u.int_in_range(0..=5)? {
        let (finite, max_norm) = (u.ratio(3, 4)?, input::setting(u, &[16.0, 0.0, 1e-3, 300.0])?);
        check_scale(scaler.scaling(), scaler.update(&mut state, finite, max_norm).scale);
    }
    Ok(())
}
