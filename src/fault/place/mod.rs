//! The common parts of body faults: positions in a body, the choice of messages, and the compiled parts.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_with::skip_serializing_none;
use smallvec::{SmallVec, smallvec};

use super::effect::Effect;
use super::kind::{Effects, Fault, HitRequest};
use crate::draw::{Draw, Purpose};
use crate::shape::{Act, After, Corruption, Direction, Dribble, Part, Pick};
use crate::yaml::forms::{self, Scalar, ShortForm};
use crate::yaml::units::{ByteSize, Percentage, Share};

/// A position in a body, as typed: `1KiB`, `50%`, `3 events`, `{messages: 3}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterSpec {
    /// After a number of bytes.
    Bytes(ByteSize),
    /// After a share of the body. Needs a known length.
    Share(Percentage),
    /// After a number of messages of a stream.
    Messages(u64),
}

/// `{events: 3}` or `{messages: 3}`, which mean the same.
#[skip_serializing_none]
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AfterLong {
    /// The number of events in an SSE stream.
    events: Option<u64>,
    /// The number of messages: SSE events, lines of NDJSON, WebSocket or gRPC messages.
    messages: Option<u64>,
}

impl AfterSpec {
    /// The position for a shaper.
    pub fn get(self) -> After {
        match self {
            AfterSpec::Bytes(size) => After::Bytes(size.get()),
            AfterSpec::Share(share) => After::Share(share.ppm()),
            AfterSpec::Messages(count) => After::Messages(count),
        }
    }
}

impl FromStr for AfterSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = text.get(number.len()..).unwrap_or_default();
        if matches!(unit, "event" | "events" | "message" | "messages") {
            let count = number.trim().parse();
            return count
                .map(AfterSpec::Messages)
                .map_err(|_| format!("`{text}` is not a valid number of {unit}: use a whole number: 3 {unit}"));
        }
        if text.ends_with('%') {
            return text
                .parse()
                .map(AfterSpec::Share)
                .map_err(|error: crate::yaml::units::UnitError| error.to_string());
        }
        if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            return Err(format!(
                "`{text}` is not a valid place in a body: use bytes (1KiB), a share (50%) or messages (3 events)"
            ));
        }
        text.parse()
            .map(AfterSpec::Bytes)
            .map_err(|error: crate::yaml::units::UnitError| error.to_string())
    }
}

impl fmt::Display for AfterSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AfterSpec::Bytes(size) => size.fmt(f),
            AfterSpec::Share(share) => share.fmt(f),
            AfterSpec::Messages(1) => f.write_str("1 message"),
            AfterSpec::Messages(count) => write!(f, "{count} messages"),
        }
    }
}

impl ShortForm for AfterSpec {
    type Long = AfterLong;
    const EXPECTING: &'static str = "a place in a body: bytes (1KiB), a share (50%) or messages (3 events)";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        scalar.text().map(|text| text.parse())
    }

    fn from_long(long: AfterLong) -> Result<Self, String> {
        match (long.events, long.messages) {
            (Some(count), None) | (None, Some(count)) => Ok(AfterSpec::Messages(count)),
            (Some(_), Some(_)) => Err("`events` can't be combined with `messages`: they mean the same".into()),
            (None, None) => Err("the place is missing: give {events: 3}, or without a map 1KiB or 50%".into()),
        }
    }
}

impl<'de> Deserialize<'de> for AfterSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        forms::deserialize(deserializer)
    }
}

impl Serialize for AfterSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for AfterSpec {
    fn schema_name() -> Cow<'static, str> {
        "After".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        forms::either_schema::<AfterLong>(generator, after_schema())
    }
}

/// The schema of the short form.
pub fn after_schema() -> Schema {
    json_schema!({
        "description": "A place in a body: 1KiB, 50%, 3 events; a bare integer is bytes",
        "type": ["string", "integer"],
        "pattern": "^[0-9]+(\\.[0-9]+)? ?(%|B|[kKMGT]B|[kKMGT]iB|events?|messages?)?$|\\$\\{",
        "minimum": 0,
    })
}

/// Checks the choice of messages: a share under either name, or every nth. `None` if neither is given. The seed of a share
/// is 0 until a request draws it.
///
/// # Errors
/// More than one is given, the share is 0 %, or the number is 0.
pub fn pick(messages: Option<Share>, events: Option<Share>, every: Option<u64>) -> Result<Option<Pick>, String> {
    match (either(messages, events)?.map(Share::get), every) {
        (Some(_), Some(_)) => {
            Err("`messages` can't be combined with `every`: give a share such as `messages: 10%`, or `every: 3`".into())
        }
        (Some(Percentage::NONE), None) => {
            Err("0% of the messages has no effect: to do nothing, leave out the fault".into())
        }
        (Some(share), None) => Ok(Some(Pick::Share {
            ppm: share.ppm(),
            seed: 0,
        })),
        (None, Some(every)) => match NonZeroU64::new(every) {
            Some(every) => Ok(Some(Pick::Every(every))),
            None => Err("`every: 0` is not valid: use 1 for each message, 3 for the third, the sixth…".into()),
        },
        (None, None) => Ok(None),
    }
}

/// The share of messages, under either of its two names.
///
/// # Errors
/// Both are given.
pub fn either(messages: Option<Share>, events: Option<Share>) -> Result<Option<Share>, String> {
    match (messages, events) {
        (Some(_), Some(_)) => Err("`events` can't be combined with `messages`: they mean the same".into()),
        (share, None) | (None, share) => Ok(share),
    }
}

/// The compiled acts of a body fault, without the seeds that each request draws.
#[derive(Debug, Clone)]
pub struct Parts(SmallVec<[Part; 2]>);

impl Parts {
    /// One act in one direction.
    pub fn one(direction: Direction, act: Act) -> Parts {
        Parts(std::iter::once(Part { direction, act }).collect())
    }

    /// The effect on one request.
    pub fn effect(&self, hit: &HitRequest<'_, '_>) -> Effect {
        Effect::Shape(self.drawn(hit.draw, hit.position))
    }

    /// The parts for one request, with seeds from its draw and the fault's position in the rule.
    pub fn drawn(&self, draw: Draw, position: u32) -> SmallVec<[Part; 2]> {
        let mut parts = self.0.clone();
        let picked = |pick: &mut Pick| {
            if let Pick::Share { seed, .. } = pick {
                *seed = draw.stream(Purpose::Messages, position);
            }
        };
        for part in &mut parts {
            match &mut part.act {
                Act::Corrupt(Corruption { messages, seed, .. }) => {
                    *seed = draw.stream(Purpose::Corrupt, position);
                    messages.iter_mut().for_each(picked);
                }
                Act::Drop(pick) | Act::Duplicate(pick) => picked(pick),
                Act::Dribble(Dribble::Chunk { vary: 1.., seed, .. }) => {
                    *seed = draw.stream(Purpose::Pieces, position);
                }
                _ => {}
            }
        }
        parts
    }
}

impl Fault for Parts {
    fn effects(&self, hit: &HitRequest<'_, '_>) -> Effects {
        smallvec![self.effect(hit)]
    }

    fn body(&self) -> Option<Direction> {
        let request = self.0.iter().find(|part| part.direction == Direction::Request);
        request.or(self.0.first()).map(|part| part.direction)
    }
}

impl FromIterator<Part> for Parts {
    fn from_iter<I: IntoIterator<Item = Part>>(parts: I) -> Parts {
        Parts(parts.into_iter().collect())
    }
}

/// Helpers for the tests of body faults.
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
