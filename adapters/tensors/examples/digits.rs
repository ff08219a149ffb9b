//! Trains a small network to read handwritten digits, with four optimizers from the same initial weights. The first
//! half of the run trains arrays, which are saved; the second half trains inside the file.
//!
//! ```text
//! cargo run --example digits
//! cargo run --example digits -- --short    # three epochs, as a quick check
//! ```

mod common;

use common::{Digits, NAMES, Network, Weights};
use layerwise::{
    Adam, AdamConfig, AnyOptimizer, AnyRule, ConfigError, LarcConfig, LayerConfig, NovoGrad, NovoGradConfig, Sgd,
    SgdConfig, Summary,
};
use layerwise_tensors::{Checkpoint, Layerwise, Mapped, gradient, pair};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

const BATCH: usize = 32;

/// Names, optimizers and initial learning rates.
fn contenders() -> Result<[(&'static str, AnyOptimizer, f64); 4], ConfigError> {
    let momentum = SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT };
    let larc = SgdConfig { larc: Some(LarcConfig::DEFAULT), ..momentum };
    Ok([
        ("SGD with momentum", Sgd::new(momentum)?.any(), 0.05),
        ("LARC with momentum", Sgd::new(larc)?.any(), 1.0),
        ("NovoGrad", NovoGrad::new(NovoGradConfig::DEFAULT)?.any(), 0.01),
        ("AdamW", Adam::new(AdamConfig { weight_decay: 0.01, ..AdamConfig::DEFAULT })?.any(), 0.003),
    ])
}

/// The steps of a run, whose rate falls linearly from `lr` to 0.
struct Training {
    digits: Digits,
    epochs: usize,
    lr: f64,
}

impl Training {
    /// The batches of the epoch of a step, and its rate. The order of digits depends only on the epoch, so training can
    /// resume from any step.
    fn batch(&self, step: u64) -> (common::Part, f64) {
        let batches = self.digits.train.len().div_ceil(BATCH);
        let (epoch, batch) = (step as usize / batches, step as usize % batches);
        let mut order: Vec<usize> = (0..self.digits.train.len()).collect();
        fastrand::Rng::with_seed(epoch as u64).shuffle(&mut order);
        let indices = order.chunks(BATCH).nth(batch).unwrap_or_default();
        (self.digits.train.select(indices), self.lr * (1.0 - step as f64 / self.steps() as f64))
    }

    fn steps(&self) -> u64 {
        (self.epochs * self.digits.train.len().div_ceil(BATCH)) as u64
    }

    /// Trains arrays until the given step.
    fn in_arrays(
        &self,
        ours: &mut Layerwise<AnyRule>,
        network: &mut Network,
        until: u64,
    ) -> Result<(), Box<dyn Error>> {
        while ours.steps() < until {
            let (batch, lr) = self.batch(ours.steps());
            let gradients = Weights::new(network.arrays())?.gradients(&batch);
            let summary = ours.step(
                lr,
                &mut [
                    pair(&mut network.hidden, &gradients.hidden)?,
                    pair(&mut network.hidden_bias, &gradients.hidden_bias)?,
                    pair(&mut network.output, &gradients.output)?,
                    pair(&mut network.output_bias, &gradients.output_bias)?,
                ],
            )?;
            expect_no_nan(&summary);
        }
        Ok(())
    }

    /// Trains inside a file to the end, with a copy every hundred steps.
    fn in_file(&self, path: &Path) -> Result<Network, Box<dyn Error>> {
        // SAFETY: the file is in a directory of this process, and no one else changes it.
        #[allow(unsafe_code, reason = "a mapped file can be changed by others")]
        let mut file = Checkpoint::new(unsafe { Mapped::open(path)? })?;
        while file.steps() < self.steps() {
            let (batch, lr) = self.batch(file.steps());
            let gradients = weights(&file)?.gradients(&batch);
            let summary = file.step(
                lr,
                &[
                    gradient(&gradients.hidden)?,
                    gradient(&gradients.hidden_bias)?,
                    gradient(&gradients.output)?,
                    gradient(&gradients.output_bias)?,
                ],
            )?;
            expect_no_nan(&summary);
            if file.steps() % 100 == 0 {
                file.copy_to(path.with_extension("copy"))?; // what to go back to if the machine ends
            }
        }
        Ok(weights(&file)?.to_network())
    }
}

/// The weights in a file.
fn weights(file: &Checkpoint<AnyRule, Mapped>) -> Result<Weights<'_>, Box<dyn Error>> {
    let arrays: Vec<_> = (0..NAMES.len()).filter_map(|layer| file.weights(layer)).collect();
    Ok(Weights::new(arrays.try_into().map_err(|_| "the file has not four layers")?)?)
}

fn expect_no_nan(summary: &Summary) {
    if summary.skipped > 0 {
        eprintln!("{} layers were skipped because of a NaN", summary.skipped);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let is_short = std::env::args().any(|argument| argument == "--short");
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("digits.safetensors");
    let mut training = Training { digits: Digits::load()?, epochs: if is_short { 4 } else { 40 }, lr: 0.0 };
    for (name, optimizer, lr) in contenders()? {
        let (start, mut network) = (Instant::now(), Network::new());
        training.lr = lr;
        let mut ours = Layerwise::new(optimizer, NAMES.into_iter().zip(network.arrays()))?;
        // With LARC the rate is an upper limit, far too high for biases that are not adapted.
        ours.configure(|_, _| LayerConfig::DEFAULT)?;
        training.in_arrays(&mut ours, &mut network, training.steps() / 2)?;
        ours.save(&path, network.arrays())?;
        let trained = training.in_file(&path)?;
        let right = Weights::new(trained.arrays())?.right(&training.digits.test);
        println!("{name}: {right:.1} % test accuracy, {:.1} s", start.elapsed().as_secs_f64());

        let at_least = if is_short { 75.0 } else { 96.0 };
        if right < at_least {
            return Err(format!("that is less than {at_least} %").into());
        }
        training.in_arrays(&mut ours, &mut network, training.steps())?;
        if network != trained {
            return Err("the other half in arrays has other weights than in the file".into());
        }
    }
    Ok(())
}
