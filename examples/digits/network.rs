//! A perceptron with one hidden layer of rectified units, and its gradient by backpropagation.

use crate::data::{CLASSES, Digit, PIXELS};

const HIDDEN: usize = 64;

/// One parameter tensor as an optimizer sees it.
pub struct Parameters {
    pub weights: Vec<f32>,
    pub gradients: Vec<f32>,
}

impl Parameters {
    fn new(weights: Vec<f32>) -> Self {
        Parameters { gradients: vec![0.0; weights.len()], weights }
    }
}

/// The layers are weights and biases of the hidden units, weights and biases of the output. Weights are stored input by
/// input.
pub struct Network {
    pub layers: [Parameters; 4],
}

impl Network {
    /// Uniform weights of variance `2 / inputs` (He et al., 2015), times `scale`; biases of zero.
    pub fn new(rng: &mut fastrand::Rng, scale: f32) -> Self {
        let mut weights = |inputs: usize, outputs: usize| {
            let bound = scale * (6.0 / inputs as f32).sqrt();
            (0..inputs * outputs).map(|_| bound * (2.0 * rng.f32() - 1.0)).collect()
        };
        Network {
            layers: [
                Parameters::new(weights(PIXELS, HIDDEN)),
                Parameters::new(vec![0.0; HIDDEN]),
                Parameters::new(weights(HIDDEN, CLASSES)),
                Parameters::new(vec![0.0; CLASSES]),
            ],
        }
    }

    /// The digit that the network sees.
    pub fn read(&self, digit: &Digit) -> usize {
        let (_, output) = self.forward(digit);
        (0..CLASSES).max_by(|&a, &b| output[a].total_cmp(&output[b])).expect("there are classes")
    }

    /// Sets the gradients to those of the mean cross-entropy of a batch.
    pub fn gradients(&mut self, batch: &[&Digit]) {
        let share = 1.0 / batch.len() as f32;
        for layer in &mut self.layers {
            layer.gradients.fill(0.0);
        }
        for digit in batch {
            let (hidden, output) = self.forward(digit);
            let mut d_output = softmax(&output);
            d_output[digit.label] -= 1.0;
            d_output = d_output.map(|d| d * share);

            let mut d_hidden = [0.0; HIDDEN];
            let rows = self.layers[2].weights.as_chunks::<CLASSES>().0;
            for ((d, row), &active) in d_hidden.iter_mut().zip(rows).zip(&hidden) {
                *d = if active > 0.0 { row.iter().zip(&d_output).map(|(w, d)| w * d).sum() } else { 0.0 };
            }
            backward(&mut self.layers[2..], &hidden, &d_output);
            backward(&mut self.layers[..2], &digit.pixels, &d_hidden);
        }
    }

    /// The hidden activations and the output before the softmax.
    fn forward(&self, digit: &Digit) -> ([f32; HIDDEN], [f32; CLASSES]) {
        let [hidden_weights, hidden_biases, output_weights, output_biases] = &self.layers;
        let hidden = affine::<HIDDEN>(hidden_weights, hidden_biases, &digit.pixels).map(|h| h.max(0.0));
        (hidden, affine(output_weights, output_biases, &hidden))
    }
}

/// `biases + weights·inputs`.
fn affine<const N: usize>(weights: &Parameters, biases: &Parameters, inputs: &[f32]) -> [f32; N] {
    let mut outputs: [f32; N] = biases.weights.as_slice().try_into().expect("a bias for each output");
    for (row, &input) in weights.weights.as_chunks::<N>().0.iter().zip(inputs) {
        for (output, weight) in outputs.iter_mut().zip(row) {
            *output += weight * input;
        }
    }
    outputs
}

/// Adds the gradients of one layer's weights and biases.
fn backward<const N: usize>(layer: &mut [Parameters], inputs: &[f32], d_outputs: &[f32; N]) {
    for (row, &input) in layer[0].gradients.as_chunks_mut::<N>().0.iter_mut().zip(inputs) {
        for (gradient, d) in row.iter_mut().zip(d_outputs) {
            *gradient += input * d;
        }
    }
    for (gradient, d) in layer[1].gradients.iter_mut().zip(d_outputs) {
        *gradient += d;
    }
}

fn softmax(x: &[f32; CLASSES]) -> [f32; CLASSES] {
    let max = x.iter().fold(f32::NEG_INFINITY, |max, x| max.max(*x));
    let exp = x.map(|x| (x - max).exp());
    let sum: f32 = exp.iter().sum();
    exp.map(|e| e / sum)
}
