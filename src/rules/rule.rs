//! The interface between a layer-wise rule, which sees only scalars, and the driver, which sees only memory.

use crate::error::{Error, check_length};
use crate::kernel::join::Join;
use crate::kernel::max::max_abs;
use crate::kernel::norm::{self, Decayed, Plain};
use crate::{Layer, Slice, Update};

/// A layer-wise rule: norms in, an [`Update`] out.
///
/// A rule is scalar code. [`Optimizer`](crate::Optimizer) turns it into a training step: it measures the norms that the
/// rule [`needs`](Rule::needs), asks it to [`plan`](Rule::plan), and applies the update with the crate's kernels.
///
/// # Example
///
/// Normalised gradient descent, `w = w − lr·g/|g|`:
///
/// ```
/// use layerwise::{GradientNorm, Layer, Needs, Norms, Optimizer, Plan, Rule, Update};
///
/// struct Normalised;
///
/// impl Rule for Normalised {
///     type State = ();
///
///     fn keeps_momentum(&self) -> bool {
///         false
///     }
///
///     fn needs(&self, _: &Layer) -> Needs {
///         Needs { gradient: GradientNorm::L2, weights: false, new_momentum: false }
///     }
///
///     fn plan(&self, lr: f64, _: &Layer, norms: &Norms, _: &mut ()) -> Plan {
///         let factor = if norms.gradient == 0.0 { 1.0 } else { 1.0 / norms.gradient };
///         let update = Update { gradient: factor, direct: lr, ..Update::NONE };
///         Plan { update, factor, effective_rate: lr, clipped: false }
///     }
/// }
///
/// let mut weights = [1.0, 1.0];
/// Optimizer::from_rule(Normalised).step_layer(0.5, &mut weights, &[3e30, 4e30], &mut [], &mut ())?;
/// assert!((weights[0] - 0.7_f32).abs() < 1e-6 && (weights[1] - 0.6_f32).abs() < 1e-6);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Rule {
    /// What the rule remembers of a layer beside its momentum: a few scalars in the caller's memory, whose default is
    /// the state before the first step.
    type State: Copy + Default;

    /// Whether layers have a momentum as long as their weights.
    fn keeps_momentum(&self) -> bool;

    /// The norms that [`plan`](Rule::plan) will look at.
    fn needs(&self, layer: &Layer) -> Needs;

    /// Decides the update of a layer. `lr` is the learning rate times the layer's multiplier. The norms are finite.
    ///
    /// What is written to `state` is kept only if the update is applied.
    fn plan(&self, lr: f64, layer: &Layer, norms: &Norms, state: &mut Self::State) -> Plan;

    /// Whether the gradients of the whole model may be clipped to a global norm before the rule sees them. A rule says no if
    /// its gradient norm is not the plain L2 norm, or if it bounds the step of each layer itself.
    fn allows_clipping(&self) -> bool {
        true
    }

    /// Changes a plan in view of the norm of the momentum that it would write; called if
    /// [`Needs::new_momentum`] asks for it.
    fn limit(&self, lr: f64, norms: &Norms, plan: Plan, new_momentum_norm: f64) -> Plan {
        let _ = (lr, norms, new_momentum_norm);
        plan
    }
}

/// Which norms a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Needs {
    /// Which norm of the gradient. There always is one, for it also finds NaN and infinity.
    pub gradient: GradientNorm,
    /// Whether the L2 norm of the weights is needed.
    pub weights: bool,
    /// Whether the plan depends on the L2 norm of the momentum that it would write.
    pub new_momentum: bool,
}

/// Which norm of the gradient a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum GradientNorm {
    /// `√(Σ gᵢ²)`.
    L2,
    /// `max |gᵢ|`.
    Max,
    /// `√(Σ (gᵢ + decay·wᵢ)²)`, each term rounded to `f32`; infinite if `decay` is not a finite `f32`.
    L2WithDecay(f64),
}

/// The norms of a layer before a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norms {
    /// The norm of the gradient that was asked for.
    pub gradient: f64,
    /// The L2 norm of the weights, if it was asked for.
    pub weights: Option<f64>,
}

impl Norms {
    /// Whether nothing that was read has a NaN or an infinity.
    pub fn are_finite(&self) -> bool {
        self.gradient.is_finite() && self.weights.is_none_or(f64::is_finite)
    }
}

impl Needs {
    /// Measures the norms of a layer, in one pass where that is possible.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the lengths differ.
    pub fn measure(&self, weights: &[f32], gradients: &[f32]) -> Result<Norms, Error> {
        check_length(Slice::Gradients, weights.len(), gradients.len())?;
        Ok(self.measure_of(Join::Serial, weights, gradients))
    }

    /// [`measure`](Needs::measure) of slices that have been checked.
    pub(crate) fn measure_of(&self, join: Join, weights: &[f32], gradients: &[f32]) -> Norms {
        let of_weights = || {
            let [sum] = norm::sums_of_squares(join, Plain, [weights]);
            libm::sqrt(sum)
        };
        let (gradient, weights) = match (self.gradient, self.weights) {
            (GradientNorm::L2, false) => {
                let [sum] = norm::sums_of_squares(join, Plain, [gradients]);
                (libm::sqrt(sum), None)
            }
            (GradientNorm::L2, true) => {
                let sums = norm::sums_of_squares(join, Plain, [weights, gradients]);
                let [weights, gradient] = sums.map(libm::sqrt);
                (gradient, Some(weights))
            }
            // Such a sum has no norm, and zeros that pad a vector must not make NaN of it.
            (GradientNorm::L2WithDecay(decay), needed) if !(decay as f32).is_finite() => {
                (f64::INFINITY, needed.then(of_weights))
            }
            (GradientNorm::L2WithDecay(decay), needed) => {
                let sums = norm::sums_of_squares(join, Decayed(decay as f32), [weights, gradients]);
                let [weights, gradient] = sums.map(libm::sqrt);
                (gradient, needed.then_some(weights))
            }
            (GradientNorm::Max, needed) => (max_abs(join, gradients).into(), needed.then(of_weights)),
        };
        Norms { gradient, weights }
    }
}

/// What a rule decided for a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// What to do to the layer's memory.
    pub update: Update,
    /// What the gradient is multiplied by, for the report.
    pub factor: f64,
    /// The rate that the adaptation has left, for the report.
    pub effective_rate: f64,
    /// Whether the adaptation lowered the rate, for the report.
    pub clipped: bool,
}
