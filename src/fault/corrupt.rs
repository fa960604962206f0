//! `corrupt: {bytes: 1%}`: changes bytes, but not their number, or makes the HTTP message malformed.
//!
//! `bytes` is the share of payload bytes that are changed. `messages` alone changes one byte of each drawn message; together
//! with `bytes`, that share of the bytes in the drawn messages. Which bytes are changed, and to what, depends on the rule's
//! draw and on their position, never on the chunking of the body.
//!
//! | protocol | `bytes`, `messages` | `malformed` |
//! |---|---|---|
//! | HTTP/1.1 | the bytes of the body; lines of NDJSON are messages | all kinds |
//! | HTTP/2 | the bytes of the body | `json` and `encoding`; the others are skipped with "not HTTP/1" |
//! | gRPC | the payload of messages, never their prefix; a compressed one can't be unpacked | as HTTP/2 |
//! | WebSocket | the payload of messages; frames, masks and control frames stay whole. The client's offer of extensions (compression) is withdrawn | skipped |
//! | SSE | any byte, field names and line ends included; `messages` counts events | as the HTTP version |
//! | TCP | any byte, those of a protocol's framing included; `messages` is skipped with "no messages" | skipped with "not HTTP" |

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::context::Context;
use super::kind::Spec;
use super::place::{self, Parts};
use crate::shape::{Act, Corruption, Direction, Malformed};
use crate::yaml::units::{Percentage, Share};

/// `corrupt: {bytes: 1%}`, `{messages: 10%}` or `{malformed: chunk}`
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CorruptSpec {
    /// The share of payload bytes that are changed.
    pub bytes: Option<Share>,
    /// The share of messages that are hit. Without `bytes` one byte of each of them is changed.
    pub messages: Option<Share>,
    /// Another word for `messages`.
    pub events: Option<Share>,
    /// What is malformed. Can't be combined with the shares.
    pub malformed: Option<Malformation>,
    /// For `malformed: content-length`: by how many bytes the field exceeds the body; negative where it falls short.
    /// Default: 1.
    pub difference: Option<i64>,
    /// The body of the response (default) or of the request.
    #[serde(default)]
    pub direction: Direction,
}

/// What is malformed in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Malformation {
    /// A chunk's size is not a number (HTTP/1.1 with chunked coding).
    Chunk,
    /// The status line (HTTP/1).
    StatusLine,
    /// A header field (HTTP/1).
    Header,
    /// The body's JSON.
    Json,
    /// The body does not match its `Content-Encoding`.
    Encoding,
    /// `Content-Length` does not match the body (HTTP/1).
    ContentLength,
}

impl Spec for CorruptSpec {
    type Fault = Parts;

    /// Checks the parts.
    ///
    /// # Errors
    /// Nothing is to be corrupted, a share is 0 %, or the options contradict each other.
    fn compile(&self, _: &Context<'_>) -> Result<Parts, String> {
        let shares = self.bytes.is_some() || self.messages.is_some() || self.events.is_some();
        let act = match self.malformed {
            Some(_) if shares => {
                return Err(
                    "`malformed` can't be combined with changed bytes: add a second `corrupt` to the list".into(),
                );
            }
            Some(malformed) => Act::Malform(self.malformed(malformed)?),
            None if self.difference.is_some() => {
                return Err("`difference` needs `malformed: content-length`".into());
            }
            None if !shares => {
                return Err(
                    "the kind of corruption is missing: give `bytes`, `messages` or `malformed`, such as {bytes: 1%}"
                        .into(),
                );
            }
            None => Act::Corrupt(self.flip()?),
        };
        Ok(Parts::one(self.direction, act))
    }
}

impl CorruptSpec {
    fn flip(&self) -> Result<Corruption, String> {
        if self.bytes.map(Share::get) == Some(Percentage::NONE) {
            return Err("0% of the bytes has no effect: to do nothing, leave out the fault".into());
        }
        Ok(Corruption {
            ppm: self.bytes.map_or(0, Share::ppm),
            messages: place::pick(self.messages, self.events, None)?,
            seed: 0,
        })
    }

    fn malformed(&self, malformed: Malformation) -> Result<Malformed, String> {
        if self.difference.is_some() && malformed != Malformation::ContentLength {
            return Err("`difference` needs `malformed: content-length`".into());
        }
        if self.direction == Direction::Request && malformed != Malformation::Json {
            return Err(
                "`direction: request` needs `malformed: json`: the other kinds are for what the client reads".into(),
            );
        }
        Ok(match malformed {
            Malformation::Chunk => Malformed::Chunk,
            Malformation::StatusLine => Malformed::StatusLine,
            Malformation::Header => Malformed::Header,
            Malformation::Json => Malformed::Json,
            Malformation::Encoding => Malformed::Encoding,
            Malformation::ContentLength => match self.difference.unwrap_or(1) {
                0 => {
                    return Err(
                        "a difference of 0 is the correct length: give the bytes to add, or a negative number to \
                        subtract: -1"
                            .into(),
                    );
                }
                difference => Malformed::Length(difference),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::place::testing::{check, context, read};

    #[test]
    fn forms_and_mistakes() {
        check(
            |yaml| read::<CorruptSpec>(yaml)?.compile(&context()),
            &[
                (
                    "{bytes: 1%}",
                    Ok("Response Corrupt(Corruption { ppm: 10000, messages: None, seed: 0 })"),
                ),
                (
                    "{messages: 10%, direction: request}",
                    Ok(
                        "Request Corrupt(Corruption { ppm: 0, messages: Some(Share { ppm: 100000, seed: 0 }), seed: 0 })",
                    ),
                ),
                (
                    "{bytes: 1%, events: 10%}",
                    Ok(
                        "Response Corrupt(Corruption { ppm: 10000, messages: Some(Share { ppm: 100000, seed: 0 }), seed: 0 })",
                    ),
                ),
                ("{malformed: chunk}", Ok("Response Malform(Chunk)")),
                ("{malformed: status-line}", Ok("Response Malform(StatusLine)")),
                ("{malformed: header}", Ok("Response Malform(Header)")),
                ("{malformed: json, direction: request}", Ok("Request Malform(Json)")),
                ("{malformed: encoding}", Ok("Response Malform(Encoding)")),
                ("{malformed: content-length}", Ok("Response Malform(Length(1))")),
                (
                    "{malformed: content-length, difference: -5}",
                    Ok("Response Malform(Length(-5))"),
                ),
                ("{}", Err("the kind of corruption is missing")),
                ("{direction: request}", Err("the kind of corruption is missing")),
                ("{bytes: 0%}", Err("0% of the bytes has no effect")),
                ("{messages: 0%}", Err("0% of the messages has no effect")),
                ("{messages: 1%, events: 1%}", Err("mean the same")),
                ("{malformed: json, bytes: 1%}", Err("`malformed` can't be combined")),
                (
                    "{malformed: json, difference: 1}",
                    Err("needs `malformed: content-length`"),
                ),
                ("{bytes: 1%, difference: 1}", Err("needs `malformed: content-length`")),
                (
                    "{malformed: content-length, difference: 0}",
                    Err("is the correct length"),
                ),
                (
                    "{malformed: chunk, direction: request}",
                    Err("`direction: request` needs `malformed: json`"),
                ),
                ("{malformed: chunks}", Err("unknown malformation `chunks`")),
                ("{bytes: 0.5}", Err("the share `0.5` needs a percent sign: 0.5% or 50%")),
                ("1%", Err("expected a map with keys such as `bytes`")),
            ],
        );
    }
}
