//! What a caller can get wrong, and settings out of range: every error of the crate.

use core::fmt;

/// A call that was refused. Nothing was written: weights, gradients, moments and state are as they were.
///
/// Layers are counted from 0. `layer` is `None` in a call for one layer, and where all layers share the argument.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// An argument is not as long as it must be, in elements.
    Length {
        /// The layer, if it is one of several.
        layer: Option<usize>,
        /// Which argument.
        what: Argument,
        /// How many elements it must have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// The rule keeps an array that the layer was not given.
    Missing {
        /// The layer, if it is one of several.
        layer: Option<usize>,
        /// Which argument.
        what: Argument,
    },
    /// An array has elements of a type that it cannot have.
    Type {
        /// The layer, if it is one of several.
        layer: Option<usize>,
        /// Which argument.
        what: Argument,
        /// What it must be.
        allowed: &'static str,
    },
    /// A learning rate, after multiplication by the layer's own, is negative, infinite or not a number.
    LearningRate {
        /// The layer, if it is one of several.
        layer: Option<usize>,
        /// The product of both rates.
        rate: f64,
    },
    /// A gradient scale is not finite, not greater than 0 in a step, negative as a clip, or so large that hardly any
    /// `f32` can be scaled by it.
    GradientScale(f64),
    /// A weight decay, or a layer's multiplier of it, is negative, infinite or not a number.
    Decay {
        /// The layer, if it is one of several.
        layer: Option<usize>,
        /// The decay.
        decay: f64,
    },
    /// The state of a layer is one that no step of the rule can have produced.
    State {
        /// The layer, if it is one of several.
        layer: Option<usize>,
    },
    /// The number of layers is wrong.
    Layers {
        /// How many there must be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A chunk does not begin at a multiple of [`LEAF`](crate::pieces::LEAF), so its sums would not be sums of the
    /// whole layer. Or it ends before the end of the layer, where no chunk may begin.
    OffLeaf {
        /// The index in the layer at which the chunk, or the next one, begins.
        start: usize,
    },
    /// The pieces of a sum do not add up to the whole: each must be a node of the tree, and begin where the previous
    /// one ends. See [`Tree::fold`](crate::pieces::Tree::fold).
    Pieces {
        /// The leaf at which none of the pieces begins as a node of the tree; the number of leaves if there is a piece
        /// too many.
        leaf: usize,
    },
    /// A planned layer is to be confirmed or applied, but its rule has not seen the norm of the step: call
    /// [`Decided::limit`](crate::pieces::Decided::limit) first.
    StepNotSeen,
    /// The carried norm of the weights is out of date: something other than a step has changed them. Only builds with
    /// debug assertions check this; see [`CarriedNorms`](crate::CarriedNorms).
    StaleNorm {
        /// The layer, if it is one of several.
        layer: Option<usize>,
    },
    /// A byte buffer cannot be used as a slice of floats.
    Bytes {
        /// Which argument.
        what: Argument,
        /// Why not.
        error: BytesError,
    },
}

/// The argument that an [`Error`] is about. Its `Display` form is the argument's name in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Argument {
    /// The weights.
    Weights,
    /// The gradients.
    Gradients,
    /// The momentum, given by `.momentum(..)`.
    Momentum,
    /// The second moment, given by `.second_moment(..)`.
    SecondMoment,
    /// The lower halves of split weights, given by `.lower(..)`.
    Lower,
    /// The copy of the new weights, given by `.copy(..)` or `.saturating_copy(..)`.
    Copy,
    /// The sum of several gradients.
    Sum,
    /// The states of all layers.
    States,
    /// The carried norms of all layers, given by `.norms(..)`.
    Norms,
    /// The reports of all layers.
    Reports,
    /// The sums of the leaves or the nodes of a chunk or a layer.
    Sums,
    /// A chunk that goes beyond the end of its array.
    Chunk,
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Argument::Weights => "weights",
            Argument::Gradients => "gradients",
            Argument::Momentum => "momentum",
            Argument::SecondMoment => "second_moment",
            Argument::Lower => "lower",
            Argument::Copy => "copy",
            Argument::Sum => "sum",
            Argument::States => "states",
            Argument::Norms => "norms",
            Argument::Reports => "reports",
            Argument::Sums => "sums of leaves",
            Argument::Chunk => "chunk",
        })
    }
}

