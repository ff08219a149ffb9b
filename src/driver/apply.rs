//! Applies a plan to memory.

use super::measure::is_finite;
use super::numbers::{f32s, f32s_mut};
#[cfg(feature = "half")]
use super::numbers::{has_16_bits, mixed};
use crate::kernel::formulas::{Affine, Apart, TwoMoments};
use crate::kernel::machine::Machine;
#[cfg(feature = "half")]
use crate::kernel::mixed::Mixed;
use crate::kernel::stream::{self, Memory, Written};
use crate::memory::floats::{Floats, FloatsMut};
use crate::memory::layer::LayerMemory;
use crate::rules::double::{add, mul};
use crate::rules::rule::{Moments, Rule};
use crate::rules::update::{SecondMoment, Update};

/// The scalars of an update in `f32`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Coefficients {
    /// A power of two that the gradient is multiplied by first, so that its coefficient neither overflows nor loses
    /// bits. It is 1 unless the gradient's norm is astronomically large or small.
    pub(super) prescale: f32,
    gradient: f32,
    decay: f32,
    momentum: f32,
    rate: f32,
    direct: f32,
    shrink: f32,
    second: Option<Second>,
}

/// The scalars of a second moment in `f32`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Second {
    share: f32,
    keep: f32,
    fresh: f32,
    unbias: f32,
    eps_root: f32,
    eps: f32,
}

/// Beyond this coefficient of the gradient, or below its inverse, `f32` products may lose bits.
const LARGE: f64 = (1_u128 << 100) as f64;

impl Coefficients {
    /// Those of [`Update::ZERO`], for a layer that is not updated.
    pub(super) const ZERO: Coefficients = Coefficients {
        prescale: 1.0,
        gradient: 0.0,
        decay: 0.0,
        momentum: 0.0,
        rate: 0.0,
        direct: 0.0,
        shrink: 0.0,
        second: None,
    };

    /// The scalars of an update of a layer with these moments; `None` if one of them is not a finite `f32`, if an
    /// epsilon is negative, or if the update needs a second moment that the layer does not have.
    #[inline(always)]
    pub(super) fn of(update: &Update, moments: Moments) -> Option<Self> {
        if update.second.is_some() && moments != Moments::FirstAndSecond {
            return None;
        }
        if moments != Moments::None {
            return Coefficients::in_f32(update);
        }
        // Here `h` is the momentum: w = w − (gradient·g + decay·w).
        let rate = add(update.rate, update.direct);
        let (gradient, decay) = (mul(rate, update.gradient), add(mul(rate, update.decay), update.shrink));
        Coefficients::in_f32(&Update { gradient, decay, ..Update::ZERO })
    }

    #[inline(always)]
    pub(super) fn in_f32(update: &Update) -> Option<Self> {
        // Bits have the same order as the numbers, and need no `f64` instructions.
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
            second: update.second.as_ref().map(Second::in_f32),
        };
        scalars.are_in_range().then_some(scalars)
    }

    #[inline(always)]
    fn are_in_range(&self) -> bool {
        // Not a loop, so that constant settings fold away.
        let of_gradient = self.gradient.is_finite() && self.decay.is_finite() && self.momentum.is_finite();
        let of_step = self.rate.is_finite() && self.direct.is_finite() && self.shrink.is_finite();
        of_gradient && of_step && if let Some(second) = &self.second { second.are_in_range() } else { true }
    }

    /// The scalars as the kernels take them.
    #[inline(always)]
    pub(super) fn affine(&self) -> Affine<Apart> {
        Affine {
            gradient: Apart(self.gradient),
            decay: Apart(self.decay),
            momentum: Apart(self.momentum),
            rate: Apart(self.rate),
            direct: Apart(self.direct),
            shrink: Apart(self.shrink),
        }
    }

    /// The same with a second moment, if there is one.
    #[inline(always)]
    pub(super) fn two_moments(&self) -> Option<TwoMoments<Apart>> {
        let second = self.second?;
        Some(TwoMoments {
            affine: self.affine(),
            share: Apart(second.share),
            keep: Apart(second.keep),
            fresh: Apart(second.fresh),
            unbias: Apart(second.unbias),
            eps_root: Apart(second.eps_root),
            eps: Apart(second.eps),
        })
    }

    /// Updates (a chunk of) a layer by a rule. With `sum`, it also computes the sum of squares of the new weights.
    #[inline(always)]
    pub(super) fn write<R: Rule, S>(
        &self,
        machine: Machine,
        moments: Moments,
        sum: bool,
        layer: LayerMemory<'_, S>,
    ) -> Written {
        // A rule without a second moment links no code for one.
        if const { matches!(R::MOMENTS, Moments::FirstAndSecond) } {
            return self.write_any(machine, moments, sum, layer);
        }
        self.write_first(machine, moments, sum, layer)
    }

    /// Updates (a chunk of) a layer by any rule.
    #[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
    pub(super) fn write_any<S>(
        &self,
        machine: Machine,
        moments: Moments,
        sum: bool,
        chunk: LayerMemory<'_, S>,
    ) -> Written {
        match self.two_moments() {
            Some(scalars) => self.write_second(machine, &scalars, sum, chunk),
            None => self.write_first(machine, moments, sum, chunk),
        }
    }

    #[inline(always)]
    fn write_first<S>(&self, machine: Machine, moments: Moments, sum: bool, layer: LayerMemory<'_, S>) -> Written {
        #[cfg(feature = "half")]
        if has_16_bits(&layer) {
            let (prescale, k) = (self.prescale, &self.affine());
            return match moments {
                Moments::None => mixed_without_momentum(machine, prescale, k, mixed(layer), sum),
                _ => mixed_with_momentum(machine, prescale, k, mixed(layer), sum),
            };
        }
        let (weights, gradients) = (f32s_mut(layer.weights.floats), f32s(layer.gradients));
        if moments == Moments::None {
            return without_momentum(machine, self.prescale, &self.affine(), weights, gradients, sum);
        }
        let momentum = layer.momentum.map(f32s_mut).unwrap_or_default();
        with_momentum(machine, self.prescale, &self.affine(), weights, gradients, momentum, sum)
    }

    #[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
    fn write_second<S>(
        &self,
        machine: Machine,
        k: &TwoMoments<Apart>,
        sum: bool,
        layer: LayerMemory<'_, S>,
    ) -> Written {
        #[cfg(feature = "half")]
        if has_16_bits(&layer) {
            return mixed_with_second_moment(machine, self.prescale, k, mixed(layer), sum);
        }
        let (weights, gradients) = (f32s_mut(layer.weights.floats), f32s(layer.gradients));
        let momentum = layer.momentum.map(f32s_mut).unwrap_or_default();
        let second_moment = layer.second_moment.map(f32s_mut).unwrap_or_default();
        let states = [momentum, second_moment];
        with_second_moment(machine, self.prescale, k, &mut Memory { weights, gradients, states }, sum)
    }
}

