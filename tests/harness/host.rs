//! One layer in guarded arrays, and everything that a host keeps for it.

use super::compare::bits;
use super::optimizers::{keeps_momentum, keeps_second_moment};
use layerwise::pieces::LayerView;
use layerwise::rule::{Rule, RuleState};
use layerwise::{CarriedNorms, LayerConfig, LayerMemory, Optimizer};

/// Elements before and after an array that must not be written.
const GUARD: usize = 32;
const GUARDED: f32 = 12345.0;

/// An array between guards, at an offset from a cache line in elements.
#[derive(Clone, Debug)]
pub struct Array {
    memory: Vec<f32>,
    start: usize,
    len: usize,
}

impl Array {
    pub fn new(x: &[f32], offset: usize) -> Self {
        let mut memory = vec![GUARDED; x.len() + 3 * GUARD];
        let line = memory.as_ptr().align_offset(64);
        let start = if line < 16 { line } else { 0 } + GUARD + offset % 16;
        memory[start..start + x.len()].copy_from_slice(x);
        Array { memory, start, len: x.len() }
    }

    pub fn get(&self) -> &[f32] {
        &self.memory[self.start..self.start + self.len]
    }

    pub fn get_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.start..self.start + self.len]
    }

    /// Fails if something was written before or after the array.
    pub fn assert_guards(&self) {
        let (before, after) = (&self.memory[..self.start], &self.memory[self.start + self.len..]);
        let guards = [GUARDED; 3 * GUARD];
        assert!(before == &guards[..before.len()] && after == &guards[..after.len()], "written out of bounds");
    }
}

/// One layer and everything that a host keeps for it.
#[derive(Clone, Debug)]
pub struct Host<S> {
    pub config: LayerConfig,
    pub weights: Array,
    pub gradients: Array,
    pub momentum: Array,
    pub second_moment: Array,
    pub state: S,
    /// Carried norms, if the host carries them.
    pub norms: Option<CarriedNorms>,
}

impl<S: RuleState> Host<S> {
    /// A layer at these offsets from cache lines, before its first step.
    pub fn new(weights: &[f32], gradients: &[f32], momentum: &[f32], offsets: [usize; 3]) -> Self {
        Host {
            config: LayerConfig::DEFAULT,
            weights: Array::new(weights, offsets[0]),
            gradients: Array::new(gradients, offsets[1]),
            momentum: Array::new(momentum, offsets[2]),
            second_moment: Array::new(&[], 0),
            state: S::default(),
            norms: None,
        }
    }

    /// The same layer with a second moment at an offset.
    pub fn second_moment(self, second_moment: &[f32], offset: usize) -> Self {
        Host { second_moment: Array::new(second_moment, offset), ..self }
    }

    /// A layer with gradients of 0 before its first step, with the moments that the optimizer keeps.
    pub fn for_optimizer<R: Rule<State = S>>(optimizer: &Optimizer<R>, weights: &[f32]) -> Self {
        Host::at(optimizer, weights, [0; 4])
    }

    /// The same with its arrays at these offsets.
    pub fn at<R: Rule<State = S>>(optimizer: &Optimizer<R>, weights: &[f32], offsets: [usize; 4]) -> Self {
        let zeros = |keep: bool| vec![0.0; if keep { weights.len() } else { 0 }];
        let [of_weights, of_gradients, of_momentum, of_second] = offsets;
        Host::new(weights, &zeros(true), &zeros(keeps_momentum(optimizer)), [of_weights, of_gradients, of_momentum])
            .second_moment(&zeros(keeps_second_moment(optimizer)), of_second)
    }

    /// The layer as a step takes it.
    pub fn memory(&mut self) -> LayerMemory<'_, S> {
        let layer = LayerMemory::new(self.weights.get_mut(), self.gradients.get(), &mut self.state)
            .momentum(self.momentum.get_mut())
            .second_moment(self.second_moment.get_mut())
            .config(self.config);
        match &mut self.norms {
            Some(norms) => layer.norms(norms),
            None => layer,
        }
    }

    /// The layer as a measurement takes it.
    pub fn view(&self) -> LayerView<'_> {
        LayerView::new(self.weights.get(), self.gradients.get())
            .momentum(self.momentum.get())
            .second_moment(self.second_moment.get())
            .config(self.config)
            .norms(&self.norms.unwrap_or_default())
    }

    /// Replaces the gradients with others of the same length.
    pub fn set_gradients(&mut self, gradients: &[f32]) {
        self.gradients.get_mut().copy_from_slice(gradients);
    }

    /// Fails unless two layers are the same, bit for bit.
    pub fn assert_same(&self, other: &Self) {
        let arrays = |host: &Self| {
            [&host.weights, &host.gradients, &host.momentum, &host.second_moment].map(|array| bits(array.get()))
        };
        assert_eq!(arrays(self), arrays(other));
        // Compared as text, because a state may have a NaN.
        let rest = |host: &Self| format!("{:?}", (host.config, host.state, host.norms));
        assert_eq!(rest(self), rest(other));
    }
}
