//! Changes to heads. Pingora's two kinds of heads have the same methods, but no trait that says so.

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use pingora::http::{RequestHeader, ResponseHeader};

use crate::fault::rewrite::change::HeaderChanges;
use crate::shape::Length;

/// The head of a request or of a response.
pub(super) trait Fields {
    fn remove(&mut self, name: &HeaderName);
    fn set(&mut self, name: &HeaderName, value: HeaderValue);
    fn add(&mut self, name: &HeaderName, value: HeaderValue);

    /// Makes the changes that a rule asks for.
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
            // Whoever writes the head frames the body in another way.
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

            // Pingora refuses names and values that are not valid; these are.
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
