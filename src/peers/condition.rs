//! Conditions on requests in the words of other tools: `uri`, `urlPathPattern`, `equalTo`, `prefix_match`.

use super::value::{first, flow, word as scalar};
use super::{said, write};
use crate::yaml::decode::word::{Hint, Word};
use crate::yaml::tree::{Node, Value};

/// squall's own conditions, for those that stand elsewhere.
const KEYS: &[&str] = &[
    "method", "host", "path", "headers", "query", "cookies", "client", "grpc",
];

/// Whether a word is a condition, in squall's words or in another tool's.
pub(super) fn is_key(key: &str) -> bool {
    KEYS.contains(&key) || other(key).is_some()
}

/// squall's condition for another tool's word.
fn other(key: &str) -> Option<&'static str> {
    Some(match key {
        "uri"
        | "url"
        | "urlPath"
        | "urlPattern"
        | "urlPathPattern"
        | "urlPathTemplate"
        | "path_prefix"
        | "pathPrefix"
        | "prefix"
        | "path_regex"
        | "pathRegex"
        | "regex"
        | "safe_regex"
        | "paths"
        | "endpoint"
        | "route"
        | "urlsToWatch"
        | "pathname"
        | "path_separated_prefix"
        | "exact" => "path",
        "methods" | "verb" | "verbs" | "http_method" => "method",
        "authority" | "hosts" | "hostname" | "domain" | "domains" | "server_name" | "sni" => "host",
        "header" | "withoutHeaders" => "headers",
        "queryParameters"
        | "query_parameters"
        | "queryStringParameters"
        | "queryParams"
        | "query_params"
        | "params" => "query",
        "cookie" => "cookies",
        "ip" | "clientIp" | "source" | "remote_addr" | "downstream_nodes" | "source_ip" | "from" => "client",
        _ => return None,
    })
}

/// The line of `match` for a condition.
pub(super) fn line(key: &str, value: &Node) -> Option<String> {
    let own = KEYS.iter().find(|own| **own == key).copied().or_else(|| other(key))?;
    Some(format!("match: {{{own}: {}}}", condition_value(key, own, value)))
}

fn condition_value(key: &str, own: &str, value: &Node) -> String {
    match own {
        "path" => path(key, value),
        "headers" | "query" | "cookies" => fields(value),
        "method" => flow(value, "POST"),
        "client" => flow(value, "10.0.0.0/8"),
        "host" => flow(value, "shop.example"),
        _ => flow(value, "{service: shop.Cart}"),
    }
}

fn path(key: &str, value: &Node) -> String {
    let kind = match key {
        "path_prefix" | "pathPrefix" | "prefix" | "path_separated_prefix" => "prefix",
        "urlPattern" | "urlPathPattern" | "path_regex" | "pathRegex" | "regex" | "safe_regex" => "regex",
        _ => return pattern_of(value).unwrap_or_else(|| flow(value, "/api/**")),
    };
    let text = value.get("regex").unwrap_or(value);
    format!("{{{kind}: {}}}", flow(text, "/api/"))
}

/// The pattern that stands in a map, such as Istio's `{prefix: /api}` and WireMock's `{equalTo: x}`.
fn pattern_of(value: &Node) -> Option<String> {
    let Value::Map(entries) = &value.value else { return None };
    let (key, inner) = entries.first()?;
    pattern_line(key.text()?, inner)
}

fn pattern_line(key: &str, value: &Node) -> Option<String> {
    let kind = match key {
        "exact" | "equalTo" | "equals" | "eq" | "is" | "exact_match" | "exactMatch" | "equal" | "equalToIgnoreCase"
        | "value" => "exact",
        "prefix" | "prefix_match" | "prefixMatch" | "startsWith" | "starts_with" | "begins_with" => "prefix",
        "suffix" | "suffix_match" | "endsWith" | "ends_with" => "suffix",
        "contains" | "contains_match" | "includes" | "substring" => "contains",
        "regex" | "regexp" | "matches" | "pattern" | "safe_regex" | "safe_regex_match" | "regex_match" | "re"
        | "string_match" => "regex",
        "glob" | "wildcard" => "glob",
        "present_match" | "absent" | "present" => {
            return Some(if key == "absent" { "absent" } else { "present" }.to_owned());
        }
        _ => return None,
    };
    let text = value.get("regex").unwrap_or(value);
    Some(format!("{{{kind}: {}}}", flow(text, "text")))
}

