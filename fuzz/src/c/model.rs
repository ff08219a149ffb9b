//! A model in flat buffers, as C structs and as a Rust model.

use crate::halves::{Array, Type};
use crate::input;
use arbitrary::{Result, Unstructured};
use layerwise::rule::Moments;
use layerwise::{AnyOptimizer, CarriedNorms, LayerConfig, LayerMemory};
use layerwise_c::{lw_array, lw_const_array, lw_flat, lw_layer, lw_layer_config, lw_norms, lw_span, lw_state};
use std::ops::Range;
use std::ptr;

/// Buffers between guards, the layers in them, and their states.
#[derive(Clone)]
pub(super) struct Model {
    pub(super) len: usize,
    pub(super) ranges: Vec<Range<usize>>,
    pub(super) absent: Vec<bool>,
    pub(super) configs: Vec<LayerConfig>,
    weights: Array,
    gradients: Array,
    momentum: Option<Array>,
    second_moment: Option<Array>,
    lower: Option<Vec<u16>>,
    copy: Option<Array>,
    saturating: bool,
    pub(super) states: Vec<[f64; 3]>,
    pub(super) norms: Option<Vec<CarriedNorms>>,
}

impl Model {
    /// A model that fits an optimizer, mostly.
    pub(super) fn new(u: &mut Unstructured, optimizer: &AnyOptimizer) -> Result<Self> {
        let ranges = ranges(u)?;
        let len = ranges.last().map_or(0, |range| range.end) + u.int_in_range(0..=2)?;
        let offsets = input::offsets(u)?;
        let moments = [Moments::First, Moments::FirstAndSecond].map(|least| optimizer.moments() >= least);
        let [keeps_momentum, keeps_second] = moments;
        let split = u.ratio(1, 4)?;
        let of_weights = if split { Type::Bf16 } else { Type::F32 };
        let of_gradients = *u.choose(&[Type::F32, Type::F32, Type::Bf16, Type::F16])?;
        let of_momentum = *u.choose(&[Type::F32, Type::F32, Type::Bf16])?;
        let mut moment = |keeps: bool, of: Type, start: usize| -> Result<Option<Array>> {
            let keeps = if u.ratio(1, 32)? { !keeps } else { keeps };
            Ok(keeps.then(|| Array::new(of, &vec![0.0; len], start)))
        };
        let momentum = moment(keeps_momentum, of_momentum, offsets[2])?;
        let second_moment = moment(keeps_second, Type::F32, offsets[0])?;
        let copy = match u.ratio(1, 4)? {
            true => Some(Array::new(*u.choose(&[Type::Bf16, Type::F16])?, &vec![1.0; len], offsets[1])),
            false => None,
        };
        Ok(Model {
            len,
            absent: vec![false; ranges.len()],
            configs: ranges.iter().map(|_| input::layer(u)).collect::<Result<_>>()?,
            weights: Array::new(of_weights, &input::numbers(u, len)?, offsets[0]),
            gradients: Array::new(of_gradients, &input::numbers(u, len)?, offsets[1]),
            momentum,
            second_moment,
            lower: split.then(|| vec![0x1234; len]),
            copy,
            saturating: u.arbitrary()?,
            states: vec![[0.0; 3]; ranges.len()],
            norms: u.arbitrary::<bool>()?.then(|| vec![CarriedNorms::new(); ranges.len()]),
            ranges,
        })
    }

    /// The gradients of the next step. Now and then a layer has none.
    pub(super) fn next(&mut self, u: &mut Unstructured) -> Result<()> {
        self.gradients = self.gradients.with(&input::numbers(u, self.len)?);
        for absent in &mut self.absent {
            *absent = u.ratio(1, 16)?;
        }
        self.norms.iter_mut().flatten().for_each(CarriedNorms::forget_gradient);
        Ok(())
    }

    /// The configuration of each layer, for the structs that point to it.
    pub(super) fn c_configs(&self) -> Vec<lw_layer_config> {
        let config = |config: &LayerConfig| lw_layer_config {
            rate: config.rate,
            decay: config.decay,
            adapt: config.adapt.into(),
            frozen: config.frozen.into(),
            reserved: [0; 6],
        };
        self.configs.iter().map(config).collect()
    }

    /// Elements of a layer, counted from its first, as C's layer. With norms if it is the whole layer.
    pub(super) fn c_chunk(&mut self, index: usize, chunk: Range<usize>, config: *const lw_layer_config) -> lw_layer {
        let range = self.ranges[index].clone();
        let at = range.start + chunk.start;
        let whole = chunk == (0..range.len());
        let norms = self.norms.as_mut().filter(|_| whole);
        let [a, b, c] = self.states[index];
        let gradients = array(Some(&mut self.gradients), at);
        lw_layer {
            len: chunk.len(),
            weights: array(Some(&mut self.weights), at),
            gradients: lw_const_array {
                data: if self.absent[index] { ptr::null() } else { gradients.data },
                r#type: gradients.r#type,
            },
            momentum: array(self.momentum.as_mut(), at),
            second_moment: array(self.second_moment.as_mut(), at),
            lower: self.lower.as_mut().map_or(ptr::null_mut(), |lower| lower.as_mut_ptr().wrapping_add(at)),
            copy: array(self.copy.as_mut(), at),
            config,
            norms: norms.map_or(ptr::null_mut(), |norms| ptr::from_mut(&mut norms[index]).cast::<lw_norms>()),
            saturate: self.saturating.into(),
            state: lw_state { numbers: [a, b, c, 0.0] },
        }
    }

