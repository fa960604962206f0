//! The handle of one downstream connection: its addresses, its state, and the ways to end it.
//!
//! The connection's stream, its requests and its listener share one [`Connection`], so ending it ends it for all of them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use tokio::sync::SetOnce;
use tokio::task::AbortHandle;

use crate::proxy::net::proxy_protocol::Ends;
use crate::proxy::net::socket::Socket;
use crate::rule::decide::Rule;
use crate::shape::{Bucket, Direction};

/// What a connection and its requests know about their listener.
#[derive(Debug)]
pub struct ListenerInfo {
    name: Arc<str>,
    stop: SetOnce<()>,
}

impl ListenerInfo {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            stop: SetOnce::new(),
        }
    }

    /// The name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether the listener was told to stop. Connections then end after the current response.
    pub fn stopping(&self) -> bool {
        self.stop.initialized()
    }

    /// Resolves when the listener is told to stop.
    pub(crate) async fn stopped(&self) {
        self.stop.wait().await;
    }

    /// Marks the listener as stopping. Returns false if it was stopping already.
    pub(crate) fn stop(&self) -> bool {
        let first = self.stop.set(()).is_ok();
        // Pairs with the fence of `Connection::await_request`.
        fence(Ordering::SeqCst);
        first
    }
}

/// The state of a connection, which decides whether it may be closed when its listener stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// HTTP/1, and no byte of the next request has been received.
    Idle,
    /// In a TLS handshake, or held by a connection rule before the first request.
    Handshake,
    /// From the first byte of a request to the last byte of its response.
    Busy,
    /// Closed while idle: bytes received from now on are not read as a request.
    Leaving,
    /// HTTP/2, which ends gracefully by GOAWAY instead (RFC 9113, section 6.8).
    Http2,
}

/// How squall itself has ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// With a FIN, by [`Connection::close`].
    Close,
    /// With a RST, by [`Connection::reset`].
    Reset,
}

/// A connection from a client, shared by its stream, its requests and its listener.
#[derive(Debug)]
pub struct Connection {
    listener: Arc<ListenerInfo>,
    peer: Option<SocketAddr>,
    /// The ends that a proxy in front has told.
    ends: OnceLock<Ends>,
    local: OnceLock<Option<SocketAddr>>,
    tls: bool,
    socket: Weak<Socket>,
    phase: AtomicU8,
    ending: OnceLock<Ending>,
    streams: AtomicUsize,
    /// Number of writes that the socket has accepted.
    writes: AtomicUsize,
    /// Whether the last write found the socket's buffer full, because the client has not read enough yet.
    blocked: AtomicBool,
    over: SetOnce<()>,
    /// Set when no further request is accepted.
    leaving: SetOnce<()>,
    task: OnceLock<AbortHandle>,
    /// Held only while the list is searched, never across an await.
    buckets: Mutex<Vec<SharedRate>>,
}

/// A rate shared by the requests of a connection. Weak, so a rule that a reload replaced frees its rates.
#[derive(Debug)]
struct SharedRate {
    rule: Weak<Rule>,
    /// The fault's index within the rule, and the direction.
    of: (usize, Direction),
    bucket: Arc<Bucket>,
}

impl Connection {
    /// Creates the handle of a connection that was just accepted. `enters` says whether something precedes the first request:
    /// TLS, connection rules, or the detection of the protocol.
    pub(crate) fn new(
        listener: Arc<ListenerInfo>,
        peer: Option<SocketAddr>,
        socket: &Arc<Socket>,
        tls: bool,
        enters: bool,
    ) -> Arc<Self> {
        let first = if enters { Phase::Handshake } else { Phase::Idle };
        Arc::new(Self {
            listener,
            peer,
            ends: OnceLock::new(),
            local: OnceLock::new(),
            tls,
            socket: Arc::downgrade(socket),
            phase: AtomicU8::new(first as u8),
            ending: OnceLock::new(),
            streams: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            blocked: AtomicBool::new(false),
            over: SetOnce::new(),
            leaving: SetOnce::new(),
            task: OnceLock::new(),
            buckets: Mutex::new(Vec::new()),
        })
    }

    /// The listener that accepted this connection.
    pub fn listener(&self) -> &Arc<ListenerInfo> {
        &self.listener
    }

    /// The client's address, IPv4 where it is mapped into IPv6; `None` on a unix socket.
    pub fn client(&self) -> Option<IpAddr> {
        self.peer().map(|peer| peer.ip().to_canonical())
    }

