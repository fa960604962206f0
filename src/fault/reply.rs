//! Injected responses as they are configured and compiled: a status, fields, and a body that may depend on the request.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use smallvec::SmallVec;

use super::answer::{self, Answer, FieldValues, GrpcAnswer};
use super::content;
use super::context::Context;
use super::hit::HitRequest;
use super::problem;
use super::rewrite::is_bodiless;
use super::skip::Skip;
use super::template::{Template, Text};
use crate::content::Content;
use crate::grpc::{GrpcCode, GrpcStatus};
use crate::yaml::decode::Named;
use crate::yaml::forms::{self, OneOrMany, Scalar, ShortForm};
use crate::yaml::units::Time;

/// Why a fault is skipped whose template fails: one of [`crate::metrics::SKIP_REASONS`].
pub const TEMPLATE_FAILED: &str = "template failed";

/// Why a fault is skipped whose template needs a body that could not be read: one of [`crate::metrics::SKIP_REASONS`].
pub const UNREAD: &str = "body unread";

/// The longest value of a field that a template makes, in bytes. Many clients take no longer ones.
const LONGEST_FIELD: usize = 8 << 10;

/// What the faults that respond have in common, as it was typed.
#[derive(Debug, Default)]
pub struct ReplyParts<'a> {
    /// The header fields of the response.
    pub headers: Option<&'a Named<FieldValues>>,
    /// Fields that are copied from the request.
    pub echo: Option<&'a OneOrMany<String>>,
    /// The body as text.
    pub body: Option<&'a str>,
    /// The body as JSON.
    pub json: Option<&'a Value>,
    /// The body from a file.
    pub file: Option<&'a str>,
    /// The body as problem details.
    pub problem: Option<&'a serde_json::Map<String, Value>>,
    /// When to try again.
    pub retry_after: Option<RetryAfterSpec>,
}

/// Gives a spec that has the keys of [`ReplyParts`] among its own a function that collects them. Not a struct within it: serde can't
/// tell unknown keys of a flattened one.
macro_rules! reply_parts {
    ($spec:ty) => {
        impl $spec {
            fn parts(&self) -> $crate::fault::reply::ReplyParts<'_> {
                $crate::fault::reply::ReplyParts {
                    headers: self.headers.as_ref(),
                    echo: self.echo.as_ref(),
                    body: self.body.as_deref(),
                    json: self.json.as_ref(),
                    file: self.file.as_deref(),
                    problem: self.problem.as_ref(),
                    retry_after: self.retry_after,
                }
            }
        }
    };
}

pub(super) use reply_parts;

/// A response, compiled from its configuration.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status, 200 to 599.
    pub status: StatusCode,
    fields: ReplyFields,
    body: ReplyBody,
    retry_after: Option<RetryAfterSpec>,
    /// The response to every request, if it depends on none.
    fixed: Option<Arc<Answer>>,
}

/// A compiled gRPC status.
#[derive(Debug, Clone)]
pub struct GrpcReply {
    code: GrpcCode,
    message: Text,
    fields: ReplyFields,
}

#[derive(Debug, Clone, Default)]
struct ReplyFields {
    fields: Vec<(HeaderName, FieldValue)>,
    echo: Vec<HeaderName>,
}

/// The value of a field.
#[derive(Debug, Clone)]
enum FieldValue {
    Plain(HeaderValue),
    Made(Arc<dyn Template>),
}

#[derive(Debug, Clone)]
enum ReplyBody {
    None,
    Fixed(content::Content),
    Text(Arc<dyn Template>),
    Json(Arc<dyn Template>),
    /// Problem details with plain members.
    Problem(serde_json::Map<String, Value>),
    MadeProblem(Arc<dyn Template>),
}

