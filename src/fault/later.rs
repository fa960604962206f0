//! Faults whose names are known and whose work is still to come.

use serde::{Deserialize, Deserializer, Serialize, de};

/// A fault that this version cannot inject: reading one is always an error.
#[derive(Debug, Clone, Copy, Serialize)]
pub enum NotYet {}

impl<'de> Deserialize<'de> for NotYet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        de::IgnoredAny::deserialize(deserializer)?;
        Err(de::Error::custom(
            "not yet: this version injects no faults into bodies; \
             it has delay, abort, close, reset, hang, quota, concurrency, rewrite and profile",
        ))
    }
}
