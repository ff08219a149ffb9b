//! Steps of burn's own optimizers and of this adapter's, on burn's tensors and one thread.
//!
//! ```text
//! cargo bench --bench steps             # with the default malloc, and with one that keeps its memory
//! cargo bench --bench steps -- --short  # a quick check
//! ```

#[allow(dead_code)] // of which this needs one model
#[path = "../../../benches/shared/tensors.rs"]
mod tensors;

use burn::optim::{AdamWConfig, Optimizer, SgdConfig as BurnSgdConfig, momentum::MomentumConfig};
use burn::tensor::{Device, Tensor, TensorData};
use layerwise::rule::Rule;
use layerwise::{Adam, AdamConfig, LarcConfig, NovoGrad, NovoGradConfig, Sgd, SgdConfig};
use layerwise_burn::Layerwise;
use std::alloc::{GlobalAlloc, Layout, System};
use std::env;
use std::error::Error;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// An allocator that counts.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code)]
// SAFETY: every call is forwarded unchanged to the system's allocator.
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

/// How long each measurement takes.
struct Budget(Duration);

/// Numbers from 0.5 to 1.5 without a pattern.
fn numbers(len: usize) -> Vec<f32> {
    (0..len as u32).map(|i| 0.5 + (i.wrapping_mul(2_654_435_769) >> 8) as f32 / (1 << 24) as f32).collect()
}

/// Nanoseconds, allocations and allocated bytes of a step of a whole model: the best of many.
fn measure<O: Optimizer>(budget: &Budget, lengths: &[usize], optimizer: &O) -> (f64, usize, usize) {
    let device = Device::flex();
    let tensor = |len: usize| Tensor::<1>::from_data(TensorData::new(numbers(len), [len]), &device);
    let mut layers: Vec<_> = lengths.iter().map(|&len| (Some(tensor(len)), tensor(len), None)).collect();
    let mut step = || {
        for (weights, gradients, state) in &mut layers {
            let before = weights.take().expect("every step puts it back");
            let (after, next) = optimizer.step(1e-6, before, gradients.clone(), state.take());
            (*weights, *state) = (Some(after), next);
        }
    };
    for _ in 0..3 {
        step();
    }
    let (calls, bytes) = (CALLS.load(Relaxed), BYTES.load(Relaxed));
    step();
    let (calls, bytes) = (CALLS.load(Relaxed) - calls, BYTES.load(Relaxed) - bytes);
    let (mut best, start) = (Duration::MAX, Instant::now());
    while start.elapsed() < budget.0 {
        let start = Instant::now();
        step();
        best = best.min(start.elapsed());
    }
    (best.as_secs_f64() * 1e9, calls, bytes)
}

/// A row of the table.
fn row<O: Optimizer>(budget: &Budget, name: &str, optimizer: O) {
    print!("| {name}");
    for lengths in models() {
        let parameters: usize = lengths.iter().sum();
        let (time, calls, bytes) = measure(budget, &lengths, &optimizer);
        let calls = calls as f64 / lengths.len() as f64;
        let parameters = parameters as f64;
        print!(" | {:.2} | {calls:.0} | {:.1}", time / parameters, bytes as f64 / parameters);
    }
    println!(" |");
}

/// A network for digits, a keyword spotter, and four layers of 1,024 × 1,024.
fn models() -> [Vec<usize>; 3] {
    [vec![64 * 64, 64, 64 * 10, 10], tensors::keyword_spotter(), [1 << 20, 1024].repeat(4)]
}

fn wrap<R: Rule>(optimizer: layerwise::Optimizer<R>) -> Layerwise<R> {
    Layerwise::new(optimizer).expect("the default policy")
}

fn table(budget: &Budget) -> Result<(), Box<dyn Error>> {
    let larc = SgdConfig { momentum: 0.9, larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT };
    let momentum = MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false };
    println!("For each model nanoseconds a parameter, allocations a tensor, and bytes allocated a parameter:\n");
    print!("|");
    for (lengths, name) in models().iter().zip(["digits", "keyword spotter", "MLP"]) {
        print!(" | {name}, {} in {}: ns | allocations | bytes", lengths.iter().sum::<usize>(), lengths.len());
    }
    println!(" |\n|{}", "---|".repeat(10));
    row(budget, "burn SGD, momentum", BurnSgdConfig::new().with_momentum(Some(momentum)).build());
    row(budget, "burn AdamW", AdamWConfig::new().build());
    row(budget, "layerwise SGD, momentum", wrap(Sgd::new(SgdConfig { larc: None, ..larc })?));
    row(budget, "layerwise LARC", wrap(Sgd::new(larc)?));
    row(budget, "layerwise NovoGrad", wrap(NovoGrad::new(NovoGradConfig::DEFAULT)?));
    row(budget, "layerwise AdamW", wrap(Adam::new(AdamConfig::TORCH_ADAMW)?));
    Ok(())
}

/// Settings of glibc, which by default returns large blocks to the system and gets cleared pages back.
const KEEPS: [(&str, &str); 2] = [("MALLOC_TRIM_THRESHOLD_", "4294967296"), ("MALLOC_MMAP_THRESHOLD_", "33554432")];

fn main() -> Result<(), Box<dyn Error>> {
    let short = env::args().any(|argument| argument == "--short");
    table(&Budget(Duration::from_millis(if short { 1 } else { 1000 })))?;
    if KEEPS.iter().any(|(name, _)| env::var_os(name).is_some()) {
        return Ok(());
    }
    println!("\nThe same, where malloc keeps its memory. {}", KEEPS.map(|(name, to)| format!("{name}={to}")).join(" "));
    let status = Command::new(env::current_exe()?).args(env::args_os().skip(1)).envs(KEEPS).status()?;
    if status.success() { Ok(()) } else { Err("the second measurement failed".into()) }
}
