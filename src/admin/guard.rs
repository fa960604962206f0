//! Who may use the side port.
//!
//! With a token every path but `/healthz` and `/readyz` asks for it as `Authorization: Bearer TOKEN` (RFC 6750).
//! `/metrics` does too, since rule names tell what is being tested, and Prometheus can send it (`authorization:` in its
//! scrape configuration).
//!
//! Without a token the port is on loopback or a unix socket, and any program of this machine may use it. Browsers are
//! the exception, as they run the programs of strangers: a page that has its own name resolve to 127.0.0.1 (DNS
//! rebinding) still sends that name as `Host`, and is answered 421. A page that posts to us sends its `Origin`; what may
//! change something is refused with 403 unless that is our own, with a token too.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use super::problem::{Accept, Problem};
use super::{Context, Shared};
use crate::proxy::net::address::AddressSpec;

/// What a browser does not have to do with our answers.
const MARKS: [(HeaderName, &str); 4] = [
    (CACHE_CONTROL, "no-store"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Marks every answer, refusals too.
pub(super) async fn mark(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in MARKS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Lets a request pass, or says why not.
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

/// A request, and what it is checked against.
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
            Some(token) => self.token_is(token)?,
            None if is_private(self.bound) => self.host_is_ours()?,
            // The file has no token any more, and an address on loopback that only takes effect at the next start.
            None => {
                let detail = "the admin side is reachable from other machines until squall restarts, and its \
                    configuration no longer has a token";
                return Err(Refusal::new(StatusCode::FORBIDDEN, detail));
            }
        }
        self.origin_is_ours()
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

    /// RFC 9112, section 3.2: exactly one Host field from HTTP/1.1 on, and an absolute target stands above it. Here both
    /// have to be ours.
    fn host_is_ours(&self) -> Result<(), Refusal> {
        let AddressSpec::Tcp(bound) = self.bound else {
            // No browser reaches a unix socket, and every client makes up its own host for it.
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
            let detail = "the Host field does not name this machine: without a token the admin side answers only \
                          to localhost, loopback addresses and its own listening address (to use another name, set \
                          `admin: {token: …}` and send the token)";
            Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, detail))
        }
    }

    fn origin_is_ours(&self) -> Result<(), Refusal> {
        let headers = self.request.headers();
        if matches!(*self.request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        let host = headers
            .get(HOST)
            .and_then(authority)
            .or_else(|| self.request.uri().authority().cloned());
        let ours = |origin: &HeaderValue| {
            let origin = origin
                .to_str()
                .ok()
                .and_then(|origin| origin.split_once("://")?.1.parse::<Authority>().ok());
            origin.is_some() && origin == host
        };
        let same_site = |site: &HeaderValue| site == "same-origin" || site == "none";
        if headers.get_all(ORIGIN).iter().all(ours) && headers.get_all("sec-fetch-site").iter().all(same_site) {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "requests from another origin can't change anything",
        ))
    }
}

