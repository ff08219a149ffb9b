//! The inputs of recorded runs of other systems: layers whose weights and gradients are computed, not stored. The
//! recipe is in `tests/data/README.md`.

use crate::files::{self, File};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub struct Inputs {
    pub layers: Vec<InputLayer>,
}

#[derive(Deserialize)]
pub struct InputLayer {
    index: u64,
    pub name: String,
    pub n: usize,
    log2_w_scale: Option<i32>,
    log2_g_scale: Option<i32>,
    zero_grad_steps: Vec<u64>,
    sample_w0: Vec<f64>,
    sample_g1: Vec<f64>,
}

impl Inputs {
    /// Those of `tests/data`.
    pub fn stored() -> Inputs {
        files::stored("inputs_layers.json").parse()
    }

    /// The layer of a trace.
    pub fn layer(&self, name: &str, n: usize) -> &InputLayer {
        let layer = self.layers.iter().find(|layer| layer.name == name && layer.n == n);
        layer.unwrap_or_else(|| panic!("the inputs have no layer {name} of {n} weights"))
    }
}

impl InputLayer {
    /// Number `i` of the layer at a step, uniform in [-1, 1).
    fn uniform(&self, step: u64, i: u64) -> f64 {
        let mut z = (self.index << 48 | step << 40 | i).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((z >> 40) as f64 - f64::from(1 << 23)) / f64::from(1 << 23)
    }

    pub fn weights(&self) -> Vec<f32> {
        let scale = self.log2_w_scale.map_or(0.0, |s| 2f64.powi(s));
        (0..self.n as u64).map(|i| (self.uniform(0, i) * scale) as f32).collect()
    }

    pub fn gradients(&self, step: u64) -> Vec<f32> {
        let scale = match self.log2_g_scale {
            Some(s) if !self.zero_grad_steps.contains(&step) => 2f64.powi(s + ((step - 1) % 4) as i32 - 2),
            _ => 0.0,
        };
        (0..self.n as u64).map(|i| (self.uniform(step, i) * scale) as f32).collect()
    }
}

/// Whether a file contains inputs.
pub fn is(value: &Value) -> bool {
    value["layers"].as_array().is_some_and(|layers| layers.iter().all(|layer| layer.get("log2_w_scale").is_some()))
}

/// Computes the weights and gradients, and compares the first ones with a file of inputs.
pub fn replay(file: &File, _: &Inputs) -> String {
    let inputs: Inputs = file.parse();
    let (mut count, mut worst) = (0, 0.0_f64);
    for input in &inputs.layers {
        for (computed, stored) in [(input.weights(), &input.sample_w0), (input.gradients(1), &input.sample_g1)] {
            assert!(computed.len() >= stored.len() && !stored.is_empty(), "{}", input.name);
            for (computed, stored) in computed.iter().zip(stored) {
                let difference = (f64::from(*computed) - stored).abs();
                // Some readers of JSON are off by one unit in the last place.
                assert!(difference <= 1e-15 * stored.abs(), "{}: {computed} instead of {stored}", input.name);
                worst = worst.max(difference);
                count += 1;
            }
        }
    }
    format!("inputs of {} layers, {count} numbers, within {worst:.1e}", inputs.layers.len())
}
