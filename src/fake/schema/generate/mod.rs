//! Values that fit a schema, as a function of the seed.

mod array;
mod formats;
mod layers;
mod number;
mod object;
mod paging;
mod text;

use serde_json::Value;

use self::layers::{SchemaLayers, get, list, set};
use super::check::Checker;
use super::references::resolve;
use crate::fake::made_up::dice::Dice;

/// How deep a value nests before only what is required goes on, and where even that ends.
const DEPTH_LIMIT: usize = 12;
const BARE_DEPTH: usize = 40;

/// How many parts a value has before only what is required goes on, and where even that ends.
const PARTS_LIMIT: usize = 4_000;
const BARE_PARTS: usize = 8_000;

/// How many parts are made up in all, with those of values that turn out not to fit.
const WORK_LIMIT: usize = 20_000;

/// A text or a given value counts as one more part for every this many bytes.
const PIECE: usize = 32;

/// How many values are made up for one schema until one fits.
const OBJECT_ATTEMPTS: usize = 24;
const SCALAR_ATTEMPTS: usize = 64;

/// The most items that are made up for one list, and the most characters for one text.
const ITEMS_LIMIT: u64 = 4096;
const TEXT_LIMIT: usize = 10_000;

/// Makes up values.
///
/// A value fits all of a list of schemas, its layers: those that it is declared with, the parts of their `allOf`, and of
/// each `oneOf` and `anyOf` one option. What comes out is held against the schemas, and made up anew, with other options and
/// without what is optional, until it fits.
pub(in crate::fake) struct Maker<'a> {
    root: &'a Value,
    checker: Checker,
    dice: Dice,
    /// Whether the examples and defaults of schemas are taken.
    examples: bool,
    parts: usize,
    work_left: usize,
    depth: usize,
    /// The schemas around the value that is being made, by address.
    around: Vec<*const Value>,
}

/// A value, and whether it fits as far as that is known.
struct MadeValue {
    value: Value,
    fits: bool,
}

impl MadeValue {
    fn fitting(value: impl Into<Value>) -> Self {
        Self {
            value: value.into(),
            fits: true,
        }
    }
}

impl<'a> Maker<'a> {
    /// Makes up values for schemas whose references lead into `root`.
    pub(in crate::fake) fn new(root: &'a Value, dice: Dice) -> Self {
        Self::checked(root, Checker::new(root.clone().into()), dice)
    }

    /// Makes up values, and holds them against their schemas with a checker of this root.
    pub(in crate::fake) fn checked(root: &'a Value, checker: Checker, dice: Dice) -> Self {
        Self {
            root,
            checker,
            dice,
            examples: true,
            parts: 0,
            work_left: WORK_LIMIT,
            depth: 0,
            around: Vec::new(),
        }
    }

    /// Passes over the examples and defaults of schemas.
    pub(in crate::fake) fn without_examples(self) -> Self {
        Self {
            examples: false,
            ..self
        }
    }

    /// A value for a schema. `name` hints at what texts hold.
    pub(in crate::fake) fn value(&mut self, schema: &'a Value, name: &str) -> Value {
        self.fitting(&[schema], name, &[]).value
    }

    /// A value for a schema that is like an example: what of it fits is kept.
    pub(in crate::fake) fn value_like(&mut self, schema: &'a Value, example: &'a Value) -> Value {
        self.fitting(&[schema], "", &[example]).value
    }

    /// Whether a value fits a schema.
    pub(in crate::fake) fn accepts(&self, schema: &'a Value, value: &Value) -> bool {
        self.checker.fits(schema, value)
    }

    /// A value as that of the last page, as far as its schema allows that.
    pub(in crate::fake) fn last_page(&self, schema: Option<&'a Value>, value: Value) -> Value {
        paging::ended(value, |value| {
            schema.is_none_or(|schema| self.checker.fits(schema, value))
        })
    }

    /// Whether a schema, or one that it is composed of, has an example.
    pub(in crate::fake) fn has_example(&self, schema: &'a Value) -> bool {
        !self.hints(&self.layers(&[schema], 0), &[]).is_empty()
    }

    /// Whether a value fits all of these.
    fn fits(&self, schemas: &[&'a Value], value: &Value) -> bool {
        schemas.iter().all(|schema| self.checker.fits(schema, value))
    }

    /// A value that fits several schemas. `hints` are examples that it is like.
    fn fitting(&mut self, schemas: &[&'a Value], name: &str, hints: &[&'a Value]) -> MadeValue {
        self.parts += 1;
        let layers = self.layers(schemas, 0);
        self.work_left = self.work_left.saturating_sub(1 + layers.iter().len() / 4);
        let hints = self.hints(&layers, hints);
        let is_ready = |given: &&&Value| !self.shows_hidden(&layers, given) && self.fits(schemas, given);
        if let Some(given) = hints.iter().find(is_ready) {
            return MadeValue::fitting(self.copied(given));
        }
        if let Some(option) = self.option(schemas, &layers) {
            return option;
        }
        if self.depth >= BARE_DEPTH || self.parts >= BARE_PARTS {
            return self.bare(&layers, name);
        }
        let attempts = if !layers.are_hard() {
            1
        } else if matches!(layers.kind(), "object" | "array") {
            (2 * layers.combinations).clamp(6, OBJECT_ATTEMPTS)
        } else {
            (2 * layers.combinations).max(SCALAR_ATTEMPTS)
        };
        let before = self.parts;
        let mut first = self.shaped(&layers, name, &hints);
        first.fits &= !layers.are_hard() || self.fits(schemas, &first.value);
        for attempt in 1..attempts {
            if first.fits || self.work_left == 0 || self.parts >= PARTS_LIMIT {
                break;
            }
            let after = std::mem::replace(&mut self.parts, before);
            self.work_left = self.work_left.saturating_sub(after - before);
            let layers = self.layers(schemas, attempt);
            let next = self.option(schemas, &layers);
            let next = next.unwrap_or_else(|| self.shaped(&layers, name, &hints));
            if next.fits && self.fits(schemas, &next.value) {
                return next;
            }
            self.parts = after;
        }
        first
    }

    /// A value that is made up from layers.
    fn shaped(&mut self, layers: &SchemaLayers<'a>, name: &str, hints: &[&'a Value]) -> MadeValue {
        let outside = self.around.len();
        self.around
            .extend(layers.iter().map(|layer| std::ptr::from_ref(*layer)));
        self.depth += 1;
        let made = match layers.kind() {
            "object" => self.object(layers, hints),
            "array" => self.array(layers, name, hints),
            "string" => MadeValue::fitting(self.text(layers, name)),
            "integer" => MadeValue::fitting(self.integer(layers, name)),
            "number" => MadeValue::fitting(self.number(layers)),
            "boolean" => MadeValue::fitting(self.dice.one_in(2)),
            _ => MadeValue::fitting(Value::Null),
        };
        self.depth -= 1;
        self.around.truncate(outside);
        made
    }

