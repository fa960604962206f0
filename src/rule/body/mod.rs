//! Compiled conditions on a request's body, made from [`BodySpec`]. Fakes match the bodies of their requests with the same ones.

pub mod spec;

use std::fmt;
use std::sync::Arc;

use serde_json::{Number, Value};
use serde_json_path::JsonPath;

use self::spec::{BodySpec, GraphqlSpec};
use super::matcher::{Field, Mistake, Shown};
use super::spec::TextSpec;
use super::text::{Place, Text};
use crate::content::document::is_same;
use crate::content::graphql::{Operation, OperationType};
use crate::content::{Content, Unanswered};
use crate::yaml::decode::Spanned;
use crate::yaml::report::Span;
use crate::yaml::units::ByteSize;

/// The default of `limit`, in bytes.
pub const DEFAULT_LIMIT: usize = 1 << 20;

/// The largest `limit`, in bytes.
pub const MAX_LIMIT: usize = 64 << 20;

/// The longest text from a configuration or a request that a sentence has.
const SHOWN: usize = 60;

/// A condition on a body of at most so many bytes.
#[derive(Debug, Clone)]
pub struct BodyCondition {
    /// The longest body that is looked at, in bytes. A longer one does not match.
    pub limit: usize,
    test: Arc<BodyTest>,
}

/// What is asked of a body.
#[derive(Debug)]
pub enum BodyTest {
    /// The whole text.
    Text(Shown<Text>),
    /// A part of its JSON.
    Json(Value),
    /// Values in its JSON.
    Path(Shown<JsonPath>, Field),
    /// A field of the form that it is.
    Form(Box<str>, Field),
    /// A GraphQL operation, by name and type.
    Graphql(Option<Shown<Text>>, Vec<OperationType>),
    /// The model that it names.
    Model(Shown<Text>),
}

/// Compiles `match: {body: …}`, collecting every mistake.
pub(super) fn compile(spec: &Spanned<BodySpec>, mistakes: &mut Vec<Mistake>) -> Vec<BodyCondition> {
    let long = &spec.value.0;
    let limit = limit(long.limit.as_ref(), mistakes);
    let mut tests = Vec::new();
    match spec.value.bare_text() {
        Ok(text) => {
            let text = text.map(|value| Spanned { value, span: spec.span });
            tests.extend(
                text.and_then(|text| Shown::compile(&text, Place::Value, mistakes))
                    .map(BodyTest::Text),
            );
        }
        Err(message) => mistakes.push((spec.span, message)),
    }
    let text = long.text.as_ref();
    tests.extend(
        text.and_then(|text| Shown::compile(text, Place::Value, mistakes))
            .map(BodyTest::Text),
    );
    tests.extend(long.json.clone().map(BodyTest::Json));
    for (path, field) in long.json_path.iter().flat_map(|paths| paths.iter()) {
        let field = Field::compile(field, mistakes);
        let path = parse_path(&path.value, path.span, mistakes);
        tests.extend(path.zip(field).map(|(path, field)| BodyTest::Path(path, field)));
    }
    for (name, field) in long.form.iter().flat_map(|fields| fields.iter()) {
        let field = Field::compile(field, mistakes);
        tests.extend(field.map(|field| BodyTest::Form(name.value.as_str().into(), field)));
    }
    tests.extend(
        long.graphql
            .as_ref()
            .and_then(|graphql| self::graphql(graphql, mistakes)),
    );
    let model = long
        .model
        .as_ref()
        .and_then(|model| name(&model.value, model.span, mistakes));
    tests.extend(model.map(BodyTest::Model));
    if tests.is_empty() && mistakes.is_empty() {
        let message = "what the body must have is missing: give one of text, json, json_path, form, graphql, model";
        mistakes.push((spec.span, message.to_owned()));
    }
    tests
        .into_iter()
        .map(|test| BodyCondition {
            limit,
            test: test.into(),
        })
        .collect()
}

