//! Requests whose bytes are shaped: Pingora's session is exchanged for one of our own.
//!
//! ```text
//! Pingora ── front::Shaped ── tasks, pieces ── carrier::Carrier ── the real session ── client
//!                                                 └ two lane::Lane, each with a Shaper
//! ```
//!
//! The real session lives in one task of its own, the carrier, which writes the response and reads the request as the
//! [shapers](crate::shape) of both directions say. So they wait independently of each other and of Pingora's loop, what
//! is due is written to its end, and the client's leaving is noticed during any wait. When a request is over, the real
//! session is [put back](restore), so that an HTTP/1 connection can be used again. Requests without a shaping fault
//! have nothing of this.

mod carrier;
mod client;
mod front;
mod install;
mod lane;
mod raw;
pub mod record;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use pingora::apps::{HttpPersistentSettings, ReusedHttpStream};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::{Error, ErrorType, Result};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::bodies::request::Replay;
use super::connection::Connection;
use super::gone;
use super::hold::Holder;
use crate::shape::Length;
use carrier::Carrier;
use client::Client;
use front::Shaped;
use lane::Lane;
use raw::Spoil;

pub use install::{Shaping, shape_request, shape_response};

/// Pieces or tasks that may be on their way between Pingora's side and the carrier, in each direction. What is kept back
/// is kept in the shapers, which count bytes.
const ON_THE_WAY: usize = 1;

/// How far a response has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not at its end.
    Running,
    /// At its natural end, which has been written.
    Done,
    /// A fault has ended it early, and in a way that the client can't tell. The connection can be used again.
    Cut,
    /// A fault has ended it, and the connection or the HTTP/2 stream with it.
    Ended,
    /// The client has left.
    Gone,
}

impl Phase {
    /// Whether nothing more can happen to the request.
    fn is_over(self) -> bool {
        matches!(self, Phase::Cut | Phase::Ended | Phase::Gone)
    }
}

/// From Pingora's side to the carrier.
enum Down {
    /// How the response is shaped; comes before its head.
    Response(Box<Lane>, Option<Spoil>),
    /// How the request is shaped from now on, on a connection that is about to be upgraded.
    Request(Box<Lane>),
    /// A head, interim or final, and whether it is the whole response.
    Head(Box<ResponseHeader>, bool),
    /// A part of the body, and whether it is the last.
    Body(Bytes, bool),
    /// The end, with trailers.
    Trailers(HeaderMap),
    /// The end.
    End,
    /// To be answered when all that came before has been written.
    Drain(oneshot::Sender<()>),
}

/// A part of the request's body, from the carrier to Pingora's side. `None`: its end.
type Piece = Option<Bytes>;

/// What the two sides share.
#[derive(Debug)]
struct Link {
    phase: watch::Sender<Phase>,
    /// The real session is wanted back.
    leave: Notify,
    read: AtomicUsize,
    sent: AtomicUsize,
}

impl Link {
    fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    fn set(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            // The first end counts.
            let changes = !current.is_over() && *current != phase;
            if changes {
                *current = phase;
            }
            changes
        });
    }

    async fn is_over(&self) -> Phase {
        let mut phase = self.phase.subscribe();
        // The sender is in `self`: it can't be gone.
        phase
            .wait_for(|phase| phase.is_over())
            .await
            .map_or(Phase::Gone, |phase| *phase)
    }

    /// What to tell Pingora once the request is over.
    fn error(&self) -> Box<Error> {
        match self.phase() {
            Phase::Gone => Error::explain(ErrorType::ConnectionClosed, "the client left").into_down(),
            Phase::Running | Phase::Done | Phase::Cut | Phase::Ended => gone::silence(),
        }
    }

    fn count(counter: &AtomicUsize, bytes: usize) {
        counter.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A wrapped request, as any callback can reach it: it is in the digest of the session that Pingora sees.
pub struct Handle {
    connection: Option<Arc<Connection>>,
    link: Arc<Link>,
    down: mpsc::Sender<Down>,
    task: Mutex<Option<JoinHandle<Option<ServerSession>>>>,
    /// The length that the request's body has on its way to the upstream, for when it is sent again.
    request_length: Length,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("phase", &self.link.phase())
            .finish_non_exhaustive()
    }
}

