//! Layer-wise adaptive optimizers (LARC, LARS, NovoGrad, LAMB; SGD and Adam too) on plain slices, for training loops
//! outside the big frameworks.
//!
//! The kernels use SIMD, need neither `std` nor an allocator, never panic, and give the same bits on every machine. An
//! optimizer is a handful of checked scalars. All memory is yours: weights, gradients, moments, and a few numbers of
//! state for each layer.
//!
//! ```
//! use layerwise::{LayerMemory, NovoGrad, NovoGradConfig, NovoGradState};
//!
//! let novograd = NovoGrad::new(NovoGradConfig { weight_decay: 0.001, ..NovoGradConfig::DEFAULT })?;
//! let (mut weights, mut momentum) = (vec![0.5; 1000], vec![0.0; 1000]);
//! let mut state = NovoGradState::default();
//! for _ in 0..100 {
//!     let gradients: Vec<f32> = weights.iter().map(|w| w - 1.0).collect(); // yours, of one layer
//!     novograd.step_layer(0.02, LayerMemory::new(&mut weights, &gradients, &mut state).momentum(&mut momentum))?;
//! }
//! assert!(weights.iter().all(|w| (w - 1.0).abs() < 0.1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Which call do I want?
//!
//! | you have | you want |
//! |---|---|
//! | one layer | [`step_layer`](Optimizer::step_layer) with a [`LayerMemory`] |
//! | tensors of your own | [`Memory::step`], which owns the rest (feature `alloc`) |
//! | tensors of your own, and no allocator | [`step`](Optimizer::step) with an array of [`LayerMemory`] |
//! | a model in one buffer | [`step`](Optimizer::step) with a [`FlatModel`] |
//! | memory that is lent under a lock or in a callback | [`step`](Optimizer::step) with your own [`Model`] |
//! | several threads | [`step_parallel`], [`Memory::step_parallel`] (feature `rayon`) |
//! | loops, threads or ranks of your own | [`pieces`] of a step |
//! | a rule of your own | [`rule`], and [`Optimizer::from_rule`] |
//! | an optimizer of your own, with LARC in front | [`Larc`] |
//! | an optimizer that is chosen at run time | [`Optimizer::any`], an [`AnyOptimizer`] |
//! | a loss scale, or a mean of micro-batches | [`Step::gradient_scale`], [`accumulate`] |
//! | a global clip, or whole steps to skip | [`Policy`], and [`Optimizer::with_policy`] |
//! | a learning rate or a loss scale that changes from step to step | [`schedule`] |
//! | a configuration of OpenSeq2Seq | [`recipe`] (features `serde` and `alloc`) |
//! | layers without decay, with a rate of their own, frozen | [`LayerConfig`] |
//! | gradients, momentum or weights of 16 bits | [`numbers_of_16_bits`] (feature `half`) |
//! | buffers of bytes | [`floats`] and [`floats_mut`], [`floats_of`] for other elements than `f32` |
//! | a norm | [`l2_norm`], [`sum_of_squares`], [`max_norm`] |
//!
//! What a caller gets wrong is an [`Error`], and nothing is written. What is wrong with the numbers of a layer is an
//! [`Outcome`] in its [`Report`]: read it, for training goes on without that layer.
//!
//! # What it computes
//!
//! For one layer with weights `w`, gradient `g` and momentum `m`, learning rate `lr` and weight decay `decay`, where
//! `|·|` is the L2 norm of the layer:
//!
//! ```text
//! LARC        factor = min(1, eta·|w| / (|g| + decay·|w| + eps) / lr)     eta 0.002, eps 1e-8
//!             m = momentum·m + factor·(g + decay·w)                       momentum 0.9 is customary
//!             w = w − lr·m
//!
//! NovoGrad    v = beta2·v + (1 − beta2)·|g|²                              beta2 0.98; v = |g|² in the first step
//!             m = beta1·m + (g / (√v + eps) + decay·w)                    beta1 0.95, eps 1e-8
//!             w = w − lr·m
//!
//! Adam        m = beta1·m + (1 − beta1)·g                                 beta1 0.9
//!             v = beta2·v + (1 − beta2)·g²                                beta2 0.999
//!             w = w − lr·(m' / (√v' + eps) + decay·w)                     eps 1e-8; m' and v' are corrected for their start
//! ```
//!
//! LARC is a setting of [`Sgd`], [`NovoGrad`] and [`Adam`], and LARS is its other [mode](LarcMode::Scale). LAMB is
//! [`Adam`] with a [trust ratio](TrustRatio). [`LarcConfig`], [`SgdConfig`], [`NovoGradConfig`] and [`AdamConfig`] have
//! every setting with its default, and constants that reproduce OpenSeq2Seq, NeMo, apex, timm, optax, TensorFlow
//! Addons, Lightning Bolts and pytorch_optimizer. Weight decay is 0 by default.
//!
//! To begin with, try LARC at a learning rate of 1, NovoGrad at 0.01, and Adam or LAMB at 0.003, all falling to 0. LARC
//! lowers a rate that is too large, and never raises one that is too small. With momentum its rate may only
//! [fall](LarcMode). [Accuracy](accuracy) has a sweep over rates.
//!
//! # Features
//!
//! There are no default features, and no feature needs `std` but `rayon`.
//!
//! | feature | what it adds |
//! |---|---|
//! | `alloc` | [`Memory`], the owner of momentum, states and settings of a model, which also saves and loads them; a `Vec` of [`LayerMemory`] is a model |
//! | `half` | [numbers of 16 bits][`numbers_of_16_bits`]: gradients, momentum, split weights and copies of weights in `bf16` or `f16` of the crate `half` |
//! | `rayon` | [`step_parallel`] and [`accumulate_model_parallel`]: threads, with the bits of one thread |
//! | `serde` | settings are read (in the words of OpenSeq2Seq, such as `larc_eta`), checked and written; states and [`Memory`] too |
//!
//! # What it is not
//!
//! There are no models and no backward passes. Numbers are in the memory of the processor, `f32` or with the feature
//! `half` of 16 bits: no GPU, no `f64`, nothing of 8 bits. Interfaces for C, C++ and Python, and adapters for candle
//! and burn, are crates and packages of their own, in `bindings` and `adapters` of the repository.
//!
//! # More
//!
//! - [`guarantees`]: what holds, and the command that shows it
//! - [`numeric_contract`]: the arithmetic to the last bit
//! - [`bad_input`]: what wrong arguments and wrong numbers get
//! - [`numbers_of_16_bits`]: their four uses, with examples, and bytes for each weight
//! - [`accuracy`], [`speed`], [`microcontrollers`]: measured, with commands
//! - [`design`]: the source, and what to touch to add something; [`unsafe_code`]: each block with its reason
//!
#![cfg_attr(feature = "alloc", doc = "[`Memory`]: Memory\n[`Memory::step`]: Memory::step")]
#![cfg_attr(not(feature = "alloc"), doc = "[`Memory`]: #features\n[`Memory::step`]: #features")]
#![cfg_attr(feature = "rayon", doc = "[`step_parallel`]: Optimizer::step_parallel")]
#![cfg_attr(not(all(feature = "serde", feature = "alloc")), doc = "[`recipe`]: #features")]
#![cfg_attr(not(feature = "rayon"), doc = "[`step_parallel`]: #features\n[`accumulate_model_parallel`]: #features")]
#![cfg_attr(not(all(feature = "alloc", feature = "rayon")), doc = "[`Memory::step_parallel`]: #features")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![warn(unreachable_pub)]
#![warn(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]