impl ReplyParts<'_> {
    /// Compiles the response with this status. `body` is the body where none is given, as plain text.
    ///
    /// # Errors
    /// What is wrong, in one sentence.
    pub fn reply(
        &self,
        status: StatusCode,
        body: Option<&'static str>,
        context: &Context<'_>,
    ) -> Result<Reply, String> {
        let mut reply = Reply {
            status,
            fields: self.fields(context)?,
            body: self.body(body, context)?,
            retry_after: self.retry_after,
            fixed: None,
        };
        if reply.is_fixed() {
            let fields = reply.fields.rendered(|_| Err(TEMPLATE_FAILED.to_owned()))?;
            let (kind, bytes) = match &reply.body {
                ReplyBody::Fixed(content) => (Some(content.kind), content.bytes.clone()),
                _ => (None, Bytes::new()),
            };
            reply.fixed = Some(Arc::new(reply.finished(status, fields, kind, bytes)));
        }
        Ok(reply)
    }

    /// Compiles the fields for gRPC calls.
    ///
    /// # Errors
    /// What is wrong, in one sentence.
    pub fn grpc(&self, code: GrpcCode, message: &str, context: &Context<'_>) -> Result<GrpcReply, String> {
        Ok(GrpcReply {
            code,
            message: Text::compile(message, context.templates)?,
            fields: self.fields(context)?,
        })
    }

    /// The name of the first part that only an HTTP response has.
    pub fn of_http(&self) -> Option<&'static str> {
        let parts = [
            (self.body.is_some(), "body"),
            (self.json.is_some(), "json"),
            (self.file.is_some(), "file"),
            (self.problem.is_some(), "problem"),
            (self.retry_after.is_some(), "retry_after"),
        ];
        parts.into_iter().find(|(given, _)| *given).map(|(_, name)| name)
    }

    /// The name of the first part that is given.
    pub fn given(&self) -> Option<&'static str> {
        let headers = self.headers.map(|_| "headers");
        headers.or(self.echo.map(|_| "echo")).or_else(|| self.of_http())
    }

    fn fields(&self, context: &Context<'_>) -> Result<ReplyFields, String> {
        let mut fields = Vec::new();
        for (name, values) in self.headers.into_iter().flat_map(Named::iter) {
            let name = answer::header_name(name)?;
            for value in &values.0 {
                // As JSON, so that an expression keeps its type: null leaves the field out.
                let template = context.templates.json(&Value::from(value.as_str()))?;
                let field = match template {
                    Some(template) => FieldValue::Made(template),
                    None => FieldValue::Plain(answer::header_value(&name, value)?),
                };
                fields.push((name.clone(), field));
            }
        }
        let echo = self.echo.into_iter().flat_map(|names| &names.0);
        let echo = echo.map(|name| answer::header_name(name));
        Ok(ReplyFields {
            fields,
            echo: echo.collect::<Result<_, _>>()?,
        })
    }

    fn body(&self, default: Option<&'static str>, context: &Context<'_>) -> Result<ReplyBody, String> {
        if let Some(members) = self.problem {
            if self.body.is_some() || self.json.is_some() || self.file.is_some() {
                return Err("`problem` is a body: it can't be combined with `body`, `json` or `file`".into());
            }
            let template = context.templates.json(&Value::Object(members.clone()))?;
            return Ok(template.map_or_else(|| ReplyBody::Problem(members.clone()), ReplyBody::MadeProblem));
        }
        let given = content::given(self.body, self.json, self.file, context)?;
        let template = match (self.body, self.json) {
            (Some(text), _) => context.templates.text(text)?.map(ReplyBody::Text),
            (_, Some(json)) => context.templates.json(json)?.map(ReplyBody::Json),
            _ => None,
        };
        let default = || match default {
            Some(text) => ReplyBody::Fixed(content::Content {
                kind: content::TEXT,
                bytes: Bytes::from_static(text.as_bytes()),
            }),
            None => ReplyBody::None,
        };
        Ok(template.unwrap_or_else(|| given.map_or_else(default, ReplyBody::Fixed)))
    }
}

impl Reply {
    fn is_fixed(&self) -> bool {
        self.fields.is_fixed() && matches!(self.body, ReplyBody::None | ReplyBody::Fixed(_))
    }

