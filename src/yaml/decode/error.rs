//! Deserialization errors, kept typed until they are put into words.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::word::Hint;
use super::{NodeId, id};
use crate::yaml::report::{Diagnostic, Span, did_you_mean};
use crate::yaml::tree::Node;

/// An error of a type's `Deserialize`, to which each enclosing level adds what it knows.
#[derive(Debug)]
pub(super) struct DecodeError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    span: Option<Span>,
    /// The innermost map value or list item that failed.
    culprit: Option<NodeId>,
    enum_name: Option<&'static str>,
    help: Vec<String>,
    also: Option<(Span, String)>,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A message from the type itself.
    Custom(String),
    UnknownField {
        field: String,
        expected: &'static [&'static str],
    },
    UnknownVariant {
        variant: String,
        expected: &'static [&'static str],
    },
    MissingField(&'static str),
}

impl From<Kind> for DecodeError {
    fn from(kind: Kind) -> Self {
        Self(Box::new(Inner {
            kind,
            span: None,
            culprit: None,
            enum_name: None,
            help: Vec::new(),
            also: None,
        }))
    }
}

impl DecodeError {
    pub(super) fn kind(&self) -> &Kind {
        &self.0.kind
    }

    pub(super) fn is_missing(&self) -> bool {
        matches!(self.0.kind, Kind::MissingField(_))
    }

    pub(super) fn culprit(&self) -> Option<NodeId> {
        self.0.culprit
    }

    /// The position, if a level has set one.
    pub(super) fn span(&self) -> Option<Span> {
        self.0.span
    }

    /// Adds a position, unless an inner level has set one.
    pub(super) fn at(mut self, span: Span) -> Self {
        self.0.span.get_or_insert(span);
        self
    }

    /// Adds the node that caused the error, unless an inner level has set one.
    pub(super) fn blame(mut self, node: &Node) -> Self {
        self.0.culprit.get_or_insert(id(node));
        self
    }

    /// Adds the name of the enum whose variant was expected.
    pub(super) fn of_enum(mut self, name: &'static str) -> Self {
        self.0.enum_name.get_or_insert(name);
        self
    }

    pub(super) fn with_help(mut self, help: String) -> Self {
        self.0.help.push(help);
        self
    }

    pub(super) fn also(mut self, span: Span, words: &str) -> Self {
        self.0.also = Some((span, words.to_owned()));
        self
    }

    /// The key that an unknown key was probably meant to be.
    pub(super) fn suggestion(&self) -> Option<&'static str> {
        match &self.0.kind {
            Kind::UnknownField { field, expected } => did_you_mean(field, expected.iter().copied()),
            _ => None,
        }
    }

    /// The diagnostic. A hint takes the place of the usual lines of help.
    pub(super) fn into_diagnostic(self, hint: Option<Hint>) -> Diagnostic {
        let message = self.to_string();
        let mut diagnostic = Diagnostic::error(self.0.span, message);
        diagnostic.secondary.extend(self.0.also);
        if let Some(hint) = hint {
            return diagnostic.help(hint.help);
        }
        diagnostic.help = self.0.help;
        match &self.0.kind {
            Kind::UnknownField { field, expected } => diagnostic.help.push(choice(field, expected, "keys")),
            Kind::UnknownVariant { variant, expected } => diagnostic.help.push(choice(variant, expected, "names")),
            Kind::Custom(_) | Kind::MissingField(_) => {}
        }
        diagnostic
    }
}

