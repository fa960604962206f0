//! Objects.

use regex::Regex;
use serde_json::{Map, Value};

use super::super::pattern;
use super::super::references::{is_marked, is_openapi};
use super::layers::{SchemaLayers, map, set};
use super::{ITEMS_LIMIT, MadeValue, Maker, paging};
use crate::fake::made_up::phrases;

/// How often another name is tried for a property that is made up.
const NAMES_LIMIT: usize = 8;

/// What the layers say of a property.
struct Property<'a> {
    schemas: Vec<&'a Value>,
    /// Whether a layer has no room for it.
    closed: bool,
}

impl<'a> Maker<'a> {
    pub(super) fn object(&mut self, layers: &SchemaLayers<'a>, hints: &[&'a Value]) -> MadeValue {
        let required = required(layers);
        let mut object = Map::new();
        let mut fits = true;
        let mut left_out = Vec::new();
        let declared = layers.iter().filter_map(|layer| map(layer, "properties"));
        let declared = declared.flat_map(Map::keys).map(String::as_str);
        let given = hints.iter().filter_map(|hint| hint.as_object());
        let names: Vec<&str> = declared
            .chain(required.iter().copied())
            .chain(given.flat_map(Map::keys).map(String::as_str))
            .collect();
        for name in names {
            if object.contains_key(name) || left_out.contains(&name) {
                continue;
            }
            let needed = required.contains(&name);
            match self.property(layers, name, needed, hints) {
                Some(made) if made.fits || needed => {
                    fits &= made.fits;
                    object.insert(name.to_owned(), made.value);
                }
                _ => left_out.push(name),
            }
        }
        self.fill(layers, &mut object, &left_out, hints);
        let most = layers.least_of("maxProperties").unwrap_or(u64::MAX);
        while object.len() as u64 > most {
            let spare = object.keys().rev().find(|name| !required.contains(&name.as_str()));
            let Some(spare) = spare.cloned() else { break };
            object.shift_remove(&spare);
        }
        let value = object.into();
        MadeValue { value, fits }
    }

    /// The value of a property. `None` if it is left out.
    fn property(
        &mut self,
        layers: &SchemaLayers<'a>,
        name: &str,
        needed: bool,
        hints: &[&'a Value],
    ) -> Option<MadeValue> {
        let property = describe(layers, name);
        let schemas = property.schemas.as_slice();
        let known: Vec<&Value> = hints.iter().filter_map(|hint| hint.get(name)).collect();
        if !needed {
            let again = schemas.iter().any(|schema| self.stands_around(schema));
            if property.closed || layers.lean || again || self.is_deep() {
                return None;
            }
        }
        let hidden = self.is_hidden(schemas);
        if schemas.contains(&&Value::Bool(false)) || (hidden && (!needed || is_openapi(self.root))) {
            return None;
        }
        if let Some((_, tag)) = layers.tags.iter().find(|(property, _)| *property == name) {
            let tag = Value::from(*tag);
            if self.fits(schemas, &tag) {
                return Some(MadeValue::fitting(tag));
            }
        }
        if let Some(last) = self.without_next(name, schemas, needed) {
            return last.map(MadeValue::fitting);
        }
        if schemas.is_empty() {
            let given = known.first().map(|given| self.copied(given));
            let value = given.unwrap_or_else(|| self.named(name).into());
            return Some(MadeValue::fitting(value));
        }
        Some(self.fitting(schemas, name, &known))
    }

    fn is_hidden(&self, schemas: &[&'a Value]) -> bool {
        schemas.iter().any(|schema| is_marked(self.root, schema, "writeOnly"))
    }

    /// Whether a value has a property that no answer has. Examples are often of requests, too.
    pub(super) fn shows_hidden(&self, layers: &SchemaLayers<'a>, value: &Value) -> bool {
        let mut names = value.as_object().into_iter().flat_map(Map::keys);
        is_openapi(self.root) && names.any(|name| self.is_hidden(&describe(layers, name).schemas))
    }

    /// What a property says that tells of further pages: that there is none. The outer `None` stands for any other property,
    /// the inner one for a property that is left out.
    fn without_next(&self, name: &str, schemas: &[&'a Value], needed: bool) -> Option<Option<Value>> {
        let fits = |value: &Value| !schemas.is_empty() && self.fits(schemas, value);
        for end in paging::ends(name)? {
            match end {
                paging::PageEnd::Is(value) if fits(&value) => return Some(Some(value)),
                paging::PageEnd::Absent if !needed => return Some(None),
                _ => {}
            }
        }
        None
    }

    /// Adds properties until there are enough, and some to an object that is used as a map.
    fn fill(
        &mut self,
        layers: &SchemaLayers<'a>,
        object: &mut Map<String, Value>,
        left_out: &[&str],
        hints: &[&'a Value],
    ) {
        let least = layers.most_of("minProperties").unwrap_or(0).min(ITEMS_LIMIT);
        let least = usize::try_from(least).unwrap_or(0);
        for name in left_out {
            if object.len() >= least {
                break;
            }
            if let Some(made) = self.property(layers, name, true, hints).filter(|made| made.fits) {
                object.insert((*name).to_owned(), made.value);
            }
        }
        let open = layers.values("additionalProperties").any(Value::is_object);
        let patterns = layers.values("patternProperties").next().is_some();
        let is_map = object.is_empty() && !layers.lean && !self.is_deep() && (open || patterns);
        let wanted = if is_map { least.max(2) } else { least };
        for _ in 0..wanted.saturating_mul(NAMES_LIMIT) {
            if object.len() >= wanted {
                break;
            }
            let name = self.key(layers);
            if object.contains_key(&name) || describe(layers, &name).closed {
                continue;
            }
            if let Some(made) = self.property(layers, &name, true, &[]).filter(|made| made.fits) {
                object.insert(name, made.value);
            }
        }
    }

    /// A name for a property that is not declared.
    fn key(&mut self, layers: &SchemaLayers<'a>) -> String {
        let names: Vec<&Value> = layers.values("propertyNames").collect();
        let mut patterns = layers.values("patternProperties").filter_map(Value::as_object);
        let pattern = patterns.find_map(|patterns| patterns.keys().next());
        if !names.is_empty() {
            let made = self.fitting(&names, "key", &[]).value;
            return made.as_str().unwrap_or("key").to_owned();
        }
        let thing = phrases::thing(&mut self.dice);
        if let Some(pattern) = pattern
            && let Some(name) = pattern::matching(pattern, 0..=usize::MAX, &mut self.dice)
        {
            // Most patterns are of how a name begins.
            let longer = format!("{name}{thing}");
            let matches = Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(&longer));
            return if matches { longer } else { name };
        }
        // There are fewer things than some maps are long.
        match self.dice.below(4) {
            0 => format!("{thing}{}", self.dice.from(2, 9999)),
            _ => thing.to_owned(),
        }
    }
}

/// The names that an object must have, with those that they depend on.
fn required<'a>(layers: &SchemaLayers<'a>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    let add = |names: &mut Vec<&'a str>, name| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    for name in layers.iter().flat_map(|layer| set(layer, "required")) {
        add(&mut names, name);
    }
    let dependent: Vec<_> = layers
        .values("dependentRequired")
        .filter_map(Value::as_object)
        .flatten()
        .collect();
    let declared = |name: &str| {
        layers
            .iter()
            .any(|layer| map(layer, "properties").is_some_and(|map| map.contains_key(name)))
    };
    let mut next = 0;
    let mut present: Vec<&str> = names.clone();
    if !layers.lean {
        present.extend(
            dependent
                .iter()
                .map(|(name, _)| name.as_str())
                .filter(|name| declared(name)),
        );
    }
    while let Some(name) = present.get(next).copied() {
        next += 1;
        for (_, more) in dependent.iter().filter(|(of, _)| *of == name) {
            for more in more.as_array().into_iter().flatten().filter_map(Value::as_str) {
                add(&mut names, more);
                add(&mut present, more);
            }
        }
    }
    names
}

/// What the layers say of a property. What a later one says is the more special.
fn describe<'a>(layers: &SchemaLayers<'a>, name: &str) -> Property<'a> {
    let (mut schemas, mut closed) = (Vec::new(), false);
    for layer in layers.iter().rev() {
        let before = schemas.len();
        schemas.extend(map(layer, "properties").and_then(|properties| properties.get(name)));
        let patterns = map(layer, "patternProperties").into_iter().flatten();
        let patterns = patterns.filter(|(pattern, _)| Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(name)));
        schemas.extend(patterns.map(|(_, schema)| schema));
        if schemas.len() == before {
            match layer.get("additionalProperties") {
                Some(Value::Bool(false)) => closed = true,
                Some(open @ Value::Object(_)) => schemas.push(open),
                _ => {}
            }
        }
    }
    // Nor has one for what no layer knows.
    closed |= schemas.is_empty()
        && layers
            .values("unevaluatedProperties")
            .any(|rest| rest == &Value::Bool(false));
    Property { schemas, closed }
}