    /// Whether a template depends on the request's body.
    pub fn uses_body(&self) -> bool {
        let of_body = match &self.body {
            ReplyBody::Text(template) | ReplyBody::Json(template) | ReplyBody::MadeProblem(template) => {
                template.uses_body()
            }
            ReplyBody::None | ReplyBody::Fixed(_) | ReplyBody::Problem(_) => false,
        };
        of_body || self.fields.uses_body()
    }

    /// The response to a request, with another status if the request asked for one.
    ///
    /// # Errors
    /// A template fails, [`TEMPLATE_FAILED`], or needs a body that could not be read, [`UNREAD`].
    pub fn answer(&self, hit: &HitRequest<'_, '_>, asked: Option<StatusCode>) -> Result<Arc<Answer>, Skip> {
        match &self.fixed {
            Some(fixed) if !asked.is_some_and(is_bodiless) => Ok(Arc::clone(fixed)),
            _ => self.made(hit, asked).map(Arc::new),
        }
    }

    /// The response to a request, with `more` fields. `retry` is the time after which to try again, unless the configuration
    /// says another.
    ///
    /// # Errors
    /// See [`Reply::answer`].
    pub fn answer_with(
        &self,
        hit: &HitRequest<'_, '_>,
        more: Vec<(HeaderName, HeaderValue)>,
        retry: Duration,
    ) -> Result<Arc<Answer>, Skip> {
        let retry = self.retry_after.unwrap_or_default().or(retry);
        let mut answer = Reply {
            retry_after: Some(retry),
            ..self.clone()
        }
        .made(hit, None)?;
        answer.headers.extend(more);
        Ok(Arc::new(answer))
    }

    fn made(&self, hit: &HitRequest<'_, '_>, asked: Option<StatusCode>) -> Result<Answer, Skip> {
        if self.uses_body() {
            check_body(hit)?;
        }
        self.render(hit, asked.unwrap_or(self.status))
            .map_err(|error| Skip::with(TEMPLATE_FAILED, &error))
    }

    fn render(&self, hit: &HitRequest<'_, '_>, status: StatusCode) -> Result<Answer, String> {
        let mut headers = self.fields.rendered(|template| template.render(hit))?;
        self.fields.echo(hit, &mut headers);
        let render = |key: &str, template: &Arc<dyn Template>| {
            let rendered = template.render(hit);
            rendered.map_err(|error| format!("`{key}`: {error}"))
        };
        let (kind, body) = match &self.body {
            ReplyBody::None => (None, Bytes::new()),
            ReplyBody::Fixed(content) => (Some(content.kind), content.bytes.clone()),
            ReplyBody::Text(template) => (Some(content::TEXT), text_of(render("body", template)?).into()),
            ReplyBody::Json(template) => (Some(content::JSON), render("json", template)?.to_string().into()),
            ReplyBody::Problem(members) => written(problem::write(members, status, hit.head.headers)),
            ReplyBody::MadeProblem(template) => match render("problem", template)? {
                Value::Object(members) => written(problem::write(&members, status, hit.head.headers)),
                _ => return Err("`problem`: it is not a map".into()),
            },
        };
        if matches!(self.body, ReplyBody::Problem(_) | ReplyBody::MadeProblem(_)) {
            headers.push((header::VARY, HeaderValue::from_static("accept")));
        }
        Ok(self.finished(status, headers, kind, body))
    }

    /// What is likely to be meant otherwise: a body that is never sent.
    pub fn doubt(&self) -> Option<String> {
        let has_body = !matches!(self.body, ReplyBody::None);
        (has_body && is_bodiless(self.status)).then(|| {
            let status = self.status.as_u16();
            format!("the body is never sent: a response with status {status} has none (RFC 9110, section 15)")
        })
    }

