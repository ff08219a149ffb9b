//! A wrong argument with 16-bit floats is an error, and nothing is written.

use crate::harness::optimizers::{lamb, larc, luc, skipping};
use crate::length;
use half::{bf16, f16};
use layerwise::pieces::{LayerView, SUMS};
use layerwise::rule::Rule;
use layerwise::{
    Argument, Error, FlatModel, Floats, FloatsMut, GradientSum, LayerConfig, LayerMemory, LayerSpan, Layers, Optimizer,
    Report, accumulate, accumulate_finite, accumulate_model,
};

const LEN: usize = 20;

/// An array of any type. Nothing may write to it.
#[derive(Clone, Debug, PartialEq)]
enum Array {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Array {
    fn get(&self) -> Floats<'_> {
        match self {
            Array::F32(x) => x.into(),
            Array::Bf16(x) => x.into(),
            Array::F16(x) => x.into(),
        }
    }

    fn get_mut(&mut self) -> FloatsMut<'_> {
        match self {
            Array::F32(x) => x.into(),
            Array::Bf16(x) => x.into(),
            Array::F16(x) => x.into(),
        }
    }
}

fn f32s(len: usize) -> Array {
    Array::F32(vec![1.0; len])
}

fn bf16s(len: usize) -> Array {
    Array::Bf16(vec![bf16::ONE; len])
}

fn f16s(len: usize) -> Array {
    Array::F16(vec![f16::ONE; len])
}

/// A layer for a rule with both moments, and its optional arrays.
#[derive(Clone, Debug, PartialEq)]
struct Lent {
    weights: Array,
    momentum: Array,
    second: Array,
    lower: Option<Vec<u16>>,
    copy: Option<Array>,
}

impl Lent {
    /// A correct layer.
    fn new() -> Self {
        Lent { weights: bf16s(LEN), momentum: bf16s(LEN), second: f32s(LEN), lower: Some(vec![7; LEN]), copy: None }
    }

    fn memory<'a, S>(&'a mut self, gradients: &'a [f16], state: &'a mut S) -> LayerMemory<'a, S> {
        let mut layer = LayerMemory::new(self.weights.get_mut(), gradients, state);
        if let Some(lower) = &mut self.lower {
            layer = layer.lower(lower);
        }
        if let Some(copy) = &mut self.copy {
            layer = layer.copy(copy.get_mut());
        }
        layer.momentum(self.momentum.get_mut()).second_moment(self.second.get_mut())
    }

    fn view<'a>(&'a self, gradients: &'a [f16]) -> LayerView<'a> {
        let layer = LayerView::new(self.weights.get(), gradients);
        let layer = if let Some(lower) = &self.lower { layer.lower(lower) } else { layer };
        layer.momentum(self.momentum.get()).second_moment(self.second.get())
    }

    /// The error of a step of a model in one buffer.
    fn step_in_one_buffer<R: Rule>(&mut self, optimizer: &Optimizer<R>, gradients: &[f16]) -> Error {
        let spans = [LayerSpan::new(0, LEN)];
        let layers = Layers::new(&spans, LEN).unwrap();
        let mut states = [R::State::default()];
        let mut model = FlatModel::new(&layers, self.weights.get_mut(), gradients, &mut states);
        if let Some(lower) = &mut self.lower {
            model = model.lower(lower);
        }
        if let Some(copy) = &mut self.copy {
            model = model.saturating_copy(copy.get_mut());
        }
        let mut model = model.momentum(self.momentum.get_mut()).second_moment(self.second.get_mut());
        let error = optimizer.step(0.1, &mut model, &mut [Report::ABSENT]).unwrap_err();
        assert!(states == [R::State::default()]);
        error
    }

    /// The error of every call that takes the layer, the same for all. Nothing is written.
    fn refused(mut self) -> Error {
        let (before, gradients, optimizer) = (self.clone(), vec![f16::ONE; LEN], lamb());
        let mut state = Default::default();
        let error = optimizer.step_layer(0.1, self.memory(&gradients, &mut state)).unwrap_err();
        assert_eq!(state, Default::default());
        let in_layer = optimizer.step(0.1, &mut [self.memory(&gradients, &mut state)], &mut [Report::ABSENT]);
        assert_eq!(unnamed(in_layer.unwrap_err()), error);
        assert_eq!(unnamed(self.step_in_one_buffer(&optimizer, &gradients)), error);

        // In pieces, planned from a correct layer.
        let mut pass = optimizer.pass(0.1).unwrap();
        let good = Lent::new();
        let measured = pass.measure(good.view(&gradients)).unwrap();
        let decided = pass.decide();
        assert_eq!(decided.apply(measured, self.memory(&gradients, &mut state)).unwrap_err(), error);
        let planned = decided.plan(measured, &LayerConfig::DEFAULT, state).unwrap();
        assert_eq!(planned.apply(self.memory(&gradients, &mut ())).unwrap_err(), error);
        // Measuring does not take a copy.
        if self.copy.is_none() {
            let optimizer = skipping(optimizer);
            let mut pass = optimizer.pass(0.1).unwrap();
            assert_eq!(pass.measure(self.view(&gradients)).unwrap_err(), error);
            assert_eq!(pass.leaf_sums(self.view(&gradients), 0, &mut [[0.0; SUMS]]).unwrap_err(), error);
            assert_eq!(planned.step_leaf_sums(self.view(&gradients), 0, &mut [0.0]).unwrap_err(), error);
        }
        assert_eq!(self, before);
        error
    }
}

