//! `reset: {}`: a true TCP RST; on HTTP/2 the stream gets RST_STREAM and its siblings go on.
//!
//! `before: connection`: the RST comes as soon as the connection was accepted. `before: handshake`: in answer to the
//! ClientHello, over TLS.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::before::Before;
use super::context::Context;
use super::effect::Ending;
use super::kind::{AlwaysEnds, Fault, Spec};
use super::reset_code;

/// `reset: {}` or `reset: {code: REFUSED_STREAM}`
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetSpec {
    /// The HTTP/2 error code, by name or number (RFC 9113, section 7). Default: INTERNAL_ERROR. HTTP/1 has none.
    pub code: Option<String>,
    /// `request` (default): the upstream never sees the request. `response`: it has answered, and the answer is lost.
    /// `connection`: as soon as it is accepted. `handshake`: in place of the TLS handshake.
    #[serde(default)]
    pub before: Before,
}

/// A `reset` fault, compiled.
#[derive(Debug, Clone, Copy)]
pub struct Reset {
    /// The HTTP/2 error code.
    pub code: u32,
    /// The moment at which the connection is reset.
    pub before: Before,
}

impl ResetSpec {
    /// Compiles the reset, and checks its code.
    pub fn compile(&self) -> Result<Reset, String> {
        let code = match self.code.as_deref() {
            None => reset_code::DEFAULT,
            Some(text) => reset_code::parse(text)?,
        };
        Ok(Reset {
            code,
            before: self.checked_before()?,
        })
    }

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
    fn moment(&self) -> Before {
        self.before
    }

    fn is_terminal(&self) -> bool {
        true
    }

    fn build(&self, _: &Context<'_>) -> Result<Box<dyn Fault>, String> {
        let reset = self.compile()?;
        Ok(Box::new(AlwaysEnds {
            ending: Ending::Reset(reset.code),
            before: reset.before,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_by_name_or_number() {
        let code = |text: &str| {
            ResetSpec {
                code: Some(text.into()),
                ..ResetSpec::default()
            }
            .compile()
            .map(|r| r.code)
        };
        assert_eq!(code("CANCEL"), Ok(8));
        assert_eq!(code("refused_stream"), Ok(7));
        assert_eq!(code("11"), Ok(11));
        assert!(code("NOPE").unwrap_err().contains("ENHANCE_YOUR_CALM"));
        assert_eq!(ResetSpec::default().compile().unwrap().code, 2);
    }
}
