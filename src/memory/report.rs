//! What a step did: to one layer, and to all.

use core::fmt;

/// What happened to one layer in one step. Read [`applied`](Report::applied) or the [outcome](Report::outcome) after
/// each step: a layer that could not be updated is no error.
///
/// OpenSeq2Seq calls these numbers `larc_summaries`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The norm of the gradient (of gradient plus decay, or the maximum norm, where the rule is so configured), scaled
    /// by the step's [`gradient_scale`](crate::Step::gradient_scale), before clipping.
    pub gradient_norm: f64,
    /// The L2 norm of the weights before the step; NaN where the rule does not look at it.
    pub weight_norm: f64,
    /// What the rule multiplied the gradient by: LARC's factor, NovoGrad's `1/(√v + ε)`; 1 where nothing adapts.
    pub factor: f64,
    /// The learning rate that the layer's multiplier and LARC or LUC have left.
    pub effective_rate: f64,
    /// Whether LARC or LUC held the rate below the one that was asked for.
    pub clipped: bool,
    /// Whether the layer was updated, and if not, why.
    pub outcome: Outcome,
    /// Whether the norm of this gradient is part of the norm of the model's gradient.
    pub(crate) counts: bool,
}

/// Whether a layer was updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Weights, moments and state have been updated.
    Applied,
    /// Weights, moments and state have been updated, but a new weight is infinite or NaN: the step left the range of
    /// `f32`, or the momentum was not finite. Load a checkpoint, and lower the rate or clip the gradient.
    Overflowed,
    /// A NaN or an infinity was found in the numbers that the rule reads. Nothing was written.
    NonFinite,
    /// The step would need scalars beyond the range of `f32`. Nothing was written.
    OutOfRange,
    /// The layer is [frozen](crate::LayerConfig::frozen). Nothing was read or written, and the norms of the report are
    /// NaN.
    Frozen,
    /// The model did not lend the layer, say because it has no gradient. The norms of the report are NaN.
    Absent,
    /// Another layer could not be updated, and the [policy](crate::Policy) skips the whole step then. Nothing was
    /// written.
    StepSkipped,
}

impl Outcome {
    /// Whether the layer could not be updated, which skips the whole step if the policy says so.
    pub(crate) const fn is_bad(self) -> bool {
        matches!(self, Outcome::NonFinite | Outcome::OutOfRange)
    }
}

impl Report {
    /// The report of a layer that took no part: norms NaN, factor 1, rate 0. The default, to fill an array with.
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

/// What a step over many layers did. If layers were skipped or overflowed, training goes on, and their reports say why.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// How many layers have been updated, with finite weights.
    pub applied: usize,
    /// How many layers were left as they were although they are neither frozen nor absent; their reports say why.
    pub skipped: usize,
    /// How many layers have been updated and now have a weight that is not finite.
    pub overflowed: usize,
    /// The norm of the gradient norms of all layers whose norms are finite: the global gradient norm, before clipping.
    pub gradient_norm: f64,
    /// What all gradients were multiplied by to clip them; 1 if they were not.
    pub clip: f64,
}
