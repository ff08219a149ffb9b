//! `f64` numbers in human-readable formats. Some JSON readers are off by one unit in the last place unless a number is
//! short, so long ones are written as strings. Rust's shortest decimal form round-trips in Rust.

use core::fmt::{self, Write};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) fn serialize<S: Serializer>(x: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() && !is_short(*x) {
        serializer.collect_str(x)
    } else {
        serializer.serialize_f64(*x)
    }
}

/// Whether every reader gets a number right: its digits, with the `.0` that some writers add, form an integer below 2⁵³
/// or an even one below 2⁵⁴, and its power of ten is exact too.
fn is_short(x: f64) -> bool {
    struct Places(usize);
    impl Write for Places {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    x.is_finite() && write!(Places(15), "{x}").is_ok()
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(NumberOrText)
    } else {
        deserializer.deserialize_f64(NumberOrText)
    }
}

/// A number, or a number as text.
struct NumberOrText;

impl Visitor<'_> for NumberOrText {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, as such or as text")
    }

    fn visit_f64<E: Error>(self, x: f64) -> Result<f64, E> {
        Ok(x)
    }

    fn visit_u64<E: Error>(self, x: u64) -> Result<f64, E> {
        Ok(x as f64)
    }

    fn visit_i64<E: Error>(self, x: i64) -> Result<f64, E> {
        Ok(x as f64)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
        text.parse().map_err(E::custom)
    }
}

/// A number in this form, for lists and options.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Exact(#[serde(with = "super::exact")] pub(super) f64);

/// The same for a number that may be left out.
pub(crate) mod option {
    use super::Exact;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(x: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        x.map(Exact).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::deserialize(deserializer)?.map(|Exact(x)| x))
    }
}
