//! An accepted socket, TCP or unix, shared by the stream that moves its bytes and the handle that can reset or close it.
//!
//! Both hold the same socket without duplicating its descriptor: a duplicate would keep the connection open after its
//! owner has dropped it, and would cost a second descriptor per connection.

/// Runs the same expression on either kind of socket.
macro_rules! either {
    ($socket:expr, $stream:ident => $body:expr) => {
        match &$socket.kind {
            Kind::Tcp($stream) => $body,
            Kind::Unix($stream) => $body,
        }
    };
}

#[cfg(target_os = "linux")]
mod splice;
#[cfg(not(target_os = "linux"))]
#[path = "no_splice.rs"]
mod splice;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use parking_lot::Mutex;
use pingora::protocols::l4::ext::get_tcp_info;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

#[cfg(not(target_os = "linux"))]
pub(crate) use self::splice::NoPipe as Pipe;
#[cfg(target_os = "linux")]
pub(crate) use self::splice::Pipe;

/// How long a closing connection waits for each further read to discard, and for all of them together.
const DRAIN_PAUSE: Duration = Duration::from_secs(1);
const DRAIN_TOTAL: Duration = Duration::from_secs(10);
/// How often a closing connection of bytes is asked whether all of them have arrived.
const ARRIVAL_POLL: Duration = Duration::from_millis(5);
/// The states of a TCP connection whose FIN was acknowledged, or that is gone (Linux's TCP_FIN_WAIT2 and TCP_CLOSE).
const ARRIVED: [u8; 2] = [5, 7];

/// Bytes read ahead while a request is held, so that a FIN behind them is noticed.
const AHEAD: usize = 256 << 10;

#[derive(Debug)]
enum Kind {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// An accepted socket. All methods take `&self`; one task at a time may read, and one may write.
#[derive(Debug)]
pub(crate) struct Socket {
    kind: Kind,
    /// Whether the peer's FIN or an error was read. Relaxed accesses: the flag is only ever set, and guards no other memory.
    ended: AtomicBool,
    /// Held while bytes are taken from the kernel, so that they stay in order; never across an await.
    reading: Mutex<Reading>,
}

/// The state that the reader and [`Socket::peer_closed`] share.
#[derive(Debug, Default)]
struct Reading {
    /// Bytes that [`Socket::peer_closed`] has read, returned by the next reads.
    ahead: VecDeque<u8>,
    /// Set when [`Socket::peer_closed`] has cleared tokio's readiness: the next read must ask the kernel directly.
    unmarked: bool,
    /// The waiting reader.
    reader: Option<Waker>,
}

impl Reading {
    /// Moves bytes read ahead into `buf`. Returns false if there are none.
    fn take_ahead(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let (first, _) = self.ahead.as_slices();
        let count = first.len().min(buf.remaining());
        buf.put_slice(first.get(..count).unwrap_or_default());
        self.ahead.drain(..count);
        if self.ahead.is_empty() && self.ahead.capacity() > 0 {
            // Free the memory, which most connections never need again.
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
    /// The local address; `None` for a unix socket.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Tcp(stream) => stream.local_addr().ok(),
            Kind::Unix(_) => None,
        }
    }

    /// The destination of the connection before the kernel redirected it here (iptables or nftables REDIRECT), read from
    /// Linux's connection tracking by the socket option `SO_ORIGINAL_DST`.
    ///
    /// # Errors
    /// The connection was not redirected, or the system can't tell.
    pub(crate) fn original_destination(&self) -> io::Result<SocketAddr> {
        let Kind::Tcp(stream) = &self.kind else {
            return Err(io::Error::other("a unix socket's connections are never redirected"));
        };
        let local = stream.local_addr()?;
        let original = match original_destination(stream, local) {
            // netfilter does not track the connection, so it was not redirected.
            Err(error) if error.kind() == io::ErrorKind::NotFound => local,
            original => original?,
        };
        let canonical = |address: SocketAddr| (address.ip().to_canonical(), address.port());
        if canonical(original) == canonical(local) {
            return Err(io::Error::other("the connection was not redirected to squall"));
        }
        Ok(original)
    }

    /// Sends a RST and discards unsent bytes. A unix socket, which has no RST, is shut down both ways.
    ///
    /// Connecting a TCP socket to the unspecified address makes the kernel abort the connection at once (connect(2),
    /// AF_UNSPEC), even while the descriptor is shared. SO_LINGER would take effect only when its last owner closes it.
    pub(crate) fn reset(&self) {
        let aborted = match &self.kind {
            Kind::Tcp(stream) => rustix::net::connect_unspec(stream),
            Kind::Unix(_) => Err(rustix::io::Errno::OPNOTSUPP),
        };
        if aborted.is_err() {
            self.shutdown(rustix::net::Shutdown::Both);
        }
    }

    /// Shuts down one or both directions. Errors are ignored: they mean that a direction had ended already.
    pub(crate) fn shutdown(&self, how: rustix::net::Shutdown) {
        let _ended_already = either!(self, stream => rustix::net::shutdown(stream, how));
    }

    /// Reads into `buf`. Reading no bytes means that the peer has closed its sending side.
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
                // `peer_closed` may consume the readiness event, so it wakes this reader afterwards.
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

