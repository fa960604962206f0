//! The words of other tools, each with squall's own line for the same thing: what users write first.
//!
//! Toxiproxy, Envoy, Istio, WireMock, MockServer, Dev Proxy, Chaos Mesh, Pumba and `tc` call the same things by other names. squall
//! doesn't take their words, so that a configuration has one way to say a thing; an error names the line to write instead, with
//! the user's own numbers in it.

mod abort;
mod address;
mod block;
mod condition;
mod conditions;
mod connection;
mod delay;
mod effect;
mod fault;
mod faults;
mod listener;
mod pattern;
mod read;
mod route;
mod routing;
mod rule;
mod settings;
mod tc;
mod top;
mod units;
mod upstream;
mod value;
mod when;

use crate::yaml::decode::word::{Hint, Word};

/// What is meant by a word in a configuration file.
pub fn of_file(word: &Word<'_>) -> Option<Hint> {
    hint(&word.path, word)
}

/// What is meant by a word in a rule that stands alone, as the API takes it.
pub fn of_rule(word: &Word<'_>) -> Option<Hint> {
    let path: Vec<&str> = ["rules"].into_iter().chain(word.path.iter().copied()).collect();
    hint(&path, word)
}

/// What is meant by a word in a scenario, whose steps may have rules of their own.
pub fn of_scenario(word: &Word<'_>) -> Option<Hint> {
    let (_, inside) = word
        .path
        .split_at_checked(word.path.iter().position(|key| *key == "put")? + 1)?;
    let path: Vec<&str> = ["rules"].into_iter().chain(inside.iter().copied()).collect();
    hint(&path, word)
}

fn hint(path: &[&str], word: &Word<'_>) -> Option<Hint> {
    let hint = of_place(path, word)?;
    // A line that repeats the rejected value does not help.
    let echo = format!("{}: {}", word.key, value::flow(word.value));
    let is_echo = ["`", ",", "}", "]"]
        .iter()
        .any(|end| hint.help.contains(&format!("{echo}{end}")));
    (!word.is_value || !is_echo).then_some(hint)
}

/// What is meant by a word, by the keys that lead to it.
fn of_place(path: &[&str], word: &Word<'_>) -> Option<Hint> {
    let (top, _) = path.split_first().unzip();
    if let Some(at) = path.iter().rposition(|key| *key == "match")
        && matches!(top, Some(&("rules" | "listeners" | "upstreams")))
    {
        let inside = path.get(at + 1..)?;
        return if top == Some(&"upstreams") {
            route::in_match(inside, word)
        } else {
            in_match(inside, word)
        };
    }
    match path {
        [] if word.key.is_empty() => top::document(word.value),
        [] => top::top(word),
        ["listeners", _] => listener::listener(word),
        ["listeners", _, "cors"] | ["upstreams", _, "fake", "cors"] => listener::cors(word),
        ["upstreams", _, "fake"] => route::in_fake(word),
        ["stop_when"] | ["rules", "stop_when"] => rule::stop_when(word),
        ["listeners", _, "routes"] => routing::route(word),
        ["listeners" | "upstreams", _, "tls"] => upstream::tls(word),
        ["upstreams"] => upstream::form(word),
        ["upstreams", _] => upstream::upstream(word),
        ["upstreams", _, "fake", "routes"] | ["upstreams", _, "fake", "routes", "sequence"] => route::route(word),
        ["admin" | "toxiproxy"] => top::api(word),
        ["rules"] => rule::rule(word),
        ["rules", "when"] => rule::when(word),
        ["rules", "when", "limits"] => rule::limits(word),
        ["rules", "when", "schedule"] => rule::schedule(word),
        ["rules", "choose"] => rule::outcome(word),
        ["rules", "faults"] | ["rules", "choose", "faults"] => faults::fault(word),
        ["rules", .., "delay", distribution] => delay::part(distribution, word),
        ["rules", .., "faults", name] => faults::part(name, word),
        _ => None,
    }
}

/// A word in `match`, by the keys that lead to it from there.
fn in_match(inside: &[&str], word: &Word<'_>) -> Option<Hint> {
    let field = ["headers", "query", "cookies"];
    match inside {
        [.., fields, _] if field.contains(fields) => condition::pattern(inside, word),
        [.., fields] if field.contains(fields) => condition::pattern(inside, word),
        [.., "path" | "host"] => condition::pattern(inside, word),
        [.., "body"] => condition::body_part(word),
        [] | [.., "not" | "any" | "all"] => condition::word(word),
        _ => None,
    }
}

/// The line to write.
fn write(line: impl AsRef<str>) -> Option<Hint> {
    said(format!("write `{}`", line.as_ref()))
}

/// The line to write, for a key of the same map that has this other name.
fn instead(meant: &'static str, line: impl AsRef<str>) -> Option<Hint> {
    Some(Hint {
        meant: Some(meant),
        ..Hint::said(format!("write `{}`", line.as_ref()))
    })
}

/// What to do, in words.
fn said(help: impl Into<String>) -> Option<Hint> {
    Some(Hint::said(help))
}

/// A hint whose line takes the place of the whole map that the word is in.
fn whole(hint: Hint) -> Option<Hint> {
    Some(Hint { whole: true, ..hint })
}
