//! `rewrite: {status, headers, body, request: {headers, body}, limit}`: the upstream's response or the request is changed.
//!
//! A body is replaced (`body`, `json` or `file`) or edited: `replace` changes the matches of regular expressions, one after
//! the other, and then `json_patch` changes the JSON. For that squall holds the message until its body is complete, up to
//! `limit` bytes and for at most 10 s. What a JSON patch does not name keeps its text, but for white space. A larger or slower body passes unchanged, as does one that can't be edited. A body
//! that passes is untouched, including framing and validators, and the fault is skipped with the reason:
//!
//! | reason | when |
//! |---|---|
//! | `body too large` | it, or what would become of it, is larger than `limit` (for what becomes of it: 64 MiB) |
//! | `body too slow` | it had not come to its end 10 s after its head |
//! | `body broke off` | the sender failed in the middle |
//! | `no body` | the message has none: HEAD, 204, 205, 304, a request without content |
//! | `encoded` | `Content-Encoding` says that it is compressed; `request: {headers: {remove: accept-encoding}}` prevents it |
//! | `not JSON`, `patch failed` | `json_patch` has nothing to work on, or an operation failed: then none is applied |
//! | `no match` | no `find` matches |
//! | `partial content` | it is a part of something, by `Content-Range` |
//! | `a stream` | server-sent events, which may have no end, and gRPC messages, whose framing an edit would break |
//! | `upgraded` | the connection speaks another protocol, such as WebSocket |
//!
//! A replacement does not depend on the old body: it also replaces encoded bodies, server-sent events and bodies beyond
//! `limit`, and gives a body to a request without one. The old body of a response is read for at most `limit` bytes and 1 s,
//! then the upstream's connection is closed. In a response to HEAD, a replacement only changes the header fields.
//!
//! After a change `Content-Length` is exact, on HTTP/1 in place of chunks, and trailers stay where the protocol has them
//! (HTTP/2, in responses); elsewhere `Trailer` is removed with them. Fields that describe the old bytes are removed: `ETag`, since revalidation with it would confirm the rewritten
//! body as the upstream's; `Content-MD5`, `Digest`, `Content-Digest` and `Repr-Digest`, since they would be wrong (for damage
//! in transit there is `corrupt`); `Accept-Ranges`, since a range would come from the old body. `Last-Modified` stays.
//! Fields mentioned in `headers` are left as the user sets them.

mod body;
pub mod change;
mod fit;
mod patch;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use smallvec::smallvec;

use self::body::BodySpec;
pub(crate) use self::body::limit;
pub use self::body::{BodyChange, DEFAULT_LIMIT, Edit, MAX_LIMIT, ReplaceSpec};
use self::change::{HeaderChanges, Rewrite};
pub use self::fit::{Message, content_length, fields_of_new_body, is_bodiless, is_encoded, media_type};
pub use self::patch::{Op, OperationSpec};
use super::answer::{self, FieldValues, ResponseStatus};
use super::content::present;
use super::context::Context;
use super::effect::Effect;
use super::kind::{Effects, Fault, HitRequest, Spec};
use crate::yaml::decode::Named;
use crate::yaml::forms::OneOrMany;
use crate::yaml::units::ByteSize;

/// `rewrite: {status: 200, headers: {remove: etag}, replace: [{find: '"price":\d+', with: '"price":0'}]}`
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewriteSpec {
    /// The response's new status, 200 to 599.
    pub status: Option<ResponseStatus>,
    /// Changes to the response's header fields.
    pub headers: Option<HeadersSpec>,
    /// The response's whole new body, as text. At most one of `body`, `json`, `file`, and `replace` with `json_patch`.
    pub body: Option<String>,
    /// The response's whole new body, as JSON.
    #[serde(default, deserialize_with = "present")]
    pub json: Option<serde_json::Value>,
    /// The response's whole new body, from a file, read when the configuration is loaded.
    pub file: Option<String>,
    /// What is replaced in the response's body, in this order.
    pub replace: Option<OneOrMany<ReplaceSpec>>,
    /// A JSON patch (RFC 6902) for the response's body, after `replace`.
    pub json_patch: Option<Vec<OperationSpec>>,
    /// Larger bodies pass untouched. 1B to 64MiB; default: 1MiB.
    pub limit: Option<ByteSize>,
    /// Changes to the request, before the upstream sees it.
    pub request: Option<RequestSpec>,
}

/// Changes to the request.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestSpec {
    /// Changes to the request's header fields.
    pub headers: Option<HeadersSpec>,
    /// The request's whole new body, as text. At most one of `body`, `json`, `file`, and `replace` with `json_patch`.
    pub body: Option<String>,
    /// The request's whole new body, as JSON.
    #[serde(default, deserialize_with = "present")]
    pub json: Option<serde_json::Value>,
    /// The request's whole new body, from a file, read when the configuration is loaded.
    pub file: Option<String>,
    /// What is replaced in the request's body, in this order.
    pub replace: Option<OneOrMany<ReplaceSpec>>,
    /// A JSON patch (RFC 6902) for the request's body, after `replace`.
    pub json_patch: Option<Vec<OperationSpec>>,
}

