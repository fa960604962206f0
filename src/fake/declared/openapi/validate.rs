//! Whether a value is as a schema says.

use std::cell::Cell;

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{Draft, JsonType, Keyword, PatternOptions, ValidationError, ValidationOptions};
use serde::Serialize;
use serde_json::{Map, Value};

use super::super::collections::is_url;

/// The most problems that one reply lists.
pub(super) const PROBLEMS_LIMIT: usize = 100;

/// How many schemas one value is held against in all. What lies beyond counts as fitting.
const STEPS_LIMIT: u32 = 100_000;

/// How much of the stack, in bytes, is used up at most: what nests deeper counts as fitting. Threads have 2 MiB.
const STACK_LIMIT: usize = 1 << 20;

/// How often a `pattern` may go back and try again. What can't be told by then counts as a match.
const BACKTRACKS_LIMIT: usize = 100_000;

/// How large a compiled `pattern` may be, in bytes.
const PATTERN_LIMIT: usize = 1 << 20;

/// A keyword that fails once a limit is reached.
pub(super) const STEP: &str = "squall-step";

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct RequestProblem {
    /// `path`, `query`, `header`, `cookie` or `body`.
    #[serde(rename = "in")]
    pub(super) part: &'static str,
    /// The parameter's name, or the place in the body: `tags[0].name`.
    pub(super) field: String,
    pub(super) message: String,
}

/// The schemas of a document, compiled.
#[derive(Debug)]
pub(super) struct Validator {
    pub(super) compiled: jsonschema::Validator,
    /// What it was compiled from, see [`schemas`](super::schemas).
    pub(super) whole: Value,
}

/// How schemas are compiled: remote references are never fetched, and unknown formats ignored.
pub(super) fn options() -> ValidationOptions<'static> {
    let patterns = PatternOptions::fancy_regex()
        .backtrack_limit(BACKTRACKS_LIMIT)
        .size_limit(PATTERN_LIMIT);
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .should_validate_formats(true)
        .with_format("url", is_url)
        .with_pattern_options(patterns)
        .with_keyword(STEP, |_, _, _| Ok(Box::new(StepCounter)))
}

impl Validator {
    /// What is wrong with a value that is to fit a schema; its place is `field`.
    pub(super) fn check(&self, schema: usize, part: &'static str, field: &str, value: Value) -> Vec<RequestProblem> {
        let property = Value::Object(Map::from_iter([(schema.to_string(), value)]));
        StepCounter::begin();
        let errors = self.compiled.iter_errors(&property);
        let mut problems = Vec::new();
        for (field, message) in errors.flat_map(|error| self.problems(field, &error)) {
            let problem = RequestProblem { part, field, message };
            // Two parts of a schema may say the same.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
            if problems.len() == PROBLEMS_LIMIT {
                break;
            }
        }
        problems
    }

    /// The fields that an error is about, each with a message.
    fn problems(&self, field: &str, error: &ValidationError<'_>) -> Vec<(String, String)> {
        let field = place(field, error.instance_path());
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let unknown = |name: &String| (below(&field, name), "is unknown".to_owned());
                unexpected.iter().take(PROBLEMS_LIMIT).map(unknown).collect()
            }
            Kind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                vec![(below(&field, name), "is missing".to_owned())]
            }
            Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => Vec::new(),
            Kind::FalseSchema => {
                let message = self.options(error.schema_path());
                vec![(field, message.unwrap_or_else(|| "must not be there".to_owned()))]
            }
            kind => {
                let message = message(kind).unwrap_or_else(|| error.masked_with("the value").to_string());
                vec![(field, message)]
            }
        }
    }

    /// The message for options of which none fits, or several do where one should, as [`schemas`](super::schemas) writes them.
    fn options(&self, at: &Location) -> Option<String> {
        let at = at
            .as_str()
            .strip_suffix("/else")
            .or(at.as_str().strip_suffix("/else/then"))?;
        let count = |at: &str, key| Some(self.whole.pointer(at)?.get("if")?.get(key)?.as_array()?.len());
        if let Some(count) = at.strip_suffix("/else").and_then(|at| count(at, "oneOf")) {
            return Some(format!("must match one of {count} schemas; it matches none"));
        }
        if let Some(count) = count(at, "oneOf") {
            return Some(format!("must match only one of {count} schemas; it matches several"));
        }
        let count = count(at, "anyOf")?;
        Some(format!("must match at least one of {count} schemas; it matches none"))
    }
}