/// A map from names to patterns, also from Envoy's list of `{name, exact_match}` and MockServer's of `{name, values}`.
fn fields(value: &Node) -> String {
    let named = |name: &str, pattern: &Node| {
        let pattern = match &pattern.value {
            Value::Seq(items) => items
                .first()
                .map_or("present".to_owned(), |first| flow(first, "present")),
            _ => pattern_of(pattern).unwrap_or_else(|| flow(pattern, "present")),
        };
        format!("{name}: {pattern}")
    };
    let entries: Vec<String> = match &value.value {
        Value::Map(entries) => entries
            .iter()
            .filter_map(|(name, pattern)| Some(named(name.text()?, pattern)))
            .collect(),
        Value::Seq(items) => items
            .iter()
            .filter_map(|item| {
                let name = item.get("name")?.text()?;
                let Value::Map(entries) = &item.value else { return None };
                let other = entries.iter().find(|(key, _)| key.text() != Some("name"));
                Some(match other {
                    Some((key, value)) if key.text() == Some("values") => named(name, value),
                    Some((key, value)) => {
                        let pattern = key.text().and_then(|key| pattern_line(key, value));
                        format!("{name}: {}", pattern.unwrap_or_else(|| "present".to_owned()))
                    }
                    None => format!("{name}: present"),
                })
            })
            .collect(),
        _ => vec![format!("{}: present", scalar(Some(value), "x-user"))],
    };
    if entries.is_empty() {
        return "{x-user: present}".to_owned();
    }
    format!("{{{}}}", entries.join(", "))
}

/// A condition that stands in the list of faults or in a fault.
pub(super) fn beside_faults(word: &Word<'_>) -> Option<Hint> {
    if word.key == "match" {
        return said("`match` stands beside the rule's `faults`, one level further out");
    }
    let line = line(word.key, word.value).filter(|_| word.key != "exact" && word.key != "from")?;
    said(format!("write `{line}` beside the rule's `faults`"))
}

/// A word in `match`.
pub(super) fn condition(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    match word.key {
        "headers" | "query" | "cookies" if word.is_value => write(format!("{}: {}", word.key, fields(value))),
        "port" => write(format!("host: \"*:{}\"", scalar(Some(value), "8080"))),
        "scheme" | "protocol" => said("a rule is for requests of a listener: write `listener: NAME` beside `match`"),
        "or" | "anyOf" | "any_of" => write("any: [{path: /a}, {path: /b}]"),
        "and" | "allOf" | "all_of" => write("all: [{path: /a}, {method: GET}]"),
        "listener" => said("`listener` stands beside `match`, one level further out"),
        "percentage" | "probability" | "key" | "every" | "attempts" => said(format!(
            "`{}` stands in `when`: write `when: {{percentage: 10%}}` beside `match`",
            word.key
        )),
        "service" | "rpc" => write(format!("grpc: {{service: {}}}", scalar(Some(value), "shop.Cart"))),
        "bodyPatterns" => write("body: {json_path: {\"$.a\": 1}}"),
        key => {
            let own = other(key)?;
            write(format!("{own}: {}", condition_value(key, own, value)))
        }
    }
}

/// Whether the path of keys leads to a pattern.
pub(super) fn is_pattern(path: &[&str], name: &str) -> bool {
    matches!(name, "path" | "host")
        || path
            .iter()
            .rev()
            .nth(1)
            .is_some_and(|key| ["headers", "query", "cookies"].contains(key))
}

/// A word in a pattern.
pub(super) fn pattern(word: &Word<'_>) -> Option<Hint> {
    match word.key {
        "doesNotMatch" | "doesNotContain" | "invert_match" | "not" | "ne" => {
            let name = word.path.last().copied().unwrap_or("path");
            let text = flow(first(word.map, &[word.key])?, "text");
            said(format!(
                "write `not: {{{name}: {{regex: {text}}}}}` in `match`, in its place"
            ))
        }
        "ignore_case" | "caseInsensitive" | "ignoreCase" => write("{regex: \"(?i)text\"}"),
        key => pattern_line(key, word.value).and_then(write),
    }
}
