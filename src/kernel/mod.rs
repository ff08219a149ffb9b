//! Loops: the sums of squares of every norm, and the update.
//!
//! This floor moves memory. It knows nothing of hyper-parameters (it gets ready scalars) and nothing of instruction
//! sets (it is written over [`crate::lanes::Lanes`], and over [`crate::lanes::One`] for machines without vectors). No
//! kernel allocates or can panic.
//!
//! | file | what is in it |
//! |---|---|
//! | `shape` | leaf, tile, tree: the order of every sum |
//! | `array` | arrays to be summed, of numbers of any type |
//! | `machine` | an instruction set, and one thread or more for the halves of a tree |
//! | `terms` | what a norm squares: an array, or a term made of several |
//! | `squares` | the loop that sums squares, with vectors |
//! | `scalar` | the same, one number at a time |
//! | `formulas` | the arithmetic of updates |
//! | `stream` | the loop that writes |
//! | `numbers` | arrays of numbers of a type that is known when the program runs |
//! | `any` | their sums of squares |
//! | `mixed`, `typed`, `convert` | their updates: the way, the loop, and the conversions of what has no loop |
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
