//! Settings and states as text, and in a binary format.

use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

/// Fails unless a value survives writing and reading.
pub fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let text = serde_json::to_string(&value).unwrap();
    assert_eq!(serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
    // A binary format.
    let mut bytes = vec![];
    ciborium::into_writer(&value, &mut bytes).unwrap();
    assert_eq!(ciborium::from_reader::<T, _>(bytes.as_slice()).unwrap(), value);
}

/// The error for text that cannot be read.
pub fn error<T: DeserializeOwned>(text: &str) -> String {
    serde_json::from_str::<T>(text).map(|_| ()).unwrap_err().to_string()
}
