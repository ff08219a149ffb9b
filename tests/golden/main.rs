//! Replays recorded runs of other systems: ten steps of sixteen layers each, against the crate and the reference; and
//! what surrounds a step in OpenSeq2Seq.
//!
//! The traces of `tests/data/traces` are replayed always. Those of another directory (files `*.json` or `*.json.gz` in
//! the same format, see `tests/data/README.md`) are replayed by
//!
//!     LAYERWISE_TRACES=<directory> cargo test --test golden

#[path = "../harness/inputs.rs"]
mod inputs;
mod peers;
#[path = "../reference/mod.rs"]
mod reference;
mod run;
#[path = "../harness/training.rs"]
mod training;

use inputs::{InputLayer, Inputs};
use peers::Settings;
use reference::max_norm;
use run::Snapshot;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// A trajectory may differ by this much of the largest weight of its layer.
const TOLERANCE: f64 = 2e-6;
/// The reference computes as the peers do; what differs is the digits stored.
const REFERENCE_TOLERANCE: f64 = 1e-9;
/// Second moments below this are subnormal in `f32`, or nearly, and have lost digits. (Every peer adds an eps that is
/// far larger.)
const LEAST_SECOND_MOMENT: f64 = 1e-30;

#[derive(Deserialize)]
struct Trace {
    peer: String,
    #[serde(default)]
    peer_version: String,
    config: Map<String, Value>,
    lr: Vec<f64>,
    /// `all` if one optimizer has all layers, so that their gradients have one norm.
    #[serde(default)]
    clip_scope: String,
    /// The norm of the gradient of the model at each step, where there is one.
    #[serde(default)]
    global_norm: Vec<f64>,
    /// What gradients were multiplied by, where the peer computes that in `f32`.
    #[serde(default)]
    clip_factor: Vec<f64>,
    layers: Vec<TraceLayer>,
}

#[derive(Deserialize)]
struct TraceLayer {
    name: String,
    n: usize,
    record_steps: Vec<usize>,
    w: Vec<Vec<f64>>,
    #[serde(default)]
    m: Vec<Vec<f64>>,
    #[serde(default)]
    v: Vec<f64>,
    #[serde(default)]
    v2: Vec<Vec<f64>>,
    #[serde(default)]
    larc_update: Vec<f64>,
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// The largest difference, in units of `scale`.
fn worst(ours: &[f64], theirs: &[f64], scale: f64) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let difference = ours.iter().zip(theirs).fold(0.0, |worst, (a, b)| (a - b).abs().max(worst));
    if difference == 0.0 { 0.0 } else { difference / scale }
}

/// The largest number of all recorded steps: what may pass through zero has that for its scale.
fn largest(recorded: &[Vec<f64>]) -> f64 {
    recorded.iter().map(|x| max_norm(x)).fold(0.0, f64::max)
}

/// Compares one layer of a trace with a run; returns the largest difference.
fn compare(trace: &Trace, layer: &TraceLayer, run: &[Snapshot], w0: &[f32]) -> f64 {
    let momentum_sign = match trace.peer.as_str() {
        "tensorflow_addons NovoGrad" | "optax.lars" => -1.0,
        _ => 1.0,
    };
    let mut error: f64 = 0.0;
    for (i, &step) in layer.record_steps.iter().enumerate() {
        let snapshot = &run[step - 1];
        let scale = max_norm(&layer.w[i]).max(max_norm(&wide(w0)));
        error = error.max(worst(&snapshot.weights, &layer.w[i], scale));
        if let Some(m) = layer.m.get(i).filter(|_| !snapshot.momentum.is_empty()) {
            let m: Vec<f64> = m.iter().map(|m| m * momentum_sign).collect();
            error = error.max(worst(&snapshot.momentum, &m, largest(&layer.m)));
        }
        if let Some(v2) = layer.v2.get(i) {
            error = error.max(worst(&snapshot.second_moments, v2, largest(&layer.v2).max(LEAST_SECOND_MOMENT)));
        }
    }
    for (snapshot, &v) in run.iter().zip(&layer.v) {
        let v = match (trace.peer.as_str(), trace.config.get("norm_type").and_then(Value::as_f64)) {
            ("apex.optimizers.FusedNovoGrad", norm_type) if norm_type != Some(0.0) => v * v,
            _ => v,
        };
        error = error.max(worst(&[snapshot.second_moment], &[v], v));
    }
    for (snapshot, &factor) in run.iter().zip(&layer.larc_update) {
        error = error.max(worst(&[snapshot.front], &[factor], factor));
    }
    error
}

