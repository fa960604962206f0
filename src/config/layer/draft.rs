//! A change of the API's layer in the making.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::text::{self, Read};
use super::{ApiLayer, ApiRule, MAX_RULES};
use crate::config::guard::{Compile, Guard};
use crate::config::masks::{is_hidden, typed_secrets};
use crate::config::snapshot::Snapshot;
use crate::files::Named;
use crate::metrics::Metrics;
use crate::rule::compile::{self, Setting};
use crate::rule::decide::Rule;
use crate::rule::id::RuleId;
use crate::rule::spec::RuleSpec;
use crate::rule::switch::Switch;
use crate::yaml::decode::Gaps;
use crate::yaml::report::{Diagnostic, Report, Severity, Sources};
use crate::yaml::units::Time;

pub use super::text::Text;

/// Why a change is refused. Nothing has changed then.
#[derive(Debug)]
pub enum Refusal {
    /// What it is about does not exist.
    Unknown(String),
    /// It does not fit the state in force.
    Conflict(String),
    /// Somebody else has changed it since the caller read it.
    Stale {
        /// The revision in force.
        revision: u64,
    },
    /// What was sent has mistakes.
    Invalid(Report),
    /// It would exceed a bound.
    Full(String),
    /// The operating system refuses it, such as an address that is in use.
    System(String),
    /// squall is stopping.
    Stopping,
}

/// A condition on the revision of what is changed, against lost updates (RFC 9110, section 13.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Expected {
    /// Any.
    #[default]
    Any,
    /// One of these (`If-Match`).
    Revision(Vec<u64>),
    /// It exists (`If-Match: *`).
    Exists,
    /// It does not exist (`If-None-Match: *`).
    Absent,
}

/// Which rules are to be reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those of a space, or without one those that concern everybody.
    OfSpace(Option<Arc<str>>),
    /// This one.
    One(RuleId),
}

/// What becomes of a rule's switch with a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switched {
    /// Put into this position.
    To(Switch),
    /// Left to the rule's `enabled` again, if it was switched by hand.
    AsConfigured,
}

/// The next layer, which the changes so far have made.
#[derive(Debug)]
pub struct Draft<'a> {
    pub(super) base: &'a Snapshot,
    pub(super) layer: ApiLayer,
    file_rules: Vec<(Arc<Rule>, u64)>,
    pub(super) now: Instant,
    metrics: &'a Metrics,
    warnings: Vec<Report>,
    switched: Vec<(RuleId, Switched)>,
    pub(super) changed: bool,
}

