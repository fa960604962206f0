//! `cors` of a listener or of a fake, as typed.

use std::ops::Deref;

use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use super::origin::Origin;
use crate::yaml::forms::{OneOrMany, Scalar, ShortForm, short_form, string_form};
use crate::yaml::units::Time;

/// Which pages of other origins may read responses, and what of them.
#[derive(Debug, Clone, PartialEq)]
pub struct CorsSpec(pub CorsOptions);

/// The long form of `cors`.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CorsOptions")]
pub struct CorsOptions {
    /// The origins whose pages may read responses: `https://app.example.com`, `https://*.example.com`, `http://localhost:*`, null,
    /// or * for every origin.
    pub origins: OneOrMany<Origin>,
    /// Whether pages may send cookies and other credentials along. Default: true.
    pub credentials: Option<bool>,
    /// Further response fields that pages may read, for a natural response that keeps its own. Other responses expose every
    /// field that they have.
    pub expose: Option<OneOrMany<FieldName>>,
    /// How long browsers may remember the answer to a preflight. Default: their own, of a few seconds.
    pub max_age: Option<Time>,
    /// What becomes of a real upstream's own answers to preflights, and of the CORS fields of its responses: by default it keeps
    /// them. A fake's are replaced, unless `keep` is written.
    pub natural: Option<NaturalCors>,
}

/// What becomes of the CORS of a real upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NaturalCors {
    /// Preflights go to a real upstream, and responses keep the fields that it gave them.
    Keep,
    /// squall answers preflights itself, and replaces the fields of responses.
    Replace,
}

/// The name of a response field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldName(pub HeaderName);

impl std::str::FromStr for FieldName {
    type Err = String;

    fn from_str(text: &str) -> Result<FieldName, String> {
        let name = HeaderName::from_bytes(text.as_bytes());
        name.map(FieldName)
            .map_err(|_| format!("`{text}` is not a valid header name (RFC 9110, section 5.1)"))
    }
}

impl std::fmt::Display for FieldName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

string_form!(
    FieldName,
    "FieldName",
    "the name of a header field",
    r"^[A-Za-z0-9!#$%&'*+.^_`|~\-]+$|\$\{"
);

impl Deref for CorsSpec {
    type Target = CorsOptions;

    fn deref(&self) -> &CorsOptions {
        &self.0
    }
}

impl ShortForm for CorsSpec {
    type Long = CorsOptions;
    const EXPECTING: &'static str =
        "`mirror`, which allows every origin, or a map such as `{origins: [https://app.example.com]}`";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let origin = match scalar {
            Scalar::Str("mirror" | "*") => Origin::Any,
            Scalar::Str(text) if text.contains("://") => match text.parse() {
                Ok(origin) => origin,
                Err(mistake) => return Some(Err(mistake)),
            },
            Scalar::Str(other) => return Some(Err(format!("`{other}` is not valid: use {}", Self::EXPECTING))),
            Scalar::Bool(true) => return Some(Err("write `cors: mirror`, which allows every origin".into())),
            Scalar::Bool(false) => return Some(Err("leave `cors` out: without it, squall adds nothing".into())),
            Scalar::Null | Scalar::Int(_) | Scalar::Float(_) => return None,
        };
        Some(Ok(CorsSpec(CorsOptions {
            origins: OneOrMany(vec![origin]),
            credentials: None,
            expose: None,
            max_age: None,
            natural: None,
        })))
    }

    fn from_long(long: CorsOptions) -> Result<Self, String> {
        Ok(CorsSpec(long))
    }
}

short_form!(
    CorsSpec,
    CorsOptions,
    "Cors",
    {"type": "string", "description": "Allows every origin, or this one", "pattern": r"^(mirror|\*|[A-Za-z][A-Za-z0-9+.\-]*://[^/?#@\s]+/?)$|\$\{"}
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::testing::read;

    #[test]
    fn both_forms_are_read() {
        let origins = |text: &str| read::<CorsSpec>(text).map(|spec| spec.0.origins.0);
        assert_eq!(origins("mirror"), Ok(vec![Origin::Any]));
        assert_eq!(origins("\"*\""), Ok(vec![Origin::Any]));
        let one: Origin = "https://a.example".parse().unwrap();
        assert_eq!(origins("https://a.example"), Ok(vec![one.clone()]));
        assert_eq!(origins("{origins: https://a.example}"), Ok(vec![one]));
        let full = "{origins: [\"null\"], credentials: false, expose: X-Total, max_age: 1m, natural: replace}";
        assert!(read::<CorsSpec>(full).is_ok());
        for bad in [
            "all",
            "{}",
            "{origins: []}",
            "{origins: a.example}",
            "{origins: \"*\", expose: a b}",
            "7",
            "false",
        ] {
            assert!(read::<CorsSpec>(bad).is_err(), "{bad}");
        }
    }
}
