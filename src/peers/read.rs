//! The one translation of other tools' words: what a key and its value say, wherever they are pasted.

use super::block::{Block, Hit};
use super::conditions::Conditions;
use super::effect::{faults, share_in, statuses};
use super::fault::Fault;
use super::units::{SECOND, percent, probability, time};
use super::value::{entries, first, flow, is_nested, is_true, items, number, plain, quoted, text};
use super::{abort, condition, delay, tc, when};
use crate::yaml::tree::{NOTHING, Node, Value};

/// Why a destination is left out.
const ROUTE: &str = "leave the route out: where requests go stands in a listener's `upstream`";

/// Why several destinations are left out.
pub(super) const WEIGHTS: &str = "squall does not split requests by weight: leave the weights out, and give each destination that \
                                  has conditions of its own a route among the `routes` of a listener";

/// What is said of a second try.
pub(super) const RETRIES: &str = "leave the retries out: squall does not retry";

pub(super) const MIRROR: &str = "leave the mirror out: squall sends no copies to another server; `duplicate: {}` sends a request to its own \
                      server twice";

/// What Envoy's faults do whose share is not given.
pub(super) const UNSET: &str = "Istio and Envoy inject nothing without a `percentage`, while this is for all requests";

/// What changes a path.
pub(super) const REWRITE: &str = "paths change in the `routes` of a listener: a route has `strip_prefix: /api` and `add_prefix: /v2`; the \
                                  Host is the upstream's `host`";

/// What becomes of routes with equal requests.
const FIRST_MATCH: &str = "the first route that matches takes a request, while every rule that matches hits it: add `not` to the \
                           `match` of later rules where the matches overlap";

