//! The optimizers of [`layerwise`] for the variables of [candle](candle_core): LARC, LARS, NovoGrad, LAMB, SGD with
//! momentum, Adam and AdamW, or your own rule.
//!
//! [`Layerwise`] is a [`candle_nn::Optimizer`]. It updates variables in place, and keeps momentum, second moment and
//! state for each.
//!
//! ```
//! use candle_core::{DType, Device, Module, Tensor};
//! use candle_nn::{Optimizer, VarBuilder, VarMap};
//! use layerwise::{LarcConfig, Sgd, SgdConfig};
//! use layerwise_candle::Layerwise;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let map = VarMap::new();
//! let net = candle_nn::linear(8, 1, VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu))?;
//! let larc = SgdConfig { momentum: 0.9, larc: Some(LarcConfig::DEFAULT), ..SgdConfig::DEFAULT };
//! let mut optimizer = Layerwise::of_map(&map, Sgd::new(larc)?, 0.1)?;
//!
//! let inputs = Tensor::ones((4, 8), DType::F32, &Device::Cpu)?;
//! for step in 0..20 {
//!     let loss = net.forward(&inputs)?.sqr()?.mean_all()?;
//!     optimizer.set_learning_rate(0.1 * (1.0 - f64::from(step) / 20.0));
//!     optimizer.backward_step(&loss)?;
//!     assert_eq!(optimizer.skipped(), 0);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Which variables
//!
//! | variable | |
//! |---|---|
//! | `f32` | as it is |
//! | `bf16` | the upper halves of `f32` weights; the optimizer keeps the lower halves, and training has the bits of `f32` |
//! | `f16`, `f64`, 8 bits | refused: keep an `f32` variable, and let the model compute with `to_dtype` of it |
//! | integers | ignored, as by candle's own optimizers |
//! | not on the CPU | refused |
//!
//! Gradients are `f32`, `bf16` or `f16`. A gradient that is not contiguous is copied first. A variable without a
//! gradient takes no part in the step.
//!
//! # Layers
//!
//! Each variable is a layer. Variables with fewer than two dimensions (biases, normalisation scales) are
//! [exempt](layerwise::LayerConfig::PLAIN) from adaptation and decay; change this with [`Layerwise::configure`], by
//! name or by shape. LARC does not lower the rate of exempt layers: give them a tenth of it, with
//! `LayerConfig { rate: 0.1, ..LayerConfig::PLAIN }`.
//!
//! [`Policy`](layerwise::Policy) clips the gradient of the whole model, or skips whole steps.
//! [`Layerwise::set_gradient_scale`] undoes a loss scale. What happened to each layer is in [`Layerwise::reports`].
//!
//! # Saving
//!
//! [`Layerwise::save`] writes a safetensors file next to that of the weights. Training resumed from both has the same
//! bits, also in another process.

mod numbers;
mod optimizer;
mod parameter;
mod saved;

pub use optimizer::Layerwise;

// The example of README.md is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
