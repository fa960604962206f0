//! Faults on bodies in motion, such as bandwidth, truncate, stall and corrupt: a state machine without sockets or a clock.
//!
//! A plan's body faults become [`Part`]s. The proxy gives those of one direction to a [`Shaper`], pushes the natural bytes
//! in, and carries out the [`Step`]s that come out. It works this way for HTTP/1, HTTP/2, gRPC, WebSocket, raw TCP and fakes.
//!
//! ```text
//! natural bytes ─ delay each chunk ─ split into messages ─ drop, duplicate, delay each ─ corrupt ─ stall, truncate ─ dribble, bandwidth ─ Step
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
pub use bucket::{Bucket, ListenerBuckets};
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

/// An act on the bytes of one direction.
#[derive(Clone, Debug)]
pub struct Part {
    /// The direction that the act applies to.
    pub direction: Direction,
    /// What is done to the bytes.
    pub act: Act,
}

/// What is done to bytes. Several acts combine: the lowest rate applies, and the earliest truncation.
#[derive(Clone, Debug)]
pub enum Act {
    /// Limit the rate.
    Bandwidth(Rate),
    /// Send in pieces with gaps between them.
    Dribble(Dribble),
    /// Delay the first byte.
    Delay(Duration),
    /// Delay each message, one after the other, so that they are at least that far apart.
    DelayMessages(Arc<dyn Waits>),
    /// Delay each chunk as it was pushed, and the natural end, by a wait of its own. Order is kept, and many chunks wait at
    /// once, so that the rate stays. Several such delays add up.
    DelayChunks(Arc<dyn Waits>),
    /// Delay the natural end, after it arrived and everything before it was sent.
    DelayEnd(Duration),
    /// Stop sending, for a while or for good.
    Stall(Stall),
    /// End the stream early.
    Truncate(Truncation),
    /// Change bytes, but not their number.
    Corrupt(Corruption),
    /// Drop messages.
    Drop(Pick),
    /// Send messages twice.
    Duplicate(Pick),
    /// Make the HTTP message malformed.
    Malform(Malformed),
}

/// A rate, and which requests share it.
#[derive(Clone, Debug)]
pub struct Rate {
    /// The rate in bytes per second.
    pub rate: NonZeroU64,
    /// The requests that share the rate.
    pub scope: Scope,
}

/// Which requests share a rate.
#[derive(Clone, Debug)]
pub enum Scope {
    /// Each request has the rate to itself.
    Request,
    /// The requests of one downstream connection.
    Connection,
    /// All requests of the rule at one listener.
    Listener(Arc<ListenerBuckets>),
    /// All requests of the rule.
    Rule(Arc<Bucket>),
}

/// How a body is divided into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dribble {
    /// Pieces of a size with a gap between them.
    Chunk {
        /// The bytes of a piece, at least 1.
        bytes: usize,
        /// How many bytes a piece may have more or less, each number equally likely. Every piece has at least 1.
        vary: usize,
        /// The seed that decides how many a piece has, with its number.
        seed: u64,
        /// The time from one piece to the next.
        gap: Duration,
    },
    /// A number of equal pieces spread over a time. Needs a known length.
    Over {
        /// The number of pieces, at least 1.
        chunks: u64,
        /// The time from the first piece to the last.
        time: Duration,
    },
}

/// A position in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// After this many bytes of the body.
    Bytes(u64),
    /// After a share of the body, in parts per million, rounded down to whole bytes. Needs a known length.
    Share(u32),
    /// After this many messages: SSE events, lines of NDJSON, WebSocket or gRPC messages.
    Messages(u64),
}

/// The details of a stall.
#[derive(Clone, Debug)]
pub struct Stall {
    /// The position at which sending stops.
    pub after: After,
    /// For how long. `None`: until the client disconnects, at most for the longest wait allowed.
    pub limit: Option<Duration>,
    /// What follows after `limit`; [`Finish::Natural`] resumes sending.
    pub then: Finish,
    /// Whether what arrives during the stall is thrown away rather than holding up the sender. The natural end then ends the
    /// stall. Needs an end, since a stream with a hole can't resume.
    pub discard: bool,
}

/// The details of a truncation.
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
    /// With its natural end: trailers, the last chunk, or a FIN on an upgraded connection.
    Natural,
    /// As if the whole body had been sent: the client can't tell. A WebSocket gets a close frame, a gRPC call its status.
    Clean(Clean),
    /// The connection is closed with a FIN in the middle of the body.
    Close,
    /// The HTTP/1 connection is reset (RST), or the HTTP/2 stream by RST_STREAM with this code.
    Reset(u32),
}

/// The details of a clean end.
#[derive(Clone, Debug, Default)]
pub struct Clean {
    /// The status of a gRPC call. `None`: the stream ends without trailers.
    pub grpc: Option<Arc<GrpcStatus>>,
    /// The code and the reason of a WebSocket close frame (RFC 6455, section 7.4). `None`: 1001, going away.
    pub websocket: Option<(u16, Arc<str>)>,
}

/// The details of a corruption.
#[derive(Clone, Debug)]
pub struct Corruption {
    /// The share of payload bytes, in parts per million; 0 with `messages` flips one byte of each picked message.
    pub ppm: u32,
    /// Only in these messages. `None`: anywhere.
    pub messages: Option<Pick>,
    /// The seed that decides which bytes are changed, and to what. The result does not depend on the chunking.
    pub seed: u64,
}

/// Picks messages of a stream. WebSocket control frames are not messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// A share in parts per million, each message drawn by its number (from 0) and this seed.
    Share {
        /// The share in parts per million.
        ppm: u32,
        /// The seed of the draws.
        seed: u64,
    },
    /// Every nth message: with 3 the third, the sixth…
    Every(NonZeroU64),
}

/// How an HTTP message is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// A chunk size is not a number (HTTP/1.1).
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

/// How long each message or chunk of a stream waits, as a function of its number and, for waves, of the time.
pub trait Waits: fmt::Debug + Send + Sync {
    /// The wait before message or chunk `n`, from 0, which comes `elapsed` after the stream began.
    fn nth(&self, n: u64, elapsed: Duration) -> Duration;
}

/// The protocol that carries a stream.
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
    /// A raw TCP connection, of which nothing is known but its bytes.
    Tcp,
}

/// What is known of a stream once its head was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The direction of the stream.
    pub direction: Direction,
    /// The protocol on the client's side.
    pub protocol: Protocol,
    /// The framing of its messages.
    pub framing: Framing,
    /// The length in bytes, if the head states it.
    pub length: Option<u64>,
    /// Whether there is a body at all.
    pub body: bool,
    /// Whether the content type is JSON.
    pub json: bool,
    /// Whether there is a content encoding other than identity.
    pub encoded: bool,
}

impl Stream {
    /// One direction of a connection that has no requests.
    pub const fn of_connection(direction: Direction) -> Stream {
        Stream {
            direction,
            protocol: Protocol::Tcp,
            framing: Framing::Opaque,
            length: None,
            body: true,
            json: false,
            encoded: false,
        }
    }
}
