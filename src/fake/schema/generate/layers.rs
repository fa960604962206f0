//! The schemas that one value is made up from.

use serde_json::{Map, Value};

use super::super::references::{is_3_0, reference, resolve, target};
use super::{Maker, kinds};

/// How many schemas one value is made up from at once.
const LAYERS_LIMIT: usize = 64;

/// How many references are followed from one to the next.
const HOPS_LIMIT: usize = 32;

/// The schemas that a value is to fit, taken apart, with one option for each choice.
pub(super) struct SchemaLayers<'a> {
    all: Vec<&'a Value>,
    /// Properties that tell the options of a `oneOf` or the children of a schema apart, each with its value.
    pub(super) tags: Vec<(&'a str, &'a str)>,
    /// Whether what is optional is left out.
    pub(super) lean: bool,
    /// How many ways there are to choose.
    pub(super) combinations: usize,
    /// The number of the way that is taken, as far as it is still to be taken.
    way: usize,
    /// The type of the value.
    kind: &'a str,
    /// The names of schemas that were referred to, the outermost first.
    names: Vec<&'a str>,
}

impl<'a> SchemaLayers<'a> {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, &'a Value> {
        self.all.iter()
    }

    pub(super) fn kind(&self) -> &'a str {
        self.kind
    }

    /// Whether a value from these may turn out not to fit.
    pub(super) fn are_hard(&self) -> bool {
        const HARD: &[&str] = &[
            "additionalProperties",
            "anyOf",
            "contains",
            "dependentRequired",
            "dependentSchemas",
            "format",
            "if",
            "maxItems",
            "maxProperties",
            "minItems",
            "minProperties",
            "multipleOf",
            "not",
            "oneOf",
            "pattern",
            "patternProperties",
            "prefixItems",
            "propertyNames",
            "required",
            "unevaluatedItems",
            "unevaluatedProperties",
            "uniqueItems",
        ];
        let hard = |layer: &&Value| HARD.iter().any(|key| layer.get(key).is_some());
        self.all.len() > 1 || self.all.iter().any(hard)
    }

    fn contain(&self, schema: &Value) -> bool {
        self.all.iter().any(|layer| std::ptr::eq(*layer, schema))
    }

    /// Chooses one of so many.
    fn choose<T: Copy>(&mut self, options: &[T]) -> Option<T> {
        let chosen = options.get(self.way.checked_rem(options.len())?).copied();
        self.way /= options.len();
        self.combinations = self.combinations.saturating_mul(options.len());
        chosen
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        get(&self.all, key)
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.as_str()
    }

    /// The values that the layers have for a key.
    pub(super) fn values(&self, key: &str) -> impl Iterator<Item = &'a Value> {
        self.all.iter().filter_map(move |layer| layer.get(key))
    }

    /// The largest of the layers' numbers for a key.
    pub(super) fn most_of(&self, key: &str) -> Option<u64> {
        self.values(key).filter_map(count).max()
    }

    /// The smallest of the layers' numbers for a key.
    pub(super) fn least_of(&self, key: &str) -> Option<u64> {
        self.values(key).filter_map(count).min()
    }
}

