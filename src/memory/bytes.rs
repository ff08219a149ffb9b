//! Numbers in byte buffers, as they come from other languages and memory-mapped files.

use super::floats::Element;
use crate::error::BytesError;
use bytemuck::PodCastError;

/// Views a byte buffer as `f32` numbers, in place.
///
/// They are in the machine's native byte order: a mapped little-endian file, such as safetensors, can be used as it is
/// on little-endian machines. Every bit pattern is valid: a number, an infinity or a NaN.
///
/// # Errors
///
/// A [`BytesError`] if the buffer is not aligned to 4 bytes, or its length is not a whole number of `f32`. An empty
/// buffer may begin anywhere.
///
/// ```
/// use layerwise::buffers::floats;
/// use layerwise::errors::BytesError;
/// use layerwise::norms::l2_norm;
///
/// let bytes: &[u8] = bytemuck::cast_slice(&[3.0_f32, 4.0]);
/// assert_eq!(l2_norm(floats(bytes)?), 5.0);
/// assert_eq!(floats(&bytes[..7]), Err(BytesError::PartialFloat { len: 7, size: 4 }));
/// assert_eq!(floats(&bytes[1..5]), Err(BytesError::Misaligned { size: 4 }));
/// # Ok::<(), BytesError>(())
/// ```
///
/// A layer in such buffers is updated like any other; [`Error::Bytes`](crate::Error::Bytes) names the argument:
///
/// ```
/// use layerwise::buffers::{floats, floats_mut};
/// use layerwise::errors::Argument;
/// use layerwise::{Error, LayerMemory, Sgd, SgdConfig, SgdState};
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
    floats_of(bytes)
}

/// Views a byte buffer as writable `f32` numbers; otherwise like [`floats`].
///
/// # Errors
///
/// As [`floats`].
pub fn floats_mut(bytes: &mut [u8]) -> Result<&mut [f32], BytesError> {
    floats_of_mut(bytes)
}

/// Views a byte buffer as numbers of any element type; otherwise like [`floats`].
///
/// # Errors
///
/// A [`BytesError`] if the buffer is not aligned to the size of an element, or its length is not a whole number of
/// elements. An empty buffer may begin anywhere.
///
#[cfg_attr(feature = "half", doc = "```")]
#[cfg_attr(not(feature = "half"), doc = "```ignore")]
/// use half::bf16;
/// use layerwise::buffers::floats_of;
/// use layerwise::errors::BytesError;
/// use layerwise::norms::l2_norm;
///
/// let numbers = [bf16::from_f32(3.0), bf16::from_f32(4.0)].map(bf16::to_bits);
/// let bytes: &[u8] = bytemuck::cast_slice(&numbers);
/// assert_eq!(l2_norm(floats_of::<bf16>(bytes)?), 5.0);
/// assert_eq!(floats_of::<bf16>(&bytes[..3]), Err(BytesError::PartialFloat { len: 3, size: 2 }));
/// assert_eq!(floats_of::<bf16>(&bytes[1..3]), Err(BytesError::Misaligned { size: 2 }));
/// # Ok::<(), BytesError>(())
/// ```
pub fn floats_of<E: Element>(bytes: &[u8]) -> Result<&[E], BytesError> {
    if bytes.is_empty() {
        return Ok(&[]);
    }
    E::of_bytes(bytes).map_err(|error| bytes_error::<E>(error, bytes.len()))
}

/// Views a byte buffer as writable numbers of any element type; otherwise like [`floats_of`].
///
/// # Errors
///
/// As [`floats_of`].
pub fn floats_of_mut<E: Element>(bytes: &mut [u8]) -> Result<&mut [E], BytesError> {
    let len = bytes.len();
    if len == 0 {
        return Ok(&mut []);
    }
    E::of_bytes_mut(bytes).map_err(|error| bytes_error::<E>(error, len))
}

fn bytes_error<E>(error: PodCastError, len: usize) -> BytesError {
    let size = size_of::<E>();
    match error {
        PodCastError::OutputSliceWouldHaveSlop => BytesError::PartialFloat { len, size },
        _ => BytesError::Misaligned { size },
    }
}
