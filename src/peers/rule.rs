//! Rules in the words of other tools: which share of the requests, how often, and keys that belong to a part of the rule.

use std::time::Duration;

use super::value::{first, flow, ms_or, number, percent, probability, time, word as scalar};
use super::{condition, distribution, faults, instead, said, write};
use crate::yaml::decode::word::{Hint, Word};
use crate::yaml::tree::{Node, Value};

/// squall's own faults, for those that stand beside the rule's name instead of in its list.
const FAULTS: &[&str] = &[
    "delay",
    "abort",
    "close",
    "reset",
    "goaway",
    "hang",
    "quota",
    "concurrency",
    "rewrite",
    "profile",
    "bandwidth",
    "dribble",
    "stall",
    "truncate",
    "corrupt",
    "drop",
    "duplicate",
    "certificate",
];

/// A word among the keys of a rule.
pub(super) fn rule(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    match word.key {
        "faults" if word.is_value => listed(value),
        "when" if word.is_value => bare_when(value),
        "match" if word.is_value => write(format!("match: {{path: {}}}", flow(value, "/api/**"))),
        "fault" if matches!(value.value, Value::Map(_)) => instead(
            "faults",
            faults::of_map(value).unwrap_or_else(|| "faults: [delay: 200ms, abort: 503]".to_owned()),
        ),
        "fault" | "action" | "actions" | "then" | "inject" | "effects" | "toxics" | "plugins" => match value.text() {
            Some(name) if faults::wiremock(name).is_some() => instead(
                "faults",
                format!("faults: [{}]", faults::wiremock(name).unwrap_or_default()),
            ),
            _ => instead("faults", "faults: [delay: 200ms, abort: 503]"),
        },
        "httpRequest" | "request" | "if" | "conditions" | "matcher" | "matches" | "matchers" | "filter" | "route"
        | "on" => request(value),
        "proxy" | "listeners" | "service" | "target" => {
            said("a rule belongs to a listener: write `listener: NAME`, or nothing for all of them")
        }
        "stream" | "direction" => {
            said("each fault has its own `direction`: write `truncate: {after: 1KiB, direction: request}`")
        }
        "priority" | "order" => said("rules are tried in the order of the file: put the rule higher"),
        "description" | "comment" | "id" | "title" => said("write it as a comment, `# …`, or as the rule's `name`"),
        "disabled" | "active" => write("enabled: false"),
        "dry_run" | "dryRun" | "log_only" => write("shadow: true"),
        "outcomes" | "oneOf" | "one_of" | "weights" | "weighted" => {
            instead("choose", "choose: [{weight: 1, faults: [abort: 503]}, {weight: 9}]")
        }
        "responses" | "sequence" => write("when: {attempts: 2, key: client}"),
        // Toxiproxy's own form of a toxic.
        "type" | "attributes" => {
            let kind = word.map.get("type").unwrap_or(value).text()?;
            let attributes = word.map.get("attributes").unwrap_or(word.map);
            instead("faults", format!("faults: [{}]", faults::named(kind, attributes)?))
        }
        "toxicity" | "probability" | "percentage" | "percent" | "chance" | "rate" | "times" | "count" | "every"
        | "attempts" | "key" | "schedule" | "limits" | "requested" | "max_active_faults" | "timeToLive"
        | "remainingTimes" | "share" => beside(word).and_then(write),
        key if FAULTS.contains(&key) => instead("faults", format!("faults: [{key}: {}]", flow(value, "{}"))),
        key if condition::is_key(key) => condition::line(key, value).and_then(write),
        _ => {
            let hint = faults::fault(word)?;
            let line = hint
                .help
                .strip_prefix("write `")
                .and_then(|rest| rest.strip_suffix('`'))?;
            instead("faults", format!("faults: [{line}]"))
        }
    }
}

/// A request as WireMock and MockServer describe it.
fn request(value: &Node) -> Option<Hint> {
    let method = value
        .get("method")
        .map(|method| format!("method: {}", flow(method, "POST")));
    let path = first(value, &["path", "urlPath", "url"]).map(|path| format!("path: {}", flow(path, "/api/**")));
    let parts: Vec<String> = [method, path].into_iter().flatten().collect();
    if parts.is_empty() {
        write("match: {method: POST, path: /api/**}")
    } else {
        write(format!("match: {{{}}}", parts.join(", ")))
    }
}

/// `faults:` that is a map or a name.
fn listed(value: &Node) -> Option<Hint> {
    match &value.value {
        Value::Map(entries) => {
            let faults: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", key.text().unwrap_or_default(), flow(value, "{}")))
                .collect();
            write(format!("faults: [{}]", faults.join(", ")))
        }
        _ => write(format!("faults: [{}: {{}}]", value.text()?)),
    }
}

/// `when:` that is a number.
fn bare_when(value: &Node) -> Option<Hint> {
    match number(value)? {
        share if share > 0.0 && share < 1.0 => said(format!(
            "write `when: {}`, or `when: {}` if that share of a hundred is meant",
            probability(value),
            percent(value)
        )),
        _ => write(format!("when: {}", percent(value))),
    }
}

/// A word of a rule that stands in its list of faults or in a fault.
pub(super) fn beside_faults(word: &Word<'_>) -> Option<Hint> {
    let line = beside(word)?;
    said(format!("write `{line}` beside the rule's `faults`"))
}

