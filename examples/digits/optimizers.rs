//! The optimizers to compare.

use crate::network::Parameters;
use layerwise::rule::{Moments, Rule};
use layerwise::{Adam, AdamConfig, LarcConfig, LayerMemory, NovoGrad, NovoGradConfig, Optimizer, Sgd, SgdConfig};

/// A step of all layers at a learning rate.
pub type Step = Box<dyn FnMut(f64, &mut [Parameters])>;

pub struct Contender {
    pub name: &'static str,
    /// A good learning rate for the optimizer, one of those of the sweep.
    pub lr: f64,
    pub config: Config,
}

pub enum Config {
    Sgd(SgdConfig),
    NovoGrad(NovoGradConfig),
    Adam(AdamConfig),
}

pub const LARC: SgdConfig = SgdConfig { momentum: 0.9, larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT };

const MOMENTUM: SgdConfig = SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT };

pub const ALL: [Contender; 7] = [
    Contender { name: "SGD", lr: 0.3, config: Config::Sgd(SgdConfig::DEFAULT) },
    Contender { name: "SGD + momentum", lr: 0.1, config: Config::Sgd(MOMENTUM) },
    Contender { name: "LARC", lr: 1.0, config: Config::Sgd(LARC) },
    Contender { name: "NovoGrad", lr: 0.01, config: Config::NovoGrad(NovoGradConfig::DEFAULT) },
    Contender { name: "Adam", lr: 0.003, config: Config::Adam(AdamConfig::DEFAULT) },
    Contender { name: "AdamW", lr: 0.003, config: Config::Adam(AdamConfig::TORCH_ADAMW) },
    Contender { name: "LAMB", lr: 0.003, config: Config::Adam(AdamConfig::TIMM_LAMB) },
];

impl Contender {
    /// A new optimizer for these layers, and how many bytes it keeps from step to step.
    pub fn start(&self, layers: &[Parameters]) -> (usize, Step) {
        match self.config {
            Config::Sgd(config) => sgd(config, layers),
            Config::NovoGrad(config) => of_crate(NovoGrad::new(config).expect("valid settings"), layers),
            Config::Adam(config) => of_crate(Adam::new(config).expect("valid settings"), layers),
        }
    }
}

pub fn sgd(config: SgdConfig, layers: &[Parameters]) -> (usize, Step) {
    of_crate(Sgd::new(config).expect("valid settings"), layers)
}

/// Any optimizer, with its memory of each layer.
fn of_crate<R: Rule + 'static>(optimizer: Optimizer<R>, layers: &[Parameters]) -> (usize, Step) {
    let zeros = |is_kept: bool| -> Vec<Vec<f32>> {
        layers.iter().map(|layer| vec![0.0; if is_kept { layer.weights.len() } else { 0 }]).collect()
    };
    let moments = optimizer.moments();
    let (mut first, mut second) = (zeros(moments != Moments::None), zeros(moments == Moments::FirstAndSecond));
    let mut states = vec![R::State::default(); layers.len()];
    let bytes = bytes(&first) + bytes(&second) + size_of_val(states.as_slice());
    let step = move |lr: f64, layers: &mut [Parameters]| {
        for (((layer, first), second), state) in layers.iter_mut().zip(&mut first).zip(&mut second).zip(&mut states) {
            let layer = LayerMemory::new(&mut layer.weights, &layer.gradients, state).momentum(first);
            // At the largest rates of the sweep a run may diverge; its layers are then skipped, and nothing changes any
            // more.
            optimizer.step_layer(lr, layer.second_moment(second)).expect("slices of the right lengths");
        }
    };
    (bytes, Box::new(step))
}

fn bytes(arrays: &[Vec<f32>]) -> usize {
    arrays.iter().map(|array| size_of_val(array.as_slice())).sum()
}
