//! The owner of everything that an optimizer remembers about a model.

use super::carried::CarriedNorms;
use super::floats::{Floats, FloatsMut};
use super::layer::{LayerMemory, LayerView};
use super::moment::Moment;
use super::report::Report;
use crate::error::{Argument, Error, check_length};
use crate::rules::layer::LayerConfig;
use crate::rules::rule::{Moments, RuleState};
use alloc::vec;
use alloc::vec::Vec;

/// Everything that an optimizer remembers about a model: moments, state and norms of each layer, its configuration, and
/// its report of the last step. You keep the weights and gradients.
///
/// [`Optimizer::memory`](crate::Optimizer::memory) creates one, of zeros; [`step`](Memory::step) uses it.
/// [`to_bytes`](Memory::to_bytes) saves it, and so does any format of `serde` with the feature `serde`. After
/// [`load`](Memory::load), training continues with the same bits. (Only moments, states and the lower halves of
/// split weights are saved. Save the weights, the step number and the optimizer's settings yourself, and set
/// configurations again after loading. Norms are measured again.)
///
/// With the feature `half` it can keep momentum in `bf16` (`bf16_momentum`), and the lower halves that make the weights
/// of a `bf16` model `f32` (`split_weights`).
///
/// ```
/// use layerwise::{Sgd, SgdConfig};
///
/// let sgd = Sgd::new(SgdConfig { momentum: 0.9, ..SgdConfig::DEFAULT }).unwrap();
/// let mut tensors = [vec![1.0; 3], vec![2.0; 5]];
/// let gradients = [vec![0.5; 3], vec![0.25; 5]];
///
/// let mut memory = sgd.memory(tensors.iter().map(Vec::len));
/// let summary = memory.step(&sgd, 0.1, tensors.iter_mut().zip(&gradients))?;
/// assert_eq!((summary.applied, memory.reports()[1].applied()), (2, true));
///
/// let saved = memory.to_bytes();
/// let mut resumed = sgd.memory(tensors.iter().map(Vec::len));
/// resumed.load(&saved).unwrap();
/// assert_eq!(resumed, memory);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Memory<S> {
    pub(crate) layers: Vec<Owned<S>>,
    pub(crate) reports: Vec<Report>,
    pub(super) carries_norms: bool,
}

/// What is remembered about one layer.
#[derive(Clone, Debug)]
pub(crate) struct Owned<S> {
    pub(super) len: usize,
    pub(super) config: LayerConfig,
    pub(super) momentum: Moment,
    pub(super) second_moment: Vec<f32>,
    /// The lower halves of split weights (feature `half`).
    pub(super) lower: Option<Vec<u16>>,
    pub(super) state: S,
    pub(super) norms: CarriedNorms,
}

impl<S: RuleState> Memory<S> {
    /// Zeros for layers of these lengths.
    pub(crate) fn new(moments: Moments, lengths: impl IntoIterator<Item = usize>) -> Self {
        let owned = |len| Owned {
            len,
            config: LayerConfig::DEFAULT,
            momentum: Moment::F32(vec![0.0; if moments >= Moments::First { len } else { 0 }]),
            second_moment: vec![0.0; if moments >= Moments::FirstAndSecond { len } else { 0 }],
            lower: None,
            state: S::default(),
            norms: CarriedNorms::new(),
        };
        let layers: Vec<_> = lengths.into_iter().map(owned).collect();
        Memory { reports: vec![Report::ABSENT; layers.len()], layers, carries_norms: false }
    }

    /// Sets whether the norms of weights are [carried](CarriedNorms) from step to step; off by default. Turn it on only
    /// if nothing but steps of whole layers changes the weights, or call [`forget_norms`](Memory::forget_norms) when
    /// something else does.
    pub fn carry_norms(&mut self, carry: bool) {
        self.carries_norms = carry;
        self.forget_norms();
    }

    /// Makes all norms unknown: call it when you have changed weights, say by clamping or loading them.
    pub fn forget_norms(&mut self) {
        for layer in &mut self.layers {
            layer.norms = CarriedNorms::new();
        }
    }

