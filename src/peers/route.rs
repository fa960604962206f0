//! Routes of fakes in the words of other tools: WireMock's mappings, MockServer's expectations, and the keys of a route.

use super::block::Block;
use super::conditions::Conditions;
use super::delay;
use super::value::{entries, first, flow, is_nested, items, list, map, plain, quoted, text, word as scalar};
use super::{Hint, Word, abort, condition, instead, said, write};
use crate::yaml::tree::{Node, Value};

const PATHS: &[&str] = &[
    "urlpath",
    "url",
    "uri",
    "path",
    "route",
    "endpoint",
    "pathname",
    "urlpathtemplate",
    "urlpathpattern",
    "urlpattern",
];
const REQUEST: &[&str] = &["request", "httprequest"];
const RESPONSE: &[&str] = &["response", "httpresponse", "respond", "returns", "reply", "res"];

/// A word in a route of a fake, or in a response of its sequence.
pub(super) fn route(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    let key = plain(word.key);
    match &*key {
        _ if PATHS.contains(&&*key) && key != "path" => {
            let path = path_of(&key, value).unwrap_or_else(|| "\"/users/{id}\"".to_owned());
            instead("path", format!("path: {path}"))
        }
        "body" if word.is_value => write(format!("json: {}", flow(value))),
        "jsonbody" | "data" | "payload" | "schema" => write(format!("json: {}", abort::parsed(value))),
        "text" | "html" | "content" | "string" | "responsebody" => write(format!("body: {}", flow(value))),
        "bodyfilename" | "bodyfile" => write(format!("file: {}", scalar(value, "page.html"))),
        "base64body" => write(format!("base64: {}", scalar(value, "aGk="))),
        "statuscode" | "code" | "httpstatus" => write(format!("status: {}", scalar(value, "200"))),
        "fault"
        | "faults"
        | "delaydistribution"
        | "chunkeddribbledelay"
        | "httperror"
        | "dropconnection"
        | "connectionoptions"
        | "fixeddelaymilliseconds"
        | "latency"
        | "delayms"
        | "fixeddelay"
        | "wait" => happens(word),
        "delay" if word.is_value => happens(word),
        _ if REQUEST.contains(&&*key) || RESPONSE.contains(&&*key) => whole(word),
        "responses" | "replies" => {
            let replies: Vec<String> = items(value).iter().filter_map(|item| reply(item)).map(map).collect();
            let replies = if replies.is_empty() {
                "[{status: 503}, {json: {ok: true}}]".to_owned()
            } else {
                list(replies)
            };
            write(format!("sequence: {replies}"))
        }
        "methods" | "verb" => write(format!("method: {}", flow(value))),
        "contenttype" | "mime" => write(format!("headers: {{content-type: {}}}", scalar(value, "text/plain"))),
        "header" | "responseheaders" => match abort::headers(word.map) {
            Some(headers) => write(format!("headers: {headers}")),
            None => write("headers: {x-name: value}"),
        },
        "query"
        | "queryparameters"
        | "bodypatterns"
        | "cookies"
        | "host"
        | "params"
        | "querystringparameters"
        | "withoutheaders"
        | "basicauth"
        | "basicauthcredentials"
        | "client" => matches(condition::read(word.key, value)?),
        "match" if word.is_value => matches(condition::of(value)?),
        "scenarioname" | "requiredscenariostate" | "newscenariostate" => state(word.map),
        "transformers" | "template" | "dynamic" => {
            said("every body is a template: write `json: {id: \"{{ path.id }}\"}`")
        }
        "priority" => said("a more specific path goes first; among equals, the route that is listed first"),
        "name" | "id" | "uuid" | "description" | "metadata" | "persistent" | "insertionindex" | "times"
        | "timetolive" => said("leave it out, or write it as a comment, `# …`"),
        _ => None,
    }
}

