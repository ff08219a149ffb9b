//! The digits of this repository and a network that reads them, shared by both examples.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig, Relu};
use burn::tensor::{Device, Int, Tensor, TensorData};
use flate2::read::GzDecoder;
use std::error::Error;
use std::fs::File;

pub const PIXELS: usize = 64;
pub const CLASSES: usize = 10;
pub const BATCH: usize = 32;

/// One handwritten digit.
#[derive(Clone, Debug)]
pub struct Digit {
    /// Brightness from 0 to 1, row by row.
    pub pixels: [f32; PIXELS],
    pub label: u8,
}

/// The training digits, and a fifth for the test, in a random order that is always the same: the first of the five
/// splits of layerwise's example `digits`.
pub fn digits() -> Result<(Vec<Digit>, Vec<Digit>), Box<dyn Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/digits.csv.gz");
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(GzDecoder::new(File::open(path)?));
    let mut digits = Vec::new();
    for record in reader.deserialize() {
        let numbers: Vec<u8> = record?;
        let (&label, pixels) = numbers.split_last().ok_or("an empty row")?;
        let pixels: [u8; PIXELS] = pixels.try_into()?;
        digits.push(Digit { pixels: pixels.map(|p| f32::from(p) / 16.0), label });
    }
    fastrand::Rng::with_seed(1).shuffle(&mut digits);
    let (test, learn): (Vec<_>, Vec<_>) = digits.into_iter().enumerate().partition(|(i, _)| i % 5 == 0);
    let digits = |numbered: Vec<(usize, Digit)>| numbered.into_iter().map(|(_, digit)| digit).collect();
    Ok((digits(learn), digits(test)))
}

/// Pixels and labels as tensors.
pub fn batch(digits: &[Digit], device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
    let pixels: Vec<f32> = digits.iter().flat_map(|digit| digit.pixels).collect();
    let labels: Vec<i64> = digits.iter().map(|digit| digit.label.into()).collect();
    let pixels = Tensor::from_data(TensorData::new(pixels, [digits.len(), PIXELS]), device);
    (pixels, Tensor::from_data(TensorData::new(labels, [digits.len()]), device))
}

#[derive(Module, Debug)]
pub struct Mlp {
    hidden: Linear,
    relu: Relu,
    output: Linear,
}

impl Mlp {
    pub fn new(device: &Device) -> Self {
        Mlp {
            hidden: LinearConfig::new(PIXELS, PIXELS).init(device),
            relu: Relu::new(),
            output: LinearConfig::new(PIXELS, CLASSES).init(device),
        }
    }

    pub fn forward(&self, pixels: Tensor<2>) -> Tensor<2> {
        self.output.forward(self.relu.forward(self.hidden.forward(pixels)))
    }
}
