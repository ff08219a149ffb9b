//! What can be wrong with a recipe.

use crate::error::ConfigError;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

/// What is wrong with a [`Recipe`](crate::recipe::Recipe), and where in the configuration.
///
/// A place is the path of a key, as in `lr_policy_params.decay_steps`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RecipeError {
    /// The key has no meaning there, with this optimizer or this policy, or it is given twice.
    Unknown {
        /// The place.
        place: String,
    },
    /// The key is required.
    Missing {
        /// The place.
        place: String,
    },
    /// The value has the wrong type, or is outside its range.
    Value {
        /// The place.
        place: String,
        /// The value as text.
        found: String,
        /// The values it may have.
        allowed: &'static str,
    },
    /// Two keys exclude each other.
    Conflict {
        /// The place of one.
        place: &'static str,
        /// The place of the other.
        other: &'static str,
        /// Why they exclude each other.
        reason: &'static str,
    },
}

impl RecipeError {
    /// The error of a setting, at the place its value comes from.
    pub(super) fn of_setting(place: impl Into<String>, error: ConfigError) -> Self {
        RecipeError::Value { place: place.into(), found: error.value.to_string(), allowed: error.allowed }
    }

    /// The error of a setting whose name is a key of a table.
    pub(super) fn of_table(table: &str, error: ConfigError) -> Self {
        RecipeError::of_setting(format!("{table}.{}", error.setting), error)
    }
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecipeError::Unknown { place } => write!(f, "{place} has no meaning here, or is given twice"),
            RecipeError::Missing { place } => write!(f, "{place} is missing"),
            RecipeError::Value { place, found, allowed } => write!(f, "{place} is {found}, but must be {allowed}"),
            RecipeError::Conflict { place, other, reason } => write!(f, "{place} excludes {other}: {reason}"),
        }
    }
}

impl core::error::Error for RecipeError {}
