//! Hides secrets in what squall shows of its configuration: the admin API, explanations, `check --print` and errors.
//!
//! A value that came from the environment is shown as it was typed, `${NAME}`, so that what is printed can be loaded again.
//! A value that was typed into a field for secrets, such as `authorization`, is shown as `***`.

use serde::Serialize;
use serde_json::Value;

use super::root::ConfigSpec;
use crate::yaml::tree::{WriteError, to_yaml};

/// What stands for a secret that was typed into the file.
const HIDDEN: &str = "***";

/// Shorter texts are not looked for in other texts: they occur everywhere, and protect nothing.
const SHORT: usize = 4;
/// Shorter texts are found only as whole words.
const WORD: usize = 8;

/// Around a variable's name in a tree that becomes YAML, whose writer would escape `${`. Private-use characters.
const OPEN: char = '\u{e000}';
const CLOSE: char = '\u{e001}';

/// Maps of named values, in which some names are secrets'.
const MAPS: [&str; 6] = ["headers", "set", "add", "query", "cookies", "form"];

/// Parts of the names of fields for secrets, in lower case.
const SECRETS: [&str; 11] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "password",
    "passwd",
    "credential",
    "api-key",
    "api_key",
    "apikey",
    "session",
];

/// The secrets of one configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masks {
    /// Each with what is shown instead, the longest first.
    known: Vec<Secret>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Secret {
    text: String,
    /// The name of its variable; `None` if it was typed.
    variable: Option<String>,
}

impl Masks {
    /// The secrets of a configuration with the `variables` that it uses, by name and value. Not counted are values that the
    /// names of its rules, listeners and upstreams contain, which metrics show anyway.
    pub fn of(spec: &ConfigSpec, variables: Vec<(String, String)>) -> Masks {
        let rules = spec.rules.iter().map(|rule| rule.name.value.as_str());
        let names: Vec<&str> = rules
            .chain(spec.listeners.names())
            .chain(spec.upstreams.names())
            .collect();
        let public = |value: &str| names.iter().any(|name| name.contains(value));
        let mut masks = Masks::of_variables(variables.into_iter().filter(|(_, value)| !public(value)).collect());
        masks.add_typed(typed_secrets(spec));
        masks
    }

    /// These secrets, and others that were typed besides.
    #[must_use]
    pub fn with<'a>(&self, typed: impl IntoIterator<Item = &'a String>) -> Masks {
        let mut masks = self.clone();
        masks.add_typed(typed.into_iter().cloned());
        masks
    }

    fn add_typed(&mut self, typed: impl IntoIterator<Item = String>) {
        // One that has a variable in it shows where it comes from.
        let is_new = |text: &String| text.len() >= SHORT && self.text(text) == *text;
        let new: Vec<String> = typed.into_iter().filter(is_new).collect();
        for text in new {
            self.add(text, None);
        }
        self.known.sort_by_key(|secret| std::cmp::Reverse(secret.text.len()));
        self.known.dedup();
    }

    /// The secrets of a configuration that could not be loaded.
    pub fn of_variables(variables: Vec<(String, String)>) -> Masks {
        let mut masks = Masks::default();
        for (name, value) in variables {
            if value.len() >= SHORT && !is_plain(&value) {
                masks.add(value, Some(name));
            }
        }
        masks.known.sort_by_key(|secret| std::cmp::Reverse(secret.text.len()));
        masks.known.dedup();
        masks
    }

    fn add(&mut self, text: String, variable: Option<String>) {
        // Texts within quotation marks may be escaped.
        let escaped = text.escape_debug().to_string();
        if escaped != text {
            self.known.push(Secret {
                text: escaped,
                variable: variable.clone(),
            });
        }
        self.known.push(Secret { text, variable });
    }

    /// Puts secrets back into what was read from squall, changed, and sent again: wherever `sent` still has what is shown instead of a
    /// secret of `original`. Returns whether there was any.
    pub fn unmask(&self, sent: &mut Value, original: &Value) -> bool {
        let mut shown = original.clone();
        self.mask(&mut shown, |text| self.text(text));
        put_back(sent, original, &shown)
    }

    /// A text without secrets.
    pub fn text(&self, text: &str) -> String {
        self.masked(text).replace(OPEN, "${").replace(CLOSE, "}")
    }

    /// A value as JSON without secrets.
    ///
    /// # Errors
    /// The value can't be serialized.
    pub fn json(&self, value: &impl Serialize) -> Result<Value, serde_json::Error> {
        let mut tree = serde_json::to_value(value)?;
        self.mask(&mut tree, |text| self.text(text));
        Ok(tree)
    }

    /// A value as YAML without secrets, in which `${NAME}` stands for variables.
    ///
    /// # Errors
    /// The value can't be serialized.
    pub fn yaml(&self, value: &impl Serialize) -> Result<String, WriteError> {
        let Ok(mut tree) = serde_json::to_value(value) else {
            return to_yaml(value);
        };
        self.mask(&mut tree, |text| self.masked(text));
        Ok(to_yaml(&tree)?.replace(OPEN, "${").replace(CLOSE, "}"))
    }

    fn mask(&self, tree: &mut Value, shown: impl Fn(&str) -> String) {
        each_text(tree, Place::Elsewhere, &mut |text, secret| {
            let masked = shown(text);
            *text = if secret && masked == *text {
                HIDDEN.to_owned()
            } else {
                masked
            };
        });
    }

    /// A text without secrets, in which the names of variables are between `OPEN` and `CLOSE`.
    fn masked(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for secret in &self.known {
            if !shown.contains(&secret.text) {
                continue;
            }
            let instead = match &secret.variable {
                Some(name) => format!("{OPEN}{name}{CLOSE}"),
                None => HIDDEN.to_owned(),
            };
            shown = secret.replace(&shown, &instead);
        }
        shown
    }
}

