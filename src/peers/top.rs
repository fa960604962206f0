//! The top-level keys of a file in the words of other tools, and whole files of theirs.

use super::block::{self, Block, quoted_lines};
use super::conditions::Conditions;
use super::value::{entries, first, flow, is_nested, is_true, items, list, plain, quoted, text, word as scalar};
use super::{Hint, Word, address, condition, listener, read, route, said, write};
use crate::yaml::tree::{Node, Value};

/// squall's own top-level keys, which say nothing about another tool's file.
const OWN: &[&str] = &[
    "listeners",
    "upstreams",
    "rules",
    "include",
    "$schema",
    "seed",
    "threads",
    "admin",
    "toxiproxy",
    "log",
    "reveal",
    "shutdown",
    "journal",
    "limits",
    "stop_when",
    "bounds",
    "fault_ca",
];

/// What to do with Toxiproxy's file of proxies.
const PROXIES: &str = "Toxiproxy's own file needs no translation: run `squall toxiproxy -config=FILE`";

/// A word among the top-level keys.
pub(super) fn top(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    let key = plain(word.key);
    if first(word.map, &["urlstowatch", "plugins"]).is_some() && !OWN.contains(&word.key) && key != "port" {
        return dev_proxy(word);
    }
    match &*key {
        "listeners" | "upstreams" if word.is_value => own(word),
        "rules" if word.is_value => rules(word).or_else(|| write("rules: [{name: slow, faults: [delay: 200ms]}]")),
        "proxies" if is_nested(value) => proxies(value),
        "proxies" | "proxy" | "servers" | "server" | "frontends" | "entrypoints" | "services" | "apps" => {
            let address = address::listen(items(value).first()?).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
            write(format!("listeners: {{web: {{address: {address}, upstream: shop}}}}"))
        }
        "listen" | "port" | "address" | "bind" | "host" => {
            let address = address::of_listener(word.map, value).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
            write(format!("listeners: {{web: {{address: {address}, upstream: shop}}}}"))
        }
        "target" | "backend" | "backends" | "clusters" | "cluster" | "targets" | "destination" | "origin"
        | "proxypass" | "url" | "endpoints" | "hosts" | "proxybaseurl" => {
            write(format!("upstreams: {}", upstreams(value)))
        }
        "mappings" | "stubs" | "expectations" | "mocks" | "handlers" | "responses" | "fakes" | "fake" | "imposters"
        | "request" | "httprequest" | "response" | "httpresponse" => mappings(word, false),
        "urlstowatch" | "plugins" | "rate" | "errorsfile" => dev_proxy(word),
        "routes" => said(
            "routes belong to a listener or to a fake: write `listeners: {web: {…, routes: […]}}` or `upstreams: {shop: {fake: \
             {routes: […]}}}`",
        ),
        "version" | "name" | "description" => said("leave it out, or write it as a comment, `# …`"),
        "workers" | "workerthreads" | "concurrency" => write(format!("threads: {}", scalar(value, "2"))),
        "logging" | "loglevel" | "accesslog" => write(log(value)),
        "metrics" | "prometheus" | "dashboard" | "management" | "api" | "stats" => {
            let address = address::listen(value).or_else(|| address::listen(first(value, &["address", "port"])?));
            write(format!(
                "admin: {{address: {}}}",
                address.unwrap_or_else(|| "127.0.0.1:9900".to_owned())
            ))
        }
        "includes" | "import" | "imports" | "files" => match &value.value {
            Value::Seq(items) if !items.is_empty() => write(format!("include: {}", flow(value))),
            _ => write(format!("include: [{}]", scalar(value, "rules/*.yaml"))),
        },
        "definitions" | "anchors" | "templates" | "variables" | "vars" | "defaults" | "common" => {
            said("keys of your own begin with `x-`: write `x-common: &common {…}`, and `*common` where it is used")
        }
        "cors" | "corspolicy" => said(
            "`cors` belongs to a listener: write `cors: mirror` among its keys, or `cors: {origins: [\"https://*.example.com\"]}`",
        ),
        "timeout" | "timeouts" => {
            said("timeouts belong to a listener or an upstream: write `timeouts: {read: 60s}` there")
        }
        _ => rules(word).or_else(|| example(&plain(word.key))),
    }
}

