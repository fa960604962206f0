//! Forms in parts (RFC 7578).

/// A part of a form.
#[derive(Debug, PartialEq, Eq)]
pub struct FormPart<'a> {
    /// The name of the field.
    pub name: String,
    /// The name of the file at the client, of a part that is one.
    pub filename: Option<String>,
    /// The media type, as the client writes it.
    pub content_type: Option<String>,
    /// The bytes between the part's head and the next boundary.
    pub content: &'a [u8],
}

/// The boundary that a `Content-Type` names.
pub fn boundary(content_type: &str) -> Option<String> {
    parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty())
}

/// The parts of a form that have names. `None` if it is malformed, or has more than `limit` parts.
pub fn parts<'a>(body: &'a [u8], boundary: &str, limit: usize) -> Option<Vec<FormPart<'a>>> {
    let mut parts = Vec::new();
    let delimiter = format!("\r\n--{boundary}");
    // The first delimiter may begin the body, without a line break before it.
    let (_, mut rest) = split(body, delimiter.trim_start().as_bytes())?;
    for _ in 0..limit {
        if rest.starts_with(b"--") {
            return Some(parts);
        }
        let (whole, after) = split(rest, delimiter.as_bytes())?;
        // The line break that ends the head of an empty part may be that of the next delimiter.
        let (head, content) = split(whole, b"\r\n\r\n").or_else(|| Some((whole.strip_suffix(b"\r\n")?, &[][..])))?;
        parts.extend(part(&String::from_utf8_lossy(head), content));
        rest = after;
    }
    None
}

fn part<'a>(head: &str, content: &'a [u8]) -> Option<FormPart<'a>> {
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

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = memchr::memmem::find(bytes, at)?;
    Some((bytes.get(..place)?, bytes.get(place + at.len()..)?))
}
