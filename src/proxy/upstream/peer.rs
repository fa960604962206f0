//! Endpoints as peers for Pingora's connector.
//!
//! Most of a peer is prepared when the configuration is loaded. A request clones this template, which for a plain endpoint
//! with an IP address is one allocation, without a lock or a look-up.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use pingora::protocols::TcpKeepalive;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::upstreams::peer::{ALPN, HttpPeer};
use pingora::utils::tls::CertKey;

use super::Original;
use super::certificates::Authorities;
use super::resolve::Resolver;
use super::target::{HttpTarget, TargetAddress};
use crate::proxy::upstream::spec::Protocol;

/// The receive window of an HTTP/2 stream, in bytes, which squall buffers for a slow client. Pingora's default of 8 MB
/// would hide back-pressure.
const H2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The most streams on one HTTP/2 connection before another is opened; the server may allow fewer.
const H2_STREAMS_MAX: u32 = 100;
/// The receive window of an HTTP/2 connection: the sum of its streams' windows, so that stalled ones never block others.
const H2_CONNECTION_WINDOW_BYTES: u32 = H2_STREAM_WINDOW_BYTES * H2_STREAMS_MAX;

/// The settings that all endpoints of an upstream share.
#[derive(Debug)]
pub(super) struct Settings {
    /// Separates the pooled connections of different upstreams and configurations. Pingora ignores many of a peer's settings
    /// when it looks for a reusable connection.
    pub(super) group_key: u64,
    /// The version of HTTP to use; `None`: the client's.
    pub(super) protocol: Option<Protocol>,
    /// TLS settings for `https` endpoints.
    pub(super) tls: Tls,
    /// What to do with the `Host` header.
    pub(super) host: HostHeader,
    /// The time limits.
    pub(super) timeouts: Timeouts,
}

/// The usable form of an upstream's `tls`.
#[derive(Debug, Default)]
pub(super) struct Tls {
    /// The server name to send and to verify, instead of the URL's host.
    pub(super) name: Option<String>,
    /// Trusted instead of the system's authorities.
    pub(super) authorities: Option<Authorities>,
    /// The client certificate, for servers that request one.
    pub(super) client: Option<Arc<CertKey>>,
    /// False accepts every certificate.
    pub(super) verify: bool,
}

/// The usable form of an upstream's `host`.
#[derive(Debug, Default)]
pub(super) enum HostHeader {
    /// As the client sent it.
    #[default]
    Preserve,
    /// The name in `tls.sni` or the URL.
    Upstream,
    /// A name given in the configuration.
    Fixed(HeaderValue),
}

/// Time limits; `None` means unlimited.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timeouts {
    /// For connecting, including the TLS handshake, and for the look-up of a name.
    pub(super) connect: Duration,
    /// Between two pieces of a response, and before the first.
    pub(super) read: Option<Duration>,
    /// Between two pieces of a stream of messages or of an upgraded connection.
    pub(super) stream: Option<Duration>,
    /// For the upstream to accept a piece of a request.
    pub(super) write: Option<Duration>,
    /// How long an idle connection is kept; with zero none is used twice.
    pub(super) idle: Duration,
}

/// One place that serves requests.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// The endpoint as written in the configuration, without the scheme: `10.0.0.1:80`, `unix:/run/app.sock`.
    pub(super) label: String,
    /// The `Host` header to send, or `None` to send the client's.
    pub(super) host: Option<HeaderValue>,
    template: HttpPeer,
    resolver: Option<Arc<Resolver>>,
    /// Whether to use the client's version of HTTP.
    follows_client: bool,
}

