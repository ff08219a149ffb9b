//! Training in mixed precision: a recorded run of OpenSeq2Seq with 16-bit gradients of a scaled loss. With the feature
//! `half` the crate reads them as they are, and writes the 16-bit weights of the model itself.

use crate::compare::{assert_within, wide, worst};
use crate::files::File;
use crate::inputs::Inputs;
use crate::keys::{Keys, numbers};
use crate::peers::openseq2seq_larc;
use crate::reference::tolerances;
use crate::reference::{cast, max_norm};
use crate::scalers::loss_scaling;
#[cfg(feature = "half")]
use half::f16;
use layerwise::schedule::{LossScaleState, LossScaler};
use layerwise::{LayerMemory, NonFinite, Policy, Sgd, SgdConfig, SgdState, Step};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Trace {
    peer: String,
    lr: Vec<f64>,
    w0: Value,
    /// The gradient of each step: a list that may have "inf" in it.
    g16: Vec<Value>,
    steps: Vec<Recorded>,
}

/// What is recorded of a step.
#[derive(Deserialize)]
struct Recorded {
    loss_scale_used: f64,
    loss_scale_after: f64,
    global_step: u32,
    w16: Vec<f64>,
    master32: Vec<f64>,
}

pub fn is(value: &Value) -> bool {
    value.get("g16").is_some()
}

/// The optimizer and the scaler in the name of a peer: `OpenSeq2Seq MixedPrecisionOptimizerWrapper + LARC(clip,
/// eta=0.001) + Momentum 0.9 + Backoff(step_window=3)`.
fn settings(peer: &str) -> (Sgd, LossScaler) {
    let mut parts = peer.split(" + ");
    assert!(parts.next() == Some("OpenSeq2Seq MixedPrecisionOptimizerWrapper"), "the peer {peer} is not known");
    let (mut sgd, mut scaler) = (SgdConfig::DEFAULT, None);
    for part in parts {
        let name = part.split(['(', ' ']).next().unwrap_or_default();
        let words = part[name.len()..].trim_matches(['(', ')', ' ']);
        match name {
            "LARC" => sgd.larc = Some(openseq2seq_larc(Keys::new(name, &params(words, "mode")))),
            "Momentum" | "SGD" => momentum(Keys::new(name, &params(words, "momentum")), &mut sgd),
            _ => scaler = Some(LossScaler::new(loss_scaling(name, &params(words, "scale"))).unwrap()),
        }
    }
    let policy = Policy { non_finite: NonFinite::SkipStep, ..Policy::DEFAULT };
    let sgd = Sgd::new(sgd).unwrap().with_policy(policy).unwrap();
    (sgd, scaler.unwrap_or_else(|| panic!("{peer} names no loss scaler")))
}

fn momentum(mut keys: Keys, sgd: &mut SgdConfig) {
    sgd.momentum = keys.number("momentum", 0.0);
    sgd.nesterov = keys.flag("use_nesterov", false);
    keys.finish();
}

/// `a=1, b=2` as settings. A value without a name belongs to `first`.
fn params(words: &str, first: &str) -> Value {
    let words = words.split(", ").filter(|word| !word.is_empty());
    let value = |text: &str| serde_json::from_str(&text.to_lowercase()).unwrap_or_else(|_| text.into());
    let setting = |word: &str| {
        let (name, text) = word.split_once('=').unwrap_or((first, word));
        (name.to_string(), value(text))
    };
    Value::Object(words.map(setting).collect::<Map<_, _>>())
}

/// Weights are compared after every step, and so is the 16-bit copy of them that the recorded model computes with.
pub fn replay(file: &File, _: &Inputs) -> String {
    let trace: Trace = file.parse();
    assert!(!trace.steps.is_empty(), "there are no steps");
    let (sgd, scaler) = settings(&trace.peer);
    let list = |value| numbers(value).expect("a list of numbers");
    let mut weights: Vec<f32> = list(&trace.w0).iter().map(|&w| w as f32).collect();
    let (mut momentum, mut layer) = (vec![0.0_f32; weights.len()], SgdState::default());
    #[cfg(feature = "half")]
    let mut copy: Vec<f16> = weights.iter().map(|w| f16::from_f32(*w)).collect();
    let (mut state, mut global_step, mut deviation) = (LossScaleState::default(), 0, 0.0_f64);
    for (i, step) in trace.steps.iter().enumerate() {
        let scale = scaler.scale(&state);
        assert!(scale == step.loss_scale_used, "step {i}: the scale is {scale}");
        let scaled: Vec<f32> = list(&trace.g16[i]).iter().map(|g| to_f16(scale * g)).collect();
        #[cfg(feature = "half")]
        let scaled_16: Vec<f16> = scaled.iter().map(|g| f16::from_f32(*g)).collect();
        #[cfg(feature = "half")]
        let memory = LayerMemory::new(&mut weights, &scaled_16, &mut layer).saturating_copy(&mut copy);
        #[cfg(not(feature = "half"))]
        let memory = LayerMemory::new(&mut weights, &scaled, &mut layer);
        let memory = memory.momentum(&mut momentum);
        let report = sgd.step_layer(Step::new(trace.lr[i]).gradient_scale(1.0 / scale), memory).unwrap();
        let update = scaler.update(&mut state, report.applied(), max_norm(&wide(&scaled)) / scale);
        assert!(update.scale == step.loss_scale_after, "step {i}: the scale becomes {}", update.scale);
        global_step += u32::from(!update.skip);
        assert!(global_step == step.global_step && layer.steps == global_step, "step {i}: {global_step} steps count");

        let ours = wide(&weights);
        let largest = max_norm(&ours);
        deviation = deviation.max(worst(&ours, &step.master32, largest));
        assert_within(&format!("step {i}: the weights, of which one"), deviation, tolerances::RECORDED);
        check_copy(&ours, &step.w16, tolerances::RECORDED * largest);
        #[cfg(feature = "half")]
        assert_eq!(copy.iter().map(|w| w.to_f64()).collect::<Vec<_>>(), step.w16, "step {i}: the weights of 16 bits");
    }
    let (steps, count) = (trace.steps.len(), trace.steps.iter().map(|step| step.w16.len() + step.master32.len() + 3));
    format!("{}, {steps} steps, {} numbers, weights within {deviation:.1e}", trace.peer, count.sum::<usize>())
}

/// Fails unless each 16-bit number is the rounding of a weight close to ours: near a midpoint, either neighbour is
/// right.
fn check_copy(ours: &[f64], theirs: &[f64], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "so many numbers");
    for (ours, theirs) in ours.iter().zip(theirs) {
        let [least, most] = [ours - tolerance, ours + tolerance].map(to_f16_saturating);
        assert!((least..=most).contains(theirs), "{ours} is not rounded to {theirs}");
    }
}

fn to_f16(x: f64) -> f32 {
    f32::from_bits(cast::f16_to_f32(cast::f32_to_f16((x as f32).to_bits())))
}

fn to_f16_saturating(x: f64) -> f64 {
    f32::from_bits(cast::f16_to_f32(cast::f32_to_f16_saturating((x as f32).to_bits()))).into()
}
