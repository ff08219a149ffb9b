//! One layer with the memory that a step needs.

use super::carried::CarriedNorms;
use super::floats::{Floats, FloatsMut};
use super::weights::{Weights, WeightsMut};
use crate::rules::layer::LayerConfig;

/// One layer in the caller's memory, for one step: weights, gradients, state, and whatever else the rule or the host
/// needs.
///
/// All slices are as long as the weights. Before the first step, moments are zeros and the state is the default.
///
/// ```
/// use layerwise::{LayerConfig, LayerMemory, NovoGrad, NovoGradConfig, NovoGradState};
///
/// let settings = NovoGradConfig { weight_decay: 0.01, ..NovoGradConfig::DEFAULT };
/// let novograd = NovoGrad::new(settings).unwrap();
/// let (mut bias, mut momentum, mut state) = ([1.0], [0.0], NovoGradState::default());
/// let layer = LayerMemory::new(&mut bias, &[-4.0], &mut state).momentum(&mut momentum);
/// let report = novograd.step_layer(0.1, layer.config(LayerConfig::PLAIN))?;
/// assert_eq!((bias, report.gradient_norm), ([1.1], 4.0)); // no decay
/// # Ok::<(), layerwise::Error>(())
/// ```
#[must_use = "this is only the description of a layer: give it to an optimizer"]
#[derive(Debug)]
pub struct LayerMemory<'a, S> {
    pub(crate) config: LayerConfig,
    pub(crate) weights: WeightsMut<'a>,
    pub(crate) gradients: Floats<'a>,
    pub(crate) momentum: Option<FloatsMut<'a>>,
    pub(crate) second_moment: Option<FloatsMut<'a>>,
    pub(crate) state: &'a mut S,
    pub(crate) norms: Option<&'a mut CarriedNorms>,
}

impl<'a, S> LayerMemory<'a, S> {
    /// A layer without moments, with the default configuration.
    #[inline]
    pub fn new(weights: impl Into<FloatsMut<'a>>, gradients: impl Into<Floats<'a>>, state: &'a mut S) -> Self {
        LayerMemory {
            config: LayerConfig::DEFAULT,
            weights: weights.into().into(),
            gradients: gradients.into(),
            momentum: None,
            second_moment: None,
            state,
            norms: None,
        }
    }

    /// Adds momentum, for rules that keep it.
    #[inline]
    pub fn momentum(self, momentum: impl Into<FloatsMut<'a>>) -> Self {
        LayerMemory { momentum: Some(momentum.into()), ..self }
    }

    /// Adds a second moment, for rules that keep it.
    #[inline]
    pub fn second_moment(self, second_moment: impl Into<FloatsMut<'a>>) -> Self {
        LayerMemory { second_moment: Some(second_moment.into()), ..self }
    }

    /// Makes the weights split: `weights` are `bf16`, the upper halves of the bits of `f32` weights, and `lower` are
    /// the lower halves.
    ///
    /// Training has the same bits as in `f32`, with 4 bytes per weight, and the model can compute with the upper halves
    /// as they are. They are the weights truncated towards zero, not rounded.
    ///
    /// ```
    /// use half::bf16;
    /// use layerwise::{LayerMemory, Sgd, SgdConfig, SgdState};
    ///
    /// let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap();
    /// let (mut upper, mut lower, mut state) = ([bf16::from_f32(1.0)], [0], SgdState::default());
    /// for _ in 0..3 {
    ///     sgd.step_layer(1e-3, LayerMemory::new(&mut upper, &[0.1], &mut state).lower(&mut lower))?;
    /// }
    /// let weight = f32::from_bits(u32::from(upper[0].to_bits()) << 16 | u32::from(lower[0]));
    /// assert_eq!(weight, 1.0 - 1e-4 - 1e-4 - 1e-4); // a bf16 alone would still be 1
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    #[cfg(feature = "half")]
    #[inline]
    pub fn lower(self, lower: &'a mut [u16]) -> Self {
        LayerMemory { weights: self.weights.with_lower(lower), ..self }
    }

    /// Adds a copy of the weights, rounded to nearest and written in the same pass: for `f32` weights of a model that
    /// computes in 16 bits. If the layer is frozen or skipped, its copy is not written.
    #[cfg(feature = "half")]
    #[inline]
    pub fn copy(self, copy: impl Into<FloatsMut<'a>>) -> Self {
        LayerMemory { weights: self.weights.with_copy(copy.into(), false), ..self }
    }

