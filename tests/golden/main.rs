//! Replays recorded runs of other systems: ten steps of sixteen layers each, against the crate and the reference;
//! OpenSeq2Seq's schedules, loss scalers, clipping and recipes; and casts to 16 bits.
//!
//! The files of `tests/data/traces` are always replayed. Those of another directory, or one file (`*.json` or
//! `*.json.gz` in the same formats, see `tests/data/README.md`), are replayed by
//!
//!     LAYERWISE_TRACES=<directory> cargo test --test golden -- --nocapture
//!
//! Each file prints a line. An unknown kind of file, peer, or setting of a peer is a failure.
//!
//! | file | what is in it |
//! |---|---|
//! | `files` | the files of a directory |
//! | `inputs` | the weights and gradients that recorded runs are fed with |
//! | `compare` | how far numbers are off |
//! | `keys` | settings by name |
//! | `peers/` | the settings of other optimizers, translated to this crate |
//! | `optimizers`, `run` | traces of optimizers, and the steps that replay them |
//! | `policies`, `scalers`, `clip`, `mixed` | traces of schedules, loss scalers, clipping and mixed precision |
//! | `recipes` | configurations: read, and trained with (`recipes_elsewhere` in a build that cannot read them) |
//! | `altered` | files with something wrong in them, which must fail |
//! | `casts`, `crate_casts` | casts between 32 and 16 bits, by all implementations and by the crate |

#[cfg(panic = "unwind")]
mod altered;
#[cfg(feature = "half")]
#[path = "../harness/backends.rs"]
#[allow(dead_code, reason = "cases are named otherwise here")]
mod backends;
mod casts;
mod clip;
mod compare;
#[cfg(feature = "half")]
mod crate_casts;
mod files;
mod inputs;
mod keys;
mod mixed;
mod optimizers;
mod peers;
mod policies;
#[cfg(all(feature = "serde", feature = "alloc"))]
mod recipes;
#[cfg(not(all(feature = "serde", feature = "alloc")))]
#[path = "recipes_elsewhere.rs"]
mod recipes;
#[path = "../reference/mod.rs"]
mod reference;
mod run;
mod scalers;

use files::File;
use inputs::Inputs;
use serde_json::Value;
use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::Once;

/// A kind of file.
struct Kind {
    name: &'static str,
    /// Whether a file is of this kind, by its fields.
    is: fn(&Value) -> bool,
    /// Replays a file, or panics. Returns what was compared, and the largest deviation.
    replay: fn(&File, &Inputs) -> String,
}

const KINDS: [Kind; 8] = [
    Kind { name: "optimizers", is: optimizers::is, replay: optimizers::replay },
    Kind { name: "rate policies", is: policies::is, replay: policies::replay },
    Kind { name: "loss scalers", is: scalers::is, replay: scalers::replay },
    Kind { name: "global clips", is: clip::is, replay: clip::replay },
    Kind { name: "trainings in mixed precision", is: mixed::is, replay: mixed::replay },
    Kind { name: "files of recipes", is: recipes::is, replay: recipes::replay },
    Kind { name: "casts", is: casts::is, replay: casts::replay },
    Kind { name: "inputs", is: inputs::is, replay: inputs::replay },
];

/// Whether each value is a training configuration of OpenSeq2Seq.
fn is_of_recipes(value: &Value) -> bool {
    let is_recipe = |value: &Value| value.get("optimizer").is_some() || value.get("lr_policy").is_some();
    value.as_object().is_some_and(|file| !file.is_empty() && file.values().all(is_recipe))
}

/// Replays a file; returns the name of its kind.
fn replay_file(file: &File, inputs: &Inputs) -> &'static str {
    let mut kinds = KINDS.iter().filter(|kind| (kind.is)(&file.value));
    let (Some(kind), None) = (kinds.next(), kinds.next()) else { panic!("its kind is not known") };
    println!("{}: {}", file.name, (kind.replay)(file, inputs));
    kind.name
}

/// The message of a panic.
fn message(panic: &dyn Any) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

thread_local! {
    /// Whether a panic of this thread is reported by the code that catches it.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Silences panics that are caught.
fn quiet_what_is_caught() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_CAUGHT.get() {
                print(panic)
            }
        }));
    });
}

/// The same, with the error for a bad file.
fn try_replay(file: &File, inputs: &Inputs) -> Result<&'static str, String> {
    quiet_what_is_caught();
    IS_CAUGHT.set(cfg!(panic = "unwind"));
    let replayed = catch_unwind(AssertUnwindSafe(|| replay_file(file, inputs)));
    IS_CAUGHT.set(false);
    replayed.map_err(|panic| format!("{}: {}", file.name, message(&*panic)))
}

/// Replays every file of a directory, and fails if one of them fails; returns how many there were of each kind.
fn replay(path: &Path) -> BTreeMap<&'static str, usize> {
    let files = files::all(path);
    // A directory of traces may have its own inputs.
    let of_inputs = files.iter().flatten().find(|file| inputs::is(&file.value));
    let inputs = of_inputs.map_or_else(Inputs::stored, File::parse);
    let (mut counts, mut failures) = (BTreeMap::new(), vec![]);
    for file in &files {
        match file.as_ref().map_err(String::clone).and_then(|file| try_replay(file, &inputs)) {
            Ok(kind) => *counts.entry(kind).or_default() += 1,
            Err(failure) => failures.push(failure),
        }
    }
    assert!(failures.is_empty(), "{} of {} files fail:\n{}", failures.len(), files.len(), failures.join("\n"));
    counts
}

#[test]
fn replays_every_stored_trace() {
    let counts = replay(&files::data().join("traces"));
    let expected = [
        ("optimizers", 53),
        ("rate policies", 1),
        ("loss scalers", 2),
        ("global clips", 1),
        ("trainings in mixed precision", 1),
        ("files of recipes", 1),
        ("casts", 1),
    ];
    assert_eq!(counts, expected.into());
}

#[test]
fn replays_the_traces_of_the_environment() {
    if let Some(path) = std::env::var_os("LAYERWISE_TRACES") {
        let counts = replay(&PathBuf::from(path));
        println!("{counts:?}");
        assert!(!counts.is_empty(), "there are no traces");
    }
}

#[test]
fn inputs_follow_the_recipe() {
    replay_file(&files::stored("inputs_layers.json"), &Inputs::stored());
}
