//! Serves the admin API, with bounds so that no caller can exhaust it.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::bind::Bound;
use crate::proxy::net::socket::Raw;
use crate::server::Server;

/// The most connections at once; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// The longest time from one request to the end of the next request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of a request head, and of the buffers.
const BUFFER_BYTES: usize = 64 << 10;
/// The age at which a connection is closed between two requests, so that callers that are idle or don't read their
/// responses can't occupy all places. Scrapers reconnect.
const LIFETIME: Duration = Duration::from_secs(300);
/// How long a response may take beyond [`LIFETIME`].
const LAST_ANSWER: Duration = Duration::from_secs(10);
/// The pause after an accept that failed for lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the admin API until the task is dropped.
pub async fn serve(bound: Bound, server: Arc<Server>) {
    serve_until(bound, server, pending()).await;
}

/// Serves the admin API until `shutdown`, then ends all its connections and removes its socket file.
pub async fn serve_until(bound: Bound, server: Arc<Server>, shutdown: impl Future<Output = ()>) {
    let service = TowerToHyperService::new(super::router_at(server, bound.address().clone()));
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        // Not biased: no branch can starve another. Returning drops the set, which aborts the connections' tasks.
        tokio::select! {
            () = &mut shutdown => return,
            Some(_) = connections.join_next() => {}
            accepted = bound.0.acceptor.accept(), if connections.len() < MAX_CONNECTIONS => {
                match accepted {
                    Ok((socket, _)) => drop(connections.spawn(serve_connection(Raw::new(Arc::new(socket)), service.clone()))),
                    Err(error) => {
                        tracing::warn!("the admin API can't accept a connection: {error}");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }
}

async fn serve_connection(stream: Raw, service: TowerToHyperService<axum::Router>) {
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
            timeout(LAST_ANSWER, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!("an admin connection failed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio::net::{TcpStream, UnixStream};

    use super::*;
    use crate::admin::bind;
    use crate::admin::tests::server;
    use crate::proxy::net::address::AddressSpec;

    async fn get(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn serves_on_tcp_and_tells_the_real_address() {
        let bound = bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let AddressSpec::Tcp(address) = *bound.address() else {
            panic!("asked for TCP")
        };
        let (_folder, server) = server("");
        let task = tokio::spawn(serve(bound, server));
        let answer = get(&mut TcpStream::connect(address).await.unwrap(), "/api/v1/status").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains(&address.to_string()), "{answer}");
        task.abort();
    }

    #[tokio::test]
    async fn serves_on_a_unix_socket_and_removes_it() {
        let (folder, server) = server("");
        let path = folder.path().join("admin.sock");
        let bound = bind(&AddressSpec::Unix(path.clone())).await.unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(serve_until(bound, server, async { drop(stopped.await) }));
        let answer = get(&mut UnixStream::connect(&path).await.unwrap(), "/healthz").await;
        assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
        stop.send(()).unwrap();
        task.await.unwrap();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_wait_for_a_place() {
        let bound = bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let AddressSpec::Tcp(address) = *bound.address() else {
            panic!("asked for TCP")
        };
        let (_folder, server) = server("");
        let task = tokio::spawn(serve(bound, server));
        let mut idle = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream
                .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
                .await
                .unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            idle.push(stream);
        }
        let mut one_more = TcpStream::connect(address).await.unwrap();
        let waiting = tokio::spawn(async move { get(&mut one_more, "/healthz").await });
        sleep(Duration::from_millis(100)).await;
        assert!(!waiting.is_finished());
        idle.pop();
        assert!(
            timeout(Duration::from_secs(10), waiting)
                .await
                .unwrap()
                .unwrap()
                .ends_with("ok\n")
        );
        task.abort();
    }
}
