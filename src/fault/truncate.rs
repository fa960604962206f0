//! `truncate: 50%`: a body ends early.
//!
//! | `end` | HTTP/1.1 | HTTP/2 | gRPC | WebSocket | TCP |
//! |---|---|---|---|---|---|
//! | `close` (default) | FIN in the middle of the body; over TLS without close_notify | the whole connection ends, with all its streams | as HTTP/2 | FIN, no close frame | FIN, and the connection ends |
//! | `clean` | the client takes it for the whole: `Content-Length` is adjusted, or the last chunk sent | END_STREAM | trailers with the status `grpc`; without one the stream ends without trailers | a close frame with `close_code` and `reason`, then FIN | a FIN in this direction, while the other goes on |
//! | `reset` | RST | RST_STREAM with `code`; its siblings go on | as HTTP/2 | RST | RST |
//!
//! SSE is like HTTP/1.1 or HTTP/2; `after: 3 events` cuts after the blank line that ends the third. Exactly the bytes before
//! the position are sent. The fault is skipped if a share has no known length ("length unknown"), if the body is not longer
//! than the position ("body too short"), or if the stream has no messages ("no messages") or hides them ("encoded").

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::context::Context;
use super::kind::Spec;
use super::place::{AfterSpec, Parts};
use super::reset_code;
use crate::grpc::{GrpcCode, GrpcStatus};
use crate::shape::{Act, Clean, Direction, Finish, Truncation};
use crate::yaml::forms::{Scalar, ShortForm, short_form};
use crate::yaml::units::Percentage;

/// The default close code: going away (RFC 6455, section 7.4.1).
const GOING_AWAY: u16 = 1001;

/// The longest reason of a close frame: a control frame carries 125 bytes (RFC 6455, section 5.5), two of them the code.
const LONGEST_REASON: usize = 123;

/// `truncate: 50%`, `truncate: 1KiB`, `truncate: 3 events`, or the long form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TruncateSpec(TruncateLong);

/// The long form of a truncation.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TruncateLong {
    /// Where: bytes (`1KiB`), a share (`50%`) or messages (`3 events`).
    after: AfterSpec,
    /// How the body ends. Default: the end that the other options need, otherwise `close`.
    end: Option<TruncateEnd>,
    /// The HTTP/2 error code of `end: reset`, by name or number (RFC 9113, section 7). Default: INTERNAL_ERROR.
    code: Option<String>,
    /// The status of a gRPC call with `end: clean`, by name (`UNAVAILABLE`) or number. Absent: no trailers.
    grpc: Option<GrpcCode>,
    /// The code of a WebSocket's close frame with `end: clean`, 1000 to 4999. Default: 1001, going away.
    #[schemars(range(min = 1000, max = 4999))]
    close_code: Option<u16>,
    /// The text that goes with `grpc` and with `close_code`.
    reason: Option<String>,
    /// The body of the response (default) or of the request.
    #[serde(default)]
    direction: Direction,
}

/// How a body ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TruncateEnd {
    /// The connection is closed in the middle of the body.
    Close,
    /// The client takes it for the whole body.
    Clean,
    /// The connection is reset; on HTTP/2 the stream.
    Reset,
}

impl TruncateSpec {
    /// Whether it ends gRPC calls.
    pub fn is_for_grpc(&self) -> bool {
        self.0.grpc.is_some()
    }
}

impl Spec for TruncateSpec {
    type Fault = Parts;

    /// Checks the parts.
    ///
    /// # Errors
    /// Options contradict `end` or each other, a code is none, or the place is the end of the body.
    fn compile(&self, _: &Context<'_>) -> Result<Parts, String> {
        let long = &self.0;
        if long.after == AfterSpec::Share(Percentage::ALL) {
            return Err("100% of the body cuts nothing: use a smaller share".into());
        }
        let end = match long.end()? {
            TruncateEnd::Close => Finish::Close,
            TruncateEnd::Clean => Finish::Clean(long.clean()?),
            TruncateEnd::Reset => Finish::Reset(
                long.code
                    .as_deref()
                    .map_or(Ok(reset_code::DEFAULT), reset_code::parse)?,
            ),
        };
        let after = long.after.get();
        Ok(Parts::one(long.direction, Act::Truncate(Truncation { after, end })))
    }
}

impl TruncateLong {
    /// The configured end: stated, or implied by an option that only works with one end.
    fn end(&self) -> Result<TruncateEnd, String> {
        let clean = [
            self.grpc.map(|_| "grpc"),
            self.close_code.map(|_| "close_code"),
            self.reason.as_ref().map(|_| "reason"),
        ];
        let clean = clean.into_iter().flatten().next();
        let reset = self.code.as_ref().map(|_| "code");
        match (self.end, reset, clean) {
            (None, Some(code), Some(other)) => Err(format!(
                "`{code}` can't be combined with `{other}`: one needs `end: reset`, the other `end: clean`"
            )),
            (Some(TruncateEnd::Close | TruncateEnd::Clean), Some(name), _) => {
                Err(format!("`{name}` needs `end: reset`: it is an HTTP/2 error code"))
            }
            (Some(TruncateEnd::Close | TruncateEnd::Reset), _, Some(name)) => {
                Err(format!("`{name}` needs `end: clean`: it is part of a proper ending"))
            }
            (Some(end), _, _) => Ok(end),
            (None, Some(_), None) => Ok(TruncateEnd::Reset),
            (None, None, Some(_)) => Ok(TruncateEnd::Clean),
            (None, None, None) => Ok(TruncateEnd::Close),
        }
    }

