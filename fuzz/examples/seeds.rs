//! Writes a corpus to begin with for every target, and runs each input once: `cargo run --release --example seeds`.
//!
//! Inputs are decoded from bytes, so random bytes of many lengths are a good beginning; the same ones are written every time.

use std::fs;
use std::path::Path;

/// Settings in the words that can be read.
const SETTINGS: [&str; 8] = [
    r#"{"larc_eta": 0.002, "larc_mode": "clip", "epsilon": 1e-8, "min_update": 1e-7}"#,
    r#"{"momentum": 0.9, "weight_decay": 0.01, "nesterov": true, "larc": {"larc_eta": 0.02, "zero_norm": "formula"}}"#,
    r#"{"beta1": 0.95, "beta2": 0.98, "epsilon": 1e-08, "weight_decay": 0.001, "decay_mode": {"corrected": {"max_rate": 1}}}"#,
    r#"{"luc": {"trust": 0.001, "eps": 0, "freezes_zeros": true}, "v_init": "first_step", "norm": "max"}"#,
    r#"{"start": 0, "len": 10, "layer": {"adapt": false, "decay": true, "rate": 0.5, "frozen": false}}"#,
    r#"{"non_finite": "skip_step", "clip_norm": 1.0}"#,
    r#"{"steps": 3}"#,
    r#"{"second_moment": 0.25, "max_second_moment": 0.5, "steps": 7}"#,
];

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in layerwise_fuzz::TARGETS {
        let directory = corpus.join(name);
        fs::create_dir_all(&directory).unwrap();
        let mut rng = fastrand::Rng::with_seed(1);
        let inputs: Vec<Vec<u8>> = match name {
            "settings" => SETTINGS.map(|text| text.as_bytes().to_vec()).to_vec(),
            _ => (0..300)
                .map(|i| {
                    let len = 32 << (i % 6);
                    (0..rng.usize(len / 2..len)).map(|_| rng.u8(..)).collect()
                })
                .collect(),
        };
        for (i, input) in inputs.iter().enumerate() {
            layerwise_fuzz::run(target, input);
            fs::write(directory.join(format!("seed-{i:03}")), input).unwrap();
        }
        println!("{name}: {} inputs in {}", inputs.len(), directory.display());
    }
}
