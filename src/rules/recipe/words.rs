//! The keys of a table, which are taken one by one. Keys that are left at the end are unknown.

use super::error::RecipeError;
use super::value::{Table, Value};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The keys of a table that have not been taken yet, with their values.
pub(super) struct Words {
    /// The name of the table; empty for the configuration itself.
    place: String,
    table: Table,
}

const WHOLE: &str = "a whole number >= 0";
const COUNT: &str = "a whole number >= 1";

impl Words {
    pub(super) fn of(table: Table) -> Self {
        Words { place: String::new(), table }
    }

    /// The path of a key.
    pub(super) fn place(&self, word: &str) -> String {
        if self.place.is_empty() { word.to_string() } else { format!("{}.{word}", self.place) }
    }

    /// The value of a key. Null counts as missing, like `None` in Python.
    pub(super) fn take(&mut self, word: &str) -> Option<Value> {
        let at = self.table.iter().position(|(name, _)| name == word)?;
        match self.table.remove(at).1 {
            Value::Null => None,
            value => Some(value),
        }
    }

    /// Refuses a table without this key.
    pub(super) fn require(&self, word: &str) -> Result<(), RecipeError> {
        let is_given = |(name, value): &(String, Value)| name == word && *value != Value::Null;
        if self.table.iter().any(is_given) { Ok(()) } else { Err(RecipeError::Missing { place: self.place(word) }) }
    }

    /// The error of a value that is not allowed.
    pub(super) fn refuse(&self, word: &str, value: &Value, allowed: &'static str) -> RecipeError {
        RecipeError::Value { place: self.place(word), found: value.to_string(), allowed }
    }

    /// The value of a key, if it is given, converted by `read`.
    fn read<T>(
        &mut self,
        word: &str,
        allowed: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, RecipeError> {
        let Some(value) = self.take(word) else { return Ok(None) };
        read(&value).map(Some).ok_or_else(|| self.refuse(word, &value, allowed))
    }

    pub(super) fn number(&mut self, word: &str) -> Result<Option<f64>, RecipeError> {
        self.read(word, "a number", Value::number)
    }

    /// A whole number of at least 1.
    pub(super) fn count(&mut self, word: &str) -> Result<Option<u64>, RecipeError> {
        self.read(word, COUNT, |value| whole(value).filter(|count| *count > 0))
    }

    pub(super) fn text(&mut self, word: &str) -> Result<Option<String>, RecipeError> {
        self.read(word, "text", |value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
    }

    pub(super) fn flag(&mut self, word: &str) -> Result<Option<bool>, RecipeError> {
        self.read(word, "true or false", |value| match value {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    pub(super) fn list(&mut self, word: &str) -> Result<Vec<f64>, RecipeError> {
        let list = self.read(word, "a list of numbers", |value| match value {
            Value::List(list) => list.iter().map(Value::number).collect(),
            _ => None,
        });
        Ok(list?.unwrap_or_default())
    }

    /// The keys of a nested table, if it is given.
    pub(super) fn table(&mut self, word: &str) -> Result<Option<Words>, RecipeError> {
        let place = self.place(word);
        self.read(word, "an object", |value| match value {
            Value::Table(table) => Some(Words { place, table: table.clone() }),
            _ => None,
        })
    }

    /// The keys of a nested table; none if it is not given.
    pub(super) fn table_or_empty(&mut self, word: &str) -> Result<Words, RecipeError> {
        let empty = Words { place: self.place(word), table: Table::new() };
        Ok(self.table(word)?.unwrap_or(empty))
    }

    /// Sets a number, if it is given.
    pub(super) fn set(&mut self, word: &str, to: &mut f64) -> Result<(), RecipeError> {
        *to = self.number(word)?.unwrap_or(*to);
        Ok(())
    }

    /// Sets a whole number of at least 1, if it is given.
    pub(super) fn set_count(&mut self, word: &str, to: &mut u64) -> Result<(), RecipeError> {
        *to = self.count(word)?.unwrap_or(*to);
        Ok(())
    }

    /// Sets a whole number, if it is given.
    pub(super) fn set_whole(&mut self, word: &str, to: &mut u64) -> Result<(), RecipeError> {
        *to = self.read(word, WHOLE, whole)?.unwrap_or(*to);
        Ok(())
    }

    /// Sets a switch, if it is given.
    pub(super) fn set_flag(&mut self, word: &str, to: &mut bool) -> Result<(), RecipeError> {
        *to = self.flag(word)?.unwrap_or(*to);
        Ok(())
    }

    /// Refuses what is left.
    pub(super) fn finish(self) -> Result<(), RecipeError> {
        match self.table.first() {
            None => Ok(()),
            Some((word, _)) => Err(RecipeError::Unknown { place: self.place(word) }),
        }
    }
}

/// A whole number up to 2⁵³: up to there `f64` represents all of them.
fn whole(value: &Value) -> Option<u64> {
    let number = value.number()?;
    ((0.0..=9_007_199_254_740_992.0).contains(&number) && number as u64 as f64 == number).then_some(number as u64)
}