fn place(field: &str, path: &Location) -> String {
    // The first segment is the schema's number.
    path.iter()
        .skip(1)
        .fold(field.to_owned(), |field, segment| match segment {
            LocationSegment::Property(name) => below(&field, &name),
            LocationSegment::Index(index) => format!("{field}[{index}]"),
        })
}

fn below(field: &str, name: &str) -> String {
    match field {
        "" => name.to_owned(),
        field => format!("{field}.{name}"),
    }
}

/// An error in our words. `None` leaves it to the crate's.
fn message(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::Type {
            kind: TypeKind::Single(one),
        } => format!("must be {}", named(*one)),
        Kind::Type {
            kind: TypeKind::Multiple(several),
        } => format!("must be {}", several.iter().map(named).collect::<Vec<_>>().join(" or ")),
        Kind::Enum { options } => {
            let options = options.as_array().into_iter().flatten().take(20);
            format!(
                "must be one of {}",
                options.map(Value::to_string).collect::<Vec<_>>().join(", ")
            )
        }
        Kind::Constant { expected_value } => format!("must be {expected_value}"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::Pattern { pattern } => format!("must match {pattern}"),
        Kind::Format { format } => format!("must have the format {format}"),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinItems { limit } => format!("must have at least {limit} items"),
        Kind::MaxItems { limit } => format!("must have at most {limit} items"),
        Kind::Contains => "must have an item that matches the schema of `contains`".to_owned(),
        Kind::UnevaluatedItems { .. } => "must not have further items".to_owned(),
        Kind::PropertyNames { error } => format!("the name of a property {}", message(error.kind())?),
        Kind::UniqueItems => "must not have equal items".to_owned(),
        Kind::MinProperties { limit } => format!("must have at least {limit} properties"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} properties"),
        Kind::Not { .. } => "must not match the schema of `not`".to_owned(),
        _ => return None,
    })
}

fn named(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "an array",
        JsonType::Boolean => "a boolean",
        JsonType::Integer => "an integer",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "a string",
    }
}

thread_local! {
    /// The steps that are left for the value that this thread checks, and where its stack was when it began.
    static LEFT: Cell<(u32, usize)> = const { Cell::new((0, 0)) };
}

/// Counts the schemas that a value is held against. A document can ask for more than there is time or stack for, and the
/// crate bounds neither.
struct StepCounter;

impl StepCounter {
    fn begin() {
        LEFT.set((STEPS_LIMIT, stack()));
    }
}

impl<'i> Keyword<'i> for StepCounter {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(value) {
            Ok(())
        } else {
            Err(ValidationError::custom("a limit is reached"))
        }
    }

    fn is_valid(&self, _: &'i Value) -> bool {
        let (left, start) = LEFT.get();
        LEFT.set((left.saturating_sub(1), start));
        left > 0 && start.abs_diff(stack()) < STACK_LIMIT
    }
}

/// About where the stack ends.
fn stack() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(&here).addr()
}

#[cfg(test)]
mod tests {
    use super::super::document::Document;
    use super::super::schemas::Schemas;
    use super::*;
    use serde_json::json;

    /// A document of such a version that has these schemas, of which `X` is in use.
    fn compile(version: &str, schemas: &Value) -> Result<(Validator, usize), String> {
        let text = json!({"openapi": version, "components": {"schemas": schemas}}).to_string();
        let document = Document::read(text.as_bytes()).map_err(|mistakes| mistakes.join("\n"))?;
        let mut used = Schemas::new(&document);
        let x = used.read(
            &document.root["components"]["schemas"]["X"],
            "/components/schemas/X".to_owned(),
        );
        Ok((used.compile()?, x.number))
    }

