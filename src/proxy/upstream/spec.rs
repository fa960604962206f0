//! The configuration of upstreams, as typed. [`crate::proxy::upstream`] makes the usable form of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::fake::spec::FakeSpec;
use crate::proxy::net::proxy_protocol::ProxyProtocol;
use crate::yaml::decode::Spanned;
use crate::yaml::forms::{OneOrMany, Scalar, ShortForm, short_form};
use crate::yaml::report::Span;
use crate::yaml::units::{Share, Time};

/// A named target of requests. It has exactly one of `url`, `endpoints`, `forward`, `original_destination`, `fake` and `address`.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamSpec {
    /// One HTTP server: http://HOST:PORT, https://HOST:PORT or unix:PATH. A path, as in http://HOST/BASE, goes before that of each
    /// request.
    pub url: Option<Spanned<String>>,
    /// Several equivalent HTTP servers, all with TLS or all without: a list of URLs as in `url`.
    pub endpoints: Option<Spanned<Vec<Spanned<String>>>>,
    /// The host that each request names itself, as requests to a proxy do (`http_proxy`), if it is allowed.
    pub forward: Option<Spanned<ForwardSpec>>,
    /// true: the destination of the client's connection before it was redirected to squall (iptables REDIRECT, Linux
    /// only). Traffic that is not HTTP, such as TLS, passes through unread.
    pub original_destination: Option<Spanned<bool>>,
    /// A server built into squall, by its name or with its settings, or one declared here.
    pub fake: Option<Spanned<FakeSpec>>,
    /// A TCP server for a listener with `protocol: tcp`: HOST:PORT or unix:PATH.
    pub address: Option<Spanned<String>>,
    /// Begins each connection to the `address` with a header of the PROXY protocol, which tells it the client's address. Default:
    /// none.
    pub proxy_protocol: Option<Spanned<ProxyProtocol>>,
    /// How requests are shared between the endpoints. Default: round-robin.
    pub balance: Option<Spanned<Balance>>,
    /// When to stop using endpoints that fail. Absent: never.
    pub ejection: Option<Spanned<EjectionSpec>>,
    /// The version of HTTP to use with the upstream. Default: http1; for `original_destination` the client's own, http1
    /// or h2c.
    pub protocol: Option<Spanned<Protocol>>,
    /// The Host header to send: `preserve` sends the client's, `upstream` the name in the URL (or in `tls.sni`),
    /// anything else is sent as given. Default: preserve for http:// and unix:, upstream for https://, where Host and
    /// the TLS name must agree.
    pub host: Option<Spanned<String>>,
    /// Whether redirects and cookies that name the upstream are mapped to what the client knows: `Location`, `Content-Location`, `Link`, `Refresh`, and
    /// of cookies `Domain`, `Path` and `Secure`. Default: true.
    pub map_back: Option<Spanned<bool>>,
    /// Timeouts for the upstream.
    pub timeouts: Option<Spanned<TimeoutsSpec>>,
    /// TLS settings for an https:// upstream.
    pub tls: Option<Spanned<UpstreamTlsSpec>>,
    /// Whether it is written as HOST:PORT alone, which is a URL for HTTP listeners and an address for TCP ones.
    #[serde(skip)]
    pub is_bare: bool,
}

/// An upstream as typed: `127.0.0.1:8000`, a URL, or the long form.
#[derive(Clone, Debug)]
pub struct UpstreamForm(pub UpstreamSpec);

impl std::ops::Deref for UpstreamForm {
    type Target = UpstreamSpec;

    fn deref(&self) -> &UpstreamSpec {
        &self.0
    }
}

impl ShortForm for UpstreamForm {
    type Long = UpstreamSpec;
    const EXPECTING: &'static str = "an address such as 127.0.0.1:8000, a URL, or a map such as {fake: test-api}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let text = match scalar {
            Scalar::Str(text) => text,
            Scalar::Int(port) if u16::try_from(port).is_ok() => {
                let message = format!("`{port}` is a port without a host: write `127.0.0.1:{port}`");
                return Some(Err(message));
            }
            _ => return None,
        };
        let is_address = || {
            let port = text
                .rsplit_once(':')
                .filter(|(host, _)| !host.is_empty() && !host.contains('/'));
            port.is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        };
        let (url, is_bare) = match text {
            _ if text.contains("://") => (text.to_owned(), false),
            _ if text.starts_with("unix:") => (text.to_owned(), true),
            _ if is_address() => (format!("http://{text}"), true),
            _ => {
                let message =
                    format!("`{text}` is not an address: use HOST:PORT or a URL; for a fake write `{{fake: {text}}}`");
                return Some(Err(message));
            }
        };
        Some(Ok(UpstreamForm(UpstreamSpec {
            url: Some(Spanned::nowhere(url)),
            is_bare,
            ..UpstreamSpec::default()
        })))
    }

    fn from_long(long: UpstreamSpec) -> Result<Self, String> {
        Ok(UpstreamForm(long))
    }
}

