//! The commands about rules.

use std::process::ExitCode;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::PutArgs;
use super::api::{Answer, Api, Done, Failed, encoded, read};
use super::show::{at, count, text};
use super::table::{Cell, Look, Table};
use crate::cli::output::print;

pub(super) async fn list(api: &Api) -> Done {
    let answer = api.call(Method::GET, &api.in_space("/api/v1/rules", &[]), "").await?;
    api.print(&answer, |rules| {
        let mut table = Table::new(&[
            "NAME", "LAYER", "SPACE", "STATE", "SHARE", "FAULTS", ">MATCHED", ">HITS", "LEFT",
        ]);
        for rule in rules["rules"].as_array().into_iter().flatten() {
            table.row(row(rule));
        }
        table.render("no rules")
    })
}

fn row(rule: &Value) -> [Cell; 9] {
    let left = rule["ttl_seconds"].as_f64();
    [
        text(&rule["name"]).into(),
        text(&rule["layer"]).into(),
        text(&rule["space"]).into(),
        state(rule),
        share(rule).into(),
        faults(rule).into(),
        count(&rule["matched"]).into(),
        count(&rule["hits"]).into(),
        left.map(|left| format!("{left:.0}s")).unwrap_or_default().into(),
    ]
}

/// The share of the matching requests that a rule hits. A squall of an older version tells the percentage alone.
fn share(rule: &Value) -> String {
    match (rule["share"].as_str(), rule["percentage"].as_f64()) {
        (Some(share), _) => share.to_owned(),
        (None, Some(percentage)) => format!("{percentage}%"),
        (None, None) => String::new(),
    }
}

fn state(rule: &Value) -> Cell {
    if rule["problem"].is_string() {
        return Cell::new("does not fit", Look::Bad);
    }
    let shadow = if rule["shadow"] == true { ", shadow" } else { "" };
    match rule["switch"].as_str() {
        Some("tripped") => Cell::new(format!("stopped by {}", text(at(rule, "/tripped/guard"))), Look::Bad),
        _ if rule["enabled"] == true => match rule["spent"].as_str() {
            Some(limit) => Cell::new(format!("on{shadow}, {limit}"), Look::Dim),
            None => Cell::new(format!("on{shadow}"), Look::Good),
        },
        _ => Cell::new(format!("off{shadow}"), Look::Dim),
    }
}

