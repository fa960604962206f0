//! Conditions on requests in the words of other tools: `uri`, `urlPathPattern`, `withoutHeaders`, `:path`.

use super::block::quoted_lines;
use super::conditions::Conditions;
use super::pattern::{self, Of, Pattern};
use super::value::{entries, first, flow, is_nested, is_true, items, list, map, plain, quoted, text};
use super::{abort, said, write};
use crate::yaml::decode::word::{Hint, Word};
use crate::yaml::tree::{Node, Value};

/// squall's own conditions.
const KEYS: &[&str] = &[
    "method", "host", "path", "headers", "query", "cookies", "client", "grpc", "body", "alpn", "any", "all", "not",
];

/// squall's condition for a word.
pub(super) fn own(key: &str) -> Option<&'static str> {
    Some(match &*plain(key) {
        "path"
        | "uri"
        | "url"
        | "urlpath"
        | "urlpattern"
        | "urlpathpattern"
        | "urlpathtemplate"
        | "pathprefix"
        | "prefix"
        | "pathregex"
        | "regex"
        | "saferegex"
        | "paths"
        | "endpoint"
        | "urlstowatch"
        | "pathname"
        | "pathseparatedprefix"
        | "exact"
        | "urls" => "path",
        "method" | "methods" | "verb" | "verbs" | "httpmethod" => "method",
        "host" | "authority" | "hosts" | "hostname" | "domain" | "domains" | "servername" | "sni" => "host",
        "header" | "headers" | "withoutheaders" | "requestheaders" => "headers",
        "query" | "queryparameters" | "querystringparameters" | "queryparams" | "params" => "query",
        "cookie" | "cookies" => "cookies",
        "downstreamnodes" => "nodes",
        "client" | "ip" | "clientip" | "source" | "remoteaddr" | "sourceip" | "remoteip" => "client",
        "grpc" => "grpc",
        "body" | "bodypatterns" => "body",
        "port" => "port",
        "service" | "rpc" => "service",
        "any" | "anyof" | "or" | "ormatch" | "rules" => "any",
        "all" | "allof" | "and" | "andmatch" => "all",
        "not" | "notmatch" => "not",
        _ => return None,
    })
}

/// The conditions of a `match` in other words: a map of them, a list of alternatives as Istio has it, or a path.
pub(super) fn of(node: &Node) -> Option<Conditions> {
    match &node.value {
        Value::Seq(items) => {
            let alternatives: Option<Vec<Conditions>> = items.iter().map(of).collect();
            alternatives.map(Conditions::either)
        }
        Value::Map(_) => {
            let mut conditions = Conditions::default();
            for (key, value) in entries(node) {
                match read_in(node, key, value) {
                    Some(more) => conditions.extend(more),
                    None if is_idle(key, value) => {}
                    None => conditions.lose(key),
                }
            }
            (!conditions.is_empty()).then_some(conditions)
        }
        _ if node.text().is_some_and(|text| text.starts_with("http")) => url(node.text()?),
        // `POST /checkout`
        _ if node.text().is_some_and(|text| text.contains(" /")) => {
            let (method, path) = node.text()?.split_once(" /")?;
            let is_method = method.chars().all(|letter| letter.is_ascii_alphabetic());
            let mut conditions = Conditions::path(&format!("/{}", path.trim()));
            if is_method && !matches!(method, "ANY" | "ALL") {
                conditions.add_first("method", method.to_ascii_uppercase());
            }
            is_method.then_some(conditions)
        }
        _ => Some(Conditions::of("path", flow(node))).filter(|_| node.text().is_some()),
    }
}

/// Whether a word of a match says nothing about requests.
fn is_idle(key: &str, value: &Node) -> bool {
    match &*plain(key) {
        "name" | "id" | "description" | "ignoreuricase" | "secure" | "keepalive" | "statprefix" => true,
        "method" => matches!(value.text(), Some("ANY" | "any" | "*" | "ALL" | "all" | "")),
        _ => matches!(value.value, Value::Null) || entries(value).next().is_none() && value.text().is_none(),
    }
}

