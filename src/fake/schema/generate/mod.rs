//! Values that fit a schema, as a function of the seed.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{pattern, reference, resolve};
use crate::fake::made_up::dice::Dice;
use crate::fake::made_up::{fields, phrases};

/// How deep a value nests, and how many parts it has in all. What lies beyond is left out, or null where it must be.
const DEPTH_LIMIT: usize = 16;
const PARTS_LIMIT: usize = 10_000;

/// A text or a given value counts as one more part for every this many bytes.
const PIECE: usize = 32;

/// The most items that are made up for one list, and the most characters for one text.
const ITEMS_LIMIT: u64 = 4096;
const TEXT_LIMIT: usize = 10_000;

/// How many schemas one value is made up from at once.
const LAYERS_LIMIT: usize = 64;

/// Makes up values.
///
/// A value fits all of a list of schemas, its layers: those that it is declared with, the parts of their `allOf`, and of
/// each `oneOf` and `anyOf` one option. Where layers disagree, the first one has its way.
pub(in crate::fake) struct Maker<'a> {
    root: &'a Value,
    dice: Dice,
    parts_left: usize,
    depth: usize,
    /// The schemas around the value that is being made, by address.
    around: Vec<*const Value>,
}

impl<'a> Maker<'a> {
    /// Makes up values for schemas whose references lead into `root`.
    pub(in crate::fake) fn new(root: &'a Value, dice: Dice) -> Self {
        Self {
            root,
            dice,
            parts_left: PARTS_LIMIT,
            depth: 0,
            around: Vec::new(),
        }
    }

    /// A value for a schema. `name` hints at what texts hold.
    pub(in crate::fake) fn value(&mut self, schema: &'a Value, name: &str) -> Value {
        self.fitting(&[schema], name)
    }