/// The line of help for a name that is not one of `expected`.
fn choice(word: &str, expected: &'static [&'static str], what: &str) -> String {
    match did_you_mean(word, expected.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None if expected.is_empty() => format!("no {what} are valid here"),
        None => format!("valid {what}: {}", expected.join(", ")),
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Custom(message) => f.write_str(message),
            Kind::UnknownField { field, .. } => write!(f, "unknown key `{}`", shortened(field)),
            Kind::UnknownVariant { variant, .. } => {
                let noun = self.0.enum_name.map_or("name".into(), spaced);
                write!(f, "unknown {noun} `{}`", shortened(variant))
            }
            Kind::MissingField(field) => write!(f, "missing key `{field}`"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Kind::Custom(message.to_string()).into()
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let (wanted, help) = (in_words(&expected.to_string()), hint(&found, &expected.to_string()));
        let error = Self::custom(format!("expected {wanted}, found {}", found_words(&found)));
        match help {
            Some(help) => error.with_help(help.to_owned()),
            None => error,
        }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::custom(format!("expected {}, found {length}", in_words(&expected.to_string())))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Kind::UnknownVariant {
            variant: variant.to_owned(),
            expected,
        }
        .into()
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Kind::UnknownField {
            field: field.to_owned(),
            expected,
        }
        .into()
    }

    fn missing_field(field: &'static str) -> Self {
        Kind::MissingField(field).into()
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::custom(format!("the key `{field}` is given twice"))
    }
}

/// Translates serde's description of what was expected from Rust's terms to YAML's.
fn in_words(expected: &str) -> String {
    let whole = |from: &str, number: &str| match number {
        "u8" => Some(format!("a whole number from {from} to 255")),
        "u16" => Some(format!("a whole number from {from} to 65535")),
        "u32" => Some(format!("a whole number from {from} to 4294967295")),
        "u64" | "u128" | "usize" => Some(format!("a whole number from {from}")),
        "i8" => Some("a whole number from -128 to 127".into()),
        "i16" => Some("a whole number from -32768 to 32767".into()),
        "i32" | "i64" | "i128" | "isize" => Some("a whole number".into()),
        "f32" | "f64" => Some("a number".into()),
        _ => None,
    };
    if let Some(words) = whole("0", expected).or_else(|| whole("1", expected.strip_prefix("a nonzero ")?)) {
        return words;
    }
    match expected {
        "a borrowed string" => "a string".into(),
        "a boolean" => "`true` or `false`".into(),
        "a sequence" => "a list".into(),
        "unit" => "nothing".into(),
        "path string" => "a path".into(),
        _ if expected.starts_with("struct ") => "a map of settings".into(),
        _ => expected
            .replace("a tuple of size ", "a list of ")
            .replace("an array of length ", "a list of "),
    }
}

fn found_words(found: &Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Char(letter) => format!("the string `{letter}`"),
        Unexpected::Str(text) => format!("the string `{}`", shortened(text)),
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map | Unexpected::NewtypeStruct | Unexpected::StructVariant => "a map".into(),
        Unexpected::Enum | Unexpected::UnitVariant | Unexpected::NewtypeVariant | Unexpected::TupleVariant => {
            "a name".into()
        }
        other => other.to_string(),
    }
}

/// A hint for a common mismatch.
fn hint(found: &Unexpected<'_>, expected: &str) -> Option<&'static str> {
    let wanted = in_words(expected);
    match found {
        Unexpected::Str(text) if wanted.contains("number") && text.parse::<f64>().is_ok() => Some("remove the quotes"),
        Unexpected::Str("true" | "false") if expected == "a boolean" => Some("remove the quotes"),
        Unexpected::Str(_) | Unexpected::Bool(_) | Unexpected::Unsigned(_) | Unexpected::Map if wanted == "a list" => {
            Some("start each item with `- `, or put it in `[…]`")
        }
        _ => None,
    }
}

/// Shortens a text so that messages stay on one line.
pub(super) fn shortened(text: &str) -> String {
    let line: String = text
        .chars()
        .take_while(|letter| !letter.is_control())
        .take(60)
        .collect();
    if line.len() < text.len() {
        format!("{line}…")
    } else {
        line
    }
}

/// The name of a Rust type in words: `DelayMode` and `DelayModeSpec` become `delay mode`.
pub(super) fn spaced(name: &str) -> String {
    let mut words = String::new();
    for letter in name.strip_suffix("Spec").unwrap_or(name).chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_types_in_words() {
        for (name, words) in [
            ("FaultSpec", "fault"),
            ("DelayMode", "delay mode"),
            ("entry", "entry"),
            ("", ""),
        ] {
            assert_eq!(spaced(name), words);
        }
    }
}
