//! Forms in parts (RFC 7578).

use bytes::Bytes;

/// A part of a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FormPart {
    pub(super) name: String,
    /// The name of the file at the client, of a part that is one.
    pub(super) filename: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) content: Bytes,
}

/// The boundary that a `Content-Type` names.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty())
}

/// The parts of a form that have names. `None` if it is malformed, or has more than `limit` parts.
pub(super) fn parts(body: &Bytes, boundary: &str, limit: usize) -> Option<Vec<FormPart>> {
    let mut parts = Vec::new();
    let delimiter = format!("\r\n--{boundary}");
    let first = delimiter.trim_start();
    let begin = find(body, first.as_bytes())?;
    let mut rest = body.slice(begin + first.len()..);
    for _ in 0..limit {
        if rest.starts_with(b"--") {
            return Some(parts);
        }
        let (head, end) = (find(&rest, b"\r\n\r\n")?, find(&rest, delimiter.as_bytes())?);
        if head + 4 > end + 2 {
            return None;
        }
        let head_text = String::from_utf8_lossy(rest.get(..head)?);
        parts.extend(part(&head_text, rest.slice((head + 4).min(end)..end)));
        rest = rest.slice(end + delimiter.len()..);
    }
    None
}

fn part(head: &str, content: Bytes) -> Option<FormPart> {
    let field = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    };
    let disposition = field("content-disposition").unwrap_or_default();
    Some(FormPart {
        name: parameter(disposition, "name")?,
        filename: parameter(disposition, "filename").or_else(|| parameter(disposition, "filename*")),
        content_type: field("content-type").map(str::to_owned),
        content,
    })
}

/// A parameter of a header value such as `form-data; name="a"`.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once(';') {
        let (key, tail) = after.split_once('=')?;
        let tail = tail.trim_start();
        let (text, next) = match tail.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = tail.find(';').unwrap_or(tail.len());
                let (text, next) = tail.split_at(end);
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
fn unquote(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut letters = quoted.char_indices();
    while let Some((i, letter)) = letters.next() {
        match letter {
            '"' => return (text, quoted.get(i + 1..).unwrap_or_default()),
            '\\' => text.extend(letters.next().map(|(_, letter)| letter)),
            _ => text.push(letter),
        }
    }
    (text, "")
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    loop {
        let rest = text.get(from..)?;
        let at = from + rest.iter().position(|byte| *byte == first)?;
        if text.get(at..)?.starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
}
