//! Rate policies and loss scalers: recorded runs of OpenSeq2Seq, and what happens at their edges.

#[path = "../harness/inputs.rs"]
mod inputs;
mod rates;
mod scales;
#[cfg(feature = "serde")]
mod stored;
#[cfg(feature = "serde")]
#[path = "../harness/text.rs"]
mod text;
#[path = "../harness/training.rs"]
mod training;

use inputs::Inputs;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Replays the traces of a directory that are of these kinds; returns how many there were.
fn replay(directory: &Path) -> usize {
    let inputs = Inputs::stored();
    let replayed = |(name, trace): &(String, Value)| training::replay(name, trace, |step| inputs.gradients(step));
    inputs::traces(directory).filter(replayed).count()
}

#[test]
fn replays_every_stored_trace() {
    assert_eq!(replay(&inputs::data().join("traces")), 5);
}

#[test]
fn replays_the_traces_of_the_environment() {
    if let Some(directory) = std::env::var_os("LAYERWISE_TRACES") {
        replay(&PathBuf::from(directory));
    }
}
