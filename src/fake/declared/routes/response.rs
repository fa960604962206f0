//! One response of a route: status, header fields and a body.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, StatusCode};
use minijinja::Environment;
use serde_json::{Value, json};

use super::super::noted;
use super::facts::{Facts, Luck};
use super::page::{PageResponse, PagedList};
use super::spec::{FileSpec, ResponseSpec, StatusSpec};
use super::stream::{Script, bytes};
use super::template::{Compiler, Failure, Scope, Template};
use super::tree::{Node, Tree};
use crate::fault::answer::ResponseStatus;
use crate::fault::content::type_of;
use crate::files;
use crate::limits::aside::{self, Aborted};
use crate::yaml::decode::{Named, Spanned};
use crate::yaml::report::{Diagnostic, Span};

/// With request bodies of at least this many bytes, any template may take long.
const LARGE_BODY: usize = 64 << 10;

/// What a response is compiled with.
pub(super) struct ResponseContext<'a> {
    /// Where relative paths start.
    pub(super) folder: &'a Path,
    pub(super) seed: u64,
    /// The route's name.
    pub(super) route: &'a str,
    /// Where the response is written.
    pub(super) span: Span,
}

/// A compiled response.
#[derive(Debug)]
pub(super) struct RouteResponse {
    status: Status,
    headers: Vec<(HeaderName, Template)>,
    content: ResponseBody,
    /// Whether one of its templates may be long.
    long: bool,
    /// How long until it begins.
    pub(super) delay: Duration,
}

#[derive(Debug)]
enum Status {
    Fixed(StatusCode),
    Template(Template),
}

#[derive(Debug)]
enum ResponseBody {
    Empty,
    Text(&'static str, Template),
    Json(Node),
    Bytes(&'static str, Bytes),
    Page(Box<PagedList>),
    Stream(Arc<Script>),
}

/// Reads a file of at most [`files::MAX_BYTES`].
pub(super) fn read_file(folder: &Path, file: &str) -> Result<Vec<u8>, String> {
    let path = folder.join(file);
    files::read(&path, files::MAX_BYTES).map_err(|error| format!("can't read `{}`: {error}", path.display()))
}

/// A status that a response may have.
pub(super) fn status(number: i64) -> Result<StatusCode, String> {
    ResponseStatus::try_from(number).map(ResponseStatus::get)
}

impl RouteResponse {
    /// Compiles a response.
    pub(super) fn compile(
        spec: ResponseSpec<'_>,
        place: &ResponseContext<'_>,
        compiler: &mut Compiler<'_>,
    ) -> Option<Self> {
        compiler.take_long();
        let content = content(spec, place, compiler);
        let status = match spec.status {
            None => Status::Fixed(StatusCode::OK),
            Some(written) => match &written.value {
                StatusSpec::Template(text) => Status::Template(compiler.text(text, written.span)),
                StatusSpec::Number(number) => Status::Fixed(noted(status(*number), written.span, compiler.mistakes)?),
            },
        };
        if let (Status::Fixed(status @ (StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)), Some(written)) =
            (&status, spec.status)
            && !matches!(content, None | Some(ResponseBody::Empty))
        {
            // RFC 9110, sections 15.3.5 and 15.4.5.
            let message = format!("a response with status {} can't have a body", status.as_u16());
            compiler.mistakes.push(Diagnostic::error(written.span, message));
        }
        let headers = headers(spec.headers, compiler);
        Some(Self {
            status,
            headers,
            content: content?,
            long: compiler.take_long(),
            delay: spec.delay.map_or(Duration::ZERO, |delay| delay.value.get()),
        })
    }

    /// An error in JSON.
    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        Self {
            status: Status::Fixed(status),
            headers: Vec::new(),
            content: ResponseBody::Json(Node::Fixed(json!({ "error": message }))),
            long: false,
            delay: Duration::ZERO,
        }
    }

    /// What it is, in a few words.
    pub(super) fn summary(&self) -> &'static str {
        match &self.content {
            ResponseBody::Empty => "no body",
            ResponseBody::Text(..) => "text",
            ResponseBody::Json(_) => "JSON",
            ResponseBody::Bytes(..) => "a file",
            ResponseBody::Page(_) => "a list in pages",
            ResponseBody::Stream(script) if script.kind == "text/event-stream" => "server-sent events",
            ResponseBody::Stream(_) => "a body in pieces",
        }
    }

