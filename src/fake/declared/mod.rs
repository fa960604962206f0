//! Fakes that the configuration declares: routes, collections of rows, an OpenAPI document, a recording.
//!
//! Each of these is a `Source`. A request goes to one after the other until one answers it.

mod collections;
pub(super) mod files;
mod har;
mod openapi;
mod routes;
pub mod spec;

pub use self::routes::injected::{FakeTemplates, TEMPLATES};

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};

use super::page::{Row, page};
use super::reply::{self, Address};
use super::spec::FakeSpec;
use crate::fake::context::Context;
use crate::yaml::report::{Diagnostic, Span};

/// Where responses come from.
#[async_trait]
trait Source: Send + Sync {
    /// Answers a request, or gives it back.
    async fn answer(&self, request: Request) -> Outcome;

    /// What it answers, for the page at `/`.
    fn rows(&self) -> Vec<Row> {
        Vec::new()
    }
}

/// An extension of a request that is given back: so many routes have its path and method, and conditions that do not hold.
#[derive(Clone, Copy)]
struct NearMiss(usize);

/// What a source makes of a request.
enum Outcome {
    /// This is the response.
    Answered(Response),
    /// The path is not this source's; or it is, but only with these methods.
    Passed(Request, Vec<Method>),
}

/// What building one kind of source gives: the source if any is declared, or all that is wrong with it.
type Built = Result<Option<Box<dyn Source>>, Vec<Diagnostic>>;

/// All sources of one fake, in the order in which they are asked.
type Sources = Arc<Vec<Box<dyn Source>>>;

/// A result, whose error becomes a mistake at `span`.
fn noted<T>(result: Result<T, String>, span: Span, mistakes: &mut Vec<Diagnostic>) -> Option<T> {
    result
        .map_err(|message| mistakes.push(Diagnostic::error(span, message)))
        .ok()
}

/// Builds a declared fake.
///
/// # Errors
/// All that is wrong with what is declared, each at its place.
pub(super) fn router(spec: &FakeSpec, context: &Context<'_>) -> Result<Router, Vec<Diagnostic>> {
    let parts = [
        routes::source(spec, context),
        collections::source(spec, context),
        har::source(spec, context),
        openapi::source(spec, context),
    ];
    let mut sources = Vec::new();
    let mut mistakes = Vec::new();
    for part in parts {
        match part {
            Ok(source) => sources.extend(source),
            Err(more) => mistakes.extend(more),
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let sources: Sources = Arc::new(sources);
    Ok(Router::new().fallback(answer).with_state(sources))
}

async fn answer(State(sources): State<Sources>, request: Request) -> Response {
    let method = request.method().clone();
    bodiless_for_head(&method, ask_all(&sources, request).await)
}

async fn ask_all(sources: &Sources, mut request: Request) -> Response {
    let mut allowed: Vec<Method> = Vec::new();
    for source in sources.iter() {
        match source.answer(request).await {
            Outcome::Answered(response) => return response,
            Outcome::Passed(back, methods) => {
                request = back;
                allowed.extend(methods);
            }
        }
    }
    let what = format!("{} {}", request.method(), request.uri().path());
    if allowed.is_empty() {
        if request.uri().path() == "/" && matches!(*request.method(), Method::GET | Method::HEAD) {
            return overview(sources, &Address::of(&request.into_parts().0));
        }
        let error = match request.extensions().get::<NearMiss>() {
            None => format!("the fake has no route for {what}"),
            Some(NearMiss(1)) => format!("the route for {what} does not match"),
            Some(NearMiss(routes)) => format!("none of the {routes} routes for {what} matches"),
        };
        return reply::error(StatusCode::NOT_FOUND, &error);
    }
    allowed.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    allowed.dedup();
    let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
    let names = names.join(", ");
    let response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let error = format!("the fake has no route for {what}, only for {names}");
        reply::error(StatusCode::METHOD_NOT_ALLOWED, &error)
    };
    reply::with_field(response, header::ALLOW, &names)
}

/// The page at `/`, where nothing else is declared there.
fn overview(sources: &Sources, address: &Address) -> Response {
    let rows: Vec<_> = sources.iter().flat_map(|source| source.rows()).collect();
    let introduction = "<p>A fake upstream, declared in the configuration.</p>";
    page("A declared fake", introduction, &rows, address)
}

/// The response to HEAD is that to GET without its body, whose length stays as a field (RFC 9110, section 9.3.2).
fn bodiless_for_head(method: &Method, response: Response) -> Response {
    if method != Method::HEAD {
        return response;
    }
    let (mut head, body) = response.into_parts();
    if let Some(length) = http_body::Body::size_hint(&body).exact() {
        head.headers
            .entry(header::CONTENT_LENGTH)
            .or_insert_with(|| length.into());
    }
    Response::from_parts(head, Body::empty())
}
