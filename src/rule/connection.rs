//! Checks of rules on connections, which act before there is a request and may use only part of the rule language.

use super::compile::Context;
use super::spec::{MatchSpec, RuleSpec};
use crate::draw::key::KeySpec;
use crate::fault::before::Before;
use crate::fault::{FaultSpec, certificate};
use crate::rule::stage::Stage;
use crate::yaml::decode::{Named, Spanned};
use crate::yaml::report::{Diagnostic, Span};

impl Context<'_> {
    /// The stage of a rule: the earliest that any of its faults needs.
    pub(super) fn stage(&mut self, spec: &RuleSpec) -> Stage {
        let faults: Vec<&Spanned<FaultSpec>> = faults_of(spec).collect();
        let stage_of = |fault: &Spanned<FaultSpec>| Stage::of(fault.value.moment());
        let stage = faults.iter().map(|fault| stage_of(fault)).min().unwrap_or_default();
        if stage == Stage::Request {
            if self.is_for_bytes(spec) {
                self.check_bytes_match(spec);
                self.check_connection_when(spec);
            } else if !self.may_meet_bytes(spec) {
                self.check_request_match(spec);
            }
            return stage;
        }
        let is_request = |fault: &&&Spanned<FaultSpec>| stage_of(fault) == Stage::Request;
        if let Some(request) = faults.iter().find(is_request)
            && let Some(connection) = faults.iter().find(|fault| !is_request(fault))
        {
            let message = format!(
                "`{}` acts on requests, but the rule has faults that act on connections",
                request.value.name()
            );
            let diagnostic = Diagnostic::error(request.span, message).also(connection.span, "such as this one");
            self.diagnostics.push(diagnostic.help("split it into two rules"));
            return stage;
        }
        if let Some(upstream) = &spec.upstream {
            let message = format!("`upstream` needs a request, but this rule runs {}", stage.moment());
            self.diagnostics
                .push(Diagnostic::error(upstream.span, message).help("use `listener`"));
        }
        self.check_connection_match(spec, stage);
        self.check_connection_when(spec);
        let mut of_handshake = faults.iter().filter(|fault| fault.value.moment() == Before::Handshake);
        if let Some(fault) = of_handshake
            .clone()
            .find(|fault| fault.value.name() == certificate::NAME)
            .or(of_handshake.next())
        {
            self.check_tls(spec, fault.value.name());
        }
        stage
    }

    /// Whether all listeners of a rule are for bytes, so that it never sees a request.
    pub(super) fn is_for_bytes(&self, spec: &RuleSpec) -> bool {
        let is_for_bytes = |name: &&str| self.setting.tcp_listeners.contains(name);
        let mut names = match &spec.listener {
            Some(listeners) => listeners.value.0.iter().map(String::as_str).collect(),
            None => self.setting.listeners.clone(),
        }
        .into_iter();
        names.len() > 0 && names.all(|name| is_for_bytes(&name))
    }

    /// Whether one of a rule's listeners is for bytes.
    fn may_meet_bytes(&self, spec: &RuleSpec) -> bool {
        match &spec.listener {
            Some(listeners) => listeners
                .value
                .0
                .iter()
                .any(|name| self.setting.tcp_listeners.contains(&name.as_str())),
            None => !self.setting.tcp_listeners.is_empty(),
        }
    }

    /// Reports conditions on handshakes, which requests don't have.
    fn check_request_match(&mut self, spec: &RuleSpec) {
        let mut handshakes = Vec::new();
        if let Some(matches) = &spec.matches {
            of_handshakes(matches, &mut handshakes);
        }
        for span in handshakes {
            let diagnostic = Diagnostic::error(span, "`alpn` needs a TLS handshake, but this rule acts on requests");
            self.diagnostics
                .push(diagnostic.help("give all faults of the rule `before: handshake`"));
        }
    }

    /// Reports conditions on requests, of which there are none. `host` is the name that a client asks for in its TLS handshake.
    fn check_bytes_match(&mut self, spec: &RuleSpec) {
        let mut foreign = Vec::new();
        if let Some(matches) = &spec.matches {
            of_requests(matches, Stage::Request, &mut foreign);
        }
        for (span, key) in foreign {
            let message = format!("`{key}` needs a request, but the rule's listeners are for tcp");
            let diagnostic = Diagnostic::error(span, message);
            self.diagnostics
                .push(diagnostic.help("use `client` and, for TLS, `host` and `alpn`"));
        }
    }

    fn check_connection_match(&mut self, spec: &RuleSpec, stage: Stage) {
        let mut foreign = Vec::new();
        if let Some(matches) = &spec.matches {
            of_requests(matches, stage, &mut foreign);
        }
        for (span, key) in foreign {
            let diagnostic = match (key, stage) {
                ("host" | "alpn", _) => Diagnostic::error(
                    span,
                    format!("`{key}` needs the TLS handshake, but this rule runs when a connection is accepted"),
                )
                .help("give all faults of the rule `before: handshake`; `host` is then the name that the client asks for (SNI)"),
                (_, stage) => {
                    let may = if stage == Stage::Handshake { "`client`, `host` and `alpn`" } else { "`client`" };
                    let message = format!("`{key}` needs a request, but this rule runs {}", stage.moment());
                    Diagnostic::error(span, message).help(format!("use {may}"))
                }
            };
            self.diagnostics.push(diagnostic);
        }
    }

    fn check_connection_when(&mut self, spec: &RuleSpec) {
        let Some(when) = &spec.when else { return };
        if let Some(key) = &when.value.key
            && !matches!(key.value, KeySpec::Ordinal | KeySpec::Client)
        {
            let message = format!(
                "the key `{}` needs a request, but this rule acts on connections",
                key.value
            );
            self.diagnostics
                .push(Diagnostic::error(key.span, message).help("valid keys: ordinal, client"));
        }
        if when.value.requested {
            self.error(
                when.span,
                "`requested` needs a request, but this rule acts on connections",
            );
        }
    }

    /// Reports faults in the handshake if no listener of the rule has TLS.
    fn check_tls(&mut self, spec: &RuleSpec, fault: &str) {
        let (span, names): (Span, Vec<&str>) = match &spec.listener {
            Some(listeners) => (listeners.span, listeners.value.0.iter().map(String::as_str).collect()),
            None => (spec.name.span, self.setting.listeners.clone()),
        };
        let known = |name: &&str| self.setting.listeners.contains(name);
        // TLS that is passed on can be delayed or refused, but its certificate is not squall's.
        let unread =
            |name: &&str| self.setting.redirected_listeners.contains(name) || self.setting.tcp_listeners.contains(name);
        let passes = |name: &&str| fault != certificate::NAME && unread(name);
        let may = |name: &&str| self.setting.tls_listeners.contains(name) || passes(name);
        if names.iter().all(known) && !names.iter().any(may) {
            let message = format!(
                "the rule can never fire: `{fault}` needs a TLS handshake, and no listener of the rule has `tls`"
            );
            self.error(span, message);
        }
    }
}

