//! Collections of rows: create, read, update, delete, filter, sort and page, on SQLite.
//!
//! | request | response |
//! |---|---|
//! | `GET /NAME` | the rows, see [`listing`] |
//! | `POST /NAME` | 201 and the row; 409 if its `id` or a unique field is taken |
//! | `GET /NAME/ID` | the row, with an `ETag`; 304 if `If-None-Match` has it |
//! | `PUT /NAME/ID` | replaces the row; makes it where the client gives the ids (`id: string`) |
//! | `PATCH /NAME/ID` | merges into the row, as RFC 7396 says; null takes a field away |
//! | `DELETE /NAME/ID` | 204 |
//!
//! 400: no JSON. 404: no such row. 412: `If-Match` has another version. 413: more than 8 MiB. 415: another media type.
//! 422: the row does not fit. 507: the store is full. All of them are `{"error": …}`, and those about fields list each
//! in `problems`: `[{"field": "price", "message": "must be a number"}]`.

mod fields;
mod listing;
mod rows;
pub(super) mod spec;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LINK, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use self::fields::{Field, RowProblem, is_name};
use self::listing::Listing;
use self::rows::{Change, Done, PrepareError};
use self::spec::{CollectionSpec, IdKind};
use super::super::spec::FakeSpec;
use super::super::store::{Database, StoreError};
use super::{Built, Outcome, Source};
use crate::fake::context::{Context, Store};
use crate::fake::page::Row;
use crate::fake::query::decode_path;
use crate::fake::reply::{
    BODY_LIMIT, error as failure, essence, json as json_reply, json_text, read_json_body, with_field,
};
use crate::yaml::decode::Spanned;
use crate::yaml::report::Diagnostic;

/// Bounds of what a configuration may ask for.
const GENERATE_LIMIT: u32 = 100_000;
const PAGE_LIMIT: u32 = 10_000;

/// A page without `page:`.
const DEFAULT_PAGE: u32 = 1_000;

const TOTAL: HeaderName = HeaderName::from_static("x-total-count");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// A collection.
#[derive(Debug)]
struct Collection {
    name: String,
    /// Without a slash at its end.
    path: String,
    id: IdKind,
    fields: Vec<Field>,
    additional: bool,
    /// Rows of a page, unless the client says how many, and at most.
    page: (u32, u32),
    envelope: Option<String>,
}

