//! Builds the routes of a listener, and checks that each of them can be taken.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Build, Targets};
use crate::cors::Cors;
use crate::draw::head::normalise;
use crate::metrics::ListenerMetrics;
use crate::proxy::exchange::route::{Paths, Route};
use crate::proxy::exchange::view::Target;
use crate::proxy::listen::spec::{ListenerSpec, RouteSpec};
use crate::proxy::upstream::check_prefix;
use crate::rule::doubts;
use crate::rule::matcher::Condition;
use crate::rule::spec::{MatchSpec, TextSpec};
use crate::yaml::decode::Spanned;
use crate::yaml::report::{Diagnostic, Span};

/// The most routes of a listener: they are tried one after the other.
const MOST_ROUTES: usize = 1000;

/// By upstream, what the routes of a listener to one upstream share: its metrics and its `cors`, which warns once.
pub(super) type SharedOf<'a> = HashMap<&'a str, (Arc<ListenerMetrics>, Option<Arc<Cors>>)>;

/// The routes of a listener, and where the rest of its requests goes.
pub(super) type Routes = (Arc<[Arc<Route>]>, Arc<Route>);

impl Build<'_> {
    /// The routes of an HTTP listener, and where the rest of its requests goes. `None` if one of them has an error.
    pub(super) fn routes(&mut self, name: &Spanned<String>, spec: &ListenerSpec, targets: &Targets) -> Option<Routes> {
        let typed = spec.routes.as_ref().map_or(&[][..], |routes| routes.value.as_slice());
        if let Some(routes) = spec.routes.as_ref().filter(|_| typed.is_empty()) {
            self.error(
                routes.span,
                "the list is empty: give at least one route, or leave out the key",
            );
        }
        if let Some(routes) = spec.routes.as_ref().filter(|_| typed.len() > MOST_ROUTES) {
            let message = format!("{} routes are too many: use at most {MOST_ROUTES}", typed.len());
            self.error(routes.span, message);
            return None;
        }
        if spec.upstream.is_none() && spec.routes.is_none() {
            let message = format!("the listener `{}` has no `upstream`", name.value);
            let diagnostic = Diagnostic::error(name.span, message);
            self.diagnostics
                .push(diagnostic.help("add `upstream: NAME`, or `routes: [{match: {path: /api/**}, upstream: NAME}]`"));
            return None;
        }
        let mut shared = SharedOf::new();
        let mut routes: Vec<Option<Arc<Route>>> = Vec::new();
        let mut known: Vec<(Span, Condition)> = Vec::new();
        for (number, route) in (1..).zip(typed) {
            let built = self.route((name, number), spec, route, (targets, &mut shared));
            if let Some(route_built) = &built {
                self.check_reached(route.span, &route_built.condition, &known);
                known.push((route.span, route_built.condition.clone()));
            }
            routes.push(built.map(Arc::new));
        }
        let own = match &spec.upstream {
            None => Some(None),
            Some(upstream) => self.listener_target(spec, upstream, targets).map(Some),
        };
        if let (Some(upstream), Some((all, _))) = (&spec.upstream, known.iter().find(|(_, all)| all.is_always())) {
            let message = "no request goes to the listener's own `upstream`: a route takes all of them";
            let diagnostic = Diagnostic::warning(upstream.span, message);
            self.diagnostics.push(diagnostic.also(*all, "this one"));
        }
        let routes: Option<Vec<Arc<Route>>> = routes.into_iter().collect();
        let (routes, target) = (routes?, own?);
        let upstream = spec.upstream.as_ref().map_or("", |upstream| upstream.value.as_str());
        let (metrics, cors) = self.shared(name, spec, upstream, &mut shared);
        let own = Route {
            number: None,
            condition: Condition::All(Vec::new()),
            paths: Paths::new("", "", target.as_deref().map_or("", Target::base)),
            target,
            upstream: upstream.into(),
            metrics,
            cors,
            maps_back: self.maps_back(upstream),
        };
        Some((routes.into(), Arc::new(own)))
    }

    fn route<'s>(
        &mut self,
        (listener, number): (&Spanned<String>, usize),
        spec: &ListenerSpec,
        route: &'s Spanned<RouteSpec>,
        (targets, shared): (&Targets, &mut SharedOf<'s>),
    ) -> Option<Route> {
        let RouteSpec {
            matches,
            upstream,
            strip_prefix,
            add_prefix,
        } = &route.value;
        let strip = self.prefix("`strip_prefix`", strip_prefix.as_ref());
        let add = self.prefix("`add_prefix`", add_prefix.as_ref());
        let condition = self.route_condition(route.span, matches.as_deref(), strip.as_deref());
        let target = self.listener_target(spec, upstream, targets);
        if target
            .as_ref()
            .is_some_and(|target| target.original_destination().is_some())
        {
            let message = "a route can't lead to an `original_destination`: make it the listener's own `upstream`";
            self.error(upstream.span, message);
            return None;
        }
        let (strip, add, condition, target) = (strip?, add?, condition?, target?);
        let (metrics, cors) = self.shared(listener, spec, &upstream.value, shared);
        Some(Route {
            number: Some(number),
            condition,
            paths: Paths::new(&strip, &add, target.base()),
            target: Some(target),
            metrics,
            cors,
            maps_back: self.maps_back(&upstream.value),
            upstream: upstream.value.as_str().into(),
        })
    }

    fn shared<'s>(
        &self,
        listener: &Spanned<String>,
        spec: &ListenerSpec,
        upstream: &'s str,
        known: &mut SharedOf<'s>,
    ) -> (Arc<ListenerMetrics>, Option<Arc<Cors>>) {
        let new = || {
            let metrics = self.inputs.metrics.listener(&listener.value, upstream);
            (Arc::new(metrics), self.cors(spec, upstream))
        };
        let (metrics, cors) = known.entry(upstream).or_insert_with(new);
        (Arc::clone(metrics), cors.as_ref().map(Arc::clone))
    }

    /// Whether redirects and cookies of an upstream are mapped back. Where clients know the upstream itself, there is nothing to map.
    fn maps_back(&self, upstream: &str) -> bool {
        let Some(spec) = self.spec.upstreams.get(upstream) else {
            return false;
        };
        let direct = spec.value.original_destination.is_some() || spec.value.forward.is_some();
        !direct && spec.value.map_back.as_ref().is_none_or(|maps| maps.value)
    }

    /// A prefix without a final slash; empty without one. `None` if it has an error.
    fn prefix(&mut self, key: &str, typed: Option<&Spanned<String>>) -> Option<String> {
        let Some(typed) = typed else { return Some(String::new()) };
        match check_prefix(key, &typed.value) {
            Ok(prefix) => Some(prefix),
            Err(message) => {
                self.error(typed.span, message);
                None
            }
        }
    }

    /// What a route takes: what its `match` says, of the paths that begin with `strip`.
    fn route_condition(&mut self, span: Span, matches: Option<&MatchSpec>, strip: Option<&str>) -> Option<Condition> {
        let mut mistakes = Vec::new();
        let mut all = Vec::new();
        if let Some(matches) = matches {
            all.push(Condition::compile(matches, &mut mistakes));
            for (span, message) in doubts::of_match(matches) {
                self.diagnostics.push(Diagnostic::warning(span, message));
            }
            if let Some(path) = &matches.path
                && let Some(message) = literal_hint(&path.value, strip.unwrap_or_default())
            {
                self.diagnostics.push(Diagnostic::warning(path.span, message));
            }
            if let Some(alpn) = matches.alpn_within() {
                mistakes.push((alpn, "`alpn` needs a TLS handshake, but a route takes requests".into()));
            }
        }
        if let Some(strip) = strip.filter(|strip| !strip.is_empty()) {
            // Prefixes have no letters that mean something in a glob.
            let folder = format!("{}/**", normalise(strip));
            if let Some(path) = matches.and_then(|matches| matches.path.as_ref())
                && !may_begin_with(&path.value, &normalise(strip))
            {
                let message =
                    format!("the route takes nothing: no such path begins with its `strip_prefix`, `{strip}`");
                mistakes.push((path.span, message));
            }
            let spec = MatchSpec {
                path: Some(Spanned {
                    value: TextSpec::Plain(folder),
                    span,
                }),
                ..MatchSpec::default()
            };
            let own = Condition::compile(&spec, &mut mistakes);
            if !all.iter().any(|typed| own.covers(typed)) {
                all.push(own);
            }
        }
        let condition = match <[Condition; 1]>::try_from(all) {
            Ok([one]) => one,
            Err(all) => Condition::All(all),
        };
        if condition.body_limit().is_some() {
            mistakes.push((
                span,
                "a route is chosen by the head of a request: it can't match the body".into(),
            ));
        }
        if mistakes.is_empty() && condition.is_never() {
            mistakes.push((
                span,
                "the route takes nothing: its `match` excludes every request".into(),
            ));
        }
        let good = mistakes.is_empty();
        for (span, message) in mistakes {
            self.error(span, message);
        }
        good.then_some(condition)
    }

    /// Reports a route that gets no request, since an earlier one takes all of its.
    fn check_reached(&mut self, span: Span, condition: &Condition, earlier: &[(Span, Condition)]) {
        if let Some((first, _)) = earlier.iter().find(|(_, earlier)| earlier.covers(condition)) {
            let diagnostic = Diagnostic::error(span, "no request gets to this route: an earlier one takes them all");
            let diagnostic = diagnostic.also(*first, "this one");
            self.diagnostics
                .push(diagnostic.help("put it before that route, or narrow that route's `match`"));
        }
    }
}

