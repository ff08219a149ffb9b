//! Sums of gradients: of one layer, and of models.

use crate::harness::{Array, assert_same, same};
use crate::input;
use crate::reference::contract;
use arbitrary::{Result, Unstructured};
use layerwise::rule::{Moments, Update};
use layerwise::{
    Argument, CarriedNorms, Error, GradientSum, accumulate_finite, accumulate_model, accumulate_model_parallel,
};

pub fn accumulate(u: &mut Unstructured) -> Result<()> {
    one(u)?;
    model(u)
}

/// A sum and what is added to it. Now and then the lengths differ.
struct Layer {
    sum: Array,
    gradients: Array,
    norms: Option<CarriedNorms>,
}

impl Layer {
    fn new(u: &mut Unstructured) -> Result<Self> {
        let (len, offsets) = (input::len(u)?, input::offsets(u)?);
        let other = input::perhaps_other_len(u, len)?;
        let (sum, gradients) = (input::numbers(u, len)?, input::numbers(u, other)?);
        let norms = if u.arbitrary()? { Some(CarriedNorms::default()) } else { None };
        Ok(Layer { sum: Array::new(&sum, offsets[0]), gradients: Array::new(&gradients, offsets[1]), norms })
    }

    /// The expected error of the sum as text, if any.
    fn refusal(&self, layer: Option<usize>, scale: f64) -> Option<String> {
        let (expected, found) = (self.sum.get().len(), self.gradients.get().len());
        if expected != found {
            return Some(format!("{:?}", Error::Length { layer, what: Argument::Gradients, expected, found }));
        }
        (!contract::in_range(&update(scale), Moments::None)).then(|| format!("{:?}", Error::GradientScale(scale)))
    }

    fn is_finite(&self) -> bool {
        self.gradients.get().iter().all(|g| g.is_finite())
    }

    /// The new sum.
    fn expected(&self, scale: f64) -> Vec<f32> {
        let pairs = self.sum.get().iter().zip(self.gradients.get());
        pairs.map(|(sum, g)| contract::plain_update(&update(scale), *sum, *g)).collect()
    }

    fn assert_same(&self, sum: &[f32], gradients: &[f32]) {
        assert_same("sum", self.sum.get(), sum);
        assert_same("gradient", self.gradients.get(), gradients);
        self.sum.assert_guards();
        self.gradients.assert_guards();
    }
}

/// A sum as an update, whose weights are the sum.
fn update(scale: f64) -> Update {
    Update { gradient: -scale, direct: 1.0, ..Update::ZERO }
}

fn one(u: &mut Unstructured) -> Result<()> {
    let (mut layer, scale) = (Layer::new(u)?, input::scale(u)?);
    let (before, gradients) = (layer.sum.get().to_vec(), layer.gradients.get().to_vec());
    let (refusal, expected) = (layer.refusal(None, scale), layer.expected(scale));

    let result = accumulate_finite(layer.sum.get_mut(), layer.gradients.get(), scale);
    match result {
        Ok(Some(squares)) => {
            assert!(refusal.is_none() && layer.is_finite());
            assert!(same(squares, contract::sum_of_squares(&expected)));
            layer.assert_same(&expected, &gradients);
        }
        Ok(None) => {
            assert!(refusal.is_none() && !layer.is_finite());
            layer.assert_same(&before, &gradients);
        }
        Err(error) => {
            assert_eq!(Some(format!("{error:?}")), refusal);
            layer.assert_same(&before, &gradients);
        }
    }

    layer.sum.get_mut().copy_from_slice(&before);
    match layerwise::accumulate(layer.sum.get_mut(), layer.gradients.get(), scale) {
        Ok(squares) => {
            assert!(refusal.is_none() && same(squares, contract::sum_of_squares(&expected)));
            layer.assert_same(&expected, &gradients);
        }
        Err(error) => {
            assert_eq!(Some(format!("{error:?}")), refusal);
            layer.assert_same(&before, &gradients);
        }
    }
    Ok(())
}

/// The sums of a model: all layers, or none.
fn model(u: &mut Unstructured) -> Result<()> {
    let mut layers: Vec<Layer> = (0..u.int_in_range(0..=4)?).map(|_| Layer::new(u)).collect::<Result<_>>()?;
    let scale = input::scale(u)?;
    let copies: Vec<_> =
        layers.iter().map(|layer| (layer.sum.get().to_vec(), layer.gradients.get().to_vec())).collect();
    let expected: Vec<_> = layers.iter().map(|layer| layer.expected(scale)).collect();
    // The scale is checked first, even without layers.
    let out_of_range = !contract::in_range(&update(scale), Moments::None);
    let refused = out_of_range || layers.iter().any(|layer| layer.refusal(None, scale).is_some());
    let adds = !refused && layers.iter().all(Layer::is_finite);

    for parallel in [false, true] {
        for (layer, (before, _)) in layers.iter_mut().zip(&copies) {
            layer.sum.get_mut().copy_from_slice(before);
            layer.norms = layer.norms.map(|_| CarriedNorms::default());
        }
        let mut sums: Vec<_> = layers.iter_mut().map(gradient_sum).collect();
        let result =
            if parallel { accumulate_model_parallel(&mut sums, scale) } else { accumulate_model(&mut sums, scale) };
        match result {
            Ok(added) => assert!(!refused && added == adds),
            Err(Error::GradientScale(_)) => assert!(out_of_range),
            Err(error) => {
                let wrong = |(index, layer): (usize, &Layer)| layer.refusal(Some(index), 1.0);
                assert_eq!(layers.iter().enumerate().find_map(wrong), Some(format!("{error:?}")));
            }
        }
        for ((layer, (before, gradients)), expected) in layers.iter().zip(&copies).zip(&expected) {
            layer.assert_same(if adds { expected } else { before }, gradients);
            let norm = contract::sum_of_squares(expected).sqrt();
            let known = layer.norms.and_then(|norms| norms.gradient());
            let carried = layer.norms.map(|_| norm).filter(|norm| adds && *norm > 0.0);
            assert!(same(known.unwrap_or(-1.0), carried.unwrap_or(-1.0)), "{known:?} instead of {carried:?}");
        }
    }
    Ok(())
}

fn gradient_sum(layer: &mut Layer) -> GradientSum<'_> {
    let sum = GradientSum::new(layer.sum.get_mut(), layer.gradients.get());
    match &mut layer.norms {
        Some(norms) => sum.norms(norms),
        None => sum,
    }
}