    /// The number of layers.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// How many bytes are remembered from step to step.
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.bytes() + size_of::<S>()).sum()
    }

    /// What happened to each layer in the last [`step`](Memory::step).
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// The configuration of a layer, to be changed.
    pub fn config_mut(&mut self, layer: usize) -> Option<&mut LayerConfig> {
        Some(&mut self.layers.get_mut(layer)?.config)
    }

    /// The state of a layer.
    pub fn state(&self, layer: usize) -> Option<S> {
        Some(self.layers.get(layer)?.state)
    }

    /// The momentum of a layer, empty if the rule keeps none; `None` if there is no such layer.
    pub fn momentum(&self, layer: usize) -> Option<Floats<'_>> {
        Some(self.layers.get(layer)?.momentum.get())
    }

    /// The second moment of a layer, empty if the rule keeps none; `None` if there is no such layer.
    pub fn second_moment(&self, layer: usize) -> Option<Floats<'_>> {
        Some(Floats::from(&self.layers.get(layer)?.second_moment))
    }

    /// One layer with its weights and gradients, for hosts that can borrow one tensor at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Layers`] if there is no such layer, and [`Error::Length`].
    pub fn layer<'a>(
        &'a mut self,
        layer: usize,
        weights: impl Into<FloatsMut<'a>>,
        gradients: impl Into<Floats<'a>>,
    ) -> Result<LayerMemory<'a, S>, Error> {
        let carries_norms = self.carries_norms;
        self.get_mut(layer)?.lend(layer, carries_norms, weights.into(), gradients.into())
    }

    /// A read-only view of the same layer.
    ///
    /// # Errors
    ///
    /// As [`layer`](Memory::layer).
    pub fn view<'a>(
        &'a self,
        layer: usize,
        weights: impl Into<Floats<'a>>,
        gradients: impl Into<Floats<'a>>,
    ) -> Result<LayerView<'a>, Error> {
        let (weights, owned) = (weights.into(), self.get(layer)?);
        check_length(Argument::Weights, owned.len, weights.len()).map_err(|error| error.in_layer(layer))?;
        let view = LayerView::new(weights, gradients).config(owned.config);
        let view = view.momentum(owned.momentum.get()).second_moment(&owned.second_moment);
        #[cfg(feature = "half")]
        let view = match &owned.lower {
            Some(lower) => view.lower(lower),
            None => view,
        };
        Ok(if self.carries_norms { view.norms(&owned.norms) } else { view })
    }

    /// All layers, with the weights and gradients of each, in order. The list is a [`Model`](crate::Model).
    ///
    /// # Errors
    ///
    /// [`Error::Layers`] if their number is wrong, and [`Error::Length`].
    pub fn layers<'a, W: Into<FloatsMut<'a>>, G: Into<Floats<'a>>>(
        &'a mut self,
        tensors: impl IntoIterator<Item = (W, G)>,
    ) -> Result<Vec<LayerMemory<'a, S>>, Error> {
        lend_all(&mut self.layers, self.carries_norms, tensors)
    }

    /// What is remembered about a layer.
    pub(super) fn get(&self, layer: usize) -> Result<&Owned<S>, Error> {
        let none = Error::Layers { expected: self.layers.len(), found: layer.saturating_add(1) };
        self.layers.get(layer).ok_or(none)
    }

    /// The same, writable.
    pub(super) fn get_mut(&mut self, layer: usize) -> Result<&mut Owned<S>, Error> {
        let none = Error::Layers { expected: self.layers.len(), found: layer.saturating_add(1) };
        self.layers.get_mut(layer).ok_or(none)
    }

    /// All layers as [`layers`](Memory::layers) gives them, and their reports.
    pub(crate) fn layers_and_reports<'a, W: Into<FloatsMut<'a>>, G: Into<Floats<'a>>>(
        &'a mut self,
        tensors: impl IntoIterator<Item = (W, G)>,
    ) -> Result<(Vec<LayerMemory<'a, S>>, &'a mut [Report]), Error> {
        Ok((lend_all(&mut self.layers, self.carries_norms, tensors)?, &mut self.reports))
    }
}

impl<S> Owned<S> {
    /// The size of the arrays in bytes.
    fn bytes(&self) -> usize {
        let lower = self.lower.as_deref().map_or(0, size_of_val);
        self.momentum.get().len() * self.momentum.size() + size_of_val(&self.second_moment[..]) + lower
    }
}

impl<S: RuleState> Owned<S> {
    fn lend<'a>(
        &'a mut self,
        layer: usize,
        carries_norms: bool,
        weights: FloatsMut<'a>,
        gradients: Floats<'a>,
    ) -> Result<LayerMemory<'a, S>, Error> {
        check_length(Argument::Weights, self.len, weights.len()).map_err(|error| error.in_layer(layer))?;
        let memory = LayerMemory::new(weights, gradients, &mut self.state).config(self.config);
        let memory = memory.momentum(self.momentum.get_mut()).second_moment(&mut self.second_moment);
        #[cfg(feature = "half")]
        let memory = match &mut self.lower {
            Some(lower) => memory.lower(lower),
            None => memory,
        };
        Ok(if carries_norms { memory.norms(&mut self.norms) } else { memory })
    }
}

fn lend_all<'a, S: RuleState, W: Into<FloatsMut<'a>>, G: Into<Floats<'a>>>(
    layers: &'a mut [Owned<S>],
    carries_norms: bool,
    tensors: impl IntoIterator<Item = (W, G)>,
) -> Result<Vec<LayerMemory<'a, S>>, Error> {
    let (expected, mut tensors) = (layers.len(), tensors.into_iter());
    let mut lent = Vec::with_capacity(expected);
    for (index, owned) in layers.iter_mut().enumerate() {
        let (weights, gradients) = tensors.next().ok_or(Error::Layers { expected, found: index })?;
        lent.push(owned.lend(index, carries_norms, weights.into(), gradients.into())?);
    }
    match tensors.count() {
        0 => Ok(lent),
        more => Err(Error::Layers { expected, found: expected + more }),
    }
}