    /// A value that fits several schemas.
    fn fitting(&mut self, schemas: &[&'a Value], name: &str) -> Value {
        self.parts_left = self.parts_left.saturating_sub(1);
        if self.depth > DEPTH_LIMIT || self.parts_left == 0 {
            return Value::Null;
        }
        let (mut layers, mut tag) = (Vec::new(), None);
        for schema in schemas {
            self.add_layers(schema, &mut layers, &mut tag);
        }
        if let Some(given) = given(&layers) {
            return self.copied(given);
        }
        let options = list(&layers, "enum");
        if !options.is_empty() {
            let choice = self.dice.below(options.len());
            let mut options = options.iter().skip(choice).chain(options);
            let option = options.find(|option| !option.is_null());
            return option.map_or(Value::Null, |option| self.copied(option));
        }
        let outside = self.around.len();
        self.around
            .extend(layers.iter().map(|layer| std::ptr::from_ref(*layer)));
        self.depth += 1;
        let value = match kind(&layers) {
            "object" => self.object(&layers, tag),
            "array" => self.array(&layers, name),
            "string" => self.text(&layers, name).into(),
            "integer" => self.integer(&layers),
            "number" => self.number(&layers),
            "boolean" => self.dice.one_in(2).into(),
            _ => Value::Null,
        };
        self.depth -= 1;
        self.around.truncate(outside);
        value
    }

    /// Adds a schema and what it is composed of. `tag` is the property that tells the options of a `oneOf` or `anyOf`
    /// apart, with its value for the one that was chosen.
    fn add_layers(&self, schema: &'a Value, layers: &mut Vec<&'a Value>, tag: &mut Option<(&'a str, &'a str)>) {
        let schema = resolve(self.root, schema);
        // A schema that is part of itself adds nothing that is not there.
        if layers.len() >= LAYERS_LIMIT || layers.iter().any(|layer| std::ptr::eq(*layer, schema)) {
            return;
        }
        layers.push(schema);
        for part in list(&[schema], "allOf") {
            self.add_layers(part, layers, tag);
        }
        for key in ["oneOf", "anyOf"] {
            if let Some(chosen) = self.chosen(list(&[schema], key)) {
                *tag = tag.or_else(|| discriminator(schema, chosen));
                self.add_layers(chosen, layers, tag);
            }
        }
    }

    /// The first option that is not null and does not stand around itself.
    fn chosen(&self, options: &'a [Value]) -> Option<&'a Value> {
        let null = |option: &&Value| resolve(self.root, option).get("type").and_then(Value::as_str) == Some("null");
        let new = |option: &&Value| !null(option) && !self.stands_around(resolve(self.root, option));
        let end = || options.iter().find(null);
        options.iter().find(new).or_else(end).or(options.first())
    }

    fn stands_around(&self, resolved: &Value) -> bool {
        self.around.contains(&std::ptr::from_ref(resolved))
    }

    fn copied(&mut self, given: &Value) -> Value {
        self.parts_left = self.parts_left.saturating_sub(given.to_string().len() / PIECE);
        given.clone()
    }

    fn object(&mut self, layers: &[&'a Value], tag: Option<(&str, &str)>) -> Value {
        let mut object = Map::new();
        let required = layers.iter().flat_map(|layer| list(&[*layer], "required"));
        let required: HashSet<&str> = required.filter_map(Value::as_str).collect();
        for name in layers.iter().filter_map(|layer| properties(layer)).flat_map(Map::keys) {
            if object.contains_key(name) {
                continue;
            }
            // What a later layer says of a property is the more special.
            let declared = layers.iter().rev().filter_map(|layer| properties(layer)?.get(name));
            let declared: Vec<&Value> = declared.map(|schema| resolve(self.root, schema)).collect();
            let hidden =
                |schema: &&Value| *schema == &Value::Bool(false) || schema.get("writeOnly") == Some(&true.into());
            let again = declared.iter().any(|schema| self.stands_around(schema));
            let deep = again || self.depth >= DEPTH_LIMIT || self.parts_left == 0;
            if declared.iter().any(hidden) || (deep && !required.contains(name.as_str())) {
                continue;
            }
            let value = self.fitting(&declared, name);
            object.insert(name.clone(), value);
        }
        if let Some(additional @ Value::Object(_)) = get(layers, "additionalProperties")
            && object.is_empty()
            && self.depth < DEPTH_LIMIT
        {
            let least = whole(layers, "minProperties").unwrap_or(0);
            for _ in 0..least.clamp(2, ITEMS_LIMIT) {
                let key = phrases::thing(&mut self.dice);
                let value = self.value(additional, key);
                object.insert(key.to_owned(), value);
            }
        }
        if let Some((property, name)) = tag {
            object.insert(property.to_owned(), name.into());
        }
        Value::Object(object)
    }

    fn array(&mut self, layers: &[&'a Value], name: &str) -> Value {
        let least = whole(layers, "minItems").unwrap_or(0).min(ITEMS_LIMIT);
        let most = whole(layers, "maxItems")
            .unwrap_or(ITEMS_LIMIT)
            .clamp(least, ITEMS_LIMIT);
        let fixed = list(layers, "prefixItems");
        let mut items: Vec<Value> = Vec::new();
        for one in fixed.iter().take(ITEMS_LIMIT as usize) {
            items.push(self.value(one, name));
        }
        let of = match get(layers, "items") {
            Some(Value::Bool(false)) => return items.into(),
            Some(of) => of,
            None if !fixed.is_empty() || least == 0 => return items.into(),
            None => &Value::Bool(true),
        };
        let again = self.stands_around(resolve(self.root, of));
        if (again || self.depth >= DEPTH_LIMIT) && least == 0 {
            return items.into();
        }
        let wanted = self.dice.from(1, 3) as u64;
        let wanted = usize::try_from(wanted.clamp(least, most)).unwrap_or(0);
        let unique = get(layers, "uniqueItems") == Some(&Value::Bool(true));
        // A list of different values from few may stay short.
        for _ in 0..wanted * 10 {
            if items.len() >= wanted || self.parts_left == 0 {
                break;
            }
            let item = self.value(of, singular(name));
            if !unique || !items.contains(&item) {
                items.push(item);
            }
        }
        items.into()
    }

    fn text(&mut self, layers: &[&Value], name: &str) -> String {
        let length = |key| whole(layers, key).and_then(|length| usize::try_from(length).ok());
        let format = text(layers, "format").unwrap_or("");
        if let Some(pattern) = text(layers, "pattern")
            && let Some(text) = pattern::matching(pattern, &mut self.dice)
        {
            return text;
        }
        let dice = &mut self.dice;
        let text = match format {
            "date" => return fields::date(dice),
            "date-time" => return fields::date_time(dice),
            "time" => return format!("{}Z", fields::time(dice)),
            "duration" => return format!("PT{}M", dice.from(1, 59)),
            "uuid" => return fields::uuid(dice).to_string(),
            "email" | "idn-email" => return fields::email(dice),
            "uri" | "url" | "uri-reference" | "iri" | "iri-reference" => return fields::url(dice),
            "hostname" | "idn-hostname" => return phrases::domain(dice),
            // Addresses for documentation: RFC 5737 and RFC 3849.
            "ipv4" => return format!("192.0.2.{}", dice.from(1, 254)),
            "ipv6" => return format!("2001:db8::{:x}", dice.from(1, 0xffff)),
            "byte" => return STANDARD.encode(phrases::sentence(dice)),
            "binary" => phrases::sentence(dice),
            "password" => format!("{}-{}", phrases::thing(dice), dice.from(1000, 9999)),
            _ => fields::text(name, dice),
        };
        let mut characters = text.chars().count();
        let least = length("minLength").unwrap_or(0).min(TEXT_LIMIT);
        let most = length("maxLength").unwrap_or(TEXT_LIMIT).max(least);
        let mut text = text;
        self.parts_left = self.parts_left.saturating_sub(least.saturating_sub(characters) / PIECE);
        while characters < least {
            let more = phrases::thing(dice);
            text.push(' ');
            text.push_str(more);
            characters += 1 + more.chars().count();
        }
        text.chars().take(most).collect()
    }

    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    fn integer(&mut self, layers: &[&Value]) -> Value {
        let (least, most) = bounds(layers);
        let above = exclusive(layers, "exclusiveMinimum", "minimum", least);
        let below = exclusive(layers, "exclusiveMaximum", "maximum", most);
        let (mut least, mut most) = (least.ceil() as i64, most.floor() as i64);
        if above.is_some_and(|above| least as f64 <= above) {
            least = least.saturating_add(1);
        }
        if below.is_some_and(|below| most as f64 >= below) {
            most = most.saturating_sub(1);
        }
        let step = number(layers, "multipleOf").map_or(1, |step| step as i64).max(1);
        let (first, last) = (
            least.div_euclid(step) + i64::from(least.rem_euclid(step) != 0),
            most.div_euclid(step),
        );
        fields::integer(first, last, &mut self.dice).saturating_mul(step).into()
    }

    fn number(&mut self, layers: &[&Value]) -> Value {
        let (least, most) = bounds(layers);
        if let Some(step) = number(layers, "multipleOf").filter(|step| *step > 0.0) {
            #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
            let (first, last) = ((least / step).ceil() as i64, (most / step).floor() as i64);
            #[expect(clippy::cast_precision_loss, reason = "a made-up number")]
            let value = fields::integer(first, last, &mut self.dice) as f64 * step;
            return Value::from((value * 1e9).round() / 1e9);
        }
        // Away from the ends, which may be excluded.
        let margin = (most - least) / 1000.0;
        fields::number(least + margin, most - margin, &mut self.dice)
    }
}

/// What the first layer that has a key says.
fn get<'a>(layers: &[&'a Value], key: &str) -> Option<&'a Value> {
    layers.iter().find_map(|layer| layer.get(key))
}

fn whole(layers: &[&Value], key: &str) -> Option<u64> {
    get(layers, key)?.as_u64()
}

fn number(layers: &[&Value], key: &str) -> Option<f64> {
    get(layers, key)?.as_f64()
}

fn text<'a>(layers: &[&'a Value], key: &str) -> Option<&'a str> {
    get(layers, key)?.as_str()
}

