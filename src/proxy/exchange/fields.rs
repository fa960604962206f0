//! Changes to request and response heads. Pingora gives both types the same methods, but no common trait.

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::fault::rewrite::change::HeaderChanges;
use crate::shape::Length;

/// The head of a request or of a response.
pub(super) trait Fields {
    fn remove(&mut self, name: &HeaderName);
    fn set(&mut self, name: &HeaderName, value: HeaderValue);
    fn add(&mut self, name: &HeaderName, value: HeaderValue);

    /// Applies a rule's changes: first `remove`, then `set`, then `add`.
    fn change(&mut self, changes: &HeaderChanges) {
        for name in &changes.remove {
            self.remove(name);
        }
        for (name, value) in &changes.set {
            self.set(name, value.clone());
        }
        for (name, value) in &changes.add {
            self.add(name, value.clone());
        }
    }

    /// Frames the message for a body whose length has changed.
    fn set_length(&mut self, length: Length) {
        match length {
            Length::Same => {}
            Length::Exactly(length) => {
                self.remove(&TRANSFER_ENCODING);
                self.set(&CONTENT_LENGTH, length.into());
            }
            // Without a length, the head is written with another framing.
            Length::Unknown => self.remove(&CONTENT_LENGTH),
        }
    }
}

macro_rules! fields_of {
    ($($head:ty),*) => {$(
        impl Fields for $head {
            fn remove(&mut self, name: &HeaderName) {
                self.remove_header(name);
            }

            // Pingora checks names and values, but a `HeaderName` and a `HeaderValue` are always valid.
            fn set(&mut self, name: &HeaderName, value: HeaderValue) {
                let _valid = self.insert_header(name, value);
            }

            fn add(&mut self, name: &HeaderName, value: HeaderValue) {
                let _valid = self.append_header(name, value);
            }
        }
    )*};
}

fields_of!(RequestHeader, ResponseHeader);
