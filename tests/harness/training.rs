//! Replays recorded runs of what surrounds a step in OpenSeq2Seq: rate policies, loss scalers, the global clip, and a
//! training in mixed precision. `tests/data/README.md` has the formats.

use layerwise::schedule::{
    Backoff, CosineDecay, ExpDecay, FixedLr, InvPolyDecay, LogMax, LossScaleState, LossScaler, LossScaling,
    PiecewiseConstant, PolyDecay, RatePolicy, Schedule, TransformerPolicy,
};
use layerwise::{LarcConfig, LayerMemory, NonFinite, Policy, Report, Sgd, SgdConfig, SgdState, Step};
use serde_json::{Map, Value};

/// The peers compute rates and scales in `f32`. Theirs are off by this much of the learning rate, or of the scale.
const RATE_TOLERANCE: f64 = 2e-7;
const LOG_MAX_TOLERANCE: f64 = 1e-4;
/// Numbers that were computed with 60 digits, to be met to this much of the learning rate, or of the scale.
const EXACT_TOLERANCE: f64 = 1e-12;
/// Norms, and weights as a part of the largest.
const TOLERANCE: f64 = 2e-6;

const MIXED_PRECISION: &str = "OpenSeq2Seq MixedPrecisionOptimizerWrapper + LARC(clip, eta=0.001) + Momentum 0.9 + \
                               Backoff(scale_max=64, step_window=3)";

/// Replays a trace of one of these kinds, and prints how far the crate is off. Returns false if it is of another kind.
///
/// `gradients` are the names and gradients of all input layers at a step from 1.
pub fn replay(name: &str, trace: &Value, gradients: impl Fn(u64) -> Vec<(String, Vec<f32>)>) -> bool {
    let deviation = match trace["peer"].as_str() {
        Some("OpenSeq2Seq lr_policies") => rate_policies(name, trace),
        Some("OpenSeq2Seq AutomaticLossScaler") => loss_scaler(name, trace),
        Some("OpenSeq2Seq _clip_by_global_norm") => global_clip(name, trace, gradients),
        Some(MIXED_PRECISION) => mixed_precision(name, trace),
        _ => return false,
    };
    println!("{name}: {deviation}");
    true
}

/// A number, or `"inf"`.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

