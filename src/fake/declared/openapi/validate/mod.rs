//! Whether a value is as a schema says.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{Draft, JsonType, PatternOptions, ValidationError, ValidationOptions};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::fake::schema::{STEP, StepCounter};

/// The most problems that one reply lists.
pub(super) const PROBLEMS_LIMIT: usize = 100;

/// The message of a property that is required and not there.
pub(super) const MISSING: &str = "is missing";

/// How often a `pattern` may go back and try again. What can't be told by then counts as a match.
const BACKTRACKS_LIMIT: usize = 100_000;

/// How large a compiled `pattern` may be, in bytes.
const PATTERN_LIMIT: usize = 1 << 20;

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

/// How schemas are compiled: remote references are never fetched, and unknown formats ignored, as JSON Schema wants it.
pub(super) fn options() -> ValidationOptions<'static> {
    let patterns = PatternOptions::fancy_regex()
        .backtrack_limit(BACKTRACKS_LIMIT)
        .size_limit(PATTERN_LIMIT);
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .should_validate_formats(true)
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

    /// What is wrong with the first of several readings of a value, or nothing if any of them fits.
    pub(super) fn check_any(
        &self,
        schema: usize,
        part: &'static str,
        field: &str,
        readings: impl IntoIterator<Item = Value>,
    ) -> Vec<RequestProblem> {
        let mut first = None;
        for value in readings {
            let problems = self.check(schema, part, field, value);
            if problems.is_empty() {
                return problems;
            }
            first.get_or_insert(problems);
        }
        first.unwrap_or_default()
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
                vec![(below(&field, name), MISSING.to_owned())]
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

#[cfg(test)]
mod tests;
