//! The host's arrays in the form that kernels take.

use crate::kernel::numbers::Numbers;
#[cfg(feature = "half")]
use crate::kernel::{
    mixed::Mixed,
    numbers::{Copied, NumbersMut},
};
use crate::memory::floats::{Floats, FloatsMut};
use crate::memory::weights::Weights;
#[cfg(feature = "half")]
use crate::memory::{layer::LayerMemory, weights::WeightsMut};

/// Numbers to be read.
#[inline(always)]
pub(super) fn numbers(floats: Floats<'_>) -> Numbers<'_> {
    match floats {
        Floats::F32(x) => Numbers::F32(x),
        #[cfg(feature = "half")]
        Floats::Bf16(x) => Numbers::Bf16(x),
        #[cfg(feature = "half")]
        Floats::F16(x) => Numbers::F16(x),
    }
}

/// Weights to be read.
#[inline(always)]
pub(super) fn weights(weights: Weights<'_>) -> Numbers<'_> {
    #[cfg(feature = "half")]
    if let (Floats::Bf16(upper), Some(lower)) = (weights.floats, weights.lower) {
        return Numbers::Split(upper, lower);
    }
    numbers(weights.floats)
}

/// The slice if it is of `f32`; empty if not.
#[inline(always)]
pub(super) fn f32s(floats: Floats<'_>) -> &[f32] {
    match floats {
        Floats::F32(x) => x,
        #[cfg(feature = "half")]
        _ => &[],
    }
}

/// The slice if it is of `f32`; empty if not.
#[inline(always)]
pub(super) fn f32s_mut(floats: FloatsMut<'_>) -> &mut [f32] {
    match floats {
        FloatsMut::F32(x) => x,
        #[cfg(feature = "half")]
        _ => &mut [],
    }
}

/// Whether a layer has 16-bit floats.
#[cfg(feature = "half")]
#[inline(always)]
pub(super) fn has_16_bits<S>(layer: &LayerMemory<'_, S>) -> bool {
    !matches!(layer.weights, WeightsMut { floats: FloatsMut::F32(_), copy: None, .. })
        || !matches!(layer.gradients, Floats::F32(_))
        || !matches!(layer.momentum, None | Some(FloatsMut::F32(_)))
}

/// The memory of such a layer.
#[cfg(feature = "half")]
#[inline(always)]
pub(super) fn mixed<S>(layer: LayerMemory<'_, S>) -> Mixed<'_> {
    let LayerMemory { weights: WeightsMut { floats, lower, copy }, gradients, momentum, second_moment, .. } = layer;
    let weights = match (floats, lower) {
        (FloatsMut::Bf16(upper), Some(lower)) => NumbersMut::Split(upper, lower),
        (floats, _) => numbers_mut(floats),
    };
    let copy = copy.map(|copy| {
        let largest = match &copy.floats {
            FloatsMut::Bf16(_) if copy.saturating => half::bf16::MAX.to_f32(),
            FloatsMut::F16(_) if copy.saturating => half::f16::MAX.to_f32(),
            _ => f32::INFINITY,
        };
        Copied { to: numbers_mut(copy.floats), largest }
    });
    let momentum = momentum.map_or(NumbersMut::F32(&mut []), numbers_mut);
    Mixed {
        weights,
        gradients: numbers(gradients),
        momentum,
        second: second_moment.map(f32s_mut).unwrap_or_default(),
        copy,
    }
}

/// Numbers to be written.
#[cfg(feature = "half")]
#[inline(always)]
fn numbers_mut(floats: FloatsMut<'_>) -> NumbersMut<'_> {
    match floats {
        FloatsMut::F32(x) => NumbersMut::F32(x),
        FloatsMut::Bf16(x) => NumbersMut::Bf16(x),
        FloatsMut::F16(x) => NumbersMut::F16(x),
    }
}
