//! What a request says in queries and forms.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::fake::query::{Pairs, pairs_with};
use crate::fake::reply::essence;

/// The most parts that a multipart form may have; more are not read.
const PARTS_LIMIT: usize = 1000;

/// A form, read.
#[derive(Debug, Default)]
pub(super) struct Form {
    pub(super) fields: Pairs,
    pub(super) files: Vec<UploadedFile>,
    /// Whether the body was a form, so that it is not shown as data.
    pub(super) is_form: bool,
}

/// An uploaded file.
#[derive(Debug)]
pub(super) struct UploadedFile {
    pub(super) name: String,
    pub(super) content_type: String,
    pub(super) content: Bytes,
}

/// Queries and urlencoded forms: `a=1&b=x+y`. Bytes that are not UTF-8 stay quoted.
pub(super) fn pairs(text: &[u8]) -> Pairs {
    pairs_with(text, quoting_invalid)
}

/// The text of bytes, of which those that are not UTF-8 are percent-encoded.
pub(super) fn quoting_invalid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Reads the body as the form that its media type says it is.
pub(super) fn form(headers: &HeaderMap, body: &Bytes) -> Form {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    match essence(content_type).as_str() {
        "application/x-www-form-urlencoded" => Form {
            fields: pairs(body),
            is_form: true,
            ..Form::default()
        },
        "multipart/form-data" => match parameter(content_type, "boundary") {
            Some(boundary) if !boundary.is_empty() => multipart(body, &boundary),
            _ => Form::default(),
        },
        _ => Form::default(),
    }
}

/// A form in parts (RFC 7578). Of a malformed one nothing is kept.
fn multipart(body: &Bytes, boundary: &str) -> Form {
    let mut form = Form {
        is_form: true,
        ..Form::default()
    };
    let delimiter = format!("\r\n--{boundary}");
    let first = delimiter.trim_start();
    let Some(begin) = find(body, first.as_bytes()) else {
        return form;
    };
    let mut rest = body.slice(begin + first.len()..);
    for _ in 0..PARTS_LIMIT {
        if rest.starts_with(b"--") {
            return form;
        }
        let (Some(head), Some(end)) = (find(&rest, b"\r\n\r\n"), find(&rest, delimiter.as_bytes())) else {
            break;
        };
        if head + 4 > end + 2 {
            break;
        }
        let head_text = String::from_utf8_lossy(rest.get(..head).unwrap_or_default()).into_owned();
        let content = rest.slice((head + 4).min(end)..end);
        add_part(&mut form, &head_text, content);
        rest = rest.slice(end + delimiter.len()..);
    }
    Form {
        is_form: true,
        ..Form::default()
    }
}

fn add_part(form: &mut Form, head: &str, content: Bytes) {
    let field = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    };
    let disposition = field("content-disposition").unwrap_or_default();
    let Some(name) = parameter(disposition, "name") else {
        return;
    };
    if parameter(disposition, "filename").is_some() {
        let content_type = field("content-type").unwrap_or("application/octet-stream").to_owned();
        form.files.push(UploadedFile {
            name,
            content_type,
            content,
        });
    } else {
        form.fields.push((name, String::from_utf8_lossy(&content).into_owned()));
    }
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(body: &[u8]) -> Form {
        let mut headers = HeaderMap::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("multipart/form-data; boundary=\"b\""),
        );
        form(&headers, &Bytes::copy_from_slice(body))
    }

    #[test]
    fn parts_are_fields_or_files() {
        let form = read(
            b"--b\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\n1\r\n\
              --b\r\ncontent-disposition: form-data; name=f; filename=\"x;\\\"y\"\r\nContent-Type: text/x\r\n\r\n\xff\r\n\r\n--b--\r\n",
        );
        assert_eq!(form.fields, [("q".to_owned(), "1".to_owned())]);
        assert_eq!(form.files[0].name, "f");
        assert_eq!(form.files[0].content_type, "text/x");
        assert_eq!(&form.files[0].content[..], b"\xff\r\n");
        assert!(read(b"--b\r\nbroken").is_form);
    }

    proptest! {
        #[test]
        fn no_body_is_too_broken(body in "(--b|\r\n|name=|Content-Disposition: form-data; |\"|x|;|--){0,20}") {
            let _ = read(body.as_bytes());
        }
    }
}
