//! `duplicate: {}`: the request is sent to the upstream twice, one after the other, and the client gets the second response.
//! Tests whether a repeated request does harm.
//!
//! squall sends the first copy over a connection of its own, and discards the response. It waits for the end of that
//! response, within the upstream's timeouts and `bounds.delay`, before it sends the request itself. Both have the same head
//! and body. If the copy fails, the request is still sent. The fault counts as injected if the copy was sent, and otherwise
//! as skipped with "not sent". The whole body is held for this, up to `limit` bytes and for at most 10 s. A request with a
//! larger or slower body is sent once, and the fault is skipped with "body too large" or "body too slow".
//!
//! With `messages` or `every`, messages of a stream are duplicated instead, the second right after the first.
//!
//! | protocol | `{}` | `{messages: 10%}`, `{every: 3}` |
//! |---|---|---|
//! | HTTP/1.1, HTTP/2 | the request is sent twice | whole lines of NDJSON, and a `Content-Length` goes; what has no messages is skipped with "no messages", what is compressed with "encoded" |
//! | gRPC | a unary call is made twice | whole messages, with their prefix |
//! | WebSocket | skipped: an upgraded connection has no end to wait for | whole messages; control frames never. The client's offer of extensions (compression) is withdrawn |
//! | SSE | the request is sent twice | whole events |
//! | TCP | not for connections | skipped with "no messages" |

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use smallvec::smallvec;

use super::context::Context;
use super::effect::Effect;
use super::kind::{Effects, Fault, HitRequest, Spec};
use super::place::{self, Parts};
use super::rewrite;
use crate::shape::{Act, Direction};
use crate::yaml::forms::{Scalar, ShortForm, short_form};
use crate::yaml::units::{ByteSize, Share};

/// `duplicate: {}`, `duplicate: {messages: 10%, direction: response}` or `duplicate: {every: 3}`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DuplicateSpec(DuplicateLong);

/// The whole request, or which messages of which direction.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DuplicateLong {
    /// A share of the messages, each drawn by itself.
    pub messages: Option<Share>,
    /// Another word for `messages`.
    pub events: Option<Share>,
    /// Every nth message: with 3 the third, the sixth…
    #[schemars(range(min = 1))]
    pub every: Option<u64>,
    /// The stream to the client (`response`, default) or to the upstream (`request`).
    pub direction: Option<Direction>,
    /// For whole requests: one with a larger body is sent only once. 1B to 64MiB; default: 1MiB.
    pub limit: Option<ByteSize>,
}

/// A compiled `duplicate` fault.
#[derive(Debug, Clone)]
pub enum Duplicate {
    /// Send the request twice, if its body has at most this many bytes.
    Request(usize),
    /// Send messages twice.
    Messages(Parts),
}

impl Spec for DuplicateSpec {
    type Fault = Duplicate;

    /// Checks the parts.
    ///
    /// # Errors
    /// A direction without messages, two things at once, a share or a number of 0, a limit out of its range.
    fn compile(&self, _: &Context<'_>) -> Result<Duplicate, String> {
        let long = &self.0;
        let pick = place::pick(long.messages, long.events, long.every)?;
        if long.limit.is_some() && pick.is_some() {
            return Err("`limit` can't be combined with `messages` or `every`: it is for a whole request".into());
        }
        match (pick, long.direction) {
            (Some(pick), direction) => Ok(Duplicate::Messages(Parts::one(
                direction.unwrap_or_default(),
                Act::Duplicate(pick),
            ))),
            (None, None) => Ok(Duplicate::Request(rewrite::limit(long.limit)?)),
            (None, Some(_)) => {
                Err("`direction` needs `messages` or `every`: without them the whole request is sent twice".into())
            }
        }
    }
}

impl ShortForm for DuplicateSpec {
    type Long = DuplicateLong;
    const EXPECTING: &'static str = "{} for the whole request, or a map such as {messages: 10%}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        match scalar {
            Scalar::Null => Some(Ok(DuplicateSpec::default())),
            // A bare share would be ambiguous: of requests (`when: {percentage: 10%}`) or of messages.
            other => other.text().map(|text| {
                Err(format!(
                    "`{text}` could be a share of requests or of messages: use {{}} for the whole request, or \
                    {{messages: 10%}}"
                ))
            }),
        }
    }

    fn from_long(long: DuplicateLong) -> Result<Self, String> {
        Ok(DuplicateSpec(long))
    }
}

short_form!(DuplicateSpec, DuplicateLong, "Duplicate", {"type": "null"});

impl Fault for Duplicate {
    fn effects(&self, hit: &HitRequest<'_, '_>) -> Effects {
        match self {
            Duplicate::Request(limit) => smallvec![Effect::Duplicate { limit: *limit }],
            Duplicate::Messages(parts) => parts.effects(hit),
        }
    }

    fn body(&self) -> Option<Direction> {
        match self {
            Duplicate::Request(_) => Some(Direction::Request),
            Duplicate::Messages(parts) => parts.body(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::place::testing::{check, context, read};

    fn compile(yaml: &str) -> Result<Duplicate, String> {
        read::<DuplicateSpec>(yaml)?.compile(&context())
    }

    #[test]
    fn without_messages_it_is_the_request() {
        assert!(matches!(compile("{}"), Ok(Duplicate::Request(1_048_576))));
        assert!(matches!(compile(""), Ok(Duplicate::Request(1_048_576))));
        assert!(matches!(compile("{limit: 2KiB}"), Ok(Duplicate::Request(2048))));
    }

    #[test]
    fn forms_and_mistakes() {
        check(
            |yaml| match compile(yaml)? {
                Duplicate::Messages(parts) => Ok(parts),
                Duplicate::Request(_) => Err("a whole request".into()),
            },
            &[
                (
                    "{messages: 10%}",
                    Ok("Response Duplicate(Share { ppm: 100000, seed: 0 })"),
                ),
                ("{every: 3, direction: request}", Ok("Request Duplicate(Every(3))")),
                ("{direction: request}", Err("`direction` needs `messages` or `every`")),
                ("{limit: 65MiB}", Err("1B to 64MiB")),
                (
                    "{every: 3, limit: 1KiB}",
                    Err("`limit` can't be combined with `messages`"),
                ),
                ("{messages: 0%}", Err("0% of the messages has no effect")),
                ("10%", Err("a share of requests or of messages")),
                ("true", Err("{} for the whole request")),
            ],
        );
    }
}
