//! Optimizer steps of this crate, of C and of other Rust crates, in the format of `peers.py`: name, model, ns per
//! parameter, peak bytes. With an argument, only those whose names contain it. If rayon has several threads, only this
//! crate uses them, so only it is timed.

// The C, as `benches/against-c` calls it.
#[path = "../../against-c/src/memory.rs"]
mod memory;
#[path = "../../against-c/src/ours.rs"]
#[allow(dead_code, reason = "here only the C is called so")]
mod ours;
#[path = "../../shared/tensors.rs"]
mod tensors;
#[path = "../../against-c/src/theirs.rs"]
#[allow(dead_code, reason = "not all of the C is timed here")]
mod theirs;

use burn::optim::{AdamWConfig, Optimizer as BurnOptimizer, SgdConfig as BurnSgdConfig, momentum::MomentumConfig};
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use candle_optimisers::Momentum;
use candle_optimisers::esgd::{ParamsSGD, SGD};
use layerwise::rule::Rule;
use layerwise::{Adam, AdamConfig, Backend, LarcConfig, NovoGrad, NovoGradConfig, Sgd, SgdConfig};
use memory::Layer;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tensors::{keyword_spotter, perceptron, resnet50};
use theirs::C;

/// An allocator that tracks the bytes in use and their peak.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(used, Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Times a step like `measure` of `peers.py`.
fn measure(name: &str, model: &str, parameters: usize, mut step: impl FnMut()) {
    if std::env::args().nth(1).is_some_and(|part| !name.contains(&part)) {
        return;
    }
    for _ in 0..3 {
        step();
    }
    let before = USED.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    for _ in 0..5 {
        step();
    }
    let peak = PEAK.load(Ordering::Relaxed) - before;
    let mut best = Duration::MAX;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        let start = Instant::now();
        step();
        best = best.min(start.elapsed());
    }
    println!("{name}\t{model}\t{:.4}\t{peak}", best.as_secs_f64() / parameters as f64 * 1e9);
}

/// Numbers from 0.5 to 1.5 without a pattern.
fn numbers(len: usize) -> Vec<f32> {
    (0..len as u32).map(|i| 0.5 + (i.wrapping_mul(2_654_435_769) >> 8) as f32 / (1 << 24) as f32).collect()
}

/// The limit of the memory bus: 8 bytes per parameter, and 12.
fn limits(model: &str, parameters: usize) {
    let (mut a, b, c) = (numbers(parameters), numbers(parameters), numbers(parameters));
    measure("copy", model, parameters, || black_box(&mut a).copy_from_slice(&b));
    measure("triad", model, parameters, || {
        for ((a, b), c) in black_box(&mut a).iter_mut().zip(&b).zip(&c) {
            *a = b + 3.0 * c;
        }
    });
}

fn layerwise(model: &str, tensors: &[usize], parameters: usize) {
    let larc = SgdConfig { momentum: 0.9, larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT };
    let sgd = SgdConfig { larc: None, ..larc };
    let larc = Sgd::new(larc).expect("valid settings");
    let sgd = Sgd::new(sgd).expect("valid settings");
    let novograd = NovoGrad::new(NovoGradConfig::DEFAULT).expect("valid settings");
    let adamw = Adam::new(AdamConfig::TORCH_ADAMW).expect("valid settings");
    let lamb = Adam::new(AdamConfig::TIMM_LAMB).expect("valid settings");
    run("layerwise NovoGrad", &novograd, false, model, tensors, parameters);
    run("layerwise LARC", &larc, false, model, tensors, parameters);
    run("layerwise LARC, norm carried", &larc, true, model, tensors, parameters);
    run("layerwise SGD, momentum", &sgd, false, model, tensors, parameters);
    run("layerwise AdamW", &adamw, false, model, tensors, parameters);
    run("layerwise LAMB", &lamb, false, model, tensors, parameters);
}

