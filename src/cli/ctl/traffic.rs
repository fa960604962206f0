//! The commands about requests: what would happen to one, and what has happened.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use http::Method;
use serde_json::{Map, Value, json};

use super::api::{Api, Done, Failed, read};
use super::show::{count, text};
use super::table::{Cell, Look, Table, styled};
use super::{ExplainCtlArgs, JournalArgs};
use crate::cli::output::{is_coloured, print};
use crate::draw::head::SPACE_FIELD;

/// Exit code of a question whose answer is no.
const FAILED: u8 = 1;
/// Exit code of a question that can't be answered.
const INCONCLUSIVE: u8 = 3;

pub(super) async fn explain(api: &Api, args: ExplainCtlArgs) -> Done {
    let question = question(args, api.space.as_deref())?;
    let answer = api.send(Method::POST, "/api/v1/explain", &question).await?;
    Ok(print(answer.text()))
}

/// The question, about a request in a space if there is one.
fn question(mut args: ExplainCtlArgs, space: Option<&str>) -> Result<Value, Failed> {
    if let Some(space) = space {
        let field = format!("{SPACE_FIELD}: {space}");
        if args.command.is_empty() {
            args.headers.push(field);
        } else {
            args.command.extend(["-H".to_owned(), field]);
        }
    }
    let mut question = Map::new();
    let mut add = |name: &str, value: Option<Value>| question.extend(value.map(|value| (name.to_owned(), value)));
    add("listener", args.listener.map(Value::from));
    if !args.command.is_empty() {
        add("curl", Some(shell_words::join(&args.command).into()));
        return Ok(Value::Object(question));
    }
    add("url", args.url.map(Value::from));
    add("method", args.method.map(Value::from));
    let mut headers: Map<String, Value> = Map::new();
    for line in &args.headers {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| Failed::usage(format!("`{line}` is not a header field: use `name: value`")))?;
        let values = headers.entry(name.trim()).or_insert_with(|| json!([]));
        if let Some(values) = values.as_array_mut() {
            values.push(value.trim().into());
        }
    }
    add("headers", (!headers.is_empty()).then_some(Value::Object(headers)));
    Ok(Value::Object(question))
}

pub(super) async fn journal(api: &Api, args: JournalArgs) -> Done {
    if args.clear {
        let answer = api
            .call(Method::DELETE, &api.in_space("/api/v1/journal", &[]), "")
            .await?;
        return super::rules::done(api, &answer, "the journal is empty\n");
    }
    if let Some(id) = args.id {
        let answer = api.call(Method::GET, &format!("/api/v1/journal/{id}"), "").await?;
        return Ok(print(answer.text()));
    }
    let limit = args.limit.to_string();
    let given = [
        ("limit", Some(limit.as_str())),
        ("hit", args.hit.then_some("true")),
        ("rule", args.rule.as_deref()),
        ("method", args.method.as_deref()),
        ("path", args.path.as_deref()),
        ("status", args.status.as_deref()),
    ];
    let pairs: Vec<(&str, &str)> = given
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let answer = api
        .call(Method::GET, &api.in_space("/api/v1/journal", &pairs), "")
        .await?;
    api.print(&answer, |page| {
        let mut table = Table::new(&[">ID", "TIME", "LISTENER", "METHOD", "PATH", "STATUS", ">MS", "RULES"]);
        for request in page["requests"].as_array().into_iter().flatten() {
            table.row(row(request));
        }
        let none = if page["enabled"] == false {
            "the journal is off: set `journal: on` in the configuration"
        } else {
            "no requests"
        };
        let dropped = match page["dropped"].as_u64() {
            Some(dropped) if dropped > 0 => format!("{dropped} earlier ones were dropped\n"),
            _ => String::new(),
        };
        format!("{}{dropped}", table.render(none))
    })
}

fn row(request: &Value) -> [Cell; 8] {
    let time = text(&request["time"]);
    // The day is the same for most: 2026-11-29T15:56:03.123Z.
    let time = time
        .split_once('T')
        .map_or(time, |(_, time)| time.trim_end_matches('Z'));
    let rules: Vec<&str> = request["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let status = match request["status"].as_u64() {
        Some(status) if status >= 500 => Cell::new(status.to_string(), Look::Bad),
        Some(status) => status.to_string().into(),
        None => Cell::new("none", Look::Dim),
    };
    let total = request["total_ms"].as_f64().unwrap_or_default();
    [
        count(&request["id"]).into(),
        time.into(),
        text(&request["listener"]).into(),
        text(&request["method"]).into(),
        text(&request["path"]).into(),
        status,
        format!("{total:.1}").into(),
        rules.join(", ").into(),
    ]
}

pub(super) async fn verify(api: &Api, question: &str) -> Done {
    let is_inline = question.trim_start().starts_with('{');
    let typed = if is_inline {
        question.to_owned()
    } else {
        read(Path::new(question))?
    };
    let answer = api
        .call(Method::POST, &api.in_space("/api/v1/verify", &[]), typed)
        .await?;
    let verified = &answer.json()?;
    let (code, look) = match verified["verdict"].as_str() {
        Some("pass") => (ExitCode::SUCCESS, Look::Good),
        Some("fail") => (ExitCode::from(FAILED), Look::Bad),
        _ => (ExitCode::from(INCONCLUSIVE), Look::Dim),
    };
    let printed = if api.json {
        print(answer.text())
    } else {
        print(&verdict(verified, look))
    };
    Ok(if printed == ExitCode::SUCCESS { code } else { printed })
}

fn verdict(verified: &Value, look: Look) -> String {
    let word = styled(text(&verified["verdict"]), look, is_coloured(&io::stdout()));
    let mut lines = format!("{word}: {}\n", text(&verified["reason"]));
    let misses = verified["near_misses"].as_array().into_iter().flatten();
    for miss in misses {
        let failed: Vec<&str> = miss["failed"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        lines.push_str(&format!(
            "  almost: request {} {} {}: {}\n",
            count(&miss["id"]),
            text(&miss["method"]),
            text(&miss["path"]),
            failed.join("; "),
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(command: &[&str], url: Option<&str>, headers: &[&str]) -> Result<Value, Failed> {
        let args = ExplainCtlArgs {
            listener: None,
            method: None,
            headers: headers.iter().map(|line| (*line).to_owned()).collect(),
            url: url.map(str::to_owned),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
        };
        question(args, None)
    }

    #[test]
    fn questions_are_urls_or_command_lines() {
        let by_url = asked(&[], Some("/pay"), &["a: 1", "a: 2"]).unwrap();
        assert_eq!(by_url, json!({"url": "/pay", "headers": {"a": ["1", "2"]}}));
        let by_curl = asked(&["curl", "-d", "a b", "http://h/"], None, &[]).unwrap();
        assert_eq!(by_curl, json!({"curl": "curl -d 'a b' http://h/"}));
        assert!(asked(&[], Some("/"), &["nonsense"]).is_err());
    }
}
