//! The digits data set, with five ways to split it into a training and a test part.

use flate2::read::GzDecoder;
use std::error::Error;
use std::fs::File;

pub const PIXELS: usize = 64;
pub const CLASSES: usize = 10;
/// Parts of the data set, each of which is the test part once.
pub const FOLDS: usize = 5;

/// One handwritten digit.
pub struct Digit {
    /// Brightness from 0 to 1, row by row.
    pub pixels: [f32; PIXELS],
    pub label: usize,
}

pub struct Digits(Vec<Digit>);

impl Digits {
    /// Reads the data, in a random order that is always the same.
    pub fn load() -> Result<Self, Box<dyn Error>> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/digits.csv.gz");
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(GzDecoder::new(File::open(path)?));
        let mut digits = Vec::new();
        for record in reader.deserialize() {
            let numbers: Vec<u8> = record?;
            let (&label, pixels) = numbers.split_last().ok_or("an empty row")?;
            let pixels: [u8; PIXELS] = pixels.try_into()?;
            digits.push(Digit { pixels: pixels.map(|p| f32::from(p) / 16.0), label: label.into() });
        }
        fastrand::Rng::with_seed(1).shuffle(&mut digits);
        Ok(Digits(digits))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The digits for training and for the test, for one of [`FOLDS`] disjoint tests.
    pub fn split(&self, fold: usize) -> (Vec<&Digit>, Vec<&Digit>) {
        let numbered = self.0.iter().enumerate();
        let (test, train): (Vec<_>, Vec<_>) = numbered.partition(|(i, _)| i % FOLDS == fold);
        let digits = |numbered: Vec<(usize, _)>| numbered.into_iter().map(|(_, digit)| digit).collect();
        (digits(train), digits(test))
    }
}
