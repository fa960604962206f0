//! An HTTP/1 connection: its stream with two buffers, and the bodies that are read and written through them.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use pingora::{Error, ErrorSource, ErrorType, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{Decoder, Encoder, Framing, Output};
use crate::proxy::body::Part;

/// Bytes read at once: at first, which is what an idle connection pays, and for a body that fills it.
const ROOM: usize = 4 * 1024;
const MOST_ROOM: usize = 64 * 1024;

/// Bytes read at once from a peer that is not expected to say anything.
const LISTEN: usize = 512;

/// Bytes that wait for the peer to read them before more is asked for.
const BACKLOG: usize = 16 << 10;

/// A connection's stream with what was read ahead of its parser and what was written behind its encoder.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    /// Who is to blame for its errors.
    peer: ErrorSource,
    /// Read, and not parsed yet.
    pub(crate) input: BytesMut,
    /// Written, and not sent yet.
    pub(crate) output: Output,
    /// The body that is read.
    pub(crate) decoder: Decoder,
    /// The body that is written.
    pub(crate) encoder: Encoder,
    room: usize,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A wire over a stream to this peer. There are no bodies yet.
    pub(crate) fn new(stream: S, peer: ErrorSource) -> Self {
        Self {
            stream,
            peer,
            input: BytesMut::new(),
            output: Output::default(),
            decoder: Decoder::new(Framing::NONE),
            encoder: Encoder::new(Framing::NONE),
            room: ROOM,
            ended: false,
        }
    }

    /// Reads what has come; false at the peer's end. Cancel-safe.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        if self.ended {
            return Poll::Ready(Ok(false));
        }
        // Half of it is enough to read on: a head that comes in two pieces needs no second allocation.
        if self.input.capacity() - self.input.len() < self.room / 2 {
            self.input.reserve(self.room);
        }
        let free = self.input.capacity() - self.input.len();
        let read = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx));
        let read = read.map_err(|error| self.broken(error))?;
        if read == 0 {
            self.ended = true;
        } else if read == free {
            // There is more than fits: a large body is coming.
            self.room = (self.room * 4).min(MOST_ROOM);
        }
        Poll::Ready(Ok(read > 0))
    }

    /// Looks whether the peer has left, and keeps what it says meanwhile; false at its end. Like [`Wire::poll_fill`], but
    /// without any memory where the peer says nothing, which is the rule. Cancel-safe.
    pub(crate) fn poll_listen(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.ended {
            return Poll::Ready(Ok(false));
        }
        let mut said = [0; LISTEN];
        let mut buffer = ReadBuf::new(&mut said);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        self.ended = buffer.filled().is_empty();
        self.input.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(!self.ended))
    }

    /// The next part of the body; `None` at its end. Cancel-safe.
    ///
    /// # Errors
    /// The peer has left, or broken the framing.
    pub(crate) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>> {
        loop {
            match self.decoder.decode(&mut self.input) {
                Ok(None) if !self.decoder.is_done() => {}
                part => return Poll::Ready(part.map_err(|malformed| self.blame(malformed.error()))),
            }
            if !ready!(self.poll_fill(cx))? && !self.decoder.end_of_input() {
                return Poll::Ready(Err(self.closed()));
            }
        }
    }

    /// Whether the peer's end was read.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the peer has yet to read what was written so far.
    pub(crate) fn is_behind(&self) -> bool {
        self.output.len() >= BACKLOG
    }

    /// Ready when more may be written: the peer is not behind.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.is_behind() {
            self.poll_flush(cx)
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Writes a piece of the body.
    pub(crate) fn data(&mut self, piece: Bytes) {
        self.encoder.data(piece, &mut self.output);
    }

    /// Ends the body; see [`Encoder::end`].
    pub(crate) fn end(&mut self, trailers: Option<&HeaderMap>) -> bool {
        self.encoder.end(trailers, &mut self.output)
    }

    /// Sends what is queued.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = self.output.poll_flush(&mut self.stream, cx);
        flushed.map_err(|error| self.broken(error))
    }

    /// Ends the sending side, once everything was sent.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_flush(cx))?;
        let shut = pin!(self.stream.shutdown()).poll(cx);
        shut.map_err(|error| self.broken(error))
    }

    /// Forgets how large the last body was. To be called between two messages.
    pub(crate) fn rest(&mut self) {
        self.room = ROOM;
        if self.input.is_empty() && self.input.capacity() > 2 * ROOM {
            // The memory goes too: an idle connection needs no room for a body.
            self.input = BytesMut::new();
        }
    }

    /// The stream below the buffers.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream, with what was read of it; what is still to be sent is lost.
    pub(crate) fn into_parts(self) -> (S, BytesMut) {
        (self.stream, self.input)
    }

    /// Blames the peer for an error.
    pub(crate) fn blame(&self, mut error: Box<Error>) -> Box<Error> {
        error.esource = self.peer.clone();
        error
    }

    /// The error of a connection that closed too early.
    pub(crate) fn closed(&self) -> Box<Error> {
        self.blame(Error::explain(
            ErrorType::ConnectionClosed,
            "before the message was complete",
        ))
    }

    fn broken(&self, error: io::Error) -> Box<Error> {
        self.blame(Error::because(ErrorType::ReadError, "the connection broke", error))
    }
}
