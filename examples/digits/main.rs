//! Trains a small network to read handwritten digits, with five optimizers from the same initial weights.
//!
//! ```text
//! cargo run --release --example digits              # one run each, and a table
//! cargo run --release --example digits -- --sweep   # 11 learning rates × 3 initial scales, and a chart
//! cargo run --release --example digits -- --short   # three epochs, to see that it works
//! ```

mod data;
mod network;
mod optimizers;
mod sweep;

use data::{Digits, FOLDS};
use indicatif::{ProgressBar, ProgressStyle};
use network::Network;
use optimizers::Contender;
use std::time::{Duration, Instant};

const BATCH: usize = 32;
const EPOCHS: usize = 40;

/// What one training run came to.
struct Outcome {
    /// How many test digits are read right.
    right: usize,
    /// How many test digits there are.
    tested: usize,
    /// Bytes that the optimizer remembers from step to step.
    state_bytes: usize,
    /// Mean time of an optimizer step over all layers.
    step_time: Duration,
}

/// Trains a fresh network, with a learning rate that falls linearly from `lr` to zero. `scale` multiplies the usual
/// initial weights; these and the order of the digits are the same for every optimizer.
fn train(
    digits: &Digits,
    fold: usize,
    contender: &Contender,
    lr: f64,
    scale: f32,
    epochs: usize,
    progress: &ProgressBar,
) -> Outcome {
    let (mut train, test) = digits.split(fold);
    let mut rng = fastrand::Rng::with_seed(1998);
    let mut network = Network::new(&mut rng, scale);
    let (state_bytes, mut step) = (contender.start)(&network.layers);
    let steps = epochs * train.len().div_ceil(BATCH);
    let (mut time, mut done) = (Duration::ZERO, 0);
    for _ in 0..epochs {
        rng.shuffle(&mut train);
        for batch in train.chunks(BATCH) {
            network.gradients(batch);
            let lr = lr * (1.0 - done as f64 / steps as f64);
            let start = Instant::now();
            step(lr, &mut network.layers);
            time += start.elapsed();
            done += 1;
        }
        progress.inc(1);
    }
    Outcome {
        right: test.iter().filter(|digit| network.read(digit) == digit.label).count(),
        tested: test.len(),
        state_bytes,
        step_time: time / steps as u32,
    }
}

fn progress_bar(len: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} [{elapsed}]").expect("a valid template");
    ProgressBar::new(len as u64).with_style(style).with_message(what)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut epochs, mut sweeps) = (EPOCHS, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--short" => epochs = 3,
            "--sweep" => sweeps = true,
            _ => return Err(format!("unknown argument {argument}; there are --short and --sweep").into()),
        }
    }
    let digits = Digits::load()?;
    if sweeps {
        return sweep::run(&digits, epochs);
    }

    let bar = progress_bar(optimizers::ALL.len() * FOLDS * epochs, "epochs");
    println!(
        "{} digits, {FOLDS}-fold cross-validation, {epochs} epochs of batches of {BATCH}, rates falling to 0\n",
        digits.len()
    );
    println!("optimizer        rate   test accuracy   bytes of state   µs per step");
    for contender in &optimizers::ALL {
        let folds: [Outcome; FOLDS] =
            std::array::from_fn(|fold| train(&digits, fold, contender, contender.lr, 1.0, epochs, &bar));
        let (right, tested) = folds.iter().fold((0, 0), |(right, tested), f| (right + f.right, tested + f.tested));
        let time = folds.iter().map(|f| f.step_time).min().expect("there are folds");
        bar.suspend(|| {
            println!(
                "{:14} {:>6}   {:>11.1} %   {:>14}   {:>11.2}",
                contender.name,
                contender.lr,
                100.0 * right as f64 / tested as f64,
                folds[0].state_bytes,
                time.as_secs_f64() * 1e6,
            );
        });
    }
    bar.finish_and_clear();
    Ok(())
}
