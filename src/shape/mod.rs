//! Bytes in motion: bandwidth, truncate, stall, corrupt. Arithmetic on byte counts and instants, without sockets and without a clock.
//!
//! A plan's body faults become [`Part`]s; the proxy gives those of one direction to a [`Shaper`], pushes the natural bytes
//! in, and carries out the [`Step`]s that come out. Proxied HTTP/1, HTTP/2, gRPC, WebSocket and fakes all go this way.
//!
//! ```text
//! natural bytes ─ split into messages ─ drop, duplicate, delay each ─ corrupt ─ stall, truncate ─ dribble, bandwidth ─ Step
//! ```

mod accepts;
pub mod bucket;
pub mod framing;
pub mod shaper;

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use accepts::TOO_SHORT;
pub use bucket::Bucket;
pub use framing::Framing;
pub use shaper::{Length, Missed, Shaper, Step};

use crate::grpc::GrpcStatus;

/// The direction of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the upstream to the client.
    #[default]
    Response,
    /// From the client to the upstream.
    Request,
}

/// One thing to do to the bytes of one direction.
#[derive(Clone, Debug)]
pub struct Part {
    /// The direction whose bytes it changes.
    pub direction: Direction,
    /// What is done to the bytes.
    pub act: Act,
}

/// What is done to bytes. Several of these combine: the tightest rate, the earliest truncation.
#[derive(Clone, Debug)]
pub enum Act {
    /// Bytes leave at a rate.
    Bandwidth(Rate),
    /// Bytes leave in pieces with gaps between them.
    Dribble(Dribble),
    /// The first byte waits this long.
    Delay(Duration),
    /// Each message waits, one after the other, so that they are at least so far apart.
    DelayMessages(Arc<dyn Waits>),
    /// Sending stops for a while, or for good.
    Stall(Stall),
    /// The stream ends early.
    Truncate(Truncation),
    /// Bytes are changed.
    Corrupt(Corruption),
    /// Messages vanish.
    Drop(Pick),
    /// Messages come twice.
    Duplicate(Pick),
    /// The message as a whole is not what it says it is.
    Malform(Malformed),
}

/// A rate, and who shares it.
#[derive(Clone, Debug)]
pub struct Rate {
    /// The rate in bytes a second.
    pub rate: NonZeroU64,
    /// The requests that share the rate.
    pub scope: Scope,
}

/// Who shares a rate.
#[derive(Clone, Debug)]
pub enum Scope {
    /// Each request has the rate to itself.
    Request,
    /// The requests of one downstream connection.
    Connection,
    /// All requests of the rule.
    Rule(Arc<Bucket>),
}

/// How a body is cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dribble {
    /// Pieces of a fixed size with a gap between them.
    Chunk {
        /// Bytes of a piece, at least 1.
        bytes: usize,
        /// From one piece to the next.
        gap: Duration,
    },
    /// So many equal pieces spread over a time; needs to know the body's length.
    Over {
        /// Pieces, at least 1.
        chunks: u64,
        /// From the first byte to the last.
        time: Duration,
    },
}

/// A position in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// After this many bytes of the body.
    Bytes(u64),
    /// After a share of the body, in parts per million, rounded down to whole bytes; needs to know its length.
    Share(u32),
    /// After this many messages: SSE events, lines of NDJSON, WebSocket or gRPC messages.
    Messages(u64),
}

/// Sending stops for a while, or for good.
#[derive(Clone, Debug)]
pub struct Stall {
    /// The position at which sending stops.
    pub after: After,
    /// For how long. `None`: until the client leaves, or for as long as a wait may be.
    pub limit: Option<Duration>,
    /// What comes after `limit`; [`Finish::Natural`] goes on with the bytes.
    pub then: Finish,
}

/// The stream ends early.
#[derive(Clone, Debug)]
pub struct Truncation {
    /// The position at which the stream ends.
    pub after: After,
    /// How the stream ends there.
    pub end: Finish,
}

/// How a stream ends.
#[derive(Clone, Debug)]
pub enum Finish {
    /// With whatever is the natural end: trailers, the last chunk, a FIN on an upgraded connection.
    Natural,
    /// As if the whole body had been sent: the client can't tell. A WebSocket gets a close frame, a gRPC call its status.
    Clean(Clean),
    /// The connection is closed (FIN) in the middle of the body.
    Close,
    /// The HTTP/1 connection is reset (RST), the HTTP/2 stream gets RST_STREAM with this code.
    Reset(u32),
}

/// The details of a clean end.
#[derive(Clone, Debug, Default)]
pub struct Clean {
    /// The status of a gRPC call. `None`: the stream ends without trailers.
    pub grpc: Option<Arc<GrpcStatus>>,
    /// The code and the reason of a WebSocket's close frame (RFC 6455, section 7.4). `None`: 1001, going away.
    pub websocket: Option<(u16, Arc<str>)>,
}

/// Bytes are changed, and never their number.
#[derive(Clone, Debug)]
pub struct Corruption {
    /// The share of payload bytes, in parts per million; 0 with `messages` flips one byte of each picked message.
    pub ppm: u32,
    /// Only in these messages. `None`: anywhere.
    pub messages: Option<Pick>,
    /// What decides which bytes, and to what. Depends on the position in the stream, never on how it was chunked.
    pub seed: u64,
}

/// Which messages of a stream. Control frames of WebSocket are no messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// A share in parts per million, each message drawn by its number (from 0) and this seed.
    Share {
        /// Parts per million.
        ppm: u32,
        /// What the draws come from.
        seed: u64,
    },
    /// Every nth message: with 3 the third, the sixth…
    Every(NonZeroU64),
}

/// The message lies about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// A chunk's size is no number (HTTP/1.1).
    Chunk,
    /// The status line can't be read (HTTP/1.x).
    StatusLine,
    /// A header field can't be read (HTTP/1.x).
    Header,
    /// A JSON body that can't be parsed.
    Json,
    /// The body does not match its `Content-Encoding`.
    Encoding,
    /// `Content-Length` is this many bytes too large, or, if negative, too small (HTTP/1.x).
    Length(i64),
}

/// How long each message of a stream waits. A function of the message's number alone.
pub trait Waits: fmt::Debug + Send + Sync {
    /// The wait before message `n`, from 0.
    fn nth(&self, n: u64) -> Duration;
}

/// Which protocol carries a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
    /// An upgraded HTTP/1.1 connection.
    WebSocket,
}

/// What is known of a stream when its head has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Which way it goes.
    pub direction: Direction,
    /// What carries it downstream.
    pub protocol: Protocol,
    /// How it falls into messages.
    pub framing: Framing,
    /// Its length in bytes, where the head tells.
    pub length: Option<u64>,
    /// Whether there is a body at all.
    pub body: bool,
    /// Whether its content type is JSON.
    pub json: bool,
    /// Whether it has a content encoding other than identity.
    pub encoded: bool,
}
