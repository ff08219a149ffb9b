//! The interface between a layer-wise rule, which sees only scalars, and the driver, which sees only memory.

use super::layer::LayerConfig;
use super::update::Update;
use core::fmt::Debug;

/// A layer-wise rule: norms in, an [`Update`] out.
///
/// A rule is scalar code. [`Optimizer`](crate::Optimizer) turns it into training steps: it measures the norms that the
/// rule [`needs`](Rule::needs), calls [`plan`](Rule::plan), and applies the update with the crate's kernels. So your
/// own rule gets models, threads, clipping, loss scales and pieces for free.
///
/// # Example
///
/// Normalised gradient descent with momentum, `m = beta·m + g/|g|`, `w = w − lr·m`:
///
/// ```
/// use layerwise::rule::{Moments, Needs, Norms, Plan, Rule, Update};
/// use layerwise::{LayerConfig, LayerMemory, Optimizer};
///
/// struct Normalised {
///     beta: f64,
/// }
///
/// impl Rule for Normalised {
///     type State = ();
///     const MOMENTS: Moments = Moments::First;
///
///     fn needs(&self, _: &LayerConfig) -> Needs {
///         Needs::GRADIENT
///     }
///
///     fn plan(&self, lr: f64, _: &LayerConfig, norms: &Norms, (): ()) -> (Plan, ()) {
///         let factor = if norms.gradient == 0.0 { 1.0 } else { 1.0 / norms.gradient };
///         let update = Update { gradient: factor, momentum: self.beta, rate: lr, ..Update::ZERO };
///         (Plan::new(update, lr).factor(factor), ())
///     }
/// }
///
/// let (mut weights, mut momentum) = ([1.0, 1.0], [0.0; 2]);
/// let optimizer = Optimizer::from_rule(Normalised { beta: 0.9 });
/// optimizer.step_layer(0.5, LayerMemory::new(&mut weights, &[3e30, 4e30], &mut ()).momentum(&mut momentum))?;
/// assert!((weights[0] - 0.7_f32).abs() < 1e-6 && (weights[1] - 0.6_f32).abs() < 1e-6);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub trait Rule {
    /// What the rule remembers about a layer besides its moments: a few scalars in the caller's memory. The default is
    /// the state before the first step.
    type State: RuleState;

    /// The most moments that this rule can keep. Code for more is not linked into a program that uses this rule alone.
    const MOMENTS: Moments;

    /// The moments that the rule keeps with its current settings: at most [`MOMENTS`](Rule::MOMENTS).
    fn moments(&self) -> Moments {
        Self::MOMENTS
    }

    /// The norms that [`plan`](Rule::plan) and [`limit`](Rule::limit) need.
    fn needs(&self, layer: &LayerConfig) -> Needs;

    /// Decides the update of a layer, and its next state. `lr` is the learning rate times the layer's multiplier. The
    /// requested norms are finite.
    ///
    /// The next state is kept only if the update is applied.
    fn plan(&self, lr: f64, layer: &LayerConfig, norms: &Norms, state: Self::State) -> (Plan, Self::State);

    /// Adjusts a plan to the norm of its step; called if [`Needs::step`] asks for that norm.
    fn limit(&self, lr: f64, layer: &LayerConfig, norms: &Norms, plan: Plan, step: f64) -> Plan {
        let _ = (lr, layer, norms, step);
        plan
    }

    /// Whether a step of the rule can have produced this state; a step refuses other states.
    fn accepts(&self, state: Self::State) -> bool {
        let _ = state;
        true
    }

    /// Whether gradients may be clipped to a global norm before the rule sees them. The rules of this crate do not
    /// allow it with LARC, or if their gradient norm is not the L2 norm; they do with a limit of the step.
    fn allows_clipping(&self) -> bool {
        true
    }
}

/// The state of a rule for one layer: at most three numbers, all 0 before the first step, so that every checkpoint
/// format, and every language, can hold it.
///
/// `()`, `u32` and `[f64; 3]` implement it.
pub trait RuleState: Copy + Default + PartialEq + Debug + Send + 'static {
    /// The state as numbers.
    fn to_numbers(self) -> [f64; 3];

    /// The state with these numbers; `None` if no step can have produced them.
    fn from_numbers(numbers: [f64; 3]) -> Option<Self>;
}

impl RuleState for () {
    fn to_numbers(self) -> [f64; 3] {
        [0.0; 3]
    }

