//! The body of a request as rules and fakes match it: without its content encodings, and parsed once something asks for it.
//!
//! A body may be unknown, because it was too long or too slow to be read ahead. Then every question about it is answered with
//! the reason, and no condition on it holds.

pub mod document;
mod encoding;
mod form;
pub mod graphql;
pub mod multipart;

use std::borrow::Cow;
use std::cell::OnceCell;

use bytes::Bytes;
use http::{HeaderMap, header};
use serde_json::Value;

use self::document::Node;
use self::graphql::Operation;

/// Why a question about a body has no answer, as a sentence about "the body" without its subject: `is not valid JSON`.
pub type Unanswered = Cow<'static, str>;

/// The fields of a form: names and values in their order.
pub type Fields = Vec<(String, String)>;

/// The UTF-8 byte order mark, which some clients send before JSON.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The body of a request.
#[derive(Debug)]
pub struct Content {
    bytes: Result<Bytes, Unanswered>,
    /// The value of Content-Type.
    media_type: String,
    json: OnceCell<Result<Value, Unanswered>>,
    fields: OnceCell<Fields>,
    operations: OnceCell<Vec<Operation>>,
}

impl Content {
    /// The body that came with these fields. It is decoded as `Content-Encoding` says, to at most `limit` bytes.
    pub fn new(headers: &HeaderMap, body: Bytes, limit: usize) -> Content {
        let bytes = encoding::decoded(headers, body, limit);
        Content {
            media_type: media_type(headers),
            ..Content::of(bytes)
        }
    }

    /// A body that is not known, and why: `is longer than its limit`.
    pub fn unknown(reason: impl Into<Unanswered>) -> Content {
        Content::of(Err(reason.into()))
    }

    fn of(bytes: Result<Bytes, Unanswered>) -> Content {
        Content {
            bytes,
            media_type: String::new(),
            json: OnceCell::new(),
            fields: OnceCell::new(),
            operations: OnceCell::new(),
        }
    }

    /// The bytes, decoded.
    ///
    /// # Errors
    /// The body is not known, or its encoding is not.
    pub fn bytes(&self) -> Result<&Bytes, Unanswered> {
        self.bytes.as_ref().map_err(Clone::clone)
    }

    /// The body as text. What is not UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    /// See [`Content::bytes`].
    pub fn text(&self) -> Result<Cow<'_, str>, Unanswered> {
        self.bytes().map(|bytes| String::from_utf8_lossy(bytes))
    }

    /// The body as JSON (RFC 8259), whatever its media type says.
    ///
    /// # Errors
    /// See [`Content::bytes`]; or it is not valid JSON.
    pub fn json(&self) -> Result<&Value, Unanswered> {
        let parsed = self.json.get_or_init(|| {
            let bytes = self.bytes()?;
            Content::json_of(bytes)
        });
        parsed.as_ref().map_err(Clone::clone)
    }

    /// The body as JSON that keeps its text.
    ///
    /// # Errors
    /// See [`Content::bytes`]; or it is not valid JSON.
    pub fn document(&self) -> Result<Node<'_>, Unanswered> {
        let (_, text) = document::split_mark(self.bytes()?);
        Node::parse(text).ok_or_else(|| self.json().err().unwrap_or("is not valid JSON".into()))
    }

    /// The JSON in a body that is decoded already, as [`Content::json`] reads it.
    ///
    /// # Errors
    /// It is not valid JSON.
    pub fn json_of(body: &[u8]) -> Result<Value, Unanswered> {
        if body.is_empty() {
            return Err("is empty".into());
        }
        let (_, text) = document::split_mark(body);
        serde_json::from_slice(text).map_err(|error| unreadable(text, &error).into())
    }

    /// The fields of a form: of `multipart/form-data` (RFC 7578) without its files, else of
    /// `application/x-www-form-urlencoded`, whatever its media type says.
    ///
    /// # Errors
    /// See [`Content::bytes`].
    pub fn form(&self) -> Result<&Fields, Unanswered> {
        let bytes = self.bytes()?;
        Ok(self.fields.get_or_init(|| form::fields(&self.media_type, bytes)))
    }

    /// The fields of a form whose body is decoded already, as [`Content::form`] reads them.
    pub fn fields_of(headers: &HeaderMap, body: &[u8]) -> Fields {
        form::fields(&media_type(headers), body)
    }

    /// The operations of a GraphQL request: one, or those of a batch. Empty if it is no GraphQL request.
    ///
    /// # Errors
    /// See [`Content::json`].
    pub fn operations(&self) -> Result<&[Operation], Unanswered> {
        if essence(&self.media_type) == "application/graphql" {
            let text = self.text()?;
            return Ok(self
                .operations
                .get_or_init(|| Operation::of_document(&text, None).into_iter().collect()));
        }
        let json = self.json()?;
        Ok(self.operations.get_or_init(|| graphql::operations(json)))
    }

    /// The model that a request to a language model names: the member `model`, or the field of a form with that name.
    ///
    /// # Errors
    /// See [`Content::json`]; or it names none.
    pub fn model(&self) -> Result<Cow<'_, str>, Unanswered> {
        if essence(&self.media_type) == "multipart/form-data" {
            let field = self.form()?.iter().find(|(name, _)| name == "model");
            return field
                .map(|(_, model)| model.as_str().into())
                .ok_or("has no field `model`".into());
        }
        let model = self.json()?.get("model").and_then(Value::as_str);
        model.map(Cow::from).ok_or("has no text in `model`".into())
    }
}

/// Why JSON can't be read: it is not valid, or has what no value can hold, such as 1e400 or half a surrogate pair.
fn unreadable(text: &[u8], error: &serde_json::Error) -> String {
    match Node::parse(text) {
        Some(_) => format!("is JSON beyond what squall can hold: {error}"),
        None => format!("is not valid JSON: {error}"),
    }
}

/// The value of `Content-Type`.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE);
    value.map_or_else(String::new, |value| {
        String::from_utf8_lossy(value.as_bytes()).into_owned()
    })
}

/// A media type without its parameters, in lower case.
fn essence(media_type: &str) -> String {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
