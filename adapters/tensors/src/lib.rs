//! The optimizers of [`layerwise`] for arrays of [ndarray], and inside [safetensors] files: LARC, LARS, NovoGrad, LAMB,
//! SGD with momentum, Adam and AdamW, or your own rule.
//!
//! [`Layerwise`] updates arrays in place, and keeps momentum, second moment and state for each:
//!
//! ```
//! use layerwise::{LarcConfig, Sgd, SgdConfig};
//! use layerwise_tensors::{Layerwise, pair};
//! use ndarray::{Array1, Array2};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut weights, mut bias) = (Array2::<f32>::ones((8, 3)), Array1::<f32>::ones(3));
//! let larc = SgdConfig { momentum: 0.9, larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT };
//! let layers = [("weights", weights.view().into_dyn()), ("bias", bias.view().into_dyn())];
//! let mut optimizer = Layerwise::new(Sgd::new(larc)?, layers)?;
//! for step in 0..20 {
//!     let (of_weights, of_bias) = (&weights * 0.1, &bias * 0.1); // gradients, yours
//!     let lr = 0.1 * (1.0 - f64::from(step) / 20.0);
//!     let summary = optimizer.step(lr, &mut [pair(&mut weights, &of_weights)?, pair(&mut bias, &of_bias)?])?;
//!     assert_eq!(summary.applied, 2);
//! }
//!
//! // Training goes on inside the file that is written here.
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("training.safetensors");
//! # if cfg!(target_endian = "big") { return Ok(()) }
//! optimizer.save(&path, [weights.view().into_dyn(), bias.view().into_dyn()])?;
//! use layerwise_tensors::{Checkpoint, Mapped, gradient};
//!
//! // SAFETY: nobody else changes this file.
//! let mut file = Checkpoint::new(unsafe { Mapped::open(&path)? })?;
//! assert_eq!((file.steps(), file.weights(1)), (20, Some(bias.view().into_dyn())));
//! let (of_weights, of_bias) = (&weights * 0.1, &bias * 0.1);
//! file.step(0.01, &[gradient(&of_weights)?, gradient(&of_bias)?])?;
//! assert_ne!(file.weights(1), Some(bias.view().into_dyn()));
//! # Ok(())
//! # }
//! ```
//!
//! # Arrays
//!
//! Weights are `f32` of any dimension; gradients are `f32`, `bf16` or `f16` of the crate `half`. Both must be
//! contiguous and in the same order: C order, Fortran order or any other. [`pair`] refuses arrays whose strides differ,
//! because the wrong elements would be paired. [`in_order_of`] copies a gradient if needed. [`Layerwise`] also refuses
//! weights whose order has changed since the first step, because that of the moments has not.
//!
//! **The bits of a norm depend on the memory order.** A norm adds up squares in that order, so the same matrix in C and
//! in Fortran order may have norms that differ in the last bits of an `f64`, and so may NovoGrad's second moment or
//! LARC's factor. Element-wise results have the same bits in every order.
//!
//! # Layers
//!
//! Each array is a layer. Arrays with fewer than two dimensions (biases, normalisation scales) are
//! [exempt](layerwise::LayerConfig::PLAIN) from adaptation and decay; change this with [`Layerwise::configure`], by
//! name or by shape. LARC does not lower the rate of exempt layers: give them a tenth of it, with
//! `LayerConfig { rate: 0.1, ..LayerConfig::PLAIN }`.
//!
//! [`Policy`](layerwise::Policy) clips the gradient of the whole model, or skips whole steps. A
//! [`Step`](layerwise::Step) with a gradient scale undoes a loss scale.
//!
//! # Files
//!
//! [`Layerwise::save`] writes one safetensors file of weights, moments, states and settings. [`Layerwise::load`] reads
//! it into arrays of any order; [`Checkpoint`] trains inside it, mapped or in another buffer. Either way training
//! resumes with the same bits, also in another process, if the arrays are in C order, the order of files.
//!
//! | tensor | | |
//! |---|---|---|
//! | `x` | `F32` | the weights of the layer `x` |
//! | `x.momentum`, `x.second_moment` | `F32` | of the same shape, if the rule keeps them |
//! | `x.state` | `F64` of 3 | [`RuleState`](layerwise::rule::RuleState) |
//! | `layerwise.steps` | `U64` of 2 | how many steps have begun, and how many have ended |
//!
//! Settings of the optimizer and of the layers are JSON in the metadata, under `layerwise-tensors`. Unlike states, they
//! do not change from step to step, because the header of a mapped file cannot grow.
//!
//! Numbers in files are little-endian. On big-endian machines [`Checkpoint`] refuses them, and the rest works. Some
//! programs write headers of any length, so that numbers are misaligned: [`Checkpoint`] refuses those too, and
//! [`rewrite`] makes an aligned copy. [`read_weights`] reads files of initial weights.
//!
//! **Keep two files.** A mapped file is half written while a step runs. See
//! [`Checkpoint`](Checkpoint#when-a-process-or-a-machine-ends).

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

// The examples of README.md are compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
