//! The response of a gRPC call: a head, messages, and a status in trailers (gRPC over HTTP/2, "Responses").

use std::convert::Infallible;
use std::pin::Pin;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt as _, once, unfold};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::{Instant, timeout_at};

use super::messages::framed;
use crate::grpc::{GrpcCode, GrpcStatus};

/// The messages of a response, and the status if it is not OK.
type Sending = Pin<Box<dyn Stream<Item = Result<Bytes, GrpcStatus>> + Send>>;

/// What the response to a call has beside its messages.
#[derive(Debug, Default)]
pub(super) struct Responder {
    /// Metadata before the first message.
    head: HeaderMap,
    /// Metadata after the last one.
    trailers: HeaderMap,
    /// When the client stops waiting.
    pub(super) deadline: Option<Instant>,
}

impl Responder {
    /// With the metadata of a call that asks to come back.
    pub(super) fn new(call: &HeaderMap) -> Responder {
        let starting = |prefix: &str| {
            let fields = call.iter().filter(|(name, _)| name.as_str().starts_with(prefix));
            fields.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        Responder {
            head: starting("echo-head-"),
            trailers: starting("echo-trailer-"),
            deadline: None,
        }
    }

    /// Responds with one message, once it is known, or else with the status alone.
    pub(super) async fn one(self, message: impl Future<Output = Result<Bytes, GrpcStatus>>) -> Response {
        let message = match self.deadline {
            Some(deadline) => timeout_at(deadline, message).await.unwrap_or_else(|_| Err(late())),
            None => message.await,
        };
        match message {
            Ok(message) => self.some(once(std::future::ready(Ok(message)))),
            Err(status) => {
                let mut response = refusal(&status);
                response.headers_mut().extend(self.head);
                response.headers_mut().extend(self.trailers);
                response
            }
        }
    }

    /// Responds with messages as they come.
    pub(super) fn some(self, messages: impl Stream<Item = Result<Bytes, GrpcStatus>> + Send + 'static) -> Response {
        let sending = Frames {
            messages: Some(Box::pin(messages)),
            trailers: self.trailers,
            deadline: self.deadline,
        };
        let frames = unfold(sending, |mut frames| async move {
            let frame = frames.next().await?;
            Some((Ok::<_, Infallible>(frame), frames))
        });
        let mut response = head(Body::new(StreamBody::new(frames)));
        response.headers_mut().extend(self.head);
        response
    }
}

/// A response without a message: its head has the status ("Trailers-Only").
pub(super) fn refusal(status: &GrpcStatus) -> Response {
    let mut response = head(Body::empty());
    response.headers_mut().extend(status.fields());
    response
}

fn head(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity,gzip"));
    response
}

fn late() -> GrpcStatus {
    GrpcStatus::new(GrpcCode::DEADLINE_EXCEEDED, "the deadline has passed")
}

/// The frames of a response's body.
struct Frames {
    /// `None` once the trailers were sent.
    messages: Option<Sending>,
    trailers: HeaderMap,
    deadline: Option<Instant>,
}

impl Frames {
    async fn next(&mut self) -> Option<Frame<Bytes>> {
        let next = self.messages.as_mut()?.next();
        let message = match self.deadline {
            Some(deadline) => timeout_at(deadline, next).await.unwrap_or_else(|_| Some(Err(late()))),
            None => next.await,
        };
        let status = match message {
            Some(Ok(message)) => return Some(Frame::data(framed(&message))),
            Some(Err(status)) => status,
            None => GrpcStatus::new(GrpcCode::OK, ""),
        };
        self.messages = None;
        let mut trailers = std::mem::take(&mut self.trailers);
        trailers.extend(status.fields());
        Some(Frame::trailers(trailers))
    }
}
