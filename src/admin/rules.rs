//! The endpoints of rules: shows them, and changes the API's layer of them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::conditions::{expected, refused, tag, tagged};
use super::params::Params;
use super::problem::{Accept, Problem, json_answer};
use super::{Context, MAX_BODY_BYTES, MAX_LAYER_BYTES, Shared, armed, body};
use crate::config::Source;
use crate::config::layer::draft::{Switched, Text};
use crate::config::layer::{ApiRule, Draft, Refusal, Which};
use crate::config::snapshot::Snapshot;
use crate::rule::decide::{Outcome, Rule};
use crate::rule::id::RuleId;
use crate::rule::spec::RuleSpec;
use crate::rule::switch::Switch;
use crate::server::Changed;
use crate::yaml::report::Report;

/// All rules in the order of their decisions, then those of the API that don't fit the file.
pub(super) async fn list(State(context): Shared, headers: HeaderMap, uri: Uri) -> Response {
    let accept = Accept::of(&headers);
    let params = match Params::of(&uri) {
        Ok(params) => params,
        Err(problem) => return problem.answer(accept),
    };
    let snapshot = context.server.snapshot();
    let known = Known::of(&snapshot);
    let space = params.get("space");
    let wanted = |one: &Option<Arc<str>>| space.is_none_or(|space| one.as_deref() == Some(space));
    let in_force = snapshot.rules.iter().filter(|rule| wanted(&rule.space));
    let idle = snapshot
        .layer
        .rules()
        .iter()
        .filter(|rule| rule.rule.is_err() && wanted(&rule.id.space));
    let rules = in_force.map(|rule| known.rule(rule));
    let rules: Vec<Value> = rules.chain(idle.map(|rule| of_idle(&snapshot, rule))).collect();
    let shown = json!({"revision": snapshot.revision, "config_hash": snapshot.hash, "rules": rules});
    tagged(json_answer(&shown), snapshot.revision, &headers)
}

/// One rule.
pub(super) async fn show(
    State(context): Shared,
    axum::extract::Path(name): axum::extract::Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let accept = Accept::of(&headers);
    let shown = Params::of(&uri).and_then(|params| {
        let id = RuleId::new(params.get("space"), &name);
        let snapshot = context.server.snapshot();
        let rule = of_id(&snapshot, &id).ok_or_else(|| refused(snapshot.unknown_rule(&id), accept))?;
        let revision = snapshot.revision_of(&id).unwrap_or_default();
        Ok(tagged(json_answer(&rule), revision, &headers))
    });
    shown.unwrap_or_else(|problem| problem.answer(accept))
}

/// Adds or replaces a rule of the API.
pub(super) async fn put(
    State(context): Shared,
    axum::extract::Path(name): axum::extract::Path<String>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Response {
    let accept = Accept::of(&headers);
    let done = async {
        let params = Params::of(&uri)?;
        let (id, dry_run) = (RuleId::new(params.get("space"), &name), params.flag("dry_run")?);
        let expected = expected(&headers)?;
        let text = text(&context, &headers, body, MAX_BODY_BYTES).await?;
        let about = id.clone();
        let change = move |draft: &mut Draft<'_>| {
            draft.expect(&about, &expected)?;
            draft.switch(&about, Switched::AsConfigured);
            draft.put(&about, text)
        };
        one(&context, accept, id, "put", dry_run, change).await
    };
    done.await.unwrap_or_else(|problem: Problem| problem.answer(accept))
}

