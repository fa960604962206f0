//! The OpenAPI document of the admin API, at `/api/v1/openapi.json`.
//!
//! `openapi.yaml` has every endpoint and the schemas of answers. The schemas of what users write come from the types that read it,
//! and the refusals that every endpoint shares are added here.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::response::Response;
use http::Method;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::problem::json_answer;
use crate::config::root::ConfigSpec;
use crate::explain::Explanation;
use crate::explain::question::Question;
use crate::guards::spec::GuardSpec;
use crate::journal::verify::spec::VerifySpec;
use crate::proxy::net::address::AddressSpec;
use crate::rule::spec::RuleSpec;
use crate::scenario::report::{Sample, ScenarioReport};
use crate::scenario::spec::ScenarioSpec;
use crate::yaml::units::Time;

/// The endpoints and the answers.
const WRITTEN: &str = include_str!("openapi.yaml");

/// The document, which is made when it is first asked for.
static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// The names of the parameters in queries, by path and method.
static PARAMETERS: LazyLock<HashMap<String, HashMap<String, Vec<String>>>> = LazyLock::new(all_parameters);

/// The names of the parameters in the query of an endpoint, by its route. `None` if the document has no such endpoint.
pub(super) fn parameters(route: &str, method: &Method) -> Option<&'static [String]> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let found = PARAMETERS.get(route)?.get(&method.as_str().to_ascii_lowercase())?;
    Some(found)
}

fn all_parameters() -> HashMap<String, HashMap<String, Vec<String>>> {
    let document: Value = serde_yaml::from_str(WRITTEN).unwrap_or_default();
    let resolved = |parameter: &Value| match parameter.get("$ref").and_then(Value::as_str) {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).cloned(),
        None => Some(parameter.clone()),
    };
    let names = |of: &Value| -> Vec<String> {
        let listed = of.get("parameters").and_then(Value::as_array).into_iter().flatten();
        let listed = listed.filter_map(resolved);
        let queries = listed.filter(|parameter| parameter.get("in").is_some_and(|place| place == "query"));
        let named = queries.filter_map(|parameter| Some(parameter.get("name")?.as_str()?.to_owned()));
        named.collect()
    };
    let of_path = |item: &Value| {
        let shared = names(item);
        let methods = item.as_object().into_iter().flatten();
        let methods = methods.filter(|(method, _)| *method != "parameters");
        let with_shared = |operation| [shared.clone(), names(operation)].concat();
        methods
            .map(|(method, operation)| (method.clone(), with_shared(operation)))
            .collect()
    };
    let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
    paths.map(|(path, item)| (path.clone(), of_path(item))).collect()
}

/// The document as JSON.
pub(super) async fn openapi() -> Response {
    json_answer(&DOCUMENT)
}

fn document() -> Value {
    // A test parses it.
    let mut document: Value = serde_yaml::from_str(WRITTEN).unwrap_or_default();
    if let Some(info) = document.get_mut("info").and_then(Value::as_object_mut) {
        info.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
    }
    for path in fields(document.get_mut("paths")) {
        for operation in fields(Some(path)) {
            refusals(operation);
        }
    }
    if let Some(schemas) = document
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut)
    {
        schemas.extend(schemas_of_types());
    }
    document
}

/// The members of an object, if it is one.
fn fields(of: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    of.and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(|fields| fields.values_mut())
}

/// Adds the responses of the access control, and those of reading a body, to an operation.
fn refusals(operation: &mut Value) {
    let has_body = operation.get("requestBody").is_some();
    let is_open = operation.get("security").is_some();
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else {
        return;
    };
    let mut add = |status: &str, response: &str| {
        let reference = json!({"$ref": format!("#/components/responses/{response}")});
        responses.entry(status).or_insert(reference);
    };
    add("400", "Problem");
    add("403", "Problem");
    add("421", "Problem");
    if !is_open {
        add("401", "Unauthorized");
    }
    if has_body {
        for status in ["408", "413", "503"] {
            add(status, "Problem");
        }
    }
    responses.sort_keys();
}

/// The schemas of what users write, and of answers that are written as types.
fn schemas_of_types() -> Map<String, Value> {
    let mut schemas = schemas_written();
    schemas.extend(schemas_shown());
    schemas
}

fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into())
}

