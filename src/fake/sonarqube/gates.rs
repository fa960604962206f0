//! Quality gates: the built-in one, which all projects have.

use http::StatusCode;
use serde_json::{Value, json};

use super::figures::Figures;
use super::parameters::Parameters;
use super::render;
use super::world::World;

const NAME: &str = "Sonar way";
const ID: u32 = 1;

/// A condition of the gate.
struct GateCondition {
    metric: &'static str,
    /// `GT` or `LT`: which values are errors.
    comparator: &'static str,
    error: &'static str,
}

const CONDITIONS: &[GateCondition] = &[
    condition("new_reliability_rating", "GT", "1"),
    condition("new_security_rating", "GT", "1"),
    condition("new_maintainability_rating", "GT", "1"),
    condition("new_coverage", "LT", "80"),
    condition("new_duplicated_lines_density", "GT", "3"),
];

const fn condition(metric: &'static str, comparator: &'static str, error: &'static str) -> GateCondition {
    GateCondition {
        metric,
        comparator,
        error,
    }
}

impl GateCondition {
    fn holds(&self, figures: &Figures) -> bool {
        let number = |text: &str| text.parse::<f64>().unwrap_or_default();
        let value = figures.value(self.metric).map_or(0.0, |value| number(&value));
        match self.comparator {
            "GT" => value <= number(self.error),
            _ => value >= number(self.error),
        }
    }

    fn shown(&self, figures: &Figures) -> Value {
        json!({
            "status": if self.holds(figures) { "OK" } else { "ERROR" },
            "metricKey": self.metric,
            "comparator": self.comparator,
            "periodIndex": 1,
            "errorThreshold": self.error,
            "actualValue": figures.value(self.metric),
        })
    }
}

/// The gate, with its number in versions that have them.
fn gate(world: &World, more: Value) -> Value {
    let mut gate = more;
    if let Some(gate) = gate.as_object_mut() {
        gate.insert("name".to_owned(), NAME.into());
        if !world.current {
            gate.insert("id".to_owned(), ID.into());
        }
    }
    gate
}

fn actions() -> Value {
    json!({
        "rename": false, "setAsDefault": false, "copy": false, "associateProjects": false, "delete": false,
        "manageConditions": false, "delegate": false, "manageAiCodeAssurance": false,
    })
}

pub(super) fn list(world: &World) -> Value {
    let built_in = gate(
        world,
        json!({
            "isDefault": true, "isBuiltIn": true, "caycStatus": "compliant", "hasStandardConditions": true,
            "hasMQRConditions": false, "isAiCodeSupported": false, "actions": actions(),
        }),
    );
    let mut list = json!({ "qualitygates": [built_in], "actions": { "create": false } });
    if let (Some(list), false) = (list.as_object_mut(), world.current) {
        list.insert("default".to_owned(), ID.into());
    }
    list
}

/// The gate that a request names.
///
/// # Errors
/// Status and message, if it names another.
pub(super) fn show(world: &World, given: &Parameters) -> Result<Value, (StatusCode, String)> {
    named(given)?;
    let conditions: Vec<_> = CONDITIONS
        .iter()
        .zip(1_u32..)
        .map(|(one, id)| json!({ "id": id, "metric": one.metric, "op": one.comparator, "error": one.error }))
        .collect();
    Ok(gate(
        world,
        json!({
            "conditions": conditions, "isBuiltIn": true, "isDefault": true, "caycStatus": "compliant", "actions": actions(),
        }),
    ))
}

fn named(given: &Parameters) -> Result<(), (StatusCode, String)> {
    let (id, name) = (
        given.get("id").or(given.get("gateId")),
        given.get("name").or(given.get("gateName")),
    );
    match (id, name) {
        (Some(id), None) if id == ID.to_string() => Ok(()),
        (None, Some(NAME)) => Ok(()),
        (None, None) => Err((StatusCode::BAD_REQUEST, "The 'name' parameter is missing".to_owned())),
        (id, name) => {
            let wanted = name.or(id).unwrap_or_default();
            Err((
                StatusCode::NOT_FOUND,
                format!("No quality gate has been found for name {wanted}"),
            ))
        }
    }
}

/// The projects of a gate.
///
/// # Errors
/// Status and message, if a parameter is wrong.
pub(super) fn projects(world: &World, given: &Parameters) -> Result<Value, (StatusCode, String)> {
    named(given)?;
    let page = given.page().map_err(|message| (StatusCode::BAD_REQUEST, message))?;
    // All have it because it is the default; none was chosen for it.
    let selected = given.get("selected").unwrap_or("selected");
    let all: Vec<_> = world
        .projects
        .iter()
        .filter(|_| selected != "selected")
        .map(|project| json!({ "name": project.name, "key": project.key, "selected": false }))
        .collect();
    let shown: Vec<_> = all.iter().skip(page.offset()).take(page.size).collect();
    Ok(json!({ "paging": render::paging(page, all.len() as u64), "results": shown, "more": false }))
}

/// The gate of a project.
pub(super) fn of_project(world: &World) -> Value {
    json!({ "qualityGate": gate(world, json!({ "default": true })) })
}

/// Whether a project or file passes.
fn passes(figures: &Figures) -> bool {
    CONDITIONS.iter().all(|condition| condition.holds(figures))
}

/// A metric's value, those of the gate included; nothing if there is no such metric.
pub(super) fn value(figures: &Figures, metric: &str) -> Option<String> {
    match metric {
        "alert_status" => Some(if passes(figures) { "OK" } else { "ERROR" }.to_owned()),
        "quality_gate_details" => Some(details(figures)),
        other => figures.value(other),
    }
}

/// What the metric `quality_gate_details` says: JSON, as text.
fn details(figures: &Figures) -> String {
    let level = |holds: bool| if holds { "OK" } else { "ERROR" };
    let conditions: Vec<_> = CONDITIONS
        .iter()
        .map(|one| {
            json!({
                "metric": one.metric, "op": one.comparator, "period": 1, "error": one.error,
                "actual": figures.value(one.metric), "level": level(one.holds(figures)),
            })
        })
        .collect();
    json!({ "level": level(passes(figures)), "conditions": conditions, "ignoredConditions": false }).to_string()
}

/// Whether a project passes.
pub(super) fn status(world: &World, figures: &Figures) -> Value {
    let conditions: Vec<_> = CONDITIONS.iter().map(|condition| condition.shown(figures)).collect();
    let date = super::dates::date_time(super::world::FIRST_ANALYSIS.unix_timestamp());
    let period = json!({ "index": 1, "mode": "previous_version", "date": date });
    let mut status = json!({
        "status": if passes(figures) { "OK" } else { "ERROR" }, "conditions": conditions, "ignoredConditions": false,
    });
    let (key, period) = if world.current {
        ("period", period)
    } else {
        ("periods", json!([period]))
    };
    if let Some(status) = status.as_object_mut() {
        status.insert(key.to_owned(), period);
        if world.current {
            status.insert("caycStatus".to_owned(), "compliant".into());
        }
    }
    json!({ "projectStatus": status })
}
