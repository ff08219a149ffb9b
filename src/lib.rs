//! Layer-wise adaptive optimizers on plain slices.
//!
#![doc = include_str!("../README.md")]
#![no_std]
#![warn(unreachable_pub)]
#![warn(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]

#[doc = include_str!("../docs/contract.md")]
pub mod numeric_contract {
    #[cfg(doc)]
    use crate::{CarriedNorms, LEAF, Update};
}

#[doc = include_str!("../docs/unsafe_code.md")]
pub mod unsafe_code {
    #[cfg(doc)]
    use crate::floats;
}

#[doc = include_str!("../docs/bad_input.md")]
pub mod bad_input {
    #[cfg(doc)]
    use crate::{BytesError, ConfigError, Error, LayersError, NonFinite, Outcome, Report, Update};
}

mod accumulate;
mod bytes;
mod carried;
mod error;
mod kernel;
mod larc;
mod layer;
mod layers;
mod model;
mod norm;
mod novograd;
mod optimizer;
#[cfg(feature = "rayon")]
mod parallel;
mod peers;
mod policy;
mod report;
mod rule;
#[cfg(feature = "serde")]
mod serde_checked;
mod sgd;
mod simd;
mod update;

#[cfg(feature = "serde")]
pub(crate) use serde_checked::serde_checked;

pub use accumulate::accumulate;
pub use bytes::{BytesError, LayerBytes, floats, floats_mut};
pub use carried::CarriedNorms;
pub use error::{ConfigError, Error, Slice};
pub use larc::{DecayInRatio, Larc, LarcConfig, LarcFactor, LarcMode, ZeroNorm};
pub use layer::{Layer, LayerView, lecun_rate};
pub use layers::{LayerSpan, Layers, LayersError};
pub use model::{ModelState, Summary};
pub use norm::{LEAF, fold_leaf_sums, l2_norm, l2_norms, leaf_sums, max_norm, sum_of_squares};
pub use novograd::{
    BiasCorrection, DecayMode, GradientAveraging, Luc, MomentNorm, NovoGrad, NovoGradConfig, NovoGradRule,
    NovoGradState, VInit,
};
pub use optimizer::Optimizer;
pub use policy::{NonFinite, Policy};
pub use report::{Outcome, Report};
pub use rule::{GradientNorm, Needs, Norms, Plan, Rule};
pub use sgd::{Sgd, SgdConfig, SgdRule, SgdState};
pub use update::Update;
