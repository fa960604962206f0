//! One connection from its accept to its end, in a task of its own.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerApp;
use pingora::http::ResponseHeader;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{ALPN, SocketDigest, Ssl, Stream};
use tokio::sync::OwnedSemaphorePermit;

use super::accept::ListenerOptions;
use super::connection::Connection;
use super::gate::Passage;
use super::intercept::{self, Intercepting, Protocol};
use super::live::{Entrance, Place, Shared};
use super::socket::{Raw, Socket};
use super::stream::Buffered;
use super::tls::{self, ServerTls};
use super::{http1, http2};

/// Serves a connection in a task of its own, so that a panic ends this connection alone.
pub(super) fn spawn<A>(
    shared: &Arc<Shared>,
    app: &Arc<A>,
    socket: Socket,
    peer: Option<SocketAddr>,
    permit: OwnedSemaphorePermit,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let entrance = shared.entrance.load_full();
    let socket = Arc::new(socket);
    let connection = Connection::new(Arc::clone(&shared.info), peer, &socket, &entrance);
    let place = shared.enlist(&connection, permit);
    let (for_task, for_app) = (Arc::clone(shared), Arc::clone(app));
    let task = tokio::spawn(run(place, for_task, for_app, socket, Arc::clone(&connection), entrance));
    connection.set_task(task.abort_handle());
    // Whoever stopped or aborted meanwhile may have looked before this connection was there.
    if shared.aborted() {
        connection.abort();
    } else if shared.info.stopping() {
        connection.leave_if_idle();
    }
}

/// Parameters are dropped from the last to the first: the connection leaves the list when its socket is closed.
async fn run<A>(
    _place: Place,
    shared: Arc<Shared>,
    app: Arc<A>,
    socket: Arc<Socket>,
    connection: Arc<Connection>,
    entrance: Arc<Entrance>,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let raw = Raw::new(
        Arc::clone(&socket),
        handle_digest(&connection),
        socket_digest(&socket, &connection),
    );
    let mut passage = entrance
        .gate
        .as_ref()
        .map(|gate| Passage::new(gate, &connection, shared.stop.subscribe()));
    match enter(&shared, &socket, &connection, &entrance, passage.as_mut()).await {
        Some(Way::Tls(tls)) => serve_tls(&shared, &app, raw, &connection, &tls).await,
        Some(Way::Plain) => serve_plain(&shared, &app, raw, &connection).await,
        Some(Way::On(intercepting, name)) => intercepting.pass_on(raw, &connection, name).await,
        None => {}
    }
    drop(passage);
    connection.set_over();
    // A client that is gone, or that waits for nothing, needs no goodbye.
    if connection.was_busy() && !connection.was_reset() && !socket.has_ended() {
        socket.finish().await;
    }
}

/// How a connection goes on behind its entrance.
enum Way {
    /// HTTP, or whatever else the client takes for it.
    Plain,
    /// HTTP in a TLS that squall ends.
    Tls(Arc<ServerTls>),
    /// Unread, to where it was headed before it was redirected, in a TLS that asks for this name.
    On(Arc<Intercepting>, Option<String>),
}

/// Lets a connection in. `None` if it is over.
async fn enter(
    shared: &Shared,
    socket: &Socket,
    connection: &Connection,
    entrance: &Entrance,
    mut passage: Option<&mut Passage>,
) -> Option<Way> {
    if let Some(passage) = &mut passage
        && !passage.accepted().await
    {
        return None;
    }
    let protocol = match (&entrance.tls, &entrance.intercepting) {
        (Some(_), _) => Protocol::Tls,
        (None, None) => Protocol::Http,
        (None, Some(_)) => before(shared, shared.options.header_timeout, intercept::protocol(socket)).await?,
    };
    let mut name = None;
    if protocol == Protocol::Tls {
        if entrance.tls.is_none() || passage.as_ref().is_some_and(|passage| passage.minds_handshake()) {
            // A client that leaves, or never begins, is not one to decide about.
            name = before(shared, shared.options.handshake_timeout, tls::server_name(socket)).await?;
            if let Some(passage) = &mut passage
                && !passage.greeted(name.clone()).await
            {
                return None;
            }
        }
    } else if let Some(passage) = &mut passage {
        passage.no_handshake();
    }
    if let Some(passage) = &mut passage {
        passage.log();
    }
    match (&entrance.tls, &entrance.intercepting) {
        (Some(tls), _) => Some(Way::Tls(match passage {
            Some(passage) => passage.tls(Arc::clone(tls)),
            None => Arc::clone(tls),
        })),
        (None, Some(intercepting)) if protocol != Protocol::Http => Some(Way::On(Arc::clone(intercepting), name)),
        (None, _) => connection.await_request().then_some(Way::Plain),
    }
}