fn limit(limit: Option<&Spanned<ByteSize>>, mistakes: &mut Vec<Mistake>) -> usize {
    let Some(limit) = limit else { return DEFAULT_LIMIT };
    let bytes = usize::try_from(limit.value.get()).ok();
    bytes
        .filter(|bytes| (1..=MAX_LIMIT).contains(bytes))
        .unwrap_or_else(|| {
            mistakes.push((
                limit.span,
                format!("`limit: {}` is out of range: use 1B to 64MiB", limit.value),
            ));
            DEFAULT_LIMIT
        })
}

fn graphql(spec: &Spanned<GraphqlSpec>, mistakes: &mut Vec<Mistake>) -> Option<BodyTest> {
    let long = &spec.value.0;
    let operation = match &long.operation {
        Some(operation) => Some(name(operation, spec.span, mistakes)?),
        None => None,
    };
    let kinds = long.kind.as_ref().map(|kinds| kinds.0.clone()).unwrap_or_default();
    Some(BodyTest::Graphql(operation, kinds))
}

/// A pattern for a name, of which a plain string is a glob.
fn name(spec: &TextSpec, span: Span, mistakes: &mut Vec<Mistake>) -> Option<Shown<Text>> {
    let value = match spec {
        TextSpec::Plain(text) => TextSpec::Glob(text.clone()),
        other => other.clone(),
    };
    let mut compiled = Shown::compile(&Spanned { value, span }, Place::Value, mistakes)?;
    if let TextSpec::Plain(text) = spec {
        compiled.retitle(&format!("`{text}`"));
    }
    Some(compiled)
}

/// Parses a JSONPath (RFC 9535). Its `$` can be left out: `items[0].id`.
pub fn parse_path(text: &str, span: Span, mistakes: &mut Vec<Mistake>) -> Option<Shown<JsonPath>> {
    let whole = match text.chars().next() {
        Some('$') => text.to_owned(),
        Some('.' | '[') => format!("${text}"),
        _ => format!("$.{text}"),
    };
    // Its own text is kept, since `JsonPath` writes `$..a` with a dot too many.
    let path = JsonPath::parse(&whole).ok().map(|path| Shown::new(path, &whole));
    if path.is_none() {
        let message = format!(
            "`{text}` is not a valid JSONPath (RFC 9535): use `$.items[0].id`, or `$.items[*].id` for any item"
        );
        mistakes.push((span, message));
    }
    path
}

impl BodyCondition {
    /// A condition on bodies up to `limit` bytes.
    pub fn new(limit: usize, test: BodyTest) -> BodyCondition {
        BodyCondition {
            limit,
            test: test.into(),
        }
    }

    /// Checks a body.
    ///
    /// # Errors
    /// Why it does not match, as a sentence without its subject, which is the body.
    pub fn check(&self, content: &Content) -> Result<(), Unanswered> {
        if content.bytes()?.len() > self.limit {
            return Err(too_long(self.limit).into());
        }
        self.test.check(content)
    }
}

/// Why a body is not looked at that is longer than `limit` bytes.
pub fn too_long(limit: usize) -> String {
    let limit = ByteSize::from_bytes(u64::try_from(limit).unwrap_or(u64::MAX));
    format!("is longer than the limit of {limit}")
}