/// The source, if it is declared.
///
/// # Errors
/// All that is wrong with it, each at its place.
pub(super) fn source(spec: &FakeSpec, context: &Context<'_>) -> Built {
    let Some(specs) = &spec.collections else {
        return Ok(None);
    };
    let mut mistakes = Vec::new();
    let mut collections: Vec<(Arc<Collection>, &CollectionSpec)> = Vec::new();
    for (name, spec) in specs.value.iter() {
        let collection = read(name, &spec.value, &mut mistakes);
        if let Some((first, _)) = collections.iter().find(|(known, _)| known.path == collection.path) {
            let message = format!("{} is already the path of `{}`", collection.path, first.name);
            mistakes.push(Diagnostic::error(name.span, message));
        }
        collections.push((Arc::new(collection), &spec.value));
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let place = spec.store.as_ref().map_or(context.place, |store| store.span);
    let file = match &context.store {
        Store::Memory => "the store".to_owned(),
        Store::File(path) => path.display().to_string(),
    };
    let unusable = |error: &dyn std::fmt::Display| vec![Diagnostic::error(place, format!("{file}: {error}"))];
    let database = Database::open(&context.store).map_err(|error| unusable(&error))?;
    for (collection, spec) in &collections {
        let rows: Vec<_> = spec.rows.iter().map(|row| row.value.clone()).collect();
        let generate = spec.generate.as_ref().map_or(0, |generate| generate.value);
        let prepared = database.now(|connection| rows::prepare(connection, collection, rows, generate, context.seed));
        prepared.map_err(|error| match error {
            PrepareError::Row(index, problem) => {
                let span = spec.rows.get(index).map_or(place, |row| row.span);
                vec![Diagnostic::error(span, format!("the row is not valid: {problem}"))]
            }
            other => unusable(&other),
        })?;
    }
    let collections = collections.into_iter().map(|(collection, _)| collection).collect();
    Ok(Some(Box::new(Collections { database, collections })))
}

fn read(name: &Spanned<String>, spec: &CollectionSpec, mistakes: &mut Vec<Diagnostic>) -> Collection {
    let reserved = ["sqlite_", "squall_"]
        .iter()
        .any(|start| name.value.to_ascii_lowercase().starts_with(start));
    if !is_name(&name.value) || reserved {
        let help = "use at most 64 letters, digits, `_` and `-`, starting with a letter";
        let message = format!("`{}` is not a valid collection name", name.value);
        mistakes.push(Diagnostic::error(name.span, message).help(help));
    }
    let path = match &spec.path {
        Some(path) => {
            let plain = |character: char| character.is_ascii_graphic() && !"{}?#%\\".contains(character);
            if !path.value.starts_with('/') || path.value.len() < 2 || !path.value.chars().all(plain) {
                let message = format!("`{}` is not a valid collection path", path.value);
                mistakes.push(Diagnostic::error(path.span, message).help("use a path such as /api/products"));
            }
            path.value.trim_end_matches('/').to_owned()
        }
        None => format!("/{}", name.value),
    };
    let fields: Vec<_> = spec
        .fields
        .iter()
        .flat_map(|fields| fields.iter())
        .map(|(name, field)| Field::read(name, &field.value.0, mistakes))
        .collect();
    let collection = Collection {
        name: name.value.clone(),
        path,
        id: spec.id.as_ref().map(|id| id.value).unwrap_or_default(),
        additional: spec
            .additional
            .as_ref()
            .map_or(spec.fields.is_none(), |additional| additional.value),
        fields,
        page: page(spec, mistakes),
        envelope: spec.envelope.as_ref().map(|key| key.value.clone()),
    };
    if let Some(generate) = spec
        .generate
        .as_ref()
        .filter(|generate| generate.value > GENERATE_LIMIT)
    {
        mistakes.push(Diagnostic::error(
            generate.span,
            "at most 100,000 rows can be generated",
        ));
    }
    let taken = ["total", "page", "size", "pages"];
    if let Some(key) = spec.envelope.as_ref().filter(|key| taken.contains(&key.value.as_str())) {
        mistakes.push(Diagnostic::error(
            key.span,
            format!("`{}` is already a key of the envelope: use another name", key.value),
        ));
    }
    for row in &spec.rows {
        let mut copy = row.value.clone();
        let Some(map) = copy.as_object_mut() else {
            mistakes.push(Diagnostic::error(row.span, "a row must be a map"));
            continue;
        };
        let given = map.remove("id");
        let mut problems = collection.complete(map);
        problems.extend(given.and_then(|id| collection.id_problem(&id)));
        let message = |problem: RowProblem| match problem.field.as_str() {
            "" => problem.message,
            field => format!("`{field}` {}", problem.message),
        };
        let problems = problems.into_iter();
        mistakes.extend(problems.map(|problem| Diagnostic::error(row.span, message(problem))));
    }
    collection
}

fn page(spec: &CollectionSpec, mistakes: &mut Vec<Diagnostic>) -> (u32, u32) {
    let Some(page) = &spec.page else {
        return (DEFAULT_PAGE, DEFAULT_PAGE);
    };
    let max = page.value.max.as_ref().map_or(100, |max| max.value);
    let size = page.value.size.as_ref().map_or(20, |size| size.value);
    let bounds = [(&page.value.size, size), (&page.value.max, max)];
    for (given, value) in bounds {
        if !(1..=PAGE_LIMIT).contains(&value) {
            let span = given.as_ref().map_or(page.span, |given| given.span);
            mistakes.push(Diagnostic::error(span, "a page must have 1 to 10,000 rows"));
        }
    }
    // A `max` alone may be lower than the default size; a size that was written may not be higher than the `max` in force.
    if let Some(given) = page.value.size.as_ref().filter(|_| size > max) {
        let message = format!("the size {size} is greater than the max {max}");
        mistakes.push(Diagnostic::error(given.span, message));
    }
    (size.min(max), max)
}

impl Collection {
    /// Adds defaults to a row without its `id`, and says what is wrong with it then.
    fn complete(&self, row: &mut Map<String, Value>) -> Vec<RowProblem> {
        self.add_defaults(row);
        self.problems(row)
    }

    fn add_defaults(&self, row: &mut Map<String, Value>) {
        for field in &self.fields {
            if let Some(default) = &field.default {
                row.entry(&field.name).or_insert_with(|| default.clone());
            }
        }
    }

    /// What is wrong with a row without its `id`.
    fn problems(&self, row: &Map<String, Value>) -> Vec<RowProblem> {
        let declared = self.fields.iter().filter_map(|field| match row.get(&field.name) {
            Some(value) => field
                .problem(value)
                .map(|problem| RowProblem::new(&field.name, problem)),
            None => field.required.then(|| RowProblem::new(&field.name, "is missing")),
        });
        let unknown = row.keys().filter(|key| !self.additional && self.field(key).is_none());
        let unknown = unknown.map(|key| RowProblem::new(key, "is not a field of this collection"));
        declared.chain(unknown).take(100).collect()
    }

    /// Its routes, for the page at `/`.
    fn rows(&self) -> [Row; 2] {
        let fields: Vec<_> = self.fields.iter().map(|field| field.name.as_str()).collect();
        let row = |method: &str, path: String, summary: String, parameters: &str, example: String| Row {
            method: method.to_owned(),
            path,
            summary,
            parameters: parameters.to_owned(),
            example,
        };
        let (name, path) = (&self.name, &self.path);
        let with = match fields.as_slice() {
            [] => String::new(),
            fields => format!(", with {}", fields.join(", ")),
        };
        let summary = format!("the rows of {name}{with}; POST adds one");
        let queries = "a field=value, sort, page, size, offset";
        let one = format!("{path}/1");
        [
            row("GET, POST", path.clone(), summary, queries, path.clone()),
            row(
                "GET, PUT, PATCH, DELETE",
                format!("{path}/{{id}}"),
                format!("one row of {name}"),
                "",
                one,
            ),
        ]
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    fn id_problem(&self, id: &Value) -> Option<RowProblem> {
        let text = id.as_str().unwrap_or_default();
        let (fits, wanted) = match self.id {
            IdKind::Integer => (
                id.as_i64().is_some_and(|id| (1..1 << 53).contains(&id)),
                "must be an integer from 1 to 2^53",
            ),
            IdKind::Uuid => (uuid::Uuid::try_parse(text).is_ok(), "must be a UUID"),
            IdKind::String => ((1..=200).contains(&text.len()), "must be a string of 1 to 200 bytes"),
        };
        (!fits).then(|| RowProblem::new("id", wanted))
    }

    /// The `id` that a path names, if it could be one.
    fn id_of(&self, segment: &str) -> Option<Value> {
        let text = decode_path(segment);
        match self.id {
            IdKind::Integer => text
                .parse::<i64>()
                .ok()
                .filter(|id| id.to_string() == text)
                .map(Value::from),
            IdKind::Uuid => uuid::Uuid::try_parse(&text).ok().map(|id| Value::from(id.to_string())),
            IdKind::String => Some(Value::from(text)),
        }
    }
}

/// All collections of a fake.
struct Collections {
    database: Database,
    collections: Vec<Arc<Collection>>,
}

/// What a path names.
enum PathTarget {
    List,
    One(String),
}

#[async_trait]
impl Source for Collections {
    fn takes_all(&self) -> bool {
        true
    }

    fn rows(&self) -> Vec<Row> {
        self.collections.iter().flat_map(|one| one.rows()).collect()
    }

    async fn answer(&self, request: Request) -> Outcome {
        let path = request.uri().path();
        let found = self
            .collections
            .iter()
            .find_map(|one| Some((Arc::clone(one), place(&one.path, path)?)));
        let Some((collection, place)) = found else {
            return Outcome::Passed(request, Vec::new());
        };
        let allowed: &[Method] = match place {
            PathTarget::List => &[Method::GET, Method::HEAD, Method::POST, Method::OPTIONS],
            PathTarget::One(_) => &[
                Method::GET,
                Method::HEAD,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
                Method::OPTIONS,
            ],
        };
        if !allowed.contains(request.method()) {
            return Outcome::Passed(request, allowed.to_vec());
        }
        let (head, body) = request.into_parts();
        if head.method == Method::OPTIONS {
            return Outcome::Answered(options(allowed, &place));
        }
        let response = self.respond(collection, place, head, body).await;
        Outcome::Answered(response.unwrap_or_else(|error| unavailable(&error)))
    }
}

fn place(of: &str, path: &str) -> Option<PathTarget> {
    match path.strip_prefix(of)? {
        "" | "/" => Some(PathTarget::List),
        rest => {
            let segment = rest.strip_prefix('/')?;
            let segment = segment.strip_suffix('/').unwrap_or(segment);
            (!segment.contains('/')).then(|| PathTarget::One(segment.to_owned()))
        }
    }
}

fn options(allowed: &[Method], place: &PathTarget) -> Response {
    let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
    let response = with_field(StatusCode::NO_CONTENT.into_response(), ALLOW, &names.join(", "));
    match place {
        PathTarget::List => response,
        PathTarget::One(_) => {
            let types = "application/merge-patch+json, application/json";
            with_field(response, ACCEPT_PATCH, types)
        }
    }
}

fn unavailable(error: &StoreError) -> Response {
    let status = match error {
        StoreError::Full => StatusCode::INSUFFICIENT_STORAGE,
        StoreError::Sqlite(_) | StoreError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
    };
    failure(status, &error.to_string())
}

fn refused(status: StatusCode, message: &str, problems: &[RowProblem]) -> Response {
    json_reply(status, &json!({ "error": message, "problems": problems }))
}

impl Collections {
    async fn respond(
        &self,
        collection: Arc<Collection>,
        place: PathTarget,
        head: Parts,
        body: axum::body::Body,
    ) -> Result<Response, StoreError> {
        let id = match place {
            PathTarget::List if head.method == Method::POST => None,
            PathTarget::List => return self.list(collection, head.uri.query().unwrap_or("")).await,
            PathTarget::One(segment) => match collection.id_of(&segment) {
                Some(id) => Some(id),
                None => return Ok(response_to(&collection, Done::Missing)),
            },
        };
        let change = match (&head.method, id) {
            (&Method::GET | &Method::HEAD, Some(id)) => return self.one(collection, id, &head.headers).await,
            (&Method::DELETE, Some(id)) => Change::Delete(id),
            (method, id) => {
                let row = match row(&head, body, *method == Method::PATCH).await {
                    Ok(row) => row,
                    Err(refusal) => return Ok(refusal),
                };
                match id {
                    None => Change::Create(row),
                    Some(id) if *method == Method::PATCH => Change::Merge(id, row),
                    Some(id) => Change::Replace(id, row),
                }
            }
        };
        let wanted = tags(&head.headers, &IF_MATCH);
        let shape = Arc::clone(&collection);
        let work = move |connection: &mut _| rows::change(connection, &shape, change, wanted.as_deref());
        let done = self.database.run(work).await?;
        Ok(response_to(&collection, done))
    }

    async fn one(&self, collection: Arc<Collection>, id: Value, headers: &HeaderMap) -> Result<Response, StoreError> {
        let shape = Arc::clone(&collection);
        let found = self
            .database
            .run(move |connection| rows::find(connection, &shape, &id))
            .await?;
        let Some(text) = found else {
            return Ok(response_to(&collection, Done::Missing));
        };
        let tag = rows::tag(&text);
        let known = tags(headers, &IF_NONE_MATCH);
        if known.is_some_and(|known| rows::has_tag(&known, &tag, true)) {
            return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
        }
        Ok(with_field(json_text(StatusCode::OK, text), ETAG, &tag))
    }

    async fn list(&self, collection: Arc<Collection>, query: &str) -> Result<Response, StoreError> {
        let listing = match Listing::read(&collection, query) {
            Ok(listing) => listing,
            Err(problems) => {
                return Ok(refused(StatusCode::BAD_REQUEST, "the query is not valid", &problems));
            }
        };
        let shape = Arc::clone(&collection);
        let work = move |connection: &mut _| {
            let page = listing.run(connection, &shape)?;
            Ok((listing, page))
        };
        let (listing, page) = self.database.run(work).await?;
        let Some(rows) = page.rows else {
            let message = "the page is larger than 16 MiB: use a smaller `size`";
            return Ok(failure(StatusCode::BAD_REQUEST, message));
        };
        let text = match &collection.envelope {
            None => rows,
            Some(key) => listing.envelope(key, &rows, page.total),
        };
        let response = with_field(json_text(StatusCode::OK, text), TOTAL, &page.total.to_string());
        let links = listing.links(&collection.path, page.total);
        Ok(with_field(response, LINK, &links))
    }
}

/// The row in a request's body.
async fn row(head: &Parts, body: axum::body::Body, patch: bool) -> Result<Map<String, Value>, Response> {
    let media_type = head
        .headers
        .get(CONTENT_TYPE)
        .map(|value| value.to_str().unwrap_or_default());
    let essence = media_type.map(essence);
    let fits = essence.as_deref().is_none_or(|essence| match essence {
        "application/json" | "text/json" => true,
        // RFC 6902's patches are lists of steps: taken for a row, they would do harm.
        "application/json-patch+json" => false,
        "application/merge-patch+json" => patch,
        other => other.ends_with("+json"),
    });
    if !fits {
        let message = format!("the body must be application/json, not {}", essence.unwrap_or_default());
        return Err(failure(StatusCode::UNSUPPORTED_MEDIA_TYPE, &message));
    }
    let bytes = read_json_body(&head.extensions, body, BODY_LIMIT)
        .await
        .map_err(|error| error.response(BODY_LIMIT))?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(row)) => Ok(row),
        Ok(_) => {
            let problem = RowProblem::new("", "must be an object");
            Err(refused(
                StatusCode::UNPROCESSABLE_ENTITY,
                "the row is not valid",
                &[problem],
            ))
        }
        Err(error) => Err(failure(
            StatusCode::BAD_REQUEST,
            &format!("the body is not valid JSON: {error}"),
        )),
    }
}

