//! gRPC statuses: their names, and the fields that carry them (gRPC over HTTP/2, "Responses").

use std::borrow::Cow;

use http::{HeaderName, HeaderValue};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::yaml::forms::{self, Scalar, ShortForm};

/// A gRPC status and its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcStatus {
    /// The status, 0 to 16.
    pub code: GrpcCode,
    /// The message, percent-encoded as gRPC asks; empty for none.
    pub message: String,
}

/// The field that carries a code, in a response head or in trailers (gRPC over HTTP/2, "Responses").
pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");

impl GrpcStatus {
    /// Creates a status. Percent-encodes everything in the message outside printable ASCII, and `%` itself.
    pub fn new(code: GrpcCode, message: &str) -> GrpcStatus {
        const SET: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b'%');
        let message = percent_encoding::utf8_percent_encode(message, SET).to_string();
        GrpcStatus { code, message }
    }

    /// The fields that carry the status, in a response head or in trailers (gRPC over HTTP/2, "Responses").
    pub fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let message = HeaderValue::try_from(&self.message)
            .ok()
            .filter(|message| !message.is_empty());
        let code = HeaderValue::from(u16::from(self.code.number()));
        let message = message.map(|message| (HeaderName::from_static("grpc-message"), message));
        [(STATUS, code)].into_iter().chain(message)
    }
}

/// A gRPC status code, 0 to 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrpcCode(u8);

/// The names of the codes, by number (the gRPC documentation, "Status codes and their use in gRPC").
const GRPC_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl GrpcCode {
    /// The status of a call that succeeded.
    pub const OK: GrpcCode = GrpcCode(0);
    /// The caller has left.
    pub const CANCELLED: GrpcCode = GrpcCode(1);
    /// The caller asked for something that is never valid.
    pub const INVALID_ARGUMENT: GrpcCode = GrpcCode(3);
    /// The caller's deadline has passed.
    pub const DEADLINE_EXCEEDED: GrpcCode = GrpcCode(4);
    /// What was asked for does not exist.
    pub const NOT_FOUND: GrpcCode = GrpcCode(5);
    /// There is no room.
    pub const RESOURCE_EXHAUSTED: GrpcCode = GrpcCode(8);
    /// The server lacks the method or the encoding.
    pub const UNIMPLEMENTED: GrpcCode = GrpcCode(12);
    /// The bytes break the protocol.
    pub const INTERNAL: GrpcCode = GrpcCode(13);
    /// The server can't serve now; trying again may help.
    pub const UNAVAILABLE: GrpcCode = GrpcCode(14);

    /// The code as a number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The code's name, such as `UNAVAILABLE`.
    pub fn name(self) -> &'static str {
        GRPC_CODES.get(usize::from(self.0)).copied().unwrap_or("UNKNOWN")
    }

    /// The code of a name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        let mut codes = (0u8..).zip(GRPC_CODES);
        codes.find_map(|(number, known)| name.eq_ignore_ascii_case(known).then_some(GrpcCode(number)))
    }

    /// The code of a number, 0 to 16.
    pub fn from_number(number: i64) -> Result<Self, String> {
        u8::try_from(number)
            .ok()
            .filter(|number| usize::from(*number) < GRPC_CODES.len())
            .map(GrpcCode)
            .ok_or_else(|| format!("{number} is not a valid gRPC status: use 0 to 16, or a name such as UNAVAILABLE"))
    }
}

/// The code's name with the message: "UNAVAILABLE (`try later`)".
impl std::fmt::Display for GrpcStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.code.fmt(f)?;
        if self.message.is_empty() {
            Ok(())
        } else {
            write!(f, " (`{}`)", self.message)
        }
    }
}

impl std::fmt::Display for GrpcCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl ShortForm for GrpcCode {
    type Long = serde::de::IgnoredAny;
    const EXPECTING: &'static str = "a gRPC status, by name (UNAVAILABLE) or number (0 to 16)";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        match scalar {
            Scalar::Int(number) => Some(GrpcCode::from_number(number)),
            Scalar::Str(text) => {
                let by_number = || text.parse().ok().and_then(|number| GrpcCode::from_number(number).ok());
                let unknown = || format!("`{text}` is not a valid gRPC status: use {}", GRPC_CODES.join(", "));
                Some(GrpcCode::named(text).or_else(by_number).ok_or_else(unknown))
            }
            _ => None,
        }
    }

    fn from_long(_: serde::de::IgnoredAny) -> Result<Self, String> {
        Err(format!("write {}", Self::EXPECTING))
    }
}

impl<'de> Deserialize<'de> for GrpcCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        forms::deserialize(deserializer)
    }
}

impl Serialize for GrpcCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for GrpcCode {
    fn schema_name() -> Cow<'static, str> {
        "GrpcStatus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 16},
            {"type": "string", "pattern": "^([A-Za-z_]+|[0-9]+)$|\\$\\{"},
        ]})
    }
}
