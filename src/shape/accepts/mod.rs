//! Whether an act can be applied to a stream, judged by the stream's head.

use crate::draw::PPM_WHOLE;

use super::{Act, After, Direction, Dribble, Finish, Framing, Malformed, Protocol, Stream};

/// Why a stall or a cut at or after the end of a body can't be applied.
pub const TOO_SHORT: &str = "body too short";

impl Stream {
    /// Checks that an act can be applied to the stream. A stall or a cut must come before the end of a known length. Whether
    /// an HTTP/1.1 body is chunked ([`Malformed::Chunk`]) is left to the proxy.
    ///
    /// # Errors
    /// The reason why not: one of [`crate::metrics::SKIP_REASONS`].
    pub fn accepts(&self, act: &Act) -> Result<(), &'static str> {
        if let Act::Malform(malformed) = act {
            return self.accepts_malformed(*malformed);
        }
        self.has_body()?;
        match act {
            Act::Stall(stall) => self.accepts_position(stall.after),
            Act::Truncate(cut) => self.accepts_position(cut.after),
            Act::Dribble(Dribble::Over { .. }) => self.has_length(),
            Act::DelayMessages(_) | Act::Drop(_) | Act::Duplicate(_) => self.has_messages(),
            Act::Corrupt(flip) if flip.messages.is_some() => self.has_messages(),
            // The end of a body of known length is its last byte.
            Act::DelayEnd(_) if self.length.is_some() => Err("length known"),
            Act::Bandwidth(_)
            | Act::Dribble(_)
            | Act::Delay(_)
            | Act::DelayChunks(_)
            | Act::DelayEnd(_)
            | Act::Corrupt(_)
            | Act::Malform(_) => Ok(()),
        }
    }

    /// The framing of the stream's messages; opaque inside a content encoding.
    pub(in crate::shape) fn visible_framing(&self) -> Framing {
        if self.encoded && self.protocol != Protocol::WebSocket {
            Framing::Opaque
        } else {
            self.framing
        }
    }

    /// `Some` if the end needs a WebSocket close frame; true if it goes to a server.
    pub(in crate::shape) fn closes_with_frame(&self, end: &Finish) -> Option<bool> {
        let websocket = self.protocol == Protocol::WebSocket && self.framing == Framing::WebSocket;
        (websocket && matches!(end, Finish::Clean(_))).then_some(self.direction == Direction::Request)
    }

    fn accepts_malformed(&self, malformed: Malformed) -> Result<(), &'static str> {
        match malformed {
            _ if self.protocol == Protocol::Tcp => Err("not HTTP"),
            Malformed::Chunk | Malformed::StatusLine | Malformed::Header | Malformed::Length(_)
                if matches!(self.protocol, Protocol::Http2 | Protocol::WebSocket) =>
            {
                Err("not HTTP/1")
            }
            Malformed::StatusLine | Malformed::Header => Ok(()),
            Malformed::Length(difference) => self.accepts_difference(difference),
            Malformed::Chunk if self.protocol == Protocol::Http10 => Err("not HTTP/1.1"),
            // What follows a WebSocket handshake has no content coding.
            Malformed::Encoding if self.protocol == Protocol::WebSocket => Err("no body"),
            Malformed::Chunk | Malformed::Encoding => self.has_body(),
            Malformed::Json => self.has_body().and(match (self.json, self.encoded) {
                (false, _) => Err("not JSON"),
                (true, true) => Err("encoded"),
                (true, false) => Ok(()),
            }),
        }
    }

    /// Checks that a length can be off by so much: what is too small must still be a length, and leave some of the body to be sent.
    fn accepts_difference(&self, difference: i64) -> Result<(), &'static str> {
        self.has_length()?;
        match self.length.and_then(|length| length.checked_add_signed(difference)) {
            None | Some(0) => Err(TOO_SHORT),
            Some(_) => Ok(()),
        }
    }

    fn accepts_position(&self, after: After) -> Result<(), &'static str> {
        match after {
            After::Bytes(_) => {}
            After::Share(_) => self.has_length()?,
            After::Messages(_) => self.has_messages()?,
        }
        match (after.bytes(self.length), self.length) {
            (Some(at), Some(length)) if at >= length => Err(TOO_SHORT),
            _ => Ok(()),
        }
    }

    fn has_body(&self) -> Result<(), &'static str> {
        if self.body || self.protocol == Protocol::WebSocket {
            Ok(())
        } else {
            Err("no body")
        }
    }

    fn has_length(&self) -> Result<(), &'static str> {
        self.length.map(|_| ()).ok_or("length unknown")
    }

    fn has_messages(&self) -> Result<(), &'static str> {
        match (self.framing, self.visible_framing()) {
            (Framing::Opaque, _) => Err("no messages"),
            (_, Framing::Opaque) => Err("encoded"),
            _ => Ok(()),
        }
    }
}

impl After {
    /// The position in bytes. `None` for a position in messages, and for a share of an unknown length.
    pub(in crate::shape) fn bytes(self, length: Option<u64>) -> Option<u64> {
        match self {
            After::Bytes(bytes) => Some(bytes),
            After::Messages(_) => None,
            After::Share(ppm) => {
                let bytes = u128::from(length?) * u128::from(ppm) / u128::from(PPM_WHOLE);
                Some(u64::try_from(bytes).unwrap_or(u64::MAX))
            }
        }
    }
}

#[cfg(test)]
mod tests;
