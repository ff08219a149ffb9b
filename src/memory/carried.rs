//! Norms that are known before a step measures them.

use crate::rules::double;

/// Norms of a layer that are already known, so that a step need not read the layer to compute them. By default none is
/// known, and the step measures what it needs.
///
/// - A step stores the norm of the new weights, for rules that need it (LARC, LARS, LUC): they then read the weights
///   once per step, not twice. If you change the weights in any other way, say by clamping or loading them, or in
///   [chunks](crate::pieces::Planned::apply), call [`forget_weights`](CarriedNorms::forget_weights). If you forget,
///   builds with debug assertions refuse the step with [`Error::StaleNorm`](crate::Error::StaleNorm).
/// - [`accumulate`](crate::accumulate) returns the sum of squares of the gradient it has just written;
///   [`set_gradient`](CarriedNorms::set_gradient) passes it to the next step, which uses it once, even if the layer is
///   frozen.
///
/// Results have the same bits with and without carried norms. They pay off for layers of a few thousand elements or
/// more.
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
/// The default is all zeros: a norm of 0 counts as unknown, because it is quickly measured. The layout is that of C:
/// two norms, that of the weights first.
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

    /// Makes the norm of the gradient unknown. Call this if you change a gradient whose norm you have set, say because
    /// the step was refused.
    #[inline]
    pub fn forget_gradient(&mut self) {
        self.gradient = UNKNOWN;
    }

    /// Sets the sum of squares of the gradient of the next step. Rules that need another norm of it than the L2
    /// norm ignore this.
    pub fn set_gradient(&mut self, sum_of_squares: f64) {
        self.gradient = double::sqrt(sum_of_squares);
    }

    /// Sets the sum of squares of the weights, as [`sum_of_squares`](crate::sum_of_squares) gives it.
    #[inline]
    pub fn set_weights(&mut self, sum_of_squares: f64) {
        self.weights = double::sqrt(sum_of_squares);
    }
}

/// A norm greater than 0. (Not a NaN: the step measures it again, and gets NaN.)
#[inline]
fn known(norm: f64) -> Option<f64> {
    // Compares bits, for processors without `f64`.
    (1..=f64::INFINITY.to_bits()).contains(&norm.to_bits()).then_some(norm)
}
