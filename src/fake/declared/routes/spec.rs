//! Declared routes, as they are typed.

use std::borrow::Cow;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_with::skip_serializing_none;

use super::tree::Tree;
use crate::rule::spec::{FieldSpec, MethodSpec, NetworkSpec, TextSpec};
use crate::yaml::decode::{Named, Spanned};
use crate::yaml::forms::{OneOrMany, Scalar, ShortForm, short_form, string_form};
use crate::yaml::units::Time;

/// A struct with its own fields and those of a response: serde's `flatten` would lose the places.
macro_rules! with_response {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[skip_serializing_none]
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            /// The status, 200 to 599, or a template that gives one. Default: 200.
            pub status: Option<Spanned<StatusSpec>>,
            /// Header fields: a template each, or a list of them for a field that is sent several times.
            pub headers: Option<Named<Spanned<Tree>>>,
            /// The body as text: a template. `body`, `json`, `base64`, `file`, `page`, `events` and `chunks` can't be
            /// combined.
            pub body: Option<Spanned<String>>,
            /// The body as JSON: any YAML. Strings in it are templates; one that is a single `{{ expression }}` keeps the
            /// expression's type.
            #[serde(default, deserialize_with = "present")]
            pub json: Option<Spanned<Tree>>,
            /// The body as bytes, in base64.
            pub base64: Option<Spanned<String>>,
            /// The body from a file, relative to the configuration's folder, read when the configuration is loaded, at most
            /// 16 MiB. Its ending gives the content type.
            pub file: Option<Spanned<FileSpec>>,
            /// A list, in pages.
            pub page: Option<Spanned<PageSpec>>,
            /// Server-sent events.
            pub events: Option<Spanned<Vec<Spanned<EventSpec>>>>,
            /// Pieces of a body, each sent at its time.
            pub chunks: Option<Spanned<Vec<Spanned<ChunkSpec>>>>,
            /// The time until the response begins. Default: 0.
            pub delay: Option<Spanned<Time>>,
        }

        impl $name {
            /// The response.
            pub(super) fn response(&self) -> ResponseSpec<'_> {
                ResponseSpec {
                    status: self.status.as_ref(),
                    headers: self.headers.as_ref(),
                    body: self.body.as_ref(),
                    json: self.json.as_ref(),
                    base64: self.base64.as_ref(),
                    file: self.file.as_ref(),
                    page: self.page.as_ref(),
                    events: self.events.as_ref(),
                    chunks: self.chunks.as_ref(),
                    delay: self.delay.as_ref(),
                }
            }
        }
    };
}

/// The method of a route: one of a rule's, or `ANY` for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMethod(pub http::Method);

impl FromStr for RouteMethod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ANY" => http::Method::from_bytes(b"ANY")
                .map(Self)
                .map_err(|error| error.to_string()),
            "*" | "all" | "ALL" | "any" => Err(format!("`{text}` is not a valid method: use `ANY` for every method")),
            _ => text.parse().map(|MethodSpec(method)| Self(method)),
        }
    }
}

impl std::fmt::Display for RouteMethod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.as_str())
    }
}

string_form!(
    RouteMethod,
    "RouteMethod",
    "a method such as GET, or ANY",
    r"^\S+$|\$\{"
);

with_response! {
    /// One route of a declared fake.
    pub struct RouteSpec {
        /// The path: `/users/{id}`, `/files/{name}.json`, and `/static/{*rest}` for all below. A more specific path goes
        /// first; among equals, the route that is listed first.
        pub path: Spanned<String>,
        /// The method or the methods, or `ANY`. Default: GET. HEAD is answered as GET is.
        pub method: Option<Spanned<OneOrMany<RouteMethod>>>,
        /// Further conditions on the request.
        #[serde(rename = "match")]
        pub matches: Option<Spanned<RouteMatchSpec>>,
        /// Several responses, one after the other, instead of one.
        pub sequence: Option<Spanned<Vec<Spanned<StepSpec>>>>,
        /// With `sequence`: a template; each value that it renders has its own sequence: `"{{ path.id }}"`.
        pub key: Option<Spanned<String>>,
        /// With `sequence`: what follows the last response: `repeat-last` (default), `cycle`, or the status of an
        /// error.
        pub end: Option<Spanned<EndSpec>>,
        /// A state that several routes share.
        pub state: Option<Spanned<StateSpec>>,
    }
}