    fn problems_of(version: &str, schemas: &Value, value: Value) -> Vec<String> {
        let (validator, number) = compile(version, schemas).unwrap();
        let problems = validator.check(number, "body", "", value).into_iter();
        problems
            .map(|one| format!("{} {}", one.field, one.message).trim().to_owned())
            .collect()
    }

    /// Checks against one schema, in the words of 3.1.
    fn problems(schema: Value, value: Value) -> Vec<String> {
        problems_of("3.1.0", &json!({ "X": schema }), value)
    }

    #[test]
    fn every_problem_is_listed_at_its_place() {
        let schema = json!({"type": "object", "required": ["name", "id", "tags"], "additionalProperties": false, "properties": {
            "id": {"type": "integer", "readOnly": true}, "name": {"type": "string", "minLength": 2},
            "tags": {"type": "array", "items": {"type": "object", "properties": {"rank": {"type": "integer", "maximum": 3}}}},
            "when": {"type": "string", "format": "date", "nullable": true}}});
        let value = json!({"name": "x", "tags": [{"rank": 9}, {"rank": 1.5}], "when": null, "more": 1});
        let mut shown = problems(schema.clone(), value);
        shown.sort();
        assert_eq!(
            shown,
            [
                "more is unknown",
                "name must have at least 2 characters",
                "tags[0].rank must be at most 3",
                "tags[1].rank must be an integer"
            ]
        );
        assert_eq!(problems(schema.clone(), json!([])), ["must be an object"]);
        assert_eq!(problems(schema, json!({"tags": []})), ["name is missing"]);
    }

    #[test]
    fn messages() {
        for (schema, value, expected) in [
            (
                json!({"type": ["string", "null"]}),
                json!(1),
                "must be null or a string",
            ),
            (json!({"enum": ["a", 1]}), json!("b"), "must be one of \"a\", 1"),
            (json!({"const": {"a": 1}}), json!(2), "must be {\"a\":1}"),
            (json!({"maxLength": 1}), json!("é́é"), "must have at most 1 characters"),
            (json!({"pattern": "^a+$"}), json!("b"), "must match ^a+$"),
            (json!({"pattern": "^(?!b)"}), json!("b"), "must match ^(?!b)"),
            (
                json!({"format": "date"}),
                json!("2019-02-29"),
                "must have the format date",
            ),
            (json!({"format": "url"}), json!("nowhere"), "must have the format url"),
            (json!({"minimum": 1}), json!(0.5), "must be at least 1"),
            (json!({"exclusiveMinimum": 1}), json!(1), "must be more than 1"),
            (
                json!({"maximum": 1, "exclusiveMaximum": true}),
                json!(1),
                "must be less than 1",
            ),
            (json!({"multipleOf": 0.1}), json!(0.25), "must be a multiple of 0.1"),
            (json!({"minItems": 1}), json!([]), "must have at least 1 items"),
            (json!({"maxItems": 0}), json!([1]), "must have at most 0 items"),
            (
                json!({"uniqueItems": true}),
                json!([1, 1.0]),
                "must not have equal items",
            ),
            (
                json!({"minProperties": 1}),
                json!({}),
                "must have at least 1 properties",
            ),
            (
                json!({"not": {"type": "null"}}),
                json!(null),
                "must not match the schema of `not`",
            ),
            (
                json!({"properties": {"a": false}}),
                json!({"a": 1}),
                "a must not be there",
            ),
            (json!(false), json!(1), "must not be there"),
            (
                json!({"contains": {"const": 1}}),
                json!([2]),
                "must have an item that matches the schema of `contains`",
            ),
            (
                json!({"oneOf": [{"type": "null"}, {"minimum": 3}, {"type": "string"}]}),
                json!(1),
                "must match one of 3 schemas; it matches none",
            ),
            (
                json!({"oneOf": [{"type": "integer"}, {"minimum": 3}]}),
                json!(4),
                "must match only one of 2 schemas; it matches several",
            ),
            (
                json!({"anyOf": [{"type": "null"}, {"type": "string"}]}),
                json!(1),
                "must match at least one of 2 schemas; it matches none",
            ),
            (
                json!({"if": {"minimum": 5}, "then": {"maximum": 6}}),
                json!(7),
                "must be at most 6",
            ),
            (
                json!({"if": {"minimum": 5}, "else": false}),
                json!(4),
                "must not be there",
            ),
            (
                json!({"propertyNames": {"maxLength": 1}}),
                json!({"ab": 1}),
                "the name of a property must have at most 1 characters",
            ),
            (
                json!({"prefixItems": [true], "unevaluatedItems": false}),
                json!([1, 2]),
                "must not have further items",
            ),
            (
                json!({"prefixItems": [true], "items": false}),
                json!([1, 2]),
                "[1] must not be there",
            ),
            (
                json!({"dependentRequired": {"a": ["b"]}}),
                json!({"a": 1}),
                "b is missing",
            ),
        ] {
            assert_eq!(problems(schema.clone(), value), [expected], "{schema}");
        }
    }

