//! Puts rules to listeners: the file's and those that the API has added, for the file's listeners and those of spaces.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::{Listener, ListenerKind, Snapshot};
use crate::config::layer::{ApiLayer, Draft, Refusal};
use crate::metrics::Metrics;
use crate::proxy::exchange::view::View;
use crate::proxy::listen::gate::ConnectionView;
use crate::proxy::net::address::AddressSpec;
use crate::proxy::tcp::view::TcpView;
use crate::rule::decide::Rule;
use crate::rule::id::RuleId;
use crate::rule::sets::RuleSets;
use crate::rule::spec::RuleSpec;
use crate::rule::stage::Stage;
use crate::yaml::report::did_you_mean;

/// Where a listener is, and for whom.
struct Seat<'a> {
    name: &'a Arc<str>,
    address: &'a AddressSpec,
    space: Option<&'a Arc<str>>,
}

impl Snapshot {
    /// The snapshot with its listeners, and with its rules sorted to them. What has not changed since `previous` is kept.
    pub(in crate::config) fn arranged(mut self, previous: Option<&Snapshot>) -> Snapshot {
        // Unchanged views keep their place in running listeners, and unchanged sets their index.
        let same_file = previous.is_some_and(|previous| Arc::ptr_eq(&previous.spec, &self.spec));
        let known: HashMap<&Arc<str>, &Listener> = previous
            .iter()
            .flat_map(|previous| &previous.listeners)
            .map(|listener| (&listener.name, listener))
            .collect();
        let rules = in_force(&self.file_rules, &self.layer);
        let bases: Vec<&Listener> = self
            .listeners
            .iter()
            .filter(|listener| listener.space.is_none())
            .collect();
        let own = bases.iter().map(|base| {
            let seat = Seat {
                name: &base.name,
                address: &base.address,
                space: None,
            };
            (*base, seat)
        });
        let of_spaces = self.layer.listeners().filter_map(|(space, listener)| {
            let base = bases.iter().find(|base| base.name == listener.of)?;
            let seat = Seat {
                name: &listener.name,
                address: &listener.address,
                space: Some(space),
            };
            Some((*base, seat))
        });
        let listeners = own.chain(of_spaces);
        let listeners = listeners.map(|(base, seat)| {
            let known = known.get(seat.name).copied();
            base.ruled(&seat, &rules, known, same_file)
        });
        self.listeners = listeners.collect();
        let added = self.layer.rules().iter().filter(|rule| rule.rule.is_ok());
        let shadowing: HashSet<&RuleId> = added.clone().map(|rule| &rule.id).collect();
        let of_file = self.file_guards.iter();
        let of_file = of_file.filter(|guard| guard.rule.as_ref().is_none_or(|rule| !shadowing.contains(rule)));
        self.guards = of_file.chain(added.flat_map(|rule| &rule.guards)).cloned().collect();
        self.rules = rules;
        let secrets = || self.layer.rules().iter().flat_map(|rule| &rule.secrets);
        self.masks = match secrets().next() {
            None => Arc::clone(&self.file_masks),
            Some(_) => Arc::new(self.file_masks.with(secrets())),
        };
        self
    }
}

impl Snapshot {
    /// This file's configuration in the place of another one, with what the API had added to that.
    pub fn following(mut self, previous: &Snapshot, now: Instant, metrics: &Metrics) -> Snapshot {
        let revision = previous.revision + 1;
        let known: HashMap<*const Rule, u64> = previous
            .file_rules
            .iter()
            .map(|(rule, revision)| (Arc::as_ptr(rule), *revision))
            .collect();
        for (rule, changed) in &mut self.file_rules {
            *changed = known.get(&Arc::as_ptr(rule)).copied().unwrap_or(revision);
        }
        self.revision = previous.revision;
        self.layer = Arc::clone(&previous.layer);
        let mut draft = Draft::new(&self, now, metrics);
        draft.refit();
        match draft.finish() {
            Some(next) => next.arranged(Some(previous)),
            None => self,
        }
    }