/// A line for a word whose value says nothing.
fn example(key: &str) -> Option<Hint> {
    match key {
        "faults" | "fault" | "toxics" | "plugins" | "chaos" | "errors" | "experiments" | "policies" | "abort"
        | "delay" | "latency" => write("rules: [{name: slow, faults: [delay: 200ms]}]"),
        "errorsfile" | "urlstowatch" | "rate" => write("rules: [{name: errors, when: 50%, faults: [abort: 503]}]"),
        "route" | "virtualhosts" | "routeconfig" => {
            said("write `listeners: {web: {address: 127.0.0.1:8080, upstream: shop}}`")
        }
        _ => None,
    }
}

/// What is said of a file of another tool that holds no fault.
fn without_faults(word: &Word<'_>) -> Option<Hint> {
    let kind = text(word.map, &["kind"]).filter(|kind| !kind.contains('`'));
    match (kind, &*plain(word.key)) {
        (Some("VirtualService"), _) => said(format!(
            "this `VirtualService` injects nothing: leave it out. Where requests go stands in `routes` of a listener, how long to wait \
             in `timeouts` of an upstream; {}; {}",
            read::RETRIES,
            read::WEIGHTS
        )),
        (Some(kind), _) => said(format!(
            "a document of the kind `{kind}` holds no fault that squall knows: leave it out"
        )),
        (
            None,
            "staticresources" | "httpfilters" | "filters" | "filterchains" | "http" | "spec" | "apiversion"
            | "metadata" | "middleware" | "middlewares",
        ) => said(
            "there is no fault in it: write `listeners` and `upstreams` for where requests go, and `rules` for faults, such as \
             `rules: [{name: slow, when: 10%, faults: [delay: 200ms]}]`",
        ),
        _ => None,
    }
}

/// Whether documents of Kubernetes of this kind may hold faults. Others have words of their own for the same keys.
fn may_have_faults(map: &Node) -> bool {
    let kind = text(map, &["kind"]).unwrap_or_default();
    let version = text(map, &["apiversion"]).unwrap_or_default();
    let known = [
        "VirtualService",
        "EnvoyFilter",
        "BackendTrafficPolicy",
        "HTTPFaultInjection",
        "",
    ];
    known.contains(&kind)
        || ["chaos", "fault"]
            .iter()
            .any(|word| version.contains(word) || kind.to_lowercase().contains(word))
}

/// The rules that the file of another tool makes: the same for each of its keys, so that they are told once.
fn rules(word: &Word<'_>) -> Option<Hint> {
    let foreign = || entries(word.map).filter(|(key, _)| !OWN.contains(key));
    let is_kubernetes = foreign().any(|(key, _)| matches!(key, "spec" | "apiVersion" | "static_resources"));
    let known = Block::of_word(word.key, word.value, word.map);
    let is_holder = matches!(
        &*plain(word.key),
        "rules"
            | "http"
            | "httpfilters"
            | "filters"
            | "filterchains"
            | "virtualhosts"
            | "routeconfig"
            | "experiments"
            | "policies"
            | "staticresources"
            | "spec"
            | "apiversion"
            | "kind"
            | "metadata"
            | "name"
    );
    if !is_kubernetes && !is_holder && known.is_empty() {
        return None;
    }
    let mut blocks = Vec::new();
    if word.key == "rules" {
        blocks = read::rules("", word.value);
    } else if is_kubernetes && !may_have_faults(word.map) {
        return without_faults(word);
    } else if is_kubernetes || is_holder {
        for (key, value) in foreign().filter(|(key, _)| !matches!(*key, "metadata" | "status")) {
            let found = Block::of_word(key, value, word.map);
            if found.has_effect() && !matches!(key, "spec" | "static_resources" | "http") || is_chaos(value) {
                blocks.push(found);
            } else {
                blocks.extend(read::rules(key, value));
            }
        }
    } else {
        let mut whole = Block::default();
        for (key, value) in foreign() {
            whole.extend(Block::of_word(key, value, word.map));
        }
        blocks.push(whole);
    }
    blocks.retain(Block::has_effect);
    let is_tcp = listener::is_tcp(word);
    let blocks: Vec<Block> = blocks.into_iter().map(|block| block.placed(is_tcp)).collect();
    let name = first(word.map, &["metadata"]).and_then(|metadata| text(metadata, &["name"]));
    block::told(&blocks, name)
        .or_else(|| without_faults(word).filter(|_| is_kubernetes || is_holder))
        .or_else(|| {
            known
                .in_rule()
                .filter(|_| !known.has_effect() && !known.notes.is_empty())
        })
}

/// Whether a `spec` is one of Chaos Mesh, which holds the fault itself.
fn is_chaos(spec: &Node) -> bool {
    first(spec, &["action", "selector"]).is_some()
}

