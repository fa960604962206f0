//! Steers the rules of a running squall: by its API's layer of rules, as every other caller does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::Scenario;
use super::steer::{RuleNow, Steer};
use crate::config::Source;
use crate::config::layer::draft::Text;
use crate::config::layer::{ApiLayer, Draft, Refusal, Which};
use crate::config::snapshot::Snapshot;
use crate::rule::id::RuleId;
use crate::rule::switch::Switch;
use crate::server::Server;

/// Changes the rules of a server on behalf of a scenario.
#[derive(Debug)]
pub struct Live {
    server: Arc<Server>,
    /// The spaces of the rules that the scenario brings along, by name.
    spaces: BTreeMap<String, Option<String>>,
    /// The names of the rules that the scenario may change.
    touched: Vec<Arc<str>>,
}

/// What rules were before a scenario.
#[derive(Debug)]
pub struct Before {
    layer: Arc<ApiLayer>,
    /// The positions of their switches.
    switches: Vec<(RuleId, Switch)>,
}

impl Live {
    /// What a scenario needs to change a server's rules.
    pub fn new(server: Arc<Server>, scenario: &Scenario) -> Live {
        let spaces = scenario.puts.iter().map(|put| {
            let space = put.space().map(str::to_owned);
            (put.name.value.clone(), space)
        });
        Live {
            server,
            spaces: spaces.collect(),
            touched: scenario.touched(),
        }
    }

    /// The id of a rule that a scenario names: its own, or one of everybody, or else one of a space.
    fn id(&self, snapshot: &Snapshot, name: &str) -> RuleId {
        if let Some(space) = self.spaces.get(name) {
            return RuleId::new(space.as_deref(), name);
        }
        let everybodys = RuleId::new(None, name);
        let ids = || snapshot.rules.iter().map(|rule| rule.id());
        if ids().any(|id| id == everybodys) {
            return everybodys;
        }
        let of_space = ids().find(|id| *id.name == *name);
        of_space.unwrap_or(everybodys)
    }

    fn ids(&self, names: &[Arc<str>]) -> Vec<RuleId> {
        let snapshot = self.server.snapshot();
        names.iter().map(|name| self.id(&snapshot, name)).collect()
    }

    fn switch_of(&self, id: &RuleId) -> Option<Switch> {
        let snapshot = self.server.snapshot();
        let rule = snapshot.rules.iter().find(|rule| rule.id() == *id);
        rule.map(|rule| rule.state.switch())
    }

    /// Changes rules, and has the refusal in words.
    async fn change(
        &self,
        change: impl FnOnce(&mut Draft<'_>) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<(), String> {
        let changed = self.server.change(change).await;
        changed.map(drop).map_err(in_words)
    }

    fn text(&self, rule: &Value) -> Text {
        Text {
            text: format!("{rule:#}"),
            folder: match self.server.source() {
                Source::File(path) => path.parent().unwrap_or(Path::new("")).to_owned(),
                Source::Demo => PathBuf::new(),
            },
        }
    }
}

fn in_words(refusal: Refusal) -> String {
    match refusal {
        Refusal::Unknown(detail) | Refusal::Conflict(detail) | Refusal::Full(detail) | Refusal::System(detail) => {
            detail
        }
        Refusal::Invalid(report) => report.summary(),
        Refusal::Stale { .. } => "somebody else has changed it".to_owned(),
        Refusal::Stopping => "squall is stopping".to_owned(),
    }
}

/// The rule in force with this id.
fn rule_now(snapshot: &Snapshot, id: &RuleId) -> Option<RuleNow> {
    let rule = snapshot.rules.iter().find(|rule| rule.id() == *id)?;
    let of_api = snapshot.layer.rule(id).filter(|known| known.rule.is_ok());
    let spec = match of_api {
        Some(known) => serde_json::to_value(&*known.spec),
        None => serde_json::to_value(snapshot.file_spec(id)?),
    };
    Some(RuleNow {
        name: Arc::clone(&rule.name),
        enabled: rule.is_on(),
        spec: spec.ok()?,
    })
}

impl Steer for Live {
    type Saved = Before;

    fn rules(&self) -> Vec<RuleNow> {
        let snapshot = self.server.snapshot();
        let rules = snapshot.rules.iter();
        rules.filter_map(|rule| rule_now(&snapshot, &rule.id())).collect()
    }

