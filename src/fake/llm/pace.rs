//! When each token comes.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::misbehaviour::{HANG, Misbehaviour};
use crate::draw::unit_open;

/// The pace of a fake's replies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Until the first token.
    pub(super) first: Duration,
    /// Between two tokens, on the average.
    pub(super) gap: Duration,
    /// By which share of `gap` a gap may be shorter or longer, 0 to 1.
    pub(super) jitter: f64,
    pub(super) seed: u64,
}

impl Pace {
    /// When each token of a request's reply is due, counted from its arrival. Every gap is drawn from the seed, the number
    /// of the request and its place, and added up without looking at a clock, so that late wakings don't add up.
    pub(super) fn due(self, request: u64) -> impl Iterator<Item = Duration> + Send + use<> {
        let mut due = self.first;
        (0_u64..).map(move |place| {
            let now = due;
            let mut name = [0; 16];
            let (first, second) = name.split_at_mut(8);
            first.copy_from_slice(&request.to_le_bytes());
            second.copy_from_slice(&place.to_le_bytes());
            let drawn = unit_open(xxh3_64_with_seed(&name, self.seed));
            due += self.gap.mul_f64((1.0 + self.jitter * (2.0 * drawn - 1.0)).max(0.0));
            now
        })
    }
}

/// A piece of a stream: when it is due, counted from the request's arrival, and what is sent; an error breaks it off.
pub(super) type TimedPiece = (Duration, io::Result<Bytes>);

/// What a stream consists of, made as it is sent.
pub(super) trait Pieces: Iterator<Item = TimedPiece> + Send + 'static {}

impl<T: Iterator<Item = TimedPiece> + Send + 'static> Pieces for T {}

/// What goes before the tokens, one piece for each token, and what comes after them.
pub(super) fn pieces(
    due: impl Iterator<Item = Duration> + Send + 'static,
    (first, end): (Duration, Duration),
    opening: Vec<Bytes>,
    tokens: impl Iterator<Item = Bytes> + Send + 'static,
    closing: Vec<Bytes>,
) -> impl Pieces {
    let opening = opening.into_iter().map(move |piece| (first, Ok(piece)));
    let tokens = due.zip(tokens.map(Ok));
    let closing = closing.into_iter().map(move |piece| (end, Ok(piece)));
    opening.chain(tokens).chain(closing)
}

/// Lets a stream go wrong, if so wanted, after `kept` pieces.
pub(super) fn disturbed(pieces: impl Pieces, wanted: Option<&Misbehaviour>, kept: usize, error: Bytes) -> impl Pieces {
    let broken = || Err(io::Error::other("the fake ends the stream, as requested"));
    let last = match wanted {
        None | Some(Misbehaviour::Status(_) | Misbehaviour::Hang | Misbehaviour::Unknown(_)) => None,
        Some(Misbehaviour::Stream) => Some((Duration::ZERO, Ok(error))),
        Some(Misbehaviour::Cut) => Some((Duration::ZERO, broken())),
        Some(Misbehaviour::Stall) => Some((HANG, broken())),
    };
    let kept = if last.is_some() { kept } else { usize::MAX };
    pieces.take(kept).chain(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_stay_within_the_jitter_and_repeat() {
        let pace = Pace {
            first: Duration::from_millis(300),
            gap: Duration::from_millis(20),
            jitter: 0.5,
            seed: 7,
        };
        let due: Vec<_> = pace.due(3).take(1001).collect();
        assert_eq!(due[0], Duration::from_millis(300));
        let gaps: Vec<_> = due.windows(2).map(|two| (two[1] - two[0]).as_secs_f64()).collect();
        assert!(gaps.iter().all(|gap| (0.010..=0.030).contains(gap)));
        let mean = gaps.iter().sum::<f64>() / 1000.0;
        assert!((0.019..0.021).contains(&mean), "{mean}");
        assert_eq!(due, pace.due(3).take(1001).collect::<Vec<_>>());
        assert_ne!(due, pace.due(4).take(1001).collect::<Vec<_>>());
    }
}
