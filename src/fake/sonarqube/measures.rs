//! The measures of projects and files.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::figures::Figures;
use super::metrics::{self, Metric};
use super::parameters::Parameters;
use super::render::{self, of_organization};
use super::rules::LANGUAGES;
use super::world::{FILES, FILES_EACH, LAST_ANALYSIS, Project, World};
use super::{dates, gates, refuse};
use crate::fake::reply::json as reply;

/// What measures are of.
pub(super) enum MeasuredComponent<'a> {
    Project(usize, &'a Project),
    /// A project and the place of a file in it.
    File(usize, &'a Project, usize),
}

impl<'a> MeasuredComponent<'a> {
    /// The project or file with that key.
    pub(super) fn find(world: &'a World, key: &str) -> Option<Self> {
        if let Some((at, project)) = world.project(key) {
            return Some(Self::Project(at, project));
        }
        world.projects.iter().enumerate().find_map(|(at, project)| {
            let path = key.strip_prefix(&project.key)?.strip_prefix(':')?;
            let file = project.files.iter().position(|file| file == path)?;
            Some(Self::File(at, project, file))
        })
    }

    pub(super) fn figures(&self, all: &[Figures]) -> Figures {
        let (from, count) = match self {
            Self::Project(at, _) => (at * FILES, FILES),
            Self::File(at, _, file) => (at * FILES + file, 1),
        };
        let mut sum = Figures::default();
        for one in all.iter().skip(from).take(count) {
            sum += one;
        }
        sum
    }

    /// What a response says of it before its measures.
    pub(super) fn shown(&self, world: &World) -> Value {
        let shown = match self {
            Self::Project(_, project) => json!({
                "key": project.key, "name": project.name, "qualifier": "TRK", "visibility": "public",
            }),
            Self::File(_, project, file) => {
                let path = project.files.get(*file).map(String::as_str).unwrap_or_default();
                let language = LANGUAGES.get(file / FILES_EACH).map(|language| language.key);
                json!({
                    "key": format!("{}:{path}", project.key), "name": path.rsplit('/').next(), "qualifier": "FIL",
                    "path": path, "language": language,
                })
            }
        };
        of_organization(world, shown)
    }
}

/// The component that a request names.
///
/// # Errors
/// The response, if there is none.
pub(super) fn component<'a>(world: &'a World, parameters: &Parameters) -> Result<MeasuredComponent<'a>, Box<Response>> {
    let names = ["component", "componentKey", "project", "projectKey"];
    let Some(key) = names.iter().find_map(|name| parameters.get(name)) else {
        return Err(Box::new(refuse("The 'component' parameter is missing")));
    };
    MeasuredComponent::find(world, key).ok_or_else(|| {
        let word = if world.current { "Component" } else { "Component key" };
        Box::new(not_found(&format!("{word} '{key}' not found")))
    })
}

fn not_found(message: &str) -> Response {
    reply(StatusCode::NOT_FOUND, &render::errors(message))
}

/// The metrics that a request asks for.
fn wanted<'a>(world: &World, parameters: &'a Parameters, name: &str) -> Result<Vec<&'a str>, Box<Response>> {
    let keys = parameters.list(name);
    if keys.is_empty() {
        return Err(Box::new(refuse(&format!("The '{name}' parameter is missing"))));
    }
    let metrics = metrics::of(world);
    let unknown: Vec<_> = keys
        .iter()
        .copied()
        .filter(|key| !metrics::is_known(&metrics, key))
        .collect();
    if unknown.is_empty() {
        return Ok(keys);
    }
    let message = format!("The following metric keys are not found: {}", unknown.join(", "));
    Err(Box::new(not_found(&message)))
}

fn measures(world: &World, figures: &Figures, keys: &[&str]) -> Vec<Value> {
    let measure = |key: &&str| {
        let value = gates::value(figures, key)?;
        if !key.starts_with("new_") {
            return Some(json!({ "metric": key, "value": value }));
        }
        let period = json!({ "index": 1, "value": value });
        Some(if world.current {
            json!({ "metric": key, "period": period })
        } else {
            json!({ "metric": key, "periods": [period] })
        })
    };
    keys.iter().filter_map(measure).collect()
}

fn with_measures(mut component: Value, measures: Vec<Value>) -> Value {
    if let Some(component) = component.as_object_mut() {
        component.insert("measures".to_owned(), measures.into());
    }
    component
}

