//! The keys of a rule in the words of other tools, and those of its `when`, its `limits` and its outcomes.

use super::block::{Block, quoted_lines};
use super::conditions::Conditions;
use super::units::{percent, probability};
use super::value::{entries, flow, is_nested, number, plain, text};
use super::{condition, faults, instead, listener, read, said, when, write};
use crate::yaml::decode::word::{Hint, Word};
use crate::yaml::tree::Node;

/// Words that hold what happens, for those whose value says nothing.
const EFFECTS: &[&str] = &[
    "fault", "action", "actions", "then", "inject", "effects", "toxics", "plugins", "effect",
];

/// squall's own keys of a rule.
const OWN: &[&str] = &[
    "name",
    "listener",
    "upstream",
    "match",
    "when",
    "faults",
    "choose",
    "stop_when",
    "enabled",
    "shadow",
    "space",
];

/// A word among the keys of a rule.
pub(super) fn rule(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    let key = plain(word.key);
    if OWN.contains(&word.key) && !word.is_value {
        return None;
    }
    match &*key {
        "when" if word.is_value => bare_when(value),
        "match" if word.is_value => condition::in_match(&condition::of(value)?),
        "listeners" | "proxy" | "service" | "target" => {
            said("a rule belongs to a listener: write `listener: NAME`, or nothing for all of them")
        }
        "stream" | "direction" => stream(word),
        "priority" | "order" => said("rules are tried in the order of the file: put the rule higher"),
        "description" | "comment" | "id" | "title" | "uuid" | "metadata" => {
            said("write it as a comment, `# …`, or as the rule's `name`")
        }
        "disabled" | "active" => write("enabled: false"),
        "dryrun" | "logonly" => write("shadow: true"),
        "scenarioname" | "requiredscenariostate" | "newscenariostate" => said(
            "a rule has no states: write `when: {attempts: 1, key: client}` for what comes first, or give a fake's route `state: \
             {name: order, is: started, becomes: paid}`",
        ),
        "persistent" | "insertionindex" => said("leave it out"),
        "timeout" if read::is_patience(value, word.map) => Block::of_word("timeout", value, word.map).in_rule(),
        // The settings may stand beside it, as those of Chaos Mesh's `action: netem` do.
        _ if EFFECTS.contains(&&*key) && Block::of_word(word.key, value, word.map).is_empty() => {
            let all = of_rule(word);
            if all.has_effect() {
                all.placed(listener::is_tcp(word)).in_rule()
            } else {
                faults::unread(word, example(&key)?)
            }
        }
        _ => block(word).or_else(|| faults::unread(word, example(&key)?)),
    }
}

/// The lines for what a key says, with what the rule's other keys say of the same.
fn block(word: &Word<'_>) -> Option<Hint> {
    let mut own = Block::of_word(word.key, word.value, word.map);
    if own.is_empty() {
        return None;
    }
    let all = of_rule(word);
    own.upstream = own.upstream.and(all.upstream);
    if own.has_effect() && own.choose.is_empty() && all.choose.is_empty() {
        own.faults = all.faults;
    }
    if !own.when.is_empty() {
        own.when = all.when;
    }
    if !own.conditions.is_empty() {
        own.conditions = all.conditions;
    }
    own.placed(listener::is_tcp(word)).in_rule()
}

/// What all keys of a rule say, squall's own among them.
fn of_rule(word: &Word<'_>) -> Block {
    let mut all = Block::default();
    for (key, value) in entries(word.map) {
        match key {
            "match" if word.key != "match" => all.conditions.extend(Conditions::verbatim(value)),
            "name" | "listener" | "upstream" | "enabled" | "shadow" | "stop_when" | "choose" | "space" | "service"
            | "target" => {}
            _ => all.extend(Block::of_word(key, value, word.map)),
        }
    }
    let stream = text(word.map, &["stream"]);
    all.direct(stream.map(|stream| matches!(stream, "upstream" | "request")));
    all
}

/// Toxiproxy's stream: what comes from the upstream is the response.
fn stream(word: &Word<'_>) -> Option<Hint> {
    let is_request = matches!(word.value.text(), Some("upstream" | "request"));
    let mut block = of_rule(word);
    if !is_request || !block.has_effect() {
        return faults::direction(word.value);
    }
    block.direct(Some(true));
    Block {
        faults: block.placed(listener::is_tcp(word)).faults,
        ..Block::default()
    }
    .in_rule()
}