    /// The file's rule with this id, as typed.
    pub fn file_spec(&self, id: &RuleId) -> Option<&RuleSpec> {
        let is_it = |spec: &&RuleSpec| spec.name.value == *id.name && spec.space() == id.space.as_deref();
        self.spec.rules.iter().find(is_it)
    }

    /// The revision of a rule's last change.
    pub fn revision_of(&self, id: &RuleId) -> Option<u64> {
        if let Some(rule) = self.layer.rule(id) {
            return Some(rule.revision);
        }
        let mut of_file = self.file_rules.iter();
        of_file
            .find(|(rule, _)| rule.id() == *id)
            .map(|(_, revision)| *revision)
    }

    /// The refusal of what is asked about a rule that does not exist.
    pub fn unknown_rule(&self, id: &RuleId) -> Refusal {
        let in_space = |rule: &&Arc<Rule>| rule.space == id.space;
        let names = self.rules.iter().filter(in_space).map(|rule| &*rule.name);
        Refusal::Unknown(match did_you_mean(&id.name, names) {
            Some(near) => format!("there is no rule {id}; did you mean `{near}`?"),
            None => format!("there is no rule {id}"),
        })
    }
}

/// The rules in the order of their decisions: those of the API come first, or in the place of the rule that they shadow.
fn in_force(file: &[(Arc<Rule>, u64)], layer: &ApiLayer) -> Vec<Arc<Rule>> {
    let added: HashMap<RuleId, &Arc<Rule>> = layer.in_force().map(|rule| (rule.id(), rule)).collect();
    let of_file: HashSet<RuleId> = file.iter().map(|(rule, _)| rule.id()).collect();
    let first = layer.in_force().filter(|rule| !of_file.contains(&rule.id()));
    let rest = file
        .iter()
        .map(|(rule, _)| added.get(&rule.id()).copied().unwrap_or(rule));
    first.chain(rest).cloned().collect()
}

impl Listener {
    /// This listener, or a copy of it in another seat, with the rules that apply to it.
    fn ruled(&self, seat: &Seat<'_>, rules: &[Arc<Rule>], known: Option<&Listener>, same_file: bool) -> Listener {
        let mine = |rule: &&Arc<Rule>| {
            let listeners = rule.listeners.as_ref();
            listeners.is_none_or(|names| names.iter().any(|name| **name == *self.of))
        };
        let of_stage = |stage, before: Option<&RuleSets>| {
            let rules = rules.iter().filter(mine).filter(|rule| rule.stage == stage);
            RuleSets::new(rules.cloned().collect(), seat.space.cloned(), before)
        };
        let on_accept = of_stage(Stage::Connection, known.map(|known| &known.connection.on_accept));
        let handshake = of_stage(Stage::Handshake, known.map(|known| &known.connection.handshake));
        let on_request = of_stage(Stage::Request, known.map(Listener::rules));
        let kept = known.filter(|_| same_file);
        let connection = match kept.map(|known| &known.connection) {
            Some(known) if known.on_accept.is_same(&on_accept) && known.handshake.is_same(&handshake) => {
                Arc::clone(known)
            }
            _ => Arc::new(ConnectionView {
                on_accept,
                handshake,
                space: seat.space.cloned(),
                ..ConnectionView::clone(&self.connection)
            }),
        };
        let kind = match (kept.map(|known| (known.rules(), &known.kind)), &self.kind) {
            (Some((rules, kind)), _) if rules.is_same(&on_request) => kind.clone(),
            (_, ListenerKind::Http(view)) => ListenerKind::Http(Arc::new(View {
                rules: on_request,
                space: seat.space.cloned(),
                ..View::clone(view)
            })),
            (_, ListenerKind::Tcp(view)) => ListenerKind::Tcp(Arc::new(TcpView {
                rules: on_request,
                space: seat.space.cloned(),
                ..TcpView::clone(view)
            })),
        };
        Listener {
            name: Arc::clone(seat.name),
            address: seat.address.clone(),
            // A copy has an address of its own, which a caller has just asked for.
            enabled: self.enabled || seat.space.is_some(),
            space: seat.space.cloned(),
            connection,
            kind,
            ..self.clone()
        }
    }
}