with_response! {
    /// One response of a sequence.
    pub struct StepSpec {
        /// How many times this response is sent, 1 to 1,000,000. Default: 1.
        pub times: Option<Spanned<u32>>,
    }
}

impl RouteSpec {
    /// The files that its responses are made from.
    pub(in crate::fake::declared) fn files(&self) -> impl Iterator<Item = &str> {
        let steps = self.sequence.iter().flat_map(|steps| &steps.value);
        let responses = steps.map(|step| step.value.response()).chain([self.response()]);
        responses.flat_map(|response| {
            let file = response.file.map(|file| file.value.0.path.as_str());
            let page = response.page.and_then(|page| page.value.file.as_ref());
            file.into_iter().chain(page.map(|file| file.value.as_str()))
        })
    }
}

/// A response, as typed.
#[derive(Clone, Copy)]
pub(super) struct ResponseSpec<'a> {
    pub(super) status: Option<&'a Spanned<StatusSpec>>,
    pub(super) headers: Option<&'a Named<Spanned<Tree>>>,
    pub(super) body: Option<&'a Spanned<String>>,
    pub(super) json: Option<&'a Spanned<Tree>>,
    pub(super) base64: Option<&'a Spanned<String>>,
    pub(super) file: Option<&'a Spanned<FileSpec>>,
    pub(super) page: Option<&'a Spanned<PageSpec>>,
    pub(super) events: Option<&'a Spanned<Vec<Spanned<EventSpec>>>>,
    pub(super) chunks: Option<&'a Spanned<Vec<Spanned<ChunkSpec>>>>,
    pub(super) delay: Option<&'a Spanned<Time>>,
}

/// Conditions on a request. All that are given must hold.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteMatchSpec {
    /// The host of the request, without the port. A plain string is a glob.
    pub host: Option<Spanned<TextSpec>>,
    /// Header fields by name. A plain string is an exact value; `present` and `absent` ask for the name only.
    pub headers: Option<Named<Spanned<FieldSpec>>>,
    /// Query parameters by name, percent-decoded; as for `headers`.
    pub query: Option<Named<Spanned<FieldSpec>>>,
    /// Cookies by name; as for `headers`.
    pub cookies: Option<Named<Spanned<FieldSpec>>>,
    /// The client's address: an address or a network in CIDR form, or several.
    pub client: Option<Spanned<OneOrMany<NetworkSpec>>>,
    /// The body as text. A plain string must equal all of it.
    pub body: Option<Spanned<TextSpec>>,
    /// What the JSON body must contain: a map must have these keys with these values; anything else must be equal.
    #[serde(default, deserialize_with = "present")]
    pub json: Option<Spanned<Tree>>,
    /// Values in the JSON body by their path, `$.items[0].id` or `$.items[*].id`; as for `headers`.
    pub json_path: Option<Named<Spanned<FieldSpec>>>,
    /// The fields of a form (`application/x-www-form-urlencoded`) by name; as for `headers`.
    pub form: Option<Named<Spanned<FieldSpec>>>,
    /// At least one of these must hold too.
    pub any: Option<Spanned<Vec<Spanned<RouteMatchSpec>>>>,
    /// This must not hold.
    pub not: Option<Box<Spanned<RouteMatchSpec>>>,
}

impl PartialEq for RouteMatchSpec {
    /// As it is written: the parts of a rule's `match` that it is made of can't be compared.
    fn eq(&self, other: &Self) -> bool {
        serde_json::to_value(self).ok() == serde_json::to_value(other).ok()
    }
}

