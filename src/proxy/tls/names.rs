//! The names in certificates, and the choice of a certificate by server name (SNI).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use smallvec::SmallVec;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// A host, in lower case; the first label may be `*` (RFC 6125, section 6.4.3).
    Dns(Box<str>),
    /// The IP address of a host.
    Ip(IpAddr),
}

impl Name {
    /// Whether a certificate with this name is valid for `host`, which is in lower case.
    pub(crate) fn covers(&self, host: &str) -> bool {
        match self {
            Name::Dns(name) => **name == *host || wildcard(host).is_some_and(|wildcard| **name == *wildcard),
            Name::Ip(_) => false,
        }
    }
}

/// The name with its first label replaced by a star; `None` if `host` has a single label.
fn wildcard(host: &str) -> Option<String> {
    let (_, rest) = host
        .split_once('.')
        .filter(|(label, rest)| !label.is_empty() && !rest.is_empty())?;
    Some(format!("*.{rest}"))
}

/// The names in a certificate: its alternative names, or the common name if it has none, as in old certificates (RFC 2818,
/// section 3.1). Empty if it can't be parsed.
pub(super) fn names_of(certificate: &CertificateDer<'_>) -> Vec<Name> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let alternative = parsed.subject_alternative_name().ok().flatten();
    let names = alternative.iter().flat_map(|names| &names.value.general_names);
    let names: Vec<Name> = names.filter_map(name).collect();
    if !names.is_empty() {
        return names;
    }
    let common = parsed
        .subject()
        .iter_common_name()
        .filter_map(|name| name.as_str().ok());
    common.map(|name| Name::Dns(name.to_ascii_lowercase().into())).collect()
}

fn name(name: &GeneralName<'_>) -> Option<Name> {
    match name {
        GeneralName::DNSName(name) => Some(Name::Dns(name.to_ascii_lowercase().into())),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).ok().map(IpAddr::from);
            v4.or_else(|| <[u8; 16]>::try_from(*bytes).ok().map(IpAddr::from))
                .map(Name::Ip)
        }
        _ => None,
    }
}

/// Certificates, chosen by the client's server name (SNI, RFC 6066, section 3).
#[derive(Debug, Default)]
pub(super) struct ByName {
    certificates: Vec<Arc<CertifiedKey>>,
    /// Indices into `certificates` by name, in order.
    places: HashMap<Box<str>, SmallVec<[usize; 1]>>,
}

impl ByName {
    /// Appends a certificate.
    pub(super) fn add(&mut self, certificate: CertifiedKey, names: &[Name]) {
        for name in names {
            if let Name::Dns(name) = name {
                self.places
                    .entry(name.clone())
                    .or_default()
                    .push(self.certificates.len());
            }
        }
        self.certificates.push(Arc::new(certificate));
    }

    /// The certificates for a name, best first: exact names, then wildcards, then the first certificate.
    fn candidates(&self, host: Option<&str>) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        let host = host.map(str::to_ascii_lowercase);
        let places = |name: Option<&str>| {
            let places = name.and_then(|name| self.places.get(name));
            places.map(SmallVec::as_slice).unwrap_or_default()
        };
        let wildcard = host.as_deref().and_then(wildcard);
        let (exact, starred) = (places(host.as_deref()), places(wildcard.as_deref()));
        let all = exact.iter().chain(starred).chain(&[0]);
        all.filter_map(|place| self.certificates.get(*place))
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Of two certificates for one name, such as ECDSA and RSA, the client may support only one.
        let usable = |one: &&Arc<CertifiedKey>| one.key.choose_scheme(hello.signature_schemes()).is_some();
        let host = hello.server_name();
        let found = self
            .candidates(host)
            .find(usable)
            .or_else(|| self.candidates(host).next());
        found.cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::tls::crypto_provider;
    use rustls::pki_types::PrivateKeyDer;

    fn certificate(names: &[&str]) -> (CertifiedKey, Vec<Name>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let names = names_of(made.cert.der());
        let certified = CertifiedKey::from_der(vec![made.cert.into()], key, &crypto_provider()).unwrap();
        (certified, names)
    }

    #[test]
    fn exact_names_come_before_wildcards_and_the_first_is_for_all_others() {
        let mut all = ByName::default();
        for names in [
            &["first.test", "192.0.2.1"][..],
            &["*.shop.test"],
            &["Pay.Shop.Test", "*.pay.shop.test"],
        ] {
            let (certified, names) = certificate(names);
            all.add(certified, &names);
        }
        let chosen = |host: Option<&str>| {
            let best = all.candidates(host).next().unwrap();
            all.certificates.iter().position(|one| Arc::ptr_eq(one, best)).unwrap()
        };
        for (host, expect) in [
            (Some("first.test"), 0),
            (Some("a.shop.test"), 1),
            (Some("pay.shop.test"), 2),
            (Some("PAY.shop.test"), 2),
            (Some("x.pay.shop.test"), 2),
            (Some("a.b.shop.test"), 0),
            (Some("shop.test"), 0),
            (Some("other"), 0),
            (None, 0),
        ] {
            assert_eq!(chosen(host), expect, "{host:?}");
        }
    }

    #[test]
    fn names_are_read_from_certificates() {
        let (_, names) = certificate(&["A.test", "*.b.test", "192.0.2.1", "::1"]);
        assert!(names.contains(&Name::Dns("a.test".into())));
        assert!(names.contains(&Name::Ip([192, 0, 2, 1].into())));
        assert!(names.contains(&Name::Ip("::1".parse().unwrap())));
        assert!(names.iter().any(|name| name.covers("x.b.test")));
        assert!(!names.iter().any(|name| name.covers("x.y.b.test")));
        assert!(!names.iter().any(|name| name.covers("b.test")));
        let junk = CertificateDer::from(vec![1, 2, 3]);
        assert_eq!(names_of(&junk), []);
    }
}
