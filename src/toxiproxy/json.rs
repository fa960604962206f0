//! Reads request bodies as Toxiproxy does, which decodes them with Go's encoding/json.
//!
//! Only the first value of a body counts. Keys are compared without regard to case, unknown keys are ignored, the last of
//! several equal keys wins, and null leaves a field as it is. A value of the wrong type is an error in Go's words, since
//! clients show it to people who know those.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// A JSON value, with the entries of its objects in the order of the text, duplicates included.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The first value of a body. Bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// There is none: the reason, in Go's words where it has some.
    pub(super) fn first(body: &[u8]) -> Result<Json, String> {
        let text = String::from_utf8_lossy(body);
        let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Json>();
        match values.next() {
            None => Err("EOF".into()),
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) if error.is_eof() => Err("unexpected EOF".into()),
            Some(Err(error)) => Err(error.to_string()),
        }
    }

    /// The entries of an object, none for null, with their keys in lower case.
    ///
    /// # Errors
    /// It is neither. `target` is where it would be decoded to.
    pub(super) fn fields(&self, target: Target<'_>) -> Result<Vec<(String, &Json)>, String> {
        match self {
            Json::Null => Ok(Vec::new()),
            Json::Object(entries) => {
                let fields = entries.iter().map(|(key, value)| (key.to_ascii_lowercase(), value));
                Ok(fields.collect())
            }
            other => Err(target.refuses(other.kind())),
        }
    }

    /// The items of an array, none for null.
    ///
    /// # Errors
    /// It is neither. `target` is where it would be decoded to.
    pub(super) fn items(&self, target: Target<'_>) -> Result<&[Json], String> {
        match self {
            Json::Null => Ok(&[]),
            Json::Array(items) => Ok(items),
            other => Err(target.refuses(other.kind())),
        }
    }

    /// Sets a text, unless this is null.
    ///
    /// # Errors
    /// It is not a string.
    pub(super) fn set_text(&self, text: &mut String, field: &str) -> Result<(), String> {
        match self {
            Json::Null => {}
            Json::String(value) => value.clone_into(text),
            other => return Err(Target::Field(field, "string").refuses(other.kind())),
        }
        Ok(())
    }

    /// Sets a flag, unless this is null.
    ///
    /// # Errors
    /// It is not a boolean.
    pub(super) fn set_flag(&self, flag: &mut bool, field: &str) -> Result<(), String> {
        match self {
            Json::Null => {}
            Json::Bool(value) => *flag = *value,
            other => return Err(Target::Field(field, "bool").refuses(other.kind())),
        }
        Ok(())
    }

    /// Sets a whole number of 64 bits, unless this is null.
    ///
    /// # Errors
    /// It is not a number, has a fraction or an exponent, or it is out of range.
    pub(super) fn set_integer(&self, integer: &mut i64, field: &str) -> Result<(), String> {
        match self {
            Json::Null => {}
            Json::Number(number) if is_minus_zero(number) => *integer = 0,
            Json::Number(number) => match number.as_i64() {
                Some(value) => *integer = value,
                None => return Err(Target::Field(field, "int64").refuses(&format!("number {number}"))),
            },
            other => return Err(Target::Field(field, "int64").refuses(other.kind())),
        }
        Ok(())
    }

    /// Sets a number of single precision, unless this is null.
    ///
    /// # Errors
    /// It is not a number, or is out of range.
    pub(super) fn set_single(&self, single: &mut f32, field: &str) -> Result<(), String> {
        let refused = |what: &str| Err(Target::Field(field, "float32").refuses(what));
        match self {
            Json::Null => {}
            Json::Number(number) => {
                #[expect(clippy::cast_possible_truncation, reason = "an infinite result is an error")]
                let value = number.as_f64().unwrap_or(f64::INFINITY) as f32;
                if !value.is_finite() {
                    return refused(&format!("number {number}"));
                }
                *single = value;
            }
            other => return refused(other.kind()),
        }
        Ok(())
    }

    /// Go's word for the kind of value.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "bool",
            Json::Number(_) => "number",
            Json::String(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        }
    }
}

