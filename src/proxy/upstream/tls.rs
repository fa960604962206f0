//! TLS towards upstreams: whom to trust, what to present, and the handshake.
//!
//! Pingora's connector is used up to TCP only. For TLS it would build the trusted authorities anew for each connection,
//! resume no session where a `ca` is given, refuse a self-signed server certificate that is that `ca`, and report errors as
//! text.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::{fmt, io};

use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream, TimingDigest,
    UniqueID, UniqueIDType,
};
use pingora::tls::{ClientTlsStream, TlsConnector, load_native_certs};
use pingora::upstreams::peer::ALPN;
use pingora::{ErrorType, OrErr, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::proxy::tls::crypto_provider;

/// The names of the protocols (RFC 7301, section 6; RFC 9113, section 3.1).
const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// Certificates to trust.
#[derive(Clone, Debug)]
pub(super) struct Authorities {
    certificates: Arc<[CertificateDer<'static>]>,
    roots: Arc<RootCertStore>,
}

impl Authorities {
    pub(super) fn new(certificates: Vec<CertificateDer<'static>>, roots: RootCertStore) -> Authorities {
        Authorities {
            certificates: certificates.into(),
            roots: Arc::new(roots),
        }
    }

    /// The system's (or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`), read once per process. None at all is fine: then no
    /// certificate is trusted.
    ///
    /// # Errors
    /// The files can't be read, or have an invalid certificate.
    pub(super) fn of_system() -> Result<Authorities, String> {
        static READ: OnceLock<Authorities> = OnceLock::new();
        if let Some(read) = READ.get() {
            return Ok(read.clone());
        }
        let in_words = |error: &dyn fmt::Display| {
            format!("can't read the system's certificate authorities (see SSL_CERT_FILE and SSL_CERT_DIR): {error}")
        };
        let certificates = load_native_certs().map_err(|error| in_words(&error))?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            let added = roots.add(certificate.clone());
            added.map_err(|_| in_words(&"one of them is not a valid certificate"))?;
        }
        Ok(READ.get_or_init(|| Authorities::new(certificates, roots)).clone())
    }

    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }
}

/// The client side of TLS for all endpoints of an upstream. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ClientTls {
    /// With the ALPN protocols of the configuration.
    configured: Arc<ClientConfig>,
    /// With HTTP/1.1 only, for servers that refuse HTTP/2.
    http1: Arc<ClientConfig>,
}

impl ClientTls {
    /// `trusted`: the authorities that must have issued the server's certificate; `None` accepts any certificate for any name.
    /// `client`: the certificate for servers that ask for one.
    ///
    /// # Errors
    /// TLS can't be set up, which no configuration leads to.
    pub(super) fn new(
        trusted: Option<&Authorities>,
        client: Option<CertifiedKey>,
        alpn: &ALPN,
    ) -> Result<ClientTls, String> {
        let provider = crypto_provider();
        let verifier = ServerVerifier::new(trusted, Arc::clone(&provider))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS can't be set up: {error}"))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut http1 = match client {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(pair));
                builder.with_client_cert_resolver(resolver)
            }
        };
        http1.alpn_protocols = offers(&ALPN::H1);
        let mut configured = http1.clone();
        configured.alpn_protocols = offers(alpn);
        Ok(ClientTls {
            configured: Arc::new(configured),
            http1: Arc::new(http1),
        })
    }

    /// The settings for a protocol that is not HTTP: no ALPN.
    pub(super) fn of_bytes(&self) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.http1);
        config.alpn_protocols.clear();
        Arc::new(config)
    }

    /// The handshake with the server called `server`.
    pub(super) fn handshake(&self, server: ServerName<'static>) -> Handshake {
        Handshake {
            tls: self.clone(),
            server,
        }
    }
}

/// The handshake with one server.
#[derive(Debug)]
pub(super) struct Handshake {
    tls: ClientTls,
    /// The name to send (SNI), unless it is an address, and to verify.
    server: ServerName<'static>,
}