/// The line of `when` that says the same as a word of it that stands elsewhere.
fn beside(word: &Word<'_>) -> Option<String> {
    let value = word.value;
    Some(match word.key {
        "percentage" | "percent" | "share" | "percentageOfRequests" => format!("when: {}", percent(value)),
        "probability" | "toxicity" | "chance" | "sample" => format!("when: {}", probability(value)),
        "rate" => format!("when: {}", number(value).map(|_| percent(value))?),
        "every" => format!("when: {{every: {}}}", scalar(Some(value), "10")),
        "attempts" | "failures" => format!("when: {{attempts: {}, key: client}}", scalar(Some(value), "2")),
        "key" => format!("when: {{percentage: 10%, key: {}}}", scalar(Some(value), "client")),
        "schedule" => format!("when: {{schedule: {}}}", flow(value, "{start: 30s, duration: 10s}")),
        "limits" => format!("when: {{limits: {}}}", flow(value, "{total: 10}")),
        "requested" => "when: {requested: true}".to_owned(),
        "times" | "count" | "remainingTimes" | "max_times" => {
            let count = first(value, &["remainingTimes", "exactly", "count"]).unwrap_or(value);
            format!("when: {{limits: {{total: {}}}}}", scalar(Some(count), "3"))
        }
        "max_active_faults" | "maxActiveFaults" => {
            format!("when: {{limits: {{active: {}}}}}", scalar(Some(value), "10"))
        }
        "timeToLive" | "ttl" | "expires" => format!("when: {{limits: {{expires: {}}}}}", time_to_live(value)),
        "header_delay" | "header_abort" => "when: {requested: true}".to_owned(),
        "when" => format!("when: {}", flow(value, "10%")),
        "correlation" => return None,
        "start" | "duration" | "repeat" => format!("when: {{schedule: {{{}: {}}}}}", word.key, ms_or(value, "30s")),
        _ => return None,
    })
}

fn time_to_live(value: &Node) -> String {
    let time = time(value, Duration::from_secs(1));
    time.map_or_else(|| "15m".to_owned(), |time| time.to_string())
}

/// A word in `when`.
pub(super) fn when(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    match word.key {
        "percentage" if word.is_value && value.text().is_none() => write(format!("percentage: {}", percent(value))),
        "percent" | "share" | "rate" => write(format!("percentage: {}", percent(value))),
        "probability" | "toxicity" | "chance" | "sample" => write(format!("percentage: {}", probability(value))),
        "numerator" | "denominator" => write(format!("percentage: {}", percent(word.map))),
        "value" => write(format!("percentage: {}", percent(value))),
        "times" | "count" | "total" | "first" | "remainingTimes" => {
            write(format!("limits: {{total: {}}}", scalar(Some(value), "3")))
        }
        "active" | "max_active_faults" | "expires" => write(format!(
            "limits: {{{}: {}}}",
            match word.key {
                "expires" => "expires",
                _ => "active",
            },
            scalar(Some(value), "10")
        )),
        "retries" | "failures" | "attempt" => write(format!("{{attempts: {}, key: client}}", scalar(Some(value), "2"))),
        "nth" | "modulo" | "each" => write(format!("every: {}", scalar(Some(value), "10"))),
        "start" | "duration" | "repeat" | "after" | "from" | "until" | "for" | "delay" | "time" | "cron" => {
            let key = match word.key {
                "after" | "from" | "delay" => "start",
                "until" | "for" | "time" | "cron" => "duration",
                key => key,
            };
            write(format!("schedule: {{{key}: {}}}", time_in(value)))
        }
        "sticky" | "by" | "per" | "hash" => write("key: client"),
        "header" => write("match: {headers: {x-user: present}}"),
        key if condition::is_key(key) => {
            let line = condition::line(key, value)?;
            said(format!("write `{line}` beside `when`"))
        }
        _ => None,
    }
}

fn time_in(value: &Node) -> String {
    time(value, Duration::from_secs(1)).map_or_else(|| "30s".to_owned(), |time| time.to_string())
}

/// A word in `limits`.
pub(super) fn limits(word: &Word<'_>) -> Option<Hint> {
    let value = scalar(Some(word.value), "10");
    match word.key {
        "concurrent" | "concurrency" | "max_active" | "max_active_faults" | "parallel" => {
            write(format!("active: {value}"))
        }
        "times" | "max" | "count" | "requests" | "hits" => write(format!("total: {value}")),
        "percentage" | "percent" => write(format!("share: {}", percent(word.value))),
        "ttl" | "duration" | "timeToLive" | "after" => write(format!("expires: {}", time_to_live(word.value))),
        "rps" | "per_second" => write(format!("rate: {value}/s")),
        _ => None,
    }
}

/// A word in an outcome of `choose`.
pub(super) fn outcome(word: &Word<'_>) -> Option<Hint> {
    match word.key {
        "percentage" | "percent" | "probability" | "share" => instead("weight", "weight: 5"),
        "fault" => write("faults: [abort: 503]"),
        key if FAULTS.contains(&key) => write(format!("faults: [{key}: {}]", flow(word.value, "{}"))),
        "jitter" | "latency" => write(format!("faults: [{}]", distribution::line(word.map))),
        _ => None,
    }
}
