//! Queries, forms and paths as they stand in a URL.

use percent_encoding::{percent_decode, percent_decode_str};
use serde_json::{Map, Value};

/// Names and values in the order in which they came.
pub(super) type Pairs = Vec<(String, String)>;

/// The names and values of a query, or of a form that is written as one. What is not UTF-8 becomes U+FFFD.
pub(super) fn pairs(text: &[u8]) -> Pairs {
    pairs_with(text, |bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// The names and values of a query; `read` makes text of their decoded bytes. Pieces without a `=` have an empty value,
/// empty pieces are skipped.
pub(super) fn pairs_with(text: &[u8], read: impl Fn(&[u8]) -> String) -> Pairs {
    let pieces = text.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty());
    let pair = |piece: &[u8]| {
        let mut halves = piece.splitn(2, |byte| *byte == b'=');
        let mut half = || read(&unquoted(halves.next().unwrap_or_default()));
        (half(), half())
    };
    pieces.map(pair).collect()
}

fn unquoted(text: &[u8]) -> Vec<u8> {
    let blanks = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte });
    percent_decode(&blanks.collect::<Vec<_>>()).collect()
}

/// The names of a query or form, decoded, with their values as they came.
pub(super) fn raw_pairs(text: &str) -> impl Iterator<Item = (String, &str)> {
    let pieces = text.split('&').filter(|piece| !piece.is_empty());
    pieces.map(|piece| {
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        (decode_form(name), value)
    })
}

/// A name or value of a query or form, decoded. What is not UTF-8 becomes U+FFFD.
pub(super) fn decode_form(text: &str) -> String {
    String::from_utf8_lossy(&unquoted(text.as_bytes())).into_owned()
}

/// A path or a part of one, decoded. What is not UTF-8 becomes U+FFFD.
pub(super) fn decode_path(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The first value of each name.
pub(super) fn firsts(pairs: impl IntoIterator<Item = (String, String)>) -> Pairs {
    let mut firsts = Pairs::new();
    for (name, value) in pairs {
        if !firsts.iter().any(|(known, _)| *known == name) {
            firsts.push((name, value));
        }
    }
    firsts
}

/// All values of each name: a string, or a list of them.
pub(super) fn grouped(pairs: impl IntoIterator<Item = (String, String)>) -> Value {
    let mut all: Map<String, Value> = Map::new();
    for (name, value) in pairs {
        match all.get_mut(&name) {
            None => drop(all.insert(name, value.into())),
            Some(Value::Array(values)) => values.push(value.into()),
            Some(first) => *first = Value::Array(vec![first.take(), value.into()]),
        }
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_queries_have_pairs_too() {
        let read = |query: &str| -> Vec<String> {
            let pairs = pairs(query.as_bytes());
            pairs.iter().map(|(n, v)| format!("{n}:{v}")).collect()
        };
        assert_eq!(
            read("a=1&&b&=c&d=%zz+%C3%A9&e==f"),
            ["a:1", "b:", ":c", "d:%zz é", "e:=f"]
        );
        assert!(read("").is_empty());
    }
}