fn schemas_written() -> Map<String, Value> {
    let mut generator = settings().for_deserialize().into_generator();
    let mut named = Map::new();
    named.insert("Configuration".to_owned(), one::<ConfigSpec>(&mut generator));
    named.insert("Question".to_owned(), one::<Question>(&mut generator));
    named.insert("Scenario".to_owned(), one::<ScenarioSpec>(&mut generator));
    named.insert("Verify".to_owned(), one::<VerifySpec>(&mut generator));
    generator.subschema_for::<RuleSpec>();
    generator.subschema_for::<GuardSpec>();
    generator.subschema_for::<AddressSpec>();
    generator.subschema_for::<Time>();
    let mut schemas = generator.take_definitions(true);
    // An empty item of a list of conditions is one that always holds.
    if let Some(kind) = schemas.get_mut("MatchSpec").and_then(|schema| schema.get_mut("type")) {
        *kind = json!(["object", "null"]);
    }
    if let Some(rule) = schemas.get("RuleSpec") {
        named.insert("LayerRule".to_owned(), with_ttl(rule));
        let mut wish = with_ttl(rule);
        // The path has it.
        if let Some(required) = wish.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|key| key != "name");
        }
        named.insert("RuleWish".to_owned(), wish);
    }
    schemas.extend(named);
    schemas
}

fn schemas_shown() -> Map<String, Value> {
    let mut generator = settings().for_serialize().into_generator();
    let mut named = Map::new();
    named.insert("Explanation".to_owned(), one::<Explanation>(&mut generator));
    named.insert("ScenarioReport".to_owned(), one::<ScenarioReport>(&mut generator));
    generator.subschema_for::<Sample>();
    let mut schemas = generator.take_definitions(true);
    schemas.extend(named);
    schemas
}

/// The schema of a type, which refers to those of its parts.
fn one<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    let mut schema = T::json_schema(generator);
    schema.insert("title".to_owned(), T::schema_name().into());
    schema.to_value()
}

/// A rule as the API takes it.
fn with_ttl(rule: &Value) -> Value {
    let mut rule = rule.clone();
    if let Some(properties) = rule.get_mut("properties").and_then(Value::as_object_mut) {
        let ttl = json!({
            "description": "How long the rule lives: then it vanishes by itself. Absent: until it is removed.",
            "anyOf": [{"$ref": "#/components/schemas/Time"}, {"type": "null"}],
        });
        properties.insert("ttl".to_owned(), ttl);
    }
    rule
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::Method;

    use super::*;
    use crate::admin::pages::ENDPOINTS;
    use crate::admin::tests::admin;

    /// What `$ref`s name.
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|one| references(one, found));
            }
            Value::Array(items) => items.iter().for_each(|one| references(one, found)),
            _ => {}
        }
    }

    #[test]
    fn every_endpoint_is_in_the_document_and_the_reverse() {
        let document = document();
        let mut written = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for method in operations
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| *key != "parameters")
            {
                written.insert((path.clone(), method.to_uppercase()));
            }
        }
        let served = ENDPOINTS.iter().flat_map(|one| {
            one.methods
                .iter()
                .map(|method| (one.path.to_owned(), (*method).to_owned()))
        });
        assert_eq!(written, served.collect());
    }

    #[test]
    fn every_reference_is_found_and_every_schema_used() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            let place = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(place).is_some(), "{reference}");
        }
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(found.contains(&format!("#/components/schemas/{name}")), "{name}");
        }
    }

    #[test]
    fn no_schema_takes_the_name_of_another() {
        let written: Value = serde_yaml::from_str(WRITTEN).unwrap();
        let in_file = written["components"]["schemas"].as_object().unwrap();
        let (written, shown) = (schemas_written(), schemas_shown());
        for name in in_file.keys() {
            assert!(!written.contains_key(name) && !shown.contains_key(name), "{name}");
        }
        for name in written.keys() {
            assert!(!shown.contains_key(name), "{name}");
        }
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let document = document();
        let mut names = BTreeSet::new();
        for operations in document["paths"].as_object().unwrap().values() {
            for (method, operation) in operations.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name.to_owned()), "{name} is there twice");
                assert!(operation["summary"].is_string(), "{name}");
            }
        }
    }

    #[tokio::test]
    async fn the_document_is_served() {
        let (status, served) = admin("").json(Method::GET, "/api/v1/openapi.json").await;
        assert_eq!(status, http::StatusCode::OK);
        assert_eq!(served["info"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(served, document());
    }
}
