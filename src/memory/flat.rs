//! A model whose layers lie in flat buffers.

use super::carried::CarriedNorms;
use super::floats::{Floats, FloatsMut};
use super::layer::LayerMemory;
use super::model::Model;
use super::table::Layers;
use super::weights::WeightsMut;
use crate::error::{Argument, Error, check_length};

/// A model whose layers lie in one buffer of weights, one of gradients and one of each moment. Use it in firmware, and
/// where a framework keeps all parameters in one buffer.
///
/// ```
/// use layerwise::{FlatModel, LayerConfig, LayerSpan, Layers, NovoGrad, NovoGradConfig};
/// use layerwise::{NovoGradState, Report};
///
/// const BIAS: LayerSpan = LayerSpan::new(4, 2).config(LayerConfig::PLAIN);
/// const SPANS: [LayerSpan; 2] = [LayerSpan::new(0, 4), BIAS];
/// let layers = Layers::new(&SPANS, 6).unwrap();
/// let settings = NovoGradConfig { weight_decay: 0.01, ..NovoGradConfig::DEFAULT };
/// let novograd = NovoGrad::new(settings).unwrap();
/// let (mut weights, gradients) = ([1.0; 6], [0.5, 0.5, 0.5, 0.5, 3.0, 4.0]);
/// let (mut momentum, mut states) = ([0.0; 6], [NovoGradState::default(); 2]);
/// let mut reports = [Report::ABSENT; 2];
///
/// let model = FlatModel::new(&layers, &mut weights, &gradients, &mut states);
/// let summary = novograd.step(0.1, &mut model.momentum(&mut momentum), &mut reports)?;
/// assert_eq!((summary.applied, summary.skipped), (2, 0));
/// assert_eq!(reports.map(|report| report.gradient_norm), [1.0, 5.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
#[must_use = "this is only the description of a model: give it to an optimizer"]
#[derive(Debug)]
pub struct FlatModel<'a, S> {
    layers: Layers<'a>,
    /// Where the buffers begin in those of the whole model: this may be a part of one.
    start: usize,
    weights: WeightsMut<'a>,
    gradients: Floats<'a>,
    momentum: Option<FloatsMut<'a>>,
    second_moment: Option<FloatsMut<'a>>,
    states: &'a mut [S],
    norms: Option<&'a mut [CarriedNorms]>,
}

impl<'a, S> FlatModel<'a, S> {
    /// A model without moments, with a state for each layer. `layers` gives the length of weights and gradients.
    #[inline]
    pub fn new(
        layers: &Layers<'a>,
        weights: impl Into<FloatsMut<'a>>,
        gradients: impl Into<Floats<'a>>,
        states: &'a mut [S],
    ) -> Self {
        FlatModel {
            layers: *layers,
            start: 0,
            weights: weights.into().into(),
            gradients: gradients.into(),
            momentum: None,
            second_moment: None,
            states,
            norms: None,
        }
    }

    /// Adds momentum, laid out like the weights, for rules that keep it.
    #[inline]
    pub fn momentum(self, momentum: impl Into<FloatsMut<'a>>) -> Self {
        FlatModel { momentum: Some(momentum.into()), ..self }
    }

    /// Adds a second moment, laid out like the weights, for rules that keep it.
    #[inline]
    pub fn second_moment(self, second_moment: impl Into<FloatsMut<'a>>) -> Self {
        FlatModel { second_moment: Some(second_moment.into()), ..self }
    }

    /// Makes the weights split: `weights` are the upper halves of the bits, and `lower` the lower halves. See
    /// [`LayerMemory::lower`].
    #[cfg(feature = "half")]
    #[inline]
    pub fn lower(self, lower: &'a mut [u16]) -> Self {
        FlatModel { weights: self.weights.with_lower(lower), ..self }
    }

    /// Adds a copy of the weights, rounded to nearest. See [`LayerMemory::copy`].
    #[cfg(feature = "half")]
    #[inline]
    pub fn copy(self, copy: impl Into<FloatsMut<'a>>) -> Self {
        FlatModel { weights: self.weights.with_copy(copy.into(), false), ..self }
    }

    /// Adds a copy of the weights that saturates. See [`LayerMemory::saturating_copy`].
    #[cfg(feature = "half")]
    #[inline]
    pub fn saturating_copy(self, copy: impl Into<FloatsMut<'a>>) -> Self {
        FlatModel { weights: self.weights.with_copy(copy.into(), true), ..self }
    }

    /// Adds carried norms, one for each layer.
    #[inline]
    pub fn norms(self, norms: &'a mut [CarriedNorms]) -> Self {
        FlatModel { norms: Some(norms), ..self }
    }

