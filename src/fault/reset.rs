//! `reset: {}`: a TCP RST; on HTTP/2, RST_STREAM for the stream, while its siblings go on.
//!
//! `before: connection`: a RST as soon as the connection is accepted. `before: handshake`: a RST after the ClientHello.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::before::Before;
use super::context::Context;
use super::effect::Ending;
use super::kind::{AlwaysEnds, Spec};
use super::reset_code;

/// `reset: {}` or `reset: {code: REFUSED_STREAM}`
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetSpec {
    /// The HTTP/2 error code, by name or number (RFC 9113, section 7). Default: INTERNAL_ERROR. HTTP/1 has none.
    pub code: Option<String>,
    /// `request` (default): the upstream never sees the request. `response`: after the upstream's response, which is lost.
    /// `connection`: as soon as it is accepted. `handshake`: in place of the TLS handshake.
    #[serde(default)]
    pub before: Before,
}

impl ResetSpec {
    fn checked_before(&self) -> Result<Before, String> {
        let before = self.before.one_of("reset", &Before::ENDINGS)?;
        if self.code.is_some() && before.is_before_request() {
            Err(format!(
                "`code` needs HTTP/2, which has not begun before the {}: leave it out",
                before.name()
            ))
        } else {
            Ok(before)
        }
    }
}

impl Spec for ResetSpec {
    type Fault = AlwaysEnds;

    fn moment(&self) -> Before {
        self.before
    }

    fn compile(&self, _: &Context<'_>) -> Result<AlwaysEnds, String> {
        let code = self
            .code
            .as_deref()
            .map_or(Ok(reset_code::DEFAULT), reset_code::parse)?;
        Ok(AlwaysEnds {
            ending: Ending::Reset(code),
            before: self.checked_before()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::place::testing::context;

    #[test]
    fn codes_go_by_name_or_number() {
        let code = |text: Option<&str>| {
            let spec = ResetSpec {
                code: text.map(str::to_owned),
                ..ResetSpec::default()
            };
            match spec.compile(&context())?.ending {
                Ending::Reset(code) => Ok(code),
                other => Err(format!("{other:?}")),
            }
        };
        assert_eq!(code(Some("CANCEL")), Ok(8));
        assert_eq!(code(Some("refused_stream")), Ok(7));
        assert_eq!(code(Some("11")), Ok(11));
        assert!(code(Some("NOPE")).unwrap_err().contains("ENHANCE_YOUR_CALM"));
        assert_eq!(code(None), Ok(2));
    }
}
