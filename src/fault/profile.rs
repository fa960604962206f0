//! `profile: 3g`: a named network, with its latency and its rates in both directions.
//!
//! The latency is a delay of one round trip before the request. The rates work like [`super::bandwidth`], for each request by
//! itself. A profile counts as one fault. On TCP each chunk that the upstream sends has the latency.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use super::bandwidth::{Bandwidth, BandwidthSpec};
use super::context::Context;
use super::delay::{Delay, DelaySpec, DistributionSpec};
use super::distribution::DEFAULT_BOUND;
use super::kind::{Effects, Fault, HitRequest, Spec};
use crate::yaml::decode::Spanned;
use crate::yaml::units::{ByteRate, Time};

/// The latency and rates of a kind of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The name in YAML.
    pub name: &'static str,
    /// One round trip, in milliseconds.
    pub latency: u32,
    /// The rate to the client, in kbit/s (1,000 bits per second).
    pub down: u64,
    /// The rate from the client, in kbit/s.
    pub up: u64,
}

const fn network(name: &'static str, latency: u32, down: u64, up: u64) -> Network {
    Network {
        name,
        latency,
        down,
        up,
    }
}

/// The known networks.
///
/// Latencies and rates to the client are those of the table that Comcast's README ("Network Condition Profiles") and
/// WireMock's users share. The table has no rates from the client: gprs, edge, 3g, lte, dsl-poor and wifi take those of the
/// presets of Chrome's and Firefox's developer tools with the same rate to the client (GPRS, Regular 2G, Regular 3G, Regular
/// 4G / LTE, DSL, WiFi); dsl takes the most that ADSL has (ITU-T G.992.1). The satellites are what low orbits are sold with,
/// and the FCC's measure of broadband of 2015, which geostationary ones are built for.
pub const NETWORKS: [Network; 9] = [
    network("gprs", 500, 50, 20),
    network("edge", 300, 250, 50),
    network("3g", 250, 750, 250),
    network("lte", 20, 4_000, 3_000),
    network("dsl-poor", 70, 2_000, 1_000),
    network("dsl", 40, 8_000, 1_000),
    network("wifi", 40, 30_000, 15_000),
    network("satellite", 20, 100_000, 10_000),
    network("satellite-geo", 600, 25_000, 3_000),
];

/// The name of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProfileSpec(Network);

/// A compiled `profile` fault.
#[derive(Debug)]
pub struct Profile {
    /// One round trip before the request goes on.
    pub delay: Arc<Delay>,
    /// The rates of both directions.
    pub bandwidth: Bandwidth,
}

impl Spec for ProfileSpec {
    type Fault = Profile;

    /// What it stands for.
    ///
    /// # Errors
    /// None in practice: the table has valid delays and rates.
    fn compile(&self, context: &Context<'_>) -> Result<Profile, String> {
        let ProfileSpec(network) = self;
        // Not checked against `bounds.delay`, which caps the wait itself.
        let context = Context {
            longest_wait: DEFAULT_BOUND,
            ..*context
        };
        let delay = DelaySpec::from(DistributionSpec::Fixed(Time::from_millis(network.latency))).compile(&context)?;
        let rate = |kbit: u64| {
            let bytes = NonZeroU64::new(kbit * 1_000 / 8).ok_or("a network without a rate");
            bytes.map(ByteRate::from_bytes_per_second)
        };
        Ok(Profile {
            delay,
            bandwidth: BandwidthSpec::new(rate(network.down)?, rate(network.up)?).compile(&context)?,
        })
    }
}

impl Fault for Profile {
    fn effects(&self, hit: &HitRequest<'_, '_>) -> Effects {
        smallvec![
            self.delay.effect(hit, Duration::MAX),
            self.bandwidth.parts().effect(hit)
        ]
    }

    /// Describes the network: `250ms, 93750B/s down, 31250B/s up`.
    fn describe(&self) -> Option<String> {
        let rate = |rate: Option<&crate::shape::Rate>| {
            rate.map_or(String::new(), |rate| {
                ByteRate::from_bytes_per_second(rate.rate).to_string()
            })
        };
        let (down, up) = (rate(self.bandwidth.response()), rate(self.bandwidth.request()));
        Some(format!("{}, {down} down, {up} up", self.delay.description()))
    }
}

impl std::str::FromStr for ProfileSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        NETWORKS
            .into_iter()
            .find(|network| network.name == text)
            .map(ProfileSpec)
            .ok_or_else(|| {
                let names = NETWORKS.map(|network| network.name);
                format!("unknown profile `{text}`; valid: {}", names.join(", "))
            })
    }
}

impl std::fmt::Display for ProfileSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name)
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
        let names = NETWORKS.map(|network| network.name);
        json_schema!({"anyOf": [{"enum": names}, {"type": "string", "pattern": "\\$\\{"}]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::place::testing::context;

    #[test]
    fn every_network_compiles() {
        for network in NETWORKS {
            let profile = network
                .name
                .parse::<ProfileSpec>()
                .unwrap()
                .compile(&context())
                .unwrap();
            assert_eq!(
                profile.bandwidth.response().unwrap().rate.get() * 8,
                network.down * 1000
            );
            assert_eq!(profile.bandwidth.request().unwrap().rate.get() * 8, network.up * 1000);
        }
        let train: ProfileSpec = "3g".parse().unwrap();
        assert_eq!(
            train.compile(&context()).unwrap().describe().unwrap(),
            "250ms, 93750B/s down, 31250B/s up"
        );
        assert!("6g".parse::<ProfileSpec>().unwrap_err().contains("satellite-geo"));
    }
}
