//! Values that fit a schema, as a function of the seed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Map, Value};

use super::document::{Document, reference};
use crate::fake::made_up::dice::Dice;
use crate::fake::made_up::{fields, phrases};

/// How deep a value nests, and how many parts it has in all. What lies beyond is left out, or null where it must be.
const DEPTH_LIMIT: usize = 12;
const PARTS_LIMIT: usize = 10_000;

/// The most items that are made up for one list, and the most characters for one text.
const ITEMS_LIMIT: u64 = 100;
const TEXT_LIMIT: usize = 10_000;

/// Makes up one value.
pub(super) struct Maker<'a> {
    document: &'a Document,
    dice: Dice,
    parts_left: usize,
    /// The schemas around the value that is being made, by address.
    around: Vec<*const Value>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(document: &'a Document, dice: Dice) -> Self {
        Self {
            document,
            dice,
            parts_left: PARTS_LIMIT,
            around: Vec::new(),
        }
    }

    /// A value for a schema. `name` hints at what texts hold.
    pub(super) fn value(&mut self, schema: &Value, name: &str) -> Value {
        let document = self.document;
        let schema = document.resolve(schema);
        if self.around.len() > DEPTH_LIMIT || self.parts_left == 0 {
            return Value::Null;
        }
        self.parts_left -= 1;
        if let Some(given) = given(schema) {
            self.parts_left = self.parts_left.saturating_sub(parts(given, self.parts_left));
            return given.clone();
        }
        if let Some(options) = schema.get("enum").and_then(Value::as_array) {
            let options: Vec<_> = options.iter().filter(|option| !option.is_null()).collect();
            if !options.is_empty() {
                return options
                    .get(self.dice.below(options.len()))
                    .map_or(Value::Null, |one| (*one).clone());
            }
        }
        self.around.push(std::ptr::from_ref(schema));
        let value = match self.composed(schema) {
            Some(whole) => self.value(&whole, name),
            None => self.plain(schema, name),
        };
        self.around.pop();
        value
    }

    /// The schema with its `allOf`, and the first of its `oneOf` and `anyOf`, merged into it.
    fn composed(&self, schema: &Value) -> Option<Value> {
        let all = schema.get("allOf").and_then(Value::as_array);
        let first = |key| {
            let options = schema.get(key).and_then(Value::as_array)?;
            let null = |one: &&Value| self.document.resolve(one).get("type").and_then(Value::as_str) == Some("null");
            options.iter().find(|one| !null(one)).or(options.first())
        };
        let chosen = first("oneOf").or_else(|| first("anyOf"));
        if all.is_none() && chosen.is_none() {
            return None;
        }
        let mut whole = schema.as_object()?.clone();
        for key in ["allOf", "oneOf", "anyOf"] {
            whole.shift_remove(key);
        }
        for part in all.into_iter().flatten().chain(chosen) {
            let resolved = self.document.resolve(part);
            // A part that stands around itself adds nothing that is not there.
            if !self.around.contains(&std::ptr::from_ref(resolved)) {
                merge(&mut whole, resolved);
            }
        }
        if let Some(property) = schema.pointer("/discriminator/propertyName").and_then(Value::as_str)
            && let Some(reference) = chosen.and_then(reference)
        {
            let mapping = schema.pointer("/discriminator/mapping").and_then(Value::as_object);
            let named = mapping
                .into_iter()
                .flatten()
                .find(|(_, target)| target.as_str() == Some(reference));
            let name = named.map_or_else(|| reference.rsplit('/').next().unwrap_or_default(), |(name, _)| name);
            let fixed = serde_json::json!({"properties": {property: {"const": name}}});
            merge(&mut whole, &fixed);
        }
        Some(Value::Object(whole))
    }

    fn plain(&mut self, schema: &Value, name: &str) -> Value {
        match kind(schema) {
            "object" => self.object(schema),
            "array" => self.array(schema, name),
            "string" => self.text(schema, name).into(),
            "integer" => self.integer(schema),
            "number" => self.number(schema),
            "boolean" => self.dice.one_in(2).into(),
            _ => Value::Null,
        }
    }

    fn object(&mut self, schema: &Value) -> Value {
        let mut object = Map::new();
        let required = |name: &str| {
            let names = schema.get("required").and_then(Value::as_array);
            names.is_some_and(|names| names.iter().any(|one| one == name))
        };
        for (name, property) in schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let resolved = self.document.resolve(property);
            let hidden = resolved.get("writeOnly") == Some(&Value::Bool(true));
            let again = self.around.contains(&std::ptr::from_ref(resolved));
            let deep = again || self.around.len() >= DEPTH_LIMIT || self.parts_left == 0;
            if hidden || (deep && !required(name)) {
                continue;
            }
            let value = self.value(property, name);
            object.insert(name.clone(), value);
        }
        let additional = schema.get("additionalProperties").filter(|schema| schema.is_object());
        if let Some(additional) = additional
            && object.is_empty()
            && self.around.len() < DEPTH_LIMIT
        {
            let least = schema.get("minProperties").and_then(Value::as_u64).unwrap_or(0);
            for _ in 0..least.clamp(2, ITEMS_LIMIT) {
                let key = phrases::thing(&mut self.dice);
                let value = self.value(additional, key);
                object.insert(key.to_owned(), value);
            }
        }
        Value::Object(object)
    }

    fn array(&mut self, schema: &Value, name: &str) -> Value {
        let bound = |key| schema.get(key).and_then(Value::as_u64);
        let least = bound("minItems").unwrap_or(0).min(ITEMS_LIMIT);
        let most = bound("maxItems").unwrap_or(ITEMS_LIMIT).clamp(least, ITEMS_LIMIT);
        let fixed = schema.get("prefixItems").and_then(Value::as_array);
        let mut items: Vec<Value> = Vec::new();
        for one in fixed.into_iter().flatten().take(ITEMS_LIMIT as usize) {
            items.push(self.value(one, name));
        }
        let any = Value::Object(Map::new());
        let of = match schema.get("items") {
            Some(Value::Bool(_)) => return items.into(),
            Some(of) => of,
            None if fixed.is_some() || least == 0 => return items.into(),
            None => &any,
        };
        let again = self.around.contains(&std::ptr::from_ref(self.document.resolve(of)));
        if (again || self.around.len() >= DEPTH_LIMIT) && least == 0 {
            return items.into();
        }
        let wanted = self.dice.from(1, 3) as u64;
        let wanted = usize::try_from(wanted.clamp(least, most)).unwrap_or(0);
        let unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
        // A list of different values from few may stay short.
        for _ in 0..wanted * 10 {
            if items.len() >= wanted {
                break;
            }
            let item = self.value(of, singular(name));
            if !unique || !items.contains(&item) {
                items.push(item);
            }
        }
        items.into()
    }

    fn text(&mut self, schema: &Value, name: &str) -> String {
        let length = |key| {
            schema
                .get(key)
                .and_then(Value::as_u64)
                .and_then(|length| usize::try_from(length).ok())
        };
        let format = schema.get("format").and_then(Value::as_str).unwrap_or("");
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
            && let Some(text) = self.matching(pattern)
        {
            return text;
        }
        let dice = &mut self.dice;
        let text = match format {
            "date" => return fields::date(dice),
            "date-time" => return fields::date_time(dice),
            "time" => return format!("{}Z", fields::time(dice)),
            "duration" => return format!("PT{}M", dice.from(1, 59)),
            "uuid" => return fields::uuid(dice),
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
        let least = length("minLength").unwrap_or(0).min(TEXT_LIMIT);
        let most = length("maxLength").unwrap_or(TEXT_LIMIT);
        let mut text = text;
        while text.chars().count() < least {
            text.push(' ');
            text.push_str(phrases::thing(dice));
        }
        text.chars().take(most.max(least)).collect()
    }

    /// A text that matches a regular expression. `None` if it has parts that can't be made up, or that are not known.
    fn matching(&mut self, pattern: &str) -> Option<String> {
        let hir = regex_syntax::Parser::new().parse(pattern).ok()?;
        let mut text = String::new();
        self.grow(&hir, &mut text)?;
        let fits = self.document.matches(pattern, &text);
        fits.then_some(text)
    }

    fn grow(&mut self, hir: &Hir, text: &mut String) -> Option<()> {
        if text.len() > TEXT_LIMIT {
            return None;
        }
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
            HirKind::Class(class) => text.push(self.one_of(class)?),
            HirKind::Repetition(repeated) => {
                let most = repeated
                    .max
                    .unwrap_or(repeated.min.saturating_add(4))
                    .min(repeated.min.saturating_add(8));
                for _ in 0..self.dice.from(repeated.min as usize, most as usize) {
                    self.grow(&repeated.sub, text)?;
                }
            }
            HirKind::Capture(group) => self.grow(&group.sub, text)?,
            HirKind::Concat(parts) => {
                for part in parts {
                    self.grow(part, text)?;
                }
            }
            HirKind::Alternation(options) => {
                let choice = self.dice.below(options.len());
                self.grow(options.get(choice)?, text)?;
            }
        }
        Some(())
    }

    /// A character of a class: of its ASCII ones that can be seen, if it has some.
    fn one_of(&mut self, class: &Class) -> Option<char> {
        let Class::Unicode(class) = class else { return None };
        let ranges: Vec<(u32, u32)> = class
            .iter()
            .map(|range| (range.start().into(), range.end().into()))
            .collect();
        let seen: Vec<_> = ranges
            .iter()
            .map(|(start, end)| ((*start).max(0x21), (*end).min(0x7e)))
            .filter(|(start, end)| start <= end)
            .collect();
        let ranges = if seen.is_empty() { ranges } else { seen };
        let size: u32 = ranges.iter().map(|(start, end)| end - start + 1).sum();
        let mut place = u32::try_from(self.dice.below(size as usize)).ok()?;
        for (start, end) in ranges {
            if place <= end - start {
                return char::from_u32(start + place);
            }
            place -= end - start + 1;
        }
        None
    }

    #[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
    fn integer(&mut self, schema: &Value) -> Value {
        let (least, most) = bounds(schema);
        let above = exclusive(schema, "exclusiveMinimum", "minimum", least);
        let below = exclusive(schema, "exclusiveMaximum", "maximum", most);
        let (mut least, mut most) = (least.ceil() as i64, most.floor() as i64);
        if above.is_some_and(|above| least as f64 <= above) {
            least = least.saturating_add(1);
        }
        if below.is_some_and(|below| most as f64 >= below) {
            most = most.saturating_sub(1);
        }
        let step = schema
            .get("multipleOf")
            .and_then(Value::as_f64)
            .map_or(1, |step| step as i64)
            .max(1);
        let (first, last) = (
            least.div_euclid(step) + i64::from(least.rem_euclid(step) != 0),
            most.div_euclid(step),
        );
        fields::integer(first, last, &mut self.dice).saturating_mul(step).into()
    }

    fn number(&mut self, schema: &Value) -> Value {
        let (least, most) = bounds(schema);
        if let Some(step) = schema
            .get("multipleOf")
            .and_then(Value::as_f64)
            .filter(|step| *step > 0.0)
        {
            #[allow(clippy::cast_possible_truncation, reason = "`as` saturates")]
            let (first, last) = ((least / step).ceil() as i64, (most / step).floor() as i64);
            #[allow(clippy::cast_precision_loss, reason = "a made-up number")]
            let value = fields::integer(first, last, &mut self.dice) as f64 * step;
            return Value::from((value * 1e9).round() / 1e9);
        }
        // Away from the ends, which may be excluded.
        let margin = (most - least) / 1000.0;
        fields::number(least + margin, most - margin, &mut self.dice)
    }
}

