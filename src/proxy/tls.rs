//! TLS towards clients: certificates from PEM files, chosen by the name that a client asks for; HTTP/2 and HTTP/1.1 by
//! ALPN; mutual TLS if a client CA is given; and certificates that a client must not accept.

mod forge;
mod hello;
mod names;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pingora::listeners::tls::Acceptor;
use pingora::protocols::IO;
use pingora::protocols::tls::TlsStream;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore, ServerConfig};

pub use self::forge::FaultAuthority;
pub(super) use self::hello::server_name;
use self::names::{ByName, Name, names_of};
use crate::fault::certificate::CertificateSpec;

/// The protocols that are offered (RFC 7301), the best first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate chain (the server's own certificate first) and its private key, both PEM files (PKCS#8, PKCS#1 or SEC1
/// for the key; one file may hold both).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The chain.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// A server's side of TLS, ready for handshakes. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    acceptor: Arc<Acceptor>,
    /// What its certificates are for.
    names: Arc<[Name]>,
}

impl ServerTls {
    /// Loads one certificate: see [`ServerTls::load_all`].
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it.
    pub fn load(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Self, String> {
        let pair = Pair {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        Self::load_all(&[pair], client_ca)
    }

    /// Loads certificates with their keys. A client gets the one with the name that it asks for (SNI), exact names before
    /// wildcards; who asks for none of them, or for nothing, gets the first. With `client_ca`, only clients that show a
    /// certificate issued by one of the authorities in that file are let in.
    ///
    /// TLS 1.2 and 1.3. A certificate that is not valid at present is logged, not refused: that may be the test.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it.
    pub fn load_all(pairs: &[Pair], client_ca: Option<&Path>) -> Result<Self, String> {
        let provider = crypto_provider();
        let mut certificates = ByName::default();
        let mut names = Vec::new();
        for pair in pairs {
            let certified = pair.load(&provider)?;
            let own = certified.end_entity_cert().map(names_of).unwrap_or_default();
            certificates.add(certified, &own);
            names.extend(own.into_iter().filter(|name| !names.contains(name)).collect::<Vec<_>>());
        }

        let broken = |error: rustls::Error| format!("TLS can't be set up: {error}");
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(broken)?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(path)?), provider.clone())
                        .build()
                        .map_err(|error| format!("{}: unusable as a client CA: {error}", path.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self::new(config, names.into()))
    }

    fn new(config: ServerConfig, names: Arc<[Name]>) -> Self {
        let config = Arc::new(config);
        Self {
            acceptor: Arc::new(Acceptor::from_server_config(Arc::clone(&config))),
            config,
            names,
        }
    }

    /// The same, for one handshake, with a certificate that the client must not accept. It is made for the names of the
    /// real ones, and for `asked`, the one that the client asks for. No session is resumed, so the client gets to see it.
    ///
    /// # Errors
    /// A sentence; nothing in a configuration or in traffic leads to one.
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
        let certified = authority.issue(what, &names, &crypto_provider())?;
        let mut config = ServerConfig::clone(&self.config);
        config.cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self::new(config, Arc::clone(&self.names)))
    }

    /// Shakes hands with a client. There is no time limit here.
    ///
    /// # Errors
    /// Whatever the client or rustls found wrong; the client has been told by an alert.
    pub(super) async fn accept<S: IO + 'static>(&self, stream: S) -> Result<TlsStream<S>, Box<pingora::Error>> {
        self.acceptor.tls_handshake(stream).await
    }
}

impl Pair {
    fn load(&self, provider: &Arc<CryptoProvider>) -> Result<CertifiedKey, String> {
        let Pair { certificate, key } = self;
        let chain = certificates(certificate)?;
        warn_if_not_valid_now(&chain, certificate, provider);
        let private_key = PrivateKeyDer::from_pem_file(key).map_err(|error| pem_error(key, "private key", &error))?;
        CertifiedKey::from_der(chain, private_key, provider).map_err(|error| key_error(&error, certificate, key))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// The process's cryptography, installed by whoever asks first; the same that Pingora uses (ring).
pub fn crypto_provider() -> Arc<CryptoProvider> {
    pingora::tls::install_default_crypto_provider();
    CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()))
}

/// All certificates of a PEM file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let what = "certificate";
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| pem_error(path, what, &error))?
        .collect::<Result<_, _>>()
        .map_err(|error| pem_error(path, what, &error))?;
    if found.is_empty() {
        Err(pem_error(path, what, &pem::Error::NoItemsFound))
    } else {
        Ok(found)
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|error| {
            format!(
                "{}: holds a certificate that can't be used as a client CA: {error}",
                path.display()
            )
        })?;
    }
    Ok(store)
}

