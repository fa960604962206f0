//! Reads and checks the certificates of `https` upstreams when the configuration is loaded. Errors are sentences that name
//! the file.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::tls::Authorities;
use crate::proxy::tls::pem;

/// Reads one or more certificates of authorities from a PEM file.
pub(super) fn authorities(path: &Path) -> Result<Authorities, String> {
    let certificates = parsed(path)?;
    let roots = pem::roots(path, certificates.clone())?;
    Ok(Authorities::new(certificates, roots))
}

/// Reads a client certificate with its chain, leaf first.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    parsed(path)
}

/// Joins a client certificate, read from `certificate`, with its private key, which is read from `key`.
pub(super) fn pair(
    chain: Vec<CertificateDer<'static>>,
    certificate: &Path,
    key: &Path,
) -> Result<CertifiedKey, String> {
    pem::certified_key(chain, pem::private_key(key)?, certificate, key)
}

/// Reads certificates, of which rustls would look at some only in a handshake.
fn parsed(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = pem::certificates(path)?;
    for one in &certificates {
        X509Certificate::from_der(one)
            .map_err(|error| format!("{}: a certificate can't be parsed: {error}", path.display()))?;
    }
    Ok(certificates)
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
        assert_eq!(authorities(&certificate).unwrap().certificates().len(), 1);
        let pair = pair(chain(&certificate).unwrap(), &certificate, &key).unwrap();
        assert_eq!(pair.cert.len(), 1);
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
