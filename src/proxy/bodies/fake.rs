//! The same for fakes, whose responses come as a head and a stream.

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::BodyExt;
use pingora::http::ResponseHeader;
use pingora::protocols::http::HttpTask;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use tokio::time::{Instant, timeout_at};

use super::response::Collecting;
use crate::proxy::gone;

/// A fake's response, changed as far as it can be; `None` if the client left before it was known.
///
/// # Errors
/// None that traffic can cause.
pub async fn collect(
    session: &mut Session,
    mut collecting: Collecting,
    head: ResponseHeader,
    mut body: Body,
) -> Result<Option<(ResponseHeader, Body)>> {
    let patience = collecting.patience();
    let deadline = Instant::now() + patience;
    let ends = http_body::Body::is_end_stream(&body);
    let mut due = collecting
        .turn(vec![HttpTask::Header(Box::new(head), ends)], std::time::Instant::now())
        .await;
    while due.is_empty() {
        let task = tokio::select! {
            frame = timeout_at(deadline, body.frame()) => match frame {
                Ok(Some(Ok(frame))) => frame.into_data().ok().map(|data| HttpTask::Body(Some(data), false)),
                Ok(Some(Err(_))) => Some(HttpTask::Failed(broken())),
                Ok(None) => Some(HttpTask::Body(None, true)),
                Err(_) => None,
            },
            () = gone::client_gone(session) => return Ok(None),
        };
        let now = match Instant::now() < deadline {
            true => std::time::Instant::now(),
            false => std::time::Instant::now() + patience,
        };
        due = collecting.turn(task.into_iter().collect(), now).await;
    }
    assemble(due, body).map(Some)
}

/// Reads a body and throws it away.
pub async fn read_to_end(mut body: Body) {
    while let Some(Ok(_)) = body.frame().await {}
}

/// Puts together what has come out, and what has not been read.
fn assemble(due: Vec<HttpTask>, rest: Body) -> Result<(ResponseHeader, Body)> {
    let mut head = None;
    let mut pieces: Vec<Result<Bytes, axum::Error>> = Vec::new();
    let mut ended = false;
    for task in due {
        match task {
            HttpTask::Header(new, ends) => {
                head = Some(new);
                ended |= ends;
            }
            HttpTask::Body(piece, ends) | HttpTask::UpgradedBody(piece, ends) => {
                pieces.extend(piece.filter(|piece| !piece.is_empty()).map(Ok));
                ended |= ends;
            }
            HttpTask::Failed(error) => pieces.push(Err(axum::Error::new(error))),
            HttpTask::Trailer(_) | HttpTask::Done => ended = true,
        }
    }
    let head = head.ok_or_else(|| Error::explain(ErrorType::InternalError, "a response without a head"))?;
    let body = match (ended, pieces.len()) {
        (true, 0) => Body::empty(),
        (true, 1) => match pieces.pop() {
            Some(Ok(piece)) => Body::from(piece),
            _ => Body::empty(),
        },
        (true, _) => Body::from_stream(futures_util::stream::iter(pieces)),
        (false, _) => Body::from_stream(futures_util::stream::iter(pieces).chain(rest.into_data_stream())),
    };
    Ok((*head, body))
}

fn broken() -> Box<Error> {
    Error::explain(ErrorType::InternalError, "the fake's body broke off")
}
