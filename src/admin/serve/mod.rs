//! Serves the admin API, with bounds so that no caller can exhaust it.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::bind::Bound;
use crate::proxy::net::socket::Raw;
use crate::server::Server;

/// The most connections at once. A further one takes the place of the oldest that waits for a request, so that callers that
/// send nothing, or a head byte by byte, can't keep a health check out. While all are answered, it waits to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// How long a connection may wait for a request before it may lose its place.
const MIN_WAIT: Duration = Duration::from_millis(100);
/// The longest time from one request to the end of the next request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of a request head, and of the buffers.
const BUFFER_BYTES: usize = 64 << 10;
/// The age at which a connection is closed between two requests, so that callers that are idle or don't read their
/// responses can't occupy all places. Scrapers reconnect.
const LIFETIME: Duration = Duration::from_secs(300);
/// How long a response may take beyond [`LIFETIME`], unless it is a stream that goes on.
const LAST_ANSWER: Duration = Duration::from_secs(10);
/// The longest time between two parts of a stream that goes on: its client reads neither events nor the comments between them.
const STREAM_SILENCE: Duration = Duration::from_secs(60);
/// The pause after an accept that failed for lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Marks a response that lasts for as long as its client likes: an event stream. It sends something every 15 s at least, and its
/// connection may grow older than others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lasting;

/// Serves the admin API until the task is dropped.
pub async fn serve(bound: Bound, server: Arc<Server>) {
    serve_until(bound, server, pending()).await;
}

/// Serves the admin API until `shutdown`, then ends all its connections and removes its socket file.
pub async fn serve_until(bound: Bound, server: Arc<Server>, shutdown: impl Future<Output = ()>) {
    let router = super::router_at(server, bound.address().clone());
    serve_router(bound, router, shutdown).await;
}

/// Serves another API with the bounds of this one, until `shutdown`.
pub async fn serve_router(bound: Bound, router: axum::Router, shutdown: impl Future<Output = ()>) {
    let service = TowerToHyperService::new(router);
    let mut connections = JoinSet::new();
    let mut places: Vec<Place> = Vec::new();
    let mut shutdown = pin!(shutdown);
    loop {
        places.retain(|place| !place.task.is_finished());
        let has_room = places.len() < MAX_CONNECTIONS || oldest_that_waits(&places).is_some();
        // Not biased: no branch can starve another. Returning drops the set, which aborts the connections' tasks.
        tokio::select! {
            () = &mut shutdown => return,
            Some(_) = connections.join_next() => {}
            // Looks again which of them waits.
            () = sleep(MIN_WAIT), if !has_room => {}
            accepted = bound.0.acceptor.accept(), if has_room => {
                match accepted {
                    Ok((socket, _)) => {
                        // Asked again, since the one that waited may be answered by now. Then there is one connection too
                        // many, and the next one makes up for it.
                        while places.len() >= MAX_CONNECTIONS
                            && let Some(oldest) = oldest_that_waits(&places)
                        {
                            places.remove(oldest).task.abort();
                        }
                        let caller = Arc::new(Caller::default());
                        let connection = serve_connection(Raw::new(Arc::new(socket)), service.clone(), Arc::clone(&caller));
                        places.push(Place { task: connections.spawn(connection), caller });
                    }
                    Err(error) => {
                        let address = bound.address();
                        tracing::warn!(%address, "an API can't accept a connection: {error}");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }
}

/// A connection's place, and who has it.
struct Place {
    task: AbortHandle,
    caller: Arc<Caller>,
}

/// Places are in the order of their connections' age.
fn oldest_that_waits(places: &[Place]) -> Option<usize> {
    places.iter().position(|place| place.caller.waits())
}

/// Whether a caller is answered now, and since when it is not.
struct Caller {
    since: Mutex<Option<Instant>>,
    /// When a part of its stream was last handed over, if it reads one.
    streamed: Mutex<Option<Instant>>,
}

impl Default for Caller {
    fn default() -> Self {
        Self {
            since: Mutex::new(Some(Instant::now())),
            streamed: Mutex::default(),
        }
    }
}

impl Caller {
    /// Whether nothing has been asked for some time.
    fn waits(&self) -> bool {
        self.since.lock().is_some_and(|since| since.elapsed() >= MIN_WAIT)
    }

    /// Whether it reads a stream that goes on.
    fn reads_stream(&self) -> bool {
        let streamed = *self.streamed.lock();
        self.since.lock().is_none() && streamed.is_some_and(|last| last.elapsed() < STREAM_SILENCE)
    }

    /// Notes that a part of a stream was handed over. It is not asked for the next one while the client doesn't read.
    fn streams(&self) {
        *self.streamed.lock() = Some(Instant::now());
    }

    /// Notes that a request is answered until the returned guard is dropped.
    fn is_answered(self: &Arc<Self>) -> Answered {
        *self.since.lock() = None;
        Answered(Arc::clone(self))
    }
}

struct Answered(Arc<Caller>);

impl Drop for Answered {
    fn drop(&mut self) {
        *self.0.since.lock() = Some(Instant::now());
    }
}

async fn serve_connection(stream: Raw, service: TowerToHyperService<axum::Router>, caller: Arc<Caller>) {
    let of_connection = Arc::clone(&caller);
    let service = service_fn(move |request| {
        let answered = caller.is_answered();
        let answer = service.call(request);
        async move {
            let answer = answer.await?;
            let lasts = answer.extensions().get::<Lasting>().is_some();
            // The body is dropped when all of it was handed over.
            Ok::<_, Infallible>(answer.map(|body| {
                body.map_frame(move |frame| {
                    if lasts {
                        answered.0.streams();
                    }
                    frame
                })
            }))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // Not biased: if both happen at once, the connection ends either way.
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = sleep(LIFETIME) => {
            connection.as_mut().graceful_shutdown();
            loop {
                match timeout(LAST_ANSWER, connection.as_mut()).await {
                    Ok(ended) => break ended,
                    Err(_) if of_connection.reads_stream() => {}
                    Err(_) => break Ok(()),
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection to an API failed: {error}");
    }
}

#[cfg(test)]
mod tests;