    /// Like [`copy`](LayerMemory::copy), but weights that overflow the type of the copy become its largest finite
    /// number, not an infinity.
    #[cfg(feature = "half")]
    #[inline]
    pub fn saturating_copy(self, copy: impl Into<FloatsMut<'a>>) -> Self {
        LayerMemory { weights: self.weights.with_copy(copy.into(), true), ..self }
    }

    /// Sets the configuration.
    #[inline]
    pub fn config(self, config: LayerConfig) -> Self {
        LayerMemory { config, ..self }
    }

    /// Adds norms that are known before the step. The step stores the norm of the new weights there.
    #[inline]
    pub fn norms(self, norms: &'a mut CarriedNorms) -> Self {
        LayerMemory { norms: Some(norms), ..self }
    }

    /// Reborrows the layer, as `&mut *x` does a reference.
    #[inline]
    pub fn reborrow(&mut self) -> LayerMemory<'_, S> {
        LayerMemory {
            config: self.config,
            weights: self.weights.reborrow(),
            gradients: self.gradients,
            momentum: self.momentum.as_mut().map(FloatsMut::reborrow),
            second_moment: self.second_moment.as_mut().map(FloatsMut::reborrow),
            state: self.state,
            norms: self.norms.as_deref_mut(),
        }
    }

    /// A read-only view of the layer.
    #[inline]
    pub fn view(&self) -> LayerView<'_> {
        LayerView {
            config: self.config,
            weights: self.weights.read(),
            gradients: self.gradients,
            momentum: self.momentum.as_ref().map(FloatsMut::as_floats),
            second_moment: self.second_moment.as_ref().map(FloatsMut::as_floats),
            norms: self.norms.as_deref().copied().unwrap_or_default(),
        }
    }
}

/// A read-only view of a layer, or of a chunk of one: what a measurement needs.
#[derive(Clone, Copy, Debug)]
pub struct LayerView<'a> {
    pub(crate) config: LayerConfig,
    pub(crate) weights: Weights<'a>,
    pub(crate) gradients: Floats<'a>,
    pub(crate) momentum: Option<Floats<'a>>,
    pub(crate) second_moment: Option<Floats<'a>>,
    pub(crate) norms: CarriedNorms,
}

impl<'a> LayerView<'a> {
    /// The lengths of momentum and second moment.
    pub(crate) fn moment_lens(&self) -> [Option<usize>; 2] {
        [self.momentum.as_ref().map(Floats::len), self.second_moment.as_ref().map(Floats::len)]
    }

    /// A layer without moments, with the default configuration.
    #[inline]
    pub fn new(weights: impl Into<Floats<'a>>, gradients: impl Into<Floats<'a>>) -> Self {
        LayerView {
            config: LayerConfig::DEFAULT,
            weights: weights.into().into(),
            gradients: gradients.into(),
            momentum: None,
            second_moment: None,
            norms: CarriedNorms::new(),
        }
    }

    /// Adds momentum.
    #[inline]
    #[must_use]
    pub fn momentum(self, momentum: impl Into<Floats<'a>>) -> Self {
        LayerView { momentum: Some(momentum.into()), ..self }
    }

    /// Adds a second moment.
    #[inline]
    #[must_use]
    pub fn second_moment(self, second_moment: impl Into<Floats<'a>>) -> Self {
        LayerView { second_moment: Some(second_moment.into()), ..self }
    }

    /// Adds the lower halves of split weights; see [`LayerMemory::lower`](crate::LayerMemory::lower).
    #[cfg(feature = "half")]
    #[inline]
    #[must_use]
    pub fn lower(self, lower: &'a [u16]) -> Self {
        LayerView { weights: Weights { lower: Some(lower), ..self.weights }, ..self }
    }

    /// Sets the configuration.
    #[inline]
    #[must_use]
    pub fn config(self, config: LayerConfig) -> Self {
        LayerView { config, ..self }
    }

    /// Adds norms that are known.
    #[inline]
    #[must_use]
    pub fn norms(self, norms: &CarriedNorms) -> Self {
        LayerView { norms: *norms, ..self }
    }
}
