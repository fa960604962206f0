//! The queue of natural bytes, and the spans that they are divided into.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::shape::framing::{Framing, Span, Splitter};

/// Bytes that were taken in and not sent yet.
#[derive(Debug)]
pub(super) struct Source {
    chunks: VecDeque<Chunk>,
    splitter: Splitter,
    /// The rest of the span that the next bytes belong to.
    span: Option<Span>,
    /// The number of natural bytes in `chunks`.
    natural: usize,
}

#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    /// The span of a copy, which is known already; `None` for natural bytes.
    copy: Option<Span>,
}

impl Source {
    pub(super) fn new(framing: Framing) -> Source {
        Source {
            chunks: VecDeque::new(),
            splitter: Splitter::new(framing),
            span: None,
            natural: 0,
        }
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.natural += bytes.len();
            self.chunks.push_back(Chunk { bytes, copy: None });
        }
    }

    /// Queues copies before everything else.
    pub(super) fn repeat(&mut self, copies: Vec<(Bytes, Span)>) {
        for (bytes, span) in copies.into_iter().rev() {
            self.chunks.push_front(Chunk {
                bytes,
                copy: Some(span),
            });
        }
    }

    /// The number of queued natural bytes.
    pub(super) fn natural(&self) -> usize {
        self.natural
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether the next bytes are a copy of an earlier message.
    pub(super) fn copies(&self) -> bool {
        self.chunks.front().is_some_and(|chunk| chunk.copy.is_some())
    }

    /// The span, or the rest of it, at offset `at` in the front chunk. `None` at the end of the chunk.
    pub(super) fn span(&mut self, at: usize) -> Option<Span> {
        if self.span.is_none() {
            let front = self.chunks.front()?;
            let rest = front.bytes.get(at..).unwrap_or_default();
            self.span = match front.copy {
                Some(span) if at == 0 => Some(span),
                Some(_) => None,
                None if rest.is_empty() => None,
                None => Some(self.splitter.next(rest)),
            };
        }
        self.span
    }

    /// Passes the first `len` bytes of the span, and returns their span. The bytes stay in the front chunk.
    pub(super) fn pass(&mut self, len: usize) -> Option<Span> {
        let span = self.span.as_mut()?;
        let passed = span.split_to(len);
        if span.len == 0 {
            self.span = None;
        }
        Some(passed)
    }

    /// A range of the front chunk.
    pub(super) fn slice(&self, from: usize, len: usize) -> Bytes {
        self.chunks
            .front()
            .map(|chunk| &chunk.bytes)
            .filter(|bytes| from.checked_add(len).is_some_and(|to| to <= bytes.len()))
            .map(|bytes| bytes.slice(from..from + len))
            .unwrap_or_default()
    }

    /// Takes the first `len` bytes, which were passed, out of the front chunk.
    pub(super) fn take(&mut self, len: usize) -> Bytes {
        let Some(front) = self.chunks.front_mut() else {
            return Bytes::new();
        };
        let len = len.min(front.bytes.len());
        let taken = front.bytes.split_to(len);
        if front.copy.is_none() {
            self.natural -= len;
        }
        // The rest of a copy's span is in `span`.
        if !front.bytes.has_remaining() {
            self.chunks.pop_front();
        } else if front.copy.is_some() {
            front.copy = self.span;
        }
        taken
    }

    /// Notes the natural end. If it ends a message, returns the bytes that would normally end it.
    pub(super) fn finish(&mut self) -> Option<&'static [u8]> {
        self.splitter.finish()
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.span = None;
        self.natural = 0;
    }
}
