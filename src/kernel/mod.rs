//! The loops: sums of squares for every norm, and updates.
//!
//! This floor works on arrays. It knows nothing about hyper-parameters (it gets final scalars) or instruction sets (it
//! is generic over [`crate::lanes::Lanes`], and over [`crate::lanes::One`] for processors without vectors). No kernel
//! allocates or can panic.
//!
//! | file | what is in it |
//! |---|---|
//! | `shape` | leaf, tile, tree: the order of every sum |
//! | `array` | read-only arrays of any element type |
//! | `machine` | an instruction set, and one or more threads for the halves of a tree |
//! | `terms` | what a norm squares: an array, or a term of several arrays |
//! | `squares` | the loop that sums squares, with vectors |
//! | `scalar` | the same, one number at a time |
//! | `formulas` | the arithmetic of updates |
//! | `stream` | the loop that writes |
//! | `numbers` | arrays whose element type is known at run time |
//! | `any` | their sums of squares |
//! | `mixed`, `typed`, `convert` | their updates: the choice, the loop, and conversions for arrays without a loop |
//! | `max` | the loop of the maximum norm |

pub(crate) mod any;
pub(crate) mod array;
#[cfg(feature = "half")]
mod convert;
pub(crate) mod formulas;
pub(crate) mod machine;
pub(crate) mod max;
#[cfg(feature = "half")]
pub(crate) mod mixed;
pub(crate) mod numbers;
mod scalar;
pub(crate) mod shape;
pub(crate) mod squares;
pub(crate) mod stream;
pub(crate) mod terms;
#[cfg(test)]
mod tests;
#[cfg(feature = "half")]
mod typed;
