//! Texts of a request as the values that its schemas want.
//!
//! A text does not say whether it is a number, and two lists may look the same. So a text has several readings, and a
//! request is fine if one of them is.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::document::Document;

/// How many schemas one value is read by at once.
const LAYERS_LIMIT: usize = 64;

/// How deep the names of fields nest: what lies deeper is part of the last name.
const DEPTH_LIMIT: usize = 16;

/// The schemas that one value is held against: those it is declared with, and the parts and options of these.
#[derive(Clone)]
pub(super) struct Layers<'a> {
    document: &'a Document,
    layers: Vec<&'a Value>,
}

/// How texts are taken where their schemas leave it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// Texts stay texts wherever they may.
    pub(super) text: bool,
    /// One value is a list of one wherever it may be.
    pub(super) list: bool,
}

impl Reading {
    /// All ways, the likeliest first.
    pub(super) const ALL: [Self; 4] = [
        Self {
            text: false,
            list: true,
        },
        Self {
            text: false,
            list: false,
        },
        Self { text: true, list: true },
        Self {
            text: true,
            list: false,
        },
    ];
}

impl<'a> Layers<'a> {
    pub(super) fn of(document: &'a Document, schemas: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut all = Self {
            document,
            layers: Vec::new(),
        };
        schemas.into_iter().for_each(|schema| all.add(schema));
        all
    }

    fn add(&mut self, schema: &'a Value) {
        if self.layers.len() >= LAYERS_LIMIT || self.layers.iter().any(|layer| std::ptr::eq(*layer, schema)) {
            return;
        }
        self.layers.push(schema);
        let resolved = self.document.resolve(schema);
        if !std::ptr::eq(resolved, schema) {
            self.add(resolved);
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            let parts = schema.get(key).and_then(Value::as_array).into_iter().flatten();
            parts.for_each(|part| self.add(part));
        }
        for key in ["then", "else"] {
            schema.get(key).into_iter().for_each(|part| self.add(part));
        }
    }

    /// The types that a value may have; of what names none, those that its other keywords hint at.
    pub(super) fn kinds(&self) -> Vec<&'a str> {
        let mut kinds = Vec::new();
        for layer in &self.layers {
            match layer.get("type") {
                Some(Value::String(kind)) => kinds.push(kind.as_str()),
                Some(Value::Array(several)) => kinds.extend(several.iter().filter_map(Value::as_str)),
                _ => {}
            }
        }
        if kinds.is_empty() {
            kinds.extend(self.layers.iter().flat_map(|layer| hints(layer)));
        }
        if self
            .layers
            .iter()
            .any(|layer| layer.get("nullable") == Some(&Value::Bool(true)))
        {
            kinds.push("null");
        }
        kinds
    }

    /// The schemas of a property.
    pub(super) fn property(&self, name: &str) -> Self {
        let mut found: Vec<_> = self
            .named()
            .filter(|(key, _)| *key == name)
            .map(|(_, schema)| schema)
            .collect();
        if found.is_empty() {
            let others = ["patternProperties", "additionalProperties"];
            let others = self
                .layers
                .iter()
                .flat_map(|layer| others.iter().filter_map(|key| layer.get(*key)));
            found.extend(others.flat_map(|schema| match schema {
                Value::Object(map) if map.values().all(Value::is_object) && !map.contains_key("$ref") => {
                    // By patterns: those of all are as good a guess as those of the one that matches.
                    map.values().collect::<Vec<_>>()
                }
                schema => vec![schema],
            }));
        }
        Self::of(self.document, found)
    }

    /// The names and schemas of the declared properties.
    pub(super) fn named(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let properties = self
            .layers
            .iter()
            .filter_map(|layer| layer.get("properties")?.as_object());
        properties.flatten().map(|(name, schema)| (name.as_str(), schema))
    }

    /// Whether properties may be there that are not declared.
    pub(super) fn is_open(&self) -> bool {
        let mut closed = self.layers.iter().filter_map(|layer| layer.get("additionalProperties"));
        !closed.any(|additional| *additional == Value::Bool(false))
    }

    fn items(&self) -> Self {
        let items = self.layers.iter().filter_map(|layer| layer.get("items"));
        let first = self
            .layers
            .iter()
            .filter_map(|layer| layer.get("prefixItems")?.as_array())
            .flatten();
        Self::of(self.document, items.chain(first))
    }

    /// A text as a scalar, or as the list or map that it is in JSON.
    pub(super) fn scalar(&self, text: &str, reading: Reading) -> Value {
        let kinds = self.kinds();
        let has = |wanted: &[&str]| kinds.iter().any(|kind| wanted.contains(kind));
        if reading.text && has(&["string"]) {
            return text.into();
        }
        if has(&["integer", "number"])
            && let Some(number) = number(text)
        {
            return number;
        }
        if has(&["boolean"])
            && let Ok(flag) = text.parse::<bool>()
        {
            return flag.into();
        }
        if has(&["null"]) && matches!(text, "" | "null") {
            return Value::Null;
        }
        if has(&["object", "array"])
            && text.starts_with(['{', '['])
            && let Ok(value) = serde_json::from_str(text)
        {
            return value;
        }
        text.into()
    }
}

