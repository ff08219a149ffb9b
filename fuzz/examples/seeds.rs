//! Writes an initial corpus for every target, or for those that are named, and runs each input once: `cargo run
//! --release --example seeds [TARGET...]`.
//!
//! Inputs are decoded from bytes, so random bytes of many lengths are good seeds. They are the same every time.

use layerwise::{NovoGrad, NovoGradConfig, Sgd, SgdConfig};
use std::path::Path;
use std::{env, fs};

/// Settings and states as text.
const SETTINGS: [&str; 17] = [
    r#"{"larc_eta": 0.002, "larc_mode": "clip", "epsilon": 1e-8, "min_update": 1e-7}"#,
    r#"{"momentum": 0.9, "weight_decay": 0.01, "nesterov": true, "larc": {"larc_eta": 0.02, "zero_norm": "formula"}}"#,
    r#"{"beta1": 0.95, "beta2": 0.98, "epsilon": 1e-08, "decay_mode": {"corrected": {"max_rate": 1}}}"#,
    r#"{"luc": {"trust": 0.001, "eps": 0, "freezes_zeros": true}, "v_init": "first_step", "norm": "max"}"#,
    r#"{"adapt": false, "rate": "0.3333333333333333", "decay": 0.5, "frozen": true}"#,
    r#"{"start": 0, "len": 10, "config": {"adapt": false, "decay": 0, "rate": 0.5}}"#,
    r#"{"non_finite": "skip_step", "clip_norm": "1e300"}"#,
    r#"{"steps": 3}"#,
    r#"{"second_moment": "0.30000000000000004", "max_second_moment": 0.5, "steps": 7}"#,
    r#"{"Backoff": {"scale_min": 1, "scale_max": 16777216.0, "step_factor": 2, "step_window": 2000}}"#,
    r#"{"LogMax": {"log_max": 16, "beta1": 0.99, "beta2": 0.999, "overflow_std_dev": 3.09}}"#,
    r#"{"poly_decay": {"learning_rate": 0.02, "decay_steps": 1000, "power": 2.0, "warmup_steps": 10}}"#,
    r#"{"transformer_policy": {"learning_rate": 2, "d_model": 512, "warmup_steps": 4000, "max_lr": 0.1}}"#,
    r#"{"beta2": 0.99, "decay_mode": "l2", "bias_correction": "tensor_flow", "trust_ratio": {"max_ratio": 10}}"#,
    r#"{"optimizer": "NovoGrad", "optimizer_params": {"beta1": 0.95, "weight_decay": 0.001, "grad_averaging": false},
        "lr_policy": "poly_decay", "lr_policy_params": {"learning_rate": 0.02, "min_lr": 1e-05, "power": 2.0},
        "larc_params": {"larc_eta": 0.001}, "dtype": "mixed", "loss_scaling": "Backoff", "num_epochs": 400}"#,
    r#"{"optimizer": "Momentum", "optimizer_params": {"momentum": 0.9}, "lr_policy": "fixed_lr",
        "lr_policy_params": {"learning_rate": 0.001}, "max_grad_norm": 1, "max_steps": 10}"#,
    r#"{"piecewise_constant": {"learning_rate": 1, "boundaries": [2, 5], "decay_rates": [0.5, "0.1"]}}"#,
];

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let named: Vec<String> = env::args().skip(1).collect();
    for (name, target) in layerwise_fuzz::TARGETS {
        if !named.is_empty() && !named.iter().any(|other| other == name) {
            continue;
        }
        let directory = corpus.join(name);
        fs::create_dir_all(&directory).unwrap();
        let inputs: Vec<Vec<u8>> = match name {
            "settings" => SETTINGS.map(|text| text.as_bytes().to_vec()).into_iter().chain(memories()).collect(),
            // Large models take long.
            "parallel" => random(150),
            _ => random(500),
        };
        for (i, input) in inputs.iter().enumerate() {
            layerwise_fuzz::run(target, input);
            fs::write(directory.join(format!("seed-{i:03}")), input).unwrap();
        }
        println!("{name}: {} inputs in {}", inputs.len(), directory.display());
    }
}

/// Memories of small models as text.
fn memories() -> [Vec<u8>; 2] {
    let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap().memory([3]);
    let novograd = NovoGrad::new(NovoGradConfig::DEFAULT).unwrap().memory([2, 0]);
    [serde_json::to_vec(&sgd).unwrap(), serde_json::to_vec(&novograd).unwrap()]
}

/// Inputs of 16 bytes to a kibibyte.
fn random(count: usize) -> Vec<Vec<u8>> {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut input = |i| {
        let len = 32_usize << (i % 6);
        (0..rng.usize(len / 2..len)).map(|_| rng.u8(..)).collect()
    };
    (0..count).map(&mut input).collect()
}