    fn clean(&self) -> Result<Clean, String> {
        if self.direction == Direction::Request && self.grpc.is_some() {
            return Err("`grpc` can't be combined with `direction: request`: only responses have a status".into());
        }
        let reason = self.reason.as_deref().unwrap_or_default();
        if reason.len() > LONGEST_REASON {
            return Err(format!(
                "the reason is {} bytes long: a close frame can hold {LONGEST_REASON} (RFC 6455, section 5.5)",
                reason.len()
            ));
        }
        let grpc = self.grpc.map(|code| {
            let message = self.reason.as_deref().unwrap_or("fault injected by squall");
            Arc::new(GrpcStatus::new(code, message))
        });
        let stated = self.close_code.is_some() || self.reason.is_some();
        let code = self.close_code.map_or(Ok(GOING_AWAY), close_code)?;
        let websocket = stated.then(|| (code, reason.into()));
        Ok(Clean { grpc, websocket })
    }
}

/// Checks that a close frame may carry a code (RFC 6455, sections 7.4.1 and 7.4.2).
fn close_code(code: u16) -> Result<u16, String> {
    match code {
        1004 | 1005 | 1006 | 1015 => Err(format!(
            "the close code {code} is reserved and can't be sent (RFC 6455, section 7.4.1)"
        )),
        1000..=4999 => Ok(code),
        _ => Err(format!(
            "{code} is not a valid close code: use 1000 to 4999 (RFC 6455, section 7.4.2)"
        )),
    }
}

impl ShortForm for TruncateSpec {
    type Long = TruncateLong;
    const EXPECTING: &'static str = "a place in a body: bytes (1KiB), a share (50%), messages (3 events); or a map such as {after: 50%, end: clean}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let after = scalar.text()?.parse::<AfterSpec>();
        Some(after.map(|after| {
            TruncateSpec(TruncateLong {
                after,
                end: None,
                code: None,
                grpc: None,
                close_code: None,
                reason: None,
                direction: Direction::Response,
            })
        }))
    }

    fn from_long(long: TruncateLong) -> Result<Self, String> {
        Ok(TruncateSpec(long))
    }
}

short_form!(TruncateSpec, TruncateLong, "Truncate", {
    "description": "A place in a body: 1KiB, 50%, 3 events; a bare integer is bytes",
    "type": ["string", "integer"],
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
            |yaml| read::<TruncateSpec>(yaml)?.compile(&context()),
            &[
                (
                    "50%",
                    Ok("Response Truncate(Truncation { after: Share(500000), end: Close })"),
                ),
                (
                    "1KiB",
                    Ok("Response Truncate(Truncation { after: Bytes(1024), end: Close })"),
                ),
                (
                    "3 events",
                    Ok("Response Truncate(Truncation { after: Messages(3), end: Close })"),
                ),
                (
                    "{after: {messages: 3}, end: clean, direction: request}",
                    Ok(
                        "Request Truncate(Truncation { after: Messages(3), end: Clean(Clean { grpc: None, websocket: None }) })",
                    ),
                ),
                (
                    "{after: 0, code: CANCEL}",
                    Ok("Response Truncate(Truncation { after: Bytes(0), end: Reset(8) })"),
                ),
                (
                    "{after: 1, end: reset}",
                    Ok("Response Truncate(Truncation { after: Bytes(1), end: Reset(2) })"),
                ),
                (
                    "{after: 1, reason: \"go\u{e9}\"}",
                    Ok(
                        "Response Truncate(Truncation { after: Bytes(1), end: Clean(Clean { grpc: None, websocket: Some((1001, \"go\u{e9}\")) }) })",
                    ),
                ),
                (
                    "{after: 1, close_code: 4000}",
                    Ok(
                        "Response Truncate(Truncation { after: Bytes(1), end: Clean(Clean { grpc: None, websocket: Some((4000, \"\")) }) })",
                    ),
                ),
                (
                    "{after: 1, grpc: UNAVAILABLE, reason: 1%}",
                    Ok(
                        "Response Truncate(Truncation { after: Bytes(1), end: Clean(Clean { grpc: Some(GrpcStatus { code: GrpcCode(14), message: \"1%25\" }), websocket: Some((1001, \"1%\")) }) })",
                    ),
                ),
                ("{}", Err("missing key `after`")),
                ("100%", Err("cuts nothing")),
                ("{after: 1, end: close, code: CANCEL}", Err("needs `end: reset`")),
                ("{after: 1, end: clean, code: CANCEL}", Err("needs `end: reset`")),
                ("{after: 1, code: NOPE}", Err("`NOPE` is not a valid HTTP/2 error code")),
                ("{after: 1, end: reset, grpc: 14}", Err("needs `end: clean`")),
                (
                    "{after: 1, end: close, close_code: 1001}",
                    Err("`close_code` needs `end: clean`"),
                ),
                (
                    "{after: 1, code: CANCEL, reason: x}",
                    Err("`code` can't be combined with `reason`"),
                ),
                (
                    "{after: 1, close_code: 999}",
                    Err("999 is not a valid close code: use 1000 to 4999"),
                ),
                ("{after: 1, close_code: 5000}", Err("5000 is not a valid close code")),
                ("{after: 1, close_code: 1005}", Err("1005 is reserved")),
                (
                    "{after: 1, grpc: 14, direction: request}",
                    Err("only responses have a status"),
                ),
                ("{after: 1, grpc: 17}", Err("17 is not a valid gRPC status")),
                ("{after: 1, end: fin}", Err("unknown truncate end `fin`")),
            ],
        );
    }

    #[test]
    fn a_reason_fits_a_close_frame() {
        let compile = |bytes: usize| {
            read::<TruncateSpec>(&format!("{{after: 1, reason: {}}}", "x".repeat(bytes)))?.compile(&context())
        };
        assert!(compile(123).is_ok());
        assert!(compile(124).unwrap_err().contains("the reason is 124 bytes long"));
    }
}