    pub(super) fn c_layers(&mut self, configs: &[lw_layer_config]) -> Vec<lw_layer> {
        (0..self.ranges.len()).map(|i| self.c_chunk(i, 0..self.ranges[i].len(), &configs[i])).collect()
    }

    pub(super) fn c_spans(&self, configs: &[lw_layer_config]) -> Vec<lw_span> {
        let span = |(range, config): (&Range<usize>, &lw_layer_config)| lw_span {
            start: range.start,
            len: range.len(),
            config,
        };
        self.ranges.iter().zip(configs).map(span).collect()
    }

    pub(super) fn c_flat(&mut self, spans: &[lw_span], states: &mut [lw_state]) -> lw_flat {
        let gradients = array(Some(&mut self.gradients), 0);
        lw_flat {
            len: self.len,
            weights: array(Some(&mut self.weights), 0),
            gradients: lw_const_array { data: gradients.data, r#type: gradients.r#type },
            momentum: array(self.momentum.as_mut(), 0),
            second_moment: array(self.second_moment.as_mut(), 0),
            lower: self.lower.as_mut().map_or(ptr::null_mut(), |lower| lower.as_mut_ptr()),
            copy: array(self.copy.as_mut(), 0),
            spans: spans.as_ptr(),
            count: spans.len(),
            states: states.as_mut_ptr(),
            norms: self.norms.as_mut().map_or(ptr::null_mut(), |norms| norms.as_mut_ptr().cast()),
            saturate: self.saturating.into(),
            gaps: 1,
        }
    }

    /// Everything that a step can write, and the guards. All NaNs count as equal.
    pub(super) fn bits(&self) -> Vec<Vec<u32>> {
        let arrays = [Some(&self.weights), Some(&self.gradients), self.momentum.as_ref(), self.second_moment.as_ref()];
        let mut bits: Vec<Vec<u32>> =
            arrays.into_iter().chain([self.copy.as_ref()]).flatten().map(Array::bits).collect();
        bits.push(self.lower.iter().flatten().copied().map(u32::from).collect());
        bits
    }

    /// The same with states and norms, as text.
    pub(super) fn rest(&self, norms: bool) -> String {
        format!("{:?} {:?}", self.states, self.norms.as_ref().filter(|_| norms))
    }
}

/// A few layers with gaps between some. Rarely one is long.
fn ranges(u: &mut Unstructured) -> Result<Vec<Range<usize>>> {
    let (mut ranges, mut end) = (vec![], 0);
    for _ in 0..u.int_in_range(0..=3)? {
        let start = end + if u.ratio(1, 4)? { u.int_in_range(0..=3)? } else { 0 };
        end = start + input::len(u)?;
        ranges.push(start..end);
    }
    Ok(ranges)
}

/// A C array from an element on; null if there is none.
fn array(array: Option<&mut Array>, start: usize) -> lw_array {
    match array {
        Some(array) => lw_array { data: array.pointer(start), r#type: array.number() },
        None => lw_array { data: ptr::null_mut(), r#type: 0 },
    }
}

impl layerwise::Model<[f64; 3]> for Model {
    fn count(&self) -> usize {
        self.ranges.len()
    }

    fn layer(&mut self, index: usize, visit: impl FnOnce(LayerMemory<'_, [f64; 3]>)) {
        let range = self.ranges[index].clone();
        // (A layer without elements is never absent.)
        if self.absent[index] && !range.is_empty() {
            return;
        }
        let (weights, gradients) = (self.weights.range_mut(range.clone()), self.gradients.range(range.clone()));
        let mut layer = LayerMemory::new(weights, gradients, &mut self.states[index]).config(self.configs[index]);
        if let Some(momentum) = &mut self.momentum {
            layer = layer.momentum(momentum.range_mut(range.clone()));
        }
        if let Some(second_moment) = &mut self.second_moment {
            layer = layer.second_moment(second_moment.range_mut(range.clone()));
        }
        if let Some(lower) = &mut self.lower {
            layer = layer.lower(&mut lower[range.clone()]);
        }
        if let Some(copy) = &mut self.copy {
            let copy = copy.range_mut(range);
            layer = if self.saturating { layer.saturating_copy(copy) } else { layer.copy(copy) };
        }
        if let Some(norms) = &mut self.norms {
            layer = layer.norms(&mut norms[index]);
        }
        visit(layer);
    }
}
