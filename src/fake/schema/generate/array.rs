//! Lists.

use serde_json::Value;

use super::layers::{SchemaLayers, list};
use super::{BARE_PARTS, ITEMS_LIMIT, MadeValue, Maker, PARTS_LIMIT};

/// How often another item is tried where all must differ.
const REPEATS_LIMIT: usize = 24;

impl<'a> Maker<'a> {
    pub(super) fn array(&mut self, layers: &SchemaLayers<'a>, name: &str, hints: &[&'a Value]) -> MadeValue {
        let contained: Vec<&Value> = layers.values("contains").collect();
        let contains = if contained.is_empty() {
            0
        } else {
            layers.most_of("minContains").unwrap_or(1).min(ITEMS_LIMIT)
        };
        let least = layers.most_of("minItems").unwrap_or(0).min(ITEMS_LIMIT).max(contains);
        let most = layers.least_of("maxItems").unwrap_or(ITEMS_LIMIT);
        let wanted = self.length(layers, least, most.max(least).min(ITEMS_LIMIT), hints);
        let unique = layers.values("uniqueItems").any(|unique| unique == &Value::Bool(true));
        let closed = layers
            .values("unevaluatedItems")
            .any(|rest| rest == &Value::Bool(false));
        let (mut items, mut fits): (Vec<Value>, bool) = (Vec::new(), true);
        let mut last = 0;
        for index in 0..wanted {
            // One more like the last would be cut to its bare bones: a whole one fewer is worth more.
            if (index as u64) >= least
                && self.parts + last > PARTS_LIMIT
                && hints.iter().all(|hint| hint.get(index).is_none())
            {
                break;
            }
            let before = self.parts;
            let mut schemas = item_schemas(layers, index);
            if schemas.contains(&&Value::Bool(false)) || (schemas.is_empty() && closed) {
                break;
            }
            if (index as u64) < contains {
                schemas.extend(&contained);
            }
            if self.parts >= BARE_PARTS {
                fits &= (index as u64) >= least;
                break;
            }
            let again = schemas.iter().any(|schema| self.stands_around(schema));
            if again && (index as u64) >= least {
                break;
            }
            let known: Vec<&Value> = hints.iter().filter_map(|hint| hint.get(index)).collect();
            let made = self.item(&schemas, name, &known, &items, unique);
            last = self.parts - before;
            let needed = (index as u64) < least;
            // What does not fit, or is there already as examples are, adds nothing.
            let useful = made.fits && (known.len() > index || !items.contains(&made.value));
            if useful || needed {
                fits &= made.fits;
                items.push(made.value);
            } else {
                break;
            }
        }
        let value = items.into();
        MadeValue { value, fits }
    }

    /// How many items there are to be.
    fn length(&mut self, layers: &SchemaLayers<'a>, least: u64, most: u64, hints: &[&'a Value]) -> usize {
        let fixed = layers.iter().map(|layer| prefix(layer).len()).max().unwrap_or(0);
        let open = layers.get("items").is_some_and(|items| !items.is_array());
        let given = hints.iter().filter_map(|hint| hint.as_array()).map(Vec::len).max();
        let wanted = match given {
            _ if layers.lean || self.is_deep() => 0,
            Some(given) => given.max(fixed),
            None if open && fixed == 0 => self.dice.from(1, 3),
            None => fixed,
        };
        usize::try_from((wanted as u64).clamp(least, most)).unwrap_or(0)
    }

    fn item(
        &mut self,
        schemas: &[&'a Value],
        name: &str,
        known: &[&'a Value],
        items: &[Value],
        unique: bool,
    ) -> MadeValue {
        let name = name.strip_suffix('s').unwrap_or(name);
        let examples = self.examples;
        let mut made = self.anything(schemas, name, known);
        for _ in 0..REPEATS_LIMIT {
            if !unique || !items.contains(&made.value) || self.work_left == 0 {
                break;
            }
            // Examples are the same each time.
            self.examples = false;
            made = self.anything(schemas, name, &[]);
        }
        self.examples = examples;
        made.fits &= !unique || !items.contains(&made.value);
        made
    }

    /// A value that fits several schemas, or some text where there is none.
    fn anything(&mut self, schemas: &[&'a Value], name: &str, known: &[&'a Value]) -> MadeValue {
        if schemas.is_empty() {
            self.parts += 1;
            return MadeValue::fitting(self.named(name));
        }
        self.fitting(schemas, name, known)
    }
}

/// What the layers say of the item at this index.
fn item_schemas<'a>(layers: &SchemaLayers<'a>, index: usize) -> Vec<&'a Value> {
    let of = |layer: &&'a Value| match prefix(layer).get(index) {
        Some(schema) => Some(schema),
        None => match layer.get("items") {
            Some(Value::Array(_)) => layer.get("additionalItems"),
            items => items,
        },
    };
    layers.iter().filter_map(of).collect()
}

/// The schemas of the first items; `items` had a list of them before the draft 2020-12.
fn prefix(layer: &Value) -> &[Value] {
    match list(layer, "prefixItems") {
        [] => list(layer, "items"),
        prefix => prefix,
    }
}
