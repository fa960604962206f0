//! Routes of listeners in the words of other tools: where requests go, and how their paths change.

use super::block::Block;
use super::units::{SECOND, time};
use super::value::{entries, first, flow, items, list, plain, quoted, text, word as scalar};
use super::{Hint, Word, address, condition, instead, read, said, write};
use crate::yaml::tree::{NOTHING, Node, Value};

const TARGETS: &[&str] = &["host", "cluster", "service", "name", "upstream", "backend"];

/// A word among the keys of a listener's route.
pub(super) fn route(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    if ["match", "upstream", "strip_prefix", "add_prefix"].contains(&word.key) && !word.is_value {
        return None;
    }
    match &*plain(word.key) {
        "match" if word.is_value => condition::in_match(&condition::of(value)?),
        "prefixrewrite" | "rewrite" | "replaceprefix" | "regexrewrite" | "pathrewrite" | "replacepath" => {
            rewritten(word)
        }
        "stripprefix" | "strippath" | "removeprefix" | "strip" => {
            write(format!("strip_prefix: {}", scalar(value, "/api")))
        }
        "addprefix" | "prependpath" | "prepend" | "basepath" => write(format!("add_prefix: {}", scalar(value, "/v1"))),
        "route" | "destination" | "cluster" | "backend" | "service" | "to" | "target" | "proxypass" | "proxyto"
        | "forwardto" | "weightedclusters" | "upstreams" => goes_to(value),
        "upstream" if word.is_value => goes_to(value),
        "weight" | "weights" => said(format!("{}; a share of faults is the `when` of a rule", read::WEIGHTS)),
        "timeout" | "timeouts" => {
            let limit = first(value, &["request", "backendrequest", "read"]).unwrap_or(value);
            let limit = time(limit, SECOND).map_or_else(|| "10s".to_owned(), |limit| limit.to_string());
            said(format!("write `timeouts: {{read: {limit}}}` at the upstream"))
        }
        "retries" | "retrypolicy" | "pertrytimeout" => said(read::RETRIES),
        "mirror" | "mirrors" | "mirrorpercentage" | "requestmirrorpolicies" => said(read::MIRROR),
        "name" | "id" => said("leave it out"),
        "redirect" | "directresponse" => {
            let block = Block::of_word("directresponse", value, &NOTHING);
            let faults = block.has_effect().then(|| block.rules(None));
            let rules = faults.map_or_else(
                || "[{name: moved, faults: [abort: {status: 302, headers: {location: /new}}]}]".to_owned(),
                list,
            );
            said(format!(
                "a route leads to an upstream; an answer of squall's own is a rule: write `rules: {rules}`"
            ))
        }
        "headers" if read::rewrites(value).is_some() => {
            let fault = read::rewrites(value)?;
            said(format!(
                "what changes is a rule: write `rules: [{{name: headers, upstream: NAME, faults: [{fault}]}}]` at the top level"
            ))
        }
        "rules" | "faults" | "fault" | "delay" | "abort" | "typedperfilterconfig" => {
            said("faults stand in `rules`: one with `upstream: NAME` is for what goes there")
        }
        // Typed as squall's `match` has them.
        "path" | "host" | "method" | "headers" => write(format!("match: {{{}: {}}}", word.key, flow(value))),
        _ => condition::in_match(&condition::read(word.key, value)?),
    }
}

/// The upstream that a map, a list or a name leads to.
fn goes_to(value: &Node) -> Option<Hint> {
    let name = found(value, 0)?;
    if name.contains("://") || name.contains(':') {
        let url = address::url(value).unwrap_or_else(|| name.to_owned());
        return Some(Hint {
            meant: Some("upstream"),
            ..Hint::said(format!(
                "write `upstream: NAME`, and the address at the top level: `upstreams: {{NAME: {{url: \"{url}\"}}}}`"
            ))
        });
    }
    let hint = instead("upstream", format!("upstream: {name}"))?;
    if several(value, 0) {
        return Some(Hint {
            help: format!("{}, which then gets all requests; {}", hint.help, read::WEIGHTS),
            ..hint
        });
    }
    Some(hint)
}

/// Whether a value names several destinations.
fn several(node: &Node, depth: u32) -> bool {
    match &node.value {
        Value::Seq(items) => items.len() > 1,
        _ => depth < 3 && entries(node).any(|(_, value)| several(value, depth + 1)),
    }
}

fn found(node: &Node, depth: u32) -> Option<&str> {
    if let Some(name) = node.text().filter(|name| !name.is_empty()) {
        return Some(name);
    }
    // As deep as Istio's `route: [{destination: {host: shop}}]`.
    if depth > 3 {
        return None;
    }
    let item = items(node).first()?;
    text(item, TARGETS).or_else(|| entries(item).find_map(|(_, value)| found(value, depth + 1)))
}

/// What replaces the prefix that the route matches, as in Envoy and Istio.
fn rewritten(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    let new = value
        .text()
        .or_else(|| text(value, &["uri", "path", "prefix", "substitution"]))?;
    let old = first(word.map, &["match"]).map(|matches| items(matches).first().unwrap_or(matches));
    let old = old.and_then(prefix).unwrap_or_else(|| "/api".to_owned());
    let mut lines = Vec::new();
    let (old, new) = (old.trim_end_matches('/'), new.trim_end_matches('/'));
    if !old.is_empty() {
        lines.push(format!("`strip_prefix: {}`", quoted(old)));
    }
    if !new.is_empty() {
        lines.push(format!("`add_prefix: {}`", quoted(new)));
    }
    said(match lines.as_slice() {
        [] => "leave it out: nothing changes".to_owned(),
        lines => format!("write {}", lines.join(" and ")),
    })
}

/// The prefix of the paths that a match takes.
fn prefix(matches: &Node) -> Option<String> {
    let path = first(matches, &["prefix", "path", "uri", "pathseparatedprefix", "pathprefix"])?;
    let text = path.text().or_else(|| text(path, &["prefix", "exact"]))?;
    let fixed = text.split(['*', '{', '?']).next().unwrap_or_default();
    fixed.starts_with('/').then(|| fixed.to_owned())
}

/// Routes that are not a list: a map from paths to upstreams, as nginx and many gateways have them.
pub(super) fn not_a_list(word: &Word<'_>) -> Option<Hint> {
    let routes: Vec<String> = entries(word.value)
        .filter(|(path, _)| path.starts_with('/'))
        .filter_map(|(path, to)| {
            let glob = format!("{}/**", path.trim_end_matches(['*', '/']));
            Some(format!(
                "{{match: {{path: {}}}, upstream: {}}}",
                quoted(&glob),
                found(to, 0)?
            ))
        })
        .collect();
    if !routes.is_empty() {
        return write(format!("routes: [{}]", routes.join(", ")));
    }
    // One route without its list.
    first(word.value, &["upstream"])?;
    write(format!("routes: [{}]", flow(word.value)))
}