/// The conditions that a word says in its map, which may say that its case does not matter.
fn read_in(map: &Node, key: &str, value: &Node) -> Option<Conditions> {
    let ignores_case =
        first(map, &["ignoreuricase"]).is_some_and(is_true) || text(map, &["casesensitive"]) == Some("false");
    match own(key) {
        Some("path") if ignores_case => {
            let pattern = pattern::of_key(key, value).or_else(|| pattern::of(value))?;
            let text = pattern::plain_text(value);
            about("path", pattern::without_case(&pattern, text))
        }
        _ => read(key, value),
    }
}

/// The conditions that a word and its value say.
pub(super) fn read(key: &str, value: &Node) -> Option<Conditions> {
    let name = plain(key);
    let mut conditions = Conditions::default();
    match own(key)? {
        "path" if matches!(&*name, "urlstowatch" | "urls") => return urls(value),
        "path" => return paths(&name, value),
        "host" => return each(value, |value| about("host", pattern::of(value)?)),
        "method" => conditions.add("method", methods(value)?),
        kind @ ("headers" | "query" | "cookies") => {
            let fields = fields(kind, value)?;
            if name != "withoutheaders" {
                return Some(fields);
            }
            conditions.add_not(fields);
        }
        "client" => conditions.add("client", client(value)?),
        // Envoy's nodes name themselves.
        "nodes" => conditions.add_field(
            "headers",
            "x-envoy-downstream-service-node".to_owned(),
            pattern::of(value)?.line(Of::Field),
        ),
        "port" => conditions.add("host", quoted(&format!("*:{}", value.text()?))),
        "service" => conditions.add("grpc", map([("service", quoted(value.text()?))])),
        "grpc" if is_nested(value) => conditions.add("grpc", flow(value)),
        "body" => return body(value),
        "any" => return of(value).filter(|_| matches!(value.value, Value::Seq(_))),
        "all" => items(value)
            .iter()
            .filter_map(of)
            .for_each(|one| conditions.extend(one)),
        "not" => conditions.add_not(of(value)?),
        _ => return None,
    }
    (!conditions.is_empty()).then_some(conditions)
}

/// A condition for each item of a list, one of which must hold.
fn each(value: &Node, one: impl Fn(&Node) -> Option<Conditions>) -> Option<Conditions> {
    let alternatives: Option<Vec<Conditions>> = items(value).iter().map(one).collect();
    alternatives.map(Conditions::either).filter(|one| !one.is_empty())
}

/// A condition on the path or the host, which may be inverted.
fn about(key: &'static str, pattern: Pattern) -> Option<Conditions> {
    let one = Conditions::of(key, pattern.line(Of::Glob));
    Some(one.unless(pattern.inverted))
}

fn paths(name: &str, value: &Node) -> Option<Conditions> {
    let comparison = match name {
        "pathseparatedprefix" => return Some(Conditions::of("path", pattern::below(value.text()?))),
        "urlpattern" if value.text().is_some_and(|text| text.contains("\\?")) => return url_pattern(value.text()?),
        "pathprefix" | "prefix" => "prefix",
        "urlpattern" | "urlpathpattern" | "pathregex" | "regex" | "saferegex" => "regex",
        "exact" => "exact",
        "urlpathtemplate" => {
            let pattern = pattern::of(value)?;
            return Some(Conditions::of("path", quoted(&template_glob(value.text()?)))).filter(|_| !pattern.inverted);
        }
        _ => "",
    };
    each(value, |value| {
        let text = value.text().unwrap_or_default();
        if comparison.is_empty() {
            return match text.split_once("://") {
                Some(_) => url(text),
                None => target(text, value),
            };
        }
        about("path", pattern::of_key(comparison, value)?)
    })
}

/// A path that may have a query, as WireMock's `url`.
fn target(text: &str, value: &Node) -> Option<Conditions> {
    let Some((path, query)) = text.split_once('?').filter(|(path, _)| path.starts_with('/')) else {
        return about("path", pattern::of(value)?);
    };
    let mut conditions = Conditions::of("path", quoted(path));
    conditions.extend(of_query(query));
    Some(conditions)
}

/// The parameters of a query.
pub(super) fn of_query(query: &str) -> Conditions {
    let mut conditions = Conditions::default();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        conditions.add_field("query", quoted(name), quoted(value));
    }
    conditions
}

