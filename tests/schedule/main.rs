//! Rate policies and loss scalers: what happens at their edges, and their settings as text. (`tests/golden` replays
//! recorded runs.)

mod rates;
mod scales;
#[cfg(feature = "serde")]
mod stored;
#[cfg(feature = "serde")]
#[path = "../harness/text.rs"]
mod text;
