//! Corruption: which bytes are flipped, and to what.
//!
//! A share of bytes: the gaps between flipped bytes are geometric, `floor(ln u / ln(1 - share))` bytes, drawn one after
//! the other from SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014), which starts
//! with the seed. The draw of the byte's mask follows each gap. Only bytes that may be flipped count.
//!
//! One byte of a message: drawn from `XXH3-64(number as 8 bytes, little endian; seed)` if a frame's header states the
//! length of the payload. Otherwise the first byte of data: of a line of JSON, or of an event's `data`.
//!
//! A mask is never 0. In text it keeps the highest bit, so that ASCII stays ASCII: the result is another message rather
//! than an encoding error, which on a WebSocket would end the connection. In text no byte becomes a line end.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::change::Mark;
use super::notes::Notes;
use crate::draw::{PPM_WHOLE, below, unit_open};
use crate::shape::framing::{Kind, Span};
use crate::shape::{Corruption, Pick};

#[derive(Debug, Default)]
pub(super) struct Corruptions(Vec<One>);

#[derive(Debug)]
struct One {
    action: usize,
    messages: Option<Pick>,
    how: How,
    /// Whether the current message is picked.
    picked: bool,
    /// Whether there was anything to draw for, even if nothing was flipped.
    seen: bool,
}

#[derive(Debug)]
enum How {
    Share(Share),
    /// One byte of each picked message; `pending` until it is flipped.
    Single {
        seed: u64,
        number: u64,
        pending: bool,
    },
}

#[derive(Debug)]
struct Share {
    ppm: u32,
    random: SplitMix64,
    /// The number of bytes before the next flipped one.
    gap: u64,
}

#[derive(Debug)]
struct SplitMix64(u64);

impl Corruptions {
    pub(super) fn add(&mut self, action: usize, flip: &Corruption) {
        let how = match flip.messages {
            Some(_) if flip.ppm == 0 => How::Single {
                seed: flip.seed,
                number: 0,
                pending: false,
            },
            _ => How::Share(Share::new(flip.ppm, flip.seed)),
        };
        self.0.push(One {
            action,
            messages: flip.messages,
            how,
            picked: false,
            seen: false,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes the beginning of a message.
    pub(super) fn begin(&mut self, message: u64) {
        for one in &mut self.0 {
            one.picked = one.messages.is_some_and(|pick| pick.picks(message));
            one.seen |= one.messages.is_some();
            if let How::Single { number, pending, .. } = &mut one.how {
                *number = message;
                *pending = one.picked;
            }
        }
    }

    /// Marks which of the next `len` bytes, at offset `at` of their piece, are flipped.
    pub(super) fn look(
        &mut self,
        len: usize,
        span: &Span,
        at: usize,
        marks: &mut Vec<(usize, Mark)>,
        notes: &mut Notes,
    ) {
        for one in &mut self.0 {
            if span.kind == Kind::Frame || (one.messages.is_some() && !(span.message && one.picked)) {
                continue;
            }
            one.seen |= len > 0;
            let mut flip = |index: usize, random: u64| {
                marks.push((
                    at + index,
                    Mark::Flip {
                        text: span.text,
                        random,
                    },
                ));
                notes.take_effect(one.action);
            };
            match &mut one.how {
                How::Share(share) => share.look(len, flip),
                How::Single { seed, number, pending } if *pending && span.kind == Kind::Data => {
                    let random = xxh3_64_with_seed(&number.to_le_bytes(), *seed);
                    let target = span.total.map_or(0, |total| below(random, total));
                    let index = target.checked_sub(span.offset).filter(|_| span.total.is_some());
                    let index = index.map_or(0, |index| usize::try_from(index).unwrap_or(usize::MAX));
                    if index < len {
                        *pending = false;
                        flip(index, SplitMix64(random).next());
                    }
                }
                How::Single { .. } => {}
            }
        }
    }

    pub(super) fn missed(&self, notes: &mut Notes) {
        for one in self.0.iter().filter(|one| !one.seen) {
            let reason = if one.messages.is_some() {
                "no messages"
            } else {
                "no body"
            };
            notes.miss(one.action, reason);
        }
    }
}

impl Share {
    fn new(ppm: u32, seed: u64) -> Share {
        let mut share = Share {
            ppm,
            random: SplitMix64(seed),
            gap: 0,
        };
        share.gap = share.draw();
        share
    }

    fn look(&mut self, len: usize, mut flip: impl FnMut(usize, u64)) {
        let mut done = 0;
        while let Some(index) = usize::try_from(self.gap)
            .ok()
            .and_then(|gap| gap.checked_add(done))
            .filter(|index| *index < len)
        {
            flip(index, self.random.next());
            done = index + 1;
            self.gap = self.draw();
        }
        self.gap = self.gap.saturating_sub((len - done) as u64);
    }

    fn draw(&mut self) -> u64 {
        match self.ppm {
            0 => u64::MAX,
            PPM_WHOLE.. => 0,
            ppm => {
                let share = f64::from(ppm) / f64::from(PPM_WHOLE);
                (unit_open(self.random.next()).ln() / (-share).ln_1p()) as u64
            }
        }
    }
}

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Flips bits of a byte. The result differs from it, and in text is never a line end.
pub(super) fn flip(byte: u8, text: bool, random: u64) -> u8 {
    // Both bounds are below 256.
    let mask = 1 + below(random, if text { 127 } else { 255 }) as u8;
    let line_end = text && matches!(byte ^ mask, b'\r' | b'\n');
    match (line_end, mask) {
        (false, _) => byte ^ mask,
        (true, 0x40) => byte ^ 0x60,
        (true, _) => byte ^ mask ^ 0x40,
    }
}
