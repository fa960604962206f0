//! The stream that Pingora reads and writes: a socket, plain or under TLS, with a write buffer and a handle.
//!
//! Reads are not buffered: Pingora reads heads and bodies in pieces of 4 KiB and more. Writes are, because Pingora
//! writes a small response in two pieces: they leave in one send when the response is finished, or when its task
//! turns to reading, which is what it does before it waits.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::connection::Connection;
use super::heads::own;

/// What an HTTP/2 client says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Slices that are handed on at most in one vectored write, the write buffer's own included.
const MAX_SLICES: usize = 16;

/// A connection's bytes: `T` is a plain socket or a TLS stream over one.
pub(super) struct Buffered<T: AsyncRead + AsyncWrite + Unpin> {
    inner: T,
    connection: Arc<Connection>,
    /// Written, but not yet handed to `inner`: `pending[sent..]`.
    pending: Vec<u8>,
    sent: usize,
    /// Most bytes that are kept in `pending`.
    capacity: usize,
    /// Read from `inner` for a look, and not yet read by anybody: `ahead[taken..]`.
    ahead: Vec<u8>,
    taken: usize,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Buffered<T> {
    /// Wraps a stream; `capacity` bounds the write buffer in bytes, which is allocated only when it is used.
    pub(super) fn new(inner: T, connection: Arc<Connection>, capacity: usize) -> Self {
        Self {
            inner,
            connection,
            pending: Vec::new(),
            sent: 0,
            capacity,
            ahead: Vec::new(),
            taken: 0,
        }
    }

    /// Whether the client begins with the HTTP/2 preface. What was read for this is read again later.
    ///
    /// Reads no further than to the first difference, so any HTTP/1 request is answered, however short.
    ///
    /// # Errors
    /// The stream's, and an unexpected end if the client says nothing at all.
    pub(super) async fn begins_with_preface(&mut self) -> io::Result<bool> {
        let mut seen = vec![0; 4096];
        let mut len = 0;
        let begins = loop {
            let count = self.read(seen.get_mut(len..).unwrap_or_default()).await?;
            len += count;
            let both = len.min(PREFACE.len());
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let same = seen.get(..both) == PREFACE.get(..both);
            if !same || count == 0 || both == PREFACE.len() {
                break same && both == PREFACE.len();
            }
        };
        seen.truncate(len);
        self.ahead = seen;
        Ok(begins)
    }

    /// Hands everything that is pending to `inner`, without flushing that.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.pending.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        self.pending.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Takes the head of a response, in which the upstream's own fields replace Pingora's. The write buffer takes it all,
    /// since a head can't be cut; it is bounded by what Pingora reads as one.
    fn take_head(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Option<usize> {
        let head = slices.iter().find(|slice| !slice.is_empty())?;
        if own::begins_interim_head(head) {
            return None;
        }
        let head_restored = self.connection.take_own()?.restore(head)?;
        self.pending.extend_from_slice(&head_restored);
        if self.connection.autoflush() || self.pending.len() > self.capacity {
            // What does not go now goes with the next write, which comes before anybody waits.
            let _pending_or_error = self.poll_drain(cx);
        }
        Some(head.len())
    }

    /// Writes what is pending and `slices` together; returns how many bytes of the slices were taken.
    fn poll_write_through(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let rest = self.pending.get(self.sent..).unwrap_or_default();
            if rest.is_empty() {
                return Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
            }
            let mut all = [IoSlice::new(&[]); MAX_SLICES];
            let mut used = 0;
            for (place, slice) in all
                .iter_mut()
                .zip(std::iter::once(rest).chain(slices.iter().map(|slice| &**slice)))
            {
                *place = IoSlice::new(slice);
                used += 1;
            }
            let all = all.get(..used).unwrap_or_default();
            let count = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, all))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_pending = count.min(rest.len());
            self.sent += of_pending;
            if self.sent == self.pending.len() {
                self.pending.clear();
                self.sent = 0;
            }
            if count > of_pending {
                return Poll::Ready(Ok(count - of_pending));
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Buffered<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.connection.ended() {
            return Poll::Ready(Ok(()));
        }
        if let Some(ahead) = this.ahead.get(this.taken..).filter(|ahead| !ahead.is_empty()) {
            let count = ahead.len().min(buf.remaining());
            buf.put_slice(ahead.get(..count).unwrap_or_default());
            this.taken += count;
            if this.taken == this.ahead.len() {
                this.ahead = Vec::new();
                this.taken = 0;
            }
            return Poll::Ready(Ok(()));
        }
        if !this.pending.is_empty() || this.connection.autoflush() {
            // Whoever reads is about to wait; what was said so far must be heard first, and TLS may keep a part of it. A
            // full socket is no reason not to read, and an error shows at the next write.
            let _pending_or_error = Pin::new(&mut *this).poll_flush(cx);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        if buf.filled().len() > before && !this.connection.begin_request() {
            buf.set_filled(before);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Buffered<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.connection.ended() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.connection.has_own()
            && let Some(taken) = self.take_head(cx, slices)
        {
            return Poll::Ready(Ok(taken));
        }
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        if self.connection.autoflush() || self.pending.len() + total > self.capacity {
            return self.poll_write_through(cx, slices);
        }
        for slice in slices {
            self.pending.extend_from_slice(slice);
        }
        Poll::Ready(Ok(total))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.ended() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    /// Ends the sending side; nothing is sent on a connection that squall has ended already.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.ended() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Drop for Buffered<T> {
    /// Sends what is left, and close_notify over TLS, as far as the socket takes it now.
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        let _best_effort = Pin::new(self).poll_shutdown(&mut cx);
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> fmt::Debug for Buffered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffered")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Shutdown for Buffered<T> {
    async fn shutdown(&mut self) {
        let _ended_already = AsyncWriteExt::shutdown(self).await;
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + UniqueID> UniqueID for Buffered<T> {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Ssl> Ssl for Buffered<T> {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Peek for Buffered<T> {}

impl<T: AsyncRead + AsyncWrite + Unpin> GetTimingDigest for Buffered<T> {
    /// Nothing is timed: Pingora asks once a request, and an entry would be an allocation each time.
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + GetProxyDigest> GetProxyDigest for Buffered<T> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + GetSocketDigest> GetSocketDigest for Buffered<T> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}