/// Measures of one project or file.
///
/// # Errors
/// The response, if something is missing.
pub(super) fn of_component(world: &World, all: &[Figures], given: &Parameters) -> Result<Value, Box<Response>> {
    let measured = component(world, given)?;
    let keys = wanted(world, given, "metricKeys")?;
    let figures = measured.figures(all);
    let mut answer = Map::new();
    let component = with_measures(measured.shown(world), measures(world, &figures, &keys));
    answer.insert("component".to_owned(), component);
    let additional = given.list("additionalFields");
    if additional.contains(&"metrics") {
        let metrics = metrics::of(world);
        let metrics = metrics.iter().filter(|metric| keys.iter().any(|key| metric.is(key)));
        answer.insert(
            "metrics".to_owned(),
            metrics.map(Metric::shown).collect::<Vec<_>>().into(),
        );
    }
    let period =
        json!({ "index": 1, "mode": "previous_version", "date": dates::date_time(LAST_ANALYSIS.unix_timestamp()) });
    match (additional.iter().find(|name| name.starts_with("period")), world.current) {
        (Some(_), true) => drop(answer.insert("period".to_owned(), period)),
        (Some(_), false) => drop(answer.insert("periods".to_owned(), json!([period]))),
        (None, _) => {}
    }
    Ok(answer.into())
}

/// Measures of several projects.
///
/// # Errors
/// The response, if something is missing.
pub(super) fn of_projects(world: &World, all: &[Figures], given: &Parameters) -> Result<Value, Box<Response>> {
    let keys = wanted(world, given, "metricKeys")?;
    let projects = given.list("projectKeys");
    let found = projects
        .iter()
        .filter_map(|key| MeasuredComponent::find(world, key).map(|found| (key, found)));
    let listed = found.flat_map(|(key, found)| {
        let mut listed = measures(world, &found.figures(all), &keys);
        for measure in listed.iter_mut().filter_map(Value::as_object_mut) {
            measure.insert("component".to_owned(), (*key).into());
        }
        listed
    });
    Ok(json!({ "measures": listed.collect::<Vec<_>>() }))
}

/// Measures of a project's files.
///
/// # Errors
/// The response, if something is missing.
pub(super) fn of_tree(world: &World, all: &[Figures], given: &Parameters) -> Result<Value, Box<Response>> {
    let base = component(world, given)?;
    let page = given.page().map_err(|message| Box::new(refuse(&message)))?;
    let keys = if given.get("metricKeys").is_some() {
        wanted(world, given, "metricKeys")?
    } else {
        Vec::new()
    };
    let files = files(&base, given);
    let shown = files.iter().skip(page.offset()).take(page.size).map(|file| {
        let shown = file.shown(world);
        if keys.is_empty() {
            shown
        } else {
            with_measures(shown, measures(world, &file.figures(all), &keys))
        }
    });
    let shown: Vec<_> = shown.collect();
    let mut root = base.shown(world);
    if !keys.is_empty() {
        root = with_measures(root, measures(world, &base.figures(all), &keys));
    }
    let paging = render::paging(page, files.len() as u64);
    Ok(json!({ "paging": paging, "baseComponent": root, "components": shown }))
}

/// The files below a component that a request selects.
fn files<'a>(base: &MeasuredComponent<'a>, given: &Parameters) -> Vec<MeasuredComponent<'a>> {
    let (MeasuredComponent::Project(at, project), true) = (base, {
        let qualifiers = given.list("qualifiers");
        qualifiers.is_empty() || qualifiers.contains(&"FIL")
    }) else {
        return Vec::new();
    };
    let wanted = given.get("q").unwrap_or_default().to_lowercase();
    let files = project.files.iter().enumerate();
    let files = files.filter(|(_, path)| path.to_lowercase().contains(&wanted));
    files
        .map(|(file, _)| MeasuredComponent::File(*at, project, file))
        .collect()
}

/// Measures in the past: there was one analysis.
///
/// # Errors
/// The response, if something is missing.
pub(super) fn history(world: &World, all: &[Figures], given: &Parameters) -> Result<Value, Box<Response>> {
    let measured = component(world, given)?;
    let page = given.page().map_err(|message| Box::new(refuse(&message)))?;
    let keys = wanted(world, given, "metrics")?;
    let figures = measured.figures(all);
    let date = dates::date_time(LAST_ANALYSIS.unix_timestamp());
    let measures = keys.iter().map(|key| {
        let history = gates::value(&figures, key).map(|value| json!({ "date": date, "value": value }));
        json!({ "metric": key, "history": history.into_iter().collect::<Vec<_>>() })
    });
    let measures: Vec<_> = measures.collect();
    Ok(json!({ "paging": render::paging(page, 1), "measures": measures }))
}