impl Endpoint {
    /// Prepares an endpoint for requests.
    ///
    /// # Errors
    ///
    /// A sentence that says why the target and the settings don't fit together.
    pub(super) fn new(target: &HttpTarget, settings: &Settings) -> Result<Self, String> {
        let sni = sni(target, settings)?;
        let mut resolver = None;
        let mut template = match &target.place {
            TargetAddress::Ip(address) => HttpPeer::new(*address, target.tls, sni),
            TargetAddress::Name(host, port) => {
                let timeout = settings.timeouts.connect;
                resolver = Some(Arc::new(Resolver::new(host.clone(), *port, timeout)));
                HttpPeer::new(SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port)), target.tls, sni)
            }
            TargetAddress::Unix(path) => unix_peer(path)?,
            // The address comes with each request.
            TargetAddress::Original => HttpPeer::new(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), false, sni),
        };
        template.group_key = settings.group_key;
        set_options(&mut template, settings);
        template.options.custom_l4 = resolver.clone().map(|resolver| resolver as _);
        Ok(Self {
            label: target.place.to_string(),
            host: host_header(target, settings)?,
            template,
            resolver,
            follows_client: settings.protocol.is_none(),
        })
    }

    /// The peer to connect to. `original` is the original destination, for an endpoint without an address.
    ///
    /// # Errors
    ///
    /// The name can't be resolved.
    pub(super) async fn peer(&self, original: Option<&Original>) -> pingora::Result<Box<HttpPeer>> {
        let mut peer = Box::new(self.template.clone());
        if let Some(original) = original {
            peer._address = PeerAddress::Inet(original.destination);
            if self.follows_client {
                peer.options.alpn = if original.http2 { ALPN::H2 } else { ALPN::H1 };
            }
        } else if let Some(resolver) = &self.resolver {
            peer._address = PeerAddress::Inet(resolver.first().await?);
        }
        Ok(peer)
    }
}

/// The name to verify. With TLS it must not be empty, since Pingora would then verify nothing.
fn sni(target: &HttpTarget, settings: &Settings) -> Result<String, String> {
    if !target.tls {
        return Ok(String::new());
    }
    let name = settings.tls.name.clone().or_else(|| target.host()).unwrap_or_default();
    rustls::pki_types::ServerName::try_from(name.as_str())
        .map_err(|_| format!("`{name}` is not a valid certificate name: set `tls: {{sni: NAME}}`"))?;
    Ok(name)
}

fn unix_peer(path: &Path) -> Result<HttpPeer, String> {
    let text = path
        .to_str()
        .ok_or_else(|| format!("the socket path {} is not UTF-8", path.display()))?;
    HttpPeer::new_uds(text, false, String::new()).map_err(|error| format!("{}: {error}", path.display()))
}

fn set_options(peer: &mut HttpPeer, settings: &Settings) {
    let timeouts = settings.timeouts;
    let options = &mut peer.options;
    options.connection_timeout = Some(timeouts.connect);
    options.total_connection_timeout = Some(timeouts.connect);
    options.read_timeout = timeouts.read;
    options.write_timeout = timeouts.write;
    options.idle_timeout = Some(timeouts.idle);
    options.alpn = match settings.protocol {
        None | Some(Protocol::Http1) => ALPN::H1,
        Some(Protocol::H2 | Protocol::H2c) => ALPN::H2,
        Some(Protocol::Auto) => ALPN::H2H1,
    };
    options.max_h2_streams = usize::try_from(H2_STREAMS_MAX).unwrap_or(1);
    options.h2_stream_window_size = Some(H2_STREAM_WINDOW_BYTES);
    options.h2_connection_window_size = Some(H2_CONNECTION_WINDOW_BYTES);
    options.tcp_keepalive = Some(TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(10),
        count: 6,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::ZERO,
    });
    options.verify_cert = settings.tls.verify;
    options.verify_hostname = settings.tls.verify;
    options.ca = settings.tls.authorities.clone();
    peer.client_cert_key = settings.tls.client.clone();
}

fn host_header(target: &HttpTarget, settings: &Settings) -> Result<Option<HeaderValue>, String> {
    match &settings.host {
        HostHeader::Preserve => Ok(None),
        HostHeader::Fixed(value) => Ok(Some(value.clone())),
        HostHeader::Upstream => {
            let name = settings.tls.name.as_deref().filter(|_| target.tls);
            let authority = target.authority(name).ok_or_else(|| {
                format!(
                    "`{}` has no host name: use `host: NAME` or `host: preserve`",
                    target.place
                )
            })?;
            HeaderValue::from_str(&authority)
                .map(Some)
                .map_err(|_| format!("`{authority}` is not a valid Host header"))
        }
    }
}
