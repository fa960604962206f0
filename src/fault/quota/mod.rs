//! `quota: {requests: 100, per: 1m}`: a rate limit, as public APIs have it.
//!
//! A window opens with a key's first request and lasts `per`. The first `requests` in it pass; the others get 429 with
//! `Retry-After`, or a gRPC status. Each response reports the state of the limit in the fields of the IETF draft "RateLimit header fields for
//! HTTP" (`RateLimit-Policy: "name";q=100;w=60` and `RateLimit: "name";r=99;t=42`) and in the older `X-RateLimit-Limit`,
//! `-Remaining` and `-Reset` (seconds).

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use smallvec::smallvec;

use super::answer::{self, FieldValues, ResponseStatus};
use super::before::Before;
use super::context::Context;
use super::effect::{Effect, Ending};
use super::kind::{Effects, Fault, HitRequest, Spec};
use super::reply::{GrpcReply, Reply, RetryAfterSpec, reply_parts};
use super::skip::Skip;
use crate::draw::KeyHash;
use crate::draw::key::{Key, KeySpec};
use crate::draw::remembered::Remembered;
use crate::grpc::GrpcCode;
use crate::yaml::decode::Named;
use crate::yaml::forms::{OneOrMany, Scalar, ShortForm, short_form};
use crate::yaml::units::Time;

/// The body of a refusal, and its message for gRPC calls.
const EXCEEDED: &str = "rate limit exceeded (injected by squall)\n";

/// The longest window of a punished client, as a multiple of `per`.
const MAX_PUNISHMENT: u32 = 10;

/// `quota: 100/1m`, or the long form.
#[derive(Debug, Clone)]
pub struct QuotaSpec(QuotaLong);

impl std::ops::Deref for QuotaSpec {
    type Target = QuotaLong;

    fn deref(&self) -> &QuotaLong {
        &self.0
    }
}

/// The long form of a quota: `{requests: 100, per: 1m, key: client}`.
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaLong {
    /// How many requests pass in a window.
    pub requests: NonZeroU32,
    /// How long a window is.
    pub per: Time,
    /// Whose requests are counted together: `client`, `path`, `header:NAME`, `cookie:NAME`, `query:NAME`. Absent: all.
    pub key: Option<KeySpec>,
    /// Each refused request extends the window by this much: clients that don't wait are refused for longer. Never
    /// beyond ten times `per`.
    pub punish: Option<Time>,
    /// The status of a refusal. Default: 429.
    pub status: Option<ResponseStatus>,
    /// Header fields of a refusal: one value, or a list for several fields of that name. Values may be templates.
    pub headers: Option<Named<FieldValues>>,
    /// Fields that a refusal copies from the request, such as `x-request-id`.
    pub echo: Option<OneOrMany<String>>,
    /// The body of a refusal, as text. At most one of `body`, `json`, `file` and `problem`.
    pub body: Option<String>,
    /// The body of a refusal, as JSON.
    pub json: Option<serde_json::Value>,
    /// The body of a refusal, from a file, read when the configuration is loaded.
    pub file: Option<String>,
    /// The body of a refusal, as problem details (RFC 9457) in the media type that the request accepts.
    pub problem: Option<serde_json::Map<String, serde_json::Value>>,
    /// How `Retry-After` is written: `seconds` (default) or `date`. A time, or `{date: 5s}`, says that instead of when the window
    /// ends.
    pub retry_after: Option<RetryAfterSpec>,
    /// The status of a refused gRPC call, by name or number. Default: RESOURCE_EXHAUSTED.
    pub grpc: Option<GrpcCode>,
    /// The message of that status.
    pub message: Option<String>,
    /// Which header fields report the state of the limit. Default: `both`.
    #[serde(default)]
    pub fields: Fields,
}

