//! Arrays of ndarray as layers.

use crate::error::Error;
use layerwise::{Argument, Element, Floats};
use ndarray::{ArrayRef, CowArray, Dimension};

/// The weights of a layer with their gradients, for [`Layerwise::step`](crate::Layerwise::step); created by [`pair`].
#[must_use = "this is only the description of a layer: give it to `step`"]
#[derive(Debug)]
pub struct Pair<'a> {
    pub(crate) weights: &'a mut [f32],
    pub(crate) gradient: Gradient<'a>,
}

/// The gradients of a layer, for [`Checkpoint::step`](crate::Checkpoint::step); created by [`gradient`].
#[must_use = "this is only the description of a gradient: give it to `step`"]
#[derive(Clone, Copy, Debug)]
pub struct Gradient<'a> {
    pub(crate) floats: Floats<'a>,
    pub(crate) order: Order<'a>,
}

/// The order of the elements of an array in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a> {
    pub(crate) shape: &'a [usize],
    pub(crate) strides: &'a [isize],
}

/// Weights with their gradients. Both must be contiguous and have the same memory order: C order, Fortran order, or any
/// other. Gradients are `f32`, `bf16` or `f16`.
///
/// Nothing is copied, and up to four dimensions nothing is allocated.
///
/// # Errors
///
/// [`Error::Shape`], [`Error::NotContiguous`], and [`Error::Order`] for strides that differ. (The stride of an axis of
/// length 1 does not matter.)
///
/// ```
/// use layerwise::Argument;
/// use layerwise_tensors::{Error, pair};
/// use ndarray::{Array2, ShapeBuilder};
///
/// let mut weights = Array2::<f32>::zeros((3, 2));
/// assert!(pair(&mut weights, &Array2::<f32>::ones((3, 2))).is_ok());
///
/// let fortran = Array2::<f32>::ones((3, 2).f());
/// let refused = pair(&mut weights, &fortran).unwrap_err();
/// assert!(matches!(refused, Error::Order { what: Argument::Gradients, .. }));
/// assert!(pair(&mut Array2::zeros((3, 2).f()), &fortran).is_ok());
/// ```
pub fn pair<'a, G: Element, D: Dimension, E: Dimension>(
    weights: &'a mut ArrayRef<f32, D>,
    gradients: &'a ArrayRef<G, E>,
) -> Result<Pair<'a>, Error> {
    let expected = Order { shape: weights.shape(), strides: weights.strides() };
    if weights.as_slice_memory_order().is_none() {
        return Err(expected.not_contiguous(Argument::Weights));
    }
    let gradient = any_order(gradients)?;
    gradient.order.check(Argument::Gradients, expected)?;
    let weights = weights.as_slice_memory_order_mut().unwrap_or_default();
    Ok(Pair { weights, gradient })
}

/// Gradients in C order, the order of weights in a file. They are `f32`, `bf16` or `f16`.
///
/// # Errors
///
/// [`Error::NotContiguous`], and [`Error::Order`] if they are in another order: copy them with `as_standard_layout`.
pub fn gradient<G: Element, D: Dimension>(gradients: &ArrayRef<G, D>) -> Result<Gradient<'_>, Error> {
    let gradient = any_order(gradients)?;
    if !gradients.is_standard_layout() {
        let default = gradients.raw_dim().default_strides();
        let expected = default.slice().iter().map(|stride| *stride as isize).collect();
        let found = gradients.strides().to_vec();
        return Err(Error::Order { what: Argument::Gradients, expected, found });
    }
    Ok(gradient)
}

/// Gradients in the same memory order as their weights: borrowed if they already are, otherwise a copy.
///
/// A matrix product is in Fortran order if both factors have a stride of 1 along their rows, as in a transposed matrix
/// times a single column.
///
/// # Errors
///
/// [`Error::Shape`], and [`Error::NotContiguous`] for the weights.
///
/// ```
/// use layerwise_tensors::{in_order_of, pair};
/// use ndarray::Array2;
///
/// let (inputs, errors) = (Array2::<f32>::ones((8, 3)), Array2::<f32>::ones((2, 8)));
/// let mut weights = Array2::<f32>::zeros((3, 2));
/// let gradients = inputs.t().dot(&errors.t()); // in Fortran order
/// assert!(pair(&mut weights, &gradients).is_err());
/// let gradients = in_order_of(&gradients, &weights)?;
/// assert!(pair(&mut weights, &gradients).is_ok());
/// # Ok::<(), layerwise_tensors::Error>(())
/// ```
pub fn in_order_of<'a, G: Element + Default, A, D: Dimension>(
    gradients: &'a ArrayRef<G, D>,
    weights: &ArrayRef<A, D>,
) -> Result<CowArray<'a, G, D>, Error> {
    let found = Order { shape: gradients.shape(), strides: gradients.strides() };
    let expected = Order { shape: weights.shape(), strides: weights.strides() };
    check_shape(Argument::Gradients, expected.shape, found.shape)?;
    if weights.as_slice_memory_order().is_none() {
        return Err(expected.not_contiguous(Argument::Weights));
    }
    if found.check(Argument::Gradients, expected).is_ok() {
        return Ok(gradients.view().into());
    }
    // `map` of a contiguous array keeps its strides.
    let mut copy = weights.map(|_| G::default());
    copy.assign(gradients);
    Ok(copy.into())
}

/// Gradients in any order, if they are contiguous.
fn any_order<G: Element, D: Dimension>(gradients: &ArrayRef<G, D>) -> Result<Gradient<'_>, Error> {
    let order = Order { shape: gradients.shape(), strides: gradients.strides() };
    match gradients.as_slice_memory_order() {
        Some(floats) => Ok(Gradient { floats: floats.into(), order }),
        None => Err(order.not_contiguous(Argument::Gradients)),
    }
}

impl Order<'_> {
    /// Refuses any order but the expected one.
    pub(crate) fn check(&self, what: Argument, expected: Order<'_>) -> Result<(), Error> {
        check_shape(what, expected.shape, self.shape)?;
        let mut strides = self.strides.iter().zip(expected.strides).zip(self.shape);
        // Strides are never used in empty arrays, and along axes of length 1.
        if self.shape.contains(&0) || strides.all(|((found, expected), len)| found == expected || *len == 1) {
            return Ok(());
        }
        Err(Error::Order { what, expected: expected.strides.to_vec(), found: self.strides.to_vec() })
    }

    pub(crate) fn not_contiguous(&self, what: Argument) -> Error {
        Error::NotContiguous { what, shape: self.shape.to_vec(), strides: self.strides.to_vec() }
    }
}

/// Refuses any shape but the expected one.
pub(crate) fn check_shape(what: Argument, expected: &[usize], found: &[usize]) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Shape { what, expected: expected.to_vec(), found: found.to_vec() })
}
