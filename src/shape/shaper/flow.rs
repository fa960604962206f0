//! Takes natural bytes through messages and changes up to the next gate, one piece at a time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::change::Change;
use super::gates::{Gates, Out};
use super::messages::Messages;
use super::notes::Notes;
use super::source::Source;
use crate::shape::framing::Span;

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) source: Source,
    pub(super) messages: Messages,
    pub(super) change: Change,
    pub(super) gates: Gates,
    pub(super) out: Out,
    /// The waits before the next message.
    pub(super) delays: Vec<(usize, Duration)>,
    /// The time from the first step to this one.
    pub(super) elapsed: Duration,
}

impl Flow {
    /// Pulls the next bytes, at most `max`, up to the next gate, wait or end of a chunk. May be empty if messages are
    /// dropped.
    pub(super) fn pull(&mut self, max: usize, released: bool, notes: &mut Notes) -> Bytes {
        let max = max.min(self.gates.distance(&self.out));
        let mut run = 0;
        let mut copies = Vec::new();
        while let Some(span) = self.source.span(run).filter(|_| run < max) {
            if span.begins && !self.messages.entered() {
                if run > 0 && self.messages.matter() {
                    break;
                }
                self.delays = self.messages.enter(self.source.copies(), released, self.elapsed, notes);
                self.change.begin(self.messages.number());
                if !self.delays.is_empty() {
                    break;
                }
            }
            if span.message && self.messages.dropping() {
                if run == 0 {
                    self.discard(span.len, notes);
                }
                break;
            }
            let Some(passed) = self.source.pass(span.len.min(max - run)) else {
                break;
            };
            self.look(&passed, run, notes);
            run += passed.len;
            self.count(&passed);
            if passed.ends && !self.source.copies() {
                copies = self.messages.copies(b"", notes);
            }
            if passed.len == 0 || !copies.is_empty() || self.gates.due(&self.out, true) {
                break;
            }
        }
        let piece = self.source.take(run);
        self.source.repeat(copies);
        self.change.apply(piece)
    }

    /// Pulls up to `max` bytes, joined from as many chunks as are there until something stops them.
    pub(super) fn fill(&mut self, max: usize, released: bool, notes: &mut Notes) -> Bytes {
        let first = self.pull(max, released, notes);
        let mut filled = BytesMut::new();
        while filled.len().max(first.len()) < max && self.may_go_on() {
            if filled.is_empty() {
                filled.extend_from_slice(&first);
            }
            let more = self.pull(max - filled.len(), released, notes);
            filled.extend_from_slice(&more);
        }
        if filled.is_empty() { first } else { filled.freeze() }
    }

    /// Notes the natural end. Returns whether it added bytes: copies of a last message.
    pub(super) fn finish(&mut self, notes: &mut Notes) -> bool {
        if let Some(end) = self.source.finish() {
            let copies = self.messages.copies(end, notes);
            self.source.repeat(copies);
        }
        !self.source.is_empty()
    }

    /// Drops all acts. The bytes that are queued pass unchanged, except for copies of a message that have begun. `announced`: the
    /// length up to a clean end was announced, so that end stays.
    pub(super) fn retire(&mut self, announced: bool) {
        self.messages.retire();
        self.change = Change::default();
        self.gates.retire(announced);
        self.delays = Vec::new();
    }

    /// Reports the acts that had nothing to act on, at the natural end of the stream.
    pub(super) fn missed(&self, notes: &mut Notes) {
        self.gates.missed(notes);
        self.messages.missed(notes);
        self.change.missed(notes);
    }

    fn may_go_on(&self) -> bool {
        !self.source.is_empty() && self.delays.is_empty() && !self.gates.due(&self.out, true)
    }

    fn discard(&mut self, len: usize, notes: &mut Notes) {
        if let Some(passed) = self.source.pass(len) {
            self.messages.pass(&passed, Bytes::new, notes);
            self.source.take(passed.len);
        }
    }

    fn look(&mut self, passed: &Span, run: usize, notes: &mut Notes) {
        if self.change.is_needed() {
            let bytes = self.source.slice(run, passed.len);
            self.change.look(&bytes, passed, run, notes);
        }
        if passed.message {
            let source = &self.source;
            self.messages.pass(passed, || source.slice(run, passed.len), notes);
        }
    }

    fn count(&mut self, passed: &Span) {
        self.out.bytes = self.out.bytes.saturating_add(passed.len as u64);
        self.out.messages += u64::from(passed.ends);
        if passed.len > 0 {
            self.out.between_frames = passed.frame_ends;
        }
    }
}