    /// The response to a request. One that may take long is made off the threads that carry traffic.
    pub(super) async fn respond(
        self: &Arc<Self>,
        env: &Arc<Environment<'static>>,
        facts: &Arc<Facts>,
        luck: &Arc<Luck>,
    ) -> Result<Response, Failure> {
        if !self.long && facts.body.len() < LARGE_BODY {
            return self.made(env, facts, luck);
        }
        let (response, env) = (Arc::clone(self), Arc::clone(env));
        let (facts, luck) = (Arc::clone(facts), Arc::clone(luck));
        let made = aside::run(move || response.made(&env, &facts, &luck)).await;
        made.unwrap_or_else(|Aborted| Err(Failure("the response could not be made".into())))
    }

    fn made(&self, env: &Arc<Environment<'static>>, facts: &Arc<Facts>, luck: &Arc<Luck>) -> Result<Response, Failure> {
        let scope = Scope::new(env, facts, luck, Vec::new());
        let mut status = self.status(&scope)?;
        let mut response = Response::new(Body::empty());
        let (kind, body) = match &self.content {
            ResponseBody::Empty => (None, Body::empty()),
            ResponseBody::Text(kind, template) => (Some(*kind), Body::from(scope.text(template)?)),
            ResponseBody::Json(node) => (Some("application/json"), Body::from(node.value(&scope)?.to_string())),
            ResponseBody::Bytes(kind, bytes) => (Some(*kind), Body::from(bytes.clone())),
            ResponseBody::Stream(script) => (Some(script.kind), script.body(env, facts, luck)),
            ResponseBody::Page(page) => match page.answer(&scope)? {
                PageResponse::Page(body, fields) => {
                    for (name, value) in fields {
                        response.headers_mut().insert(name, field_value(&value)?);
                    }
                    (Some("application/json"), Body::from(body.to_string()))
                }
                PageResponse::Refused(message) => {
                    status = StatusCode::BAD_REQUEST;
                    (
                        Some("application/json"),
                        Body::from(json!({ "error": message }).to_string()),
                    )
                }
            },
        };
        if !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            *response.body_mut() = body;
            if let Some(kind) = kind {
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            }
        }
        if kind == Some("text/event-stream") {
            response
                .headers_mut()
                .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        *response.status_mut() = status;
        self.add_headers(&scope, &mut response)?;
        Ok(response)
    }

    fn status(&self, scope: &Scope<'_>) -> Result<StatusCode, Failure> {
        let template = match &self.status {
            Status::Fixed(status) => return Ok(*status),
            Status::Template(template) => template,
        };
        let text = scope.text(template)?;
        let number = text
            .trim()
            .parse()
            .map_err(|_| Failure(format!("`{text}` is not a valid status")))?;
        status(number).map_err(Failure)
    }

    /// A field that is declared replaces the one that the body brings along.
    fn add_headers(&self, scope: &Scope<'_>, response: &mut Response) -> Result<(), Failure> {
        let mut previous: Option<&HeaderName> = None;
        for (name, template) in &self.headers {
            let value = field_value(&scope.text(template)?)?;
            if previous == Some(name) {
                response.headers_mut().append(name, value);
            } else {
                response.headers_mut().insert(name, value);
            }
            previous = Some(name);
        }
        Ok(())
    }
}

fn field_value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| Failure(format!("{text:?} is not a valid header value")))
}

