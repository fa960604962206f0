//! The delay line of [`Act::DelayChunks`](crate::shape::Act): each chunk waits for a time of its own while the ones behind it
//! wait already.
//!
//! ```text
//! push ─ arrival noted at the next step ─ due at max(arrival + wait, due of the chunk before) ─ source
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::notes::Notes;
use crate::shape::bucket::later;
use crate::shape::{Act, Waits};

/// How many times the shaper's buffer a line holds at most: what is under way on a fast link with a long delay.
const BUFFERS: usize = 16;

/// What a chunk counts for besides its bytes, so that many tiny chunks are bounded too.
const CHUNK_COST: usize = 64;

/// Chunks under way, in order.
#[derive(Debug)]
pub(super) struct DelayLine {
    waits: Vec<(usize, Arc<dyn Waits>)>,
    chunks: VecDeque<UnderWay>,
    /// How many chunks have arrived, which numbers the next one.
    arrived: u64,
    /// What the chunks count for, and the most of it.
    cost: usize,
    most: usize,
    ended: bool,
    /// When the last chunk that has arrived is due.
    last: Option<Instant>,
    /// For how long anything is under way, up to `last`.
    held: Duration,
}

#[derive(Debug)]
struct UnderWay {
    /// `None` for the natural end.
    bytes: Option<Bytes>,
    /// `None` until the arrival is noted.
    due: Option<Instant>,
}

/// What leaves a line.
#[derive(Debug)]
pub(super) enum Passed {
    Bytes(Bytes),
    End,
}

impl DelayLine {
    /// `None` if no act delays chunks.
    pub(super) fn new(acts: &[(usize, Act)], buffer: usize) -> Option<DelayLine> {
        let waits = acts.iter().filter_map(|(action, act)| match act {
            Act::DelayChunks(waits) => Some((*action, Arc::clone(waits))),
            _ => None,
        });
        let waits: Vec<_> = waits.collect();
        (!waits.is_empty()).then(|| DelayLine {
            waits,
            chunks: VecDeque::new(),
            arrived: 0,
            cost: 0,
            most: buffer.saturating_mul(BUFFERS),
            ended: false,
            last: None,
            held: Duration::ZERO,
        })
    }

    /// Takes in a chunk, which has not arrived until [`DelayLine::arrive`] is called.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() && !self.ended {
            self.cost = self.cost.saturating_add(cost(&bytes));
            self.chunks.push_back(UnderWay {
                bytes: Some(bytes),
                due: None,
            });
        }
    }

    /// Takes in the natural end, which is delayed as a chunk is.
    pub(super) fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            self.chunks.push_back(UnderWay { bytes: None, due: None });
        }
    }

    /// Whether the natural end was taken in.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Notes that what was taken in has arrived at `now`, which is `elapsed` after the begin of the stream.
    pub(super) fn arrive(&mut self, now: Instant, elapsed: Duration, notes: &mut Notes) {
        let waits = &self.waits;
        let fresh = self.chunks.iter().rev().take_while(|chunk| chunk.due.is_none()).count();
        let old = self.chunks.len().saturating_sub(fresh);
        for chunk in self.chunks.iter_mut().skip(old) {
            let number = self.arrived;
            let wait = waits.iter().fold(Duration::ZERO, |sum, (action, waits)| {
                notes.take_effect(*action);
                sum.saturating_add(waits.nth(number, elapsed))
            });
            let before = self.last.map_or(now, |last| last.max(now));
            let due = later(now, wait).max(before);
            self.held = self.held.saturating_add(due.saturating_duration_since(before));
            self.last = Some(due);
            self.arrived += 1;
            chunk.due = Some(due);
        }
    }

    /// Lets the first chunk pass if it is due.
    pub(super) fn pass(&mut self, now: Instant) -> Option<Passed> {
        let due = |chunk: &mut UnderWay| chunk.due.is_some_and(|due| due <= now);
        let chunk = self.chunks.pop_front_if(due)?;
        Some(self.passed(chunk))
    }

    /// Lets the first chunk pass whether it is due or not, because waits have ended.
    pub(super) fn release(&mut self, now: Instant) -> Option<Passed> {
        self.held = self.held(now);
        self.last = self.last.map(|last| last.min(now));
        let chunk = self.chunks.pop_front()?;
        Some(self.passed(chunk))
    }

    /// When the first chunk is due. `None` if nothing is under way.
    pub(super) fn next(&self) -> Option<Instant> {
        self.chunks.front()?.due
    }

    /// What is under way, in bytes, with a surcharge for each chunk.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// How much may be pushed, in bytes.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.cost)
    }

    /// Whether an action delays chunks here.
    pub(super) fn is_of(&self, action: usize) -> bool {
        self.waits.iter().any(|(of, _)| *of == action)
    }

    /// For how long anything has been under way until `now`.
    pub(super) fn held(&self, now: Instant) -> Duration {
        // From `now` to `last` something is always under way.
        let ahead = self
            .last
            .map_or(Duration::ZERO, |last| last.saturating_duration_since(now));
        self.held.saturating_sub(ahead)
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.cost = 0;
    }

    fn passed(&mut self, chunk: UnderWay) -> Passed {
        match chunk.bytes {
            Some(bytes) => {
                self.cost = self.cost.saturating_sub(cost(&bytes));
                Passed::Bytes(bytes)
            }
            None => Passed::End,
        }
    }
}

fn cost(bytes: &Bytes) -> usize {
    bytes.len().saturating_add(CHUNK_COST)
}
