//! The settings of squall's two APIs, as typed: `admin: 127.0.0.1:7390`, or a map.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::proxy::net::address::AddressSpec;
use crate::yaml::decode::Spanned;
use crate::yaml::forms::{Scalar, ShortForm, short_form};
use crate::yaml::report::Span;

/// The settings of the admin API.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminSpec {
    /// Where it listens. Absent: 127.0.0.1:9900.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Spanned<AddressSpec>>,
    /// The token that callers must send as `Authorization: Bearer …`; required where the address is not on loopback.
    #[serde(default, skip_serializing)]
    pub token: Option<Spanned<String>>,
}

/// The settings of Toxiproxy's HTTP API.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToxiproxySpec {
    /// Where it listens. Absent: 127.0.0.1:8474. It has no token: whoever reaches it may open ports of this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Spanned<AddressSpec>>,
}

/// The admin API: an address, or the long form.
#[derive(Debug, Clone)]
pub struct AdminForm(pub AdminSpec);

/// Toxiproxy's HTTP API: an address, or the long form.
#[derive(Debug, Clone)]
pub struct ToxiproxyForm(pub ToxiproxySpec);

impl ShortForm for AdminForm {
    type Long = AdminSpec;
    const EXPECTING: &'static str = "an address such as 127.0.0.1:9900, or a map such as {address: 127.0.0.1:9900}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let form = |address| AdminForm(AdminSpec { address, token: None });
        Some(address("admin", scalar)?.map(form))
    }

    fn from_long(long: AdminSpec) -> Result<Self, String> {
        Ok(AdminForm(long))
    }
}

impl ShortForm for ToxiproxyForm {
    type Long = ToxiproxySpec;
    const EXPECTING: &'static str = "an address such as 127.0.0.1:8474, or a map such as {address: 127.0.0.1:8474}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let form = |address| ToxiproxyForm(ToxiproxySpec { address });
        Some(address("toxiproxy", scalar)?.map(form))
    }

    fn from_long(long: ToxiproxySpec) -> Result<Self, String> {
        Ok(ToxiproxyForm(long))
    }
}

/// The address of a short form. A number is a port, which says nothing of the interface.
fn address(key: &str, scalar: Scalar<'_>) -> Option<Result<Option<Spanned<AddressSpec>>, String>> {
    let text = scalar.text()?;
    Some(match text.parse::<u16>() {
        Ok(port) => Err(format!(
            "`{port}` is a port without an address: write `{key}: 127.0.0.1:{port}`"
        )),
        Err(_) => text.parse().map(|address| Some(Spanned::nowhere(address))),
    })
}

/// Gives the address of a short form, which was written at `span`, its position.
pub(super) fn settle(address: Option<&mut Spanned<AddressSpec>>, span: Span) {
    if let Some(address) = address.filter(|address| address.span.is_nowhere()) {
        address.span = span;
    }
}

short_form!(AdminForm, AdminSpec, "AdminForm", {"type": "string", "pattern": "^unix:.+$|:[0-9]+$|\\$\\{"});
short_form!(ToxiproxyForm, ToxiproxySpec, "ToxiproxyForm", {"type": "string", "pattern": "^unix:.+$|:[0-9]+$|\\$\\{"});
