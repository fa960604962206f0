//! Checks `tls` of an upstream and reads its certificates and keys.

use std::path::Path;

use pingora::upstreams::peer::ALPN;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;

use super::Builder;
use crate::proxy::upstream::certificates;
use crate::proxy::upstream::peer::Tls;
use crate::proxy::upstream::spec::UpstreamTlsSpec;
use crate::proxy::upstream::tls::{Authorities, ClientTls};
use crate::yaml::decode::Spanned;

impl Builder<'_> {
    /// `spoken`: whether the targets speak TLS, if they are valid. `None` without TLS, and on errors.
    pub(super) fn tls(&mut self, spoken: Option<bool>, alpn: &ALPN) -> Option<Tls> {
        let spec = match &self.spec.tls {
            Some(tls) if spoken == Some(false) => {
                return self.fail(tls.span, "`tls` needs an https:// URL, but this upstream has none");
            }
            None if spoken == Some(false) => return None,
            tls => tls.as_deref().cloned().unwrap_or_default(),
        };
        let trusted = match &spec.ca {
            Some(ca) => self.authorities(ca),
            None => self.of_system(),
        };
        let client = self.client(&spec);
        let name = self.sni(&spec);
        let trusted = trusted.filter(|_| spec.verify.unwrap_or(true));
        if !self.problems.is_empty() {
            return None;
        }
        match ClientTls::new(trusted.as_ref(), client, alpn) {
            Ok(client) => Some(Tls { client, name }),
            Err(message) => self.fail(self.span, message),
        }
    }

    fn of_system(&mut self) -> Option<Authorities> {
        match Authorities::of_system() {
            Ok(read) => Some(read),
            Err(message) => self.fail(self.span, message),
        }
    }

    fn sni(&mut self, spec: &UpstreamTlsSpec) -> Option<String> {
        let sni = spec.sni.as_ref()?;
        if ServerName::try_from(sni.as_str()).is_err() {
            return self.fail(sni.span, format!("`{sni}` is not a valid certificate name"));
        }
        Some(sni.value.clone())
    }

    fn authorities(&mut self, ca: &Spanned<String>) -> Option<Authorities> {
        let authorities = self.read(ca, certificates::authorities)?;
        for authority in authorities.certificates() {
            self.hash.update(authority);
        }
        Some(authorities)
    }

    fn client(&mut self, spec: &UpstreamTlsSpec) -> Option<CertifiedKey> {
        let (certificate, key) = match (&spec.certificate, &spec.key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => return None,
            (Some(one), None) => return self.fail(one.span, "`certificate` needs its `key`"),
            (None, Some(one)) => return self.fail(one.span, "`key` needs its `certificate`"),
        };
        let chain = self.read(certificate, certificates::chain)?;
        let certificate = self.base_dir.join(&certificate.value);
        let pair = self.read(key, |key| certificates::pair(chain, &certificate, key))?;
        for one in &pair.cert {
            self.hash.update(one);
        }
        Some(pair)
    }

    /// Reads a file with `read`, and reports its error at the file's name.
    fn read<T>(&mut self, file: &Spanned<String>, read: impl FnOnce(&Path) -> Result<T, String>) -> Option<T> {
        match read(&self.base_dir.join(&file.value)) {
            Ok(read) => Some(read),
            Err(message) => self.fail(file.span, message),
        }
    }
}
