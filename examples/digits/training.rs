//! One training run: a new network, and its training and test digits.

use crate::data::{Digit, Digits};
use crate::network::{Network, Parameters};
use indicatif::ProgressBar;

pub const BATCH: usize = 32;

pub struct Training<'a> {
    pub network: Network,
    train: Vec<&'a Digit>,
    pub test: Vec<&'a Digit>,
    epochs: usize,
    rng: fastrand::Rng,
}

impl<'a> Training<'a> {
    /// `scale` multiplies the usual initial weights. These and the order of the digits are the same in every run.
    pub fn new(digits: &'a Digits, fold: usize, scale: f32, epochs: usize) -> Self {
        let (train, test) = digits.split(fold);
        let mut rng = fastrand::Rng::with_seed(1998);
        Training { network: Network::new(&mut rng, scale), train, test, epochs, rng }
    }

    pub fn steps(&self) -> usize {
        self.epochs * self.train.len().div_ceil(BATCH)
    }

    /// Takes all steps. `step` gets the progress of the run, from 0 to 1.
    pub fn run(&mut self, progress: &ProgressBar, mut step: impl FnMut(f64, &mut [Parameters])) {
        let (steps, mut done) = (self.steps(), 0);
        for _ in 0..self.epochs {
            self.rng.shuffle(&mut self.train);
            for batch in self.train.chunks(BATCH) {
                self.network.gradients(batch);
                step(done as f64 / steps as f64, &mut self.network.layers);
                done += 1;
            }
            progress.inc(1);
        }
    }

    /// How many test digits are classified correctly.
    pub fn right(&self) -> usize {
        self.test.iter().filter(|digit| self.network.read(digit) == digit.label).count()
    }
}