impl<'a> Maker<'a> {
    /// The layers of schemas, for one more attempt: every other one leaves out what is optional, and each two of them go
    /// another way through the options.
    pub(super) fn layers(&self, schemas: &[&'a Value], attempt: usize) -> SchemaLayers<'a> {
        let mut layers = SchemaLayers {
            all: Vec::new(),
            tags: Vec::new(),
            lean: attempt % 2 == 1 || self.is_deep(),
            combinations: 1,
            way: attempt / 2,
            kind: "object",
            names: Vec::new(),
        };
        for schema in schemas {
            self.add(schema, &mut layers, 0);
        }
        if let Some(kind) = layers.choose(&kinds(&layers.all)) {
            layers.kind = kind;
        }
        layers
    }

    /// Adds a schema and what it is composed of.
    fn add(&self, schema: &'a Value, layers: &mut SchemaLayers<'a>, hops: usize) {
        // A schema that is part of itself adds nothing that is not there.
        if hops > HOPS_LIMIT || layers.all.len() >= LAYERS_LIMIT || layers.contain(schema) {
            return;
        }
        let referred = reference(schema).and_then(|reference| Some((reference, target(self.root, reference)?)));
        let alone = is_3_0(self.root) || schema.as_object().is_some_and(|map| map.len() == 1);
        if referred.is_none() || !alone {
            layers.all.push(schema);
        }
        if let Some((reference, target)) = referred {
            layers.names.push(last_segment(reference));
            self.add(target, layers, hops + 1);
            if alone {
                return;
            }
        }
        let outer = layers.names.len();
        for part in list(schema, "allOf") {
            self.add(part, layers, hops + 1);
            layers.names.truncate(outer);
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(chosen) = layers.choose(&self.options(list(schema, key))) {
                layers.tags.extend(self.tag(schema, chosen));
                self.add(chosen, layers, hops + 1);
                layers.names.truncate(outer);
            }
        }
        self.add_conditions(schema, layers, hops);
        self.add_child(schema, layers, hops);
    }

    /// The options that are tried one after the other: those first that are not null and don't stand around themselves.
    fn options(&self, options: &'a [Value]) -> Vec<&'a Value> {
        let null = |option: &&Value| resolve(self.root, option).get("type").and_then(Value::as_str) == Some("null");
        let (nulls, others): (Vec<_>, Vec<_>) = options.iter().partition(null);
        let (again, new): (Vec<_>, Vec<_>) = others.into_iter().partition(|option| self.stands_around(option));
        new.into_iter().chain(nulls).chain(again).collect()
    }

    /// `if`, `then` and `else`, and `dependentSchemas`.
    fn add_conditions(&self, schema: &'a Value, layers: &mut SchemaLayers<'a>, hops: usize) {
        if let Some(condition) = schema.get("if") {
            let (met, unmet) = ((Some(condition), schema.get("then")), (None, schema.get("else")));
            let chosen = layers.choose(&[unmet, met]).unwrap_or_default();
            for part in chosen.0.into_iter().chain(chosen.1) {
                self.add(part, layers, hops + 1);
            }
        }
        let dependent = schema.get("dependentSchemas").and_then(Value::as_object);
        for (name, part) in dependent.into_iter().flatten() {
            let required = layers.iter().any(|layer| set(layer, "required").any(|one| one == name));
            if required || !layers.lean {
                self.add(part, layers, hops + 1);
            }
        }
    }

    /// For a schema whose `discriminator` names its children: that of these which is already there, or one of them.
    fn add_child(&self, schema: &'a Value, layers: &mut SchemaLayers<'a>, hops: usize) {
        let Some(discriminator) = schema.get("discriminator") else {
            return;
        };
        let Some(property) = discriminator.get("propertyName").and_then(Value::as_str) else {
            return;
        };
        if schema.get("oneOf").is_some() || schema.get("anyOf").is_some() {
            return;
        }
        let mapping = discriminator.get("mapping").and_then(Value::as_object);
        let children = mapping.into_iter().flatten().filter_map(|(name, reference)| {
            let child = self.mapped(reference.as_str()?)?;
            Some((name.as_str(), resolve(self.root, child)))
        });
        let children: Vec<_> = children.collect();
        if let Some((name, _)) = children.iter().find(|(_, child)| layers.contain(child)) {
            layers.tags.push((property, name));
            return;
        }
        let new: Vec<_> = children
            .iter()
            .filter(|(_, child)| !self.stands_around(child))
            .collect();
        match layers.choose(&new) {
            Some((name, child)) => {
                layers.tags.push((property, name));
                self.add(child, layers, hops + 1);
            }
            None => layers.tags.extend(layers.names.first().map(|name| (property, *name))),
        }
    }

    /// What an entry of a `mapping` leads to: it is a reference, or the name of a schema.
    fn mapped(&self, entry: &str) -> Option<&'a Value> {
        target(self.root, entry).or_else(|| self.root.get("components")?.get("schemas")?.get(entry))
    }

    /// The property that a `discriminator` names, and its value for the chosen option.
    fn tag(&self, schema: &'a Value, chosen: &'a Value) -> Option<(&'a str, &'a str)> {
        let property = schema.pointer("/discriminator/propertyName")?.as_str()?;
        let reference = reference(chosen)?;
        let mapping = schema.pointer("/discriminator/mapping").and_then(Value::as_object);
        let named = mapping.into_iter().flatten().find(|(_, entry)| {
            let mapped = entry.as_str().and_then(|entry| self.mapped(entry));
            entry.as_str() == Some(reference)
                || mapped.is_some_and(|mapped| std::ptr::eq(mapped, resolve(self.root, chosen)))
        });
        let name = named.map_or_else(|| last_segment(reference), |(name, _)| name.as_str());
        Some((property, name))
    }
}

fn last_segment(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or_default()
}

/// What the first layer that has a key says.
pub(super) fn get<'a>(layers: &[&'a Value], key: &str) -> Option<&'a Value> {
    layers.iter().find_map(|layer| layer.get(key))
}

pub(super) fn list<'a>(layer: &'a Value, key: &str) -> &'a [Value] {
    layer.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The texts of a list, or a text that stands alone.
pub(super) fn set<'a>(layer: &'a Value, key: &str) -> impl Iterator<Item = &'a str> + Clone {
    let value = layer.get(key);
    let several = value.and_then(Value::as_array).into_iter().flatten();
    value.into_iter().chain(several).filter_map(Value::as_str)
}

pub(super) fn map<'a>(layer: &'a Value, key: &str) -> Option<&'a Map<String, Value>> {
    layer.get(key)?.as_object()
}

/// A whole number that is not negative, also one written as `3.0`.
fn count(value: &Value) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let whole = |number: f64| (number >= 0.0 && number.fract() == 0.0).then_some(number as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(whole))
}
