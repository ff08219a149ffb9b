//! One layer: what may differ from layer to layer, and its memory.

use crate::CarriedNorms;

/// The switches of one layer.
///
/// Biases and normalisation layers are customarily exempt from adaptation and decay: give them [`Layer::PLAIN`].
///
/// ```
/// use layerwise::{Layer, lecun_rate};
///
/// let hidden = Layer { rate: lecun_rate(784), ..Layer::DEFAULT };
/// assert_eq!(hidden.rate, 1.0 / 28.0);
/// assert!(hidden.adapt && !Layer::PLAIN.adapt);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Layer {
    /// Whether LARC, LARS or LUC adapts this layer's rate. (NovoGrad's normalisation is the rule itself and stays.)
    pub adapt: bool,
    /// Whether weight decay applies to this layer.
    pub decay: bool,
    /// A multiplier of the learning rate for this layer, finite and at least 0.
    pub rate: f64,
    /// Whether the layer is left as it is: its numbers are neither read nor written.
    pub frozen: bool,
}

impl Layer {
    /// Adaptation and decay on, rate 1.
    pub const DEFAULT: Layer = Layer { adapt: true, decay: true, rate: 1.0, frozen: false };

    /// Neither adaptation nor decay, rate 1: for biases and normalisation layers.
    pub const PLAIN: Layer = Layer { adapt: false, decay: false, ..Layer::DEFAULT };

    /// Not trained.
    pub const FROZEN: Layer = Layer { frozen: true, ..Layer::DEFAULT };
}

/// One layer with the memory that a step needs of it.
///
/// ```
/// use layerwise::{Layer, LayerView, NovoGrad, NovoGradConfig, NovoGradState};
///
/// let novograd = NovoGrad::new(NovoGradConfig { weight_decay: 0.01, ..NovoGradConfig::DEFAULT }).unwrap();
/// let (mut bias, mut momentum, mut state) = ([1.0], [0.0], NovoGradState::default());
/// let report = novograd.step_view(0.1, LayerView {
///     layer: Layer::PLAIN, // no decay
///     weights: &mut bias,
///     gradients: &[-4.0],
///     momentum: &mut momentum,
///     state: &mut state,
///     norms: None,
/// })?;
/// assert_eq!((bias, report.gradient_norm), ([1.1], 4.0));
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Debug)]
pub struct LayerView<'a, S> {
    /// The switches of the layer.
    pub layer: Layer,
    /// The weights.
    pub weights: &'a mut [f32],
    /// The gradients, as many as weights.
    pub gradients: &'a [f32],
    /// The momentum, as long as the weights, or empty if the rule keeps none. Zeros are right for the first step.
    pub momentum: &'a mut [f32],
    /// What the rule remembers of the layer besides. The default is right for the first step.
    pub state: &'a mut S,
    /// Norms that are known before the step, and the place for the new norm of the weights; see [`CarriedNorms`].
    pub norms: Option<&'a mut CarriedNorms>,
}

impl Default for Layer {
    fn default() -> Self {
        Layer::DEFAULT
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
/// use layerwise::lecun_rate;
///
/// assert_eq!(lecun_rate(64), 0.125); // a fully connected layer with 64 inputs
/// assert_eq!(lecun_rate(16 * 3 * 3), 1.0 / 12.0); // a 3×3 convolution of 16 channels
/// ```
pub fn lecun_rate(fan_in: usize) -> f64 {
    if fan_in == 0 { 1.0 } else { 1.0 / libm::sqrt(fan_in as f64) }
}