impl Second {
    #[inline(always)]
    fn in_f32(second: &SecondMoment) -> Self {
        Second {
            share: second.share as f32,
            keep: second.keep as f32,
            fresh: (1.0 - second.keep) as f32,
            unbias: second.unbias as f32,
            eps_root: second.eps_root as f32,
            eps: second.eps as f32,
        }
    }

    /// A negative `eps_root` would make a NaN of the zeros in a vector's unused lanes, and a negative `eps` a division
    /// by 0.
    #[inline(always)]
    fn are_in_range(&self) -> bool {
        let of_moments = self.share.is_finite() && self.keep.is_finite() && self.fresh.is_finite();
        let added = (0.0..=f32::MAX).contains(&self.eps_root) && (0.0..=f32::MAX).contains(&self.eps);
        of_moments && self.unbias.is_finite() && added
    }
}

/// A power of two, 2⁹⁰ or 2⁻⁹⁰, and the coefficient of the gradient divided by it.
#[cold]
#[inline(never)]
fn rescaled(gradient: f64) -> (f32, f64) {
    // Changes the exponents, which needs no `f64` instructions. (A subnormal coefficient is 0 in `f32` either way.)
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

// Neither generic nor inlined, so that the loops are compiled once, in this crate. But firmware is compiled as a whole,
// and has few calls, with constant settings: inlining there leaves only the form of the loop that they need.

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
    Memory { weights, gradients, states: [] }.apply(machine, prescale, k, sum)
}

/// (Four slices as arguments would go through memory, and be copied there.)
#[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
fn with_second_moment(
    machine: Machine,
    prescale: f32,
    k: &TwoMoments<Apart>,
    memory: &mut Memory<'_, 2>,
    sum: bool,
) -> Written {
    memory.apply(machine, prescale, k, sum)
}

// The same for layers with 16-bit floats.

#[cfg(feature = "half")]
#[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
fn mixed_without_momentum(
    machine: Machine,
    prescale: f32,
    k: &Affine<Apart>,
    mut memory: Mixed<'_>,
    sum: bool,
) -> Written {
    memory.apply::<_, 0>(machine, prescale, k, sum)
}

#[cfg(feature = "half")]
#[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
fn mixed_with_momentum(
    machine: Machine,
    prescale: f32,
    k: &Affine<Apart>,
    mut memory: Mixed<'_>,
    sum: bool,
) -> Written {
    memory.apply::<_, 1>(machine, prescale, k, sum)
}

#[cfg(feature = "half")]
#[cfg_attr(any(target_arch = "arm", target_arch = "riscv32"), inline(always))]
fn mixed_with_second_moment(
    machine: Machine,
    prescale: f32,
    k: &TwoMoments<Apart>,
    mut memory: Mixed<'_>,
    sum: bool,
) -> Written {
    memory.apply::<_, 2>(machine, prescale, k, sum)
}

/// Adds `scale` times a gradient to a sum, and returns the sum of squares of what it wrote; `None` if the scale does
/// not fit in `f32`.
pub(super) fn add_scaled(machine: Machine, sum: FloatsMut<'_>, gradients: Floats<'_>, scale: f64) -> Option<f64> {
    // The sum takes the place of the weights.
    let update = Update { gradient: -scale, direct: 1.0, ..Update::ZERO };
    let (scalars, state) = (Coefficients::of(&update, Moments::None)?, &mut ());
    let layer = LayerMemory::new(sum, gradients, state);
    Some(scalars.write_first(machine, Moments::None, true, layer).sum_of_squares)
}

/// Replaces gradients by `gradient·g + decay·w`, the `h` of an update, and returns whether all are finite; `None` if a
/// scalar does not fit in `f32`.
pub(super) fn rescale(machine: Machine, update: &Update, gradients: &mut [f32], weights: &[f32]) -> Option<bool> {
    let scalars = Coefficients::in_f32(update)?;
    stream::rescale(machine.backend, scalars.prescale, scalars.affine(), gradients, weights);
    Some(is_finite(machine, Floats::F32(gradients)))
}