/// What a schema itself gives as an instance.
fn given(schema: &Value) -> Option<&Value> {
    let first = schema
        .get("examples")
        .and_then(Value::as_array)
        .and_then(|examples| examples.first());
    let example = schema.get("example").or(first);
    example
        .or_else(|| schema.get("const"))
        .or_else(|| schema.get("default").filter(|default| !default.is_null()))
}

/// The type of a schema; of several, the first that is not null. Without any, what its other keys hint at.
pub(super) fn kind(schema: &Value) -> &str {
    let has = |keys: &[&str]| keys.iter().any(|key| schema.get(key).is_some());
    match schema.get("type") {
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

fn bounds(schema: &Value) -> (f64, f64) {
    let bound = |keys: [&str; 2]| keys.iter().find_map(|key| schema.get(key).and_then(Value::as_f64));
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
fn exclusive(schema: &Value, key: &str, of: &str, bound: f64) -> Option<f64> {
    match schema.get(key)? {
        Value::Bool(true) => schema.get(of).map(|_| bound),
        number => number.as_f64(),
    }
}

/// Adds what a part of `allOf` says.
fn merge(whole: &mut Map<String, Value>, part: &Value) {
    for (key, value) in part.as_object().into_iter().flatten() {
        match (whole.get_mut(key), value) {
            (Some(Value::Object(there)), Value::Object(more)) if key == "properties" => {
                for (name, property) in more {
                    there.insert(name.clone(), property.clone());
                }
            }
            (Some(Value::Array(there)), Value::Array(more)) if key == "required" || key == "allOf" => {
                there.extend(more.iter().cloned());
            }
            (Some(_), _) => {}
            (None, value) => {
                whole.insert(key.clone(), value.clone());
            }
        }
    }
}

fn parts(value: &Value, limit: usize) -> usize {
    let children: Box<dyn Iterator<Item = &Value>> = match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(map) => Box::new(map.values()),
        _ => return 1,
    };
    let mut count = 1;
    for child in children {
        if count >= limit {
            break;
        }
        count += parts(child, limit - count);
    }
    count
}

fn singular(name: &str) -> &str {
    name.strip_suffix('s').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::super::validate::Checker;
    use super::*;
    use crate::fake::made_up::dice::Stream;
    use serde_json::json;

    fn document() -> Document {
        let text = json!({"openapi": "3.1.0", "components": {"schemas": {
            "Node": {"type": "object", "required": ["id", "next"], "properties": {
                "id": {"type": "integer"}, "next": {"$ref": "#/components/schemas/Node"},
                "children": {"type": "array", "items": {"$ref": "#/components/schemas/Node"}}}},
            "Cat": {"type": "object", "required": ["kind"], "properties": {"kind": {"type": "string"}, "lives": {"type": "integer"}}},
            "Loop": {"allOf": [{"$ref": "#/components/schemas/Loop"}, {"type": "object"}]},
        }}});
        Document::read(text.to_string().as_bytes()).unwrap()
    }

    fn make(schema: &Value, seed: u64) -> Value {
        Maker::new(&document(), Dice::new(seed, Stream::Documents, 0)).value(schema, "x")
    }

    #[test]
    fn made_up_values_fit_their_schema() {
        let document = document();
        for schema in [
            json!({"type": "integer", "minimum": 3, "maximum": 4}),
            json!({"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5}),
            json!({"type": "integer", "minimum": 7, "exclusiveMinimum": true, "multipleOf": 7}),
            json!({"type": "number", "minimum": 0.5, "maximum": 0.75}),
            json!({"type": "number", "maximum": -4, "multipleOf": 0.25}),
            json!({"type": "string", "minLength": 30, "maxLength": 31}),
            json!({"type": "string", "pattern": "^[A-Z]{3}-\\d{2,4}(x|y)?$"}),
            json!({"type": "string", "format": "date-time"}),
            json!({"type": "string", "format": "uuid"}),
            json!({"type": ["null", "string"], "format": "email"}),
            json!({"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": "boolean"}}),
            json!({"type": "array", "uniqueItems": true, "minItems": 2, "items": {"type": "integer", "minimum": 1, "maximum": 9}}),
            json!({"enum": [null, "a", 2]}),
            json!({"allOf": [{"required": ["a"], "properties": {"a": {"type": "string"}}},
                             {"required": ["b"], "properties": {"b": {"type": "integer"}}}]}),
            json!({"oneOf": [{"type": "null"}, {"type": "string"}]}),
            json!({"type": "object", "additionalProperties": {"type": "number"}}),
            json!({"oneOf": [{"$ref": "#/components/schemas/Cat"}], "discriminator": {"propertyName": "kind"}}),
        ] {
            for seed in 0..30 {
                let value = make(&schema, seed);
                let problems = Checker::body(&document, &schema, &value);
                assert!(problems.is_empty(), "{schema}: {value}: {problems:?}");
                assert_eq!(value, make(&schema, seed));
            }
        }
        let cat = json!({"oneOf": [{"$ref": "#/components/schemas/Cat"}], "discriminator": {"propertyName": "kind"}});
        assert_eq!(make(&cat, 1)["kind"], "Cat");
    }

    #[test]
    fn schemas_that_hold_themselves_end() {
        let node = make(&json!({"$ref": "#/components/schemas/Node"}), 1);
        let text = node.to_string();
        assert!(text.len() < 2000, "{text}");
        assert_eq!(node["children"], json!([]));
        assert!(make(&json!({"$ref": "#/components/schemas/Loop"}), 1).is_object());
        let mut wide = json!({"type": "string"});
        for _ in 0..10 {
            wide = json!({"type": "array", "minItems": 90, "items": wide});
        }
        assert!(make(&wide, 1).to_string().len() < 500_000);
    }
}