/// Changes to header fields: first `remove`, then `set`, then `add`.
#[skip_serializing_none]
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadersSpec {
    /// Sets a field to this value, or to these values.
    pub set: Option<Named<FieldValues>>,
    /// Adds a value, or several, beside those that are there.
    pub add: Option<Named<FieldValues>>,
    /// Removes fields.
    pub remove: Option<OneOrMany<String>>,
}

impl Spec for RewriteSpec {
    type Fault = Arc<Rewrite>;

    /// Checks names, values, the status and the bodies' changes, and reads the files.
    ///
    /// # Errors
    /// A sentence that says which part is wrong, or that nothing is asked for.
    fn compile(&self, context: &Context<'_>) -> Result<Arc<Rewrite>, String> {
        let request = self.request.as_ref();
        let rewrite = Rewrite {
            status: self.status.map(ResponseStatus::get),
            response: header_changes(self.headers.as_ref())?,
            response_body: self.body_spec().compile(context)?,
            request: header_changes(request.and_then(|request| request.headers.as_ref()))?,
            request_body: match request {
                None => None,
                Some(request) => request
                    .body_spec()
                    .compile(context)
                    .map_err(|problem| format!("in `request`: {problem}"))?,
            },
            limit: limit(self.limit)?,
        };
        let bodies = rewrite.response_body.is_some() || rewrite.request_body.is_some();
        if rewrite.touches_nothing() {
            return Err("the changes are missing: give `status`, `headers`, a body or `request`".into());
        }
        if self.limit.is_some() && !bodies {
            return Err("`limit` needs a change to a body".into());
        }
        if let (Some(status), Some(_)) = (
            rewrite.status.filter(|status| is_bodiless(*status)),
            &rewrite.response_body,
        ) {
            return Err(format!("a response with status {} can't have a body", status.as_u16()));
        }
        Ok(Arc::new(rewrite))
    }
}

impl RewriteSpec {
    fn body_spec(&self) -> BodySpec<'_> {
        BodySpec {
            body: self.body.as_deref(),
            json: self.json.as_ref(),
            file: self.file.as_deref(),
            replace: self.replace.as_ref().map(|list| list.0.as_slice()).unwrap_or_default(),
            json_patch: self.json_patch.as_deref().unwrap_or_default(),
        }
    }
}

impl RequestSpec {
    fn body_spec(&self) -> BodySpec<'_> {
        BodySpec {
            body: self.body.as_deref(),
            json: self.json.as_ref(),
            file: self.file.as_deref(),
            replace: self.replace.as_ref().map(|list| list.0.as_slice()).unwrap_or_default(),
            json_patch: self.json_patch.as_deref().unwrap_or_default(),
        }
    }
}

fn header_changes(spec: Option<&HeadersSpec>) -> Result<HeaderChanges, String> {
    spec.map(HeadersSpec::compile)
        .transpose()
        .map(Option::unwrap_or_default)
}

impl HeadersSpec {
    fn compile(&self) -> Result<HeaderChanges, String> {
        let remove = self
            .remove
            .iter()
            .flat_map(|names| &names.0)
            .map(|name| answer::header_name(name));
        // Of several values, the first replaces what is there, and the others are added to it.
        let (mut set, mut add) = (Vec::new(), Vec::new());
        for (name, value) in answer::header_fields(self.set.as_ref())? {
            let is_next = set.iter().any(|(known, _)| *known == name);
            let fields = if is_next { &mut add } else { &mut set };
            fields.push((name, value));
        }
        add.extend(answer::header_fields(self.add.as_ref())?);
        Ok(HeaderChanges {
            remove: remove.collect::<Result<_, _>>()?,
            set,
            add,
        })
    }
}

impl Fault for Arc<Rewrite> {
    fn effects(&self, _: &HitRequest<'_, '_>) -> Effects {
        smallvec![Effect::Rewrite(Arc::clone(self))]
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn removes_then_sets_then_adds() {
        let name = HeaderName::from_static;
        let value = HeaderValue::from_static;
        let changes = HeaderChanges {
            remove: vec![name("a")],
            set: vec![(name("b"), value("2"))],
            add: vec![(name("a"), value("3")), (name("b"), value("4"))],
        };
        let mut headers = HeaderMap::new();
        headers.append("a", value("1"));
        headers.append("b", value("1"));
        headers.append("b", value("1"));
        changes.apply(&mut headers);
        let all = |name: &str| {
            headers
                .get_all(name)
                .iter()
                .map(|v| v.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(all("a"), ["3"]);
        assert_eq!(all("b"), ["2", "4"]);
    }

    #[test]
    fn framing_is_not_for_rewriting() {
        assert!(
            answer::header_name("Content-Length")
                .unwrap_err()
                .contains("frames the message")
        );
    }
}
