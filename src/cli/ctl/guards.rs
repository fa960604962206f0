//! The commands about guards, which stop injection when a condition comes true.

use http::{Method, StatusCode};
use serde_json::Value;

use super::api::{Api, Done, encoded};
use super::rules::done;
use super::show::{at, count, text};
use super::table::{Cell, Look, Table};

pub(super) async fn list(api: &Api) -> Done {
    let answer = api.call(Method::GET, "/api/v1/guards", "").await?;
    api.print(&answer, |guards| {
        let mut table = Table::new(&[
            "GUARD",
            "LAYER",
            "STOPS",
            "KIND",
            ">VALUE",
            ">LIMIT",
            ">REQUESTS",
            "STATE",
        ]);
        for guard in guards["guards"].as_array().into_iter().flatten() {
            table.row([
                text(&guard["name"]).into(),
                text(&guard["layer"]).into(),
                guard["rule"].as_str().unwrap_or("everything").into(),
                text(&guard["kind"]).into(),
                figure(guard, "value").into(),
                figure(guard, "limit").into(),
                count(&guard["samples"]).into(),
                state(guard),
            ]);
        }
        table.render("no guards")
    })
}

/// A share of requests, or a number of failed checks.
fn figure(guard: &Value, name: &str) -> String {
    match guard[name].as_f64() {
        Some(share) if !guard["samples"].is_null() => format!("{:.2}%", share * 100.0),
        Some(failures) => format!("{failures}"),
        None => String::new(),
    }
}

fn state(guard: &Value) -> Cell {
    match (at(guard, "/tripped/reason").as_str(), guard["error"].as_str()) {
        (Some(reason), _) => Cell::new(format!("tripped: {reason}"), Look::Bad),
        (None, Some(error)) => Cell::new(error, Look::Bad),
        (None, None) => Cell::new("well", Look::Good),
    }
}

pub(super) async fn put(api: &Api, name: &str, condition: String) -> Done {
    let answer = api.call(Method::PUT, &place(name), condition).await?;
    let verb = if answer.status == StatusCode::CREATED {
        "added"
    } else {
        "replaced"
    };
    api.print(&answer, |_| format!("{name}: {verb}\n"))
}

pub(super) async fn remove(api: &Api, name: &str) -> Done {
    let answer = api.call(Method::DELETE, &place(name), "").await?;
    done(api, &answer, &format!("{name}: removed\n"))
}

pub(super) async fn reset(api: &Api, name: &str) -> Done {
    let answer = api.call(Method::POST, &format!("{}/reset", place(name)), "").await?;
    api.print(&answer, |_| format!("{name}: reset\n"))
}

fn place(name: &str) -> String {
    format!("/api/v1/guards/{}", encoded(name))
}
