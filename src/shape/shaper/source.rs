//! The natural bytes that wait, and the spans they fall into.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use crate::shape::framing::{Framing, Span, Splitter};

/// Bytes that have come in and have not left.
#[derive(Debug)]
pub(super) struct Source {
    chunks: VecDeque<Chunk>,
    splitter: Splitter,
    /// What is left of the span that the next bytes are part of.
    span: Option<Span>,
    /// Natural bytes in `chunks`.
    natural: usize,
}

#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    /// Set in a copy, whose span is known already.
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

    /// Puts copies of spans before everything that waits.
    pub(super) fn repeat(&mut self, copies: Vec<(Bytes, Span)>) {
        for (bytes, span) in copies.into_iter().rev() {
            self.chunks.push_front(Chunk {
                bytes,
                copy: Some(span),
            });
        }
    }

    /// Natural bytes that wait.
    pub(super) fn natural(&self) -> usize {
        self.natural
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether the next bytes are a copy of a message that has passed.
    pub(super) fn copies(&self) -> bool {
        self.chunks.front().is_some_and(|chunk| chunk.copy.is_some())
    }

    /// The span, or what is left of it, that the bytes after the first `at` of the front chunk begin with. `None` at the
    /// end of the chunk.
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

    /// Goes past the first `len` bytes of the span, and tells what they are. They stay in the front chunk.
    pub(super) fn pass(&mut self, len: usize) -> Option<Span> {
        let span = self.span.as_mut()?;
        let passed = span.split_to(len);
        if span.len == 0 {
            self.span = None;
        }
        Some(passed)
    }

    /// Bytes of the front chunk.
    pub(super) fn slice(&self, from: usize, len: usize) -> Bytes {
        self.chunks
            .front()
            .map(|chunk| &chunk.bytes)
            .filter(|bytes| from.checked_add(len).is_some_and(|to| to <= bytes.len()))
            .map(|bytes| bytes.slice(from..from + len))
            .unwrap_or_default()
    }

    /// Takes the first `len` bytes, which have been passed, out of the front chunk.
    pub(super) fn take(&mut self, len: usize) -> Bytes {
        let Some(front) = self.chunks.front_mut() else {
            return Bytes::new();
        };
        let len = len.min(front.bytes.len());
        let taken = front.bytes.split_to(len);
        if front.copy.is_none() {
            self.natural -= len;
        }
        // Of a copy, the part of the span that is left is in `span`.
        if !front.bytes.has_remaining() {
            self.chunks.pop_front();
        } else if front.copy.is_some() {
            front.copy = self.span;
        }
        taken
    }

    /// The natural end: if it ends a message, what its end would have been written as.
    pub(super) fn finish(&mut self) -> Option<&'static [u8]> {
        self.splitter.finish()
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.span = None;
        self.natural = 0;
    }
}
