//! JSON as Python's `json` module writes it, which is how httpbin's replies look: keys in order, all that is not ASCII
//! escaped, numbers as Python prints them.

use serde_json::{Map, Number, Value};

/// With two blanks of indentation, keys sorted by code point, and a line end: what Flask's `jsonify` gives.
pub(super) fn pretty(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, Some(0));
    text.push('\n');
    text
}

/// In one line, keys as they come, `", "` and `": "` between things: what `json.dumps` gives.
pub(super) fn line(value: &Value) -> String {
    let mut text = String::new();
    write(&mut text, value, None);
    text
}

/// `depth` is that of the indentation; `None` is one line. The depth of a value is at most 128, which is as far as
/// `serde_json` reads.
fn write(text: &mut String, value: &Value, depth: Option<usize>) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => text.push_str(&self::number(number)),
        Value::String(string) => quote(text, string),
        Value::Array(values) => {
            let inner = depth.map(|depth| depth + 1);
            text.push('[');
            for (i, value) in values.iter().enumerate() {
                separate(text, i, inner);
                write(text, value, inner);
            }
            close(text, ']', values.is_empty(), depth);
        }
        Value::Object(map) => {
            let inner = depth.map(|depth| depth + 1);
            text.push('{');
            for (i, (key, value)) in members(map, depth.is_some()).into_iter().enumerate() {
                separate(text, i, inner);
                quote(text, key);
                text.push_str(": ");
                write(text, value, inner);
            }
            close(text, '}', map.is_empty(), depth);
        }
    }
}

fn members(map: &Map<String, Value>, sorted: bool) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = map.iter().collect();
    if sorted {
        members.sort_by_key(|(key, _)| *key);
    }
    members
}

fn separate(text: &mut String, i: usize, depth: Option<usize>) {
    match depth {
        None if i > 0 => text.push_str(", "),
        None => {}
        Some(depth) => {
            text.push_str(if i > 0 { ",\n" } else { "\n" });
            text.push_str(&"  ".repeat(depth));
        }
    }
}

fn close(text: &mut String, bracket: char, empty: bool, depth: Option<usize>) {
    if let (false, Some(depth)) = (empty, depth) {
        text.push('\n');
        text.push_str(&"  ".repeat(depth));
    }
    text.push(bracket);
}

fn quote(text: &mut String, string: &str) {
    text.push('"');
    for letter in string.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='~' => text.push(letter),
            _ => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    text.push('"');
}

/// As `repr(float)` has it: with an exponent of two digits at least, from 1e16 on and below 1e-4.
fn number(number: &Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        return number.to_string();
    };
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        return format!("{float:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn as_python_writes_it() {
        let value =
            json!({"b": [1, 2.0, 1e30, 1e-7, {}, []], "a": "ä😀\u{7f}\n\"/", "c": null, "d": [1e-4, 1e15, 1e16]});
        assert_eq!(
            line(&value),
            concat!(
                r#"{"b": [1, 2.0, 1e+30, 1e-07, {}, []], "a": "\u00e4\ud83d\ude00"#,
                r#"\u007f\n\"/", "c": null, "d": [0.0001, 1000000000000000.0, 1e+16]}"#
            )
        );
        assert_eq!(
            pretty(&json!({"b": [], "a": {"x": [1, {}]}})),
            "{\n  \"a\": {\n    \"x\": [\n      1,\n      {}\n    ]\n  },\n  \"b\": []\n}\n"
        );
    }
}