impl BodyTest {
    fn check(&self, content: &Content) -> Result<(), Unanswered> {
        let fits = match self {
            BodyTest::Text(text) => text.value.matches(&content.text()?),
            BodyTest::Json(wanted) => match content.json() {
                // What was parsed is at hand, but has not every digit of every number.
                Ok(value) => has(value, wanted) && content.document()?.has(wanted),
                Err(_) => content.document()?.has(wanted),
            },
            BodyTest::Path(path, field) => {
                let found = path.value.query(content.json()?).all();
                match field {
                    Field::Present if found.is_empty() => return Err(format!("has nothing at `{path}`").into()),
                    Field::Value(_) if found.is_empty() => return Err(format!("has nothing at `{path}`").into()),
                    Field::Present => true,
                    Field::Absent => found.is_empty(),
                    Field::Value(text) => found.into_iter().any(|value| fits(&text.value, value)),
                }
            }
            BodyTest::Form(name, field) => {
                let fields = content.form()?.iter().filter(|(other, _)| **other == **name);
                let values: Vec<&str> = fields.map(|(_, value)| value.as_str()).collect();
                if values.is_empty() && !matches!(field, Field::Absent) {
                    return Err(format!("has no field `{name}`").into());
                }
                field.matches(values.into_iter())
            }
            BodyTest::Graphql(name, kinds) => return operation(content.operations()?, name.as_ref(), kinds),
            BodyTest::Model(text) => {
                let model = content.model()?;
                if !text.value.matches(&model) {
                    return Err(format!("has the model `{}`", shortened(&model)).into());
                }
                true
            }
        };
        if fits { Ok(()) } else { Err("differs".into()) }
    }
}

/// Checks that one of the operations has this name and one of these types.
fn operation(operations: &[Operation], name: Option<&Shown<Text>>, kinds: &[OperationType]) -> Result<(), Unanswered> {
    let fits = |operation: &Operation| {
        name.is_none_or(|name| operation.name.as_deref().is_some_and(|own| name.value.matches(own)))
            && (kinds.is_empty() || operation.kind.is_some_and(|kind| kinds.contains(&kind)))
    };
    if operations.iter().any(fits) {
        return Ok(());
    }
    let Some(first) = operations.first() else {
        return Err("is not a GraphQL request with one operation".into());
    };
    let kind = first.kind.map_or("operation", OperationType::name);
    Err(match &first.name {
        Some(name) => format!("has the {kind} `{}`", shortened(name)).into(),
        None => format!("has a {kind} without a name").into(),
    })
}

/// Whether a value in JSON fits a pattern: a text by itself, anything else as it is written in compact JSON. Numbers compare
/// by value.
fn fits(text: &Text, value: &Value) -> bool {
    match (text, value) {
        (_, Value::String(value)) => text.matches(value),
        (Text::Exact(wanted), Value::Number(number)) => {
            let wanted = serde_json::from_str::<Number>(wanted);
            wanted.is_ok_and(|wanted| is_same(&number.to_string(), &wanted))
        }
        (_, other) => text.matches(&other.to_string()),
    }
}

/// Whether a value has what is wanted: of a map the keys that are given, else the same value. Numbers compare as 64-bit floats.
fn has(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(map), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, wanted)| map.get(key).is_some_and(|value| has(value, wanted))),
        (Value::Array(items), Value::Array(wanted)) => {
            items.len() == wanted.len() && items.iter().zip(wanted).all(|(item, wanted)| has(item, wanted))
        }
        (Value::Number(number), Value::Number(wanted)) => number == wanted || number.as_f64() == wanted.as_f64(),
        _ => value == wanted,
    }
}

fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SHOWN)).unwrap_or(text)
}

impl fmt::Display for BodyCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.test.fmt(f)
    }
}

impl fmt::Display for BodyTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyTest::Text(text) => write!(f, "body {text}"),
            BodyTest::Json(wanted) => {
                let text = wanted.to_string();
                let short = shortened(&text);
                write!(f, "body json `{short}{}`", if short == text { "" } else { "…" })
            }
            BodyTest::Path(path, field) => write!(f, "body json_path `{path}` {field}"),
            BodyTest::Form(name, field) => write!(f, "body form {name} {field}"),
            BodyTest::Graphql(name, kinds) => {
                f.write_str("body graphql")?;
                for kind in kinds {
                    write!(f, " {}", kind.name())?;
                }
                match name {
                    Some(name) => write!(f, " {name}"),
                    None => Ok(()),
                }
            }
            BodyTest::Model(text) => write!(f, "body model {text}"),
        }
    }
}

#[cfg(test)]
mod tests;
