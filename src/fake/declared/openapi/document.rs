//! OpenAPI documents, read and checked.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::bundle::{FILES, MapKind, below, bundle};
use crate::fake::schema::{self, Checker, reference, target};
use crate::yaml::report::{Diagnostic, Sources};
use crate::yaml::tree;

/// The mistakes that are reported at once.
const MISTAKES_LIMIT: usize = 50;

/// A document whose references all lead somewhere.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Arc<Value>,
    /// Holds values against the schemas of the document.
    pub(super) checker: Checker,
}

impl Document {
    /// Reads YAML or JSON. References can lead to other files if it stands in `file`.
    ///
    /// # Errors
    /// All that is wrong, each with its place: line and column of the text, or a JSON pointer (RFC 6901).
    pub(super) fn read_from(bytes: &[u8], file: Option<&Path>) -> Result<Self, Vec<String>> {
        let mut root = parse(bytes)?;
        if !root.is_object() {
            return Err(vec!["it is not a map, so it can't be an OpenAPI document".to_owned()]);
        }
        if let Some(version) = root.get("swagger") {
            let version = version.as_str().unwrap_or("2.0");
            return Err(vec![format!(
                "/swagger: Swagger {version} is not supported, only OpenAPI 3: convert it with `npx swagger2openapi \
                FILE`"
            )]);
        }
        match root.get("openapi") {
            Some(Value::String(version)) if version.starts_with("3.") => {}
            Some(version) => return Err(vec![format!("/openapi: {version} is not supported, only 3.0 and 3.1")]),
            None => {
                return Err(vec![
                    "/openapi is missing: it names the version, such as 3.1.0".to_owned(),
                ]);
            }
        }
        let mut mistakes = Vec::new();
        bundle(&mut root, file, &mut mistakes);
        let root = Arc::new(root);
        let checker = Checker::new(Arc::clone(&root));
        let document = Self { root, checker };
        if mistakes.is_empty() {
            document.check_references(&document.root, MapKind::Described, &mut String::new(), &mut mistakes);
        }
        if mistakes.is_empty() {
            Ok(document)
        } else {
            Err(mistakes)
        }
    }

    /// The paths, in the order of the document.
    pub(super) fn paths(&self) -> Option<&Map<String, Value>> {
        self.root.get("paths")?.as_object()
    }

    /// What a value stands for: itself, or what its `$ref` leads to.
    pub(super) fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        schema::resolve(&self.root, value)
    }

    /// A member of an object, resolved.
    pub(super) fn get<'a>(&'a self, value: &'a Value, key: &str) -> Option<&'a Value> {
        value.get(key).map(|member| self.resolve(member))
    }

    /// Whether what stands beside a `$ref` is ignored.
    pub(super) fn is_3_0(&self) -> bool {
        let version = self.root.get("openapi").and_then(Value::as_str);
        version.is_some_and(|version| version.starts_with("3.0"))
    }

    fn check_references(&self, value: &Value, kind: MapKind, at: &mut String, mistakes: &mut Vec<String>) {
        if mistakes.len() >= MISTAKES_LIMIT {
            return;
        }
        let length = at.len();
        match value {
            Value::Object(map) => {
                if kind == MapKind::Described
                    && let Some(reference) = reference(value)
                {
                    let problem = if target(&self.root, reference).is_none() {
                        Some("points to nothing")
                    } else if self.resolve(value).is_null() {
                        Some("refers to itself")
                    } else {
                        None
                    };
                    mistakes.extend(problem.map(|problem| {
                        let (at, reference) = (as_written(at), as_written(reference));
                        format!("{at}/$ref: `{reference}` {problem}")
                    }));
                    return;
                }
                for (key, value) in map {
                    let Some(below) = below(kind, key, value) else { continue };
                    at.push('/');
                    at.push_str(&escape(key));
                    self.check_references(value, below, at, mistakes);
                    at.truncate(length);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    at.push_str(&format!("/{index}"));
                    self.check_references(item, MapKind::Described, at, mistakes);
                    at.truncate(length);
                }
            }
            _ => {}
        }
    }
}

/// A place in the document, or a reference to one, in the words of the file that it stands in.
pub(super) fn as_written(place: &str) -> Cow<'_, str> {
    let Some(rest) = place.trim_start_matches('#').strip_prefix(&format!("/{FILES}/")) else {
        return place.into();
    };
    let (name, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{}#{rest}", unescape(name)).into()
}

