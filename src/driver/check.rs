//! Checks of arguments, before the first write.

use super::measure::l2;
use super::numbers::weights;
use super::optimizer::Optimizer;
use super::tree::{Cover, Tree};
use crate::error::{Argument, Error, check_length, is_non_negative};
use crate::kernel::machine::Machine;
use crate::kernel::shape::LEAF;
#[cfg(feature = "half")]
use crate::memory::floats::Floats;
use crate::memory::layer::{LayerMemory, LayerView};
use crate::memory::model::Model;
use crate::memory::report::Report;
use crate::rules::double::mul;
use crate::rules::layer::LayerConfig;
use crate::rules::rule::{Moments, Rule, StepNorm};
use crate::rules::step::Step;

/// Checks the rate and decay of a layer. The step has been checked.
#[inline]
pub(super) fn check_config(lr: f64, config: &LayerConfig) -> Result<(), Error> {
    let rate = mul(lr, config.rate);
    if !is_non_negative(config.rate) || !is_non_negative(rate) {
        return Err(Error::LearningRate { layer: None, rate });
    }
    if is_non_negative(config.decay) { Ok(()) } else { Err(Error::Decay { layer: None, decay: config.decay }) }
}

/// Checks the moments of a layer of `len` weights: those that the rule keeps, and those that it does not.
#[inline]
pub(super) fn check_moments(moments: Moments, len: usize, [first, second]: [Option<usize>; 2]) -> Result<(), Error> {
    // (Not a loop: firmware would keep it, and constants would not fold.)
    check_moment(Argument::Momentum, moments >= Moments::First, len, first)?;
    check_moment(Argument::SecondMoment, moments >= Moments::FirstAndSecond, len, second)
}

#[inline]
fn check_moment(what: Argument, is_kept: bool, len: usize, found: Option<usize>) -> Result<(), Error> {
    let expected = if is_kept { len } else { 0 };
    match found.unwrap_or(0) {
        0 if expected > 0 => Err(Error::Missing { layer: None, what }),
        found => check_length(what, expected, found),
    }
}

/// Checks the types of the moments of a layer.
#[inline]
fn check_types(layer: &LayerView<'_>) -> Result<(), Error> {
    #[cfg(feature = "half")]
    {
        if matches!(layer.momentum, Some(Floats::F16(_))) {
            return Err(Error::of_type(Argument::Momentum, "f32 or bf16"));
        }
        if !matches!(layer.second_moment, None | Some(Floats::F32(_))) {
            return Err(Error::of_type(Argument::SecondMoment, "f32"));
        }
    }
    #[cfg(not(feature = "half"))]
    let _ = layer;
    Ok(())
}

/// Checks the arrays of (a chunk of) a layer that is to be read and written. `weights` is the result of checking the
/// weights.
#[inline(always)]
pub(super) fn check_arrays(moments: Moments, layer: &LayerView<'_>, weights: Result<(), Error>) -> Result<(), Error> {
    let len = layer.weights.len();
    check_length(Argument::Gradients, len, layer.gradients.len())?;
    check_moments(moments, len, layer.moment_lens())?;
    weights?;
    check_types(layer)
}

impl<R: Rule> Optimizer<R> {
    /// Checks one layer. The step has been checked. (Firmware inlines it: out of line the element types would be
    /// unknown, and the loops for all of them would be kept.)
    #[cfg_attr(all(feature = "half", any(target_arch = "arm", target_arch = "riscv32")), inline(always))]
    #[cfg_attr(not(all(feature = "half", any(target_arch = "arm", target_arch = "riscv32"))), inline)]
    pub(super) fn check_layer(&self, step: &Step, layer: &LayerMemory<'_, R::State>) -> Result<(), Error> {
        check_config(step.lr, &layer.config)?;
        if layer.config.frozen {
            return Ok(());
        }
        check_arrays(self.moments(), &layer.view(), layer.weights.check())?;
        if !self.rule.accepts(*layer.state) {
            return Err(Error::State { layer: None });
        }
        if cfg!(debug_assertions) { self.check_norm(&layer.view()) } else { Ok(()) }
    }

