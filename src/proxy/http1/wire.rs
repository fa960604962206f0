//! An HTTP/1 connection: a stream with two buffers, and the bodies that are read and written through them.

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

/// Bytes read at once: `ROOM` at first, which an idle connection costs, up to `MOST_ROOM` while a large body is read.
const ROOM: usize = 4 * 1024;
const MOST_ROOM: usize = 64 * 1024;

/// Bytes read at once while only watching for the peer's disconnect.
const LISTEN: usize = 512;

/// Bytes that may wait for the peer to read them before no more are accepted.
const BACKLOG: usize = 16 << 10;

/// A connection's stream with its input and output buffers, and the decoder and encoder of bodies.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    /// The source that errors are attributed to.
    peer: ErrorSource,
    /// Bytes read and not parsed yet.
    pub(crate) input: BytesMut,
    /// Bytes written and not sent yet.
    pub(crate) output: Output,
    /// The body being read.
    pub(crate) decoder: Decoder,
    /// The body being written.
    pub(crate) encoder: Encoder,
    room: usize,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Creates a wire over a stream to `peer`, without bodies.
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

    /// Reads available bytes into `input`. Returns false at the peer's end. Cancel-safe.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        if self.ended {
            return Poll::Ready(Ok(false));
        }
        // Half the room suffices to read on, so a head that arrives in two pieces needs no second allocation.
        if self.input.capacity() - self.input.len() < self.room / 2 {
            self.input.reserve(self.room);
        }
        let free = self.input.capacity() - self.input.len();
        let read = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx));
        let read = read.map_err(|error| self.broken(error))?;
        if read == 0 {
            self.ended = true;
        } else if read == free {
            // The buffer was filled, so a large body is arriving: read more at once.
            self.room = (self.room * 4).min(MOST_ROOM);
        }
        Poll::Ready(Ok(read > 0))
    }

    /// Watches for the peer's disconnect, and keeps the bytes that it sends. Returns false at the peer's end. Unlike
    /// [`Wire::poll_fill`], allocates nothing as long as the peer is silent, which is the common case. Cancel-safe.
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

    /// Polls for the next part of the body; `None` at its end. Cancel-safe.
    ///
    /// # Errors
    /// The peer disconnected, or broke the framing.
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

    /// Whether too many bytes wait for the peer to read them.
    pub(crate) fn is_behind(&self) -> bool {
        self.output.len() >= BACKLOG
    }

    /// Ready when more may be written, because the peer [is not behind](Wire::is_behind).
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

    /// Sends the queued bytes.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = self.output.poll_flush(&mut self.stream, cx);
        flushed.map_err(|error| self.broken(error))
    }

    /// Sends the queued bytes, then closes the sending side.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_flush(cx))?;
        let shut = pin!(self.stream.shutdown()).poll(cx);
        shut.map_err(|error| self.broken(error))
    }

    /// Shrinks the buffers between two messages.
    pub(crate) fn rest(&mut self) {
        self.room = ROOM;
        if self.input.is_empty() && self.input.capacity() > 2 * ROOM {
            // Free the memory: an idle connection needs no room for a body.
            self.input = BytesMut::new();
        }
    }

    /// The stream below the buffers.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// Returns the stream and the unparsed input. Unsent output is lost.
    pub(crate) fn into_parts(self) -> (S, BytesMut) {
        (self.stream, self.input)
    }

    /// Sets the peer as the source of an error.
    pub(crate) fn blame(&self, mut error: Box<Error>) -> Box<Error> {
        error.esource = self.peer.clone();
        error
    }

    /// The error of a connection that was closed too early.
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
