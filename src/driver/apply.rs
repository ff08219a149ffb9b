//! The way from a plan to memory.

use super::measure::is_finite;
use crate::kernel::formulas::{Affine, Apart};
use crate::kernel::machine::Machine;
use crate::kernel::squares::{leaf_sums, sum_of_squares};
use crate::kernel::stream::{self, Memory, Written};
use crate::kernel::terms::NewMomentum;
use crate::lanes::Backend;
use crate::memory::floats::{Floats, FloatsMut};
use crate::memory::layer::{LayerMemory, LayerView};
use crate::rules::double::{add, mul, sqrt};
use crate::rules::rule::Moments;
use crate::rules::update::Update;

/// The scalars of an update in `f32`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Coefficients {
    /// A power of two that the gradient is multiplied by first, so that its coefficient neither overflows nor loses
    /// bits. It is 1 unless the gradient's norm is astronomically large or small.
    prescale: f32,
    gradient: f32,
    decay: f32,
    momentum: f32,
    rate: f32,
    direct: f32,
    shrink: f32,
}

/// Where the coefficient of the gradient leaves the range in which `f32` products keep all their bits.
const LARGE: f64 = (1_u128 << 100) as f64;

impl Coefficients {
    /// Those of [`Update::ZERO`], for a layer that is not updated.
    pub(super) const ZERO: Coefficients =
        Coefficients { prescale: 1.0, gradient: 0.0, decay: 0.0, momentum: 0.0, rate: 0.0, direct: 0.0, shrink: 0.0 };

    /// The scalars of an update of a layer with or without momentum; nothing if one of them is not a finite `f32`.
    #[inline(always)]
    pub(super) fn of(update: &Update, with_momentum: bool) -> Option<Self> {
        if with_momentum {
            return Coefficients::in_f32(update);
        }
        // Here `h` is the momentum: w = w − (gradient·g + decay·w).
        let rate = add(update.rate, update.direct);
        let (gradient, decay) = (mul(rate, update.gradient), add(mul(rate, update.decay), update.shrink));
        Coefficients::in_f32(&Update { gradient, decay, ..Update::ZERO })
    }

    #[inline(always)]
    fn in_f32(update: &Update) -> Option<Self> {
        // As bits, which order as the numbers do, for a processor without f64.
        let size = update.gradient.abs().to_bits();
        let (mut prescale, mut gradient) = (1.0, update.gradient);
        if size > LARGE.to_bits() || (size < (1.0 / LARGE).to_bits() && size != 0) {
            (prescale, gradient) = rescaled(gradient);
        }
        let scalars = Coefficients {
            prescale,
            gradient: gradient as f32,
            decay: update.decay as f32,
            momentum: update.momentum as f32,
            rate: update.rate as f32,
            direct: update.direct as f32,
            shrink: update.shrink as f32,
        };
        scalars.are_finite().then_some(scalars)
    }

    #[inline(always)]
    fn are_finite(&self) -> bool {
        // Not in a loop: of settings that are constants nothing is left.
        let of_gradient = self.gradient.is_finite() && self.decay.is_finite() && self.momentum.is_finite();
        of_gradient && self.rate.is_finite() && self.direct.is_finite() && self.shrink.is_finite()
    }

    /// The scalars as the kernels take them.
    #[inline(always)]
    fn affine(&self) -> Affine<Apart> {
        Affine {
            gradient: Apart(self.gradient),
            decay: Apart(self.decay),
            momentum: Apart(self.momentum),
            rate: Apart(self.rate),
            direct: Apart(self.direct),
            shrink: Apart(self.shrink),
        }
    }

    /// Updates (a chunk of) a layer. With `sum`, the sum of squares of the new weights is left too.
    #[inline(always)]
    pub(super) fn write<S>(&self, machine: Machine, moments: Moments, sum: bool, layer: LayerMemory<'_, S>) -> Written {
        let (weights, gradients) = (layer.weights.f32s(), layer.gradients.f32s());
        if moments == Moments::None {
            return without_momentum(machine, self.prescale, &self.affine(), weights, gradients, sum);
        }
        let momentum = layer.momentum.map(FloatsMut::f32s).unwrap_or_default();
        with_momentum(machine, self.prescale, &self.affine(), weights, gradients, momentum, sum)
    }
}