impl Error {
    /// [`Error::Type`] of one layer.
    #[cfg(feature = "half")]
    #[cold]
    pub(crate) fn of_type(what: Argument, allowed: &'static str) -> Self {
        Error::Type { layer: None, what, allowed }
    }

    /// The same error with the number of the layer.
    #[cold]
    pub(crate) fn in_layer(self, layer: usize) -> Self {
        let layer = Some(layer);
        match self {
            Error::Length { what, expected, found, .. } => Error::Length { layer, what, expected, found },
            Error::Missing { what, .. } => Error::Missing { layer, what },
            Error::Type { what, allowed, .. } => Error::Type { layer, what, allowed },
            Error::LearningRate { rate, .. } => Error::LearningRate { layer, rate },
            Error::Decay { decay, .. } => Error::Decay { layer, decay },
            Error::State { .. } => Error::State { layer },
            Error::StaleNorm { .. } => Error::StaleNorm { layer },
            error => error,
        }
    }

    /// The layer that the error is about, if there are several: for hosts that have their own names for layers.
    #[must_use]
    pub const fn layer(&self) -> Option<usize> {
        match self {
            Error::Length { layer, .. }
            | Error::Missing { layer, .. }
            | Error::Type { layer, .. }
            | Error::LearningRate { layer, .. }
            | Error::Decay { layer, .. }
            | Error::State { layer }
            | Error::StaleNorm { layer } => *layer,
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(layer) = self.layer() {
            write!(f, "layer {layer}: ")?;
        }
        match self {
            Error::Length { what, expected, found, .. } => {
                write!(f, "{what}: {expected} elements expected, {found} found")
            }
            Error::Missing { what, .. } => {
                write!(f, "the rule keeps {what}: give it by `.{what}(..)`, as long as the weights")
            }
            Error::Type { what, allowed, .. } => write!(f, "{what} must be {allowed}"),
            Error::LearningRate { rate, .. } => write!(f, "learning rate {rate} is not a finite number >= 0"),
            Error::GradientScale(scale) => write!(f, "gradient scale {scale} is out of range"),
            Error::Decay { decay, .. } => write!(f, "weight decay {decay} is not a finite number >= 0"),
            Error::State { .. } => f.write_str("the state cannot come from a step of this rule"),
            Error::Layers { expected, found } => write!(f, "{expected} layers expected, {found} found"),
            Error::OffLeaf { start } => {
                write!(f, "a chunk begins at element {start}, which is not the beginning of a leaf of 1024")
            }
            Error::Pieces { leaf } => {
                write!(f, "the pieces do not add up: none is a node of the tree that begins at leaf {leaf}")
            }
            Error::StepNotSeen => f.write_str("the rule needs the norm of the planned step: call `limit` first"),
            Error::StaleNorm { .. } => {
                f.write_str("the weights have changed since their norm was carried: call `forget_weights` then")
            }
            Error::Bytes { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Error::Bytes { error, .. } => Some(error),
            _ => None,
        }
    }
}

/// A hyper-parameter outside its range.
///
/// ```
/// use layerwise::{NovoGrad, NovoGradConfig};
///
/// let error = NovoGrad::new(NovoGradConfig { beta2: 1.5, ..NovoGradConfig::DEFAULT }).unwrap_err();
/// assert_eq!(error.to_string(), "beta2 is 1.5, but must be >= 0 and < 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The path of the setting, as in `larc.eta`.
    pub setting: &'static str,
    /// The value it was given.
    pub value: f64,
    /// The values it may have.
    pub allowed: &'static str,
}

impl ConfigError {
    /// `Ok` if `value` is finite and at least 0.
    pub(crate) const fn unless_non_negative(setting: &'static str, value: f64) -> Result<(), Self> {
        if is_non_negative(value) {
            return Ok(());
        }
        Err(ConfigError { setting, value, allowed: "finite and >= 0" })
    }

    /// `Ok` if `value` is finite and greater than 0.
    pub(crate) const fn unless_positive(setting: &'static str, value: f64) -> Result<(), Self> {
        if value > 0.0 && value.is_finite() {
            return Ok(());
        }
        Err(ConfigError { setting, value, allowed: "finite and > 0" })
    }