/// A state that several routes share: for example whether an order is created, paid or sent.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateSpec {
    /// The state's name: routes with the same name share it.
    pub name: Spanned<String>,
    /// The state, or states, in which the route matches. Default: any.
    pub is: Option<Spanned<OneOrMany<String>>>,
    /// A template of the state after the request: `paid`, `"{{ json.status }}"`. Default: unchanged.
    pub becomes: Option<Spanned<String>>,
    /// The initial state. Default: the `is` of the first route that has one, or else `started`.
    pub initial: Option<Spanned<String>>,
    /// A template; each value that it renders has its own state: `"{{ path.id }}"`.
    pub key: Option<Spanned<String>>,
}

/// A list in pages.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageSpec {
    /// The list itself. `items`, `file` and `count` can't be combined.
    pub items: Option<Spanned<Vec<Spanned<Tree>>>>,
    /// A file with a JSON array: the list.
    pub file: Option<Spanned<String>>,
    /// How many items there are, 0 to 10,000,000, each made from `item`.
    pub count: Option<Spanned<u64>>,
    /// With `count`: the template of an item, in which `number` (from 1) and `index` (from 0) identify it; its random
    /// data depends only on these and on the seed.
    #[serde(default, deserialize_with = "present")]
    pub item: Option<Spanned<Tree>>,
    /// How clients request a page. Default: page.
    pub style: Option<Spanned<Style>>,
    /// The number of items on a page, 1 to 10,000, unless the client sets it. Default: 20.
    pub size: Option<Spanned<u64>>,
    /// The most items that a client can request, 1 to 10,000; more is a 400. Default: 100, or `size` if that is larger.
    pub max: Option<Spanned<u64>>,
    /// The number of the first page, 0 or 1. Default: 1.
    pub first: Option<Spanned<u64>>,
    /// Other names for the query's parameters.
    pub parameters: Option<Spanned<ParametersSpec>>,
    /// The body, instead of the usual one. Its templates can also use `items`, `total`, `size`, `page`, `pages`,
    /// `offset`, `next`, `previous` (each a page, an offset or a cursor, or none), `next_url` and `previous_url`.
    #[serde(default, deserialize_with = "present")]
    pub envelope: Option<Spanned<Tree>>,
}

/// How clients request a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// `?page=2&size=20`
    #[default]
    Page,
    /// `?offset=20&limit=20`
    Offset,
    /// `?cursor=…&limit=20`: the response has the cursor of the next page.
    Cursor,
    /// `?page=2&per_page=20`: the body is the bare list, and `Link` (RFC 8288) has the addresses of the other pages.
    Link,
}

/// The names of a query's parameters.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParametersSpec {
    /// The number of the page, from `first`. Default: `page`.
    pub page: Option<String>,
    /// How many items a page has. Default: `size` with pages, `per_page` with links, `limit` otherwise.
    pub size: Option<String>,
    /// How many items are left out before the page. Default: `offset`.
    pub offset: Option<String>,
    /// The cursor. Default: `cursor`.
    pub cursor: Option<String>,
}

/// A server-sent event (WHATWG HTML, "Server-sent events").
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventSpec {
    /// Its data: a string, or any YAML, which is sent as JSON. Templates can use `n`, the number of the repetition, from
    /// 0.
    #[serde(default, deserialize_with = "present")]
    pub data: Option<Spanned<Tree>>,
    /// Its type: a template.
    pub event: Option<Spanned<String>>,
    /// Its identifier: a template.
    pub id: Option<Spanned<String>>,
    /// How long the client should wait before it reconnects.
    pub retry: Option<Spanned<Time>>,
    /// A comment, which clients ignore: a template.
    pub comment: Option<Spanned<String>>,
    /// The time after the previous one. Default: 0.
    pub after: Option<Spanned<Time>>,
    /// How many times it is sent, 1 to 10,000,000. Default: 1.
    pub repeat: Option<Spanned<u64>>,
    /// The time between repetitions. Default: `after`.
    pub every: Option<Spanned<Time>>,
}

