//! A client's connection as a byte stream, plain or TLS, which fails once squall has ended the connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pingora::protocols::tls::TlsStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Connection;
use crate::proxy::net::socket::Raw;

/// The byte stream of one downstream connection.
#[derive(Debug)]
pub(crate) struct Stream {
    bytes: Bytestream,
    connection: Arc<Connection>,
}

#[derive(Debug)]
enum Bytestream {
    Plain(Raw),
    Tls(Box<TlsStream<Raw>>),
}

impl Stream {
    /// A plaintext connection.
    pub(crate) fn plain(raw: Raw, connection: Arc<Connection>) -> Self {
        Self::new(Bytestream::Plain(raw), connection)
    }

    /// A connection over TLS.
    pub(crate) fn tls(tls: TlsStream<Raw>, connection: Arc<Connection>) -> Self {
        Self::new(Bytestream::Tls(Box::new(tls)), connection)
    }

    fn new(bytes: Bytestream, connection: Arc<Connection>) -> Self {
        Self { bytes, connection }
    }

    /// The handle of the connection.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Fails once squall has ended the connection: no byte may be sent after an injected close or reset.
    fn check_open(&self) -> io::Result<()> {
        if self.connection.ended() {
            Err(io::ErrorKind::ConnectionReset.into())
        } else {
            Ok(())
        }
    }
}

/// Calls the same method on either variant.
macro_rules! forward {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match &mut $stream {
            Bytestream::Plain(raw) => Pin::new(raw).$method($($argument),*),
            Bytestream::Tls(tls) => Pin::new(&mut **tls).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.connection.ended() {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = forward!(self.bytes, poll_read(cx, buf));
        // If the connection was closed while idle in the meantime, these bytes are reported as its end.
        if buf.filled().len() > before && !self.connection.begin_request() {
            buf.set_filled(before);
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_open()?;
        let written = forward!(self.bytes, poll_write(cx, bytes));
        self.connection.note_write(written.is_ready());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_open()?;
        let written = forward!(self.bytes, poll_write_vectored(cx, slices));
        self.connection.note_write(written.is_ready());
        written
    }

    fn is_write_vectored(&self) -> bool {
        match &self.bytes {
            Bytestream::Plain(raw) => raw.is_write_vectored(),
            Bytestream::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_open()?;
        forward!(self.bytes, poll_flush(cx))
    }

    /// Ends the sending side, without close_notify if squall has ended the connection already.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.ended() {
            return Poll::Ready(Ok(()));
        }
        forward!(self.bytes, poll_shutdown(cx))
    }
}

impl Drop for Stream {
    /// Sends TLS's buffered records and close_notify, as far as the socket takes them without waiting: `drop` can't await.
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let _best_effort = Pin::new(self).poll_shutdown(&mut cx);
    }
}
