//! Steps over arrays.

use crate::arrays::{Order, Pair, check_shape};
use crate::error::Error;
use crate::form::{self, Head, MOMENTUM, Numbers, Place, SECOND_MOMENT, STATE, STEPS, Tensor, part, tensor};
use crate::settings::{LayerSettings, Settings};
use layerwise::rule::{Moments, Rule, RuleState};
use layerwise::{Argument, LayerConfig, LayerMemory, Model, Optimizer, Report, Step, Summary};
use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};
use std::collections::HashSet;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// Any optimizer of `layerwise` for arrays of ndarray, with what it remembers about them: moments, state and settings
/// of each layer. You keep the arrays, and pass them to each step.
///
/// Moments have the memory order of their array, so it refuses an array whose order has changed.
#[derive(Debug)]
pub struct Layerwise<R: Rule> {
    optimizer: Optimizer<R>,
    layers: Vec<Layer<R::State>>,
    reports: Vec<Report>,
    steps: u64,
}

/// What is remembered about a layer.
#[derive(Debug)]
struct Layer<S> {
    name: String,
    /// An array of `()` with the shape and the strides of the weights.
    order: ArrayD<()>,
    config: LayerConfig,
    kept: Kept<S>,
}

#[derive(Debug)]
struct Kept<S> {
    /// As long as the weights and in their order, or empty if the rule keeps none; the same for the second moment.
    momentum: Vec<f32>,
    second_moment: Vec<f32>,
    state: S,
}

impl<S> Layer<S> {
    fn order(&self) -> Order<'_> {
        Order { shape: self.order.shape(), strides: self.order.strides() }
    }
}

impl<R: Rule> Layerwise<R> {
    /// An optimizer of these arrays, under the names for files. Arrays with fewer than two dimensions (biases,
    /// normalisation scales) are exempt from adaptation and decay.
    ///
    /// # Errors
    ///
    /// [`Error::Layer`] for an array that is not contiguous, and [`Error::Name`] if two have the same name.
    pub fn new<'a, N: Into<String>>(
        optimizer: Optimizer<R>,
        weights: impl IntoIterator<Item = (N, ArrayViewD<'a, f32>)>,
    ) -> Result<Self, Error> {
        let layers = weights.into_iter().map(|(name, weights)| Layer::new(name.into(), &weights, optimizer.moments()));
        let layers = layers.collect::<Result<Vec<_>, Error>>()?;
        let mut names = HashSet::new();
        if let Some(layer) = layers.iter().find(|layer| !names.insert(&layer.name)) {
            return Err(Error::Name(layer.name.clone()));
        }
        Ok(Layerwise { optimizer, reports: vec![Report::ABSENT; layers.len()], layers, steps: 0 })
    }

    /// Sets the configuration of each layer, by its name and shape.
    ///
    /// # Errors
    ///
    /// [`Error::Layer`] if a multiplier is negative or not finite; then nothing is changed.
    pub fn configure(&mut self, mut config_of: impl FnMut(&str, &[usize]) -> LayerConfig) -> Result<(), Error> {
        let configs: Vec<_> = self.layers.iter().map(|layer| config_of(&layer.name, layer.order.shape())).collect();
        for (layer, config) in self.layers.iter().zip(&configs) {
            let refused = if !is_multiplier(config.rate) {
                layerwise::Error::LearningRate { layer: None, rate: config.rate }
            } else if !is_multiplier(config.decay) {
                layerwise::Error::Decay { layer: None, decay: config.decay }
            } else {
                continue;
            };
            return Err(Error::from(refused).in_layer(&layer.name));
        }
        for (layer, config) in self.layers.iter_mut().zip(configs) {
            layer.config = config;
        }
        Ok(())
    }

