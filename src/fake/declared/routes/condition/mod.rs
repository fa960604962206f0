//! What a route asks of a request besides its path and method: a rule's conditions on the head, and some on the body.

use super::spec::RouteMatchSpec;
use super::tree::Tree;
use crate::content::Content;
use crate::draw::head::Head;
use crate::rule::body::{self, BodyCondition, BodyTest};
use crate::rule::matcher::{self, Field, Mistake, Shown};
use crate::rule::spec::MatchSpec;
use crate::rule::text::Place;
use crate::yaml::decode::{Named, Spanned};
use crate::yaml::report::{Diagnostic, Span};

/// A compiled `match`.
#[derive(Debug)]
pub(super) struct Condition {
    head: matcher::Condition,
    bodies: Vec<BodyCondition>,
    any: Option<Vec<Condition>>,
    not: Option<Box<Condition>>,
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
        let mut found = Vec::new();
        let head = matcher::Condition::compile(&head, &mut found);
        let condition = Self {
            head,
            bodies: bodies(given, &mut found),
            any: given.any.as_ref().map(|any| {
                if any.value.is_empty() {
                    mistakes.push(empty(any.span));
                }
                any.value.iter().map(|one| Self::compile(one, mistakes)).collect()
            }),
            not: given.not.as_ref().map(|not| Box::new(Self::compile(not, mistakes))),
        };
        mistakes.extend(
            found
                .into_iter()
                .map(|(span, message)| Diagnostic::error(span, message)),
        );
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
        !self.bodies.is_empty()
    }

    /// Whether it can't be told without the body.
    pub(super) fn needs_body(&self) -> bool {
        let within = self.any.iter().flatten().chain(self.not.as_deref());
        self.looks_at_body() || within.into_iter().any(Self::needs_body)
    }

    /// Whether a request fits.
    pub(super) fn holds(&self, head: &Head<'_>, content: &Content) -> bool {
        self.head.matches(head)
            && self.bodies.iter().all(|body| body.check(content).is_ok())
            && self
                .any
                .as_ref()
                .is_none_or(|any| any.iter().any(|one| one.holds(head, content)))
            && self.not.as_ref().is_none_or(|not| !not.holds(head, content))
    }
}

fn empty(span: Span) -> Diagnostic {
    Diagnostic::error(
        span,
        "the list is empty: give at least one condition, or leave out the key",
    )
}

/// The conditions on the body, in the words of a route. The body has a limit of its own, that of fakes.
fn bodies(given: &RouteMatchSpec, mistakes: &mut Vec<Mistake>) -> Vec<BodyCondition> {
    let mut tests = Vec::new();
    let body = given.body.as_ref();
    tests.extend(
        body.and_then(|body| Shown::compile(body, Place::Value, mistakes))
            .map(BodyTest::Text),
    );
    tests.extend(
        given
            .json
            .as_ref()
            .map(|tree| BodyTest::Json(Tree::as_written(&tree.value))),
    );
    for (path, field) in given.json_path.iter().flat_map(Named::iter) {
        let field = Field::compile(field, mistakes);
        let path = body::parse_path(&path.value, path.span, mistakes);
        tests.extend(path.zip(field).map(|(path, field)| BodyTest::Path(path, field)));
    }
    for (name, field) in given.form.iter().flat_map(Named::iter) {
        let field = Field::compile(field, mistakes);
        tests.extend(field.map(|field| BodyTest::Form(name.value.as_str().into(), field)));
    }
    let unlimited = |test| BodyCondition::new(usize::MAX, test);
    tests.into_iter().map(unlimited).collect()
}

#[cfg(test)]
mod tests;
