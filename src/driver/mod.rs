//! Norms, rule, update: written once for all rules.

pub(crate) mod accumulate;
pub(crate) mod many;
pub(crate) mod norm;
pub(crate) mod one;
#[cfg(feature = "rayon")]
mod parallel;