/// WireMock's regular expression of a path with its query.
fn url_pattern(text: &str) -> Option<Conditions> {
    let (path, query) = text.split_once("\\?")?;
    let mut conditions = about("path", pattern::regex(path))?;
    conditions.extend(of_query_pattern(query));
    Some(conditions)
}

/// The parameters of a query that is a regular expression.
pub(super) fn of_query_pattern(query: &str) -> Conditions {
    let mut conditions = Conditions::default();
    for pair in query.trim_end_matches('$').split('&') {
        match pair.split_once('=') {
            Some((name, ".*" | ".+")) => conditions.add_field("query", quoted(name), "present".to_owned()),
            Some((name, value)) => conditions.add_field("query", quoted(name), pattern::regex(value).line(Of::Field)),
            None => conditions.lose(pair),
        }
    }
    conditions
}

/// `/users/{id}` as a glob.
fn template_glob(text: &str) -> String {
    let segments = text
        .split('/')
        .map(|part| if part.starts_with('{') { "*" } else { part });
    segments.collect::<Vec<_>>().join("/")
}

/// Dev Proxy's list of URLs with wildcards; those that begin with `!` are left out.
fn urls(value: &Node) -> Option<Conditions> {
    let (not, watched): (Vec<&str>, Vec<&str>) = items(value)
        .iter()
        .filter_map(Node::text)
        .partition(|text| text.starts_with('!'));
    let one = |text: &&str| url(text.trim_start_matches('!'));
    let mut conditions = Conditions::either(watched.iter().filter_map(one).collect());
    not.iter().filter_map(one).for_each(|one| conditions.add_not(one));
    (!conditions.is_empty()).then_some(conditions)
}

/// The host and the path of a URL.
fn url(text: &str) -> Option<Conditions> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut conditions = Conditions::default();
    if !matches!(host, "" | "*") {
        conditions.add("host", quoted(host));
    }
    if !matches!(path, "" | "*") {
        // A wildcard of a URL crosses segments.
        conditions.add(
            "path",
            quoted(&format!("/{}", path.replace("**", "*").replace('*', "**"))),
        );
    }
    (!conditions.is_empty()).then_some(conditions)
}

/// The methods, also of Istio's `{exact: GET}` and `{regex: GET|POST}`.
fn methods(value: &Node) -> Option<String> {
    let one = |node: &Node| match &node.value {
        Value::Map(_) => {
            let (_, text) = entries(node).find(|(key, value)| pattern::of_key(key, value).is_some())?;
            Some(text.text()?.to_owned())
        }
        _ => Some(node.text()?.to_owned()),
    };
    let texts: Option<Vec<String>> = items(value).iter().map(one).collect();
    let names: Vec<String> = texts?
        .iter()
        .flat_map(|text| text.split('|'))
        .map(|name| {
            name.trim_matches(|letter: char| "^$()".contains(letter))
                .to_ascii_uppercase()
        })
        .collect();
    match names.as_slice() {
        _ if names
            .iter()
            .any(|name| name.is_empty() || !name.chars().all(char::is_alphabetic) || name == "ANY") =>
        {
            None
        }
        [one] => Some(one.clone()),
        _ => Some(list(names)),
    }
}

/// The fields of a map from names to comparisons, of Envoy's list of `{name, exact_match}`, or of MockServer's of `{name, values}`.
fn fields(kind: &'static str, value: &Node) -> Option<Conditions> {
    let mut conditions = Conditions::default();
    let mut add = |name: &str, pattern: Option<Pattern>, said: &Node| match pattern {
        Some(pattern) => conditions.extend(field(kind, name, &pattern)),
        // A name alone.
        None if entries(said).all(|(key, _)| matches!(&*plain(key), "name" | "treatmissingheaderasempty")) => {
            conditions.extend(field(kind, name, &pattern::present()));
        }
        None => {
            let word = entries(said).map(|(key, _)| key).find(|key| plain(key) != "name");
            conditions.lose(&format!("{name} {}", word.unwrap_or_default()));
        }
    };
    for item in items(value) {
        match text(item, &["name"]) {
            Some(name) if matches!(value.value, Value::Seq(_)) => add(name, pattern::of(item), item),
            None if item.text().is_some() => add(item.text()?, None, item),
            _ => entries(item).for_each(|(name, pattern)| add(name, pattern::of(pattern), pattern)),
        }
    }
    (!conditions.is_empty() || conditions.note().is_some()).then_some(conditions)
}

