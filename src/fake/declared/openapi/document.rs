//! OpenAPI documents, read and checked.

use serde_json::{Map, Value};

use crate::fake::schema::{self, reference, target};

/// The mistakes that are reported at once.
const MISTAKES_LIMIT: usize = 50;

/// A document whose references all lead somewhere.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Value,
}

impl Document {
    /// Reads YAML or JSON.
    ///
    /// # Errors
    /// All that is wrong, each with its place: line and column of the text, or a JSON pointer (RFC 6901).
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Vec<String>> {
        let root = parse(bytes).map_err(|mistake| vec![mistake])?;
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
        let document = Self { root };
        let mut mistakes = Vec::new();
        document.check_references(&document.root, &mut String::new(), &mut mistakes);
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

    fn check_references(&self, value: &Value, at: &mut String, mistakes: &mut Vec<String>) {
        if mistakes.len() >= MISTAKES_LIMIT {
            return;
        }
        let length = at.len();
        match value {
            Value::Object(map) => {
                if let Some(reference) = reference(value) {
                    let problem = if !reference.starts_with('#') {
                        Some("points outside the document; only references within it are supported")
                    } else if target(&self.root, reference).is_none() {
                        Some("points to nothing")
                    } else if self.resolve(value).is_null() {
                        Some("refers to itself")
                    } else {
                        None
                    };
                    mistakes.extend(problem.map(|problem| format!("{at}/$ref: `{reference}` {problem}")));
                    return;
                }
                for (key, value) in map {
                    // What stands there is data, not description.
                    if matches!(key.as_str(), "example" | "value" | "const" | "enum") && !at.ends_with("/properties") {
                        continue;
                    }
                    at.push('/');
                    at.push_str(&escape(key));
                    self.check_references(value, at, mistakes);
                    at.truncate(length);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    at.push_str(&format!("/{index}"));
                    self.check_references(item, at, mistakes);
                    at.truncate(length);
                }
            }
            _ => {}
        }
    }
}

/// A key as part of a JSON pointer.
pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn parse(bytes: &[u8]) -> Result<Value, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| format!("it is not UTF-8 text: {error}"))?;
    let value = if text.trim_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        let value: serde_yaml::Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
        json_of(value, "")?
    };
    if value.is_object() {
        Ok(value)
    } else {
        Err("it is not a map, so it can't be an OpenAPI document".to_owned())
    }
}

/// YAML's keys may be numbers (`200:`), and are texts in JSON.
fn json_of(value: serde_yaml::Value, at: &str) -> Result<Value, String> {
    use serde_yaml::Value as Yaml;
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => flag.into(),
        Yaml::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(integer), _, _) => integer.into(),
            (_, Some(integer), _) => integer.into(),
            (_, _, real) => real.map(Value::from).unwrap_or_default(),
        },
        Yaml::String(text) => text.into(),
        Yaml::Sequence(items) => {
            let items = items.into_iter().enumerate();
            items
                .map(|(index, item)| json_of(item, &format!("{at}/{index}")))
                .collect::<Result<Vec<_>, _>>()?
                .into()
        }
        Yaml::Mapping(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let key = match key {
                    Yaml::String(text) => text,
                    Yaml::Number(number) => number.to_string(),
                    Yaml::Bool(flag) => flag.to_string(),
                    _ => return Err(format!("{at}: a key is not a string")),
                };
                let value = json_of(value, &format!("{at}/{}", escape(&key)))?;
                map.insert(key, value);
            }
            Value::Object(map)
        }
        Yaml::Tagged(tagged) => return Err(format!("{at}: unknown tag {}", tagged.tag)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Document::read(text.as_bytes()).unwrap_err().join("\n")
    }

    #[test]
    fn references_lead_somewhere_in_the_document() {
        let text = "openapi: 3.1.0\na: {$ref: '#/b~1c/%7Bd%7D'}\nb/c: {'{d}': {$ref: '#/e'}}\ne: 5\n\
                    x: {properties: {$ref: {type: string}, example: {$ref: '#/e'}}}\ny: {example: {$ref: none}}";
        let document = Document::read(text.as_bytes()).unwrap();
        assert_eq!(document.get(&document.root, "a"), Some(&Value::from(5)));
        assert_eq!(
            error("openapi: 3.0.0\na: [{$ref: '#/b'}]"),
            "/a/0/$ref: `#/b` points to nothing"
        );
        assert!(error("openapi: 3.0.0\na: {$ref: other.yaml#/b}").contains("points outside the document"));
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
        assert_eq!(error("openapi: 3.0.0\na: {? [b] : 1}"), "/a: a key is not a string");
    }
}