fn list(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

/// The largest difference from a list, each divided by `scale`.
fn worst(ours: &[f64], theirs: &Value, scale: impl Fn(f64) -> f64) -> f64 {
    let theirs = list(theirs);
    assert_eq!(ours.len(), theirs.len());
    let differences = ours.iter().zip(theirs).map(|(ours, theirs)| (ours - theirs).abs() / scale(theirs));
    differences.inspect(|difference| assert!(difference.is_finite())).fold(0.0, f64::max)
}

/// The same for numbers that were computed exactly. Only the stored traces have them; without, nothing is compared.
fn worst_of_exact(ours: &[f64], theirs: &Value, scale: impl Fn(f64) -> f64) -> f64 {
    if theirs.is_null() { 0.0 } else { worst(ours, theirs, scale) }
}

/// Fails if a deviation is above a tolerance.
fn assert_within(what: &str, deviation: f64, tolerance: f64) {
    assert!(deviation <= tolerance, "{what}: off by {deviation:e}");
}

/// The settings of a policy, from a recorded call.
fn rate_policy(name: &str, params: &Map<String, Value>) -> RatePolicy<Vec<f64>> {
    let float = |key: &str, default: f64| params.get(key).map_or(default, number);
    let count = |key: &str| params.get(key).map_or(0, |value| value.as_u64().unwrap());
    let numbers = |key: &str| params.get(key).map_or(vec![], list);
    let (learning_rate, min_lr, power) = (float("learning_rate", 0.0), float("min_lr", 0.0), float("power", 1.0));
    let (decay_steps, begin_decay_at, warmup_steps) =
        (count("decay_steps"), count("begin_decay_at"), count("warmup_steps"));
    match name {
        "fixed_lr" => RatePolicy::FixedLr(FixedLr { learning_rate }),
        "piecewise_constant" => RatePolicy::PiecewiseConstant(PiecewiseConstant {
            learning_rate,
            boundaries: numbers("boundaries"),
            decay_rates: numbers("decay_rates"),
            steps_per_epoch: count("steps_per_epoch"),
        }),
        "exp_decay" => RatePolicy::ExpDecay(ExpDecay {
            learning_rate,
            decay_steps,
            decay_rate: float("decay_rate", 0.0),
            use_staircase_decay: params["use_staircase_decay"].as_bool().unwrap(),
            begin_decay_at,
            min_lr,
        }),
        "poly_decay" => {
            RatePolicy::PolyDecay(PolyDecay { learning_rate, decay_steps, power, begin_decay_at, min_lr, warmup_steps })
        }
        "cosine_decay" => RatePolicy::CosineDecay(CosineDecay {
            learning_rate,
            decay_steps,
            power,
            begin_decay_at,
            min_lr,
            warmup_steps,
        }),
        "transformer_policy" => RatePolicy::TransformerPolicy(TransformerPolicy {
            learning_rate,
            d_model: count("d_model"),
            warmup_steps,
            max_lr: params.get("max_lr").map(number),
            coefficient: float("coefficient", 1.0),
        }),
        "inv_poly_decay" => RatePolicy::InvPolyDecay(InvPolyDecay {
            learning_rate,
            decay_steps,
            min_lr,
            power,
            begin_decay_at,
            warmup_steps,
        }),
        _ => panic!("no policy is called {name}"),
    }
}

fn rate_policies(name: &str, trace: &Value) -> String {
    let (mut of_f32, mut of_exact) = (0.0_f64, 0.0_f64);
    for case in trace["cases"].as_array().unwrap() {
        let (policy, params) = (case["policy"].as_str().unwrap(), case["params"].as_object().unwrap());
        let settings = rate_policy(policy, params);
        #[cfg(feature = "serde")]
        assert_eq!(settings, serde_json::from_value(serde_json::json!({ policy: params })).unwrap());
        let schedule = Schedule::try_from(settings).unwrap();
        let rates: Vec<f64> =
            case["steps"].as_array().unwrap().iter().map(|step| schedule.rate(step.as_u64().unwrap())).collect();
        let learning_rate = number(&params["learning_rate"]);
        of_f32 = of_f32.max(worst(&rates, &case["lr_f32"], |_| learning_rate));
        of_exact = of_exact.max(worst_of_exact(&rates, &case["lr_exact"], |_| learning_rate));
    }
    assert_within(name, of_f32, RATE_TOLERANCE);
    assert_within(name, of_exact, EXACT_TOLERANCE);
    format!("within {of_f32:.1e} of the recorded f32, within {of_exact:.1e} of exact rates, where there are any")
}

/// The settings of a scaler, from a recorded run.
fn loss_scaling(trace: &Value) -> LossScaling {
    let none = Map::new();
    let params = trace["params"].as_object().unwrap_or(&none);
    let float = |key: &str, default: f64| params.get(key).map_or(default, number);
    match trace["algorithm"].as_str().unwrap() {
        "Backoff" => LossScaling::Backoff(Backoff {
            scale_min: float("scale_min", Backoff::DEFAULT.scale_min),
            scale_max: float("scale_max", Backoff::DEFAULT.scale_max),
            step_factor: float("step_factor", Backoff::DEFAULT.step_factor),
            step_window: float("step_window", Backoff::DEFAULT.step_window.into()) as u32,
        }),
        "LogMax" => LossScaling::LogMax(LogMax {
            scale_min: float("scale_min", LogMax::DEFAULT.scale_min),
            scale_max: float("scale_max", LogMax::DEFAULT.scale_max),
            log_max: float("log_max", LogMax::DEFAULT.log_max),
            beta1: float("beta1", LogMax::DEFAULT.beta1),
            beta2: float("beta2", LogMax::DEFAULT.beta2),
            overflow_std_dev: float("overflow_std_dev", LogMax::DEFAULT.overflow_std_dev),
            ..LogMax::OPENSEQ2SEQ
        }),
        algorithm => panic!("no scaler is called {algorithm}"),
    }
}

fn loss_scaler(name: &str, trace: &Value) -> String {
    let scaling = loss_scaling(trace);
    let scaler = LossScaler::new(scaling).unwrap();
    let mut state = LossScaleState::default();
    let mut scales = vec![scaler.scale(&state)];
    for step in trace["seq"].as_array().unwrap() {
        let (has_nan, max_norm) = (step[0].as_bool().unwrap(), number(&step[1]));
        let finite = !has_nan && max_norm.is_finite();
        let update = scaler.update(&mut state, finite, max_norm);
        assert_eq!(update.skip, !finite);
        // A checkpoint after every step.
        state = scaler.restore(state.to_numbers()).unwrap();
        assert_eq!(scaler.scale(&state), update.scale);
        scales.push(update.scale);
    }
    let of_f32 = worst(&scales, &trace["scale"], |scale| scale);
    let of_exact = worst_of_exact(&scales, &trace["scale_exact"], |scale| scale);
    assert_within(name, of_f32, if matches!(scaling, LossScaling::Backoff(_)) { 0.0 } else { LOG_MAX_TOLERANCE });
    assert_within(name, of_exact, EXACT_TOLERANCE);
    format!("within {of_f32:.1e} of the recorded f32, within {of_exact:.1e} of exact scales, where there are any")
}

fn global_clip(name: &str, trace: &Value, gradients: impl Fn(u64) -> Vec<(String, Vec<f32>)>) -> String {
    let excluded = trace["excluded_layers"].as_array().unwrap();
    let policy = Policy { clip_norm: Some(number(&trace["clip"])), ..Policy::DEFAULT };
    let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap().with_policy(policy).unwrap();
    let mut deviation = 0.0_f64;
    for step in trace["steps"].as_array().unwrap() {
        let mut gradients = gradients(step["step"].as_u64().unwrap());
        gradients.retain(|(name, _)| !excluded.contains(&Value::from(name.as_str())));
        let mut weights: Vec<Vec<f32>> = gradients.iter().map(|(_, g)| vec![0.0; g.len()]).collect();
        let mut states = vec![SgdState::default(); weights.len()];
        let tensors = weights.iter_mut().zip(&gradients).zip(&mut states);
        let mut model: Vec<LayerMemory<SgdState>> =
            tensors.map(|((w, (_, g)), state)| LayerMemory::new(w, g, state)).collect();
        let mut reports = vec![Report::ABSENT; model.len()];
        let summary = sgd.step(0.0, &mut model[..], &mut reports).unwrap();
        let theirs = Value::from([&step["global_norm"], &step["scale"]].map(Value::clone).to_vec());
        deviation = deviation.max(worst(&[summary.gradient_norm, summary.clip], &theirs, |x| x));
    }
    assert_within(name, deviation, TOLERANCE);
    format!("norms and clips within {deviation:.1e}")
}

/// A training with 16-bit gradients of a scaled loss. Weights are compared after every step, and so is the 16-bit copy
/// of them that the recorded model computes with.
fn mixed_precision(name: &str, trace: &Value) -> String {
    let larc = LarcConfig { eta: 0.001, ..LarcConfig::OPENSEQ2SEQ };
    let policy = Policy { non_finite: NonFinite::SkipStep, ..Policy::DEFAULT };
    let sgd = Sgd::new(SgdConfig { momentum: 0.9, larc: Some(larc), ..SgdConfig::DEFAULT }).unwrap();
    let sgd = sgd.with_policy(policy).unwrap();
    let backoff = Backoff { scale_max: 64.0, step_window: 3, ..Backoff::DEFAULT };
    let scaler = LossScaler::new(LossScaling::Backoff(backoff)).unwrap();

    let rates = list(&trace["lr"]);
    let mut weights: Vec<f32> = list(&trace["w0"]).iter().map(|&w| w as f32).collect();
    let (mut momentum, mut layer) = (vec![0.0_f32; weights.len()], SgdState::default());
    let (mut state, mut global_step, mut deviation) = (LossScaleState::default(), 0, 0.0_f64);
    for (i, step) in trace["steps"].as_array().unwrap().iter().enumerate() {
        let scale = scaler.scale(&state);
        assert_eq!(scale, number(&step["loss_scale_used"]), "{name}, step {i}");
        let scaled: Vec<f32> = list(&trace["g16"][i]).iter().map(|g| to_f16(scale * g)).collect();
        let memory = LayerMemory::new(&mut weights, &scaled, &mut layer).momentum(&mut momentum);
        let report = sgd.step_layer(Step::new(rates[i]).gradient_scale(1.0 / scale), memory).unwrap();
        let update = scaler.update(&mut state, report.applied(), report.gradient_norm);
        assert_eq!(update.scale, number(&step["loss_scale_after"]), "{name}, step {i}");
        global_step += u32::from(!update.skip);
        assert_eq!(Value::from(global_step), step["global_step"], "{name}, step {i}");
        assert_eq!(layer.steps, global_step);

        let ours: Vec<f64> = weights.iter().map(|&w| w.into()).collect();
        let largest = ours.iter().fold(0.0_f64, |largest, w| largest.max(w.abs()));
        deviation = deviation.max(worst(&ours, &step["master32"], |_| largest));
        // A weight beside the middle between two 16-bit numbers may be rounded to either.
        for (&ours, theirs) in ours.iter().zip(list(&step["w16"])) {
            let half = 0.5 * ulp_of_f16(ours) + TOLERANCE * largest;
            assert!((ours - theirs).abs() <= half, "{name}, step {i}: {ours} is not rounded to {theirs}");
        }
    }
    assert_within(name, deviation, TOLERANCE);
    format!("weights within {deviation:.1e}, the same scales and skipped steps")
}

/// The distance of 16-bit numbers around a number.
fn ulp_of_f16(x: f64) -> f64 {
    let exponent = ((x.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(-14);
    2f64.powi(exponent - 10)
}

/// The nearest 16-bit number, ties to even.
fn to_f16(x: f64) -> f32 {
    let ulp = ulp_of_f16(x);
    let rounded = (x / ulp).round_ties_even() * ulp;
    if rounded.abs() < 65536.0 { rounded as f32 } else { f32::INFINITY.copysign(x as f32) }
}
