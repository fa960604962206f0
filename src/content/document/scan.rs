//! Finds where the values of a valid JSON text begin and end. Text that is not valid gives wrong places, but no panic.

/// White space (RFC 8259, section 2).
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// One level of a text: what its values are, each without white space around it.
pub(super) enum Level<'a> {
    /// A string, a number, or a literal.
    Scalar,
    Array(Vec<&'a str>),
    /// Names, which are texts in JSON too, and values.
    Object(Vec<(&'a str, &'a str)>),
}

/// Looks one level into a text.
pub(super) fn level(text: &str) -> Level<'_> {
    match text.as_bytes().first() {
        Some(b'[') => Level::Array(array(text)),
        Some(b'{') => Level::Object(object(text)),
        _ => Level::Scalar,
    }
}

/// The pieces of a text between white space that is not within strings.
pub(super) fn without_space(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(SPACE);
        let mut end = 0;
        while let Some(byte) = rest.as_bytes().get(end) {
            end += match byte {
                b'"' => string(rest.get(end..).unwrap_or_default()),
                b' ' | b'\t' | b'\n' | b'\r' => break,
                _ => 1,
            };
        }
        let (piece, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

fn array(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let mut rest = inside(text);
    while !rest.is_empty() {
        let (item, after) = cut(rest, value(rest));
        items.push(item);
        rest = next(after, ',');
    }
    items
}

fn object(text: &str) -> Vec<(&str, &str)> {
    let mut members = Vec::new();
    let mut rest = inside(text);
    while !rest.is_empty() {
        let (name, after) = cut(rest, string(rest));
        let after = next(after, ':');
        let (member, after) = cut(after, value(after));
        members.push((name, member));
        rest = next(after, ',');
    }
    members
}

/// What is between the brackets.
fn inside(text: &str) -> &str {
    text.get(1..text.len().saturating_sub(1))
        .unwrap_or_default()
        .trim_matches(SPACE)
}

/// What comes after a mark.
fn next(text: &str, mark: char) -> &str {
    let text = text.trim_start_matches(SPACE);
    text.strip_prefix(mark).unwrap_or_default().trim_start_matches(SPACE)
}

fn cut(text: &str, length: usize) -> (&str, &str) {
    text.split_at_checked(length).unwrap_or((text, ""))
}

/// The length of the value at the start of a text.
fn value(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'"') => string(text),
        Some(b'[' | b'{') => container(text),
        _ => {
            let end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
            bytes.iter().position(end).unwrap_or(bytes.len())
        }
    }
}

/// The length of the array or object at the start of a text.
fn container(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0usize);
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => {
                at += string(text.get(at..).unwrap_or_default());
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string at the start of a text, with its quotes.
fn string(text: &str) -> usize {
    let mut at = 1;
    while let Some(found) = text
        .as_bytes()
        .get(at..)
        .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
    {
        at += found;
        if text.as_bytes().get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}