/// A key as part of a JSON pointer.
pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// What a part of a JSON pointer stands for.
pub(super) fn unescape(part: &str) -> String {
    part.replace("%25", "%").replace("~1", "/").replace("~0", "~")
}

/// Reads YAML or JSON.
///
/// # Errors
/// All that is wrong with the text, each with its line and column.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, Vec<String>> {
    // JSON is YAML too, and its own reader is faster.
    match serde_json::from_slice(bytes) {
        Ok(value) => Ok(value),
        Err(_) => parse_yaml(bytes),
    }
}

fn parse_yaml(bytes: &[u8]) -> Result<Value, Vec<String>> {
    let (mut sources, mut mistakes) = (Sources::default(), Vec::new());
    let node = tree::add_source(&mut sources, "the document", bytes.to_vec(), "", &mut mistakes)
        .and_then(|source| tree::parse(&sources, source, None, &mut mistakes));
    match node {
        Some(node) if mistakes.is_empty() => Ok(node.to_json()),
        _ => Err(mistakes.iter().map(|mistake| placed(mistake, &sources)).collect()),
    }
}

/// A mistake in the text, with its place.
fn placed(mistake: &Diagnostic, sources: &Sources) -> String {
    match mistake.span {
        Some(span) => {
            let (line, column) = sources.position(span.source, span.start);
            format!("line {line}, column {column}: {}", mistake.message)
        }
        None => mistake.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Document::read_from(text.as_bytes(), None).unwrap_err().join("\n")
    }

    #[test]
    fn references_lead_somewhere_in_the_document() {
        let text = "openapi: 3.1.0\na: {$ref: '#/b~1c/%7Bd%7D'}\nb/c: {'{d}': {$ref: '#/e'}}\ne: 5\n\
                    x: {properties: {$ref: {type: string}, example: {$ref: '#/e'}}}\ny: {example: {$ref: none}}\n\
                    x-topics: [{$ref: ./start.md}]\nz: {x-policy: {$ref: '#/none'}, headers: {x-h: {$ref: '#/e'}}, default: {$ref: 5}}";
        let document = Document::read_from(text.as_bytes(), None).unwrap();
        assert_eq!(document.get(&document.root, "a"), Some(&Value::from(5)));
        assert_eq!(
            error("openapi: 3.0.0\na: [{$ref: '#/b'}]"),
            "/a/0/$ref: `#/b` points to nothing"
        );
        assert!(error("openapi: 3.0.0\na: {$ref: other.yaml#/b}").contains("points outside the document"));
        assert!(error("openapi: 3.0.0\na: {headers: {x-h: {$ref: '#/b'}}}").contains("points to nothing"));
        assert!(
            error("openapi: 3.0.0\na: {$ref: '#/b'}\nb: {$ref: '#/a'}").contains("/a/$ref: `#/b` refers to itself")
        );
    }

    #[test]
    fn versions_and_texts_that_are_refused() {
        assert!(error("swagger: '2.0'").contains("swagger2openapi"));
        assert_eq!(
            error("openapi: 2.9").replace('\n', " "),
            "/openapi: 2.9 is not supported, only 3.0 and 3.1"
        );
        assert!(error("info: {}").starts_with("/openapi is missing"));
        assert!(error("openapi: [").contains("line"));
        assert_eq!(error("- a"), "it is not a map, so it can't be an OpenAPI document");
        assert!(error("{\"openapi\": \"3.0.0\",, }").contains("line 1"));
        assert_eq!(
            error("openapi: 3.0.0\na: {? [b] : 1}"),
            "line 2, column 7: a key must be a plain string"
        );
    }

    #[test]
    fn yaml_is_read_as_json_would_say_it() {
        let text = "openapi: 3.0.0\nresponses: {200: '${NAME}', true: [0x10, 1.5, ~, .inf, 18446744073709551615]}";
        let document = Document::read_from(text.as_bytes(), None).unwrap();
        let expect = serde_json::json!({"200": "${NAME}", "true": [16, 1.5, null, null, u64::MAX]});
        assert_eq!(document.root["responses"], expect);
    }
}
