//! Norms that are known before a step measures them.

use crate::rules::double;

/// Norms of a layer that earlier work has left, so that a step need not read the layer for them. The default knows
/// none, and the step measures what it needs.
///
/// - A step leaves the norm of the new weights, for rules that look at it (LARC, LARS, LUC): they then read the weights
///   once a step, not twice. If you change the weights by other means, say by clamping or loading them, call
///   [`forget_weights`](CarriedNorms::forget_weights). Builds with debug assertions measure anyway and refuse the step
///   by [`Error::StaleNorm`](crate::Error::StaleNorm) if you did not.
/// - [`accumulate`](crate::accumulate) returns the sum of squares of the gradient it has just written;
///   [`set_gradient`](CarriedNorms::set_gradient) passes it to the next step, which uses it once, even if the layer is
///   frozen.
///
/// Results have the same bits as without. It is worth the trouble for layers of some thousand elements and more.
///
/// ```
/// use layerwise::norms::{CarriedNorms, l2_norm};
/// use layerwise::{LarcConfig, LayerMemory, Sgd, SgdConfig, SgdState};
///
/// let sgd = Sgd::new(SgdConfig { larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT }).unwrap();
/// let (mut weights, mut state, mut norms) = ([0.3; 4096], SgdState::default(), CarriedNorms::default());
/// for _ in 0..3 {
///     sgd.step_layer(0.1, LayerMemory::new(&mut weights, &[1.0; 4096], &mut state).norms(&mut norms))?;
///     assert_eq!(norms.weights(), Some(l2_norm(&weights)));
/// }
/// # Ok::<(), layerwise::Error>(())
/// ```
///
/// All zeros is the default: a norm of 0 counts as unknown, for it is quickly measured. In memory it is the two norms,
/// that of the weights first, as C would have them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct CarriedNorms {
    weights: f64,
    gradient: f64,
}

const UNKNOWN: f64 = 0.0;

impl CarriedNorms {
    /// Nothing is known.
    pub const fn new() -> Self {
        CarriedNorms { weights: UNKNOWN, gradient: UNKNOWN }
    }

    /// The L2 norm of the weights, if it is known.
    #[inline]
    pub fn weights(&self) -> Option<f64> {
        known(self.weights)
    }

    /// The L2 norm of the gradient of the next step, if it is known.
    #[inline]
    pub fn gradient(&self) -> Option<f64> {
        known(self.gradient)
    }

    /// Makes the norm of the weights unknown.
    #[inline]
    pub fn forget_weights(&mut self) {
        self.weights = UNKNOWN;
    }

    /// Makes the norm of the gradient unknown: for a host that changes a gradient whose norm it has set, say because
    /// the step was refused.
    #[inline]
    pub fn forget_gradient(&mut self) {
        self.gradient = UNKNOWN;
    }

    /// Sets the sum of squares of the gradient of the next step. Rules that look at another norm than the L2 norm
    /// ignore it.
    pub fn set_gradient(&mut self, sum_of_squares: f64) {
        self.gradient = double::sqrt(sum_of_squares);
    }

    /// Sets the sum of squares of the weights, as [`sum_of_squares`](crate::sum_of_squares) gives it.
    #[inline]
    pub fn set_weights(&mut self, sum_of_squares: f64) {
        self.weights = double::sqrt(sum_of_squares);
    }
}

/// A norm that is greater than 0. (Of NaN the step will measure NaN again.)
#[inline]
fn known(norm: f64) -> Option<f64> {
    // As bits, for a processor without f64.
    (1..=f64::INFINITY.to_bits()).contains(&norm.to_bits()).then_some(norm)
}
