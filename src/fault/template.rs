//! Templates in injected responses, in the language that declared fakes have.
//!
//! The language itself is above this room, in that of the fakes; whoever compiles faults hands it in as [`Templates`].

use std::fmt::Debug;
use std::sync::Arc;

use serde_json::Value;

use super::hit::HitRequest;

/// Compiles the templates of injected responses.
pub trait Templates: Debug + Send + Sync {
    /// Compiles a text; `None` if it is plain.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    fn text(&self, text: &str) -> Result<Option<Arc<dyn Template>>, String>;

    /// Compiles the texts in a JSON value, of which a single expression keeps its type; `None` if all are plain.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    fn json(&self, json: &Value) -> Result<Option<Arc<dyn Template>>, String>;
}

/// A template that was compiled.
pub trait Template: Debug + Send + Sync {
    /// Renders it for a request. Equal requests with equal draws give equal values, unless the template asks for the time.
    ///
    /// # Errors
    /// The template fails for this request.
    fn render(&self, hit: &HitRequest<'_, '_>) -> Result<Value, String>;

    /// Whether it depends on the request's body.
    fn uses_body(&self) -> bool;
}

/// A text that may be a template.
#[derive(Debug, Clone)]
pub enum Text {
    /// The text itself.
    Plain(String),
    /// What a template makes of a request.
    Made(Arc<dyn Template>),
}

impl Text {
    /// Compiles a text.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub fn compile(text: &str, templates: &dyn Templates) -> Result<Text, String> {
        Ok(templates
            .text(text)?
            .map_or_else(|| Text::Plain(text.to_owned()), Text::Made))
    }

    /// The text for a request.
    ///
    /// # Errors
    /// See [`Template::render`].
    pub fn render(&self, hit: &HitRequest<'_, '_>) -> Result<String, String> {
        match self {
            Text::Plain(text) => Ok(text.clone()),
            Text::Made(template) => Ok(match template.render(hit)? {
                Value::String(text) => text,
                other => other.to_string(),
            }),
        }
    }

    /// The template, if it is one.
    pub fn template(&self) -> Option<&Arc<dyn Template>> {
        match self {
            Text::Plain(_) => None,
            Text::Made(template) => Some(template),
        }
    }
}