/// The same error without the name of the layer.
fn unnamed(error: Error) -> Error {
    match error {
        Error::Type { what, allowed, .. } => Error::Type { layer: None, what, allowed },
        Error::Length { what, expected, found, .. } => Error::Length { layer: None, what, expected, found },
        error => error,
    }
}

fn of_type(what: Argument, allowed: &'static str) -> Error {
    Error::Type { layer: None, what, allowed }
}

#[test]
fn arrays_of_types_they_cannot_have() {
    let weights = of_type(Argument::Weights, "f32, or bf16 with `.lower(..)` (of a `Memory`: `split_weights`)");
    assert_eq!(Lent { lower: None, ..Lent::new() }.refused(), weights);
    assert_eq!(Lent { weights: f16s(LEN), lower: None, ..Lent::new() }.refused(), weights);
    assert_eq!(Lent { weights: f16s(LEN), ..Lent::new() }.refused(), weights);
    let lower = of_type(Argument::Lower, "given with weights of bf16");
    assert_eq!(Lent { weights: f32s(LEN), ..Lent::new() }.refused(), lower);
    let momentum = of_type(Argument::Momentum, "f32 or bf16");
    assert_eq!(Lent { momentum: f16s(LEN), ..Lent::new() }.refused(), momentum);
    let second = of_type(Argument::SecondMoment, "f32");
    assert_eq!(Lent { second: bf16s(LEN), ..Lent::new() }.refused(), second);
    assert_eq!(Lent { second: f16s(LEN), ..Lent::new() }.refused(), second);
    let copy = of_type(Argument::Copy, "bf16 or f16");
    assert_eq!(Lent { copy: Some(f32s(LEN)), ..Lent::new() }.refused(), copy);
    assert_eq!(copy.to_string(), "copy must be bf16 or f16");
    assert_eq!(lower.to_string(), "lower must be given with weights of bf16");
    let in_layer = Error::Type { layer: Some(2), what: Argument::SecondMoment, allowed: "f32" };
    assert_eq!(in_layer.to_string(), "layer 2: second_moment must be f32");
}

#[test]
fn halves_and_copies_of_other_lengths() {
    for len in [0, LEN - 1, LEN + 1] {
        let lower = length(Argument::Lower, LEN, len);
        assert_eq!(Lent { lower: Some(vec![7; len]), ..Lent::new() }.refused(), lower);
        let copy = length(Argument::Copy, LEN, len);
        for array in [bf16s(len), f16s(len)] {
            assert_eq!(Lent { copy: Some(array.clone()), ..Lent::new() }.refused(), copy);
            let whole = Lent { weights: f32s(LEN), lower: None, ..Lent::new() };
            assert_eq!(Lent { copy: Some(array), ..whole }.refused(), copy);
        }
    }
}

#[test]
fn sums_of_16_bits() {
    let error = of_type(Argument::Sum, "f32");
    let (mut upper, mut halves, ones) = ([bf16::ONE; 3], [f16::ONE; 3], [1.0; 3]);
    assert_eq!(accumulate(&mut upper, &ones, 1.0), Err(error));
    assert_eq!(accumulate_finite(&mut halves, &[f16::NAN; 3], 1.0), Err(error));
    let in_layer = Error::Type { layer: Some(0), what: Argument::Sum, allowed: "f32" };
    assert_eq!(accumulate_model(&mut [GradientSum::new(&mut upper, &ones)], 1.0), Err(in_layer));
    assert_eq!((upper, halves), ([bf16::ONE; 3], [f16::ONE; 3]));
}

#[test]
fn moments_of_16_bits_that_do_not_fit() {
    let (mut upper, mut lower, mut momentum) = ([bf16::ONE; 3], [7; 3], [bf16::ONE; 2]);
    let mut state = Default::default();
    let layer = LayerMemory::new(&mut upper, &[f16::ONE; 3], &mut state).lower(&mut lower).momentum(&mut momentum);
    assert_eq!(larc().step_layer(0.1, layer).unwrap_err(), length(Argument::Momentum, 3, 2));
    let layer = LayerMemory::new(&mut upper, &[f16::ONE; 3], &mut state).lower(&mut lower);
    let missing = Error::Missing { layer: None, what: Argument::Momentum };
    assert_eq!(larc().step_layer(0.1, layer).unwrap_err(), missing);
    let mut state = Default::default();
    let layer = LayerMemory::new(&mut upper, &[bf16::ONE; 2], &mut state).lower(&mut lower).momentum(&mut momentum);
    assert_eq!(luc().step_layer(0.1, layer).unwrap_err(), length(Argument::Gradients, 3, 2));
    assert_eq!((upper, lower, momentum), ([bf16::ONE; 3], [7; 3], [bf16::ONE; 2]));
}
