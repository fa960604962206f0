//! `reset: {}`: a true TCP RST; on HTTP/2 the stream gets RST_STREAM and its siblings go on.
//!
//! `before: connection`: the RST comes as soon as the connection was accepted. `before: handshake`: in answer to the
//! ClientHello, over TLS.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Before;

/// `reset: {}` or `reset: {code: REFUSED_STREAM}`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetSpec {
    /// The HTTP/2 error code, by name or number (RFC 9113, section 7). Default: INTERNAL_ERROR. HTTP/1 has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// `request` (default): the upstream never sees the request. `response`: it has answered, and the answer is lost.
    /// `connection`: as soon as it is accepted. `handshake`: in place of the TLS handshake.
    #[serde(default)]
    pub before: Before,
}

/// A reset, checked.
#[derive(Debug, Clone, Copy)]
pub struct Reset {
    /// The HTTP/2 error code.
    pub code: u32,
    /// When it strikes.
    pub before: Before,
}

/// The HTTP/2 error code where none is given: INTERNAL_ERROR.
pub const DEFAULT_CODE: u32 = 2;

/// The names of RFC 9113, section 7, by number.
const CODES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

impl ResetSpec {
    /// Reads the code.
    pub fn compile(&self) -> Result<Reset, String> {
        let code = match self.code.as_deref() {
            None => DEFAULT_CODE,
            Some(text) => parse_code(text)?,
        };
        Ok(Reset {
            code,
            before: self.checked_before()?,
        })
    }

    fn checked_before(&self) -> Result<Before, String> {
        let before = self.before.one_of("reset", &Before::ENDINGS)?;
        match self.code.is_some() && before.is_early() {
            true => Err(format!(
                "`code` is of HTTP/2, which has not begun before the {}; leave it out",
                before.name()
            )),
            false => Ok(before),
        }
    }
}

/// The name of an HTTP/2 error code, or its number.
pub fn code_name(code: u32) -> String {
    let name = usize::try_from(code).ok().and_then(|code| CODES.get(code));
    name.map_or_else(|| format!("code {code}"), |name| (*name).to_owned())
}

/// An HTTP/2 error code, by name or number.
///
/// # Errors
/// It is neither; the text lists the names.
pub fn parse_code(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let upper = text.to_ascii_uppercase().replace('-', "_");
    (0u32..)
        .zip(CODES)
        .find_map(|(number, name)| (name == upper).then_some(number))
        .ok_or_else(|| {
            format!(
                "`{text}` is no HTTP/2 error code; valid: {}, or a number",
                CODES.join(", ")
            )
        })
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
