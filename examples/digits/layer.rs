//! A layer in the memory of a host, in 32-bit and 16-bit floats.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use layerwise::rule::Moments;
use layerwise::{AnyOptimizer, Floats, FloatsMut, LayerMemory};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    F32,
    Bf16,
    F16,
}

/// Where the network's weights are.
#[derive(Clone, Copy, PartialEq)]
pub enum Place {
    /// They are the weights that the optimizer trains.
    Same,
    /// They are a copy of those, written by the step. Weights beyond the range of the copy become its largest number.
    Copy,
    /// They are the upper halves of those.
    Split,
}

pub struct Layer {
    weights: Weights,
    pub gradients: Array,
    momentum: Array,
    second_moment: Vec<f32>,
    state: [f64; 3],
}

pub enum Array {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

enum Weights {
    Same(Vec<f32>),
    Copied { weights: Vec<f32>, copy: Array },
    Split { upper: Vec<bf16>, lower: Vec<u16> },
}

impl Layer {
    /// The layer before its first step. The network has numbers of the type `number`.
    pub fn new(weights: &[f32], number: Type, place: Place, momentum: Type, optimizer: &AnyOptimizer) -> Self {
        let (len, moments) = (weights.len(), optimizer.moments());
        let second = if moments == Moments::FirstAndSecond { len } else { 0 };
        Layer {
            weights: Weights::new(weights, number, place),
            gradients: Array::zeros(number, len),
            momentum: Array::zeros(momentum, optimizer.momentum_len(len)),
            second_moment: vec![0.0; second],
            state: [0.0; 3],
        }
    }

    pub fn lend(&mut self) -> LayerMemory<'_, [f64; 3]> {
        let gradients = self.gradients.floats();
        let layer = match &mut self.weights {
            Weights::Same(weights) => LayerMemory::new(weights, gradients, &mut self.state),
            Weights::Copied { weights, copy } => {
                LayerMemory::new(weights, gradients, &mut self.state).saturating_copy(copy.floats_mut())
            }
            Weights::Split { upper, lower } => LayerMemory::new(upper, gradients, &mut self.state).lower(lower),
        };
        layer.momentum(self.momentum.floats_mut()).second_moment(&mut self.second_moment)
    }

    /// The weights that the network computes with.
    pub fn read(&self, to: &mut [f32]) {
        match &self.weights {
            Weights::Same(weights) => to.copy_from_slice(weights),
            Weights::Copied { copy, .. } => copy.read(to),
            Weights::Split { upper, .. } => upper.convert_to_f32_slice(to),
        }
    }

    /// Bytes of weights, gradients and moments.
    pub fn bytes(&self) -> [usize; 3] {
        let weights = match &self.weights {
            Weights::Same(weights) => size_of_val(&weights[..]),
            Weights::Copied { weights, copy } => size_of_val(&weights[..]) + copy.bytes(),
            Weights::Split { upper, lower } => size_of_val(&upper[..]) + size_of_val(&lower[..]),
        };
        [weights, self.gradients.bytes(), self.momentum.bytes() + size_of_val(&self.second_moment[..])]
    }
}

impl Weights {
    fn new(weights: &[f32], number: Type, place: Place) -> Self {
        match place {
            Place::Same => Weights::Same(weights.to_vec()),
            Place::Copy => {
                let mut copy = Array::zeros(number, weights.len());
                copy.round(weights);
                Weights::Copied { weights: weights.to_vec(), copy }
            }
            Place::Split => Weights::Split {
                upper: weights.iter().map(|w| bf16::from_bits((w.to_bits() >> 16) as u16)).collect(),
                lower: weights.iter().map(|w| w.to_bits() as u16).collect(),
            },
        }
    }
}

impl Array {
    fn zeros(number: Type, len: usize) -> Self {
        match number {
            Type::F32 => Array::F32(vec![0.0; len]),
            Type::Bf16 => Array::Bf16(vec![bf16::ZERO; len]),
            Type::F16 => Array::F16(vec![f16::ZERO; len]),
        }
    }

    /// Stores these numbers, rounded to nearest. Numbers out of range become infinite.
    pub fn round(&mut self, from: &[f32]) {
        match self {
            Array::F32(x) => x.copy_from_slice(from),
            Array::Bf16(x) => x.convert_from_f32_slice(from),
            Array::F16(x) => x.convert_from_f32_slice(from),
        }
    }

    fn read(&self, to: &mut [f32]) {
        match self {
            Array::F32(x) => to.copy_from_slice(x),
            Array::Bf16(x) => x.convert_to_f32_slice(to),
            Array::F16(x) => x.convert_to_f32_slice(to),
        }
    }

    fn floats(&self) -> Floats<'_> {
        match self {
            Array::F32(x) => x.into(),
            Array::Bf16(x) => x.into(),
            Array::F16(x) => x.into(),
        }
    }

    fn floats_mut(&mut self) -> FloatsMut<'_> {
        match self {
            Array::F32(x) => x.into(),
            Array::Bf16(x) => x.into(),
            Array::F16(x) => x.into(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Array::F32(x) => size_of_val(&x[..]),
            Array::Bf16(x) => size_of_val(&x[..]),
            Array::F16(x) => size_of_val(&x[..]),
        }
    }
}
