//! Compares the time of steps of this adapter, over arrays and inside a mapped file, with loops of ndarray's `Zip`, on
//! one thread, and counts their allocations.
//!
//! ```text
//! cargo run --release --example speed
//! cargo run --release --example speed -- --short    # a quick check
//! ```

#[path = "../../../benches/shared/tensors.rs"]
#[allow(dead_code, reason = "it has models for other benchmarks")]
mod tensors;

use layerwise::{Adam, AdamConfig, AnyOptimizer, ConfigError, LarcConfig, NovoGrad, NovoGradConfig, Sgd, SgdConfig};
use layerwise_tensors::{Checkpoint, Error, Layerwise, Mapped, gradient, pair};
use ndarray::{Array1, Zip};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// An allocator that counts calls and bytes.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded unchanged to the system's allocator.
#[allow(unsafe_code, reason = "an allocator is unsafe by nature")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        BYTES.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A rate so small that the weights hardly change.
const RATE: f64 = 1e-6;

/// Arrays with gradients for them.
struct Model {
    name: &'static str,
    weights: Vec<Array1<f32>>,
    gradients: Vec<Array1<f32>>,
}

impl Model {
    fn new(name: &'static str, lengths: &[usize]) -> Self {
        let arrays = || lengths.iter().map(|len| numbers(*len)).collect();
        Model { name, weights: arrays(), gradients: arrays() }
    }

    /// Prints the lines of the table of this model. The contenders take turns, because other programs may disturb some.
    fn measure(&mut self, contenders: &mut [Contender<'_>], turns: usize, turn: Duration) -> Result<(), Error> {
        let mut best = vec![Duration::MAX; contenders.len()];
        for _ in 0..turns {
            for ((_, step), best) in contenders.iter_mut().zip(&mut best) {
                step(self)?;
                let begin = Instant::now();
                loop {
                    let start = Instant::now();
                    step(self)?;
                    *best = start.elapsed().min(*best);
                    if begin.elapsed() > turn {
                        break;
                    }
                }
            }
        }
        for ((name, step), best) in contenders.iter_mut().zip(best) {
            let before = (CALLS.load(Relaxed), BYTES.load(Relaxed));
            step(self)?;
            let (calls, bytes) = (CALLS.load(Relaxed) - before.0, BYTES.load(Relaxed) - before.1);
            let parameters: usize = self.weights.iter().map(Array1::len).sum();
            let per_parameter = best.as_secs_f64() * 1e9 / parameters as f64;
            let microseconds = best.as_secs_f64() * 1e6;
            println!("| {} | {name} | {microseconds:.1} | {per_parameter:.2} | {calls} | {bytes} |", self.name);
        }
        Ok(())
    }

    fn zeros(&self) -> Vec<Array1<f32>> {
        self.weights.iter().map(|weights| Array1::zeros(weights.len())).collect()
    }
}

/// A name and a step.
type Contender<'a> = (String, Box<dyn FnMut(&mut Model) -> Result<(), Error> + 'a>);

/// Numbers from 0.5 to 1.5 without a pattern.
fn numbers(len: usize) -> Array1<f32> {
    (0..len as u32).map(|i| 0.5 + (i.wrapping_mul(2_654_435_769) >> 8) as f32 / (1 << 24) as f32).collect()
}

/// SGD with momentum, the obvious way in ndarray.
fn zip_momentum(model: &mut Model, momentum: &mut [Array1<f32>]) {
    let rate = RATE as f32;
    for ((weights, gradients), momentum) in model.weights.iter_mut().zip(&model.gradients).zip(momentum) {
        Zip::from(weights).and(gradients).and(momentum).for_each(|w, &g, m| {
            *m = 0.9 * *m + g;
            *w -= rate * *m;
        });
    }
}

/// LARC with momentum, the obvious way in ndarray: norms add up in `f32`, and NaN is not checked.
fn zip_larc(model: &mut Model, momentum: &mut [Array1<f32>]) {
    let rate = RATE as f32;
    for ((weights, gradients), momentum) in model.weights.iter_mut().zip(&model.gradients).zip(momentum) {
        let norms = (weights.dot(weights).sqrt(), gradients.dot(gradients).sqrt());
        let factor = (0.002 * norms.0 / (norms.1 + 1e-8) / rate).min(1.0);
        Zip::from(weights).and(gradients).and(momentum).for_each(|w, &g, m| {
            *m = 0.9 * *m + factor * g;
            *w -= rate * *m;
        });
    }
}