impl Handshake {
    /// The name to send and to verify.
    pub(super) fn server(&self) -> Cow<'_, str> {
        self.server.to_str()
    }

    /// Performs the handshake over a new connection. Has no time limit.
    ///
    /// # Errors
    /// `TLSHandshakeFailure`, caused by an [`io::Error`] that contains rustls's own error if there is one.
    pub(super) async fn perform(&self, stream: Stream, alpn: &ALPN) -> Result<Stream> {
        let http1_only = *alpn == ALPN::H1;
        let config = if http1_only {
            &self.tls.http1
        } else {
            &self.tls.configured
        };
        let connector = TlsConnector::from(Arc::clone(config));
        let secured = connector.connect(self.server.clone(), stream).await;
        let secured = secured.or_err(ErrorType::TLSHandshakeFailure, "TLS with the upstream")?;
        Ok(Box::new(Secured(secured)))
    }
}

/// The protocols to offer (RFC 7301), in order of preference.
fn offers(alpn: &ALPN) -> Vec<Vec<u8>> {
    let both = [(2, HTTP2), (1, HTTP1)].into_iter();
    let wanted = alpn.get_min_http_version()..=alpn.get_max_http_version();
    let offered = both.filter(|(version, _)| wanted.contains(version));
    offered.map(|(_, name)| name.to_vec()).collect()
}

/// Verifies servers' certificates.
#[derive(Debug)]
struct ServerVerifier {
    provider: Arc<CryptoProvider>,
    trust: Trust,
}

#[derive(Debug)]
enum Trust {
    /// Any certificate.
    Any,
    /// No certificate, for lack of authorities.
    Nothing,
    /// Those that authorities have issued, and those of the authorities themselves: what `openssl req -x509` makes for
    /// development is both. OpenSSL, and so curl and Python, accept these too; webpki does not.
    Issued {
        chains: Arc<WebPkiServerVerifier>,
        authorities: Arc<[CertificateDer<'static>]>,
    },
}

impl ServerVerifier {
    fn new(trusted: Option<&Authorities>, provider: Arc<CryptoProvider>) -> Result<ServerVerifier, String> {
        let trust = match trusted {
            None => Trust::Any,
            Some(trusted) if trusted.roots.is_empty() => Trust::Nothing,
            Some(trusted) => {
                let roots = Arc::clone(&trusted.roots);
                let chains = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
                Trust::Issued {
                    chains: chains.map_err(|error| format!("TLS can't be set up: {error}"))?,
                    authorities: Arc::clone(&trusted.certificates),
                }
            }
        };
        Ok(ServerVerifier { provider, trust })
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{Other, UnknownIssuer};
        let (chains, authorities) = match &self.trust {
            Trust::Any => return Ok(ServerCertVerified::assertion()),
            Trust::Nothing => return Err(UnknownIssuer.into()),
            Trust::Issued { chains, authorities } => (chains, authorities),
        };
        let error = match chains.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // webpki has checked the dates, and then found that this is a CA's certificate, or found no issuer.
            Err(rustls::Error::InvalidCertificate(error @ (Other(_) | UnknownIssuer))) => error,
            verified => return verified,
        };
        if !authorities.contains(end_entity) {
            return Err(error.into());
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection with TLS, as Pingora's pool wants it.
#[derive(Debug)]
struct Secured(ClientTlsStream<Stream>);

impl AsyncRead for Secured {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[async_trait::async_trait]
impl Shutdown for Secured {
    async fn shutdown(&mut self) {
        // Fails only if the server has closed the connection first.
        let _closed = self.0.shutdown().await;
    }
}

impl UniqueID for Secured {
    fn id(&self) -> UniqueIDType {
        self.0.get_ref().0.id()
    }
}

impl Ssl for Secured {
    fn selected_alpn_proto(&self) -> Option<ALPN> {
        match self.0.get_ref().1.alpn_protocol()? {
            HTTP2 => Some(ALPN::H2),
            // Nothing else was offered.
            _ => Some(ALPN::H1),
        }
    }
}

impl Peek for Secured {}

impl GetTimingDigest for Secured {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.0.get_ref().0.get_timing_digest()
    }
}

impl GetProxyDigest for Secured {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.0.get_ref().0.get_proxy_digest()
    }
}

impl GetSocketDigest for Secured {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.0.get_ref().0.get_socket_digest()
    }
}
