//! `certificate: expired`: a certificate that the client must not accept, in place of the listener's own.
//!
//! For listeners with TLS; the rule is one of handshakes, and may match `client` and `host`. The certificate is made for the
//! handshake that it is drawn for, with the names of the listener's own certificates and the one that the client asks for:
//!
//! | value | issued by | dates | names |
//! |---|---|---|---|
//! | `expired` | the fault authority | over since yesterday | right |
//! | `wrong-host` | the fault authority | right | `wrong-host.squall.invalid` |
//! | `self-signed` | itself | right | right |
//!
//! A client looks at the issuer first. So one that is to see the dates or the names must trust the fault authority: squall
//! makes one at each start and gives its certificate at `/api/v1/ca.pem` of the admin side, or takes the one of `fault_ca`.
//! Sessions of earlier handshakes are not resumed: a client that has one sees the certificate nevertheless.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use super::before::Before;
use super::context::Context;
use super::effect::Effect;
use super::kind::{Effects, Fault, HitRequest, Spec};

/// The fault's name, for those who ask whether a handshake must be squall's own: this fault alone needs that.
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
    /// In words: `a certificate that has expired`.
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
