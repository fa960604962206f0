//! The certificates that an `https` upstream names, read and checked when the configuration is loaded.
//!
//! Pingora takes DER that it trusts to be sound, and panics later on what is not: so every certificate and key is parsed
//! here first.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use pingora::utils::tls::{CertKey, WrappedX509};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Certificate authorities to trust.
pub(super) type Authorities = Arc<[WrappedX509]>;

/// A self-signed certificate whose key was thrown away. Where `verify: false` accepts every certificate, rustls asks for
/// a root nevertheless, and a small container image may have none.
const PLACEHOLDER: &[u8] = include_bytes!("placeholder.pem");

/// Reads one or more certificates of authorities from a PEM file. Also returns the file's bytes.
///
/// # Errors
///
/// A sentence with the file's name.
pub(super) fn read_authorities(path: &Path) -> Result<(Authorities, Vec<u8>), String> {
    let pem = read(path)?;
    let certificates = certificates(path, &pem)?;
    let mut roots = rustls::RootCertStore::empty();
    let mut wrapped = Vec::with_capacity(certificates.len());
    for certificate in certificates {
        wrapped.push(wrap(path, certificate.to_vec())?);
        roots
            .add(certificate)
            .map_err(|error| format!("{}: not usable as a certificate authority: {error}", path.display()))?;
    }
    Ok((wrapped.into(), pem))
}

/// Whether the authorities that the system trusts (or `SSL_CERT_FILE` and `SSL_CERT_DIR`) can be read. Pingora's
/// connector reads them when it is made, and panics if it can't. That there are none at all is fine.
///
/// # Errors
///
/// A sentence.
pub fn check_system_authorities() -> Result<(), String> {
    let mut roots = pingora::tls::RootCertStore::empty();
    pingora::tls::load_platform_certs_incl_env_into_store(&mut roots).map_err(|error| {
        let cause = error.root_cause();
        format!("the system's certificate authorities can't be read (see SSL_CERT_FILE and SSL_CERT_DIR): {cause}")
    })
}

/// Something to give as a root where nothing is verified.
pub(super) fn placeholder() -> Option<Authorities> {
    let certificate = CertificateDer::from_pem_slice(PLACEHOLDER).ok()?;
    let wrapped = wrap(Path::new("placeholder.pem"), certificate.to_vec()).ok()?;
    Some(Arc::new([wrapped]))
}

/// Reads a client certificate with its chain, leaf first, and its private key, from PEM files. Also returns the bytes of
/// both files.
///
/// # Errors
///
/// A sentence with the file's name; also if the key is not the certificate's.
pub(super) fn read_client(certificate: &Path, key: &Path) -> Result<(Arc<CertKey>, Vec<u8>), ClientError> {
    let mut pem = read(certificate).map_err(ClientError::Certificate)?;
    let chain = certificates(certificate, &pem).map_err(ClientError::Certificate)?;
    for one in &chain {
        wrap(certificate, one.to_vec()).map_err(ClientError::Certificate)?;
    }
    let key_pem = read(key).map_err(ClientError::Key)?;
    let der = private_key(key, &key_pem).map_err(ClientError::Key)?;
    pingora::tls::install_default_crypto_provider();
    if let Some(provider) = rustls::crypto::CryptoProvider::get_default() {
        rustls::sign::CertifiedKey::from_der(chain.clone(), der.clone_key(), provider).map_err(|error| {
            ClientError::Key(match error {
                rustls::Error::InconsistentKeys(_) => {
                    format!("{} is not the key of {}", key.display(), certificate.display())
                }
                other => format!("{}: {other}", key.display()),
            })
        })?;
    }
    pem.extend_from_slice(&key_pem);
    let chain = chain.iter().map(|one| one.to_vec()).collect();
    let pair = CertKey::new(chain, der.secret_der().to_vec());
    Ok((Arc::new(pair), pem))
}

/// Which of the two files is at fault.
#[derive(Debug)]
pub(super) enum ClientError {
    /// The certificate's file.
    Certificate(String),
    /// The key's file.
    Key(String),
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("can't read {}: {error}", path.display()))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| format!("{}: {error}", path.display()))?;
    if found.is_empty() {
        return Err(format!("{} holds no certificate in PEM form", path.display()));
    }
    Ok(found)
}

fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            format!(
                "{} holds no private key in PEM form (an encrypted key can't be used)",
                path.display()
            )
        }
        other => format!("{}: {other}", path.display()),
    })?;
    // Pingora tells PKCS#1, PKCS#8 and SEC1 apart by the DER alone.
    PrivateKeyDer::try_from(key.secret_der().to_vec()).map_err(|error| format!("{}: {error}", path.display()))
}

fn wrap(path: &Path, der: Vec<u8>) -> Result<WrappedX509, String> {
    WrappedX509::try_new(der, |der| X509Certificate::from_der(der).map(|(_, parsed)| parsed))
        .map_err(|error| format!("{}: a certificate can't be parsed: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            let made = rcgen::generate_simple_self_signed(vec![format!("{name}.test")]).unwrap();
            fs::write(folder.path().join(format!("{name}.pem")), made.cert.pem()).unwrap();
            let key = made.signing_key.serialize_pem();
            fs::write(folder.path().join(format!("{name}.key")), key).unwrap();
        }
        fs::write(folder.path().join("text.pem"), "not PEM").unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs::write(folder.path().join("broken.pem"), broken).unwrap();
        let broken = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        fs::write(folder.path().join("broken.key"), broken).unwrap();
        folder
    }

    fn client_error(folder: &tempfile::TempDir, certificate: &str, key: &str) -> String {
        let (certificate, key) = (folder.path().join(certificate), folder.path().join(key));
        match read_client(&certificate, &key).map(|_| ()).unwrap_err() {
            ClientError::Certificate(message) => format!("certificate: {message}"),
            ClientError::Key(message) => format!("key: {message}"),
        }
    }

    #[test]
    fn sound_files() {
        let folder = folder();
        let (certificate, key) = (folder.path().join("one.pem"), folder.path().join("one.key"));
        assert_eq!(read_authorities(&certificate).unwrap().0.len(), 1);
        let (pair, pem) = read_client(&certificate, &key).unwrap();
        assert!(!pair.key().is_empty());
        assert!(pem.windows(11).any(|window| window == b"PRIVATE KEY"));
        assert_eq!(placeholder().unwrap().len(), 1);
    }

    #[test]
    fn unsound_files() {
        let folder = folder();
        let authorities = |name| read_authorities(&folder.path().join(name)).map(|_| ()).unwrap_err();
        assert!(
            authorities("absent.pem").contains("can't read"),
            "{}",
            authorities("absent.pem")
        );
        assert!(authorities("text.pem").contains("no certificate"));
        assert!(authorities("one.key").contains("no certificate"));
        assert!(authorities("broken.pem").contains("can't be parsed"));

        let check = |certificate, key, part: &str| {
            let message = client_error(&folder, certificate, key);
            assert!(message.contains(part), "{certificate} {key}: {message}");
        };
        check("absent.pem", "one.key", "certificate: can't read");
        check("broken.pem", "one.key", "certificate: ");
        check("one.pem", "absent.key", "key: can't read");
        check("one.pem", "one.pem", "holds no private key");
        check("one.pem", "broken.key", "key: ");
        check("one.pem", "two.key", "is not the key of");
    }
}