/// A power of two, 2⁹⁰ or 2⁻⁹⁰, and the coefficient of the gradient divided by it.
#[cold]
#[inline(never)]
fn rescaled(gradient: f64) -> (f32, f64) {
    // By the exponents, which need no `f64` instructions. (A coefficient that is subnormal is 0 in `f32` either way.)
    const POWER: u64 = 90;
    let (bits, infinity) = (gradient.to_bits(), f64::INFINITY.to_bits());
    let power = |exponent: u64| f32::from_bits((exponent as u32) << 23);
    if bits << 1 >= infinity << 1 {
        (1.0, gradient)
    } else if bits << 1 > 1.0_f64.to_bits() << 1 {
        (power(127 + POWER), f64::from_bits(bits - (POWER << 52)))
    } else {
        (power(127 - POWER), f64::from_bits(bits + (POWER << 52)))
    }
}

// Neither generic nor inlined, so that the loops are compiled once, in this crate. But firmware is compiled as a whole, for
// few calls, whose settings are constants: there, inlined, only the form of the loop that they need is left.

#[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
fn with_momentum(
    machine: Machine,
    prescale: f32,
    k: &Affine<Apart>,
    weights: &mut [f32],
    gradients: &[f32],
    momentum: &mut [f32],
    sum: bool,
) -> Written {
    Memory { weights, gradients, states: [momentum] }.apply(machine, prescale, k, sum)
}

#[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
fn without_momentum(
    machine: Machine,
    prescale: f32,
    k: &Affine<Apart>,
    weights: &mut [f32],
    gradients: &[f32],
    sum: bool,
) -> Written {
    Memory::<f32, f32, 0> { weights, gradients, states: [] }.apply(machine, prescale, k, sum)
}

/// The L2 norm of the momentum that an update would write (of `h` where there is no momentum); infinite if a scalar of
/// the update is not a finite `f32`.
#[inline(never)]
pub(super) fn new_momentum_norm(
    machine: Machine,
    update: Update,
    weights: &[f32],
    gradients: &[f32],
    momentum: &[f32],
) -> f64 {
    match new_momentum(&update, weights, gradients, momentum) {
        Some((scalars, arrays)) => {
            let term = NewMomentum { prescale: scalars.prescale, k: &scalars.affine() };
            sqrt(sum_of_squares(machine, term, arrays))
        }
        None => f64::INFINITY,
    }
}

/// The sum of squares of each leaf of the same momentum.
pub(super) fn new_momentum_sums(backend: Backend, update: &Update, chunk: &LayerView<'_>, sums: &mut [f64]) {
    let (weights, gradients) = (chunk.weights.f32s(), chunk.gradients.f32s());
    let momentum = chunk.momentum.map(Floats::f32s).unwrap_or_default();
    let sums = sums.as_chunks_mut::<1>().0;
    match new_momentum(update, weights, gradients, momentum) {
        Some((scalars, arrays)) => {
            let term = NewMomentum { prescale: scalars.prescale, k: &scalars.affine() };
            leaf_sums(backend, term, arrays, sums, 0);
        }
        None => sums.fill([f64::INFINITY]),
    }
}

/// The scalars of the term that is squared, and its three arrays. Where there is no momentum, the weights are
/// multiplied by 0.
fn new_momentum<'a>(
    update: &Update,
    weights: &'a [f32],
    gradients: &'a [f32],
    momentum: &'a [f32],
) -> Option<(Coefficients, [&'a [f32]; 3])> {
    let (kept, momentum) = if momentum.is_empty() { (0.0, weights) } else { (update.momentum, momentum) };
    let coefficients = Coefficients::in_f32(&Update { momentum: kept, ..*update })?;
    Some((coefficients, [weights, gradients, momentum]))
}

/// Adds `scale` times a gradient to a sum, and returns the sum of squares of what it wrote; nothing if the scale leaves
/// `f32`.
pub(super) fn add_scaled(machine: Machine, sum: &mut [f32], gradients: &[f32], scale: f64) -> Option<f64> {
    // The sum is what an update calls weights.
    let update = Update { gradient: -scale, direct: 1.0, ..Update::ZERO };
    let scalars = Coefficients::of(&update, false)?;
    let written = without_momentum(machine, scalars.prescale, &scalars.affine(), sum, gradients, true);
    Some(written.sum_of_squares)
}

/// Replaces gradients by `gradient·g + decay·w`, the `h` of an update, and returns whether all are finite; nothing if a
/// scalar leaves `f32`.
pub(super) fn rescale(machine: Machine, update: &Update, gradients: &mut [f32], weights: &[f32]) -> Option<bool> {
    let scalars = Coefficients::in_f32(update)?;
    stream::rescale(machine.backend, scalars.prescale, scalars.affine(), gradients, weights);
    Some(is_finite(machine, gradients))
}
