//! Parameters and bodies: what is accepted, and the 422 for what is not.
//!
//! The messages, their order and their leniency are those of FastAPI 0.16 and pydantic 0.23, with which the original
//! was built: the last of several values counts, spaces around an integer are fine, any text is a boolean, a number is
//! taken where text is wanted, and every complaint is listed, the query's before the body's.

use std::ops::RangeInclusive;

use axum::extract::Query;
use http::Uri;
use serde::Serialize;
use serde_json::{Map, Value};
use serde_with::skip_serializing_none;

use super::dates;

/// One complaint in the `detail` list of a 422.
#[skip_serializing_none]
#[derive(Debug, Serialize, PartialEq, Eq)]
struct ErrorDetail {
    loc: Vec<&'static str>,
    msg: String,
    r#type: &'static str,
    ctx: Option<Limit>,
}

#[derive(Debug, Serialize, PartialEq, Eq)]
struct Limit {
    limit_value: i64,
}

/// All complaints about a request; empty if there is none.
#[derive(Debug, Default, Serialize)]
pub(super) struct Problems {
    detail: Vec<ErrorDetail>,
}

impl Problems {
    /// `Ok` if there was nothing to complain about.
    pub(super) fn check(self) -> Result<(), Self> {
        if self.detail.is_empty() { Ok(()) } else { Err(self) }
    }

    fn add(&mut self, loc: &[&'static str], msg: &str, r#type: &'static str) {
        self.detail.push(ErrorDetail {
            loc: loc.to_vec(),
            msg: msg.to_owned(),
            r#type,
            ctx: None,
        });
    }

    fn add_limit(&mut self, loc: &[&'static str], relation: &str, r#type: &'static str, limit_value: i64) {
        let msg = format!("ensure this value is {relation} {limit_value}");
        self.detail.push(ErrorDetail {
            loc: loc.to_vec(),
            msg,
            r#type,
            ctx: Some(Limit { limit_value }),
        });
    }
}

/// The query parameters of one request, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct QueryParameters {
    pairs: Vec<(String, String)>,
    problems: Problems,
}

impl QueryParameters {
    pub(super) fn of(uri: &Uri) -> Self {
        if uri.query().is_none_or(str::is_empty) {
            return Self::default();
        }
        let pairs = Query::try_from_uri(uri).map(|query| query.0).unwrap_or_default();
        Self {
            pairs,
            problems: Problems::default(),
        }
    }

    /// An integer that may be absent.
    pub(super) fn integer(&mut self, name: &'static str, bounds: RangeInclusive<i64>) -> Option<i64> {
        let number = parse_integer(self.get(name)?);
        let loc = ["query", name];
        match number {
            None => self
                .problems
                .add(&loc, "value is not a valid integer", "type_error.integer"),
            Some(number) if number < *bounds.start() => {
                let kind = "value_error.number.not_ge";
                self.problems
                    .add_limit(&loc, "greater than or equal to", kind, *bounds.start());
            }
            Some(number) if number > *bounds.end() => {
                let kind = "value_error.number.not_le";
                self.problems
                    .add_limit(&loc, "less than or equal to", kind, *bounds.end());
            }
            Some(number) => return Some(number),
        }
        None
    }

    /// An integer that must be there; 0 where it is not, which no caller sees: [`Self::finish`] refuses first.
    pub(super) fn required_integer(&mut self, name: &'static str, bounds: RangeInclusive<i64>) -> i64 {
        if self.get(name).is_none() {
            self.problems
                .add(&["query", name], "field required", "value_error.missing");
        }
        self.integer(name, bounds).unwrap_or_default()
    }

    /// A boolean that may be absent. `1`, `true`, `on` and `yes` in any case are true, everything else is false.
    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        let value = self.get(name)?;
        Some(
            ["1", "true", "on", "yes"]
                .iter()
                .any(|truth| value.eq_ignore_ascii_case(truth)),
        )
    }

    /// The complaints so far, to go on with the body's.
    pub(super) fn into_problems(self) -> Problems {
        self.problems
    }

    /// `Ok` if all parameters were fine.
    pub(super) fn finish(self) -> Result<(), Problems> {
        self.problems.check()
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What Python's `int()` takes: spaces around, a sign, underscores between digits. Saturates, which is enough to
/// compare with a bound.
fn parse_integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    let digits = digits.replace('_', "");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().unwrap_or(i64::MAX);
    Some(if text.starts_with('-') { -number } else { number })
}

/// The fields of a JSON body, and what is wrong with them.
pub(super) struct Fields {
    /// The name of the body in messages: `todo`, `user`.
    model: &'static str,
    /// `None` if there is no object to read from; that has then been complained about.
    object: Option<Map<String, Value>>,
    problems: Problems,
}

impl Fields {
    /// `body` is `None` if none was sent.
    pub(super) fn new(model: &'static str, body: Option<Value>, mut problems: Problems) -> Self {
        let object = match body {
            None | Some(Value::Null) => {
                problems.add(&["body", model], "field required", "value_error.missing");
                None
            }
            Some(Value::Object(object)) => Some(object),
            // Python's dict([]) is an empty dict, so an empty list is a body without fields.
            Some(Value::Array(list)) if list.is_empty() => Some(Map::new()),
            Some(_) => {
                problems.add(&["body", model], "value is not a valid dict", "type_error.dict");
                None
            }
        };
        Self {
            model,
            object,
            problems,
        }
    }

    /// A text that must be there; empty where it is not, which no caller sees: [`Self::finish`] refuses first.
    pub(super) fn required(&mut self, name: &'static str) -> String {
        let Some(object) = &self.object else {
            return String::new();
        };
        let loc = ["body", self.model, name];
        match object.get(name) {
            None => self.problems.add(&loc, "field required", "value_error.missing"),
            Some(Value::Null) => {
                self.problems
                    .add(&loc, "none is not an allowed value", "type_error.none.not_allowed");
            }
            Some(value) => match text(value) {
                Some(text) => return text,
                None => self.problems.add(&loc, "str type expected", "type_error.str"),
            },
        }
        String::new()
    }

    /// A text that may be absent or null.
    pub(super) fn optional(&mut self, name: &'static str) -> Option<String> {
        let value = self.given(name)?;
        let text = text(value);
        if text.is_none() {
            self.complain_both(name, "str type expected", "type_error.str");
        }
        text
    }

    /// The date of a date-time that may be absent or null. A date alone is not a date-time.
    pub(super) fn optional_date(&mut self, name: &'static str) -> Option<String> {
        let value = self.given(name)?;
        let date = dates::date_of(value);
        if date.is_none() {
            self.complain_both(name, "invalid datetime format", "type_error.datetime");
        }
        date
    }

    /// `Ok` if all fields were fine.
    pub(super) fn finish(self) -> Result<(), Problems> {
        self.problems.check()
    }

    fn given(&self, name: &str) -> Option<&Value> {
        self.object.as_ref()?.get(name).filter(|value| !value.is_null())
    }

    /// An optional field is "this or none" to the original, and it says of both why they don't fit.
    fn complain_both(&mut self, name: &'static str, msg: &str, r#type: &'static str) {
        let loc = ["body", self.model, name];
        self.problems.add(&loc, msg, r#type);
        self.problems.add(&loc, "value is not none", "type_error.none.allowed");
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(true) => Some("True".to_owned()),
        Value::Bool(false) => Some("False".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
