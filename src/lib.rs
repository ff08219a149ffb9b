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

mod driver;
mod error;
mod kernel;
mod lanes;
mod memory;
mod rules;

#[cfg(feature = "serde")]
pub(crate) use error::serde_checked;

pub use driver::accumulate::accumulate;
pub use driver::many::{ModelState, Summary};
pub use driver::norm::{LEAF, fold_leaf_sums, l2_norm, l2_norms, leaf_sums, max_norm, sum_of_squares};
pub use driver::one::Optimizer;
pub use error::{ConfigError, Error, Slice};
pub use memory::bytes::{BytesError, LayerBytes, floats, floats_mut};
pub use memory::carried::CarriedNorms;
pub use memory::layer::{Layer, LayerView, lecun_rate};
pub use memory::report::{Outcome, Report};
pub use memory::table::{LayerSpan, Layers, LayersError};
pub use rules::larc::{DecayInRatio, Larc, LarcConfig, LarcFactor, LarcMode, ZeroNorm};
pub use rules::novograd::{
    BiasCorrection, DecayMode, GradientAveraging, Luc, MomentNorm, NovoGrad, NovoGradConfig, NovoGradRule,
    NovoGradState, VInit,
};
pub use rules::policy::{NonFinite, Policy};
pub use rules::rule::{GradientNorm, Needs, Norms, Plan, Rule};
pub use rules::sgd::{Sgd, SgdConfig, SgdRule, SgdState};
pub use rules::update::Update;
