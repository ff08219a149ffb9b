//! Accuracy against learning rate: how far from the best rate does it still work?

use crate::data::Digits;
use crate::optimizers::ALL;
use crate::training::Training;
use crate::{
    accuracy_chart::{self, Run},
    progress_bar, save, train,
};
use std::error::Error;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

pub const RATES: [f64; 11] = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0];
pub const SCALES: [f32; 3] = [0.1, 1.0, 5.0];
const GOOD: f64 = 0.9;

/// Runs every optimizer at every rate and scale, prints a table, and draws a chart.
pub fn run(digits: &Digits, epochs: usize) -> Result<(), Box<dyn Error>> {
    let mut jobs = Vec::new();
    for scale in SCALES {
        for contender in &ALL {
            jobs.extend(RATES.map(|lr| (scale, contender, lr)));
        }
    }
    let bar = progress_bar(jobs.len() * epochs, "epochs");
    let next = AtomicUsize::new(0);
    let accuracies = Mutex::new(vec![0.0; jobs.len()]);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(scale, contender, lr)) = jobs.get(job) else { return };
                    let run = train(Training::new(digits, 0, scale, epochs), contender, lr, &bar);
                    accuracies.lock().expect("no thread panics")[job] = run.right as f64 / run.tested as f64;
                }
            });
        }
    });
    bar.finish_and_clear();

    let accuracies = accuracies.into_inner()?;
    let curves: Vec<&[f64]> = accuracies.chunks(RATES.len()).collect();
    let panels: Vec<&[&[f64]]> = curves.chunks(ALL.len()).collect();
    println!("rates of {} at which {:.0} % of the test digits are read, {epochs} epochs\n", RATES.len(), 100.0 * GOOD);
    print!("optimizer     ");
    for scale in SCALES {
        print!("   scale {scale:3}");
    }
    println!();
    for (i, contender) in ALL.iter().enumerate() {
        print!("{:14}", contender.name);
        for panel in &panels {
            print!("{:>12}", panel[i].iter().filter(|&&accuracy| accuracy >= GOOD).count());
        }
        println!();
    }
    let runs = jobs.iter().zip(&accuracies).map(|(&(scale, contender, rate), &accuracy)| Run {
        initial_weights: (f64::from(scale) * 10.0).round() / 10.0,
        optimizer: contender.name.into(),
        rate,
        accuracy,
    });
    let runs: Vec<Run> = runs.collect();
    save("digits", &runs, &accuracy_chart::draw(&runs)?)
}
