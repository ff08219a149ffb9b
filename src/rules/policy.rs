//! What is decided for all layers of a step together.

use crate::ConfigError;

/// What is decided for all layers of a step together; [`Optimizer::with_policy`](crate::Optimizer::with_policy) takes it.
///
/// With anything but the default a step has two phases: first the norms of all layers, then their updates. Nothing is
/// written before the decision.
///
/// ```
/// use layerwise::{LayerSpan, Layers, ModelState, NonFinite, Outcome, Policy, Report, Sgd, SgdConfig, SgdState};
///
/// let policy = Policy { non_finite: NonFinite::SkipStep, ..Policy::DEFAULT };
/// let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap().with_policy(policy).unwrap();
/// let spans = LayerSpan::contiguous([2, 1]);
/// let layers = Layers::new(&spans, 3).unwrap();
/// let (mut weights, mut states, mut reports) = ([1.0; 3], [SgdState::default(); 2], [Report::default(); 2]);
///
/// let state = ModelState { momentum: &mut [], states: &mut states, norms: &mut [] };
/// let summary = sgd.step(0.1, &layers, &mut weights, &[1.0, 2.0, f32::NAN], state, &mut reports)?;
/// assert_eq!((weights, summary.applied, summary.skipped), ([1.0; 3], 0, 2));
/// assert_eq!([reports[0].outcome, reports[1].outcome], [Outcome::StepSkipped, Outcome::NonFinite]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Policy {
    /// What happens when a layer has a NaN or an infinity.
    pub non_finite: NonFinite,
    /// The norm to which the gradient of the whole model is clipped, greater than 0.
    ///
    /// If the norm over all layers that are not frozen is larger, each gradient is multiplied by `clip_norm` over that
    /// norm before its rule sees it. Source: Pascanu, Mikolov and Bengio, *On the difficulty of training recurrent neural
    /// networks* (2013), algorithm 1. OpenSeq2Seq refuses it together with LARC, and so does this crate. Where layers with
    /// a NaN or an infinity are skipped one by one, they do not count.
    pub clip_norm: Option<f64>,
}

/// What a step does when a layer has a NaN or an infinity in the numbers that its rule reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum NonFinite {
    /// That layer is left as it was, the others are updated.
    SkipLayer,
    /// All layers are left as they were, as dynamic loss scaling wants.
    SkipStep,
}

impl Policy {
    /// Skip single layers, do not clip.
    pub const DEFAULT: Policy = Policy { non_finite: NonFinite::SkipLayer, clip_norm: None };

    pub(crate) fn check(&self, may_clip: bool) -> Result<(), ConfigError> {
        let Some(value) = self.clip_norm else { return Ok(()) };
        ConfigError::unless_positive("clip_norm", value)?;
        if may_clip {
            return Ok(());
        }
        Err(ConfigError { setting: "clip_norm", value, allowed: "none with this rule" })
    }

    /// What gradients with this norm over the whole model are multiplied by.
    #[inline]
    pub(crate) fn clip(&self, gradient_norm: f64) -> f64 {
        match self.clip_norm {
            Some(limit) if gradient_norm > limit => limit / gradient_norm,
            _ => 1.0,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy::DEFAULT
    }
}
