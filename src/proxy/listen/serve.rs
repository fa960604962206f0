//! Serves one connection from its accept to its end, in a task of its own.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pingora::protocols::tls::TlsStream;
use pingora::protocols::{ALPN, Ssl};
use tokio::sync::OwnedSemaphorePermit;

use super::accept::{ListenerTimeouts, Service};
use super::gate::Passage;
use super::intercept::{self, ClientProtocol, Intercepting};
use super::live::{ConnectionSlot, ListenerState, Serving};
use super::{http1, http2};
use crate::proxy::client::stream::Stream;
use crate::proxy::client::{ClientHttp1, Connection};
use crate::proxy::exchange::Squall;
use crate::proxy::net::proxy_protocol;
use crate::proxy::net::socket::{Raw, Socket};
use crate::proxy::tcp::{Relay, Side};
use crate::proxy::tls::{self, Hello, ServerTls};

/// Serves a connection in a task of its own, so that a panic ends only this connection. The task ends with the connection,
/// or is aborted through [`Connection::abort`].
pub(super) fn spawn(
    shared: &Arc<ListenerState>,
    socket: Socket,
    peer: Option<SocketAddr>,
    permit: OwnedSemaphorePermit,
) {
    let serving = shared.serving.load_full();
    let entrance = &serving.entrance;
    // A connection of bytes has no request that could be idle.
    let enters = entrance.delays() || matches!(serving.service, Service::Tcp(_));
    let socket = Arc::new(socket);
    let connection = Connection::new(Arc::clone(&shared.info), peer, &socket, entrance.tls.is_some(), enters);
    let place = shared.enlist(&connection, permit);
    let task = tokio::spawn(run(place, Arc::clone(shared), socket, Arc::clone(&connection), serving));
    connection.set_task(task.abort_handle());
    // A stop or an abort in the meantime may have read the list before this connection was on it.
    if shared.aborted.load(Ordering::SeqCst) {
        connection.abort();
    } else if shared.info.stopping() {
        connection.leave_if_idle();
    }
}

/// Serves a connection. Parameters are dropped last to first, so `_place` is first: the connection leaves the list, and
/// frees its permit, only after its socket is closed.
async fn run(
    _place: ConnectionSlot,
    shared: Arc<ListenerState>,
    socket: Arc<Socket>,
    connection: Arc<Connection>,
    serving: Arc<Serving>,
) {
    let entrance = &serving.entrance;
    // Boxed here and below: what one kind of connection needs, or all for a moment, would otherwise be part of every task.
    let mut passage = entrance
        .gate
        .as_ref()
        .map(|gate| Box::new(Passage::new(gate, &connection)));
    match Box::pin(enter(&shared, &socket, &connection, &serving, passage.as_deref_mut())).await {
        Some(Way::Tls(squall, tls)) => {
            Box::pin(serve_tls(
                &shared,
                squall,
                &socket,
                &connection,
                (&tls, &entrance.timeouts),
            ))
            .await;
        }
        Some(Way::Plain(squall)) => {
            Box::pin(serve_plain(&shared, squall, &socket, &connection, &entrance.timeouts)).await;
        }
        Some(Way::Bytes(relay, tls, hello)) => {
            let handshake = (tls.as_ref(), &entrance.timeouts);
            if let Some(client) = bytes(&shared, &socket, &connection, handshake).await {
                relay.serve(client, &connection, hello).await;
            }
        }
        Some(Way::On(intercepting, name)) => {
            Box::pin(intercepting.pass_on(Raw::new(Arc::clone(&socket)), &connection, name)).await
        }
        None => {}
    }
    // Frees the places of connection rules before the slow close, which may take seconds.
    drop(passage);
    connection.set_over();
    // Only a client that may still be sending needs the slow close; see `Socket::finish`.
    if connection.was_busy() && !connection.was_reset() && !socket.has_ended() {
        match &serving.service {
            Service::Http(_) => Box::pin(socket.finish()).await,
            Service::Tcp(_) => Box::pin(socket.finish_bytes()).await,
        }
    }
}