/// The entity tags of a field, all its lines together.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Vec<_> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    headers.contains_key(name).then(|| lines.join(","))
}

/// A row, with the entity tag of its version.
fn tagged(status: StatusCode, text: String) -> Response {
    let tag = rows::tag(&text);
    with_field(json_text(status, text), ETAG, &tag)
}

fn response_to(collection: &Collection, done: Done) -> Response {
    match done {
        Done::Created(id, text) => {
            let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            let place = format!("{}/{}", collection.path, utf8_percent_encode(&id, SEGMENT));
            with_field(tagged(StatusCode::CREATED, text), LOCATION, &place)
        }
        Done::Changed(text) => tagged(StatusCode::OK, text),
        Done::Deleted => StatusCode::NO_CONTENT.into_response(),
        Done::Missing => failure(
            StatusCode::NOT_FOUND,
            &format!("{} does not have this row", collection.name),
        ),
        Done::Other => failure(
            StatusCode::PRECONDITION_FAILED,
            "the row's version does not match If-Match",
        ),
        Done::Unfit(problems) => refused(StatusCode::UNPROCESSABLE_ENTITY, "the row is not valid", &problems),
        Done::Taken(problems) => refused(StatusCode::CONFLICT, "another row already has this value", &problems),
    }
}

/// What a segment of a path may hold unencoded (RFC 3986, section 2.3).
const SEGMENT: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
