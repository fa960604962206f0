//! Values that fit a JSON schema: the arguments of tools, and replies that have to be JSON.

use serde_json::{Map, Value};

use crate::fake::made_up::dice::Dice;
use crate::fake::made_up::{phrases, words};

/// How deep a value may be.
const DEPTH: usize = 16;
/// From this depth on, what may be left out is: schemas that contain themselves come to an end.
const SHALLOW: usize = 4;
/// Of how many values one may consist; those beyond them are missing, or null.
const VALUES: usize = 4096;
/// A text or a given value counts as one more for each so many bytes.
const PIECE: usize = 64;
/// How many characters a text is made longer at most, for its `minLength`.
const FILLING: usize = 4096;

/// A value that fits a JSON schema as far as it states types, enumerations, bounds, lengths, formats and references within
/// itself. `pattern` and conditions are not looked at.
pub(super) fn fitting(schema: &Value, dice: &mut Dice) -> Value {
    let mut maker = Maker {
        root: schema,
        dice,
        left: VALUES,
    };
    maker.value(schema, 0)
}

struct Maker<'a> {
    root: &'a Value,
    dice: &'a mut Dice,
    left: usize,
}

impl Maker<'_> {
    fn value(&mut self, schema: &Value, depth: usize) -> Value {
        self.left = self.left.saturating_sub(1);
        if depth > DEPTH {
            return Value::Null;
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let root = self.root;
            let target = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
            return target.map_or(Value::Null, |target| self.value(target, depth + 1));
        }
        if let Some(fixed) = schema.get("const").or_else(|| schema.get("default")) {
            return self.given(fixed);
        }
        let list = |key| {
            schema
                .get(key)
                .and_then(Value::as_array)
                .filter(|list| !list.is_empty())
        };
        if let Some(choices) = list("enum") {
            let choice = self.dice.below(choices.len());
            return choices.get(choice).map(|choice| self.given(choice)).unwrap_or_default();
        }
        if let Some(options) = list("anyOf").or_else(|| list("oneOf")).or_else(|| list("allOf")) {
            let null = options.iter().any(|option| kind(option) == Some("null"));
            return match options.first() {
                Some(first) if depth < SHALLOW || !null => self.value(first, depth + 1),
                _ => Value::Null,
            };
        }
        match kind(schema) {
            Some("object") => self.object(schema, depth).into(),
            Some("array") => self.array(schema, depth).into(),
            Some("integer") => self.integer(schema).into(),
            #[allow(clippy::cast_precision_loss, reason = "it is made up")]
            Some("number") => (self.integer(schema) as f64).into(),
            Some("boolean") => self.dice.one_in(2).into(),
            Some("null") => Value::Null,
            _ => self.text(schema).into(),
        }
    }

    fn given(&mut self, value: &Value) -> Value {
        self.left = self.left.saturating_sub(value.to_string().len() / PIECE);
        value.clone()
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Map<String, Value> {
        let required = schema.get("required").and_then(Value::as_array);
        let wanted = |name: &str| depth < SHALLOW || required.is_some_and(|all| all.iter().any(|one| one == name));
        let properties = schema.get("properties").and_then(Value::as_object);
        let properties = properties.into_iter().flatten().filter(|(name, _)| wanted(name));
        properties
            .map_while(|(name, schema)| {
                let value = (self.left > 0).then(|| self.value(schema, depth + 1))?;
                Some((name.clone(), value))
            })
            .collect()
    }

    fn array(&mut self, schema: &Value, depth: usize) -> Vec<Value> {
        let bound = |name| schema.get(name).and_then(Value::as_u64);
        let usual = if depth < SHALLOW { 1 } else { 0 };
        let count = usual
            .min(bound("maxItems").unwrap_or(usual))
            .max(bound("minItems").unwrap_or(0));
        let items = schema.get("items").unwrap_or(&Value::Null);
        let count = usize::try_from(count).unwrap_or(VALUES).min(VALUES);
        (0..count)
            .map_while(|_| (self.left > 0).then(|| self.value(items, depth + 1)))
            .collect()
    }

    fn integer(&mut self, schema: &Value) -> i64 {
        #[allow(clippy::cast_possible_truncation, reason = "it saturates")]
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        #[allow(clippy::cast_possible_truncation, reason = "it saturates")]
        let least = bound("minimum")
            .map(|least| least.ceil() as i64)
            .or_else(|| bound("exclusiveMinimum").map(|least| (least.floor() as i64).saturating_add(1)));
        #[allow(clippy::cast_possible_truncation, reason = "it saturates")]
        let most = bound("maximum")
            .map(|most| most.floor() as i64)
            .or_else(|| bound("exclusiveMaximum").map(|most| (most.ceil() as i64).saturating_sub(1)));
        let (least, most) = match (least, most) {
            (Some(least), Some(most)) => (least, most),
            (Some(least), None) => (least, least.saturating_add(99)),
            (None, Some(most)) => (most.saturating_sub(99).max(1).min(most), most),
            (None, None) => (1, 100),
        };
        let span = usize::try_from(most.saturating_sub(least).clamp(0, 1 << 30)).unwrap_or_default();
        least.saturating_add(i64::try_from(self.dice.below(span + 1)).unwrap_or_default())
    }

    fn text(&mut self, schema: &Value) -> String {
        let dice = &mut *self.dice;
        let mut date = || {
            format!(
                "20{:02}-{:02}-{:02}",
                dice.from(10, 29),
                dice.from(1, 12),
                dice.from(1, 28)
            )
        };
        let made = match schema.get("format").and_then(Value::as_str) {
            Some("date") => date(),
            Some("date-time") => format!("{}T12:00:00Z", date()),
            Some("time") => "12:00:00Z".to_owned(),
            Some("email") => format!("{}@example.org", dice.pick(words::FIRST_NAMES).to_lowercase()),
            Some("uri" | "url") => format!("https://{}/", phrases::domain(dice)),
            Some("uuid") => uuid::Uuid::from_u64_pair(dice.throw(), dice.throw()).to_string(),
            _ => phrases::some_things(dice),
        };
        let bound = |name| schema.get(name).and_then(Value::as_u64);
        let length = |bound: u64| usize::try_from(bound).unwrap_or(usize::MAX);
        let most = bound("maxLength").map_or(usize::MAX, length);
        let least = bound("minLength").map_or(0, length);
        let missing = least.saturating_sub(made.chars().count()).min(FILLING);
        self.left = self.left.saturating_sub(missing / PIECE);
        made.chars()
            .chain(std::iter::repeat_n('x', missing))
            .take(most)
            .collect()
    }
}

