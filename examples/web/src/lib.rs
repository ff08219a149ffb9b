//! Trains a small classifier of handwritten digits with all arrays in static memory, in a web page or natively, with
//! the same bits.
//!
//! `exports` is what the page calls, and nothing else is specific to WebAssembly. `bin/native.rs` runs the same
//! training on the desktop.

#![no_std]

mod contenders;
mod digits;
#[cfg(target_arch = "wasm32")]
mod exports;
mod network;
mod training;

pub use contenders::{CONTENDERS, Contender, RATES};
pub use digits::{DIGITS, Digits, PIXELS};
pub use network::PARAMETERS;
pub use training::{Refusal, TESTED, TRAINED, Training};
