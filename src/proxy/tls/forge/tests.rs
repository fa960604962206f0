use std::sync::Arc;

use super::*;
use crate::proxy::tls::crypto_provider;
use crate::proxy::tls::names::names_of;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};

/// What a client that trusts `authority` says to a certificate for `shop.test`.
fn verdict(authority: &FaultAuthority, what: CertificateSpec) -> Result<(), CertificateError> {
    let names = [Name::Dns("shop.test".into()), Name::Ip([127, 0, 0, 1].into())];
    let certified = authority.issue(what, &names).unwrap();
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authority.pem().as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let client = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto_provider())
        .build()
        .unwrap();
    let (own, chain) = certified.cert.split_first().unwrap();
    let name = ServerName::try_from("shop.test").unwrap();
    match client.verify_server_cert(own, chain, &name, &[], UnixTime::now()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InvalidCertificate(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

fn check(authority: &FaultAuthority) {
    assert!(matches!(
        verdict(authority, CertificateSpec::Expired),
        Err(CertificateError::ExpiredContext { .. })
    ));
    assert!(matches!(
        verdict(authority, CertificateSpec::WrongHost),
        Err(CertificateError::NotValidForNameContext { .. })
    ));
    assert!(matches!(
        verdict(authority, CertificateSpec::SelfSigned),
        Err(CertificateError::UnknownIssuer)
    ));
}

#[test]
fn each_has_one_thing_wrong() {
    check(&FaultAuthority::make().unwrap());
}

/// Writes a CA with this name into `folder`, its key into the same file, and loads it.
fn load(
    folder: &Path,
    name: &[(DnType, DnValue)],
    change: impl FnOnce(&mut CertificateParams),
) -> Result<FaultAuthority, String> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in name {
        params.distinguished_name.push(kind.clone(), value.clone());
    }
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let file = folder.join("ca.pem");
    let text = key.serialize_pem() + &params.self_signed(&key).unwrap().pem();
    std::fs::write(&file, text).unwrap();
    FaultAuthority::load(&file, &file)
}

#[test]
fn an_authority_of_the_users_own_issues_too() {
    let folder = tempfile::tempdir().unwrap();
    let name = [
        (DnType::CountryName, DnValue::PrintableString("DE".try_into().unwrap())),
        (DnType::OrganizationName, DnValue::Utf8String("Täst".to_owned())),
        (DnType::CommonName, DnValue::Ia5String("our own".try_into().unwrap())),
    ];
    let authority = load(folder.path(), &name, |_| {}).unwrap();
    assert!(!authority.is_made());
    assert!(!authority.pem().contains("PRIVATE"), "the key stays here");
    check(&authority);
    let identifier =
        |params: &mut CertificateParams| params.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 20]);
    check(&load(folder.path(), &name, identifier).unwrap());
}

#[test]
fn certificates_of_no_authority_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let name = [(DnType::CommonName, DnValue::Utf8String("a".to_owned()))];
    let refused = |result: Result<FaultAuthority, String>| result.map(|_| ()).unwrap_err();
    let leaf = refused(load(folder.path(), &name, |params| params.is_ca = IsCa::ExplicitNoCa));
    assert!(leaf.contains("not a certificate authority"), "{leaf}");

    load(folder.path(), &name, |_| {}).unwrap();
    let (ca, other) = (folder.path().join("ca.pem"), folder.path().join("other.key"));
    std::fs::write(&other, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let error = refused(FaultAuthority::load(&ca, &other));
    assert!(error.contains("other.key: this private key does not belong"), "{error}");
    std::fs::write(
        &other,
        "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
    )
    .unwrap();
    let error = refused(FaultAuthority::load(&ca, &other));
    assert!(error.contains("PKCS#8"), "{error}");
}

#[test]
fn names_outlive_certificates() {
    let authority = FaultAuthority::make().unwrap();
    let names = [Name::Dns("*.shop.test".into()), Name::Ip([10, 0, 0, 1].into())];
    let issue = |what| authority.issue(what, &names).unwrap();
    for what in [CertificateSpec::Expired, CertificateSpec::SelfSigned] {
        assert_eq!(names_of(issue(what).end_entity_cert().unwrap()), names);
    }
    let wrong = issue(CertificateSpec::WrongHost);
    assert_eq!(
        names_of(wrong.end_entity_cert().unwrap()),
        [Name::Dns(WRONG_HOST.into())]
    );
}