/// Changes parts of a rule.
pub(super) async fn patch(
    State(context): Shared,
    axum::extract::Path(name): axum::extract::Path<String>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Response {
    let accept = Accept::of(&headers);
    let done = async {
        let params = Params::of(&uri)?;
        let (id, dry_run) = (RuleId::new(params.get("space"), &name), params.flag("dry_run")?);
        let expected = expected(&headers)?;
        let mut patch: Map<String, Value> = body::json(&context, body, "{\"when\": {\"percentage\": \"50%\"}}").await?;
        // The switch is apart from the rule: it changes nothing else, and a reload leaves it so.
        let switch = patch.remove("enabled").map(|enabled| match enabled {
            Value::Bool(true) => Ok(Switch::On),
            Value::Bool(false) => Ok(Switch::Off),
            Value::Null => Ok(Switch::Configured),
            _ => Err(Problem::bad_request(
                "`enabled` must be true or false, or null to leave it to the configuration",
            )),
        });
        let switch = switch.transpose()?;
        let about = id.clone();
        let change = move |draft: &mut Draft<'_>| {
            draft.expect(&about, &expected)?;
            if patch.is_empty() {
                draft.touch(&about)?;
            } else {
                draft.patch(&about, &Value::Object(patch))?;
            }
            if let Some(switch) = switch {
                draft.switch(&about, Switched::To(switch));
            }
            Ok(false)
        };
        one(&context, accept, id, "patched", dry_run, change).await
    };
    done.await.unwrap_or_else(|problem: Problem| problem.answer(accept))
}

/// Removes a rule of the API.
pub(super) async fn remove(
    State(context): Shared,
    axum::extract::Path(name): axum::extract::Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let accept = Accept::of(&headers);
    let done = async {
        let params = Params::of(&uri)?;
        let id = RuleId::new(params.get("space"), &name);
        let expected = expected(&headers)?;
        let about = id.clone();
        let change = move |draft: &mut Draft<'_>| {
            draft.expect(&about, &expected)?;
            draft.remove(&about)
        };
        let changed = context.server.change(change).await;
        let changed = changed.map_err(|refusal| refused(refusal, accept))?;
        tell(&context, &id, "removed", &changed.snapshot);
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    done.await.unwrap_or_else(|problem: Problem| problem.answer(accept))
}

/// Resets one rule.
pub(super) async fn reset(
    State(context): Shared,
    axum::extract::Path(name): axum::extract::Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let accept = Accept::of(&headers);
    let done = async {
        let params = Params::of(&uri)?;
        let id = RuleId::new(params.get("space"), &name);
        let about = id.clone();
        let change = move |draft: &mut Draft<'_>| draft.reset(&Which::One(about.clone())).map(|()| false);
        one(&context, accept, id, "reset", false, change).await
    };
    done.await.unwrap_or_else(|problem| problem.answer(accept))
}

/// Resets all rules, or with `?space=` those of a space; an empty name stands for those in none.
pub(super) async fn reset_all(State(context): Shared, headers: HeaderMap, uri: Uri) -> Response {
    let accept = Accept::of(&headers);
    let done = async {
        let params = Params::of(&uri)?;
        let meant = match params.get("space") {
            None => Which::All,
            Some("") => Which::OfSpace(None),
            Some(space) => Which::OfSpace(Some(space.into())),
        };
        Ok(whole(&context, accept, "reset", false, move |draft| draft.reset(&meant)).await)
    };
    done.await.unwrap_or_else(|problem: Problem| problem.answer(accept))
}

/// The body of `PUT /order`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    rules: Vec<Named>,
}

/// A rule of the API by its name, or with its space.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Name(String),
    InSpace { space: String, name: String },
}

/// Puts the API's rules into another order.
pub(super) async fn order(State(context): Shared, headers: HeaderMap, body: Body) -> Response {
    let accept = Accept::of(&headers);
    let done = async {
        let expected = expected(&headers)?;
        let example = "{\"rules\": [\"first\", {\"space\": \"a\", \"name\": \"second\"}]}";
        let order: Order = body::json(&context, body, example).await?;
        let ids: Vec<RuleId> = order.rules.iter().map(Named::id).collect();
        let change = move |draft: &mut Draft<'_>| {
            draft.expect_all(&expected)?;
            draft.order(&ids)
        };
        Ok(whole(&context, accept, "ordered", false, change).await)
    };
    done.await.unwrap_or_else(|problem: Problem| problem.answer(accept))
}

