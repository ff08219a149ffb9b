//! What tests and fuzzing share: a host's layers and models, numbers to fill them with, optimizers, and what a step
//! must do.
//!
//! It needs the module `reference` next to it, in the root of the test.
//!
//! | file | what is in it |
//! |---|---|
//! | `compare` | whether numbers, reports and summaries are the same |
//! | `data` | numbers of every kind, and lengths around every boundary |
//! | `settings` | settings that together reach every branch of every rule |
//! | `optimizers` | the optimizers of most tests, by name |
//! | `backends` | every instruction set that this processor has |
//! | `host` | [`Host`]: one layer in guarded arrays, and everything that is kept for it |
//! | `oracle` | steps of a [`Host`] that are checked against the contract |
//! | `net` | [`Net`]: a model in one buffer, stepped in every way that the crate has, and by the contract |
//! | `pieces` | steps of a [`Net`] by `layerwise::pieces` |

#![allow(dead_code)] // Each test uses its own part.

pub mod backends;
pub mod compare;
pub mod data;
pub mod host;
pub mod net;
pub mod optimizers;
mod oracle;
pub mod pieces;
pub mod settings;

#[allow(unused_imports)] // So here.
pub use {
    backends::{Case, backends, on},
    compare::{Totals, assert_same, assert_same_report, bits, same, wide},
    data::{KINDS, fill, numbers, uniform},
    host::{Array, Host},
    net::{Net, Walk, walks},
};