const UNREACHED: &str = "a route after one without conditions is never reached: left out";

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
        block.direct(text(map, &["stream", "direction"]).and_then(is_upstream));
        block
    }

    /// What one key of a map says.
    pub(super) fn of_word(key: &str, value: &Node, map: &Node) -> Self {
        let mut block = Self::default();
        block.read(key, value, map);
        block.direct(text(map, &["stream"]).and_then(is_upstream));
        if when::is_share(key) && block.when.line() == "when: 100%" {
            block.when = when::When::default();
            block.note("leave it out: a rule without `when` is for all requests");
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
            // The filter by its name, in Envoy's configuration of a route.
            _ if name.ends_with("http.fault") => self.inner(value, &name),
            "latencyplugin" => self.delay(value),
            "genericrandomerrorplugin" | "graphrandomerrorplugin" => {
                let share = first(value, &["rate"])
                    .and_then(percent)
                    .unwrap_or_else(|| "50%".to_owned());
                self.hit(Hit {
                    share: Some(share),
                    ..Hit::from(Fault::of("abort", "status", 503))
                });
            }
            "errorsfile" => self.hit(Fault::of("abort", "status", 503).into()),
            "response" | "httpresponse" | "respond" | "reply" | "responsedefinition" => self.response(value),
            "responses" | "sequence" | "outcomes" | "oneof" | "weighted" => self.outcomes(value),
            "match" | "request" | "httprequest" | "if" | "conditions" | "matcher" | "matches" | "matchers" | "on" => {
                self.conditions.extend(condition::of(value).unwrap_or_default());
            }
            "when" => self.when.own(value),
            "route" if is_nested(value) => self.route(value),
            "weightedclusters" | "weights" | "backendrefs" => self.note(WEIGHTS),
            "mirror" | "mirrors" | "mirrorpercentage" | "requestmirrorpolicies" => self.note(MIRROR),
            "timeout" if is_patience(value, map) => self.note(&patience(value, map)),
            "retries" | "retrypolicy" | "pertrytimeout" | "numretries" | "retryon" => self.note(RETRIES),
            "faultinjection" => self.effects(value, map),
            "headers" if rewrites(value).is_some() => {
                if let Some(fault) = rewrites(value) {
                    self.hit(fault.into());
                }
            }
            "upstreamcluster" => self.upstream = value.text().map(quoted),
            "hosts" if first(map, &["http"]).is_some() => {
                self.note("`hosts` is left out: for these alone add `host` to the `match`");
            }
            "redirect" => self.note(
                "leave the redirect out; a rule that redirects has `abort: {status: 302, headers: {location: /new}}` in its `faults`",
            ),
            "corspolicy" => self.note("leave it out: `cors` of a listener says which pages may read responses"),
            _ if name.ends_with("runtime") || name == "runtimekey" => self.note("leave it out: squall has no runtime"),
            "directresponse" => self.response(value),
            "rewrite" if first(value, &["uri", "authority", "uriregexrewrite"]).is_some() => self.note(REWRITE),
            "connectionoptions" => {
                if first(value, &["closesocket"]).is_some_and(is_true) {
                    self.hit(Fault::new("goaway").into());
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
            if hits.iter().any(|hit| hit.share.is_none()) && is_unset(value) {
                self.note(UNSET);
            }
            hits.into_iter().for_each(|hit| self.hit(hit));
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

    fn hit(&mut self, hit: Hit) {
        if !self.faults.contains(&hit) {
            self.faults.push(hit);
        }
    }

    fn delay(&mut self, value: &Node) {
        if let Some(delay) = delay::of(value) {
            self.hit(Hit {
                share: share_in(value),
                ..Hit::from(delay)
            });
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
            self.hit(Hit { share, ..hit });
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
                        Some(hits) => hits.into_iter().for_each(|hit| self.hit(hit)),
                        None => self.extend(tc::of(name, item).unwrap_or_default()),
                    }
                }
                None => {
                    let mut block = Self::of_map(item);
                    if items(value).len() > 1 {
                        block.share_out();
                    }
                    self.extend(block);
                }
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
            [one] => self.hit(one.clone().into()),
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
            _ if items(value).len() > 1 => self.note(WEIGHTS),
            _ => self.note(ROUTE),
        }
        // Envoy's route says there how long to wait and how often.
        for (key, inner) in items(value).iter().flat_map(entries) {
            match &*plain(key) {
                "timeout" => self.note(&patience(inner, value)),
                "retrypolicy" => self.note(RETRIES),
                "weightedclusters" => self.note(WEIGHTS),
                "requestmirrorpolicies" => self.note(MIRROR),
                _ => {}
            }
        }
    }
}

/// Whether a map is a route of Istio or Envoy, which says what happens to requests apart from faults.
fn is_route(map: &Node) -> bool {
    let words = [
        "route",
        "fault",
        "retries",
        "mirror",
        "redirect",
        "rewrite",
        "retrypolicy",
        "cluster",
        "corspolicy",
    ];
    first(map, &words).is_some()
}

/// Whether a `timeout` is how long to wait for a response. Toxiproxy's, which is a fault, is a number of milliseconds.
pub(super) fn is_patience(value: &Node, map: &Node) -> bool {
    let is_toxic = first(map, &["type", "toxic", "attributes"]).is_some();
    !is_toxic && !is_nested(value) && (number(value).is_none() || is_route(map))
}

/// What to do with a timeout that is no fault.
fn patience(value: &Node, map: &Node) -> String {
    let limit = time(value, SECOND).map_or_else(|| "10s".to_owned(), |limit| limit.to_string());
    let line = format!(
        "`timeout` is how long to wait for a response, not a fault; write `timeouts: {{read: {limit}}}` at the upstream"
    );
    if is_route(map) {
        line
    } else {
        format!(
            "{line}; to make clients wait that long for nothing write `hang: {{limit: {limit}}}` in the rule's `faults`"
        )
    }
}

/// Whether a fault is one of Envoy's or Istio's that says no share.
pub(super) fn is_unset(value: &Node) -> bool {
    let words = [
        "fixeddelay",
        "headerdelay",
        "httpstatus",
        "grpcstatus",
        "headerabort",
        "http2error",
        "fixedlimit",
        "headerlimit",
    ];
    first(value, &words).is_some() && share_in(value).is_none()
}

/// Istio's changes to header fields: `{request: {set: …}, response: {remove: …}}`.
pub(super) fn rewrites(value: &Node) -> Option<Fault> {
    let changes = |key| {
        let part = first(value, &[key])?;
        let known = ["remove", "set", "add"]
            .iter()
            .filter_map(|key| Some((*key, flow(part.get(key)?))));
        Some(super::value::map(known)).filter(|changes| changes != "{}")
    };
    let request = changes("request").map(|changes| format!("{{headers: {changes}}}"));
    let response = changes("response");
    (request.is_some() || response.is_some()).then(|| {
        Fault::new("rewrite")
            .maybe("headers", response)
            .maybe("request", request)
    })
}

fn is_upstream(text: &str) -> Option<bool> {
    match text {
        "upstream" | "request" => Some(true),
        "downstream" | "response" => Some(false),
        _ => None,
    }
}

/// The rules that a file of another tool makes: one for each block in it that says what happens.
pub(super) fn rules(key: &str, node: &Node) -> Vec<Block> {
    let mut blocks = Vec::new();
    search(key, node, DEEPEST, &mut blocks);
    blocks
}

fn search(key: &str, node: &Node, depth: usize, blocks: &mut Vec<Block>) {
    if depth == 0 {
        return;
    }
    match &node.value {
        Value::Seq(items) if matches!(key, "http" | "routes") => routes(items, depth - 1, blocks),
        Value::Seq(items) => items.iter().for_each(|item| search("", item, depth - 1, blocks)),
        Value::Map(_) => {
            let is_spec = entries(node).any(|(key, _)| matches!(key, "spec" | "static_resources"));
            let block = Block::of_map(node);
            if block.has_effect() && !is_spec {
                blocks.push(block);
            } else {
                let found = blocks.len();
                let inside = entries(node).filter(|(key, _)| !matches!(*key, "metadata" | "status"));
                inside.for_each(|(key, value)| search(key, value, depth - 1, blocks));
                let conditions = first(node, &["match", "matches"]).and_then(condition::of);
                for block in blocks.get_mut(found..).unwrap_or_default() {
                    block.conditions.extend(conditions.clone().unwrap_or_default());
                }
            }
        }
        _ => {}
    }
}

/// Routes, of which the first that matches takes a request: the rule of each is not for those of the routes before it.
fn routes(items: &[Node], depth: usize, blocks: &mut Vec<Block>) {
    let mut earlier: Vec<Conditions> = Vec::new();
    let mut is_told = true;
    for (number, item) in items.iter().enumerate() {
        let found = blocks.len();
        search("", item, depth, blocks);
        for block in blocks.get_mut(found..).unwrap_or_default() {
            earlier
                .iter()
                .for_each(|taken| block.conditions.add_unless(taken.clone()));
            if !is_told {
                block.note(FIRST_MATCH);
            }
        }
        let taken = first(item, &["match", "matches"]).filter(|matches| !is_all(matches));
        match taken.map(condition::of) {
            Some(Some(taken)) if taken.note().is_none() => earlier.push(taken),
            Some(_) => is_told = false,
            None => {
                // All requests are taken.
                let mut unreached = Vec::new();
                let rest = items.get(number + 1..).unwrap_or_default();
                rest.iter().for_each(|item| search("", item, depth, &mut unreached));
                if let Some(last) = blocks.last_mut().filter(|_| !unreached.is_empty()) {
                    last.note(UNREACHED);
                }
                return;
            }
        }
    }
}

/// Whether a match takes every request.
fn is_all(matches: &Node) -> bool {
    let is_every = |one: &Node| {
        let mut entries = entries(one);
        match (entries.next(), entries.next()) {
            (Some((key, value)), None) if matches!(&*plain(key), "prefix" | "uri" | "path") => {
                value.text().or_else(|| text(value, &["prefix", "value"])) == Some("/")
            }
            _ => false,
        }
    };
    items(matches).iter().any(is_every)
}

/// The share that a word says, if it is one of a share.
pub(super) fn as_share(key: &str, value: &Node) -> Option<String> {
    match &*plain(key) {
        "probability" | "chance" => probability(value),
        "percentage" | "percent" | "rate" | "loss" | "share" | "corrupt" | "duplicate" | "drop" => percent(value),
        _ => None,
    }
}
