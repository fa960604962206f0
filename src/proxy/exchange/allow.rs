//! Lets pages of other origins read responses, as the listener's `cors` says.

use axum::Router;
use http::{HeaderName, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};

use super::fields::Fields;
use super::route::{Route, authority};
use crate::cors::{self, Added, Cors, refusal};

/// What answers a request in place of the upstream: a preflight that does not go there.
pub(super) fn preflights(route: &Route, request: &RequestHeader) -> Option<Router> {
    let cors = route.cors.as_ref()?;
    let own = route.answers_preflights() && cors::is_preflight(&request.method, &request.headers);
    own.then(|| cors.preflights())
}

/// Completes the head of a response that squall makes itself.
pub(super) fn complete(cors: &Cors, request: &RequestHeader, head: &mut ResponseHeader) {
    add(head, cors.completes(&request.method, &request.headers, &head.headers));
}

/// Completes the head of a fake's response, and replaces the fields of a real upstream's if they are to be.
pub(super) fn natural(route: &Route, request: &RequestHeader, head: &mut ResponseHeader) {
    let Some(cors) = route.cors.as_ref().filter(|_| route.answers_preflights()) else {
        return;
    };
    // Preflights have been answered by squall itself.
    if head.status == StatusCode::SWITCHING_PROTOCOLS || cors::is_preflight(&request.method, &request.headers) {
        return;
    }
    if route.replaces_cors(cors) {
        let names: Vec<HeaderName> = head.headers.keys().filter(|name| cors::allows(name)).cloned().collect();
        for name in &names {
            head.remove(name);
        }
    }
    complete(cors, request, head);
}

/// Warns once if the natural response of a real upstream keeps out a page that `cors` lets in: the page sees a failed request, and
/// squall is the first to be suspected.
pub(super) fn warn_of_refusal(listener: &str, route: &Route, request: &RequestHeader, head: &ResponseHeader) {
    let kept = route.cors.as_ref().filter(|_| !route.answers_preflights());
    let Some(cors) = kept.filter(|cors| cors.has_to_warn()) else {
        return;
    };
    let Some(origin) = cors.allowed(&request.headers) else {
        return;
    };
    let asked = (&request.method, &request.headers, authority(request));
    if let Some(refusal) = refusal::of(asked, (head.status, &head.headers))
        && cors.warns()
    {
        tracing::warn!(
            listener,
            upstream = &*route.upstream,
            origin = origin.to_str().unwrap_or_default(),
            reason = %refusal,
            "the upstream refuses a page of another origin: with `cors: {{origins: …, natural: replace}}` squall answers preflights \
            itself, and lets pages read natural responses"
        );
    }
}

/// Adjusts the head of a response that is about to be sent to what squall has added to it.
pub(super) fn adjust(cors: &Cors, request: &RequestHeader, head: &mut ResponseHeader) {
    add(head, cors.adjusts(&request.method, &request.headers, &head.headers));
}

fn add(head: &mut ResponseHeader, added: Added) {
    for (name, value) in added {
        if cors::supersedes(&name) {
            head.set(&name, value);
        } else {
            head.add(&name, value);
        }
    }
}
