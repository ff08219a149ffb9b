//! Mixed precision: gradients, and the weights that the network computes with, have 16 bits. The optimizer still trains
//! `f32` weights.
//!
//! Activations and sums are `f32`, as in the matrix units of a GPU. The results of the backward pass are rounded. An
//! `f16` has a small range: small gradients would become 0. So they are multiplied by a loss scale. It starts too high,
//! rises now and then, and falls when a gradient overflows. A step that overflows is skipped. A `bf16` has the range of
//! an `f32` and needs no scale.

use crate::data::{Digits, FOLDS};
use crate::layer::{Layer, Place, Type};
use crate::network::Parameters;
use crate::optimizers::{ALL, Config, Contender};
use crate::progress_bar;
use crate::training::Training;
use indicatif::ProgressBar;
use layerwise::schedule::{Backoff, LossScaleState, LossScaler, LossScaling};
use layerwise::{Adam, AnyOptimizer, ConfigError, NonFinite, NovoGrad, Policy, Report, Sgd, Step, Summary};
use std::error::Error;
use std::time::{Duration, Instant};

const OPTIMIZERS: [&str; 3] = ["LARC", "NovoGrad", "AdamW"];

/// A combination of number formats.
struct Combination {
    /// The type of gradients and of the weights that the network computes with.
    number: Type,
    place: Place,
    momentum: Type,
}

/// The first is the baseline for the others.
const COMBINATIONS: [Combination; 7] = [
    Combination { number: Type::F32, place: Place::Same, momentum: Type::F32 },
    Combination { number: Type::F16, place: Place::Copy, momentum: Type::F32 },
    Combination { number: Type::F16, place: Place::Copy, momentum: Type::Bf16 },
    Combination { number: Type::Bf16, place: Place::Copy, momentum: Type::F32 },
    Combination { number: Type::Bf16, place: Place::Copy, momentum: Type::Bf16 },
    Combination { number: Type::Bf16, place: Place::Split, momentum: Type::F32 },
    Combination { number: Type::Bf16, place: Place::Split, momentum: Type::Bf16 },
];

/// It starts at 2²⁴, as in some versions of OpenSeq2Seq, at which these gradients overflow. It rises after 200 steps,
/// not 2000, because a run has only 1800.
const BACKOFF: Backoff = Backoff { scale_max: 16_777_216.0, step_window: 200, ..Backoff::DEFAULT };

/// A network's layers, their optimizer, the schedule and the loss scale.
struct Mixed {
    lr: f64,
    optimizer: AnyOptimizer,
    layers: [Layer; 4],
    scaler: LossScaler,
    loss_scale: LossScaleState,
    /// Steps of the training, and how many of them were taken and skipped.
    steps: usize,
    taken: usize,
    skipped: usize,
    times: Vec<Duration>,
}

impl Mixed {
    fn new(
        contender: &Contender,
        combination: &Combination,
        layers: &[Parameters; 4],
        steps: usize,
    ) -> Result<Self, ConfigError> {
        let Combination { number, place, momentum } = *combination;
        let mut optimizer = optimizer(&contender.config)?;
        let mut scaling = LossScaling::Static(1.0);
        if number == Type::F16 {
            scaling = LossScaling::Backoff(BACKOFF);
            optimizer = optimizer.with_policy(Policy { non_finite: NonFinite::SkipStep, ..Policy::DEFAULT })?;
        }
        Ok(Mixed {
            lr: contender.lr,
            layers: layers.each_ref().map(|layer| Layer::new(&layer.weights, number, place, momentum, &optimizer)),
            optimizer,
            scaler: LossScaler::new(scaling)?,
            loss_scale: LossScaleState::START,
            steps,
            taken: 0,
            skipped: 0,
            times: Vec::with_capacity(steps),
        })
    }

    fn scale(&self) -> f64 {
        self.scaler.scale(&self.loss_scale)
    }

    /// One step with the gradients of the network, which then gets the new weights.
    fn step(&mut self, network: &mut [Parameters]) {
        let scale = self.scale();
        for (layer, parameters) in self.layers.iter_mut().zip(&mut *network) {
            parameters.gradients.iter_mut().for_each(|gradient| *gradient *= scale as f32);
            layer.gradients.round(&parameters.gradients);
        }
        let is_finite = self.update(scale).skipped == 0;
        // A skipped step does not count: the rate does not change.
        match self.scaler.update(&mut self.loss_scale, is_finite, 0.0).skip {
            true => self.skipped += 1,
            false => self.taken += 1,
        }
        self.write(network);
    }

    fn update(&mut self, scale: f64) -> Summary {
        let rate = self.lr * (1.0 - self.taken as f64 / self.steps as f64);
        let step = Step::new(rate).gradient_scale(1.0 / scale);
        let start = Instant::now();
        let mut layers = self.layers.each_mut().map(Layer::lend);
        let summary = self.optimizer.step(step, &mut layers, &mut [Report::ABSENT; 4]);
        self.times.push(start.elapsed());
        summary.expect("slices of the right lengths")
    }

