//! Conditions on a request's body, as they are typed: `match: {body: …}`.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_with::skip_serializing_none;

use crate::content::graphql::OperationType;
use crate::rule::spec::{FieldSpec, TextLong, TextSpec};
use crate::yaml::decode::{Named, Spanned};
use crate::yaml::forms::{OneOrMany, Scalar, ShortForm, short_form};
use crate::yaml::units::ByteSize;

/// `body: text`, or the long form.
#[derive(Debug, Clone, Default)]
pub struct BodySpec(pub BodyLong);

/// Conditions on a request's body. All that are given must hold.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub struct BodyLong {
    /// The whole body as text. A plain string must equal all of it.
    pub text: Option<Spanned<TextSpec>>,
    /// What the JSON body must contain: a map must have these keys with these values; anything else must be equal.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "serde_json::Value")]
    pub json: Option<serde_json::Value>,
    /// Values in the JSON body by their JSONPath (RFC 9535), `$.items[0].id` or `$.items[*].id`: a value, `present`, `absent`, or
    /// a comparison of texts. One of the values that the path selects must fit, as text: 7 fits "7".
    pub json_path: Option<Named<Spanned<FieldSpec>>>,
    /// The fields of a form (`application/x-www-form-urlencoded` or `multipart/form-data`) by name; as for `headers`.
    pub form: Option<Named<Spanned<FieldSpec>>>,
    /// A GraphQL request: one of its operations must fit.
    pub graphql: Option<Spanned<GraphqlSpec>>,
    /// The model that a request to a language model names: the JSON member or form field `model`. A plain string is a glob.
    pub model: Option<Spanned<TextSpec>>,
    /// The longest body that is looked at, 1B to 64MiB, once decoded. A longer one does not match. Default: 1MiB.
    pub limit: Option<Spanned<ByteSize>>,
    /// The whole body as text, as `text` has it.
    pub exact: Option<String>,
    /// How the body begins.
    pub prefix: Option<String>,
    /// How the body ends.
    pub suffix: Option<String>,
    /// A part of the body.
    pub contains: Option<String>,
    /// A glob over the whole body.
    pub glob: Option<String>,
    /// A regular expression, found anywhere in the body unless it is anchored.
    pub regex: Option<String>,
}

impl BodySpec {
    /// A comparison of the whole body that is given without `text`.
    ///
    /// # Errors
    /// There is more than one, or `text` as well.
    pub(super) fn bare_text(&self) -> Result<Option<TextSpec>, String> {
        let long = &self.0;
        let bare = TextLong {
            exact: long.exact.clone(),
            prefix: long.prefix.clone(),
            suffix: long.suffix.clone(),
            contains: long.contains.clone(),
            glob: long.glob.clone(),
            regex: long.regex.clone(),
        };
        if bare.is_empty() {
            return Ok(None);
        }
        if long.text.is_some() {
            return Err("`text` is a comparison of the body already: move this one into an `all`".into());
        }
        TextSpec::from_long(bare).map(Some)
    }
}

impl ShortForm for BodySpec {
    type Long = BodyLong;
    const TEXT: bool = true;
    const EXPECTING: &'static str = "the body's text, or a map such as {json: {amount: 100}}, {json_path: {$.id: 7}}, {form: {name: value}}, {contains: text}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let text = TextSpec::from_scalar(scalar)?;
        Some(text.map(|text| {
            BodySpec(BodyLong {
                exact: Some(text.text().to_owned()),
                ..BodyLong::default()
            })
        }))
    }

    fn from_long(long: BodyLong) -> Result<Self, String> {
        Ok(BodySpec(long))
    }
}

short_form!(BodySpec, BodyLong, "Body", {"type": ["string", "number", "boolean"]});

/// `graphql: NAME`, or the long form.
#[derive(Debug, Clone, Default)]
pub struct GraphqlSpec(pub GraphqlLong);

/// What a GraphQL request asks for.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GraphqlLong {
    /// The operation's name, as `operationName` or the document has it. A plain string is a glob.
    pub operation: Option<TextSpec>,
    /// The operation's type, or types: query, mutation or subscription.
    #[serde(rename = "type")]
    pub kind: Option<OneOrMany<OperationType>>,
}

impl ShortForm for GraphqlSpec {
    type Long = GraphqlLong;
    const EXPECTING: &'static str = "the operation's name, or a map such as {operation: GetUser, type: query}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let Scalar::Str(_) = scalar else { return None };
        let operation = TextSpec::from_scalar(scalar)?;
        Some(operation.map(|operation| {
            GraphqlSpec(GraphqlLong {
                operation: Some(operation),
                kind: None,
            })
        }))
    }

    fn from_long(long: GraphqlLong) -> Result<Self, String> {
        Ok(GraphqlSpec(long))
    }
}

short_form!(GraphqlSpec, GraphqlLong, "Graphql", {"type": "string"});

/// Reads a value that may be `null`: only a missing key is none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(Some)
}
