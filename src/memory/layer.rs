//! One layer with the memory that a step needs of it.

use super::carried::CarriedNorms;
use super::floats::{Floats, FloatsMut};
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
    pub(crate) weights: FloatsMut<'a>,
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
            weights: weights.into(),
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

    /// The lengths of momentum and second moment.
    #[inline]
    pub(crate) fn moment_lens(&self) -> [Option<usize>; 2] {
        [self.momentum.as_ref().map(FloatsMut::len), self.second_moment.as_ref().map(FloatsMut::len)]
    }

    /// The same layer, to be read.
    #[inline]
    pub fn view(&self) -> LayerView<'_> {
        LayerView {
            config: self.config,
            weights: self.weights.as_floats(),
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
    pub(crate) weights: Floats<'a>,
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
            weights: weights.into(),
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