fn pem_error(path: &Path, what: &str, error: &pem::Error) -> String {
    let path = path.display();
    match error {
        pem::Error::NoItemsFound => format!("{path}: there is no {what} in this file (PEM is expected)"),
        pem::Error::Io(error) if error.kind() == io::ErrorKind::NotFound => format!("{path}: there is no such file"),
        pem::Error::Io(error) => format!("{path}: can't be read: {error}"),
        error => format!("{path}: is not valid PEM: {error}"),
    }
}

fn key_error(error: &rustls::Error, certificate: &Path, key: &Path) -> String {
    let (certificate, key) = (certificate.display(), key.display());
    match error {
        rustls::Error::InconsistentKeys(_) => {
            format!("{key}: this private key does not belong to the first certificate in {certificate}")
        }
        rustls::Error::InvalidCertificate(error) => {
            format!("{certificate}: the first certificate can't be used: {error}")
        }
        error => format!("{key}: this private key can't be used: {error}"),
    }
}

/// Logs a certificate that has expired, or is not valid yet.
///
/// rustls keeps its certificate parser to itself, so the certificate is checked as if it were its own issuer: its
/// dates are looked at before anything else, and only an error about them counts.
fn warn_if_not_valid_now(chain: &[CertificateDer<'static>], path: &Path, provider: &Arc<CryptoProvider>) {
    if let Some(problem) = validity_problem(chain, provider) {
        tracing::warn!(file = %path.display(), "the certificate is not valid now: {problem}");
    }
}

fn validity_problem(chain: &[CertificateDer<'static>], provider: &Arc<CryptoProvider>) -> Option<String> {
    let own = chain.first()?;
    let mut store = RootCertStore::empty();
    store.add(own.clone()).ok()?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider))
        .build()
        .ok()?;
    match verifier.verify_client_cert(own, &[], UnixTime::now()).err()? {
        rustls::Error::InvalidCertificate(
            error @ (CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }),
        ) => Some(error.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use std::path::PathBuf;

    struct Files {
        dir: tempfile::TempDir,
    }

    impl Files {
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    fn files() -> (Files, PathBuf, PathBuf) {
        let files = Files {
            dir: tempfile::tempdir().unwrap(),
        };
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = files.write("web.pem", &made.cert.pem());
        let key = files.write("web.key", &made.signing_key.serialize_pem());
        (files, certificate, key)
    }

    fn check(certificate: &Path, key: &Path, client_ca: Option<&Path>, expect: &str) {
        let error = ServerTls::load(certificate, key, client_ca).unwrap_err();
        assert!(error.contains(expect), "{error}");
    }

    #[test]
    fn good_files_load() {
        let (files, certificate, key) = files();
        ServerTls::load(&certificate, &key, None).unwrap();
        ServerTls::load(&certificate, &key, Some(&certificate)).unwrap();
        let both = std::fs::read_to_string(&key).unwrap() + &std::fs::read_to_string(&certificate).unwrap();
        let both = files.write("both.pem", &both);
        ServerTls::load(&both, &both, None).unwrap();
    }

    #[test]
    fn errors_name_the_file_and_what_is_wrong() {
        let (files, certificate, key) = files();
        let absent = files.dir.path().join("absent.pem");
        check(&absent, &key, None, "absent.pem: there is no such file");
        check(&certificate, &absent, None, "absent.pem: there is no such file");
        check(files.dir.path(), &key, None, "can't be read");
        check(&key, &key, None, "web.key: there is no certificate in this file");
        check(
            &certificate,
            &certificate,
            None,
            "web.pem: there is no private key in this file",
        );
        check(
            &certificate,
            &key,
            Some(&key),
            "web.key: there is no certificate in this file",
        );

        let other = files.write("other.key", &KeyPair::generate().unwrap().serialize_pem());
        check(
            &certificate,
            &other,
            None,
            "other.key: this private key does not belong to the first certificate in",
        );
        let torn = files.write("torn.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
        check(&torn, &key, None, "torn.pem: is not valid PEM");
        let junk = files.write(
            "junk.pem",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        );
        check(&junk, &key, None, "junk.pem: the first certificate can't be used");
        let junk = files.write(
            "junk.key",
            "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n",
        );
        check(&certificate, &junk, None, "junk.key: this private key can't be used");
    }

    #[test]
    fn dates_are_a_warning_only() {
        let (files, fresh, _) = files();
        let key = KeyPair::generate().unwrap();
        let mut old = CertificateParams::new(["localhost".to_owned()]).unwrap();
        old.not_before = date_time_ymd(2001, 1, 1);
        old.not_after = date_time_ymd(2002, 1, 1);
        let old = files.write("old.pem", &old.self_signed(&key).unwrap().pem());
        let key = files.write("old.key", &key.serialize_pem());
        ServerTls::load(&old, &key, None).unwrap();

        let problem = |path: &Path| validity_problem(&certificates(path).unwrap(), &crypto_provider());
        assert!(problem(&old).unwrap().contains("expired"));
        assert_eq!(problem(&fresh), None);
    }
}
