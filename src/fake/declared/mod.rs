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

    /// Whether it answers every request for what it lists, so that no source after it is asked.
    fn takes_all(&self) -> bool {
        false
    }

    /// What the page at `/` is called, if it has a name.
    fn title(&self) -> Option<String> {
        None
    }

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
    let hidden = hidden(&sources);
    if !hidden.is_empty() {
        let message = format!("{} of the recording or the OpenAPI document", hidden.join("; "));
        let help = "routes are asked first, then collections, then the recording, and last the document";
        context.warn(Diagnostic::warning(context.place, message).help(help));
    }
    let sources: Sources = Arc::new(sources);
    Ok(Router::new().fallback(answer).with_state(sources))
}

/// The paths of which a collection hides what a source after it serves. Routes may stand before others on purpose.
fn hidden(sources: &[Box<dyn Source>]) -> Vec<String> {
    const NAMED_LIMIT: usize = 5;
    let shape = |path: &str| {
        let segments = path.split('/');
        let segments = segments.map(|segment| if segment.starts_with('{') { "{}" } else { segment });
        segments.collect::<Vec<_>>().join("/")
    };
    let mut hidden = Vec::new();
    for (index, first) in sources.iter().enumerate().filter(|(_, source)| source.takes_all()) {
        for row in first.rows() {
            let (path, methods) = (shape(&row.path), row.method.split(", ").collect::<Vec<_>>());
            let later = sources.iter().skip(index + 1).flat_map(|source| source.rows());
            let later = later.filter(|other| shape(&other.path) == path && methods.contains(&other.method.as_str()));
            let names: Vec<_> = later.map(|other| other.method).collect();
            if !names.is_empty() {
                hidden.push(format!("the collection at `{}` hides {}", row.path, names.join(", ")));
            }
        }
    }
    hidden.truncate(NAMED_LIMIT);
    hidden
}

async fn answer(State(sources): State<Sources>, request: Request) -> Response {
    let method = request.method().clone();
    let known = request.headers().get_all(header::IF_NONE_MATCH).iter();
    let known: Vec<_> = known.filter_map(|value| value.to_str().ok()).collect();
    let known = (!known.is_empty()).then(|| known.join(","));
    let response = ask_all(&sources, request).await;
    let response = match known {
        Some(known) if matches!(method, Method::GET | Method::HEAD) => unless_known(&known, response),
        _ => response,
    };
    bodiless_for_head(&method, response)
}

/// A response that the client has, by its entity tag, becomes a 304 (RFC 9110, section 13.1.2).
fn unless_known(known: &str, response: Response) -> Response {
    let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let same = tag.is_some_and(|tag| known.split(',').any(|one| one.trim() == "*" || bare(one) == bare(tag)));
    if !same || response.status() != StatusCode::OK {
        return response;
    }
    let (mut head, _) = response.into_parts();
    head.status = StatusCode::NOT_MODIFIED;
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
        head.headers.remove(name);
    }
    Response::from_parts(head, Body::empty())
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
    let title = sources.iter().find_map(|source| source.title());
    let title = title.as_deref().unwrap_or("A declared fake");
    page(title, "A fake upstream, declared in the configuration.", &rows, address)
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::Path;

    use tower::ServiceExt as _;

    use super::*;
    use crate::fake::context::Store;

    #[tokio::test]
    async fn what_a_collection_hides_is_a_warning_and_the_page_has_the_title_of_the_document() {
        let folder = tempfile::tempdir().unwrap();
        let document = r#"{"openapi": "3.0.3", "info": {"title": "Shop & Co", "version": "1"}, "paths": {
            "/u": {"get": {"responses": {}}, "put": {"responses": {}}}, "/u/{name}": {"get": {"responses": {}}},
            "/v": {"get": {"responses": {}}}}}"#;
        std::fs::write(folder.path().join("api.json"), document).unwrap();
        let spec: FakeSpec = crate::yaml::testing::read("{openapi: api.json, collections: {u: {}}}").unwrap();
        let context = Context {
            seed: 1,
            store: Store::Memory,
            folder: Path::new(folder.path()),
            place: Span::NOWHERE,
            warnings: RefCell::default(),
        };
        let router = router(&spec, &context).unwrap();
        let warnings = context.warnings.take();
        let expected = "the collection at `/u` hides GET; the collection at `/u/{id}` hides GET of the recording or the \
            OpenAPI document";
        assert_eq!(
            warnings.iter().map(|one| one.message.as_str()).collect::<Vec<_>>(),
            [expected]
        );
        let page = router.oneshot(Request::new(Body::empty())).await.unwrap();
        let page = axum::body::to_bytes(page.into_body(), 1 << 20).await.unwrap();
        let page = String::from_utf8(page.to_vec()).unwrap();
        assert!(page.contains("<title>Shop &amp; Co</title>"), "{page}");
        assert!(
            page.contains("the rows of u; POST adds one") && !page.contains("<p><p>"),
            "{page}"
        );
    }
}
