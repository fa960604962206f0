//! The copy of a request that the upstream gets before the request itself.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Uri, Version, uri};
use pingora::connectors::http::v2::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, OrErr, Result};

use crate::proxy::gone;

/// Makes connections for copies. Each is used once: an upstream that closes idle connections could otherwise miss a copy.
static CONNECTOR: LazyLock<Connector> = LazyLock::new(|| Connector::new(None));

/// Fields that concern one connection only (RFC 9110, section 7.6.1; RFC 9113, section 8.2.2).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What became of a copy.
#[derive(Debug, PartialEq, Eq)]
pub enum Sent {
    /// The upstream has got it, or at least its head.
    Yes,
    /// It could not be sent.
    No,
    /// The client left meanwhile.
    ClientGone,
}

/// Sends a copy, and reads its answer to the end, for a time at most. `head` is the request's own as the client sent it,
/// with what is rewritten; `host` replaces its host.
pub async fn send(
    session: &mut Session,
    head: RequestHeader,
    host: Option<&HeaderValue>,
    body: &Bytes,
    peer: HttpPeer,
    longest: Duration,
) -> Sent {
    let mut sent = false;
    let exchange = tokio::time::timeout(longest, exchange(head, host, body, peer, &mut sent));
    let gone = tokio::select! {
        biased;
        done = exchange => {
            match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the first of two requests failed"),
                Err(_) => tracing::debug!("the first of two requests has no end"),
            }
            false
        }
        () = gone::client_gone(session) => true,
    };
    match (gone, sent) {
        (true, _) => Sent::ClientGone,
        (false, true) => Sent::Yes,
        (false, false) => Sent::No,
    }
}

async fn exchange(
    head: RequestHeader,
    host: Option<&HeaderValue>,
    body: &Bytes,
    mut peer: HttpPeer,
    sent: &mut bool,
) -> Result<()> {
    // One stream for each connection: nothing is left in the connector's pools.
    peer.options.max_h2_streams = 1;
    let mut upstream: HttpSession<()> = CONNECTOR.new_http_session(&peer).await?;
    upstream.set_read_timeout(peer.options.read_timeout);
    upstream.set_write_timeout(peer.options.write_timeout);
    let head = match &upstream {
        HttpSession::H2(_) => head_for_http2(head, host, body, peer.is_tls())?,
        HttpSession::H1(_) | HttpSession::Custom(()) => head_for_http1(head, host, body)?,
    };
    let ends = body.is_empty();
    match &mut upstream {
        HttpSession::H2(stream) => stream.write_request_header(Box::new(head), ends)?,
        other => other.write_request_header(Box::new(head)).await?,
    }
    *sent = true;
    if !ends {
        upstream.write_request_body(body.clone(), true).await?;
    }
    if !(ends && matches!(upstream, HttpSession::H2(_))) {
        upstream.finish_request_body().await?;
    }
    upstream.read_response_header().await?;
    while upstream
        .response_header()
        .is_some_and(|head| head.status.is_informational())
    {
        upstream.read_response_header().await?;
    }
    while upstream.read_response_body().await?.is_some() {}
    upstream.shutdown().await;
    Ok(())
}

fn head_for_http1(mut head: RequestHeader, host: Option<&HeaderValue>, body: &Bytes) -> Result<RequestHeader> {
    let host = host_of(&head, host)?;
    remove_hop_by_hop(&mut head);
    frame(&mut head, body)?;
    head.set_version(Version::HTTP_11);
    head.insert_header(header::HOST, host)?;
    Ok(head)
}

fn head_for_http2(
    mut head: RequestHeader,
    host: Option<&HeaderValue>,
    body: &Bytes,
    tls: bool,
) -> Result<RequestHeader> {
    let host = host_of(&head, host)?;
    // The one hop-by-hop field that HTTP/2 knows, and gRPC asks for (RFC 9113, section 8.2.2).
    let trailers = head
        .headers
        .get(header::TE)
        .is_some_and(|te| te.as_bytes() == b"trailers");
    remove_hop_by_hop(&mut head);
    head.remove_header(&header::HOST);
    if trailers {
        head.insert_header(header::TE, "trailers")?;
    }
    frame(&mut head, body)?;
    let uri = Uri::builder()
        .scheme(if tls { uri::Scheme::HTTPS } else { uri::Scheme::HTTP })
        .authority(host.as_bytes())
        .path_and_query(head.uri.path_and_query().map_or("/", uri::PathAndQuery::as_str))
        .build()
        .or_err(ErrorType::InvalidHTTPHeader, "the request's target")?;
    head.set_uri(uri);
    head.set_version(Version::HTTP_2);
    Ok(RequestHeader::from(http::request::Parts::from(head)))
}

fn host_of(head: &RequestHeader, host: Option<&HeaderValue>) -> Result<HeaderValue> {
    if let Some(host) = host.or_else(|| head.headers.get(header::HOST)) {
        return Ok(host.clone());
    }
    let authority = head.uri.authority().map_or("", uri::Authority::as_str);
    HeaderValue::from_str(authority).or_err(ErrorType::InvalidHTTPHeader, "the request's authority")
}

fn remove_hop_by_hop(head: &mut RequestHeader) {
    let named: Vec<HeaderName> = head
        .headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        head.remove_header(name);
    }
    // It was answered, and the body follows at once.
    head.remove_header(&header::EXPECT);
}

/// The body is known as a whole: its length is stated, where there is one or where one was stated.
fn frame(head: &mut RequestHeader, body: &Bytes) -> Result<()> {
    let stated = head.headers.contains_key(header::CONTENT_LENGTH);
    match body.is_empty() && !stated {
        true => Ok(()),
        false => head
            .insert_header(header::CONTENT_LENGTH, body.len())
            .map_err(|error| Error::because(ErrorType::InternalError, "the copy's length", error)),
    }
}
