//! The header against Rust.

mod constants;
mod header;
mod layout;
mod written;
