//! The optimizers to compare: four of the crate, and Adam as the familiar yardstick.

use crate::network::Parameters;
use layerwise::rule::{Moments, Rule};
use layerwise::{LarcConfig, LayerMemory, NovoGrad, NovoGradConfig, Optimizer, Sgd, SgdConfig};

/// A step of all layers at a learning rate.
pub type Step = Box<dyn FnMut(f64, &mut [Parameters])>;

pub struct Contender {
    pub name: &'static str,
    /// A learning rate that suits the optimizer, out of those of the sweep.
    pub lr: f64,
    /// A fresh optimizer for these layers, and how many bytes it remembers from step to step.
    pub start: fn(&[Parameters]) -> (usize, Step),
}

pub const ALL: [Contender; 5] = [
    Contender { name: "SGD", lr: 0.3, start: |layers| sgd(SgdConfig::DEFAULT, layers) },
    Contender {
        name: "SGD + momentum",
        lr: 0.1,
        start: |layers| sgd(SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT }, layers),
    },
    Contender {
        name: "LARC",
        lr: 1.0,
        start: |layers| sgd(SgdConfig { momentum: 0.9, larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT }, layers),
    },
    Contender {
        name: "NovoGrad",
        lr: 0.01,
        start: |layers| of_crate(NovoGrad::new(NovoGradConfig::DEFAULT).expect("valid settings"), layers),
    },
    Contender { name: "Adam", lr: 0.003, start: adam },
];

fn sgd(config: SgdConfig, layers: &[Parameters]) -> (usize, Step) {
    of_crate(Sgd::new(config).expect("valid settings"), layers)
}

/// Any optimizer of the crate, with what it remembers of each layer.
fn of_crate<R: Rule + 'static>(optimizer: Optimizer<R>, layers: &[Parameters]) -> (usize, Step) {
    let keeps = |layer: &Parameters| if optimizer.moments() == Moments::None { 0 } else { layer.weights.len() };
    let mut momentum: Vec<Vec<f32>> = layers.iter().map(|layer| vec![0.0; keeps(layer)]).collect();
    let mut states = vec![R::State::default(); layers.len()];
    let bytes = bytes(&momentum) + size_of_val(states.as_slice());
    let step = move |lr: f64, layers: &mut [Parameters]| {
        for ((layer, momentum), state) in layers.iter_mut().zip(&mut momentum).zip(&mut states) {
            let layer = LayerMemory::new(&mut layer.weights, &layer.gradients, state).momentum(momentum);
            // At the largest rates of the sweep a run may diverge; its layers are then skipped, and it stays as it is.
            optimizer.step_layer(lr, layer).expect("slices of the right lengths");
        }
    };
    (bytes, Box::new(step))
}

/// Adam (Kingma and Ba, 2015), as a training loop without a library has it.
fn adam(layers: &[Parameters]) -> (usize, Step) {
    const BETA1: f32 = 0.9;
    const BETA2: f32 = 0.999;
    const EPS: f32 = 1e-8;
    let mut first: Vec<Vec<f32>> = layers.iter().map(|layer| vec![0.0; layer.weights.len()]).collect();
    let (mut second, mut steps) = (first.clone(), 0_i32);
    let bytes = 2 * bytes(&first) + size_of_val(&steps);
    let step = move |lr: f64, layers: &mut [Parameters]| {
        steps += 1;
        let rate = (lr / (1.0 - f64::from(BETA1).powi(steps))) as f32;
        let unbias = (1.0 - f64::from(BETA2).powi(steps)).sqrt() as f32;
        for ((layer, first), second) in layers.iter_mut().zip(&mut first).zip(&mut second) {
            for (((w, g), m), v) in layer.weights.iter_mut().zip(&layer.gradients).zip(first).zip(second) {
                *m = BETA1 * *m + (1.0 - BETA1) * g;
                *v = BETA2 * *v + (1.0 - BETA2) * g * g;
                *w -= rate * *m / (v.sqrt() / unbias + EPS);
            }
        }
    };
    (bytes, Box::new(step))
}

fn bytes(arrays: &[Vec<f32>]) -> usize {
    arrays.iter().map(|array| size_of_val(array.as_slice())).sum()
}
