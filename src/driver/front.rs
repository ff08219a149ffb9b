//! LARC in front of the host's optimizer.

use super::apply::rescale;
use super::measure::norms;
use crate::error::{Argument, Error, check_length, is_non_negative};
use crate::kernel::machine::Machine;
use crate::memory::layer::LayerView;
use crate::memory::report::{Outcome, Report};
use crate::rules::larc::{Larc, LarcFactor};
use crate::rules::step::Step;
use crate::rules::update::Update;

impl Larc {
    /// Replaces the gradients of a layer with `factor·(g + decay·w)`, for a host optimizer that does the rest.
    ///
    /// The host must not apply weight decay again. If gradients or weights are not finite, nothing is written, and the
    /// report says so: skip the layer.
    ///
    /// # Errors
    ///
    /// [`Error::Length`], [`Error::LearningRate`] and [`Error::Decay`]; then nothing is written.
    ///
    /// ```
    /// use layerwise::norms::l2_norm;
    /// use layerwise::{Larc, LarcConfig};
    ///
    /// let larc = Larc::new(LarcConfig::DEFAULT).unwrap();
    /// let (weights, mut gradients) = ([0.3, 0.4], [300.0, 400.0]);
    /// let report = larc.scale_gradients(0.1, 0.0, &weights, &mut gradients)?;
    /// // No step moves a layer by more than 0.002 of its norm, whatever the gradient.
    /// assert!(report.clipped && 0.1 * l2_norm(&gradients) <= 0.002 * 0.5 * 1.000001);
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn scale_gradients(
        &self,
        lr: f64,
        decay: f64,
        weights: &[f32],
        gradients: &mut [f32],
    ) -> Result<Report, Error> {
        Step::new(lr).check()?;
        if !is_non_negative(decay) {
            return Err(Error::Decay { layer: None, decay });
        }
        check_length(Argument::Gradients, weights.len(), gradients.len())?;
        let machine = Machine::serial();
        let norms = norms(machine, self.needs(decay), 1.0, &LayerView::new(weights, &*gradients));
        let finite = norms.gradient.is_finite() && norms.weights.is_finite();
        let mut report = Report {
            gradient_norm: norms.gradient,
            weight_norm: norms.weights,
            effective_rate: lr,
            outcome: Outcome::NonFinite,
            counts: finite,
            ..Report::ABSENT
        };
        if !finite {
            return Ok(report);
        }
        let LarcFactor { factor, decay, clipped } = self.factor(lr, decay, &norms);
        let update = Update { gradient: factor, decay: factor * decay, ..Update::ZERO };
        match rescale(machine, &update, gradients, weights) {
            None => report.outcome = Outcome::OutOfRange,
            Some(finite) => {
                let outcome = if finite { Outcome::Applied } else { Outcome::Overflowed };
                report = Report { factor, clipped, effective_rate: factor * lr, outcome, ..report };
            }
        }
        Ok(report)
    }
}
