//! Trains a small network to read handwritten digits, with seven optimizers from the same initial weights.
//!
//! ```text
//! cargo run --release --example digits                 # one run each, and a table
//! cargo run --release --example digits -- --sweep      # 11 learning rates × 3 initial scales, and a chart
//! cargo run --release --example digits -- --restarts   # LARC with a rising rate, and two fixes
//! cargo run --release --example digits -- --short      # three epochs, as a quick check; also after another option
//! cargo run --release --features half --example digits -- --mixed   # 16-bit gradients and weights compared with f32
//! ```
//!
//! It writes charts and their figures to the current directory. The repository has them in `docs` and `docs/data`, and
//! the example `charts` redraws them from there.

#[path = "../charts/pictures/accuracy.rs"]
mod accuracy_chart;
mod data;
#[cfg(feature = "half")]
mod layer;
#[cfg(feature = "half")]
mod mixed;
mod network;
mod optimizers;
#[path = "../charts/pictures/paper.rs"]
mod paper;
mod restarts;
#[path = "../charts/pictures/restarts.rs"]
mod restarts_chart;
mod sweep;
mod training;

use data::{Digits, FOLDS};
use indicatif::{ProgressBar, ProgressStyle};
use optimizers::{ALL, Contender};
use std::error::Error;
use std::time::{Duration, Instant};
use training::{BATCH, Training};

const EPOCHS: usize = 40;
const USAGE: &str = "there are --short, and one of --sweep, --restarts and --mixed";

/// The result of one training run.
struct Outcome {
    /// How many test digits are classified correctly.
    right: usize,
    /// How many test digits there are.
    tested: usize,
    /// Bytes that the optimizer keeps from step to step.
    state_bytes: usize,
    /// Mean time of an optimizer step over all layers.
    step_time: Duration,
}

/// Trains with a learning rate that falls linearly from `lr` to zero.
fn train(mut training: Training, contender: &Contender, lr: f64, progress: &ProgressBar) -> Outcome {
    let (state_bytes, mut step) = contender.start(&training.network.layers);
    let mut time = Duration::ZERO;
    training.run(progress, |done, layers| {
        let start = Instant::now();
        step(lr * (1.0 - done), layers);
        time += start.elapsed();
    });
    Outcome {
        right: training.right(),
        tested: training.test.len(),
        state_bytes,
        step_time: time / training.steps() as u32,
    }
}

fn progress_bar(len: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} [{elapsed}]").expect("a valid template");
    ProgressBar::new(len as u64).with_style(style).with_message(what)
}

/// Writes a chart, and the figures that it is drawn from.
fn save(name: &str, runs: &[impl serde::Serialize], svg: &str) -> Result<(), Box<dyn Error>> {
    let mut figures = csv::Writer::from_path(format!("{name}.csv"))?;
    runs.iter().try_for_each(|run| figures.serialize(run))?;
    figures.flush()?;
    std::fs::write(format!("{name}.svg"), svg)?;
    println!("\nThe chart is in {name}.svg, its figures in {name}.csv");
    Ok(())
}

/// Runs every optimizer at the rate that suits it, and prints a table.
fn compare(digits: &Digits, epochs: usize) {
    let bar = progress_bar(ALL.len() * FOLDS * epochs, "epochs");
    println!(
        "{} digits, {FOLDS}-fold cross-validation, {epochs} epochs of batches of {BATCH}, rates falling to 0\n",
        digits.len()
    );
    println!("optimizer        rate   test accuracy   bytes of state   µs per step");
    for contender in &ALL {
        let folds: [Outcome; FOLDS] =
            std::array::from_fn(|fold| train(Training::new(digits, fold, 1.0, epochs), contender, contender.lr, &bar));
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
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut epochs, mut what) = (EPOCHS, String::new());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--short" => epochs = 3,
            "--sweep" | "--restarts" | "--mixed" if what.is_empty() => what = argument,
            _ => return Err(format!("not {argument}; {USAGE}").into()),
        }
    }
    let digits = Digits::load()?;
    match what.as_str() {
        "--sweep" => sweep::run(&digits, epochs),
        "--restarts" => restarts::run(&digits, epochs),
        #[cfg(feature = "half")]
        "--mixed" => mixed::run(&digits, epochs),
        #[cfg(not(feature = "half"))]
        "--mixed" => Err("--mixed needs 16-bit numbers: run it with --features half".into()),
        _ => {
            compare(&digits, epochs);
            Ok(())
        }
    }
}
