//! `abort: 503`: squall responds with an error of its own.
//!
//! With `grpc`, a gRPC request (content type `application/grpc`) gets a trailers-only response: status 200, the gRPC status
//! in the head, and the end of the stream (gRPC over HTTP/2, "Responses"). Any other request gets `status` if that is given
//! too; otherwise the fault is skipped.
//!
//! What a response says may depend on the request, see [`super::reply`]: by templates, by copied fields, by the media type
//! that it accepts.

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use smallvec::smallvec;

use super::answer::{FieldValues, GrpcAnswer, ResponseStatus};
use super::before::Before;
use super::context::Context;
use super::effect::{Effect, Ending};
use super::kind::{Effects, Fault, HitRequest, Spec};
use super::reply::{GrpcReply, Reply, ReplyParts, RetryAfterSpec, reply_parts};
use super::requested::Requested;
use crate::grpc::GrpcCode;
use crate::yaml::decode::Named;
use crate::yaml::forms::{OneOrMany, Scalar, ShortForm, short_form};

/// `abort: 503`, or the long form.
#[derive(Debug, Clone, Default)]
pub struct AbortSpec(AbortLong);

/// The long form of an abort.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AbortLong {
    /// The status, 200 to 599. Default: 503.
    status: Option<ResponseStatus>,
    /// Header fields of the response: one value, or a list for several fields of that name. Values may be templates.
    headers: Option<Named<FieldValues>>,
    /// Fields that are copied from the request, such as `x-request-id`.
    echo: Option<OneOrMany<String>>,
    /// The body, as text. At most one of `body`, `json`, `file` and `problem`.
    body: Option<String>,
    /// The body, as JSON.
    json: Option<serde_json::Value>,
    /// The body, from a file, read when the configuration is loaded.
    file: Option<String>,
    /// The body, as problem details (RFC 9457) in the media type that the request accepts.
    problem: Option<serde_json::Map<String, serde_json::Value>>,
    /// `Retry-After`: a time, sent in seconds, rounded up, or `{date: 5s}` for the date so long after the response.
    retry_after: Option<RetryAfterSpec>,
    /// A gRPC status, by name (`UNAVAILABLE`) or number, for gRPC requests.
    grpc: Option<GrpcCode>,
    /// The gRPC status's message.
    message: Option<String>,
    /// `request` (default): the upstream never sees the request. `response`: in place of the upstream's response.
    #[serde(default)]
    before: Before,
}

/// A compiled `abort` fault.
#[derive(Debug, Clone)]
pub struct Abort {
    /// The response to requests that are not gRPC, or to all without `grpc`.
    pub answer: Option<Reply>,
    /// The status for gRPC requests.
    pub grpc: Option<GrpcReply>,
    /// When the response is sent.
    pub before: Before,
}

impl AbortSpec {
    /// Whether it responds to gRPC calls alone.
    pub fn is_for_grpc(&self) -> bool {
        self.0.grpc.is_some() && self.0.status.is_none()
    }
}

impl Spec for AbortSpec {
    type Fault = Abort;

    /// Checks the parts, and reads the file.
    fn compile(&self, context: &Context<'_>) -> Result<Abort, String> {
        let long = &self.0;
        if long.message.is_some() && long.grpc.is_none() {
            return Err("`message` needs `grpc`: for the text of an HTTP response use `body`".into());
        }
        let parts = long.parts();
        parts.retry_after.map_or(Ok(()), RetryAfterSpec::check_time)?;
        let message = long.message.as_deref().unwrap_or("fault injected by squall");
        let grpc = long.grpc.map(|code| parts.grpc(code, message, context)).transpose()?;
        let answer = if long.grpc.is_none() || long.status.is_some() {
            let status = long.status.map_or(StatusCode::SERVICE_UNAVAILABLE, ResponseStatus::get);
            Some(parts.reply(status, None, context)?)
        } else {
            refuse_http_parts(&parts)?;
            None
        };
        Ok(Abort {
            answer,
            grpc,
            before: long.before.one_of("abort", &[Before::Request, Before::Response])?,
        })
    }
}

reply_parts!(AbortLong);

/// A gRPC status alone has neither a body nor `Retry-After`.
fn refuse_http_parts(parts: &ReplyParts<'_>) -> Result<(), String> {
    match parts.of_http() {
        None => Ok(()),
        Some("retry_after") => {
            Err("`retry_after` needs `status`: for gRPC clients use `headers: {grpc-retry-pushback-ms: 500}`".into())
        }
        Some(part) => Err(format!(
            "`{part}` needs `status`: it is for requests that are not gRPC; a gRPC status has a `message`"
        )),
    }
}

impl ShortForm for AbortSpec {
    type Long = AbortLong;
    const EXPECTING: &'static str = "a status such as 503, or a map such as {status: 503, body: …}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let status = match scalar {
            Scalar::Int(number) => ResponseStatus::try_from(number),
            Scalar::Str(text) => text
                .parse::<i64>()
                .map_err(|_| format!("`{text}` is not a valid status: use {}", Self::EXPECTING))
                .and_then(ResponseStatus::try_from),
            Scalar::Null => return Some(Ok(AbortSpec::default())),
            _ => return None,
        };
        Some(status.map(|status| {
            AbortSpec(AbortLong {
                status: Some(status),
                ..AbortLong::default()
            })
        }))
    }

    fn from_long(long: AbortLong) -> Result<Self, String> {
        Ok(AbortSpec(long))
    }
}

short_form!(AbortSpec, AbortLong, "Abort", {
    "anyOf": [
        {"type": "integer", "minimum": 200, "maximum": 599},
        {"type": "string", "pattern": "\\$\\{"},
        {"type": "null"},
    ],
});

impl Fault for Abort {
    fn effects(&self, hit: &HitRequest<'_, '_>) -> Effects {
        let ending = match (&self.grpc, &self.answer) {
            (Some(grpc), _) if hit.head.is_grpc() => grpc.answer(hit, Vec::new()).map(Ending::Grpc),
            (_, Some(answer)) => answer.answer(hit, None).map(|answer| Ending::Answer(answer, None)),
            (_, None) => Err("not a gRPC request".into()),
        };
        smallvec![ending.map_or_else(Effect::Skip, |ending| self.effect(ending))]
    }

    fn doubt(&self) -> Option<String> {
        self.answer.as_ref().and_then(Reply::doubt)
    }

    fn uses_request_body(&self) -> bool {
        self.answer.as_ref().is_some_and(Reply::uses_body) || self.grpc.as_ref().is_some_and(GrpcReply::uses_body)
    }

    fn ends(&self) -> Option<Before> {
        // With only a gRPC status, requests that are not gRPC go on.
        self.answer.is_some().then_some(self.before)
    }

    fn check_requested(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn requested_share(&self, requested: &Requested) -> Option<u32> {
        let can = requested.abort_grpc.is_some() || self.answer.is_some();
        requested.abort_share().filter(|_| can)
    }

    fn requested(&self, hit: &HitRequest<'_, '_>, requested: &Requested) -> Option<Effect> {
        let ending = match (requested.abort_grpc, requested.abort) {
            (Some(code), _) => Ending::Grpc(GrpcAnswer::new(code, "fault requested by the caller").into()),
            (None, status) => match self.answer.as_ref()?.answer(hit, Some(status?)) {
                Ok(answer) => Ending::Answer(answer, status),
                Err(reason) => return Some(Effect::Skip(reason)),
            },
        };
        Some(self.effect(ending))
    }
}

impl Abort {
    fn effect(&self, ending: Ending) -> Effect {
        Effect::End {
            ending,
            before: self.before,
        }
    }
}
