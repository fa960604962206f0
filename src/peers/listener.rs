//! The keys of a listener in the words of other tools.

use super::block::{self, Block};
use super::value::{entries, first, flow, items, list, plain, quoted, text};
use super::{Hint, Word, address, instead, read, routing, said, units, write};
use crate::yaml::tree::{Node, Value};

/// A word among the keys of a listener.
pub(super) fn listener(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    match &*plain(word.key) {
        "listen" | "bind" | "port" | "listenaddress" | "addr" | "host" | "url" | "socketaddress" => {
            let address = address::of_listener(word.map, value).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
            instead("address", format!("address: {address}"))
        }
        "address" if word.is_value => write(format!("address: {}", address::listen(value)?)),
        "target" | "backend" | "proxyto" | "proxypass" | "forwardto" | "cluster" | "service" | "to" | "destination"
        | "upstreams" => upstream(value),
        "upstream" if word.is_value => upstream(value),
        "protocol" if word.is_value => match value.text() {
            Some("https" | "tls" | "ssl") => write("tls: {certificate: web.pem, key: web.key}"),
            Some("http2" | "h2" | "h2c" | "grpc" | "http1" | "http/1.1" | "ws" | "websocket") => {
                said("leave it out: an http listener speaks HTTP/1.1, HTTP/2, gRPC and WebSocket")
            }
            _ => write("protocol: tcp"),
        },
        "type" | "mode" => write("protocol: tcp"),
        "cert" | "certificate" | "ssl" | "https" | "key" => write("tls: {certificate: web.pem, key: web.key}"),
        "rules" | "faults" | "toxics" | "fault" | "httpfilters" | "filters" | "filterchains" | "delay" | "latency"
        | "abort" => said(format!(
            "rules stand at the top level and name their listener: write `rules: {}`",
            rules(word, "listener: NAME")
        )),
        "fake" => said("a fake is an upstream: write `upstreams: {shop: {fake: test-api}}`, and `upstream: shop` here"),
        "timeout" => {
            let time = units::time(value, units::MILLISECOND);
            write(format!(
                "timeouts: {{header: {}}}",
                time.map_or_else(|| "60s".to_owned(), |time| time.to_string())
            ))
        }
        "disabled" | "down" => write("enabled: false"),
        "name" => said("a listener's name is its key: `listeners: {web: {…}}`"),
        "routes" if word.is_value => routing::not_a_list(word),
        "prefixrewrite" | "rewrite" | "stripprefix" | "addprefix" | "pathprefix" | "locations" | "paths"
        | "virtualhosts" => write("routes: [{match: {path: \"/api/**\"}, upstream: shop, strip_prefix: /api}]"),
        _ => None,
    }
}

/// A word in `cors`.
pub(super) fn cors(word: &Word<'_>) -> Option<Hint> {
    match &*plain(word.key) {
        "alloworigins" | "alloworigin" | "allowedorigins" | "origin" | "alloworiginstringmatch" => {
            let texts = items(word.value).iter().map(|item| match item.text() {
                Some(origin) => Some(quoted(origin)),
                None => {
                    let (key, origin) = entries(item).next()?;
                    (plain(key) == "exact").then(|| quoted(origin.text().unwrap_or_default()))
                }
            });
            match texts.collect::<Option<Vec<String>>>() {
                Some(texts) => instead("origins", format!("origins: {}", list(texts))),
                None => instead("origins", "origins: [\"https://*.example.com\"]"),
            }
        }
        "allowcredentials" => write(format!("credentials: {}", word.value.text().unwrap_or("true"))),
        "exposeheaders" | "exposedheaders" => write(format!("expose: {}", flow(word.value))),
        "maxage" => write(format!("max_age: {}", units::time(word.value, units::SECOND)?)),
        "allowmethods" | "allowheaders" | "allowedmethods" | "allowedheaders" => {
            said("leave it out: squall allows whatever a preflight of an allowed origin asks for")
        }
        _ => None,
    }
}

/// The upstream's name; an address is an upstream of its own.
fn upstream(value: &Node) -> Option<Hint> {
    if let Some(name) = address::name(value).filter(|name| !name.contains('.') && name.parse::<u16>().is_err()) {
        return instead("upstream", format!("upstream: {name}"));
    }
    match address::url(value) {
        Some(url) => Some(Hint {
            meant: Some("upstream"),
            ..Hint::said(format!(
                "an address is an upstream: write `upstreams: {{shop: {{url: \"{url}\"}}}}` and `upstream: shop`"
            ))
        }),
        None => instead("upstream", "upstream: shop"),
    }
}

/// The rules that a word says, with the key that says whose they are, such as `listener: NAME`.
pub(super) fn rules(word: &Word<'_>, of: &str) -> String {
    let rules =
        block::rules(&blocks(word), None).unwrap_or_else(|| "[{name: slow, faults: [delay: 200ms]}]".to_owned());
    // A name ends where the next key begins.
    let keys = [", match: ", ", when: ", ", faults: ", ", choose: "];
    let named = rules.split("{name: ").map(|rule| {
        let at = keys.iter().filter_map(|key| rule.find(key)).min();
        match at.and_then(|at| rule.split_at_checked(at)) {
            Some((name, rest)) => format!("{name}, {of}{rest}"),
            None => rule.to_owned(),
        }
    });
    named.collect::<Vec<_>>().join("{name: ")
}

/// Whether the rule that a word is in is for TCP listeners alone: those that it names, or all of the file.
pub(super) fn is_tcp(word: &Word<'_>) -> bool {
    let named: Vec<&str> = rule_of(word)
        .and_then(|rule| rule.get("listener"))
        .into_iter()
        .flat_map(items)
        .filter_map(Node::text)
        .collect();
    let listeners = first(word.root, &["listeners"]).into_iter().flat_map(entries);
    let mut meant = listeners
        .filter(|(name, _)| named.is_empty() || named.contains(name))
        .peekable();
    meant.peek().is_some() && meant.all(|(_, listener)| text(listener, &["protocol"]) == Some("tcp"))
}

/// The rule that a word is in.
pub(super) fn rule_of<'a>(word: &Word<'a>) -> Option<&'a Node> {
    let mut rules = first(word.root, &["rules"]).into_iter().flat_map(items);
    rules.find(|rule| holds(rule, word.value) || holds(rule, word.map))
}

/// Whether a node is a part of another one.
fn holds(node: &Node, part: &Node) -> bool {
    std::ptr::eq(node, part)
        || match &node.value {
            Value::Seq(items) => items.iter().any(|item| holds(item, part)),
            Value::Map(entries) => entries
                .iter()
                .any(|(key, value)| holds(key, part) || holds(value, part)),
            _ => false,
        }
}

/// What a word and its value say happens.
fn blocks(word: &Word<'_>) -> Vec<Block> {
    let block = Block::of_word(word.key, word.value, word.map);
    if block.has_effect() {
        vec![block]
    } else {
        read::rules(&plain(word.key), word.value)
    }
}