/// Dev Proxy's file: its plugins, each with the URLs that it watches.
fn dev_proxy(word: &Word<'_>) -> Option<Hint> {
    let mut conditions = Conditions::default();
    let mut faults = Block::default();
    let plugins = first(word.map, &["plugins"]).into_iter().flat_map(items);
    // The settings of plugins, which may be named after anything.
    let sections: Vec<String> = plugins
        .filter_map(|plugin| text(plugin, &["configsection"]))
        .map(plain)
        .collect();
    for (key, value) in entries(word.map).filter(|(key, _)| !OWN.contains(key)) {
        match &*plain(key) {
            "urlstowatch" => conditions = condition::read(key, value).unwrap_or_default(),
            "rate" => faults.extend(Block::of_word(key, value, word.map)),
            "plugins" => {
                for plugin in items(value) {
                    if let Some(name) = text(plugin, &["name"])
                        && first(plugin, &["enabled"]).is_none_or(is_true)
                    {
                        let section = text(plugin, &["configsection"]).unwrap_or(name);
                        let settings = first(word.map, &[&plain(section)]);
                        faults.extend(Block::of_word(name, settings.unwrap_or(plugin), word.map));
                    }
                }
            }
            name if sections.iter().any(|section| section == name) => {}
            _ => faults.extend(Block::of_word(key, value, word.map)),
        }
    }
    if !faults.has_effect() {
        if conditions.is_empty() {
            return example(&plain(word.key));
        }
        return said(format!(
            "write `{}` in the rules that are for these alone",
            conditions.line()
        ));
    }
    faults.conditions.extend(conditions);
    write(format!("rules: {}", block::rules(&[faults], None)?))
}

/// Toxiproxy's proxies as listeners with their upstreams.
fn proxies(value: &Node) -> Option<Hint> {
    let mut listeners = Vec::new();
    let mut upstreams = Vec::new();
    for (number, proxy) in items(value).iter().enumerate() {
        let name = text(proxy, &["name"]).map_or_else(|| format!("proxy-{}", number + 1), quoted);
        let (Some(listen), Some(upstream)) = (first(proxy, &["listen"]), text(proxy, &["upstream"])) else {
            continue;
        };
        let down = if text(proxy, &["enabled"]) == Some("false") {
            ", enabled: false"
        } else {
            ""
        };
        listeners.push(format!(
            "{name}: {{address: {}, protocol: tcp, upstream: {name}{down}}}",
            address::listen(listen)?
        ));
        upstreams.push(format!("{name}: {}", address::written(upstream)));
    }
    if listeners.is_empty() {
        return write("listeners: {web: {address: 127.0.0.1:8080, upstream: shop}}");
    }
    said(format!(
        "write `listeners: {{{}}}` and `upstreams: {{{}}}`; {PROXIES}",
        listeners.join(", "),
        upstreams.join(", ")
    ))
}

/// A file that is a list, such as Toxiproxy's of proxies.
pub(super) fn document(document: &Node) -> Option<Hint> {
    let first_item = items(document).first()?;
    if first(first_item, &["listen", "upstream"]).is_some() {
        return proxies(document);
    }
    let blocks = read::rules("", document);
    let blocks: Vec<Block> = blocks.into_iter().map(|block| block.placed(false)).collect();
    block::told(&blocks, None).or_else(|| {
        said("a configuration is a map: write `listeners: {web: {address: 127.0.0.1:8080, upstream: shop}}`")
    })
}

