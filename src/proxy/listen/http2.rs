//! HTTP/2 on one connection: a task for each stream, idleness, and a graceful end by GOAWAY.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::header::{CONTENT_LENGTH, HOST};
use http::{Method, Request, Response, StatusCode};
use pingora::http::RequestHeader;
use tokio::task::JoinSet;

use super::accept::ListenerOptions;
use crate::proxy::client::stream::Stream;
use crate::proxy::client::{Client, ClientHttp2, Connection};
use crate::proxy::exchange::Squall;
use crate::proxy::http1::Framing;

/// Bytes of a request body that a client may send before they are read. The connection's window has room for every
/// stream's, so that uploads which nobody reads never stop the others.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The widest window there is (RFC 9113, section 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// Bytes of a request's fields, as HPACK counts them (RFC 9113, section 6.5.2).
const MAX_FIELDS: u32 = 64 * 1024;

/// Bytes of one response that wait for the connection to send them.
const SEND_BUFFER: usize = 64 * 1024;

/// Malformed requests after which the whole connection is given up.
const MAX_MALFORMED: usize = 32;

/// How long a client without open streams may take to leave after it was told to (GOAWAY).
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves streams until the connection is over. `header_timeout` bounds the time without any stream, to within its double,
/// and the client's part of the opening.
pub(super) async fn serve(squall: &Arc<Squall>, stream: Stream, options: &ListenerOptions) {
    let connection = Arc::clone(stream.connection());
    connection.set_http2();
    let mut tasks = JoinSet::new();
    tokio::select! {
        () = serve_streams(squall, stream, &connection, &mut tasks, options) => {}
        () = connection.over() => {}
    }
    connection.set_over();
    // Their streams are closed now, and they will find out; only an abort of this task ends them for good.
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
    options: &ListenerOptions,
) {
    let idle = options.header_timeout;
    let mut left = std::pin::pin!(connection.left());
    let handshake = tokio::select! {
        biased;
        done = tokio::time::timeout(idle, builder(options.max_streams).handshake(stream)) => done,
        // A client that owes its preface has asked for nothing.
        () = &mut left => return,
    };
    let Ok(Ok(mut http2)) = handshake else {
        tracing::debug!(listener = %connection.listener().name(), "no HTTP/2 handshake");
        return;
    };
    let mut leaving = false;
    let mut malformed = 0;
    let mut touched = false;
    let mut unsent = Unsent::default();
    let mut pause = std::pin::pin!(tokio::time::sleep(idle));
    loop {
        tokio::select! {
            biased;
            // Accepting is what drives the whole connection.
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
                // Idle only if nothing began or ended since the last look.
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

/// The end of the last responses, which h2 holds when their streams' tasks have ended.
#[derive(Default)]
struct Unsent {
    /// Writes that were taken when that was last looked at.
    writes: usize,
    /// Since when none was.
    since: Option<Instant>,
}

impl Unsent {
    /// Whether something waits for the client to read, and the client has read within `limit`.
    fn is_waited_for(&mut self, connection: &Connection, limit: Duration) -> bool {
        let (writes, blocked) = connection.writes();
        if !blocked || writes != self.writes {
            (self.writes, self.since) = (writes, None);
        }
        blocked && self.since.get_or_insert_with(Instant::now).elapsed() < limit
    }
}

/// The client of a stream. `None` if the request is malformed; it was answered or reset.
fn client(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    connection: &Arc<Connection>,
) -> Option<Client> {
    let (parts, body) = request.into_parts();
    let head = RequestHeader::from(parts);
    let ambiguous_length = head.headers.contains_key(CONTENT_LENGTH) && Framing::of_request(&head.headers).is_err();
    if ambiguous_length || has_forbidden_byte(head.raw_path()) {
        // RFC 9113, section 8.1.1.
        respond.send_reset(h2::Reason::PROTOCOL_ERROR);
        return None;
    }
    if !has_one_authority(&head) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        // A client that has reset the stream meanwhile needs no answer.
        let _reset = respond.send_response(response, true);
        return None;
    }
    Some(Client::http2(
        head,
        Arc::clone(connection),
        ClientHttp2::new(body, respond),
    ))
}

/// Bytes that would end a request line early, were the path sent on over HTTP/1 (RFC 9112, section 3.2).
fn has_forbidden_byte(path: &[u8]) -> bool {
    path.iter().any(|byte| matches!(byte, 0 | b'\n' | b'\r' | b' '))
}

/// Whether a request names one host, and nobody in front of it (RFC 9113, section 8.3.1).
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
