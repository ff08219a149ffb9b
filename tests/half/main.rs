//! Numbers of 16 bits: a step on them is the step on the same numbers in `f32`, and what it writes is that, rounded; a
//! step on split weights is the step in `f32`, bit for bit.

#![cfg(feature = "half")]

#[path = "../harness/backends.rs"]
mod backends;
mod host;
mod models;
mod norms;
mod special;
mod split;
mod steps;
