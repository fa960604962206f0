//! One direction of a TCP connection: unshaped bytes take the short way, others go through a pump.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use pingora::Error;
use prometheus::IntCounter;

use super::side::{Receiver, Sender, Sent, Side};
use crate::proxy::exchange::lane::Lane;
use crate::proxy::exchange::pump::{Broken, Pump};
use crate::proxy::net::socket::Pipe;
use crate::shape::Finish;

/// Reads of at least this size are followed by splicing: moving less within the kernel costs more than copying it.
const BULK: usize = 32 << 10;

/// One direction of a connection.
pub(super) struct Flow {
    /// Carries shaped bytes. Boxed, since most connections are never shaped.
    pump: Option<Box<Pump>>,
    /// Bytes that were read unshaped and not written yet.
    left: Bytes,
    /// Bytes on their way within the kernel.
    pipe: Option<Pipe>,
    /// Whether so much arrives at once that splicing pays.
    bulk: bool,
    /// Whether TLS may keep something back.
    unflushed: bool,
    /// Whether the end was read unshaped.
    ended: bool,
    over: bool,
    sent: Sent,
}

/// Why a direction broke off.
#[derive(Debug)]
pub(super) enum Break {
    /// The sender reset the connection, or its TLS failed.
    Sender(io::Error),
    /// The receiver did.
    Receiver(io::Error),
}

impl Flow {
    pub(super) fn new(counter: IntCounter) -> Flow {
        Flow {
            pump: None,
            left: Bytes::new(),
            pipe: None,
            bulk: false,
            unflushed: false,
            ended: false,
            over: false,
            sent: Sent::new(counter),
        }
    }

    /// The lane of this direction, to add a shaper to it.
    pub(super) fn lane(&mut self) -> &mut Lane {
        let pump = self.pump.get_or_insert_with(|| Box::new(Pump::new(Lane::default())));
        pump.lane()
    }

    /// The lane of this direction, if anything passes it.
    pub(super) fn shaped(&mut self) -> Option<&mut Lane> {
        self.pump.as_mut().map(|pump| pump.lane())
    }

    /// The bytes sent so far.
    pub(super) fn bytes(&self) -> u64 {
        self.sent.bytes()
    }

    /// Whether the direction has ended.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Moves what can be moved now. Ready at the end, with how the direction ended. Its natural end was passed on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<Result<Finish, Break>> {
        loop {
            // Bytes that were read before a shaper came are no longer its.
            ready!(self.poll_rest(cx, to)).map_err(Break::Receiver)?;
            if self.pump.as_ref().is_some_and(|pump| pump.is_clear()) {
                self.pump = None;
            }
            if let Some(finish) = self.poll_pump(cx, from, to) {
                let finish = ready!(finish)?;
                self.over = true;
                return Poll::Ready(Ok(finish));
            }
            if self.ended {
                ready!(to.poll_shutdown(cx)).map_err(Break::Receiver)?;
                self.over = true;
                return Poll::Ready(Ok(Finish::Natural));
            }
            let moved = if self.bulk {
                self.poll_splice(cx, from, to)
            } else {
                None
            };
            let moved = match moved {
                Some(moved) => moved,
                None => self.poll_copy(cx, from, to),
            };
            if moved.is_pending() {
                self.give_pipe_back();
                if self.unflushed {
                    self.unflushed = to.poll_flush(cx).map_err(Break::Receiver)?.is_pending();
                }
                return Poll::Pending;
            }
            ready!(moved)?;
        }
    }

    /// Writes what was read unshaped.
    fn poll_rest(&mut self, cx: &mut Context<'_>, to: &mut Side) -> Poll<io::Result<()>> {
        while !self.left.is_empty() {
            let count = ready!(to.poll_write(cx, &self.left))?;
            self.left.advance(count);
            self.sent.add(count);
        }
        while let Some(pipe) = self.pipe.as_mut().filter(|pipe| !pipe.is_empty()) {
            // Pipes are filled only for sides without TLS.
            let Some(socket) = to.bare() else { break };
            let count = ready!(socket.poll_drain(cx, pipe))?;
            self.sent.add(count);
        }
        Poll::Ready(Ok(()))
    }

    /// Moves shaped bytes; `None` if there are none.
    fn poll_pump(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Side,
        to: &mut Side,
    ) -> Option<Poll<Result<Finish, Break>>> {
        self.pump.as_ref()?;
        self.give_pipe_back();
        let pump = self.pump.as_mut()?;
        let mut receiver = Receiver {
            side: to,
            sent: &mut self.sent,
        };
        let polled = pump.poll(cx, &mut Sender(from), &mut receiver);
        Some(polled.map_err(|broken| match broken {
            Broken::Source(error) => Break::Sender(cause(&error)),
            Broken::Sink(error) => Break::Receiver(cause(&error)),
        }))
    }

    /// Reads a piece, and writes it right away as far as there is room.
    fn poll_copy(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<Result<(), Break>> {
        let mut written = Ok(0);
        let (left, whole) = ready!(from.poll_read(cx, |cx, piece| {
            let mut rest = piece;
            while !rest.is_empty() {
                match to.poll_write(cx, rest) {
                    Poll::Ready(Ok(count)) => rest = rest.get(count..).unwrap_or_default(),
                    Poll::Ready(Err(error)) => {
                        written = Err(error);
                        break;
                    }
                    Poll::Pending => break,
                }
            }
            written = std::mem::replace(&mut written, Ok(0)).map(|_| piece.len() - rest.len());
            (Bytes::copy_from_slice(rest), piece.len())
        }))
        .map_err(Break::Sender)?;
        let written = written.map_err(Break::Receiver)?;
        self.sent.add(written);
        self.left = left;
        self.ended = whole == 0;
        self.bulk = whole >= BULK;
        self.unflushed |= whole > 0;
        Poll::Ready(Ok(()))
    }

    /// Moves bytes within the kernel; `None` where that is not possible.
    fn poll_splice(&mut self, cx: &mut Context<'_>, from: &Side, to: &Side) -> Option<Poll<Result<(), Break>>> {
        let (source, _) = (from.bare()?, to.bare()?);
        if !source.is_untouched() {
            return None;
        }
        if self.pipe.is_none() {
            self.pipe = Pipe::take().ok();
        }
        let filled = source.poll_fill(cx, self.pipe.as_mut()?);
        Some(filled.map(|filled| {
            let count = filled.map_err(Break::Sender)?;
            self.ended = count == 0;
            self.bulk = count >= BULK;
            Ok(())
        }))
    }

    fn give_pipe_back(&mut self) {
        if let Some(pipe) = self.pipe.take_if(|pipe| pipe.is_empty()) {
            pipe.give_back();
        }
    }
}

/// The system's error within Pingora's.
fn cause(error: &Error) -> io::Error {
    match error.root_cause().downcast_ref::<io::Error>() {
        Some(cause) => io::Error::new(cause.kind(), cause.to_string()),
        None => io::Error::other(error.root_cause().to_string()),
    }
}
