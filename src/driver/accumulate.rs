//! The sum of several gradients.

use super::apply::add_scaled;
use super::measure::is_finite;
use crate::error::{Argument, Error, check_length};
use crate::kernel::machine::Machine;
use crate::memory::carried::CarriedNorms;
use crate::memory::floats::{Floats, FloatsMut};

/// Adds `scale` times a gradient to a sum of gradients, and returns the sum of squares of the new sum.
///
/// The result has the bits of [`sum_of_squares`](crate::sum_of_squares), so after the last micro-batch the step need
/// not read the gradient for its norm: pass the result to [`CarriedNorms::set_gradient`]. A `scale` of one over the
/// number of micro-batches gives their mean; one over the loss scale undoes the loss scale. The step finds a NaN or an
/// infinity in the sum; to keep them out, see [`accumulate_finite`].
///
/// # Errors
///
/// [`Error::Length`] if the lengths differ, [`Error::Type`] if the sum is not of `f32`, [`Error::GradientScale`] if
/// `scale` is not finite, or beyond 2²¹⁸, by which hardly any `f32` can be scaled; then nothing is written.
///
/// ```
/// use layerwise::norms::accumulate;
///
/// let mut mean = [0.0; 2];
/// accumulate(&mut mean, &[2.0, 4.0], 0.5)?;
/// let sum_of_squares = accumulate(&mut mean, &[4.0, 4.0], 0.5)?;
/// assert_eq!((mean, sum_of_squares), ([3.0, 4.0], 25.0));
/// # Ok::<(), layerwise::Error>(())
/// ```
pub fn accumulate<'a>(
    sum: impl Into<FloatsMut<'a>>,
    gradients: impl Into<Floats<'a>>,
    scale: f64,
) -> Result<f64, Error> {
    let (sum, gradients) = (sum.into(), gradients.into());
    check_sum(&sum, &gradients)?;
    add_scaled(Machine::serial(), sum, gradients, scale).ok_or(Error::GradientScale(scale))
}

/// Adds a gradient to a sum of gradients, `sum = sum + other` with one rounding, and returns the sum of squares of the
/// new sum.
///
/// It is [`accumulate`] with a scale of 1. It is commutative: swapping the two arguments gives the same bits, except
/// for the payload of a NaN. So when two workers exchange halves, each may use its own half as the sum. With more than
/// two gradients the order matters: add along a [`Tree`](crate::pieces::Tree), and the bits do not depend on the number
/// of workers.
///
/// # Errors
///
/// [`Error::Length`] if the lengths differ, [`Error::Type`] if the sum is not of `f32`; then nothing is written.
///
/// ```
/// use layerwise::pieces::add;
///
/// let mut sum = [1.0, 2.0];
/// assert_eq!(add(&mut sum, &[2.0, 2.0])?, 25.0);
/// assert_eq!(sum, [3.0, 4.0]);
/// # Ok::<(), layerwise::Error>(())
/// ```
pub fn add<'a>(sum: impl Into<FloatsMut<'a>>, other: impl Into<Floats<'a>>) -> Result<f64, Error> {
    add_on(Machine::serial(), sum.into(), other.into())
}

pub(super) fn add_on(machine: Machine, sum: FloatsMut<'_>, other: Floats<'_>) -> Result<f64, Error> {
    check_sum(&sum, &other)?;
    add_scaled(machine, sum, other, 1.0).ok_or(Error::GradientScale(1.0))
}

/// [`accumulate`], unless the gradient has a NaN or an infinity: then nothing is written, and the result is `None`.
///
/// It reads the gradient twice.
///
/// # Errors
///
/// As [`accumulate`].
///
/// ```
/// use layerwise::norms::accumulate_finite;
///
/// let mut sum = [1.0, 2.0];
/// assert_eq!(accumulate_finite(&mut sum, &[1.0, f32::NAN], 1.0)?, None);
/// assert_eq!(sum, [1.0, 2.0]);
/// assert_eq!(accumulate_finite(&mut sum, &[2.0, 2.0], 1.0)?, Some(25.0));
/// # Ok::<(), layerwise::Error>(())
/// ```
pub fn accumulate_finite<'a>(
    sum: impl Into<FloatsMut<'a>>,
    gradients: impl Into<Floats<'a>>,
    scale: f64,
) -> Result<Option<f64>, Error> {
    let (sum, gradients) = (sum.into(), gradients.into());
    check_sum(&sum, &gradients)?;
    check_scale(scale)?;
    if is_finite(Machine::serial(), gradients) {
        return accumulate(sum, gradients, scale).map(Some);
    }
    Ok(None)
}

