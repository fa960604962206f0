//! Where the requests of a listener go: by its routes, or to the upstream of its own.
//!
//! ```text
//! request   head ─ View::route ─> Route ─ rules ─ Paths::to_upstream ─> upstream
//! response                                 back::changes <─ Location, Link, Set-Cookie
//! ```

mod back;
mod paths;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::sync::Arc;

use http::header::{CONTENT_LOCATION, HOST, LINK, LOCATION, REFRESH, SET_COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};

use self::back::Mapping;
pub use self::paths::Paths;
use super::view::{Target, View};
use crate::cors::Cors;
use crate::draw::head::Head;
use crate::fake::Mount;
use crate::metrics::ListenerMetrics;
use crate::proxy::client::Client;
use crate::proxy::http1::head::origin_form;
use crate::proxy::upstream::{Picked, Place, Upstream};
use crate::rule::matcher::Condition;

/// Where some of a listener's requests go.
#[derive(Debug)]
pub struct Route {
    /// Its position in the listener's `routes`, from 1; `None` for the listener's own upstream.
    pub number: Option<usize>,
    /// Which requests it takes.
    pub condition: Condition,
    /// The upstream or fake that they go to; `None` for a listener without one of its own.
    pub target: Option<Arc<Target>>,
    /// The target's name in the configuration; empty without one.
    pub upstream: Arc<str>,
    /// Metrics labelled with the listener and the upstream.
    pub metrics: Arc<ListenerMetrics>,
    /// Which pages of other origins may read responses. With it, rules spare preflights.
    pub cors: Option<Arc<Cors>>,
    /// How it changes paths.
    pub paths: Paths,
    /// Whether redirects and cookies are mapped back.
    pub maps_back: bool,
}

impl Route {
    /// The real upstream, unless it is a fake or none.
    fn real(&self) -> Option<&Upstream> {
        match self.target.as_deref() {
            Some(Target::Real(upstream)) => Some(upstream),
            _ => None,
        }
    }

    /// Whether squall answers preflights itself, and lets pages of other origins read natural responses: those of fakes, and
    /// those of a real upstream if its own CORS is replaced. Where there is no upstream, nobody else can. False without `cors`.
    pub fn answers_preflights(&self) -> bool {
        let is_real = self.real().is_some();
        self.cors.as_ref().is_some_and(|cors| !is_real || cors.replaces())
    }

    /// Whether `cors` takes the place of what natural responses allow themselves.
    pub fn replaces_cors(&self, cors: &Cors) -> bool {
        if self.is_fake() {
            cors.replaces_in_fakes()
        } else {
            cors.replaces()
        }
    }

    fn is_fake(&self) -> bool {
        matches!(self.target.as_deref(), Some(Target::Fake(_)))
    }

    fn places(&self) -> &[Place] {
        self.real().map_or(&[], Upstream::places)
    }

    /// Whether its upstream is known by a URL's beginning.
    fn is_at(&self, secure: bool, authority: &str) -> bool {
        self.places().iter().any(|place| back::is_at(place, secure, authority))
    }

    /// What a fake has to know so that its links lead back to it; `None` if they do anyway.
    pub(super) fn mount(&self) -> Option<Mount> {
        (self.maps_back && !self.paths.is_same()).then(|| self.paths.mount())
    }

    /// Changes the target of a request to what the upstream is asked for.
    pub(super) fn apply(&self, head: &mut RequestHeader) {
        let sent = self.paths.to_upstream(origin_form(head)).into_owned();
        if head.uri.authority().is_none() {
            // Fails only for a target with bytes that the client's could not have had either.
            let _valid = head.set_raw_path(&sent);
            return;
        }
        // HTTP/2 has the authority beside the path.
        let mut parts = head.uri.clone().into_parts();
        if let Ok(target) = PathAndQuery::from_maybe_shared(sent) {
            parts.path_and_query = Some(target);
            if let Ok(uri) = http::Uri::from_parts(parts) {
                head.set_uri(uri);
            }
        }
    }
}

impl View {
    /// Where a request goes. Without routes, nothing of its head is looked at.
    pub fn route(&self, head: &Head<'_>) -> &Arc<Route> {
        let mut routes = self.routes.iter();
        routes.find(|route| route.condition.matches(head)).unwrap_or(&self.own)
    }

