//! Loss scalers: recorded runs of OpenSeq2Seq.

use crate::compare::{assert_within, worst_relative};
use crate::files::File;
use crate::inputs::Inputs;
use crate::keys::{Keys, number, numbers};
use crate::reference::tolerances;
use layerwise::schedule::{Backoff, LogMax, LossScaleState, LossScaler, LossScaling};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Trace {
    peer: String,
    algorithm: String,
    params: Value,
    /// For each step, whether a gradient is NaN, and the largest gradient.
    seq: Vec<(bool, Value)>,
    scale: Value,
    /// Only stored traces have them.
    #[serde(default)]
    scale_exact: Option<Value>,
}

pub fn is(value: &Value) -> bool {
    value.get("seq").is_some()
}

pub fn replay(file: &File, _: &Inputs) -> String {
    let trace: Trace = file.parse();
    assert!(trace.peer == "OpenSeq2Seq AutomaticLossScaler", "the peer {} is not known", trace.peer);
    let scaling = loss_scaling(&trace.algorithm, &trace.params);
    let scales = scales(&LossScaler::new(scaling).unwrap(), &trace.seq);
    let of_f32 = worst_relative(&scales, &numbers(&trace.scale).expect("a list of scales"));
    assert_within("the scale", of_f32, tolerance(&scaling));
    let exact = trace.scale_exact.map(|exact| worst_relative(&scales, &numbers(&exact).expect("a list of scales")));
    assert_within("the exact scale", exact.unwrap_or(0.0), tolerances::SCHEDULE);
    let of_exact = exact.map_or(String::new(), |exact| format!("; of exact scales {exact:.1e}"));
    format!("{} {}, {} scales, within {of_f32:.1e}{of_exact}", trace.peer, trace.algorithm, scales.len())
}

fn tolerance(scaling: &LossScaling) -> f64 {
    let is_power_of_two = |x: f64| x.to_bits() << 12 == 0;
    match scaling {
        LossScaling::LogMax(_) => tolerances::LOG_MAX_IN_F32,
        LossScaling::Backoff(Backoff { scale_min, scale_max, step_factor, .. })
            if ![scale_min, scale_max, step_factor].into_iter().all(|x| is_power_of_two(*x)) =>
        {
            tolerances::BACKOFF_IN_F32
        }
        _ => 0.0,
    }
}

/// The scales before the first step and after every step.
fn scales(scaler: &LossScaler, steps: &[(bool, Value)]) -> Vec<f64> {
    let mut state = LossScaleState::default();
    let mut scales = vec![scaler.scale(&state)];
    for (has_nan, max_norm) in steps {
        let max_norm = number(max_norm).expect("a largest gradient");
        let finite = !has_nan && max_norm.is_finite();
        let update = scaler.update(&mut state, finite, max_norm);
        assert_eq!(update.skip, !finite);
        // A checkpoint after every step, unless the scale has become NaN.
        if !update.scale.is_nan() {
            state = scaler.restore(state.to_numbers()).expect("the state of a scaler");
            assert_eq!(scaler.scale(&state), update.scale);
        }
        scales.push(update.scale);
    }
    scales
}

/// A scaler of OpenSeq2Seq with its parameters, as it is executed.
pub fn loss_scaling(algorithm: &str, params: &Value) -> LossScaling {
    let mut keys = Keys::new(algorithm, params);
    let k = &mut keys;
    let scaling = match algorithm {
        "Backoff" | "backoff" => LossScaling::Backoff(Backoff {
            scale_min: k.number("scale_min", Backoff::DEFAULT.scale_min),
            scale_max: k.number("scale_max", Backoff::DEFAULT.scale_max),
            step_factor: k.number("step_factor", Backoff::DEFAULT.step_factor),
            step_window: k.number("step_window", Backoff::DEFAULT.step_window.into()) as u32,
        }),
        "LogMax" | "logmax" => LossScaling::LogMax(LogMax {
            scale_min: k.number("scale_min", LogMax::DEFAULT.scale_min),
            scale_max: k.number("scale_max", LogMax::DEFAULT.scale_max),
            log_max: k.number("log_max", LogMax::DEFAULT.log_max),
            beta1: k.number("beta1", LogMax::DEFAULT.beta1),
            beta2: k.number("beta2", LogMax::DEFAULT.beta2),
            overflow_std_dev: k.number("overflow_std_dev", LogMax::DEFAULT.overflow_std_dev),
            ..LogMax::OPENSEQ2SEQ
        }),
        _ => panic!("the loss scaler {algorithm} is not known"),
    };
    keys.finish();
    scaling
}