/// Letters of a glob that stand for others.
const OF_GLOBS: [char; 4] = ['*', '?', '[', '{'];

/// Whether a path of this pattern may begin with a prefix, as far as that is plain to see.
fn may_begin_with(pattern: &TextSpec, prefix: &str) -> bool {
    let within = format!("{prefix}/");
    let whole = |text: &str| text == prefix || text.starts_with(&within);
    let begins = |text: &str| text.starts_with(&within) || within.starts_with(text);
    match pattern {
        TextSpec::Exact(text) => whole(text),
        TextSpec::Plain(text) | TextSpec::Glob(text) => match text.split_once(OF_GLOBS) {
            None => whole(text),
            Some((literal, _)) => begins(literal),
        },
        TextSpec::Prefix(text) => begins(text),
        TextSpec::Suffix(_) | TextSpec::Contains(_) | TextSpec::Regex(_) => true,
    }
}

/// What a path is taken for that stands for itself alone: other proxies take it for a prefix.
fn literal_hint(pattern: &TextSpec, strip: &str) -> Option<String> {
    let TextSpec::Plain(text) = pattern else { return None };
    let is_prefix = text.ends_with('/') || text.trim_end_matches('/') == strip;
    if !is_prefix || text.contains(OF_GLOBS) {
        return None;
    }
    let folder = text.trim_end_matches('/');
    Some(format!(
        "`{text}` matches this path alone: use `{folder}/**` for all paths below it, too"
    ))
}
