//! Layer-wise adaptive optimizers (LARC, LARS, NovoGrad, LAMB; SGD and Adam too) on plain slices of `f32`, for your own
//! training loop.
//!
//! The kernels use SIMD, need neither `std` nor an allocator, never panic, and give the same bits on every machine. An
//! optimizer is a handful of checked scalars. You own all memory: weights, gradients, moments, and a few numbers of
//! state for each layer.
//!
//! ```
//! use layerwise::{LayerMemory, NovoGrad, NovoGradConfig, NovoGradState};
//!
//! let settings = NovoGradConfig { weight_decay: 0.001, ..NovoGradConfig::DEFAULT };
//! let novograd = NovoGrad::new(settings)?;
//! let (mut weights, mut momentum) = (vec![0.5; 1000], vec![0.0; 1000]);
//! let mut state = NovoGradState::default();
//! for _ in 0..100 {
//!     // From your model, for one layer:
//!     let gradients: Vec<f32> = weights.iter().map(|w| w - 1.0).collect();
//!     let layer = LayerMemory::new(&mut weights, &gradients, &mut state);
//!     let report = novograd.step_layer(0.02, layer.momentum(&mut momentum))?;
//!     assert!(report.applied()); // false if a gradient is NaN, for example
//! }
//! assert!(weights.iter().all(|w| (w - 1.0).abs() < 0.1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The ten names to start with
//!
//! | name | what it is |
//! |---|---|
//! | [`Sgd`], [`NovoGrad`], [`Adam`] | the optimizers, each built from its settings by `new` |
//! | [`SgdConfig`], [`NovoGradConfig`], [`AdamConfig`] | their settings, each with its formula, its default numbers, and constants for other systems |
//! | [`LarcConfig`] | settings of LARC and LARS, a field of the three above |
//! | [`LayerMemory`] | what a step borrows: weights, gradients, moments and state of a layer |
//! | [`Memory`] | owns the moments and states of a model, if you have an allocator |
//! | [`Report`] | what a step did to a layer. Check it, or the [`Summary`] of a step: a layer whose gradient has a NaN is skipped, and nothing else reports that |
//!
//! # Which call do I want?
//!
//! | you have | you want |
//! |---|---|
//! | one layer | [`step_layer`](Optimizer::step_layer) with a [`LayerMemory`] |
//! | separate tensors | [`Memory::step`], which owns the rest (feature `alloc`) |
//! | separate tensors, and no allocator | [`step`](Optimizer::step) with an array of [`LayerMemory`] |
//! | a model in one buffer | [`step`](Optimizer::step) with a [`FlatModel`] |
//! | memory that can be borrowed only under a lock or in a callback | [`step`](Optimizer::step) with your own [`Model`] |
//! | several threads | [`step_parallel`], [`Memory::step_parallel`] (feature `rayon`) |
//! | your own loops, threads or ranks | [`pieces`] of a step |
//! | your own rule | [`rule`], and [`Optimizer::from_rule`] |
//! | your own optimizer, with LARC in front | [`Larc`] |
//! | an optimizer chosen at run time | [`Optimizer::any`], an [`AnyOptimizer`] |
//! | a loss scale, or a mean of micro-batches | [`Step::gradient_scale`], [`accumulate`] |
//! | clipping by global norm, or steps to skip as a whole | [`Policy`], and [`Optimizer::with_policy`] |
//! | a learning rate or a loss scale that changes from step to step | [`schedule`] |
//! | a configuration of OpenSeq2Seq | [`recipe`] (features `serde` and `alloc`) |
//! | layers without decay, with their own rate, or frozen | [`LayerConfig`] |
//! | 16-bit gradients, momentum or weights | [`numbers_of_16_bits`](docs::numbers_of_16_bits) (feature `half`) |
//! | byte buffers | [`buffers`] |
//! | a norm | [`norms`] |
//!
//! # What it computes
//!
//! For one layer with weights `w`, gradient `g` and momentum `m`, learning rate `lr` and weight decay `decay`, where
//! `|·|` is the L2 norm of the layer:
//!
//! ```text
//! LARC       factor = min(1, eta·|w| / (|g| + decay·|w| + eps) / lr)
//!            m = momentum·m + factor·(g + decay·w)
//!            w = w − lr·m
//!
//! NovoGrad   v = beta2·v + (1 − beta2)·|g|²              in the first step v = |g|²
//!            m = beta1·m + (g / (√v + eps) + decay·w)
//!            w = w − lr·m
//!
//! Adam       m = beta1·m + (1 − beta1)·g
//!            v = beta2·v + (1 − beta2)·g²                 element by element
//!            w = w − lr·(m' / (√v' + eps) + decay·w)      m', v': corrected for their start
//! ```
//!
//! | by default | | | |
//! |---|---|---|---|
//! | LARC | `eta` 0.002 | `eps` 1e-8 | `momentum` 0; 0.9 is usual |
//! | NovoGrad | `beta1` 0.95, `beta2` 0.98 | `eps` 1e-8 | |
//! | Adam | `beta1` 0.9, `beta2` 0.999 | `eps` 1e-8 | |
//!
//! Weight decay is 0 by default. LARC is a setting of all three rules, and LARS is its other
//! [mode](settings::LarcMode::Scale). LAMB is [`Adam`] with a [trust ratio](settings::TrustRatio).
//!
//! As a first try, use LARC with a learning rate of 1, NovoGrad with 0.01, and Adam or LAMB with 0.003, each decaying
//! to zero. LARC lowers a rate that is too large, and never raises one that is too small. It does not lower the rate of
//! layers that it does not adapt: give a bias that is [`LayerConfig::PLAIN`] a tenth of it. With momentum, its rate
//! must not [rise](settings::LarcMode), unless [`rate_in_momentum`](SgdConfig::rate_in_momentum) is `true`. [More about
//! the choice](docs::choosing), and settings of [torch, timm, apex, optax and NeMo](docs::coming_from).
//!
//! ![Test accuracy against learning rate, for three sizes of the initial weights][digits.svg]
//!
//! # Features
//!
//! There are no default features, and only `rayon` needs `std`. In a build without optimization, a step takes 300 to
//! 700 times as long as in a release build. These lines in your manifest undo most of that:
//!
//! ```toml
//! [profile.dev.package.layerwise]
//! opt-level = 3
//! ```
//!
//! | feature | what it adds |
//! |---|---|
//! | `alloc` | [`Memory`], which owns the moments, states and settings of a model, and saves and loads the first two; a `Vec` of [`LayerMemory`] is a model |
//! | `half` | [16-bit floats](docs::numbers_of_16_bits): gradients, momentum, split weights and copies of weights in `bf16` or `f16` of the crate `half` |
//! | `rayon` | [`step_parallel`] and [`accumulate_model_parallel`]: threads, with the same bits as one thread |
//! | `serde` | reads, checks and writes settings (under OpenSeq2Seq's names, such as `larc_eta`), states and [`Memory`]; with `alloc` it also reads OpenSeq2Seq's configurations ([`recipe`]) |
//!
//! A wrong argument is an [`Error`], and then nothing is written. There are no models, no backward passes, no GPU and
//! no `f64`: [what it is not](docs::what_it_is_not). Interfaces for C, C++ and Python, and adapters for candle, burn,
//! ndarray and safetensors, are separate crates and packages, in `bindings` and `adapters` of the repository.
//!
//! Everything else is in [`docs`]: what is guaranteed and how it is shown, the arithmetic to the last bit, accuracy,
//! speed, memory, any number of machines, microcontrollers, design.
//!
#![cfg_attr(doc, doc = include_str!("pictures.md"))]
#![cfg_attr(feature = "alloc", doc = "[`Memory`]: Memory\n[`Memory::step`]: Memory::step")]
#![cfg_attr(not(feature = "alloc"), doc = "[`Memory`]: #features\n[`Memory::step`]: #features")]
#![cfg_attr(feature = "rayon", doc = "[`step_parallel`]: Optimizer::step_parallel")]
#![cfg_attr(feature = "rayon", doc = "[`accumulate_model_parallel`]: norms::accumulate_model_parallel")]
#![cfg_attr(not(all(feature = "serde", feature = "alloc")), doc = "[`recipe`]: #features")]
#![cfg_attr(not(feature = "rayon"), doc = "[`step_parallel`]: #features\n[`accumulate_model_parallel`]: #features")]
#![cfg_attr(not(all(feature = "alloc", feature = "rayon")), doc = "[`Memory::step_parallel`]: #features")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![warn(unreachable_pub)]
#![warn(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]

