//! Configurations are checked when they are read.

/// Lets a configuration be read and written by the functions that `#[serde(remote = "Self")]` derives, and refuses one
/// that is outside its range.
macro_rules! serde_checked {
    ($config:ty) => {
        impl serde::Serialize for $config {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                <$config>::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $config {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let config = <$config>::deserialize(deserializer)?;
                config.check().map_err(serde::de::Error::custom)?;
                Ok(config)
            }
        }
    };
}
pub(crate) use serde_checked;
