//! Positions where the stream stops: stalls and cuts.
//!
//! A position is reached as soon as what comes before it has left, if more is to come. With a known length that is where
//! the position lies before the end; a stream that ends at the position, or before it, is left alone. With an unknown
//! length more always seems to come: the next byte may take for ever, as in a stream of events that falls silent.

use std::time::Duration;

use super::notes::Notes;
use crate::shape::{Act, After, Finish, Length, Stall, Stream, TOO_SHORT, Truncation};

#[derive(Debug, Default)]
pub(super) struct Gates {
    gates: Vec<Gate>,
    /// How long the stream will be without its gates, where that is known.
    length: Option<u64>,
}

#[derive(Debug)]
struct Gate {
    action: usize,
    at: Position,
    /// Only where a frame ends, so that a close frame can follow.
    between_frames: bool,
    stop: Stop,
    passed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Position {
    Bytes(u64),
    Messages(u64),
}

/// What happens at a position.
#[derive(Clone, Debug)]
pub(super) enum Stop {
    Stall { limit: Option<Duration>, then: Finish },
    Truncate(Finish),
}

/// What has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    pub(super) bytes: u64,
    pub(super) messages: u64,
    /// Whether the last byte was the last of a frame.
    pub(super) between_frames: bool,
}

impl Gates {
    /// The gates of a stream; `sized` says that its acts leave its length as it is.
    pub(super) fn new(stream: &Stream, acts: &[(usize, Act)], sized: bool) -> Gates {
        let mut gates: Vec<Gate> = acts
            .iter()
            .filter_map(|(action, act)| Gate::new(*action, act, stream))
            .collect();
        // What stalls and is cut at the same position stalls first.
        gates.sort_by_key(|gate| matches!(gate.stop, Stop::Truncate(_)));
        Gates {
            gates,
            length: stream.length.filter(|_| sized),
        }
    }

    /// How many bytes may leave before the next position in bytes.
    pub(super) fn distance(&self, out: &Out) -> usize {
        let ahead = self.waiting().filter_map(|gate| match gate.at {
            Position::Bytes(at) if at > out.bytes => Some(at - out.bytes),
            _ => None,
        });
        ahead
            .min()
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(usize::MAX)
    }

    /// Whether a position is reached.
    pub(super) fn due(&self, out: &Out) -> bool {
        self.waiting().any(|gate| self.reached(gate, out))
    }

    /// The gate that is reached, whose it is and what happens there. It is passed by that.
    pub(super) fn pass(&mut self, out: &Out) -> Option<(usize, Stop)> {
        let at = self
            .gates
            .iter()
            .position(|gate| !gate.passed && self.reached(gate, out))?;
        let gate = self.gates.get_mut(at)?;
        gate.passed = true;
        Some((gate.action, gate.stop.clone()))
    }

    /// The stream has come to its natural end.
    pub(super) fn missed(&self, notes: &mut Notes) {
        for gate in self.waiting() {
            notes.miss(gate.action, TOO_SHORT);
        }
    }

    fn waiting(&self) -> impl Iterator<Item = &Gate> {
        self.gates.iter().filter(|gate| !gate.passed)
    }

    fn reached(&self, gate: &Gate, out: &Out) -> bool {
        let more = self.length.is_none_or(|length| out.bytes < length);
        let there = match gate.at {
            Position::Bytes(at) => out.bytes >= at,
            Position::Messages(at) => out.messages >= at,
        };
        more && there && (out.between_frames || !gate.between_frames)
    }
}

impl Gate {
    fn new(action: usize, act: &Act, stream: &Stream) -> Option<Gate> {
        let (after, stop) = match act.clone() {
            Act::Stall(Stall { after, limit, then }) => (after, Stop::Stall { limit, then }),
            Act::Truncate(Truncation { after, end }) => (after, Stop::Truncate(end)),
            _ => return None,
        };
        let (Stop::Stall { then: end, .. } | Stop::Truncate(end)) = &stop;
        Some(Gate {
            action,
            at: Position::new(after, stream.length)?,
            between_frames: stream.closes_with_frame(end).is_some(),
            stop,
            passed: false,
        })
    }
}

impl Position {
    /// `None`: a share of an unknown length.
    fn new(after: After, length: Option<u64>) -> Option<Position> {
        match after {
            After::Messages(messages) => Some(Position::Messages(messages)),
            After::Bytes(_) | After::Share(_) => after.bytes(length).map(Position::Bytes),
        }
    }
}

/// How long the body will be for the client, see [`Length`].
pub(super) fn length(stream: &Stream, acts: &[(usize, Act)], sized: bool) -> Length {
    let Some(natural) = stream.length.filter(|_| stream.body) else {
        return Length::Same;
    };
    let gates = Gates::new(stream, acts, sized);
    let ends = gates.gates.iter().filter_map(|gate| match &gate.stop {
        Stop::Stall {
            then: Finish::Natural, ..
        } => None,
        Stop::Stall { then: end, .. } | Stop::Truncate(end) => Some((gate.at, matches!(end, Finish::Clean(_)))),
    });
    let ends: Vec<_> = ends.collect();
    let any_clean = ends.iter().any(|(_, clean)| *clean);
    let counts_messages = ends.iter().any(|(at, _)| matches!(at, Position::Messages(_)));
    if !sized || (any_clean && counts_messages) {
        return Length::Unknown;
    }
    let first = ends
        .iter()
        .filter_map(|(at, clean)| match at {
            Position::Bytes(at) if *at < natural => Some((*at, *clean)),
            _ => None,
        })
        .min_by_key(|(at, _)| *at);
    match first {
        Some((at, true)) => Length::Exactly(at),
        _ => Length::Same,
    }
}
