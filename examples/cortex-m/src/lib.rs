//! Trains a small classifier of handwritten digits with all arrays in static memory. The same code runs on a
//! microcontroller and on a desktop, with the same bits.

#![no_std]

use layerwise::rule::{Moments, Rule};
use layerwise::{
    Adam, AdamConfig, Element, Error, FlatModel, LarcConfig, LayerSpan, Layers, NovoGrad, NovoGradConfig, Optimizer,
    Report, Sgd, SgdConfig,
};

/// Gradient descent, checked by the compiler.
pub const fn sgd(config: SgdConfig) -> Sgd {
    let Ok(sgd) = Sgd::new(config) else { panic!("settings out of range") };
    sgd
}

/// Gradient descent with LARC.
pub const fn larc(config: LarcConfig, momentum: f64) -> Sgd {
    sgd(SgdConfig { momentum, larc: Some(config), ..SgdConfig::DEFAULT })
}

/// NovoGrad, checked by the compiler.
pub const fn novograd(config: NovoGradConfig) -> NovoGrad {
    let Ok(novograd) = NovoGrad::new(config) else { panic!("settings out of range") };
    novograd
}

/// Adam, AdamW or LAMB, checked by the compiler.
pub const fn adam(config: AdamConfig) -> Adam {
    let Ok(adam) = Adam::new(config) else { panic!("settings out of range") };
    adam
}

const PIXELS: usize = 64;
const HIDDEN: usize = 32;
const CLASSES: usize = 10;
/// Weights and biases of the hidden units, weights and biases of the output. Weights are stored input by input.
const LENGTHS: [usize; 4] = [PIXELS * HIDDEN, HIDDEN, HIDDEN * CLASSES, CLASSES];
pub const PARAMETERS: usize = LENGTHS[0] + LENGTHS[1] + LENGTHS[2] + LENGTHS[3];
const SPANS: [LayerSpan; 4] = LayerSpan::contiguous(LENGTHS);
const LAYERS: Layers<'static> = match Layers::new(&SPANS, PARAMETERS) {
    Ok(layers) => layers,
    Err(_) => panic!("a bad table"),
};

/// Digits in flash: 64 pixels from 0 to 16, and the label.
static DIGITS: &[[u8; PIXELS + 1]] = include_bytes!(concat!(env!("OUT_DIR"), "/digits")).as_chunks().0;
/// The others are for the test.
pub const TRAINED: usize = 500;
const BATCH: usize = 20;

/// Weights and gradients.
pub type Arrays = [[f32; PARAMETERS]; 2];

/// The progress of training after an epoch.
pub struct Progress {
    pub epoch: usize,
    /// The mean cross-entropy of the training digits during the epoch.
    pub loss: f32,
    /// How many of the test digits are classified correctly.
    pub right: usize,
    pub tested: usize,
}

/// Trains a fresh network and returns a hash of its weights. The learning rate falls linearly from `lr` to zero.
pub fn train<R: Rule, M: Element + Default>(
    optimizer: &Optimizer<R>,
    lr: f64,
    epochs: usize,
    [weights, gradients]: &mut Arrays,
    (momentum, second_moment): (&mut [M; PARAMETERS], &mut [f32; PARAMETERS]),
    mut report: impl FnMut(Progress),
) -> Result<u64, Error> {
    initialise(weights);
    momentum.fill(M::default());
    second_moment.fill(0.0);
    let [first, second] = moments(optimizer);
    let (momentum, second_moment) = (&mut momentum[..first], &mut second_moment[..second]);
    let (mut states, mut reports) = ([R::State::default(); 4], [Report::ABSENT; 4]);
    let steps = epochs * TRAINED / BATCH;
    let mut step = 0;
    for epoch in 0..epochs {
        let mut loss = 0.0;
        for batch in 0..TRAINED / BATCH {
            gradients.fill(0.0);
            for i in 0..BATCH {
                // Strides by a prime, to visit all digits in a different order each epoch.
                let digit = ((batch * BATCH + i) * 191 + 37 * epoch) % TRAINED;
                loss += backward(weights, &DIGITS[digit], gradients);
            }
            let model = FlatModel::new(&LAYERS, &mut *weights, &*gradients, &mut states).momentum(&mut *momentum);
            let lr = lr * (1.0 - step as f64 / steps as f64);
            optimizer.step(lr, &mut model.second_moment(&mut *second_moment), &mut reports)?;
            step += 1;
        }
        let tested = &DIGITS[TRAINED..];
        let right = tested.iter().filter(|digit| read(weights, digit) == usize::from(digit[PIXELS])).count();
        report(Progress { epoch, loss: loss / TRAINED as f32, right, tested: tested.len() });
    }
    // FNV-1a over words.
    let mix = |hash: u64, w: &f32| (hash ^ u64::from(w.to_bits())).wrapping_mul(0x100_0000_01b3);
    Ok(weights.iter().fold(0xcbf2_9ce4_8422_2325, mix))
}

