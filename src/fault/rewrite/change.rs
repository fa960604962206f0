//! The compiled form of a rewrite: its changes to heads and bodies.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::body::BodyChange;

/// A compiled `rewrite` fault.
#[derive(Debug)]
pub struct Rewrite {
    /// The response's new status.
    pub status: Option<StatusCode>,
    /// Changes to the response's header fields.
    pub response: HeaderChanges,
    /// The change to the response's body.
    pub response_body: Option<BodyChange>,
    /// Changes to the request's header fields.
    pub request: HeaderChanges,
    /// The change to the request's body.
    pub request_body: Option<BodyChange>,
    /// The largest body that is collected, in bytes.
    pub limit: usize,
}

/// Changes to header fields, in this order.
#[derive(Debug, Default)]
pub struct HeaderChanges {
    /// Names of the fields to remove.
    pub remove: Vec<HeaderName>,
    /// Fields that get one value.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Values that are added.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl Rewrite {
    /// Whether the rewrite changes the request.
    pub fn touches_request(&self) -> bool {
        !self.request.is_empty() || self.request_body.is_some()
    }

    /// Whether the rewrite changes the response head, apart from the fields of a new body.
    pub fn touches_response_head(&self) -> bool {
        self.status.is_some() || !self.response.is_empty()
    }

    pub(super) fn touches_nothing(&self) -> bool {
        !self.touches_request() && !self.touches_response_head() && self.response_body.is_none()
    }
}

impl HeaderChanges {
    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Whether the changes mention a field.
    pub fn name(&self, field: &HeaderName) -> bool {
        let given = self.set.iter().chain(&self.add).map(|(name, _)| name);
        self.remove.iter().chain(given).any(|name| name == field)
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
