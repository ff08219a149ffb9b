//! Long runs: what errors of `f32` add up to over many steps, and training that goes on from what was saved.
//!
//! They are as long as environment variables say, and short where these say nothing. `.ci/nightly` has the long ones.

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