    fn from_numbers(numbers: [f64; 3]) -> Option<Self> {
        (numbers == [0.0; 3]).then_some(())
    }
}

impl RuleState for u32 {
    fn to_numbers(self) -> [f64; 3] {
        [self.into(), 0.0, 0.0]
    }

    fn from_numbers(numbers: [f64; 3]) -> Option<Self> {
        let count = numbers[0] as u32;
        (numbers == count.to_numbers()).then_some(count)
    }
}

impl RuleState for [f64; 3] {
    fn to_numbers(self) -> [f64; 3] {
        self
    }

    fn from_numbers(numbers: [f64; 3]) -> Option<Self> {
        numbers.iter().all(|number| number.is_finite()).then_some(numbers)
    }
}

/// The arrays that a rule keeps in addition to the weights, each as long as the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Moments {
    /// None.
    None,
    /// The momentum.
    First,
    /// The momentum and the second moment.
    FirstAndSecond,
}

/// The norms that a rule needs.
///
/// ```
/// use layerwise::rule::{GradientNorm, Needs, StepNorm};
///
/// const NEEDS: Needs = Needs::GRADIENT.weights().step(StepNorm::Momentum);
/// assert_eq!(NEEDS.gradient, GradientNorm::L2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Needs {
    /// Which norm of the gradient. There is always one, because it also finds NaN and infinity.
    pub gradient: GradientNorm,
    /// Whether the rule needs the L2 norm of the weights.
    pub weights: bool,
    /// Which norm of the planned step, before the step is taken; it may be none.
    pub step: StepNorm,
}

impl Needs {
    /// The L2 norm of the gradient, and no other.
    pub const GRADIENT: Needs = Needs { gradient: GradientNorm::L2, weights: false, step: StepNorm::None };

    /// Sets the norm of the gradient.
    #[must_use]
    pub const fn gradient(self, gradient: GradientNorm) -> Self {
        Needs { gradient, ..self }
    }

    /// Adds the norm of the weights.
    #[must_use]
    pub const fn weights(self) -> Self {
        Needs { weights: true, ..self }
    }

    /// Sets the norm of the step.
    #[must_use]
    pub const fn step(self, step: StepNorm) -> Self {
        Needs { step, ..self }
    }
}

/// The norm of the gradient that a rule needs.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum GradientNorm {
    /// `√(Σ gᵢ²)`.
    L2,
    /// `max |gᵢ|`.
    Max,
    /// `√(Σ (s·gᵢ + decay·wᵢ)²)` with the gradient scale `s`, each operation rounded to `f32`; infinite if `decay` or
    /// `s` is not a finite `f32`.
    L2WithDecay(f64),
}

/// The norm of a planned step that a rule needs before the step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepNorm {
    /// None.
    None,
    /// The L2 norm of the new momentum (without momentum, that of `h`, see [`Update`]), for NeMo's LUC.
    Momentum,
    /// The L2 norm of everything that the plan would subtract from the weights (`u`, see [`Update`]), for LAMB.
    Step,
}

/// The norms of a layer before a step.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Norms {
    /// The requested norm of the gradient, after scaling and clipping.
    pub gradient: f64,
    /// The L2 norm of the weights; NaN if it was not requested.
    pub weights: f64,
}

impl Norms {
    /// Norms that are known.
    pub const fn new(gradient: f64, weights: f64) -> Self {
        Norms { gradient, weights }
    }
}

/// What a rule decided for a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// What to do to the layer's memory.
    pub update: Update,
    /// What the gradient is multiplied by, for the report.
    pub factor: f64,
    /// The rate after adaptation, for the report.
    pub effective_rate: f64,
    /// Whether the adaptation lowered the rate, for the report.
    pub clipped: bool,
}

impl Plan {
    /// A plan with factor 1 that is not clipped.
    #[inline]
    pub const fn new(update: Update, effective_rate: f64) -> Self {
        Plan { update, factor: 1.0, effective_rate, clipped: false }
    }

    /// Sets the factor for the report.
    #[inline]
    #[must_use]
    pub const fn factor(self, factor: f64) -> Self {
        Plan { factor, ..self }
    }

    /// Sets whether the rate was clipped, for the report.
    #[inline]
    #[must_use]
    pub const fn clipped(self, clipped: bool) -> Self {
        Plan { clipped, ..self }
    }
}
