//! What a caller can get wrong, told before anything is written.

use crate::BytesError;
use core::fmt;

/// A call that was refused. Nothing was written: weights, gradients, momentum and state are as they were.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A slice is not as long as the layer (or not empty where the rule keeps no momentum).
    Length {
        /// Which slice.
        slice: Slice,
        /// How many elements it must have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// A slice of one of several layers does not have the right length.
    LengthInLayer {
        /// The index of the layer.
        layer: usize,
        /// Which slice.
        slice: Slice,
        /// How many elements it must have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// A learning rate, after multiplication by the layer's own, is negative, infinite or not a number.
    LearningRate(f64),
    /// A weight decay is negative, infinite or not a number.
    WeightDecay(f64),
    /// A slice of bytes cannot be seen as numbers.
    Bytes {
        /// Which slice.
        slice: Slice,
        /// Why not.
        error: BytesError,
    },
    /// A scalar of an [`Update`](crate::Update) is infinite, not a number, or too large for `f32`.
    Update,
}

/// The slice an [`Error::Length`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Slice {
    /// The weights.
    Weights,
    /// The gradients.
    Gradients,
    /// The momentum.
    Momentum,
    /// The states of all layers.
    States,
    /// The carried norms of all layers.
    Norms,
    /// The reports of all layers.
    Reports,
    /// The sums of the leaves of a chunk.
    Sums,
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Slice::Weights => "weights",
            Slice::Gradients => "gradients",
            Slice::Momentum => "momentum",
            Slice::States => "states",
            Slice::Norms => "carried norms",
            Slice::Reports => "reports",
            Slice::Sums => "sums of leaves",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Length { slice, expected, found } => {
                write!(f, "{slice}: {expected} elements expected, {found} found")
            }
            Error::LengthInLayer { layer, slice, expected, found } => {
                write!(f, "layer {layer}: {slice}: {expected} elements expected, {found} found")
            }
            Error::LearningRate(rate) => write!(f, "learning rate {rate} is not a finite number >= 0"),
            Error::WeightDecay(decay) => write!(f, "weight decay {decay} is not a finite number >= 0"),
            Error::Bytes { slice, error } => write!(f, "{slice}: {error}"),
            Error::Update => f.write_str("a scalar of the update is not a finite f32"),
        }
    }
}

impl core::error::Error for Error {}

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
    /// The name of the setting.
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

/// `?` for the checks of a `const fn`, which has no trait calls.
macro_rules! check {
    ($check:expr) => {
        if let Err(error) = $check {
            return Err(error);
        }
    };
}
pub(crate) use check;

/// Lets a configuration be read and written by the functions that `#[serde(remote = "Self")]` derives, and refuses one
/// that is outside its range.
#[cfg(feature = "serde")]
macro_rules! serde_checked {
    ($config:ty) => {
        impl serde::Serialize for $config {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$config>::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $config {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let config = <$config>::deserialize(deserializer)?;
                config.check().map_err(serde::de::Error::custom)?;
                Ok(config)
            }
        }
    };
}
#[cfg(feature = "serde")]
pub(crate) use serde_checked;

/// Whether a number is finite and at least 0.
pub(crate) const fn is_non_negative(x: f64) -> bool {
    x >= 0.0 && x.is_finite()
}

/// `Ok` if a slice has the length it must have.
pub(crate) fn check_length(slice: Slice, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { slice, expected, found }) }
}
