//! Reads certificates and private keys from PEM files. Errors are sentences that name the file and what is wrong with it.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::crypto_provider;
use crate::files;

/// Reads all certificates of a file, at least one.
pub(in crate::proxy) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    certificates_in(&read(path)?, path)
}

/// All certificates in the bytes of a file, at least one.
pub(super) fn certificates_in(bytes: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if found.is_empty() => Err(in_words(path, "certificate", &pem::Error::NoItemsFound)),
        found => found.map_err(|error| in_words(path, "certificate", &error)),
    }
}

/// Reads a PEM file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    files::read(path, files::MAX_BYTES).map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads the first private key of a file: PKCS#8, PKCS#1 or SEC1.
pub(in crate::proxy) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| in_words(path, "unencrypted private key", &error))
}

/// Makes a root store of the authorities' certificates that were read from `path`.
pub(in crate::proxy) fn roots(path: &Path, certificates: Vec<CertificateDer<'_>>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|_| {
            format!(
                "{}: contains a certificate that can't be used as a certificate authority (CA)",
                path.display()
            )
        })?;
    }
    Ok(roots)
}

/// Joins a chain with its private key, which were read from the files `certificate` and `key`.
pub(in crate::proxy) fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    private_key: PrivateKeyDer<'static>,
    certificate: &Path,
    key: &Path,
) -> Result<CertifiedKey, String> {
    CertifiedKey::from_der(chain, private_key, &crypto_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => mismatch(certificate, key),
        rustls::Error::InvalidCertificate(_) => {
            format!("{}: the first certificate can't be parsed", certificate.display())
        }
        _ => format!(
            "{}: this private key can't be used: RSA, ECDSA with P-256 or P-384, and Ed25519 are supported",
            key.display()
        ),
    })
}

/// The error for a key that does not belong to the certificate.
pub(in crate::proxy) fn mismatch(certificate: &Path, key: &Path) -> String {
    let (certificate, key) = (certificate.display(), key.display());
    format!("{key}: this private key does not belong to the first certificate in {certificate}")
}

fn in_words(path: &Path, what: &str, error: &pem::Error) -> String {
    let path = path.display();
    match error {
        pem::Error::NoItemsFound => format!("{path}: there is no {what} in this file (PEM is expected)"),
        error => format!("{path}: is not valid PEM: {error}"),
    }
}
