//! Steps of a recipe, against the arithmetic of OpenSeq2Seq in `f64`: decay in the gradient, then LARC, then momentum.

use super::training;
use super::words::with;
use layerwise::{LayerMemory, Step};
use serde_json::json;

fn norm(numbers: &[f64]) -> f64 {
    numbers.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn larc_measures_the_gradient_with_the_regularizer_in_it() {
    let words = json!({
        "optimizer": "Momentum", "optimizer_params": {"momentum": 0.9}, "larc_params": {"larc_eta": 0.01},
        "regularizer": "l2_regularizer", "regularizer_params": {"scale": 0.5},
        "dtype": "mixed", "loss_scaling": 64,
    });
    let training = training(&with(words));
    let (optimizer, scale) = (training.optimizer(), 64.0_f64);
    let (mut weights, mut momentum, mut state) = ([0.5_f32, -1.0, 2.0], [0.0; 3], [0.0; 3]);
    let (mut w, mut m) = ([0.5, -1.0, 2.0], [0.0; 3]);
    for step in 0..10_u32 {
        let g = [0.3, 0.5 - 0.1 * f64::from(step), -0.7];
        let lr = training.schedule.rate(step.into());
        let scaled = g.map(|g| (g * scale) as f32);
        let layer = LayerMemory::new(&mut weights, &scaled, &mut state).momentum(&mut momentum);
        optimizer.step_layer(Step::new(lr).gradient_scale(1.0 / scale), layer).unwrap();

        let h: [f64; 3] = std::array::from_fn(|i| g[i] + 0.5 * w[i]);
        let factor = (0.01 * norm(&w) / (lr * (norm(&h) + 1e-7))).clamp(1e-7, 1.0);
        m = std::array::from_fn(|i| 0.9 * m[i] + factor * h[i]);
        w = std::array::from_fn(|i| w[i] - lr * m[i]);
        for (ours, theirs) in weights.iter().zip(w) {
            assert!((f64::from(*ours) - theirs).abs() < 2e-6, "step {step}: {ours} instead of {theirs}");
        }
    }
}

#[test]
fn novograd_sees_what_larc_leaves() {
    let words = json!({
        "optimizer": "NovoGrad", "optimizer_params": {"weight_decay": 0.1, "grad_averaging": true},
        "larc_params": {"larc_eta": 0.01},
    });
    let training = training(&with(words));
    let optimizer = training.optimizer();
    let (mut weights, mut momentum, mut state) = ([0.5_f32, -1.0, 2.0], [0.0; 3], [0.0; 3]);
    let (mut w, mut m, mut v) = ([0.5, -1.0, 2.0], [0.0; 3], 0.0);
    for step in 0..10_u32 {
        let g = [0.3, 0.5 - 0.1 * f64::from(step), -0.7];
        let lr = training.schedule.rate(step.into());
        let gradients = g.map(|g| g as f32);
        let layer = LayerMemory::new(&mut weights, &gradients, &mut state).momentum(&mut momentum);
        optimizer.step_layer(lr, layer).unwrap();

        let factor = (0.01 * norm(&w) / (lr * (norm(&g) + 1e-7))).clamp(1e-7, 1.0);
        let h = g.map(|g| factor * g);
        let square = norm(&h) * norm(&h);
        v = if v == 0.0 { square } else { 0.98 * v + 0.02 * square };
        m = std::array::from_fn(|i| 0.95 * m[i] + 0.05 * (h[i] / (v.sqrt() + 1e-8) + 0.1 * w[i]));
        w = std::array::from_fn(|i| w[i] - lr * m[i]);
        for (ours, theirs) in weights.iter().zip(w) {
            assert!((f64::from(*ours) - theirs).abs() < 2e-6, "step {step}: {ours} instead of {theirs}");
        }
    }
}
