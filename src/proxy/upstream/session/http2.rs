//! The upstream's side of an exchange over HTTP/2: one stream of a shared connection (RFC 9113).

use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::header::{HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE};
use http::{HeaderMap, HeaderValue, Request, Uri, Version, uri};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, OrErr, Result};

use super::super::pool::Slot;
use crate::proxy::body::Part;
use crate::proxy::http1::{Framing, head};
use crate::proxy::http2;

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// One request on a stream of its own.
#[derive(Debug)]
pub(in crate::proxy::upstream) struct UpstreamHttp2 {
    slot: Slot,
    secure: bool,
    response: Option<ResponseFuture>,
    /// `None` once the request body has ended.
    send: Option<SendStream<Bytes>>,
    body: Option<RecvStream>,
    read_all: bool,
}

impl UpstreamHttp2 {
    pub(in crate::proxy::upstream) fn new(slot: Slot, secure: bool) -> UpstreamHttp2 {
        UpstreamHttp2 {
            slot,
            secure,
            response: None,
            send: None,
            body: None,
            read_all: false,
        }
    }

    pub(super) fn ask(&mut self, head: &RequestHeader, host: Option<&HeaderValue>, body: bool) -> Result<()> {
        let request = self.request(head, host)?;
        let (response, send) = self.slot.send_request(request, !body).map_err(broken)?;
        self.response = Some(response);
        self.send = body.then_some(send);
        Ok(())
    }

    fn request(&self, head: &RequestHeader, host: Option<&HeaderValue>) -> Result<Request<()>> {
        if head::is_transfer_coded(&head.headers) {
            let coded = Error::explain(
                ErrorType::InvalidHTTPHeader,
                "its transfer coding can't be sent over HTTP/2",
            );
            return Err(coded.into_down());
        }
        let authority = host.or_else(|| head.headers.get(HOST)).map(HeaderValue::as_bytes);
        let authority = authority.or_else(|| head.uri.authority().map(|authority| authority.as_str().as_bytes()));
        let scheme = if self.secure {
            uri::Scheme::HTTPS
        } else {
            uri::Scheme::HTTP
        };
        let target = Uri::builder()
            .scheme(scheme)
            .authority(authority.unwrap_or_default())
            .path_and_query(head.uri.path_and_query().map_or("/", uri::PathAndQuery::as_str))
            .build()
            .or_err(ErrorType::InvalidHTTPHeader, "the request has no valid authority")
            .map_err(|error| error.into_down())?;
        let mut request = Request::new(());
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = target;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = request_fields(head);
        Ok(request)
    }

    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<Result<()>> {
        match &mut self.send {
            Some(send) => http2::poll_send(send, cx, bytes).map_err(broken),
            None => Poll::Ready(Ok(())),
        }
    }

    pub(super) fn poll_end(&mut self, _: &mut Context<'_>, trailers: Option<&HeaderMap>) -> Poll<Result<()>> {
        match self.send.take() {
            Some(mut send) => Poll::Ready(http2::end(&mut send, trailers).map_err(broken)),
            None => Poll::Ready(Ok(())),
        }
    }

    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHeader>> {
        let Some(response) = &mut self.response else {
            return Poll::Ready(Err(Error::explain(ErrorType::InternalError, "no request was sent")));
        };
        // Interim responses first: polling h2's final response would discard those before it.
        if let Some(interim) = ready!(response.poll_informational(cx)) {
            let (parts, ()) = interim.map_err(broken)?.into_parts();
            return Poll::Ready(Ok(parts.into()));
        }
        let (parts, body) = ready!(Pin::new(response).poll(cx)).map_err(broken)?.into_parts();
        let head = ResponseHeader::from(parts);
        // h2 accepts contradictory lengths, but an HTTP/1 client would read them in its own way.
        let method = http::Method::GET;
        Framing::of_response(&method, head.status, &head.headers).map_err(|malformed| malformed.error().into_up())?;
        self.response = None;
        // A head with END_STREAM is the whole response (gRPC over HTTP/2, "Trailers-Only").
        self.read_all = body.is_end_stream();
        self.body = Some(body);
        Poll::Ready(Ok(head))
    }

    pub(super) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>> {
        let Some(body) = self.body.as_mut().filter(|_| !self.read_all) else {
            return Poll::Ready(Ok(None));
        };
        let part = ready!(http2::poll_part(body, cx)).map_err(broken)?;
        self.read_all = !matches!(part, Some(Part::Data(_)));
        Poll::Ready(Ok(part))
    }

    pub(super) fn is_body_done(&self) -> bool {
        self.read_all
    }

    /// Whether the server did not process the request: it sent REFUSED_STREAM, or a GOAWAY that excludes the stream (RFC 9113,
    /// sections 6.8 and 8.7).
    pub(super) fn was_not_processed(&self, error: &Error) -> bool {
        if self.response.is_none() && self.body.is_none() {
            // The connection ended before the request could be sent.
            return self.slot.is_reused();
        }
        let Some(error) = error.root_cause().downcast_ref::<h2::Error>() else {
            return false;
        };
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        let left_out = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        error.is_remote() && (refused || left_out)
    }

    /// Takes the connection out of use for further requests.
    pub(super) fn retire(&mut self) {
        self.slot.retire();
    }

    /// The identity of the server, if it requires HTTP/1.1 for the request (HTTP_1_1_REQUIRED, RFC 9113, section 7).
    pub(super) fn wants_http1(&self, error: &Error) -> Option<&str> {
        let error = error.root_cause().downcast_ref::<h2::Error>()?;
        let wants = error.is_remote() && error.reason() == Some(h2::Reason::HTTP_1_1_REQUIRED);
        wants.then(|| self.slot.server())
    }

    /// Whether an error means that a reused connection was dead.
    pub(super) fn was_stale(&self, error: &Error) -> bool {
        let error = error.root_cause().downcast_ref::<h2::Error>();
        let kind = error.and_then(h2::Error::get_io).map(std::io::Error::kind);
        let dead = [
            ErrorKind::ConnectionReset,
            ErrorKind::BrokenPipe,
            ErrorKind::TimedOut,
            ErrorKind::UnexpectedEof,
        ];
        self.slot.is_reused() && self.body.is_none() && kind.is_some_and(|kind| dead.contains(&kind))
    }
}

/// The fields of a request that may be sent over HTTP/2 (RFC 9113, section 8.2.2), in order.
fn request_fields(head: &RequestHeader) -> HeaderMap {
    let fields = http2::end_to_end(head.headers.clone());
    let trailers = fields.get(TE).is_some_and(|te| te.as_bytes() == b"trailers");
    let unwanted = |name: &HeaderName| {
        *name == TE && !trailers || [HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, HTTP2_SETTINGS].contains(name)
    };
    if !fields.keys().any(unwanted) {
        return fields;
    }
    let mut kept = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields.iter().filter(|(name, _)| !unwanted(name)) {
        kept.append(name.clone(), value.clone());
    }
    kept
}

fn broken(error: h2::Error) -> Box<Error> {
    Error::because(ErrorType::H2Error, "the upstream's stream ended", error).into_up()
}