/// What a client says, within a limit and unless the listener stops.
async fn before<T, E>(shared: &Shared, limit: Duration, said: impl Future<Output = Result<T, E>>) -> Option<T> {
    let mut stop = shared.stop.subscribe();
    tokio::select! {
        said = tokio::time::timeout(limit, said) => said.ok()?.ok(),
        _ = stop.wait_for(|stop| *stop) => None,
    }
}

async fn serve_tls<A>(shared: &Shared, app: &Arc<A>, raw: Raw, connection: &Arc<Connection>, tls: &ServerTls)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let handshake = async {
        let stream = tls.accept(raw).await;
        stream.inspect_err(|error| {
            tracing::debug!(listener = %shared.info.name(), peer = ?connection.peer(), "no TLS handshake: {error}");
        })
    };
    let Some(stream) = before(shared, shared.options.handshake_timeout, handshake).await else {
        return;
    };
    let http2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
    let stream = Buffered::new(stream, Arc::clone(connection), shared.options.write_buffer);
    if http2 {
        serve_http2(shared, app, Box::new(stream), connection).await;
    } else if connection.await_request() {
        serve_http1(shared, app, Box::new(stream), connection).await;
    }
}

async fn serve_plain<A>(shared: &Shared, app: &Arc<A>, raw: Raw, connection: &Arc<Connection>)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let mut stream = Buffered::new(raw, Arc::clone(connection), shared.options.write_buffer);
    if !shared.options.h2c {
        return serve_http1(shared, app, Box::new(stream), connection).await;
    }
    match tokio::time::timeout(shared.options.header_timeout, stream.begins_with_preface()).await {
        Ok(Ok(true)) => serve_http2(shared, app, Box::new(stream), connection).await,
        Ok(Ok(false)) => serve_http1(shared, app, Box::new(stream), connection).await,
        // Too late, or gone without a word.
        Ok(Err(_)) | Err(_) => {}
    }
}

async fn serve_http1<A>(shared: &Shared, app: &Arc<A>, stream: Stream, connection: &Connection)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    http1::serve(
        app,
        stream,
        connection,
        shared.options.header_timeout,
        &shared.stop.subscribe(),
    )
    .await;
}

async fn serve_http2<A>(shared: &Shared, app: &Arc<A>, stream: Stream, connection: &Arc<Connection>)
where
    A: HttpServerApp + Send + Sync + 'static,
{
    let ListenerOptions {
        header_timeout,
        max_streams,
        ..
    } = shared.options;
    http2::serve(
        app,
        stream,
        connection,
        header_timeout,
        max_streams,
        &shared.stop.subscribe(),
    )
    .await;
}

/// Carries the handle to where callbacks find it; the response header in it is not used by anybody.
fn handle_digest(connection: &Arc<Connection>) -> Arc<ProxyDigest> {
    // Building a header from a valid constant can't fail; without one, there would be no handle.
    let header = ResponseHeader::build(http::StatusCode::OK, Some(0));
    let header = header.unwrap_or_else(|_| ResponseHeader::from(http::response::Response::new(()).into_parts().0));
    Arc::new(ProxyDigest::new(
        Box::new(header),
        Some(Box::new(Arc::clone(connection))),
    ))
}

fn socket_digest(socket: &Socket, connection: &Connection) -> Arc<SocketDigest> {
    let digest = SocketDigest::from_raw_fd(socket.raw_fd());
    // Known already, so that Pingora need not ask the kernel.
    let _set_once = digest.peer_addr.set(connection.peer().map(PingoraAddr::Inet));
    Arc::new(digest)
}
