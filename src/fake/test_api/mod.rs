//! `test-api`: the Test API of April 2019, made "to simulate long waits", with todos, users and made-up people.
//!
//! Statuses, bodies to the byte, and oddities are the original's, with one exception: `delay` really waits, where the
//! original mostly forgot to. Rows live in SQLite (`store`) and are generated from the seed (`data`): 21 todos, all
//! complete, and 639 users, 637 of them inactive.
//!
//! With `version: later`, a todo or user that is not there is a 404, and the list of users takes `qty` (1 to 500) and
//! `offset`, as in the original's later versions; in 2019, unknown parameters make no difference.
//!
//! Additions to the original: a body over 1 MiB gets a 413, a full store a 507, and a 405 says
//! which methods are allowed (RFC 9110, section 15.5.6).

mod data;
mod dates;
mod docs;
mod route;
mod rows;
mod store;
mod todos;
mod users;
mod validate;

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, LOCATION};
use http::{Extensions, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use self::route::{ApiRoute, RouteMatch};
use self::store::Tables;
use self::validate::{Problems, QueryParameters};
use super::spec::{FakeSpec, Version};
use super::store::StoreError;
use crate::fake::context::{Context, Store};
use crate::fake::reply::{Address, BodyError, json as json_reply, json_text, read_json_body, with_field};
use crate::yaml::report::Diagnostic;

/// The longest request body that is read, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

/// What `delay` may be, in seconds.
const DELAY_SECONDS: RangeInclusive<i64> = 1..=10;

/// `/joke` came with a later version, which allowed more.
const JOKE_DELAY_SECONDS: RangeInclusive<i64> = 1..=121;

/// What `/information` says of the original.
const INFORMATION: &str = concat!(
    r#"{"urls":{"OpenAPI_URL":"http://localhost:5000/docs","ReDoc_URL":"http://localhost:5000/redoc"},"#,
    r#""environment":"dev","created_by":"Mike Ryan","website":"https://devsetgo.com/projects/test-api/","#,
    r#""licensing":{"type":"MIT","link":"https://github.com/devsetgo/test-api/blob/master/LICENSE"}}"#
);

/// One running fake.
#[derive(Debug)]
struct TestApi {
    seed: u64,
    version: Version,
    database: Arc<Tables>,
    /// How many people and jokes were made up so far: the next one's number.
    made_up: AtomicU64,
}

pub(super) fn router(spec: &FakeSpec, context: &Context<'_>) -> Result<Router, Vec<Diagnostic>> {
    let database = Tables::open(&context.store, context.seed).map_err(|error| {
        let place = match &context.store {
            Store::Memory => "in memory".to_owned(),
            Store::File(path) => path.display().to_string(),
        };
        let span = spec.store.as_ref().map_or(context.place, |store| store.span);
        vec![Diagnostic::error(
            span,
            format!("the fake's store {place} can't be used: {error}"),
        )]
    })?;
    let api = Arc::new(TestApi {
        seed: context.seed,
        version: spec
            .version
            .as_ref()
            .map_or(Version::TestApi2019, |version| version.value),
        database,
        made_up: AtomicU64::new(0),
    });
    Ok(Router::new().fallback(answer).with_state(api))
}

/// Answers every request. The paths are told apart in [`route`] rather than by axum, whose ideas about HEAD, trailing
/// slashes and encoded slashes are not the original's.
async fn answer(State(api): State<Arc<TestApi>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy();
    match route::find(&parts.method, &path) {
        RouteMatch::Nothing => not_found(),
        RouteMatch::WrongMethod { allow } => {
            let response = detail(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            with_field(response, ALLOW, allow)
        }
        RouteMatch::Route(ApiRoute::Docs) => docs::page(api.version, &Address::of(&parts)),
        RouteMatch::Route(route) => {
            let reply = answer_route(&api, route, QueryParameters::of(&parts.uri), (&parts.extensions, body)).await;
            reply.unwrap_or_else(IntoResponse::into_response)
        }
    }
}

/// A body, and the extensions of its request.
type UnreadBody<'a> = (&'a Extensions, Body);

async fn answer_route(
    api: &TestApi,
    route: ApiRoute<'_>,
    parameters: QueryParameters,
    body: UnreadBody<'_>,
) -> Result<Response, Rejection> {
    match route {
        ApiRoute::Root => Ok((StatusCode::FOUND, [(LOCATION, HeaderValue::from_static("/docs"))]).into_response()),
        ApiRoute::Information => Ok(json_text(StatusCode::OK, INFORMATION)),
        ApiRoute::Health => Ok(json_text(StatusCode::OK, r#"{"status":"UP"}"#)),
        ApiRoute::Docs => Ok(docs::page(api.version, &Address::default())),
        ApiRoute::OpenApi => Ok(docs::open_api(api.version)),
        ApiRoute::Joke => api.jokes(parameters).await,
        ApiRoute::SillyOne => api.silly_one(parameters).await,
        ApiRoute::SillyList => api.silly_list(parameters).await,
        ApiRoute::Todo(action) => rows::answer(api, &api.database.todos, action, parameters, body).await,
        ApiRoute::User(action) => rows::answer(api, &api.database.users, action, parameters, body).await,
    }
}

/// Replies that come from the seed alone.
impl TestApi {
    async fn silly_one(&self, mut parameters: QueryParameters) -> Result<Response, Rejection> {
        let delay = parameters.integer("delay", DELAY_SECONDS);
        let index = self.numbers(parameters, delay, 1).await?.start;
        Ok(json_reply(StatusCode::OK, &data::silly_user(self.seed, index)))
    }

    async fn silly_list(&self, mut parameters: QueryParameters) -> Result<Response, Rejection> {
        let quantity = parameters.required_integer("qty", 1..=1000);
        let delay = parameters.integer("delay", DELAY_SECONDS);
        let numbers = self.numbers(parameters, delay, quantity).await?;
        let people: Vec<_> = numbers.map(|i| data::silly_user(self.seed, i)).collect();
        Ok(json_reply(StatusCode::OK, &people))
    }

    async fn jokes(&self, mut parameters: QueryParameters) -> Result<Response, Rejection> {
        let quantity = parameters.integer("qty", 1..=10).unwrap_or(1);
        let delay = parameters.integer("delay", JOKE_DELAY_SECONDS);
        let numbers = self.numbers(parameters, delay, quantity).await?;
        let jokes: Vec<_> = numbers.map(|i| json!({ "Joke": data::joke(self.seed, i) })).collect();
        let reply = json!({ "PyJokes": jokes, "Credit": "https://pyjok.es/" });
        Ok(json_reply(StatusCode::OK, &reply))
    }

    /// Waits, and then takes the numbers of the next `quantity` made-up things.
    async fn numbers(
        &self,
        parameters: QueryParameters,
        delay: Option<i64>,
        quantity: i64,
    ) -> Result<Range<u64>, Rejection> {
        parameters.finish()?;
        wait(delay).await;
        let quantity = quantity.unsigned_abs();
        // Relaxed: numbers only have to differ.
        let first = self.made_up.fetch_add(quantity, Ordering::Relaxed);
        Ok(first..first.saturating_add(quantity))
    }
}

/// Waits for as many seconds as asked. A client that leaves meanwhile takes the whole request with it: a row that was
/// to be created is not.
async fn wait(delay: Option<i64>) {
    if let Some(seconds) = delay {
        tokio::time::sleep(Duration::from_secs(seconds.unsigned_abs())).await;
    }
}

/// The JSON in a body; `None` for an empty body.
async fn read_json((extensions, body): UnreadBody<'_>) -> Result<Option<Value>, Rejection> {
    let body = read_json_body(extensions, body, BODY_LIMIT)
        .await
        .map_err(Rejection::Body)?;
    if body.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&body).map(Some).map_err(|_| Rejection::NotJson)
}

/// An identifier of now.
fn new_identifier(seed: u64) -> String {
    uuid::Uuid::now_v1(&data::node(seed)).to_string()
}

/// `{"status":"<id> <done>"}`
fn status(id: &str, done: &str) -> Response {
    json_reply(StatusCode::OK, &json!({ "status": format!("{id} {done}") }))
}

/// `{"count":21}`
fn count(count: u32) -> Response {
    json_text(StatusCode::OK, format!("{{\"count\":{count}}}"))
}

fn not_found() -> Response {
    detail(StatusCode::NOT_FOUND, "Not Found")
}

fn detail(status: StatusCode, detail: &str) -> Response {
    json_reply(status, &json!({ "detail": detail }))
}

/// Why a request was not done.
#[derive(Debug)]
enum Rejection {
    Invalid(Problems),
    NotJson,
    Body(BodyError),
    Store(StoreError),
}

impl From<Problems> for Rejection {
    fn from(problems: Problems) -> Self {
        Self::Invalid(problems)
    }
}

impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        match self {
            Self::Invalid(problems) => json_reply(StatusCode::UNPROCESSABLE_ENTITY, &problems),
            Self::NotJson | Self::Body(BodyError::Broken) => {
                detail(StatusCode::BAD_REQUEST, "There was an error parsing the body")
            }
            Self::Body(error @ BodyError::Full) => detail(error.status(), BodyError::FULL),
            Self::Body(BodyError::TooLarge) => detail(StatusCode::PAYLOAD_TOO_LARGE, "The body is longer than 1 MiB"),
            Self::Store(error @ StoreError::Full) => detail(StatusCode::INSUFFICIENT_STORAGE, &error.to_string()),
            Self::Store(error) => {
                tracing::error!(%error, "test-api could not use its store");
                detail(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
            }
        }
    }
}

#[cfg(test)]
mod tests;