    /// Updates all arrays, in the order in which [`new`](Layerwise::new) got them. `step` is a learning rate, or a
    /// [`Step`] with a gradient scale.
    ///
    /// # Errors
    ///
    /// [`Error::Layers`], [`Error::Layer`] for an array whose shape or memory order has changed, and [`Error::Step`];
    /// then nothing is written.
    pub fn step(&mut self, step: impl Into<Step>, pairs: &mut [Pair<'_>]) -> Result<Summary, Error> {
        let (expected, found) = (self.layers.len(), pairs.len());
        if expected != found {
            return Err(Error::Layers { expected, found });
        }
        for (layer, pair) in self.layers.iter().zip(pairs.iter()) {
            let checked = pair.gradient.order.check(Argument::Weights, layer.order());
            checked.map_err(|error| error.in_layer(&layer.name))?;
        }
        let mut model = Lent { layers: &mut self.layers, pairs };
        let summary = self.optimizer.step(step, &mut model, &mut self.reports)?;
        self.steps = self.steps.wrapping_add(1);
        Ok(summary)
    }

    /// What happened to each layer in the last step that was not refused.
    pub fn reports(&self) -> impl Iterator<Item = (&str, &Report)> {
        self.layers.iter().map(|layer| layer.name.as_str()).zip(&self.reports)
    }

    /// How many steps were taken, including those of a loaded file.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Loads what was [saved](Layerwise::save) for layers with these names and shapes: weights, moments, states,
    /// settings of layers and the number of steps. Memory orders and the order of layers stay as they are here. The
    /// rule must keep the same moments and accept the states; its settings are not compared.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, has other layers or another rule, or its last step was [torn](Error::Torn); then
    /// nothing is changed.
    pub fn load<'a>(
        &mut self,
        path: impl AsRef<Path>,
        weights: impl IntoIterator<Item = ArrayViewMutD<'a, f32>>,
    ) -> Result<(), Error> {
        let bytes = fs::read(path)?;
        let head = Head::read(&bytes)?;
        let places = head.places(self.optimizer.moments())?;
        let steps = form::steps_ended(part(&bytes, &head.steps()?))?;
        let mut weights: Vec<_> = weights.into_iter().collect();
        self.same_layers(weights.len())?;
        self.same_layers(places.len())?;
        let mut loaded = Vec::new();
        for (layer, weights) in self.layers.iter().zip(&weights) {
            let place = places.iter().find(|place| place.name == layer.name);
            let place = place.ok_or_else(|| Error::Missing(layer.name.clone()))?;
            let order = Order { shape: weights.shape(), strides: weights.strides() };
            let fits = order.check(Argument::Weights, layer.order());
            let fits = fits.and_then(|()| check_shape(Argument::Weights, order.shape, &place.shape));
            fits.map_err(|error| error.in_layer(&layer.name))?;
            loaded.push((layer.read(&bytes, place, self.optimizer.rule())?, place.config));
        }
        for ((layer, weights), ((numbers, kept), config)) in self.layers.iter_mut().zip(&mut weights).zip(loaded) {
            if let Some(to) = weights.as_slice_memory_order_mut() {
                to.copy_from_slice(&numbers);
            }
            (layer.kept, layer.config) = (kept, config);
        }
        self.steps = steps;
        self.reports.fill(Report::ABSENT);
        Ok(())
    }

    fn same_layers(&self, found: usize) -> Result<(), Error> {
        let expected = self.layers.len();
        if expected == found { Ok(()) } else { Err(Error::Layers { expected, found }) }
    }
}

impl<R: Rule + 'static> Layerwise<R> {
    /// Writes a training file: weights, moments, states and settings. [`load`](Layerwise::load) reads it, and
    /// [`Checkpoint`](crate::Checkpoint) trains in it. Training resumes with the same bits.
    ///
    /// An existing file is replaced only when the new one is complete and on disk.
    ///
    /// # Errors
    ///
    /// [`Error::Layers`], [`Error::Layer`] for an array of another shape, [`Error::Name`], [`Error::Locked`] if the
    /// existing file is mapped, and [`Error::Io`].
    pub fn save<'a>(
        &self,
        path: impl AsRef<Path>,
        weights: impl IntoIterator<Item = ArrayViewD<'a, f32>>,
    ) -> Result<(), Error> {
        let weights: Vec<_> = weights.into_iter().collect();
        self.same_layers(weights.len())?;
        let steps = Tensor { shape: vec![2], numbers: Numbers::Steps([self.steps; 2]) };
        let mut tensors = vec![(STEPS.to_string(), steps)];
        for (layer, weights) in self.layers.iter().zip(weights) {
            let checked = check_shape(Argument::Weights, layer.order.shape(), weights.shape());
            checked.map_err(|error| error.in_layer(&layer.name))?;
            tensors.extend(layer.tensors(weights, self.optimizer.moments()));
        }
        let layers = self.layers.iter().map(|layer| LayerSettings { name: layer.name.clone(), config: layer.config });
        form::write(path.as_ref(), &Settings::new(&self.optimizer, layers.collect()), tensors)
    }
}