/// Where a value is decoded to, in the words of Go's errors.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    /// The whole body, and its type.
    Whole(&'a str),
    /// A field, and its type.
    Field(&'a str, &'a str),
}

impl Target<'_> {
    /// The error about a value of another kind.
    pub(super) fn refuses(self, kind: &str) -> String {
        match self {
            Target::Whole(what) => format!("json: cannot unmarshal {kind} into Go value of type {what}"),
            Target::Field(field, what) => {
                format!("json: cannot unmarshal {kind} into Go struct field {field} of type {what}")
            }
        }
    }
}

/// `-0`, which is read as a float.
fn is_minus_zero(number: &Number) -> bool {
    number.is_f64() && number.as_f64() == Some(0.0)
}

impl From<Json> for Value {
    fn from(json: Json) -> Value {
        match json {
            Json::Null => Value::Null,
            Json::Bool(flag) => flag.into(),
            Json::Number(number) => number.into(),
            Json::String(text) => text.into(),
            Json::Array(items) => items.into_iter().map(Value::from).collect(),
            Json::Object(entries) => entries
                .into_iter()
                .map(|(key, value)| (key, Value::from(value)))
                .collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Number::from_f64(number).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_a_body_counts() {
        let check = |body: &[u8], expected: Result<Json, &str>| {
            assert_eq!(Json::first(body), expected.map_err(str::to_owned), "{body:?}");
        };
        check(b"", Err("EOF"));
        check(b" \n", Err("EOF"));
        check(b"{\"a\":", Err("unexpected EOF"));
        check(b"[1", Err("unexpected EOF"));
        check(b"\"a", Err("unexpected EOF"));
        check(b"null x", Ok(Json::Null));
        check(b"{} trailing", Ok(Json::Object(Vec::new())));
        check(b"[]]", Ok(Json::Array(Vec::new())));
        check(b"\"a\xff\"", Ok(Json::String("a\u{fffd}".into())));
        let twice = [("a".into(), Json::Number(1.into())), ("a".into(), Json::Bool(true))];
        check(b"{\"a\":1,\"a\":true}", Ok(Json::Object(twice.to_vec())));
        assert!(Json::first(b"{bad}").unwrap_err().contains("line 1 column 2"));
        assert!(Json::first(&b"[".repeat(100_000)).is_err());
    }

    #[test]
    fn numbers_are_checked_as_in_go() {
        let integer = |text: &str| {
            let mut integer = 7;
            let set = Json::first(text.as_bytes())
                .unwrap()
                .set_integer(&mut integer, "LatencyToxic.attributes.latency");
            set.map(|()| integer)
        };
        assert_eq!(integer("null"), Ok(7));
        assert_eq!(integer("-5"), Ok(-5));
        assert_eq!(integer("-0"), Ok(0));
        assert_eq!(integer("9223372036854775807"), Ok(i64::MAX));
        let refused = |kind: &str| {
            let field = "into Go struct field LatencyToxic.attributes.latency of type int64";
            Err(format!("json: cannot unmarshal {kind} {field}"))
        };
        assert_eq!(integer("1.5"), refused("number 1.5"));
        assert_eq!(integer("\"1\""), refused("string"));
        assert_eq!(integer("[]"), refused("array"));
        assert_eq!(integer("9223372036854775808"), refused("number 9223372036854775808"));
        let single = |text: &str| {
            let mut single = 1.0;
            let set = Json::first(text.as_bytes()).unwrap().set_single(&mut single, "f");
            set.map(|()| single)
        };
        assert_eq!(single("0.25"), Ok(0.25));
        assert_eq!(single("-3"), Ok(-3.0));
        assert!(single("1e39").is_err());
        assert!(single("true").is_err());
    }
}
