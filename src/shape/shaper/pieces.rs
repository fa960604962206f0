//! The sizes of the pieces that are sent, and when each may be sent: rates and dribbles.

use std::sync::Arc;
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::notes::Notes;
use crate::draw::below;
use crate::shape::bucket::later;
use crate::shape::{Act, Bucket, Dribble, Rate};

/// The number of pieces in which a rate sends the bytes of a second: one piece every 25 ms.
const PIECES_A_SECOND: u64 = 40;

/// How much the gap after a late piece may be shortened at most, so that gaps remain visible.
const CATCH_UP: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
pub(super) struct Pieces {
    rates: Vec<(usize, Arc<Bucket>)>,
    dribbles: Vec<Dribbling>,
}

#[derive(Debug)]
struct Dribbling {
    action: usize,
    /// The bytes of the next piece, without those `left` of the current one.
    size: usize,
    sizes: Sizes,
    gap: Duration,
    /// The bytes of the current piece that were not sent yet; 0 between pieces.
    left: usize,
    /// When the next piece may begin.
    next: Option<Instant>,
    /// Whether bytes were waiting for `next`.
    waited: bool,
}

/// The sizes of pieces, each a function of the piece's number.
#[derive(Debug)]
struct Sizes {
    least: usize,
    most: usize,
    seed: u64,
    /// How many sizes were drawn.
    drawn: u64,
}

impl Sizes {
    /// Draws the next size, `XXH3-64(number as 8 bytes, little endian; seed)` scaled to the sizes.
    fn next(&mut self) -> usize {
        let number = self.drawn;
        self.drawn += 1;
        let range = (self.most - self.least) as u64;
        if range == 0 {
            return self.least;
        }
        let random = xxh3_64_with_seed(&number.to_le_bytes(), self.seed);
        let more = below(random, range.saturating_add(1));
        self.least.saturating_add(usize::try_from(more).unwrap_or(usize::MAX))
    }
}

impl Pieces {
    pub(super) fn new(
        acts: &[(usize, Act)],
        length: Option<u64>,
        mut bucket: impl FnMut(usize, &Rate) -> Arc<Bucket>,
    ) -> Pieces {
        let mut pieces = Pieces::default();
        for (action, act) in acts {
            match act {
                Act::Bandwidth(rate) => pieces.rates.push((*action, bucket(*action, rate))),
                Act::Dribble(dribble) => pieces.dribbles.extend(Dribbling::new(*action, dribble, length)),
                _ => {}
            }
        }
        pieces
    }

    /// When the next piece may begin, if later than `now`. Call it only when there are bytes.
    pub(super) fn gap(&mut self, now: Instant) -> Option<Instant> {
        self.dribbles.iter_mut().filter_map(|dribble| dribble.gap(now)).max()
    }

    /// The most bytes of the next piece, at least 1.
    pub(super) fn size(&self) -> usize {
        let paced = self.rates.iter().map(|(_, bucket)| {
            let bytes = bucket.rate().get() / PIECES_A_SECOND;
            usize::try_from(bytes).unwrap_or(usize::MAX).max(1)
        });
        let dribbled = self.dribbles.iter().map(Dribbling::rest);
        paced.chain(dribbled).min().unwrap_or(usize::MAX)
    }

    /// Whether pieces are joined from several chunks to reach their size.
    pub(super) fn fills(&self) -> bool {
        !self.dribbles.is_empty()
    }

    /// Reserves time for a piece of `len` bytes. Returns when it may be sent.
    pub(super) fn reserve(&mut self, len: usize, now: Instant, notes: &mut Notes) -> Instant {
        let mut at = now;
        for (action, bucket) in &self.rates {
            at = at.max(bucket.take(len, now));
            notes.take_effect(*action);
        }
        for dribble in &mut self.dribbles {
            dribble.leaves(len, at);
            notes.take_effect(dribble.action);
        }
        at
    }

    /// Reports the acts that saw no bytes, at the natural end of the stream.
    pub(super) fn missed(&self, notes: &mut Notes) {
        let dribbles = self.dribbles.iter().map(|dribble| dribble.action);
        for action in self.rates.iter().map(|(action, _)| *action).chain(dribbles) {
            notes.miss(action, "no body");
        }
    }
}

impl Dribbling {
    /// `None` if the number of pieces is given but the length is unknown.
    fn new(action: usize, dribble: &Dribble, length: Option<u64>) -> Option<Dribbling> {
        let (least, most, seed, gap) = match *dribble {
            Dribble::Chunk { bytes, vary, seed, gap } => {
                let (bytes, vary) = (bytes.max(1), vary.min(bytes));
                (bytes.saturating_sub(vary).max(1), bytes.saturating_add(vary), seed, gap)
            }
            Dribble::Over { chunks, time } => {
                let length = length?;
                let size = length.div_ceil(chunks.max(1)).max(1);
                let gaps = length.div_ceil(size).saturating_sub(1).max(1);
                let gap = Duration::from_secs_f64(time.as_secs_f64() / gaps as f64);
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                (size, size, 0, gap)
            }
        };
        let mut sizes = Sizes {
            least,
            most,
            seed,
            drawn: 0,
        };
        Some(Dribbling {
            action,
            size: sizes.next(),
            sizes,
            gap,
            left: 0,
            next: None,
            waited: false,
        })
    }

    fn gap(&mut self, now: Instant) -> Option<Instant> {
        let next = self.next.filter(|next| self.left == 0 && *next > now)?;
        self.waited = true;
        Some(next)
    }

    fn rest(&self) -> usize {
        if self.left == 0 { self.size } else { self.left }
    }

    fn leaves(&mut self, len: usize, at: Instant) {
        if self.left == 0 {
            self.left = std::mem::replace(&mut self.size, self.sizes.next());
            let waited = std::mem::take(&mut self.waited);
            // A late timer is caught up; late bytes are not.
            let planned = self.next.filter(|_| waited).unwrap_or(at);
            let catch_up = CATCH_UP.min(self.gap / 10);
            let begin = planned.max(at.checked_sub(catch_up).unwrap_or(at));
            self.next = Some(later(begin, self.gap));
        }
        self.left = self.left.saturating_sub(len);
    }
}
