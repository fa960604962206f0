//! JSON files, with comments where editors allow them (`.jsonc`), as YAML of the same length, so that positions hold.
//!
//! YAML holds nearly all of JSON: it lacks the comments, and writes characters beyond the basic plane in another way.

use std::borrow::Cow;

/// Whether a file is JSON, by its name.
pub(super) fn is_json(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    ["json", "jsonc"].iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// A JSON text as YAML. Comments become spaces. A surrogate pair becomes one escape, and the bytes that this saves follow the
/// closing quote.
pub(super) fn as_yaml(text: &str) -> Cow<'_, str> {
    if !text.contains("//") && !text.contains("/*") && !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let mut yaml = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['"', '/']) {
        let (before, here) = rest.split_at(at);
        yaml.push_str(before);
        let length = if here.starts_with('"') {
            push_string(here, &mut yaml)
        } else if here.starts_with("//") {
            push_blank(here, here.find('\n').unwrap_or(here.len()), &mut yaml)
        } else if here.starts_with("/*") {
            push_blank(here, here.find("*/").map_or(here.len(), |end| end + 2), &mut yaml)
        } else {
            yaml.push('/');
            1
        };
        rest = here.get(length..).unwrap_or_default();
    }
    yaml.push_str(rest);
    Cow::Owned(yaml)
}

/// Blanks out a comment, line ends aside.
fn push_blank(text: &str, length: usize, yaml: &mut String) -> usize {
    let comment = text.get(..length).unwrap_or(text);
    yaml.extend(comment.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
    length
}

/// Copies a string from its opening quote on. Returns how long it is.
fn push_string(text: &str, yaml: &mut String) -> usize {
    let mut saved = 0;
    let mut at = 1;
    yaml.push('"');
    while let Some(rest) = text.get(at..) {
        let Some(one) = rest.chars().next() else { break };
        if let Some(character) = pair(rest) {
            yaml.push_str(&format!("\\U{:08X}", u32::from(character)));
            saved += 2;
            at += 12;
            continue;
        }
        // A backslash takes what it escapes with it.
        let length = if one == '\\' {
            1 + rest.chars().nth(1).map_or(0, char::len_utf8)
        } else {
            one.len_utf8()
        };
        yaml.push_str(rest.get(..length).unwrap_or_default());
        at += length;
        if one == '"' {
            break;
        }
    }
    yaml.extend(std::iter::repeat_n(' ', saved));
    at
}

/// The character of a surrogate pair such as `\ud83d\ude00`, if a text begins with one.
fn pair(text: &str) -> Option<char> {
    let unit = |text: Option<&str>| u16::from_str_radix(text?.strip_prefix("\\u")?, 16).ok();
    let units = [unit(text.get(..6))?, unit(text.get(6..12))?];
    let mut decoded = char::decode_utf16(units);
    let character = decoded.next()?.ok()?;
    decoded.next().is_none().then_some(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn comments_are_blank_and_strings_are_kept() {
        for (text, expected) in [
            ("{\"a\": 1} // b\n", "{\"a\": 1}     \n"),
            ("[1, /* ä\n */ 2]", "[1,      \n    2]"),
            ("\"a // b /* \\\" */\"", "\"a // b /* \\\" */\""),
            ("\"\\ud83d\\ude00!\",", "\"\\U0001F600!\"  ,"),
            ("\"\\u0041\\\\ud83d\"/", "\"\\u0041\\\\ud83d\"/"),
            ("\"open // ", "\"open // "),
            ("/* open", "       "),
        ] {
            assert_eq!(as_yaml(text), expected);
        }
        let names = ["a.json", "b.JSONC", "c.yaml", "json"];
        assert_eq!(names.map(is_json), [true, true, false, false]);
    }

    proptest! {
        #[test]
        fn the_length_stays(text in r#"(["/*\\\n]|//|\\u|d83d|de00|[a-z]|ä){0,16}"#) {
            prop_assert_eq!(as_yaml(&text).len(), text.len());
        }
    }
}
