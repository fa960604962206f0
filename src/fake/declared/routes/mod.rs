//! Declared routes: `routes: [{path: "/users/{id}", json: {id: "{{ path.id }}"}}]`.
//!
//! Of the routes whose path and method fit a request, the one with the most specific path is asked first, and of equally
//! specific ones the one that is listed first; the first whose conditions hold answers.

mod build;
mod condition;
mod facts;
mod functions;
pub(super) mod injected;
mod page;
mod path;
mod response;
mod sequence;
pub(super) mod spec;
mod stream;
mod template;
mod tree;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use minijinja::Environment;
use serde_json::json;

pub(super) use self::build::source;
use self::condition::Condition;
use self::facts::{Facts, Luck};
use self::path::Pattern;
use self::response::RouteResponse;
use self::sequence::{Counters, Places, States};
use self::template::{Failure, Scope, Template};
use super::{NearMiss, Outcome, Source};
use crate::content::Content;
use crate::draw::head::Head;
use crate::fake::page::Row;
use crate::fake::reply::{BODY_LIMIT, client_of, json, read_json_body};

/// The routes of one fake.
struct Routes {
    /// In the order in which they are asked.
    routes: Vec<Route>,
    env: Arc<Environment<'static>>,
    counters: Arc<Counters>,
    seed: u64,
}

/// One route.
struct Route {
    /// Method and path as they are written: `GET /users/{id}`.
    name: String,
    /// What its random data depend on: the name, and which of the routes of this name it is.
    luck: String,
    written: String,
    pattern: Pattern,
    /// `None` for any.
    methods: Option<Vec<Method>>,
    condition: Option<Condition>,
    state: Option<StateUse>,
    responses: RouteResponses,
    needs_body: bool,
    /// The number of requests that it has answered.
    asked: AtomicU64,
}

/// What a route does with a state.
struct StateUse {
    states: Arc<States>,
    key: Template,
    wanted: Vec<String>,
    becomes: Option<Template>,
}

/// One response, or a sequence of them.
enum RouteResponses {
    One(Arc<RouteResponse>),
    Sequence {
        steps: Vec<Arc<RouteResponse>>,
        places: Places,
        key: Template,
        /// The response when the sequence is over.
        beyond: Arc<RouteResponse>,
    },
}

/// The response to one request, and what it is made from.
struct Chosen<'a> {
    response: &'a Arc<RouteResponse>,
    facts: Arc<Facts>,
    luck: Arc<Luck>,
}

/// What became of reading the body.
enum Held {
    Unread(Body),
    Read(Bytes),
}

#[async_trait]
impl Source for Routes {
    async fn answer(&self, request: Request) -> Outcome {
        let (head, body) = request.into_parts();
        let mut body = Held::Unread(body);
        let mut other_methods = Vec::new();
        let mut missed = 0;
        for route in &self.routes {
            let Some(parameters) = route.pattern.values(head.uri.path()) else {
                continue;
            };
            if !route.takes(&head.method) {
                other_methods.extend(route.methods.iter().flatten().cloned());
                continue;
            }
            missed += 1;
            if route.needs_body
                && let Held::Unread(unread) = body
            {
                body = match read_json_body(&head.extensions, unread, BODY_LIMIT).await {
                    Ok(bytes) => Held::Read(bytes),
                    Err(error) => return Outcome::Answered(error.response(BODY_LIMIT)),
                };
            }
            let bytes = match &body {
                Held::Read(bytes) => bytes.clone(),
                Held::Unread(_) => Bytes::new(),
            };
            match self.ask(route, &head, parameters, bytes) {
                Ok(None) => {}
                Ok(Some(chosen)) => {
                    // Its natural time: how long until the response begins.
                    if !chosen.response.delay.is_zero() {
                        tokio::time::sleep(chosen.response.delay).await;
                    }
                    let response = chosen.response.respond(&self.env, &chosen.facts, &chosen.luck).await;
                    return Outcome::Answered(response.unwrap_or_else(|failure| route.failed(&failure)));
                }
                Err(failure) => return Outcome::Answered(route.failed(&failure)),
            }
        }
        let body = match body {
            Held::Unread(body) => body,
            Held::Read(bytes) => Body::from(bytes),
        };
        let mut request = Request::from_parts(head, body);
        if missed > 0 {
            // It has the right method; what else it lacks is not told by methods.
            other_methods.clear();
            request.extensions_mut().insert(NearMiss(missed));
        } else if other_methods.contains(&Method::GET) {
            other_methods.push(Method::HEAD);
        }
        Outcome::Passed(request, other_methods)
    }

