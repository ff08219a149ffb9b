//! Numbers in buffers of bytes: of other languages, mapped files of weights.

use crate::error::BytesError;
use bytemuck::PodCastError;

/// The `f32` numbers of a buffer, in place.
///
/// They are in the machine's own order of bytes: a file in little-endian order, such as safetensors, can be used as it
/// is mapped on little-endian machines. Every pattern of bytes is a number, an infinity or a NaN.
///
/// # Errors
///
/// A [`BytesError`] if the buffer does not begin at a multiple of 4, or is not a whole number of `f32` long. An empty
/// buffer may begin anywhere.
///
/// ```
/// use layerwise::{BytesError, floats, l2_norm};
///
/// let bytes: &[u8] = bytemuck::cast_slice(&[3.0_f32, 4.0]);
/// assert_eq!(l2_norm(floats(bytes)?), 5.0);
/// assert_eq!(floats(&bytes[..7]), Err(BytesError::PartialFloat { len: 7 }));
/// assert_eq!(floats(&bytes[1..5]), Err(BytesError::Misaligned));
/// # Ok::<(), BytesError>(())
/// ```
///
/// A layer in such buffers is stepped like any other; [`Error::Bytes`](crate::Error::Bytes) names the argument:
///
/// ```
/// use layerwise::{Argument, Error, LayerMemory, Sgd, SgdConfig, SgdState, floats, floats_mut};
///
/// fn step(weights: &mut [u8], gradients: &[u8], state: &mut SgdState) -> Result<(), Error> {
///     let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap();
///     let weights = floats_mut(weights).map_err(|error| Error::Bytes { what: Argument::Weights, error })?;
///     let gradients = floats(gradients).map_err(|error| Error::Bytes { what: Argument::Gradients, error })?;
///     sgd.step_layer(0.5, LayerMemory::new(weights, gradients, state)).map(|_| ())
/// }
///
/// let mut weights = [1.0_f32];
/// step(bytemuck::bytes_of_mut(&mut weights), bytemuck::bytes_of(&2.0_f32), &mut SgdState::default())?;
/// assert_eq!(weights, [0.0]);
/// # Ok::<(), Error>(())
/// ```
pub fn floats(bytes: &[u8]) -> Result<&[f32], BytesError> {
    if bytes.is_empty() {
        return Ok(&[]);
    }
    bytemuck::try_cast_slice(bytes).map_err(|error| bytes_error(error, bytes.len()))
}

/// The `f32` numbers of a buffer, in place, for writing; otherwise like [`floats`].
///
/// # Errors
///
/// As [`floats`].
pub fn floats_mut(bytes: &mut [u8]) -> Result<&mut [f32], BytesError> {
    let len = bytes.len();
    if len == 0 {
        return Ok(&mut []);
    }
    bytemuck::try_cast_slice_mut(bytes).map_err(|error| bytes_error(error, len))
}

fn bytes_error(error: PodCastError, len: usize) -> BytesError {
    match error {
        PodCastError::OutputSliceWouldHaveSlop => BytesError::PartialFloat { len },
        _ => BytesError::Misaligned,
    }
}
