//! LARC with momentum and a rising rate: in a warm-up, and in a restart after the rate has fallen to 0.
//!
//! LARC reduces a gradient just enough for a short step at the *current* rate. At a tiny rate there is little to
//! reduce, so the momentum keeps large gradients, and the next rate multiplies them, however high it is.

use crate::data::{Digits, FOLDS};
use crate::network::Parameters;
use crate::optimizers::{LARC, sgd};
use crate::restarts_chart::{self, Run};
use crate::sweep::RATES;
use crate::training::Training;
use crate::{progress_bar, save};
use indicatif::ProgressBar;
use layerwise::{Luc, SgdConfig, l2_norm};
use std::error::Error;

const LR: f64 = 10.0;
/// How often the rate falls to 0.
const FALLS: f64 = 4.0;
/// The part of the training in which the rate rises from 0.
const WARM_UP: f64 = 1.0 / 40.0;
/// LARC's `eta` / (1 − momentum): the most that its steps add up to if they all have the same direction. The limit acts
/// on longer steps.
const LIMIT: Luc = Luc { trust: 0.02, ..Luc::DEFAULT };

const CASES: [(&str, SgdConfig); 3] = [
    ("as published", LARC),
    ("rate_in_momentum", SgdConfig { rate_in_momentum: true, ..LARC }),
    ("limit of the step", SgdConfig { luc: Some(LIMIT), ..LARC }),
];

/// Trains LARC as published and with each fix at all rates. Prints a table of the highest rate, and draws a chart.
///
/// # Errors
///
/// A step was longer than the limit allows.
pub fn run(digits: &Digits, epochs: usize) -> Result<(), Box<dyn Error>> {
    let rates = &RATES[4..];
    let bar = progress_bar(CASES.len() * rates.len() * FOLDS * epochs, "epochs");
    println!(
        "LARC with momentum, {epochs} epochs, a rate that rises to {LR} in 1/{} of them and falls to 0 {FALLS} times\n",
        1.0 / WARM_UP
    );
    println!("                                    largest step / norm of the weights");
    println!("                    test accuracy   first fall   restarts   limit");
    let mut runs = Vec::new();
    for (name, config) in CASES {
        let limit = config.luc.map_or("none".into(), |luc| luc.trust.to_string());
        for &highest in rates {
            let (mut right, mut tested, mut largest) = (0, 0, [0.0; 2]);
            for fold in 0..FOLDS {
                let mut training = Training::new(digits, fold, 1.0, epochs);
                train(&mut training, config, highest, &mut largest, &bar);
                right += training.right();
                tested += training.test.len();
            }
            let accuracy = right as f64 / tested as f64;
            let [first, restarts] = largest;
            if highest == LR {
                let percent = 100.0 * accuracy;
                bar.suspend(|| println!("{name:17} {percent:>13.1} %   {first:>10.4}   {restarts:>8.4}   {limit:>5}"));
            }
            if config.luc.is_some_and(|luc| first.max(restarts) > 1.01 * luc.trust) {
                return Err("a step was longer than its limit".into());
            }
            runs.push(Run { case: name.into(), rate: highest, accuracy, largest_step: first.max(restarts) });
        }
    }
    bar.finish_and_clear();
    save("restarts", &runs, &restarts_chart::draw(&runs)?)
}

/// The rate after the fraction `done` of the run, in a schedule that first rises to `highest`.
fn rate(highest: f64, done: f64) -> f64 {
    highest * (done / WARM_UP).min(1.0) * (1.0 - (FALLS * done).fract())
}

/// Trains, and records the largest step relative to the weights: in the first cycle with its warm-up, and after
/// restarts.
fn train(training: &mut Training, config: SgdConfig, highest: f64, largest: &mut [f64; 2], progress: &ProgressBar) {
    let (_, mut step) = sgd(config, &training.network.layers);
    training.run(progress, |done, layers| {
        let before = weights(layers).map(<[f32]>::to_vec);
        step(rate(highest, done), layers);
        let largest = &mut largest[usize::from(FALLS * done >= 1.0)];
        for (after, before) in weights(layers).iter().zip(&before) {
            *largest = largest.max(moved(after, before));
        }
    });
}

/// The weights without the biases. Biases start at 0, and relative to almost nothing every step is long.
fn weights(layers: &[Parameters]) -> [&[f32]; 2] {
    [0, 2].map(|layer| layers[layer].weights.as_slice())
}

/// How far a layer has moved, relative to its norm before.
fn moved(after: &[f32], before: &[f32]) -> f64 {
    let step: Vec<f32> = after.iter().zip(before).map(|(after, before)| after - before).collect();
    l2_norm(&step) / l2_norm(before)
}
