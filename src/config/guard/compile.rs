//! Makes guards of what was typed, and reports every mistake with its position.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::probe::{Ask, Probe};
use super::{Condition, Guard, GuardState};
use crate::guards::natural::{Measure, Traffic};
use crate::guards::spec::{ErrorsForm, ErrorsSpec, GuardSpec, HealthSpec, PrometheusSpec, SlownessForm, SlownessSpec};
use crate::proxy::upstream::Page;
use crate::rule::id::RuleId;
use crate::rule::spec::RuleSpec;
use crate::yaml::decode::Spanned;
use crate::yaml::report::Diagnostic;
use crate::yaml::tree::identity_hash;
use crate::yaml::units::{Percentage, Time};

/// The most guards. Each is looked at several times a second.
const MAX_GUARDS: usize = 100;

/// The bounds of `over`.
const OVER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// The shortest time from one probe to the next.
const MIN_EVERY: Duration = Duration::from_millis(100);

/// Compiles guards, one list after the other.
#[derive(Debug)]
pub struct Compile<'a> {
    /// Those of the configuration before. Unchanged ones are kept.
    previous: &'a [Arc<Guard>],
    now: Instant,
    /// The guards so far.
    pub guards: Vec<Arc<Guard>>,
}

/// The rule that guards belong to.
#[derive(Debug, Clone)]
pub struct OfRule<'a> {
    /// The rule that the guards stop.
    pub id: &'a RuleId,
    /// The listeners that it applies to; `None`: all.
    pub listeners: Option<Vec<String>>,
    /// Whether all of them are for bytes, so that it never sees a request.
    pub of_bytes: bool,
}

type Mistakes = Vec<Diagnostic>;

impl<'a> Compile<'a> {
    /// Begins an empty list of guards, given those of the configuration before.
    pub fn new(previous: &'a [Arc<Guard>], now: Instant) -> Compile<'a> {
        Compile {
            previous,
            now,
            guards: Vec::new(),
        }
    }

    /// Compiles the guards of a rule, given the names of the listeners for bytes. Those with a mistake are left out.
    pub fn of_rule(&mut self, rule: &RuleSpec, tcp_listeners: &[&str], diagnostics: &mut Mistakes) {
        let Some(specs) = &rule.stop_when else { return };
        let listeners = rule.listener.as_ref().map(|listeners| listeners.value.0.clone());
        let mut named = listeners.iter().flatten().map(String::as_str);
        let of_bytes = listeners.is_some() && named.all(|name| tcp_listeners.contains(&name));
        let id = RuleId::new(rule.space(), &rule.name.value);
        let rule = OfRule {
            id: &id,
            listeners,
            of_bytes,
        };
        self.all(specs, Some(rule), diagnostics);
    }

    /// Compiles the guards of a rule, or of everything. Those with a mistake are left out.
    pub fn all(
        &mut self,
        specs: &Spanned<Vec<Spanned<GuardSpec>>>,
        rule: Option<OfRule<'_>>,
        diagnostics: &mut Mistakes,
    ) {
        if specs.value.is_empty() {
            let help = "add a condition such as `errors: 5%`, or leave out `stop_when`";
            diagnostics.push(Diagnostic::error(specs.span, "the list is empty").help(help));
        }
        for spec in &specs.value {
            match self.one(spec, rule.as_ref()) {
                Ok(guard) => self.guards.push(guard),
                Err(mistakes) => diagnostics.extend(mistakes),
            }
        }
    }

    /// Compiles one guard, which is not added.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn one(&self, spec: &Spanned<GuardSpec>, rule: Option<&OfRule<'_>>) -> Result<Arc<Guard>, Mistakes> {
        if self.guards.len() >= MAX_GUARDS {
            return wrong(spec, format!("at most {MAX_GUARDS} conditions are allowed in all"));
        }
        let (kind, condition) = self.condition(spec, rule)?;
        let name = self.name(spec, kind, rule)?;
        let listeners = rule.and_then(|rule| rule.listeners.as_ref());
        let of = rule.map(|rule| rule.id);
        let fingerprint = identity_hash(&spec.value, format_args!("{name} {of:?} {listeners:?}"), 0);
        let same = |other: &&Arc<Guard>| other.name == name && other.fingerprint == fingerprint;
        if let Some(known) = self.previous.iter().find(same) {
            return Ok(Arc::clone(known));
        }
        Ok(Arc::new(Guard {
            name,
            rule: of.cloned(),
            spec: spec.value.clone(),
            kind,
            condition,
            fingerprint,
            state: Mutex::new(GuardState::default()),
        }))
    }

    fn name(&self, spec: &Spanned<GuardSpec>, kind: &str, rule: Option<&OfRule<'_>>) -> Result<Arc<str>, Mistakes> {
        let taken = |name: &str| self.guards.iter().any(|guard| &*guard.name == name);
        if let Some(name) = &spec.value.name {
            let text = &name.value;
            if text.trim().is_empty() || text.chars().any(char::is_control) || text.len() > 200 {
                return wrong(name, "a condition's name must be one line of at most 200 bytes".into());
            }
            if taken(text) {
                return wrong(name, format!("two conditions have the name `{text}`"));
            }
            return Ok(text.as_str().into());
        }
        let plain = match rule {
            Some(OfRule {
                id: RuleId {
                    name,
                    space: Some(space),
                },
                ..
            }) => format!("{kind} of {name} in {space}"),
            Some(rule) => format!("{kind} of {}", rule.id.name),
            None => kind.to_owned(),
        };
        let numbered = (2..).map(|number| format!("{plain} {number}"));
        let mut names = std::iter::once(plain.clone()).chain(numbered);
        Ok(names.find(|name| !taken(name)).unwrap_or(plain).into())
    }

