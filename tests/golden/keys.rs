//! Settings by name. An unknown one is a failure.

use serde_json::{Map, Value};

/// The settings of something, and which of them have been read.
pub struct Keys<'a> {
    of: &'a str,
    values: Option<&'a Map<String, Value>>,
    read: Vec<&'a str>,
}

impl<'a> Keys<'a> {
    /// The settings of `of`; an absent or null value means no settings.
    pub fn new(of: &'a str, values: &'a Value) -> Self {
        assert!(values.is_object() || values.is_null(), "{of}: {values} are no settings");
        Keys { of, values: values.as_object(), read: vec![] }
    }

    /// The setting, unless it is absent or null.
    pub fn get(&mut self, key: &'a str) -> Option<&'a Value> {
        self.read.push(key);
        self.values?.get(key).filter(|value| !value.is_null())
    }

    /// Whether the setting is there, be it null.
    pub fn has(&self, key: &str) -> bool {
        self.values.is_some_and(|values| values.contains_key(key))
    }

    /// A setting converted by `read`, if it is there. Fails if `read` does not know the value.
    pub fn read<T>(&mut self, key: &'a str, read: impl Fn(&'a Value) -> Option<T>) -> Option<T> {
        let of = self.of;
        self.get(key).map(|value| read(value).unwrap_or_else(|| panic!("{of}: the setting {key} cannot be {value}")))
    }

    pub fn number(&mut self, key: &'a str, default: f64) -> f64 {
        self.read(key, number).unwrap_or(default)
    }

    pub fn count(&mut self, key: &'a str) -> u64 {
        self.read(key, whole).unwrap_or(0)
    }

    pub fn flag(&mut self, key: &'a str, default: bool) -> bool {
        let flag = |value: &Value| match (value.as_bool(), value.as_f64()) {
            (Some(flag), _) => Some(flag),
            (_, Some(0.0)) => Some(false),
            (_, Some(1.0)) => Some(true),
            _ => None,
        };
        self.read(key, flag).unwrap_or(default)
    }

    pub fn betas(&mut self, default: [f64; 2]) -> [f64; 2] {
        let pair = |value: &Value| match value.as_array()?.as_slice() {
            [first, second] => Some([number(first)?, number(second)?]),
            _ => None,
        };
        self.read("betas", pair).unwrap_or(default)
    }

    /// The settings of a part.
    pub fn part(&mut self, key: &'a str) -> Keys<'a> {
        Keys::new(self.of, self.get(key).unwrap_or(&Value::Null))
    }

    /// Fails if a setting that the crate does not have is on.
    pub fn never(&mut self, keys: &[&'a str]) {
        for key in keys {
            let (of, on) = (self.of, self.flag(key, false));
            assert!(!on, "{of}: the setting {key} is on, which this crate does not have");
        }
    }

    /// Ignores settings that do not change results, such as how a peer loops over its memory.
    pub fn no_matter(&mut self, keys: &[&'a str]) {
        self.read.extend(keys);
    }

    /// Fails if there is a setting that was not read.
    pub fn finish(self) {
        for (key, value) in self.values.into_iter().flatten() {
            assert!(self.read.contains(&key.as_str()), "{}: the setting {key} ({value}) is not known", self.of);
        }
    }
}

/// A number, or a string of one: `"inf"`.
pub fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// A whole number, also if it is written as `5000.0`.
pub fn whole(value: &Value) -> Option<u64> {
    let float = |x: f64| (x >= 0.0 && x as u64 as f64 == x).then_some(x as u64);
    value.as_u64().or_else(|| float(value.as_f64()?))
}

pub fn numbers(value: &Value) -> Option<Vec<f64>> {
    value.as_array()?.iter().map(number).collect()
}
