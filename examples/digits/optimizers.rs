//! The optimizers to compare: four of the crate, and Adam as the familiar yardstick.

use crate::network::Parameters;
use layerwise::{Larc, LarcConfig, NovoGrad, NovoGradConfig, Optimizer, Rule, Sgd, SgdConfig};

/// An optimizer with its memory of all layers.
pub trait Train {
    fn step(&mut self, lr: f64, layers: &mut [Parameters]);
    fn state_bytes(&self) -> usize;
}

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Sgd,
    Momentum,
    Larc,
    NovoGrad,
    Adam,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::Sgd, Kind::Momentum, Kind::Larc, Kind::NovoGrad, Kind::Adam];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Sgd => "SGD",
            Kind::Momentum => "SGD + momentum",
            Kind::Larc => "LARC",
            Kind::NovoGrad => "NovoGrad",
            Kind::Adam => "Adam",
        }
    }

    /// A learning rate that suits the optimizer, out of those of the sweep.
    pub fn lr(self) -> f64 {
        match self {
            Kind::Sgd => 0.3,
            Kind::Momentum => 0.1,
            Kind::Larc => 1.0,
            Kind::NovoGrad => 0.01,
            Kind::Adam => 0.003,
        }
    }

    /// A fresh optimizer for these layers.
    pub fn optimizer(self, layers: &[Parameters]) -> Box<dyn Train> {
        let sgd = |momentum, larc| {
            let config = SgdConfig { momentum, larc, ..SgdConfig::DEFAULT };
            Host::boxed(Sgd::new(config).expect("valid settings"), layers)
        };
        match self {
            Kind::Sgd => sgd(0.0, None),
            Kind::Momentum => sgd(0.9, None),
            Kind::Larc => sgd(0.9, Some(Larc::new(LarcConfig::DEFAULT).expect("valid settings"))),
            Kind::NovoGrad => Host::boxed(NovoGrad::new(NovoGradConfig::DEFAULT).expect("valid settings"), layers),
            Kind::Adam => Box::new(Adam::new(layers)),
        }
    }
}

/// Any optimizer of the crate with the memory it needs.
struct Host<R: Rule> {
    optimizer: Optimizer<R>,
    momentum: Vec<Vec<f32>>,
    state: Vec<R::State>,
}

impl<R: Rule + 'static> Host<R> {
    fn boxed(optimizer: Optimizer<R>, layers: &[Parameters]) -> Box<dyn Train> {
        let momentum = layers.iter().map(|layer| vec![0.0; optimizer.momentum_len(layer.weights.len())]).collect();
        Box::new(Host { optimizer, momentum, state: vec![R::State::default(); layers.len()] })
    }
}

impl<R: Rule> Train for Host<R> {
    fn step(&mut self, lr: f64, layers: &mut [Parameters]) {
        for ((layer, momentum), state) in layers.iter_mut().zip(&mut self.momentum).zip(&mut self.state) {
            // At the largest rates of the sweep a run may diverge; its layers are then skipped, and it stays as it is.
            self.optimizer
                .step_layer(lr, &mut layer.weights, &layer.gradients, momentum, state)
                .expect("slices of the right lengths");
        }
    }

    fn state_bytes(&self) -> usize {
        let momentum: usize = self.momentum.iter().map(|m| size_of_val(m.as_slice())).sum();
        momentum + size_of_val(self.state.as_slice())
    }
}

/// Adam (Kingma and Ba, 2015), as a training loop without a library has it.
struct Adam {
    first: Vec<Vec<f32>>,
    second: Vec<Vec<f32>>,
    steps: i32,
}

impl Adam {
    fn new(layers: &[Parameters]) -> Self {
        let zeros: Vec<Vec<f32>> = layers.iter().map(|layer| vec![0.0; layer.weights.len()]).collect();
        Adam { first: zeros.clone(), second: zeros, steps: 0 }
    }
}

impl Train for Adam {
    fn step(&mut self, lr: f64, layers: &mut [Parameters]) {
        const BETA1: f32 = 0.9;
        const BETA2: f32 = 0.999;
        const EPS: f32 = 1e-8;
        self.steps += 1;
        let rate = (lr / (1.0 - f64::from(BETA1).powi(self.steps))) as f32;
        let unbias = (1.0 - f64::from(BETA2).powi(self.steps)).sqrt() as f32;
        for ((layer, first), second) in layers.iter_mut().zip(&mut self.first).zip(&mut self.second) {
            for (((w, g), m), v) in layer.weights.iter_mut().zip(&layer.gradients).zip(first).zip(second) {
                *m = BETA1 * *m + (1.0 - BETA1) * g;
                *v = BETA2 * *v + (1.0 - BETA2) * g * g;
                *w -= rate * *m / (v.sqrt() / unbias + EPS);
            }
        }
    }

    fn state_bytes(&self) -> usize {
        let moments = self.first.iter().chain(&self.second);
        moments.map(|m| size_of_val(m.as_slice())).sum::<usize>() + size_of_val(&self.steps)
    }
}
