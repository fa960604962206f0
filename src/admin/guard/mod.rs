//! Access control of the admin API.
//!
//! With a token, every path except `/healthz`, `/readyz` and the dashboard's page requires `Authorization: Bearer TOKEN` (RFC 6750).
//! That includes `/metrics`, since rule names reveal what is being tested; Prometheus can send the token (`authorization:` in
//! its scrape configuration).
//!
//! Without a token, the port is on loopback or a unix socket, and any local program may use it. Browsers are the exception,
//! since they run untrusted code. A page that makes its own name resolve to 127.0.0.1 (DNS rebinding) still sends that name
//! as `Host`, and gets 421. A page that posts to squall sends its `Origin`: requests that may change something get 403
//! unless the origin is squall's own, even with a token.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{self, Poll, ready};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, HOST, ORIGIN, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use http_body::{Body as _, Frame, SizeHint};
use percent_encoding::percent_decode_str;

use super::dashboard;
use super::problem::{Accept, Problem};
use super::{Context, Shared};
use crate::proxy::net::address::{AddressSpec, is_local_name};

/// Fields that keep browsers from caching, embedding or reinterpreting responses.
const MARKS: [(HeaderName, &str); 4] = [
    (CACHE_CONTROL, "no-store"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Adds the fields for browsers to every response, including refusals. A response that does not wait for the request's body, such as
/// most refusals, ends its connection; it says so, since a client would send its next request there otherwise, in vain.
pub(super) async fn mark(request: Request, next: Next) -> Response {
    let ended = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    let watched = |body| {
        Body::new(Watched {
            body,
            ended: Arc::clone(&ended),
        })
    };
    let mut response = next.run(request.map(watched)).await;
    if !ended.load(Ordering::Relaxed) {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    for (name, value) in MARKS {
        // The dashboard has a policy of its own.
        if name != CONTENT_SECURITY_POLICY || !response.headers().contains_key(CONTENT_SECURITY_POLICY) {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
    }
    response
}

/// A request's body that tells when it was read to its end.
struct Watched {
    body: Body,
    ended: Arc<AtomicBool>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_none() || self.body.is_end_stream() {
            self.ended.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Lets a request pass, or refuses it with a reason.
pub(super) async fn guard(State(context): Shared, request: Request, next: Next) -> Response {
    match check_request(&context, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            let mut response = refusal.problem.answer(Accept::of(request.headers()));
            if let Some(challenge) = refusal.challenge {
                response
                    .headers_mut()
                    .insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            response
        }
    }
}

fn check_request(context: &Arc<Context>, request: &Request) -> Result<(), Refusal> {
    let snapshot = context.server.snapshot();
    Checked {
        token: snapshot.admin.token.as_deref(),
        bound: &context.address,
        request,
    }
    .check()
}

#[derive(Debug)]
struct Refusal {
    problem: Problem,
    challenge: Option<&'static str>,
}

impl Refusal {
    fn new(status: StatusCode, detail: &str) -> Refusal {
        Refusal {
            problem: Problem::new(status, detail),
            challenge: None,
        }
    }
}

/// A request and the settings that it is checked against.
struct Checked<'a> {
    token: Option<&'a str>,
    bound: &'a AddressSpec,
    request: &'a Request,
}

impl Checked<'_> {
    fn check(&self) -> Result<(), Refusal> {
        if matches!(self.request.uri().path(), "/healthz" | "/readyz") {
            return Ok(());
        }
        match self.token {
            Some(_) if self.is_for_page() => {}
            Some(token) => self.token_is(token)?,
            None if is_private(self.bound) => self.host_is_ours()?,
            // A reload removed the token and moved the address to loopback, but the address only takes effect at the next
            // start.
            None => {
                let detail = "the admin API is reachable from other machines until squall restarts, and its \
                    configuration no longer has a token";
                return Err(Refusal::new(StatusCode::FORBIDDEN, detail));
            }
        }
        self.origin_is_ours()?;
        self.path_is_text()
    }

    /// Whether it asks for the dashboard, which reveals nothing and asks its user for the token.
    fn is_for_page(&self) -> bool {
        let path = self.request.uri().path();
        dashboard::is_at(path) || path == "/" && Accept::of(self.request.headers()) == Accept::Html
    }

    fn token_is(&self, token: &str) -> Result<(), Refusal> {
        let refusal = |detail, challenge| {
            Err(Refusal {
                challenge: Some(challenge),
                ..Refusal::new(StatusCode::UNAUTHORIZED, detail)
            })
        };
        match bearer(self.request.headers()) {
            None => refusal(
                "a token is needed: send `Authorization: Bearer TOKEN`",
                "Bearer realm=\"squall\"",
            ),
            Some(given) if same(given.as_bytes(), token.as_bytes()) => Ok(()),
            Some(_) => refusal(
                "the token does not match the configuration",
                "Bearer realm=\"squall\", error=\"invalid_token\"",
            ),
        }
    }

    /// Checks Host and the authority of an absolute target, which overrides it (RFC 9112, section 3.2). Both must be
    /// squall's.
    fn host_is_ours(&self) -> Result<(), Refusal> {
        let AddressSpec::Tcp(bound) = self.bound else {
            // Browsers can't reach a unix socket, and clients use arbitrary hosts for it.
            return Ok(());
        };
        let mut hosts = self.request.headers().get_all(HOST).iter();
        let host = hosts.next();
        let missing =
            host.is_none() && self.request.version() > Version::HTTP_10 && self.request.uri().host().is_none();
        if missing || hosts.next().is_some() {
            return Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "there must be exactly one Host field",
            ));
        }
        let host = match host.map(authority) {
            Some(None) => {
                return Err(Refusal::new(
                    StatusCode::BAD_REQUEST,
                    "the Host field is not a valid host",
                ));
            }
            Some(host) => host,
            None => None,
        };
        if host
            .iter()
            .chain(self.request.uri().authority())
            .all(|name| is_local(name, bound.ip()))
        {
            Ok(())
        } else {
            let detail = "the Host field does not name this machine: without a token the admin API accepts only \
                          localhost, loopback addresses and its own listening address (to use another name, set \
                          `admin: {token: …}` and send the token)";
            Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, detail))
        }
    }

    /// Names of rules and spaces are text, so that no endpoint has to look for other bytes.
    fn path_is_text(&self) -> Result<(), Refusal> {
        let decoded = percent_decode_str(self.request.uri().path()).decode_utf8();
        decoded.map(drop).map_err(|_| {
            Refusal::new(
                StatusCode::BAD_REQUEST,
                "the path is not valid UTF-8 when it is decoded",
            )
        })
    }

    fn origin_is_ours(&self) -> Result<(), Refusal> {
        if is_own_origin(self.request.method(), self.request.uri(), self.request.headers()) {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::FORBIDDEN, FOREIGN_ORIGIN))
    }
}

