//! The fields of a collection: what fits them, and values that do.

use regex::Regex;
use serde::Serialize;
use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::spec::{FieldKind, FieldLong};
use crate::fake::declared::noted;
use crate::fake::made_up::dice::Dice;
use crate::fake::made_up::{fields, phrases};
use crate::yaml::decode::Spanned;
use crate::yaml::report::Diagnostic;

/// The longest name of a field or a collection.
const NAME_LIMIT: usize = 64;

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct RowProblem {
    pub(super) field: String,
    pub(super) message: String,
}

impl RowProblem {
    pub(super) fn new(field: &str, message: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            message: message.into(),
        }
    }
}

/// One field.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: FieldKind,
    pub(super) required: bool,
    pub(super) unique: bool,
    pub(super) default: Option<Value>,
    options: Vec<Value>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    pattern: Option<Regex>,
}

/// Names stand in SQL and in queries, so they are plain.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts && name.len() <= NAME_LIMIT && name.chars().all(plain)
}

impl Field {
    /// Checks a field as typed.
    pub(super) fn read(name: &Spanned<String>, long: &FieldLong, mistakes: &mut Vec<Diagnostic>) -> Self {
        let before = mistakes.len();
        if !is_name(&name.value) {
            let message = format!("`{}` is not a valid field name", name.value);
            let help = "use at most 64 letters, digits, `_` and `-`, starting with a letter or `_`";
            mistakes.push(Diagnostic::error(name.span, message).help(help));
        }
        if name.value == "id" {
            let message = "every row has an `id`: set its type with the collection's `id:`";
            mistakes.push(Diagnostic::error(name.span, message));
        }
        let field = Self {
            name: name.value.clone(),
            kind: long.kind.unwrap_or_else(|| kind_of(long)),
            required: long.required == Some(true),
            unique: long.unique == Some(true),
            default: None,
            options: long
                .options
                .as_ref()
                .map(|options| options.value.clone())
                .unwrap_or_default(),
            minimum: long.minimum.as_ref().map(|minimum| minimum.value),
            maximum: long.maximum.as_ref().map(|maximum| maximum.value),
            min_length: long.min_length.as_ref().map(|length| length.value as usize),
            max_length: long.max_length.as_ref().map(|length| length.value as usize),
            pattern: pattern(long, mistakes),
        };
        field.check_bounds(long, mistakes);
        if mistakes.len() > before {
            return field;
        }
        if let Some(default) = &long.default
            && let Some(problem) = field.problem(&default.value)
        {
            mistakes.push(Diagnostic::error(default.span, format!("the default {problem}")));
        }
        Self {
            default: long.default.as_ref().map(|default| default.value.clone()),
            ..field
        }
    }

    fn check_bounds(&self, long: &FieldLong, mistakes: &mut Vec<Diagnostic>) {
        let kind = self.kind.name();
        let mut misplaced = |span, key: &str, kinds: &str| {
            let message = format!("`{key}` needs {kinds}; the type is {kind}");
            mistakes.push(Diagnostic::error(span, message));
        };
        let numeric = matches!(self.kind, FieldKind::Number | FieldKind::Integer | FieldKind::Any);
        let bounds = [("minimum", &long.minimum), ("maximum", &long.maximum)];
        for (key, bound) in bounds {
            if let Some(bound) = bound.as_ref().filter(|_| !numeric) {
                misplaced(bound.span, key, "numbers");
            }
        }
        let long_kind = !matches!(
            self.kind,
            FieldKind::Number | FieldKind::Integer | FieldKind::Boolean | FieldKind::Object
        );
        for (key, length) in [("min_length", &long.min_length), ("max_length", &long.max_length)] {
            if let Some(length) = length.as_ref().filter(|_| !long_kind) {
                misplaced(length.span, key, "strings and lists");
            }
        }
        if let (Some(minimum), Some(maximum)) = (&long.minimum, &long.maximum)
            && minimum.value > maximum.value
        {
            mistakes.push(Diagnostic::error(
                minimum.span,
                "the minimum is greater than the maximum",
            ));
        }
        if let (Some(minimum), Some(maximum)) = (&long.min_length, &long.max_length)
            && minimum.value > maximum.value
        {
            mistakes.push(Diagnostic::error(
                minimum.span,
                "`min_length` is greater than `max_length`",
            ));
        }
        if let Some(options) = &long.options {
            if options.value.is_empty() {
                mistakes.push(Diagnostic::error(
                    options.span,
                    "`enum` is empty: list at least one value",
                ));
            }
            let odd = options.value.iter().find_map(|option| self.kind_problem(option));
            mistakes.extend(odd.map(|problem| Diagnostic::error(options.span, format!("a value of `enum` {problem}"))));
        }
    }