    /// One layer; `None` if it does not exist, or if weights, gradients or states are too short. A moment that is too
    /// short is left out, and so are norms.
    #[inline]
    pub fn get(&mut self, layer: usize) -> Option<LayerMemory<'_, S>> {
        let span = self.layers.spans().get(layer)?;
        let start = span.start - self.start;
        let range = start..start + span.len;
        Some(LayerMemory {
            config: span.config,
            weights: self.weights.get(range.clone())?,
            gradients: self.gradients.get(range.clone())?,
            momentum: self.momentum.as_mut().and_then(|momentum| momentum.get(range.clone())),
            second_moment: self.second_moment.as_mut().and_then(|second| second.get(range)),
            state: self.states.get_mut(layer)?,
            norms: self.norms.as_deref_mut().and_then(|norms| norms.get_mut(layer)),
        })
    }

    /// The table of the layers.
    #[cfg(feature = "rayon")]
    pub(crate) fn layers(&self) -> &Layers<'a> {
        &self.layers
    }

    /// The range of the buffers in those of the whole model.
    #[cfg(feature = "rayon")]
    pub(crate) fn range(&self) -> core::ops::Range<usize> {
        self.start..self.start + self.weights.len()
    }

    /// Reborrows the model.
    #[cfg(feature = "rayon")]
    pub(crate) fn reborrow(&mut self) -> FlatModel<'_, S> {
        FlatModel {
            layers: self.layers,
            start: self.start,
            weights: self.weights.reborrow(),
            gradients: self.gradients,
            momentum: self.momentum.as_mut().map(FloatsMut::reborrow),
            second_moment: self.second_moment.as_mut().map(FloatsMut::reborrow),
            states: self.states,
            norms: self.norms.as_deref_mut(),
        }
    }

    /// Splits into the layers before `layer` and the rest; `None` if the buffers are not as long as the table says.
    #[cfg(feature = "rayon")]
    pub(crate) fn split_at(self, layer: usize) -> Option<(Self, Self)> {
        let (left, right) = self.layers.split_at(layer);
        let middle = right.spans().first().map_or(self.start + self.weights.len(), |span| span.start);
        let cut = middle - self.start;
        let (w1, w2) = self.weights.split_at(cut)?;
        let [(m1, m2), (v1, v2)] = [split_moment(self.momentum, cut)?, split_moment(self.second_moment, cut)?];
        let (t1, t2) = self.states.split_at_mut_checked(layer)?;
        let (n1, n2) = match self.norms {
            Some(norms) => norms.split_at_mut_checked(layer).map(|(left, right)| (Some(left), Some(right)))?,
            None => (None, None),
        };
        let (g1, g2) = (self.gradients.get(0..cut)?, self.gradients.get(cut..self.gradients.len())?);
        Some((
            FlatModel {
                layers: left,
                start: self.start,
                weights: w1,
                gradients: g1,
                momentum: m1,
                second_moment: v1,
                states: t1,
                norms: n1,
            },
            FlatModel {
                layers: right,
                start: middle,
                weights: w2,
                gradients: g2,
                momentum: m2,
                second_moment: v2,
                states: t2,
                norms: n2,
            },
        ))
    }
}

/// Both parts of a moment, if there is one.
#[cfg(feature = "rayon")]
fn split_moment(moment: Option<FloatsMut<'_>>, at: usize) -> Option<(Option<FloatsMut<'_>>, Option<FloatsMut<'_>>)> {
    match moment {
        Some(moment) if !moment.is_empty() => moment.split_at(at).map(|(left, right)| (Some(left), Some(right))),
        _ => Some((None, None)),
    }
}

impl<S> Model<S> for FlatModel<'_, S> {
    #[inline]
    fn count(&self) -> usize {
        self.layers.count()
    }

    fn check(&self) -> Result<(), Error> {
        let (elements, count) = (self.layers.elements(), self.layers.count());
        check_length(Argument::Weights, elements, self.weights.len())?;
        check_length(Argument::Gradients, elements, self.gradients.len())?;
        self.weights.check()?;
        let moments = [(Argument::Momentum, &self.momentum), (Argument::SecondMoment, &self.second_moment)];
        for (what, moment) in moments {
            let moment = moment.as_ref().filter(|moment| !moment.is_empty());
            moment.map_or(Ok(()), |moment| check_length(what, elements, moment.len()))?;
        }
        check_length(Argument::States, count, self.states.len())?;
        self.norms.as_ref().map_or(Ok(()), |norms| check_length(Argument::Norms, count, norms.len()))
    }

    #[inline]
    fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, S>)) {
        if let Some(layer) = self.get(index) {
            visit(layer);
        }
    }
}
