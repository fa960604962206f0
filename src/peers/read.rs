//! The one translation of other tools' words: what a key and its value say, wherever they are pasted.

use super::block::{Block, Hit};
use super::effect::{faults, share_in, statuses};
use super::fault::Fault;
use super::units::{percent, probability};
use super::value::{entries, first, is_nested, is_true, items, number, plain, text};
use super::{abort, condition, delay, tc, when};
use crate::yaml::tree::{NOTHING, Node, Value};

/// Why a destination is left out.
const ROUTE: &str = "leave the route out: where requests go stands in a listener's `upstream`";

/// How deep blocks are looked for in a file of another tool.
const DEEPEST: usize = 24;

impl Block {
    /// What a map says as a whole.
    pub(super) fn of_map(map: &Node) -> Self {
        let mut block = Self::default();
        // What stands beside the type of a toxic without attributes are its settings.
        let is_flat = first(map, &["attributes"]).is_none() && Self::of_toxic(map).has_effect();
        let is_toxic = |key: &str| matches!(&*plain(key), "type" | "toxic") || when::is_share(key);
        for (key, value) in entries(map).filter(|(key, _)| !is_flat || is_toxic(key)) {
            block.read(key, value, map);
        }
        if text(map, &["stream", "direction"]).is_some_and(is_upstream) {
            for hit in &mut block.faults {
                hit.fault = hit.fault.clone().on_request();
            }
        }
        block
    }

    /// What one key of a map says.
    pub(super) fn of_word(key: &str, value: &Node, map: &Node) -> Self {
        let mut block = Self::default();
        block.read(key, value, map);
        if block.has_effect() && text(map, &["stream"]).is_some_and(is_upstream) {
            for hit in &mut block.faults {
                hit.fault = hit.fault.clone().on_request();
            }
        }
        block
    }

    fn read(&mut self, key: &str, value: &Node, map: &Node) {
        let name = plain(key);
        match &*name {
            "type" | "toxic" | "attributes" => self.toxic(map),
            "fault" | "faults" | "then" | "inject" | "action" | "actions" | "effects" | "toxics" | "chaos"
            | "effect" | "outcome" => self.effects(value, map),
            "typedconfig"
            | "config"
            | "typedperfilterconfig"
            | "spec"
            | "netem"
            | "network"
            | "httpfault"
            | "filter" => {
                self.inner(value, &name);
            }
            "latencyplugin" => self.delay(value),
            "genericrandomerrorplugin" | "graphrandomerrorplugin" => {
                let share = first(value, &["rate"])
                    .and_then(percent)
                    .unwrap_or_else(|| "50%".to_owned());
                self.hit(Fault::of("abort", "status", 503), Some(share));
            }
            "errorsfile" => self.hit(Fault::of("abort", "status", 503), None),
            "response" | "httpresponse" | "respond" | "reply" | "responsedefinition" => self.response(value),
            "responses" | "sequence" | "outcomes" | "oneof" | "weighted" => self.outcomes(value),
            "match" | "request" | "httprequest" | "if" | "conditions" | "matcher" | "matches" | "matchers" | "on" => {
                self.conditions.extend(condition::of(value).unwrap_or_default());
            }
            "when" => self.when.own(value),
            "route" if is_nested(value) => self.route(value),
            "mirror" => self.hit(Fault::new("duplicate"), None),
            "mirrorpercentage" => {}
            "connectionoptions" => {
                if first(value, &["closesocket"]).is_some_and(is_true) {
                    self.hit(Fault::new("goaway"), None);
                }
            }
            "times" | "timetolive" if first(value, &["unlimited"]).is_some_and(is_true) => {
                self.note("leave it out: a rule has no limit of its own");
            }
            "limit" | "buffer" | "limitbytes" | "queue"
                if number(value).is_some() && text(map, &["stream"]).is_none() => {}
            _ => self.word(key, &name, value, map),
        }
    }

    fn word(&mut self, key: &str, name: &str, value: &Node, map: &Node) {
        if let Some(hits) = faults(key, name, value, map) {
            if let ("resetpeer", [wait, _]) = (name, hits.as_slice()) {
                let limit = wait.fault.fixed().unwrap_or_default();
                self.note(&format!(
                    "for a tcp listener write `stall: {{limit: {limit}, end: reset}}`"
                ));
            }
            hits.into_iter().for_each(|hit| self.hit(hit.fault, hit.share));
            return;
        }
        if let Some(several) = statuses(name, value) {
            self.choose = several
                .into_iter()
                .map(|fault| ("1".to_owned(), vec![fault.to_string()]))
                .collect();
            return;
        }
        if let Some(more) = when::read(key, value, false) {
            self.when.extend(more);
        } else if let Some(more) = condition::read(key, value) {
            self.conditions.extend(more);
        }
    }

    fn hit(&mut self, fault: Fault, share: Option<String>) {
        let hit = Hit { fault, share };
        if !self.faults.contains(&hit) {
            self.faults.push(hit);
        }
    }

    fn note(&mut self, note: &str) {
        if self.notes.iter().all(|own| own != note) {
            self.notes.push(note.to_owned());
        }
    }

    fn delay(&mut self, value: &Node) {
        if let Some(delay) = delay::of(value) {
            self.hit(delay, share_in(value));
        }
    }