/// A line for a word whose value says nothing.
fn example(key: &str) -> Option<Hint> {
    match key {
        _ if EFFECTS.contains(&key) || key == "faults" => instead("faults", "faults: [delay: 200ms]"),
        "outcomes" | "oneof" | "weights" | "weighted" | "responses" | "sequence" => {
            instead("choose", "choose: [{weight: 1, faults: [abort: 503]}, {weight: 9}]")
        }
        "request" | "httprequest" | "if" | "conditions" | "matcher" | "matches" | "matchers" | "route" | "on" => {
            write("match: {method: POST, path: /api/**}")
        }
        _ => {
            let hint = faults::example(key)?;
            let line = hint.help.strip_prefix("write `")?.strip_suffix('`')?;
            instead("faults", format!("faults: [{line}]"))
        }
    }
}

/// `when:` that is a number.
fn bare_when(value: &Node) -> Option<Hint> {
    match number(value) {
        Some(share) if share > 0.0 && share < 1.0 => said(format!(
            "write `when: {}`, or `when: {}` if that share of a hundred is meant",
            probability(value)?,
            percent(value)?
        )),
        _ => write(format!("when: {}", percent(value)?)),
    }
}

/// A word in `when`.
pub(super) fn when(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    let is_own = [
        "percentage",
        "key",
        "attempts",
        "every",
        "schedule",
        "limits",
        "requested",
    ]
    .contains(&word.key);
    if is_own && !(word.is_value && is_nested(value)) {
        return None;
    }
    match &*plain(word.key) {
        "numerator" | "denominator" => write(format!("percentage: {}", percent(word.map)?)),
        "sticky" | "by" | "per" | "hash" => write(format!(
            "key: {}",
            value.text().filter(|key| key.contains(':')).unwrap_or("client")
        )),
        "header" => write("match: {headers: {x-user: present}}"),
        _ => match when::read(word.key, value, true) {
            Some(when) => said(quoted_lines(&when.entries())?),
            None => {
                let conditions = condition::read(word.key, value)?;
                said(format!("write `{}` beside `when`", conditions.line()))
            }
        },
    }
}

/// A word in `limits`.
pub(super) fn limits(word: &Word<'_>) -> Option<Hint> {
    if matches!(word.key, "active" | "total" | "share" | "rate" | "expires") {
        return None;
    }
    let (key, value) = when::limit(word.key, word.value)?;
    write(format!("{key}: {value}"))
}

/// A word beside the condition of `stop_when` that it belongs to.
pub(super) fn stop_when(word: &Word<'_>) -> Option<Hint> {
    let own = ["errors", "p50", "p90", "p95", "p99"];
    let (key, value) = entries(word.map).find(|(key, _)| own.contains(key))?;
    let parts = entries(word.map).filter(|(key, _)| matches!(*key, "over" | "at_least"));
    let parts: Vec<String> = parts.map(|(key, value)| format!(", {key}: {}", flow(value))).collect();
    if parts.is_empty() || is_nested(value) {
        return None;
    }
    super::whole(write(format!("{key}: {{above: {}{}}}", flow(value), parts.concat()))?)
}

/// A word in `schedule`.
pub(super) fn schedule(word: &Word<'_>) -> Option<Hint> {
    let when = when::read(word.key, word.value, true)?;
    write(when.schedule()?)
}

/// A word in an outcome of `choose`.
pub(super) fn outcome(word: &Word<'_>) -> Option<Hint> {
    match &*plain(word.key) {
        "percentage" | "percent" | "probability" | "share" => {
            let weight = number(word.value).or_else(|| word.value.text()?.strip_suffix('%')?.trim().parse().ok());
            instead("weight", format!("weight: {}", whole(weight.unwrap_or(5.0))))
        }
        _ => {
            let block = Block::of_word(word.key, word.value, word.map);
            if block.faults.is_empty() {
                return faults::example(&plain(word.key)).and_then(|_| instead("faults", "faults: [abort: 503]"));
            }
            let faults = block.faults.iter().map(|hit| hit.fault.to_string()).collect::<Vec<_>>();
            instead("faults", format!("faults: [{}]", faults.join(", ")))
        }
    }
}

/// A weight is a whole number; shares as fractions keep their proportions.
fn whole(weight: f64) -> String {
    let scale = [1.0, 10.0, 100.0, 1_000.0]
        .into_iter()
        .find(|scale| (weight * scale).fract().abs() < 1e-9);
    format!("{:.0}", weight * scale.unwrap_or(1_000.0))
}