/// The faults of each outcome: `delay, abort`, or `abort | nothing` if one of them is drawn.
fn faults(rule: &Value) -> String {
    let outcomes = rule["outcomes"].as_array().into_iter().flatten();
    let named = |outcome: &Value| {
        let names: Vec<&str> = outcome["faults"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if names.is_empty() {
            "nothing".to_owned()
        } else {
            names.join(", ")
        }
    };
    outcomes.map(named).collect::<Vec<_>>().join(" | ")
}

pub(super) async fn show(api: &Api, name: &str) -> Done {
    let answer = api.call(Method::GET, &api.rule(name, &[]), "").await?;
    if api.json {
        return Ok(print(answer.text()));
    }
    let rule = &answer.json()?;
    let yaml = serde_yaml::to_string(&rule["spec"]).map_err(|error| Failed::internal(error.to_string()))?;
    let mut notes = format!("# {}", state_in_words(rule));
    if let Some(problem) = rule["problem"].as_str() {
        notes.push_str(&format!("\n# not in force: {problem}"));
    }
    Ok(print(&format!("{notes}\n{yaml}")))
}

fn state_in_words(rule: &Value) -> String {
    let state = if rule["enabled"] == true { "on" } else { "off" };
    let why = match &rule["tripped"] {
        Value::Null => String::new(),
        trip => format!(", stopped by {}: {}", text(&trip["guard"]), text(&trip["reason"])),
    };
    format!(
        "of the {} layer, {state}{why}; matched {}, hit {}, active {}; revision {}",
        text(&rule["layer"]),
        count(&rule["matched"]),
        count(&rule["hits"]),
        count(&rule["active"]),
        count(&rule["revision"]),
    )
}

pub(super) async fn put(api: &Api, args: &PutArgs) -> Done {
    let typed = read(&args.file)?;
    let rules = rules_in(&typed, args.ttl.as_deref())?;
    // All of them are checked before one is changed.
    if args.dry_run || rules.len() > 1 {
        for rule in &rules {
            send(api, rule, true).await?;
        }
    }
    let mut shown = String::new();
    for rule in rules.iter().filter(|_| !args.dry_run) {
        let answer = send(api, rule, false).await?;
        if api.json {
            shown.push_str(answer.text());
            continue;
        }
        let verb = if answer.status == StatusCode::CREATED {
            "added"
        } else {
            "replaced"
        };
        shown.push_str(&format!("{}: {verb}\n", rule.name));
        for warning in at(&answer.json()?, "/warnings").as_array().into_iter().flatten() {
            shown.push_str(&format!("  warning: {}\n", text(&warning["message"])));
        }
    }
    if args.dry_run && !api.json {
        shown = rules.iter().map(|rule| format!("{}: ok\n", rule.name)).collect();
    }
    Ok(print(&shown))
}

async fn send(api: &Api, rule: &Typed, dry_run: bool) -> Result<Answer, Failed> {
    let space = rule.space.as_deref().filter(|_| api.space.is_none());
    let more: Vec<(&str, &str)> = [("space", space), ("dry_run", dry_run.then_some("1"))]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    api.call(Method::PUT, &api.rule(&rule.name, &more), rule.body.clone())
        .await
}

/// A rule to send.
#[derive(Debug, PartialEq)]
struct Typed {
    name: String,
    space: Option<String>,
    body: String,
}

/// The rules in a text: one, a list, or the `rules` of a configuration. A single one is sent as it was typed, so that positions in
/// messages are those of the file.
fn rules_in(typed: &str, ttl: Option<&str>) -> Result<Vec<Typed>, Failed> {
    let value: Value =
        serde_yaml::from_str(typed).map_err(|error| Failed::usage(format!("the rules are not YAML: {error}")))?;
    let (list, single) = match value {
        Value::Array(rules) => (rules, false),
        Value::Object(mut fields) if fields.contains_key("rules") => match fields.remove("rules") {
            Some(Value::Array(rules)) => (rules, false),
            _ => return Err(Failed::usage("`rules` must be a list")),
        },
        one => (vec![one], true),
    };
    if list.is_empty() {
        return Err(Failed::usage("the list of rules is empty"));
    }
    let one = |(at, mut rule): (usize, Value)| {
        let key = |name: &str| rule.get(name).and_then(Value::as_str).map(str::to_owned);
        let (name, space) = (key("name"), key("space"));
        let name = name.ok_or_else(|| Failed::usage(format!("rule {} lacks a `name`", at + 1)))?;
        let body = match (ttl, rule.as_object_mut()) {
            (Some(ttl), Some(fields)) => {
                fields.insert("ttl".to_owned(), ttl.into());
                rule.to_string()
            }
            _ if single => typed.to_owned(),
            _ => rule.to_string(),
        };
        Ok(Typed { name, space, body })
    };
    list.into_iter().enumerate().map(one).collect()
}

pub(super) async fn patch(api: &Api, name: &str, patch: &str) -> Done {
    let patch: Value =
        serde_yaml::from_str(patch).map_err(|error| Failed::usage(format!("the patch is not YAML: {error}")))?;
    if !patch.is_object() {
        return Err(Failed::usage(
            "the patch must be a map such as {when: {percentage: 50%}}",
        ));
    }
    let answer = api.send(Method::PATCH, &api.rule(name, &[]), &patch).await?;
    api.print(&answer, |_| format!("{name}: changed\n"))
}

pub(super) async fn remove(api: &Api, name: &str) -> Done {
    let answer = api.call(Method::DELETE, &api.rule(name, &[]), "").await?;
    done(api, &answer, &format!("{name}: removed\n"))
}

pub(super) async fn switch(api: &Api, name: &str, on: bool) -> Done {
    let answer = api
        .send(Method::PATCH, &api.rule(name, &[]), &json!({"enabled": on}))
        .await?;
    api.print(&answer, |rule| {
        let state = if rule["enabled"] == true { "on" } else { "off" };
        format!("{name}: {state}\n")
    })
}

pub(super) async fn reset(api: &Api, name: Option<&str>) -> Done {
    let (target, what) = match name {
        Some(name) => (
            api.in_space(&format!("/api/v1/rules/{}/reset", encoded(name)), &[]),
            name.to_owned(),
        ),
        None => {
            let of = api.space.as_ref().map(|space| format!(" of the space {space}"));
            (
                api.in_space("/api/v1/reset", &[]),
                format!("all rules{}", of.unwrap_or_default()),
            )
        }
    };
    let answer = api.call(Method::POST, &target, "").await?;
    api.print(&answer, |_| format!("{what}: reset\n"))
}

pub(super) async fn order(api: &Api, names: &[String]) -> Done {
    let one = |name: &String| match &api.space {
        Some(space) => json!({"space": space, "name": name}),
        None => json!(name),
    };
    let order = json!({"rules": names.iter().map(one).collect::<Vec<_>>()});
    let answer = api.send(Method::PUT, "/api/v1/order", &order).await?;
    api.print(&answer, |_| format!("{}\n", names.join("\n")))
}

/// Ends a command whose response has no body.
pub(super) fn done(api: &Api, answer: &Answer, message: &str) -> Done {
    if api.json || answer.status != StatusCode::NO_CONTENT {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(print(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let rules = rules_in(text, None).unwrap();
        rules.into_iter().map(|rule| rule.name).collect()
    }

    #[test]
    fn rules_come_alone_or_in_lists() {
        assert_eq!(names("{name: a, faults: []}"), ["a"]);
        assert_eq!(names("- {name: a}\n- {name: b}\n"), ["a", "b"]);
        assert_eq!(names("rules: [{name: a}]\n"), ["a"]);
        for wrong in ["", "[]", "- {faults: []}", "a: {", "rules: 1"] {
            assert!(rules_in(wrong, None).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_rule_is_sent_as_typed() {
        let text = "# slow\nname: a\nspace: s\n";
        let rule = rules_in(text, None).unwrap().remove(0);
        assert_eq!((rule.body.as_str(), rule.space.as_deref()), (text, Some("s")));
        let rule = rules_in(text, Some("10m")).unwrap().remove(0);
        assert_eq!(rule.body, r#"{"name":"a","space":"s","ttl":"10m"}"#);
    }

    #[test]
    fn outcomes_are_named() {
        let rule = json!({"outcomes": [{"faults": ["delay", "abort"]}, {"faults": []}]});
        assert_eq!(faults(&rule), "delay, abort | nothing");
    }
}