/// AdamW, the obvious way in ndarray.
fn zip_adamw(model: &mut Model, moments: &mut [(Array1<f32>, Array1<f32>)], step: &mut i32) {
    *step += 1;
    let (beta1, beta2, eps, decay, rate) = (0.9_f32, 0.999_f32, 1e-8, 0.01, RATE as f32);
    let (correct1, correct2) = (1.0 / (1.0 - beta1.powi(*step)), 1.0 / (1.0 - beta2.powi(*step)));
    for ((weights, gradients), (m, v)) in model.weights.iter_mut().zip(&model.gradients).zip(moments) {
        Zip::from(weights).and(gradients).and(m).and(v).for_each(|w, &g, m, v| {
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            *w -= rate * (*m * correct1 / ((*v * correct2).sqrt() + eps) + decay * *w);
        });
    }
}

fn ours() -> Result<[(&'static str, AnyOptimizer); 4], ConfigError> {
    let momentum = SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT };
    let larc = SgdConfig { larc: Some(LarcConfig::DEFAULT), ..momentum };
    Ok([
        ("SGD with momentum", Sgd::new(momentum)?.any()),
        ("LARC with momentum", Sgd::new(larc)?.any()),
        ("NovoGrad", NovoGrad::new(NovoGradConfig::DEFAULT)?.any()),
        ("AdamW", Adam::new(AdamConfig::TORCH_ADAMW)?.any()),
    ])
}

/// A step over arrays.
fn over_arrays(model: &mut Model, ours: &mut Layerwise<layerwise::AnyRule>) -> Result<(), Error> {
    let mut pairs = Vec::with_capacity(model.weights.len());
    for (weights, gradients) in model.weights.iter_mut().zip(&model.gradients) {
        pairs.push(pair(weights, gradients)?);
    }
    ours.step(RATE, &mut pairs).map(|_| ())
}

/// A step inside a file.
fn inside(model: &Model, file: &mut Checkpoint<layerwise::AnyRule, Mapped>) -> Result<(), Error> {
    let mut gradients = Vec::with_capacity(model.gradients.len());
    for array in &model.gradients {
        gradients.push(gradient(array)?);
    }
    file.step(RATE, &gradients).map(|_| ())
}

/// The contenders written with `Zip`.
fn of_ndarray(model: &Model) -> [Contender<'static>; 3] {
    let (mut momentum, mut of_larc) = (model.zeros(), model.zeros());
    let (mut moments, mut steps): (Vec<_>, _) = (model.zeros().into_iter().zip(model.zeros()).collect(), 0);
    let contender = |name: &str, mut step: Box<dyn FnMut(&mut Model)>| -> Contender<'static> {
        (
            format!("ndarray, `Zip`: {name}"),
            Box::new(move |model| {
                step(model);
                Ok(())
            }),
        )
    };
    [
        contender("SGD with momentum", Box::new(move |model| zip_momentum(model, &mut momentum))),
        contender("LARC with momentum", Box::new(move |model| zip_larc(model, &mut of_larc))),
        contender("AdamW", Box::new(move |model| zip_adamw(model, &mut moments, &mut steps))),
    ]
}

/// Over arrays, and inside a file in a directory.
fn of_layerwise(
    name: &'static str,
    optimizer: AnyOptimizer,
    model: &Model,
    directory: &Path,
) -> Result<[Contender<'static>; 2], Error> {
    let views = || model.weights.iter().map(|weights| weights.view().into_dyn());
    let names = (0..model.weights.len()).map(|layer| layer.to_string());
    let mut arrays = Layerwise::new(optimizer, names.zip(views()))?;
    let path = directory.join(format!("{} {name}.safetensors", model.name));
    arrays.save(&path, views())?;
    // SAFETY: the file is in a directory of this process, and no one else changes it.
    #[allow(unsafe_code, reason = "a mapped file can be changed by others")]
    let mut file = Checkpoint::new(unsafe { Mapped::open(path)? })?;
    Ok([
        (format!("layerwise {name}"), Box::new(move |model| over_arrays(model, &mut arrays))),
        (format!("layerwise {name}, in a mapped file"), Box::new(move |model| inside(model, &mut file))),
    ])
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let is_short = std::env::args().any(|argument| argument == "--short");
    let (turns, turn) = if is_short { (1, Duration::ZERO) } else { (8, Duration::from_millis(300)) };
    let directory = tempfile::tempdir()?;
    println!("| model | optimizer | µs a step | ns per parameter | allocations a step | bytes of them |");
    println!("|---|---|---|---|---|---|");
    for (name, lengths) in [
        ("digits", vec![64 * 64, 64, 64 * 10, 10]),
        ("keyword spotter", tensors::keyword_spotter()),
        ("4.2 M", tensors::perceptron()),
    ] {
        let mut model = Model::new(name, &lengths);
        let mut contenders = Vec::from(of_ndarray(&model));
        for (name, optimizer) in ours()? {
            contenders.extend(of_layerwise(name, optimizer, &model, directory.path())?);
        }
        model.measure(&mut contenders, turns, turn)?;
    }
    Ok(())
}