/// A field; HTTP/2's pseudo-fields are conditions of their own.
fn field(kind: &'static str, name: &str, pattern: &Pattern) -> Conditions {
    let own = match name {
        ":path" => Some("path"),
        ":authority" => Some("host"),
        ":method" => Some("method"),
        _ if kind == "headers" && name.eq_ignore_ascii_case("host") => Some("host"),
        _ => None,
    };
    let one = match own {
        Some("method") => Conditions::of("method", pattern.text.clone()),
        Some(key) => Conditions::of(key, pattern.line(Of::Glob)),
        None => {
            let mut one = Conditions::default();
            one.add_field(kind, quoted(name), pattern.line(Of::Field));
            one
        }
    };
    one.unless(pattern.inverted)
}

/// The addresses of clients, also of Istio's and Envoy's maps of them.
fn client(value: &Node) -> Option<String> {
    let inner = [
        "ip",
        "address",
        "ipblocks",
        "remoteipblocks",
        "source",
        "client",
        "addressprefix",
    ];
    if let Value::Map(_) = &value.value {
        let address = first(value, &inner)?;
        return match text(value, &["prefixlen"]) {
            Some(length) => Some(quoted(&format!("{}/{length}", address.text()?))),
            None => client(address),
        };
    }
    let is_address = |node: &Node| {
        let address = node.text().unwrap_or_default();
        let address = address.split('/').next().unwrap_or_default();
        address.parse::<std::net::IpAddr>().is_ok()
    };
    items(value).iter().all(is_address).then(|| flow(value))
}

/// What a body has, in WireMock's and MockServer's words.
fn body(value: &Node) -> Option<Conditions> {
    let mut conditions = Conditions::default();
    for item in items(value) {
        let one = body_test(item)?;
        conditions.add("body", one);
    }
    (!conditions.is_empty()).then_some(conditions)
}

fn body_test(item: &Node) -> Option<String> {
    if item.text().is_some() {
        return Some(flow(item));
    }
    if let Some(json) = first(item, &["equaltojson", "json"]) {
        return Some(map([("json", abort::parsed(json))]));
    }
    if let Some(path) = first(item, &["matchesjsonpath", "jsonpath"]) {
        let (path, pattern) = match first(path, &["expression"]) {
            Some(expression) => (expression, pattern::of(path)),
            None => (path, None),
        };
        if is_nested(path) {
            return Some(map([("json_path", flow(path))]));
        }
        let pattern = pattern.map_or_else(|| "present".to_owned(), |pattern| pattern.line(Of::Field));
        return Some(map([("json_path", map([(quoted(path.text()?), pattern)]))]));
    }
    for own in ["form", "graphql", "model", "text", "json_path"] {
        if let Some(value) = item.get(own) {
            return Some(map([(own, flow(value))]));
        }
    }
    let pattern = pattern::of(item).filter(|pattern| !pattern.inverted)?;
    Some(pattern.line(Of::Field))
}

/// A word in `match`, or a value there that does not fit.
pub(super) fn word(word: &Word<'_>) -> Option<Hint> {
    let is_own = KEYS.contains(&word.key);
    let has_own =
        |node: &Node| entries(node).all(|(key, _)| pattern::is_own(key)) && matches!(node.value, Value::Map(_));
    if is_own
        && (!word.is_value || !is_nested(word.value) || (matches!(word.key, "path" | "host") && has_own(word.value)))
    {
        return None;
    }
    match &*plain(word.key) {
        "scheme" | "protocol" => said("a rule is for requests of a listener: write `listener: NAME` beside `match`"),
        key @ ("listener" | "upstream") => said(format!("`{key}` stands beside `match`, one level further out")),
        "ignoreuricase" if is_true(word.value) && entries(word.map).any(|(key, _)| own(key) == Some("path")) => {
            let (key, value) = entries(word.map).find(|(key, _)| own(key) == Some("path"))?;
            conditions_hint(&read_in(word.map, key, value)?)
        }
        "ignoreuricase" | "name" | "id" | "secure" | "keepalive" => said("leave it out"),
        "gateways" | "sourcelabels" | "sourcenamespace" | "statprefix" => {
            said("leave it out: squall knows only the listener, which stands beside `match`")
        }
        "percentage" | "probability" | "key" | "every" | "attempts" | "runtimefraction" => {
            let when = super::when::read(word.key, word.value, false)?;
            said(format!(
                "`{}` stands in `when`: write `{}` beside `match`",
                word.key,
                when.line()
            ))
        }
        _ => {
            let says_nothing =
                !is_nested(word.value) || entries(word.value).next().is_none() && items(word.value).is_empty();
            let conditions = read_in(word.map, word.key, word.value);
            conditions_hint(&conditions.or_else(|| example(word.key).filter(|_| says_nothing))?)
        }
    }
}

