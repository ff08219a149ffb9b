//! What a step did: to one layer, and to all.

use core::fmt;

/// What happened to one layer in one step. Check the [outcome](Report::outcome) after each step: a layer that could not
/// be updated is not an error. [`Outcome`] says when to stop.
///
/// OpenSeq2Seq calls these numbers `larc_summaries`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The norm of the gradient (of gradient plus decay, or the maximum norm, if the rule is configured that way),
    /// scaled by the step's [`gradient_scale`](crate::Step::gradient_scale), before clipping.
    pub gradient_norm: f64,
    /// The L2 norm of the weights before the step; NaN if the rule does not need it.
    pub weight_norm: f64,
    /// What the rule multiplied the gradient by: LARC's factor, NovoGrad's `1/(√v + ε)`, or their product; 1 without
    /// adaptation. (LAMB's ratio is part of the effective rate.)
    pub factor: f64,
    /// The learning rate after the layer's multiplier, LARC, LUC and LAMB's ratio. (Adam divides LARC's factor out
    /// again, so there it is in `factor` only.)
    pub effective_rate: f64,
    /// Whether LARC or LUC reduced the requested rate.
    pub clipped: bool,
    /// Whether the layer was updated, and if not, why.
    pub outcome: Outcome,
    /// Whether the norm of this gradient is part of the global gradient norm.
    pub(crate) counts: bool,
}

/// Whether a layer was updated. No outcome is an error, and nothing is printed: check the outcomes of each step, or its
/// [`Summary`].
///
/// - [`Overflowed`](Outcome::Overflowed): stop. Load a checkpoint, and lower the rate or clip the gradient.
/// - [`NonFinite`](Outcome::NonFinite), [`OutOfRange`](Outcome::OutOfRange), [`StepSkipped`](Outcome::StepSkipped): the
///   layer was skipped. Continue; with a loss scale this happens now and then.
/// - If something was skipped in 20 steps in a row, stop, as above. (20 is a recommendation.)
///
/// A [table](crate::docs::what_it_is_not#a-nan-and-when-to-stop) lists what leads to each outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Weights, moments and state have been updated.
    Applied,
    /// Weights, moments and state have been updated, but a new weight is infinite or NaN: the step left the range of
    /// `f32`, or numbers that the rule does not read were not finite. Stop.
    Overflowed,
    /// There is a NaN or an infinity in the numbers that the rule reads. Nothing was written.
    NonFinite,
    /// The step needs scalars beyond the range of `f32`. Nothing was written.
    OutOfRange,
    /// The layer is [frozen](crate::LayerConfig::frozen). Nothing was read or written, and the norms of the report are
    /// NaN.
    Frozen,
    /// The model did not lend the layer, say because it has no gradient. The norms of the report are NaN.
    Absent,
    /// Another layer could not be updated, and the [policy](crate::Policy) skips the whole step in that case. Nothing
    /// was written.
    StepSkipped,
}

impl Outcome {
    /// Whether the layer could not be updated, which skips the whole step if the policy says so.
    pub(crate) const fn is_bad(self) -> bool {
        matches!(self, Outcome::NonFinite | Outcome::OutOfRange)
    }
}

impl Report {
    /// The report of a layer that took no part: norms NaN, factor 1, rate 0. This is the default, for filling an array.
    pub const ABSENT: Report = Report {
        gradient_norm: f64::NAN,
        weight_norm: f64::NAN,
        factor: 1.0,
        effective_rate: 0.0,
        clipped: false,
        outcome: Outcome::Absent,
        counts: false,
    };

    /// The report of a frozen layer, otherwise like [`ABSENT`](Report::ABSENT).
    pub const FROZEN: Report = Report { outcome: Outcome::Frozen, ..Report::ABSENT };

    /// Whether the layer was updated, and all its new weights are finite.
    #[inline]
    pub fn applied(&self) -> bool {
        self.outcome == Outcome::Applied
    }
}

impl Default for Report {
    fn default() -> Self {
        Report::ABSENT
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Applied => "applied",
            Outcome::Overflowed => "applied, but a new weight is not finite",
            Outcome::NonFinite => "skipped: a NaN or an infinity",
            Outcome::OutOfRange => "skipped: the step is beyond the range of f32",
            Outcome::Frozen => "frozen",
            Outcome::Absent => "took no part",
            Outcome::StepSkipped => "skipped, because another layer could not be updated",
        })
    }
}

/// What a step over many layers did. Stop if a layer has overflowed, or if layers were skipped in 20 steps in a row;
/// otherwise continue. Their reports say why, and [`Outcome`] has the full rule.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// How many layers have been updated, with finite weights.
    pub applied: usize,
    /// How many layers were not updated although they are neither frozen nor absent; their reports say why.
    pub skipped: usize,
    /// How many layers have been updated and now have a weight that is not finite.
    pub overflowed: usize,
    /// The global gradient norm, before clipping: the L2 norm of the gradient norms of all layers whose measured norms
    /// are finite.
    pub gradient_norm: f64,
    /// What all gradients were multiplied by to clip them; 1 without clipping.
    pub clip: f64,
}