    /// What is wrong with a value, to be read after its name: `must be a number`.
    pub(super) fn problem(&self, value: &Value) -> Option<String> {
        if value.is_null() {
            return self.required.then(|| "must not be null".to_owned());
        }
        if let Some(problem) = self.kind_problem(value) {
            return Some(problem);
        }
        if !self.options.is_empty() && !self.options.iter().any(|option| same(option, value)) {
            let options: Vec<_> = self.options.iter().map(Value::to_string).collect();
            return Some(format!("must be one of {}", options.join(", ")));
        }
        self.size_problem(value)
    }

    fn kind_problem(&self, value: &Value) -> Option<String> {
        let text = |fits: fn(&str) -> bool| value.as_str().is_some_and(fits);
        let (fits, wanted) = match self.kind {
            FieldKind::Any => (true, ""),
            FieldKind::String => (value.is_string(), "a string"),
            FieldKind::Number => (value.is_number(), "a number"),
            FieldKind::Integer => (is_whole(value), "an integer"),
            FieldKind::Boolean => (value.is_boolean(), "true or false"),
            FieldKind::Array => (value.is_array(), "an array"),
            FieldKind::Object => (value.is_object(), "an object"),
            FieldKind::Date => (text(is_date), "a date such as 2019-03-28"),
            FieldKind::DateTime => (text(is_date_time), "a date and time such as 2019-03-28T08:30:00Z"),
            FieldKind::Email => (text(is_email), "an email address"),
            FieldKind::Uuid => (text(|text| uuid::Uuid::try_parse(text).is_ok()), "a UUID"),
            FieldKind::Url => (text(is_url), "an absolute URL"),
        };
        (!fits).then(|| format!("must be {wanted}"))
    }

    fn size_problem(&self, value: &Value) -> Option<String> {
        if let Some(number) = value.as_f64() {
            if self.minimum.is_some_and(|minimum| number < minimum) {
                return self.minimum.map(|minimum| format!("must be at least {minimum}"));
            }
            return self
                .maximum
                .filter(|maximum| number > *maximum)
                .map(|maximum| format!("must be at most {maximum}"));
        }
        let (length, unit) = match value {
            Value::String(text) => (text.chars().count(), "characters"),
            Value::Array(items) => (items.len(), "items"),
            _ => return None,
        };
        if let Some(minimum) = self.min_length.filter(|minimum| length < *minimum) {
            return Some(format!("must have at least {minimum} {unit}"));
        }
        if let Some(maximum) = self.max_length.filter(|maximum| length > *maximum) {
            return Some(format!("must have at most {maximum} {unit}"));
        }
        let pattern = self.pattern.as_ref()?;
        (!pattern.is_match(value.as_str()?)).then(|| format!("must match {}", pattern.as_str()))
    }

    /// A value that fits, for row number `index`, from 0. For a pattern none is made up; texts ignore it.
    pub(super) fn made_up(&self, index: usize, dice: &mut Dice) -> Value {
        if !self.options.is_empty() {
            let choice = if self.unique {
                index % self.options.len()
            } else {
                dice.below(self.options.len())
            };
            return self.options.get(choice).cloned().unwrap_or_default();
        }
        match self.kind {
            FieldKind::Number | FieldKind::Integer => self.made_up_number(index, dice),
            FieldKind::Boolean => dice.one_in(2).into(),
            FieldKind::Array => {
                let count = self.min_length.unwrap_or(0).max(dice.from(1, 3));
                let count = count.min(self.max_length.unwrap_or(usize::MAX)).min(1000);
                (0..count).map(|_| phrases::thing(dice)).collect::<Vec<_>>().into()
            }
            FieldKind::Object => Value::Object(Map::new()),
            FieldKind::Date => fields::date(dice).into(),
            FieldKind::DateTime => fields::date_time(dice).into(),
            FieldKind::Uuid => fields::uuid(dice).to_string().into(),
            FieldKind::Email => self.distinct(fields::email(dice), index).into(),
            FieldKind::Url => self.distinct(fields::url(dice), index).into(),
            FieldKind::Any | FieldKind::String => self.made_up_text(index, dice).into(),
        }
    }

