//! The endpoints of spaces, and of upstreams.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::conditions::refused;
use super::problem::{Accept, Problem, json_answer};
use super::{Context, Shared, body};
use crate::config::layer::{Draft, Space};
use crate::config::snapshot::Snapshot;
use crate::proxy::exchange::view::Target;
use crate::proxy::net::address::AddressSpec;
use crate::proxy::upstream::Health;
use crate::yaml::units::Time;

/// The body of `PUT /spaces/{id}`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Wish {
    /// How long it lives after a change of it or of its rules. Absent: until it is deleted.
    ttl: Option<Time>,
    /// Listeners of the file to copy for the space.
    listeners: Listeners,
}

/// Names, or names with addresses.
#[derive(Deserialize)]
#[serde(untagged)]
enum Listeners {
    Names(Vec<String>),
    Addresses(BTreeMap<String, Option<AddressSpec>>),
}

impl Default for Listeners {
    fn default() -> Self {
        Listeners::Names(Vec::new())
    }
}

impl Listeners {
    fn into_pairs(self) -> Vec<(String, Option<AddressSpec>)> {
        match self {
            Listeners::Names(names) => names.into_iter().map(|name| (name, None)).collect(),
            Listeners::Addresses(addresses) => addresses.into_iter().collect(),
        }
    }
}

/// All spaces.
pub(super) async fn list(State(context): Shared) -> Response {
    let snapshot = context.server.snapshot();
    let spaces = snapshot.layer.spaces().iter();
    let spaces: Vec<Value> = spaces
        .map(|(name, space)| shown(&context, &snapshot, name, space))
        .collect();
    json_answer(&json!({"revision": snapshot.revision, "spaces": spaces}))
}

/// One space.
pub(super) async fn show(State(context): Shared, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let snapshot = context.server.snapshot();
    match snapshot.layer.spaces().get_key_value(&*name) {
        Some((name, space)) => json_answer(&shown(&context, &snapshot, name, space)),
        None => {
            let detail = format!("there is no space `{name}`");
            Problem::new(StatusCode::NOT_FOUND, detail).answer(Accept::of(&headers))
        }
    }
}

/// Opens or renews a space.
pub(super) async fn put(State(context): Shared, Path(name): Path<String>, headers: HeaderMap, body: Body) -> Response {
    let accept = Accept::of(&headers);
    let done = async {
        let wish: Wish = body::json(&context, body, "{\"ttl\": \"10m\", \"listeners\": [\"web\"]}").await?;
        if wish.ttl.is_some_and(|ttl| ttl.get().is_zero()) {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "`ttl` must be longer than 0s",
            ));
        }
        let (ttl, listeners) = (wish.ttl.map(Time::get), wish.listeners.into_pairs());
        let id = name.clone();
        let change = move |draft: &mut Draft<'_>| draft.put_space(&id, ttl, &listeners);
        let changed = context.server.change(change).await;
        let changed = changed.map_err(|refusal| refused(refusal, accept))?;
        let revision = changed.snapshot.revision;
        let event = || json!({"space": &name, "what": "put", "revision": revision});
        context.server.events().tell("space", event);
        let space = changed.snapshot.layer.spaces().get_key_value(&*name);
        let shown = space.map(|(name, space)| shown(&context, &changed.snapshot, name, space));
        let mut response = json_answer(&shown.unwrap_or_default());
        if changed.value {
            *response.status_mut() = StatusCode::CREATED;
        }
        Ok(response)
    };
    done.await.unwrap_or_else(|problem: Problem| problem.answer(accept))
}

/// Closes a space, with all that belongs to it.
pub(super) async fn remove(State(context): Shared, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let accept = Accept::of(&headers);
    let id = name.clone();
    let changed = context.server.change(move |draft| draft.remove_space(&id)).await;
    match changed {
        Err(refusal) => refused(refusal, accept).answer(accept),
        Ok(changed) => {
            let revision = changed.snapshot.revision;
            let event = || json!({"space": &name, "what": "removed", "revision": revision});
            context.server.events().tell("space", event);
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

fn shown(context: &Context, snapshot: &Snapshot, name: &Arc<str>, space: &Space) -> Value {
    let open: BTreeMap<Arc<str>, String> = context.server.addresses().into_iter().collect();
    let listeners: BTreeMap<&str, Option<&String>> = space
        .listeners
        .iter()
        .map(|one| (&*one.of, open.get(&one.name)))
        .collect();
    let rules = snapshot.layer.rules().iter();
    let mine = rules.filter(|rule| rule.id.space.as_ref() == Some(name));
    let left = |expires: Instant| expires.saturating_duration_since(Instant::now()).as_secs_f64();
    json!({
        "id": &**name,
        "rules": mine.map(|rule| &*rule.id.name).collect::<Vec<_>>(),
        "listeners": listeners,
        "ttl_seconds": space.expires.map(left),
    })
}

/// The upstreams of the file, with the health of their endpoints.
pub(super) async fn upstreams(State(context): Shared) -> Response {
    let snapshot = context.server.snapshot();
    let now = Instant::now();
    let upstreams: BTreeMap<&str, &Arc<Target>> = snapshot.targets().collect();
    let health = |one: Health| {
        json!({
            "address": one.address,
            "healthy": one.ejected.is_none(),
            "failures": one.failures,
            "back_in_seconds": one.ejected.map(|left| left.as_secs_f64()),
        })
    };
    let shown = |(name, target): (&str, &Arc<Target>)| {
        let (kind, endpoints) = match &**target {
            Target::Fake(_) => ("fake", Vec::new()),
            Target::Real(real) if real.tcp().is_some() => ("tcp", real.health(now)),
            Target::Real(real) if real.original_destination().is_some() => ("original_destination", Vec::new()),
            Target::Real(real) if real.is_forward() => ("forward", Vec::new()),
            Target::Real(real) => ("http", real.health(now)),
        };
        let listeners = snapshot.listeners.iter();
        let mine = listeners.filter(|listener| listener.upstreams().iter().any(|upstream| &***upstream == name));
        json!({
            "name": name,
            "kind": kind,
            "endpoints": endpoints.into_iter().map(health).collect::<Vec<_>>(),
            "listeners": mine.map(|listener| &*listener.name).collect::<Vec<_>>(),
        })
    };
    let upstreams: Vec<Value> = upstreams.into_iter().map(shown).collect();
    json_answer(&json!({ "upstreams": upstreams }))
}
