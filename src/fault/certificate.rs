//! `certificate: expired`: a certificate that the client must not accept, in place of the listener's own.
//!
//! For listeners with TLS. The rule acts on handshakes, and may match `client` and `host`. The certificate is issued for the
//! handshake that is hit, with the names of the listener's own certificates and the client's server name (SNI):
//!
//! | value | issued by | dates | names |
//! |---|---|---|---|
//! | `expired` | the fault authority | over since yesterday | right |
//! | `wrong-host` | the fault authority | right | `wrong-host.squall.invalid` |
//! | `self-signed` | itself | right | right |
//!
//! Clients check the issuer first. To get to the dates or names, a client must trust the fault authority: squall creates one
//! at each start, whose certificate is at `/api/v1/ca.pem` of the admin API, or uses the one in `fault_ca`. Sessions are not
//! resumed, so that a client with a session sees the certificate too.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use super::before::Before;
use super::context::Context;
use super::effect::Effect;
use super::kind::{Effects, Fault, HitRequest, Spec};

/// The fault's name in YAML. Only this fault needs a handshake that squall terminates, so other modules look for it.
pub const NAME: &str = "certificate";

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateSpec {
    /// It expired yesterday.
    Expired,
    /// It is self-signed.
    SelfSigned,
    /// It is for another host.
    WrongHost,
}

impl CertificateSpec {
    /// Describes the certificate: `a certificate that has expired`.
    pub fn describe(self) -> &'static str {
        match self {
            CertificateSpec::Expired => "a certificate that has expired",
            CertificateSpec::SelfSigned => "a self-signed certificate",
            CertificateSpec::WrongHost => "a certificate of another host",
        }
    }
}

impl Spec for CertificateSpec {
    type Fault = CertificateSpec;

    fn moment(&self) -> Before {
        Before::Handshake
    }

    fn compile(&self, _: &Context<'_>) -> Result<CertificateSpec, String> {
        Ok(*self)
    }
}

impl Fault for CertificateSpec {
    fn effects(&self, _: &HitRequest<'_, '_>) -> Effects {
        smallvec![Effect::Certificate(*self)]
    }
}
