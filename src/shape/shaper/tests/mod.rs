//! A fake clock, a source that gives what there is room for, and what came out when.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::*;
use crate::shape::framing::websocket::close_frame;
use crate::shape::{Clean, Corruption, Direction, Dribble, Malformed, Pick, Protocol, Scope, Stall, Truncation, Waits};

mod acts;
mod discard;
mod line;
mod properties;
mod rates;
mod retire;

const STREAM: Stream = Stream {
    direction: Direction::Response,
    protocol: Protocol::Http11,
    framing: Framing::Opaque,
    length: None,
    body: true,
    json: false,
    encoded: false,
};

/// What came out of a shaper.
#[derive(Debug)]
struct Ran {
    /// The pieces and when they left, from the begin.
    sent: Vec<(Duration, Bytes)>,
    end: Finish,
    ended: Duration,
    took_effect: Vec<usize>,
    missed: Vec<(usize, &'static str)>,
    held: Duration,
    /// Whether it stalled for ever; it was released then.
    stalled: bool,
}

/// How a shaper is run.
#[derive(Clone, Debug)]
struct Setting {
    stream: Stream,
    acts: Vec<Act>,
    buffer: usize,
    /// By how many microseconds the n-th timer comes late: these in turn.
    late: Vec<u64>,
}

impl Ran {
    fn bytes(&self) -> Vec<u8> {
        self.sent.iter().flat_map(|(_, piece)| piece.iter().copied()).collect()
    }

    fn millis(&self) -> Vec<(u128, usize)> {
        self.sent
            .iter()
            .map(|(at, piece)| (at.as_millis(), piece.len()))
            .collect()
    }
}

impl Setting {
    fn new(stream: Stream, acts: Vec<Act>) -> Setting {
        Setting {
            stream,
            acts,
            buffer: 65536,
            late: vec![0],
        }
    }

    fn run(&self, chunks: &[&[u8]]) -> Ran {
        let chunks = chunks.iter().map(|chunk| Bytes::copy_from_slice(chunk));
        self.run_all(chunks.collect())
    }

    fn run_all(&self, chunks: Vec<Bytes>) -> Ran {
        let acts = self.acts.iter().cloned().enumerate().collect();
        let mut shaper = Shaper::new(&self.stream, acts, self.buffer, |_, pace| {
            Arc::new(Bucket::new(pace.rate))
        });
        let total: usize = chunks.iter().map(Bytes::len).sum();
        let largest = chunks.iter().map(Bytes::len).max().unwrap_or_default();
        let (mut chunks, mut late) = (chunks.into_iter(), self.late.iter().cycle());
        let begin = Instant::now();
        let (mut now, mut sent, mut took_effect, mut stalled) = (begin, Vec::new(), Vec::new(), false);
        // A byte may need a wait of its own, and a message some.
        for _ in 0..20 * (total + 10) {
            while shaper.room() > 0 {
                match chunks.next() {
                    Some(chunk) => shaper.push(chunk),
                    None => {
                        shaper.end();
                        break;
                    }
                }
            }
            assert!(shaper.flow.source.natural() < self.buffer + largest.max(1));
            match shaper.step(now) {
                Step::Send(piece) => {
                    assert!(!piece.is_empty());
                    sent.push((now - begin, piece));
                }
                Step::Wait(at) | Step::Stalled(Some(at)) => {
                    assert!(at > now, "no progress");
                    now = at + Duration::from_micros(*late.next().unwrap());
                }
                Step::Stalled(None) => {
                    assert!(!stalled, "stalls after it was released");
                    stalled = true;
                    shaper.release();
                }
                Step::More => assert!(shaper.room() > 0 && !shaper.ended, "asks for more than there is"),
                Step::End(end) => {
                    assert!(matches!(shaper.step(now), Step::End(_)));
                    took_effect.extend(std::iter::from_fn(|| shaper.took_effect()));
                    let missed = shaper.missed();
                    assert!(missed.iter().all(|missed| !took_effect.contains(&missed.action)));
                    return Ran {
                        sent,
                        end,
                        ended: now - begin,
                        took_effect,
                        missed: missed
                            .into_iter()
                            .map(|missed| (missed.action, missed.reason))
                            .collect(),
                        held: shaper.held(0),
                        stalled,
                    };
                }
            }
        }
        panic!("does not end");
    }
}

fn pace(rate: u64) -> Act {
    Act::Bandwidth(Rate {
        rate: NonZeroU64::new(rate).unwrap(),
        scope: Scope::Request,
    })
}

fn pieces(bytes: usize, gap: Duration) -> Act {
    let (vary, seed) = (0, 0);
    Act::Dribble(Dribble::Chunk { bytes, vary, seed, gap })
}

fn cut(after: After, end: Finish) -> Act {
    Act::Truncate(Truncation { after, end })
}

fn stall(after: After, limit: Option<u64>, then: Finish) -> Act {
    let limit = limit.map(Duration::from_millis);
    Act::Stall(Stall {
        after,
        limit,
        then,
        discard: false,
    })
}

fn every(n: u64) -> Pick {
    Pick::Every(NonZeroU64::new(n).unwrap())
}

/// Waits of `n + 1` times so many milliseconds.
#[derive(Debug)]
struct Rising(u64);

impl Waits for Rising {
    fn nth(&self, n: u64, _: Duration) -> Duration {
        Duration::from_millis(self.0 * (n + 1))
    }
}
