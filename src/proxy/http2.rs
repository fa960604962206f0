//! HTTP/2 on one connection: a task for each stream, idleness, and a graceful end by GOAWAY.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pingora::apps::HttpServerApp;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Accept, H2Options, HttpSession, default_h2_options, handshake};
use pingora::protocols::{Digest, Stream};
use pingora::server::ShutdownWatch;
use tokio::task::JoinSet;

use super::connection::Connection;

/// Bytes of a request body that a client may send before they are read. The connection's window has room for every
/// stream's, so that uploads which nobody reads never stop the others.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The widest window there is (RFC 9113, section 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// Malformed requests after which the whole connection is given up, as Pingora does.
const MAX_MALFORMED: usize = 32;

/// How long a client without open streams may take to leave after it was told to (GOAWAY).
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves streams until the connection is over. `idle` bounds the time without any stream, to within its double, and
/// the client's part of the opening; `streams` bounds those that are open at once.
pub(super) async fn serve<A>(
    app: &Arc<A>,
    stream: Stream,
    connection: &Arc<Connection>,
    idle: Duration,
    streams: u32,
    stop: &ShutdownWatch,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    connection.set_http2();
    let mut tasks = JoinSet::new();
    tokio::select! {
        () = serve_streams(app, stream, connection, &mut tasks, idle, options(streams), stop) => {}
        () = connection.over() => {}
    }
    connection.set_over();
    // Their streams are closed now, and they will find out; only an abort of this task ends them for good.
    while tasks.join_next().await.is_some() {}
}

fn options(streams: u32) -> H2Options {
    let mut options = default_h2_options();
    options
        .max_concurrent_streams(streams)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW.saturating_mul(streams).min(MAX_WINDOW));
    options
}

async fn serve_streams<A>(
    app: &Arc<A>,
    stream: Stream,
    connection: &Arc<Connection>,
    tasks: &mut JoinSet<()>,
    idle: Duration,
    options: H2Options,
    stop: &ShutdownWatch,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    let Ok(Ok(mut http2)) = tokio::time::timeout(idle, handshake(stream, Some(options))).await else {
        tracing::debug!(listener = %connection.listener().name(), "no HTTP/2 handshake");
        return;
    };
    let mut stopped = stop.clone();
    let mut stopped = std::pin::pin!(async move { drop(stopped.wait_for(|stop| *stop).await) });
    let mut leaving = false;
    let mut malformed = 0;
    let mut touched = false;
    let mut pause = std::pin::pin!(tokio::time::sleep(idle));
    loop {
        tokio::select! {
            biased;
            next = HttpSession::from_h2_conn(&mut http2, Arc::clone(&digest)) => match next {
                Ok(Some(H2Accept::Session(session))) => {
                    touched = true;
                    spawn(app, session, connection, tasks, stop);
                }
                Ok(Some(H2Accept::Rejected)) if malformed < MAX_MALFORMED => malformed += 1,
                Ok(Some(H2Accept::Rejected) | None) => return,
                Err(error) => return tracing::debug!("the HTTP/2 connection ended: {error}"),
            },
            Some(_) = tasks.join_next(), if !tasks.is_empty() => touched = true,
            () = &mut stopped, if !leaving => {
                http2.graceful_shutdown();
                leaving = true;
                pause.as_mut().reset(tokio::time::Instant::now() + GOODBYE);
            }
            () = &mut pause => {
                // Idle only if nothing began or ended since the last look.
                if tasks.is_empty() && !std::mem::take(&mut touched) {
                    if leaving {
                        return;
                    }
                    http2.graceful_shutdown();
                    leaving = true;
                }
                pause.as_mut().reset(tokio::time::Instant::now() + if leaving { GOODBYE } else { idle });
            }
        }
    }
}

fn spawn<A>(
    app: &Arc<A>,
    session: HttpSession,
    connection: &Arc<Connection>,
    tasks: &mut JoinSet<()>,
    stop: &ShutdownWatch,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let open = OpenStream::new(Arc::clone(connection));
    let (app, stop) = (Arc::clone(app), stop.clone());
    tasks.spawn(async move {
        let _open = open;
        app.process_new_http(ServerSession::new_http2(session), &stop).await;
    });
}

/// Counts a stream for as long as its request is worked on, also if that panics.
struct OpenStream(Arc<Connection>);

impl OpenStream {
    fn new(connection: Arc<Connection>) -> Self {
        connection.streams().fetch_add(1, Ordering::Relaxed);
        Self(connection)
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams().fetch_sub(1, Ordering::Relaxed);
    }
}
