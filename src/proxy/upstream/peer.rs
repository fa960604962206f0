//! Endpoints as peers for Pingora's connector.
//!
//! Most of a peer is prepared when the configuration is loaded. A request clones this template, which for a plain endpoint
//! with an IP address is one allocation, without a lock or a look-up.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use pingora::protocols::TcpKeepalive;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::upstreams::peer::{ALPN, HttpPeer};
use rustls::pki_types::ServerName;

use super::Original;
use super::forward::{Allow, not_allowed};
use super::resolve::Resolver;
use super::target::{HttpTarget, TargetAddress};
use super::tls::{ClientTls, Handshake};

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
    /// The versions of HTTP to offer over TLS; without TLS the highest is spoken.
    pub(super) alpn: ALPN,
    /// Whether to use the client's version of HTTP.
    pub(super) follows_client: bool,
    /// TLS settings, for `https` endpoints.
    pub(super) tls: Option<Tls>,
    /// What to do with the `Host` header.
    pub(super) host: HostHeader,
    /// The time limits.
    pub(super) timeouts: Timeouts,
    /// The hosts and addresses that may be connected to; `None`: those that the configuration names.
    pub(super) allow: Option<Arc<Allow>>,
}

/// The usable form of an upstream's `tls`.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) client: ClientTls,
    /// The server name to send and to verify, instead of the URL's host.
    pub(super) name: Option<String>,
}

impl Tls {
    /// The name to send and to verify: the configured one, or else `host`, the target's own.
    ///
    /// # Errors
    /// A sentence that says that there is no valid name, and how to give one.
    pub(super) fn server(&self, host: Option<String>) -> Result<ServerName<'static>, String> {
        let name = self.name.clone().or(host).unwrap_or_default();
        ServerName::try_from(name.clone())
            .map_err(|_| format!("`{name}` is not a valid certificate name: set `tls: {{sni: NAME}}`"))
    }
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

/// Where to connect to for one request.
#[derive(Debug)]
pub(in crate::proxy) struct Destination {
    /// The address and the options; never with TLS.
    pub(super) peer: Box<HttpPeer>,
    /// The handshake to perform; `None` without TLS.
    pub(super) handshake: Option<Arc<Handshake>>,
}

/// One place that serves requests.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// The endpoint as written in the configuration, without the scheme: `10.0.0.1:80`, `unix:/run/app.sock`.
    pub(super) label: String,
    /// The `Host` header to send, or `None` to send the client's.
    pub(super) host: Option<HeaderValue>,
    /// `None` without TLS.
    handshake: Option<Arc<Handshake>>,
    template: HttpPeer,
    resolver: Option<Arc<Resolver>>,
    /// Whether to use the client's version of HTTP.
    follows_client: bool,
    /// The addresses that may be connected to, where that is looked at for each connection.
    allow: Option<Arc<Allow>>,
}

impl Endpoint {
    /// Prepares an endpoint for requests.
    ///
    /// # Errors
    ///
    /// A sentence that says why the target and the settings don't fit together.
    pub(super) fn new(target: &HttpTarget, settings: &Settings) -> Result<Self, String> {
        let handshake = handshake(target, settings)?;
        // Only tells connections to servers of one address apart; Pingora does no TLS.
        let name = handshake.as_ref().map_or(Cow::Borrowed(""), Handshake::server);
        let plain = |address| HttpPeer::new(address, false, name.into_owned());
        let mut resolver = None;
        let mut template = match &target.place {
            TargetAddress::Ip(address) => plain(*address),
            TargetAddress::Name(host, port) => {
                let timeout = settings.timeouts.connect;
                let allow = settings.allow.clone();
                resolver = Some(Arc::new(Resolver::new(host.clone(), *port, timeout).within(allow)));
                plain(SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port)))
            }
            TargetAddress::Unix(path) => unix_peer(path)?,
            // The address comes with each request.
            TargetAddress::Original => plain(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
        };
        template.group_key = settings.group_key;
        set_options(&mut template, settings);
        template.options.custom_l4 = resolver.clone().map(|resolver| resolver as _);
        Ok(Self {
            label: target.place.to_string(),
            host: host_header(target, settings)?,
            handshake: handshake.map(Arc::new),
            template,
            resolver,
            follows_client: settings.follows_client,
            allow: settings.allow.clone(),
        })
    }

    /// Where to connect to. `original` is the original destination, for an endpoint without an address.
    ///
    /// # Errors
    ///
    /// The name can't be resolved, or may not be connected to.
    pub(super) async fn destination(&self, original: Option<&Original>) -> pingora::Result<Destination> {
        let mut peer = Box::new(self.template.clone());
        if let Some(original) = original {
            peer._address = PeerAddress::Inet(original.destination);
            if self.follows_client {
                peer.options.alpn = if original.http2 { ALPN::H2 } else { ALPN::H1 };
            }
        } else if let Some(resolver) = &self.resolver {
            peer._address = PeerAddress::Inet(resolver.first().await?);
        } else if let (Some(allow), PeerAddress::Inet(address)) = (&self.allow, &peer._address) {
            allow.check(&address.ip().to_string(), *address).map_err(not_allowed)?;
        }
        let handshake = self.handshake.clone();
        Ok(Destination { peer, handshake })
    }
}

/// The handshake with a target, for the name to send and to verify; `None` without TLS.
fn handshake(target: &HttpTarget, settings: &Settings) -> Result<Option<Handshake>, String> {
    let Some(tls) = settings.tls.as_ref().filter(|_| target.tls) else {
        return Ok(None);
    };
    Ok(Some(tls.client.handshake(tls.server(target.place.host())?)))
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
    options.alpn = settings.alpn.clone();
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
}

fn host_header(target: &HttpTarget, settings: &Settings) -> Result<Option<HeaderValue>, String> {
    match &settings.host {
        HostHeader::Preserve => Ok(None),
        HostHeader::Fixed(value) => Ok(Some(value.clone())),
        HostHeader::Upstream => {
            let name = settings.tls.as_ref().filter(|_| target.tls);
            let name = name.and_then(|tls| tls.name.as_deref());
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
