//! The fields of forms.

use percent_encoding::percent_decode;

use super::{Fields, essence};

/// The most fields, or parts of a multipart form, that are read.
const MOST: usize = 1000;

/// The fields of a form of this media type.
pub(super) fn fields(media_type: &str, body: &[u8]) -> Fields {
    if essence(media_type) != "multipart/form-data" {
        return urlencoded(body);
    }
    match parameter(media_type, "boundary") {
        Some(boundary) if !boundary.is_empty() => multipart(body, &boundary),
        _ => Fields::new(),
    }
}

fn urlencoded(body: &[u8]) -> Fields {
    let pieces = body.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty());
    let pair = |piece: &[u8]| {
        let mut halves = piece.splitn(2, |byte| *byte == b'=');
        let mut half = || text(halves.next().unwrap_or_default());
        (half(), half())
    };
    pieces.take(MOST).map(pair).collect()
}

fn text(encoded: &[u8]) -> String {
    let spaced: Vec<u8> = encoded
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    String::from_utf8_lossy(&percent_decode(&spaced).collect::<Vec<_>>()).into_owned()
}

/// The fields of a form in parts (RFC 7578), without files. Of a malformed one those before the mistake.
fn multipart(body: &[u8], boundary: &str) -> Fields {
    let delimiter = format!("\r\n--{boundary}");
    let mut fields = Fields::new();
    // The first delimiter may begin the body, without a line break before it.
    let first = delimiter.trim_start().as_bytes();
    let mut rest = split(body, first).map_or(&[][..], |(_, rest)| rest);
    for _ in 0..MOST {
        if rest.starts_with(b"--") {
            break;
        }
        let Some((part, after)) = split(rest, delimiter.as_bytes()) else {
            break;
        };
        if let Some((head, content)) = split(part, b"\r\n\r\n") {
            fields.extend(field(&String::from_utf8_lossy(head), content));
        }
        rest = after;
    }
    fields
}

/// The name and the value of a part that is not a file.
fn field(head: &str, content: &[u8]) -> Option<(String, String)> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    let (_, disposition) = lines.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))?;
    if parameter(disposition, "filename").is_some() || parameter(disposition, "filename*").is_some() {
        return None;
    }
    let value = String::from_utf8_lossy(content).into_owned();
    Some((parameter(disposition, "name")?, value))
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = memchr::memmem::find(bytes, at)?;
    Some((bytes.get(..place)?, bytes.get(place + at.len()..)?))
}

/// A parameter of a field's value, such as `form-data; name="a"`.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once(';') {
        let (key, tail) = after.split_once('=')?;
        let tail = tail.trim_start();
        let (text, next) = match tail.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (text, next) = tail.split_at_checked(tail.find(';').unwrap_or(tail.len()))?;
                (text.trim().to_owned(), next)
            }
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(text);
        }
        rest = next;
    }
    None
}

/// The text up to the closing quote, and what follows.
fn unquoted(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (text, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => text.extend(letters.next().map(|(_, escaped)| escaped)),
            letter => text.push(letter),
        }
    }
    (text, "")
}
