//! Entry points for hosts that have bytes: buffers of C, mapped files of weights.

use crate::{CarriedNorms, Error, Layer, LayerView, Optimizer, Report, Rule, Slice};
use bytemuck::PodCastError;
use core::fmt;

/// The `f32` numbers of a buffer, in place.
///
/// They are in the machine's own order of bytes: a file in little-endian order, such as safetensors, can be used as it is
/// mapped on little-endian machines. Every pattern of bytes is a number, an infinity or a NaN.
///
/// # Errors
///
/// A [`BytesError`] if the buffer does not begin at a multiple of 4, or is not a whole number of `f32` long. An empty buffer may
/// begin anywhere.
///
/// ```
/// use layerwise::{BytesError, floats, l2_norm};
///
/// let bytes: &[u8] = bytemuck::cast_slice(&[3.0_f32, 4.0]); // of somebody else's
/// assert_eq!(l2_norm(floats(bytes)?), 5.0);
/// assert_eq!(floats(&bytes[..7]), Err(BytesError::PartialFloat { len: 7 }));
/// assert_eq!(floats(&bytes[1..5]), Err(BytesError::Misaligned));
/// # Ok::<(), BytesError>(())
/// ```
pub fn floats(bytes: &[u8]) -> Result<&[f32], BytesError> {
    if bytes.is_empty() {
        return Ok(&[]);
    }
    bytemuck::try_cast_slice(bytes).map_err(|error| BytesError::new(error, bytes.len()))
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
    bytemuck::try_cast_slice_mut(bytes).map_err(|error| BytesError::new(error, len))
}

/// Why a buffer cannot be seen as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BytesError {
    /// It does not begin at a multiple of 4. Copy it to where it does.
    Misaligned,
    /// Its length is not a multiple of 4.
    PartialFloat {
        /// Its length in bytes.
        len: usize,
    },
}

impl BytesError {
    fn new(error: PodCastError, len: usize) -> Self {
        match error {
            PodCastError::OutputSliceWouldHaveSlop => BytesError::PartialFloat { len },
            _ => BytesError::Misaligned,
        }
    }
}

impl fmt::Display for BytesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BytesError::Misaligned => f.write_str("the bytes do not begin at a multiple of 4"),
            BytesError::PartialFloat { len } => write!(f, "{len} bytes are not a whole number of f32"),
        }
    }
}

impl core::error::Error for BytesError {}

/// One layer as bytes, with the memory that a step needs of it; otherwise like [`LayerView`].
#[derive(Debug)]
pub struct LayerBytes<'a, S> {
    /// The switches of the layer.
    pub layer: Layer,
    /// The weights.
    pub weights: &'a mut [u8],
    /// The gradients, as many as weights.
    pub gradients: &'a [u8],
    /// The momentum, as long as the weights, or empty if the rule keeps none.
    pub momentum: &'a mut [u8],
    /// What the rule remembers of the layer besides.
    pub state: &'a mut S,
    /// Norms that are known before the step, and the place for the new norm of the weights; see [`CarriedNorms`].
    pub norms: Option<&'a mut CarriedNorms>,
}

impl<'a, S> LayerBytes<'a, S> {
    /// The layer as numbers, for [`Optimizer::step_views`] and its like.
    ///
    /// # Errors
    ///
    /// [`Error::Bytes`] for the first slice that cannot be seen as numbers.
    pub fn view(self) -> Result<LayerView<'a, S>, Error> {
        let LayerBytes { layer, weights, gradients, momentum, state, norms } = self;
        let of = |slice| move |error| Error::Bytes { slice, error };
        Ok(LayerView {
            layer,
            weights: floats_mut(weights).map_err(of(Slice::Weights))?,
            gradients: floats(gradients).map_err(of(Slice::Gradients))?,
            momentum: floats_mut(momentum).map_err(of(Slice::Momentum))?,
            state,
            norms,
        })
    }
}

impl<R: Rule> Optimizer<R> {
    /// Updates one layer that is given as bytes; otherwise like [`step_view`](Optimizer::step_view).
    ///
    /// # Errors
    ///
    /// [`Error::Bytes`], [`Error::Length`] and [`Error::LearningRate`]; then nothing is written. Lengths are told in numbers,
    /// not in bytes.
    ///
    /// ```
    /// use layerwise::{BytesError, Error, Layer, LayerBytes, Sgd, SgdConfig, SgdState, Slice};
    ///
    /// /// A buffer of somebody else's.
    /// #[repr(align(4))]
    /// struct Buffer([u8; 9]);
    /// let (mut weights, mut gradients) = (Buffer([0; 9]), Buffer([0; 9]));
    /// gradients.0[..4].copy_from_slice(&2.0_f32.to_ne_bytes());
    ///
    /// let sgd = Sgd::new(SgdConfig::DEFAULT).unwrap();
    /// let mut step = |weights: &mut [u8], gradients: &[u8]| {
    ///     let state = &mut SgdState::default();
    ///     sgd.step_bytes(0.5, LayerBytes { layer: Layer::DEFAULT, weights, gradients, momentum: &mut [], state, norms: None })
    /// };
    /// step(&mut weights.0[..4], &gradients.0[..4])?;
    /// assert_eq!(weights.0[..4], (-1.0_f32).to_ne_bytes());
    ///
    /// let error = step(&mut weights.0[1..5], &gradients.0[..4]).unwrap_err();
    /// assert_eq!(error, Error::Bytes { slice: Slice::Weights, error: BytesError::Misaligned });
    /// let error = step(&mut weights.0[..4], &gradients.0[..3]).unwrap_err();
    /// assert_eq!(error, Error::Bytes { slice: Slice::Gradients, error: BytesError::PartialFloat { len: 3 } });
    /// # Ok::<(), layerwise::Error>(())
    /// ```
    pub fn step_bytes(&self, lr: f64, layer: LayerBytes<'_, R::State>) -> Result<Report, Error> {
        self.step_view(lr, layer.view()?)
    }
}
