//! The norm of a step before it is taken, for rules that need it.

use super::apply::Coefficients;
use super::numbers::{numbers, weights};
use super::tree::{Cover, leaves_of};
use crate::kernel::any::{each_piece, sum_of_term};
use crate::kernel::machine::Machine;
use crate::kernel::numbers::Numbers;
use crate::kernel::terms::{NewMomentum, StepOf, Term};
use crate::memory::layer::LayerView;
use crate::rules::double::{mul, sqrt};
use crate::rules::rule::{Moments, StepNorm};
use crate::rules::update::Update;

/// The L2 norm of a planned step; infinite if a scalar of the update is not a finite `f32`.
#[cfg_attr(not(any(target_arch = "arm", target_arch = "riscv32")), inline(never))]
#[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
pub(super) fn step_norm(
    machine: Machine,
    needed: StepNorm,
    update: &Update,
    moments: Moments,
    layer: &LayerView<'_>,
) -> f64 {
    let mut sum = f64::INFINITY;
    planned_step(needed, update, moments, layer, Whole { machine, sum: &mut sum });
    sqrt(sum)
}

/// The sum of squares of each piece of the same step.
pub(super) fn step_sums(
    machine: Machine,
    needed: StepNorm,
    update: &Update,
    moments: Moments,
    layer: &LayerView<'_>,
    pieces: Cover,
    sums: &mut [f64],
) {
    sums.fill(f64::INFINITY);
    planned_step(needed, update, moments, layer, Pieces { machine, pieces, sums: sums.as_chunks_mut::<1>().0 });
}

/// Sums over a whole step, or over each piece.
trait Squares {
    fn sum<T: Term<N>, const N: usize>(self, term: T, arrays: [Numbers<'_>; N]);
}

struct Whole<'a> {
    machine: Machine,
    sum: &'a mut f64,
}

impl Squares for Whole<'_> {
    #[inline(always)]
    fn sum<T: Term<N>, const N: usize>(self, term: T, arrays: [Numbers<'_>; N]) {
        *self.sum = sum_of_term(self.machine, term, arrays);
    }
}

struct Pieces<'a> {
    machine: Machine,
    pieces: Cover,
    sums: &'a mut [[f64; 1]],
}

impl Squares for Pieces<'_> {
    #[inline(always)]
    fn sum<T: Term<N>, const N: usize>(self, term: T, arrays: [Numbers<'_>; N]) {
        let leaves = self.pieces.map(|piece| leaves_of(&piece));
        each_piece(arrays, leaves, self.sums, 0, |piece| sum_of_term(self.machine, term, piece));
    }
}

/// The scalars of the planned step; `None` if one of them is not a finite `f32`.
#[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
pub(super) fn step_scalars(needed: StepNorm, update: &Update, moments: Moments) -> Option<Coefficients> {
    if needed != StepNorm::Momentum {
        return Coefficients::of(update, moments);
    }
    // Without momentum, nothing of it is kept. The share of a second moment's update goes into `h`.
    let kept = if moments == Moments::None { 0.0 } else { update.momentum };
    let share = update.second.map_or(1.0, |second| second.share);
    let (gradient, decay) = (mul(update.gradient, share), mul(update.decay, share));
    Coefficients::in_f32(&Update { momentum: kept, gradient, decay, ..*update })
}

/// Sums the squares of a planned step, or sums nothing if a scalar of the update is not a finite `f32`.
#[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
fn planned_step(needed: StepNorm, update: &Update, moments: Moments, layer: &LayerView<'_>, squares: impl Squares) {
    let Some(scalars) = step_scalars(needed, update, moments) else { return };
    let (prescale, affine) = (scalars.prescale, &scalars.affine());
    let (weights, gradients) = (weights(layer.weights), numbers(layer.gradients));
    let momentum = layer.momentum.map_or(Numbers::F32(&[]), numbers);
    let second_moment = layer.second_moment.map_or(Numbers::F32(&[]), numbers);
    if needed == StepNorm::Momentum {
        // Without momentum, the weights are passed in its place, and multiplied by 0.
        let momentum = if moments == Moments::None { weights } else { momentum };
        return squares.sum(NewMomentum { prescale, k: affine }, [weights, gradients, momentum]);
    }
    match (scalars.two_moments(), moments) {
        (Some(k), _) => squares.sum(StepOf { prescale, k: &k }, [weights, gradients, momentum, second_moment]),
        (None, Moments::None) => squares.sum(StepOf { prescale, k: affine }, [weights, gradients]),
        (None, _) => squares.sum(StepOf { prescale, k: affine }, [weights, gradients, momentum]),
    }
}