    /// Adds what the configuration has not as a field of its own: the media type, and `Retry-After`. `status` is the one that is sent.
    fn finished(&self, status: StatusCode, fields: SentFields, kind: Option<&'static str>, body: Bytes) -> Answer {
        let (kind, body) = if is_bodiless(status) {
            (None, Bytes::new())
        } else {
            (kind, body)
        };
        let has = |name: &HeaderName| fields.iter().any(|(own, _)| own == name);
        let mut headers = Vec::with_capacity(fields.len() + 2);
        if let Some(kind) = kind.filter(|_| !has(&header::CONTENT_TYPE)) {
            headers.push((header::CONTENT_TYPE, HeaderValue::from_static(kind)));
        }
        let mut retry_date = None;
        if let Some(RetryAfterSpec { time: Some(time), form }) = self.retry_after.filter(|_| !has(&header::RETRY_AFTER))
        {
            match form {
                RetryForm::Seconds => headers.push((header::RETRY_AFTER, answer::seconds_up(time.get()).into())),
                RetryForm::Date => retry_date = Some(time.get()),
            }
        }
        headers.extend(fields);
        Answer {
            status: self.status,
            headers,
            retry_date,
            body,
        }
    }
}

type SentFields = SmallVec<[(HeaderName, HeaderValue); 4]>;

fn written((kind, text): (&'static str, String)) -> (Option<&'static str>, Bytes) {
    (Some(kind), text.into())
}

impl GrpcReply {
    /// Whether a template depends on the request's body.
    pub fn uses_body(&self) -> bool {
        self.message.template().is_some_and(|template| template.uses_body()) || self.fields.uses_body()
    }

    /// The status for a call. `more` are further fields.
    ///
    /// # Errors
    /// See [`Reply::answer`].
    pub fn answer(
        &self,
        hit: &HitRequest<'_, '_>,
        more: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Arc<GrpcAnswer>, Skip> {
        if self.uses_body() {
            check_body(hit)?;
        }
        let made = || {
            let message = self.message.render(hit);
            let message = message.map_err(|error| format!("`message`: {error}"))?;
            if self.message.template().is_some() {
                check_length(&message).map_err(|error| format!("`message`: {error}"))?;
            }
            let mut headers = self.fields.rendered(|template| template.render(hit))?;
            self.fields.echo(hit, &mut headers);
            headers.extend(more);
            Ok::<_, String>(GrpcAnswer {
                status: GrpcStatus::new(self.code, &message),
                headers: headers.into_vec(),
            })
        };
        made()
            .map(Arc::new)
            .map_err(|error| Skip::with(TEMPLATE_FAILED, &error))
    }
}

/// Checks that templates can look at the request's body.
fn check_body(hit: &HitRequest<'_, '_>) -> Result<(), Skip> {
    match hit.head.body().map(Content::bytes) {
        Some(Err(reason)) => Err(Skip::with(UNREAD, &format!("the request's body {reason}"))),
        // None: a connection has no body, and neither has a request that is only explained, unless it was given.
        Some(Ok(_)) | None => Ok(()),
    }
}

/// Checks that clients will take a field with this value.
fn check_length(value: &str) -> Result<(), String> {
    if value.len() > LONGEST_FIELD {
        return Err(format!("it has {} bytes, and a field has at most 8 KiB", value.len()));
    }
    Ok(())
}

impl ReplyFields {
    fn is_fixed(&self) -> bool {
        self.echo.is_empty()
            && self
                .fields
                .iter()
                .all(|(_, value)| matches!(value, FieldValue::Plain(_)))
    }

    fn uses_body(&self) -> bool {
        let uses_body = |value: &FieldValue| matches!(value, FieldValue::Made(template) if template.uses_body());
        self.fields.iter().any(|(_, value)| uses_body(value))
    }

    /// The fields with their values. A template that renders to nothing, or to null, leaves its field out.
    fn rendered(&self, render: impl Fn(&dyn Template) -> Result<Value, String>) -> Result<SentFields, String> {
        let mut rendered = SentFields::new();
        for (name, value) in &self.fields {
            let value = match value {
                FieldValue::Plain(value) => Some(value.clone()),
                FieldValue::Made(template) => {
                    let value = render(&**template).and_then(|value| of_template(name, value));
                    value.map_err(|error| format!("header `{name}`: {error}"))?
                }
            };
            rendered.extend(value.map(|value| (name.clone(), value)));
        }
        Ok(rendered)
    }

    /// Copies the request's fields that are echoed.
    fn echo(&self, hit: &HitRequest<'_, '_>, headers: &mut SentFields) {
        for name in &self.echo {
            let values = hit.head.headers.get_all(name).iter();
            headers.extend(values.map(|value| (name.clone(), value.clone())));
        }
    }
}

/// The value of a field that a template has made; `None` if it is left out.
fn of_template(name: &HeaderName, value: Value) -> Result<Option<HeaderValue>, String> {
    let text = match value {
        Value::Null => return Ok(None),
        value => text_of(value),
    };
    check_length(&text)?;
    match text.as_str() {
        "" => Ok(None),
        text => answer::header_value(name, text).map(Some),
    }
}

fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// `Retry-After`: seconds, or an HTTP date (RFC 9110, section 10.2.3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetryAfterSpec {
    /// How it is written.
    pub form: RetryForm,
    /// How long from the response on; `None`: the fault knows, as a quota does.
    pub time: Option<Time>,
}

/// How `Retry-After` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetryForm {
    /// Seconds, rounded up.
    #[default]
    Seconds,
    /// An HTTP date.
    Date,
}

