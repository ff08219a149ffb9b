//! Trains a small convolutional network of candle's, with batch normalisation, to read handwritten digits.
//!
//! ```text
//! cargo run --example convolution
//! cargo run --example convolution -- --short    # three epochs, to see that it works
//! ```

mod common;

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::{
    BatchNorm, Conv2d, Conv2dConfig, Linear, ModuleT, VarBuilder, VarMap, batch_norm, conv2d_no_bias, linear,
};
use common::{Digits, expect, initialise, is_short, right, train};
use layerwise::{NovoGrad, NovoGradConfig, Outcome};
use layerwise_candle::Layerwise;
use std::time::Instant;

/// Two convolutions of 3×3, each followed by a normalisation and a maximum over 2×2, and a linear layer.
struct Network {
    blocks: [(Conv2d, BatchNorm); 2],
    output: Linear,
}

const CHANNELS: [usize; 2] = [16, 32];

impl Network {
    fn new(builder: &VarBuilder<'_>) -> Result<Self> {
        let block = |name, inputs, outputs| -> Result<_> {
            let (builder, same) = (builder.pp(name), Conv2dConfig { padding: 1, ..Conv2dConfig::default() });
            let convolution = conv2d_no_bias(inputs, outputs, 3, same, builder.pp("convolution"))?;
            Ok((convolution, batch_norm(outputs, 1e-5, builder.pp("norm"))?))
        };
        let blocks = [block("first", 1, CHANNELS[0])?, block("second", CHANNELS[0], CHANNELS[1])?];
        Ok(Network { blocks, output: linear(CHANNELS[1] * 2 * 2, 10, builder.pp("output"))? })
    }

    fn forward(&self, pixels: &Tensor, is_training: bool) -> Result<Tensor> {
        let mut x = pixels.reshape(((), 1, 8, 8))?;
        for (convolution, norm) in &self.blocks {
            x = norm.forward_t(&convolution.forward(&x)?, is_training)?.relu()?.max_pool2d(2)?;
        }
        self.output.forward(&x.flatten_from(1)?)
    }
}

fn main() -> Result<()> {
    let digits = Digits::load()?;
    let epochs = if is_short() { 3 } else { 20 };
    let map = VarMap::new();
    let network = Network::new(&VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu))?;
    initialise(&map)?;

    let novograd = NovoGradConfig { weight_decay: 0.01, ..NovoGradConfig::DEFAULT };
    let novograd = NovoGrad::new(novograd).map_err(candle_core::Error::wrap)?;
    let start = Instant::now();
    let mut optimizer = Layerwise::of_map(&map, novograd, 0.02)?;
    train(&mut optimizer, &digits, epochs, |pixels| network.forward(pixels, true))?;

    // The running means and variances of the normalisations are variables of the map too, but have no gradients.
    for (name, report) in optimizer.reports().filter(|(_, report)| report.outcome != Outcome::Absent) {
        println!("{name}: {}, gradient norm {:.2e}", report.outcome, report.gradient_norm);
    }
    let right = right(&network.forward(&digits.test.pixels, false)?, &digits.test)?;
    println!("{right:.1} % of the test digits are read right, {:.1} s", start.elapsed().as_secs_f64());
    expect(right, 98.0, is_short())
}
