//! One accepted socket, TCP or unix, shared by the stream that moves its bytes and by the handle that can cut it.
//!
//! The stream and the handle hold the same socket, without a duplicated descriptor: a duplicate would keep the
//! connection open after its owner has let go, and would cost a second descriptor per connection.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use parking_lot::Mutex;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// How long a closed connection waits for further bytes to throw away, and how long it does so at most.
const DRAIN_PAUSE: Duration = Duration::from_secs(1);
const DRAIN_TOTAL: Duration = Duration::from_secs(10);

/// Unread bytes that are read while a request is held, so that the client's end can arrive behind them.
const AHEAD: usize = 256 << 10;

/// Runs the same expression on either kind of socket.
macro_rules! either {
    ($socket:expr, $stream:ident => $body:expr) => {
        match &$socket.kind {
            Kind::Tcp($stream) => $body,
            Kind::Unix($stream) => $body,
        }
    };
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// An accepted socket. All methods take `&self`; one task at a time may read, and one may write.
#[derive(Debug)]
pub(crate) struct Socket {
    kind: Kind,
    /// The peer's end was read.
    ended: AtomicBool,
    /// Held by whoever takes bytes from the kernel, so that they stay in order and none is overlooked.
    reading: Mutex<Reading>,
}

/// What the reader and [`Socket::peer_closed`] tell each other.
#[derive(Debug, Default)]
struct Reading {
    /// What [`Socket::peer_closed`] has read, for the next reads to give.
    ahead: VecDeque<u8>,
    /// [`Socket::peer_closed`] has taken tokio's "readable" mark away: the next read asks the kernel instead.
    unmarked: bool,
    /// The reader, while it waits.
    reader: Option<Waker>,
}

impl Reading {
    /// Gives what was read ahead. False if there is none.
    fn take_ahead(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let (first, _) = self.ahead.as_slices();
        let count = first.len().min(buf.remaining());
        buf.put_slice(first.get(..count).unwrap_or_default());
        self.ahead.drain(..count);
        if self.ahead.is_empty() && self.ahead.capacity() > 0 {
            // The memory goes too: most connections never need it again.
            self.ahead = VecDeque::new();
        }
        count > 0
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Kind::Tcp(stream).into()
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Kind::Unix(stream).into()
    }
}

impl From<Kind> for Socket {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            ended: AtomicBool::new(false),
            reading: Mutex::default(),
        }
    }
}

