//! CORS: which pages of other origins may read what squall answers (Fetch, "CORS protocol").
//!
//! A browser shows a page of another origin the status and the fields of a response only if the response allows it, and asks
//! first, by a *preflight*, before it sends a request that a form could not send. Without that, an injected 503 looks to the
//! page like a network that is down.

pub mod origin;
pub mod refusal;
pub mod spec;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use self::origin::Origin;
use self::spec::{CorsSpec, FieldName, NaturalCors};

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// The fields with which squall says what it injected.
const OWN: [&str; 2] = ["squall-fault", "server-timing"];

/// Fields that pages look for in an answer, and may ask about where it lacks them.
const LOOKED_FOR: [&str; 2] = ["retry-after", "squall-fault"];

/// Fields that pages can always read (Fetch, "CORS-safelisted response-header name"), that they never can, and that only
/// concern caches and connections.
const NOT_EXPOSED: [&str; 18] = [
    "cache-control",
    "connection",
    "content-language",
    "content-length",
    "content-type",
    "expires",
    "keep-alive",
    "last-modified",
    "pragma",
    "proxy-authenticate",
    "proxy-connection",
    "set-cookie",
    "set-cookie2",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
];

/// Fields to add to a response head. Those that [supersede](supersedes) others take their place.
pub type Added = Vec<(HeaderName, HeaderValue)>;

/// Which pages of other origins may read responses, and what of them.
#[derive(Debug)]
pub struct Cors {
    origins: Vec<Origin>,
    credentials: bool,
    expose: Vec<HeaderName>,
    max_age: Option<HeaderValue>,
    natural: Option<NaturalCors>,
    warned: AtomicBool,
}

/// Whether a request is a preflight (Fetch, "CORS-preflight request").
pub fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether a field is one by which a preflight asks.
pub fn asks(name: &HeaderName) -> bool {
    name.as_str().starts_with("access-control-request-")
}

/// Whether a field of a response says what pages may do.
pub fn allows(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("access-control-") && !name.starts_with("access-control-request-")
}

/// Whether an added field takes the place of the response's own of that name, whose values it includes: what pages may read
/// stands in one field.
pub fn supersedes(name: &HeaderName) -> bool {
    *name == ACCESS_CONTROL_EXPOSE_HEADERS
}

impl Cors {
    /// Compiles what was typed.
    pub fn new(spec: &CorsSpec) -> Cors {
        let names = |names: &Vec<FieldName>| names.iter().map(|name| name.0.clone()).collect();
        Cors {
            origins: spec.origins.0.clone(),
            credentials: spec.credentials.unwrap_or(true),
            expose: spec.expose.as_ref().map(|expose| names(&expose.0)).unwrap_or_default(),
            max_age: spec.max_age.map(|age| age.get().as_secs().into()),
            natural: spec.natural,
            warned: AtomicBool::new(false),
        }
    }

    /// Whether the CORS of a real upstream is replaced.
    pub fn replaces(&self) -> bool {
        self.natural == Some(NaturalCors::Replace)
    }

    /// Whether the CORS fields of a fake's responses are replaced: those of a recording or of a declared route name the page of
    /// another day. They stay only where that is written.
    pub fn replaces_in_fakes(&self) -> bool {
        self.natural != Some(NaturalCors::Keep)
    }

    /// Whether nobody was warned yet that an upstream refuses pages.
    pub fn has_to_warn(&self) -> bool {
        !self.warned.load(Ordering::Relaxed)
    }

    /// Notes that somebody is warned. Returns true for the first one alone.
    pub fn warns(&self) -> bool {
        // Nothing else is read or written with it, so the order does not matter.
        !self.warned.swap(true, Ordering::Relaxed)
    }

