//! Whether a value fits a schema, as the `jsonschema` crate sees it.
//!
//! A schema is compiled when the first value is held against it, together with what it is composed of. Where it only refers
//! to the schema of a property or of an item, that one is compiled when a value has such a part: most documents are much
//! larger than what their answers consist of.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use jsonschema::{Draft, Keyword, PatternOptions, ValidationError, ValidationOptions, Validator};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::keywords::{Below, below, exclude_bounds};
use super::limits::{STEP, StepCounter, is_within_limits};
use super::references::{is_3_0, is_marked, is_openapi, property, reference, target};

/// A keyword that holds a value against the schema that a reference leads to.
const REFERRED: &str = "squall-referred";

/// How often a `pattern` may go back and try again, and how large it may be once compiled, in bytes.
const BACKTRACKS_LIMIT: usize = 100_000;
const PATTERN_LIMIT: usize = 1 << 20;

/// How many references one after the other are compiled at once.
const DEPTH_LIMIT: usize = 8;

/// How many keywords are left out of a schema at most because they are not written as JSON Schema wants them.
const MISTAKES_LIMIT: usize = 32;

/// Holds values against schemas whose references lead into one root.
#[derive(Clone)]
pub(in crate::fake) struct Checker(Arc<Compiled>);

struct Compiled {
    root: Arc<Value>,
    /// `None` for what can't be compiled: any value fits.
    by_reference: Mutex<HashMap<String, Option<Arc<Validator>>>>,
    /// By address. The schemas are part of the root, or live as long as this does.
    by_place: Mutex<HashMap<usize, Option<Arc<Validator>>>>,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").finish_non_exhaustive()
    }
}

impl Checker {
    /// For schemas that live at least as long as the checker.
    pub(in crate::fake) fn new(root: Arc<Value>) -> Self {
        Self(Arc::new(Compiled {
            root,
            by_reference: Mutex::default(),
            by_place: Mutex::default(),
        }))
    }

    /// Whether the value fits. A schema that can't be compiled fits anything, and so do values beyond the limits.
    pub(in crate::fake) fn fits(&self, schema: &Value, value: &Value) -> bool {
        let only_refers = schema.as_object().is_some_and(|map| map.len() == 1);
        let validator = match reference(schema).filter(|_| only_refers) {
            Some(reference) => self.0.referred(reference),
            None => self.0.placed(schema),
        };
        StepCounter::begin();
        validator.is_none_or(|validator| validator.is_valid(value))
    }
}

impl Compiled {
    fn referred(self: &Arc<Self>, reference: &str) -> Option<Arc<Validator>> {
        if let Some(known) = self.by_reference.lock().get(reference) {
            return known.clone();
        }
        let compiled = target(&self.root, reference).and_then(|schema| self.compile(schema));
        self.by_reference.lock().insert(reference.to_owned(), compiled.clone());
        compiled
    }

    fn placed(self: &Arc<Self>, schema: &Value) -> Option<Arc<Validator>> {
        let place = std::ptr::from_ref(schema).addr();
        if let Some(known) = self.by_place.lock().get(&place) {
            return known.clone();
        }
        let compiled = self.compile(schema);
        self.by_place.lock().insert(place, compiled.clone());
        compiled
    }

    fn compile(self: &Arc<Self>, schema: &Value) -> Option<Arc<Validator>> {
        let mut whole = Unit::new(&self.root).write(schema);
        let options = self.options();
        for _ in 0..MISTAKES_LIMIT {
            match options.build(&whole) {
                Ok(validator) => return Some(Arc::new(validator)),
                Err(error) => {
                    let place = error.instance_path().as_str().to_owned();
                    remove(&mut whole, &place)?;
                }
            }
        }
        None
    }

    fn options(self: &Arc<Self>) -> ValidationOptions<'static> {
        let patterns = PatternOptions::fancy_regex()
            .backtrack_limit(BACKTRACKS_LIMIT)
            .size_limit(PATTERN_LIMIT);
        let compiled = Arc::downgrade(self);
        jsonschema::options()
            .with_draft(Draft::Draft202012)
            .offline()
            .should_validate_formats(true)
            .with_pattern_options(patterns)
            .with_keyword(STEP, |_, _, _| Ok(Box::new(StepCounter)))
            .with_keyword(REFERRED, move |_, reference, _| {
                Ok(Box::new(Referred {
                    compiled: Weak::clone(&compiled),
                    reference: reference.as_str().unwrap_or_default().to_owned(),
                }))
            })
    }
}

/// Takes out what a JSON pointer leads to.
fn remove(whole: &mut Value, place: &str) -> Option<()> {
    let (parent, key) = place.rsplit_once('/')?;
    let key = key.replace("~1", "/").replace("~0", "~");
    match whole.pointer_mut(parent)? {
        Value::Object(map) => map.shift_remove(&key).map(drop),
        Value::Array(list) => {
            let index = key.parse().ok().filter(|index| *index < list.len())?;
            list.remove(index);
            Some(())
        }
        _ => None,
    }
}

struct Referred {
    compiled: Weak<Compiled>,
    reference: String,
}