impl Named {
    fn id(&self) -> RuleId {
        match self {
            Named::Name(name) => RuleId::new(None, name),
            Named::InSpace { space, name } => RuleId::new(Some(space), name),
        }
    }
}

/// The API's layer as it can be sent again.
pub(super) async fn layer(State(context): Shared, headers: HeaderMap) -> Response {
    let snapshot = context.server.snapshot();
    tagged(layer_answer(&snapshot), snapshot.revision, &headers)
}

fn layer_answer(snapshot: &Snapshot) -> Response {
    let rules: Vec<Value> = snapshot
        .layer
        .rules()
        .iter()
        .map(|rule| {
            let mut shown = spec_json(snapshot, &rule.spec);
            if let (Some(ttl), Value::Object(fields)) = (ttl_seconds(rule), &mut shown) {
                fields.insert(
                    "ttl".to_owned(),
                    format!("{}ms", (ttl * 1000.0).max(1.0).round()).into(),
                );
            }
            shown
        })
        .collect();
    json_answer(&json!({"revision": snapshot.revision, "rules": rules}))
}

/// Replaces the API's layer.
pub(super) async fn put_layer(State(context): Shared, headers: HeaderMap, uri: Uri, body: Body) -> Response {
    let accept = Accept::of(&headers);
    let done = async {
        let params = Params::of(&uri)?;
        let (expected, dry_run) = (expected(&headers)?, params.flag("dry_run")?);
        let text = text(&context, &headers, body, MAX_LAYER_BYTES).await?;
        let change = move |draft: &mut Draft<'_>| {
            draft.expect_all(&expected)?;
            draft.replace(text)
        };
        Ok(whole(&context, accept, "replaced", dry_run, change).await)
    };
    done.await.unwrap_or_else(|problem: Problem| problem.answer(accept))
}

/// Removes all rules of the API.
pub(super) async fn clear_layer(State(context): Shared, headers: HeaderMap) -> Response {
    let accept = Accept::of(&headers);
    let done = async {
        let expected = expected(&headers)?;
        let change = move |draft: &mut Draft<'_>| {
            draft.expect_all(&expected)?;
            draft.clear();
            Ok(())
        };
        Ok(whole(&context, accept, "cleared", false, change).await)
    };
    done.await.unwrap_or_else(|problem: Problem| problem.answer(accept))
}

/// Carries out a change, or only tries it.
async fn carry_out<T: Send + 'static>(
    context: &Context,
    dry_run: bool,
    change: impl FnOnce(&mut Draft<'_>) -> Result<T, Refusal> + Send + 'static,
) -> Result<Changed<T>, Refusal> {
    if dry_run {
        context.server.try_change(change).await
    } else {
        context.server.change(change).await
    }
}

/// Carries out a change of one rule, and shows the rule.
async fn one(
    context: &Context,
    accept: Accept,
    id: RuleId,
    what: &'static str,
    dry_run: bool,
    change: impl FnOnce(&mut Draft<'_>) -> Result<bool, Refusal> + Send + 'static,
) -> Result<Response, Problem> {
    let about = id.clone();
    let change = move |draft: &mut Draft<'_>| {
        let new = change(draft)?;
        let warnings = warnings(draft.warnings());
        Ok((new, warnings))
    };
    let changed = carry_out(context, dry_run, change).await;
    let Changed { snapshot, value } = changed.map_err(|refusal| refused(refusal, accept))?;
    let (new, warnings) = value;
    if !dry_run {
        tell(context, &about, what, &snapshot);
    }
    let mut shown = of_id(&snapshot, &id).unwrap_or_default();
    if let Value::Object(fields) = &mut shown {
        fields.insert("warnings".to_owned(), warnings);
    }
    let mut response = json_answer(&shown);
    tag(&mut response, snapshot.revision_of(&id).unwrap_or_default());
    if new && !dry_run {
        *response.status_mut() = StatusCode::CREATED;
        if let Ok(place) = HeaderValue::try_from(place(&id)) {
            response.headers_mut().insert(LOCATION, place);
        }
    }
    Ok(response)
}

