//! The digits data set as tensors, and the loop of both examples.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::{Optimizer as _, VarMap, loss};
use flate2::read::GzDecoder;
use layerwise::rule::Rule;
use layerwise_candle::Layerwise;
use std::fs::File;
use std::io::{BufRead, BufReader};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/digits.csv.gz");
const PIXELS: usize = 64;
const BATCH: usize = 32;

/// Digits and their labels.
pub struct Part {
    /// Brightness from 0 to 1, a row for each digit.
    pub pixels: Tensor,
    pub labels: Tensor,
}

/// Digits for training, and digits for the test.
pub struct Digits {
    pub train: Part,
    pub test: Part,
}

impl Digits {
    /// Reads the data in a random order that is always the same, and sets a fifth aside for the test.
    pub fn load() -> Result<Self> {
        Self::in_order(1)
    }

    /// The same in another order, with other digits in the test.
    pub fn in_order(seed: u64) -> Result<Self> {
        let mut rows = Vec::new();
        for line in BufReader::new(GzDecoder::new(File::open(DATA)?)).lines() {
            let numbers: std::result::Result<Vec<u8>, _> = line?.split(',').map(str::parse).collect();
            rows.push(numbers.map_err(candle_core::Error::wrap)?);
        }
        fastrand::Rng::with_seed(seed).shuffle(&mut rows);
        let (test, train) = rows.split_at(rows.len() / 5);
        Ok(Digits { train: Part::new(train)?, test: Part::new(test)? })
    }
}

impl Part {
    fn new(rows: &[Vec<u8>]) -> Result<Self> {
        let pixels: Vec<f32> = rows.iter().flat_map(|row| &row[..PIXELS]).map(|p| f32::from(*p) / 16.0).collect();
        let labels: Vec<u32> = rows.iter().map(|row| row[PIXELS].into()).collect();
        Ok(Part {
            pixels: Tensor::from_vec(pixels, (rows.len(), PIXELS), &Device::Cpu)?,
            labels: Tensor::from_vec(labels, rows.len(), &Device::Cpu)?,
        })
    }

    fn len(&self) -> usize {
        self.labels.elem_count()
    }

    /// Some of the digits.
    fn batch(&self, indices: &[u32]) -> Result<Part> {
        let indices = Tensor::new(indices, &Device::Cpu)?;
        let (pixels, labels) = (self.pixels.index_select(&indices, 0)?, self.labels.index_select(&indices, 0)?);
        Ok(Part { pixels, labels })
    }
}

/// Gives weights and biases initial values that are the same in every run: candle's own are not.
pub fn initialise(map: &VarMap) -> Result<()> {
    initialise_from(map, 1998)
}

/// The same from another seed.
pub fn initialise_from(map: &VarMap, seed: u64) -> Result<()> {
    let variables = map.data().lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut variables: Vec<(&String, &Var)> = variables.iter().collect();
    variables.sort_by_key(|(name, _)| *name);
    let mut rng = fastrand::Rng::with_seed(seed);
    for (name, var) in variables {
        if name.ends_with(".bias") {
            var.zero_set()?;
        } else if var.rank() > 1 {
            let inputs = var.elem_count() / var.dim(0)?;
            let bound = (6.0 / inputs as f32).sqrt();
            let numbers: Vec<f32> = (0..var.elem_count()).map(|_| bound * (2.0 * rng.f32() - 1.0)).collect();
            var.set(&Tensor::from_vec(numbers, var.shape(), &Device::Cpu)?)?;
        }
    }
    Ok(())
}

/// Trains with a learning rate that falls linearly from `lr` to 0. `forward` computes the logits of digits.
pub fn train<R: Rule>(
    optimizer: &mut Layerwise<R>,
    digits: &Digits,
    epochs: usize,
    forward: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<()> {
    let lr = optimizer.learning_rate();
    let mut order: Vec<u32> = (0..digits.train.len() as u32).collect();
    let mut rng = fastrand::Rng::with_seed(7);
    let (steps, mut done) = (epochs * order.len().div_ceil(BATCH), 0);
    for _ in 0..epochs {
        rng.shuffle(&mut order);
        for indices in order.chunks(BATCH) {
            let batch = digits.train.batch(indices)?;
            let loss = loss::cross_entropy(&forward(&batch.pixels)?, &batch.labels)?;
            optimizer.set_learning_rate(lr * (1.0 - done as f64 / steps as f64));
            optimizer.backward_step(&loss)?;
            for (name, report) in optimizer.reports().filter(|_| optimizer.skipped() > 0) {
                eprintln!("{name}: {}", report.outcome);
            }
            done += 1;
        }
    }
    Ok(())
}

/// The percentage of digits that are classified correctly.
pub fn right(logits: &Tensor, part: &Part) -> Result<f64> {
    let right = logits.argmax(D::Minus1)?.eq(&part.labels)?.to_dtype(DType::F64)?.mean_all()?.to_scalar::<f64>()?;
    Ok(100.0 * right)
}

/// Fails if the accuracy is below `at_least`, or below 75 % after a short run.
pub fn expect(right: f64, at_least: f64, is_short: bool) -> Result<()> {
    let at_least = if is_short { 75.0 } else { at_least };
    if right < at_least {
        candle_core::bail!("{right:.1} % of the digits are classified correctly, less than {at_least} %");
    }
    Ok(())
}

/// Whether the program was called with `--short`, which means three epochs.
pub fn is_short() -> bool {
    std::env::args().any(|argument| argument == "--short")
}
