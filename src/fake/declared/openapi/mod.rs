//! An OpenAPI 3 document as a source of routes.
//!
//! Each operation is answered with its success response: its `example`, the first of its `examples`, or a value made up
//! from its schema. The media type is negotiated by `Accept`. `Prefer: code=404`, `Prefer: example=NAME` and `Prefer:
//! dynamic=true` choose another response, example, or made-up values. The value is a function of the seed and the path.

mod check;
mod document;
mod operations;
mod respond;
mod schemas;
pub(super) mod spec;
mod template;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::HashMap;

use async_trait::async_trait;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use serde_json::json;
use xxhash_rust::xxh3::xxh3_64;

use self::check::Refusal;
use self::document::Document;
use self::operations::{Operation, Path};
use self::schemas::Schemas;
use self::validate::Validator;
use super::super::made_up::dice::{Dice, Stream};
use super::super::spec::FakeSpec;
use super::{Built, Outcome, Source, files};
use crate::fake::context::Context;
use crate::fake::reply::{self, json as json_reply, read_json_body};
use crate::files::MAX_BYTES;
use crate::yaml::report::Diagnostic;

/// The largest body of a request that is checked.
const BODY_LIMIT: usize = 8 << 20;

/// The source, if it is declared.
///
/// # Errors
/// All that is wrong with it, each at its place; of the document, where in that.
pub(super) fn source(spec: &FakeSpec, context: &Context<'_>) -> Built {
    let Some(openapi) = &spec.openapi else { return Ok(None) };
    let long = &openapi.value.0;
    let mut mistakes = Vec::new();
    let prefix = long
        .prefix
        .as_ref()
        .map_or("", |prefix| prefix.value.trim_end_matches('/'));
    if let Some(written) = long
        .prefix
        .as_ref()
        .filter(|_| !prefix.is_empty() && !prefix.starts_with('/'))
    {
        mistakes.push(Diagnostic::error(
            written.span,
            format!("the prefix `{prefix}` must start with `/`"),
        ));
    }
    let span = files::place_of(&long.file, openapi.span);
    let read = files::read(&long.file, openapi.span, context.folder, MAX_BYTES).map_err(|mistake| vec![*mistake]);
    let read = read.and_then(|bytes| {
        let of_file = |problem: String| Diagnostic::error(span, format!("{}: {problem}", long.file.value));
        let read = read_document(&bytes, long.validate == Some(true));
        read.map_err(|problems| problems.into_iter().map(of_file).collect())
    });
    match read {
        Ok((document, paths, validator)) if mistakes.is_empty() => Ok(Some(Box::new(OpenApi {
            document,
            paths,
            validator,
            prefix: prefix.to_owned(),
            seed: context.seed,
        }))),
        Ok(_) => Err(mistakes),
        Err(more) => {
            mistakes.extend(more);
            Err(mistakes)
        }
    }
}

/// A document, its paths, and what checks requests if they are to be checked.
fn read_document(bytes: &[u8], validate: bool) -> Result<(Document, Vec<Path>, Option<Validator>), Vec<String>> {
    let document = Document::read(bytes)?;
    let mut schemas = Schemas::new(&document);
    let paths = operations::read(&mut schemas)?;
    let validator = validate
        .then(|| schemas.compile())
        .transpose()
        .map_err(|mistake| vec![mistake])?;
    Ok((document, paths, validator))
}

/// A document in use.
struct OpenApi {
    document: Document,
    paths: Vec<Path>,
    validator: Option<Validator>,
    prefix: String,
    seed: u64,
}

/// What a request asks for.
enum OperationMatch<'a> {
    Operation(&'a Operation, HashMap<String, String>),
    /// The path is known, but only with these methods.
    Methods(Vec<Method>),
}

#[async_trait]
impl Source for OpenApi {
    async fn answer(&self, request: Request) -> Outcome {
        let (operation, values) = match self.find(request.method(), request.uri().path()) {
            OperationMatch::Operation(operation, values) => (operation, values),
            OperationMatch::Methods(methods) => return Outcome::Passed(request, methods),
        };
        let (head, body) = request.into_parts();
        if let Some(validator) = &self.validator {
            let bytes = match read_json_body(&head.extensions, body, BODY_LIMIT).await {
                Ok(bytes) => bytes,
                Err(error) => return Outcome::Answered(error.status().into_response()),
            };
            if let Err(refusal) = check::check(&self.document, validator, operation, &values, &head, &bytes) {
                return Outcome::Answered(refused(refusal));
            }
        }
        let key = xxh3_64(format!("{} {}", operation.method, head.uri.path()).as_bytes());
        let dice = Dice::new(self.seed ^ key, Stream::Documents, 0);
        Outcome::Answered(respond::respond(&self.document, operation, &head.headers, dice))
    }
}

impl OpenApi {
    /// HEAD is answered wherever GET is.
    fn find(&self, method: &Method, path: &str) -> OperationMatch<'_> {
        let mut methods = Vec::new();
        let Some(path) = path.strip_prefix(self.prefix.as_str()) else {
            return OperationMatch::Methods(methods);
        };
        for one in &self.paths {
            let Some(values) = one.template.matches(path) else {
                continue;
            };
            let of = |method: &Method| one.operations.iter().find(|operation| operation.method == *method);
            let get = || (method == Method::HEAD).then(|| of(&Method::GET)).flatten();
            if let Some(operation) = of(method).or_else(get) {
                return OperationMatch::Operation(operation, values);
            }
            methods.extend(one.operations.iter().map(|operation| operation.method.clone()));
        }
        if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
            methods.push(Method::HEAD);
        }
        OperationMatch::Methods(methods)
    }
}

fn refused(refusal: Refusal) -> Response {
    match refusal {
        Refusal::MediaType(known) => {
            let error = json!({"error": "the body must have one of these media types", "known": known});
            json_reply(StatusCode::UNSUPPORTED_MEDIA_TYPE, &error)
        }
        Refusal::Malformed(error) => reply::error(StatusCode::BAD_REQUEST, &error),
        Refusal::Problems(problems) => {
            let error = json!({"error": "the request does not match the document", "problems": problems});
            json_reply(StatusCode::UNPROCESSABLE_ENTITY, &error)
        }
    }
}