    /// `Ok` if `value` is at least 0 and less than 1.
    pub(crate) const fn unless_fraction(setting: &'static str, value: f64) -> Result<(), Self> {
        if value >= 0.0 && value < 1.0 {
            return Ok(());
        }
        Err(ConfigError { setting, value, allowed: ">= 0 and < 1" })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, but must be {}", self.setting, self.value, self.allowed)
    }
}

impl core::error::Error for ConfigError {}

/// What is wrong with a table of layers.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum LayersError {
    /// A layer begins before the previous one ends.
    Overlap {
        /// The index of the layer.
        layer: usize,
    },
    /// There are elements between two layers, or after the last layer.
    Gap {
        /// The index of the layer after the gap, or the number of layers.
        layer: usize,
    },
    /// A layer ends past the end of the buffer.
    OutOfBounds {
        /// The index of the layer.
        layer: usize,
    },
    /// A layer's multiplier of the learning rate is negative, infinite or not a number.
    Rate {
        /// The index of the layer.
        layer: usize,
    },
    /// A layer's multiplier of the weight decay is negative, infinite or not a number.
    Decay {
        /// The index of the layer.
        layer: usize,
    },
}

impl fmt::Display for LayersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayersError::Overlap { layer } => write!(f, "layer {layer} begins before the end of the one before it"),
            LayersError::Gap { layer } => write!(f, "there is a gap before layer {layer}"),
            LayersError::OutOfBounds { layer } => write!(f, "layer {layer} ends past the end of the buffer"),
            LayersError::Rate { layer } => write!(f, "the rate of layer {layer} is not a finite number >= 0"),
            LayersError::Decay { layer } => write!(f, "the decay of layer {layer} is not a finite number >= 0"),
        }
    }
}

impl core::error::Error for LayersError {}

/// Why a byte buffer cannot be used as a slice of floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BytesError {
    /// It is not aligned to the size of an element. Copy it into an aligned buffer.
    Misaligned {
        /// The size of an element in bytes.
        size: usize,
    },
    /// Its length is not a multiple of the size of an element.
    PartialFloat {
        /// Its length in bytes.
        len: usize,
        /// The size of an element in bytes.
        size: usize,
    },
}

impl fmt::Display for BytesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BytesError::Misaligned { size } => write!(f, "the bytes do not begin at a multiple of {size}"),
            BytesError::PartialFloat { len, size } => {
                write!(f, "{len} bytes are not a whole number of floats of {size} bytes")
            }
        }
    }
}

impl core::error::Error for BytesError {}

/// Why a saved [`Memory`](crate::Memory) could not be loaded. Nothing was changed.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are not a saved memory, or their format version is unknown to this build: a later one, or, without the
    /// feature `half`, one with 16-bit floats.
    Format,
    /// There are too few or too many bytes.
    Length,
    /// The number of layers differs.
    Layers {
        /// How many layers there are.
        expected: usize,
        /// How many were saved.
        found: usize,
    },
    /// A layer has another length, other arrays, or another element type.
    Layer {
        /// The layer.
        layer: usize,
    },
    /// The state of a layer is one that no step of the rule can have produced.
    State {
        /// The layer.
        layer: usize,
    },
}

#[cfg(feature = "alloc")]
impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Format => f.write_str("this is not a saved memory, or this build does not know its version"),
            LoadError::Length => f.write_str("the saved memory is cut off, or something follows it"),
            LoadError::Layers { expected, found } => write!(f, "{expected} layers expected, {found} were saved"),
            LoadError::Layer { layer } => {
                write!(f, "layer {layer} was saved with another length, or with moments or weights in another form")
            }
            LoadError::State { layer } => write!(f, "the saved state of layer {layer} is not one of this rule"),
        }
    }
}

#[cfg(feature = "alloc")]
impl core::error::Error for LoadError {}

/// `?` for a `const fn`, which cannot call trait methods.
macro_rules! check {
    ($check:expr) => {
        if let Err(error) = $check {
            return Err(error);
        }
    };
}
pub(crate) use check;

/// Whether a number is finite and at least 0. (This compares bits, which needs no `f64` instructions.)
pub(crate) const fn is_non_negative(x: f64) -> bool {
    x.to_bits() < f64::INFINITY.to_bits() || x.to_bits() == (-0.0_f64).to_bits()
}

/// `Ok` if an argument has the length it must have.
#[inline]
pub(crate) const fn check_length(what: Argument, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { layer: None, what, expected, found }) }
}