    /// The request's origin, if its pages may read responses.
    pub fn allowed<'a>(&self, request: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let origin = request.get(ORIGIN)?;
        let text = origin.to_str().ok()?;
        self.origins.iter().any(|own| own.matches(text)).then_some(origin)
    }

    /// What a response of squall's own, or of a fake, lacks so that pages of the request's origin can read it. A response that
    /// names an allowed origin itself gets nothing.
    pub fn completes(&self, method: &Method, request: &HeaderMap, response: &HeaderMap) -> Added {
        let mut added = Added::new();
        if response.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            return added;
        }
        if !varies(response) {
            // Another origin gets other fields, or none: caches must not mix them up.
            added.push((VARY, HeaderValue::from_static("Origin")));
        }
        let Some(origin) = self.allowed(request) else {
            return added;
        };
        added.push((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
        if self.credentials {
            added.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE));
        }
        if is_preflight(method, request) {
            self.grant(request, &mut added);
        } else {
            let of_head = response.keys().filter(|name| is_exposed(name)).map(HeaderName::as_str);
            added.extend(self.exposing(response, LOOKED_FOR.into_iter().chain(of_head)));
        }
        added
    }

    /// What the natural response of a real upstream gets so that pages that may read it can read what squall added to it, and
    /// reach squall on a private network. Nothing else of it changes.
    pub fn adjusts(&self, method: &Method, request: &HeaderMap, response: &HeaderMap) -> Added {
        let mut added = Added::new();
        if !response.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) || self.allowed(request).is_none() {
            return added;
        }
        if is_preflight(method, request) {
            // The private network is squall's own, which the upstream knows nothing of.
            if request.contains_key(REQUEST_PRIVATE_NETWORK) && !response.contains_key(ALLOW_PRIVATE_NETWORK) {
                added.push((ALLOW_PRIVATE_NETWORK, TRUE));
            }
            return added;
        }
        added.extend(self.exposing(response, OWN.into_iter().filter(|name| response.contains_key(*name))));
        added
    }

    /// The field that exposes these fields and the configured ones beside those that a response exposes already, each once;
    /// `None` if there is nothing to add.
    fn exposing<'a>(
        &'a self,
        response: &'a HeaderMap,
        names: impl Iterator<Item = &'a str>,
    ) -> Option<(HeaderName, HeaderValue)> {
        let own = response.get_all(ACCESS_CONTROL_EXPOSE_HEADERS).iter();
        let own = own.filter_map(|value| value.to_str().ok());
        let own = own.flat_map(|value| value.split(',')).map(str::trim);
        let mut listed: Vec<&str> = own.filter(|name| !name.is_empty()).collect();
        let before = listed.len();
        for name in names.chain(self.expose.iter().map(HeaderName::as_str)) {
            if !listed.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                listed.push(name);
            }
        }
        let value = HeaderValue::try_from(listed.join(", ")).ok()?;
        (listed.len() > before).then_some((ACCESS_CONTROL_EXPOSE_HEADERS, value))
    }

    /// Grants everything that a preflight asks for.
    fn grant(&self, request: &HeaderMap, added: &mut Added) {
        for (asked, granted) in [
            (ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_ALLOW_METHODS),
            (ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_ALLOW_HEADERS),
        ] {
            let values = request.get_all(asked).iter();
            added.extend(values.map(|value| (granted.clone(), value.clone())));
        }
        if request.contains_key(REQUEST_PRIVATE_NETWORK) {
            added.push((ALLOW_PRIVATE_NETWORK, TRUE));
        }
        added.extend(self.max_age.iter().map(|age| (ACCESS_CONTROL_MAX_AGE, age.clone())));
    }

    /// A server that answers preflights, and nothing else.
    pub fn preflights(self: &Arc<Cors>) -> Router {
        let cors = Arc::clone(self);
        Router::new().fallback(async move |request: Request| cors.answer(&request))
    }

    /// A fake that answers preflights, and whose responses pages of other origins can read.
    pub fn around(self: Arc<Cors>, fake: Router) -> Router {
        fake.layer(middleware::from_fn_with_state(self, answer_or_complete))
    }

    fn answer(&self, request: &Request) -> Response {
        let mut response = match self.allowed(request.headers()) {
            Some(_) => StatusCode::NO_CONTENT.into_response(),
            None => {
                let text = "squall: `cors` does not allow this origin\n";
                let kind = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
                (StatusCode::FORBIDDEN, kind, text).into_response()
            }
        };
        let added = self.completes(request.method(), request.headers(), response.headers());
        extend(&mut response, added);
        response
    }
}

async fn answer_or_complete(State(cors): State<Arc<Cors>>, request: Request, next: Next) -> Response {
    if is_preflight(request.method(), request.headers()) {
        return cors.answer(&request);
    }
    let method = request.method().clone();
    let origin: HeaderMap = request
        .headers()
        .get(ORIGIN)
        .map(|origin| (ORIGIN, origin.clone()))
        .into_iter()
        .collect();
    let mut response = next.run(request).await;
    if cors.replaces_in_fakes() {
        let names: Vec<HeaderName> = response.headers().keys().filter(|name| allows(name)).cloned().collect();
        for name in names {
            response.headers_mut().remove(name);
        }
    }
    let added = cors.completes(&method, &origin, response.headers());
    extend(&mut response, added);
    response
}

fn extend(response: &mut Response, added: Added) {
    for (name, value) in added {
        if supersedes(&name) {
            response.headers_mut().insert(name, value);
        } else {
            response.headers_mut().append(name, value);
        }
    }
}

fn is_exposed(name: &HeaderName) -> bool {
    !NOT_EXPOSED.contains(&name.as_str()) && !allows(name)
}

/// Whether a response already says that it depends on the origin.
fn varies(response: &HeaderMap) -> bool {
    let values = response.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    let mut names = values.flat_map(|value| value.split(','));
    names.any(|name| matches!(name.trim(), "*") || name.trim().eq_ignore_ascii_case("origin"))
}

#[cfg(test)]
mod tests;
