//! A rewrite, ready: what it does to heads and bodies.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::body::BodyChange;

/// A rewrite, checked and ready.
#[derive(Debug)]
pub struct Rewrite {
    /// The response's new status.
    pub status: Option<StatusCode>,
    /// Changes to the response's header fields.
    pub response: HeaderChanges,
    /// What happens to the response's body.
    pub response_body: Option<BodyChange>,
    /// Changes to the request's header fields.
    pub request: HeaderChanges,
    /// What happens to the request's body.
    pub request_body: Option<BodyChange>,
    /// The largest body that is held, in bytes.
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
    /// Whether it changes the request.
    pub fn touches_request(&self) -> bool {
        !self.request.is_empty() || self.request_body.is_some()
    }

    /// Whether it changes the response's head, apart from what a new body brings along.
    pub fn touches_response_head(&self) -> bool {
        self.status.is_some() || !self.response.is_empty()
    }

    pub(super) fn touches_nothing(&self) -> bool {
        !self.touches_request() && !self.touches_response_head() && self.response_body.is_none()
    }
}

impl HeaderChanges {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Whether they name a field.
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