/// The layers of a trace that one optimizer has, as they are in the trace.
fn models(trace: &Trace) -> Vec<&[TraceLayer]> {
    match trace.clip_scope.as_str() {
        "all" => vec![&trace.layers],
        "" | "layer" => trace.layers.chunks(1).collect(),
        scope => panic!("the scope of a clip is {scope}"),
    }
}

/// Replays the trace of an optimizer, and prints how far crate and reference are off.
fn replay_steps(name: &str, trace: &Trace, settings: &Settings, inputs: &Inputs) {
    let (mut of_crate, mut of_reference) = (0.0_f64, 0.0_f64);
    for model in models(trace) {
        let layers: Vec<&InputLayer> = model.iter().map(|layer| inputs.layer(&layer.name, layer.n)).collect();
        for (by_crate, tolerance, worst) in
            [(true, TOLERANCE, &mut of_crate), (false, REFERENCE_TOLERANCE, &mut of_reference)]
        {
            let who = if by_crate { "the crate" } else { "the reference" };
            let run = if by_crate {
                run::by_crate(settings, trace, &layers)
            } else {
                run::by_reference(settings, trace, &layers)
            };
            for ((layer, input), run) in model.iter().zip(&layers).zip(&run) {
                let error = compare(trace, layer, run, &input.weights());
                assert!(error <= tolerance, "{name}, layer {}: {who} is off by {error:e}", layer.name);
                *worst = worst.max(error);
            }
        }
    }
    println!("{name}: crate within {of_crate:.1e}, reference within {of_reference:.1e}");
}

/// What a file of traces may be beside a trace.
fn is_no_trace(name: &str) -> bool {
    ["inputs_layers", "cast_bits", "os2s_recipes"].iter().any(|known| name.starts_with(known))
}

/// Replays every trace of a directory; returns how many there were of optimizers, and of what surrounds their steps. A
/// file of another kind is a failure.
fn replay(directory: &Path) -> [usize; 2] {
    let inputs = Inputs::stored();
    let mut counts = [0; 2];
    for (name, value) in inputs::traces::<Value>(directory) {
        if training::replay(&name, &value, |step| inputs.gradients(step)) {
            counts[1] += 1;
            continue;
        }
        if is_no_trace(&name) {
            println!("{name}: no trace");
            continue;
        }
        let trace: Trace = serde_json::from_value(value).unwrap_or_else(|error| panic!("{name}: {error}"));
        let settings = peers::settings(&trace.peer, &trace.peer_version, &trace.config);
        let settings = settings.unwrap_or_else(|| panic!("{name}: the peer {} is unknown", trace.peer));
        replay_steps(&name, &trace, &settings, &inputs);
        counts[0] += 1;
    }
    counts
}

#[test]
fn replays_every_stored_trace() {
    assert_eq!(replay(&inputs::data().join("traces")), [49, 5]);
}

#[test]
fn replays_the_traces_of_the_environment() {
    if let Some(directory) = std::env::var_os("LAYERWISE_TRACES") {
        let directory = PathBuf::from(directory);
        let [optimizers, others] = replay(&directory);
        println!("{optimizers} optimizers, {others} other traces");
        assert!(optimizers + others > 0, "no trace in {}", directory.display());
    }
}

#[test]
fn inputs_follow_the_recipe() {
    for input in &Inputs::stored().layers {
        let computed = [wide(&input.weights()), wide(&input.gradients(1))];
        for (computed, stored) in computed.iter().zip([&input.sample_w0, &input.sample_g1]) {
            // Some readers of JSON are off by one unit in the last place.
            let same = |(computed, stored): (&f64, &f64)| (computed - stored).abs() <= 1e-15 * stored.abs();
            assert!(computed.iter().zip(stored).all(same), "{}", input.name);
            assert!(computed.len() >= stored.len() && !stored.is_empty());
        }
    }
}