    fn condition(
        &self,
        spec: &Spanned<GuardSpec>,
        rule: Option<&OfRule<'_>>,
    ) -> Result<(&'static str, Condition), Mistakes> {
        let typed = &spec.value;
        let slowness = [
            ("p50", &typed.p50, 500_000),
            ("p90", &typed.p90, 100_000),
            ("p95", &typed.p95, 50_000),
            ("p99", &typed.p99, 10_000),
        ];
        let mut found = Vec::new();
        if let Some(errors) = &typed.errors {
            found.push(("errors", self.errors(errors, rule)));
        }
        for (kind, slow, most_ppm) in slowness {
            if let Some(slow) = slow {
                found.push((kind, self.slowness(kind, slow, most_ppm, rule)));
            }
        }
        if let Some(health) = &typed.health {
            found.push(("health", self.health(health)));
        }
        if let Some(prometheus) = &typed.prometheus {
            found.push(("prometheus", self.prometheus(prometheus)));
        }
        let kinds = "errors, p50, p90, p95, p99, health and prometheus";
        match (found.pop(), found.is_empty()) {
            (Some((kind, condition)), true) => Ok((kind, condition?)),
            (None, _) => wrong(spec, format!("the condition is missing: give one of {kinds}")),
            (Some(_), false) => wrong(
                spec,
                format!("more than one condition: give one of {kinds} for each entry"),
            ),
        }
    }

    fn errors(&self, spec: &Spanned<ErrorsForm>, rule: Option<&OfRule<'_>>) -> Result<Condition, Mistakes> {
        let ErrorsForm(ErrorsSpec { above, over, at_least }) = &spec.value;
        if *above == Percentage::ALL {
            return wrong(
                spec,
                "a share of errors can't be above 100%, so this never stops anything".into(),
            );
        }
        self.traffic(Measure::Errors, above.ppm(), (over, *at_least), rule)
    }

    /// A quantile is above a time if, and only if, more than the rest of the times are: more than 1% for p99.
    fn slowness(
        &self,
        kind: &str,
        spec: &Spanned<SlownessForm>,
        most_ppm: u32,
        rule: Option<&OfRule<'_>>,
    ) -> Result<Condition, Mistakes> {
        if rule.is_some_and(|rule| rule.of_bytes) {
            return wrong(
                spec,
                format!("`{kind}` needs responses, but the rule's listeners are for tcp: use `errors`"),
            );
        }
        let SlownessForm(SlownessSpec { above, over, at_least }) = &spec.value;
        self.traffic(Measure::SlowerThan(above.get()), most_ppm, (over, *at_least), rule)
    }

    fn traffic(
        &self,
        measure: Measure,
        most_ppm: u32,
        (over, at_least): (&Option<Spanned<Time>>, Option<NonZeroU32>),
        rule: Option<&OfRule<'_>>,
    ) -> Result<Condition, Mistakes> {
        let window = over.map_or(Duration::from_secs(30), |over| over.value.get());
        if let Some(over) = over
            && !(OVER.0..=OVER.1).contains(&window)
        {
            return wrong(over, "`over` must be from 1s to 1h".into());
        }
        let listeners = rule.and_then(|rule| rule.listeners.clone());
        Ok(Condition::Traffic {
            traffic: Arc::new(Traffic::new(listeners, measure, window, self.now)),
            measure,
            over: window,
            most_ppm,
            at_least: at_least.map_or(20, |at_least| u64::from(at_least.get())),
        })
    }

    fn health(&self, spec: &Spanned<HealthSpec>) -> Result<Condition, Mistakes> {
        let HealthSpec {
            url,
            every,
            timeout,
            failures,
        } = &spec.value;
        Ok(Condition::Probe(Box::new(Probe {
            page: Page::new(url, "", self.now)?,
            every: interval(every, 1)?,
            timeout: timeout.map_or(Duration::from_secs(1), Time::get),
            failures: failures.map_or(3, NonZeroU32::get),
            ask: Ask::Health,
        })))
    }

    fn prometheus(&self, spec: &Spanned<PrometheusSpec>) -> Result<Condition, Mistakes> {
        let PrometheusSpec {
            url,
            query,
            every,
            timeout,
            failures,
            on_error,
        } = &spec.value;
        if query.value.trim().is_empty() {
            return wrong(query, "the query is empty".into());
        }
        let encoded = percent_encoding::utf8_percent_encode(&query.value, percent_encoding::NON_ALPHANUMERIC);
        Ok(Condition::Probe(Box::new(Probe {
            page: Page::new(url, &format!("/api/v1/query?query={encoded}"), self.now)?,
            every: interval(every, 5)?,
            timeout: timeout.map_or(Duration::from_secs(2), Time::get),
            failures: failures.map_or(3, NonZeroU32::get),
            ask: Ask::Prometheus(*on_error),
        })))
    }
}

fn interval(every: &Option<Spanned<Time>>, default_seconds: u64) -> Result<Duration, Mistakes> {
    match every {
        Some(every) if every.value.get() < MIN_EVERY => wrong(every, "`every` must be at least 100ms".into()),
        Some(every) => Ok(every.value.get()),
        None => Ok(Duration::from_secs(default_seconds)),
    }
}

fn wrong<T, S>(place: &Spanned<S>, message: String) -> Result<T, Mistakes> {
    Err(vec![Diagnostic::error(place.span, message)])
}
