//! The schemas of a document as one JSON schema of the draft 2020-12, which can be compiled.
//!
//! The schemas that requests are held against become properties of it, by their numbers, and so does what they refer to:
//!
//! ```text
//! {"properties": {"0": {"if": {"squall-step": true}, "then": {"type": "array", "items": {"$ref": "#/properties/1"}}},
//!                 "1": {"if": {"squall-step": true}, "then": {"type": "string"}}}}
//! ```
//!
//! So a value is held against schema 1 as the property `1` of an object, and everything is compiled once. The condition bounds
//! the work of a check, see [`validate`](super::validate): it stands before each schema that is met more than once. What the
//! draft does not know, such as `nullable`, is written in its words; what asserts nothing is left out.

use std::collections::{HashMap, VecDeque};

use jsonschema::paths::Location;
use serde_json::{Map, Value, json};

use super::discriminator::Tags;
use super::document::{Document, escape};
use super::validate::{self, Validator};
use crate::fake::schema::{self, Below, STEP, below, exclude_bounds, reference};

/// A schema that requests are held against.
#[derive(Debug)]
pub(super) struct Schema {
    /// Resolved.
    pub(super) value: Value,
    /// Among the compiled ones.
    pub(super) number: usize,
}

/// The schemas that are in use so far.
pub(super) struct Schemas<'a> {
    pub(super) document: &'a Document,
    /// By address: the number of each.
    numbers: HashMap<*const Value, usize>,
    /// The place of each in the document, a JSON pointer.
    places: Vec<String>,
    /// Those that are still to be rewritten.
    pending: VecDeque<&'a Value>,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(document: &'a Document) -> Self {
        Self {
            document,
            numbers: HashMap::new(),
            places: Vec::new(),
            pending: VecDeque::new(),
        }
    }

    /// A schema that stands at `place`, now in use.
    pub(super) fn read(&mut self, schema: &'a Value, place: String) -> Schema {
        Schema {
            value: self.document.resolve(schema).clone(),
            number: self.number(schema, place),
        }
    }

    fn number(&mut self, schema: &'a Value, place: String) -> usize {
        let next = self.places.len();
        let number = *self.numbers.entry(std::ptr::from_ref(schema)).or_insert(next);
        if number == next {
            self.places.push(place);
            self.pending.push_back(schema);
        }
        number
    }

    /// Compiles them all.
    ///
    /// # Errors
    /// What is wrong with a schema, with its place.
    pub(super) fn compile(mut self) -> Result<Validator, String> {
        let mut properties = Map::new();
        while let Some(schema) = self.pending.pop_front() {
            let number = properties.len();
            let place = self.places.get(number).cloned().unwrap_or_default();
            properties.insert(number.to_string(), self.rewrite(schema, &place, true));
        }
        let whole = json!({"properties": properties, "additionalProperties": false});
        match validate::options().build(&whole) {
            Ok(compiled) => Ok(Validator { compiled, whole }),
            Err(error) => {
                let place = self.place(&whole, error.instance_path());
                Err(format!("{}: {error}", place.unwrap_or_default()))
            }
        }
    }

    /// The place in the document of what `path` leads to.
    fn place(&self, whole: &Value, path: &Location) -> Option<String> {
        let mut segments = path.iter().map(|segment| segment.to_string()).skip(1);
        let number = segments.next()?;
        let mut place = self.places.get(number.parse::<usize>().ok()?)?.clone();
        let mut at = whole.pointer(&format!("/properties/{number}"));
        for segment in segments {
            // After a condition there is only its `then`.
            if at.and_then(|at| at.get("if")?.get(STEP)).is_none() {
                place = format!("{place}/{}", escape(&segment));
            }
            at = at.and_then(|at| at.get(&segment));
        }
        Some(place)
    }

    /// A schema in the words of the draft, after the condition if it is `counted`.
    fn rewrite(&mut self, schema: &'a Value, place: &str, counted: bool) -> Value {
        let Value::Object(map) = schema else {
            return schema.clone();
        };
        let mut written = Map::new();
        // What several keywords may add to.
        let mut all = Vec::new();
        let target = reference(schema).and_then(|reference| {
            let target = schema::target(&self.document.root, reference)?;
            Some((target, schema::pointer(reference)?.into_owned()))
        });
        // What is referred to counts itself.
        let counted = counted && target.is_none();
        let alone = target.is_some() && self.document.is_3_0();
        if let Some((target, place)) = target {
            written = self.reference(target, place);
        }
        for (key, value) in map.iter().filter(|_| !alone) {
            let place = format!("{place}/{}", escape(key));
            let Some(below) = below(key) else { continue };
            let value = match (below, value) {
                (Below::One, _) => self.rewrite(value, &place, true),
                (Below::List, Value::Array(schemas)) => {
                    let tags = Tags::read(self.document, map, schemas);
                    let schemas = self.references(schemas, &place);
                    let chosen = |by_match: Value| match &tags {
                        Some(tags) => tags.choose(&schemas, by_match),
                        None => by_match,
                    };
                    match key.as_str() {
                        "allOf" => all.extend(schemas),
                        "anyOf" if !schemas.is_empty() => all.push(chosen(any_of(&schemas))),
                        "oneOf" if !schemas.is_empty() => all.push(chosen(one_of(&schemas))),
                        _ => {
                            written.insert(key.clone(), schemas.into());
                        }
                    }
                    continue;
                }
                (Below::Map, Value::Object(schemas)) => {
                    let counted = key == "patternProperties";
                    let rewritten = schemas.iter().map(|(name, schema)| {
                        let place = format!("{place}/{}", escape(name));
                        (name.clone(), self.rewrite(schema, &place, counted))
                    });
                    rewritten.collect()
                }
                (Below::Other, Value::Array(names)) if key == "required" => {
                    let names = names.iter().filter(|name| !self.is_read_only(schema, name));
                    names.cloned().collect()
                }
                // `required: true` is how the third draft marked a property: it says nothing here.
                (Below::Other, Value::Bool(_)) if key.starts_with("exclusive") || key == "required" => continue,
                _ => value.clone(),
            };
            written.insert(key.clone(), value);
        }
        exclude_bounds(map, &mut written);
        // What is a port's number or name in Kubernetes' documents, whose type says only the one.
        if map.get("format").is_some_and(|format| format == "int-or-string") && written.contains_key("type") {
            written.insert("type".to_owned(), json!(["integer", "string"]));
        }
        if !all.is_empty() {
            written.insert("allOf".to_owned(), all.into());
        }
        let nullable = !alone && map.get("nullable") == Some(&Value::Bool(true));
        match (nullable, counted) {
            (true, _) => json!({"if": {STEP: true, "not": {"type": "null"}}, "then": written}),
            (false, true) => json!({"if": {STEP: true}, "then": written}),
            (false, false) => written.into(),
        }
    }

    /// References to schemas, which stand at `place`.
    fn references(&mut self, schemas: &'a [Value], place: &str) -> Vec<Value> {
        let refer = |(index, schema)| self.reference(schema, format!("{place}/{index}")).into();
        schemas.iter().enumerate().map(refer).collect()
    }

    fn reference(&mut self, schema: &'a Value, place: String) -> Map<String, Value> {
        let target = format!("#/properties/{}", self.number(schema, place));
        Map::from_iter([("$ref".to_owned(), target.into())])
    }

    /// Whether a property is one that only the server sets: no client can be asked for it.
    fn is_read_only(&self, schema: &Value, name: &Value) -> bool {
        let root = &self.document.root;
        let described = || schema::property(root, schema, name.as_str()?, 0);
        described().is_some_and(|property| schema::is_marked(root, property, "readOnly"))
    }
}

/// As `anyOf`, but without an account of why each option does not fit: with schemas that hold themselves, there would be no
/// end of it. [`Validator`] knows the shape, and that of [`one_of`].
pub(super) fn any_of(options: &[Value]) -> Value {
    json!({"if": {"anyOf": options}, "else": false})
}

fn one_of(options: &[Value]) -> Value {
    json!({"if": {"oneOf": options}, "else": {"if": {"anyOf": options}, "then": false, "else": false}})
}
