//! Any text in the place of stored settings and state.

use arbitrary::{Result, Unstructured};
use layerwise::{
    Larc, LarcConfig, Layer, LayerSpan, NovoGrad, NovoGradConfig, NovoGradState, Policy, Sgd, SgdConfig, SgdState,
};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

pub fn settings(u: &mut Unstructured) -> Result<()> {
    let Ok(text) = std::str::from_utf8(u.peek_bytes(u.len()).unwrap_or_default()) else { return Ok(()) };
    // What can be read is in range.
    read::<LarcConfig>(text).map(|config| Larc::new(config).unwrap());
    read::<SgdConfig>(text).map(|config| Sgd::new(config).unwrap());
    read::<NovoGradConfig>(text).map(|config| NovoGrad::new(config).unwrap());
    read::<Larc>(text);
    read::<Layer>(text);
    read::<LayerSpan>(text);
    read::<Policy>(text);
    read::<SgdState>(text);
    read::<NovoGradState>(text);
    Ok(())
}

/// Reads a value, if the text has one, and checks that it is read back as it is written.
fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &str) -> Option<T> {
    let value: T = serde_json::from_str(text).ok()?;
    let written = serde_json::to_string(&value).unwrap();
    assert_eq!(serde_json::from_str::<T>(&written).unwrap(), value, "{written}");
    Some(value)
}