/// Pages: what is guaranteed, what was measured, and what is out of scope.
///
/// They are the files of the directory `docs` of the repository.
pub mod docs {
    // The pages link to each other and to items by reference names. Each page defines them at its end, for readers of
    // the directory. Here links.md comes first, and the first definition wins. Pictures work the same way: a page names
    // a file, and pictures.md, which only builds of the documentation include, has the picture itself.

    #[allow(unused_imports, reason = "for the links of the pages")]
    use crate::*;

    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/guarantees.md")]
    pub mod guarantees {}

    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/contract.md")]
    pub mod numeric_contract {}

    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/bad_input.md")]
    pub mod bad_input {}

    // Its examples need both features.
    #[doc = include_str!("links.md")]
    #[cfg_attr(feature = "alloc", doc = "[`Memory`]: crate::Memory")]
    #[cfg_attr(all(feature = "half", feature = "alloc"), doc = include_str!("../docs/sixteen_bits.md"))]
    #[cfg_attr(not(all(feature = "half", feature = "alloc")), doc = "A page of the features `half` and `alloc`.")]
    pub mod numbers_of_16_bits {}

    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/what_it_is_not.md")]
    pub mod what_it_is_not {}

    #[cfg_attr(doc, doc = include_str!("pictures.md"))]
    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/choosing.md")]
    pub mod choosing {}

    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/coming_from.md")]
    pub mod coming_from {}

    #[cfg_attr(doc, doc = include_str!("pictures.md"))]
    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/accuracy.md")]
    pub mod accuracy {}