/// Why a page of another origin is refused.
pub(crate) const FOREIGN_ORIGIN: &str = "requests from another origin can't change anything";

/// Whether a request changes nothing, comes from no browser, or from a page of the host that it is sent to.
pub(crate) fn is_own_origin(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return true;
    }
    let host = headers
        .get(HOST)
        .and_then(authority)
        .or_else(|| uri.authority().cloned());
    let ours = |origin: &HeaderValue| {
        let origin = origin
            .to_str()
            .ok()
            .and_then(|origin| origin.split_once("://")?.1.parse::<Authority>().ok());
        origin.is_some() && origin == host
    };
    let same_site = |site: &HeaderValue| site == "same-origin" || site == "none";
    headers.get_all(ORIGIN).iter().all(ours) && headers.get_all("sec-fetch-site").iter().all(same_site)
}

/// Whether only local programs can reach an address.
fn is_private(address: &AddressSpec) -> bool {
    match address {
        AddressSpec::Tcp(address) => address.ip().to_canonical().is_loopback(),
        AddressSpec::Unix(_) => true,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (scheme, token) = values.next()?.to_str().ok()?.trim().split_once(' ')?;
    // Two Authorization fields are ambiguous.
    (values.next().is_none() && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim())
}

/// Compares in constant time for texts of equal length, so that timing does not reveal the token.
fn same(given: &[u8], token: &[u8]) -> bool {
    let differences = given
        .iter()
        .zip(token)
        .fold(0, |differences, (a, b)| std::hint::black_box(differences | (a ^ b)));
    given.len() == token.len() && differences == 0
}

fn authority(value: &HeaderValue) -> Option<Authority> {
    value.to_str().ok()?.parse().ok()
}

/// Whether a name is `localhost` or below it (RFC 6761, section 6.3), a loopback address, or the address listened on.
fn is_local(name: &Authority, bound: IpAddr) -> bool {
    let name = name.host().to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let literal = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    match literal.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) => address.is_loopback() || address == bound.to_canonical(),
        Err(_) => is_local_name(name),
    }
}

#[cfg(test)]
mod tests;
