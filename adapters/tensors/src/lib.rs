//! The optimizers of [`layerwise`] for arrays of [ndarray], and inside safetensors files.
//!
//! See the README for now.

mod arrays;
mod checkpoint;
mod error;
mod foreign;
mod form;
mod mapped;
mod optimizer;
mod settings;

pub use arrays::{Gradient, Pair, gradient, in_order_of, pair};
pub use checkpoint::Checkpoint;
pub use error::Error;
pub use foreign::{read_weights, rewrite};
pub use mapped::Mapped;
pub use optimizer::Layerwise;
