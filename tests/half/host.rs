//! Layers with 16-bit floats, and numbers to fill them with.

use half::{bf16, f16};
use layerwise::{CarriedNorms, Floats, FloatsMut, LayerMemory};

/// An array of any type.
#[derive(Clone, Debug)]
pub enum Array {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    F32,
    Bf16,
    F16,
}

impl Array {
    pub fn new(kind: Type, x: &[f32]) -> Array {
        match kind {
            Type::F32 => Array::F32(x.to_vec()),
            Type::Bf16 => Array::Bf16(x.iter().map(|x| bf16::from_f32(*x)).collect()),
            Type::F16 => Array::F16(x.iter().map(|x| f16::from_f32(*x)).collect()),
        }
    }

    pub fn widened(&self) -> Vec<f32> {
        match self {
            Array::F32(x) => x.clone(),
            Array::Bf16(x) => x.iter().map(|x| x.to_f32()).collect(),
            Array::F16(x) => x.iter().map(|x| x.to_f32()).collect(),
        }
    }

    pub fn get(&self) -> Floats<'_> {
        match self {
            Array::F32(x) => x.into(),
            Array::Bf16(x) => x.into(),
            Array::F16(x) => x.into(),
        }
    }

    pub fn get_mut(&mut self) -> FloatsMut<'_> {
        match self {
            Array::F32(x) => x.into(),
            Array::Bf16(x) => x.into(),
            Array::F16(x) => x.into(),
        }
    }

    pub fn bits(&self) -> Vec<u32> {
        self.widened().iter().map(|x| x.to_bits()).collect()
    }
}

pub fn random(len: usize, seed: u64, scale: f32) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..len).map(|_| scale * (2.0 * random.f32() - 1.0)).collect()
}

/// A layer in memory: its weights, and their lower halves if they are split.
pub struct Host<S> {
    pub weights: Array,
    pub lower: Option<Vec<u16>>,
    pub gradients: Array,
    pub momentum: Array,
    pub second: Vec<f32>,
    pub copy: Option<(Array, bool)>,
    pub state: S,
    pub norms: CarriedNorms,
}

impl<S: Default + Copy> Host<S> {
    pub fn layer(&mut self) -> LayerMemory<'_, S> {
        let Host { weights, lower, gradients, momentum, second, copy, state, norms } = self;
        let mut layer = LayerMemory::new(weights.get_mut(), gradients.get(), state).norms(norms);
        if let Some(lower) = lower {
            layer = layer.lower(lower);
        }
        match copy {
            Some((copy, false)) => layer = layer.copy(copy.get_mut()),
            Some((copy, true)) => layer = layer.saturating_copy(copy.get_mut()),
            None => {}
        }
        layer.momentum(momentum.get_mut()).second_moment(second)
    }

    pub fn joined(&self) -> Vec<f32> {
        match (&self.weights, &self.lower) {
            (Array::Bf16(upper), Some(lower)) => joined(upper, lower),
            (weights, _) => weights.widened(),
        }
    }
}

pub fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

pub fn upper(x: &[f32]) -> Vec<bf16> {
    x.iter().map(|x| bf16::from_bits((x.to_bits() >> 16) as u16)).collect()
}

pub fn lower(x: &[f32]) -> Vec<u16> {
    x.iter().map(|x| x.to_bits() as u16).collect()
}

pub fn joined(upper: &[bf16], lower: &[u16]) -> Vec<f32> {
    let join = |(u, l): (&bf16, &u16)| f32::from_bits(u32::from(u.to_bits()) << 16 | u32::from(*l));
    upper.iter().zip(lower).map(join).collect()
}