fn list<'a>(layers: &[&'a Value], key: &str) -> &'a [Value] {
    let list = get(layers, key).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn properties(layer: &Value) -> Option<&Map<String, Value>> {
    layer.get("properties")?.as_object()
}

/// The property that a `discriminator` names, and its value for the chosen option.
fn discriminator<'a>(schema: &'a Value, chosen: &'a Value) -> Option<(&'a str, &'a str)> {
    let property = schema.pointer("/discriminator/propertyName")?.as_str()?;
    let reference = reference(chosen)?;
    let mapping = schema.pointer("/discriminator/mapping").and_then(Value::as_object);
    let mut mapping = mapping.into_iter().flatten();
    let named = mapping.find(|(_, target)| target.as_str() == Some(reference));
    let own = || reference.rsplit('/').next().unwrap_or_default();
    Some((property, named.map_or_else(own, |(name, _)| name)))
}

/// What a schema itself gives as an instance.
fn given<'a>(layers: &[&'a Value]) -> Option<&'a Value> {
    get(layers, "const")
        .or_else(|| get(layers, "example"))
        .or_else(|| list(layers, "examples").first())
        .or_else(|| get(layers, "default").filter(|default| !default.is_null()))
}

/// The type of a value; of several, the first that is not null. Without any, what other keys hint at.
fn kind<'a>(layers: &[&'a Value]) -> &'a str {
    let has = |keys: &[&str]| keys.iter().any(|key| get(layers, key).is_some());
    match get(layers, "type") {
        Some(Value::String(kind)) => kind,
        Some(Value::Array(kinds)) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str);
            kinds.find(|kind| *kind != "null").unwrap_or("null")
        }
        _ if has(&["properties", "additionalProperties", "required"]) => "object",
        _ if has(&["items", "prefixItems", "minItems"]) => "array",
        _ if has(&["format", "pattern", "minLength", "maxLength"]) => "string",
        _ if has(&["minimum", "maximum", "multipleOf"]) => "number",
        _ => "object",
    }
}

fn bounds(layers: &[&Value]) -> (f64, f64) {
    let bound = |keys: [&str; 2]| keys.iter().find_map(|key| number(layers, key));
    let least = bound(["minimum", "exclusiveMinimum"]);
    let most = bound(["maximum", "exclusiveMaximum"]);
    match (least, most) {
        (Some(least), Some(most)) => (least, most.max(least)),
        (Some(least), None) => (least, least.abs().mul_add(2.0, least + 1000.0)),
        (None, Some(most)) => (if most >= 1.0 { 1.0 } else { most - 1000.0 }, most),
        (None, None) => (1.0, 1000.0),
    }
}

/// The bound that is excluded: a number of its own since 3.1, a mark at the other in 3.0.
fn exclusive(layers: &[&Value], key: &str, of: &str, bound: f64) -> Option<f64> {
    match get(layers, key)? {
        Value::Bool(true) => get(layers, of).map(|_| bound),
        number => number.as_f64(),
    }
}

fn singular(name: &str) -> &str {
    name.strip_suffix('s').unwrap_or(name)
}

#[cfg(test)]
mod tests;