fn headers(given: Option<&Named<Spanned<Tree>>>, compiler: &mut Compiler<'_>) -> Vec<(HeaderName, Template)> {
    let mut headers = Vec::new();
    for (written, tree) in given.into_iter().flat_map(Named::iter) {
        let Ok(name) = HeaderName::from_bytes(written.value.as_bytes()) else {
            let message = format!("`{}` is not a valid header name (RFC 9110, section 5.1)", written.value);
            compiler.mistakes.push(Diagnostic::error(written.span, message));
            continue;
        };
        if name == CONTENT_LENGTH || name == TRANSFER_ENCODING {
            let message = format!("`{name}` can't be set: it follows from the body");
            let mistake = Diagnostic::error(written.span, message);
            compiler
                .mistakes
                .push(mistake.help("to cut a response short, use a rule with `truncate`"));
            continue;
        }
        let one = std::slice::from_ref(tree);
        let values = match &tree.value {
            Tree::List(list) => list.as_slice(),
            _ => one,
        };
        for value in values {
            headers.extend(header(&value.value, value.span, compiler).map(|template| (name.clone(), template)));
        }
    }
    headers
}

fn header(tree: &Tree, span: Span, compiler: &mut Compiler<'_>) -> Option<Template> {
    let template = match tree {
        Tree::Text(text) => compiler.text(text, span),
        Tree::Plain(value @ (Value::Number(_) | Value::Bool(_))) => compiler.text(&value.to_string(), span),
        _ => {
            let mistake = Diagnostic::error(span, "a header value must be a string");
            compiler.mistakes.push(mistake);
            return None;
        }
    };
    match &template {
        Template::Fixed(text) if field_value(text).is_err() => {
            compiler.mistakes.push(Diagnostic::error(
                span,
                "a header value can't contain line breaks or control characters",
            ));
            None
        }
        _ => Some(template),
    }
}

/// The one body that is given; `None` if it is wrong.
fn content(spec: ResponseSpec<'_>, place: &ResponseContext<'_>, compiler: &mut Compiler<'_>) -> Option<ResponseBody> {
    let mut given = spec.bodies();
    if let (Some((first, at)), Some((second, span))) = (given.next(), given.next()) {
        let message = format!("`{first}` can't be combined with `{second}`: give one body");
        let mistake = Diagnostic::error(span, message).also(at, "the first is here");
        compiler
            .mistakes
            .push(mistake.help("give one of `body`, `json`, `base64`, `file`, `page`, `events` and `chunks`"));
        return None;
    }
    Some(if let Some(body) = spec.body {
        ResponseBody::Text("text/plain; charset=utf-8", compiler.text(&body.value, body.span))
    } else if let Some(tree) = spec.json {
        ResponseBody::Json(Node::compile(&tree.value, tree.span, compiler))
    } else if let Some(text) = spec.base64 {
        ResponseBody::Bytes("application/octet-stream", bytes(text, compiler)?)
    } else if let Some(file) = spec.file {
        self::file(file, place, compiler)?
    } else if let Some(page) = spec.page {
        let page = PagedList::compile(page, compiler, place.folder, place.seed, place.route)?;
        ResponseBody::Page(Box::new(page))
    } else if let Some(events) = spec.events {
        ResponseBody::Stream(Arc::new(Script::events(events, compiler)))
    } else if let Some(chunks) = spec.chunks {
        ResponseBody::Stream(Arc::new(Script::chunks(chunks, compiler)))
    } else {
        ResponseBody::Empty
    })
}

fn file(spec: &Spanned<FileSpec>, place: &ResponseContext<'_>, compiler: &mut Compiler<'_>) -> Option<ResponseBody> {
    let file = &spec.value.0;
    let kind = type_of(&file.path);
    let bytes = noted(read_file(place.folder, &file.path), spec.span, compiler.mistakes)?;
    if !file.template {
        return Some(ResponseBody::Bytes(kind, bytes.into()));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| format!("`{}` is not valid UTF-8, so it can't be a template", file.path));
    let text = noted(text, spec.span, compiler.mistakes)?;
    Some(ResponseBody::Text(kind, compiler.text(&text, spec.span)))
}
