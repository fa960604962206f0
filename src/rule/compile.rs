//! Compiles rules from their configuration, and reports every mistake with its position.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::doubts;
use super::id::{RuleId, check_space};
use super::spec::RuleSpec;
use crate::draw::head::Head;
use crate::draw::{KeyHash, Seed};
use crate::fault::FaultSpec;
use crate::fault::before::Before;
use crate::fault::context;
use crate::fault::effect::Effect;
use crate::fault::kind::{Fault, HitRequest};
use crate::fault::template::Templates;
use crate::files::Named;
use crate::metrics::Metrics;
use crate::rule::decide::{Outcome, Rule, RuleFault};
use crate::rule::matcher::Condition;
use crate::rule::overall::Overall;
use crate::rule::stage::Stage;
use crate::rule::state::RuleState;
use crate::rule::when::When;
use crate::shape::Direction;
use crate::yaml::decode::{Gaps, Spanned};
use crate::yaml::report::{Diagnostic, Severity, Sources, Span, did_you_mean};
use crate::yaml::tree::identity_hash;

/// The input of compiling rules, and where mistakes are reported.
pub struct Context<'a> {
    /// The rules as typed, in file order.
    pub specs: &'a [RuleSpec],
    /// What all rules share.
    pub setting: Setting<'a>,
    /// Files of the configuration, for its diagnostics.
    pub sources: &'a Sources,
    /// What all rules together do.
    pub overall: Arc<Overall>,
    /// The rules in force before. Unchanged ones are kept, with their state.
    pub previous: Vec<&'a Arc<Rule>>,
    /// Whether changed rules keep their state, too: what they have counted and remembered.
    pub keeps_state: bool,
    /// The files that the rules name.
    pub files: &'a Named,
    /// The time of loading.
    pub now: Instant,
    /// The metrics that the rules register with.
    pub metrics: &'a Metrics,
    /// Collects the mistakes that are found.
    pub diagnostics: &'a mut Vec<Diagnostic>,
    /// The parts of the configuration that were left out because of errors.
    pub gaps: &'a Gaps,
}

/// What a configuration sets for all its rules.
#[derive(Debug, Clone)]
pub struct Setting<'a> {
    /// The names of the listeners.
    pub listeners: Vec<&'a str>,
    /// The names of the upstreams.
    pub upstreams: Vec<&'a str>,
    /// Which upstreams each listener's requests go to: the names of both.
    pub leads: Vec<(&'a str, &'a str)>,
    /// The names of the listeners with TLS.
    pub tls_listeners: Vec<&'a str>,
    /// The names of the listeners of bytes, which have no requests.
    pub tcp_listeners: Vec<&'a str>,
    /// The names of the listeners of redirected connections.
    pub redirected_listeners: Vec<&'a str>,
    /// The seed of all draws.
    pub seed: Seed,
    /// The most keys that a rule remembers.
    pub keys: NonZeroUsize,
    /// The longest single wait.
    pub longest_wait: Duration,
    /// Compiles the templates of injected responses.
    pub templates: &'static dyn Templates,
}

/// Compiles all rules. A rule that is left out has an error among the diagnostics.
pub fn compile(context: &mut Context<'_>) -> Vec<Arc<Rule>> {
    let mut rules: Vec<Arc<Rule>> = Vec::with_capacity(context.specs.len());
    let mut names: HashMap<(Option<&str>, &str), Span> = HashMap::new();
    let known = context.previous.iter().map(|rule| (rule.id(), Arc::clone(rule)));
    let previous: HashMap<RuleId, Arc<Rule>> = known.collect();
    let specs = context.specs;
    let mut blockers: Vec<Blocker<'_>> = Vec::new();
    for spec in specs {
        if !context.gaps.within(spec.name.span)
            && let Some(first) = names.insert((spec.space(), &spec.name.value), spec.name.span)
        {
            let message = format!("two rules have the name `{}`", spec.name.value);
            context
                .diagnostics
                .push(Diagnostic::error(spec.name.span, message).also(first, "the first is here"));
        }
        if context.gaps.around(spec.name.span) {
            context.check_incomplete(spec, &previous);
        } else if let Some(rule) = context.rule(spec, &previous) {
            context.check_reachable(spec, &rule, &mut blockers);
            rules.push(rule);
        }
    }
    rules
}

