//! Trains a small network to read handwritten digits, as configured by an OpenSeq2Seq file.
//!
//! ```text
//! cargo run --release --features serde,alloc --example recipe -- examples/recipe/larc.json
//! cargo run --release --features serde,alloc --example recipe -- examples/recipe/novograd.json --short
//! ```
//!
//! With `--short` it trains three epochs, whatever the length in the recipe.
//!
//! A recipe whose `dtype` is `mixed` uses 16-bit floats, if the feature `half` is on. Without the feature it trains in
//! `f32`, with the loss scale of the recipe, and says so:
//!
//! ```text
//! cargo run --release --features serde,alloc,half --example recipe -- examples/recipe/mixed.json
//! ```

#[path = "../digits/data.rs"]
mod data;
#[cfg(feature = "half")]
mod mixed;
#[path = "../digits/network.rs"]
mod network;
mod precision;
mod train;

use data::{Digits, FOLDS};
use indicatif::{ProgressBar, ProgressStyle};
use layerwise::recipe::{Recipe, Training};
use serde_json::Value;
use std::error::Error;
use std::fs;
use train::{BATCH, Epoch, Trainer};

const USAGE: &str = "give the file of a recipe, such as examples/recipe/larc.json, and --short for three epochs";

/// Reads a recipe.
fn read(path: &str, is_short: bool) -> Result<Recipe, Box<dyn Error>> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let mut words: Value = serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
    if is_short && let Some(words) = words.as_object_mut() {
        words.remove("max_steps");
        words.insert("num_epochs".into(), 3.into());
    }
    Ok(serde_json::from_value(words).map_err(|error| format!("{path}: {error}"))?)
}

fn describe(path: &str, training: &Training) {
    let Training { steps, iter_size, .. } = training;
    println!("{path}: {steps} steps of {iter_size} × {BATCH} digits");
    if training.is_mixed && cfg!(feature = "half") {
        println!("Mixed precision: gradients and the network's weights are f16, in addition to f32 weights.");
    } else if training.is_mixed {
        println!("The recipe is for mixed precision, which needs the feature half. Here numbers are f32.");
        println!("The loss is scaled all the same.");
    }
    println!("\nepoch   rate       loss scale   clipped layers   skipped layers");
}

fn report(number: usize, epoch: &Epoch) {
    let percent = |count: usize| 100.0 * count as f64 / epoch.layers as f64;
    let (clipped, skipped) = (percent(epoch.clipped), percent(epoch.skipped));
    println!("{number:>5}   {:<8.3e}   {:>10.0}   {clipped:>12.1} %   {skipped:>12.1} %", epoch.rate, epoch.loss_scale);
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut path, mut is_short) = (None, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--short" => is_short = true,
            _ if path.is_none() && !argument.starts_with('-') => path = Some(argument),
            _ => return Err(USAGE.into()),
        }
    }
    let path = path.ok_or(USAGE)?;
    let recipe = read(&path, is_short)?;

    let digits = Digits::load()?;
    let (train, test) = digits.split(0);
    let batches = train.len() / BATCH;
    let training = recipe.training(batches as u64).map_err(|error| format!("{path}: {error}"))?;
    if training.iter_size > batches as u64 {
        let iter_size = training.iter_size;
        return Err(format!("{path}: a step takes {iter_size} batches, and there are {batches}").into());
    }
    describe(&path, &training);
    let bar = ProgressBar::new(training.steps)
        .with_style(ProgressStyle::with_template("steps {bar:40} {pos}/{len} [{elapsed}]").expect("a valid template"));
    let mut trainer = Trainer::new(training, train);
    let mut number = 0;
    while let Some(epoch) = trainer.epoch(&bar)? {
        number += 1;
        bar.suspend(|| report(number, &epoch));
    }
    bar.finish_and_clear();
    let right = test.iter().filter(|digit| trainer.network.read(digit) == digit.label).count();
    let accuracy = 100.0 * right as f64 / test.len() as f64;
    println!("\n{accuracy:.1} % of {} test digits ({} in all, one part of {FOLDS})", test.len(), digits.len());
    Ok(())
}
