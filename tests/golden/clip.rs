//! The clip to a global norm: a recorded run of OpenSeq2Seq.

use crate::compare::{assert_within, worst_relative};
use crate::files::File;
use crate::inputs::Inputs;
use crate::reference::tolerances;
use layerwise::{LayerMemory, Policy, Report, Sgd, SgdConfig, SgdState};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Trace {
    peer: String,
    clip: f64,
    #[serde(default)]
    excluded_layers: Vec<String>,
    steps: Vec<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    step: u64,
    global_norm: f64,
    scale: f64,
}

pub fn is(value: &Value) -> bool {
    value.get("clip").is_some() && value.get("steps").is_some()
}

pub fn replay(file: &File, inputs: &Inputs) -> String {
    let trace: Trace = file.parse();
    assert!(trace.peer == "OpenSeq2Seq _clip_by_global_norm", "the peer {} is not known", trace.peer);
    let policy = Policy { clip_norm: Some(trace.clip), ..Policy::DEFAULT };
    let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap().with_policy(policy).unwrap();
    assert!(!trace.steps.is_empty(), "there are no steps");
    let mut deviation = 0.0_f64;
    for recorded in &trace.steps {
        let layers = inputs.layers.iter().filter(|layer| !trace.excluded_layers.contains(&layer.name));
        let gradients: Vec<Vec<f32>> = layers.map(|layer| layer.gradients(recorded.step)).collect();
        let mut weights: Vec<Vec<f32>> = gradients.iter().map(|g| vec![0.0; g.len()]).collect();
        let mut states = vec![SgdState::default(); weights.len()];
        let tensors = weights.iter_mut().zip(&gradients).zip(&mut states);
        let mut model: Vec<LayerMemory<SgdState>> =
            tensors.map(|((w, g), state)| LayerMemory::new(w, g, state)).collect();
        let mut reports = vec![Report::ABSENT; model.len()];
        let summary = sgd.step(0.0, &mut model[..], &mut reports).unwrap();
        let [ours, theirs] = [[summary.gradient_norm, summary.clip], [recorded.global_norm, recorded.scale]];
        deviation = deviation.max(worst_relative(&ours, &theirs));
        assert_within(&format!("norm or clip of step {}", recorded.step), deviation, tolerances::RECORDED);
    }
    format!("{}, {} norms and clips, within {deviation:.1e}", trace.peer, 2 * trace.steps.len())
}
