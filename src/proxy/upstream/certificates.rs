//! Reads and checks the certificates of `https` upstreams when the configuration is loaded.
//!
//! Pingora accepts DER unchecked and panics later if it is invalid, so every certificate and key is parsed here first.
//! Errors are sentences that name the file.

use std::path::Path;
use std::sync::Arc;

use pingora::utils::tls::{CertKey, WrappedX509};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::proxy::tls::pem;

/// Certificate authorities to trust.
pub(super) type Authorities = Arc<[WrappedX509]>;

/// A self-signed certificate whose key was discarded. Even with `verify: false` rustls needs a root, and a small container
/// image may have none.
const PLACEHOLDER: &[u8] = include_bytes!("placeholder.pem");

/// Reads one or more certificates of authorities from a PEM file.
pub(super) fn authorities(path: &Path) -> Result<Authorities, String> {
    let certificates = pem::certificates(path)?;
    let wrapped = certificates
        .iter()
        .map(|one| wrap(path, one))
        .collect::<Result<_, _>>()?;
    pem::roots(path, certificates)?;
    Ok(wrapped)
}

/// Checks that the system's certificate authorities (or `SSL_CERT_FILE` and `SSL_CERT_DIR`) can be read. Pingora's
/// connector reads them when it is created, and panics on an error. An empty set is fine.
///
/// # Errors
///
/// The operating system's error about the files.
pub fn check_system_authorities() -> Result<(), String> {
    let mut roots = pingora::tls::RootCertStore::empty();
    pingora::tls::load_platform_certs_incl_env_into_store(&mut roots).map_err(|error| {
        let cause = error.root_cause();
        format!("can't read the system's certificate authorities (see SSL_CERT_FILE and SSL_CERT_DIR): {cause}")
    })
}

/// A root for upstreams whose certificates are not verified.
pub(super) fn placeholder() -> Option<Authorities> {
    let certificate = CertificateDer::from_pem_slice(PLACEHOLDER).ok()?;
    let wrapped = wrap(Path::new("placeholder.pem"), &certificate).ok()?;
    Some(Arc::new([wrapped]))
}

/// Reads a client certificate with its chain, leaf first.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = pem::certificates(path)?;
    for one in &chain {
        wrap(path, one)?;
    }
    Ok(chain)
}

/// Joins a client certificate, read from `certificate`, with its private key, which is read from `key`.
pub(super) fn pair(chain: Vec<CertificateDer<'static>>, certificate: &Path, key: &Path) -> Result<CertKey, String> {
    let der = pem::private_key(key)?.secret_der().to_vec();
    // Pingora takes the DER without its kind, and detects PKCS#1, PKCS#8 and SEC1 as `try_from` does.
    let typed = PrivateKeyDer::try_from(der.clone()).map_err(|error| format!("{}: {error}", key.display()))?;
    pem::certified_key(chain.clone(), typed, certificate, key)?;
    let chain = chain.iter().map(|one| one.to_vec()).collect();
    Ok(CertKey::new(chain, der))
}

fn wrap(path: &Path, der: &CertificateDer<'_>) -> Result<WrappedX509, String> {
    WrappedX509::try_new(der.to_vec(), |der| {
        X509Certificate::from_der(der).map(|(_, parsed)| parsed)
    })
    .map_err(|error| format!("{}: a certificate can't be parsed: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

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

    #[test]
    fn sound_files() {
        let folder = folder();
        let (certificate, key) = (folder.path().join("one.pem"), folder.path().join("one.key"));
        assert_eq!(authorities(&certificate).unwrap().len(), 1);
        let pair = pair(chain(&certificate).unwrap(), &certificate, &key).unwrap();
        assert!(!pair.key().is_empty());
        assert_eq!(placeholder().unwrap().len(), 1);
    }

    #[test]
    fn unsound_files() {
        let folder = folder();
        let path = |name| folder.path().join(name);
        for (name, part) in [
            ("absent.pem", "absent.pem: there is no such file"),
            ("text.pem", "there is no certificate"),
            ("one.key", "there is no certificate"),
            ("broken.pem", "can't be parsed"),
        ] {
            let message = authorities(&path(name)).unwrap_err();
            assert!(message.contains(part), "{name}: {message}");
            let message = chain(&path(name)).unwrap_err();
            assert!(message.contains(part), "{name}: {message}");
        }
        let certificate = path("one.pem");
        for (name, part) in [
            ("absent.key", "absent.key: there is no such file"),
            ("one.pem", "there is no unencrypted private key"),
            ("broken.key", "broken.key: "),
            ("two.key", "two.key: this private key does not belong to"),
        ] {
            let message = pair(chain(&certificate).unwrap(), &certificate, &path(name)).unwrap_err();
            assert!(message.contains(part), "{name}: {message}");
        }
    }
}