    /// All its routes, and last where the rest goes.
    pub fn all_routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter().chain([&self.own])
    }

    /// What a request is told that no route takes.
    pub(super) fn no_route(&self, method: &str, path: &str) -> String {
        let mut text = format!("squall: no route of the listener {} takes {method} {path}\n", self.name);
        for (number, route) in (1..).zip(self.routes.iter()) {
            let _infallible = writeln!(
                text,
                "route {number}: {} -> {}",
                outline(&route.condition),
                route.upstream
            );
        }
        text
    }
}

/// A condition in words, for clients: without the values of fields, which may be secrets.
fn outline(condition: &Condition) -> String {
    let all = |all: &[Condition], by: &str| all.iter().map(outline).collect::<Vec<_>>().join(by);
    match condition {
        Condition::All(none) if none.is_empty() => "everything".to_owned(),
        Condition::All(conditions) => all(conditions, ", "),
        Condition::Any(conditions) => format!("any of ({})", all(conditions, "; ")),
        Condition::Not(not) => format!("not ({})", outline(not)),
        Condition::Header(name, _) => format!("header {name}"),
        Condition::Query(name, _) => format!("query {name}"),
        Condition::Cookie(name, _) => format!("cookie {name}"),
        plain => plain.to_string(),
    }
}

/// Maps what a response says of its upstream to what the client knows. `picked` is where the request went.
pub(super) fn map_back(
    client: &Client,
    (view, route): (&View, &Route),
    picked: Option<&Picked>,
    response: &mut ResponseHeader,
) {
    let names = [LOCATION, CONTENT_LOCATION, LINK, REFRESH, SET_COOKIE];
    if !route.maps_back || !names.iter().any(|name| response.headers.contains_key(name)) {
        return;
    }
    let head = client.head();
    let asked_for = authority(head);
    let host = super::ask::host(head, picked);
    let host = host.as_ref().and_then(|host| host.to_str().ok());
    let target = route.paths.to_upstream(origin_form(head));
    let tls = client_tls(client, view);
    let mapping = Mapping {
        client: (tls, asked_for),
        asked: host.unwrap_or(asked_for),
        places: route.places(),
        is_fake: route.is_fake(),
        secure: route.places().first().is_some_and(|place| place.secure),
        paths: &route.paths,
        target: std::str::from_utf8(&target).unwrap_or("/"),
    };
    // A redirect to another upstream of the listener goes where its route takes it.
    let elsewhere = |secure, authority: &str, path: &str| {
        let others = view.all_routes().filter(|other| other.is_at(secure, authority));
        let mut mapped = others.filter_map(|other| Some((other, other.paths.to_client(path)?)));
        mapped.find_map(|(other, path)| view.leads(asked_for, &path, other).then_some(path))
    };
    for (name, values) in back::changes(&response.headers, &mapping, elsewhere) {
        // The values were checked when they were made.
        response.remove_header(&name);
        for value in values {
            let _valid = response.append_header(name.clone(), value);
        }
    }
}

impl View {
    /// Whether a request for this path, of the same host, takes the route.
    fn leads(&self, authority: &str, path: &str, route: &Arc<Route>) -> bool {
        let empty = HeaderMap::new();
        let again = Head::new(&http::Method::GET, path, Some(authority), &empty, None);
        Arc::ptr_eq(self.route(&again), route)
    }
}

/// The host and port that a client asks for.
pub(super) fn authority(head: &RequestHeader) -> &str {
    let named = head.uri.authority().map(http::uri::Authority::as_str);
    let field = || head.headers.get(HOST).and_then(|host| host.to_str().ok());
    named.or_else(field).unwrap_or_default()
}

/// Whether the client speaks TLS, with squall or with a trusted proxy in front of it.
fn client_tls(client: &Client, view: &View) -> bool {
    let connection = client.connection();
    let told = || {
        let peer = connection.client()?.to_canonical();
        let trusted = view.trusted_proxies.iter().any(|net| net.contains(&peer));
        let proto = client
            .head()
            .headers
            .get("x-forwarded-proto")
            .map(HeaderValue::as_bytes);
        Some(trusted && proto.is_some_and(|proto| proto.eq_ignore_ascii_case(b"https")))
    };
    connection.tls() || !view.trusted_proxies.is_empty() && told().unwrap_or_default()
}
