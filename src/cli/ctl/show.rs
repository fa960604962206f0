//! The commands about the state of squall: its switch, its upstreams, its spaces, its configuration.

use http::Method;
use serde_json::{Value, json};

use super::api::{Api, Done, encoded};
use super::rules::done;
use super::table::{Cell, Look, Table};
use crate::cli::output::print;

/// A text in a response; empty if there is none.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A number in a response.
pub(super) fn count(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        number => number.to_string(),
    }
}

/// A part of a response by its place; null if there is none.
pub(super) fn at<'a>(value: &'a Value, place: &str) -> &'a Value {
    value.pointer(place).unwrap_or(&Value::Null)
}

fn seconds(value: &Value) -> String {
    value
        .as_f64()
        .map(|seconds| format!("{seconds:.0}s"))
        .unwrap_or_default()
}

pub(super) async fn status(api: &Api) -> Done {
    let answer = api.call(Method::GET, "/api/v1/status", "").await?;
    api.print(&answer, |status| {
        let stopped = &status["stopped"];
        let armed = match stopped {
            Value::Null => "armed: faults are injected".to_owned(),
            stopped => {
                let reason = stopped["reason"].as_str().map(|reason| format!(" ({reason})"));
                let since = seconds(&stopped["since_seconds"]);
                format!("stopped for {since}{}: nothing is injected", reason.unwrap_or_default())
            }
        };
        let file = status["config_file"].as_str().unwrap_or("the embedded demo");
        let mut lines = format!(
            "squall {} {}, up {}\n{armed}\nconfiguration  {file} (hash {}, seed {})\nrules          {} of the file, {} of the API; \
             revision {}\nrequests held  {}\n",
            text(&status["version"]),
            text(&status["state"]),
            seconds(&status["uptime_seconds"]),
            text(&status["config_hash"]),
            count(&status["seed"]),
            count(at(status, "/layers/file")),
            count(at(status, "/layers/api")),
            count(&status["revision"]),
            count(&status["requests_held"]),
        );
        if let Some(mistake) = at(status, "/reloads/last_error").as_str() {
            lines.push_str("last reload    refused, so what was in force before still is:\n");
            for line in mistake.lines() {
                lines.push_str(&format!("  {line}\n"));
            }
        }
        let mut table = Table::new(&["LISTENER", "ADDRESS", "UPSTREAM", "SPACE"]);
        for one in status["listeners"].as_array().into_iter().flatten() {
            let address = one["address"].as_str().unwrap_or("closed");
            table.row([
                text(&one["name"]).into(),
                address.into(),
                text(&one["upstream"]).into(),
                text(&one["space"]).into(),
            ]);
        }
        lines.push('\n');
        lines.push_str(&table.render("no listeners"));
        lines
    })
}

pub(super) async fn arm(api: &Api, armed: bool, reason: Option<String>) -> Done {
    let answer = api
        .send(Method::PUT, "/api/v1/armed", &json!({"armed": armed, "reason": reason}))
        .await?;
    let message = if armed {
        "armed: faults may be injected again\n"
    } else {
        "stopped: nothing is injected until `squall ctl start`\n"
    };
    api.print(&answer, |_| message.to_owned())
}

pub(super) async fn upstreams(api: &Api) -> Done {
    let answer = api.call(Method::GET, "/api/v1/upstreams", "").await?;
    api.print(&answer, |upstreams| {
        let mut table = Table::new(&["UPSTREAM", "KIND", "LISTENERS", "ENDPOINT", "HEALTH", ">FAILURES"]);
        for upstream in upstreams["upstreams"].as_array().into_iter().flatten() {
            let listeners = listed(&upstream["listeners"]);
            let name = text(&upstream["name"]);
            let kind = text(&upstream["kind"]);
            let endpoints = upstream["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
            if endpoints.is_empty() {
                table.row([name.into(), kind.into(), listeners.as_str().into()]);
            }
            for endpoint in endpoints {
                table.row([
                    name.into(),
                    kind.into(),
                    listeners.as_str().into(),
                    text(&endpoint["address"]).into(),
                    health(endpoint),
                    count(&endpoint["failures"]).into(),
                ]);
            }
        }
        table.render("no upstreams")
    })
}

fn health(endpoint: &Value) -> Cell {
    if endpoint["healthy"] == true {
        return Cell::new("good", Look::Good);
    }
    Cell::new(
        format!("ejected for {}", seconds(&endpoint["back_in_seconds"])),
        Look::Bad,
    )
}

/// A list of names.
fn listed(names: &Value) -> String {
    let names: Vec<&str> = names
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    names.join(", ")
}

pub(super) async fn export(api: &Api) -> Done {
    let format = if api.json { "json" } else { "yaml" };
    let answer = api
        .call(Method::GET, &format!("/api/v1/config?format={format}"), "")
        .await?;
    Ok(print(answer.text()))
}

pub(super) async fn reload(api: &Api) -> Done {
    let answer = api.call(Method::POST, "/api/v1/reload", "").await?;
    api.print(&answer, |reloaded| {
        let warnings = reloaded["warnings"].as_array().into_iter().flatten();
        let warnings: String = warnings
            .map(|one| format!("warning: {}\n", text(&one["message"])))
            .collect();
        format!(
            "{warnings}reloaded: {}; the configuration's hash is {}\n",
            text(&reloaded["changes"]),
            text(&reloaded["config_hash"])
        )
    })
}

pub(super) async fn spaces(api: &Api) -> Done {
    let answer = api.call(Method::GET, "/api/v1/spaces", "").await?;
    api.print(&answer, |spaces| {
        let mut table = Table::new(&["SPACE", ">RULES", "LISTENERS", ">LEFT"]);
        for space in spaces["spaces"].as_array().into_iter().flatten() {
            let rules = space["rules"].as_array().map_or(0, Vec::len);
            table.row([
                text(&space["id"]).into(),
                rules.to_string().into(),
                listeners(space).into(),
                seconds(&space["ttl_seconds"]).into(),
            ]);
        }
        table.render("no spaces")
    })
}

/// The listeners of a space: `web 127.0.0.1:41234`.
fn listeners(space: &Value) -> String {
    let listeners = space["listeners"].as_object().into_iter().flatten();
    let listeners: Vec<String> = listeners
        .map(|(name, address)| format!("{name} {}", address.as_str().unwrap_or("closed")))
        .collect();
    listeners.join(", ")
}

pub(super) async fn open(api: &Api, name: &str, ttl: Option<String>, names: Vec<String>) -> Done {
    let mut wish = json!({ "listeners": names });
    if let (Some(ttl), Some(wish)) = (ttl, wish.as_object_mut()) {
        wish.insert("ttl".to_owned(), ttl.into());
    }
    let target = format!("/api/v1/spaces/{}", encoded(name));
    let answer = api.send(Method::PUT, &target, &wish).await?;
    api.print(&answer, |space| {
        let listeners = listeners(space);
        let listeners = if listeners.is_empty() {
            String::new()
        } else {
            format!(": {listeners}")
        };
        format!("{name}: open{listeners}\n")
    })
}

pub(super) async fn close(api: &Api, name: &str) -> Done {
    let target = format!("/api/v1/spaces/{}", encoded(name));
    let answer = api.call(Method::DELETE, &target, "").await?;
    done(api, &answer, &format!("{name}: closed\n"))
}
