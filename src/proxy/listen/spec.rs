//! The configuration of listeners, as typed.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::cors::spec::CorsSpec;
use crate::proxy::net::address::AddressSpec;
use crate::rule::spec::{MatchSpec, NetworkSpec};
use crate::yaml::decode::Spanned;
use crate::yaml::forms::OneOrMany;
use crate::yaml::units::Time;

/// An address that squall listens on.
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerSpec {
    /// Where it listens: 127.0.0.1:8080, or unix:/run/squall.sock.
    pub address: Spanned<AddressSpec>,
    /// `http`: HTTP/1.1 and HTTP/2, by ALPN over TLS and by prior knowledge without. `tcp`: bytes of any protocol.
    pub protocol: Option<Spanned<ProtocolSpec>>,
    /// The name of the upstream that requests go to, unless a route takes them.
    pub upstream: Option<Spanned<String>>,
    /// Where requests go that match: the first route counts. Those that none takes go to `upstream`, or get a 404.
    pub routes: Option<Spanned<Vec<Spanned<RouteSpec>>>>,
    /// `false`: the listener is down. It refuses connections, and a reload that switches it off ends those that are open.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// Certificates, for HTTPS.
    pub tls: Option<Spanned<ListenerTlsSpec>>,
    /// How long clients may take. Once the head of a request has arrived, none of them ends it.
    pub timeouts: Option<ListenerTimeoutsSpec>,
    /// true: a proxy in front begins each connection with a header of the PROXY protocol, v1 or v2, whose addresses count as
    /// the client's. A connection without one is closed. Anyone who can connect can claim any address. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_protocol: bool,
    /// Proxies in front of squall whose `X-Forwarded-For` is trusted, as addresses or networks. Absent: none.
    pub trusted_proxies: Option<OneOrMany<NetworkSpec>>,
    /// Which pages of other origins may read injected responses and those of fakes: `mirror`, or `{origins: […]}`. Rules spare
    /// preflights then. Default: that of the fake, if the upstream is one; else none.
    pub cors: Option<Spanned<CorsSpec>>,
}

impl ListenerSpec {
    /// The upstreams that its requests go to: by routes, then by itself.
    pub fn upstreams(&self) -> impl Iterator<Item = &Spanned<String>> {
        let routes = self.routes.iter().flat_map(|routes| &routes.value);
        routes.map(|route| &route.value.upstream).chain(&self.upstream)
    }

    /// Whether its connections are bytes of any protocol.
    pub fn is_tcp(&self) -> bool {
        let protocol = self.protocol.as_ref();
        protocol.is_some_and(|protocol| protocol.value == ProtocolSpec::Tcp)
    }
}

fn yes() -> bool {
    true
}

fn is_true(flag: &bool) -> bool {
    *flag
}

/// Sends some of a listener's requests to an upstream.
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// The requests that it takes. Absent: all of them.
    #[serde(rename = "match")]
    pub matches: Option<Box<MatchSpec>>,
    /// The name of the upstream that they go to.
    pub upstream: Spanned<String>,
    /// A prefix that is taken off the path, of whole segments: with `/a`, the upstream gets `/b` for `/a/b`. The route then takes
    /// only paths that begin with it.
    pub strip_prefix: Option<Spanned<String>>,
    /// A prefix that is put before the path, once `strip_prefix` is off.
    pub add_prefix: Option<Spanned<String>>,
}

/// Timeouts for a listener's clients.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTimeoutsSpec {
    /// For the TLS handshake. Default: 10s.
    pub handshake: Option<Spanned<Time>>,
    /// For the whole head of a request, from its first byte on. Default: 60s.
    pub header: Option<Spanned<Time>>,
    /// How long a connection may be without a request, also before its first; on HTTP/2 up to double that. Default: 60s. On a
    /// TCP listener, how long it may be without a byte in either direction. Default there: unlimited.
    pub idle: Option<Spanned<Time>>,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolSpec {
    /// HTTP/1.x and HTTP/2.
    Http,
    /// Bytes.
    Tcp,
}

/// A listener's certificates: PEM files, relative to the configuration file. They are read again when they change.
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTlsSpec {
    /// The certificate chain.
    pub certificate: Option<Spanned<PathBuf>>,
    /// The private key.
    pub key: Option<Spanned<PathBuf>>,
    /// Several certificates, instead of `certificate` and `key`. A client gets the one for the name that it asks for
    /// (SNI), or the first if there is none.
    pub certificates: Option<Spanned<Vec<PairSpec>>>,
    /// The authority that must have issued clients' certificates: mutual TLS. Absent: clients need no certificate.
    pub client_ca: Option<Spanned<PathBuf>>,
}

/// A certificate and its key: PEM files, relative to the configuration file.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PairSpec {
    /// The certificate chain, leaf certificate first.
    pub certificate: Spanned<PathBuf>,
    /// The private key.
    pub key: Spanned<PathBuf>,
}
