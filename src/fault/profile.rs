//! `profile: 3g`: a named network. This version has its delay; the bandwidth comes with the body faults.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::delay::{Delay, DelaySpec, DistributionSpec};
use crate::config::decode::Spanned;
use crate::config::units::Time;

/// The known networks: name and latency in milliseconds. The figures are those of the network throttling presets that
/// Firefox's and Chrome's developer tools and WireMock's documentation share.
pub const PROFILES: [(&str, u64); 9] = [
    ("gprs", 500),
    ("edge", 300),
    ("3g", 250),
    ("lte", 20),
    ("dsl-poor", 70),
    ("dsl", 40),
    ("wifi", 40),
    ("satellite", 20),
    ("satellite-geo", 600),
];

/// The name of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileSpec {
    name: &'static str,
    latency: Duration,
}

impl ProfileSpec {
    /// The delay that it stands for: one round trip before the request goes on.
    ///
    /// # Errors
    /// None in practice: the latencies of the table are valid delays.
    pub fn delay(&self) -> Result<Delay, String> {
        DelaySpec::from(DistributionSpec::Fixed(Time::saturating(self.latency)))
            .compile(Path::new("."), &|_| Err(std::io::ErrorKind::NotFound.into()))
    }
}

impl std::str::FromStr for ProfileSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        PROFILES
            .iter()
            .find(|(name, _)| *name == text)
            .map(|&(name, millis)| ProfileSpec {
                name,
                latency: Duration::from_millis(millis),
            })
            .ok_or_else(|| {
                let names: Vec<&str> = PROFILES.iter().map(|(name, _)| *name).collect();
                format!("unknown profile `{text}`; valid: {}", names.join(", "))
            })
    }
}

impl std::fmt::Display for ProfileSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl<'de> Deserialize<'de> for ProfileSpec {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Spanned::<String>::deserialize(deserializer)?;
        name.value.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for ProfileSpec {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for ProfileSpec {
    fn schema_name() -> Cow<'static, str> {
        "Profile".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = PROFILES.iter().map(|(name, _)| *name).collect();
        json_schema!({"anyOf": [{"enum": names}, {"type": "string", "pattern": "\\$\\{"}]})
    }
}
