//! The handle of one downstream connection: who it is, and the ways to end it.
//!
//! Its stream, the requests on it and its listener share it: whoever ends the connection ends it for all of them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering, fence};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use tokio::sync::SetOnce;
use tokio::task::AbortHandle;

use crate::proxy::net::socket::Socket;
use crate::rule::decide::Rule;
use crate::shape::{Bucket, Direction};

/// What requests may know about the listener that accepted their connection.
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

    /// Whether the listener has been told to stop: connections end after the response they are at.
    pub fn stopping(&self) -> bool {
        self.stop.initialized()
    }

    /// Resolves when the listener is told to stop.
    pub(crate) async fn stopped(&self) {
        self.stop.wait().await;
    }

    /// Marks the listener as stopping; false if it was already.
    pub(crate) fn stop(&self) -> bool {
        let first = self.stop.set(()).is_ok();
        // Pairs with the fence of `Connection::await_request`.
        fence(Ordering::SeqCst);
        first
    }
}

/// Where a connection stands; decides whether it may be closed when its listener stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// No byte of a (next) HTTP/1 request has come.
    Idle,
    /// In a TLS handshake, or held before it has any request.
    Handshake,
    /// From a request's first byte to its response's last.
    Busy,
    /// Closed while idle: a byte that comes now is not a request any more.
    Leaving,
    /// HTTP/2, which says goodbye by itself (GOAWAY).
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

/// A connection from a client, as its requests, its stream and its listener know it.
#[derive(Debug)]
pub struct Connection {
    listener: Arc<ListenerInfo>,
    peer: Option<SocketAddr>,
    local: OnceLock<Option<SocketAddr>>,
    tls: bool,
    socket: Weak<Socket>,
    phase: AtomicU8,
    ending: OnceLock<Ending>,
    streams: AtomicUsize,
    /// Writes that the client's side has taken.
    writes: AtomicUsize,
    /// The last write was not taken: the client has yet to read what came before it.
    blocked: AtomicBool,
    over: SetOnce<()>,
    /// No request is to follow those that have begun.
    leaving: SetOnce<()>,
    task: OnceLock<AbortHandle>,
    buckets: Mutex<Vec<SharedRate>>,
}

/// A rate that the requests of a connection share. A rule that was reloaded is another rule.
#[derive(Debug)]
struct SharedRate {
    rule: Weak<Rule>,
    /// The fault within the rule, and which way.
    of: (usize, Direction),
    bucket: Arc<Bucket>,
}