    /// Gives the network the weights that it computes with.
    fn write(&self, network: &mut [Parameters]) {
        for (layer, parameters) in self.layers.iter().zip(network) {
            layer.read(&mut parameters.weights);
        }
    }
}

fn optimizer(config: &Config) -> Result<AnyOptimizer, ConfigError> {
    Ok(match *config {
        Config::Sgd(config) => Sgd::new(config)?.any(),
        Config::NovoGrad(config) => NovoGrad::new(config)?.any(),
        Config::Adam(config) => Adam::new(config)?.any(),
    })
}

/// The result of the training runs with all folds.
struct Outcome {
    right: usize,
    tested: usize,
    skipped: usize,
    /// The lowest at the end of a run.
    loss_scale: f64,
    /// Of each step.
    times: Vec<Duration>,
    /// For weights, gradients and moments, without the few other numbers of a layer.
    bytes_per_weight: [usize; 3],
}

fn train(
    digits: &Digits,
    epochs: usize,
    contender: &Contender,
    combination: &Combination,
    progress: &ProgressBar,
) -> Result<Outcome, ConfigError> {
    let mut outcome = Outcome {
        right: 0,
        tested: 0,
        skipped: 0,
        loss_scale: f64::INFINITY,
        times: Vec::new(),
        bytes_per_weight: [0; 3],
    };
    for fold in 0..FOLDS {
        let mut training = Training::new(digits, fold, 1.0, epochs);
        let mut mixed = Mixed::new(contender, combination, &training.network.layers, training.steps())?;
        mixed.write(&mut training.network.layers);
        training.run(progress, |_, network| mixed.step(network));
        outcome.right += training.right();
        outcome.tested += training.test.len();
        outcome.skipped += mixed.skipped;
        outcome.loss_scale = outcome.loss_scale.min(mixed.scale());
        outcome.times.append(&mut mixed.times);
        outcome.bytes_per_weight = bytes_per_weight(&mixed.layers, &training.network.layers);
    }
    Ok(outcome)
}

fn bytes_per_weight(layers: &[Layer], network: &[Parameters]) -> [usize; 3] {
    let weights: usize = network.iter().map(|layer| layer.weights.len()).sum();
    [0, 1, 2].map(|what| layers.iter().map(|layer| layer.bytes()[what]).sum::<usize>() / weights)
}

/// Trains with every combination, and prints a table.
///
/// # Errors
///
/// No `f16` gradient overflowed, so the loss scale was not tested.
pub fn run(digits: &Digits, epochs: usize) -> Result<(), Box<dyn Error>> {
    let contenders = ALL.iter().filter(|contender| OPTIMIZERS.contains(&contender.name));
    let bar = progress_bar(OPTIMIZERS.len() * COMBINATIONS.len() * FOLDS * epochs, "epochs");
    println!(
        "{} digits, {FOLDS}-fold cross-validation, {epochs} epochs, {} steps in all folds together\n",
        digits.len(),
        (0..FOLDS).map(|fold| Training::new(digits, fold, 1.0, epochs).steps()).sum::<usize>()
    );
    println!("            gradients, weights      momen-   bytes a weight:           test     skipped    loss      µs");
    println!(
        "optimizer   of the network          tum      weights+gradients+state   accuracy   steps   scale   a step"
    );
    for contender in contenders {
        for combination in &COMBINATIONS {
            let outcome = train(digits, epochs, contender, combination, &bar)?;
            if combination.number == Type::F16 && outcome.skipped == 0 {
                return Err("no gradient overflowed: raise the largest loss scale".into());
            }
            bar.suspend(|| report(contender, combination, outcome));
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn report(contender: &Contender, combination: &Combination, outcome: Outcome) {
    let name = if combination.number == Type::F32 { contender.name } else { "" };
    let network = match combination.place {
        Place::Same => format!("{:?}", combination.number),
        Place::Copy => format!("{:?}, copied", combination.number),
        Place::Split => format!("{:?}, split f32", combination.number),
    };
    let loss_scale = match combination.number {
        Type::F16 => format!("2^{}", outcome.loss_scale.log2()),
        _ => "none".into(),
    };
    let [weights, gradients, state] = outcome.bytes_per_weight;
    let bytes = format!("{weights}+{gradients}+{state} = {}", weights + gradients + state);
    println!(
        "{name:9}   {:21}   {:6}   {bytes:23}   {:>6.1} %   {:>5}   {loss_scale:>5}   {:>6.2}",
        network.to_lowercase(),
        format!("{:?}", combination.momentum).to_lowercase(),
        100.0 * outcome.right as f64 / outcome.tested as f64,
        outcome.skipped,
        median(outcome.times).as_secs_f64() * 1e6,
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    let middle = times.len() / 2;
    *times.select_nth_unstable(middle).1
}
