//! `collections:`, as it is typed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::skip_serializing_none;

use crate::yaml::decode::{Named, Spanned};
use crate::yaml::forms::{Scalar, ShortForm, short_form};

/// A collection of rows.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectionSpec {
    /// Its path. Default: / and its name.
    pub path: Option<Spanned<String>>,
    /// The type of `id`: an integer that counts up, a uuid, or a string set by the client. Default: integer.
    pub id: Option<Spanned<IdKind>>,
    /// What a row contains besides its `id`. Absent: anything.
    pub fields: Option<Named<Spanned<FieldSpec>>>,
    /// Whether a row may contain more than its `fields`. Default: false if there are `fields`.
    pub additional: Option<Spanned<bool>>,
    /// The initial rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Spanned<Value>>,
    /// The number of generated initial rows, 0 to 100,000. Default: 0.
    pub generate: Option<Spanned<u32>>,
    /// How lists are divided into pages. Default: all rows, up to 1,000.
    pub page: Option<Spanned<CollectionPageSpec>>,
    /// The key of a list in a response object with `total`, `page`, `size` and `pages`. Default: none, a list is an
    /// array.
    pub envelope: Option<Spanned<String>>,
}

/// The type of `id`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IdKind {
    /// Counts up from 1.
    #[default]
    Integer,
    /// A random UUID.
    Uuid,
    /// A string, set by the client.
    String,
}

/// Pages of a list.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PageSpec")]
pub struct CollectionPageSpec {
    /// The number of rows on a page, unless the client sets it. Default: 20.
    pub size: Option<Spanned<u32>>,
    /// The largest page that a client gets, 1 to 10,000. Default: 100.
    pub max: Option<Spanned<u32>>,
}

/// What a field may hold: a type such as `string`, with `!` if it must be there; or a map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldSpec(pub FieldLong);

/// What a field may contain.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldLong {
    /// The type. Default: any; string, if there is an `enum` of strings.
    #[serde(rename = "type")]
    pub kind: Option<FieldKind>,
    /// Whether a row must have it. Default: false.
    pub required: Option<bool>,
    /// Whether values must be unique among rows. Default: false.
    pub unique: Option<bool>,
    /// The value in a new row without it.
    pub default: Option<Spanned<Value>>,
    /// The allowed values.
    #[serde(rename = "enum")]
    pub options: Option<Spanned<Vec<Value>>>,
    /// The smallest number.
    pub minimum: Option<Spanned<f64>>,
    /// The largest number.
    pub maximum: Option<Spanned<f64>>,
    /// The fewest characters of a string, or items of a list.
    pub min_length: Option<Spanned<u32>>,
    /// The most characters of a string, or items of a list.
    pub max_length: Option<Spanned<u32>>,
    /// A regular expression that a string must match, anywhere unless anchored.
    pub pattern: Option<Spanned<String>>,
}

/// The type of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FieldKind {
    /// Anything.
    #[default]
    Any,
    /// A text.
    String,
    /// A number.
    Number,
    /// A whole number.
    Integer,
    /// true or false.
    Boolean,
    /// A list.
    Array,
    /// A map.
    Object,
    /// A date, `2019-03-28`.
    Date,
    /// A date and time as in RFC 3339, `2019-03-28T08:30:00Z`.
    DateTime,
    /// A string with an @.
    Email,
    /// A UUID.
    Uuid,
    /// An absolute URL.
    Url,
}

impl FieldKind {
    /// All, in the order in which they are listed to users.
    pub(super) const ALL: &'static [(&'static str, Self)] = &[
        ("string", Self::String),
        ("number", Self::Number),
        ("integer", Self::Integer),
        ("boolean", Self::Boolean),
        ("array", Self::Array),
        ("object", Self::Object),
        ("date", Self::Date),
        ("date-time", Self::DateTime),
        ("email", Self::Email),
        ("uuid", Self::Uuid),
        ("url", Self::Url),
        ("any", Self::Any),
    ];

    fn read(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, kind)| *kind)
    }

    pub(super) fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("any", |(name, _)| name)
    }
}

impl ShortForm for FieldSpec {
    type Long = FieldLong;
    const EXPECTING: &'static str = "a type such as string, or string! for a required field; or a map such as {type: \
        integer, default: 0}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        if scalar == Scalar::Null {
            return Some(Ok(Self::default()));
        }
        let text = scalar.text()?;
        let (name, required) = text
            .strip_suffix('!')
            .map_or((text.as_str(), false), |name| (name, true));
        let Some(kind) = FieldKind::read(name) else {
            let names: Vec<_> = FieldKind::ALL.iter().map(|(name, _)| *name).collect();
            return Some(Err(format!(
                "`{name}` is not a valid type: use one of {}",
                names.join(", ")
            )));
        };
        Some(Ok(Self(FieldLong {
            kind: Some(kind),
            required: required.then_some(true),
            ..FieldLong::default()
        })))
    }

    fn from_long(long: FieldLong) -> Result<Self, String> {
        Ok(Self(long))
    }
}

short_form!(FieldSpec, FieldLong, "CollectionField", {
    "description": "A type; with ! the field is required",
    "type": ["string", "null"],
    "pattern": "^(string|number|integer|boolean|array|object|date|date-time|email|uuid|url|any)!?$|\\$\\{",
});
