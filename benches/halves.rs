//! Steps of NovoGrad with 16-bit floats compared with the step in `f32`, and AdamW with split weights.
//!
//! ```text
//! cargo bench --features half --bench halves              # every instruction set
//! cargo bench --features half --bench halves -- --test    # once, as a quick check
//! ```
//!
//! A variant and the step in `f32` take turns, and the fastest of many turns counts, so other load on the machine
//! affects both.

#[path = "shared/tensors.rs"]
mod tensors;

use half::bf16;
use half::slice::HalfFloatSliceExt;
use layerwise::{Adam, AdamConfig, AdamState, Backend, LayerMemory, NovoGrad, NovoGradConfig, NovoGradState};
use std::hint::black_box;
use std::time::Instant;
use tensors::{keyword_spotter, resnet50};

const NAMES: [&str; 7] = [
    "f32",
    "bf16 gradients",
    "bf16 gradients and momentum",
    "f32, and a copy in the same pass",
    "f32, and then a cast by `half`",
    "split weights",
    "AdamW: split weights beside f32",
];

/// All arrays of a layer, in every type.
struct Layer {
    weights: Vec<f32>,
    upper: Vec<bf16>,
    lower: Vec<u16>,
    gradients: Vec<f32>,
    half_gradients: Vec<bf16>,
    momentum: Vec<f32>,
    half_momentum: Vec<bf16>,
    second: Vec<f32>,
    copy: Vec<bf16>,
}

impl Layer {
    fn new(len: usize) -> Layer {
        let mut random = fastrand::Rng::with_seed(1);
        let weights: Vec<f32> = (0..len).map(|_| random.f32() - 0.5).collect();
        let gradients: Vec<f32> = (0..len).map(|_| random.f32() - 0.5).collect();
        Layer {
            upper: weights.iter().map(|w| bf16::from_bits((w.to_bits() >> 16) as u16)).collect(),
            lower: weights.iter().map(|w| w.to_bits() as u16).collect(),
            half_gradients: gradients.iter().map(|g| bf16::from_f32(*g)).collect(),
            momentum: vec![0.0; len],
            half_momentum: vec![bf16::ZERO; len],
            second: vec![0.0; len],
            copy: vec![bf16::ZERO; len],
            weights,
            gradients,
        }
    }

    /// Takes a step of a variant, or of its baseline.
    fn step(&mut self, backend: Backend, variant: usize, beside: bool) {
        let novograd = NovoGradConfig { weight_decay: 0.001, ..NovoGradConfig::DEFAULT };
        let novograd = NovoGrad::new(novograd).expect("valid settings").on(backend);
        let adamw = Adam::new(AdamConfig::TORCH_ADAMW).expect("valid settings").on(backend);
        let Layer { weights, upper, lower, gradients, half_gradients, momentum, half_momentum, second, copy } = self;
        let (gradients, half_gradients) = (&gradients[..], &half_gradients[..]);
        let (state, adam_state) = (&mut NovoGradState::default(), &mut AdamState::default());
        let plain = LayerMemory::new(&mut weights[..], gradients, state).momentum(&mut momentum[..]);
        let report = match variant {
            _ if beside && variant < 6 => novograd.step_layer(1e-6, plain),
            0 | 4 => novograd.step_layer(1e-6, plain),
            1 => {
                novograd.step_layer(1e-6, LayerMemory::new(&mut weights[..], half_gradients, state).momentum(momentum))
            }
            2 => novograd
                .step_layer(1e-6, LayerMemory::new(&mut weights[..], half_gradients, state).momentum(half_momentum)),
            3 => novograd.step_layer(1e-6, plain.copy(&mut copy[..])),
            5 => novograd.step_layer(1e-6, LayerMemory::new(upper, gradients, state).lower(lower).momentum(momentum)),
            _ => {
                let layer = match beside {
                    true => LayerMemory::new(&mut weights[..], gradients, adam_state),
                    false => LayerMemory::new(upper, gradients, adam_state).lower(lower),
                };
                adamw.step_layer(1e-6, layer.momentum(&mut momentum[..]).second_moment(second))
            }
        };
        assert!(report.expect("slices of the right lengths").applied());
        if variant == 4 && !beside {
            copy.convert_from_f32_slice(weights);
        }
        black_box(&mut *copy);
    }
}

/// The nanoseconds per element of the fastest of several turns of `steps` steps of all layers.
fn fastest(turns: usize, steps: usize, layers: &mut [Layer], backend: Backend, variant: usize) -> [f64; 2] {
    let elements: usize = layers.iter().map(|layer| layer.weights.len()).sum();
    let mut best = [f64::INFINITY; 2];
    for _ in 0..turns {
        for (best, beside) in best.iter_mut().zip([false, true]) {
            let start = Instant::now();
            for _ in 0..steps {
                layers.iter_mut().for_each(|layer| layer.step(backend, variant, beside));
            }
            let time = start.elapsed().as_secs_f64() * 1e9 / (steps * elements) as f64;
            *best = if time < *best { time } else { *best };
        }
    }
    best
}

fn main() {
    let short = std::env::args().any(|argument| argument == "--test");
    let lengths: &[usize] = if short { &[1 << 12] } else { &[1 << 12, 1 << 16, 1 << 20, 1 << 24] };
    let mut models: Vec<_> = lengths.iter().map(|len| (len.to_string(), vec![*len])).collect();
    if !short {
        models.push(("keyword spotter".to_owned(), keyword_spotter()));
        models.push(("ResNet-50".to_owned(), resnet50()));
    }
    println!("Nanoseconds per element of each step, and the ratio to the step in f32 (of AdamW for AdamW):\n");
    println!("| | elements, or model | {} |\n|---|---|{}", NAMES.join(" | "), "---|".repeat(NAMES.len()));
    for backend in Backend::available() {
        for (name, lengths) in &models {
            let mut layers: Vec<Layer> = lengths.iter().map(|len| Layer::new(*len)).collect();
            let len: usize = lengths.iter().sum();
            let steps = ((1 << 20) / len).max(1);
            let turns = if short { 1 } else { (40 * (1 << 20) / (steps * len)).clamp(12, 200) };
            print!("| {} | {name} |", backend.name());
            for variant in 0..NAMES.len() {
                let [time, beside] = fastest(turns, steps, &mut layers, backend, variant);
                print!(" {time:.3} / {:.2} |", time / beside);
            }
            println!();
        }
    }
}