impl<'a> Draft<'a> {
    /// Begins with what is in force.
    pub fn new(base: &'a Snapshot, now: Instant, metrics: &'a Metrics) -> Draft<'a> {
        Draft {
            base,
            layer: ApiLayer::clone(&base.layer),
            file_rules: base.file_rules.clone(),
            now,
            metrics,
            warnings: Vec::new(),
            switched: Vec::new(),
            changed: false,
        }
    }

    /// Notes what becomes of a rule's switch once the change is in force.
    pub fn switch(&mut self, id: &RuleId, to: Switched) {
        self.switched.push((id.clone(), to));
    }

    /// The switches to change, in the order in which they were noted.
    pub fn take_switched(&mut self) -> Vec<(RuleId, Switched)> {
        std::mem::take(&mut self.switched)
    }

    /// The revision that the change will have.
    fn revision(&self) -> u64 {
        self.base.revision + 1
    }

    /// What is doubtful about what was sent.
    pub fn warnings(&self) -> &[Report] {
        &self.warnings
    }

    /// The snapshot with all changes; `None` if there was none.
    pub fn finish(self) -> Option<Snapshot> {
        if !self.changed {
            return None;
        }
        let mut next = self.base.clone();
        next.revision = self.revision();
        next.layer = Arc::new(self.layer);
        next.file_rules = self.file_rules;
        Some(next.arranged(Some(self.base)))
    }

    /// Notes a change that is outside of the layer, such as a switch, and gives the rule a new revision.
    ///
    /// # Errors
    /// [`Refusal::Unknown`].
    pub fn touch(&mut self, id: &RuleId) -> Result<(), Refusal> {
        let revision = self.revision();
        if let Some(rule) = self.layer.rules.iter_mut().find(|rule| rule.id == *id) {
            Arc::make_mut(rule).revision = revision;
        } else if let Some((_, known)) = self.file_rules.iter_mut().find(|(rule, _)| rule.id() == *id) {
            *known = revision;
        } else {
            return Err(self.base.unknown_rule(id));
        }
        self.changed = true;
        Ok(())
    }

    /// Notes a change of something that belongs to no rule.
    pub fn touch_all(&mut self) {
        self.changed = true;
    }

    /// Checks a condition on a rule's revision.
    ///
    /// # Errors
    /// [`Refusal::Stale`].
    pub fn expect(&self, id: &RuleId, expected: &Expected) -> Result<(), Refusal> {
        check(expected, self.base.revision_of(id))
    }

    /// Checks a condition on the revision of everything.
    ///
    /// # Errors
    /// [`Refusal::Stale`].
    pub fn expect_all(&self, expected: &Expected) -> Result<(), Refusal> {
        check(expected, Some(self.base.revision))
    }

    /// Adds a rule, or replaces one of the API. Returns whether the API had none of this id.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::Full`].
    pub fn put(&mut self, id: &RuleId, text: Text) -> Result<bool, Refusal> {
        let read = text::rule(text, id).map_err(Refusal::Invalid)?;
        let (read, sources, diagnostics) = self.unmasked(read.value, read.sources, read.diagnostics);
        let (rule, warnings) = self.compile(read, sources, diagnostics)?;
        self.warnings.extend(warnings);
        self.insert(rule)
    }

    /// The rule with the secrets that its caller was not shown, if it was read here and sent again.
    fn unmasked(&self, mut read: Read, sources: Arc<Sources>, diagnostics: Vec<Diagnostic>) -> Sent {
        let known = self.layer.rule(&read.id).map(|rule| &*rule.spec);
        let known = known.or_else(|| self.base.file_spec(&read.id));
        let trees = known.map(|known| (serde_json::to_value(&read.spec), serde_json::to_value(known)));
        let Some((Ok(mut sent), Ok(original))) = trees else {
            return (read, sources, diagnostics);
        };
        if !self.base.masks.unmask(&mut sent, &original) {
            return (read, sources, diagnostics);
        }
        let folder = sources.directory(read.spec.name.span.source).unwrap_or(Path::new(""));
        let text = Text {
            text: format!("{sent:#}"),
            folder: folder.to_owned(),
        };
        // Mistakes of the text that was sent have positions in that text.
        let is_wrong = diagnostics.iter().any(|one| one.severity == Severity::Error);
        match text::rule(text, &read.id) {
            Ok(whole) if !is_wrong => {
                read.spec = whole.value.spec;
                (read, whole.sources, whole.diagnostics)
            }
            _ => (read, sources, diagnostics),
        }
    }

    /// Applies a merge patch (RFC 7396) to a rule as typed. One of the file is copied, and shadowed by the copy.
    ///
    /// # Errors
    /// [`Refusal::Unknown`], [`Refusal::Invalid`], [`Refusal::Full`].
    pub fn patch(&mut self, id: &RuleId, patch: &Value) -> Result<(), Refusal> {
        let known = self.layer.rule(id).cloned();
        let (spec, sources) = match &known {
            Some(rule) => (&*rule.spec, &rule.sources),
            None => {
                let spec = self.base.file_spec(id).ok_or_else(|| self.base.unknown_rule(id))?;
                (spec, self.base.warnings.sources())
            }
        };
        let folder = sources.directory(spec.name.span.source).unwrap_or(Path::new(""));
        let original = serde_json::to_value(spec).unwrap_or_default();
        let mut value = original.clone();
        merge(&mut value, patch);
        self.base.masks.unmask(&mut value, &original);
        let text = Text {
            text: format!("{value:#}"),
            folder: folder.to_owned(),
        };
        let read = text::rule(text, id).map_err(Refusal::Invalid)?;
        let (mut rule, warnings) = self.compile(read.value, read.sources, read.diagnostics)?;
        self.warnings.extend(warnings);
        if patch.get("ttl").is_none() {
            rule.expires = known.and_then(|known| known.expires);
        }
        self.insert(rule).map(drop)
    }

    /// Removes a rule of the API.
    ///
    /// # Errors
    /// [`Refusal::Unknown`]; [`Refusal::Conflict`] for a rule of the file.
    pub fn remove(&mut self, id: &RuleId) -> Result<(), Refusal> {
        let Some(at) = self.layer.rules.iter().position(|rule| rule.id == *id) else {
            return Err(match self.base.file_spec(id) {
                None => self.base.unknown_rule(id),
                Some(_) => Refusal::Conflict(format!(
                    "the rule {id} stands in the configuration file, which the API does not change; to switch it off, send \
                     PATCH with {{\"enabled\": false}}"
                )),
            });
        };
        self.layer.rules.remove(at);
        self.changed = true;
        self.renew(id.space.as_deref());
        Ok(())
    }

    /// Puts the rules of the API into another order.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] if these are not exactly the rules of the API.
    pub fn order(&mut self, ids: &[RuleId]) -> Result<(), Refusal> {
        let wanted: HashSet<&RuleId> = ids.iter().collect();
        let known: HashSet<&RuleId> = self.layer.rules.iter().map(|rule| &rule.id).collect();
        if wanted != known || ids.len() != known.len() {
            let names: Vec<String> = self.layer.rules.iter().map(|rule| rule.id.to_string()).collect();
            return Err(Refusal::Conflict(format!(
                "the order must name each rule of the API once: {}",
                names.join(", ")
            )));
        }
        let rules = ids.iter().filter_map(|id| self.layer.rule(id).cloned()).collect();
        self.layer.rules = rules;
        self.changed = true;
        Ok(())
    }

    /// Replaces all rules of the API at once. Spaces stay.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::Full`].
    pub fn replace(&mut self, text: Text) -> Result<(), Refusal> {
        let read = text::layer(text).map_err(Refusal::Invalid)?;
        let (mut rules, mut diagnostics) = (Vec::new(), read.diagnostics);
        let mut seen = HashSet::new();
        for one in read.value {
            if !seen.insert(one.id.clone()) {
                let message = format!("two rules have the name {}", one.id);
                diagnostics.push(Diagnostic::error(one.spec.name.span, message));
            }
            let at = one.spec.name.span;
            let (one, sources, found) = self.unmasked(one, Arc::clone(&read.sources), Vec::new());
            let is_as_sent = Arc::ptr_eq(&sources, &read.sources);
            match self.compile(one, sources, found) {
                Ok((rule, warnings)) => {
                    rules.push(rule);
                    self.warnings.extend(warnings);
                }
                Err(Refusal::Invalid(report)) if is_as_sent => diagnostics.extend(report.into_diagnostics()),
                // Their positions are in another text.
                Err(Refusal::Invalid(report)) => {
                    let found = report.into_diagnostics().into_iter();
                    diagnostics.extend(found.map(|one| Diagnostic::error(at, one.message)));
                }
                Err(other) => return Err(other),
            }
        }
        let report = Report::new(diagnostics, read.sources);
        if report.has_errors() {
            return Err(Refusal::Invalid(report));
        }
        self.layer.rules.clear();
        self.changed = true;
        for rule in rules {
            self.insert(rule)?;
        }
        Ok(())
    }

    /// Removes all rules of the API.
    pub fn clear(&mut self) {
        self.layer.rules.clear();
        self.changed = true;
    }

    /// Forgets what rules have counted and remembered, and begins their schedules anew.
    ///
    /// # Errors
    /// [`Refusal::Unknown`], or [`Refusal::Invalid`] if a file that the rule reads has changed for the worse.
    pub fn reset(&mut self, which: &Which) -> Result<(), Refusal> {
        let revision = self.revision();
        let is_meant = |rule: &RuleId| match which {
            Which::All => true,
            Which::OfSpace(space) => rule.space == *space,
            Which::One(id) => id == rule,
        };
        let mut found = !matches!(which, Which::One(_));
        for at in 0..self.layer.rules.len() {
            let Some(rule) = self.layer.rules.get(at).filter(|rule| is_meant(&rule.id)).cloned() else {
                continue;
            };
            found = true;
            let known = rule.rule.as_ref().ok();
            if let Ok(fresh) = self.fresh(&rule.spec, &rule.sources, known)
                && let Some(rule) = self.layer.rules.get_mut(at)
            {
                let rule = Arc::make_mut(rule);
                rule.rule = Ok(fresh);
                rule.revision = revision;
            }
        }
        for at in 0..self.file_rules.len() {
            let known = self.file_rules.get(at).map(|(rule, _)| rule.id());
            let Some(known) = known.filter(|known| is_meant(known)) else {
                continue;
            };
            found = true;
            if let Some(spec) = self.base.file_spec(&known) {
                let fresh = self
                    .fresh(spec, self.base.warnings.sources(), self.file_rule(&known).as_ref())
                    .map_err(Refusal::Invalid)?;
                if let Some(slot) = self.file_rules.get_mut(at) {
                    *slot = (fresh, revision);
                }
            }
        }
        self.changed = true;
        match which {
            Which::One(id) if !found => Err(self.base.unknown_rule(id)),
            _ => Ok(()),
        }
    }

    /// Puts rules back as they were in an earlier layer, or away if they were not in it. What they have counted stays.
    ///
    /// # Errors
    /// [`Refusal::Full`]. Rules that no longer fit the file are put back all the same, out of force.
    pub fn restore(&mut self, ids: &[RuleId], earlier: &ApiLayer) -> Result<(), Refusal> {
        for id in ids {
            match earlier.rule(id) {
                None => {
                    let before = self.layer.rules.len();
                    self.layer.rules.retain(|rule| rule.id != *id);
                    self.changed |= self.layer.rules.len() != before;
                }
                Some(rule) => {
                    let mut rule = ApiRule::clone(rule);
                    self.fit(&mut rule);
                    self.insert(rule)?;
                }
            }
        }
        Ok(())
    }

    /// Compiles all rules of the API again, for another file. Those that don't fit it are kept, out of force.
    pub fn refit(&mut self) {
        for at in 0..self.layer.rules.len() {
            if let Some(rule) = self.layer.rules.get(at) {
                let mut rule = ApiRule::clone(rule);
                self.fit(&mut rule);
                if let Some(slot) = self.layer.rules.get_mut(at) {
                    *slot = Arc::new(rule);
                }
            }
        }
        self.changed = true;
    }

    fn fit(&self, rule: &mut ApiRule) {
        let known = rule.known().cloned();
        let known = known.filter(|known| known.state.switch() != Switch::Removed);
        let known = known.or_else(|| self.file_rule(&rule.id));
        let compiled = self.compiled(&rule.spec, &rule.sources, known.as_ref(), &rule.guards, Vec::new());
        rule.last = known.filter(|_| compiled.is_err());
        if let Ok(fit) = &compiled {
            rule.guards = fit.guards.clone();
        }
        rule.rule = compiled.map(|fit| fit.rule).map_err(|report| {
            let errors = report.diagnostics().iter();
            let errors = errors.filter(|one| one.severity == Severity::Error);
            errors.map(|one| one.message.as_str()).collect::<Vec<_>>().join("; ")
        });
    }

    fn compile(
        &self,
        read: Read,
        sources: Arc<Sources>,
        diagnostics: Vec<Diagnostic>,
    ) -> Result<(ApiRule, Option<Report>), Refusal> {
        let Read { id, spec, ttl } = read;
        let secrets = typed_secrets(&spec);
        let mut diagnostics = diagnostics;
        if secrets.iter().any(|text| is_hidden(text)) {
            let message = "the rule has `***` in the place of a secret, as squall shows it";
            let diagnostic = Diagnostic::error(spec.name.span, message);
            diagnostics.push(diagnostic.help("send the secret itself, or change the rule with PATCH"));
        }
        let before = self.layer.rule(&id);
        let known = before.and_then(|rule| rule.known()).cloned();
        let known = known.or_else(|| self.file_rule(&id));
        // Those of the file's rule that it is going to shadow, too: what they have seen stays.
        let guards: Vec<Arc<Guard>> = match before {
            Some(before) => before.guards.clone(),
            None => self.base.guards.clone(),
        };
        let compiled = self.compiled(&spec, &sources, known.as_ref(), &guards, diagnostics);
        let Compiled { rule, guards, warnings } = compiled.map_err(Refusal::Invalid)?;
        let rule = ApiRule {
            id,
            spec: Arc::new(spec),
            sources,
            expires: ttl.and_then(|ttl: Time| self.now.checked_add(ttl.get())),
            revision: self.revision(),
            guards,
            secrets,
            last: None,
            rule: Ok(rule),
        };
        Ok((rule, warnings))
    }

    fn file_rule(&self, id: &RuleId) -> Option<Arc<Rule>> {
        let mut rules = self.file_rules.iter().map(|(rule, _)| rule);
        rules.find(|rule| rule.id() == *id).cloned()
    }

    /// The rule with nothing counted and remembered. Its switch stays as it is.
    fn fresh(&self, spec: &RuleSpec, sources: &Arc<Sources>, known: Option<&Arc<Rule>>) -> Result<Arc<Rule>, Report> {
        let mut rule = self.compiled(spec, sources, None, &[], Vec::new())?.rule;
        if let Some(rule) = Arc::get_mut(&mut rule)
            && let Some(state) = Arc::get_mut(&mut rule.state)
        {
            state.take_switch(known.map(|known| &*known.state));
        }
        Ok(rule)
    }

    /// Compiles a rule by itself: one that ends every request may stand before others.
    fn compiled(
        &self,
        spec: &RuleSpec,
        sources: &Arc<Sources>,
        known: Option<&Arc<Rule>>,
        known_guards: &[Arc<Guard>],
        mut diagnostics: Vec<Diagnostic>,
    ) -> Result<Compiled, Report> {
        let setting = Setting::of(&self.base.spec, self.base.seed);
        let guards = self.guards(spec, known_guards, &setting.tcp_listeners, &mut diagnostics);
        let files: &[PathBuf] = &self.base.rule_files;
        let mut rules = compile::compile(&mut compile::Context {
            specs: std::slice::from_ref(spec),
            setting,
            sources,
            overall: Arc::clone(&self.base.overall),
            previous: known.into_iter().collect(),
            keeps_state: true,
            // Callers can't read files, except those that clients are shown already.
            files: &Named::only(files.iter().cloned()),
            now: self.now,
            metrics: self.metrics,
            diagnostics: &mut diagnostics,
            gaps: Gaps::NONE,
        });
        let mut report = Report::new(diagnostics, Arc::clone(sources));
        report.change_texts(|text| self.base.masks.text(text));
        match rules.pop() {
            Some(rule) if !report.has_errors() => Ok(Compiled {
                rule,
                guards,
                warnings: (!report.is_empty()).then_some(report),
            }),
            _ => Err(report),
        }
    }

    /// The guards of a rule, beside those of all others. Those that were known before keep what they have seen: a reload has only
    /// those of the file in force yet.
    fn guards(
        &self,
        spec: &RuleSpec,
        known: &[Arc<Guard>],
        tcp: &[&str],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Vec<Arc<Guard>> {
        if spec.stop_when.is_none() {
            return Vec::new();
        }
        let id = RuleId::new(spec.space(), &spec.name.value);
        let is_own = |guard: &&Arc<Guard>| guard.rule.as_ref() == Some(&id);
        let own: Vec<_> = known.iter().filter(is_own).cloned().collect();
        let others: Vec<_> = self.base.guards.iter().filter(|one| !is_own(one)).cloned().collect();
        let mut compile = Compile::new(&own, self.now);
        // Counted for the bound on all guards, and for names that are taken.
        let before = others.len();
        compile.guards = others;
        compile.of_rule(spec, tcp, diagnostics);
        compile.guards.split_off(before)
    }

    /// Puts a rule in the place of the one with its id, or behind all others.
    fn insert(&mut self, rule: ApiRule) -> Result<bool, Refusal> {
        let space = rule.id.space.clone();
        let is_full = self.layer.rules.len() >= MAX_RULES;
        let known = self.layer.rules.iter_mut().find(|known| known.id == rule.id);
        let new = known.is_none();
        match known {
            Some(known) => *known = Arc::new(rule),
            None if is_full => {
                return Err(Refusal::Full(format!("the API has added {MAX_RULES} rules already")));
            }
            None => self.layer.rules.push(Arc::new(rule)),
        }
        if let Some(space) = &space
            && !self.layer.spaces.contains_key(space)
        {
            self.open_space(space)?;
        }
        self.renew(space.as_deref());
        self.changed = true;
        Ok(new)
    }
}

/// What was sent, with the text that it was read from, and the mistakes so far.
type Sent = (Read, Arc<Sources>, Vec<Diagnostic>);

/// A rule that fits the file.
struct Compiled {
    rule: Arc<Rule>,
    guards: Vec<Arc<Guard>>,
    warnings: Option<Report>,
}

fn check(expected: &Expected, known: Option<u64>) -> Result<(), Refusal> {
    let holds = match expected {
        Expected::Any => true,
        Expected::Revision(wanted) => known.is_some_and(|known| wanted.contains(&known)),
        Expected::Exists => known.is_some(),
        Expected::Absent => known.is_none(),
    };
    if holds {
        Ok(())
    } else {
        Err(Refusal::Stale {
            revision: known.unwrap_or(0),
        })
    }
}

/// A merge patch: RFC 7396, section 2.
fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = Value::Object(serde_json::Map::new());
    }
    if let Value::Object(fields) = value {
        for (name, change) in changes {
            if change.is_null() {
                fields.remove(name);
            } else {
                merge(fields.entry(name).or_insert(Value::Null), change);
            }
        }
    }
}