fn run<R: Rule + Sync>(
    name: &str,
    optimizer: &layerwise::Optimizer<R>,
    carries_norms: bool,
    model: &str,
    tensors: &[usize],
    parameters: usize,
) {
    let mut layers: Vec<_> = tensors.iter().map(|&len| (numbers(len), numbers(len))).collect();
    let mut memory = optimizer.memory(tensors.iter().copied());
    memory.carry_norms(carries_norms);
    let threads = rayon::current_num_threads();
    measure(name, model, parameters, || {
        let layers = layers.iter_mut().map(|(weights, gradients)| (weights, &*gradients));
        let summary = match threads {
            1 => memory.step(optimizer, 1e-6, layers),
            _ => memory.step_parallel(optimizer, 1e-6, layers),
        };
        summary.expect("layers of these lengths");
    });
}

/// C with fused multiply-adds and no check for NaN, for the instruction set that this crate uses here.
fn c(model: &str, tensors: &[usize], parameters: usize) {
    let Some(c) = C::beside(Backend::best().name()) else { return };
    let mut memory = memory::memory(tensors, 1);
    let mut layers = memory::layers(&mut memory, tensors, [4; 4], 0);
    type Step = fn(&C, f32, &mut Layer);
    let steps: [(&str, Step); 3] = [("C, NovoGrad", C::novograd), ("C, LARC", C::larc), ("C, AdamW", C::adamw)];
    for (name, step) in steps {
        measure(name, model, parameters, || layers.iter_mut().for_each(|layer| step(&c, 1e-6, layer)));
    }
}

fn candle(model: &str, tensors: &[usize], parameters: usize) -> candle_core::Result<()> {
    let variables = || -> candle_core::Result<Vec<Var>> {
        tensors.iter().map(|&len| Var::from_vec(numbers(len), len, &Device::Cpu)).collect()
    };
    // The gradient of Σ c·v is c.
    let gradients = |variables: &[Var]| {
        let mut loss = Tensor::zeros((), DType::F32, &Device::Cpu)?;
        for variable in variables {
            let factors = Tensor::from_vec(numbers(variable.elem_count()), variable.elem_count(), &Device::Cpu)?;
            loss = (loss + (variable.as_tensor() * factors)?.sum_all()?)?;
        }
        loss.backward()
    };

    let v = variables()?;
    let grads = gradients(&v)?;
    let mut optimizer = AdamW::new(v, ParamsAdamW { lr: 1e-6, ..ParamsAdamW::default() })?;
    measure("candle-nn AdamW", model, parameters, || optimizer.step(&grads).expect("a step"));

    let v = variables()?;
    let grads = gradients(&v)?;
    let momentum = Some(Momentum::Classical(0.9));
    let mut optimizer = SGD::new(v, ParamsSGD { lr: 1e-6, momentum, ..ParamsSGD::default() })?;
    measure("candle-optimisers SGD, momentum", model, parameters, || optimizer.step(&grads).expect("a step"));
    Ok(())
}

fn burn(model: &str, tensors: &[usize], parameters: usize) {
    let momentum = Some(MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false });
    let sgd = BurnSgdConfig::new().with_momentum(momentum).build();
    run_burn("burn SGD, momentum", sgd, model, tensors, parameters);
    run_burn("burn AdamW", AdamWConfig::new().build(), model, tensors, parameters);
}

fn run_burn<O: BurnOptimizer>(name: &str, optimizer: O, model: &str, tensors: &[usize], parameters: usize) {
    let device = burn::tensor::Device::flex();
    let tensor = |len: usize| burn::tensor::Tensor::<1>::from_data(numbers(len).as_slice(), &device);
    let mut layers: Vec<_> = tensors.iter().map(|&len| (Some(tensor(len)), tensor(len), None)).collect();
    measure(name, model, parameters, || {
        for (weights, gradients, state) in &mut layers {
            let before = weights.take().expect("every step puts it back");
            let (after, next) = optimizer.step(1e-6, before, gradients.clone(), state.take());
            (*weights, *state) = (Some(after), next);
        }
    });
}

fn main() -> candle_core::Result<()> {
    for (model, tensors) in
        [("keyword spotter", keyword_spotter()), ("perceptron", perceptron()), ("ResNet-50", resnet50())]
    {
        let parameters = tensors.iter().sum();
        layerwise(model, &tensors, parameters);
        if rayon::current_num_threads() == 1 {
            limits(model, parameters);
            c(model, &tensors, parameters);
            candle(model, &tensors, parameters)?;
            burn(model, &tensors, parameters);
        }
    }
    Ok(())
}
