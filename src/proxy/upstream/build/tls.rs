//! Checks `tls` of an upstream and reads its certificates and keys.

use std::path::Path;
use std::sync::Arc;

use pingora::utils::tls::CertKey;
use rustls::pki_types::ServerName;

use super::Builder;
use crate::proxy::upstream::certificates::{self, Authorities};
use crate::proxy::upstream::peer::Tls;
use crate::proxy::upstream::spec::UpstreamTlsSpec;
use crate::yaml::decode::Spanned;

impl Builder<'_> {
    pub(super) fn tls(&mut self, spoken: Option<bool>) -> Tls {
        let spec = match &self.spec.tls {
            Some(tls) if spoken == Some(false) => {
                return self.fail(tls.span, "`tls` needs an https:// URL, but this upstream has none");
            }
            tls => tls.as_deref().cloned().unwrap_or_default(),
        };
        let verify = spec.verify.unwrap_or(true);
        let authorities = match &spec.ca {
            Some(ca) => self.authorities(ca),
            None if verify => None,
            None => certificates::placeholder(),
        };
        Tls {
            authorities,
            client: self.client(&spec),
            name: self.sni(&spec),
            verify,
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
        for authority in authorities.iter() {
            self.hash.update(authority.borrow_raw_cert());
        }
        Some(authorities)
    }

    fn client(&mut self, spec: &UpstreamTlsSpec) -> Option<Arc<CertKey>> {
        let (certificate, key) = match (&spec.certificate, &spec.key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => return None,
            (Some(one), None) => return self.fail(one.span, "`certificate` needs its `key`"),
            (None, Some(one)) => return self.fail(one.span, "`key` needs its `certificate`"),
        };
        let chain = self.read(certificate, certificates::chain)?;
        let certificate = self.base_dir.join(&certificate.value);
        let pair = self.read(key, |key| certificates::pair(chain, &certificate, key))?;
        for one in std::iter::once(pair.leaf()).chain(pair.intermediates()) {
            self.hash.update(one.borrow_raw_cert());
        }
        self.hash.update(pair.key());
        Some(Arc::new(pair))
    }

    /// Reads a file with `read`, and reports its error at the file's name.
    fn read<T>(&mut self, file: &Spanned<String>, read: impl FnOnce(&Path) -> Result<T, String>) -> Option<T> {
        match read(&self.base_dir.join(&file.value)) {
            Ok(read) => Some(read),
            Err(message) => self.fail(file.span, message),
        }
    }
}
