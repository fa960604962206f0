//! Which of several schemas a value is meant to fit: a property of it says so.

use serde_json::{Map, Value, json};

use super::document::{Document, unescape};
use super::schemas::any_of;
use crate::fake::schema::reference;

/// The values of the property that a `discriminator` names, each with the options that it stands for, by their indices.
pub(super) struct Tags<'a> {
    property: &'a str,
    options: Vec<(Value, Vec<usize>)>,
    /// Whether other values stand for none: not where the name of a schema is all there is to go by.
    complete: bool,
}

impl<'a> Tags<'a> {
    /// Those of a schema with these options. `None` without a discriminator, or if an option has no value that stands for it.
    pub(super) fn read(document: &'a Document, schema: &'a Map<String, Value>, options: &'a [Value]) -> Option<Self> {
        let discriminator = schema.get("discriminator")?;
        let property = discriminator.get("propertyName")?.as_str()?;
        let mapping = discriminator.get("mapping").and_then(Value::as_object);
        let mut tags = Self {
            property,
            options: Vec::new(),
            complete: true,
        };
        for (index, option) in options.iter().enumerate() {
            let target = reference(option);
            let mapped = mapping
                .into_iter()
                .flatten()
                .filter(|(_, to)| to.as_str().is_some_and(|to| leads_to(to, target)));
            let mapped: Vec<Value> = mapped.map(|(tag, _)| tag.as_str().into()).collect();
            let mut own = Vec::new();
            if mapped.is_empty() {
                values(document, option, property, &mut own, 0);
            }
            tags.complete &= !(mapped.is_empty() && own.is_empty());
            let name = target.map(|target| Value::from(name(target)));
            let all: Vec<_> = mapped.into_iter().chain(own).chain(name).collect();
            if all.is_empty() {
                return None;
            }
            all.into_iter().for_each(|tag| tags.add(tag, index));
        }
        Some(tags)
    }

    fn add(&mut self, tag: Value, option: usize) {
        match self.options.iter_mut().find(|(known, _)| *known == tag) {
            Some((_, options)) if options.contains(&option) => {}
            Some((_, options)) => options.push(option),
            None => self.options.push((tag, vec![option])),
        }
    }

    /// A schema that holds a value against the option that it says. One that says nothing is held against `by_match`.
    pub(super) fn choose(&self, options: &[Value], by_match: Value) -> Value {
        let tagged = |tag: Value| Map::from_iter([(self.property.to_owned(), tag)]);
        let cases = self.options.iter().map(|(tag, stands_for)| {
            let stands_for: Vec<_> = stands_for
                .iter()
                .filter_map(|index| options.get(*index).cloned())
                .collect();
            let then = match stands_for.as_slice() {
                [one] => one.clone(),
                several => any_of(several),
            };
            json!({"if": {"properties": tagged(json!({"const": tag}))}, "then": then})
        });
        let known: Vec<_> = self.options.iter().map(|(tag, _)| tag).collect();
        let known = json!({"properties": tagged(json!({"enum": known}))});
        let mut cases: Vec<_> = cases.collect();
        let says = if self.complete {
            cases.push(known);
            json!({"required": [self.property], "type": "object"})
        } else {
            json!({"required": [self.property], "type": "object", "allOf": [known]})
        };
        json!({"if": says, "then": {"allOf": cases}, "else": by_match})
    }
}

/// Whether an entry of a mapping, a reference or the name of a schema, means this reference.
fn leads_to(entry: &str, reference: Option<&str>) -> bool {
    reference.is_some_and(|reference| entry == reference || entry == name(reference))
}

/// The name of a schema that is referred to; that of a file is without its ending.
pub(super) fn name(reference: &str) -> String {
    let last = unescape(reference.rsplit('/').next().unwrap_or_default());
    let file = last.rsplit('/').next().unwrap_or_default();
    match file.rsplit_once('.') {
        Some((stem, "yaml" | "yml" | "json")) => stem.to_owned(),
        _ => last,
    }
}

/// The values that a schema, or any option of it, allows for a property.
fn values(document: &Document, schema: &Value, property: &str, found: &mut Vec<Value>, depth: usize) {
    const DEPTH_LIMIT: usize = 8;
    let schema = document.resolve(schema);
    if let Some(described) = schema.get("properties").and_then(|all| document.get(all, property)) {
        found.extend(described.get("const").cloned());
        found.extend(
            described
                .get("enum")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .cloned(),
        );
    }
    if let Some(discriminator) = schema.get("discriminator")
        && discriminator.get("propertyName").and_then(Value::as_str) == Some(property)
        && let Some(mapping) = discriminator.get("mapping").and_then(Value::as_object)
    {
        found.extend(mapping.keys().map(|tag| Value::from(tag.as_str())));
    }
    let parts = ["allOf", "anyOf", "oneOf"]
        .iter()
        .filter_map(|key| schema.get(key)?.as_array());
    for part in parts.flatten().filter(|_| depth < DEPTH_LIMIT) {
        values(document, part, property, found, depth + 1);
    }
}
