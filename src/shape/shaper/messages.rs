//! Which messages are dropped, duplicated or delayed. This is decided by number where a message begins, so only messages
//! that are duplicated are buffered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::notes::Notes;
use crate::draw::ppm;
use crate::shape::framing::{Kind, Span};
use crate::shape::{Act, Pick, Waits};

#[derive(Debug)]
pub(super) struct Messages {
    drops: Vec<(usize, Pick)>,
    duplicates: Vec<(usize, Pick)>,
    delays: Vec<(usize, Arc<dyn Waits>)>,
    /// The most bytes of a message that is kept for duplication.
    buffer: usize,
    /// The number of messages begun, including dropped ones but not copies.
    begun: u64,
    /// The number of messages let through, including copies.
    let_go: u64,
    /// Whether the message that is about to begin has been decided about.
    entered: bool,
    dropping: bool,
    kept: Option<Kept>,
}

/// A message kept for duplication.
#[derive(Debug)]
struct Kept {
    spans: Vec<(Bytes, Span)>,
    bytes: usize,
    actions: Vec<usize>,
}

impl Messages {
    pub(super) fn new(acts: &[(usize, Act)], buffer: usize) -> Messages {
        let mut messages = Messages {
            drops: Vec::new(),
            duplicates: Vec::new(),
            delays: Vec::new(),
            buffer,
            begun: 0,
            let_go: 0,
            entered: false,
            dropping: false,
            kept: None,
        };
        for (action, act) in acts {
            match act {
                Act::Drop(pick) => messages.drops.push((*action, *pick)),
                Act::Duplicate(pick) => messages.duplicates.push((*action, *pick)),
                Act::DelayMessages(waits) => messages.delays.push((*action, Arc::clone(waits))),
                _ => {}
            }
        }
        messages
    }

    /// Drops all acts. A message that is being dropped is dropped to its end, so that the next one begins as a whole.
    pub(super) fn retire(&mut self) {
        self.drops = Vec::new();
        self.duplicates = Vec::new();
        self.delays = Vec::new();
        self.kept = None;
    }

    /// Whether any act depends on messages.
    pub(super) fn matter(&self) -> bool {
        !(self.drops.is_empty() && self.duplicates.is_empty() && self.delays.is_empty())
    }

    pub(super) fn entered(&self) -> bool {
        self.entered
    }

    /// Decides about a message that is about to begin, `elapsed` after the stream. Returns the waits before it.
    pub(super) fn enter(
        &mut self,
        copy: bool,
        released: bool,
        elapsed: Duration,
        notes: &mut Notes,
    ) -> Vec<(usize, Duration)> {
        self.entered = true;
        if !copy {
            self.decide(notes);
        }
        if self.dropping {
            return Vec::new();
        }
        let number = self.let_go;
        self.let_go += 1;
        if released {
            return Vec::new();
        }
        self.delays
            .iter()
            .map(|(action, waits)| (*action, waits.nth(number, elapsed)))
            .collect()
    }

    /// The number of the current message, from 0.
    pub(super) fn number(&self) -> u64 {
        self.begun.saturating_sub(1)
    }

    pub(super) fn dropping(&self) -> bool {
        self.dropping
    }

    /// Notes that bytes of the current message pass.
    pub(super) fn pass(&mut self, span: &Span, bytes: impl FnOnce() -> Bytes, notes: &mut Notes) {
        self.entered = false;
        self.dropping &= !span.ends;
        let Some(kept) = self.kept.as_mut() else {
            return;
        };
        kept.bytes = kept.bytes.saturating_add(span.len);
        if kept.bytes <= self.buffer {
            kept.spans.push((bytes(), *span));
        } else {
            for action in self.kept.take().map(|kept| kept.actions).unwrap_or_default() {
                notes.miss(action, "message too large");
            }
        }
    }

    /// Returns the copies of a message that has ended. `end` is added after the message and its copies if it was missing.
    pub(super) fn copies(&mut self, end: &'static [u8], notes: &mut Notes) -> Vec<(Bytes, Span)> {
        let Some(kept) = self.kept.take() else {
            return Vec::new();
        };
        let mut copies = Vec::new();
        for action in kept.actions {
            notes.take_effect(action);
            if !end.is_empty() {
                copies.push((Bytes::from_static(end), Span::outside(end.len(), Kind::Frame)));
            }
            copies.extend(kept.spans.iter().cloned());
        }
        copies
    }

    /// Reports the acts that saw no message, at the natural end of the stream.
    pub(super) fn missed(&self, notes: &mut Notes) {
        if self.begun > 0 {
            return;
        }
        let picks = self.drops.iter().chain(&self.duplicates).map(|(action, _)| *action);
        for action in picks.chain(self.delays.iter().map(|(action, _)| *action)) {
            notes.miss(action, "no messages");
        }
    }

    fn decide(&mut self, notes: &mut Notes) {
        let number = self.begun;
        self.begun += 1;
        self.kept = None;
        let dropped: Vec<usize> = picked(&self.drops, number).collect();
        self.dropping = !dropped.is_empty();
        for action in dropped {
            notes.take_effect(action);
        }
        let actions: Vec<usize> = picked(&self.duplicates, number).collect();
        if !self.dropping && !actions.is_empty() {
            self.kept = Some(Kept {
                spans: Vec::new(),
                bytes: 0,
                actions,
            });
        }
    }
}

impl Pick {
    /// Whether a message is picked, by its number from 0. A share scales `XXH3-64(number as 8 bytes, little endian; seed)` to
    /// parts per million and compares it with its own.
    pub fn picks(&self, number: u64) -> bool {
        match *self {
            Pick::Share { ppm: share, seed } => ppm(xxh3_64_with_seed(&number.to_le_bytes(), seed)) < share,
            Pick::Every(every) => number % every == every.get() - 1,
        }
    }
}

fn picked(picks: &[(usize, Pick)], number: u64) -> impl Iterator<Item = usize> {
    let hit = move |(action, pick): &(usize, Pick)| pick.picks(number).then_some(*action);
    picks.iter().filter_map(hit)
}
