//! Compares the time of steps of this adapter and of candle's own optimizers, on one thread, and counts their
//! allocations.
//!
//! ```text
//! RAYON_NUM_THREADS=1 cargo run --release --example speed
//! RAYON_NUM_THREADS=1 cargo run --release --example speed -- --short    # a quick check
//! ```
//!
//! By default malloc returns large blocks to the system, and gets cleared pages back. So the program runs itself once
//! more with thresholds that make malloc keep them.

#[path = "../../../benches/shared/tensors.rs"]
#[allow(dead_code, reason = "it has models for other benchmarks")]
mod tensors;

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, SGD};
use layerwise::{Adam, AdamConfig, AnyOptimizer, ConfigError, LarcConfig, NovoGrad, NovoGradConfig, SgdConfig};
use layerwise_candle::Layerwise;
use std::alloc::{GlobalAlloc, Layout, System};
use std::process::Command;
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

/// Variables of these lengths, and their gradients.
struct Model {
    name: &'static str,
    lengths: Vec<usize>,
    vars: Vec<Var>,
    grads: GradStore,
}

impl Model {
    fn new(name: &'static str, lengths: Vec<usize>) -> Result<Self> {
        let vars: Result<Vec<_>> =
            lengths.iter().map(|&len| Var::from_vec(numbers(len), (len, 1), &Device::Cpu)).collect();
        let (vars, mut grads) = (vars?, Tensor::new(0.0_f32, &Device::Cpu)?.backward()?);
        for var in &vars {
            grads.insert(var, Tensor::from_vec(numbers(var.elem_count()), var.shape(), &Device::Cpu)?);
        }
        Ok(Model { name, lengths, vars, grads })
    }

    /// Prints a line of the table.
    fn measure<O: Optimizer>(&self, name: &str, config: O::Config, time: Duration) -> Result<()> {
        let mut optimizer = O::new(self.vars.clone(), config)?;
        for _ in 0..3 {
            optimizer.step(&self.grads)?;
        }
        let before = (CALLS.load(Relaxed), BYTES.load(Relaxed));
        optimizer.step(&self.grads)?;
        let (calls, bytes) = (CALLS.load(Relaxed) - before.0, BYTES.load(Relaxed) - before.1);
        let (mut best, start) = (Duration::MAX, Instant::now());
        while start.elapsed() < time {
            let start = Instant::now();
            optimizer.step(&self.grads)?;
            best = best.min(start.elapsed());
        }
        let parameters: usize = self.lengths.iter().sum();
        let per_parameter = best.as_secs_f64() * 1e9 / parameters as f64;
        let microseconds = best.as_secs_f64() * 1e6;
        println!("| {} | {name} | {microseconds:.1} | {per_parameter:.2} | {calls} | {bytes} |", self.name);
        Ok(())
    }
}

/// Numbers from 0.5 to 1.5 without a pattern.
fn numbers(len: usize) -> Vec<f32> {
    (0..len as u32).map(|i| 0.5 + (i.wrapping_mul(2_654_435_769) >> 8) as f32 / (1 << 24) as f32).collect()
}

fn ours() -> std::result::Result<[(&'static str, AnyOptimizer); 5], ConfigError> {
    let momentum = SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT };
    let larc = SgdConfig { larc: Some(LarcConfig::DEFAULT), ..momentum };
    Ok([
        ("layerwise SGD", layerwise::Sgd::new(SgdConfig::DEFAULT)?.any()),
        ("layerwise SGD with momentum", layerwise::Sgd::new(momentum)?.any()),
        ("layerwise LARC with momentum", layerwise::Sgd::new(larc)?.any()),
        ("layerwise NovoGrad", NovoGrad::new(NovoGradConfig::DEFAULT)?.any()),
        ("layerwise AdamW", Adam::new(AdamConfig::TORCH_ADAMW)?.any()),
    ])
}

fn table(time: Duration) -> Result<()> {
    println!("| model | optimizer | µs a step | ns per parameter | allocations a step | bytes of them |");
    println!("|---|---|---|---|---|---|");
    for (name, lengths) in [
        ("digits", vec![64 * 64, 64, 64 * 10, 10]),
        ("keyword spotter", tensors::keyword_spotter()),
        ("4.2 M", tensors::perceptron()),
    ] {
        let model = Model::new(name, lengths)?;
        model.measure::<SGD>("candle-nn SGD, no momentum", RATE, time)?;
        model.measure::<AdamW>("candle-nn AdamW", ParamsAdamW { lr: RATE, ..ParamsAdamW::default() }, time)?;
        for (name, optimizer) in ours().map_err(candle_core::Error::wrap)? {
            model.measure::<Layerwise<_>>(name, (optimizer, RATE), time)?;
        }
    }
    Ok(())
}

/// Set in the run whose malloc keeps its memory.
const KEEPS: &str = "MALLOC_TRIM_THRESHOLD_";

fn main() -> Result<()> {
    let is_short = std::env::args().any(|argument| argument == "--short");
    table(Duration::from_millis(if is_short { 20 } else { 2000 }))?;
    if std::env::var_os(KEEPS).is_none() {
        println!("\nWith a malloc that keeps its memory:\n");
        let mut again = Command::new(std::env::current_exe()?);
        again.args(std::env::args_os().skip(1)).env(KEEPS, "4294967296").env("MALLOC_MMAP_THRESHOLD_", "33554432");
        if !again.status()?.success() {
            candle_core::bail!("the second run failed");
        }
    }
    Ok(())
}
