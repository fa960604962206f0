//! The `tls` of an upstream: its names and its files.

use std::path::PathBuf;
use std::sync::Arc;

use pingora::utils::tls::CertKey;

use super::Builder;
use crate::config::upstream::UpstreamTlsSpec;
use crate::proxy::upstream::certificates::{self, ClientError};
use crate::proxy::upstream::peer::Tls;
use crate::yaml::decode::Spanned;

impl Builder<'_> {
    pub(super) fn tls(&mut self, spoken: Option<bool>) -> Option<Tls> {
        let none = UpstreamTlsSpec::default();
        let spec = match &self.spec.tls {
            Some(tls) if spoken == Some(false) => {
                return self.fail(tls.span, "`tls` is for https:// URLs, and this upstream has none");
            }
            Some(tls) => &tls.value,
            None => &none,
        };
        let verify = spec.verify.unwrap_or(true);
        let authorities = match &spec.ca {
            Some(ca) => self.authorities(ca),
            None if verify => Some(None),
            None => Some(certificates::placeholder()),
        };
        let client = self.client(spec);
        let name = self.sni(spec);
        Some(Tls {
            name: name?,
            authorities: authorities?,
            client: client?,
            verify,
        })
    }

    fn sni(&mut self, spec: &UpstreamTlsSpec) -> Option<Option<String>> {
        let Some(sni) = &spec.sni else { return Some(None) };
        if rustls::pki_types::ServerName::try_from(sni.value.as_str()).is_err() {
            let message = format!("`{}` is not a name that a certificate can have", sni.value);
            return self.fail(sni.span, message);
        }
        Some(Some(sni.value.clone()))
    }

    fn authorities(&mut self, ca: &Spanned<String>) -> Option<Option<certificates::Authorities>> {
        match certificates::read_authorities(&self.path(&ca.value)) {
            Ok((authorities, pem)) => {
                self.hash.update(&pem);
                Some(Some(authorities))
            }
            Err(message) => self.fail(ca.span, message),
        }
    }

    fn client(&mut self, spec: &UpstreamTlsSpec) -> Option<Option<Arc<CertKey>>> {
        let (certificate, key) = match (&spec.certificate, &spec.key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => return Some(None),
            (Some(one), None) => return self.fail(one.span, "`certificate` needs its `key`"),
            (None, Some(one)) => return self.fail(one.span, "`key` needs its `certificate`"),
        };
        match certificates::read_client(&self.path(&certificate.value), &self.path(&key.value)) {
            Ok((pair, pem)) => {
                self.hash.update(&pem);
                Some(Some(pair))
            }
            Err(ClientError::Certificate(message)) => self.fail(certificate.span, message),
            Err(ClientError::Key(message)) => self.fail(key.span, message),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base_dir.join(name)
    }
}