    /// The client's address and port, as the kernel or a proxy in front gave them; `None` on a unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.ends.get().map(|(source, _)| *source).or(self.peer)
    }

    /// The client's address, and the one that it connected to, as the kernel or a proxy in front gave them; `None` on a unix
    /// socket.
    pub(crate) fn ends(&self) -> Option<Ends> {
        let own = || Some((self.peer?, self.local_addr()?));
        self.ends.get().copied().or_else(own)
    }

    /// Notes the ends that a proxy in front has told. Call it at most once, before anything asks.
    pub(crate) fn set_ends(&self, ends: Ends) {
        let _told_already = self.ends.set(ends);
    }

    /// The address and port that the client connected to; `None` on a unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        *self
            .local
            .get_or_init(|| self.socket.upgrade().and_then(|socket| socket.local_addr()))
    }

    /// The destination that the client connected to before the connection was redirected to squall (`SO_ORIGINAL_DST`).
    ///
    /// # Errors
    /// The connection was not redirected, is closed, or the system can't tell.
    pub fn original_destination(&self) -> io::Result<SocketAddr> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        self.socket.upgrade().ok_or_else(gone)?.original_destination()
    }

    /// Whether squall terminates TLS on this connection.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Whether the connection speaks HTTP/2.
    pub fn http2(&self) -> bool {
        self.is(Phase::Http2)
    }

    /// Requests in flight: at most one on HTTP/1, the number of open streams on HTTP/2.
    pub fn requests(&self) -> usize {
        if self.http2() {
            // Relaxed: the number is only reported, and guards no other memory.
            self.streams.load(Ordering::Relaxed)
        } else {
            usize::from(self.is(Phase::Busy))
        }
    }

    /// Aborts the connection with a TCP RST, at once: the client sees no FIN and no close_notify before it, and bytes
    /// that were still on their way out are lost. With HTTP/2, all of its streams end. A unix socket is closed.
    pub fn reset(&self) {
        self.end(Ending::Reset);
    }

    /// Ends the connection with a FIN and without any reply: neither a response nor, over TLS, a close_notify. With
    /// HTTP/2, all of its streams end.
    pub fn close(&self) {
        self.end(Ending::Close);
    }

    /// Ends the connection gracefully: requests in flight are finished, and no further one is accepted. HTTP/2 sends GOAWAY
    /// (RFC 9113, section 6.8). HTTP/1 announces it in the response head, so call this before the head is written.
    pub fn go_away(&self) {
        let _set_already = self.leaving.set(());
    }

    /// Whether no further request is accepted: after [`Connection::go_away`], or because the listener is stopping.
    pub fn is_leaving(&self) -> bool {
        self.leaving.initialized() || self.listener.stopping()
    }

    /// Resolves when no further request is accepted.
    pub(crate) async fn left(&self) {
        // Either suffices, so the order of polling does not matter.
        tokio::select! {
            () = self.listener.stopped() => {}
            _ = self.leaving.wait() => {}
        }
    }

    /// Whether [`Connection::reset`] or [`Connection::close`] was called, after which nothing can be sent.
    pub fn ended(&self) -> bool {
        self.ending.get().is_some()
    }

    /// Resolves when the client has closed its sending side or reset the connection, or when squall has ended it.
    ///
    /// Cancel-safe. Unread bytes (a body, a pipelined request) hide the end only if they exceed the 256 KiB that are read
    /// ahead plus the kernel's receive buffer: the FIN then has not arrived yet. A client that closes only its sending
    /// side counts as gone.
    pub async fn gone(&self) {
        if self.http2() {
            return self.over().await;
        }
        if let Some(socket) = self.socket.upgrade() {
            // Either suffices: in both cases no response can be delivered.
            tokio::select! {
                () = socket.peer_closed() => {}
                () = self.over() => {}
            }
        }
    }

    /// Resolves when the client has reset the connection or squall has ended it, but not when the client has only closed its
    /// sending side.
    pub async fn reset_by_client(&self) {
        if let Some(socket) = self.socket.upgrade() {
            // Either suffices: in both cases the caller gives up the connection.
            tokio::select! {
                () = socket.peer_reset() => {}
                () = self.over() => {}
            }
        }
    }

    /// Returns the bucket of a rate, in bytes per second, that the requests of this connection share; creates it on first
    /// use.
    pub(crate) fn bucket(&self, rule: &Arc<Rule>, of: (usize, Direction), rate: NonZeroU64) -> Arc<Bucket> {
        let mut buckets = self.buckets.lock();
        buckets.retain(|shared| shared.rule.strong_count() > 0);
        let rule = Arc::downgrade(rule);
        let same = |shared: &&SharedRate| shared.of == of && shared.rule.ptr_eq(&rule);
        if let Some(known) = buckets.iter().find(same) {
            return Arc::clone(&known.bucket);
        }
        let bucket = Arc::new(Bucket::new(rate));
        buckets.push(SharedRate {
            rule,
            of,
            bucket: Arc::clone(&bucket),
        });
        bucket
    }

    /// Resolves when squall has ended the connection, or when its task is done with it.
    pub(crate) async fn over(&self) {
        self.over.wait().await;
    }

    /// Wakes everything that waits for the end of the connection.
    pub(crate) fn set_over(&self) {
        // Setting it twice is harmless.
        let _set_already = self.over.set(());
    }

    pub(crate) fn was_reset(&self) -> bool {
        self.ending.get() == Some(&Ending::Reset)
    }

    pub(crate) fn set_http2(&self) {
        // From now on `leave_if_idle` leaves the connection alone, and GOAWAY ends it.
        self.phase.store(Phase::Http2 as u8, Ordering::SeqCst);
    }

    /// Notes that the socket accepted bytes, or that its buffer was full.
    pub(crate) fn note_write(&self, taken: bool) {
        // Relaxed: only the connection's own task writes these, and it alone reads them.
        self.blocked.store(!taken, Ordering::Relaxed);
        if taken {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The number of accepted writes, and whether a write waits for room in the socket's buffer.
    pub(crate) fn writes(&self) -> (usize, bool) {
        (
            self.writes.load(Ordering::Relaxed),
            self.blocked.load(Ordering::Relaxed),
        )
    }

    /// Notes how many streams are open on an HTTP/2 connection.
    pub(crate) fn set_streams(&self, open: usize) {
        // Relaxed: one task writes it; other tasks only report it.
        self.streams.store(open, Ordering::Relaxed);
    }

    /// Notes the first bytes of a request. Returns false if the connection was closed while idle before they were received.
    pub(crate) fn begin_request(&self) -> bool {
        self.is(Phase::Idle) && self.change(Phase::Idle, Phase::Busy) || !self.is(Phase::Leaving)
    }

    /// Notes that a response or a handshake is finished. Returns false if no further request is accepted.
    pub(crate) fn await_request(&self) -> bool {
        // Either `leave_if_idle` sees the connection idle, or this sees the listener stopping: both sides first write,
        // then look.
        self.phase.store(Phase::Idle as u8, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        !self.listener.stopping() && !self.ended()
    }

    /// Closes the connection if it is idle, when its listener stops.
    pub(crate) fn leave_if_idle(&self) {
        if self.change(Phase::Idle, Phase::Leaving)
            && let Some(socket) = self.socket.upgrade()
        {
            // Only the receiving side: the connection's task reads the end and closes the rest in its own order.
            socket.shutdown(rustix::net::Shutdown::Read);
        }
    }

    /// Whether a handshake or a request was in progress, so that the client may still be sending.
    pub(crate) fn was_busy(&self) -> bool {
        !self.is(Phase::Idle) && !self.is(Phase::Leaving)
    }

    pub(crate) fn set_task(&self, task: AbortHandle) {
        let _set_once = self.task.set(task);
    }

    /// Aborts the connection's task, which drops everything that the connection holds at its next await.
    pub(crate) fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    fn is(&self, phase: Phase) -> bool {
        // Relaxed: where a stale phase would matter, `change` or the fence of `await_request` follows.
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    /// Changes the phase from `from` to `to`. Returns false if the phase is not `from`.
    fn change(&self, from: Phase, to: Phase) -> bool {
        // A compare-exchange, so that exactly one of a beginning request and a stopping listener wins.
        self.phase
            .compare_exchange(from as u8, to as u8, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    fn end(&self, ending: Ending) {
        // Set before the socket is touched: a stream that sees the socket fail must know that squall ended it.
        if self.ending.set(ending).is_err() {
            return;
        }
        if let Some(socket) = self.socket.upgrade() {
            match ending {
                Ending::Reset => socket.reset(),
                // Only the sending side: with both shut, bytes that still arrive would be answered with a RST.
                Ending::Close => socket.shutdown(rustix::net::Shutdown::Write),
            }
        }
        self.set_over();
    }
}