    #[cfg_attr(doc, doc = include_str!("pictures.md"))]
    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/speed.md")]
    pub mod speed {}

    #[cfg_attr(doc, doc = include_str!("pictures.md"))]
    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/scale.md")]
    pub mod scale {}

    #[cfg_attr(doc, doc = include_str!("pictures.md"))]
    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/memory.md")]
    pub mod memory {}

    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/microcontrollers.md")]
    pub mod microcontrollers {}

    #[cfg_attr(doc, doc = include_str!("pictures.md"))]
    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/design.md")]
    pub mod design {}

    #[doc = include_str!("links.md")]
    #[doc = include_str!("../docs/unsafe_code.md")]
    pub mod unsafe_code {}
}

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

pub use driver::optimizer::{Adam, AnyOptimizer, NovoGrad, Optimizer, Sgd};
pub use error::{ConfigError, Error};
pub use memory::flat::FlatModel;
pub use memory::layer::LayerMemory;
pub use memory::model::Model;
pub use memory::report::{Outcome, Report, Summary};
pub use memory::table::{LayerSpan, Layers};
pub use rules::adam::{AdamConfig, AdamState};
pub use rules::larc::{Larc, LarcConfig};
pub use rules::layer::LayerConfig;
pub use rules::novograd::{NovoGradConfig, NovoGradState};
pub use rules::policy::Policy;
pub use rules::sgd::{SgdConfig, SgdState};
pub use rules::step::Step;

#[cfg(feature = "rayon")]
pub use driver::parallel::Parallel;
#[cfg(feature = "alloc")]
pub use memory::owner::Memory;

// The other names are in modules, so that the first page lists only the names to start with. They also work without the
// module name.
#[doc(hidden)]
pub use {buffers::*, errors::*, norms::*, rule::AnyRule, rule::LarcFactor, settings::*};

/// The types of settings: modes, limits, corrections.
///
/// They are types of fields of [`LarcConfig`], [`SgdConfig`], [`NovoGradConfig`], [`AdamConfig`] and [`Policy`], whose
/// pages have the formulas.
pub mod settings {
    pub use crate::rules::adam::{AdamCorrection, AdamDecay, TrustRatio};
    pub use crate::rules::larc::{DecayInRatio, LarcMode, ZeroNorm};
    pub use crate::rules::layer::lecun_rate;
    pub use crate::rules::limit::Luc;
    pub use crate::rules::novograd::{BiasCorrection, DecayMode, GradientAveraging, MomentNorm, VInit};
    pub use crate::rules::policy::NonFinite;
}

/// Norms of slices, sums of gradients, and norms that are carried from step to step.
///
/// A step measures what it needs. These are for other uses, and for code that already knows a norm.
pub mod norms {
    #[cfg(feature = "rayon")]
    pub use crate::driver::accumulate::accumulate_model_parallel;
    pub use crate::driver::accumulate::{GradientSum, accumulate, accumulate_finite, accumulate_model};
    pub use crate::driver::norm::{l2_norm, max_norm, sum_of_squares};
    pub use crate::memory::carried::CarriedNorms;
}

/// Buffers that a step takes: floats of any type, also in bytes.
///
/// Slices, arrays and `Vec`s of `f32` need none of this: pass them as they are.
pub mod buffers {
    pub use crate::memory::bytes::{floats, floats_mut, floats_of, floats_of_mut};
    pub use crate::memory::floats::{Element, Floats, FloatsMut};
}

/// The parts of an [`Error`], and the errors of tables, bytes and saved memory.
pub mod errors {
    #[cfg(feature = "alloc")]
    pub use crate::error::LoadError;
    pub use crate::error::{Argument, BytesError, LayersError};
}

/// For authors of rules: what a rule sees, and what it decides.
pub mod rule {
    pub use crate::rules::adam::AdamRule;
    pub use crate::rules::any::AnyRule;
    pub use crate::rules::larc::LarcFactor;
    pub use crate::rules::novograd::NovoGradRule;
    pub use crate::rules::rule::{GradientNorm, Moments, Needs, Norms, Plan, Rule, RuleState, StepNorm};
    pub use crate::rules::sgd::SgdRule;
    pub use crate::rules::update::{SecondMoment, Update};
}

/// Learning rates that change from step to step, and loss scales.
///
/// Both are scalar code without allocation. A [`Schedule`](schedule::Schedule) is a pure function of the step, counted
/// from 0. A [`LossScaler`](schedule::LossScaler) keeps four numbers in the caller's memory, in a
/// [`LossScaleState`](schedule::LossScaleState). A step that it skips does not count: neither the schedule nor the step
/// counters of layers advance.
pub mod schedule {
    pub use crate::rules::loss_scale::{Backoff, LogMax, LossScaleState, LossScaleUpdate, LossScaler, LossScaling};
    pub use crate::rules::rates::{
        CosineDecay, ExpDecay, FixedLr, InvPolyDecay, PiecewiseConstant, PolyDecay, TransformerPolicy,
    };
    pub use crate::rules::schedule::{RatePolicy, Schedule};
}

/// Whole training runs, as OpenSeq2Seq configures them (features `serde` and `alloc`).
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