impl Socket {
    /// The address that was accepted on; `None` for a unix socket.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(stream) => stream.local_addr().ok(),
            Kind::Unix(_) => None,
        }
    }

    /// Where the connection was headed before a rule of the kernel's (iptables or nftables, REDIRECT) sent it here: the
    /// socket option `SO_ORIGINAL_DST` of Linux, from its table of tracked connections.
    ///
    /// # Errors
    /// The connection was not redirected, or the system can't say.
    pub(crate) fn original_destination(&self) -> io::Result<SocketAddr> {
        let Kind::Tcp(stream) = &self.kind else {
            return Err(io::Error::other("a unix socket's connections are never redirected"));
        };
        let local = stream.local_addr()?;
        let original = match original_destination(stream, local) {
            // What netfilter doesn't know of was not redirected by it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => local,
            original => original?,
        };
        let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
        if canonical(original) == canonical(local) {
            return Err(io::Error::other("the connection was not redirected to squall"));
        }
        Ok(original)
    }

    /// Sends a RST and drops all that is still unsent. A unix socket has no RST: it is closed both ways.
    ///
    /// Connecting a TCP socket to the unspecified address makes the kernel abort the connection at once (connect(2),
    /// AF_UNSPEC), whoever else holds the descriptor. SO_LINGER would wait for the last of them to close it.
    pub(crate) fn reset(&self) {
        let aborted = match &self.kind {
            Kind::Tcp(stream) => rustix::net::connect_unspec(stream),
            Kind::Unix(_) => Err(rustix::io::Errno::OPNOTSUPP),
        };
        if aborted.is_err() {
            self.shutdown(rustix::net::Shutdown::Both);
        }
    }

    /// Ends one or both directions; an error means that they had ended already.
    pub(crate) fn shutdown(&self, how: rustix::net::Shutdown) {
        let _ended_already = either!(self, stream => rustix::net::shutdown(stream, how));
    }

    /// Reads into `buf`; no bytes at all mean that the peer has ended.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut reading = self.reading.lock();
        if reading.take_ahead(buf) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let outcome = loop {
            if std::mem::take(&mut reading.unmarked) {
                match self.read_unmarked(&mut reading, buf) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    outcome => break outcome,
                }
            }
            let Poll::Ready(ready) = either!(self, stream => stream.poll_read_ready(cx)) else {
                // tokio's event may be answered by reading ahead.
                reading
                    .reader
                    .get_or_insert_with(|| cx.waker().clone())
                    .clone_from(cx.waker());
                return Poll::Pending;
            };
            ready?;
            match self.read_marked(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => break outcome,
            }
        };
        let nothing_came = buf.filled().len() == before && buf.remaining() > 0;
        if outcome.is_err() || nothing_came {
            self.ended.store(true, Ordering::Relaxed);
        }
        Poll::Ready(outcome)
    }

    /// Writes through `write`, which asks the kernel without waiting.
    fn poll_write(&self, cx: &mut Context<'_>, write: impl Fn() -> io::Result<usize>) -> Poll<io::Result<usize>> {
        loop {
            ready!(either!(self, stream => stream.poll_write_ready(cx)))?;
            match write() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Resolves when the peer has closed its side, or has reset the connection. Cancel-safe.
    ///
    /// The kernel tells of the end out of band (EPOLLRDHUP), so bytes that nobody has read yet don't hide it, as long
    /// as the end itself has arrived. To let it arrive, up to [`AHEAD`] bytes are read, and kept for the next reads; a
    /// peer that has more to send than that and the kernel's receive buffer cannot tell of its end.
    pub(crate) async fn peer_closed(&self) {
        loop {
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            match either!(self, stream => stream.ready(Interest::READABLE).await) {
                Ok(ready) if !ready.is_read_closed() => {}
                _ => return,
            }
            let mut reading = self.reading.lock();
            if reading.ahead.len() < AHEAD {
                self.read_ahead(&mut reading);
            } else {
                // Only unread bytes. Taking the mark away makes the next wait end at the next event, not at once; the
                // reader is told to look for itself, since its own event may be the one that is taken.
                reading.unmarked = true;
                let _cleared: io::Result<()> = either!(self, stream =>
                    stream.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into())));
            }
            if let Some(reader) = reading.reader.take() {
                reader.wake();
            }
        }
    }

    /// Resolves when the peer has reset the connection. Cancel-safe.
    pub(crate) async fn peer_reset(&self) {
        // An error of the registration is the runtime's end.
        let _error = either!(self, stream => stream.ready(Interest::ERROR).await);
    }

    /// Gives back what was read last: the next reads give it again.
    pub(crate) fn unread(&self, bytes: &[u8]) {
        let mut reading = self.reading.lock();
        for byte in bytes.iter().rev() {
            reading.ahead.push_front(*byte);
        }
    }

    /// Reads what has come, and keeps it.
    fn read_ahead(&self, reading: &mut Reading) {
        let mut piece = [0_u8; 8192];
        match either!(self, stream => stream.try_read(&mut piece)) {
            Ok(count @ 1..) => reading.ahead.extend(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => self.ended.store(true, Ordering::Relaxed),
        }
    }

    /// Ends the connection politely: a FIN, then whatever the peer still sends is thrown away until it ends too, or
    /// sends nothing for a second, or has been sending for ten. Closing with unread bytes would send a RST, which
    /// breaks off a client that is still writing its request, before it has read the response.
    pub(crate) async fn finish(&self) {
        self.shutdown(rustix::net::Shutdown::Write);
        let drained = async {
            let mut waste = [0_u8; 4096];
            loop {
                let mut buf = ReadBuf::new(&mut waste);
                let read = std::future::poll_fn(|cx| self.poll_read(cx, &mut buf));
                match tokio::time::timeout(DRAIN_PAUSE, read).await {
                    Ok(Ok(())) if !buf.filled().is_empty() => {}
                    _ => return,
                }
            }
        };
        let _cut_short = tokio::time::timeout(DRAIN_TOTAL, drained).await;
    }

    /// Whether the peer's end was read, so that nothing can come any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Reads when tokio holds the socket for readable.
    ///
    /// A read that does not fill the buffer has emptied the socket, so the mark goes at once and the next read waits
    /// without asking the kernel in vain. tokio's own `poll_read` does the same, but needs the socket exclusively.
    fn read_marked(&self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let room = buf.remaining();
        let mut emptied = false;
        let outcome = either!(self, stream => stream.try_io(Interest::READABLE, || {
            let count = stream.try_read_buf(buf)?;
            emptied = 0 < count && count < room;
            if emptied { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        }));
        if emptied { Ok(()) } else { outcome }
    }

    /// Reads whatever tokio thinks of the socket.
    fn read_unmarked(&self, reading: &mut Reading, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let free = buf.initialize_unfilled();
        let room = free.len();
        let flags = rustix::net::RecvFlags::DONTWAIT;
        let (_, count) = either!(self, stream => rustix::net::recv(stream, free, flags))?;
        if count == room {
            // There may be more, without an event to tell of it.
            reading.unmarked = true;
        }
        buf.advance(count);
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn original_destination(stream: &TcpStream, local: SocketAddr) -> io::Result<SocketAddr> {
    // An IPv4 client of a socket that serves both comes with a mapped address.
    match local.ip().to_canonical() {
        IpAddr::V4(_) => Ok(rustix::net::sockopt::ip_original_dst(stream)?.into()),
        IpAddr::V6(_) => Ok(rustix::net::sockopt::ipv6_original_dst(stream)?.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn original_destination(_: &TcpStream, _: SocketAddr) -> io::Result<SocketAddr> {
    Err(io::Error::other(
        "the original destination of a connection is available only on Linux",
    ))
}

/// A socket as a stream: unbuffered, at the bottom of plain and TLS connections.
#[derive(Debug)]
pub(crate) struct Raw(Arc<Socket>);

impl Raw {
    pub(crate) fn new(socket: Arc<Socket>) -> Self {
        Self(socket)
    }
}

impl AsyncRead for Raw {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buf)
    }
}

impl AsyncWrite for Raw {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let write = || either!(self.0, stream => stream.try_write(bytes));
        self.0.poll_write(cx, write)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = || either!(self.0, stream => stream.try_write_vectored(slices));
        self.0.poll_write(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.shutdown(rustix::net::Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}

// What Pingora's TLS acceptor asks of a stream.

#[async_trait::async_trait]
impl Shutdown for Raw {
    async fn shutdown(&mut self) {
        self.0.shutdown(rustix::net::Shutdown::Write);
    }
}

impl UniqueID for Raw {
    fn id(&self) -> UniqueIDType {
        either!(self.0, stream => stream.as_raw_fd())
    }
}

impl Ssl for Raw {}

impl Peek for Raw {}

impl GetTimingDigest for Raw {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Raw {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Raw {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

#[cfg(test)]
mod tests;
