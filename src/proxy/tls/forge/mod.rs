//! Faulty certificates, which a client must not accept, and the authority that issues them.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use super::names::Name;
use super::{crypto_provider, pem};
use crate::fault::certificate::CertificateSpec;

/// The name in `wrong-host` certificates. `.invalid` is reserved (RFC 2606, section 2), so no real host has it.
const WRONG_HOST: &str = "wrong-host.squall.invalid";

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The authority that issues faulty certificates.
pub struct FaultAuthority {
    issuer: Issuer<'static, KeyPair>,
    /// The authority's certificate and those of its issuers, in PEM.
    pem: String,
    /// What a server sends after its own certificate: the authority's chain, or nothing if the authority is a root.
    chain: Vec<CertificateDer<'static>>,
    /// The key of all faulty certificates.
    key: KeyPair,
    /// Whether the authority's certificate has a subject key identifier (RFC 5280, section 4.2.1.2).
    identified: bool,
    made: bool,
}

impl FaultAuthority {
    /// Creates an authority with a new key.
    ///
    /// # Errors
    /// The system's random number generator fails.
    pub fn make() -> Result<FaultAuthority, String> {
        let broken = |error: rcgen::Error| format!("can't create the authority of faulty certificates: {error}");
        let signing = KeyPair::generate().map_err(broken)?;
        let now = SystemTime::now();
        let mut params = named("squall fault authority", now - 730 * DAY, now + 3650 * DAY);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&signing).map_err(broken)?.pem();
        Ok(FaultAuthority {
            issuer: Issuer::new(params, signing),
            pem,
            chain: Vec::new(),
            key: KeyPair::generate().map_err(broken)?,
            identified: true,
            made: true,
        })
    }

    /// Loads the user's own authority from PEM files, with the key in PKCS#8.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it.
    pub fn load(certificate: &Path, key: &Path) -> Result<FaultAuthority, String> {
        let bytes = pem::read(certificate)?;
        let chain = pem::certificates_in(&bytes, certificate)?;
        let signing = signing_key(key)?;
        let unusable = |what: &str| format!("{}: {what}", certificate.display());
        let own = chain
            .first()
            .ok_or_else(|| unusable("there is no certificate in this file"))?;
        let (_, parsed) = X509Certificate::from_der(own).map_err(|error| unusable(&error.to_string()))?;
        if !parsed.is_ca() {
            return Err(unusable("the first certificate is not a certificate authority (CA)"));
        }
        // Compared here and not by rustls, which refuses certificates with critical extensions that it doesn't know.
        if *parsed.public_key().subject_public_key.data != *signing.der_bytes() {
            return Err(pem::mismatch(certificate, key));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished_name(parsed.subject())
            .ok_or_else(|| unusable("the authority's name has a repeated part, or one that is not a string"))?;
        let identifier = key_identifier(&parsed);
        let identified = identifier.is_some();
        params.key_identifier_method = KeyIdMethod::PreSpecified(identifier.unwrap_or_default());
        let is_root = parsed.subject().as_raw() == parsed.issuer().as_raw();
        Ok(FaultAuthority {
            issuer: Issuer::new(params, signing),
            pem: certificates_only(&String::from_utf8_lossy(&bytes)),
            chain: if is_root { Vec::new() } else { chain },
            key: KeyPair::generate().map_err(|error| format!("can't create a key: {error}"))?,
            identified,
            made: false,
        })
    }

    /// The authority's certificate, in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Whether squall created the authority, so that reloads can keep it.
    pub fn is_made(&self) -> bool {
        self.made
    }

    /// Issues a certificate for `names` that is faulty as `what` says.
    ///
    /// # Errors
    /// The certificate can't be created; no configuration or traffic leads to that.
    pub(super) fn issue(&self, what: CertificateSpec, names: &[Name]) -> Result<CertifiedKey, String> {
        let broken = |error: rcgen::Error| format!("can't create a faulty certificate: {error}");
        let params = self.params(what, names);
        let mut chain = Vec::new();
        match what {
            CertificateSpec::SelfSigned => chain.push(params.self_signed(&self.key).map_err(broken)?.into()),
            CertificateSpec::Expired | CertificateSpec::WrongHost => {
                chain.push(params.signed_by(&self.key, &self.issuer).map_err(broken)?.into());
                chain.extend(self.chain.iter().cloned());
            }
        }
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        CertifiedKey::from_der(chain, key, &crypto_provider())
            .map_err(|error| format!("can't use a faulty certificate: {error}"))
    }

    fn params(&self, what: CertificateSpec, names: &[Name]) -> CertificateParams {
        let now = SystemTime::now();
        let (from, to) = match what {
            CertificateSpec::Expired => (now - 90 * DAY, now - DAY),
            CertificateSpec::SelfSigned | CertificateSpec::WrongHost => (now - DAY, now + 90 * DAY),
        };
        let mut params = named("squall: faulty on purpose", from, to);
        params.subject_alt_names = match what {
            CertificateSpec::WrongHost => dns_name(WRONG_HOST).into_iter().collect(),
            CertificateSpec::Expired | CertificateSpec::SelfSigned => names.iter().filter_map(alternative).collect(),
        };
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // Required of issued certificates, and strict clients check it (RFC 5280, section 4.2.1.1).
        params.use_authority_key_identifier_extension = what != CertificateSpec::SelfSigned && self.identified;
        params
    }
}

