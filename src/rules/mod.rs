//! What layer-wise optimizers compute: scalars only.

pub(crate) mod larc;
pub(crate) mod novograd;
pub(crate) mod policy;
mod presets;
pub(crate) mod rule;
pub(crate) mod sgd;
pub(crate) mod update;
