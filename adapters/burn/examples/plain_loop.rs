//! Trains a network to read digits in a hand-written loop, with a checkpoint in between.
//!
//! ```text
//! cargo run --release --example plain_loop
//! ```

mod net;

use burn::module::{Module, ParamGroup};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor};
use layerwise::{LarcConfig, LayerConfig, NovoGrad, NovoGradConfig, Sgd, SgdConfig};
use layerwise_burn::Layerwise;
use net::{BATCH, Digit, Mlp, batch, digits};
use std::error::Error;
use std::time::{Duration, Instant};

const EPOCHS: usize = 40;
/// The accuracy that every optimizer reaches on any processor. (Matrix products round differently elsewhere, and one
/// digit is 0.3 %. The README has the results.)
const ENOUGH: f64 = 0.94;

/// The result of a training run.
struct Trained {
    accuracy: f64,
    /// Mean time of an optimizer step.
    time: Duration,
}

/// Trains with a rate that falls to 0. Halfway, the optimizer is saved, recreated and loaded.
fn train(
    (train, test): (&[Digit], &[Digit]),
    lr: f64,
    make: &dyn Fn() -> Result<ModuleOptimizer, Box<dyn Error>>,
) -> Result<Trained, Box<dyn Error>> {
    let device = Device::flex().autodiff();
    device.seed(5);
    let (mut model, mut optimizer) = (Mlp::new(&device), make()?);
    let loss = CrossEntropyLossConfig::new().init(&device);
    let (mut train, mut random) = (train.to_vec(), fastrand::Rng::with_seed(7));
    let steps = EPOCHS * train.len().div_ceil(BATCH);
    let (mut step, mut time) = (0, Duration::ZERO);
    for epoch in 0..EPOCHS {
        if epoch == EPOCHS / 2 {
            optimizer = make()?.from_bytes(optimizer.into_bytes()?)?;
        }
        random.shuffle(&mut train);
        for digits in train.chunks(BATCH) {
            let (pixels, labels) = batch(digits, &device);
            let gradients = loss.forward(model.forward(pixels), labels).backward();
            let gradients = GradientsParams::from_grads(gradients, &model);
            let start = Instant::now();
            model = optimizer.step(lr * (1.0 - step as f64 / steps as f64), model, gradients);
            time += start.elapsed();
            step += 1;
        }
    }
    Ok(Trained { accuracy: accuracy(&model.valid(), test), time: time / steps as u32 })
}

/// The fraction of digits that are classified correctly.
fn accuracy(model: &Mlp, test: &[Digit]) -> f64 {
    let (pixels, labels) = batch(test, &Device::flex());
    let read: Tensor<1, Int> = model.forward(pixels).argmax(1).squeeze_dim(1);
    let right: i64 = read.equal(labels).int().sum().into_scalar();
    right as f64 / test.len() as f64
}

/// LARC, with biases exempt: by burn's groups, which select parameters by path.
fn larc() -> Result<ModuleOptimizer, Box<dyn Error>> {
    let larc = Some(LarcConfig::DEFAULT);
    let larc = Layerwise::new(Sgd::new(SgdConfig { momentum: 0.9, larc, ..SgdConfig::DEFAULT })?)?;
    // LARC lowers the rate of the others, so a tenth of it is enough for biases.
    let biases = LayerConfig { rate: 0.1, ..LayerConfig::PLAIN };
    let group = ParamGroup::from_predicate("bias");
    Ok(ModuleOptimizer::from(larc.clone()).with_group(group, larc.with_config(biases), None))
}

/// NovoGrad, with biases exempt from decay: by their rank.
fn novograd() -> Result<ModuleOptimizer, Box<dyn Error>> {
    let novograd = NovoGrad::new(NovoGradConfig { weight_decay: 1e-4, ..NovoGradConfig::DEFAULT })?;
    Ok(Layerwise::new(novograd)?.with_configs(|shape| LayerConfig::of_rank(shape.len())).init())
}

fn main() -> Result<(), Box<dyn Error>> {
    let (learn, test) = digits()?;
    println!("{} digits to learn from, {} to test, {EPOCHS} epochs\n", learn.len(), test.len());
    println!("optimizer    rate    accuracy   µs per step");
    let burn_adamw = || Ok(AdamWConfig::new().init());
    let runs: [(_, _, &dyn Fn() -> _); 3] =
        [("LARC", 1.0, &larc), ("NovoGrad", 0.01, &novograd), ("burn's AdamW", 0.003, &burn_adamw)];
    for (name, lr, make) in runs {
        let Trained { accuracy, time } = train((&learn, &test), lr, make)?;
        println!("{name:12} {lr:<7} {:.1} %     {:.1}", 100.0 * accuracy, time.as_secs_f64() * 1e6);
        if accuracy < ENOUGH {
            return Err(format!("{name} should read {:.0} % right", 100.0 * ENOUGH).into());
        }
    }
    Ok(())
}
