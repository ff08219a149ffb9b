//! What a step tells about one layer.

/// What happened to one layer in one step.
///
/// OpenSeq2Seq calls these numbers `larc_summaries`. The layout is C's, so that a host in another language can read it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Report {
    /// The norm of the gradient (of gradient plus decay, or the maximum norm, where the rule is so configured).
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
}

/// Whether a layer was updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Weights, momentum and state have been updated.
    Applied,
    /// A NaN or an infinity was found in the numbers that the rule reads. Nothing was written.
    NonFinite,
    /// The step would need scalars beyond the range of `f32`. Nothing was written.
    OutOfRange,
    /// The layer is [frozen](crate::Layer::frozen). Nothing was read or written, and the norms of the report are NaN.
    Frozen,
    /// Another layer was not finite, and the [policy](crate::Policy) skips the whole step then. Nothing was written.
    StepSkipped,
}

impl Report {
    /// The report of a frozen layer: norms NaN, factor 1, rate 0. The default, to fill an array with.
    pub const FROZEN: Report = Report {
        gradient_norm: f64::NAN,
        weight_norm: f64::NAN,
        factor: 1.0,
        effective_rate: 0.0,
        clipped: false,
        outcome: Outcome::Frozen,
    };

    /// Whether the layer was updated.
    pub fn applied(&self) -> bool {
        self.outcome == Outcome::Applied
    }
}

impl Default for Report {
    fn default() -> Self {
        Report::FROZEN
    }
}
