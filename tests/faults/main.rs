//! What goes wrong in real training runs, and what a step, a saved state or a number out of range must do then.

mod decays;
#[path = "../harness/mod.rs"]
mod harness;
mod large_decay;
mod numbers;
mod overflow;
#[path = "../reference/mod.rs"]
mod reference;
mod rising_rates;
#[cfg(feature = "serde")]
mod saving;
mod schedules;
mod skip_step;
mod tiny_weights;
