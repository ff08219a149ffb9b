//! 16-bit floats: a step on them equals the step on the same numbers in `f32`, with rounded results; a step on split
//! weights equals the step in `f32`, bit for bit.

#![cfg(feature = "half")]

#[path = "../harness/backends.rs"]
mod backends;
mod host;
mod models;
mod norms;
mod special;
mod split;
mod steps;
