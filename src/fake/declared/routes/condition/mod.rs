//! What a route asks of a request besides its path and method: a rule's conditions on the head, and some on the body.

use std::cell::OnceCell;

use serde_json::Value;

use super::super::noted;
use super::facts::form;
use super::spec::RouteMatchSpec;
use super::tree::Tree;
use crate::draw::head::Head;
use crate::rule::matcher;
use crate::rule::spec::{FieldSpec, MatchSpec};
use crate::rule::text::{Place, Text};
use crate::yaml::decode::{Named, Spanned};
use crate::yaml::report::{Diagnostic, Span};

/// A compiled `match`.
#[derive(Debug)]
pub(super) struct Condition {
    head: matcher::Condition,
    body: Option<Text>,
    json: Option<Value>,
    paths: Vec<(Vec<Step>, FieldTest)>,
    form: Vec<(String, FieldTest)>,
    any: Option<Vec<Condition>>,
    not: Option<Box<Condition>>,
}

/// One step of a path into JSON.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// The value of a key.
    Key(String),
    /// An item of a list.
    Index(usize),
    /// All items of a list, or all values of a map.
    All,
}

#[derive(Debug)]
enum FieldTest {
    Present,
    Absent,
    Value(Text),
}

/// A body, and what was found in it.
pub(super) struct ParsedBody<'a> {
    bytes: &'a [u8],
    json: OnceCell<Option<Value>>,
    form: OnceCell<Vec<(String, String)>>,
}

impl<'a> ParsedBody<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            json: OnceCell::new(),
            form: OnceCell::new(),
        }
    }

    fn json(&self) -> Option<&Value> {
        let parsed = self.json.get_or_init(|| serde_json::from_slice(self.bytes).ok());
        parsed.as_ref()
    }

    fn form(&self) -> &[(String, String)] {
        self.form.get_or_init(|| form(self.bytes))
    }
}

impl Condition {
    /// Compiles a `match`, collecting every mistake.
    pub(super) fn compile(spec: &Spanned<RouteMatchSpec>, mistakes: &mut Vec<Diagnostic>) -> Self {
        let given = &spec.value;
        let head = MatchSpec {
            host: given.host.clone(),
            headers: given.headers.clone(),
            query: given.query.clone(),
            cookies: given.cookies.clone(),
            client: given.client.clone(),
            ..MatchSpec::default()
        };
        let mut in_head = Vec::new();
        let head = matcher::Condition::compile(&head, &mut in_head);
        mistakes.extend(
            in_head
                .into_iter()
                .map(|(span, message)| Diagnostic::error(span, message)),
        );
        let body = given.body.as_ref();
        let body = body.and_then(|body| noted(Text::compile(&body.value, Place::Value), body.span, mistakes));
        let condition = Self {
            head,
            body,
            json: given.json.as_ref().map(|tree| Tree::as_written(&tree.value)),
            paths: paths(given.json_path.as_ref(), mistakes),
            form: fields(given.form.as_ref(), mistakes),
            any: given.any.as_ref().map(|any| {
                if any.value.is_empty() {
                    mistakes.push(empty(any.span));
                }
                any.value.iter().map(|one| Self::compile(one, mistakes)).collect()
            }),
            not: given.not.as_ref().map(|not| Box::new(Self::compile(not, mistakes))),
        };
        if condition.says_nothing() && mistakes.is_empty() {
            mistakes.push(Diagnostic::error(spec.span, "the conditions are missing").help(
                "leave out `match`, or give one of host, headers, query, cookies, client, body, json, json_path, \
                form, any, not",
            ));
        }
        condition
    }

    fn says_nothing(&self) -> bool {
        self.head.is_always() && !self.looks_at_body() && self.any.is_none() && self.not.is_none()
    }

    fn looks_at_body(&self) -> bool {
        self.body.is_some() || self.json.is_some() || !self.paths.is_empty() || !self.form.is_empty()
    }

    /// Whether it can't be told without the body.
    pub(super) fn needs_body(&self) -> bool {
        let within = self.any.iter().flatten().chain(self.not.as_deref());
        self.looks_at_body() || within.into_iter().any(Self::needs_body)
    }

