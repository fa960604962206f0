//! `stall: 1KiB`: a body stops after a number of bytes.
//!
//! Without a `limit`, the body stalls until the client disconnects, or for as long as `bounds.delay` allows; then the
//! connection is closed. With a limit, sending resumes after it (`end: resume`), or the connection is closed or reset.
//! Without `after`, the head is sent and no byte of the body.
//!
//! The sender is slowed down during the stall. With `discard: true` it is not: what arrives is read and thrown away, as if the
//! network lost it, until the stall or the sender's stream ends. Then the connection ends, since it has a hole.
//!
//! | protocol | what happens |
//! |---|---|
//! | HTTP/1.1 | the head and the bytes before the position are sent; a shorter body is skipped with "body too short" |
//! | HTTP/2, gRPC | the stream stalls, its siblings go on; `close` ends the whole connection, `reset` the stream |
//! | WebSocket | one direction stalls, control frames included; `close` and `reset` end the connection |
//! | SSE | the stream stalls; `after: 3 events` counts whole events |
//! | TCP | one direction stalls; `close` and `reset` end the connection; only `after` in bytes works |

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::context::Context;
use super::kind::Spec;
use super::place::{AfterSpec, Parts};
use super::reset_code;
use crate::shape::{Act, After, Direction, Finish, Stall};
use crate::yaml::forms::{Scalar, ShortForm, short_form};
use crate::yaml::units::Time;

/// `stall: 1KiB`, `stall: 50%`, `stall: 3 events`, or the long form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StallSpec(StallLong);

/// The long form of a stall.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StallLong {
    /// Where: bytes (`1KiB`), a share (`50%`) or messages (`3 events`). Default: before the first byte of the body.
    after: Option<AfterSpec>,
    /// For how long. Absent: until the client disconnects, or for as long as `bounds.delay` allows.
    limit: Option<Time>,
    /// What happens after `limit`. Default: `resume` with a limit, `close` without or with `discard`.
    end: Option<StallEnd>,
    /// Read and throw away what arrives during the stall, so that the sender is not slowed down; at its natural end the stall
    /// ends, too. Can't resume; `end` is `close` by default. Default: the sender waits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    discard: bool,
    /// The body of the response (default) or of the request.
    #[serde(default)]
    direction: Direction,
}

/// What happens after a stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StallEnd {
    /// The bytes go on.
    Resume,
    /// The connection is closed (FIN).
    Close,
    /// The connection is reset (RST); on HTTP/2 the stream, with INTERNAL_ERROR.
    Reset,
}

impl Spec for StallSpec {
    type Fault = Parts;

    /// Checks the parts.
    ///
    /// # Errors
    /// It would resume without a limit or what was discarded, or the limit is 0 or longer than a single wait may be.
    fn compile(&self, context: &Context<'_>) -> Result<Parts, String> {
        let long = &self.0;
        let then = match (long.end, long.limit) {
            (Some(StallEnd::Resume), None) => {
                return Err("`end: resume` needs `limit`, the time after which the bytes go on".into());
            }
            (Some(StallEnd::Resume), _) if long.discard => {
                return Err(
                    "`end: resume` can't be combined with `discard`, which leaves a hole: use `close` or `reset`"
                        .into(),
                );
            }
            (_, Some(Time::ZERO)) => return Err("a limit of 0s has no effect: use a time such as 10s".into()),
            (None, Some(_)) if long.discard => Finish::Close,
            (Some(StallEnd::Resume), _) | (None, Some(_)) => Finish::Natural,
            (Some(StallEnd::Close) | None, _) => Finish::Close,
            (Some(StallEnd::Reset), _) => Finish::Reset(reset_code::DEFAULT),
        };
        let limit = long.limit.map(Time::get);
        if let Some(limit) = limit {
            context.check_wait("a limit", limit)?;
        }
        let after = long.after.map_or(After::Bytes(0), AfterSpec::get);
        Ok(Parts::one(
            long.direction,
            Act::Stall(Stall {
                after,
                limit,
                then,
                discard: long.discard,
            }),
        ))
    }
}

impl ShortForm for StallSpec {
    type Long = StallLong;
    const EXPECTING: &'static str = "a place in a body: bytes (1KiB), a share (50%), messages (3 events); or a map such as {after: 1KiB, limit: 10s}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        if scalar == Scalar::Null {
            return Some(Ok(StallSpec::default()));
        }
        let after = scalar.text()?.parse::<AfterSpec>();
        Some(after.map(|after| {
            StallSpec(StallLong {
                after: Some(after),
                ..StallLong::default()
            })
        }))
    }

    fn from_long(long: StallLong) -> Result<Self, String> {
        Ok(StallSpec(long))
    }
}

short_form!(StallSpec, StallLong, "Stall", {
    "description": "A place in a body: 1KiB, 50%, 3 events; a bare integer is bytes",
    "type": ["string", "integer", "null"],
    "pattern": "^[0-9]+(\\.[0-9]+)? ?(%|B|[kKMGT]B|[kKMGT]iB|events?|messages?)?$|\\$\\{",
    "minimum": 0,
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::place::testing::{check, context, read};

    #[test]
    fn forms_and_mistakes() {
        check(
            |yaml| read::<StallSpec>(yaml)?.compile(&context()),
            &[
                (
                    "{}",
                    Ok("Response Stall(Stall { after: Bytes(0), limit: None, then: Close, discard: false })"),
                ),
                (
                    "",
                    Ok("Response Stall(Stall { after: Bytes(0), limit: None, then: Close, discard: false })"),
                ),
                (
                    "1KiB",
                    Ok("Response Stall(Stall { after: Bytes(1024), limit: None, then: Close, discard: false })"),
                ),
                (
                    "50%",
                    Ok("Response Stall(Stall { after: Share(500000), limit: None, then: Close, discard: false })"),
                ),
                (
                    "{after: {events: 3}, limit: 10s}",
                    Ok("Response Stall(Stall { after: Messages(3), limit: Some(10s), then: Natural, discard: false })"),
                ),
                (
                    "{limit: 1s, end: close}",
                    Ok("Response Stall(Stall { after: Bytes(0), limit: Some(1s), then: Close, discard: false })"),
                ),
                (
                    "{end: reset, direction: request}",
                    Ok("Request Stall(Stall { after: Bytes(0), limit: None, then: Reset(2), discard: false })"),
                ),
                (
                    "{discard: true}",
                    Ok("Response Stall(Stall { after: Bytes(0), limit: None, then: Close, discard: true })"),
                ),
                (
                    "{discard: true, limit: 1s}",
                    Ok("Response Stall(Stall { after: Bytes(0), limit: Some(1s), then: Close, discard: true })"),
                ),
                (
                    "{discard: true, limit: 1s, end: reset}",
                    Ok("Response Stall(Stall { after: Bytes(0), limit: Some(1s), then: Reset(2), discard: true })"),
                ),
                ("{discard: true, limit: 1s, end: resume}", Err("leaves a hole")),
                ("{end: resume}", Err("needs `limit`")),
                ("{limit: 0s}", Err("has no effect")),
                (
                    "{limit: 2h}",
                    Err("a limit of 2h is longer than the longest allowed wait"),
                ),
                ("{after: lunch}", Err("is not a valid place in a body")),
                ("{end: clean}", Err("unknown stall end `clean`")),
            ],
        );
    }
}
