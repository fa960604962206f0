//! `fake:` of an upstream, as it is typed: the name of a fake, or a map with its settings.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize};
use serde_with::skip_serializing_none;

use super::declared::spec::{CollectionSpec, HarSpec, OpenApiSpec, RouteSpec};
use crate::cors::spec::CorsSpec;
use crate::yaml::decode::word::{Hint, Word};
use crate::yaml::decode::{Named, Spanned};
use crate::yaml::report::{Diagnostic, Span, did_you_mean};
use crate::yaml::tree::Node;
use crate::yaml::units::{Share, Time};

/// A server that is built into squall, or declared here. [`FakeSpec::check`] says which keys belong together.
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, DeriveDeserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FakeSettings")]
pub struct FakeSettings {
    /// A built-in fake: `echo`, `fakeresponse`, `httpbin`, `llm`, `sonarqube` or `test-api`. Absent: the fake is
    /// declared with `routes`, `collections`, `openapi` and `har`.
    pub name: Option<Spanned<String>>,
    /// Where its rows are stored: `memory`, or `file:PATH` to keep them. Default: memory.
    pub store: Option<Spanned<String>>,
    /// The seed of its generated data. Default: the configuration's seed.
    pub seed: Option<Spanned<u64>>,
    /// Which pages of other origins may read its responses: `mirror`, or `{origins: […]}`. A listener's `cors` goes first.
    /// Default: none.
    pub cors: Option<Spanned<CorsSpec>>,

    /// The version of the original to imitate. test-api: `2019`, or `later` with its 404s; default: 2019. sonarqube:
    /// `7.7`, or `2025.4` for the clients of today; default: 7.7.
    pub version: Option<Spanned<Version>>,

    /// fakeresponse: true refuses calls without a key within 2 s of the caller's last one. Default: false.
    pub rate_limit: Option<Spanned<bool>>,

    /// sonarqube: how many projects there are, 1 to 1,000. Default: 12.
    pub projects: Option<Spanned<u32>>,
    /// sonarqube: how many issues there are in all, 0 to 10,000,000. Default: 25,000.
    pub issues: Option<Spanned<u32>>,
    /// sonarqube, llm: the token that callers must send. Default: none is required, and any is accepted.
    pub token: Option<Spanned<String>>,

    /// llm: the time until the first token of a reply. Default: 300ms.
    pub first_token: Option<Spanned<Time>>,
    /// llm: tokens a second after the first, 0.1 to 100,000. Default: 50.
    pub tokens_per_second: Option<Spanned<f64>>,
    /// llm: how far the time until each token may deviate from the mean, either way. Default: 20%.
    pub jitter: Option<Spanned<Share>>,

    /// Declared routes, tried in order.
    pub routes: Option<Spanned<Vec<Spanned<RouteSpec>>>>,
    /// Declared collections of rows, by name: create, read, update, delete, filter and page, on SQLite.
    pub collections: Option<Spanned<Named<Spanned<CollectionSpec>>>>,
    /// An OpenAPI 3 document whose operations respond with their examples.
    pub openapi: Option<Spanned<OpenApiSpec>>,
    /// A recorded HAR file whose responses are served back.
    pub har: Option<Spanned<HarSpec>>,
}

/// The version of an original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeriveDeserialize, Serialize, JsonSchema)]
pub enum Version {
    /// The Test API of April 2019: a missing todo or user is answered as if it existed.
    #[serde(rename = "2019")]
    TestApi2019,
    /// The Test API's later versions: 404s, pages of users.
    #[serde(rename = "later")]
    TestApiLater,
    /// SonarQube 7.7 of 2019.
    #[serde(rename = "7.7")]
    SonarQube7,
    /// SonarQube Server 2025.4: impacts, clean code attributes, users and groups of API v2.
    #[serde(rename = "2025.4")]
    SonarQube2025,
}

/// Which versions the fakes have that have any.
const VERSIONS: &[(&str, &[(Version, &str)])] = &[
    (
        "sonarqube",
        &[(Version::SonarQube7, "7.7"), (Version::SonarQube2025, "2025.4")],
    ),
    (
        "test-api",
        &[(Version::TestApi2019, "2019"), (Version::TestApiLater, "later")],
    ),
];

/// The settings of every fake.
const GENERAL: [&str; 3] = ["name", "seed", "cors"];

/// Which settings each built-in fake has beside the [general](GENERAL) ones.
const SETTINGS: &[(&str, &[&str])] = &[
    ("echo", &[]),
    ("fakeresponse", &["rate_limit"]),
    ("httpbin", &[]),
    ("llm", &["token", "first_token", "tokens_per_second", "jitter"]),
    ("sonarqube", &["projects", "issues", "token", "version"]),
    ("test-api", &["store", "version"]),
];

/// What a fake without a name may have.
const DECLARED: &[&str] = &["store", "routes", "collections", "openapi", "har"];

/// A fake as typed: its name alone, or a map.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct FakeSpec(FakeSettings);

impl std::ops::Deref for FakeSpec {
    type Target = FakeSettings;

    fn deref(&self) -> &FakeSettings {
        &self.0
    }
}