    #[test]
    fn what_fits() {
        for (schema, value) in [
            (json!(true), json!({"a": [1]})),
            (json!({}), json!(null)),
            (json!({"type": "integer"}), json!(2.0)),
            (json!({"multipleOf": 0.01}), json!(4.35)),
            (json!({"format": "no such"}), json!("x")),
            (json!({"format": "int32", "example": {"$ref": 5}}), json!("x")),
            (
                json!({"allOf": [{"properties": {"a": true}}, {"$ref": "#/components/schemas/X/allOf/0"}], "unevaluatedProperties": false}),
                json!({"a": 1}),
            ),
            (
                json!({"anyOf": [{"properties": {"a": {"type": "string"}}}], "unevaluatedProperties": false}),
                json!({"a": ""}),
            ),
        ] {
            assert_eq!(problems(schema.clone(), value), [""; 0], "{schema}");
        }
    }

    #[test]
    fn nullable_adds_null() {
        let schemas =
            |x: Value| json!({"X": x, "Name": {"type": "string"}, "Maybe": {"type": "string", "nullable": true}});
        let name = json!({"$ref": "#/components/schemas/Name"});
        for (schema, nulls) in [
            (json!({"type": "string", "nullable": true}), true),
            (json!({"type": "string", "nullable": false}), false),
            (json!({"enum": ["a"], "nullable": true}), true),
            (json!({"allOf": [name], "nullable": true}), true),
            (json!({"oneOf": [name, {"type": "integer"}], "nullable": true}), true),
            (json!({"$ref": "#/components/schemas/Maybe"}), true),
            // What stands beside a reference counts since 3.1, but `nullable` is gone there from the words of JSON Schema.
            (json!({"$ref": "#/components/schemas/Name", "nullable": true}), false),
        ] {
            let problems = problems_of("3.0.3", &schemas(schema.clone()), json!(null));
            assert_eq!(problems.is_empty(), nulls, "{schema}: {problems:?}");
            assert!(
                !problems_of("3.0.3", &schemas(schema.clone()), json!(true)).is_empty(),
                "{schema}"
            );
        }
    }

    #[test]
    fn what_stands_beside_a_reference_counts_since_3_1() {
        let schemas = json!({"X": {"$ref": "#/components/schemas/Name", "maxLength": 2}, "Name": {"type": "string"}});
        assert!(problems_of("3.0.3", &schemas, json!("abc")).is_empty());
        assert_eq!(
            problems_of("3.1.0", &schemas, json!("abc")),
            ["must have at most 2 characters"]
        );
        assert_eq!(problems_of("3.1.0", &schemas, json!(5)), ["must be a string"]);
    }

