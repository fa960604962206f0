//! Asking a fake: the request goes to an axum router in process, and its response comes back as Pingora writes it.

use std::net::IpAddr;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http_body_util::BodyExt;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{Error, ErrorType, OrErr, Result};
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::bodies::request::Replay;
use super::carry::is_bodiless;
use super::{bodies, gone};
use crate::fake::Client;

/// Pieces of a request's body that may wait for the fake to read them.
const PIECES: usize = 4;

/// The head and the body of a fake's response; `None` if the client left before there was one.
pub async fn ask(
    session: &mut Session,
    header: &RequestHeader,
    router: &Router,
    client: Option<IpAddr>,
    supplied: Option<&Replay>,
) -> Result<Option<(ResponseHeader, Body)>> {
    let (body, pieces) = match supplied {
        Some(Replay::New { body, .. }) => (Body::from(body.clone()), None),
        Some(Replay::Rest(_)) | None => request_body(session),
    };
    let asking = router.clone().oneshot(request(header, body, client));
    tokio::pin!(asking);
    if let Some(pieces) = pieces {
        let pumped = tokio::select! {
            biased;
            response = &mut asking => return response_parts(response).map(Some),
            pumped = pump(session, pieces, supplied) => pumped,
        };
        pumped?;
    }
    tokio::select! {
        biased;
        response = &mut asking => response_parts(response).map(Some),
        () = gone::client_gone(session) => Ok(None),
    }
}

/// Sends a fake's response.
///
/// # Errors
///
/// The client left, seen also while the fake makes it wait.
pub async fn send(session: &mut Session, mut head: ResponseHeader, mut body: Body) -> Result<()> {
    if is_bodiless(head.status) {
        body = Body::empty();
    }
    let ends = http_body::Body::is_end_stream(&body) || session.req_header().method == http::Method::HEAD;
    if !ends && session.req_header().version == http::Version::HTTP_11 && !head.headers.contains_key(CONTENT_LENGTH) {
        // Without it, the body would end with the connection (RFC 9112, section 6.3).
        head.insert_header(TRANSFER_ENCODING, "chunked")?;
    }
    gone::close_if_stopping(session);
    session.write_response_header(Box::new(head), ends).await?;
    if ends {
        return Ok(());
    }
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = gone::client_gone(session) => {
                return Err(Error::explain(ErrorType::ConnectionClosed, "the client left").into_down());
            }
        };
        let Some(frame) = frame else { break };
        let frame = frame.or_err(ErrorType::InternalError, "the fake's body broke off")?;
        if let Ok(data) = frame.into_data() {
            let last = http_body::Body::is_end_stream(&body);
            session.write_response_body(Some(data), last).await?;
            if last {
                return Ok(());
            }
        }
    }
    session.write_response_body(None, true).await
}

fn request(header: &RequestHeader, body: Body, client: Option<IpAddr>) -> http::Request<Body> {
    let mut request = http::Request::new(body);
    *request.method_mut() = header.method.clone();
    *request.uri_mut() = header.uri.clone();
    *request.version_mut() = header.version;
    *request.headers_mut() = header.headers.clone();
    if let Some(client) = client {
        request.extensions_mut().insert(Client(client));
    }
    request
}

fn request_body(session: &mut Session) -> (Body, Option<mpsc::Sender<Result<Bytes, std::io::Error>>>) {
    if session.is_body_empty() {
        return (Body::empty(), None);
    }
    let (sender, receiver) = mpsc::channel(PIECES);
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    (Body::from_stream(stream.fuse()), Some(sender))
}

/// Hands the request's body over, until its end or until the fake wants no more.
async fn pump(
    session: &mut Session,
    pieces: mpsc::Sender<Result<Bytes, std::io::Error>>,
    supplied: Option<&Replay>,
) -> Result<()> {
    match supplied {
        Some(Replay::Rest(first)) => {
            for piece in first {
                if pieces.send(Ok(piece.clone())).await.is_err() {
                    return Ok(());
                }
            }
        }
        _ => drop(bodies::request::tell_to_go_on(session).await?),
    }
    loop {
        match session.read_request_body().await {
            Ok(Some(piece)) => {
                if pieces.send(Ok(piece)).await.is_err() {
                    return Ok(());
                }
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                // The fake must not take a broken body for a whole one.
                let _ = pieces
                    .send(Err(std::io::Error::other("the client's body broke off")))
                    .await;
                return Err(error.into_down());
            }
        }
    }
}

fn response_parts(response: Result<http::Response<Body>, std::convert::Infallible>) -> Result<(ResponseHeader, Body)> {
    let Ok(response) = response;
    let (parts, body) = response.into_parts();
    let mut head = ResponseHeader::build(parts.status, Some(parts.headers.len() + 2))
        .map_err(|error| Error::because(ErrorType::InternalError, "the fake's response", error))?;
    for (name, value) in &parts.headers {
        head.append_header(name.clone(), value.clone())?;
    }
    Ok((head, body))
}
