//! Traces of optimizers: their fields, and the deviations of the crate and the reference.

use crate::compare::{assert_within, wide, worst, worst_relative};
use crate::files::File;
use crate::inputs::{InputLayer, Inputs};
use crate::peers::{self, Settings};
use crate::reference::max_norm;
use crate::reference::tolerances;
use crate::run::{self, Snapshot};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Second moments below this are almost subnormal in `f32`, or are, and have lost digits. (Every peer adds a far larger
/// eps.)
const LEAST_SECOND_MOMENT: f64 = 1e-30;

#[derive(Deserialize)]
pub struct Trace {
    peer: String,
    #[serde(default)]
    peer_version: String,
    config: Value,
    pub lr: Vec<f64>,
    /// `all` if one optimizer has all layers, so that their gradients share a norm.
    #[serde(default)]
    clip_scope: Option<String>,
    #[serde(flatten)]
    clipped: Clipped,
    layers: Vec<Layer>,
}

/// What a peer reports about the gradient of a model: all layers, or one layer if each has its own optimizer.
#[derive(Deserialize)]
pub struct Clipped {
    /// Its norm at each step, where there is one.
    #[serde(default)]
    pub global_norm: Vec<f64>,
    /// What it was multiplied by, if the peer computes that in `f32`.
    #[serde(default)]
    pub clip_factor: Vec<f64>,
}

#[derive(Deserialize)]
struct Layer {
    name: String,
    n: usize,
    record_steps: Vec<usize>,
    w: Vec<Vec<f64>>,
    #[serde(default)]
    m: Vec<Vec<f64>>,
    #[serde(default)]
    v: Vec<f64>,
    #[serde(default, alias = "vhat")]
    max_exp_avg_sq: Vec<f64>,
    #[serde(default)]
    v2: Vec<Vec<f64>>,
    #[serde(default)]
    larc_update: Vec<f64>,
    #[serde(flatten)]
    clipped: Clipped,
    /// Fields that are not compared.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

pub fn is(value: &Value) -> bool {
    value["config"].is_object() && value["layers"].is_array()
}

/// The largest number of all recorded steps: the scale for numbers that may pass through zero.
fn largest(recorded: &[Vec<f64>]) -> f64 {
    recorded.iter().map(|x| max_norm(x)).fold(0.0, f64::max)
}

/// Compares one layer of a trace with a run; returns the largest difference.
fn compare(settings: &Settings, layer: &Layer, run: &[Snapshot], w0: &[f32]) -> f64 {
    let mut error: f64 = 0.0;
    for (i, &step) in layer.record_steps.iter().enumerate() {
        let snapshot = &run[step - 1];
        let scale = max_norm(&layer.w[i]).max(max_norm(&wide(w0)));
        error = error.max(worst(&snapshot.weights, &layer.w[i], scale));
        if let Some(m) = layer.m.get(i).filter(|_| !snapshot.momentum.is_empty()) {
            let m: Vec<f64> = m.iter().map(|m| m * settings.momentum_sign).collect();
            error = error.max(worst(&snapshot.momentum, &m, largest(&layer.m)));
        }
        if let Some(v2) = layer.v2.get(i) {
            error = error.max(worst(&snapshot.second_moments, v2, largest(&layer.v2).max(LEAST_SECOND_MOMENT)));
        }
    }
    let square = |v: &f64| if settings.keeps_root { v * v } else { *v };
    let of_run = |number: fn(&Snapshot) -> f64, recorded: &[f64]| {
        let ours: Vec<f64> = run.iter().take(recorded.len()).map(number).collect();
        worst_relative(&ours, recorded)
    };
    let v: Vec<f64> = layer.v.iter().map(square).collect();
    error = error.max(of_run(|snapshot| snapshot.second_moment, &v));
    error = error.max(of_run(|snapshot| snapshot.max_second_moment, &layer.max_exp_avg_sq));
    error.max(of_run(|snapshot| snapshot.front, &layer.larc_update))
}

/// How many numbers of a layer are compared.
fn count(layer: &Layer) -> usize {
    let arrays = [&layer.w, &layer.m, &layer.v2].map(|arrays| arrays.iter().map(Vec::len).sum::<usize>());
    let numbers = [&layer.v, &layer.max_exp_avg_sq, &layer.larc_update].map(Vec::len);
    arrays.into_iter().chain(numbers).sum()
}

/// The layers of a trace that share an optimizer, and what it reports about their gradients.
fn models(trace: &Trace) -> Vec<(&[Layer], &Clipped)> {
    match trace.clip_scope.as_deref() {
        Some("all") => vec![(&trace.layers, &trace.clipped)],
        None | Some("" | "layer") => trace.layers.chunks(1).map(|layer| (layer, &layer[0].clipped)).collect(),
        Some(scope) => panic!("the clip_scope {scope} is not known"),
    }
}

/// Replays the trace of an optimizer, by the crate and by the reference.
pub fn replay(file: &File, inputs: &Inputs) -> String {
    let trace: Trace = file.parse();
    let settings = peers::settings(&trace.peer, &trace.peer_version, &trace.config);
    let (mut of_crate, mut of_reference) = (0.0_f64, 0.0_f64);
    for (model, clipped) in models(&trace) {
        let layers: Vec<&InputLayer> = model.iter().map(|layer| inputs.layer(&layer.name, layer.n)).collect();
        let by_crate = run::by_crate(&settings, &trace.lr, clipped, &layers);
        let by_reference = run::by_reference(&settings, &trace.lr, clipped, &layers);
        for (i, layer) in model.iter().enumerate() {
            let w0 = layers[i].weights();
            let error = compare(&settings, layer, &by_crate[i], &w0);
            assert_within(&format!("layer {}: the crate", layer.name), error, tolerances::RECORDED);
            of_crate = of_crate.max(error);
            let error = compare(&settings, layer, &by_reference[i], &w0);
            assert_within(&format!("layer {}: the reference", layer.name), error, tolerances::RECORDED_BY_REFERENCE);
            of_reference = of_reference.max(error);
        }
    }
    let count: usize = trace.layers.iter().map(count).sum();
    assert!(count > 0, "there are no weights");
    let rest: BTreeSet<&String> = trace.layers.iter().flat_map(|layer| layer.rest.keys()).collect();
    let rest = if rest.is_empty() { String::new() } else { format!("; not compared: {rest:?}") };
    let peer = &trace.peer;
    format!("{peer}, {count} numbers, crate within {of_crate:.1e}, reference within {of_reference:.1e}{rest}")
}