/// A piece of a body.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChunkSpec {
    /// Text: a template, which can use `n`, the number of the repetition, from 0. One of `text`, `json` and `base64`.
    pub text: Option<Spanned<String>>,
    /// Any YAML, sent as a line of JSON.
    #[serde(default, deserialize_with = "present")]
    pub json: Option<Spanned<Tree>>,
    /// Bytes, in base64.
    pub base64: Option<Spanned<String>>,
    /// The time after the previous one. Default: 0.
    pub after: Option<Spanned<Time>>,
    /// How many times it is sent, 1 to 10,000,000. Default: 1.
    pub repeat: Option<Spanned<u64>>,
    /// The time between repetitions. Default: `after`.
    pub every: Option<Spanned<Time>>,
}

/// A file: its path, or a map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileSpec(pub(super) FileLong);

/// A file, and whether it is a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileLong {
    /// Its path, relative to the configuration's folder.
    pub path: String,
    /// true: its text is a template. Default: false, it is sent as it is.
    #[serde(default)]
    pub template: bool,
}

impl ShortForm for FileSpec {
    type Long = FileLong;
    const TEXT: bool = true;
    const EXPECTING: &'static str = "the path of a file, or a map such as {path: page.html, template: true}";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        let path = scalar.text()?;
        Some(Ok(FileSpec(FileLong { path, template: false })))
    }

    fn from_long(long: FileLong) -> Result<Self, String> {
        Ok(FileSpec(long))
    }
}

short_form!(FileSpec, FileLong, "RouteFile", {"type": "string"});

/// A status, or a template that gives one.
#[derive(Clone, Debug, PartialEq)]
pub enum StatusSpec {
    /// A number.
    Number(i64),
    /// A template.
    Template(String),
}

/// What follows the end of a sequence.
#[derive(Clone, Debug, PartialEq)]
pub enum EndSpec {
    /// The last response, again and again.
    RepeatLast,
    /// The first response again.
    Cycle,
    /// An error with this status.
    Status(i64),
}

/// Serde and schema for a number or a text.
macro_rules! number_or_text {
    ($type:ty, $expecting:literal, $number:expr, $text:expr, $write:expr, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Either;

                impl serde::de::Visitor<'_> for Either {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$type, E> {
                        Ok($number(number))
                    }

                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        Ok($number(i64::try_from(number).unwrap_or(i64::MAX)))
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        $text(text).ok_or_else(|| E::custom(format!("`{text}` is not {}", $expecting)))
                    }
                }

                deserializer.deserialize_any(Either)
            }
        }

        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $write(self).serialize(serializer)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

number_or_text!(
    StatusSpec,
    "a status such as 201, or a template such as \"{{ query.status }}\"",
    StatusSpec::Number,
    |text: &str| match text.parse() {
        Ok(number) => Some(StatusSpec::Number(number)),
        Err(_) => text.contains("{{").then(|| StatusSpec::Template(text.to_owned())),
    },
    |status: &StatusSpec| match status {
        StatusSpec::Number(number) => serde_json::Value::from(*number),
        StatusSpec::Template(text) => serde_json::Value::from(text.as_str()),
    },
    {"anyOf": [{"type": "integer", "minimum": 200, "maximum": 599}, {"type": "string", "pattern": "\\{\\{|^[2-5][0-9][0-9]$|\\$\\{"}]}
);

number_or_text!(
    EndSpec,
    "`repeat-last`, `cycle`, or the status of an error such as 410",
    EndSpec::Status,
    |text: &str| match text {
        "repeat-last" => Some(EndSpec::RepeatLast),
        "cycle" => Some(EndSpec::Cycle),
        _ => None,
    },
    |end: &EndSpec| match end {
        EndSpec::RepeatLast => serde_json::Value::from("repeat-last"),
        EndSpec::Cycle => serde_json::Value::from("cycle"),
        EndSpec::Status(number) => serde_json::Value::from(*number),
    },
    {"anyOf": [{"enum": ["repeat-last", "cycle"]}, {"type": "integer", "minimum": 200, "maximum": 599}]}
);

/// Reads a value that may well be `null`: only a missing key is none.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Spanned<Tree>>, D::Error> {
    Spanned::deserialize(deserializer).map(Some)
}