/// A rule that ends every request, or every connection, of its listeners.
struct Blocker<'a> {
    spec: &'a RuleSpec,
    stage: Stage,
}

impl Context<'_> {
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(span, message));
    }

    /// Checks what is left of a rule with errors, and reports nothing that may only follow from what was left out.
    fn check_incomplete(&mut self, spec: &RuleSpec, previous: &HashMap<RuleId, Arc<Rule>>) {
        let before = self.diagnostics.len();
        self.rule(spec, previous);
        self.gaps.forget_consequences(self.diagnostics, before, spec.name.span);
    }

    fn rule(&mut self, spec: &RuleSpec, previous: &HashMap<RuleId, Arc<Rule>>) -> Option<Arc<Rule>> {
        let before = self.diagnostics.len();
        self.check_name(&spec.name);
        self.check_space(spec);
        self.check_listeners(spec);
        self.check_upstreams(spec);
        let checked = self.diagnostics.len();
        let stage = self.stage(spec);
        let decides = |key: &str| !["match", "when", "stop_when"].contains(&key);
        if self.gaps.keys_around(spec.name.span).any(decides) {
            // A fault that was left out may have been what decides when the rule acts, a listener on what.
            self.diagnostics.truncate(checked);
        }
        let condition = self.condition(spec);
        let when = match When::compile(spec.when.as_ref().map(|when| &when.value.0)) {
            Ok(when) => when,
            Err(mistakes) => {
                let span = spec.when.as_ref().map_or(spec.name.span, |when| when.span);
                for message in mistakes {
                    self.error(span, message);
                }
                When::default()
            }
        };
        // Bounds that are compiled into a rule are part of its fingerprint.
        let bounds = format_args!(" {} {:?}", self.setting.keys, self.setting.longest_wait);
        let fingerprint = Cell::new(identity_hash(spec, bounds, self.setting.seed.0));
        let outcomes = self.outcomes(spec, &when, &fingerprint);
        if self
            .diagnostics
            .iter()
            .skip(before)
            .any(|diagnostic| diagnostic.severity == Severity::Error)
        {
            return None;
        }
        if self.gaps.around(spec.name.span) {
            // It is only checked. Its metrics would last.
            return None;
        }
        let name: Arc<str> = spec.name.value.as_str().into();
        let space = spec.space().map(Arc::from);
        let known = previous.get(&RuleId {
            space: space.clone(),
            name: Arc::clone(&name),
        });
        if let Some(rule) = known.filter(|rule| rule.fingerprint == fingerprint.get()) {
            // Unchanged: keep the rule with the state of it and its faults.
            return Some(Arc::clone(rule));
        }
        let keys = when.attempts.is_some().then_some(self.setting.keys);
        // Keys are remembered by hash, so those of another kind would be mistaken for each other.
        let kept = known.filter(|rule| {
            let same_keys = rule.when.key.to_string() == when.key.to_string();
            self.keeps_state && same_keys && rule.when.attempts.is_some() == when.attempts.is_some()
        });
        let state = kept.map(|rule| Arc::clone(&rule.state));
        Some(Arc::new(Rule {
            metrics: self.metrics.rule(&name, fault_names(spec)),
            seed: self.setting.seed.rule(&name),
            name,
            space,
            stage,
            listeners: spec.listener.as_ref().map(|listeners| listeners.value.0.clone()),
            enabled: spec.enabled,
            shadow: spec.shadow,
            condition,
            when,
            outcomes,
            state: state.unwrap_or_else(|| {
                let mut fresh = RuleState::new(self.now, keys).within(&self.overall);
                fresh.take_switch(known.map(|rule| &*rule.state));
                Arc::new(fresh)
            }),
            fingerprint: fingerprint.get(),
        }))
    }

    fn check_name(&mut self, name: &Spanned<String>) {
        if name.value.trim().is_empty() {
            self.error(name.span, "a rule's name is empty");
        } else if name.value.chars().any(char::is_control) {
            self.error(
                name.span,
                "a rule's name can't contain a control character, such as a newline",
            );
        } else if name.value.len() > 200 {
            self.error(
                name.span,
                "a rule's name can have at most 200 bytes: it is used in headers and metrics",
            );
        }
    }

    fn check_space(&mut self, spec: &RuleSpec) {
        if let Some(space) = &spec.space
            && let Err(message) = check_space(&space.value)
        {
            self.error(space.span, message);
        }
    }

    fn check_listeners(&mut self, spec: &RuleSpec) {
        let Some(listeners) = &spec.listener else { return };
        for name in &listeners.value.0 {
            if self.setting.listeners.contains(&name.as_str()) || self.gaps.may_have("listeners", name) {
                continue;
            }
            let help = match did_you_mean(name, self.setting.listeners.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known listeners: {}", self.setting.listeners.join(", ")),
            };
            let message = format!("the rule can never fire: there is no listener `{name}`");
            self.diagnostics
                .push(Diagnostic::error(listeners.span, message).help(help));
        }
    }

    fn check_upstreams(&mut self, spec: &RuleSpec) {
        let Some(upstreams) = &spec.upstream else { return };
        let of_rule = |listener: &str| {
            let listeners = spec.listener.as_ref();
            listeners.is_none_or(|names| names.value.0.iter().any(|name| name == listener))
        };
        // Where the requests of a listener go may have been left out.
        let is_open = self.gaps.names("listeners").any(of_rule) || self.gaps.may_have("listeners", "");
        for name in &upstreams.value.0 {
            let is_known = self.setting.upstreams.contains(&name.as_str());
            if !is_known && self.gaps.may_have("upstreams", name) {
                continue;
            }
            let (message, help) = if !is_known {
                let help = match did_you_mean(name, self.setting.upstreams.iter().copied()) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("known upstreams: {}", self.setting.upstreams.join(", ")),
                };
                (format!("the rule can never fire: there is no upstream `{name}`"), help)
            } else if !is_open && !self.setting.leads.iter().any(|(from, to)| to == name && of_rule(from)) {
                let listeners = if spec.listener.is_some() {
                    "none of the rule's listeners"
                } else {
                    "no listener"
                };
                let help = "a listener's requests go to its `upstream`, and to those of its `routes`".to_owned();
                (
                    format!("the rule can never fire: {listeners} leads to the upstream `{name}`"),
                    help,
                )
            } else {
                continue;
            };
            self.diagnostics
                .push(Diagnostic::error(upstreams.span, message).help(help));
        }
    }

    fn condition(&mut self, spec: &RuleSpec) -> Condition {
        let mut mistakes = Vec::new();
        let condition = match &spec.matches {
            Some(matches) => Condition::compile(matches, &mut mistakes),
            None => Condition::All(Vec::new()),
        };
        if mistakes.is_empty() && condition.is_never() {
            self.error(
                spec.name.span,
                "the rule can never fire: its `match` excludes every request",
            );
        }
        for (span, message) in mistakes {
            self.error(span, message);
        }
        for (span, message) in spec.matches.as_deref().into_iter().flat_map(doubts::of_match) {
            self.diagnostics.push(Diagnostic::warning(span, message));
        }
        match &spec.upstream {
            Some(upstreams) => Condition::All(vec![Condition::Upstream(upstreams.value.0.clone()), condition]),
            None => condition,
        }
    }

    fn outcomes(&mut self, spec: &RuleSpec, when: &When, fingerprint: &Cell<u64>) -> Vec<Outcome> {
        let mut position = 0;
        match (&spec.faults, &spec.choose) {
            (Some(faults), None) => {
                if faults.value.is_empty() {
                    self.error(faults.span, "the list is empty: a rule needs at least one fault");
                }
                let faults = self.faults(spec, &faults.value, when, &mut position, fingerprint);
                vec![Outcome { weight: 1, faults }]
            }
            (None, Some(choose)) => {
                let sum: u64 = choose.value.iter().map(|outcome| u64::from(outcome.value.weight)).sum();
                if sum == 0 {
                    self.error(choose.span, "the rule can never fire: all weights are 0");
                }
                let mut outcomes = Vec::new();
                for outcome in &choose.value {
                    let faults = self.faults(spec, &outcome.value.faults, when, &mut position, fingerprint);
                    outcomes.push(Outcome {
                        weight: outcome.value.weight,
                        faults,
                    });
                }
                if outcomes.iter().all(|outcome| outcome.faults.is_empty()) {
                    self.error(choose.span, "the rule can never fire: no outcome has faults");
                }
                outcomes
            }
            (Some(_), Some(choose)) => {
                self.error(choose.span, "`faults` can't be combined with `choose`");
                Vec::new()
            }
            (None, None) => {
                let message = format!("the rule `{}` does nothing", spec.name.value);
                let help = "add `faults: [{delay: 200ms}]` or `choose: […]`";
                self.diagnostics
                    .push(Diagnostic::error(spec.name.span, message).help(help));
                Vec::new()
            }
        }
    }

    fn faults(
        &mut self,
        rule: &RuleSpec,
        specs: &[Spanned<FaultSpec>],
        when: &When,
        position: &mut u32,
        fingerprint: &Cell<u64>,
    ) -> Vec<RuleFault> {
        let mut faults: Vec<RuleFault> = Vec::new();
        let mut spans = Vec::new();
        for (at, spec) in specs.iter().enumerate() {
            let name = spec.value.name();
            let fault = match self.fault(rule, spec, when, fingerprint) {
                Ok(fault) => fault,
                Err(message) => {
                    self.error(spec.span, message);
                    *position += 1;
                    continue;
                }
            };
            if self.is_for_bytes(rule)
                && let Err(reason) = on_connection(&*fault, self.setting.seed)
            {
                let message = format!("`{name}` can't act on the connections of the rule's tcp listeners: {reason}");
                self.error(spec.span, message);
            }
            if !when.requested {
                self.warn_overtaken(&faults, &spans, name, &*fault);
            }
            if let Some(doubt) = fault.doubt() {
                self.diagnostics
                    .push(Diagnostic::warning(spec.span, format!("`{name}`: {doubt}")));
            }
            let ends = !when.requested && fault.ends().is_some();
            spans.push(spec.span);
            faults.push(RuleFault {
                name,
                position: *position,
                fault,
            });
            *position += 1;
            if ends && let Some(next) = specs.get(at + 1) {
                let subject = Stage::of(spec.value.moment()).subject();
                let message = format!("never reached: the earlier `{name}` ends the {subject}");
                self.diagnostics.push(Diagnostic::warning(next.span, message));
                *position += u32::try_from(specs.len() - at - 1).unwrap_or(0);
                break;
            }
        }
        faults
    }

    /// Warns of faults on bodies for which the later fault `end` leaves no body to act on.
    fn warn_overtaken(&mut self, before: &[RuleFault], spans: &[Span], name: &str, end: &dyn Fault) {
        for (fault, span) in before.iter().zip(spans) {
            if is_overtaken(&*fault.fault, end) {
                let message =
                    format!("never happens: the later `{name}` ends the request before there is a body to act on");
                self.diagnostics.push(Diagnostic::warning(*span, message));
            }
        }
    }

    fn fault(
        &self,
        rule: &RuleSpec,
        spec: &Spanned<FaultSpec>,
        when: &When,
        fingerprint: &Cell<u64>,
    ) -> Result<Box<dyn Fault>, String> {
        // File contents are part of the fingerprint: a changed samples file changes the rule.
        let read = |path: &Path, max_bytes: usize| -> io::Result<Bytes> {
            let bytes = self.files.read(path, max_bytes)?;
            fingerprint.set(xxh3_64_with_seed(
                &bytes,
                fingerprint.get() ^ xxh3_64(path.as_os_str().as_encoded_bytes()),
            ));
            Ok(bytes)
        };
        let context = context::Context {
            folder: self.sources.directory(spec.span.source).unwrap_or(Path::new(".")),
            read: &read,
            keys: self.setting.keys,
            longest_wait: self.setting.longest_wait,
            templates: self.setting.templates,
            rule: &rule.name.value,
        };
        let fault = spec.value.compile(&context)?;
        if fault.needs_order() && !when.key.is_ordinal() {
            return Err(format!(
                "`correlation` needs an order, but the key `{}` has none: leave out `key`",
                when.key
            ));
        }
        if when.requested {
            fault.check_requested(spec.value.name())?;
        }
        Ok(fault)
    }

    /// Reports a rule that can never fire because an earlier one ends every request.
    fn check_reachable<'s>(&mut self, spec: &'s RuleSpec, rule: &Rule, blockers: &mut Vec<Blocker<'s>>) {
        let names = |spec: &RuleSpec| spec.listener.as_ref().map(|listeners| listeners.value.0.clone());
        // Rules for everybody follow those of spaces, so they overtake none of them.
        let covers = |blocker: &RuleSpec| {
            blocker.space() == spec.space()
                && match (names(blocker), names(spec)) {
                    (None, _) => true,
                    (Some(_), None) => false,
                    (Some(all), Some(mine)) => mine.iter().all(|name| all.contains(name)),
                }
        };
        let blocks = |blocker: &&Blocker<'_>| blocker.stage == rule.stage && covers(blocker.spec);
        if let Some(blocker) = blockers.iter().find(blocks) {
            let message = format!(
                "the rule can never fire: the earlier `{}` ends every {}",
                blocker.spec.name.value,
                rule.stage.subject()
            );
            let diagnostic = Diagnostic::error(spec.name.span, message).also(blocker.spec.name.span, "this one");
            self.diagnostics
                .push(diagnostic.help("put it before that rule, or narrow that rule's `match` or `when`"));
            return;
        }
        let ends = |outcome: &Outcome| outcome.faults.iter().any(|fault| fault.fault.ends().is_some());
        let always = rule.enabled && !rule.shadow && rule.condition.is_always() && rule.when.is_always();
        if always && rule.outcomes.iter().all(ends) {
            blockers.push(Blocker {
                spec,
                stage: rule.stage,
            });
        }
    }
}