/// Mappings and expectations: what goes wrong is a rule, and what is answered a route of a fake.
pub(super) fn mappings(word: &Word<'_>, is_fake: bool) -> Option<Hint> {
    let is_one = matches!(
        &*plain(word.key),
        "request" | "httprequest" | "response" | "httpresponse"
    );
    let mappings = if is_one {
        std::slice::from_ref(word.map)
    } else {
        items(word.value)
    };
    let mut routes = Vec::new();
    let mut rules = Vec::new();
    let mut unread = 0;
    let mut notes = Block::default();
    for mapping in mappings {
        let block = Block::of_map(mapping);
        let answers = block.faults.iter().all(|hit| hit.fault.name() == "abort");
        match route::of_mapping(mapping) {
            Some((route, lost)) if answers && block.choose.is_empty() => {
                routes.push(route);
                lost.iter().for_each(|note| notes.note(note));
            }
            _ if block.has_effect() => {
                block.conditions.note().iter().for_each(|note| notes.note(note));
                rules.push(block);
            }
            _ => unread += 1,
        }
    }
    let rules = block::rules(&rules, None).map(|rules| format!("rules: {rules}"));
    if unread > 0 && routes.is_empty() && rules.is_none() {
        return said(
            "squall can't read these: write a route for each, such as `upstreams: {shop: {fake: {routes: [{path: /users, json: []}]}}}`",
        );
    }
    if unread > 0 {
        notes.note(&format!("left out, since squall can't read them: {unread} more"));
    }
    if routes.is_empty() && rules.is_none() {
        routes.push("{path: /users, json: []}".to_owned());
    }
    let routes_line = format!("routes: {}", list(routes.iter().cloned()));
    let fake = if is_fake {
        routes_line
    } else {
        format!("upstreams: {{shop: {{fake: {{{routes_line}}}}}}}")
    };
    let fake = (!routes.is_empty()).then_some(fake);
    let lines = quoted_lines(&[fake, rules].into_iter().flatten().collect::<Vec<_>>())?;
    said([vec![lines], notes.notes].concat().join("; "))
}

/// `listeners` or `upstreams` that is not a map from names.
fn own(word: &Word<'_>) -> Option<Hint> {
    if word.key == "upstreams" {
        return write(format!("upstreams: {}", upstreams(word.value)));
    }
    let listeners: Vec<String> = items(word.value)
        .iter()
        .enumerate()
        .filter_map(|(number, item)| {
            let address = first(item, &["address", "listen", "port"]).unwrap_or(item);
            let name = text(item, &["name"]).map_or_else(
                || {
                    if number == 0 {
                        "web".to_owned()
                    } else {
                        format!("web-{}", number + 1)
                    }
                },
                quoted,
            );
            let upstream = text(item, &["upstream"])
                .and_then(|_| address::name(item.get("upstream")?))
                .unwrap_or("shop");
            Some(format!(
                "{name}: {{address: {}, upstream: {upstream}}}",
                address::listen(address)?
            ))
        })
        .collect();
    if listeners.is_empty() {
        return write("listeners: {web: {address: 127.0.0.1:8080, upstream: shop}}");
    }
    write(format!("listeners: {{{}}}", listeners.join(", ")))
}

/// The upstreams that a value stands for.
fn upstreams(value: &Node) -> String {
    let one = |(number, item): (usize, &Node)| -> Option<String> {
        let url = address::url(item).or_else(|| address::urls(item).into_iter().next())?;
        let default = if number == 0 {
            "shop".to_owned()
        } else {
            format!("shop-{}", number + 1)
        };
        let name = text(item, &["name"]).map_or(default, quoted);
        Some(format!("{name}: {{url: \"{url}\"}}"))
    };
    let found: Vec<String> = items(value).iter().enumerate().filter_map(one).collect();
    if found.is_empty() {
        return "{shop: {url: \"http://127.0.0.1:8000\"}}".to_owned();
    }
    format!("{{{}}}", found.join(", "))
}

/// The log with the level or the format that a value names.
fn log(value: &Node) -> String {
    let level = value.text().or_else(|| text(value, &["level", "loglevel"]));
    let level = level
        .map(str::to_ascii_lowercase)
        .map(|level| if level == "warning" { "warn".to_owned() } else { level });
    let level = level.filter(|level| matches!(&**level, "error" | "warn" | "info" | "debug" | "trace" | "off"));
    let format = text(value, &["format"]).filter(|format| matches!(*format, "json" | "text" | "logfmt"));
    match (level, format) {
        (Some(level), Some(format)) => format!("log: {{level: {level}, format: {format}}}"),
        (None, Some(format)) => format!("log: {{format: {format}}}"),
        (Some(level), None) => format!("log: {{level: {level}}}"),
        (None, None) => "log: {level: info, format: text}".to_owned(),
    }
}

/// A word in the settings of an API.
pub(super) fn api(word: &Word<'_>) -> Option<Hint> {
    match &*plain(word.key) {
        "port" | "listen" | "host" | "bind" | "url" => {
            let address = address::of_listener(word.map, word.value).unwrap_or_else(|| "127.0.0.1:9900".to_owned());
            write(format!("address: {address}"))
        }
        "password" | "key" | "auth" | "secret" | "apikey" => write("token: ${SQUALL_TOKEN}"),
        "enabled" | "disabled" => {
            said("leave out the whole key where it is not wanted; the admin API is always served")
        }
        _ => None,
    }
}
