//! Serves HTTP/2 on one connection: a task per stream, an idle timeout, and a graceful end by GOAWAY.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::header::{CONTENT_LENGTH, HOST};
use http::{Method, Request, Response, StatusCode};
use pingora::http::RequestHeader;
use tokio::task::JoinSet;

use super::accept::{ListenerOptions, ListenerTimeouts};
use crate::proxy::client::stream::Stream;
use crate::proxy::client::{Client, ClientHttp2, Connection};
use crate::proxy::exchange::Squall;
use crate::proxy::http1::Framing;

/// The receive window of a stream, in bytes. The connection's window is the sum of its streams' windows, so that an upload
/// that is not read never blocks the others.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The largest window that the protocol allows (RFC 9113, section 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// The most bytes of a request's fields, as HPACK counts them (RFC 9113, section 6.5.2).
const MAX_FIELDS: u32 = 64 * 1024;

/// The most bytes of one response that are buffered for sending.
const SEND_BUFFER: usize = 64 * 1024;

/// The number of malformed requests after which the connection is closed.
const MAX_MALFORMED: usize = 32;

/// How long a client without open streams may take to close the connection after GOAWAY.
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves streams until the connection ends.
pub(super) async fn serve(
    squall: &Arc<Squall>,
    stream: Stream,
    options: &ListenerOptions,
    timeouts: &ListenerTimeouts,
) {
    let connection = Arc::clone(stream.connection());
    connection.set_http2();
    let mut tasks = JoinSet::new();
    // Either ends the connection. Dropping `serve_streams` closes it, and so its streams.
    tokio::select! {
        () = serve_streams(squall, stream, &connection, &mut tasks, (options, timeouts)) => {}
        () = connection.over() => {}
    }
    connection.set_over();
    // The tasks notice that their streams are closed and end by themselves. Dropping the set, when this task is aborted,
    // aborts them.
    while tasks.join_next().await.is_some() {
        connection.set_streams(tasks.len());
    }
}

fn builder(streams: u32) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_header_list_size(MAX_FIELDS)
        .max_concurrent_streams(streams)
        .max_send_buffer_size(SEND_BUFFER)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW.saturating_mul(streams).min(MAX_WINDOW));
    builder
}

async fn serve_streams(
    squall: &Arc<Squall>,
    stream: Stream,
    connection: &Arc<Connection>,
    tasks: &mut JoinSet<()>,
    (options, timeouts): (&ListenerOptions, &ListenerTimeouts),
) {
    let idle = timeouts.idle;
    let mut left = std::pin::pin!(connection.left());
    // Biased: a handshake that is complete counts, even if the listener stops at the same moment.
    let handshake = tokio::select! {
        biased;
        done = tokio::time::timeout(timeouts.header, builder(options.max_streams).handshake(stream)) => done,
        // Without its preface the client has no request in flight.
        () = &mut left => return,
    };
    let Ok(Ok(mut http2)) = handshake else {
        tracing::debug!(listener = %connection.listener().name(), "the HTTP/2 handshake failed");
        return;
    };
    let mut leaving = false;
    let mut malformed = 0;
    let mut touched = false;
    let mut unsent = Unsent::default();
    let mut pause = std::pin::pin!(tokio::time::sleep(idle));
    loop {
        // Biased: `accept` also reads and writes for all streams. Finished tasks come before the timer, which looks at them.
        tokio::select! {
            biased;
            // Must be polled in every turn: it drives the whole connection.
            next = http2.accept() => match next {
                Some(Ok((request, respond))) => match client(request, respond, connection) {
                    Some(mut client) => {
                        touched = true;
                        let squall = Arc::clone(squall);
                        tasks.spawn(async move { squall.serve(&mut client).await });
                        connection.set_streams(tasks.len());
                    }
                    None if malformed < MAX_MALFORMED => malformed += 1,
                    None => return,
                },
                Some(Err(error)) => return tracing::debug!("the HTTP/2 connection ended: {error}"),
                None => return,
            },
            Some(_) = tasks.join_next() => {
                touched = true;
                connection.set_streams(tasks.len());
            }
            () = &mut left, if !leaving => {
                http2.graceful_shutdown();
                leaving = true;
                pause.as_mut().reset(tokio::time::Instant::now() + GOODBYE);
            }
            () = &mut pause => {
                // Idle only if no stream has begun or ended since the last tick.
                if tasks.is_empty() && !std::mem::take(&mut touched) && !unsent.is_waited_for(connection, idle) {
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

/// Watches the ends of responses that h2 still buffers after their tasks have ended.
#[derive(Default)]
struct Unsent {
    /// The number of accepted writes at the last look.
    writes: usize,
    /// Since when no further write was accepted.
    since: Option<Instant>,
}

impl Unsent {
    /// Whether buffered bytes wait for a client that has read some within `limit`.
    fn is_waited_for(&mut self, connection: &Connection, limit: Duration) -> bool {
        let (writes, blocked) = connection.writes();
        if !blocked || writes != self.writes {
            (self.writes, self.since) = (writes, None);
        }
        blocked && self.since.get_or_insert_with(Instant::now).elapsed() < limit
    }
}

/// Returns the client of a stream; `None` if the request is malformed and was refused.
fn client(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    connection: &Arc<Connection>,
) -> Option<Client> {
    let (parts, body) = request.into_parts();
    let head = RequestHeader::from(parts);
    let ambiguous_length = head.headers.contains_key(CONTENT_LENGTH) && Framing::of_request(&head.headers).is_err();
    if ambiguous_length || has_forbidden_byte(head.raw_path()) {
        // A malformed request is a stream error (RFC 9113, section 8.1.1).
        respond.send_reset(h2::Reason::PROTOCOL_ERROR);
        return None;
    }
    if !has_one_authority(&head) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        // Fails only if the client has reset the stream in the meantime.
        let _reset = respond.send_response(response, true);
        return None;
    }
    Some(Client::http2(
        head,
        Arc::clone(connection),
        ClientHttp2::new(body, respond),
    ))
}

/// Whether a path has bytes that would break the request line over HTTP/1 (RFC 9112, section 3.2).
fn has_forbidden_byte(path: &[u8]) -> bool {
    path.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r' | b' '))
}

/// Whether a request names exactly one host, without user information (RFC 9113, section 8.3.1).
fn has_one_authority(head: &RequestHeader) -> bool {
    let mut hosts = head.headers.get_all(HOST).iter().map(http::HeaderValue::as_bytes);
    let (host, another) = (hosts.next(), hosts.next());
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let named = host.is_some() || authority.is_some();
    let same = host.zip(authority).is_none_or(|(host, authority)| host == authority);
    let path = head.raw_path();
    let has_path = head.method == Method::CONNECT || path.starts_with(b"/") || path == b"*";
    let plain = ![host, authority].into_iter().flatten().any(|name| name.contains(&b'@'));
    named && another.is_none() && same && plain && has_path
}
