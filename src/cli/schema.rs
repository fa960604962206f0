//! `squall schema`: prints the JSON Schema of configuration files, for editors and validators.

use std::process::ExitCode;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::output::print;
use crate::config::root::ConfigSpec;
use crate::scenario::spec::ScenarioSpec;

/// The schema's identifier. Changes when configurations that were valid become invalid.
const ID: &str = "urn:squall:configuration:1";
/// The identifier of the schema of scenarios.
const SCENARIO_ID: &str = "urn:squall:scenario:1";

/// Print the JSON Schema of configuration files, or of scenarios
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For editors with the YAML language server, write the output to a file and start the configuration \
        with\n  # yaml-language-server: $schema=squall.schema.json"
)]
pub struct SchemaArgs {
    /// Print the JSON Schema of scenarios instead
    #[arg(long)]
    scenario: bool,
}

/// Prints a JSON Schema.
pub fn run(args: SchemaArgs) -> ExitCode {
    let schema = if args.scenario { scenario_schema() } else { schema() };
    print(&format!("{schema:#}\n"))
}

/// The JSON Schema (draft 2020-12) of configurations.
pub fn schema() -> Value {
    let mut schema = schema_of::<ConfigSpec>(ID);
    // JSON files name their schema in a key, which the loader takes away.
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        let key =
            serde_json::json!({ "description": "The schema of this file, for editors of JSON.", "type": "string" });
        properties.insert("$schema".to_owned(), key);
    }
    schema
}

/// The JSON Schema (draft 2020-12) of scenarios.
pub fn scenario_schema() -> Value {
    schema_of::<ScenarioSpec>(SCENARIO_ID)
}

fn schema_of<T: JsonSchema>(id: &str) -> Value {
    let root = SchemaSettings::draft2020_12()
        .for_deserialize()
        .into_generator()
        .into_root_schema_for::<T>();
    let Value::Object(mut parts) = root.to_value() else {
        return Value::Null;
    };
    parts.insert("$id".into(), id.into());
    // `$schema` and `$id` come first.
    let mut schema = Map::new();
    for key in ["$schema", "$id", "title", "description"] {
        schema.extend(parts.shift_remove(key).map(|value| (key.to_owned(), value)));
    }
    schema.extend(parts);
    Value::Object(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_its_dialect_and_itself() {
        let schema = schema();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["$id"], ID);
        assert_eq!(schema["title"], "squall configuration");
        for key in ["listeners", "upstreams", "rules", "seed", "admin", "include"] {
            assert!(schema["properties"][key].is_object(), "{key}");
        }
        assert_eq!(schema["additionalProperties"], false);
    }

    #[test]
    fn scenarios_have_a_schema_that_fits_the_example() {
        let schema = scenario_schema();
        assert_eq!(schema["$id"], SCENARIO_ID);
        let valid = jsonschema::validator_for(&schema).unwrap();
        let example = include_str!("../../config/examples/scenarios/black-friday.yaml");
        let example: Value = serde_yaml::from_str(example).unwrap();
        let mistakes: Vec<String> = valid.iter_errors(&example).map(|error| error.to_string()).collect();
        assert!(mistakes.is_empty(), "{mistakes:#?}");
        let bad = serde_json::json!({"scenario": "x", "steps": [{"at": "1s", "enabel": "a"}]});
        assert!(!valid.is_valid(&bad));
    }
}
