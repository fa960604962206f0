//! Deliberately malformed HTTP/1 responses: a broken status line, header or chunk.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use crate::proxy::http1::Output;
use crate::proxy::record::Record;
use crate::shape::Malformed;

/// How the writer of a response breaks its head or its framing.
#[derive(Debug)]
pub(crate) struct MalformedResponse {
    record: Arc<Record>,
    /// Each action of the plan, by index, and what it breaks.
    acts: Vec<(usize, Malformed)>,
    /// Number of chunks written so far; the second one is broken.
    chunks: u64,
    broken: bool,
}

impl MalformedResponse {
    /// Breaks a response in the ways that `acts` lists.
    pub(crate) fn new(record: Arc<Record>, acts: Vec<(usize, Malformed)>) -> MalformedResponse {
        MalformedResponse {
            record,
            acts,
            chunks: 0,
            broken: false,
        }
    }

    /// Writes the head with `write`, then breaks what was written.
    pub(super) fn head(&self, buffer: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
        // Counted before it is written: a client that sees the fault must find it in the metrics.
        self.count(false);
        let mut whole = BytesMut::new();
        write(&mut whole);
        let end = whole.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let fields = whole.split_off(end);
        if self.has(Malformed::StatusLine) {
            buffer.put_slice(b"HTTP-1.1 OK\r\n")
        } else {
            buffer.put_slice(&whole)
        }
        if self.has(Malformed::Header) {
            // A line without a colon (RFC 9112, section 5.1). First, so that a lenient client still reads the other fields.
            buffer.put_slice(b"no field at all\x00\r\n");
        }
        buffer.put_slice(&fields);
    }

    /// Whether the next chunk is to be broken. A broken chunk is the last one.
    pub(super) fn breaks_chunk(&mut self, chunked: bool) -> bool {
        let breaks = chunked && self.chunks == 1 && self.has(Malformed::Chunk);
        self.chunks += 1;
        breaks
    }

    /// Writes a chunk whose size is not a hexadecimal number (RFC 9112, section 7.1).
    pub(super) fn chunk(&mut self, output: &mut Output) {
        if !std::mem::replace(&mut self.broken, true) {
            self.count(true);
            output.put(b"no-size\r\nsquall\r\n");
        }
    }

    /// Ends a body that is to have a broken chunk. Returns false if the body ends normally.
    pub(super) fn end(&mut self, chunked: bool, output: &mut Output) -> bool {
        let breaks = chunked && self.has(Malformed::Chunk);
        if breaks {
            self.chunk(output);
        }
        breaks
    }

    fn has(&self, malformed: Malformed) -> bool {
        let in_force = |at: usize| !self.record.is_let_go(at);
        self.acts.iter().any(|(at, act)| *act == malformed && in_force(*at))
    }

    /// Counts the actions that show in the body, or else those that show in the head.
    fn count(&self, in_body: bool) {
        for (action, act) in &self.acts {
            if (*act == Malformed::Chunk) == in_body && !self.record.is_let_go(*action) {
                self.record.done(*action);
            }
        }
    }
}
