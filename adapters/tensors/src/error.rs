//! What can go wrong, with arrays and with files.

use layerwise::{Argument, ConfigError};
use safetensors::SafeTensorError;
use std::fmt;
use std::io;

/// A call that was refused. Weights, moments and states are as they were.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An array is not contiguous: it is a slice of another one, or broadcast. Copy it first, say with `to_owned`.
    NotContiguous {
        /// Weights or gradients.
        what: Argument,
        /// The shape of the array.
        shape: Vec<usize>,
        /// Its strides, in elements.
        strides: Vec<isize>,
    },
    /// An array has another shape than its layer.
    Shape {
        /// Weights or gradients.
        what: Argument,
        /// The shape of the layer.
        expected: Vec<usize>,
        /// The shape of the array.
        found: Vec<usize>,
    },
    /// An array has another memory order than its layer, so the wrong elements would be paired. For a gradient,
    /// [`in_order_of`](crate::in_order_of) makes a copy in the right order.
    Order {
        /// Weights or gradients.
        what: Argument,
        /// The strides of the layer, in elements.
        expected: Vec<isize>,
        /// The strides of the array.
        found: Vec<isize>,
    },
    /// The same, for a named layer.
    Layer {
        /// The name.
        name: String,
        /// What is wrong.
        error: Box<Error>,
    },
    /// The step was refused by [`layerwise`].
    Step(layerwise::Error),
    /// The number of layers is wrong.
    Layers {
        /// How many there must be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Two tensors would have the same name. (A layer `x` has `x.momentum`, `x.second_moment` and `x.state` too.)
    Name(String),
    /// The file cannot be read, written or mapped.
    Io(io::Error),
    /// The file is mapped by another [`Mapped`](crate::Mapped).
    Locked,
    /// The bytes are not a safetensors file.
    Format(SafeTensorError),
    /// The file has no training state of this version of the crate, but, for example, only weights.
    /// [`read_weights`](crate::read_weights) reads those.
    NoState,
    /// The settings in the file cannot be read.
    Settings(serde_json::Error),
    /// A setting in the file is outside its range.
    Config(ConfigError),
    /// The file was written with a custom rule, which it cannot name: pass the rule to
    /// [`with_optimizer`](crate::Checkpoint::with_optimizer).
    NoRule,
    /// The file lacks a tensor.
    Missing(String),
    /// The file has a tensor that the rule does not keep: it was written with another rule.
    Unexpected(String),
    /// A tensor has the wrong type or shape.
    Tensor {
        /// Its name in the file.
        name: String,
        /// The type and shape that it must have.
        expected: String,
        /// Those that it has.
        found: String,
    },
    /// The state of a layer is one that no step of the rule can have produced.
    State(String),
    /// A tensor is not aligned to the size of its numbers, so they cannot be used in place. [`rewrite`](crate::rewrite)
    /// makes an aligned copy.
    Misaligned {
        /// Its name in the file.
        name: String,
        /// The size of a number in bytes.
        size: usize,
    },
    /// The process that trained in this file ended within a step, so only some layers have taken it: go back to a copy.
    Torn {
        /// The step, counted from 0.
        step: u64,
    },
    /// This machine is big-endian and the file is not, so its numbers cannot be used in place.
    /// ([`Layerwise::load`](crate::Layerwise::load) can read them.)
    BigEndian,
}

impl Error {
    /// The same error for a named layer.
    pub(crate) fn in_layer(self, name: &str) -> Self {
        Error::Layer { name: name.to_string(), error: Box::new(self) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotContiguous { what, shape, strides } => {
                write!(f, "{what}: an array of shape {shape:?} with strides {strides:?} is not contiguous")
            }
            Error::Shape { what, expected, found } => {
                write!(f, "{what}: shape {expected:?} expected, {found:?} found")
            }
            Error::Order { what, expected, found } => {
                write!(f, "{what}: strides {expected:?} expected, {found:?} found: another order of memory")
            }
            Error::Layer { name, error } => write!(f, "{name}: {error}"),
            Error::Step(error) => error.fmt(f),
            Error::Layers { expected, found } => write!(f, "{expected} layers expected, {found} found"),
            Error::Name(name) => write!(f, "two tensors would be named {name}"),
            Error::Io(error) => error.fmt(f),
            Error::Locked => f.write_str("the file is mapped already"),
            Error::Format(error) => error.fmt(f),
            Error::NoState => f.write_str("the file has no training state of this version of layerwise-tensors"),
            Error::Settings(error) => write!(f, "the settings in the file: {error}"),
            Error::Config(error) => write!(f, "the settings in the file: {error}"),
            Error::NoRule => f.write_str("the file does not say which rule it was trained with"),
            Error::Missing(name) => write!(f, "the file has no tensor {name}"),
            Error::Unexpected(name) => write!(f, "the file has a tensor {name}, which the rule does not keep"),
            Error::Tensor { name, expected, found } => write!(f, "{name}: {expected} expected, {found} found"),
            Error::State(name) => write!(f, "{name}: cannot come from a step of this rule"),
            Error::Misaligned { name, size } => write!(f, "{name} does not begin at a multiple of {size} bytes"),
            Error::Torn { step } => write!(f, "training in this file ended within step {step}: go back to a copy"),
            Error::BigEndian => f.write_str("a big-endian machine cannot use the numbers of the file in place"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Layer { error, .. } => Some(error),
            Error::Step(error) => Some(error),
            Error::Io(error) => Some(error),
            Error::Format(error) => Some(error),
            Error::Settings(error) => Some(error),
            Error::Config(error) => Some(error),
            _ => None,
        }
    }
}

impl From<layerwise::Error> for Error {
    fn from(error: layerwise::Error) -> Self {
        Error::Step(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Error::Io(error)
    }
}

impl From<SafeTensorError> for Error {
    fn from(error: SafeTensorError) -> Self {
        match error {
            SafeTensorError::IoError(error) => Error::Io(error),
            error => Error::Format(error),
        }
    }
}
