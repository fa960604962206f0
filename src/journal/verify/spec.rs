//! What `verify` asks, as typed.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_with::skip_serializing_none;

use crate::journal::filter::Statuses;
use crate::rule::spec::MatchSpec;
use crate::yaml::decode::Spanned;
use crate::yaml::forms::{self, OneOrMany, Scalar, ShortForm};
use crate::yaml::units::Time;

/// A question about the requests of the journal. All that is given must hold of them.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "squall verify")]
pub struct VerifySpec {
    /// Only requests in this space; an empty name stands for those in no space. Absent: all requests.
    pub space: Option<String>,
    /// Only requests with a greater number in the journal.
    pub after: Option<u64>,
    /// Only requests that came in through this listener.
    pub listener: Option<String>,
    /// Only requests that match, as in a rule.
    #[serde(rename = "match")]
    pub matches: Option<Box<MatchSpec>>,
    /// `true`: only requests with an injected fault. `false`: only those without.
    pub hit: Option<bool>,
    /// Only requests with a fault of this rule.
    pub rule: Option<String>,
    /// Only requests whose client got this status, or one of these.
    pub status: Option<OneOrMany<Statuses>>,
    /// How many there must be: a number, or bounds. Absent: at least one, with `gaps` at least two.
    pub count: Option<Spanned<CountSpec>>,
    /// They must contain requests that match these, begun in this order. Others may be between them.
    pub order: Option<Spanned<Vec<MatchSpec>>>,
    /// The time from the end of each to the beginning of the next.
    pub gaps: Option<Spanned<GapsSpec>>,
    /// How long to wait for requests that are still missing, at most 60s. Absent: 200ms.
    pub wait: Option<Spanned<Time>>,
}

/// How many requests there must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountSpec(CountLong);

/// The long form of a count.
#[skip_serializing_none]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CountLong {
    /// The least number. Absent: 0.
    min: Option<u32>,
    /// The greatest number. Absent: unlimited.
    max: Option<u32>,
}

/// Bounds on the time between two requests.
#[skip_serializing_none]
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GapsSpec {
    /// The least time.
    pub min: Option<Time>,
    /// The greatest time.
    pub max: Option<Time>,
}

impl CountSpec {
    /// The least number, and the greatest one if there is one.
    pub fn bounds(self) -> (u32, Option<u32>) {
        (self.0.min.unwrap_or(0), self.0.max)
    }
}

impl ShortForm for CountSpec {
    type Long = CountLong;
    const EXPECTING: &'static str = "a number such as 3, or bounds such as {min: 1, max: 3}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let Scalar::Int(number) = scalar else { return None };
        let exactly = u32::try_from(number).ok();
        let count = exactly.map(|_| {
            CountSpec(CountLong {
                min: exactly,
                max: exactly,
            })
        });
        Some(count.ok_or_else(|| format!("{number} is not a valid count: use a number from 0 to 4294967295")))
    }

    fn from_long(long: CountLong) -> Result<Self, String> {
        match (long.min, long.max) {
            (None, None) => Err("a count needs `min`, `max` or both".into()),
            (Some(min), Some(max)) if min > max => Err(format!("`min: {min}` is more than `max: {max}`")),
            _ => Ok(CountSpec(long)),
        }
    }
}

impl<'de> Deserialize<'de> for CountSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        forms::deserialize(deserializer)
    }
}

impl Serialize for CountSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl JsonSchema for CountSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Count".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let number = schemars::json_schema!({"type": "integer", "minimum": 0, "maximum": u32::MAX});
        forms::either_schema::<CountLong>(generator, number)
    }
}