    /// Whether a request fits.
    pub(super) fn holds(&self, head: &Head<'_>, body: &ParsedBody<'_>) -> bool {
        self.head.matches(head)
            && self
                .body
                .as_ref()
                .is_none_or(|text| text.matches(&String::from_utf8_lossy(body.bytes)))
            && self
                .json
                .as_ref()
                .is_none_or(|wanted| body.json().is_some_and(|json| has(json, wanted)))
            && self.paths.iter().all(|(path, field)| {
                let found = body.json().map(|json| at(json, path)).unwrap_or_default();
                field.fits(found.into_iter().map(text_of))
            })
            && self.form.iter().all(|(name, field)| {
                let found = body.form().iter().filter(|(other, _)| other == name);
                field.fits(found.map(|(_, value)| value.clone()))
            })
            && self
                .any
                .as_ref()
                .is_none_or(|any| any.iter().any(|one| one.holds(head, body)))
            && self.not.as_ref().is_none_or(|not| !not.holds(head, body))
    }
}

impl FieldTest {
    fn fits(&self, mut values: impl Iterator<Item = String>) -> bool {
        match self {
            FieldTest::Present => values.next().is_some(),
            FieldTest::Absent => values.next().is_none(),
            FieldTest::Value(text) => values.any(|value| text.matches(&value)),
        }
    }
}

fn empty(span: Span) -> Diagnostic {
    Diagnostic::error(
        span,
        "the list is empty: give at least one condition, or leave out the key",
    )
}

fn fields(given: Option<&Named<Spanned<FieldSpec>>>, mistakes: &mut Vec<Diagnostic>) -> Vec<(String, FieldTest)> {
    let mut fields = Vec::new();
    for (name, spec) in given.into_iter().flat_map(Named::iter) {
        let field = match &spec.value {
            FieldSpec::Present => Some(FieldTest::Present),
            FieldSpec::Absent => Some(FieldTest::Absent),
            FieldSpec::Value(value) => {
                noted(Text::compile(value, Place::Value), spec.span, mistakes).map(FieldTest::Value)
            }
        };
        fields.extend(field.map(|field| (name.value.clone(), field)));
    }
    fields
}

fn paths(given: Option<&Named<Spanned<FieldSpec>>>, mistakes: &mut Vec<Diagnostic>) -> Vec<(Vec<Step>, FieldTest)> {
    for name in given.into_iter().flat_map(Named::iter).map(|(name, _)| name) {
        if parse_path(&name.value).is_none() {
            let message = format!("`{}` is not a valid JSON path", name.value);
            mistakes.push(
                Diagnostic::error(name.span, message)
                    .help("use a path such as `$.items[0].id`, or `$.items[*].id` for any item"),
            );
        }
    }
    let fields = fields(given, mistakes).into_iter();
    fields
        .filter_map(|(name, field)| Some((parse_path(&name)?, field)))
        .collect()
}

/// The steps of `$.items[0]['a b'].*`; the `$` may be left out.
fn parse_path(text: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = text.strip_prefix('$').unwrap_or(text);
    // Without the `$`, the first key has no dot before it.
    let mut bare = rest.len() == text.len() && !rest.starts_with(['.', '[']);
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let (step, after) = inner.split_once(']')?;
            rest = after;
            let quoted = |quote| step.strip_prefix(quote).and_then(|step| step.strip_suffix(quote));
            steps.push(match quoted('\'').or_else(|| quoted('"')) {
                Some(key) => Step::Key(key.to_owned()),
                None if step == "*" => Step::All,
                None => Step::Index(step.parse().ok()?),
            });
        } else {
            let key = if bare { rest } else { rest.strip_prefix('.')? };
            let end = key.find(['.', '[']).unwrap_or(key.len());
            let (key, after) = key.split_at_checked(end)?;
            rest = after;
            steps.push(match key {
                "" => return None,
                "*" => Step::All,
                key => Step::Key(key.to_owned()),
            });
        }
        bare = false;
    }
    Some(steps)
}

/// All values at a path.
fn at<'v>(json: &'v Value, path: &[Step]) -> Vec<&'v Value> {
    path.iter().fold(vec![json], |found, step| {
        let below = |value: &'v Value| -> Vec<&'v Value> {
            match (step, value) {
                (Step::Key(key), Value::Object(map)) => map.get(key).into_iter().collect(),
                (Step::Index(index), Value::Array(items)) => items.get(*index).into_iter().collect(),
                (Step::All, Value::Array(items)) => items.iter().collect(),
                (Step::All, Value::Object(map)) => map.values().collect(),
                _ => Vec::new(),
            }
        };
        found.into_iter().flat_map(below).collect()
    })
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether a value has what is wanted: of a map the keys that are given, else the same value. Numbers compare by value.
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

#[cfg(test)]
mod tests;