/// What happens to the requests of a route is a rule, but for a delay of one length.
fn happens(word: &Word<'_>) -> Option<Hint> {
    let mut block = Block::of_word(word.key, word.value, word.map);
    if let [hit] = block.faults.as_slice()
        && hit.fault.name() == "delay"
        && hit.fault.has("fixed")
    {
        return write(hit.fault.to_string());
    }
    if block.faults.is_empty() {
        block
            .faults
            .push(super::fault::Fault::of("delay", "fixed", "200ms").into());
    }
    if let Some(path) = first(word.map, PATHS).and_then(Node::text) {
        block.conditions = Conditions::path(&glob(path));
    }
    said(format!("write `rules: {}`, at the top level", list(block.rules(None))))
}

/// The path of a route as a rule's glob.
fn glob(path: &str) -> String {
    let segments = path.split('/').map(|part| match part {
        _ if part.starts_with("{*") => "**",
        _ if part.starts_with(['{', ':']) => "*",
        _ => part,
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Words in the settings of a fake: what makes its routes.
pub(super) fn in_fake(word: &Word<'_>) -> Option<Hint> {
    match &*plain(word.key) {
        "mappings" | "stubs" | "expectations" => super::top::mappings(word, true),
        _ => None,
    }
}

/// A word in the `match` of a route of a fake, which has parts of the body in itself.
pub(super) fn in_match(inside: &[&str], word: &Word<'_>) -> Option<Hint> {
    let said = |conditions: Conditions| {
        let conditions = conditions.of_route();
        condition::conditions_hint(&conditions)
    };
    match inside {
        [.., "body"] => said(condition::of_body(word.map)?),
        [] | [.., "not" | "any"] if word.key == "body" && word.is_value => said(condition::of_body(word.value)?),
        [] | [.., "not" | "any"] if matches!(&*plain(word.key), "bodypatterns" | "graphql" | "model" | "text") => {
            match &*plain(word.key) {
                "bodypatterns" => said(condition::read(word.key, word.value)?),
                _ => said(condition::of_body(word.map)?),
            }
        }
        _ => super::in_match(inside, word),
    }
}

/// A mapping whose request and response stand in maps of their own.
fn whole(word: &Word<'_>) -> Option<Hint> {
    let mut block = Block::of_map(word.map);
    let ends = block
        .faults
        .iter()
        .any(|hit| !matches!(hit.fault.name(), "delay" | "abort"));
    let varies = block
        .faults
        .iter()
        .any(|hit| hit.fault.name() == "delay" && !hit.fault.has("fixed"));
    if ends || varies {
        block.faults.retain(|hit| hit.fault.name() != "abort");
        let rules = super::block::rules(std::slice::from_ref(&block), None)?;
        let mut help = format!("what goes wrong is a rule: write `rules: {rules}` at the top level");
        if let (Some((route, _)), false) = (of_mapping(word.map), ends) {
            help = format!("the request and the response stand in the route itself: write `{route}`; {help}");
        }
        help.extend(block.conditions.note().map(|note| format!("; {note}")));
        return super::whole(Hint::said(help));
    }
    let (route, lost) =
        of_mapping(word.map).unwrap_or_else(|| ("{path: /users, status: 200, json: []}".to_owned(), Vec::new()));
    let help = format!("the request and the response stand in the route itself: write `{route}`");
    super::whole(Hint::said([vec![help], lost].concat().join("; ")))
}

/// The route of a mapping, and what is to be said of what it lacks.
pub(super) fn of_mapping(mapping: &Node) -> Option<(String, Vec<String>)> {
    let request = first(mapping, REQUEST).unwrap_or(mapping);
    let response = first(mapping, RESPONSE).unwrap_or(mapping);
    let mut parts: Vec<(&'static str, String)> = Vec::new();
    let path = entries(request).find(|(key, _)| PATHS.contains(&&*plain(key)));
    parts.push(("path", path.and_then(|(key, value)| path_of(&plain(key), value))?));
    if let Some(method) = text(request, &["method"]).filter(|method| *method != "GET") {
        parts.push(("method", quoted(method)));
    }
    let mut conditions = Conditions::default();
    let mut query = Conditions::default();
    for (key, value) in entries(request) {
        let is_own = PATHS.contains(&&*plain(key)) || plain(key) == "method" || std::ptr::eq(request, mapping);
        match condition::read(key, value) {
            _ if is_own => {}
            Some(more) => conditions.extend(more),
            None => conditions.lose(key),
        }
    }
    let text = path.and_then(|(_, value)| value.text()).unwrap_or_default();
    let is_pattern = path.is_some_and(|(key, _)| matches!(&*plain(key), "urlpattern" | "urlpathpattern"));
    if let (Some((_, pattern)), true) = (text.split_once("\\?"), is_pattern) {
        query.extend(condition::of_query_pattern(pattern));
    } else if let (Some((_, query_of)), false) = (text.split_once('?'), is_pattern) {
        query.extend(condition::of_query(query_of));
    }
    conditions.extend(query);
    let conditions = conditions.of_route();
    if !conditions.is_empty() {
        parts.push(("match", conditions.map()));
    }
    parts.extend(reply(response)?);
    Some((map(parts), conditions.note().into_iter().collect()))
}

/// The status, header fields and body of a response.
fn reply(response: &Node) -> Option<Vec<(&'static str, String)>> {
    let mut parts = Vec::new();
    if let Some(status) = first(response, &["statuscode", "status", "code"]).and_then(abort::status) {
        parts.push(("status", status.to_string()));
    }
    let headers = abort::headers(response).filter(|_| is_nested(response));
    parts.extend(headers.map(|headers| ("headers", headers)));
    let wait = first(response, &["fixeddelaymilliseconds", "delay"]).and_then(delay::of);
    if let Some(length) = wait.and_then(|delay| delay.fixed()) {
        parts.push(("delay", length));
    }
    if let Some(bytes) = first(response, &["base64body"]) {
        parts.push(("base64", flow(bytes)));
    } else {
        parts.extend(abort::body(response));
    }
    if !parts
        .iter()
        .any(|(key, _)| matches!(*key, "body" | "json" | "file" | "base64"))
    {
        parts.push(("body", "\"\"".to_owned()));
    }
    Some(parts)
}

/// A path as a template: `/users/{id}`. Of a regular expression only one that is a template in other words.
fn path_of(key: &str, value: &Node) -> Option<String> {
    let text = match &value.value {
        Value::Map(_) => entries(value).next()?.1.text()?,
        _ => value.text()?,
    };
    let is_regex = matches!(key, "urlpathpattern" | "urlpattern") || is_nested(value);
    let text = text.split(if is_regex { "\\?" } else { "?" }).next().unwrap_or(text);
    let path = text.split_once("://").map_or(text, |(_, rest)| {
        rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
    });
    let path = path.trim_start_matches('^').trim_end_matches('$');
    let mut names = 0;
    let segment = |part: &str| -> String {
        let is_rest = matches!(part, ".*" | ".+" | "**" | "*");
        let is_template = part.starts_with('{')
            || part
                .chars()
                .all(|letter| letter.is_alphanumeric() || "-_.~%".contains(letter));
        if is_rest {
            "{*rest}".to_owned()
        } else if let Some(name) = part.strip_prefix(':') {
            format!("{{{}}}", name.trim_end_matches('?'))
        } else if is_template && (!is_regex || !part.starts_with('.')) {
            part.to_owned()
        } else {
            names += 1;
            if names == 1 {
                "{id}".to_owned()
            } else {
                format!("{{id{names}}}")
            }
        }
    };
    // A slash in brackets, as in `[^/]+`, is not one of the path.
    let path = path.replace("[^/]", "\\w");
    let path: Vec<String> = path.split('/').map(segment).collect();
    Some(quoted(&path.join("/")))
}

/// `match` of a route.
fn matches(conditions: Conditions) -> Option<Hint> {
    condition::in_match(&conditions.of_route())
}

/// WireMock's scenario as a state.
fn state(mapping: &Node) -> Option<Hint> {
    let word = |key: &str| {
        text(mapping, &[key]).map(|text| {
            if text == "Started" {
                "started".to_owned()
            } else {
                quoted(text)
            }
        })
    };
    let name = word("scenarioname").unwrap_or_else(|| "order".to_owned());
    let is = word("requiredscenariostate").map_or_else(String::new, |is| format!(", is: {is}"));
    let becomes = word("newscenariostate").map_or_else(String::new, |becomes| format!(", becomes: {becomes}"));
    write(format!("state: {{name: {name}{is}{becomes}}}"))
}