    fn rule(&self, name: &str) -> Option<RuleNow> {
        let snapshot = self.server.snapshot();
        rule_now(&snapshot, &self.id(&snapshot, name))
    }

    fn seed(&self) -> u64 {
        self.server.snapshot().seed.0
    }

    fn config_hash(&self) -> String {
        self.server.snapshot().hash.clone()
    }

    async fn try_put(&self, rule: &Value) -> Result<(), String> {
        let name = rule.get("name").and_then(Value::as_str).unwrap_or_default();
        let (id, text) = (self.id(&self.server.snapshot(), name), self.text(rule));
        let tried = self.server.try_change(move |draft| draft.put(&id, text).map(drop));
        match tried.await {
            Ok(_) => Ok(()),
            Err(Refusal::Invalid(report)) => {
                let mistakes = report.diagnostics().iter().map(|one| one.message.clone());
                Err(mistakes.collect::<Vec<_>>().join("; "))
            }
            Err(other) => Err(in_words(other)),
        }
    }

    fn save(&self, names: &[Arc<str>]) -> Before {
        let snapshot = self.server.snapshot();
        let ids = names.iter().map(|name| self.id(&snapshot, name));
        let switches = ids.filter_map(|id| {
            let rule = snapshot.rules.iter().find(|rule| rule.id() == id)?;
            Some((id, rule.state.switch()))
        });
        Before {
            switches: switches.collect(),
            layer: Arc::clone(&snapshot.layer),
        }
    }

    async fn restore(&self, names: &[Arc<str>], saved: &Before) -> Result<(), String> {
        let (ids, layer) = (self.ids(names), Arc::clone(&saved.layer));
        let rules = ids.clone();
        self.change(move |draft| draft.restore(&rules, &layer)).await?;
        for (id, switch) in saved.switches.iter().filter(|(id, _)| ids.contains(id)) {
            // What a guard has stopped since then stays off until somebody switches it on.
            let is_tripped = self.switch_of(id) == Some(Switch::Tripped);
            if !is_tripped && *switch != Switch::Tripped {
                // False only if a reload has taken the rule away.
                self.server.switch(id, *switch);
            }
        }
        Ok(())
    }

    async fn reset(&self, names: &[Arc<str>]) -> Result<(), String> {
        let snapshot = self.server.snapshot();
        let ids: Vec<RuleId> = names
            .iter()
            .map(|name| self.id(&snapshot, name))
            .filter(|id| rule_now(&snapshot, id).is_some())
            .collect();
        self.change(move |draft| ids.into_iter().try_for_each(|id| draft.reset(&Which::One(id))))
            .await
    }

    async fn switch(&self, name: &Arc<str>, on: Option<bool>) -> Result<(), String> {
        let to = match on {
            Some(true) => Switch::On,
            Some(false) => Switch::Off,
            None => Switch::Configured,
        };
        let id = self.id(&self.server.snapshot(), name);
        if self.server.switch(&id, to) {
            return Ok(());
        }
        Err("it is gone: was the configuration reloaded without it?".to_owned())
    }

    async fn patch(&self, name: &Arc<str>, patch: Value) -> Result<(), String> {
        let id = self.id(&self.server.snapshot(), name);
        self.change(move |draft| draft.patch(&id, &patch)).await
    }

    async fn put(&self, name: &Arc<str>, rule: &Value) -> Result<(), String> {
        let (id, text) = (self.id(&self.server.snapshot(), name), self.text(rule));
        self.change(move |draft| draft.put(&id, text).map(drop)).await
    }

    fn halted(&self) -> Option<String> {
        if let Some(stopped) = self.server.stopped() {
            let reason = stopped.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            return Some(format!("the stop switch was used{reason}"));
        }
        let snapshot = self.server.snapshot();
        let ids: Vec<RuleId> = self.touched.iter().map(|name| self.id(&snapshot, name)).collect();
        let mut touched = snapshot.rules.iter().filter(|rule| ids.contains(&rule.id()));
        let (rule, trip) = touched.find_map(|rule| Some((rule, rule.state.rule_switch().tripped()?)))?;
        Some(format!(
            "the guard {} has stopped the rule {}: {}",
            trip.guard, rule.name, trip.reason
        ))
    }
}