/// Checks that a fault can act on a connection that has no requests: at least one of its effects must be able to.
fn on_connection(fault: &dyn Fault, seed: Seed) -> Result<(), &'static str> {
    let (head, rule) = (Head::of_connection(None, None), seed.rule(""));
    let effects = fault.effects(&HitRequest {
        head: &head,
        draw: rule.draw(KeyHash::ordinal(1)),
        rule,
        ordinal: 1,
        position: 0,
        since: Duration::ZERO,
        counts: false,
    });
    let mut checked = effects.iter().map(Effect::on_connection);
    let first = checked.next().unwrap_or(Ok(()));
    if checked.any(|checked| checked.is_ok()) {
        Ok(())
    } else {
        first
    }
}

/// Whether `end`, later in the list, ends every request before there is the body that `fault` acts on: injected responses
/// are not shaped.
fn is_overtaken(fault: &dyn Fault, end: &dyn Fault) -> bool {
    match (fault.body(), end.ends()) {
        (Some(_), Some(Before::Request)) => true,
        (Some(body), Some(Before::Response)) => body == Direction::Response,
        _ => false,
    }
}

/// The names of a rule's faults, by position.
fn fault_names(spec: &RuleSpec) -> impl Iterator<Item = &'static str> {
    let faults = spec.faults.iter().flat_map(|faults| &faults.value);
    let chosen = spec
        .choose
        .iter()
        .flat_map(|choose| &choose.value)
        .flat_map(|outcome| &outcome.value.faults);
    faults.chain(chosen).map(|fault| fault.value.name())
}
