//! The training loop around the steps: batches, loss scale, schedule.

use crate::data::Digit;
#[cfg(feature = "half")]
use crate::mixed::Mixed;
use crate::network::{Network, Parameters};
use crate::precision::{Precision, Single, State};
use indicatif::ProgressBar;
use layerwise::recipe::Training;
use layerwise::schedule::LossScaleState;
use layerwise::{AnyOptimizer, Error, LayerConfig, Memory, Report, Step};

pub const BATCH: usize = 32;

/// A network in training.
pub struct Trainer<'a> {
    pub network: Network,
    training: Training,
    optimizer: AnyOptimizer,
    memory: Memory<State>,
    tensors: Box<dyn Precision>,
    digits: Vec<&'a Digit>,
    rng: fastrand::Rng,
    loss_scale: LossScaleState,
    /// Steps that count, and all steps: a skipped step does not count.
    step: u64,
    tried: u64,
}

/// What happened in one epoch.
#[derive(Default)]
pub struct Epoch {
    /// Of the last step.
    pub rate: f64,
    /// For the next step.
    pub loss_scale: f64,
    /// How many layer updates were planned, how many were clipped, and how many skipped.
    pub layers: usize,
    pub clipped: usize,
    pub skipped: usize,
}

impl<'a> Trainer<'a> {
    pub fn new(training: Training, digits: Vec<&'a Digit>) -> Self {
        let mut rng = fastrand::Rng::with_seed(1998);
        let mut network = Network::new(&mut rng, 1.0);
        let optimizer = training.optimizer();
        let mut memory = optimizer.memory(network.layers.iter().map(|layer| layer.weights.len()));
        // Biases have neither decay nor adaptation: OpenSeq2Seq's LARC would keep zero biases at 0.
        for bias in [1, 3] {
            *memory.config_mut(bias).expect("four layers") = LayerConfig::PLAIN;
        }
        let tensors = tensors(&training, &network.layers);
        tensors.write(&mut network.layers);
        let loss_scale = LossScaleState::START;
        Trainer { network, training, optimizer, memory, tensors, digits, rng, loss_scale, step: 0, tried: 0 }
    }

    /// Trains for one epoch; `None` if the training is over.
    pub fn epoch(&mut self, progress: &ProgressBar) -> Result<Option<Epoch>, Error> {
        if self.tried == self.training.steps {
            return Ok(None);
        }
        let mut digits = std::mem::take(&mut self.digits);
        self.rng.shuffle(&mut digits);
        let mut epoch = Epoch::default();
        for digits in digits.chunks_exact(BATCH * self.training.iter_size as usize) {
            if self.tried < self.training.steps {
                self.step(digits, &mut epoch)?;
                progress.inc(1);
            }
        }
        self.digits = digits;
        Ok(Some(epoch))
    }

    fn loss_scale(&self) -> f64 {
        self.training.loss_scaler.map_or(1.0, |scaler| scaler.scale(&self.loss_scale))
    }

    /// One step with the mean gradient of these digits.
    fn step(&mut self, digits: &[&Digit], epoch: &mut Epoch) -> Result<(), Error> {
        let scale = self.loss_scale();
        self.gradients(digits, scale)?;
        let rate = self.training.schedule.rate(self.step);
        let step = Step::new(rate).gradient_scale(1.0 / scale);
        let largest = self.tensors.largest();
        let mut layers = self.tensors.lend(&mut self.memory, &mut self.network.layers)?;
        let mut reports = vec![Report::ABSENT; layers.len()];
        let summary = self.optimizer.step(step, &mut layers, &mut reports)?;
        self.tensors.write(&mut self.network.layers);

        let is_skipped = match &self.training.loss_scaler {
            Some(scaler) => scaler.update(&mut self.loss_scale, summary.skipped == 0, largest / scale).skip,
            None => false,
        };
        self.tried += 1;
        self.step += u64::from(!is_skipped);

        epoch.layers += reports.len();
        epoch.clipped += reports.iter().filter(|report| report.clipped || summary.clip < 1.0).count();
        epoch.skipped += summary.skipped;
        (epoch.rate, epoch.loss_scale) = (rate, self.loss_scale());
        Ok(())
    }

    /// Computes the mean gradient of some batches, of a loss multiplied by `scale`.
    fn gradients(&mut self, digits: &[&Digit], scale: f64) -> Result<(), Error> {
        self.tensors.clear();
        for batch in digits.chunks(BATCH) {
            self.network.gradients(batch);
            self.tensors.add(&self.network.layers, scale, self.training.iter_size)?;
        }
        Ok(())
    }
}

/// The tensors of a recipe: in mixed precision if the recipe asks for it and the feature `half` is on.
fn tensors(training: &Training, network: &[Parameters]) -> Box<dyn Precision> {
    #[cfg(feature = "half")]
    if training.is_mixed {
        return Box::new(Mixed::new(network, training.iter_size));
    }
    let _ = training;
    Box::new(Single::new(network))
}
