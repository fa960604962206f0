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

fn load(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Result<ServerTls, String> {
    let pair = Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    };
    ServerTls::load(&[pair], client_ca)
}

fn check(certificate: &Path, key: &Path, client_ca: Option<&Path>, expect: &str) {
    let error = load(certificate, key, client_ca).unwrap_err();
    assert!(error.contains(expect), "{error}");
}

#[test]
fn good_files_load() {
    let (files, certificate, key) = files();
    load(&certificate, &key, None).unwrap();
    load(&certificate, &key, Some(&certificate)).unwrap();
    let both = std::fs::read_to_string(&key).unwrap() + &std::fs::read_to_string(&certificate).unwrap();
    let both = files.write("both.pem", &both);
    load(&both, &both, None).unwrap();
}

#[test]
fn errors_name_the_file_and_what_is_wrong() {
    let (files, certificate, key) = files();
    let absent = files.dir.path().join("absent.pem");
    check(&absent, &key, None, "absent.pem: there is no such file");
    check(&certificate, &absent, None, "absent.pem: there is no such file");
    check(files.dir.path(), &key, None, "it is a folder, not a file");
    check(&key, &key, None, "web.key: there is no certificate in this file");
    check(
        &certificate,
        &certificate,
        None,
        "web.pem: there is no unencrypted private key in this file",
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
    check(&junk, &key, None, "junk.pem: the first certificate can't be parsed");
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
    load(&old, &key, None).unwrap();

    let problem = |path: &Path| validity_problem(&pem::certificates(path).unwrap()[0]);
    assert!(problem(&old).unwrap().contains("2002"));
    assert_eq!(problem(&fresh), None);
}
