//! TLS towards clients: certificates from PEM files, chosen by server name (SNI); HTTP/2 and HTTP/1.1 by ALPN; mutual TLS
//! with a client CA; and faulty certificates.

mod forge;
mod hello;
mod names;
pub(super) mod pem;
pub(super) mod words;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pingora::listeners::tls::Acceptor;
use pingora::protocols::IO;
use pingora::protocols::tls::TlsStream;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use x509_parser::prelude::{FromDer, X509Certificate};

pub use self::forge::FaultAuthority;
pub(super) use self::hello::{Hello, client_hello};
use self::names::{ByName, Name, names_of};
use crate::fault::certificate::CertificateSpec;

/// The offered protocols (RFC 7301), in order of preference.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate with its private key, as PEM files; one file may hold both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The file of the chain, leaf certificate first.
    pub certificate: PathBuf,
    /// The file of the key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// The server side of TLS, ready for handshakes. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    acceptor: Arc<Acceptor>,
    /// The names in its certificates.
    names: Arc<[Name]>,
    warnings: Arc<[String]>,
}

impl ServerTls {
    /// Loads certificates with their keys. A client gets the certificate for its server name (SNI), exact names before
    /// wildcards, or else the first one. With `client_ca`, only clients with a certificate issued by one of the authorities in
    /// that file are accepted.
    ///
    /// Speaks TLS 1.2 and 1.3. A certificate that is not valid now is only a warning, since that may be the test.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it.
    pub fn load(pairs: &[Pair], client_ca: Option<&Path>) -> Result<Self, String> {
        let mut certificates = ByName::default();
        let mut names = Vec::new();
        let mut warnings = Vec::new();
        for Pair { certificate, key } in pairs {
            let chain = pem::certificates(certificate)?;
            warnings.extend(chain.first().and_then(validity_problem).map(|problem| {
                let certificate = certificate.display();
                format!("{certificate}: the certificate is not valid now: {problem}")
            }));
            let certified = pem::certified_key(chain, pem::private_key(key)?, certificate, key)?;
            let own = certified.end_entity_cert().map(names_of).unwrap_or_default();
            certificates.add(certified, &own);
            names.extend(own.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
        }

        let provider = crypto_provider();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS can't be set up: {error}"))?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = pem::roots(path, pem::certificates(path)?)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| format!("{}: unusable as a client CA: {error}", path.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self::new(config, names.into(), warnings.into()))
    }

    fn new(config: ServerConfig, names: Arc<[Name]>, warnings: Arc<[String]>) -> Self {
        let config = Arc::new(config);
        Self {
            acceptor: Arc::new(Acceptor::from_server_config(Arc::clone(&config))),
            config,
            names,
            warnings,
        }
    }

    /// The settings for a protocol that is not HTTP: whatever protocols a client offers by ALPN, none is chosen.
    pub fn of_bytes(&self) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols.clear();
        Self::new(config, Arc::clone(&self.names), Arc::clone(&self.warnings))
    }

    /// The certificates that are not valid now, in words.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns a copy for one handshake whose certificate is faulty as `what` says. It is issued for the names of the real
    /// certificates and for `asked`, the client's server name. No session is resumed, so the client sees the certificate.
    ///
    /// # Errors
    /// The certificate can't be created; no configuration or traffic leads to that.
    pub(super) fn faulty(
        &self,
        what: CertificateSpec,
        asked: Option<&str>,
        authority: &FaultAuthority,
    ) -> Result<Self, String> {
        let mut names = self.names.to_vec();
        if let Some(asked) = asked
            && !names.iter().any(|name| name.covers(asked))
        {
            names.push(Name::Dns(asked.into()));
        }
        let certified = authority.issue(what, &names)?;
        let mut config = ServerConfig::clone(&self.config);
        config.cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self::new(config, Arc::clone(&self.names), Arc::clone(&self.warnings)))
    }

    /// Performs the handshake with a client. Has no time limit.
    ///
    /// # Errors
    /// The handshake failed; rustls has sent the client an alert if it could.
    pub(super) async fn accept<S: IO + 'static>(&self, stream: S) -> Result<TlsStream<S>, Box<pingora::Error>> {
        self.acceptor.tls_handshake(stream).await
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// The process-wide cryptography provider, which Pingora uses too (ring). Installed on first use.
pub fn crypto_provider() -> Arc<CryptoProvider> {
    pingora::tls::install_default_crypto_provider();
    CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()))
}

/// When a certificate is valid, if it has expired or is not valid yet.
fn validity_problem(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let validity = parsed.validity();
    (!validity.is_valid()).then(|| format!("it is valid from {} to {}", validity.not_before, validity.not_after))
}

#[cfg(test)]
mod tests;