/// The gradient of one layer and the sum it is added to; for [`accumulate_model`].
#[must_use = "this is only the description of a sum: give it to `accumulate_model`"]
#[derive(Debug)]
pub struct GradientSum<'a> {
    sum: FloatsMut<'a>,
    gradients: Floats<'a>,
    norms: Option<&'a mut CarriedNorms>,
}

impl<'a> GradientSum<'a> {
    /// A sum, and the gradients to add to it.
    pub fn new(sum: impl Into<FloatsMut<'a>>, gradients: impl Into<Floats<'a>>) -> Self {
        GradientSum { sum: sum.into(), gradients: gradients.into(), norms: None }
    }

    /// Adds a place for the norm of the new sum, so that the step need not measure it.
    pub fn norms(self, norms: &'a mut CarriedNorms) -> Self {
        GradientSum { norms: Some(norms), ..self }
    }
}

/// Adds `scale` times the gradients of a micro-batch to the sums of all layers, and returns `true`. If one of the
/// gradients has a NaN or an infinity, it writes nothing and returns `false`.
///
/// # Errors
///
/// As [`accumulate`], naming the layer; then nothing is written.
///
/// ```
/// use layerwise::norms::{GradientSum, accumulate_model};
///
/// let (mut kernel, mut bias) = ([0.0; 4], [0.0; 2]);
/// for gradients in [1.0, f32::INFINITY, 3.0] {
///     let (of_kernel, of_bias) = ([gradients; 4], [gradients; 2]);
///     let mut layers = [GradientSum::new(&mut kernel, &of_kernel), GradientSum::new(&mut bias, &of_bias)];
///     assert_eq!(accumulate_model(&mut layers, 1.0)?, gradients.is_finite());
/// }
/// assert_eq!((kernel, bias), ([4.0; 4], [4.0; 2]));
/// # Ok::<(), layerwise::Error>(())
/// ```
pub fn accumulate_model(layers: &mut [GradientSum<'_>], scale: f64) -> Result<bool, Error> {
    check_sums(layers, scale)?;
    let machine = Machine::serial();
    if !layers.iter().all(|layer| is_finite(machine, layer.gradients)) {
        return Ok(false);
    }
    for layer in layers {
        layer.add(machine, scale);
    }
    Ok(true)
}

/// [`accumulate_model`] on the threads of rayon's current pool, with the same bits.
///
/// # Errors
///
/// As [`accumulate_model`].
#[cfg(feature = "rayon")]
pub fn accumulate_model_parallel(layers: &mut [GradientSum<'_>], scale: f64) -> Result<bool, Error> {
    use crate::kernel::machine::Threads;
    use rayon::iter::{IntoParallelRefIterator, IntoParallelRefMutIterator, ParallelIterator};

    check_sums(layers, scale)?;
    let machine = Machine { threads: Threads::Pool, ..Machine::serial() };
    if !layers.par_iter().all(|layer| is_finite(machine, layer.gradients)) {
        return Ok(false);
    }
    layers.par_iter_mut().for_each(|layer| layer.add(machine, scale));
    Ok(true)
}

fn check_sums(layers: &[GradientSum<'_>], scale: f64) -> Result<(), Error> {
    check_scale(scale)?;
    for (index, layer) in layers.iter().enumerate() {
        check_sum(&layer.sum, &layer.gradients).map_err(|error| error.in_layer(index))?;
    }
    Ok(())
}

fn check_sum(sum: &FloatsMut<'_>, gradients: &Floats<'_>) -> Result<(), Error> {
    #[cfg(feature = "half")]
    if !matches!(sum, FloatsMut::F32(_)) {
        return Err(Error::of_type(Argument::Sum, "f32"));
    }
    check_length(Argument::Gradients, sum.len(), gradients.len())
}

fn check_scale(scale: f64) -> Result<(), Error> {
    // Adds an empty gradient to an empty sum, which only checks the scale.
    add_scaled(Machine::serial(), FloatsMut::F32(&mut []), Floats::F32(&[]), scale)
        .map(|_| ())
        .ok_or(Error::GradientScale(scale))
}

impl GradientSum<'_> {
    fn add(&mut self, machine: Machine, scale: f64) {
        let sum_of_squares = add_scaled(machine, self.sum.reborrow(), self.gradients, scale);
        if let (Some(norms), Some(sum_of_squares)) = (&mut self.norms, sum_of_squares) {
            norms.set_gradient(sum_of_squares);
        }
    }
}