fn number(text: &str) -> Option<Value> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(number.into());
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(number.into());
    }
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite())?;
    Some(number.into())
}

/// The types that a schema without `type` speaks of.
fn hints(schema: &Value) -> Vec<&'static str> {
    let has = |keys: &[&str]| keys.iter().any(|key| schema.get(key).is_some());
    let mut kinds = Vec::new();
    if has(&["properties", "additionalProperties", "required", "patternProperties"]) {
        kinds.push("object");
    }
    if has(&[
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "uniqueItems",
        "contains",
    ]) {
        kinds.push("array");
    }
    if has(&["format", "pattern", "minLength", "maxLength"]) {
        kinds.push("string");
    }
    if has(&[
        "minimum",
        "maximum",
        "multipleOf",
        "exclusiveMinimum",
        "exclusiveMaximum",
    ]) {
        kinds.push("number");
    }
    let values = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    kinds.extend(values.chain(schema.get("const")).map(|value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }));
    kinds
}

/// The fields of a form or a query, nested as their names say: `a[b]=1`, `a[]=2`, `a[0]=3`.
#[derive(Debug, Default)]
pub(super) struct FieldTree {
    pub(super) values: Vec<FieldValue>,
    below: BTreeMap<String, FieldTree>,
}

/// What a field holds.
#[derive(Debug, Clone)]
pub(super) enum FieldValue {
    Text(String),
    /// A part that is JSON by its own word.
    Json(Value),
}

impl FieldTree {
    /// Values without names.
    pub(super) fn of(values: impl Iterator<Item = FieldValue>) -> Self {
        Self {
            values: values.collect(),
            below: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.below.is_empty()
    }

    /// The fields below a name.
    pub(super) fn at(&mut self, name: &str) -> &mut Self {
        self.below.entry(name.to_owned()).or_default()
    }

    /// Adds a value below a name that may have brackets.
    pub(super) fn add(&mut self, name: &str, value: FieldValue) {
        let (first, rest) = brackets(name);
        let at = rest.into_iter().fold(self.at(first), |at, name| at.at(name));
        at.values.push(value);
    }

    /// Adds a value below this very name.
    pub(super) fn add_literally(&mut self, name: &str, value: FieldValue) {
        self.at(name).values.push(value);
    }

    /// The value that they are for these schemas.
    pub(super) fn read(&self, layers: &Layers<'_>, reading: Reading) -> Value {
        let kinds = layers.kinds();
        let is = |wanted: &str| kinds.contains(&wanted);
        if self.below.is_empty() {
            let only_list = kinds.iter().all(|kind| matches!(*kind, "array" | "null")) && is("array");
            let several = self.values.len() > 1;
            return match self.values.first() {
                _ if only_list || (is("array") && (reading.list || several)) => self.list(layers, reading),
                Some(value) => value.read(layers, reading),
                None if is("object") => Value::Object(Map::new()),
                None => "".into(),
            };
        }
        let is_index = |name: &String| name.is_empty() || name.parse::<usize>().is_ok();
        if self.below.keys().all(is_index) && (is("array") || !is("object")) {
            return self.list(layers, reading);
        }
        let below = self.below.iter();
        below
            .map(|(name, fields)| (name.clone(), fields.read(&layers.property(name), reading)))
            .collect::<Map<_, _>>()
            .into()
    }

    fn list(&self, layers: &Layers<'_>, reading: Reading) -> Value {
        // `a=` is how an empty list is written.
        if let ([FieldValue::Text(text)], true) = (self.values.as_slice(), self.below.is_empty())
            && (text.is_empty() && !reading.text)
        {
            return Value::Array(Vec::new());
        }
        let layers = layers.items();
        let mut items: Vec<_> = self.values.iter().map(|value| value.read(&layers, reading)).collect();
        let mut below: Vec<_> = self.below.iter().collect();
        below.sort_by_cached_key(|(index, _)| index.parse::<usize>().unwrap_or(0));
        for (index, fields) in below {
            if index.is_empty() {
                items.extend(fields.values.iter().map(|value| value.read(&layers, reading)));
                if fields.below.is_empty() {
                    continue;
                }
            }
            items.push(fields.read(&layers, reading));
        }
        items.into()
    }
}

impl FieldValue {
    fn read(&self, layers: &Layers<'_>, reading: Reading) -> Value {
        match self {
            Self::Text(text) => layers.scalar(text, reading),
            Self::Json(value) => value.clone(),
        }
    }
}

/// A name such as `a[b][]`: `a`, and what stands in the brackets.
pub(super) fn brackets(name: &str) -> (&str, Vec<&str>) {
    let whole = (name, Vec::new());
    let Some((first, rest)) = name.split_once('[').filter(|(first, _)| !first.is_empty()) else {
        return whole;
    };
    let Some(rest) = rest.strip_suffix(']') else {
        return whole;
    };
    (first, rest.splitn(DEPTH_LIMIT, "][").collect())
}
