//! What several tests use.

#![allow(dead_code, reason = "no test uses all of it")]

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var};
use layerwise::{Adam, AdamConfig, AnyOptimizer, LarcConfig, NovoGrad, NovoGradConfig, Sgd, SgdConfig};

pub const CPU: Device = Device::Cpu;

/// Numbers without a pattern, from -1 to 1.
pub fn numbers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i + 1) as f32 * 0.37 + seed as f32 * 1.7).sin()).collect()
}

pub fn variable(shape: &[usize], seed: usize) -> Result<Var> {
    Var::from_vec(numbers(shape.iter().product(), seed), shape, &CPU)
}

/// A store with the given gradients.
pub fn store<'a>(gradients: impl IntoIterator<Item = (&'a Var, Tensor)>) -> Result<GradStore> {
    let mut store = Tensor::new(0.0_f32, &CPU)?.backward()?;
    for (var, gradient) in gradients {
        store.insert(var, gradient);
    }
    Ok(store)
}

/// The bits of a tensor's numbers, which are exact in `f32`.
pub fn bits(tensor: &Tensor) -> Result<Vec<u32>> {
    let numbers = tensor.flatten_all()?.to_dtype(candle_core::DType::F32)?.to_vec1::<f32>()?;
    Ok(numbers.into_iter().map(f32::to_bits).collect())
}

/// One optimizer of each kind, with momentum and decay where it has them.
pub fn optimizers() -> [(&'static str, AnyOptimizer); 6] {
    let decay = 1e-3;
    let sgd = SgdConfig { weight_decay: decay, ..SgdConfig::DEFAULT };
    let momentum = SgdConfig { momentum: 0.9, ..sgd };
    let larc = SgdConfig { larc: Some(LarcConfig::DEFAULT), ..momentum };
    let novograd = NovoGradConfig { weight_decay: decay, ..NovoGradConfig::DEFAULT };
    let sgd = |config| Sgd::new(config).expect("valid settings").any();
    let adam = |config| Adam::new(config).expect("valid settings").any();
    [
        ("sgd", sgd(SgdConfig { weight_decay: decay, ..SgdConfig::DEFAULT })),
        ("momentum", sgd(momentum)),
        ("larc", sgd(larc)),
        ("novograd", NovoGrad::new(novograd).expect("valid settings").any()),
        ("adamw", adam(AdamConfig { weight_decay: decay, ..AdamConfig::DEFAULT })),
        ("lamb", adam(AdamConfig::TIMM_LAMB)),
    ]
}
