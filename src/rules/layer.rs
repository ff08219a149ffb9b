//! What may differ from layer to layer.

use super::double;
#[cfg(feature = "serde")]
use crate::error::ConfigError;

/// The configuration of a layer: rate and decay, adaptation, whether it is trained at all.
///
/// Biases and normalisation layers are usually exempt from adaptation and decay: give them [`LayerConfig::PLAIN`], or
/// let [`of_rank`](LayerConfig::of_rank) decide. Fields may be added: write `..LayerConfig::DEFAULT`.
///
/// ```
/// use layerwise::settings::lecun_rate;
/// use layerwise::LayerConfig;
///
/// let hidden = LayerConfig { rate: lecun_rate(784), ..LayerConfig::DEFAULT };
/// assert_eq!(hidden.rate, 1.0 / 28.0);
/// assert_eq!(LayerConfig::of_rank(1), LayerConfig::PLAIN); // a bias
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerConfig {
    /// Whether LARC, LARS, LUC and LAMB's ratio adapt this layer's rate. (NovoGrad's normalisation is the rule itself,
    /// and always on.)
    pub adapt: bool,
    /// A multiplier of the learning rate for this layer, finite and at least 0.
    pub rate: f64,
    /// A multiplier of the weight decay for this layer, finite and at least 0. 0 turns decay off.
    pub decay: f64,
    /// Whether the layer is frozen: its numbers are neither read nor written.
    pub frozen: bool,
}

impl LayerConfig {
    /// Adaptation on, both multipliers 1:
    ///
    /// ```
    /// use layerwise::LayerConfig;
    ///
    /// assert_eq!(LayerConfig::DEFAULT, LayerConfig { adapt: true, rate: 1.0, decay: 1.0, frozen: false });
    /// ```
    pub const DEFAULT: LayerConfig = LayerConfig { adapt: true, rate: 1.0, decay: 1.0, frozen: false };

    /// Neither adaptation nor decay, rate 1: for biases and normalisation layers. LARC does not lower its rate: with
    /// LARC, set [`rate`](LayerConfig::rate) to 0.1.
    ///
    /// ```
    /// use layerwise::LayerConfig;
    ///
    /// assert_eq!(LayerConfig::PLAIN, LayerConfig { adapt: false, rate: 1.0, decay: 0.0, frozen: false });
    /// ```
    pub const PLAIN: LayerConfig = LayerConfig { adapt: false, decay: 0.0, ..LayerConfig::DEFAULT };

    /// Not trained.
    pub const FROZEN: LayerConfig = LayerConfig { frozen: true, ..LayerConfig::DEFAULT };

    /// The usual choice for a tensor with this number of dimensions: [`PLAIN`](LayerConfig::PLAIN) for scalars and
    /// vectors, which are biases and normalisation scales, and [`DEFAULT`](LayerConfig::DEFAULT) for the others.
    pub const fn of_rank(rank: usize) -> LayerConfig {
        if rank < 2 { LayerConfig::PLAIN } else { LayerConfig::DEFAULT }
    }

    /// A setting that adapts rates, such as LARC, unless the layer is exempt.
    #[inline]
    pub(super) fn adapted<'a, T>(&self, setting: &'a Option<T>) -> Option<&'a T> {
        setting.as_ref().filter(|_| self.adapt)
    }

    #[cfg(feature = "serde")]
    pub(crate) const fn check(&self) -> Result<(), ConfigError> {
        crate::error::check!(ConfigError::unless_non_negative("rate", self.rate));
        ConfigError::unless_non_negative("decay", self.decay)
    }
}

impl Default for LayerConfig {
    fn default() -> Self {
        LayerConfig::DEFAULT
    }
}

/// The rate multiplier `1/√fan_in` of a layer whose units have `fan_in` inputs each.
///
/// A fully connected layer has one input per input unit; a convolution with `c` input channels and a `k × k` kernel has
/// `c·k²`, which makes the multiplier `1/(√c·k)`. Source: LeCun, Bottou, Orr and Müller, *Efficient BackProp* (1998),
/// section 4.7, which makes rates proportional to the inverse square root of the number of inputs.
/// Without inputs the multiplier is 1.
///
/// ```
/// use layerwise::settings::lecun_rate;
///
/// assert_eq!(lecun_rate(64), 0.125); // a fully connected layer with 64 inputs
/// assert_eq!(lecun_rate(16 * 3 * 3), 1.0 / 12.0); // a 3×3 convolution of 16 channels
/// ```
pub fn lecun_rate(fan_in: usize) -> f64 {
    if fan_in == 0 { 1.0 } else { 1.0 / double::sqrt(fan_in as f64) }
}