impl<'i> Keyword<'i> for Referred {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(value) {
            Ok(())
        } else {
            Err(ValidationError::custom("it does not fit what is referred to"))
        }
    }

    fn is_valid(&self, value: &'i Value) -> bool {
        if !is_within_limits() {
            return true;
        }
        let validator = self
            .compiled
            .upgrade()
            .and_then(|compiled| compiled.referred(&self.reference));
        validator.is_none_or(|validator| validator.is_valid(value))
    }
}

/// What is compiled at once.
struct Unit<'a> {
    root: &'a Value,
    is_3_0: bool,
    is_openapi: bool,
    /// The schemas that it is composed of by reference: where each stands among `$defs`.
    numbers: HashMap<*const Value, usize>,
    /// Each with the number of references that lead to it.
    pending: Vec<(&'a Value, usize)>,
    /// How many references lead to the one that is written.
    depth: usize,
}

impl<'a> Unit<'a> {
    fn new(root: &'a Value) -> Self {
        Self {
            root,
            is_3_0: is_3_0(root),
            is_openapi: is_openapi(root),
            numbers: HashMap::new(),
            pending: Vec::new(),
            depth: 0,
        }
    }

    /// A schema and what it is composed of, in the words of the draft.
    fn write(mut self, schema: &Value) -> Value {
        let mut whole = match self.composed(schema) {
            Value::Object(map) => map,
            other => return other,
        };
        let mut definitions = Map::new();
        while let Some((schema, depth)) = self.pending.get(definitions.len()).copied() {
            self.depth = depth;
            let written = self.composed(schema);
            definitions.insert(
                definitions.len().to_string(),
                json!({"if": {STEP: true}, "then": written}),
            );
        }
        whole.insert("$defs".to_owned(), definitions.into());
        whole.into()
    }

    /// A schema that the same value is held against.
    fn composed(&mut self, schema: &Value) -> Value {
        let Value::Object(map) = schema else {
            return Value::Bool(schema != &Value::Bool(false));
        };
        let mut written = Map::new();
        let target = reference(schema).and_then(|reference| target(self.root, reference));
        if let Some(target) = target {
            let (keyword, value) = self.composed_of(target, reference(schema).unwrap_or_default());
            written.insert(keyword.to_owned(), value);
        }
        let alone = target.is_some() && self.is_3_0;
        for (key, value) in map.iter().filter(|_| !alone) {
            let Some(below) = below(key) else { continue };
            let in_place = matches!(
                key.as_str(),
                "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" | "dependentSchemas"
            );
            let value = match (below, value) {
                (Below::One, Value::Array(list)) if key == "items" => {
                    let items = list.iter().map(|schema| self.part(schema)).collect();
                    written.insert("prefixItems".to_owned(), items);
                    continue;
                }
                (Below::One, _) => self.below(value, in_place),
                (Below::List, Value::Array(list)) if list.is_empty() => continue,
                (Below::List, Value::Array(list)) => list.iter().map(|schema| self.below(schema, in_place)).collect(),
                (Below::Map, Value::Object(map)) => {
                    let written = map
                        .iter()
                        .map(|(name, schema)| (name.clone(), self.below(schema, in_place)));
                    written.collect()
                }
                (Below::Other, Value::Array(names)) if key == "required" => {
                    let names = names.iter().filter(|name| !self.is_write_only(schema, name));
                    names.cloned().collect()
                }
                (Below::Other, Value::Bool(_)) if key.starts_with("exclusive") => continue,
                _ => value.clone(),
            };
            written.insert(key.clone(), value);
        }
        exclude_bounds(map, &mut written);
        if self.is_3_0 && map.get("nullable") == Some(&Value::Bool(true)) {
            let kind = written.get_mut("type").filter(|kind| kind.is_string());
            if let Some(kind) = kind {
                *kind = json!([kind.take(), "null"]);
            }
        }
        written.into()
    }

    /// The keyword that stands for a schema that the same value is held against, with its value.
    fn composed_of(&mut self, target: &'a Value, reference: &str) -> (&'static str, Value) {
        let next = self.pending.len();
        let known = self.numbers.get(&std::ptr::from_ref(target)).copied();
        if known.is_none() && self.depth >= DEPTH_LIMIT {
            return (REFERRED, reference.into());
        }
        let number = known.unwrap_or_else(|| {
            self.numbers.insert(std::ptr::from_ref(target), next);
            self.pending.push((target, self.depth + 1));
            next
        });
        ("$ref", format!("#/$defs/{number}").into())
    }

    fn below(&mut self, schema: &Value, in_place: bool) -> Value {
        if in_place {
            self.composed(schema)
        } else {
            self.part(schema)
        }
    }

    /// The schema of a property or of an item.
    fn part(&mut self, schema: &Value) -> Value {
        let alone = self.is_3_0 || schema.as_object().is_some_and(|map| map.len() == 1);
        match reference(schema).filter(|_| alone) {
            Some(reference) => json!({REFERRED: reference}),
            None => self.composed(schema),
        }
    }

    /// Whether OpenAPI asks for a property in requests only.
    fn is_write_only(&self, schema: &Value, name: &Value) -> bool {
        let described = || property(self.root, schema, name.as_str()?, 0);
        self.is_openapi && described().is_some_and(|property| is_marked(self.root, property, "writeOnly"))
    }
}
