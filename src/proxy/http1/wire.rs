//! The two buffers of an HTTP/1 connection around its stream.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::Output;

/// Bytes read at once: at first, which is what an idle connection pays, and for a body that fills it.
const ROOM: usize = 4 * 1024;
const MOST_ROOM: usize = 64 * 1024;

/// Bytes read at once from a peer that is not expected to say anything.
const LISTEN: usize = 512;

/// A connection's stream with what was read ahead of its parser and what was written behind its encoder.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    stream: S,
    /// Read, and not parsed yet.
    pub(crate) input: BytesMut,
    /// Written, and not sent yet.
    pub(crate) output: Output,
    room: usize,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A wire over a stream of which `input` was read already.
    pub(crate) fn new(stream: S, input: BytesMut) -> Self {
        Self {
            stream,
            input,
            output: Output::default(),
            room: ROOM,
            ended: false,
        }
    }

    /// Reads what has come; false at the peer's end. Cancel-safe.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.ended {
            return Poll::Ready(Ok(false));
        }
        // Half of it is enough to read on: a head that comes in two pieces needs no second allocation.
        if self.input.capacity() - self.input.len() < self.room / 2 {
            self.input.reserve(self.room);
        }
        let free = self.input.capacity() - self.input.len();
        let read = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx))?;
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

    /// Whether the peer's end was read.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Sends what is queued.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_flush(&mut self.stream, cx)
    }

    /// Ends the sending side, once everything was sent.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        pin!(self.stream.shutdown()).poll(cx)
    }

    /// Forgets how large the last body was. To be called between two messages.
    pub(crate) fn rest(&mut self) {
        self.room = ROOM;
        if self.input.is_empty() && self.input.capacity() > 2 * ROOM {
            // The memory goes too: an idle connection needs no room for a body.
            self.input = BytesMut::new();
        }
    }

    /// The stream.
    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream; what is still buffered is lost.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }
}
