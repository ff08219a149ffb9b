//! What layer-wise optimizers compute: scalars only.
//!
//! A rule looks at norms and decides an [`Update`](update::Update). It knows nothing about slices, and has no loop over
//! elements.
//!
//! | file | what is in it |
//! |---|---|
//! | `rule` | the interface: norms in, a plan out; the state of a layer |
//! | `update` | what a rule can do to memory |
//! | `larc`, `sgd`, `novograd`, `adam` | the rules |
//! | `any` | a rule chosen at run time |
//! | `limit` | a limit of the step, for every rule |
//! | `presets` | settings that reproduce other systems |
//! | `schedule`, `rates`, `loss_scale` | learning rates that change from step to step; loss scalers |
//! | `recipe` | a whole training run, as OpenSeq2Seq configures it |
//! | `layer`, `step`, `policy` | what differs from layer to layer and from step to step; decisions for whole steps |
//! | `stored` | how settings are read and written with serde |
//! | `double` | `f64` arithmetic for machines without it |

pub(crate) mod adam;
pub(crate) mod any;
pub(crate) mod double;
#[cfg(feature = "serde")]
mod exact;
#[cfg(feature = "serde")]
mod exact_list;
pub(crate) mod larc;
pub(crate) mod layer;
pub(crate) mod limit;
pub(crate) mod loss_scale;
pub(crate) mod novograd;
pub(crate) mod policy;
mod presets;
pub(crate) mod rates;
#[cfg(all(feature = "serde", feature = "alloc"))]
pub(crate) mod recipe;
pub(crate) mod rule;
pub(crate) mod schedule;
pub(crate) mod sgd;
pub(crate) mod step;
#[cfg(feature = "serde")]
mod stored;
pub(crate) mod update;