/// How a connection goes on after its entrance.
enum Way<'a> {
    /// Plaintext HTTP.
    Plain(&'a Arc<Squall>),
    /// HTTP over TLS that squall terminates.
    Tls(&'a Arc<Squall>, ServerTls),
    /// Bytes of any protocol, over TLS if squall terminates it, with what the client said in its TLS handshake.
    Bytes(&'a Arc<Relay>, Option<ServerTls>, Hello),
    /// Passed on unread to its original destination, with the server name of its TLS.
    On(&'a Intercepting, Option<String>),
}

/// Takes a connection through rules and protocol detection. `None` if it has ended.
async fn enter<'a>(
    shared: &ListenerState,
    socket: &Socket,
    connection: &Connection,
    Serving { service, entrance }: &'a Serving,
    mut passage: Option<&mut Passage>,
) -> Option<Way<'a>> {
    if entrance.proxied {
        let header = proxy_protocol::read(socket);
        let header = async { header.await.inspect_err(|error| refuse(shared, connection, error)) };
        if let Some(ends) = within(shared, entrance.timeouts.handshake, header).await? {
            connection.set_ends(ends);
        }
    }
    if let Some(passage) = &mut passage
        && !passage.on_accept().await
    {
        return None;
    }
    let handshakes = passage.as_ref().is_some_and(|passage| passage.concerns_handshake());
    let reads = match service {
        Service::Tcp(relay) => relay.view().rules.concerns_hello(),
        Service::Http(_) => false,
    };
    let protocol = match (&entrance.tls, &entrance.intercepting, service) {
        (Some(_), _, _) => ClientProtocol::Tls,
        (None, Some(_), _) => within(shared, entrance.timeouts.header, intercept::protocol(socket)).await?,
        (None, None, Service::Http(_)) => ClientProtocol::Http,
        (None, None, Service::Tcp(_)) if reads || handshakes => {
            // A server may speak first, and a client may have nothing to say.
            match within(shared, entrance.timeouts.handshake, intercept::protocol(socket)).await {
                None if shared.info.stopping() => return None,
                first => first.unwrap_or(ClientProtocol::Other),
            }
        }
        (None, None, Service::Tcp(_)) => ClientProtocol::Other,
    };
    let mut hello = Hello::default();
    if protocol == ClientProtocol::Tls {
        if entrance.tls.is_none() || handshakes || reads {
            // No rule is decided for a client that disconnects before its ClientHello.
            hello = within(shared, entrance.timeouts.handshake, tls::client_hello(socket)).await?;
            if let Some(passage) = &mut passage
                && !passage.on_client_hello(hello.clone()).await
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
    let tls = entrance.tls.as_ref().map(|tls| match passage {
        Some(passage) => passage.tls(tls),
        None => tls.clone(),
    });
    match (service, tls, &entrance.intercepting) {
        (Service::Tcp(relay), tls, _) => Some(Way::Bytes(relay, tls, hello)),
        (Service::Http(squall), Some(tls), _) => Some(Way::Tls(squall, tls)),
        (Service::Http(_), None, Some(intercepting)) if protocol != ClientProtocol::Http => {
            Some(Way::On(intercepting, hello.name))
        }
        (Service::Http(squall), None, _) => connection.await_request().then_some(Way::Plain(squall)),
    }
}

/// The client's side of a TCP connection, after the TLS handshake if there is one. `None` if it failed.
async fn bytes(
    shared: &ListenerState,
    socket: &Arc<Socket>,
    connection: &Connection,
    (tls, timeouts): (Option<&ServerTls>, &ListenerTimeouts),
) -> Option<Side> {
    let Some(tls) = tls else {
        return Some(Side::new(Arc::clone(socket), None));
    };
    let secured = Box::pin(handshake(shared, socket, connection, tls));
    let secured = within(shared, timeouts.handshake, secured).await?;
    Some(Side::new(Arc::clone(socket), Some(Box::pin(secured))))
}

/// Performs the TLS handshake with a client.
async fn handshake(
    shared: &ListenerState,
    socket: &Arc<Socket>,
    connection: &Connection,
    tls: &ServerTls,
) -> Result<TlsStream<Raw>, Box<pingora::Error>> {
    let stream = tls.accept(Raw::new(Arc::clone(socket))).await;
    stream.inspect_err(|error| {
        tracing::debug!(listener = %shared.info.name(), peer = ?connection.peer(), "the TLS handshake failed: {error}");
    })
}

/// Logs a connection that does not begin with a header of the PROXY protocol.
fn refuse(shared: &ListenerState, connection: &Connection, error: &std::io::Error) {
    if error.kind() == std::io::ErrorKind::InvalidData {
        tracing::warn!(listener = %shared.info.name(), peer = ?connection.peer(), "a connection was refused: {error}");
    }
}

/// Waits for what a client sends first, at most for `limit` and until the listener stops.
async fn within<T, E>(shared: &ListenerState, limit: Duration, said: impl Future<Output = Result<T, E>>) -> Option<T> {
    // Not biased: a client that has no request yet may be dropped as the listener stops.
    tokio::select! {
        said = tokio::time::timeout(limit, said) => said.ok()?.ok(),
        () = shared.info.stopped() => None,
    }
}

async fn serve_tls(
    shared: &ListenerState,
    squall: &Arc<Squall>,
    socket: &Arc<Socket>,
    connection: &Arc<Connection>,
    (tls, timeouts): (&ServerTls, &ListenerTimeouts),
) {
    let secured = handshake(shared, socket, connection, tls);
    let Some(stream) = within(shared, timeouts.handshake, secured).await else {
        return;
    };
    let http2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
    let stream = Stream::tls(stream, Arc::clone(connection));
    if http2 {
        http2::serve(squall, stream, &shared.options, timeouts).await;
    } else if connection.await_request() {
        let http1 = ClientHttp1::new(stream);
        http1::serve(squall, http1, connection, timeouts).await;
    }
}

async fn serve_plain(
    shared: &ListenerState,
    squall: &Arc<Squall>,
    socket: &Arc<Socket>,
    connection: &Arc<Connection>,
    timeouts: &ListenerTimeouts,
) {
    let raw = Raw::new(Arc::clone(socket));
    let mut http1 = ClientHttp1::new(Stream::plain(raw, Arc::clone(connection)));
    if !shared.options.h2c {
        return http1::serve(squall, http1, connection, timeouts).await;
    }
    let first = tokio::time::timeout(timeouts.idle, http1.first_byte());
    if !first.await.unwrap_or(false) {
        return;
    }
    match tokio::time::timeout(timeouts.header, http1.begins_with_http2()).await {
        Ok(Ok(true)) => {
            let (stream, preface) = http1.into_parts();
            socket.unread(&preface);
            http2::serve(squall, stream, &shared.options, timeouts).await;
        }
        Ok(Ok(false)) => http1::serve(squall, http1, connection, timeouts).await,
        // Too slow, or disconnected.
        Ok(Err(_)) | Err(_) => {}
    }
}
