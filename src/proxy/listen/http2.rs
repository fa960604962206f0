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
use crate::metrics::NO_STATUS;
use crate::proxy::client::stream::Stream;
use crate::proxy::client::{Client, ClientHttp2, Connection};
use crate::proxy::exchange::Squall;
use crate::proxy::http1::{Framing, Malformed};

/// The receive window of a stream, in bytes. The connection's window is the sum of its streams' windows, so that an upload
/// that is not read never blocks the others.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The largest window that the protocol allows (RFC 9113, section 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// The most bytes of a request's fields, as HPACK counts them (RFC 9113, section 6.5.2). More get a 431.
const MAX_FIELDS: usize = 64 << 10;

/// The most bytes of fields that are decoded. h2 ends the whole connection if there are more than a quarter above it, because
/// the state of HPACK would be lost, so this is far more than what is accepted.
const MAX_DECODED: u32 = 1 << 20;

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
        .max_header_list_size(MAX_DECODED)
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
                    Ok(mut client) => {
                        touched = true;
                        let squall = Arc::clone(squall);
                        tasks.spawn(async move { squall.serve(&mut client).await });
                        connection.set_streams(tasks.len());
                    }
                    Err(refused) => {
                        squall.refused(connection, refused.status, refused.reason);
                        malformed += 1;
                        if malformed > MAX_MALFORMED {
                            return;
                        }
                    }
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

/// Returns the client of a stream.
///
/// # Errors
/// The request is malformed or too large, and was refused. The status is [`NO_STATUS`] if the stream was reset.
fn client(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    connection: &Arc<Connection>,
) -> Result<Client, Malformed> {
    let (parts, body) = request.into_parts();
    let head = RequestHeader::from(parts);
    let Err(refused) = check(&head) else {
        let http2 = ClientHttp2::new(body, respond);
        return Ok(Client::http2(head, Arc::clone(connection), http2));
    };
    match StatusCode::from_u16(refused.status) {
        Ok(status) => {
            let mut response = Response::new(());
            *response.status_mut() = status;
            // Fails only if the client has reset the stream in the meantime.
            let _reset = respond.send_response(response, true);
        }
        // A malformed request is a stream error (RFC 9113, section 8.1.1).
        Err(_) => respond.send_reset(h2::Reason::PROTOCOL_ERROR),
    }
    Err(refused)
}

fn check(head: &RequestHeader) -> Result<(), Malformed> {
    let refuse = |status, reason| Err(Malformed { status, reason });
    if head.headers.contains_key(CONTENT_LENGTH)
        && let Err(ambiguous) = Framing::of_request(&head.headers)
    {
        return refuse(NO_STATUS, ambiguous.reason);
    }
    if has_forbidden_byte(head.raw_path()) {
        return refuse(NO_STATUS, "the path has a forbidden byte");
    }
    if !has_one_authority(head) {
        return refuse(400, "the request does not name one host");
    }
    if size(head) > MAX_FIELDS {
        // RFC 6585, section 5.
        return refuse(431, "the header fields are too large");
    }
    Ok(())
}

/// The size of a head as HPACK counts it (RFC 9113, section 6.5.2), without the short pseudo-fields.
fn size(head: &RequestHeader) -> usize {
    let fields = head.headers.iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + 32);
    head.raw_path().len() + fields.sum::<usize>()
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
