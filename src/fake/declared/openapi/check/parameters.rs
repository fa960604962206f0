//! The values of parameters, in all the styles in which they may be written.

use std::borrow::Cow;

use http::header::COOKIE;
use http::request::Parts;
use serde_json::Value;

use super::super::document::Document;
use super::super::operations::{Parameter, ParameterLocation, ParameterStyle};
use super::super::template::PathValues;
use super::super::validate::{RequestProblem, Validator};
use super::is_json;
use super::typed::{FieldTree, FieldValue, Layers, Reading, brackets};
use crate::fake::query::{decode_form, decode_path};

/// Where the parameters of a request are.
pub(super) struct Given<'a> {
    pub(super) head: &'a Parts,
    pub(super) path: &'a PathValues,
    /// The names of the query, decoded, with their values as they came.
    pub(super) query: &'a [(String, &'a str)],
    /// The parameters that the operation has.
    pub(super) declared: &'a [Parameter],
}

/// How the parts of a value are told apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Split {
    /// Before it is decoded, so that its parts may have the separator in them.
    Encoded,
    /// Afterwards: many clients encode the separators, too.
    Decoded,
}

/// What is wrong with a parameter.
pub(super) fn check(
    document: &Document,
    validator: &Validator,
    parameter: &Parameter,
    given: &Given<'_>,
) -> Vec<RequestProblem> {
    let problem = |message: &str| RequestProblem {
        part: parameter.place.name(),
        field: parameter.name.clone(),
        message: message.to_owned(),
    };
    let layers = Layers::of(document, [&parameter.schema.value]);
    let raw = raw_values(parameter, given);
    if let Some(media_type) = &parameter.media_type {
        let Some(text) = raw.first().map(|raw| decode(parameter, raw)) else {
            return missing(parameter, problem);
        };
        if !is_json(media_type) {
            return Vec::new();
        }
        return match serde_json::from_str(&text) {
            Ok(value) => hold(validator, parameter, [value]),
            Err(error) => vec![problem(&format!("is not valid JSON: {error}"))],
        };
    }
    if parameter.allows_empty && raw.iter().all(|raw| raw.is_empty()) && !raw.is_empty() {
        return Vec::new();
    }
    let mut readings = Vec::new();
    for split in [Split::Encoded, Split::Decoded] {
        let fields = fields(parameter, &layers, given, &raw, split);
        if fields.iter().all(FieldTree::is_empty) {
            return missing(parameter, problem);
        }
        for fields in fields {
            for reading in Reading::ALL {
                let value = fields.read(&layers, reading);
                if !readings.contains(&value) {
                    readings.push(value);
                }
            }
        }
    }
    hold(validator, parameter, readings)
}

fn missing(parameter: &Parameter, problem: impl Fn(&str) -> RequestProblem) -> Vec<RequestProblem> {
    if parameter.required {
        vec![problem("is missing")]
    } else {
        Vec::new()
    }
}

/// The problems of the first reading, unless another has none.
fn hold(
    validator: &Validator,
    parameter: &Parameter,
    readings: impl IntoIterator<Item = Value>,
) -> Vec<RequestProblem> {
    validator.check_any(
        parameter.schema.number,
        parameter.place.name(),
        &parameter.name,
        readings,
    )
}

/// The values that stand under the name of a parameter, as they came.
fn raw_values<'a>(parameter: &Parameter, given: &Given<'a>) -> Vec<Cow<'a, str>> {
    let name = parameter.name.as_str();
    let lines = |name| {
        let values = given.head.headers.get_all(name).into_iter();
        values.filter_map(|value| value.to_str().ok())
    };
    match parameter.place {
        ParameterLocation::Path => {
            let text = given.path.get(name).map(String::as_str).unwrap_or_default();
            Some(text)
                .filter(|text| !text.is_empty())
                .map(Cow::from)
                .into_iter()
                .collect()
        }
        ParameterLocation::Query => {
            let mine = given.query.iter().filter(|(key, _)| key == name);
            mine.map(|(_, value)| Cow::from(*value)).collect()
        }
        ParameterLocation::Header => {
            let lines: Vec<_> = lines(name).collect();
            match lines.as_slice() {
                [] => Vec::new(),
                [one] => vec![(*one).into()],
                several => vec![several.join(",").into()],
            }
        }
        ParameterLocation::Cookie => cookies(given.head)
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value.into())
            .collect(),
    }
}

