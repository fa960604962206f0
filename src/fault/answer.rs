//! Injected responses (answers), and the checks of their status and fields.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::grpc::{GrpcCode, GrpcStatus};
use crate::yaml::decode::Named;
use crate::yaml::units::Time;

/// The longest body, in bytes, that an explanation shows.
const SHOWN: usize = 200;

/// A response that squall injects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status, 200 to 599.
    pub status: StatusCode,
    /// The header fields, without Content-Length.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Adds `Retry-After` with the date so long after the response is sent.
    pub retry_date: Option<Duration>,
    /// The body of the response.
    pub body: Bytes,
}

impl Answer {
    /// Describes the fields and the body, in words that follow the status.
    pub fn describe(&self) -> String {
        let mut fields = described(&self.headers);
        if let Some(after) = self.retry_date {
            fields.push_str(&format!(
                ", `retry-after` with the date {} later",
                Time::saturating(after)
            ));
        }
        match (self.body.len(), std::str::from_utf8(&self.body)) {
            (0, _) => format!("{fields}, no body"),
            (bytes @ 1..=SHOWN, Ok(text)) if !text.trim_end().contains(char::is_control) => {
                format!("{fields}, {bytes} bytes: `{}`", text.trim_end())
            }
            (bytes, _) => format!("{fields}, {bytes} bytes"),
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

/// The values of a header field: one, or a list for several fields of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldValues(pub Vec<String>);

impl<'de> Deserialize<'de> for FieldValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;

        impl<'de> Visitor<'de> for Values {
            type Value = FieldValues;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a list of texts")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<FieldValues, E> {
                Ok(FieldValues(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<FieldValues, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = items.next_element::<String>()? {
                    values.push(value);
                }
                if values.is_empty() {
                    return Err(serde::de::Error::custom(
                        "the list is empty: give at least one value, or leave out the key",
                    ));
                }
                Ok(FieldValues(values))
            }
        }

        // As a text, so that a number stays as it is in the file: `1.0`, not `1`.
        deserializer.deserialize_str(Values)
    }
}

impl Serialize for FieldValues {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => serializer.serialize_str(one),
            several => several.serialize(serializer),
        }
    }
}

impl JsonSchema for FieldValues {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "FieldValues".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let text = json_schema!({"type": ["string", "number", "boolean"]});
        json_schema!({"anyOf": [text, {"type": "array", "items": text, "minItems": 1}]})
    }
}

/// Parses header fields of the configuration.
pub fn header_fields(fields: Option<&Named<FieldValues>>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut parsed = Vec::new();
    for (name, values) in fields.into_iter().flat_map(Named::iter) {
        let name = header_name(name)?;
        for value in &values.0 {
            parsed.push((name.clone(), header_value(&name, value)?));
        }
    }
    Ok(parsed)
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

/// An HTTP date (RFC 9110, section 5.6.7), rounded up to whole seconds; `None` beyond the year 9999.
pub fn http_date(time: SystemTime) -> Option<String> {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let up = time.checked_add(Duration::from_nanos(999_999_999))?;
    OffsetDateTime::from(up).format(format).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        let at = |millis| http_date(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)).unwrap();
        assert_eq!(at(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(784_111_777_001), "Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