impl Handle {
    /// The handle of a session; `None` if it is not wrapped.
    pub fn of(session: &ServerSession) -> Option<&Arc<Handle>> {
        let data = session.digest()?.proxy_digest.as_ref()?.user_data.as_ref()?;
        data.downcast_ref::<Arc<Handle>>()
    }

    /// The connection of the request.
    pub fn connection(&self) -> Option<&Arc<Connection>> {
        self.connection.as_ref()
    }

    /// How far the response has come.
    pub fn phase(&self) -> Phase {
        self.link.phase()
    }

    /// Resolves when the client has left, or when a fault has ended the request.
    pub async fn over(&self) {
        self.link.is_over().await;
    }

    /// The real session, once what was taken in has been written; `None` if a fault has ended the connection, if the
    /// client has left, or if it was given back already.
    async fn give_back(&self) -> Option<ServerSession> {
        let task = self.task.lock().take()?;
        self.link.leave.notify_one();
        // An error means that the task has panicked.
        task.await.ok().flatten()
    }
}

/// Exchanges the session of a request, whose body is to be shaped by `request`, which makes it so long. `supplied` is that
/// body where it is not just the client's.
fn wrap(
    session: &mut ServerSession,
    holder: &Holder,
    request: Lane,
    length: Length,
    supplied: Option<Replay>,
) -> Arc<Handle> {
    let (down, tasks) = mpsc::channel(ON_THE_WAY);
    let (up, pieces) = mpsc::channel(ON_THE_WAY);
    let link = Arc::new(Link {
        phase: watch::Sender::new(Phase::Running),
        leave: Notify::new(),
        read: AtomicUsize::new(session.body_bytes_read()),
        sent: AtomicUsize::new(0),
    });
    let handle = Arc::new(Handle {
        connection: Connection::of(session).cloned(),
        link: Arc::clone(&link),
        down,
        task: Mutex::new(None),
        request_length: length,
    });
    let shaped = Shaped::new(session, supplied.as_ref(), Arc::clone(&handle), pieces);
    let shaped = ServerSession::new_custom(Box::new(shaped));
    let real = std::mem::replace(session, shaped);
    let client = Client::new(real, handle.connection.clone(), supplied);
    let carrier = Carrier::new(client, link, (tasks, up), holder.watch_stop(), request);
    *handle.task.lock() = Some(tokio::spawn(carrier.run()));
    handle
}

/// Puts the real session of a wrapped request back, when all that was taken in has been written. Leaves things as they
/// are if a fault has ended the connection or if the client has left.
///
/// After a fault that ended the response in a way that the client can't tell, Pingora takes the request for a failed one
/// and would close the connection. Then the real session is returned, for [`keep_alive`].
pub async fn restore(session: &mut ServerSession) -> Option<ServerSession> {
    let handle = Handle::of(session).cloned()?;
    let real = handle.give_back().await?;
    if handle.phase() == Phase::Cut {
        return Some(real);
    }
    *session = real;
    None
}

/// Lets an HTTP/1 connection take its next request although Pingora drops the session of this one.
pub async fn keep_alive(session: &ServerSession, real: ServerSession) {
    let settings = HttpPersistentSettings::for_session(&real);
    // An error means that the client has not sent the rest of its request: there is nothing to keep.
    if let Ok(Some(stream)) = real.finish().await
        && let Some(connection) = Connection::of(session)
    {
        connection.keep(ReusedHttpStream::from_reusable_stream(stream, settings));
    }
}

/// Whether a result means that the carrier is no longer there.
fn taken<T, E>(sent: Result<T, E>, link: &Link) -> Result<T> {
    sent.map_err(|_| link.error())
}

#[cfg(test)]
mod tests;