/// All faults of a rule as typed.
fn faults_of(spec: &RuleSpec) -> impl Iterator<Item = &Spanned<FaultSpec>> {
    let chosen = spec
        .choose
        .iter()
        .flat_map(|choose| &choose.value)
        .flat_map(|outcome| &outcome.value.faults);
    spec.faults.iter().flat_map(|faults| &faults.value).chain(chosen)
}

/// Collects the positions of conditions that need a TLS handshake.
fn of_handshakes(spec: &MatchSpec, found: &mut Vec<Span>) {
    found.extend(spec.alpn.as_ref().map(|alpn| alpn.span));
    let listed = spec.any.iter().chain(&spec.all).flat_map(|specs| &specs.value);
    for spec in listed.chain(spec.not.as_deref()) {
        of_handshakes(spec, found);
    }
}

/// Collects the conditions that need a request head, with their positions.
fn of_requests(spec: &MatchSpec, stage: Stage, found: &mut Vec<(Span, &'static str)>) {
    let first = |fields: &Option<Named<_>>| fields.iter().flat_map(Named::iter).next().map(|(name, _)| name.span);
    let keys = [
        (spec.method.as_ref().map(|method| method.span), "method"),
        (spec.path.as_ref().map(|path| path.span), "path"),
        (first(&spec.headers), "headers"),
        (first(&spec.query), "query"),
        (first(&spec.cookies), "cookies"),
        (spec.grpc.as_ref().map(|grpc| grpc.span), "grpc"),
        (spec.body.as_ref().map(|body| body.span), "body"),
    ];
    found.extend(keys.into_iter().filter_map(|(span, key)| Some((span?, key))));
    if stage == Stage::Connection {
        found.extend(spec.host.as_ref().map(|host| (host.span, "host")));
        found.extend(spec.alpn.as_ref().map(|alpn| (alpn.span, "alpn")));
    }
    let listed = spec.any.iter().chain(&spec.all).flat_map(|specs| &specs.value);
    for spec in listed.chain(spec.not.as_deref()) {
        of_requests(spec, stage, found);
    }
}