/// The type; of several, the first.
fn kind(schema: &Value) -> Option<&str> {
    match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
        Some(kind) => kind.as_str(),
        None => schema.get("properties").map(|_| "object"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::text::dice;
    use super::*;

    #[test]
    fn values_fit_their_schema() {
        let schema = json!({
            "type": "object",
            "properties": {
                "city": { "type": "string", "maxLength": 3 },
                "days": { "type": "integer", "minimum": 5, "maximum": 6 },
                "share": { "type": "number", "exclusiveMinimum": 2, "maximum": 3.5 },
                "unit": { "enum": ["c", "f"] },
                "many": { "type": "array", "minItems": 2, "items": { "type": ["boolean", "null"] } },
                "none": { "type": "array", "maxItems": 0 },
            },
        });
        let made = fitting(&schema, &mut dice(1, "x", 0));
        assert!(made["city"].as_str().unwrap().len() <= 3);
        assert!((5..=6).contains(&made["days"].as_i64().unwrap()));
        assert_eq!(made["share"], 3.0);
        assert!(["c", "f"].contains(&made["unit"].as_str().unwrap()));
        assert_eq!(made["many"].as_array().unwrap().len(), 2);
        assert!(made["many"][0].is_boolean());
        assert_eq!(made["none"], json!([]));
        assert_eq!(
            made,
            fitting(&schema, &mut dice(1, "x", 0)),
            "the same seed, the same value"
        );
    }

    #[test]
    fn schemas_that_contain_themselves_end() {
        let node = json!({
            "type": "object",
            "properties": {
                "next": { "anyOf": [{ "$ref": "#" }, { "type": "null" }] },
                "children": { "type": "array", "items": { "$ref": "#" } },
            },
            "required": ["next", "children"],
        });
        let text = fitting(&node, &mut dice(1, "x", 0)).to_string();
        assert!(text.contains("\"next\":null,\"children\":[]"), "{text}");
        let wide = json!({ "type": "array", "minItems": u64::MAX, "items": { "$ref": "#" } });
        let text = fitting(&wide, &mut dice(1, "x", 0)).to_string();
        assert!(text.len() < 100_000, "{}", text.len());
        let large = json!({ "type": "array", "minItems": 4096, "items": { "const": "x".repeat(10_000) } });
        let text = fitting(&large, &mut dice(1, "x", 0)).to_string();
        assert!(text.len() < 400_000, "{}", text.len());
    }
}