    /// What stands in a wrapper.
    fn inner(&mut self, value: &Node, name: &str) {
        for item in items(value) {
            match item.text() {
                Some(text) if name == "netem" || text.contains(' ') => {
                    self.extend(tc::of(text, item).unwrap_or_default());
                }
                _ => self.extend(Self::of_map(item)),
            }
        }
    }

    fn of_toxic(map: &Node) -> Self {
        let mut block = Self::default();
        block.toxic(map);
        block
    }

    /// A toxic: its type with its attributes. The type may be any fault, such as `{type: abort, status: 503}`.
    fn toxic(&mut self, map: &Node) {
        let Some(kind) = text(map, &["type", "toxic"]) else {
            return;
        };
        let attributes = first(map, &["attributes"]).unwrap_or(map);
        let hits = faults(kind, &plain(kind), attributes, map);
        for hit in hits.into_iter().flatten() {
            // The share of a toxic is that of its map.
            let share = hit
                .share
                .filter(|_| is_nested(attributes) && first(map, &["attributes"]).is_some());
            self.hit(hit.fault, share);
        }
    }

    /// `fault: {…}`, `action: delay`, `toxics: [latency]`.
    fn effects(&mut self, value: &Node, map: &Node) {
        for item in items(value) {
            match item.text() {
                // The settings stand beside it, as in Chaos Mesh.
                Some(name) => {
                    let settings = first(map, &[&plain(name)]).unwrap_or(item);
                    let settings = if settings.text() == Some(name) {
                        &NOTHING
                    } else {
                        settings
                    };
                    match faults(name, &plain(name), settings, map) {
                        Some(hits) => hits.into_iter().for_each(|hit| self.hit(hit.fault, hit.share)),
                        None => self.extend(tc::of(name, item).unwrap_or_default()),
                    }
                }
                None => self.extend(Self::of_map(item)),
            }
        }
    }

    /// A response: its delay, what happens to its connection, or what it says.
    fn response(&mut self, value: &Node) {
        if !is_nested(value) {
            self.faults.extend(abort::of(value).into_iter().map(Hit::from));
            return;
        }
        let before = self.faults.len();
        let mut ends = false;
        for (key, inner) in entries(value) {
            let name = plain(key);
            match &*name {
                "fault" => {
                    self.effects(inner, value);
                    ends = true;
                }
                "connectionoptions" => self.read(key, inner, value),
                name if abort::is_part(name) => {}
                _ => self.word(key, &name, inner, value),
            }
        }
        let answers = abort::of(value);
        let is_plain = |fault: &Fault| !fault.has("body") && !fault.has("json") && !fault.has("file");
        // A response that goes well is the upstream's own, if something else happens to it.
        let is_natural = |fault: &Fault| is_plain(fault) && abort::status_of(value).is_some_and(|status| status < 300);
        let only = self.faults.len() > before;
        match answers.as_slice() {
            [] => {}
            [one] if ends || (only && is_natural(one)) => {}
            [one] => self.hit(one.clone(), None),
            several => {
                self.choose = several
                    .iter()
                    .map(|one| ("1".to_owned(), vec![one.to_string()]))
                    .collect();
            }
        }
    }

    /// Several responses, one of which is given: by weight, if they have weights.
    fn outcomes(&mut self, value: &Node) {
        let outcome = |item: &Node| {
            let mut block = Self::default();
            block.response(first(item, &["response", "httpresponse"]).unwrap_or(item));
            block.extend(Self {
                faults: Self::of_map(item)
                    .faults
                    .into_iter()
                    .filter(|_| block.faults.is_empty())
                    .collect(),
                ..Self::default()
            });
            let faults = block.faults.iter().map(|hit| hit.fault.to_string()).collect();
            let weight = text(item, &["weight", "percentage", "percent"]).unwrap_or("1");
            (weight.trim_end_matches('%').to_owned(), faults)
        };
        self.choose = items(value).iter().map(outcome).collect();
    }

    /// Istio's destinations. Several with weights have no place in a rule; one is where requests go anyway.
    fn route(&mut self, value: &Node) {
        match condition::of(value) {
            Some(conditions) if first(value, &["destination"]).is_none() && !matches!(value.value, Value::Seq(_)) => {
                self.conditions.extend(conditions);
            }
            _ => self.note(ROUTE),
        }
    }
}

fn is_upstream(text: &str) -> bool {
    matches!(text, "upstream" | "request")
}

/// The rules that a file of another tool makes: one for each block in it that says what happens.
pub(super) fn rules(node: &Node) -> Vec<Block> {
    let mut blocks = Vec::new();
    search(node, DEEPEST, &mut blocks);
    blocks
}

fn search(node: &Node, depth: usize, blocks: &mut Vec<Block>) {
    if depth == 0 {
        return;
    }
    match &node.value {
        Value::Seq(items) => items.iter().for_each(|item| search(item, depth - 1, blocks)),
        Value::Map(_) => {
            let is_spec = entries(node).any(|(key, _)| matches!(key, "spec" | "static_resources"));
            let block = Block::of_map(node);
            if block.has_effect() && !is_spec {
                blocks.push(block);
            } else {
                entries(node).for_each(|(_, value)| search(value, depth - 1, blocks));
            }
        }
        _ => {}
    }
}

/// The share that a word says, if it is one of a share.
pub(super) fn as_share(key: &str, value: &Node) -> Option<String> {
    match &*plain(key) {
        "probability" | "chance" => probability(value),
        "percentage" | "percent" | "rate" | "loss" | "share" | "corrupt" | "duplicate" | "drop" => percent(value),
        _ => None,
    }
}
