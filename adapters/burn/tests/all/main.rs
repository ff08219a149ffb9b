//! Tests of the adapter, in one program, because each program links all of burn.

mod bits;
mod groups;
mod records;
mod refusals;

use burn::optim::Optimizer;
use burn::tensor::{DType, Device, Tensor, TensorData};
use layerwise::{Adam, AdamConfig, LarcConfig, Luc, NovoGrad, NovoGradConfig, Sgd, SgdConfig, TrustRatio};
use layerwise_burn::Layerwise;

/// Numbers from -1 to 1 that differ from seed to seed.
fn numbers(seed: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i + 1) as f32 * (0.37 + 0.11 * seed as f32)).sin()).collect()
}

fn tensor<const D: usize>(numbers: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(numbers.to_vec(), shape), (device, DType::F32))
}

fn bits<const D: usize>(tensor: &Tensor<D>) -> Vec<u32> {
    to_bits(&tensor.to_data().try_into_vec().expect("a tensor of f32"))
}

fn to_bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

/// The backend on which steps are in place, and one on which they copy.
fn devices() -> [Device; 2] {
    #[allow(deprecated)] // burn prefers Flex, and that is the other one.
    [Device::flex(), Device::ndarray()]
}

fn sgd() -> Sgd {
    Sgd::new(SgdConfig::DEFAULT).expect("valid settings")
}

fn momentum() -> Sgd {
    Sgd::new(SgdConfig { momentum: 0.9, weight_decay: 0.01, ..SgdConfig::DEFAULT }).expect("valid settings")
}

fn larc() -> Sgd {
    let larc = Some(LarcConfig { eta: 0.02, ..LarcConfig::DEFAULT });
    Sgd::new(SgdConfig { momentum: 0.9, weight_decay: 0.01, larc, ..SgdConfig::DEFAULT }).expect("valid settings")
}

fn novograd() -> NovoGrad {
    let luc = Some(Luc { trust: 0.05, ..Luc::DEFAULT });
    NovoGrad::new(NovoGradConfig { weight_decay: 0.01, luc, ..NovoGradConfig::DEFAULT }).expect("valid settings")
}

fn lamb() -> Adam {
    let trust_ratio = Some(TrustRatio::DEFAULT);
    Adam::new(AdamConfig { weight_decay: 0.01, trust_ratio, ..AdamConfig::DEFAULT }).expect("valid settings")
}

/// A step without state, to test what it refuses.
fn first_step<O: Optimizer>(optimizer: &O, lr: f64, weights: Tensor<2>, gradients: Tensor<2>) -> Tensor<2> {
    optimizer.step(lr, weights, gradients, None).0
}

fn wrap<R: layerwise::rule::Rule>(optimizer: layerwise::Optimizer<R>) -> Layerwise<R> {
    Layerwise::new(optimizer).expect("the default policy")
}