/// The names of the built-in fakes, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|(name, _)| *name)
}

impl FakeSpec {
    /// The built-in fake `name` with nothing set.
    pub fn named(name: &str) -> Self {
        Self(FakeSettings {
            name: Some(Spanned::nowhere(name.to_owned())),
            ..FakeSettings::default()
        })
    }

    /// Leaves out `cors`, which the router does not depend on.
    pub fn leave_out_cors(&mut self) {
        self.0.cors = None;
    }

    /// Whether the name exists and every key belongs to it. `place` is where the fake is written.
    ///
    /// # Errors
    /// All that is wrong, each at its place.
    pub fn check(&self, place: Span) -> Result<(), Vec<Diagnostic>> {
        let allowed = match &self.name {
            None => DECLARED,
            Some(name) => match SETTINGS.iter().find(|(known, _)| *known == name.value) {
                Some((_, allowed)) => *allowed,
                None => return Err(vec![unknown(name, place)]),
            },
        };
        let mut mistakes: Vec<_> = self
            .given()
            .into_iter()
            .filter(|(key, _)| !allowed.contains(key))
            .map(|(key, span)| self.misplaced(key, span, allowed))
            .collect();
        if self.name.is_none() && self.given().iter().all(|(key, _)| *key == "store") {
            let names: Vec<_> = names().collect();
            mistakes.push(Diagnostic::error(place, "the fake is empty").help(format!(
                "give the `name` of a built-in fake ({}), or `routes`, `collections`, `openapi` or `har`",
                names.join(", ")
            )));
        }
        self.check_store(&mut mistakes);
        if let Some(cors) = self.cors.as_ref().filter(|cors| cors.value.natural.is_some()) {
            let message = "`natural` has no effect in a fake's `cors`: it is about real upstreams";
            mistakes.push(Diagnostic::error(cors.span, message).help("leave it out"));
        }
        self.check_version(&mut mistakes);
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes) }
    }

    /// The keys that are given, but for the [general](GENERAL) ones.
    fn given(&self) -> Vec<(&'static str, Span)> {
        fn key<T>(name: &'static str, value: Option<&Spanned<T>>) -> Option<(&'static str, Span)> {
            value.map(|value| (name, value.span))
        }
        let spec = &self.0;
        [
            key("store", spec.store.as_ref()),
            key("version", spec.version.as_ref()),
            key("rate_limit", spec.rate_limit.as_ref()),
            key("projects", spec.projects.as_ref()),
            key("issues", spec.issues.as_ref()),
            key("token", spec.token.as_ref()),
            key("first_token", spec.first_token.as_ref()),
            key("tokens_per_second", spec.tokens_per_second.as_ref()),
            key("jitter", spec.jitter.as_ref()),
            key("routes", spec.routes.as_ref()),
            key("collections", spec.collections.as_ref()),
            key("openapi", spec.openapi.as_ref()),
            key("har", spec.har.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn misplaced(&self, key: &str, span: Span, allowed: &[&str]) -> Diagnostic {
        let name = self.name.as_ref().map(|name| name.value.as_str());
        let message = match name {
            Some(name) => format!("`{key}` is not a setting of the fake `{name}`"),
            None => format!("`{key}` needs the `name` of a built-in fake"),
        };
        let keys: Vec<_> = GENERAL.iter().chain(allowed).map(|key| format!("`{key}`")).collect();
        Diagnostic::error(span, message).help(format!("valid settings: {}", keys.join(", ")))
    }

    /// What is doubtful about it: paths in the style of other routers, whose parameters are taken literally.
    pub fn doubts(&self) -> Vec<Diagnostic> {
        let routes = self.routes.iter().flat_map(|routes| &routes.value);
        let collections = self.collections.iter().flat_map(|collections| collections.value.iter());
        let paths = collections.filter_map(|(_, collection)| collection.value.path.as_ref());
        let paths = routes.map(|route| &route.value.path).chain(paths);
        paths.filter_map(literal_parameter).collect()
    }

    fn check_version(&self, mistakes: &mut Vec<Diagnostic>) {
        let (Some(name), Some(version)) = (&self.name, &self.version) else {
            return;
        };
        let Some((_, own)) = VERSIONS.iter().find(|(fake, _)| *fake == name.value) else {
            return;
        };
        if !own.iter().any(|(known, _)| *known == version.value) {
            let words: Vec<_> = own.iter().map(|(_, word)| format!("`{word}`")).collect();
            let message = format!("the fake `{}` has no such version", name.value);
            mistakes.push(Diagnostic::error(version.span, message).help(format!("use {}", words.join(" or "))));
        }
    }

    fn check_store(&self, mistakes: &mut Vec<Diagnostic>) {
        let valid = |store: &str| store == "memory" || store.strip_prefix("file:").is_some_and(|path| !path.is_empty());
        if let Some(store) = self.store.as_ref().filter(|store| !valid(&store.value)) {
            let message = format!("`{}` is not a valid store", store.value);
            mistakes.push(Diagnostic::error(store.span, message).help("use `memory` or `file:PATH`"));
        }
    }
}

/// The warning for a path such as `/users/:id` or `/v/*`.
fn literal_parameter(path: &Spanned<String>) -> Option<Diagnostic> {
    let segments: Vec<&str> = path.value.split('/').collect();
    let last = segments.len().saturating_sub(1);
    let parameter = |(at, segment): (usize, &str)| match segment {
        "*" | "**" if at == last => Some("{*rest}".to_owned()),
        "*" => Some("{name}".to_owned()),
        _ => {
            let name = segment
                .strip_prefix(':')
                .or_else(|| segment.strip_prefix('<')?.strip_suffix('>'))?;
            let name = name.rsplit(':').next().unwrap_or(name).trim_end_matches('?');
            let is_name = !name.is_empty() && name.chars().all(|letter| letter.is_alphanumeric() || letter == '_');
            is_name.then(|| format!("{{{name}}}"))
        }
    };
    let own: Vec<Option<String>> = segments.iter().copied().enumerate().map(parameter).collect();
    let first = own.iter().position(Option::is_some)?;
    let whole = segments
        .iter()
        .zip(&own)
        .map(|(segment, own)| own.as_deref().unwrap_or(segment));
    let message = format!("`{}` matches only itself", segments.get(first)?);
    let help = format!("write `path: \"{}\"`", whole.collect::<Vec<_>>().join("/"));
    Some(Diagnostic::warning(path.span, message).help(help))
}

/// What is meant by a word in the settings of a fake: only those that it has are suggested.
pub fn hint(word: &Word<'_>) -> Option<Hint> {
    if let Some((what, key)) = served_alone(word) {
        let help = format!(
            "this is {what}: `squall fake FILE` serves it, and so does `upstreams: {{api: {{fake: {{{key}: FILE}}}}}}` in a \
            configuration"
        );
        return Some(Hint {
            whole: true,
            ..Hint::said(help)
        });
    }
    let ["upstreams", _, "fake"] = word.path.as_slice() else {
        return None;
    };
    if word.is_value {
        return None;
    }
    if matches!(word.key, "mappings" | "stubs" | "expectations") {
        // Words of other tools.
        return None;
    }
    let name = word.map.get("name").and_then(Node::text);
    let help = match (word.key, name) {
        (key, _) if SETTINGS.iter().any(|(known, _)| *known == key) => format!("write `fake: {key}`"),
        ("path" | "method" | "status" | "json" | "body" | "headers" | "response" | "responses" | "text", None) => {
            "write `routes: [{path: /users, json: []}]`".to_owned()
        }
        ("type" | "kind" | "fake", None) => {
            let known = word.value.text().filter(|name| names().any(|known| known == *name));
            format!("write `name: {}`", known.unwrap_or("test-api"))
        }
        ("file" | "spec" | "swagger" | "document" | "schema", None) => {
            format!("write `openapi: {}`", word.value.text().unwrap_or("api.yaml"))
        }
        (key, name) => {
            let allowed = match name {
                None => DECLARED,
                Some(name) => SETTINGS.iter().find(|(known, _)| *known == name)?.1,
            };
            let valid: Vec<&str> = GENERAL.into_iter().chain(allowed.iter().copied()).collect();
            match did_you_mean(key, valid.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("valid keys: {}", valid.join(", ")),
            }
        }
    };
    Some(Hint::said(help))
}

/// What a file is that was given as a configuration, and the key of a fake that is made from it.
fn served_alone(word: &Word<'_>) -> Option<(&'static str, &'static str)> {
    let has = |key: &str| word.map.get(key).is_some();
    match word.path.as_slice() {
        [] if has("openapi") || has("swagger") => Some(("an OpenAPI document", "openapi")),
        ["log"] if has("entries") => Some(("a recording", "har")),
        _ => None,
    }
}

/// The error for a name that no built-in fake has.
pub(super) fn unknown(name: &Spanned<String>, place: Span) -> Diagnostic {
    let span = if name.span.is_nowhere() { place } else { name.span };
    let names: Vec<_> = names().collect();
    let mistake = Diagnostic::error(
        span,
        format!("unknown fake `{}`; valid: {}", name.value, names.join(", ")),
    );
    match did_you_mean(&name.value, names) {
        Some(near) => mistake.help(format!("did you mean `{near}`?")),
        None => mistake,
    }
}

impl<'de> Deserialize<'de> for FakeSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrMap;

        impl<'de> Visitor<'de> for NameOrMap {
            type Value = FakeSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a fake such as test-api, or a map with its settings")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<FakeSpec, E> {
                Ok(FakeSpec::named(name))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FakeSpec, A::Error> {
                DeriveDeserialize::deserialize(MapAccessDeserializer::new(map)).map(FakeSpec)
            }
        }

        deserializer.deserialize_any(NameOrMap)
    }
}

impl JsonSchema for FakeSpec {
    fn schema_name() -> Cow<'static, str> {
        "Fake".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<FakeSettings>();
        json_schema!({
            "description": "A server built into squall, by its name or with its settings, or one declared here",
            "anyOf": [{"type": "string"}, map],
        })
    }
}