    #[test]
    fn mistakes_in_schemas_have_their_place() {
        let mistake = |schemas: Value| compile("3.1.0", &schemas).map(|_| ()).unwrap_err();
        assert_eq!(
            mistake(json!({"X": {"properties": {"a/b": {"minLength": -1}}}})),
            "/components/schemas/X/properties/a~1b/minLength: -1 is less than the minimum of 0"
        );
        assert_eq!(
            mistake(json!({"X": {"items": {"$ref": "#/components/schemas/Y"}}, "Y": {"allOf": [{"pattern": "["}]}})),
            "/components/schemas/Y/allOf/0/pattern: \"[\" is not a \"regex\""
        );
        assert!(mistake(json!({"X": {"items": [5]}})).starts_with("/components/schemas/X/items: "));
        assert!(mistake(json!({"X": {"type": "date"}})).starts_with("/components/schemas/X/type: \"date\""));
        assert_eq!(
            mistake(json!({"X": {"$ref": "https://example.org/schema.json#/a"}})),
            "/components/schemas/X/$ref: `https://example.org/schema.json#/a` points outside the document; only \
            references within it are supported"
        );
    }

    #[test]
    fn schemas_that_hold_themselves_end() {
        let schemas = json!({
            "X": {"type": "object", "required": ["a"], "properties": {"next": {"$ref": "#/components/schemas/X"}}},
            "Loop": {"allOf": [{"$ref": "#/components/schemas/Loop"}, {"$ref": "#/components/schemas/X"}]},
        });
        assert_eq!(
            problems_of("3.1.0", &schemas, json!({"a": 1, "next": {"a": 1, "next": {}}})),
            ["next.next.a is missing"]
        );
        let looped = json!({"X": {"allOf": [{"$ref": "#/components/schemas/X"}, {"type": "string"}]}});
        assert_eq!(problems_of("3.1.0", &looped, json!(5)), ["must be a string"]);
        assert!(compile("3.1.0", &json!({"X": {"$ref": "#/components/schemas/X"}})).is_err());
    }

    /// A value of 120 levels, the innermost of which does not fit.
    fn deep() -> Value {
        (0..120).fold(json!(5), |inner, _| json!({ "a": inner, "b": "x".repeat(1000) }))
    }

    #[test]
    fn hostile_schemas_end() {
        let x = json!({"$ref": "#/components/schemas/X"});
        let holds = json!({"type": "object", "properties": {"a": x}});
        for key in ["allOf", "anyOf", "oneOf"] {
            let problems = problems(json!({key: [holds, holds, holds]}), deep());
            assert!(problems.len() <= PROBLEMS_LIMIT);
        }
        let next = |n: usize| json!({"$ref": format!("#/components/schemas/{n}")});
        for width in 1..=3 {
            let level = |n: usize| json!({"allOf": vec![next(n + 1); width]});
            let mut levels: Map<String, Value> = (0..1000).map(|n| (n.to_string(), level(n))).collect();
            levels.insert("1000".to_owned(), json!({"type": "string"}));
            levels.insert("X".to_owned(), json!({"properties": {"a": next(0)}}));
            problems_of("3.1.0", &levels.into(), deep());
        }
        let nested = (0..100).fold(
            json!({"type": "string"}),
            |inner, _| json!({"type": "array", "items": inner}),
        );
        let list = (0..100).fold(json!(5), |inner, _| json!([inner]));
        assert_eq!(
            problems(nested, list),
            [format!("{} must be a string", "[0]".repeat(100)).trim()]
        );
    }

    #[test]
    fn large_bodies_have_few_problems() {
        let schema = json!({"type": "array", "items": {"oneOf": [{"type": "integer"}, {"type": "null"}]}});
        let body: Value = vec!["x"; 500_000].into();
        assert_eq!(problems(schema, body).len(), PROBLEMS_LIMIT);
    }

    #[test]
    fn patterns_do_not_take_for_ever() {
        for pattern in ["^(a+)+$", "^(a|a)*(?!b)$", "^(?=(a+)+c)"] {
            problems(json!({ "pattern": pattern }), json!(format!("{}!", "a".repeat(10_000))));
        }
    }
}
