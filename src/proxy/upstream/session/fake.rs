//! The upstream's side of an exchange with a fake: passes the request to an axum router in process.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::DATE;
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, Frame};
use http_body_util::StreamBody;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::date::get_cached_date;
use pingora::{Error, ErrorType, Result};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;
use tower::ServiceExt;

use crate::fake::{Client, Mount, OverTls, Tunnel};
use crate::limits::bodies::Budget;
use crate::proxy::body::Part;

/// The most parts of a request body that wait for the fake to read them.
const PARTS: usize = 4;

type Asking = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;
type Upload = Result<Frame<Bytes>, std::io::Error>;

/// One request to a fake.
pub(in crate::proxy) struct Fake {
    router: Router,
    client: Option<IpAddr>,
    tls: bool,
    mount: Option<Mount>,
    budget: Budget,
    asking: Option<Asking>,
    upload: Option<PollSender<Upload>>,
    /// Takes the client's bytes once the protocol was switched.
    tunnel: Option<PollSender<Upload>>,
    body: Option<Body>,
}

impl Fake {
    /// Begins a request from a client with this address, which came over TLS or not; `mount` says how its path was changed.
    /// What the fake reads of it counts against `budget`.
    pub(in crate::proxy) fn new(
        router: &Router,
        (client, tls): (Option<IpAddr>, bool),
        mount: Option<Mount>,
        budget: Budget,
    ) -> Fake {
        Fake {
            router: router.clone(),
            client,
            tls,
            mount,
            budget,
            asking: None,
            upload: None,
            tunnel: None,
            body: None,
        }
    }

    pub(super) fn ask(&mut self, head: &RequestHeader, body: bool, upgrade: bool) {
        let mut request = http::Request::new(Body::empty());
        if body {
            let (sender, body) = parts();
            self.upload = Some(sender);
            *request.body_mut() = body;
        }
        if upgrade {
            let (sender, bytes) = parts();
            self.tunnel = Some(sender);
            request.extensions_mut().insert(Tunnel::new(bytes));
        }
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        *request.version_mut() = head.version;
        *request.headers_mut() = head.headers.clone();
        request.extensions_mut().insert(self.budget.clone());
        if let Some(client) = self.client {
            request.extensions_mut().insert(Client(client));
        }
        if self.tls {
            request.extensions_mut().insert(OverTls);
        }
        if let Some(mount) = self.mount.take() {
            request.extensions_mut().insert(mount);
        }
        self.asking = Some(Box::pin(self.router.clone().oneshot(request)));
    }

    /// Sends the client's bytes through the tunnel from now on.
    pub(super) fn switch_protocols(&mut self) {
        self.upload = self.tunnel.take();
    }

    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<Result<()>> {
        let upload = ready!(self.poll_give(cx));
        let data = std::mem::take(bytes);
        if let Some(upload) = upload {
            // Fails only if the fake has stopped reading.
            let _unread = upload.send_item(Ok(Frame::data(data)));
        }
        Poll::Ready(Ok(()))
    }

    /// Polls for room for the next part; `None` if the fake has stopped reading.
    fn poll_give(&mut self, cx: &mut Context<'_>) -> Poll<Option<&mut PollSender<Upload>>> {
        let Some(upload) = &mut self.upload else {
            return Poll::Ready(None);
        };
        Poll::Ready(ready!(upload.poll_reserve(cx)).is_ok().then_some(upload))
    }

    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, trailers: Option<&HeaderMap>) -> Poll<Result<()>> {
        if let Some(trailers) = trailers
            && let Some(upload) = ready!(self.poll_give(cx))
        {
            let _unread = upload.send_item(Ok(Frame::trailers(trailers.clone())));
        }
        // Dropping the sender ends the body.
        self.upload = None;
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHeader>> {
        let Some(asking) = &mut self.asking else {
            return Poll::Ready(Err(Error::explain(ErrorType::InternalError, "no request was sent")));
        };
        let Ok(response) = ready!(asking.as_mut().poll(cx));
        self.asking = None;
        let (parts, body) = response.into_parts();
        if parts.status.is_informational() && parts.status != StatusCode::SWITCHING_PROTOCOLS {
            return Poll::Ready(Err(Error::explain(
                ErrorType::InternalError,
                "the fake sent no final response",
            )));
        }
        self.body = Some(body);
        Poll::Ready(head(&parts))
    }

    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>> {
        loop {
            let Some(body) = &mut self.body else {
                return Poll::Ready(Ok(None));
            };
            let frame = match ready!(Pin::new(body).poll_frame(cx)) {
                Some(frame) => frame.map_err(broke_off)?,
                None => {
                    self.body = None;
                    return Poll::Ready(Ok(None));
                }
            };
            let frame = match frame.into_data() {
                Ok(data) if data.is_empty() => continue,
                Ok(data) => return Poll::Ready(Ok(Some(Part::Data(data)))),
                Err(frame) => frame,
            };
            if let Ok(trailers) = frame.into_trailers() {
                self.body = None;
                return Poll::Ready(Ok(Some(Part::Trailers(trailers))));
            }
        }
    }

    pub(super) fn is_body_done(&self) -> bool {
        self.asking.is_none() && self.body.as_ref().is_none_or(Body::is_end_stream)
    }
}

impl Drop for Fake {
    /// Fails an incomplete body, so that the fake can't take it for a complete one.
    fn drop(&mut self) {
        if let Some(sender) = self.upload.take().and_then(|upload| upload.get_ref().cloned()) {
            let _unread = sender.try_send(Err(std::io::Error::other("the client's body ended early")));
        }
    }
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// A body, and where its parts go.
fn parts() -> (PollSender<Upload>, Body) {
    let (sender, mut receiver) = mpsc::channel(PARTS);
    let parts = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (PollSender::new(sender), Body::new(StreamBody::new(parts)))
}

fn head(parts: &http::response::Parts) -> Result<ResponseHeader> {
    let mut head = ResponseHeader::build(parts.status, Some(parts.headers.len() + 3))?;
    for (name, value) in &parts.headers {
        head.append_header(name.clone(), value.clone())?;
    }
    // An origin server with a clock must send Date (RFC 9110, section 6.6.1).
    if !head.headers.contains_key(DATE) {
        head.insert_header(DATE, get_cached_date())?;
    }
    Ok(head)
}

fn broke_off(error: axum::Error) -> Box<Error> {
    Error::because(ErrorType::InternalError, "the fake's body ended early", error)
}
