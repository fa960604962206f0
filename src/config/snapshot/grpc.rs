//! Doubts about rules for gRPC calls whose upstreams get them over HTTP/1.1.

use std::collections::HashSet;

use super::Build;
use crate::proxy::upstream::spec::UpstreamSpec;
use crate::rule::spec::{MatchSpec, RuleSpec};
use crate::yaml::decode::Spanned;
use crate::yaml::report::{Diagnostic, Span};

impl<'a> Build<'a> {
    /// Warns of upstreams that rules for gRPC calls lead to, and that speak HTTP/1.1 since nothing else is said. A gRPC server breaks
    /// off such a connection, which its client takes for an injected UNAVAILABLE.
    pub(super) fn doubt_grpc(&mut self) {
        let mut doubted = HashSet::new();
        for rule in &self.spec.rules {
            let Some(because) = for_grpc(rule) else { continue };
            let upstreams = self.upstreams_of(rule);
            if !upstreams.iter().all(|(_, upstream)| is_http1_by_default(upstream)) {
                // It may be meant for the others.
                continue;
            }
            for (name, upstream) in upstreams.into_iter().filter(|(name, _)| doubted.insert(name.span)) {
                let secure = upstream.url.as_ref().is_some_and(|url| url.value.starts_with("https:"));
                let protocol = if secure { "h2" } else { "h2c" };
                let message = format!(
                    "gRPC calls to the upstream `{}` go over HTTP/1.1, which gRPC servers don't speak",
                    name.value
                );
                let help = format!("add `protocol: {protocol}` to the upstream");
                let doubt = Diagnostic::warning(name.span, message).also(because, "this rule is for gRPC calls");
                self.diagnostics.push(doubt.help(help));
            }
        }
    }

    /// The upstreams that the requests of a rule go to, each with the position of its name.
    fn upstreams_of(&self, rule: &RuleSpec) -> Vec<(&'a Spanned<String>, &'a UpstreamSpec)> {
        let is_of =
            |names: Option<&Vec<String>>, name: &str| names.is_none_or(|names| names.iter().any(|one| one == name));
        let listeners = rule.listener.as_ref().map(|names| &names.value.0);
        let upstreams = rule.upstream.as_ref().map(|names| &names.value.0);
        let concerned = self
            .spec
            .listeners
            .iter()
            .filter(|(name, listener)| is_of(listeners, &name.value) && !listener.is_tcp());
        let used: HashSet<&str> = concerned
            .flat_map(|(_, listener)| listener.upstreams())
            .map(|name| name.value.as_str())
            .filter(|name| is_of(upstreams, name))
            .collect();
        let all = self
            .spec
            .upstreams
            .iter()
            .filter(|(name, _)| used.contains(name.value.as_str()));
        all.map(|(name, upstream)| (name, &upstream.value.0)).collect()
    }
}

/// Where a rule says that it is for gRPC calls, if it is.
fn for_grpc(rule: &RuleSpec) -> Option<Span> {
    let lists = rule.faults.iter().map(|faults| &faults.value);
    let chosen = rule
        .choose
        .iter()
        .flat_map(|choose| &choose.value)
        .map(|outcome| &outcome.value.faults);
    let mut faults = lists.chain(chosen).flatten();
    let fault = faults.find(|fault| fault.value.is_for_grpc()).map(|fault| fault.span);
    fault.or_else(|| asks_for_grpc(rule.matches.as_deref()?))
}

fn asks_for_grpc(matches: &MatchSpec) -> Option<Span> {
    let mut within = matches.all.iter().flat_map(|all| &all.value);
    let own = matches.grpc.as_ref().map(|grpc| grpc.span);
    own.or_else(|| within.find_map(asks_for_grpc))
}

fn is_http1_by_default(upstream: &UpstreamSpec) -> bool {
    upstream.protocol.is_none() && (upstream.url.is_some() || upstream.endpoints.is_some())
}