impl Secret {
    /// Replaces the secret in a text, a short one only where it is a whole word.
    fn replace(&self, text: &str, instead: &str) -> String {
        if self.text.len() >= WORD {
            return text.replace(&self.text, instead);
        }
        let mut replaced = String::with_capacity(text.len());
        let mut done = 0;
        for (at, found) in text.match_indices(&self.text) {
            let (before, after) = (text.get(..at), text.get(at + found.len()..));
            let letter = |one: Option<char>| one.is_some_and(char::is_alphanumeric);
            let within_word = letter(before.and_then(|text| text.chars().next_back()))
                || letter(after.and_then(|text| text.chars().next()));
            if !within_word {
                replaced.push_str(text.get(done..at).unwrap_or_default());
                replaced.push_str(instead);
                done = at + found.len();
            }
        }
        replaced.push_str(text.get(done..).unwrap_or_default());
        replaced
    }
}

/// The texts that were typed into fields for secrets.
pub fn typed_secrets(spec: &impl Serialize) -> Vec<String> {
    let mut typed = Vec::new();
    if let Ok(mut tree) = serde_json::to_value(spec) {
        each_text(&mut tree, Place::Elsewhere, &mut |text, secret| {
            if secret {
                typed.push(std::mem::take(text));
            }
        });
    }
    typed
}

/// Whether a text is what is shown instead of a secret that was typed.
pub fn is_hidden(text: &str) -> bool {
    text == HIDDEN
}

fn put_back(sent: &mut Value, original: &Value, shown: &Value) -> bool {
    let mut found = false;
    match (sent, original, shown) {
        (Value::String(sent), Value::String(original), Value::String(shown)) if sent == shown && shown != original => {
            sent.clone_from(original);
            found = true;
        }
        (Value::Array(sent), Value::Array(original), Value::Array(shown)) => {
            for ((sent, original), shown) in sent.iter_mut().zip(original).zip(shown) {
                found |= put_back(sent, original, shown);
            }
        }
        (Value::Object(sent), Value::Object(original), Value::Object(shown)) => {
            for (name, sent) in sent {
                if let (Some(original), Some(shown)) = (original.get(name), shown.get(name)) {
                    found |= put_back(sent, original, shown);
                }
            }
        }
        _ => {}
    }
    found
}

/// Where a text is in a configuration.
#[derive(Clone, Copy)]
enum Place {
    Elsewhere,
    /// In a fake. What it responds with is for everybody; only what it compares requests with may be a secret.
    Fake,
    /// In a map of named values.
    Named,
    /// At a secret's name in such a map.
    Secret,
}

/// Visits every text, and tells whether it is in a field for secrets.
fn each_text(tree: &mut Value, place: Place, visit: &mut dyn FnMut(&mut String, bool)) {
    match tree {
        // Matchers that only ask whether a field is there.
        Value::String(text) if matches!(text.as_str(), "present" | "absent") => {}
        Value::String(text) => visit(text, matches!(place, Place::Secret)),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, place, visit)),
        Value::Object(fields) => {
            for (name, field) in fields {
                let place = match place {
                    Place::Elsewhere if name == "fake" => Place::Fake,
                    Place::Fake if name == "match" => Place::Elsewhere,
                    Place::Elsewhere if MAPS.contains(&name.as_str()) => Place::Named,
                    Place::Named if is_secret(name) => Place::Secret,
                    place => place,
                };
                each_text(field, place, visit);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|part| name.contains(part))
}

/// Whether a value is a number, a quantity such as `200ms` or `50%`, or a word of YAML.
fn is_plain(value: &str) -> bool {
    const UNITS: [&str; 14] = [
        "", "%", "us", "ms", "s", "m", "h", "d", "B", "KB", "MB", "KiB", "MiB", "GiB",
    ];
    let unit = value.trim_start_matches(|one: char| one.is_ascii_digit() || one == '.');
    let quantity = unit.len() < value.len() && UNITS.contains(&unit.strip_suffix("/s").unwrap_or(unit));
    quantity || matches!(value, "true" | "false" | "null")
}

#[cfg(test)]
mod tests;
