//! What is decided for a step as a whole.

use super::double::{div, less};
use crate::error::{ConfigError, check};

/// What is decided for a step as a whole; [`Optimizer::with_policy`](crate::Optimizer::with_policy) takes it.
///
/// Use it with a loss scale, so that an overflow skips the whole step, and to clip the global gradient norm:
///
/// ```text
/// clip = min(1, clip_norm / |g|)     |g| is the norm over all layers
/// ```
///
/// By default there is no clip, and a layer with a NaN is skipped alone.
///
/// With any other policy than the default, a step has two phases: first the norms of all layers, then their updates.
/// Nothing is written before the decision.
///
/// ```
/// use layerwise::settings::NonFinite;
/// use layerwise::{LayerMemory, Outcome, Policy, Report, Sgd, SgdConfig, SgdState};
///
/// let policy = Policy { non_finite: NonFinite::SkipStep, ..Policy::DEFAULT };
/// let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap().with_policy(policy).unwrap();
/// let (mut kernel, mut bias, mut states) = ([1.0; 2], [1.0], [SgdState::default(); 2]);
/// let [kernel_state, bias_state] = &mut states;
/// let mut model = [
///     LayerMemory::new(&mut kernel, &[1.0, 2.0], kernel_state),
///     LayerMemory::new(&mut bias, &[f32::NAN], bias_state),
/// ];
/// let mut reports = [Report::ABSENT; 2];
/// let summary = sgd.step(0.1, &mut model, &mut reports)?;
/// assert_eq!((summary.applied, summary.skipped), (0, 2));
/// assert_eq!(reports.map(|report| report.outcome), [Outcome::StepSkipped, Outcome::NonFinite]);
/// assert_eq!(kernel, [1.0; 2]);
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// Fields may be added: write `..Policy::DEFAULT`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// What happens when a layer has a NaN or an infinity.
    pub non_finite: NonFinite,
    /// The largest global gradient norm, greater than 0.
    ///
    /// If the norm over all layers that are not frozen is larger, each gradient is multiplied by `clip_norm` divided by
    /// that norm before the rule sees it. Source: Pascanu, Mikolov and Bengio, *On the difficulty of training recurrent
    /// neural networks* (2013), algorithm 1. Like OpenSeq2Seq, this crate refuses it together with LARC. Layers whose
    /// measured norms are not finite are not part of the norm; layers that are skipped for other reasons are.
    pub clip_norm: Option<f64>,
}

/// What a step does when a layer has a NaN or an infinity in the numbers that its rule reads: `SkipLayer` by default,
/// `SkipStep` with a loss scale. [`Outcome`](crate::Outcome) says when to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum NonFinite {
    /// That layer stays as it was, and the others are updated. Its [`Report`](crate::Report) and the
    /// [`Summary`](crate::Summary) say so. The step counts for the [schedule](crate::schedule::Schedule).
    SkipLayer,
    /// All layers stay as they were, as dynamic loss scaling requires. This also happens if a planned step overflows
    /// `f32`. The step does not count. (A new weight that is not finite is found only after the write, under either
    /// policy.)
    SkipStep,
}

impl Policy {
    /// Skips single layers, and does not clip:
    ///
    /// ```
    /// use layerwise::{Policy, settings::NonFinite};
    ///
    /// assert_eq!(Policy::DEFAULT, Policy { non_finite: NonFinite::SkipLayer, clip_norm: None });
    /// ```
    pub const DEFAULT: Policy = Policy { non_finite: NonFinite::SkipLayer, clip_norm: None };

    pub(crate) const fn check(&self) -> Result<(), ConfigError> {
        if let Some(value) = self.clip_norm {
            check!(ConfigError::unless_positive("clip_norm", value));
        }
        Ok(())
    }

    /// What gradients with this norm over the whole model are multiplied by.
    #[inline]
    pub(crate) fn clip(&self, gradient_norm: f64) -> f64 {
        match self.clip_norm {
            Some(limit) if less(limit, gradient_norm) => div(limit, gradient_norm),
            _ => 1.0,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Policy::DEFAULT
    }
}
