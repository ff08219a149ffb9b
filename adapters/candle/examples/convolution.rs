//! Trains a small convolutional candle network, with batch normalisation, to read handwritten digits.
//!
//! ```text
//! cargo run --example convolution
//! cargo run --example convolution -- --short    # three epochs, as a quick check
//! cargo run --release --example convolution -- --sweep    # five optimizers, five rates each, three runs of each rate
//! ```

mod common;

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::{
    BatchNorm, Conv2d, Conv2dConfig, Linear, ModuleT, VarBuilder, VarMap, batch_norm, conv2d_no_bias, linear,
};
use common::{Digits, expect, initialise, initialise_from, is_short, right, train};
use layerwise::{
    Adam, AdamConfig, AnyOptimizer, ConfigError, LarcConfig, LayerConfig, NovoGrad, NovoGradConfig, Outcome, Sgd,
    SgdConfig,
};
use layerwise_candle::Layerwise;
use std::time::Instant;

/// Two 3×3 convolutions, each followed by normalisation and 2×2 max-pooling, and a linear layer.
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

/// Names, optimizers and rates: the first suggestions of `docs/choosing.md`.
fn contenders() -> std::result::Result<[(&'static str, AnyOptimizer, f64); 5], ConfigError> {
    let momentum = SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT };
    let larc = SgdConfig { larc: Some(LarcConfig::DEFAULT), ..momentum };
    Ok([
        ("SGD + momentum", Sgd::new(momentum)?.any(), 0.1),
        ("LARC", Sgd::new(larc)?.any(), 1.0),
        ("NovoGrad", NovoGrad::new(NovoGradConfig::DEFAULT)?.any(), 0.01),
        ("AdamW", Adam::new(AdamConfig::TORCH_ADAMW)?.any(), 0.003),
        ("LAMB", Adam::new(AdamConfig::TIMM_LAMB)?.any(), 0.003),
    ])
}

/// Trains once, and returns the test accuracy in percent. The seed decides the test digits and the initial weights.
fn run(optimizer: AnyOptimizer, rate: f64, epochs: usize, seed: u64) -> Result<f64> {
    let digits = Digits::in_order(seed)?;
    let map = VarMap::new();
    let network = Network::new(&VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu))?;
    initialise_from(&map, seed)?;
    let mut optimizer = Layerwise::of_map(&map, optimizer, rate)?;
    // As in the sweep of the crate's own example: LARC's rate is too large for layers that it does not adapt.
    optimizer.configure(|_, _| LayerConfig::DEFAULT)?;
    train(&mut optimizer, &digits, epochs, |pixels| network.forward(pixels, true))?;
    right(&network.forward(&digits.test.pixels, false)?, &digits.test)
}

/// Prints the mean of three runs for each optimizer and rate.
fn sweep() -> Result<()> {
    let (epochs, start) = (if is_short() { 1 } else { 10 }, Instant::now());
    println!("Test accuracy in %, mean of 3 runs of {epochs} epochs, after the rate\n");
    for (name, optimizer, middle) in contenders().map_err(candle_core::Error::wrap)? {
        print!("{name:14}");
        let mut best = [0.0; 3];
        for rate in [0.1, 0.3, 1.0, 3.0, 10.0].map(|multiple| multiple * middle) {
            let mut runs = [0.0; 3];
            for (seed, right) in (1..).zip(&mut runs) {
                *right = run(optimizer, rate, epochs, seed)?;
            }
            print!("  {rate:6.4}: {:4.1}", mean(&runs));
            if mean(&runs) > mean(&best) {
                best = runs;
            }
        }
        println!("   best: {:.1} {:.1} {:.1}", best[0], best[1], best[2]);
        expect(mean(&best), 97.0, is_short())?;
    }
    println!("\n{:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn mean(runs: &[f64; 3]) -> f64 {
    runs.iter().sum::<f64>() / 3.0
}

fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == "--sweep") {
        return sweep();
    }
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

    // The running means and variances of the normalisation layers are also variables in the map, but have no gradients.
    for (name, report) in optimizer.reports().filter(|(_, report)| report.outcome != Outcome::Absent) {
        println!("{name}: {}, gradient norm {:.2e}", report.outcome, report.gradient_norm);
    }
    let right = right(&network.forward(&digits.test.pixels, false)?, &digits.test)?;
    println!("{right:.1} % test accuracy, {:.1} s", start.elapsed().as_secs_f64());
    expect(right, 98.0, is_short())
}
