//! Where weights and gradients are: all that differs between single and mixed precision.

use crate::network::Parameters;
use layerwise::{Error, LayerMemory, Memory, accumulate, max_norm};

/// What a rule chosen at run time remembers about a layer besides its moments.
pub type State = [f64; 3];

/// The tensors of a network in training.
pub trait Precision {
    /// Makes the mean gradient 0.
    fn clear(&mut self);

    /// Adds the gradients of a batch, which the network has just computed, to the mean over `batches`. Their loss was
    /// multiplied by `scale`.
    fn add(&mut self, network: &[Parameters], scale: f64, batches: u64) -> Result<(), Error>;

    /// The largest magnitude in the mean gradient.
    fn largest(&self) -> f64;

    /// All layers, for a step.
    fn lend<'a>(
        &'a mut self,
        memory: &'a mut Memory<State>,
        network: &'a mut [Parameters],
    ) -> Result<Vec<LayerMemory<'a, State>>, Error>;

    /// Gives the network the weights that it computes with.
    fn write(&self, network: &mut [Parameters]);
}

/// Everything is `f32`. The optimizer trains the weights of the network in place.
pub struct Single {
    /// The mean gradient of each layer.
    gradients: Vec<Vec<f32>>,
}

impl Single {
    pub fn new(network: &[Parameters]) -> Self {
        Single { gradients: network.iter().map(|layer| vec![0.0; layer.weights.len()]).collect() }
    }
}

impl Precision for Single {
    fn clear(&mut self) {
        self.gradients.iter_mut().for_each(|mean| mean.fill(0.0));
    }

    fn add(&mut self, network: &[Parameters], scale: f64, batches: u64) -> Result<(), Error> {
        for (mean, layer) in self.gradients.iter_mut().zip(network) {
            accumulate(mean, &layer.gradients, scale / batches as f64)?;
        }
        Ok(())
    }

    fn largest(&self) -> f64 {
        self.gradients.iter().map(|mean| max_norm(mean).into()).fold(0.0, f64::max)
    }

    fn lend<'a>(
        &'a mut self,
        memory: &'a mut Memory<State>,
        network: &'a mut [Parameters],
    ) -> Result<Vec<LayerMemory<'a, State>>, Error> {
        memory.layers(network.iter_mut().map(|layer| &mut layer.weights).zip(&self.gradients))
    }

    fn write(&self, _: &mut [Parameters]) {}
}
