//! What recorded runs of other systems are fed with: layers whose weights and gradients are computed, not stored. The
//! recipe is in `tests/data/README.md`.

#![allow(dead_code)] // Each test uses its own part.

use flate2::read::GzDecoder;
use serde::Deserialize;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
pub struct Inputs {
    pub layers: Vec<InputLayer>,
}

#[derive(Deserialize)]
pub struct InputLayer {
    index: u64,
    pub name: String,
    pub n: usize,
    log2_w_scale: Option<i32>,
    log2_g_scale: Option<i32>,
    zero_grad_steps: Vec<u64>,
    pub sample_w0: Vec<f64>,
    pub sample_g1: Vec<f64>,
}

impl Inputs {
    /// Those of `tests/data`.
    pub fn stored() -> Inputs {
        parse(&data().join("inputs_layers.json"))
    }

    /// The layer of a trace.
    pub fn layer(&self, name: &str, n: usize) -> &InputLayer {
        let layer = self.layers.iter().find(|layer| layer.name == name).expect("a layer of the inputs");
        assert_eq!(layer.n, n);
        layer
    }

    /// The names of all layers, and their gradients at a step from 1.
    pub fn gradients(&self, step: u64) -> Vec<(String, Vec<f32>)> {
        self.layers.iter().map(|layer| (layer.name.clone(), layer.gradients(step))).collect()
    }
}

impl InputLayer {
    /// Number `i` of the layer at a step, uniform in [-1, 1).
    fn uniform(&self, step: u64, i: u64) -> f64 {
        let mut z = (self.index << 48 | step << 40 | i).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((z >> 40) as f64 - f64::from(1 << 23)) / f64::from(1 << 23)
    }

    pub fn weights(&self) -> Vec<f32> {
        let scale = self.log2_w_scale.map_or(0.0, |s| 2f64.powi(s));
        (0..self.n as u64).map(|i| (self.uniform(0, i) * scale) as f32).collect()
    }

    pub fn gradients(&self, step: u64) -> Vec<f32> {
        let scale = match self.log2_g_scale {
            Some(s) if !self.zero_grad_steps.contains(&step) => 2f64.powi(s + ((step - 1) % 4) as i32 - 2),
            _ => 0.0,
        };
        (0..self.n as u64).map(|i| (self.uniform(step, i) * scale) as f32).collect()
    }
}

/// The directory `tests/data`.
pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Reads a file `*.json` or `*.json.gz`.
pub fn parse<T: for<'de> Deserialize<'de>>(path: &Path) -> T {
    let file = BufReader::new(File::open(path).unwrap());
    let reader: Box<dyn Read> =
        if path.extension().is_some_and(|e| e == "gz") { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    serde_json::from_reader(BufReader::new(reader)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all files of a directory that end in `.json` or `.json.gz`, and what is in them, in order.
pub fn traces<T: for<'de> Deserialize<'de>>(directory: &Path) -> impl Iterator<Item = (String, T)> {
    let mut paths: Vec<PathBuf> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().filter_map(|path| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        (name.ends_with(".json") || name.ends_with(".json.gz")).then(|| (name, parse(&path)))
    })
}
