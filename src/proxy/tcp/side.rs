//! One side of a TCP connection: the client's or the server's, with or without TLS.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use pingora::{Error, ErrorType, Result};
use prometheus::IntCounter;
use tokio::io::ReadBuf;

use crate::proxy::body::{Part, Sink, Source};
use crate::proxy::net::socket::Socket;
use crate::proxy::upstream::Secure;

/// The most bytes of one read.
const PIECE: usize = 64 << 10;

thread_local! {
    /// What is read lands here first, so that a connection without traffic needs no buffer of its own.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; PIECE].into_boxed_slice());
}

/// One side of a connection.
pub(in crate::proxy) struct Side {
    socket: Arc<Socket>,
    /// The stream with TLS over the socket; `None` without TLS.
    secure: Option<Secure>,
}

impl Side {
    /// A side. `secure` is its TLS, if it has any.
    pub(in crate::proxy) fn new(socket: Arc<Socket>, secure: Option<Secure>) -> Side {
        Side { socket, secure }
    }

    /// The socket, if bytes can be moved from or to it without looking at them.
    pub(super) fn bare(&self) -> Option<&Socket> {
        self.secure.is_none().then_some(&*self.socket)
    }

    /// Sends a RST and discards unsent bytes.
    pub(super) fn reset(&self) {
        self.socket.reset();
    }

    /// Reads up to [`PIECE`] bytes, and lets `take` have them. An empty piece is the end. `take` must not read.
    pub(super) fn poll_read<T>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Context<'_>, &[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            match &mut self.secure {
                None => ready!(self.socket.poll_read(cx, &mut buf))?,
                Some(secure) => match ready!(secure.as_mut().poll_read(cx, &mut buf)) {
                    // Many programs close without a close_notify. Without a proxy between, the other side would see an end.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                    read => read?,
                },
            }
            Poll::Ready(Ok(take(cx, buf.filled())))
        })
    }

    /// Writes as many bytes as there is room for. Returns their number.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.secure {
            None => self.socket.poll_write_bytes(cx, bytes),
            Some(secure) => secure.as_mut().poll_write(cx, bytes),
        }
    }

    /// Sends what TLS has kept back.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.secure {
            None => Poll::Ready(Ok(())),
            Some(secure) => secure.as_mut().poll_flush(cx),
        }
    }

    /// Ends the sending side, with TLS by a close_notify first; the other direction goes on.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(secure) = &mut self.secure {
            return secure.as_mut().poll_shutdown(cx);
        }
        self.socket.shutdown(rustix::net::Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}

/// A side as the source of a pump.
pub(super) struct Sender<'a>(pub(super) &'a mut Side);

impl Source for Sender<'_> {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>> {
        let read = ready!(self.0.poll_read(cx, |_, piece| Bytes::copy_from_slice(piece)));
        Poll::Ready(match read {
            Ok(piece) if piece.is_empty() => Ok(None),
            Ok(piece) => Ok(Some(Part::Data(piece))),
            Err(error) => Err(Error::because(ErrorType::ReadError, "reading", error)),
        })
    }
}

/// A side as the sink of a pump.
pub(super) struct Receiver<'a> {
    pub(super) side: &'a mut Side,
    pub(super) sent: &'a mut Sent,
}

/// Bytes sent in one direction of a connection, which the listener's metrics count as they leave.
#[derive(Debug)]
pub(super) struct Sent {
    bytes: u64,
    counter: IntCounter,
}

impl Sent {
    pub(super) fn new(counter: IntCounter) -> Sent {
        Sent { bytes: 0, counter }
    }

    pub(super) fn add(&mut self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(count);
        self.counter.inc_by(count);
    }

    /// The bytes of this connection so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Sink for Receiver<'_> {
    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<Result<bool>> {
        while !bytes.is_empty() {
            let count = ready!(self.side.poll_write(cx, bytes)).map_err(broken)?;
            bytes.advance(count);
            self.sent.add(count);
        }
        Poll::Ready(Ok(true))
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, _: Option<&HeaderMap>) -> Poll<Result<()>> {
        ready!(self.poll_flush(cx))?;
        self.side.poll_shutdown(cx).map_err(broken)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.side.poll_flush(cx).map_err(broken)
    }
}

fn broken(error: io::Error) -> Box<Error> {
    Error::because(ErrorType::WriteError, "writing", error)
}
