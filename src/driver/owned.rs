//! Steps on a [`Memory`].

use super::optimizer::Optimizer;
use crate::error::Error;
use crate::memory::floats::{Floats, FloatsMut};
use crate::memory::owner::Memory;
use crate::memory::report::Summary;
use crate::rules::rule::{Rule, RuleState};
use crate::rules::step::Step;

impl<R: Rule> Optimizer<R> {
    /// The memory for a model of layers with these lengths, before the first step.
    pub fn memory(&self, lengths: impl IntoIterator<Item = usize>) -> Memory<R::State> {
        Memory::new(self.moments(), lengths)
    }
}

impl<S: RuleState> Memory<S> {
    /// Updates all layers of a model, given the weights and gradients of each, in order.
    ///
    /// If a layer has no gradient in this step, [freeze](crate::LayerConfig::FROZEN) it with
    /// [`config_mut`](Memory::config_mut): the gradient of a frozen layer is not looked at, and may be empty.
    ///
    /// ```
    /// use layerwise::{LayerConfig, Sgd, SgdConfig};
    ///
    /// let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap();
    /// let (mut kernel, mut bias) = ([1.0; 3], [1.0; 2]);
    /// let mut memory = sgd.memory([3, 2]);
    /// *memory.config_mut(1).unwrap() = LayerConfig::FROZEN;
    /// memory.step(&sgd, 0.5, [(&mut kernel[..], &[1.0; 3][..]), (&mut bias[..], &[][..])])?;
    /// assert_eq!((kernel, bias), ([0.5; 3], [1.0; 2]));
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Layers`] if the number of layers is wrong, otherwise as [`Optimizer::step`]; then nothing is written.
    pub fn step<'a, R: Rule<State = S>, W: Into<FloatsMut<'a>>, G: Into<Floats<'a>>>(
        &'a mut self,
        optimizer: &Optimizer<R>,
        step: impl Into<Step>,
        tensors: impl IntoIterator<Item = (W, G)>,
    ) -> Result<Summary, Error> {
        let (mut layers, reports) = self.layers_and_reports(tensors)?;
        optimizer.step(step, &mut layers, reports)
    }

    /// [`step`](Memory::step) on the threads of rayon's current pool, with the same bits.
    ///
    /// # Errors
    ///
    /// As [`step`](Memory::step); then nothing is written.
    #[cfg(feature = "rayon")]
    pub fn step_parallel<'a, R: Rule<State = S> + Sync, W: Into<FloatsMut<'a>>, G: Into<Floats<'a>>>(
        &'a mut self,
        optimizer: &Optimizer<R>,
        step: impl Into<Step>,
        tensors: impl IntoIterator<Item = (W, G)>,
    ) -> Result<Summary, Error> {
        let (mut layers, reports) = self.layers_and_reports(tensors)?;
        optimizer.step_parallel(step, &mut layers, reports)
    }
}