/// The line of `match`, and what is left out of it.
pub(super) fn in_match(conditions: &Conditions) -> Option<Hint> {
    let line = (!conditions.is_empty()).then(|| format!("write `{}`", conditions.line()));
    let parts: Vec<String> = [line, conditions.note()].into_iter().flatten().collect();
    said((!parts.is_empty()).then(|| parts.join("; "))?)
}

/// The lines of conditions, and what is left out.
pub(super) fn conditions_hint(conditions: &Conditions) -> Option<Hint> {
    let lines: Vec<String> = conditions
        .entries()
        .into_iter()
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    let parts: Vec<String> = [quoted_lines(&lines), conditions.note()]
        .into_iter()
        .flatten()
        .collect();
    said((!parts.is_empty()).then(|| parts.join("; "))?)
}

/// A condition for a word whose value says nothing.
fn example(key: &str) -> Option<Conditions> {
    let (key, text) = match own(key)? {
        "path" => ("path", "/api/**"),
        "host" => ("host", "shop.example"),
        "method" => ("method", "POST"),
        "headers" => ("headers", "{x-user: present}"),
        "query" => ("query", "{page: present}"),
        "cookies" => ("cookies", "{session: present}"),
        "client" => ("client", "10.0.0.0/8"),
        "grpc" | "service" => ("grpc", "{service: shop.Cart}"),
        "body" => ("body", "{contains: text}"),
        "port" => ("host", "\"*:8080\""),
        "any" => ("any", "[{path: /a}, {path: /b}]"),
        "all" => ("all", "[{path: /a}, {method: GET}]"),
        _ => return None,
    };
    Some(Conditions::of(key, text.to_owned()))
}

/// A word in a comparison, or in the place of one: of a path, a host, or a field by its name.
pub(super) fn pattern(inside: &[&str], word: &Word<'_>) -> Option<Hint> {
    // An error about a value has its name as the word.
    let (path, node) = if word.is_value && pattern::of_key(word.key, word.value).is_none() {
        ([inside, &[word.key]].concat(), word.value)
    } else {
        (inside.to_vec(), word.map)
    };
    // What is wrong with squall's own words is not the words.
    if entries(node).next().is_some() && entries(node).all(|(key, _)| pattern::is_own(key)) {
        return None;
    }
    let found = pattern::of(node)?;
    let conditions = match path.as_slice() {
        [.., kind @ ("headers" | "query" | "cookies"), name] => field(own(kind)?, name, &found),
        [.., key @ ("path" | "host")] => about(own(key)?, found)?,
        _ => return None,
    };
    match conditions.entries().as_slice() {
        [("not", not)] => said(format!("write `not: {not}` in `match`, in its place")),
        // The entry alone, where others may stand beside it.
        [("headers" | "query" | "cookies", fields)] => write(fields.strip_prefix('{')?.strip_suffix('}')?),
        [(key, text)] => write(format!("{key}: {text}")),
        _ => None,
    }
}

/// A word in `body`.
pub(super) fn body_part(word: &Word<'_>) -> Option<Hint> {
    let test = body_test(word.map)?;
    write(format!("body: {test}"))
}

/// The conditions of a body, from the map of its tests.
pub(super) fn of_body(map: &Node) -> Option<Conditions> {
    Some(Conditions::of("body", body_test(map)?))
}
