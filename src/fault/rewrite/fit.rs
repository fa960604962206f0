//! Whether a body can be changed, and which fields of the head then change with it.

use std::borrow::Cow;

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use super::body::BodyChange;
use super::change::HeaderChanges;

/// Fields that describe the old bytes of a body (RFC 9110, sections 8.8.3 and 14.3; RFC 1864; RFC 3230; RFC 9530).
const FIELDS_OF_OLD_BYTES: [HeaderName; 6] = [
    header::ETAG,
    header::ACCEPT_RANGES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// What the head of a message says about its body.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Header fields of the message to rewrite.
    pub headers: &'a HeaderMap,
    /// The status of a response, after rewriting; `None` for a request.
    pub status: Option<StatusCode>,
    /// Whether there is no content, whatever the fields say: a response to HEAD, or a request without a body.
    pub empty: bool,
    /// Whether the connection switches to another protocol.
    pub upgraded: bool,
}

impl Message<'_> {
    /// Checks by the head that a change can be applied. `limit` is in bytes.
    ///
    /// # Errors
    /// The reason why not: one of [`crate::metrics::SKIP_REASONS`].
    pub fn accepts(&self, change: &BodyChange, limit: usize) -> Result<(), &'static str> {
        if self.upgraded {
            return Err("upgraded");
        }
        if self.status.is_some_and(is_bodiless) {
            return Err("no body");
        }
        if self.status == Some(StatusCode::PARTIAL_CONTENT) || self.headers.contains_key(header::CONTENT_RANGE) {
            return Err("partial content");
        }
        if media_type(self.headers).starts_with("application/grpc") {
            return Err("a stream");
        }
        if change.is_whole() {
            return Ok(());
        }
        if self.empty || content_length(self.headers) == Some(0) {
            return Err("no body");
        }
        if self.is_endless() {
            return Err("a stream");
        }
        if is_encoded(self.headers) {
            return Err("encoded");
        }
        match content_length(self.headers) {
            Some(length) if length > limit as u64 => Err("body too large"),
            _ => Ok(()),
        }
    }

    /// Whether the body may never end: server-sent events.
    pub fn is_endless(&self) -> bool {
        media_type(self.headers) == "text/event-stream"
    }
}

/// The length of a body in bytes, if the head states it. With chunks, `Content-Length` is ignored (RFC 9112, section 6.3).
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Whether a body has a content coding other than `identity` (RFC 9110, section 8.4).
pub fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().any(|value| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"identity"))
    })
}

/// The media type of a body in lower case, without parameters; empty if there is none.
pub fn media_type(headers: &HeaderMap) -> Cow<'_, str> {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = value.and_then(|value| value.split(|byte| *byte == b';').next());
    let mut kind = String::from_utf8_lossy(kind.unwrap_or_default().trim_ascii());
    // Nearly always in lower case already, and then nothing is allocated.
    if kind.bytes().any(|byte| byte.is_ascii_uppercase()) {
        kind.to_mut().make_ascii_lowercase();
    }
    kind
}

/// The changes to a head after its body was changed to one of `length` bytes. Fields mentioned in `users`, the user's own
/// changes, stay unchanged.
pub fn fields_of_new_body(change: &BodyChange, length: usize, users: &HeaderChanges) -> HeaderChanges {
    let mut changes = HeaderChanges {
        remove: vec![header::TRANSFER_ENCODING],
        set: vec![(header::CONTENT_LENGTH, HeaderValue::from(length))],
        add: Vec::new(),
    };
    let old = FIELDS_OF_OLD_BYTES.into_iter().filter(|name| !users.name(name));
    changes.remove.extend(old);
    if let BodyChange::Whole(content) = change {
        if !users.name(&header::CONTENT_ENCODING) {
            changes.remove.push(header::CONTENT_ENCODING);
        }
        if !users.name(&header::CONTENT_TYPE) {
            changes
                .set
                .push((header::CONTENT_TYPE, HeaderValue::from_static(content.kind)));
        }
    }
    changes
}

