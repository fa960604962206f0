//! HTTP/2 streams (RFC 9113) of clients and upstreams alike: bodies under flow control, and fields that heads must not have.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use http::header::{CONNECTION, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};

use super::body::Part;

/// The most bytes given to h2 at once, which buffers what it can't send yet.
const PIECE: usize = 64 << 10;

/// Connection-specific fields, which must not be sent over HTTP/2 (RFC 9113, section 8.2.2).
const OF_THE_CONNECTION: [HeaderName; 5] = [
    TRANSFER_ENCODING,
    CONNECTION,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Removes connection-specific fields, and a TE that asks for more than trailers. Builds a new map, since `HeaderMap::remove` would reorder the other fields.
pub(super) fn end_to_end(fields: HeaderMap) -> HeaderMap {
    let is_odd = |name: &HeaderName, value: &HeaderValue| *name == TE && value != "trailers";
    let has_odd = fields.get_all(TE).iter().any(|value| is_odd(&TE, value));
    if !has_odd && !OF_THE_CONNECTION.iter().any(|name| fields.contains_key(name)) {
        return fields;
    }
    let nominated = |name: &HeaderName| super::http1::head::has_token(&fields, &CONNECTION, name);
    let mut kept = HeaderMap::with_capacity(fields.len());
    for (name, value) in &fields {
        if !OF_THE_CONNECTION.contains(name) && !is_odd(name, value) && !nominated(name) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

/// Polls for the next part of a body; `None` at its end. Gives the peer new window for what was read.
pub(super) fn poll_part(body: &mut RecvStream, cx: &mut Context<'_>) -> Poll<Result<Option<Part>, h2::Error>> {
    while let Some(data) = ready!(body.poll_data(cx)) {
        let data = data?;
        // Fails only if the stream has ended, when the window no longer matters.
        let _over = body.flow_control().release_capacity(data.len());
        if !data.is_empty() {
            return Poll::Ready(Ok(Some(Part::Data(data))));
        }
    }
    match ready!(body.poll_trailers(cx)) {
        Ok(trailers) => Poll::Ready(Ok(trailers.and_then(Part::trailers))),
        // The whole body was received. A server that needs no more of the request resets the stream with NO_ERROR after its
        // response (RFC 9113, section 8.1).
        Err(error) if error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR) => Poll::Ready(Ok(None)),
        Err(error) => Poll::Ready(Err(error)),
    }
}

/// Gives bytes to h2 as far as the peer's window and a small buffer allow. Ready when all of them are given.
pub(super) fn poll_send(
    stream: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    bytes: &mut Bytes,
) -> Poll<Result<(), h2::Error>> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len().min(PIECE));
        if stream.capacity() == 0 {
            match ready!(stream.poll_capacity(cx)) {
                Some(capacity) => drop(capacity?),
                None => {
                    // The stream has ended; its reset says why.
                    let reason = ready!(stream.poll_reset(cx));
                    return Poll::Ready(Err(reason.map_or_else(|error| error, h2::Error::from)));
                }
            }
            continue;
        }
        let piece = bytes.split_to(stream.capacity().min(bytes.len()));
        stream.send_data(piece, false)?;
    }
    Poll::Ready(Ok(()))
}

/// Ends a body, with trailers if given.
pub(super) fn end(stream: &mut SendStream<Bytes>, trailers: Option<&HeaderMap>) -> Result<(), h2::Error> {
    match trailers {
        Some(trailers) => stream.send_trailers(end_to_end(trailers.clone())),
        None => stream.send_data(Bytes::new(), true),
    }
}
