//! Mixed precision: the network computes with `f16` weights and gives `f16` gradients; the optimizer trains `f32`.

use crate::network::Parameters;
use crate::precision::{Precision, State};
use half::f16;
use half::slice::HalfFloatSliceExt;
use layerwise::{Error, Floats, LayerMemory, Memory, accumulate, max_norm};

pub struct Mixed {
    layers: Vec<Layer>,
}

struct Layer {
    /// The weights that the optimizer trains.
    weights: Vec<f32>,
    /// Their copy, which the network computes with. Each step writes it.
    copy: Vec<f16>,
    /// The gradients of the last batch.
    gradients: Vec<f16>,
    /// The mean gradient, if a step has several batches.
    mean: Option<Vec<f32>>,
}

impl Mixed {
    pub fn new(network: &[Parameters], batches: u64) -> Self {
        let layer = |layer: &Parameters| {
            let (weights, zeros) = (layer.weights.clone(), vec![f16::ZERO; layer.weights.len()]);
            let mut copy = zeros.clone();
            copy.convert_from_f32_slice(&weights);
            let mean = (batches > 1).then(|| vec![0.0; weights.len()]);
            Layer { weights, copy, gradients: zeros, mean }
        };
        Mixed { layers: network.iter().map(layer).collect() }
    }
}

/// The gradients that a step reads. With a single batch these are its own gradients.
fn read<'a>(gradients: &'a [f16], mean: &'a Option<Vec<f32>>) -> Floats<'a> {
    match mean {
        Some(mean) => mean.into(),
        None => gradients.into(),
    }
}

impl Precision for Mixed {
    fn clear(&mut self) {
        self.layers.iter_mut().filter_map(|layer| layer.mean.as_mut()).for_each(|mean| mean.fill(0.0));
    }

    /// A gradient that overflows `f16` becomes infinite, and so does the mean. The step is then skipped.
    fn add(&mut self, network: &[Parameters], scale: f64, batches: u64) -> Result<(), Error> {
        for (layer, from) in self.layers.iter_mut().zip(network) {
            let scaled: Vec<f32> = from.gradients.iter().map(|gradient| gradient * scale as f32).collect();
            layer.gradients.convert_from_f32_slice(&scaled);
            if let Some(mean) = &mut layer.mean {
                accumulate(mean, &layer.gradients, 1.0 / batches as f64)?;
            }
        }
        Ok(())
    }

    fn largest(&self) -> f64 {
        self.layers.iter().map(|layer| max_norm(read(&layer.gradients, &layer.mean)).into()).fold(0.0, f64::max)
    }

    fn lend<'a>(
        &'a mut self,
        memory: &'a mut Memory<State>,
        _: &'a mut [Parameters],
    ) -> Result<Vec<LayerMemory<'a, State>>, Error> {
        let (mut tensors, mut copies) = (Vec::new(), Vec::new());
        for Layer { weights, copy, gradients, mean } in &mut self.layers {
            tensors.push((weights, read(gradients, mean)));
            copies.push(copy);
        }
        let layers = memory.layers(tensors)?.into_iter().zip(copies);
        Ok(layers.map(|(layer, copy)| layer.saturating_copy(copy)).collect())
    }

    fn write(&self, network: &mut [Parameters]) {
        for (layer, to) in self.layers.iter().zip(network) {
            layer.copy.convert_to_f32_slice(&mut to.weights);
        }
    }
}
