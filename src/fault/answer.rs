//! Injected responses (answers), and the checks of their status and fields.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::grpc::{GrpcCode, GrpcStatus};
use crate::yaml::decode::Named;

/// A response that squall injects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status, 200 to 599.
    pub status: StatusCode,
    /// The header fields, without Content-Length.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body of the response.
    pub body: Bytes,
}

impl Answer {
    /// Describes the fields and the body, in words that follow the status.
    pub fn describe(&self) -> String {
        let fields = described(&self.headers);
        match self.body.len() {
            0 => format!("{fields}, no body"),
            bytes => format!("{fields}, {bytes} bytes"),
        }
    }
}

/// Formats header fields for a sentence, each after a comma.
fn described(headers: &[(HeaderName, HeaderValue)]) -> String {
    let fields = headers
        .iter()
        .map(|(name, value)| format!(", {}", describe_field(name, value)));
    fields.collect()
}

/// Formats a header field as `name: value`, in backticks.
pub fn describe_field(name: &HeaderName, value: &HeaderValue) -> String {
    format!("`{name}: {}`", String::from_utf8_lossy(value.as_bytes()))
}

/// The status of a gRPC call, sent in place of the upstream's response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcAnswer {
    /// The status of the call, with its message.
    pub status: GrpcStatus,
    /// Further header fields, such as `grpc-retry-pushback-ms`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl GrpcAnswer {
    /// Describes the status and the fields: "the gRPC status UNAVAILABLE (`try later`), `a: b`".
    pub fn describe(&self) -> String {
        format!("the gRPC status {}{}", self.status, described(&self.headers))
    }

    /// Creates a response of a status without further fields.
    pub fn new(code: GrpcCode, message: &str) -> GrpcAnswer {
        GrpcAnswer {
            status: GrpcStatus::new(code, message),
            headers: Vec::new(),
        }
    }
}

/// The status of a final response (RFC 9110, section 15): 200 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "u16")]
pub struct ResponseStatus(StatusCode);

impl ResponseStatus {
    /// The status as a type of the `http` crate.
    pub fn get(self) -> StatusCode {
        self.0
    }
}

impl TryFrom<i64> for ResponseStatus {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        u16::try_from(number)
            .ok()
            .filter(|status| (200..=599).contains(status))
            .and_then(|status| StatusCode::from_u16(status).ok())
            .map(Self)
            .ok_or_else(|| format!("{number} is not a valid response status: use 200 to 599"))
    }
}

impl From<ResponseStatus> for u16 {
    fn from(status: ResponseStatus) -> u16 {
        status.0.as_u16()
    }
}

impl JsonSchema for ResponseStatus {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ResponseStatus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "minimum": 200, "maximum": 599})
    }
}

/// Parses header fields of the configuration.
pub fn header_fields(fields: Option<&Named<String>>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let fields = fields.into_iter().flat_map(Named::iter).map(|(name, value)| {
        let name = header_name(name)?;
        let value = header_value(&name, value)?;
        Ok((name, value))
    });
    fields.collect()
}

/// Parses the name of a header field in the configuration.
pub fn header_name(name: &str) -> Result<HeaderName, String> {
    let parsed = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{name}` is not a valid header name (RFC 9110, section 5.1)"))?;
    // squall frames injected responses itself; a contradicting field would break the connection.
    if [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION].contains(&parsed) {
        return Err(format!("`{name}` can't be set: squall frames the message itself"));
    }
    Ok(parsed)
}

/// Parses the value of a header field in the configuration.
pub fn header_value(name: &HeaderName, value: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| format!("the value of `{name}` contains a control character, such as a newline"))
}

/// Rounds up to whole seconds, so that a client that waits that long is never early.
pub fn seconds_up(time: std::time::Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