/// Whether responses with this status have no content (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5).
pub fn is_bodiless(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fault::kind::Spec;
    use crate::fault::place::testing::context;
    use crate::fault::rewrite::RewriteSpec;
    use crate::fault::rewrite::change::Rewrite;

    fn rewrite(json: serde_json::Value) -> Rewrite {
        let spec: RewriteSpec = serde_json::from_value(json).unwrap();
        Arc::into_inner(spec.compile(&context()).unwrap()).unwrap()
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        fields.collect()
    }

    #[track_caller]
    fn check(fields: &[(&'static str, &'static str)], status: u16, edit: Result<(), &str>, whole: Result<(), &str>) {
        let headers = headers(fields);
        let message = Message {
            headers: &headers,
            status: StatusCode::from_u16(status).ok(),
            empty: false,
            upgraded: status == 101,
        };
        let change = |json| rewrite(json).response_body.unwrap();
        let editing = change(serde_json::json!({"replace": {"find": "a", "with": "b"}}));
        assert_eq!(message.accepts(&editing, 100), edit, "{fields:?}");
        assert_eq!(
            message.accepts(&change(serde_json::json!({"body": ""})), 100),
            whole,
            "{fields:?}"
        );
    }

    #[test]
    fn bodies_that_can_be_changed_are_accepted() {
        check(&[], 200, Ok(()), Ok(()));
        check(&[("content-length", "100")], 200, Ok(()), Ok(()));
        check(&[("content-length", "101")], 200, Err("body too large"), Ok(()));
        check(&[("content-length", "0")], 200, Err("no body"), Ok(()));
        check(&[("content-encoding", "identity")], 200, Ok(()), Ok(()));
        check(&[("content-encoding", "identity, GZIP")], 200, Err("encoded"), Ok(()));
        check(
            &[("content-type", "Text/Event-Stream; x=y")],
            200,
            Err("a stream"),
            Ok(()),
        );
        check(
            &[("content-type", "application/grpc+proto")],
            200,
            Err("a stream"),
            Err("a stream"),
        );
        check(
            &[("content-range", "bytes 0-1/5")],
            206,
            Err("partial content"),
            Err("partial content"),
        );
        check(&[], 204, Err("no body"), Err("no body"));
        check(&[], 304, Err("no body"), Err("no body"));
        check(&[], 101, Err("upgraded"), Err("upgraded"));
    }

    #[test]
    fn fields_fit_the_new_body() {
        let natural = headers(&[
            ("etag", "\"1\""),
            ("content-encoding", "gzip"),
            ("content-type", "text/html"),
            ("transfer-encoding", "chunked"),
            ("digest", "x"),
            ("last-modified", "yesterday"),
        ]);
        let change = |json| {
            let rewrite = rewrite(json);
            let mut head = natural.clone();
            rewrite.response.apply(&mut head);
            let body = rewrite.response_body.as_ref().unwrap();
            fields_of_new_body(body, 7, &rewrite.response).apply(&mut head);
            head
        };
        let whole = change(serde_json::json!({"json": null}));
        let wanted = headers(&[
            ("content-length", "7"),
            ("content-type", "application/json"),
            ("last-modified", "yesterday"),
        ]);
        assert_eq!(whole, wanted);
        let own =
            change(serde_json::json!({"body": "x", "headers": {"set": {"etag": "\"2\"", "content-type": "a/b"}}}));
        assert_eq!(own["etag"], "\"2\"");
        assert_eq!(own["content-type"], "a/b");
    }

    #[test]
    fn heads_tell_of_bodies() {
        let head = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
        };
        for (value, expect) in [
            ("text/event-stream; charset=utf-8", "text/event-stream"),
            (" Text/Event-Stream ;a=b", "text/event-stream"),
            ("", ""),
        ] {
            assert_eq!(media_type(&head("content-type", value)), expect);
        }
        for (value, expect) in [
            ("gzip", true),
            ("identity", false),
            ("identity, br", true),
            ("Identity,", false),
        ] {
            assert_eq!(is_encoded(&head("content-encoding", value)), expect, "{value}");
        }
        let mut chunked = head("content-length", " 5 ");
        assert_eq!(content_length(&chunked), Some(5));
        chunked.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        assert_eq!(content_length(&chunked), None);
    }
}
