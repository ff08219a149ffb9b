//! The model: one affine layer that learns another one. And three optimizers that train it.

use crate::Result;
use layerwise::pieces::{LEAF, add};
use layerwise::{
    Adam, AdamConfig, AnyOptimizer, LarcConfig, Luc, NonFinite, NovoGrad, NovoGradConfig, Policy, Sgd, SgdConfig,
    TrustRatio,
};
use std::ops::Range;

const INPUTS: usize = 400;
const OUTPUTS: usize = 250;
/// Examples of a micro-batch, whose gradients are added one by one. A micro-batch is a leaf of the tree.
pub const MICRO: usize = 2;
/// An example whose gradient overflows: its step is skipped.
const BAD: usize = 200;

/// Where a layer is in the flat buffer, in which each begins at a leaf. Padding a leaf with zeros changes no bit.
#[derive(Clone, Debug)]
pub struct Layer {
    pub units: Range<usize>,
    /// Elements.
    pub len: usize,
}

/// Layers of these lengths, one after the other.
pub fn layers(lengths: &[usize]) -> Vec<Layer> {
    let mut end = 0;
    let place = |&len: &usize| {
        let units = end..end + len.div_ceil(LEAF);
        end = units.end;
        Layer { units, len }
    };
    lengths.iter().map(place).collect()
}

/// Weights and biases.
pub fn of_this_example() -> Vec<Layer> {
    layers(&[INPUTS * OUTPUTS, OUTPUTS])
}

/// Elements of units.
pub fn elements(units: &Range<usize>) -> Range<usize> {
    units.start * LEAF..units.end * LEAF
}

/// The target weights, and the initial weights.
pub fn teacher_and_start() -> [Vec<f32>; 2] {
    let mut rng = fastrand::Rng::with_seed(0);
    [0, 1].map(|_| {
        let mut weights: Vec<f32> = (0..INPUTS * OUTPUTS).map(|_| 0.1 * (2.0 * rng.f32() - 1.0)).collect();
        weights.resize(of_this_example()[1].units.end * LEAF, 0.0);
        weights
    })
}

/// The gradient of a micro-batch of `|W·x + b − t|²/2`. It depends on the weights and on the number of the micro-batch,
/// never on the rank that computes it: examples are drawn by their number.
pub fn gradient(weights: &[f32], teacher: &[f32], micro_batch: usize) -> Result<Vec<f32>> {
    let mut sum = vec![0.0; weights.len()];
    for example in micro_batch * MICRO..(micro_batch + 1) * MICRO {
        add(&mut sum, &of_example(weights, teacher, example))?;
    }
    Ok(sum)
}

fn of_example(weights: &[f32], teacher: &[f32], example: usize) -> Vec<f32> {
    let bias = of_this_example()[1].units.start * LEAF;
    let mut rng = fastrand::Rng::with_seed(example as u64);
    let x: Vec<f32> = (0..INPUTS).map(|_| 2.0 * rng.f32() - 1.0).collect();
    let mut gradient = vec![0.0; weights.len()];
    for row in 0..OUTPUTS {
        let at = row * INPUTS..(row + 1) * INPUTS;
        let products = weights[at.clone()].iter().zip(&teacher[at.clone()]).zip(&x).map(|((w, t), x)| (w - t) * x);
        let mut error = products.sum::<f32>() + weights[bias + row];
        if example == BAD && row == 0 {
            error = f32::INFINITY;
        }
        gradient[at].iter_mut().zip(&x).for_each(|(g, x)| *g = error * x);
        gradient[bias + row] = error;
    }
    gradient
}

pub const RULES: [&str; 3] = ["larc", "novograd", "lamb"];

/// An optimizer and its learning rate: LARC; NovoGrad with a limit on its step and a clip of the whole gradient; LAMB.
/// A step that cannot be taken in one layer is skipped in all.
pub fn optimizer(rule: &str) -> Result<(AnyOptimizer, f64)> {
    let mut policy = Policy { clip_norm: None, non_finite: NonFinite::SkipStep };
    let (optimizer, lr) = match rule {
        "larc" => {
            let larc = LarcConfig { eta: 0.02, ..LarcConfig::DEFAULT };
            (Sgd::new(SgdConfig { momentum: 0.9, larc: Some(larc), ..SgdConfig::DEFAULT })?.any(), 0.05)
        }
        "novograd" => {
            policy.clip_norm = Some(1.0);
            let novograd = NovoGradConfig { luc: Some(Luc::DEFAULT), weight_decay: 0.001, ..NovoGradConfig::DEFAULT };
            (NovoGrad::new(novograd)?.any(), 0.02)
        }
        "lamb" => {
            let lamb = AdamConfig { trust_ratio: Some(TrustRatio::DEFAULT), weight_decay: 0.01, ..AdamConfig::DEFAULT };
            (Adam::new(lamb)?.any(), 0.01)
        }
        other => return Err(format!("no rule {other}: one of {}", RULES.join(", ")).into()),
    };
    Ok((optimizer.with_policy(policy)?, lr))
}