    /// Values that may be taken as they are, the most special first.
    fn hints(&self, layers: &SchemaLayers<'a>, hints: &[&'a Value]) -> Vec<&'a Value> {
        let mut all: Vec<&Value> = layers.iter().filter_map(|layer| layer.get("const")).collect();
        all.extend(hints);
        if self.examples {
            all.extend(layers.iter().filter_map(|layer| layer.get("example")));
            all.extend(layers.iter().flat_map(|layer| list(layer, "examples")));
            // An empty default says what it means to leave the value out, not what one looks like.
            let empty = |value: &&Value| match value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(items) => items.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            };
            let defaults = layers.iter().filter_map(|layer| layer.get("default"));
            all.extend(defaults.filter(|default| !empty(default)));
        }
        all
    }

    /// One of the values that are listed, if they are.
    fn option(&mut self, schemas: &[&'a Value], layers: &SchemaLayers<'a>) -> Option<MadeValue> {
        let options = layers.iter().map(|layer| list(layer, "enum"));
        let options = options.into_iter().find(|options| !options.is_empty())?;
        let first = self.dice.below(options.len());
        let mut turned = options.iter().skip(first).chain(options).take(options.len());
        let fit = turned.find(|option| !option.is_null() && self.fits(schemas, option));
        let null = || options.iter().find(|option| option.is_null());
        match fit.or_else(null) {
            Some(option) => Some(MadeValue::fitting(self.copied(option))),
            None => Some(MadeValue {
                value: options.first().cloned().unwrap_or_default(),
                fits: false,
            }),
        }
    }

    /// The smallest value of the kind, made without going deeper.
    fn bare(&mut self, layers: &SchemaLayers<'a>, name: &str) -> MadeValue {
        let value = match layers.kind() {
            "object" => Value::Object(serde_json::Map::new()),
            "array" => Value::Array(Vec::new()),
            _ => return self.shaped(layers, name, &[]),
        };
        let fits = layers.iter().all(|layer| self.checker.fits(layer, &value));
        MadeValue { value, fits }
    }

    /// Whether only what is required is made up here.
    fn is_deep(&self) -> bool {
        self.depth > DEPTH_LIMIT || self.parts >= PARTS_LIMIT
    }

    fn stands_around(&self, schema: &'a Value) -> bool {
        self.around.contains(&std::ptr::from_ref(resolve(self.root, schema)))
    }

    fn copied(&mut self, given: &Value) -> Value {
        if !matches!(given, Value::Null | Value::Bool(_) | Value::Number(_)) {
            self.parts += given.to_string().len() / PIECE;
        }
        given.clone()
    }
}

/// The types that a value may have, null last. Without any, what other keys hint at.
fn kinds<'a>(layers: &[&'a Value]) -> Vec<&'a str> {
    // An integer is a number, too.
    let allows = |layer: &&Value, kind: &str| {
        let mut kinds = set(layer, "type").peekable();
        kinds.peek().is_none() || kinds.any(|one| one == kind || (one == "number" && kind == "integer"))
    };
    let all: Vec<&str> = layers.iter().flat_map(|layer| set(layer, "type")).collect();
    let everywhere = |kind: &&str| layers.iter().all(|layer| allows(layer, kind));
    let mut kinds: Vec<&str> = all.iter().copied().filter(everywhere).collect();
    kinds.sort_by_key(|kind| *kind == "null");
    kinds.dedup();
    if !all.is_empty() {
        return if kinds.is_empty() { all } else { kinds };
    }
    let has = |keys: &[&str]| keys.iter().any(|key| get(layers, key).is_some());
    let hint = if has(&[
        "properties",
        "additionalProperties",
        "required",
        "patternProperties",
        "propertyNames",
    ]) {
        "object"
    } else if has(&["items", "prefixItems", "minItems", "contains"]) {
        "array"
    } else if has(&["format", "pattern", "minLength", "maxLength"]) {
        "string"
    } else if has(&[
        "minimum",
        "maximum",
        "multipleOf",
        "exclusiveMinimum",
        "exclusiveMaximum",
    ]) {
        "number"
    } else {
        "object"
    };
    vec![hint]
}

#[cfg(test)]
mod tests;
