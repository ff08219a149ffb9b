//! Long runs: how `f32` errors add up over many steps, and training that is saved and resumed.
//!
//! Environment variables set their length; by default they are short. `.ci/nightly` runs the long ones.

mod accuracy;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../reference/mod.rs"]
mod reference;
#[cfg(feature = "alloc")]
mod resume;

/// A number from the environment.
fn count(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => default,
    }
}
