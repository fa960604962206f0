//! When a fault acts, and how a wait combines with the natural time.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// When a fault acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Before {
    /// Before the request goes to the upstream.
    #[default]
    Request,
    /// After the head of the upstream's response has arrived, before it goes to the client.
    Response,
    /// After the head was sent, before the body's first byte.
    Body,
    /// Before each message of a stream: SSE event, line of NDJSON, WebSocket or gRPC message.
    Message,
    /// Before the natural end of a stream, after its last byte.
    End,
    /// When a connection is accepted, before anything is read from it.
    Connection,
    /// In place of the TLS handshake.
    Handshake,
}

impl Before {
    /// Every moment, in the order of a request's life.
    pub const ALL: [Before; 7] = [
        Before::Request,
        Before::Response,
        Before::Body,
        Before::Message,
        Before::End,
        Before::Connection,
        Before::Handshake,
    ];

    /// The moments at which a fault can end a request or a connection.
    pub const ENDINGS: [Before; 4] = [Before::Request, Before::Response, Before::Connection, Before::Handshake];

    /// Whether the moment comes before there is a request.
    pub fn is_before_request(self) -> bool {
        matches!(self, Before::Connection | Before::Handshake)
    }

    /// The name in YAML.
    pub fn name(self) -> &'static str {
        match self {
            Before::Request => "request",
            Before::Response => "response",
            Before::Body => "body",
            Before::Message => "message",
            Before::End => "end",
            Before::Connection => "connection",
            Before::Handshake => "handshake",
        }
    }

    /// Checks that the fault can act at this moment.
    ///
    /// # Errors
    /// It can't; the text lists the valid moments.
    pub fn one_of(self, fault: &str, valid: &[Before]) -> Result<Before, String> {
        if valid.contains(&self) {
            return Ok(self);
        }
        let names: Vec<&str> = valid.iter().map(|before| before.name()).collect();
        Err(format!(
            "`{fault}` can't act before the {}; valid for `before`: {}",
            self.name(),
            names.join(", ")
        ))
    }
}

/// How a delay combines with the natural time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The delay comes on top of the natural time.
    #[default]
    Add,
    /// The upstream's own time is raised to the delay; other delays come on top.
    Floor,
    /// The whole time from the request's arrival to the response, everything included, is raised to the delay.
    Total,
}

impl Mode {
    /// How long to wait for a drawn delay. `spent` is ignored for `add`; for `floor` it is the time that the upstream took
    /// to begin its response, for `total` the time since the request arrived.
    pub fn wait(self, drawn: Duration, spent: Duration) -> Duration {
        match self {
            Self::Add => drawn,
            Self::Floor | Self::Total => drawn.saturating_sub(spent),
        }
    }
}

impl<'de> Deserialize<'de> for Before {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BeforeVisitor;
        impl Visitor<'_> for BeforeVisitor {
            type Value = Before;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a moment such as request or response")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Before, E> {
                let name = if name == "event" { "message" } else { name };
                Before::ALL
                    .into_iter()
                    .find(|before| before.name() == name)
                    .ok_or_else(|| E::unknown_variant(name, &BEFORE_NAMES))
            }
        }
        deserializer.deserialize_str(BeforeVisitor)
    }
}

/// The valid values of `before`, in the order of a request's life; `event` is an alias of `message`.
const BEFORE_NAMES: [&str; 8] = [
    "request",
    "response",
    "body",
    "message",
    "event",
    "end",
    "connection",
    "handshake",
];

impl JsonSchema for Before {
    fn schema_name() -> Cow<'static, str> {
        "Before".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "When in a request's life a fault acts; each fault supports some of these.",
            "enum": BEFORE_NAMES,
        })
    }
}