// Pages of the directory docs. They link to each other, and to items, by names that are defined at the end of each
// page, for readers of the directory, and in links.md, which comes first here and therefore counts.

#[doc = include_str!("links.md")]
#[doc = include_str!("../docs/guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../docs/contract.md")]
pub mod numeric_contract {}

// Its examples need both features.
#[doc = include_str!("links.md")]
#[cfg_attr(feature = "alloc", doc = "[`Memory`]: crate::Memory")]
#[cfg_attr(all(feature = "half", feature = "alloc"), doc = include_str!("../docs/sixteen_bits.md"))]
#[cfg_attr(not(all(feature = "half", feature = "alloc")), doc = "A page of the features `half` and `alloc`.")]
pub mod numbers_of_16_bits {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../docs/accuracy.md")]
pub mod accuracy {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../docs/speed.md")]
pub mod speed {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../docs/microcontrollers.md")]
pub mod microcontrollers {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../docs/design.md")]
pub mod design {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../docs/unsafe_code.md")]
pub mod unsafe_code {}

#[doc = include_str!("links.md")]
#[doc = include_str!("../docs/bad_input.md")]
pub mod bad_input {}

// The examples of README.md are run where all features are on.
#[cfg(all(doctest, feature = "alloc", feature = "rayon"))]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(feature = "alloc")]
extern crate alloc;

mod driver;
mod error;
mod kernel;
mod lanes;
mod memory;
mod rules;

pub use driver::accumulate::{GradientSum, accumulate, accumulate_finite, accumulate_model};
pub use driver::norm::{l2_norm, max_norm, sum_of_squares};
pub use driver::optimizer::{Adam, AnyOptimizer, NovoGrad, Optimizer, Sgd};
pub use error::{Argument, BytesError, ConfigError, Error, LayersError};
pub use memory::bytes::{floats, floats_mut, floats_of, floats_of_mut};
pub use memory::carried::CarriedNorms;
pub use memory::flat::FlatModel;
pub use memory::floats::{Element, Floats, FloatsMut};
pub use memory::layer::LayerMemory;
pub use memory::model::Model;
pub use memory::report::{Outcome, Report, Summary};
pub use memory::table::{LayerSpan, Layers};
pub use rules::adam::{AdamConfig, AdamCorrection, AdamDecay, AdamState, TrustRatio};
pub use rules::any::AnyRule;
pub use rules::larc::{DecayInRatio, Larc, LarcConfig, LarcFactor, LarcMode, ZeroNorm};
pub use rules::layer::{LayerConfig, lecun_rate};
pub use rules::limit::Luc;
pub use rules::novograd::{
    BiasCorrection, DecayMode, GradientAveraging, MomentNorm, NovoGradConfig, NovoGradState, VInit,
};
pub use rules::policy::{NonFinite, Policy};
pub use rules::sgd::{SgdConfig, SgdState};
pub use rules::step::Step;

#[cfg(feature = "rayon")]
pub use {driver::accumulate::accumulate_model_parallel, driver::parallel::Parallel};
#[cfg(feature = "alloc")]
pub use {error::LoadError, memory::owner::Memory};

/// For authors of rules: what a rule sees, and what it decides.
pub mod rule {
    pub use crate::rules::adam::AdamRule;
    pub use crate::rules::novograd::NovoGradRule;
    pub use crate::rules::rule::{GradientNorm, Moments, Needs, Norms, Plan, Rule, RuleState, StepNorm};
    pub use crate::rules::sgd::SgdRule;
    pub use crate::rules::update::{SecondMoment, Update};
}

/// What surrounds the steps of a training: learning rates that change from step to step, and loss scales.
///
/// Both are scalar code without allocation. A [`Schedule`](schedule::Schedule) is a pure function of the step, counted
/// from 0. A [`LossScaler`](schedule::LossScaler) keeps four numbers in the caller's memory, in a
/// [`LossScaleState`](schedule::LossScaleState). A step that it skips does not count: the schedule and the counters of
/// layers stay where they are.
pub mod schedule {
    pub use crate::rules::loss_scale::{Backoff, LogMax, LossScaleState, LossScaleUpdate, LossScaler, LossScaling};
    pub use crate::rules::rates::{
        CosineDecay, ExpDecay, FixedLr, InvPolyDecay, PiecewiseConstant, PolyDecay, TransformerPolicy,
    };
    pub use crate::rules::schedule::{RatePolicy, Schedule};
}

/// Whole trainings, as OpenSeq2Seq configures them (features `serde` and `alloc`).
#[cfg(all(feature = "serde", feature = "alloc"))]
pub mod recipe {
    pub use crate::rules::recipe::error::RecipeError;
    pub use crate::rules::recipe::value::Configuration;
    pub use crate::rules::recipe::{Recipe, Training};
}

#[doc(inline)]
pub use driver::pieces;

#[doc(hidden)]
pub use {driver::norm::on, lanes::Backend};
