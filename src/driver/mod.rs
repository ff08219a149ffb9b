//! Norms, rule, update: written once for all rules.
//!
//! | file | what is in it |
//! |---|---|
//! | `optimizer` | a rule with the crate's kernels |
//! | `layer` | the two phases of a step, for one layer |
//! | `check` | checks of arguments |
//! | `numbers` | the host's arrays in the form that kernels take |
//! | `measure`, `apply` | norms of a layer; an update of one |
//! | `step_norm` | the norm of a step before it is taken |
//! | `step` | steps over one layer and over many |
//! | `parallel` | the same on the threads of rayon |
//! | `tree` | the tree of every sum, for hosts that divide a sum |
//! | `pieces`, `decided` | the same, piece by piece, for hosts with their own loops, threads or ranks |
//! | `owned` | steps on a [`Memory`](crate::Memory) |
//! | `recipe` | the optimizer of a recipe |
//! | `norm`, `accumulate`, `front` | norms of slices; sums of gradients; LARC in front of a host's optimizer |

pub(crate) mod accumulate;
mod apply;
mod check;
mod decided;
mod front;
mod layer;
mod measure;
pub(crate) mod norm;
mod numbers;
pub(crate) mod optimizer;
#[cfg(feature = "alloc")]
mod owned;
#[cfg(feature = "rayon")]
pub(crate) mod parallel;
pub mod pieces;
#[cfg(all(feature = "serde", feature = "alloc"))]
mod recipe;
mod step;
mod step_norm;
mod tree;