short_form!(UpstreamForm, UpstreamSpec, "UpstreamForm", {"type": "string", "pattern": "://|^unix:|:[0-9]+$|\\$\\{"});

impl UpstreamForm {
    /// Gives the URL of the short form, which was written at `span`, its position. `is_for_tcp` makes an address of it if it is
    /// one without a scheme.
    pub fn settle(&mut self, span: Span, is_for_tcp: bool) {
        let spec = &mut self.0;
        let Some(url) = spec.url.as_mut().filter(|url| url.span.is_nowhere()) else {
            return;
        };
        url.span = span;
        if is_for_tcp && std::mem::take(&mut spec.is_bare) {
            let address = spec.url.take();
            spec.address = address.map(|url| url.map(|url| url.trim_start_matches("http://").to_owned()));
        }
    }
}

/// Which hosts requests may be forwarded to.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardSpec {
    /// A host, or several: `loopback` (this machine), names and globs such as api.example.com and *.internal, addresses and
    /// networks; each with `:PORT` for that port only. Default: loopback.
    pub hosts: Option<Spanned<OneOrMany<String>>>,
}

/// How requests are shared between endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// Any of them, each equally likely.
    Random,
    /// The one with the fewest requests under way.
    LeastRequests,
}

/// The version of HTTP used with an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 over TLS; for https:// only.
    H2,
    /// HTTP/2 without TLS and without an upgrade ("prior knowledge"), as gRPC servers use it; for http:// and unix:.
    H2c,
    /// HTTP/2 or HTTP/1.1, as the server chooses by ALPN; for https:// only.
    Auto,
}

/// When an endpoint is ejected. A failure is a connection that can't be made, breaks or times out, or a response with
/// one of `statuses`. Injected faults never count. If all endpoints are ejected, all are used.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EjectionSpec {
    /// The number of consecutive failures that eject an endpoint. Default: 5.
    pub failures: Option<Spanned<u32>>,
    /// How long it stays ejected. Default: 30s.
    pub duration: Option<Spanned<Time>>,
    /// The largest share of endpoints that can be ejected at once. Default: 50%.
    pub max: Option<Spanned<Share>>,
    /// Responses with these statuses also count as failures. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<Spanned<u16>>,
}

/// Timeouts for an upstream.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeoutsSpec {
    /// For a new connection, the TLS handshake included; also for looking up its name. Default: 5s.
    pub connect: Option<Spanned<Time>>,
    /// For the first byte of a response, and between two pieces of it, once the whole request has been sent; 0 means
    /// unlimited. It ends responses that take longer, also if no rule matches. Default: 60s.
    pub read: Option<Time>,
    /// Instead of `read` for what may be silent for long: between two pieces of a stream of messages (server-sent events,
    /// newline-delimited JSON, gRPC), and in either direction of an upgraded connection (WebSocket). 0 means unlimited.
    /// Default: 0.
    pub stream: Option<Time>,
    /// For the upstream to accept a piece of a request; 0 means unlimited. Default: 60s.
    pub write: Option<Time>,
    /// How long an unused connection is kept for the next request; 0 makes a new connection for each. The default of 4s
    /// is below the 5s after which many servers close: a request sent just as the server closes would fail.
    pub idle: Option<Time>,
}

/// TLS settings for an upstream. File names are relative to the configuration's folder.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTlsSpec {
    /// A PEM file with the certificate authorities to trust, instead of the system's.
    pub ca: Option<Spanned<String>>,
    /// The name to send (SNI) and to verify in the certificate. Default: the URL's host.
    pub sni: Option<Spanned<String>>,
    /// A PEM file with the client certificate and its chain, for upstreams that ask for one (mutual TLS).
    pub certificate: Option<Spanned<String>>,
    /// A PEM file with the private key of `certificate`.
    pub key: Option<Spanned<String>>,
    /// false accepts every certificate of the upstream, for any name. Default: true.
    pub verify: Option<bool>,
}