/// Whether only programs of this machine can reach an address.
fn is_private(address: &AddressSpec) -> bool {
    match address {
        AddressSpec::Tcp(address) => address.ip().to_canonical().is_loopback(),
        AddressSpec::Unix(_) => true,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (scheme, token) = values.next()?.to_str().ok()?.trim().split_once(' ')?;
    // Two of them are no answer to the question who asks.
    (values.next().is_none() && scheme.eq_ignore_ascii_case("bearer")).then(|| token.trim())
}

/// Takes the same time wherever two texts of one length differ.
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

/// `localhost` and the names below it (RFC 6761, section 6.3), loopback addresses, and the one that we listen on.
fn is_local(name: &Authority, bound: IpAddr) -> bool {
    let name = name.host().to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    let literal = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    match literal.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) => address.is_loopback() || address == bound.to_canonical(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Ask<'a> {
        token: Option<&'a str>,
        bound: Option<&'a str>,
        method: Method,
        target: &'a str,
        fields: &'a [(&'a str, &'a str)],
    }

    fn verdict(ask: Ask<'_>) -> u16 {
        let mut request = http::Request::builder().method(ask.method).uri(ask.target);
        for (name, value) in ask.fields {
            request = request.header(*name, *value);
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        let bound = ask.bound.unwrap_or("127.0.0.1:9900").parse().unwrap();
        let checked = Checked {
            token: ask.token,
            bound: &bound,
            request: &request,
        };
        checked
            .check()
            .map_or_else(|refusal| refusal.problem.status.as_u16(), |()| 200)
    }

    #[test]
    fn without_a_token_the_host_is_this_machine() {
        let get = |host: &str| {
            verdict(Ask {
                target: "/metrics",
                fields: &[("host", host)],
                ..Ask::default()
            })
        };
        let local = [
            "localhost:9900",
            "127.0.0.1:9900",
            "[::1]:9900",
            "LOCALHOST",
            "127.9.9.9",
            "a.localhost",
            "localhost.",
        ];
        for host in local {
            assert_eq!(get(host), 200, "{host}");
        }
        let foreign = [
            "evil.example:9900",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "localhost.evil.example",
            "0.0.0.0",
            "[::]",
        ];
        for host in foreign {
            assert_eq!(get(host), 421, "{host}");
        }
        assert_eq!(get("a b"), 400);
        assert_eq!(get(""), 400);
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(
            verdict(Ask {
                target: "/",
                fields: &two,
                ..Ask::default()
            }),
            400
        );
        assert_eq!(
            verdict(Ask {
                target: "/",
                ..Ask::default()
            }),
            400,
            "HTTP/1.1 without Host"
        );
        let local = [("host", "localhost")];
        assert_eq!(
            verdict(Ask {
                target: "http://evil.example/",
                fields: &local,
                ..Ask::default()
            }),
            421
        );
        assert_eq!(
            verdict(Ask {
                target: "/healthz",
                fields: &[("host", "evil.example")],
                ..Ask::default()
            }),
            200
        );
        let elsewhere = Ask {
            bound: Some("[::1]:9900"),
            target: "/",
            fields: &[("host", "[::1]")],
            ..Ask::default()
        };
        assert_eq!(verdict(elsewhere), 200);
        let unix = Ask {
            bound: Some("unix:/run/admin"),
            target: "/",
            fields: &[("host", "squall")],
            ..Ask::default()
        };
        assert_eq!(verdict(unix), 200);
    }

    #[test]
    fn other_origins_change_nothing() {
        let post = |token, fields: &[(&str, &str)]| {
            verdict(Ask {
                token,
                method: Method::POST,
                target: "/api/v1/reload",
                fields,
                ..Ask::default()
            })
        };
        let local = ("host", "localhost:9900");
        assert_eq!(post(None, &[local]), 200);
        assert_eq!(post(None, &[local, ("origin", "http://localhost:9900")]), 200);
        assert_eq!(post(None, &[local, ("origin", "http://LOCALHOST:9900")]), 200);
        for origin in [
            "https://evil.example",
            "null",
            "http://localhost:3000",
            "http://127.0.0.1:9900",
            "",
            "://",
            "x",
        ] {
            assert_eq!(post(None, &[local, ("origin", origin)]), 403, "{origin}");
        }
        assert_eq!(post(None, &[local, ("sec-fetch-site", "cross-site")]), 403);
        let known = ("authorization", "Bearer s3cret");
        assert_eq!(
            post(Some("s3cret"), &[local, known, ("origin", "https://evil.example")]),
            403
        );
        let fields = [local, ("origin", "https://evil.example")];
        assert_eq!(
            verdict(Ask {
                target: "/metrics",
                fields: &fields,
                ..Ask::default()
            }),
            200,
            "reading changes nothing"
        );
    }

    #[test]
    fn a_token_is_asked_for_everywhere_but_for_health() {
        let get = |target, fields: &[(&str, &str)]| {
            verdict(Ask {
                token: Some("s3cret"),
                bound: Some("0.0.0.0:9900"),
                target,
                fields,
                ..Ask::default()
            })
        };
        for target in ["/", "/metrics", "/api/v1/status", "/none", "/healthz/"] {
            assert_eq!(get(target, &[]), 401, "{target}");
        }
        for wrong in [
            "Bearer wrong!",
            "Bearer s3cre",
            "Bearer s3crets",
            "Bearer",
            "Bearer ",
            "Basic s3cret",
            "s3cret",
        ] {
            assert_eq!(get("/metrics", &[("authorization", wrong)]), 401, "{wrong}");
        }
        let twice = [("authorization", "Bearer s3cret"), ("authorization", "Bearer s3cret")];
        assert_eq!(get("/metrics", &twice), 401);
        assert_eq!(
            get(
                "/metrics",
                &[("authorization", "bearer s3cret"), ("host", "squall:9900")]
            ),
            200
        );
        assert_eq!(get("/healthz", &[("host", "squall:9900")]), 200);
    }

    #[test]
    fn a_token_that_is_gone_opens_nothing_to_other_machines() {
        let ask = Ask {
            bound: Some("0.0.0.0:9900"),
            target: "/",
            fields: &[("host", "localhost")],
            ..Ask::default()
        };
        assert_eq!(verdict(ask), 403);
    }
}
