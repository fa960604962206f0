//! The words of other tools, each with squall's own line for the same thing: what users write first.
//!
//! Toxiproxy, Envoy, Istio, WireMock, MockServer, Dev Proxy, Chaos Mesh, Pumba and `tc` call the same things by other names. squall
//! doesn't take their words, so that a configuration has one way to say a thing; an error names the line to write instead, with
//! the user's own numbers in it.

mod condition;
mod distribution;
mod faults;
mod place;
mod rule;
mod value;

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
    match path {
        [] => place::top(word),
        ["listeners", _] => place::listener(word),
        ["listeners" | "upstreams", _, "tls"] => place::tls(word),
        ["upstreams"] => place::upstream_form(word),
        ["upstreams", _] => place::upstream(word),
        ["upstreams", _, "fake", "routes"] | ["upstreams", _, "fake", "routes", "sequence"] => place::route(word),
        ["admin" | "toxiproxy"] => place::api(word),
        ["rules"] => rule::rule(word),
        ["rules", "when"] => rule::when(word),
        ["rules", "when", "limits"] => rule::limits(word),
        ["rules", "choose"] => rule::outcome(word),
        ["rules", "faults"] | ["rules", "choose", "faults"] => faults::fault(word),
        ["rules", .., "delay", _] => distribution::part(word),
        ["rules", .., "faults", name] => faults::part(name, word),
        ["rules", "match", .., name] if condition::is_pattern(path, name) => condition::pattern(word),
        ["rules", .., "match" | "not" | "any" | "all"] => condition::condition(word),
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
        help: format!("write `{}`", line.as_ref()),
        meant: Some(meant),
    })
}

/// What to do, in words.
fn said(help: impl Into<String>) -> Option<Hint> {
    Some(Hint {
        help: help.into(),
        meant: None,
    })
}