/// Which header fields report the state of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fields {
    /// The IETF draft's and the legacy ones.
    #[default]
    Both,
    /// `RateLimit-Policy` and `RateLimit`.
    Ietf,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining`, `X-RateLimit-Reset`.
    Legacy,
    /// None; refusals still have `Retry-After`.
    None,
}

/// A compiled `quota` fault and the windows of its keys.
#[derive(Debug)]
pub struct Quota {
    /// Which requests are counted together; `None`: all.
    pub key: Option<Key>,
    requests: u32,
    per: Duration,
    punish: Option<Duration>,
    refusal: Reply,
    grpc: GrpcReply,
    fields: Fields,
    policy: String,
    windows: Remembered<Window>,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    opened: Duration,
    ends: Duration,
    used: u32,
}

/// The decision of a quota about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the request passes.
    pub passes: bool,
    /// How many more requests pass in this window.
    pub remaining: u32,
    /// The time until the window ends.
    pub reset: Duration,
}

impl Spec for QuotaSpec {
    type Fault = Quota;

    /// Compiles the quota, and checks its parts.
    fn compile(&self, context: &Context<'_>) -> Result<Quota, String> {
        if self.key == Some(KeySpec::Ordinal) {
            return Err("a quota with `key: ordinal` never fills up: each request has its own number".into());
        }
        if self.per.get().is_zero() {
            return Err("`per` must be longer than 0s".into());
        }
        let status = self.status.map_or(StatusCode::TOO_MANY_REQUESTS, ResponseStatus::get);
        let keys = if self.key.is_some() {
            context.keys
        } else {
            NonZeroUsize::MIN
        };
        let parts = self.parts();
        let code = self.grpc.unwrap_or(GrpcCode::RESOURCE_EXHAUSTED);
        let message = self.message.as_deref().unwrap_or(EXCEEDED.trim_end());
        Ok(Quota {
            key: self.key.clone().map(Key::new),
            requests: self.requests.get(),
            per: self.per.get(),
            punish: self.punish.map(Time::get),
            refusal: parts.reply(status, Some(EXCEEDED), context)?,
            grpc: parts.grpc(code, message, context)?,
            fields: self.fields,
            policy: quoted(context.rule),
            windows: Remembered::new(keys),
        })
    }
}

reply_parts!(QuotaLong);

impl ShortForm for QuotaSpec {
    type Long = QuotaLong;
    const EXPECTING: &'static str = "a rate such as 100/1m, or a map such as {requests: 100, per: 1m, key: client}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let Scalar::Str(text) = scalar else { return None };
        let wrong = || format!("`{text}` is not {}", Self::EXPECTING);
        let rate = || {
            let (requests, per) = text.split_once('/')?;
            let per = match per.trim() {
                "s" | "second" => Time::from_millis(1_000),
                "m" | "min" | "minute" => Time::from_millis(60_000),
                "h" | "hour" => Time::from_millis(3_600_000),
                per => per.parse().ok()?,
            };
            let requests: NonZeroU32 = requests.trim().parse().ok()?;
            let long = serde_json::json!({"requests": requests, "per": per});
            serde_json::from_value(long).ok().map(QuotaSpec)
        };
        Some(rate().ok_or_else(wrong))
    }

    fn from_long(long: QuotaLong) -> Result<Self, String> {
        Ok(QuotaSpec(long))
    }
}

short_form!(QuotaSpec, QuotaLong, "Quota", {
    "description": "A number of requests in a time: 100/1m",
    "type": "string",
    "pattern": "^ *[0-9]+ */ *([0-9].*|s|second|m|min|minute|h|hour) *$|\\$\\{",
});

impl Quota {
    /// Counts a request of `key` at `now`, a time since any fixed moment.
    pub fn take(&self, key: u64, now: Duration) -> Verdict {
        self.windows
            .change(key, || self.opened(now), |window| self.count(window, now))
    }

    /// The decision about a request, without counting it; see [`Quota::take`].
    pub fn peek(&self, key: u64, now: Duration) -> Verdict {
        let mut window = self
            .windows
            .peek(key, |window| window.copied())
            .unwrap_or_else(|| self.opened(now));
        self.count(&mut window, now)
    }

    fn opened(&self, now: Duration) -> Window {
        Window {
            opened: now,
            ends: now.saturating_add(self.per),
            used: 0,
        }
    }

    fn count(&self, window: &mut Window, now: Duration) -> Verdict {
        if now >= window.ends {
            *window = self.opened(now);
        }
        let passes = window.used < self.requests;
        if passes {
            window.used += 1;
        } else if let Some(punish) = self.punish {
            let latest = window.opened.saturating_add(self.per.saturating_mul(MAX_PUNISHMENT));
            window.ends = window.ends.saturating_add(punish).min(latest.max(window.ends));
        }
        Verdict {
            passes,
            remaining: self.requests - window.used,
            reset: window.ends.saturating_sub(now),
        }
    }

    /// How a request ends that does not pass.
    fn refusal(&self, hit: &HitRequest<'_, '_>, verdict: Verdict) -> Result<Ending, Skip> {
        let mut headers = self.headers(verdict);
        if hit.head.is_grpc() {
            // When clients with a retry policy try again (gRPC proposal A6, "Pushback").
            let pushback = u64::try_from(verdict.reset.as_millis()).unwrap_or(u64::MAX);
            headers.push((HeaderName::from_static("grpc-retry-pushback-ms"), pushback.into()));
            return self.grpc.answer(hit, headers).map(Ending::Grpc);
        }
        let answer = self.refusal.answer_with(hit, headers, verdict.reset)?;
        Ok(Ending::Answer(answer, None))
    }

    /// The fields that report the state of the limit.
    pub fn headers(&self, verdict: Verdict) -> Vec<(HeaderName, HeaderValue)> {
        let reset = answer::seconds_up(verdict.reset);
        let mut headers = Vec::with_capacity(5);
        let mut push = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.push((HeaderName::from_static(name), value));
            }
        };
        if matches!(self.fields, Fields::Both | Fields::Ietf) {
            let window = answer::seconds_up(self.per);
            push(
                "ratelimit-policy",
                format!("{};q={};w={window}", self.policy, self.requests),
            );
            push(
                "ratelimit",
                format!("{};r={};t={reset}", self.policy, verdict.remaining),
            );
        }
        if matches!(self.fields, Fields::Both | Fields::Legacy) {
            push("x-ratelimit-limit", self.requests.to_string());
            push("x-ratelimit-remaining", verdict.remaining.to_string());
            push("x-ratelimit-reset", reset.to_string());
        }
        headers
    }
}

/// A structured-field string (RFC 9651, section 3.3.3): quotes and backslashes escaped, anything but printable ASCII
/// replaced.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

impl Fault for Quota {
    fn effects(&self, hit: &HitRequest<'_, '_>) -> Effects {
        let key = match &self.key {
            None => KeyHash::ordinal(0),
            Some(key) => key.hash(hit.head, hit.ordinal),
        };
        let verdict = if hit.counts {
            self.take(key.value(), hit.since)
        } else {
            self.peek(key.value(), hit.since)
        };
        if verdict.passes {
            return smallvec![Effect::Fields(Arc::new(self.headers(verdict)))];
        }
        smallvec![match self.refusal(hit, verdict) {
            Ok(ending) => Effect::End {
                ending,
                before: Before::Request,
            },
            Err(reason) => Effect::Skip(reason),
        }]
    }

    fn doubt(&self) -> Option<String> {
        self.refusal.doubt()
    }

    fn uses_request_body(&self) -> bool {
        self.refusal.uses_body() || self.grpc.uses_body()
    }
}

#[cfg(test)]
mod tests;
