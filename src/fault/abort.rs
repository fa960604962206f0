//! `abort: 503`: squall responds with an error of its own.
//!
//! With `grpc`, a gRPC request (content type `application/grpc`) gets a trailers-only response: status 200, the gRPC status
//! in the head, and the end of the stream (gRPC over HTTP/2, "Responses"). Any other request gets `status` if that is given
//! too; otherwise the fault is skipped.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use smallvec::smallvec;

use super::answer::{self, Answer, GrpcAnswer, ResponseStatus};
use super::before::Before;
use super::content;
use super::context::Context;
use super::effect::{Effect, Ending};
use super::kind::{Effects, Fault, HitRequest, Spec};
use super::requested::Requested;
use crate::grpc::{GrpcCode, GrpcStatus};
use crate::yaml::decode::Named;
use crate::yaml::forms::{Scalar, ShortForm, short_form};
use crate::yaml::units::Time;

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
    /// Header fields of the response.
    headers: Option<Named<String>>,
    /// The body, as text. At most one of `body`, `json` and `file`.
    body: Option<String>,
    /// The body, as JSON.
    json: Option<serde_json::Value>,
    /// The body, from a file, read when the configuration is loaded.
    file: Option<String>,
    /// `Retry-After`, in seconds, rounded up.
    retry_after: Option<Time>,
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
    pub answer: Option<Arc<Answer>>,
    /// The status for gRPC requests.
    pub grpc: Option<Arc<GrpcAnswer>>,
    /// When the response is sent.
    pub before: Before,
}

impl Spec for AbortSpec {
    type Fault = Abort;

    /// Checks the parts, and reads the file.
    fn compile(&self, context: &Context<'_>) -> Result<Abort, String> {
        let long = &self.0;
        if long.message.is_some() && long.grpc.is_none() {
            return Err("`message` needs `grpc`: for the text of an HTTP response use `body`".into());
        }
        let headers = answer::header_fields(long.headers.as_ref())?;
        let grpc = long.grpc.map(|code| {
            let message = long.message.as_deref().unwrap_or("fault injected by squall");
            let status = GrpcStatus::new(code, message);
            let headers = headers.clone();
            Arc::new(GrpcAnswer { status, headers })
        });
        let answer = if long.grpc.is_none() || long.status.is_some() {
            Some(Arc::new(long.answer(headers, context)?))
        } else {
            long.refuse_http_parts()?;
            None
        };
        Ok(Abort {
            answer,
            grpc,
            before: long.before.one_of("abort", &[Before::Request, Before::Response])?,
        })
    }
}

impl AbortLong {
    /// A gRPC status alone has neither a body nor `Retry-After`.
    fn refuse_http_parts(&self) -> Result<(), String> {
        let parts = [
            (self.body.is_some(), "body"),
            (self.json.is_some(), "json"),
            (self.file.is_some(), "file"),
            (self.retry_after.is_some(), "retry_after"),
        ];
        match parts.into_iter().find(|(given, _)| *given) {
            None => Ok(()),
            Some((_, "retry_after")) => Err(
                "`retry_after` needs `status`: for gRPC clients use `headers: {grpc-retry-pushback-ms: 500}`".into(),
            ),
            Some((_, part)) => Err(format!(
                "`{part}` needs `status`: it is for requests that are not gRPC; a gRPC status has a `message`"
            )),
        }
    }

    fn answer(&self, fields: Vec<(HeaderName, HeaderValue)>, context: &Context<'_>) -> Result<Answer, String> {
        let status = self.status.map_or(StatusCode::SERVICE_UNAVAILABLE, ResponseStatus::get);
        let content = content::given(self.body.as_deref(), self.json.as_ref(), self.file.as_deref(), context)?;
        let mut headers = Vec::new();
        if let Some(content) = &content {
            headers.push((header::CONTENT_TYPE, HeaderValue::from_static(content.kind)));
        }
        if let Some(after) = self.retry_after {
            headers.push((header::RETRY_AFTER, HeaderValue::from(answer::seconds_up(after.get()))));
        }
        headers.retain(|(own, _)| fields.iter().all(|(name, _)| name != own));
        headers.extend(fields);
        let body = content.map(|content| content.bytes).unwrap_or_default();
        Ok(Answer { status, headers, body })
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
            (Some(status), _) if hit.head.is_grpc() => Ending::Grpc(Arc::clone(status)),
            (_, Some(answer)) => Ending::Answer(Arc::clone(answer), None),
            (_, None) => return smallvec![Effect::Skip("not a gRPC request")],
        };
        smallvec![self.effect(ending)]
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

    fn requested(&self, _: &HitRequest<'_, '_>, requested: &Requested) -> Option<Effect> {
        let ending = match (requested.abort_grpc, requested.abort) {
            (Some(code), _) => Ending::Grpc(GrpcAnswer::new(code, "fault requested by the caller").into()),
            (None, status) => Ending::Answer(self.answer.clone()?, Some(status?)),
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