impl Connection {
    /// A connection that was just accepted. `enters` is whether something comes before its first request: TLS, rules, or a
    /// look at what it speaks.
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
        self.peer.map(|peer| peer.ip().to_canonical())
    }

    /// The client's address and port as the kernel gave them; `None` on a unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The address and port that the client connected to; `None` on a unix socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        *self
            .local
            .get_or_init(|| self.socket.upgrade().and_then(|socket| socket.local_addr()))
    }

    /// Where the client wanted to go, if the connection was redirected to squall on its way.
    ///
    /// # Errors
    /// It was not redirected, or the system can't say.
    pub fn original_destination(&self) -> io::Result<SocketAddr> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        self.socket.upgrade().ok_or_else(gone)?.original_destination()
    }

    /// Whether the connection is over TLS, which squall ends.
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

    /// Ends the connection gracefully: requests that have begun are answered, and no other follows. With HTTP/2 the client is
    /// told by GOAWAY (RFC 9113, section 6.8); with HTTP/1 the response has to tell it, so that is to be called before.
    pub fn go_away(&self) {
        let _set_already = self.leaving.set(());
    }

    /// Whether no request is to follow those that have begun: squall has said so, or the listener is stopping.
    pub fn is_leaving(&self) -> bool {
        self.leaving.initialized() || self.listener.stopping()
    }

    /// Resolves when no request is to follow those that have begun.
    pub(crate) async fn left(&self) {
        tokio::select! {
            () = self.listener.stopped() => {}
            _ = self.leaving.wait() => {}
        }
    }

    /// Whether [`Connection::reset`] or [`Connection::close`] was called: nothing can be sent any more.
    pub fn ended(&self) -> bool {
        self.ending.get().is_some()
    }

    /// Resolves when the client has closed its side of the connection or has reset it, and when squall has ended it.
    ///
    /// May be dropped at any time. Unread bytes (a body, a pipelined request) don't hide the end unless there are more of
    /// them than 256 KiB, which are read ahead and kept, and what the kernel's receive buffer takes besides: then the
    /// client itself can't tell us of its end. A client that closes only its sending side counts as gone.
    pub async fn gone(&self) {
        if self.http2() {
            return self.over().await;
        }
        if let Some(socket) = self.socket.upgrade() {
            tokio::select! {
                () = socket.peer_closed() => {}
                () = self.over() => {}
            }
        }
    }

    /// Resolves when the client has reset the connection, or squall has ended it; not when the client has only closed its
    /// sending side.
    pub async fn reset_by_client(&self) {
        if let Some(socket) = self.socket.upgrade() {
            tokio::select! {
                () = socket.peer_reset() => {}
                () = self.over() => {}
            }
        }
    }

    /// The schedule of a rate that the requests of this connection share.
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

    /// Resolves when squall has ended the connection, or when its HTTP/2 loop is over.
    pub(crate) async fn over(&self) {
        self.over.wait().await;
    }

    /// Tells everybody who waits that the connection is over.
    pub(crate) fn set_over(&self) {
        // Whoever comes second says the same.
        let _set_already = self.over.set(());
    }

    pub(crate) fn was_reset(&self) -> bool {
        self.ending.get() == Some(&Ending::Reset)
    }

    pub(crate) fn set_http2(&self) {
        self.phase.store(Phase::Http2 as u8, Ordering::SeqCst);
    }

    /// Notes that bytes were handed to the socket, or that it had no room for them.
    pub(crate) fn note_write(&self, taken: bool) {
        // Relaxed: only the connection's own task writes, and it alone asks.
        self.blocked.store(!taken, Ordering::Relaxed);
        if taken {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many writes were taken, and whether one waits for room.
    pub(crate) fn writes(&self) -> (usize, bool) {
        (
            self.writes.load(Ordering::Relaxed),
            self.blocked.load(Ordering::Relaxed),
        )
    }

    /// Notes how many streams are open on an HTTP/2 connection.
    pub(crate) fn set_streams(&self, open: usize) {
        self.streams.store(open, Ordering::Relaxed);
    }

    /// A request's first bytes have come. False if the connection was closed for idleness before that.
    pub(crate) fn begin_request(&self) -> bool {
        self.is(Phase::Idle) && self.change(Phase::Idle, Phase::Busy) || !self.is(Phase::Leaving)
    }

    /// A response is finished, or a handshake is. False if no further request may follow.
    pub(crate) fn await_request(&self) -> bool {
        // Either `leave_if_idle` sees the connection idle, or this sees the listener stopping: both sides first write, then look.
        self.phase.store(Phase::Idle as u8, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        !self.listener.stopping() && !self.ended()
    }

    /// Closes the connection if it is idle: its reader sees the end. Called when the listener stops.
    pub(crate) fn leave_if_idle(&self) {
        if self.change(Phase::Idle, Phase::Leaving)
            && let Some(socket) = self.socket.upgrade()
        {
            socket.shutdown(rustix::net::Shutdown::Read);
        }
    }

    /// Whether a handshake or a request was under way, so that the client may still be sending.
    pub(crate) fn was_busy(&self) -> bool {
        !self.is(Phase::Idle) && !self.is(Phase::Leaving)
    }

    pub(crate) fn set_task(&self, task: AbortHandle) {
        let _set_once = self.task.set(task);
    }

    /// Drops everything of this connection at its next await.
    pub(crate) fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    /// Goes from one phase to the next; false if it is in another.
    fn change(&self, from: Phase, to: Phase) -> bool {
        // One step: of a request that begins and a listener that closes idle connections, one wins.
        self.phase
            .compare_exchange(from as u8, to as u8, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    fn end(&self, ending: Ending) {
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