impl fmt::Debug for FaultAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultAuthority")
            .field("made", &self.made)
            .finish_non_exhaustive()
    }
}

/// Parameters of a certificate with this common name and validity.
fn named(name: &str, from: SystemTime, to: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (from.into(), to.into());
    params.serial_number = Some(serial());
    params
}

fn signing_key(path: &Path) -> Result<KeyPair, String> {
    let der = pem::private_key(path)?;
    let path = path.display();
    let PrivateKeyDer::Pkcs8(pkcs8) = &der else {
        return Err(format!(
            "{path}: this private key is not in PKCS#8: convert it with `openssl pkcs8 -topk8 -nocrypt`"
        ));
    };
    KeyPair::try_from(pkcs8).map_err(|error| {
        let supported = "use RSA, ECDSA with P-256 or P-384, or Ed25519";
        format!("{path}: this private key can't be used ({error}); {supported}")
    })
}

/// Copies a name exactly, since verifiers compare it byte by byte. `None` if rcgen can't reproduce it.
fn distinguished_name(name: &X509Name<'_>) -> Option<DistinguishedName> {
    let mut copy = DistinguishedName::new();
    for part in name.iter() {
        let mut attributes = part.iter();
        let (attribute, None) = (attributes.next()?, attributes.next()) else {
            return None;
        };
        let oid: Vec<u64> = attribute.attr_type().iter()?.collect();
        let kind = DnType::from_oid(&oid);
        if copy.get(&kind).is_some() {
            return None;
        }
        let text = std::str::from_utf8(attribute.attr_value().data).ok()?;
        let value = match attribute.attr_value().header.tag() {
            Tag::Utf8String => DnValue::Utf8String(text.to_owned()),
            Tag::PrintableString => DnValue::PrintableString(text.try_into().ok()?),
            Tag::Ia5String => DnValue::Ia5String(text.try_into().ok()?),
            _ => return None,
        };
        copy.push(kind, value);
    }
    Some(copy)
}

/// The certificate's subject key identifier (RFC 5280, section 4.2.1.2).
fn key_identifier(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
            _ => None,
        })
}

/// Keeps only the certificates of a PEM file, which may contain the private key too.
fn certificates_only(pem: &str) -> String {
    let mut inside = false;
    let mut only = String::new();
    for line in pem.lines() {
        inside |= line.starts_with("-----BEGIN CERTIFICATE-----");
        if inside {
            only.push_str(line);
            only.push('\n');
        }
        inside &= !line.starts_with("-----END CERTIFICATE-----");
    }
    only
}

fn alternative(name: &Name) -> Option<SanType> {
    match name {
        Name::Dns(name) => dns_name(name),
        Name::Ip(address) => Some(SanType::IpAddress(*address)),
    }
}

/// `None` for a name that a certificate can't contain.
fn dns_name(name: &str) -> Option<SanType> {
    Ia5String::try_from(name).ok().map(SanType::DnsName)
}

/// A unique serial number (RFC 5280, section 4.1.2.2): some clients refuse two certificates with the same one.
fn serial() -> SerialNumber {
    let mut bytes = *uuid::Uuid::new_v4().as_bytes();
    // Positive in DER, and without a leading zero byte.
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    SerialNumber::from_slice(&bytes)
}

#[cfg(test)]
mod tests;
