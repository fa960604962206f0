//! Gates: the positions at which a stream stops, for stalls and cuts.
//!
//! A position is reached as soon as the bytes before it were sent, if more are to come. With a known length, that means a
//! position before the end; a stream that ends at or before the position is left alone. With an unknown length, more is
//! always assumed to come, since the next byte may never arrive, as in a stream of events that falls silent. Only a cut at
//! the start of a TCP connection waits for the first byte, as Toxiproxy's `limit_data` does: whoever wants the other
//! direction to stay silent too would close the connection instead.

use std::time::Duration;

use super::notes::Notes;
use crate::shape::{Act, After, Finish, Length, Protocol, Stall, Stream, TOO_SHORT, Truncation};

#[derive(Debug, Default)]
pub(super) struct Gates {
    gates: Vec<Gate>,
    /// The length of the stream without its gates, if known.
    length: Option<u64>,
}

#[derive(Debug)]
struct Gate {
    action: usize,
    at: Position,
    /// Whether to wait for the end of a frame, so that a close frame can follow.
    between_frames: bool,
    /// Whether to wait for the first byte.
    on_arrival: bool,
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
    Stall {
        limit: Option<Duration>,
        then: Finish,
        discard: bool,
    },
    Truncate(Finish),
}

/// What was sent so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    pub(super) bytes: u64,
    pub(super) messages: u64,
    /// Whether the last byte sent was the last of a frame.
    pub(super) between_frames: bool,
}

impl Gates {
    /// The gates of a stream. `sized`: no act drops or duplicates messages.
    pub(super) fn new(stream: &Stream, acts: &[(usize, Act)], sized: bool) -> Gates {
        let mut gates: Vec<Gate> = acts
            .iter()
            .filter_map(|(action, act)| Gate::new(*action, act, stream))
            .collect();
        // At one position a stall comes before a cut.
        gates.sort_by_key(|gate| matches!(gate.stop, Stop::Truncate(_)));
        Gates {
            gates,
            length: stream.length.filter(|_| sized),
        }
    }

    /// How many bytes may be sent before the next position in bytes.
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

    /// Whether a gate is reached. `arrived`: more bytes have arrived than were sent.
    pub(super) fn due(&self, out: &Out, arrived: bool) -> bool {
        self.waiting().any(|gate| self.reached(gate, out, arrived))
    }

    /// Passes the gate that is reached. Returns its action and what happens there.
    pub(super) fn pass(&mut self, out: &Out, arrived: bool) -> Option<(usize, Stop)> {
        let at = self
            .gates
            .iter()
            .position(|gate| !gate.passed && self.reached(gate, out, arrived))?;
        let gate = self.gates.get_mut(at)?;
        gate.passed = true;
        Some((gate.action, gate.stop.clone()))
    }

    /// Drops all gates. With `announced`, those with a clean end stay, without the stall before it.
    pub(super) fn retire(&mut self, announced: bool) {
        self.gates.retain_mut(|gate| {
            let (Stop::Stall { then: end, .. } | Stop::Truncate(end)) = &gate.stop;
            let stays = announced && matches!(end, Finish::Clean(_));
            gate.stop = Stop::Truncate(end.clone());
            stays
        });
    }

    /// Reports the gates that were not reached, at the natural end of the stream.
    pub(super) fn missed(&self, notes: &mut Notes) {
        for gate in self.waiting() {
            notes.miss(gate.action, TOO_SHORT);
        }
    }

    fn waiting(&self) -> impl Iterator<Item = &Gate> {
        self.gates.iter().filter(|gate| !gate.passed)
    }

    fn reached(&self, gate: &Gate, out: &Out, arrived: bool) -> bool {
        let more = self.length.is_none_or(|length| out.bytes < length);
        let there = match gate.at {
            Position::Bytes(at) => out.bytes >= at,
            Position::Messages(at) => out.messages >= at,
        };
        more && there && (out.between_frames || !gate.between_frames) && (arrived || !gate.on_arrival)
    }
}

impl Gate {
    fn new(action: usize, act: &Act, stream: &Stream) -> Option<Gate> {
        let (after, stop) = match act.clone() {
            Act::Stall(Stall {
                after,
                limit,
                then,
                discard,
            }) => (after, Stop::Stall { limit, then, discard }),
            Act::Truncate(Truncation { after, end }) => (after, Stop::Truncate(end)),
            _ => return None,
        };
        let (Stop::Stall { then: end, .. } | Stop::Truncate(end)) = &stop;
        let at = Position::new(after, stream.length)?;
        let at_start = matches!(at, Position::Bytes(0));
        Some(Gate {
            action,
            at,
            between_frames: stream.closes_with_frame(end).is_some(),
            on_arrival: at_start && stream.protocol == Protocol::Tcp && matches!(stop, Stop::Truncate(_)),
            stop,
            passed: false,
        })
    }
}

impl Position {
    /// `None` for a share of an unknown length.
    fn new(after: After, length: Option<u64>) -> Option<Position> {
        match after {
            After::Messages(messages) => Some(Position::Messages(messages)),
            After::Bytes(_) | After::Share(_) => after.bytes(length).map(Position::Bytes),
        }
    }
}

/// The length of the shaped body; see [`Length`].
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
