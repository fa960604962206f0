//! Splits streams into messages, incrementally and without buffering them.
//!
//! A splitter reads the natural bytes in order and yields `Span`s: runs of bytes of one kind. The chunking of the stream
//! affects neither the kinds of bytes nor where messages end. From the first byte that breaks the framing on, the rest of
//! the stream is one opaque run.

mod events;
mod grpc;
mod lines;
pub(in crate::shape) mod websocket;

/// How a stream is divided into messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// The stream has no messages that squall knows.
    #[default]
    Opaque,
    /// Server-sent events, ended by blank lines (WHATWG HTML, section 9.2). A block of only comments is not a message.
    Events,
    /// Newline-delimited JSON: each line is a message, except blank ones.
    Lines,
    /// WebSocket messages of one or more frames (RFC 6455, section 5); control frames are not messages.
    WebSocket,
    /// Length-prefixed messages of gRPC ("gRPC over HTTP2", Length-Prefixed-Message).
    Grpc,
}

/// The role of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shape) enum Kind {
    /// Part of the framing: a header, a line end, a control frame. Never changed.
    Frame,
    /// Text around the payload, such as a field name in an event.
    Text,
    /// The payload.
    Data,
}

/// A run of bytes of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shape) struct Span {
    /// The number of bytes. 0 only if the byte after the span showed that the message had ended.
    pub(in crate::shape) len: usize,
    pub(in crate::shape) kind: Kind,
    /// Whether the span belongs to a message.
    pub(in crate::shape) message: bool,
    /// Whether a message begins with the span.
    pub(in crate::shape) begins: bool,
    /// Whether a message ends after the span.
    pub(in crate::shape) ends: bool,
    /// Whether a WebSocket frame ends after the span.
    pub(in crate::shape) frame_ends: bool,
    /// Whether the span is text, in which changed bytes keep their highest bit and never become line ends.
    pub(in crate::shape) text: bool,
    /// The span's offset in the payload of its frame.
    pub(in crate::shape) offset: u64,
    /// The length of the frame's payload, if a header stated it.
    pub(in crate::shape) total: Option<u64>,
}

/// Finds the spans of one stream.
#[derive(Debug)]
pub(in crate::shape) enum Splitter {
    Opaque,
    Events(events::Events),
    Lines(lines::Lines),
    WebSocket(websocket::Frames),
    Grpc(grpc::GrpcMessages),
}

impl Framing {
    /// The framing of a media type, which is given in lower case and without parameters.
    pub fn of(media_type: &str) -> Framing {
        match media_type {
            "text/event-stream" => Framing::Events,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Framing::Lines,
            // The messages are base64-encoded.
            "application/grpc-web-text" | "application/grpc-web-text+proto" => Framing::Opaque,
            _ if media_type.starts_with("application/grpc") => Framing::Grpc,
            _ => Framing::Opaque,
        }
    }
}

impl Span {
    /// Bytes outside messages.
    pub(in crate::shape) fn outside(len: usize, kind: Kind) -> Span {
        Span {
            len,
            kind,
            message: false,
            begins: false,
            ends: false,
            frame_ends: false,
            text: false,
            offset: 0,
            total: None,
        }
    }

    /// Bytes of a message.
    fn inside(len: usize, kind: Kind) -> Span {
        Span {
            message: true,
            ..Span::outside(len, kind)
        }
    }

    /// Bytes without a known framing.
    fn opaque(len: usize) -> Span {
        Span {
            frame_ends: true,
            ..Span::outside(len, Kind::Data)
        }
    }

    /// Marks the bytes of the span as text.
    fn text(self) -> Span {
        Span { text: true, ..self }
    }

    /// Splits off the first `len` bytes, or all. Beginnings stay with the first part, ends with the last.
    pub(in crate::shape) fn split_to(&mut self, len: usize) -> Span {
        let len = len.min(self.len);
        let whole = len == self.len;
        let first = Span {
            len,
            ends: self.ends && whole,
            // In opaque bytes every position counts as the end of a frame.
            frame_ends: self.frame_ends && (whole || (self.kind == Kind::Data && !self.message)),
            ..*self
        };
        self.len -= len;
        self.offset = self.offset.saturating_add(len as u64);
        self.begins = false;
        first
    }
}

impl Splitter {
    pub(in crate::shape) fn new(framing: Framing) -> Splitter {
        match framing {
            Framing::Opaque => Splitter::Opaque,
            Framing::Events => Splitter::Events(events::Events::default()),
            Framing::Lines => Splitter::Lines(lines::Lines::default()),
            Framing::WebSocket => Splitter::WebSocket(websocket::Frames::default()),
            Framing::Grpc => Splitter::Grpc(grpc::GrpcMessages::default()),
        }
    }