fn is_multiplier(x: f64) -> bool {
    x >= 0.0 && x.is_finite()
}

impl<S: RuleState> Layer<S> {
    fn new(name: String, weights: &ArrayViewD<'_, f32>, moments: Moments) -> Result<Self, Error> {
        if weights.as_slice_memory_order().is_none() {
            let order = Order { shape: weights.shape(), strides: weights.strides() };
            return Err(order.not_contiguous(Argument::Weights).in_layer(&name));
        }
        let zeros = |is_kept| vec![0.0; if is_kept { weights.len() } else { 0 }];
        Ok(Layer {
            name,
            // `map` of a contiguous array keeps its strides.
            order: weights.map(|_| ()),
            config: LayerConfig::of_rank(weights.ndim()),
            kept: Kept {
                momentum: zeros(moments >= Moments::First),
                second_moment: zeros(moments >= Moments::FirstAndSecond),
                state: S::default(),
            },
        })
    }

    /// Everything that is saved.
    fn tensors<'a>(
        &'a self,
        weights: ArrayViewD<'a, f32>,
        moments: Moments,
    ) -> impl Iterator<Item = (String, Tensor<'a>)> {
        let Layer { name, order, kept: Kept { momentum, second_moment, state }, .. } = self;
        let all = [
            (true, name.clone(), Numbers::Array(weights)),
            (moments >= Moments::First, tensor(name, MOMENTUM), Numbers::Like(order.view(), momentum)),
            (
                moments >= Moments::FirstAndSecond,
                tensor(name, SECOND_MOMENT),
                Numbers::Like(order.view(), second_moment),
            ),
        ];
        let kept = all.into_iter().filter(|(is_kept, ..)| *is_kept);
        let all = kept.map(|(_, name, numbers)| (name, Tensor { shape: order.shape().to_vec(), numbers }));
        let state = Tensor { shape: vec![3], numbers: Numbers::State(state.to_numbers()) };
        all.chain([(tensor(name, STATE), state)])
    }

    /// Weights and the other saved arrays, in the memory order of this layer.
    fn read<R: Rule<State = S>>(&self, bytes: &[u8], at: &Place, rule: &R) -> Result<(Vec<f32>, Kept<S>), Error> {
        let array = |at: &Range<usize>| {
            let mut array = self.order.map(|()| 0.0_f32);
            for (to, number) in array.iter_mut().zip(form::numbers(part(bytes, at), f32::from_le_bytes)) {
                *to = number;
            }
            array.as_slice_memory_order().unwrap_or_default().to_vec()
        };
        let moment = |at: &Range<usize>| if at.is_empty() { Vec::new() } else { array(at) };
        let kept = Kept {
            momentum: moment(&at.momentum),
            second_moment: moment(&at.second_moment),
            state: form::accepted(part(bytes, &at.state), rule)
                .ok_or_else(|| Error::State(tensor(&self.name, STATE)))?,
        };
        Ok((array(&at.weights), kept))
    }
}

/// The arrays and their memory as a model. The layers have been compared before.
struct Lent<'a, 'b, S> {
    layers: &'a mut [Layer<S>],
    pairs: &'a mut [Pair<'b>],
}

impl<S: RuleState> Model<S> for Lent<'_, '_, S> {
    fn count(&self) -> usize {
        self.layers.len()
    }

    fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, S>)) {
        let (Some(layer), Some(pair)) = (self.layers.get_mut(index), self.pairs.get_mut(index)) else { return };
        let Kept { momentum, second_moment, state } = &mut layer.kept;
        let memory = LayerMemory::new(&mut *pair.weights, pair.gradient.floats, state).config(layer.config);
        visit(memory.momentum(momentum).second_moment(second_moment));
    }
}
