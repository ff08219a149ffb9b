//! What a host passes to a step, and what it gets back.
//!
//! | file | what is in it |
//! |---|---|
//! | `floats`, `bytes` | slices of any element type; numbers in byte buffers |
//! | `weights` | weights with their lower halves and their copy, if any |
//! | `layer` | one layer with the memory that a step needs |
//! | `model`, `table`, `flat` | many layers: the trait; the table of layers in one buffer; a model in one buffer |
//! | `owner`, `moment`, `saved` | with the feature `alloc`, the owner of all that an optimizer remembers; its momentum; its saved form |
//! | `halves` | what an owner can keep in 16 bits |
//! | `carried` | norms that are known before a step |
//! | `report` | what a step did |

pub(crate) mod bytes;
pub(crate) mod carried;
pub(crate) mod flat;
pub(crate) mod floats;
#[cfg(all(feature = "half", feature = "alloc"))]
mod halves;
pub(crate) mod layer;
pub(crate) mod model;
#[cfg(feature = "alloc")]
mod moment;
#[cfg(feature = "alloc")]
pub(crate) mod owner;
pub(crate) mod report;
#[cfg(feature = "alloc")]
mod saved;
pub(crate) mod table;
pub(crate) mod weights;