/// Where a rule is found.
fn place(id: &RuleId) -> String {
    let encoded =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    match &id.space {
        None => format!("/api/v1/rules/{}", encoded(&id.name)),
        Some(space) => format!("/api/v1/rules/{}?space={}", encoded(&id.name), encoded(space)),
    }
}

/// Carries out a change of the whole layer, and shows the layer.
async fn whole(
    context: &Context,
    accept: Accept,
    what: &'static str,
    dry_run: bool,
    change: impl FnOnce(&mut Draft<'_>) -> Result<(), Refusal> + Send + 'static,
) -> Response {
    match carry_out(context, dry_run, change).await {
        Err(refusal) => refused(refusal, accept).answer(accept),
        Ok(Changed { snapshot, .. }) => {
            if !dry_run {
                tracing::info!(what, revision = snapshot.revision, "the rules of the API were changed");
                let revision = snapshot.revision;
                let event = || json!({"rule": null, "space": null, "what": what, "revision": revision});
                context.server.events().tell("rule", event);
            }
            let mut response = layer_answer(&snapshot);
            tag(&mut response, snapshot.revision);
            response
        }
    }
}

/// Logs a change of a rule, and tells those who listen.
fn tell(context: &Context, id: &RuleId, what: &'static str, snapshot: &Snapshot) {
    tracing::info!(
        rule = &*id.name,
        space = id.space.as_deref(),
        what,
        revision = snapshot.revision,
        "a rule was changed by the API"
    );
    let event = || json!({"rule": &*id.name, "space": id.space, "what": what, "revision": snapshot.revision});
    context.server.events().tell("rule", event);
}

/// Reads a body in the language of the file, as JSON or as YAML.
async fn text(context: &Context, headers: &HeaderMap, body: Body, max_bytes: usize) -> Result<Text, Problem> {
    let bytes = body::read(context, body, max_bytes).await?;
    let text = String::from_utf8(bytes.to_vec()).map_err(|_| Problem::bad_request("the body is not UTF-8 text"))?;
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let claims_json = kind.is_some_and(|kind| kind.to_ascii_lowercase().contains("json"));
    let text = match serde_json::from_str::<Value>(&text) {
        // YAML lacks some escapes of JSON, such as those of surrogates. Without any, positions stay as they were sent.
        Ok(json) if text.contains('\\') => format!("{json:#}"),
        Err(error) if claims_json => return Err(Problem::bad_request(format!("the body is not valid JSON: {error}"))),
        _ => text,
    };
    let folder = match context.server.source() {
        Source::File(path) => path.parent().unwrap_or(Path::new("")).to_owned(),
        Source::Demo => Path::new("").to_owned(),
    };
    Ok(Text { text, folder })
}

/// The rule with this id, whether or not it is in force.
fn of_id(snapshot: &Snapshot, id: &RuleId) -> Option<Value> {
    let in_force = snapshot.rules.iter().find(|rule| rule.id() == *id);
    match in_force {
        Some(rule) => {
            let of_file = snapshot.file_rules.iter().zip(&snapshot.spec.rules);
            let mut of_file = of_file.map(|((rule, revision), spec)| (rule.id(), (spec, *revision)));
            let known = Known {
                snapshot,
                of_api: snapshot.layer.rule(id).map(|rule| (id, &**rule)).into_iter().collect(),
                of_file: of_file.find(|(known, _)| known == id).into_iter().collect(),
            };
            Some(known.rule(rule))
        }
        None => snapshot.layer.rule(id).map(|rule| of_idle(snapshot, rule)),
    }
}

/// What there is to know about rules besides themselves, by id: of thousands of rules, each is looked up.
struct Known<'a> {
    snapshot: &'a Snapshot,
    of_api: HashMap<&'a RuleId, &'a ApiRule>,
    of_file: HashMap<RuleId, (&'a RuleSpec, u64)>,
}

impl<'a> Known<'a> {
    fn of(snapshot: &'a Snapshot) -> Known<'a> {
        // Both lists of the file have the same order.
        let of_file = snapshot.file_rules.iter().zip(&snapshot.spec.rules);
        Known {
            snapshot,
            of_api: snapshot.layer.rules().iter().map(|rule| (&rule.id, &**rule)).collect(),
            of_file: of_file
                .map(|((rule, revision), spec)| (rule.id(), (spec, *revision)))
                .collect(),
        }
    }

    /// A rule in force as JSON. `listeners` is null for a rule that applies to every listener, and `when` is as typed.
    fn rule(&self, rule: &Arc<Rule>) -> Value {
        let id = rule.id();
        let outcome = |outcome: &Outcome| {
            let faults: Vec<&str> = outcome.faults.iter().map(|fault| fault.name).collect();
            json!({"weight": outcome.weight, "faults": faults})
        };
        let of_api = self.of_api.get(&id).copied();
        let of_api = of_api.filter(|known| matches!(&known.rule, Ok(known) if Arc::ptr_eq(known, rule)));
        let of_file = self.of_file.get(&id);
        let spec = of_api.map(|rule| &*rule.spec).or(of_file.map(|(spec, _)| *spec));
        let spec = spec.map(|spec| spec_json(self.snapshot, spec)).unwrap_or_default();
        let revision = of_api.map(|rule| rule.revision);
        json!({
            "name": &*rule.name,
            "layer": if of_api.is_some() { "api" } else { "file" },
            "revision": revision.or(of_file.map(|(_, revision)| *revision)),
            "enabled": rule.is_on(),
            "switch": rule.state.switch().name(),
            "tripped": armed::trip_json(rule),
            "spent": rule.spent(Instant::now()).map(|limit| limit.to_string()),
            "shadow": rule.shadow,
            "space": rule.space,
            "listeners": rule.listeners,
            "decides": rule.stage.name(),
            "match": self.snapshot.masks.text(&rule.condition.to_string()),
            "percentage": f64::from(rule.when.ppm) / 1e4,
            "share": rule.when.share(),
            "key": rule.when.key.to_string(),
            "when": spec.get("when"),
            "outcomes": rule.outcomes.iter().map(outcome).collect::<Vec<_>>(),
            "shadows": of_api.is_some() && of_file.is_some(),
            "spec": spec,
            "problem": null,
            "ttl_seconds": of_api.and_then(ttl_seconds),
            "matched": rule.state.matched(),
            "hits": rule.state.hits(),
            "active": rule.state.active(),
        })
    }
}

/// A rule of the API that does not fit the file.
fn of_idle(snapshot: &Snapshot, rule: &ApiRule) -> Value {
    let spec = spec_json(snapshot, &rule.spec);
    json!({
        "name": &*rule.id.name,
        "layer": "api",
        "revision": rule.revision,
        "enabled": false,
        "switch": "configured",
        "tripped": null,
        "spent": null,
        "shadow": rule.spec.shadow,
        "space": rule.id.space,
        "listeners": rule.spec.listener.as_ref().map(|listeners| &listeners.value.0),
        "when": spec.get("when"),
        "shadows": false,
        "spec": spec,
        "problem": rule.rule.as_ref().err(),
        "ttl_seconds": ttl_seconds(rule),
        "matched": 0,
        "hits": 0,
        "active": 0,
    })
}

fn spec_json(snapshot: &Snapshot, spec: &RuleSpec) -> Value {
    // Fails only for a value that can't be written as JSON, and a rule always can.
    snapshot.masks.json(spec).unwrap_or_default()
}

/// The time that a rule still has, in seconds.
fn ttl_seconds(rule: &ApiRule) -> Option<f64> {
    let left = rule.expires?.saturating_duration_since(Instant::now());
    Some((left.as_secs_f64() * 1000.0).round() / 1000.0)
}

fn warnings(reports: &[Report]) -> Value {
    let all = reports.iter().filter_map(|report| match report.to_json() {
        Value::Array(items) => Some(items),
        _ => None,
    });
    Value::Array(all.flatten().collect())
}
