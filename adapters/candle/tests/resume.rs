//! Training that is saved, and resumed by another process, has the bits of uninterrupted training.

mod common;

use candle_core::{DType, Module, Result, Tensor};
use candle_nn::{Optimizer as _, VarBuilder, VarMap};
use common::{CPU, numbers, optimizers};
use layerwise::{AnyRule, Policy};
use layerwise_candle::Layerwise;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tells the test that it is the other process, and where the files are.
const DIRECTORY: &str = "LAYERWISE_CANDLE_RESUME";
const STEPS: std::ops::Range<usize> = 0..40;
const SAVED_AFTER: usize = 15;

/// A network of two layers in f32 and one in bf16, whose initial weights are always the same.
struct Training {
    map: VarMap,
    layers: Vec<candle_nn::Linear>,
    optimizer: Layerwise<AnyRule>,
}

impl Training {
    fn new(which: usize) -> Result<Self> {
        let map = VarMap::new();
        let layer = |name, inputs, outputs, dtype| {
            candle_nn::linear(inputs, outputs, VarBuilder::from_varmap(&map, dtype, &CPU).pp(name))
        };
        let layers = vec![
            layer("first", 6, 50, DType::F32)?,
            layer("second", 50, 40, DType::BF16)?,
            layer("third", 40, 3, DType::F32)?,
        ];
        for (name, var) in map.data().lock().unwrap().iter() {
            let numbers = Tensor::from_vec(numbers(var.elem_count(), name.len()), var.shape(), &CPU)?;
            var.set(&(numbers * 0.3)?.to_dtype(var.dtype())?)?;
        }
        // A global norm adds up the norms of variables in order, and the order of a map differs in every run.
        let (_, plain) = optimizers()[which];
        let clipped = plain.with_policy(Policy { clip_norm: Some(0.01), ..Policy::DEFAULT }).unwrap_or(plain);
        let optimizer = Layerwise::of_map(&map, clipped, 0.01)?;
        Ok(Training { map, layers, optimizer })
    }

    fn run(&mut self, steps: std::ops::Range<usize>) -> Result<()> {
        for t in steps {
            let mut x = Tensor::from_vec(numbers(8 * 6, t), (8, 6), &CPU)?;
            for layer in &self.layers {
                x = layer.forward(&x.to_dtype(layer.weight().dtype())?)?.tanh()?;
            }
            self.optimizer.set_learning_rate(0.01 * (1.0 - t as f64 / STEPS.end as f64));
            self.optimizer.backward_step(&(x - 0.5)?.sqr()?.mean_all()?)?;
            assert_eq!(self.optimizer.summary().map(|summary| summary.applied), Some(6));
        }
        Ok(())
    }

    fn save(&self, directory: &Path, name: &str) -> Result<()> {
        self.map.save(directory.join(format!("{name}.weights")))?;
        self.optimizer.save(directory.join(format!("{name}.state")))
    }

    fn load(&mut self, directory: &Path, name: &str) -> Result<()> {
        self.map.load(directory.join(format!("{name}.weights")))?;
        self.optimizer.load(directory.join(format!("{name}.state")))
    }
}

/// What the other process does.
fn resume(directory: &Path) -> Result<()> {
    for (which, (name, _)) in optimizers().iter().enumerate() {
        let mut training = Training::new(which)?;
        training.load(directory, &format!("{name}.half"))?;
        training.run(SAVED_AFTER..STEPS.end)?;
        training.save(directory, &format!("{name}.resumed"))?;
    }
    Ok(())
}

#[test]
fn another_process_goes_on_with_the_same_bits() -> Result<()> {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return resume(&PathBuf::from(directory));
    }
    let directory = std::env::temp_dir().join(format!("layerwise-candle-resume-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    for (which, (name, _)) in optimizers().iter().enumerate() {
        let mut training = Training::new(which)?;
        training.run(0..SAVED_AFTER)?;
        training.save(&directory, &format!("{name}.half"))?;
        training.run(SAVED_AFTER..STEPS.end)?;
        training.save(&directory, &format!("{name}.whole"))?;
    }

    let mut other = Command::new(std::env::current_exe()?);
    let other = other.args(["--exact", "another_process_goes_on_with_the_same_bits"]).env(DIRECTORY, &directory);
    let output = other.output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));

    for (name, _) in optimizers() {
        for kind in ["weights", "state"] {
            let file = |of| std::fs::read(directory.join(format!("{name}.{of}.{kind}")));
            assert!(file("whole")? == file("resumed")?, "{name}: other {kind}");
            assert!(file("whole")? != file("half")?, "{name}: nothing was learnt after it was saved");
        }
    }
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

/// Without the lower halves, or without the moments, bits differ: so the test above is able to fail.
#[test]
fn state_matters() -> Result<()> {
    let mut whole = Training::new(1)?;
    whole.run(STEPS)?;
    let mut forgetful = Training::new(1)?;
    forgetful.run(0..SAVED_AFTER)?;
    forgetful.optimizer.forget_lower_halves();
    forgetful.run(SAVED_AFTER..STEPS.end)?;
    let bits = |training: &Training| {
        let vars = training.map.data().lock().unwrap();
        common::bits(vars["first.weight"].as_tensor())
    };
    assert_ne!(bits(&whole)?, bits(&forgetful)?);
    Ok(())
}
