//! Norms of a layer, and the sums of its leaves.

use super::numbers::{numbers, weights};
use crate::kernel::any::{leaf_sums, sum_of_squares, sum_of_term};
use crate::kernel::machine::Machine;
use crate::kernel::max::{leaf_maxima, max_abs};
use crate::kernel::numbers::{Numbers, f32s};
use crate::kernel::shape::{LEAF, fold_leaf_sums};
use crate::kernel::squares::sums_of_squares;
use crate::kernel::terms::{Decayed, Plain};
use crate::lanes::{Backend, ONE_BY_ONE};
use crate::memory::floats::Floats;
use crate::memory::layer::LayerView;
use crate::rules::double::{scaled, sqrt};
use crate::rules::rule::{GradientNorm, Needs, Norms};

/// The norms that a rule needs, of gradients multiplied by `scale`. What is carried is not measured.
#[inline(always)]
pub(super) fn norms(machine: Machine, needs: Needs, scale: f64, layer: &LayerView<'_>) -> Norms {
    let (w, g) = (weights(layer.weights), numbers(layer.gradients));
    let (carried, known) = (layer.norms.weights(), layer.norms.gradient());
    // (Without vectors there is nothing to gain, and this would be more code.)
    if !ONE_BY_ONE && needs.weights && needs.gradient == GradientNorm::L2 && carried.is_none() && known.is_none() {
        let [weights, gradient] = l2_of_both(machine, w, g);
        return Norms { gradient: scaled(gradient, scale), weights };
    }
    let weights = match carried {
        _ if !needs.weights => f64::NAN,
        Some(norm) => norm,
        None => l2(machine, w),
    };
    let gradient = match needs.gradient {
        GradientNorm::L2 => scaled(if let Some(known) = known { known } else { l2(machine, g) }, scale),
        GradientNorm::Max => scaled(max_abs(machine, g).into(), scale),
        GradientNorm::L2WithDecay(decay) => match decayed(scale, decay) {
            Some(term) => sqrt(sum_of_term(machine, term, [w, g])),
            None => f64::INFINITY,
        },
    };
    Norms { gradient, weights }
}

/// The L2 norm. (Neither generic nor inlined: the loops are compiled once, in this crate. But firmware is compiled as a
/// whole, and keeps those of the types that it has.)
#[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
pub(super) fn l2(machine: Machine, x: Numbers<'_>) -> f64 {
    sqrt(sum_of_squares(machine, x))
}

/// The L2 norms of weights and gradients.
fn l2_of_both(machine: Machine, weights: Numbers<'_>, gradients: Numbers<'_>) -> [f64; 2] {
    match f32s([weights, gradients]) {
        Some(both) => sums_of_squares(machine, both).map(sqrt),
        None => [l2(machine, weights), l2(machine, gradients)],
    }
}

/// The term of [`GradientNorm::L2WithDecay`]; nothing if its scalars leave `f32`. (Then it has no norm, and zeros that
/// pad a vector must not make a NaN.)
#[inline]
fn decayed(scale: f64, decay: f64) -> Option<Decayed> {
    let (scale, decay) = (scale as f32, decay as f32);
    (scale.is_finite() && decay.is_finite()).then_some(Decayed { scale, decay })
}

/// Sums of each leaf of a layer: of gradient, weights, moments.
pub(super) const SUMS: usize = 3;
const GRADIENT: usize = 0;
const WEIGHTS: usize = 1;
const MOMENTS: usize = 2;

/// The sums of leaves of which [`fold`] makes the norms that a rule needs, and with `moments` those of the moments.
pub(super) fn sums(
    backend: Backend,
    needs: &Needs,
    scale: f64,
    moments: bool,
    chunk: &LayerView<'_>,
    sums: &mut [[f64; SUMS]],
) {
    let (w, g) = (weights(chunk.weights), numbers(chunk.gradients));
    sums.fill([0.0; SUMS]);
    match needs.gradient {
        GradientNorm::L2 => leaf_sums(backend, Plain, [g], sums, GRADIENT),
        GradientNorm::Max => leaf_maxima(backend, g, sums, GRADIENT),
        GradientNorm::L2WithDecay(decay) => match decayed(scale, decay) {
            Some(term) => leaf_sums(backend, term, [w, g], sums, GRADIENT),
            None => sums.iter_mut().for_each(|leaf| leaf[GRADIENT] = f64::INFINITY),
        },
    }
    if needs.weights {
        leaf_sums(backend, Plain, [w], sums, WEIGHTS);
    }
    if moments {
        for moment in [chunk.momentum, chunk.second_moment].into_iter().flatten() {
            for (i, sums) in sums.iter_mut().enumerate() {
                let (start, mut sum) = (i * LEAF, [[0.0]]);
                if let Some(leaf) = moment.get(start..moment.len().min(start + LEAF)) {
                    leaf_sums(backend, Plain, [numbers(leaf)], &mut sum, 0);
                }
                sums[MOMENTS] += sum[0][0];
            }
        }
    }
}

/// The norms of a layer of which these are the sums of all leaves, and whether its moments are finite.
pub(super) fn fold(needs: &Needs, scale: f64, sums: &[[f64; SUMS]]) -> (Norms, bool) {
    let gradient = match needs.gradient {
        GradientNorm::L2 => scaled(sqrt(fold_leaf_sums(sums, GRADIENT)), scale),
        GradientNorm::L2WithDecay(decay) if decayed(scale, decay).is_none() => f64::INFINITY,
        GradientNorm::L2WithDecay(_) => sqrt(fold_leaf_sums(sums, GRADIENT)),
        GradientNorm::Max => scaled(sums.iter().fold(0.0, |max, leaf| larger(max, leaf[GRADIENT])), scale),
    };
    let weights = if needs.weights { sqrt(fold_leaf_sums(sums, WEIGHTS)) } else { f64::NAN };
    (Norms { gradient, weights }, fold_leaf_sums(sums, MOMENTS).is_finite())
}

/// The larger of two numbers; NaN if one of them is.
fn larger(a: f64, b: f64) -> f64 {
    if a >= b || a.is_nan() { a } else { b }
}

/// Whether all elements are finite.
pub(super) fn is_finite(machine: Machine, x: Floats<'_>) -> bool {
    max_abs(machine, numbers(x)).is_finite()
}
