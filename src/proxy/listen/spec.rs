//! The configuration of listeners, as typed.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::proxy::net::address::AddressSpec;
use crate::rule::spec::NetworkSpec;
use crate::yaml::decode::Spanned;
use crate::yaml::forms::OneOrMany;

/// An address that squall listens on.
#[skip_serializing_none]
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerSpec {
    /// Where it listens: 127.0.0.1:8080, or unix:/run/squall.sock.
    pub address: Spanned<AddressSpec>,
    /// `http`: HTTP/1.1 and HTTP/2, by ALPN over TLS and by prior knowledge without.
    pub protocol: Option<Spanned<ProtocolSpec>>,
    /// The name of the upstream that requests go to.
    pub upstream: Spanned<String>,
    /// Certificates, for HTTPS.
    pub tls: Option<Spanned<ListenerTlsSpec>>,
    /// Proxies in front of squall whose `X-Forwarded-For` is trusted, as addresses or networks. Absent: none.
    pub trusted_proxies: Option<OneOrMany<NetworkSpec>>,
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
