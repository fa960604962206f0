//! Walks the list of faults: each has a file, an example that passes, a section in the reference, and a row on the front page.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failing test may panic"
)]

use std::path::Path;
use std::time::Instant;

use squall::config::snapshot::Inputs;
use squall::config::{self, Source};
use squall::fault::FaultSpec;
use squall::metrics::Metrics;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The faults' names, from the schema that users' editors read.
fn faults() -> Vec<String> {
    let schema = serde_json::to_value(schemars::schema_for!(FaultSpec)).unwrap();
    let one_of = schema["oneOf"].as_array().unwrap();
    one_of
        .iter()
        .map(|one| one["required"][0].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn each_fault_has_a_file_an_example_and_its_documentation() {
    let reference = std::fs::read_to_string(root().join("config/README.md")).unwrap();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let faults = faults();
    assert!(faults.len() >= 9, "{faults:?}");
    for fault in faults {
        let own = [format!("src/fault/{fault}.rs"), format!("src/fault/{fault}/mod.rs")];
        assert!(
            own.iter().any(|file| root().join(file).exists()),
            "{} is missing",
            own[0]
        );
        let example = root().join(format!("config/examples/{fault}.yaml"));
        let text = std::fs::read_to_string(&example).unwrap_or_else(|_| panic!("{} is missing", example.display()));
        assert!(
            text.contains(&format!("{fault}:")),
            "{} does not show {fault}",
            example.display()
        );
        assert!(
            reference.contains(&format!("\n### `{fault}`\n")),
            "config/README.md has no section for {fault}"
        );
        assert!(
            readme.contains(&format!("| [`{fault}`](config/README.md#{fault}) |")),
            "the README has no row for {fault}"
        );
    }
}

#[test]
fn each_example_passes_without_a_warning() {
    let examples = std::fs::read_dir(root().join("config/examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    for file in examples.chain([root().join("config/squall.yaml")]) {
        let metrics = Metrics::new().unwrap();
        let inputs = Inputs::new(&metrics, Instant::now());
        match config::load(&Source::File(file), inputs) {
            Ok(snapshot) => assert!(snapshot.warnings.is_empty(), "{}", snapshot.warnings.render(false)),
            Err(report) => panic!("{}", report.render(false)),
        }
    }
}
