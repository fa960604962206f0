//! `openapi:`, as it is typed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::yaml::decode::Spanned;
use crate::yaml::forms::{Scalar, ShortForm, short_form};

/// An OpenAPI document as a source of routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OpenApiSpec(pub OpenApiLong);

/// An OpenAPI document with its options.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenApiLong {
    /// The OpenAPI 3.0 or 3.1 document, YAML or JSON, relative to this file: at most 16 MiB. Its
    /// references may lead to other files.
    pub file: Spanned<String>,
    /// A prefix for all paths of the document, such as `/v1`. Default: none; `servers` in the document is ignored.
    pub prefix: Option<Spanned<String>>,
    /// Whether requests must match the document; others get a 401, 415 or 422 that says what is wrong. Default: false.
    pub validate: Option<bool>,
}

impl ShortForm for OpenApiSpec {
    type Long = OpenApiLong;
    const EXPECTING: &'static str = "an OpenAPI document, or a map such as {file: petstore.yaml, prefix: /v1}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let file = Spanned::nowhere(scalar.text()?);
        Some(Ok(Self(OpenApiLong {
            file,
            ..OpenApiLong::default()
        })))
    }

    fn from_long(long: OpenApiLong) -> Result<Self, String> {
        Ok(Self(long))
    }
}

short_form!(OpenApiSpec, OpenApiLong, "OpenApi", {
    "description": "An OpenAPI 3 document, relative to this file",
    "type": "string",
});