/// The long form of [`RetryAfterSpec`]: exactly one key.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct RetryAfterLong {
    /// A time, sent in seconds, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<Time>,
    /// A time, sent as the date so long after the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<Time>,
}

impl RetryAfterSpec {
    /// The time until then.
    ///
    /// # Errors
    /// It is not given, and the fault knows none.
    pub fn check_time(self) -> Result<(), String> {
        match self.time {
            Some(_) => Ok(()),
            None => Err("`retry_after` needs a time: use `5s`, or `{date: 5s}` for a date".into()),
        }
    }

    /// Fills in the time, if there is none.
    #[must_use]
    pub fn or(self, time: Duration) -> RetryAfterSpec {
        RetryAfterSpec {
            time: self.time.or(Some(Time::saturating(time))),
            ..self
        }
    }
}

impl ShortForm for RetryAfterSpec {
    type Long = RetryAfterLong;
    const EXPECTING: &'static str = "a time such as 5s, or {date: 5s}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let form = |form| Some(Ok(RetryAfterSpec { form, time: None }));
        match scalar {
            Scalar::Str("seconds") => form(RetryForm::Seconds),
            Scalar::Str("date") => form(RetryForm::Date),
            other => {
                let time = other.text()?.parse::<Time>().map_err(|error| error.to_string());
                Some(time.map(|time| RetryAfterSpec {
                    form: RetryForm::Seconds,
                    time: Some(time),
                }))
            }
        }
    }

    fn from_long(long: RetryAfterLong) -> Result<Self, String> {
        match (long.seconds, long.date) {
            (Some(time), None) => Ok(RetryAfterSpec {
                form: RetryForm::Seconds,
                time: Some(time),
            }),
            (None, Some(time)) => Ok(RetryAfterSpec {
                form: RetryForm::Date,
                time: Some(time),
            }),
            _ => Err("give one of seconds and date".into()),
        }
    }
}

impl<'de> Deserialize<'de> for RetryAfterSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        forms::deserialize(deserializer)
    }
}

impl Serialize for RetryAfterSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.form, self.time) {
            (RetryForm::Seconds, Some(time)) => time.serialize(serializer),
            (RetryForm::Seconds, None) => serializer.serialize_str("seconds"),
            (RetryForm::Date, None) => serializer.serialize_str("date"),
            (RetryForm::Date, time) => RetryAfterLong {
                seconds: None,
                date: time,
            }
            .serialize(serializer),
        }
    }
}

impl JsonSchema for RetryAfterSpec {
    fn schema_name() -> Cow<'static, str> {
        "RetryAfter".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        forms::either_schema::<RetryAfterLong>(generator, json_schema!({"type": ["string", "number"]}))
    }
}