    /// Refuses a carried norm of the weights that the rule needs, and that is not the one measured here.
    fn check_norm(&self, layer: &LayerView<'_>) -> Result<(), Error> {
        let carried = layer.norms.weights().filter(|_| self.rule.needs(&layer.config).weights);
        let measured = || l2(Machine::serial(), weights(layer.weights));
        let is_stale = carried.is_some_and(|norm| norm.to_bits() != measured().to_bits());
        if is_stale { Err(Error::StaleNorm { layer: None }) } else { Ok(()) }
    }

    /// Checks a whole layer before it is measured. The step has been checked.
    pub(super) fn check_whole(&self, step: &Step, layer: &LayerView<'_>) -> Result<(), Error> {
        self.check_view(step, layer)?;
        if cfg!(debug_assertions) && !layer.config.frozen { self.check_norm(layer) } else { Ok(()) }
    }

    /// Checks (a chunk of) one layer before it is measured. The step has been checked.
    pub(super) fn check_view(&self, step: &Step, layer: &LayerView<'_>) -> Result<(), Error> {
        check_config(step.lr, &layer.config)?;
        if layer.config.frozen {
            return Ok(());
        }
        let len = layer.weights.len();
        check_length(Argument::Gradients, len, layer.gradients.len())?;
        layer.weights.check()?;
        check_types(layer)?;
        let found = layer.moment_lens();
        if self.reads_moments(&layer.config) {
            return check_moments(self.moments(), len, found);
        }
        // A view may have moments that are not read here, but their lengths must be right.
        for (what, found) in [Argument::Momentum, Argument::SecondMoment].into_iter().zip(found) {
            found.filter(|&found| found > 0).map_or(Ok(()), |found| check_length(what, len, found))?;
        }
        Ok(())
    }

    /// Whether the first phase must read the moments. A rule that limits its step reads them in the second phase, when
    /// it is too late to skip the step.
    pub(super) fn reads_moments(&self, config: &LayerConfig) -> bool {
        self.skips_steps() && self.moments() != Moments::None && self.rule.needs(config).step != StepNorm::None
    }

    /// Checks a model and prepares its reports.
    #[inline]
    pub(super) fn check_model(
        &self,
        step: &Step,
        model: &mut (impl Model<R::State> + ?Sized),
        reports: &mut [Report],
    ) -> Result<(), Error> {
        step.check()?;
        let count = model.count();
        check_length(Argument::Reports, count, reports.len())?;
        model.check()?;
        let mut checked = Ok(());
        for index in 0..count {
            model.layer(index, |layer| {
                if checked.is_ok()
                    && let Err(error) = self.check_layer(step, &layer)
                {
                    checked = Err(error.in_layer(index));
                }
            });
        }
        checked?;
        // A layer that the model does not lend keeps this report.
        reports.fill(Report::ABSENT);
        Ok(())
    }
}

/// Checks where a chunk begins, and that it has a sum for each leaf. Returns the leaves of the chunk.
pub(super) fn check_leaves(start: usize, len: usize, sums: usize) -> Result<Cover, Error> {
    check_start(start)?;
    check_length(Argument::Sums, len.div_ceil(LEAF), sums)?;
    Ok(Cover::leaf_by_leaf(sums))
}

/// Checks where a chunk of an array of `len` elements begins and ends, and that it has a sum for each node. An empty
/// chunk may begin at the end of the array.
pub(super) fn check_subtrees(len: usize, start: usize, chunk: usize, sums: usize) -> Result<Cover, Error> {
    if start != len {
        check_start(start)?;
    }
    let rest = len.saturating_sub(start);
    if chunk > rest {
        return Err(Error::Length { layer: None, what: Argument::Chunk, expected: rest, found: chunk });
    }
    if chunk < rest {
        check_start(start + chunk)?;
    }
    let cover = Tree::of_len(len).cover(start / LEAF..start / LEAF + chunk.div_ceil(LEAF));
    check_length(Argument::Sums, cover.len(), sums)?;
    Ok(cover)
}

fn check_start(start: usize) -> Result<(), Error> {
    if start.is_multiple_of(LEAF) { Ok(()) } else { Err(Error::OffLeaf { start }) }
}