/// The elements of momentum and of second moment that an optimizer keeps.
fn moments<R: Rule>(optimizer: &Optimizer<R>) -> [usize; 2] {
    match optimizer.moments() {
        Moments::None => [0, 0],
        Moments::First => [PARAMETERS, 0],
        _ => [PARAMETERS, PARAMETERS],
    }
}

/// How many bytes an optimizer keeps for the network from step to step.
pub fn state_bytes<R: Rule, M: Element>(optimizer: &Optimizer<R>, _: &[M]) -> usize {
    let [first, second] = moments(optimizer);
    size_of::<M>() * first + size_of::<f32>() * second + LENGTHS.len() * size_of::<R::State>()
}

/// Uniform weights of variance `2 / inputs` (He et al., 2015), and biases of zero.
fn initialise(weights: &mut [f32; PARAMETERS]) {
    weights.fill(0.0);
    let mut seed = 1_u64;
    for (span, inputs) in SPANS.iter().zip([PIXELS, 0, HIDDEN, 0]) {
        if inputs > 0 {
            let bound = libm::sqrtf(6.0 / inputs as f32);
            for w in &mut weights[span.start..span.start + span.len] {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *w = bound * ((seed >> 40) as f32 / (1 << 23) as f32 - 1.0);
            }
        }
    }
}

fn layers(all: &[f32; PARAMETERS]) -> [&[f32]; 4] {
    SPANS.each_ref().map(|span| &all[span.start..span.start + span.len])
}

/// `biases + weights·inputs`.
fn affine<const N: usize>(weights: &[f32], biases: &[f32], inputs: impl Iterator<Item = f32>) -> [f32; N] {
    let mut outputs = [0.0; N];
    outputs.copy_from_slice(biases);
    for (row, input) in weights.chunks_exact(N).zip(inputs) {
        for (output, weight) in outputs.iter_mut().zip(row) {
            *output += weight * input;
        }
    }
    outputs
}

fn pixels(digit: &[u8; PIXELS + 1]) -> impl Iterator<Item = f32> {
    digit[..PIXELS].iter().map(|&pixel| f32::from(pixel) / 16.0)
}

/// The hidden activations and the output before the softmax.
fn forward(weights: &[f32; PARAMETERS], digit: &[u8; PIXELS + 1]) -> ([f32; HIDDEN], [f32; CLASSES]) {
    let [hidden_weights, hidden_biases, output_weights, output_biases] = layers(weights);
    let hidden: [f32; HIDDEN] = affine(hidden_weights, hidden_biases, pixels(digit));
    let hidden = hidden.map(|h| if h > 0.0 { h } else { 0.0 });
    (hidden, affine(output_weights, output_biases, hidden.into_iter()))
}

/// The digit that the network sees.
fn read(weights: &[f32; PARAMETERS], digit: &[u8; PIXELS + 1]) -> usize {
    let (_, output) = forward(weights, digit);
    let mut best = 0;
    for class in 1..CLASSES {
        if output[class] > output[best] {
            best = class;
        }
    }
    best
}

/// Adds the gradient of one digit's share of the mean cross-entropy of a batch, and returns the cross-entropy.
fn backward(weights: &[f32; PARAMETERS], digit: &[u8; PIXELS + 1], gradients: &mut [f32; PARAMETERS]) -> f32 {
    let (hidden, output) = forward(weights, digit);
    let largest = output.iter().fold(output[0], |max, x| if *x > max { *x } else { max });
    let exp = output.map(|x| libm::expf(x - largest));
    let sum: f32 = exp.iter().sum();
    let label = usize::from(digit[PIXELS]);
    let mut d_output = exp.map(|e| e / sum / BATCH as f32);
    d_output[label] -= 1.0 / BATCH as f32;
    let rows = layers(weights)[2].chunks_exact(CLASSES);
    let mut d_hidden = [0.0; HIDDEN];
    for ((d, row), &active) in d_hidden.iter_mut().zip(rows).zip(&hidden) {
        if active > 0.0 {
            *d = row.iter().zip(&d_output).map(|(w, d)| w * d).sum();
        }
    }
    let (first, second) = gradients.split_at_mut(SPANS[2].start);
    add_outer(first, pixels(digit), &d_hidden);
    add_outer(second, hidden.into_iter(), &d_output);
    libm::logf(sum) - (output[label] - largest)
}

/// Adds the gradients of one layer's weights and biases.
fn add_outer<const N: usize>(gradients: &mut [f32], inputs: impl Iterator<Item = f32>, d_outputs: &[f32; N]) {
    let mut rows = gradients.chunks_exact_mut(N);
    for (input, row) in inputs.zip(&mut rows) {
        for (gradient, d) in row.iter_mut().zip(d_outputs) {
            *gradient += input * d;
        }
    }
    for (gradient, d) in rows.flatten().zip(d_outputs) {
        *gradient += d;
    }
}