    /// The span at the beginning of `bytes`, which must not be empty.
    pub(in crate::shape) fn next(&mut self, bytes: &[u8]) -> Span {
        match self {
            Splitter::Opaque => Span::opaque(bytes.len()),
            Splitter::Events(events) => events.next(bytes),
            Splitter::Lines(lines) => lines.next(bytes),
            Splitter::WebSocket(frames) => frames.next(bytes),
            Splitter::Grpc(messages) => messages.next(bytes),
        }
    }

    /// Notes the end of the stream. If that ends a message, returns the bytes that would normally end it.
    pub(in crate::shape) fn finish(&mut self) -> Option<&'static [u8]> {
        match self {
            Splitter::Events(events) => events.finish(),
            Splitter::Lines(lines) => lines.finish(),
            Splitter::Opaque | Splitter::WebSocket(_) | Splitter::Grpc(_) => None,
        }
    }
}

#[cfg(test)]
pub(in crate::shape) use self::{grpc::tests::message as grpc_message, websocket::tests::frame as websocket_frame};

#[cfg(test)]
pub(in crate::shape) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a splitter yields for each byte, and where messages begin and end; independent of the chunking.
    #[derive(Debug, Default, PartialEq)]
    pub(in crate::shape) struct Said {
        pub(in crate::shape) bytes: Vec<(Kind, bool, bool, u64, Option<u64>)>,
        pub(in crate::shape) begins: Vec<usize>,
        pub(in crate::shape) ends: Vec<usize>,
        pub(in crate::shape) frame_ends: Vec<usize>,
    }

    pub(in crate::shape) fn split(framing: Framing, chunks: &[&[u8]]) -> Said {
        let (mut splitter, mut said) = (Splitter::new(framing), Said::default());
        for chunk in chunks {
            let mut rest = *chunk;
            while !rest.is_empty() {
                let span = splitter.next(rest);
                if span.begins {
                    said.begins.push(said.bytes.len());
                }
                let known = |n| span.total.map_or(0, |_| span.offset + n);
                said.bytes
                    .extend((0..span.len as u64).map(|n| (span.kind, span.message, span.text, known(n), span.total)));
                rest = &rest[span.len..];
                if span.ends {
                    said.ends.push(said.bytes.len());
                }
                if span.frame_ends && (span.message || span.kind == Kind::Frame) {
                    said.frame_ends.push(said.bytes.len());
                }
            }
        }
        said
    }

    /// The messages, as bytes.
    pub(in crate::shape) fn messages(framing: Framing, stream: &[u8]) -> Vec<Vec<u8>> {
        let said = split(framing, &[stream]);
        let of = |range: std::ops::Range<usize>| range.filter(|&at| said.bytes[at].1).map(|at| stream[at]).collect();
        said.begins
            .iter()
            .zip(&said.ends)
            .map(|(&from, &to)| of(from..to))
            .collect()
    }

    fn framings() -> impl Strategy<Value = Framing> {
        prop::sample::select(vec![
            Framing::Opaque,
            Framing::Events,
            Framing::Lines,
            Framing::WebSocket,
            Framing::Grpc,
        ])
    }

    /// Random bytes, with a preference for those that have a meaning in a framing, and well-formed frames.
    pub(in crate::shape) fn streams() -> impl Strategy<Value = Vec<u8>> {
        let pieces = prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            prop::sample::select(b"\n\r: d{\x00\x01\x80\x81\x82\x02\x05".to_vec()).prop_map(|byte| vec![byte]),
            Just(b"data: x\n\n".to_vec()),
            Just(b"data:y\r\n\r\n".to_vec()),
            Just(b": c\n".to_vec()),
            Just(b"{\"a\":1}\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(|data| websocket_frame(0x82, &data)),
            prop::collection::vec(any::<u8>(), 0..20).prop_map(|data| websocket_frame(0x89, &data)),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(|data| grpc_message(0, &data)),
        ];
        prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn chunking_changes_nothing(framing in framings(), stream in streams(), size in 1_usize..9) {
            let chunks: Vec<&[u8]> = stream.chunks(size).collect();
            prop_assert_eq!(split(framing, &chunks), split(framing, &[&stream]));
        }
    }

    #[test]
    fn media_types_tell_the_framing() {
        for (media_type, expect) in [
            ("text/event-stream", Framing::Events),
            ("application/x-ndjson", Framing::Lines),
            ("application/jsonl", Framing::Lines),
            ("application/json-seq", Framing::Opaque),
            ("application/grpc", Framing::Grpc),
            ("application/grpc+proto", Framing::Grpc),
            ("application/grpc-web-text", Framing::Opaque),
            ("text/plain", Framing::Opaque),
            ("", Framing::Opaque),
        ] {
            assert_eq!(Framing::of(media_type), expect, "{media_type}");
        }
    }
}
