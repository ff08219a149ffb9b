//! A limit of the step by the norm of the weights, for every rule.

use super::double::{is_zero, less};
use crate::error::{ConfigError, check};

/// Layer-wise update clipping: no step moves a layer by more than `trust` of its norm. Use it where the learning rate
/// rises, or to limit the damage of a single bad batch. It belongs in the `luc` of a rule's settings.
///
/// ```text
/// w = w − min(lr, trust·|w| / (|u| + eps))·u    u: the step that the rule would take at rate 1
/// ```
///
/// It acts after the momentum and before the weights, so it also limits what earlier, larger gradients left in the
/// momentum, and makes a rising rate safe under [`LarcMode::Clip`](crate::LarcMode::Clip). There, try
/// [`rate_in_momentum`](crate::SgdConfig::rate_in_momentum) first, which costs nothing: a limit needs the norm of the
/// step before the step is taken, which costs one more pass over the layer. NeMo has it in NovoGrad and calls it LUC;
/// bitsandbytes has it in LARS. By default `trust` is 0.001 and `eps` 1e-8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Luc {
    /// The largest norm of a step, relative to the norm of the layer's weights. Greater than 0.
    pub trust: f64,
    /// A term of the denominator that keeps it from zero. At least 0.
    pub eps: f64,
    /// Whether a layer of zeros always stays zero, as in NeMo. If not, it takes the plain step.
    pub freezes_zeros: bool,
}

impl Luc {
    /// NeMo's numbers, and the plain step for layers of zeros:
    ///
    /// ```
    /// use layerwise::settings::Luc;
    ///
    /// assert_eq!(Luc::DEFAULT, Luc { trust: 0.001, eps: 1e-8, freezes_zeros: false });
    /// ```
    pub const DEFAULT: Luc = Luc { trust: 0.001, eps: 1e-8, freezes_zeros: false };

    pub(super) const fn check(&self) -> Result<(), ConfigError> {
        check!(ConfigError::unless_positive("luc.trust", self.trust));
        ConfigError::unless_non_negative("luc.eps", self.eps)
    }

    /// The reduced rate for a layer with these norms; `None` if it has no limit, or if `rate` is within the limit.
    #[inline]
    pub(super) fn limit(&self, rate: f64, weights: f64, step: f64) -> Option<f64> {
        let step = step + self.eps;
        if is_zero(step) || (is_zero(weights) && !self.freezes_zeros) {
            return None;
        }
        let limit = self.trust * weights / step;
        less(limit, rate).then_some(limit)
    }
}

impl Default for Luc {
    fn default() -> Self {
        Luc::DEFAULT
    }
}
