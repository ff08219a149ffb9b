//! Norms of a layer, and the sums of its leaves.

use super::numbers::{numbers, weights};
use super::tree::{Cover, Tree, leaves_of};
use crate::error::Error;
use crate::kernel::any::{each_piece, sum_of_squares, sum_of_term};
use crate::kernel::machine::Machine;
use crate::kernel::max::max_abs;
use crate::kernel::numbers::{Numbers, f32s};
use crate::kernel::squares::sums_of_squares;
use crate::kernel::terms::Decayed;
use crate::lanes::ONE_BY_ONE;
use crate::memory::floats::Floats;
use crate::memory::layer::LayerView;
use crate::rules::double::{scaled, sqrt};
use crate::rules::rule::{GradientNorm, Needs, Norms};
use core::ops::Range;

/// The norms that a rule needs, of gradients multiplied by `scale`. Carried norms are not measured again.
#[inline(always)]
pub(super) fn norms(machine: Machine, needs: Needs, scale: f64, layer: &LayerView<'_>) -> Norms {
    let (w, g) = (weights(layer.weights), numbers(layer.gradients));
    let (carried, known) = (layer.norms.weights(), layer.norms.gradient());
    // (Without vectors this gains nothing and adds code.)
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
/// whole, and keeps only the loops for the types that it uses.)
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

/// The term of [`GradientNorm::L2WithDecay`]; `None` if its scalars do not fit in `f32`. (Then there is no norm, and
/// the zeros that pad a vector must not become NaN.)
#[inline]
fn decayed(scale: f64, decay: f64) -> Option<Decayed> {
    let (scale, decay) = (scale as f32, decay as f32);
    (scale.is_finite() && decay.is_finite()).then_some(Decayed { scale, decay })
}

/// How many sums there are for each piece of a layer (a leaf or a larger node): gradient, weights, moments.
pub(super) const SUMS: usize = 3;
const GRADIENT: usize = 0;
const WEIGHTS: usize = 1;
const MOMENTS: usize = 2;

/// The sums of pieces from which [`fold`] computes the norms that a rule needs; with `moments`, also those of the
/// moments.
pub(super) fn sums(
    machine: Machine,
    needs: &Needs,
    scale: f64,
    moments: bool,
    chunk: &LayerView<'_>,
    pieces: Cover,
    sums: &mut [[f64; SUMS]],
) {
    let (w, g) = (weights(chunk.weights), numbers(chunk.gradients));
    let leaves = || pieces.clone().map(|piece| leaves_of(&piece));
    let squares = |[x]: [Numbers<'_>; 1]| sum_of_squares(machine, x);
    sums.fill([0.0; SUMS]);
    match needs.gradient {
        GradientNorm::L2 => each_piece([g], leaves(), sums, GRADIENT, squares),
        GradientNorm::Max => each_piece([g], leaves(), sums, GRADIENT, |[g]| max_abs(machine, g).into()),
        GradientNorm::L2WithDecay(decay) => match decayed(scale, decay) {
            Some(term) => each_piece([w, g], leaves(), sums, GRADIENT, |both| sum_of_term(machine, term, both)),
            None => sums.iter_mut().for_each(|piece| piece[GRADIENT] = f64::INFINITY),
        },
    }
    if needs.weights {
        each_piece([w], leaves(), sums, WEIGHTS, squares);
    }
    // The moments are only checked, so one sum is enough for both.
    match [chunk.momentum, chunk.second_moment].map(|moment| moment.map(numbers)) {
        [Some(m), None] if moments => each_piece([m], leaves(), sums, MOMENTS, squares),
        [Some(m), Some(v)] if moments => {
            let of_both = |[m, v]: [Numbers<'_>; 2]| if has_nan(machine, v) { f64::NAN } else { squares([m]) };
            each_piece([m, v], leaves(), sums, MOMENTS, of_both);
        }
        _ => {}
    }
}

/// The norms of a layer from the sums of all its pieces, and whether its moments have a finite step.
pub(super) fn fold(
    needs: &Needs,
    scale: f64,
    tree: Tree,
    pieces: impl IntoIterator<Item = (Range<usize>, [f64; SUMS])>,
) -> Result<(Norms, bool), Error> {
    let max = matches!(needs.gradient, GradientNorm::Max);
    let gradients = |a, b| if max { larger(a, b) } else { a + b };
    let sums = tree.fold(pieces, |[g, w, m], right: [f64; SUMS]| {
        [gradients(g, right[GRADIENT]), w + right[WEIGHTS], m + right[MOMENTS]]
    })?;
    let [gradient, weights, moments] = sums.unwrap_or_default();
    let gradient = match needs.gradient {
        GradientNorm::L2 => scaled(sqrt(gradient), scale),
        GradientNorm::L2WithDecay(decay) if decayed(scale, decay).is_none() => f64::INFINITY,
        GradientNorm::L2WithDecay(_) => sqrt(gradient),
        GradientNorm::Max => scaled(gradient, scale),
    };
    let weights = if needs.weights { sqrt(weights) } else { f64::NAN };
    Ok((Norms { gradient, weights }, moments.is_finite()))
}

/// The larger of two numbers; NaN if one of them is.
fn larger(a: f64, b: f64) -> f64 {
    if a >= b || a.is_nan() { a } else { b }
}

/// Whether moments have a finite step. (Where a second moment is infinite, the step is 0.)
pub(super) fn are_usable(machine: Machine, layer: &LayerView<'_>) -> bool {
    layer.momentum.is_none_or(|m| is_finite(machine, m))
        && layer.second_moment.is_none_or(|v| !has_nan(machine, numbers(v)))
}

fn has_nan(machine: Machine, x: Numbers<'_>) -> bool {
    max_abs(machine, x).is_nan()
}

/// Whether all elements are finite.
pub(super) fn is_finite(machine: Machine, x: Floats<'_>) -> bool {
    max_abs(machine, numbers(x)).is_finite()
}
