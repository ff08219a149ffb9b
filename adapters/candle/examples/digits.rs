//! Trains a small candle network to read handwritten digits, with five optimizers from the same initial weights.
//!
//! ```text
//! cargo run --example digits
//! cargo run --example digits -- --short    # three epochs, as a quick check
//! ```

mod common;

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::{Linear, VarBuilder, VarMap, linear};
use common::{Digits, expect, initialise, is_short, right, train};
use layerwise::{Adam, AdamConfig, AnyOptimizer, ConfigError, LarcConfig, NovoGrad, NovoGradConfig, Sgd, SgdConfig};
use layerwise_candle::Layerwise;
use std::time::Instant;

struct Network {
    hidden: Linear,
    output: Linear,
}

impl Network {
    fn new(builder: &VarBuilder<'_>) -> Result<Self> {
        Ok(Network { hidden: linear(64, 64, builder.pp("hidden"))?, output: linear(64, 10, builder.pp("output"))? })
    }

    fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        self.output.forward(&self.hidden.forward(pixels)?.relu()?)
    }
}

/// Names, optimizers and initial learning rates.
fn contenders() -> std::result::Result<[(&'static str, AnyOptimizer, f64); 5], ConfigError> {
    let momentum = SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT };
    let larc = SgdConfig { larc: Some(LarcConfig::DEFAULT), ..momentum };
    Ok([
        ("SGD with momentum", Sgd::new(momentum)?.any(), 0.05),
        ("LARC with momentum", Sgd::new(larc)?.any(), 1.0),
        ("NovoGrad", NovoGrad::new(NovoGradConfig::DEFAULT)?.any(), 0.01),
        ("AdamW", Adam::new(AdamConfig { weight_decay: 0.01, ..AdamConfig::DEFAULT })?.any(), 0.003),
        ("LAMB", Adam::new(AdamConfig::TIMM_LAMB)?.any(), 0.01),
    ])
}

fn main() -> Result<()> {
    let digits = Digits::load()?;
    let epochs = if is_short() { 3 } else { 40 };
    for (name, optimizer, lr) in contenders().map_err(candle_core::Error::wrap)? {
        let map = VarMap::new();
        let network = Network::new(&VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu))?;
        initialise(&map)?;
        let start = Instant::now();
        let mut optimizer = Layerwise::of_map(&map, optimizer, lr)?;
        // With LARC the rate is an upper limit, far too high for biases that are not adapted.
        optimizer.configure(|_, _| layerwise::LayerConfig::DEFAULT)?;
        train(&mut optimizer, &digits, epochs, |pixels| network.forward(pixels))?;
        let right = right(&network.forward(&digits.test.pixels)?, &digits.test)?;
        println!("{name}: {right:.1} % test accuracy, {:.1} s", start.elapsed().as_secs_f64());
        expect(right, 96.0, is_short())?;
    }
    Ok(())
}