    fn made_up_number(&self, index: usize, dice: &mut Dice) -> Value {
        let minimum = self.minimum.unwrap_or_else(|| self.maximum.unwrap_or(1.0).min(1.0));
        let maximum = self.maximum.unwrap_or(minimum.max(0.0) + 1000.0);
        if self.unique {
            let step = i64::try_from(index).unwrap_or(i64::MAX);
            return (whole(minimum.ceil()).saturating_add(step)).into();
        }
        match self.kind {
            FieldKind::Integer => fields::integer(whole(minimum.ceil()), whole(maximum.floor()), dice).into(),
            _ => fields::number(minimum, maximum, dice),
        }
    }

    fn made_up_text(&self, index: usize, dice: &mut Dice) -> String {
        let mut text = fields::text(&self.name, dice);
        let minimum = self.min_length.unwrap_or(0).min(100_000);
        while text.chars().count() < minimum {
            text.push(' ');
            text.push_str(phrases::thing(dice));
        }
        let text = self.distinct(text, index);
        match self.max_length {
            // From the end, where texts that must differ do.
            Some(maximum) if self.unique => {
                let surplus = text.chars().count().saturating_sub(maximum);
                text.chars().skip(surplus).collect()
            }
            Some(maximum) => text.chars().take(maximum).collect(),
            None => text,
        }
    }

    fn distinct(&self, text: String, index: usize) -> String {
        match (self.unique, text.split_once('@')) {
            (false, _) => text,
            (true, Some((name, domain))) => format!("{name}{index}@{domain}"),
            (true, None) => format!("{text} {index}").replace(' ', if self.kind == FieldKind::Url { "-" } else { " " }),
        }
    }
}

fn kind_of(long: &FieldLong) -> FieldKind {
    let strings = |options: &Spanned<Vec<Value>>| options.value.iter().all(Value::is_string);
    match &long.options {
        Some(options) if strings(options) => FieldKind::String,
        _ => FieldKind::Any,
    }
}

fn pattern(long: &FieldLong, mistakes: &mut Vec<Diagnostic>) -> Option<Regex> {
    let pattern = long.pattern.as_ref()?;
    let built = regex::RegexBuilder::new(&pattern.value).size_limit(1 << 20).build();
    let built = built.map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default();
        format!(
            "not a valid regular expression: {}",
            reason.trim_start_matches("error: ")
        )
    });
    noted(built, pattern.span, mistakes)
}

/// 1 and 1.0 are the same number in JSON.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        #[expect(clippy::float_cmp, reason = "the same number as written, not a result")]
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn whole(number: f64) -> i64 {
    number as i64
}

fn is_date(text: &str) -> bool {
    time::Date::parse(text, format_description!("[year]-[month]-[day]")).is_ok()
}

fn is_date_time(text: &str) -> bool {
    time::OffsetDateTime::parse(text, &Rfc3339).is_ok()
}

/// Something, an @, and a domain. What RFC 5322 allows beyond that is not in use.
fn is_email(text: &str) -> bool {
    let spaced = text
        .chars()
        .any(|character| character.is_whitespace() || character.is_control());
    let parts = text.rsplit_once('@');
    !spaced && parts.is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty() && !domain.contains('@'))
}

fn is_url(text: &str) -> bool {
    let scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character))
    };
    let spaced = text.chars().any(char::is_whitespace);
    !spaced
        && text
            .split_once(':')
            .is_some_and(|(name, rest)| scheme(name) && !rest.is_empty())
}

#[cfg(test)]
mod tests;
