//! `squall schema`: prints the JSON Schema of configuration files, for editors and validators.

use std::process::ExitCode;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::output::print;
use crate::config::root::ConfigSpec;

/// The schema's identifier. Changes when configurations that were valid become invalid.
const ID: &str = "urn:squall:configuration:1";

/// Print the JSON Schema of configuration files
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For editors with the YAML language server, write the output to a file and start the configuration \
        with\n  # yaml-language-server: $schema=squall.schema.json"
)]
pub struct SchemaArgs {}

/// Prints the JSON Schema of configuration files.
pub fn run(SchemaArgs {}: SchemaArgs) -> ExitCode {
    print(&format!("{:#}\n", schema()))
}

/// The JSON Schema (draft 2020-12) of what users write.
pub fn schema() -> Value {
    let root = SchemaSettings::draft2020_12()
        .for_deserialize()
        .into_generator()
        .into_root_schema_for::<ConfigSpec>();
    let Value::Object(mut parts) = root.to_value() else {
        return Value::Null;
    };
    parts.insert("$id".into(), ID.into());
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
}