    /// Writes as many bytes as there is room for. Returns their number.
    pub(crate) fn poll_write_bytes(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write(cx, || either!(self, stream => stream.try_write(bytes)))
    }

    /// Writes through `write`, a non-blocking system call.
    fn poll_write(&self, cx: &mut Context<'_>, write: impl Fn() -> io::Result<usize>) -> Poll<io::Result<usize>> {
        loop {
            ready!(either!(self, stream => stream.poll_write_ready(cx)))?;
            match write() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }

    /// Resolves when the peer has closed its sending side or reset the connection. Cancel-safe.
    ///
    /// The kernel reports a FIN out of band (EPOLLRDHUP), even behind unread bytes, once it has arrived. To let it arrive, up
    /// to [`AHEAD`] bytes are read and kept for the next reads. A FIN behind more bytes than that and the kernel's receive
    /// buffer goes unnoticed.
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
                // Only unread bytes. Clearing tokio's readiness makes the next wait end at the next event, not at once. The
                // reader must then ask the kernel itself, since the cleared event may have been its own.
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
        // Registering fails only when the runtime shuts down.
        let _error = either!(self, stream => stream.ready(Interest::ERROR).await);
    }

    /// Puts back bytes that were just read: the next reads return them again.
    pub(crate) fn unread(&self, bytes: &[u8]) {
        let mut reading = self.reading.lock();
        for byte in bytes.iter().rev() {
            reading.ahead.push_front(*byte);
        }
    }

    /// Reads available bytes into the read-ahead buffer.
    fn read_ahead(&self, reading: &mut Reading) {
        let mut piece = [0_u8; 8192];
        match either!(self, stream => stream.try_read(&mut piece)) {
            Ok(count @ 1..) => reading.ahead.extend(piece.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => self.ended.store(true, Ordering::Relaxed),
        }
    }

    /// Closes the connection gracefully (RFC 9112, section 9.6): sends a FIN, then discards what the peer still sends
    /// until it closes, pauses for a second, or has sent for ten. Closing with unread bytes would send a RST, and a client
    /// that is still writing its request would lose the response.
    pub(crate) async fn finish(&self) {
        self.shutdown(rustix::net::Shutdown::Write);
        let drained = async { while self.discard(DRAIN_PAUSE).await == Some(true) {} };
        let _cut_short = tokio::time::timeout(DRAIN_TOTAL, drained).await;
    }

    /// Closes a connection of bytes as a program does that has no more use for it, but loses nothing that was sent: a FIN, and
    /// once the peer's system has acknowledged it, a RST for whatever the peer still sends. A peer that only writes notices the
    /// end by that. Takes at most ten seconds.
    pub(crate) async fn finish_bytes(&self) {
        self.shutdown(rustix::net::Shutdown::Write);
        let arrived = async {
            // Until then, closing with unread bytes would discard unsent ones.
            while !self.has_arrived() && self.discard(ARRIVAL_POLL).await != Some(false) {}
        };
        let _cut_short = tokio::time::timeout(DRAIN_TOTAL, arrived).await;
    }

    /// Whether the peer's system has acknowledged everything, the FIN included. Never on systems other than Linux.
    fn has_arrived(&self) -> bool {
        match &self.kind {
            Kind::Tcp(stream) => get_tcp_info(stream.as_raw_fd()).is_ok_and(|info| ARRIVED.contains(&info.tcpi_state)),
            // What was written is the peer's to read already.
            Kind::Unix(_) => true,
        }
    }

    /// Discards what the peer sends next, if that comes within `time`. `Some(false)` if it sends nothing any more.
    async fn discard(&self, time: Duration) -> Option<bool> {
        let mut waste = [0_u8; 4096];
        let mut buf = ReadBuf::new(&mut waste);
        let read = std::future::poll_fn(|cx| self.poll_read(cx, &mut buf));
        let read = tokio::time::timeout(time, read).await.ok()?;
        Some(read.is_ok() && !buf.filled().is_empty())
    }

    /// Whether the peer's end was read, so that no further bytes can be received.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Reads while tokio considers the socket readable.
    ///
    /// A read that does not fill the buffer has emptied the socket, so the readiness is cleared at once, and the next read
    /// waits without a futile system call. tokio's own `poll_read` does that too, but needs exclusive access.
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

    /// Whether bytes can be moved without reading them: none were read ahead.
    pub(crate) fn is_untouched(&self) -> bool {
        let reading = self.reading.lock();
        reading.ahead.is_empty() && !reading.unmarked
    }

    /// Reads regardless of tokio's readiness.
    fn read_unmarked(&self, reading: &mut Reading, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let free = buf.initialize_unfilled();
        let room = free.len();
        let flags = rustix::net::RecvFlags::DONTWAIT;
        let (_, count) = either!(self, stream => rustix::net::recv(stream, free, flags))?;
        if count == room {
            // There may be more bytes, for which no event will come.
            reading.unmarked = true;
        }
        buf.advance(count);
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn original_destination(stream: &TcpStream, local: SocketAddr) -> io::Result<SocketAddr> {
    use std::net::IpAddr;

    // On a dual-stack socket an IPv4 connection has an IPv4-mapped address.
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

/// A socket as an unbuffered stream, used by plain and TLS connections.
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
        self.0.poll_write_bytes(cx, bytes)
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

// The traits that Pingora's TLS acceptor requires of a stream.

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
