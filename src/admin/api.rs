//! The admin API: shows the configuration in force and its counters, and reloads it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};

use super::problem::{Accept, Problem, json_answer};
use super::{Context, Shared};
use super::{armed, explain};
use crate::config::Source;
use crate::config::apis::{AdminForm, AdminSpec};
use crate::config::layer::ApiRule;
use crate::config::root::ConfigSpec;
use crate::config::snapshot::{Listener, Snapshot};
use crate::rule::decide::Rule;
use crate::rule::spec::RuleSpec;
use crate::server::{Failure, Reloaded};

pub(super) async fn status(State(context): Shared) -> Response {
    let server = &context.server;
    let snapshot = server.snapshot();
    let (ok, refused) = server.metrics().reloads();
    json_answer(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": if context.is_draining() { "draining" } else { "running" },
        "uptime_seconds": context.started.elapsed().as_secs_f64(),
        "seed": snapshot.seed.0,
        "config_hash": snapshot.hash,
        "revision": snapshot.revision,
        "layers": {"file": snapshot.file_rules.len(), "api": snapshot.layer.rules().len()},
        "spaces": snapshot.layer.spaces().len(),
        "config_file": match server.source() {
            Source::File(path) => json!(path.display().to_string()),
            Source::Demo => Value::Null,
        },
        "reloads": {"ok": ok, "error": refused, "last_error": server.refused()},
        "admin": context.address.to_string(),
        "listeners": listeners(&context, &snapshot),
        "rules": snapshot.rules.len(),
        "requests_held": server.metrics().held.get(),
        "armed": server.is_armed(),
        "stopped": armed::stopped_json(server),
    }))
}

/// The listeners by name, each with its real address and its upstream.
fn listeners(context: &Context, snapshot: &Snapshot) -> Vec<Value> {
    let open = context.server.addresses();
    let listener = |one: &Listener| {
        let address = open
            .iter()
            .find(|(name, _)| *name == one.name)
            .map(|(_, address)| address);
        json!({
            "name": &*one.name,
            "address": address,
            "enabled": one.enabled,
            "tls": one.tls.is_some(),
            "upstream": Some(&**one.upstream()).filter(|name| !name.is_empty()),
            "upstreams": one.upstreams(),
            "space": one.space,
        })
    };
    snapshot.listeners.iter().map(listener).collect()
}

/// The configuration with defaults and includes resolved, and the seed in force, so that it can be saved and replayed.
/// Secrets are masked, and it never contains the token.
pub(super) async fn config(State(context): Shared, headers: HeaderMap, uri: Uri) -> Response {
    let snapshot = context.server.snapshot();
    let pairs = explain::pairs(&uri);
    let shown = pairs.and_then(|pairs| match pairs.as_slice() {
        [] => config_json(&snapshot),
        [(name, format)] if name == "format" && format == "json" => config_json(&snapshot),
        [(name, format)] if name == "format" && format == "yaml" => config_yaml(&snapshot),
        _ => Err(Problem::bad_request("`format` is the only parameter: use json or yaml")),
    });
    shown.unwrap_or_else(|problem| problem.answer(Accept::of(&headers)))
}

fn resolved(snapshot: &Snapshot) -> ConfigSpec {
    let mut spec = ConfigSpec::clone(&snapshot.spec);
    spec.rules = rules_in_force(snapshot);
    spec.seed = Some(snapshot.seed.0);
    let address = Some(snapshot.admin.address.clone().into());
    // Its type hides the token too, but a secret deserves two safeguards.
    spec.admin = Some(AdminForm(AdminSpec { address, token: None }).into());
    spec
}

/// The rules as typed, in the order of their decisions.
fn rules_in_force(snapshot: &Snapshot) -> Vec<RuleSpec> {
    let of_api: HashMap<*const Rule, &ApiRule> = snapshot
        .layer
        .rules()
        .iter()
        .filter_map(|one| Some((Arc::as_ptr(one.rule.as_ref().ok()?), &**one)))
        .collect();
    // Both lists of the file have the same order.
    let of_file: HashMap<*const Rule, &RuleSpec> = snapshot
        .file_rules
        .iter()
        .zip(&snapshot.spec.rules)
        .map(|((rule, _), spec)| (Arc::as_ptr(rule), spec))
        .collect();
    let spec = |rule: &Arc<Rule>| {
        let added = of_api.get(&Arc::as_ptr(rule)).map(|one| &*one.spec);
        let mut spec = added.or_else(|| of_file.get(&Arc::as_ptr(rule)).copied())?.clone();
        spec.enabled = rule.is_on();
        Some(spec)
    };
    snapshot.rules.iter().filter_map(spec).collect()
}

fn config_json(snapshot: &Snapshot) -> Result<Response, Problem> {
    let shown = snapshot.masks.json(&resolved(snapshot)).map_err(unwritable)?;
    Ok(json_answer(&shown))
}

fn config_yaml(snapshot: &Snapshot) -> Result<Response, Problem> {
    let shown = snapshot.masks.yaml(&resolved(snapshot)).map_err(unwritable)?;
    // The media type of YAML (RFC 9512).
    Ok(([(CONTENT_TYPE, "application/yaml")], shown).into_response())
}

fn unwritable(error: impl std::fmt::Display) -> Problem {
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        format!("can't write the configuration: {error}"),
    )
}

/// The authority's certificate, which clients must trust to get to the other faults of a faulty certificate. Its media
/// type is that of RFC 8555, section 9.1.
pub(super) async fn ca(State(context): Shared) -> Response {
    let pem = context.server.snapshot().authority.pem().to_owned();
    ([(CONTENT_TYPE, "application/pem-certificate-chain")], pem).into_response()
}

/// Reloads. Responds with 422 and a report if the configuration is bad, with 500 if an address can't be opened. The old
/// configuration then stays in force.
pub(super) async fn reload(State(context): Shared, headers: HeaderMap) -> Response {
    let accept = Accept::of(&headers);
    if context.is_draining() {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "squall is draining").answer(accept);
    }
    let problem = match context.server.reload().await {
        Ok(Reloaded { snapshot, changes }) => {
            let warnings = snapshot.warnings.to_json();
            let answer =
                json!({"result": "ok", "config_hash": snapshot.hash, "changes": changes, "warnings": warnings});
            return json_answer(&answer);
        }
        Err(Failure::Configuration(report)) => {
            let detail = if accept == Accept::Json {
                report.summary()
            } else {
                report.render(false)
            };
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with("errors", report.to_json())
        }
        Err(failure) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, failure.to_string()),
    };
    problem
        .with("result", "error")
        .with("config_hash", context.server.snapshot().hash.clone())
        .answer(accept)
}
