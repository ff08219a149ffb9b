//! The fuzz targets. Each turns bytes into calls, valid and invalid ones, and checks them with the oracle of the tests.

#[path = "../../tests/harness/mod.rs"]
mod harness;
#[path = "../../tests/reference/mod.rs"]
mod reference;

mod accumulate;
mod bytes;
mod c;
mod halves;
mod input;
mod layer;
mod models;
mod norms;
mod owner;
mod pieces;
mod recipes;
mod schedules;
mod settings;
mod tree;

pub use accumulate::accumulate;
pub use bytes::bytes;
pub use c::c;
pub use halves::halves;
pub use layer::{adam, novograd, sgd};
pub use models::{models, parallel};
pub use norms::norms;
pub use owner::owner;
pub use pieces::pieces;
pub use recipes::recipes;
pub use schedules::schedules;
pub use settings::settings;
pub use tree::tree;

use arbitrary::Unstructured;

/// Runs on an input; an error if the input ends too early.
pub type Target = fn(&mut Unstructured) -> arbitrary::Result<()>;

/// All targets by name.
pub const TARGETS: [(&str, Target); 16] = [
    ("norms", norms),
    ("sgd", sgd),
    ("novograd", novograd),
    ("adam", adam),
    ("models", models),
    ("parallel", parallel),
    ("pieces", pieces),
    ("accumulate", accumulate),
    ("halves", halves),
    ("owner", owner),
    ("bytes", bytes),
    ("settings", settings),
    ("tree", tree),
    ("recipes", recipes),
    ("schedules", schedules),
    ("c", c),
];

/// Runs a target, which asserts what it checks.
pub fn run(target: Target, data: &[u8]) {
    let _ = target(&mut Unstructured::new(data));
}