fn cookies(head: &Parts) -> impl Iterator<Item = (&str, &str)> {
    let lines = head.headers.get_all(COOKIE).into_iter();
    let lines = lines.filter_map(|value| value.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

fn decode(parameter: &Parameter, raw: &str) -> String {
    match parameter.place {
        ParameterLocation::Path | ParameterLocation::Cookie => decode_path(raw),
        ParameterLocation::Query => decode_form(raw),
        ParameterLocation::Header => raw.to_owned(),
    }
}

/// What a parameter may be, as fields: of a text, one for each shape that its schema allows.
fn fields(
    parameter: &Parameter,
    layers: &Layers<'_>,
    given: &Given<'_>,
    raw: &[Cow<'_, str>],
    split: Split,
) -> Vec<FieldTree> {
    let kinds = layers.kinds();
    let by_name = matches!(parameter.place, ParameterLocation::Query | ParameterLocation::Cookie);
    if by_name {
        let is_spread = parameter.explode && parameter.style == ParameterStyle::Form;
        let mut fields = bracketed(parameter, given);
        if fields.is_empty() && raw.is_empty() && kinds.contains(&"object") && is_spread {
            fields = spread(layers, given, parameter.place);
        }
        if !fields.is_empty() || raw.is_empty() {
            let values = raw.iter().map(|raw| FieldValue::Text(decode(parameter, raw)));
            fields.values.extend(values);
            return vec![fields];
        }
    }
    let mut all = Vec::new();
    if kinds.contains(&"array") {
        let mut fields = FieldTree::default();
        for raw in raw {
            let items = items(parameter, raw, split).into_iter();
            fields.values.extend(items.map(FieldValue::Text));
        }
        all.push(fields);
    }
    if kinds.contains(&"object")
        && let Some(raw) = raw.first()
    {
        all.push(properties(parameter, raw, split));
    }
    if all.is_empty() || kinds.iter().any(|kind| !matches!(*kind, "array" | "object" | "null")) {
        let texts = raw
            .iter()
            .map(|raw| FieldValue::Text(decode(parameter, plain(parameter, raw))));
        all.push(FieldTree::of(texts));
    }
    all
}

/// What stands under `name[…]`.
fn bracketed(parameter: &Parameter, given: &Given<'_>) -> FieldTree {
    let mut fields = FieldTree::default();
    if parameter.place != ParameterLocation::Query {
        return fields;
    }
    // `ids[]` may be the name itself.
    let own = parameter.name.strip_suffix("[]").unwrap_or(&parameter.name);
    for (key, value) in given.query {
        let (first, rest) = brackets(key);
        let is_other = || {
            given
                .declared
                .iter()
                .any(|one| one.name == *key && one.place == parameter.place)
        };
        if first == own && !rest.is_empty() && !is_other() {
            let at = rest.into_iter().fold(&mut fields, |at, name| at.at(name));
            at.values.push(FieldValue::Text(decode_form(value)));
        }
    }
    fields
}

/// The properties of an object that are parameters of their own.
fn spread(layers: &Layers<'_>, given: &Given<'_>, place: ParameterLocation) -> FieldTree {
    let names: Vec<_> = layers.named().map(|(name, _)| name).collect();
    let of_others = |key: &str| given.declared.iter().any(|one| one.name == key && one.place == place);
    let mine = |key: &str| {
        let (first, _) = brackets(key);
        !of_others(first) && (names.contains(&first) || (names.is_empty() && layers.is_open()))
    };
    let mut fields = FieldTree::default();
    let mut add = |key: &str, value: String| {
        if names.contains(&key) && !of_others(key) {
            fields.add_literally(key, FieldValue::Text(value));
        } else if mine(key) {
            fields.add(key, FieldValue::Text(value));
        }
    };
    if place == ParameterLocation::Query {
        given.query.iter().for_each(|(key, value)| add(key, decode_form(value)));
    } else {
        cookies(given.head).for_each(|(key, value)| add(key, decode_path(value)));
    }
    fields
}

/// A raw value without the marks of its style.
fn plain<'a>(parameter: &Parameter, raw: &'a str) -> &'a str {
    match parameter.style {
        ParameterStyle::Label => raw.strip_prefix('.').unwrap_or(raw),
        ParameterStyle::Matrix => {
            let rest = raw.strip_prefix(';').unwrap_or(raw);
            let rest = rest.strip_prefix(parameter.name.as_str()).unwrap_or(rest);
            rest.strip_prefix('=').unwrap_or(rest)
        }
        _ => raw,
    }
}

/// The items of a list in one value.
fn items(parameter: &Parameter, raw: &str, split: Split) -> Vec<String> {
    let separator = match parameter.style {
        ParameterStyle::Label if parameter.explode || !plain(parameter, raw).contains(',') => ".",
        ParameterStyle::Matrix if parameter.explode => {
            let again = format!("{}=", parameter.name);
            let items = raw.split(';').filter(|item| !item.is_empty());
            return items
                .map(|item| decode(parameter, item.strip_prefix(&again).unwrap_or(item)))
                .collect();
        }
        ParameterStyle::SpaceDelimited => " ",
        ParameterStyle::PipeDelimited => "|",
        ParameterStyle::Form | ParameterStyle::DeepObject
            if parameter.explode && parameter.place == ParameterLocation::Query =>
        {
            return vec![decode(parameter, raw)];
        }
        _ => ",",
    };
    pieces(parameter, plain(parameter, raw), separator, split)
}

fn pieces(parameter: &Parameter, text: &str, separator: &str, split: Split) -> Vec<String> {
    let trimmed = |piece: &str| match parameter.place {
        ParameterLocation::Header => piece.trim().to_owned(),
        _ => piece.to_owned(),
    };
    // Blanks and bars can't stand in a query unless they are encoded.
    if split == Split::Decoded || matches!(separator, " " | "|") {
        return decode(parameter, text).split(separator).map(trimmed).collect();
    }
    text.split(separator)
        .map(|piece| trimmed(&decode(parameter, piece)))
        .collect()
}

/// The properties of an object in one value: `R=100,G=200`, or `R,100,G,200`.
fn properties(parameter: &Parameter, raw: &str, split: Split) -> FieldTree {
    let mut fields = FieldTree::default();
    let text = plain(parameter, raw);
    if text.starts_with('{') || text.starts_with("%7B") {
        fields.values.push(FieldValue::Text(decode(parameter, text)));
        return fields;
    }
    let separator = match parameter.style {
        ParameterStyle::Label if parameter.explode || !text.contains(',') => ".",
        ParameterStyle::Matrix if parameter.explode => ";",
        ParameterStyle::SpaceDelimited => " ",
        ParameterStyle::PipeDelimited => "|",
        _ => ",",
    };
    let text = if separator == ";" {
        raw.trim_start_matches(';')
    } else {
        text
    };
    let pieces = pieces(parameter, text, separator, split);
    if parameter.explode && !matches!(parameter.style, ParameterStyle::Form) {
        for piece in pieces {
            let (name, value) = piece.split_once('=').unwrap_or((&piece, ""));
            fields.add_literally(name, FieldValue::Text(value.to_owned()));
        }
        return fields;
    }
    for pair in pieces.chunks(2) {
        if let [name, rest @ ..] = pair {
            let value = rest.first().cloned().unwrap_or_default();
            fields.add_literally(name, FieldValue::Text(value));
        }
    }
    fields
}
