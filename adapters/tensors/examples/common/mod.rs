//! The digits data set as arrays, and a network of two layers with its gradients.

use flate2::read::GzDecoder;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewD, Axis, Ix1, Ix2, ShapeError, Zip};
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/digits.csv.gz");
const PIXELS: usize = 64;
const HIDDEN: usize = 64;
const DIGITS: usize = 10;

/// The names of the layers.
pub const NAMES: [&str; 4] = ["hidden.weight", "hidden.bias", "output.weight", "output.bias"];

/// Digits and their labels.
pub struct Part {
    /// Brightness from 0 to 1, a row for each digit.
    pixels: Array2<f32>,
    labels: Vec<usize>,
}

/// Digits for training, and digits for the test.
pub struct Digits {
    pub train: Part,
    pub test: Part,
}

impl Digits {
    /// Reads the data in a random order that is always the same, and sets a fifth aside for the test.
    pub fn load() -> Result<Self, Box<dyn Error>> {
        let mut rows = Vec::new();
        for line in BufReader::new(GzDecoder::new(File::open(DATA)?)).lines() {
            rows.push(line?.split(',').map(str::parse).collect::<Result<Vec<u8>, _>>()?);
        }
        fastrand::Rng::with_seed(1).shuffle(&mut rows);
        let (test, train) = rows.split_at(rows.len() / 5);
        Ok(Digits { train: Part::new(train)?, test: Part::new(test)? })
    }
}

impl Part {
    fn new(rows: &[Vec<u8>]) -> Result<Self, ShapeError> {
        let pixels = rows.iter().flat_map(|row| &row[..PIXELS]).map(|p| f32::from(*p) / 16.0).collect();
        let labels = rows.iter().map(|row| row[PIXELS].into()).collect();
        Ok(Part { pixels: Array2::from_shape_vec((rows.len(), PIXELS), pixels)?, labels })
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Some of the digits.
    pub fn select(&self, indices: &[usize]) -> Part {
        let labels = indices.iter().map(|index| self.labels[*index]).collect();
        Part { pixels: self.pixels.select(Axis(0), indices), labels }
    }
}

/// The weights of a network, which it owns.
#[derive(Clone, PartialEq)]
pub struct Network {
    pub hidden: Array2<f32>,
    pub hidden_bias: Array1<f32>,
    pub output: Array2<f32>,
    pub output_bias: Array1<f32>,
}

impl Network {
    /// Initial weights that are the same in every run.
    pub fn new() -> Self {
        let mut rng = fastrand::Rng::with_seed(1998);
        let mut random = |inputs, outputs| {
            let bound = (6.0 / inputs as f32).sqrt();
            Array2::from_shape_fn((inputs, outputs), |_| bound * (2.0 * rng.f32() - 1.0))
        };
        let (hidden, output) = (random(PIXELS, HIDDEN), random(HIDDEN, DIGITS));
        Network { hidden, hidden_bias: Array1::zeros(HIDDEN), output, output_bias: Array1::zeros(DIGITS) }
    }

    /// All arrays, in the order of [`NAMES`].
    pub fn arrays(&self) -> [ArrayViewD<'_, f32>; 4] {
        let Network { hidden, hidden_bias, output, output_bias } = self;
        [
            hidden.view().into_dyn(),
            hidden_bias.view().into_dyn(),
            output.view().into_dyn(),
            output_bias.view().into_dyn(),
        ]
    }
}

/// The weights of a network wherever they are.
pub struct Weights<'a> {
    hidden: ArrayView2<'a, f32>,
    hidden_bias: ArrayView1<'a, f32>,
    output: ArrayView2<'a, f32>,
    output_bias: ArrayView1<'a, f32>,
}

impl<'a> Weights<'a> {
    pub fn new(arrays: [ArrayViewD<'a, f32>; 4]) -> Result<Self, ShapeError> {
        let [hidden, hidden_bias, output, output_bias] = arrays;
        Ok(Weights {
            hidden: hidden.into_dimensionality::<Ix2>()?,
            hidden_bias: hidden_bias.into_dimensionality::<Ix1>()?,
            output: output.into_dimensionality::<Ix2>()?,
            output_bias: output_bias.into_dimensionality::<Ix1>()?,
        })
    }

    /// A copy.
    pub fn to_network(&self) -> Network {
        Network {
            hidden: self.hidden.to_owned(),
            hidden_bias: self.hidden_bias.to_owned(),
            output: self.output.to_owned(),
            output_bias: self.output_bias.to_owned(),
        }
    }

    /// The hidden activations, and the output.
    fn forward(&self, pixels: &Array2<f32>) -> (Array2<f32>, Array2<f32>) {
        let mut hidden = pixels.dot(&self.hidden) + self.hidden_bias;
        hidden.mapv_inplace(|x| x.max(0.0));
        let output = hidden.dot(&self.output) + self.output_bias;
        (hidden, output)
    }

    /// The gradients of the mean cross entropy.
    pub fn gradients(&self, part: &Part) -> Network {
        let (hidden, mut output) = self.forward(&part.pixels);
        for (mut row, label) in output.rows_mut().into_iter().zip(&part.labels) {
            let largest = row.fold(f32::NEG_INFINITY, |a, b| a.max(*b));
            row.mapv_inplace(|x| (x - largest).exp());
            let sum = row.sum() * part.len() as f32;
            row.mapv_inplace(|x| x / sum);
            row[*label] -= 1.0 / part.len() as f32;
        }
        let mut of_hidden = output.dot(&self.output.t());
        Zip::from(&mut of_hidden).and(&hidden).for_each(|g, x| *g *= f32::from(u8::from(*x > 0.0)));
        Network {
            hidden: part.pixels.t().dot(&of_hidden),
            hidden_bias: of_hidden.sum_axis(Axis(0)),
            output: hidden.t().dot(&output),
            output_bias: output.sum_axis(Axis(0)),
        }
    }

    /// The percentage of digits that are classified correctly.
    pub fn right(&self, part: &Part) -> f64 {
        let (_, output) = self.forward(&part.pixels);
        let is_right = |(row, label): &(ArrayView1<'_, f32>, &usize)| row.iter().all(|x| *x <= row[**label]);
        let right = output.rows().into_iter().zip(&part.labels).filter(is_right).count();
        100.0 * right as f64 / part.len() as f64
    }
}
