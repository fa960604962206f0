//! An OpenAPI 3 document as a source of routes.
//!
//! Each operation is answered with its success response: its `example`, the first of its `examples`, or a value made up
//! from its schema. The media type is negotiated by `Accept`. `Prefer: code=404`, `Prefer: example=NAME` and `Prefer:
//! dynamic=true` choose another response, example, or made-up values. The value is a function of the seed and the path.

pub(in crate::fake::declared) mod bundle;
mod check;
mod discriminator;
mod document;
mod encode;
mod header_fields;
mod links;
mod operations;
mod paging;
mod respond;
mod rows;
mod schemas;
mod security;
pub(super) mod spec;
mod template;
#[cfg(test)]
mod tests;
mod validate;
mod xml;

use async_trait::async_trait;
use axum::extract::Request;
use axum::response::Response;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use self::check::{Refusal, is_json};
use self::document::Document;
use self::links::Servers;
use self::operations::{Operation, ParameterLocation, Path, Responses};
use self::respond::Preference;
use self::schemas::{Schema, Schemas};
use self::template::PathValues;
use self::validate::Validator;
use super::super::made_up::dice::{Dice, Stream};
use super::super::spec::FakeSpec;
use super::{Built, Outcome, Source, files};
use crate::fake::context::Context;
use crate::fake::page::Row;
use crate::fake::query::{Pairs, pairs};
use crate::fake::reply::{self, BODY_LIMIT, essence, json as json_reply, read_json_body};
use crate::files::MAX_BYTES;
use crate::yaml::report::Diagnostic;

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
        let file = context.folder.join(&long.file.value);
        let mut warnings = Vec::new();
        let read = read_document(&bytes, Some(&file), long.validate == Some(true), &mut warnings);
        for warning in warnings {
            context.warn(Diagnostic::warning(span, format!("{}: {warning}", long.file.value)));
        }
        read.map_err(|problems| problems.into_iter().map(of_file).collect())
    });
    match read {
        Ok((document, paths, validator)) if mistakes.is_empty() => Ok(Some(Box::new(OpenApi {
            servers: Servers::read(&document),
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
fn read_document(
    bytes: &[u8],
    file: Option<&std::path::Path>,
    validate: bool,
    warnings: &mut Vec<String>,
) -> Result<(Document, Vec<Path>, Option<Validator>), Vec<String>> {
    let document = Document::read_from(bytes, file)?;
    let mut schemas = Schemas::new(&document);
    let paths = operations::read(&mut schemas, warnings)?;
    let validator = validate
        .then(|| schemas.compile())
        .transpose()
        .map_err(|mistake| vec![mistake])?;
    Ok((document, paths, validator))
}

/// A document in use.
struct OpenApi {
    document: Document,
    servers: Servers,
    paths: Vec<Path>,
    validator: Option<Validator>,
    prefix: String,
    seed: u64,
}

/// What a request asks for.
enum OperationMatch<'a> {
    Operation(&'a Operation, PathValues),
    /// The path is known, but only with these methods.
    Methods(Vec<Method>),
}

#[async_trait]
impl Source for OpenApi {
    fn title(&self) -> Option<String> {
        let title = self.document.root.get("info")?.get("title")?.as_str()?;
        (!title.is_empty()).then(|| title.to_owned())
    }

    fn rows(&self) -> Vec<Row> {
        rows::of(&self.document, &self.prefix)
    }

    async fn answer(&self, request: Request) -> Outcome {
        let (operation, values) = match self.find(&request) {
            OperationMatch::Operation(operation, values) => (operation, values),
            OperationMatch::Methods(methods) => return Outcome::Passed(request, methods),
        };
        let (head, body) = request.into_parts();
        let preference = Preference::read(&head);
        if let Some(validator) = &self.validator {
            let bytes = match read_json_body(&head.extensions, body, BODY_LIMIT).await {
                Ok(bytes) => bytes,
                Err(error) => return Outcome::Answered(error.response(BODY_LIMIT)),
            };
            if let Err(refusal) = check::check(&self.document, validator, operation, &values, &head, &bytes) {
                let refused = refused(&self.document, refusal, &operation.responses);
                // Whoever asks for this status gets the document's response.
                if !preference.is_for(refused.status()) {
                    return Outcome::Answered(refused);
                }
            }
        }
        let key = xxh3_64(format!("{} {}", operation.method, head.uri.path()).as_bytes());
        let dice = Dice::new(self.seed ^ key, Stream::Documents, 0);
        let links = self.servers.links(&head, &self.prefix);
        let below = self.below(head.uri.path());
        let asked = respond::Asked {
            operation,
            head: &head,
            preference: &preference,
            below: below.as_ref().map(|(name, schema)| (name.as_str(), *schema)),
        };
        let response = respond::respond(&self.document, &asked, &links, dice);
        Outcome::Answered(response)
    }
}

impl OpenApi {
    /// What a request asks for. Where requests are checked, a path parameter that is empty is a matter of that check.
    fn find(&self, request: &Request) -> OperationMatch<'_> {
        let query = pairs(request.uri().query().unwrap_or("").as_bytes());
        let found = self.find_by(request, &query, false);
        match found {
            OperationMatch::Methods(methods) if methods.is_empty() && self.validator.is_some() => {
                self.find_by(request, &query, true)
            }
            found => found,
        }
    }

    /// The parameter that names what is below a path, with its schema: `petId` for `/pets` where there is `/pets/{petId}`.
    fn below(&self, path: &str) -> Option<(String, Option<&Schema>)> {
        const PROBE: &str = "squall-probe";
        let path = path.strip_prefix(self.prefix.as_str())?.trim_end_matches('/');
        let path = format!("{path}/{PROBE}");
        self.paths.iter().find_map(|one| {
            let values = one.template.matches(&path, &Pairs::new(), false)?;
            let (name, _) = values.into_iter().find(|(_, value)| value == PROBE)?;
            let mut parameters = one.operations.iter().flat_map(|operation| &operation.parameters);
            let found = parameters.find(|one| one.place == ParameterLocation::Path && one.name == name);
            Some((name, found.map(|parameter| &parameter.schema)))
        })
    }

    /// HEAD is answered wherever GET is.
    fn find_by(&self, request: &Request, query: &Pairs, empty: bool) -> OperationMatch<'_> {
        let mut methods = Vec::new();
        let Some(path) = request.uri().path().strip_prefix(self.prefix.as_str()) else {
            return OperationMatch::Methods(methods);
        };
        let method = request.method();
        for one in &self.paths {
            let Some(values) = one.template.matches(path, query, empty) else {
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

/// The answer to a request that is not as the document says. Its status is the one that the document has for such requests:
/// 422, or 400 if only that is described.
fn refused(document: &Document, refusal: Refusal, responses: &Responses) -> Response {
    let described = |status: StatusCode, error: &Value| {
        problem(document, status, error, responses).unwrap_or_else(|| json_reply(status, error))
    };
    match refusal {
        Refusal::Credentials {
            alternatives,
            challenges,
        } => {
            let error = json!({"error": "the request has none of the credentials that the document asks for", "needs": alternatives});
            let mut response = described(StatusCode::UNAUTHORIZED, &error);
            for challenge in challenges {
                response.headers_mut().append(WWW_AUTHENTICATE, challenge);
            }
            response
        }
        Refusal::MediaType(known) => {
            let error = json!({"error": "the body must have one of these media types", "known": known});
            described(StatusCode::UNSUPPORTED_MEDIA_TYPE, &error)
        }
        Refusal::Malformed(error) => described(StatusCode::BAD_REQUEST, &json!({ "error": error })),
        Refusal::Problems(problems) => {
            let error = json!({"error": "the request does not match the document", "problems": problems});
            let only_400 = responses.has(StatusCode::BAD_REQUEST) && !responses.has(StatusCode::UNPROCESSABLE_ENTITY);
            let status = if only_400 {
                StatusCode::BAD_REQUEST
            } else {
                StatusCode::UNPROCESSABLE_ENTITY
            };
            described(status, &error)
        }
    }
}

/// An error in the media type that the document has for it, if that is a kind of JSON of its own whose schema the error fits
/// once it has what problem details have (RFC 9457). `application/problem+json` is taken whatever its schema.
fn problem(document: &Document, status: StatusCode, error: &Value, responses: &Responses) -> Option<Response> {
    const PROBLEM: &str = "application/problem+json";
    let content = document.get(responses.of(status)?, "content")?.as_object()?;
    let detail = error.get("error").cloned().unwrap_or_default();
    let title = status.canonical_reason().unwrap_or_default();
    let mut full = json!({"type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail});
    let map = full.as_object_mut()?;
    map.extend(
        error
            .as_object()?
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    let mut standard = full.clone();
    standard.as_object_mut()?.shift_remove("error");
    let mut bare = standard.clone();
    bare.as_object_mut()?
        .retain(|name, _| ["type", "title", "status", "detail"].contains(&name.as_str()));
    let mut kinds: Vec<_> = content.iter().filter(|(name, _)| is_json(&essence(name))).collect();
    kinds.retain(|(name, _)| !["application/json", "text/json"].contains(&essence(name).as_str()));
    kinds.sort_by_key(|(name, _)| essence(name) != PROBLEM);
    kinds.into_iter().find_map(|(name, media)| {
        let schema = document.get(media, "schema");
        let fits = |value: &&Value| schema.is_none_or(|schema| document.checker.fits(schema, value));
        let fitting = [&standard, &full, &bare].into_iter().find(fits);
        let body = fitting.or_else(|| (essence(name) == PROBLEM).then_some(&standard))?;
        Some(reply::with_field(json_reply(status, body), CONTENT_TYPE, name))
    })
}
