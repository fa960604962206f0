//! Deliberately malformed HTTP/1: a response whose head or framing is broken on purpose.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use crate::proxy::http1::Output;
use crate::proxy::record::Record;
use crate::shape::Malformed;

/// How a response is broken, where changing its head or its body can't do it.
#[derive(Debug)]
pub(crate) struct MalformedResponse {
    record: Arc<Record>,
    /// The actions of the plan with what each does.
    acts: Vec<(usize, Malformed)>,
    /// Chunks written so far; the one after the first is the broken one.
    chunks: u64,
    broken: bool,
}

impl MalformedResponse {
    /// Breaks a response as these actions of a plan say.
    pub(crate) fn new(record: Arc<Record>, acts: Vec<(usize, Malformed)>) -> MalformedResponse {
        MalformedResponse {
            record,
            acts,
            chunks: 0,
            broken: false,
        }
    }

    /// Writes the head with `write`, and breaks it.
    pub(super) fn head(&self, buffer: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
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
            // A name with a space in it and no colon after it (RFC 9112, section 5.1). First, so that none is missed.
            buffer.put_slice(b"no field at all\x00\r\n");
        }
        buffer.put_slice(&fields);
    }

    /// Whether the next chunk is the broken one, which is the last.
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

    /// Ends the body in its own way; false if it ends as any other.
    pub(super) fn end(&mut self, chunked: bool, output: &mut Output) -> bool {
        let breaks = chunked && self.has(Malformed::Chunk);
        if breaks {
            self.chunk(output);
        }
        breaks
    }

    fn has(&self, malformed: Malformed) -> bool {
        self.acts.iter().any(|(_, act)| *act == malformed)
    }

    /// Counts what is about to show: in the head or in the body.
    fn count(&self, in_body: bool) {
        for (action, act) in &self.acts {
            if (*act == Malformed::Chunk) == in_body {
                self.record.done(*action);
            }
        }
    }
}
