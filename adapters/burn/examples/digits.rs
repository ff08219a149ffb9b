//! Trains a network to read digits with burn's `Learner`, with its metrics, progress display and scheduler. (With
//! `--features train,burn/tui` the display is a dashboard, if there is a terminal.)
//!
//! ```text
//! cargo run --release --features train --example digits
//! ```

mod net;

use burn::data::dataloader::{DataLoader, DataLoaderBuilder, batcher::Batcher};
use burn::data::dataset::InMemDataset;
use burn::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::ModuleOptimizer;
use burn::tensor::{Device, Int, Tensor};
use burn::train::metric::{AccuracyMetric, LossMetric};
use burn::train::{ClassificationOutput, InferenceStep, Learner, SupervisedTraining, TrainOutput, TrainStep};
use layerwise::{LayerConfig, NovoGrad, NovoGradConfig};
use layerwise_burn::Layerwise;
use net::{BATCH, Digit, Mlp, batch, digits};
use std::error::Error;
use std::sync::Arc;

const EPOCHS: usize = 40;
const ENOUGH: f64 = 0.96;

/// Some digits as tensors.
#[derive(Clone, Debug)]
pub struct Batch {
    pixels: Tensor<2>,
    labels: Tensor<1, Int>,
}

struct Digits;

impl Batcher<Digit, Batch> for Digits {
    fn batch(&self, digits: Vec<Digit>, device: &Device) -> Batch {
        let (pixels, labels) = batch(&digits, device);
        Batch { pixels, labels }
    }
}

impl Mlp {
    fn classify(&self, batch: Batch) -> ClassificationOutput {
        let output = self.forward(batch.pixels);
        let loss = CrossEntropyLossConfig::new().init(&output.device());
        let loss = loss.forward(output.clone(), batch.labels.clone());
        ClassificationOutput::new(loss, output, batch.labels)
    }
}

impl TrainStep for Mlp {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let output = self.classify(batch);
        TrainOutput::new(self, output.loss.backward(), output)
    }
}

impl InferenceStep for Mlp {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.classify(batch)
    }
}

fn loader(digits: Vec<Digit>, device: &Device) -> Arc<dyn DataLoader<Batch>> {
    let loader = DataLoaderBuilder::new(Digits).batch_size(BATCH).shuffle(7).set_device(device.clone());
    loader.build(InMemDataset::new(digits))
}

fn main() -> Result<(), Box<dyn Error>> {
    let device = Device::flex();
    device.seed(5);
    let (learn, test) = digits()?;
    let steps = EPOCHS * learn.len().div_ceil(BATCH);
    let (pixels, labels) = batch(&test, &device);

    let novograd = NovoGrad::new(NovoGradConfig { weight_decay: 1e-4, ..NovoGradConfig::DEFAULT })?;
    let optimizer = Layerwise::new(novograd)?.with_configs(|shape| LayerConfig::of_rank(shape.len()));
    let handle = optimizer.handle();
    let schedule = LinearLrSchedulerConfig::new(0.01, 1e-6, steps).init()?;
    let tracked = device.clone().autodiff();
    let learner = Learner::new(Mlp::new(&tracked), ModuleOptimizer::from(optimizer), schedule);

    let folder = std::env::temp_dir().join(format!("layerwise-burn-{}", std::process::id()));
    let training = SupervisedTraining::new(&folder, loader(learn, &tracked), loader(test, &device));
    let training = training.metrics((AccuracyMetric::new(), LossMetric::new())).num_epochs(EPOCHS).summary();
    let result = training.launch(learner);
    std::fs::remove_dir_all(folder)?;

    let read: Tensor<1, Int> = result.model.forward(pixels).argmax(1).squeeze_dim(1);
    let right: f64 = read.equal(labels).float().mean().into_scalar();
    println!("{:.1} % right; {:?}", 100.0 * right, handle.counts());
    if right < ENOUGH || handle.counts().applied != 4 * steps {
        return Err(format!("it should read {:.0} % right, and update 4 parameters in a step", 100.0 * ENOUGH).into());
    }
    Ok(())
}
