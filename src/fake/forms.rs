//! What a request says in queries and forms.

use bytes::Bytes;

use crate::content::multipart;
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
    /// The name of the file at the client.
    pub(super) filename: String,
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
pub(super) fn form(content_type: &str, body: &Bytes) -> Form {
    match essence(content_type).as_str() {
        "application/x-www-form-urlencoded" => Form {
            fields: pairs(body),
            is_form: true,
            ..Form::default()
        },
        "multipart/form-data" => match multipart::boundary(content_type) {
            Some(boundary) => multipart(body, &boundary),
            None => Form::default(),
        },
        _ => Form::default(),
    }
}

/// A form in parts. Of a malformed one nothing is kept.
fn multipart(body: &Bytes, boundary: &str) -> Form {
    let mut form = Form {
        is_form: true,
        ..Form::default()
    };
    for part in multipart::parts(body, boundary, PARTS_LIMIT).unwrap_or_default() {
        if let Some(filename) = part.filename {
            form.files.push(UploadedFile {
                name: part.name,
                filename,
                content_type: part
                    .content_type
                    .unwrap_or_else(|| "application/octet-stream".to_owned()),
                content: body.slice_ref(part.content),
            });
        } else {
            let text = String::from_utf8_lossy(part.content).into_owned();
            form.fields.push((part.name, text));
        }
    }
    form
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(body: &[u8]) -> Form {
        form("multipart/form-data; boundary=\"b\"", &Bytes::copy_from_slice(body))
    }

    #[test]
    fn parts_are_fields_or_files() {
        let form = read(
            b"--b\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\n1\r\n\
              --b\r\ncontent-disposition: form-data; name=f; filename=\"x;\\\"y\"\r\nContent-Type: text/x\r\n\r\n\xff\r\n\r\n--b--\r\n",
        );
        assert_eq!(form.fields, [("q".to_owned(), "1".to_owned())]);
        let file = &form.files[0];
        assert_eq!((file.name.as_str(), file.filename.as_str()), ("f", "x;\"y"));
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
