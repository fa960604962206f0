//! Steers the rules of a running squall: by its API's layer of rules, as every other caller does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::Scenario;
use super::steer::{RuleNow, Steer};
use crate::config::Source;
use crate::config::layer::draft::Text;
use crate::config::layer::{ApiLayer, Draft, Refusal};
use crate::config::snapshot::Snapshot;
use crate::rule::id::RuleId;
use crate::server::Server;
use crate::yaml::report::Report;

/// Changes the rules of a server on behalf of a scenario.
#[derive(Debug)]
pub struct Live {
    server: Arc<Server>,
    /// The spaces of the rules that the scenario brings along, by name.
    spaces: BTreeMap<String, Option<String>>,
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
        enabled: rule.enabled,
        spec: spec.ok()?,
    })
}

impl Steer for Live {
    type Saved = Arc<ApiLayer>;

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

    async fn try_put(&self, rules: &[Value]) -> Result<(), Report> {
        let snapshot = self.server.snapshot();
        let texts: Vec<(RuleId, Text)> = rules
            .iter()
            .map(|rule| {
                let name = rule.get("name").and_then(Value::as_str).unwrap_or_default();
                (self.id(&snapshot, name), self.text(rule))
            })
            .collect();
        let trying = self.server.try_change(move |draft| {
            for (id, text) in texts {
                draft.put(&id, text)?;
            }
            Ok(())
        });
        match trying.await {
            Ok(_) => Ok(()),
            Err(Refusal::Invalid(report)) => Err(report),
            Err(other) => Err(Report::new(
                vec![crate::yaml::report::Diagnostic::error(None, in_words(other))],
                Arc::default(),
            )),
        }
    }

    fn save(&self, _: &[Arc<str>]) -> Arc<ApiLayer> {
        Arc::clone(&self.server.snapshot().layer)
    }

    async fn restore(&self, names: &[Arc<str>], saved: &Arc<ApiLayer>) -> Result<(), String> {
        let (ids, saved) = (self.ids(names), Arc::clone(saved));
        self.change(move |draft| draft.restore(&ids, &saved)).await
    }

    async fn reset(&self, names: &[Arc<str>]) -> Result<(), String> {
        let snapshot = self.server.snapshot();
        let ids: Vec<RuleId> = names
            .iter()
            .map(|name| self.id(&snapshot, name))
            .filter(|id| rule_now(&snapshot, id).is_some())
            .collect();
        self.change(move |draft| ids.iter().try_for_each(|id| draft.reset(Some(id))))
            .await
    }

    async fn switch(&self, name: &Arc<str>, on: Option<bool>) -> Result<(), String> {
        let Some(on) = on else {
            // The runner puts the whole rule back instead.
            return Ok(());
        };
        self.patch(name, json!({"enabled": on})).await
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
        None
    }
}
