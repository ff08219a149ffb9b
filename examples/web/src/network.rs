//! A perceptron with one hidden layer of rectified units, and its gradient by backpropagation. All of it is plain
//! `f32`, and its exponential is libm's, so that its bits are the same natively and in WebAssembly.

use crate::digits::{CLASSES, Digit, PIXELS, Random, label, pixels};
use layerwise::{LayerSpan, Layers};

const HIDDEN: usize = 64;
/// Layers as an optimizer sees them.
pub const COUNT: usize = 4;
/// Weights and biases of the hidden units, weights and biases of the output. Weights are stored input by input.
const LENGTHS: [usize; COUNT] = [PIXELS * HIDDEN, HIDDEN, HIDDEN * CLASSES, CLASSES];
/// Weights and biases of all layers.
pub const PARAMETERS: usize = LENGTHS[0] + LENGTHS[1] + LENGTHS[2] + LENGTHS[3];
const SPANS: [LayerSpan; COUNT] = LayerSpan::contiguous(LENGTHS);
/// Where the layers are in an array of all parameters.
pub const LAYERS: Layers<'static> = match Layers::new(&SPANS, PARAMETERS) {
    Ok(layers) => layers,
    Err(_) => panic!("a bad table"),
};

/// A number for each parameter.
pub type Parameters = [f32; PARAMETERS];

/// Uniform weights of variance `2 / inputs` (He et al., 2015), and biases of zero.
pub fn initialise(weights: &mut Parameters, random: &mut Random) {
    weights.fill(0.0);
    for (span, inputs) in SPANS.iter().zip([PIXELS, 0, HIDDEN, 0]) {
        if inputs > 0 {
            let bound = libm::sqrtf(6.0 / inputs as f32);
            for w in &mut weights[span.start..span.start + span.len] {
                *w = bound * random.signed();
            }
        }
    }
}

/// The digit that the network sees.
pub fn read(weights: &Parameters, digit: &Digit) -> usize {
    let (_, output) = forward(weights, digit);
    (1..CLASSES).fold(0, |best, class| if output[class] > output[best] { class } else { best })
}

/// Adds the gradient of one digit's cross-entropy, times `share`.
pub fn backward(weights: &Parameters, digit: &Digit, share: f32, gradients: &mut Parameters) {
    let (hidden, output) = forward(weights, digit);
    let largest = output.iter().fold(output[0], |max, x| if *x > max { *x } else { max });
    let exp = output.map(|x| libm::expf(x - largest));
    let sum: f32 = exp.iter().sum();
    let mut d_output = exp.map(|e| e / sum * share);
    d_output[label(digit)] -= share;

    let mut d_hidden = [0.0; HIDDEN];
    let rows = layers(weights)[2].as_chunks::<CLASSES>().0;
    for ((d, row), &active) in d_hidden.iter_mut().zip(rows).zip(&hidden) {
        if active > 0.0 {
            *d = row.iter().zip(&d_output).map(|(w, d)| w * d).sum();
        }
    }
    let (first, second) = gradients.split_at_mut(SPANS[2].start);
    add_outer(first, pixels(digit), &d_hidden);
    add_outer(second, hidden.into_iter(), &d_output);
}

fn layers(all: &Parameters) -> [&[f32]; COUNT] {
    SPANS.each_ref().map(|span| &all[span.start..span.start + span.len])
}

/// The hidden activations and the output before the softmax.
fn forward(weights: &Parameters, digit: &Digit) -> ([f32; HIDDEN], [f32; CLASSES]) {
    let [hidden_weights, hidden_biases, output_weights, output_biases] = layers(weights);
    let hidden: [f32; HIDDEN] = affine(hidden_weights, hidden_biases, pixels(digit));
    let hidden = hidden.map(|h| if h > 0.0 { h } else { 0.0 });
    (hidden, affine(output_weights, output_biases, hidden.into_iter()))
}

/// `biases + weights·inputs`.
fn affine<const N: usize>(weights: &[f32], biases: &[f32], inputs: impl Iterator<Item = f32>) -> [f32; N] {
    let mut outputs = [0.0; N];
    outputs.copy_from_slice(biases);
    for (row, input) in weights.as_chunks::<N>().0.iter().zip(inputs) {
        for (output, weight) in outputs.iter_mut().zip(row) {
            *output += weight * input;
        }
    }
    outputs
}

/// Adds the gradients of one layer's weights and biases, which follow each other.
fn add_outer<const N: usize>(gradients: &mut [f32], inputs: impl Iterator<Item = f32>, d_outputs: &[f32; N]) {
    for (row, input) in gradients.as_chunks_mut::<N>().0.iter_mut().zip(inputs.chain([1.0])) {
        for (gradient, d) in row.iter_mut().zip(d_outputs) {
            *gradient += input * d;
        }
    }
}
