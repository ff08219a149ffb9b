//! One training run, step by step.

use crate::contenders::CONTENDERS;
use crate::digits::{DIGITS, Digits, Random, are_digits, label};
use crate::network::{COUNT, LAYERS, PARAMETERS, Parameters, backward, initialise, read};
use layerwise::rule::Moments;
use layerwise::{FlatModel, Report};

const BATCH: usize = 32;
/// The number of test digits.
pub const TESTED: usize = DIGITS / 5;
/// The number of training digits.
pub const TRAINED: usize = DIGITS - TESTED;
const SEED: u64 = 1998;

/// Why training does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no optimizer with that number.
    Optimizer,
    /// The learning rate is negative or not finite.
    Rate,
    /// The number of epochs is 0 or too large.
    Epochs,
    /// A pixel or a label is out of range.
    Digits,
}

/// One training run, with all its memory. All of it is zero before it starts, so that a static takes no space in the
/// module's file.
pub struct Training {
    weights: Parameters,
    gradients: Parameters,
    momentum: Parameters,
    second_moment: Parameters,
    states: [[f64; 3]; COUNT],
    /// Training digits first, then test digits.
    order: [u16; DIGITS],
    random: Random,
    optimizer: usize,
    lr: f64,
    step: usize,
    steps: usize,
}

impl Training {
    /// A run that has not started.
    pub const fn new() -> Self {
        Training {
            weights: [0.0; PARAMETERS],
            gradients: [0.0; PARAMETERS],
            momentum: [0.0; PARAMETERS],
            second_moment: [0.0; PARAMETERS],
            states: [[0.0; 3]; COUNT],
            order: [0; DIGITS],
            random: Random(0),
            optimizer: 0,
            lr: 0.0,
            step: 0,
            steps: 0,
        }
    }

    /// Starts a new run with the optimizer of this number. The learning rate falls linearly from `lr` to zero. The
    /// initial weights and the order of the digits are the same in every run.
    ///
    /// # Errors
    ///
    /// A [`Refusal`], and nothing has changed.
    pub fn start(&mut self, optimizer: usize, lr: f64, epochs: usize, digits: &Digits) -> Result<(), Refusal> {
        if optimizer >= CONTENDERS.len() {
            return Err(Refusal::Optimizer);
        }
        if !(lr.is_finite() && lr >= 0.0) {
            return Err(Refusal::Rate);
        }
        if !(1..=10_000).contains(&epochs) {
            return Err(Refusal::Epochs);
        }
        if !are_digits(digits) {
            return Err(Refusal::Digits);
        }
        let steps = epochs * TRAINED.div_ceil(BATCH);
        *self = Training { optimizer, lr, steps, random: Random(SEED), ..Training::new() };
        for (place, digit) in self.order.iter_mut().zip(0..) {
            *place = digit;
        }
        // The file is sorted by writer.
        self.random.shuffle(&mut self.order);
        initialise(&mut self.weights, &mut self.random);
        Ok(())
    }

    /// Takes a step, unless all are taken.
    pub fn step(&mut self, digits: &Digits) {
        if self.step == self.steps {
            return;
        }
        let batches = TRAINED.div_ceil(BATCH);
        let batch = self.step % batches;
        if batch == 0 {
            self.random.shuffle(&mut self.order[..TRAINED]);
        }
        let batch = &self.order[batch * BATCH..TRAINED.min((batch + 1) * BATCH)];
        self.gradients.fill(0.0);
        for &digit in batch {
            backward(&self.weights, &digits[usize::from(digit)], 1.0 / batch.len() as f32, &mut self.gradients);
        }
        self.update(self.lr * (1.0 - self.step as f64 / self.steps as f64));
        self.step += 1;
    }

    /// The optimizer's part of a step.
    pub fn update(&mut self, lr: f64) {
        let optimizer = CONTENDERS[self.optimizer].optimizer();
        let [first, second] = match optimizer.moments() {
            Moments::None => [0, 0],
            Moments::First => [PARAMETERS, 0],
            _ => [PARAMETERS, PARAMETERS],
        };
        let mut model = FlatModel::new(&LAYERS, &mut self.weights, &self.gradients, &mut self.states)
            .momentum(&mut self.momentum[..first])
            .second_moment(&mut self.second_moment[..second]);
        // At the largest rates training may diverge; layers without a finite step are not updated.
        let step = optimizer.step(lr, &mut model, &mut [Report::ABSENT; COUNT]);
        debug_assert!(step.is_ok(), "slices of the right lengths");
    }

    /// Steps that have been taken.
    pub fn taken(&self) -> usize {
        self.step
    }

    /// The number of steps of the whole run.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// How many of the [`TESTED`] digits are classified correctly.
    pub fn right(&self, digits: &Digits) -> usize {
        let tested = self.order[TRAINED..].iter().map(|&digit| &digits[usize::from(digit)]);
        tested.filter(|digit| read(&self.weights, digit) == label(digit)).count()
    }

    /// A hash of the weights: FNV-1a over words.
    pub fn hash(&self) -> u64 {
        let mix = |hash: u64, w: &f32| (hash ^ u64::from(w.to_bits())).wrapping_mul(0x100_0000_01b3);
        self.weights.iter().fold(0xcbf2_9ce4_8422_2325, mix)
    }
}

impl Default for Training {
    fn default() -> Self {
        Training::new()
    }
}
