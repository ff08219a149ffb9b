//! Norms that are known before a step measures them.

/// Norms of a layer that earlier work has left, so that a step need not read the layer for them. The default knows none,
/// and the step measures what it needs.
///
/// - A step leaves the norm of the new weights, for rules that look at it (LARC, LARS, LUC): they then read the weights once
///   a step, not twice. Whoever changes the weights by other means must [`forget_weights`](CarriedNorms::forget_weights).
/// - [`accumulate`](crate::accumulate) returns the sum of squares of the gradient it has just written;
///   [`set_gradient`](CarriedNorms::set_gradient) hands it to the next step, which uses it once, even if the
///   layer is frozen.
///
/// Results have the same bits as without.
///
/// ```
/// use layerwise::{CarriedNorms, Larc, LarcConfig, Layer, LayerView, Sgd, SgdConfig, SgdState, l2_norm};
///
/// let larc = Larc::new(LarcConfig::DEFAULT).unwrap();
/// let sgd = Sgd::new(SgdConfig { larc: Some(larc), ..SgdConfig::DEFAULT }).unwrap();
/// let (mut weights, mut state, mut norms) = ([0.3, 0.4], SgdState::default(), CarriedNorms::default());
/// for _ in 0..3 {
///     sgd.step_view(0.1, LayerView {
///         layer: Layer::DEFAULT,
///         weights: &mut weights,
///         gradients: &[1.0, 2.0],
///         momentum: &mut [],
///         state: &mut state,
///         norms: Some(&mut norms),
///     })?;
///     assert_eq!(norms.weights(), Some(l2_norm(&weights)));
/// }
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CarriedNorms {
    pub(crate) weights: Option<f64>,
    pub(crate) gradient: Option<f64>,
}

impl CarriedNorms {
    /// The L2 norm of the weights, if it is known.
    pub fn weights(&self) -> Option<f64> {
        self.weights
    }

    /// The L2 norm of the gradient of the next step, if it is known.
    pub fn gradient(&self) -> Option<f64> {
        self.gradient
    }

    /// Makes the norm of the weights unknown.
    pub fn forget_weights(&mut self) {
        self.weights = None;
    }

    /// Makes the norm of the gradient unknown: for a host that changes a gradient whose norm it has told, say because the step was
    /// refused.
    pub fn forget_gradient(&mut self) {
        self.gradient = None;
    }

    /// Tells the next step the sum of squares of its gradient. Rules that look at another norm than the L2 norm ignore it.
    pub fn set_gradient(&mut self, sum_of_squares: f64) {
        self.gradient = Some(libm::sqrt(sum_of_squares));
    }
}
