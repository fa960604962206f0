//! `rewrite: {status, headers: {set, add, remove}}`: the head of the real response, or of the request, is changed.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::abort;
use crate::config::decode::Named;
use crate::config::forms::OneOrMany;

/// `rewrite: {status: 200, headers: {remove: etag}, request: {headers: {set: {x-a: b}}}}`
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewriteSpec {
    /// The response's new status, 200 to 599.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 200, max = 599))]
    pub status: Option<u16>,
    /// Changes to the response's header fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<HeadersSpec>,
    /// Changes to the request, before the upstream sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestSpec>,
}

/// Changes to the request.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestSpec {
    /// Changes to the request's header fields.
    pub headers: HeadersSpec,
}

/// Changes to header fields: first `remove`, then `set`, then `add`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadersSpec {
    /// Gives a field this one value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Named<String>>,
    /// Adds a value beside those that are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<Named<String>>,
    /// Removes fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove: Option<OneOrMany<String>>,
}

/// A rewrite, checked and ready.
#[derive(Debug)]
pub struct Rewrite {
    /// The response's new status.
    pub status: Option<StatusCode>,
    /// Changes to the response.
    pub response: HeaderChanges,
    /// Changes to the request.
    pub request: HeaderChanges,
}

/// Changes to header fields, in this order.
#[derive(Debug, Default)]
pub struct HeaderChanges {
    /// Fields that go.
    pub remove: Vec<HeaderName>,
    /// Fields that get one value.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Values that are added.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl RewriteSpec {
    /// Checks names, values and the status.
    pub fn compile(&self) -> Result<Rewrite, String> {
        let response = self
            .headers
            .as_ref()
            .map(HeadersSpec::compile)
            .transpose()?
            .unwrap_or_default();
        let request = self
            .request
            .as_ref()
            .map(|request| request.headers.compile())
            .transpose()?
            .unwrap_or_default();
        let status = self
            .status
            .map(|status| abort::parse_status(i64::from(status)))
            .transpose()?;
        if status.is_none() && response.is_empty() && request.is_empty() {
            return Err("changes nothing: give `status`, `headers` or `request`".into());
        }
        Ok(Rewrite {
            status,
            response,
            request,
        })
    }
}

impl HeadersSpec {
    fn compile(&self) -> Result<HeaderChanges, String> {
        let pairs = |fields: &Option<Named<String>>| {
            fields
                .iter()
                .flat_map(Named::iter)
                .map(|(name, value)| {
                    let name = abort::header_name(name)?;
                    let value = abort::header_value(&name, value)?;
                    Ok((name, value))
                })
                .collect::<Result<Vec<_>, String>>()
        };
        let remove = self
            .remove
            .iter()
            .flat_map(|names| &names.0)
            .map(|name| abort::header_name(name));
        Ok(HeaderChanges {
            remove: remove.collect::<Result<_, _>>()?,
            set: pairs(&self.set)?,
            add: pairs(&self.add)?,
        })
    }
}

impl HeaderChanges {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Applies the changes to a plain map.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert!(abort::header_name("Content-Length").unwrap_err().contains("framing"));
    }
}
