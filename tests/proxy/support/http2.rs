//! What both sides of an HTTP/2 connection need: sending a body within the peer's window, reading one, naming an end.

use std::future::poll_fn;
use std::io::ErrorKind;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::HeaderMap;

use super::message::{Ending, Fields};
use super::within;

/// Sends a body and its end, as fast as the peer takes it. Whether the peer took all of it.
pub(crate) async fn send_body(stream: &mut SendStream<Bytes>, body: Bytes, trailers: &Fields) -> bool {
    let ends = trailers.0.is_empty();
    if !send_piece(stream, body, ends).await {
        return false;
    }
    ends || stream.send_trailers(HeaderMap::from(trailers)).is_ok()
}

/// Sends a part of a body, and the end of the stream if it is the last.
pub(crate) async fn send_piece(stream: &mut SendStream<Bytes>, mut piece: Bytes, ends: bool) -> bool {
    while !piece.is_empty() {
        let Some(room) = room(stream, piece.len()).await else {
            return false;
        };
        let part = piece.split_to(room.min(piece.len()));
        if stream.send_data(part, false).is_err() {
            return false;
        }
    }
    !ends || stream.send_data(Bytes::new(), true).is_ok()
}

/// Waits until the peer takes at least a byte. `None`: the stream is over.
pub(crate) async fn room(stream: &mut SendStream<Bytes>, wanted: usize) -> Option<usize> {
    stream.reserve_capacity(wanted);
    // Only a change is polled for: room that is left over shows here alone.
    if stream.capacity() > 0 {
        return Some(stream.capacity());
    }
    loop {
        match within(poll_fn(|context| stream.poll_capacity(context))).await? {
            Ok(0) => {}
            Ok(room) => return Some(room),
            Err(_) => return None,
        }
    }
}

/// Reads a body to its end.
pub(crate) async fn read_body(stream: &mut RecvStream) -> (Vec<u8>, Fields, Ending) {
    let mut body = Vec::new();
    while let Some(piece) = within(stream.data()).await {
        match piece {
            Ok(piece) => {
                // Fails only where the stream is over, which the next piece tells.
                let _ = stream.flow_control().release_capacity(piece.len());
                body.extend_from_slice(&piece);
            }
            Err(error) => return (body, Fields::default(), ending(&error)),
        }
    }
    match within(stream.trailers()).await {
        Ok(trailers) => (
            body,
            trailers.as_ref().map(Fields::from).unwrap_or_default(),
            Ending::Whole,
        ),
        Err(error) => (body, Fields::default(), ending(&error)),
    }
}

/// How an error ended a message.
pub(crate) fn ending(error: &h2::Error) -> Ending {
    if error.is_reset() {
        return Ending::Stream(error.reason().unwrap_or(h2::Reason::NO_ERROR));
    }
    match error.get_io().map(std::io::Error::kind) {
        Some(ErrorKind::ConnectionReset) => Ending::Reset,
        _ => Ending::Closed,
    }
}