    fn rows(&self) -> Vec<Row> {
        self.routes.iter().map(Route::row).collect()
    }
}

impl Routes {
    /// The response to a request, if the route's conditions hold.
    fn ask<'a>(
        &self,
        route: &'a Route,
        head: &Parts,
        parameters: Vec<(String, String)>,
        body: Bytes,
    ) -> Result<Option<Chosen<'a>>, Failure> {
        let client = client_of(&head.extensions);
        let content = Content::new(&head.headers, body.clone(), BODY_LIMIT);
        if let Some(condition) = &route.condition {
            let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
            let authority = head.uri.authority().map(|authority| authority.as_str());
            let view = Head::new(&head.method, target, authority, &head.headers, client);
            if !condition.holds(&view, &content) {
                return Ok(None);
            }
        }
        let body = content.bytes().map_or(body, Bytes::clone);
        let mut facts = Facts::new(head, client, body, Arc::clone(&self.counters));
        facts.parameters = parameters;
        if let Some(state) = &route.state {
            let key = self.key(&state.key, &facts, route)?;
            let becomes = state.becomes.as_ref().map(|becomes| match becomes {
                Template::Fixed(text) => Ok(Arc::clone(text)),
                template => self.key(template, &facts, route).map(Arc::from),
            });
            match state.states.pass(&key, &state.wanted, becomes.transpose()?.as_ref()) {
                Some(before) => facts.state = Some(before.to_string()),
                None => return Ok(None),
            }
        }
        facts.number = route.asked.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let response = match &route.responses {
            RouteResponses::One(response) => response,
            RouteResponses::Sequence {
                steps,
                places,
                key,
                beyond,
            } => {
                let key = self.key(key, &facts, route)?;
                places.next(&key).and_then(|step| steps.get(step)).unwrap_or(beyond)
            }
        };
        Ok(Some(Chosen {
            response,
            luck: Arc::new(Luck::new(self.seed, &route.luck, facts.number)),
            facts: Arc::new(facts),
        }))
    }

    /// The key of a sequence or a state.
    fn key(&self, template: &Template, facts: &Facts, route: &Route) -> Result<String, Failure> {
        if let Template::Fixed(text) = template {
            return Ok(text.to_string());
        }
        // With luck of its own, so that a key takes no draw from the response.
        let luck = Luck::new(self.seed, &route.luck, 0);
        Scope::new(&self.env, &Arc::new(facts.clone()), &Arc::new(luck), Vec::new()).text(template)
    }
}

impl Route {
    /// HEAD is answered as GET is.
    fn takes(&self, method: &Method) -> bool {
        let takes = |methods: &Vec<Method>| {
            methods.contains(method) || (*method == Method::HEAD && methods.contains(&Method::GET))
        };
        self.methods.as_ref().is_none_or(takes)
    }

    /// A template could not be rendered: that is a mistake in the configuration, and says where.
    fn failed(&self, failure: &Failure) -> Response {
        tracing::warn!(route = %self.name, cause = %failure.0, "a declared route failed");
        let error = format!("the fake's route `{}` failed", self.name);
        let body = json!({ "error": error, "route": self.name, "cause": failure.0 });
        json(StatusCode::INTERNAL_SERVER_ERROR, &body)
    }

    fn row(&self) -> Row {
        let (methods, method) = match &self.methods {
            None => ("ANY".to_owned(), None),
            Some(methods) => {
                let names: Vec<_> = methods.iter().map(Method::as_str).collect();
                (names.join(", "), names.first().copied())
            }
        };
        let summary = match &self.responses {
            RouteResponses::One(response) => response.summary().to_owned(),
            RouteResponses::Sequence { steps, .. } => format!("a sequence of {} responses", steps.len()),
        };
        let conditions = match (&self.condition, &self.state) {
            (Some(_), _) => "if its conditions hold",
            (None, Some(state)) if !state.wanted.is_empty() => "in some states",
            _ => "",
        };
        let example = match method {
            None | Some("GET") => self.written.clone(),
            Some("HEAD") => format!("-I {}", self.written),
            Some(method) => format!("-X {method} {}", self.written),
        };
        Row {
            method: methods,
            path: self.written.clone(),
            summary,
            parameters: conditions.to_owned(),
            example,
        }
    }
}
