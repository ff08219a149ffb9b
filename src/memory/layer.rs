//! One layer with the memory that a step needs of it.

use super::carried::CarriedNorms;
use super::floats::{Floats, FloatsMut};
use super::weights::{Weights, WeightsMut};
use crate::rules::layer::LayerConfig;

/// One layer in the caller's memory, for one step: weights, gradients, state, and what else the rule or the host wants.
///
/// All slices are as long as the weights. Moments of zeros and a default state are right for the first step.
///
/// ```
/// use layerwise::{LayerConfig, LayerMemory, NovoGrad, NovoGradConfig, NovoGradState};
///
/// let novograd = NovoGrad::new(NovoGradConfig { weight_decay: 0.01, ..NovoGradConfig::DEFAULT }).unwrap();
/// let (mut bias, mut momentum, mut state) = ([1.0], [0.0], NovoGradState::default());
/// let layer = LayerMemory::new(&mut bias, &[-4.0], &mut state).momentum(&mut momentum).config(LayerConfig::PLAIN);
/// let report = novograd.step_layer(0.1, layer)?;
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

    /// The same layer with momentum, for rules that keep one.
    #[inline]
    pub fn momentum(self, momentum: impl Into<FloatsMut<'a>>) -> Self {
        LayerMemory { momentum: Some(momentum.into()), ..self }
    }

    /// The same layer with a moment of the squares, for rules that keep one.
    #[inline]
    pub fn second_moment(self, second_moment: impl Into<FloatsMut<'a>>) -> Self {
        LayerMemory { second_moment: Some(second_moment.into()), ..self }
    }

    /// The same layer with split weights: `weights` are `bf16`, the upper halves of the bits of `f32` weights, and
    /// these are the lower halves.
    ///
    /// Training has the bits of training in `f32`, in 4 bytes a weight, and the model can compute with the upper halves
    /// as they are. They are the weights cut towards zero, not rounded.
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

    /// The same layer with a copy of the weights, rounded to nearest, which is written in the same pass: of `f32`
    /// weights, for a model that computes with 16 bits. A layer that is frozen or skipped leaves its copy alone.
    #[cfg(feature = "half")]
    #[inline]
    pub fn copy(self, copy: impl Into<FloatsMut<'a>>) -> Self {
        LayerMemory { weights: self.weights.with_copy(copy.into(), false), ..self }
    }

    /// The same, where weights beyond the largest finite number of the copy become that number, not an infinity.
    #[cfg(feature = "half")]
    #[inline]
    pub fn saturating_copy(self, copy: impl Into<FloatsMut<'a>>) -> Self {
        LayerMemory { weights: self.weights.with_copy(copy.into(), true), ..self }
    }

    /// The same layer with another configuration.
    #[inline]
    pub fn config(self, config: LayerConfig) -> Self {
        LayerMemory { config, ..self }
    }

    /// The same layer with norms that are known before the step, and a place for the norm of the new weights.
    #[inline]
    pub fn norms(self, norms: &'a mut CarriedNorms) -> Self {
        LayerMemory { norms: Some(norms), ..self }
    }

    /// The same layer for a shorter time, as `&mut *x` is for a reference.
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

    /// The same layer, to be read.
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

/// A layer, or a chunk of one, to be read: what a measurement needs.
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

    /// The same layer with momentum.
    #[inline]
    #[must_use]
    pub fn momentum(self, momentum: impl Into<Floats<'a>>) -> Self {
        LayerView { momentum: Some(momentum.into()), ..self }
    }

    /// The same layer with a moment of the squares.
    #[inline]
    #[must_use]
    pub fn second_moment(self, second_moment: impl Into<Floats<'a>>) -> Self {
        LayerView { second_moment: Some(second_moment.into()), ..self }
    }

    /// The same layer with split weights, whose upper halves are its weights; see
    /// [`LayerMemory::lower`](crate::LayerMemory::lower).
    #[cfg(feature = "half")]
    #[inline]
    #[must_use]
    pub fn lower(self, lower: &'a [u16]) -> Self {
        LayerView { weights: Weights { lower: Some(lower), ..self.weights }, ..self }
    }

    /// The same layer with another configuration.
    #[inline]
    #[must_use]
    pub fn config(self, config: LayerConfig) -> Self {
        LayerView { config, ..self }
    }

    /// The same layer with norms that are known.
    #[inline]
    #[must_use]
    pub fn norms(self, norms: &CarriedNorms) -> Self {
        LayerView { norms: *norms, ..self }
    }
}
