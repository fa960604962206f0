//! Walks the list of faults: each has a file, an example that passes, a section in the reference, and a row on the front page.
//! Walks the keys of the configuration: the reference has each.
//! Walks the texts of the program and the guides, which are plain English, and the documentation of public items, where each
//! comment stands alone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failing test may panic"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use squall::config::root::ConfigSpec;
use squall::config::snapshot::Inputs;
use squall::config::{self, Source};
use squall::fault::FaultSpec;
use squall::metrics::Metrics;
use squall::scenario::Scenario;
use squall::scenario::steer::RuleNow;

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

/// Every key that the JSON Schema has is at least named in the reference.
#[test]
fn each_key_is_documented() {
    let schema = serde_json::to_value(schemars::schema_for!(ConfigSpec)).unwrap();
    let reference = std::fs::read_to_string(root().join("config/README.md")).unwrap();
    let is_of_a_key = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-');
    let words: BTreeSet<&str> = reference.split(|letter| !is_of_a_key(letter)).collect();
    let mut keys = BTreeSet::new();
    keys_in(&schema, &mut keys);
    assert!(keys.len() > 200, "{keys:?}");
    keys.retain(|key| !words.contains(key));
    assert!(keys.is_empty(), "config/README.md does not have {keys:?}");
}

fn keys_in<'a>(schema: &'a serde_json::Value, keys: &mut BTreeSet<&'a str>) {
    let own = schema.get("properties").and_then(serde_json::Value::as_object);
    keys.extend(own.into_iter().flatten().map(|(key, _)| key.as_str()));
    match schema {
        serde_json::Value::Object(map) => map.values().for_each(|inner| keys_in(inner, keys)),
        serde_json::Value::Array(list) => list.iter().for_each(|inner| keys_in(inner, keys)),
        _ => {}
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

#[test]
fn the_scenario_example_fits_its_configuration() {
    let folder = root().join("config/examples");
    let bytes = std::fs::read(folder.join("scenarios/black-friday.yaml")).unwrap();
    let scenario = Scenario::load("black-friday.yaml", bytes).unwrap_or_else(|report| panic!("{report}"));
    let metrics = Metrics::new().unwrap();
    let inputs = Inputs::new(&metrics, Instant::now());
    let snapshot = config::load(&Source::File(folder.join("scenario.yaml")), inputs).unwrap();
    let rules = snapshot.spec.rules.iter().map(|spec| RuleNow {
        name: spec.name.value.as_str().into(),
        enabled: spec.enabled,
        spec: serde_json::to_value(spec).unwrap(),
    });
    let checked = scenario.check(&rules.collect::<Vec<_>>(), snapshot.seed.0, Vec::new());
    checked.unwrap_or_else(|report| panic!("{report}"));
}

/// Phrases that plain English avoids, each with what to write instead.
const AWKWARD: [(&str, &str); 11] = [
    ("is no ", "`x` is not a valid Y: use Z"),
    ("are no ", "`x` are not valid Ys: use Z"),
    ("so many ", "the number of …"),
    ("so-manieth", "nth"),
    ("cannot ", "can't"),
    ("answers with ", "responds with …: what a client gets is a response"),
    ("answers the ", "responds with the …"),
    ("without a reply", "without a response"),
    ("admin side", "admin API"),
    ("side port", "admin API"),
    ("in the mean", "on average"),
];

/// What may stand around those phrases: "there is no file", "the file is no longer watched".
const FINE: [&str; 6] = [
    "there is no ",
    "There is no ",
    "there are no ",
    "There are no ",
    "is no longer ",
    "are no longer ",
];

/// Folders and files whose texts are facts about another product.
const IMITATIONS: [&str; 2] = ["src/fake/sonarqube", "src/toxiproxy/json.rs"];

#[test]
fn texts_are_plain_english() {
    let mut found = Vec::new();
    for file in sources(&root().join("src")) {
        if IMITATIONS.iter().any(|folder| file.starts_with(root().join(folder))) {
            continue;
        }
        let text = texts(&std::fs::read_to_string(&file).unwrap());
        found.extend(awkward(&file, &text));
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The first place of each awkward phrase in a text, with what to write instead.
fn awkward(file: &Path, text: &str) -> Vec<String> {
    let found = AWKWARD.iter().filter_map(|(phrase, instead)| {
        let around: String = text[text.find(phrase)?..].chars().take(60).collect();
        Some(format!("{}: `{around}`: write {instead}", file.display()))
    });
    found.collect()
}

/// The files that users read beside the program: guides, examples and deploy files.
#[test]
fn guides_are_plain_english() {
    let mut found = Vec::new();
    for place in [
        "README.md",
        ".github",
        "config",
        "deploy",
        "src/README.md",
        "tests/README.md",
    ] {
        for file in guides(&root().join(place)) {
            let text = std::fs::read_to_string(&file).unwrap();
            found.extend(awkward(&file, &without_fine(&text)));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The files with prose in a folder, or the one file.
fn guides(place: &Path) -> Vec<PathBuf> {
    if place.is_dir() {
        let entries = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path());
        return entries.flat_map(|path| guides(&path)).collect();
    }
    let kinds = ["md", "yaml", "yml", "json", "py", "sh", "service"];
    let has_prose = place
        .extension()
        .is_some_and(|extension| kinds.iter().any(|kind| extension == *kind));
    if has_prose { vec![place.to_owned()] } else { Vec::new() }
}

/// The Rust files in a folder, without those of tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// A file without comments, tests and what is fine, with its string literals on one line each. A phrase has spaces, so it is
/// found in literals alone.
fn texts(source: &str) -> String {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", "");
    without_fine(&joined)
}

fn without_fine(text: &str) -> String {
    FINE.iter().fold(text.to_owned(), |text, fine| text.replace(fine, ""))
}

/// The test of this test: a phrase is found across the lines of a literal, and in literals alone.
#[test]
fn texts_are_literals_alone() {
    let source = "// this is no text\nlet a = \"`x` is \\\n    no method; there is no help\";\n#[cfg(test)]\nmod tests {\n\"cannot \"";
    assert_eq!(texts(source), "let a = \"`x` is no method; help\";");
}

#[test]
fn each_doc_comment_stands_alone() {
    let mut poor = Vec::new();
    walk(&root().join("src"), &mut |file, text| {
        poor.extend(
            poor_docs(text)
                .into_iter()
                .map(|doc| format!("{}: {doc}", file.display())),
        );
    });
    assert!(poor.is_empty(), "{poor:#?}");
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&path, &std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// Docs of public items that have fewer than four words, or lean on the item above. Those of types with a JSON schema or
/// command-line arguments are texts for users, which name a key that is beside them.
fn poor_docs(text: &str) -> Vec<String> {
    let (mut poor, mut doc, mut attributes) = (Vec::new(), String::new(), String::new());
    let mut is_for_users = false;
    for line in text.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("///") {
            doc += more;
            continue;
        }
        if line.starts_with("#[") {
            attributes += line;
            continue;
        }
        if ["pub struct ", "pub enum ", "struct ", "enum ", "impl "]
            .iter()
            .any(|kind| line.starts_with(kind))
        {
            is_for_users = attributes.contains("JsonSchema") || attributes.contains("clap::");
        }
        let doc = std::mem::take(&mut doc);
        let doc = doc.trim();
        let is_poor = doc.split_whitespace().count() < 4 || doc.starts_with("The same");
        if line.starts_with("pub ") && !doc.is_empty() && is_poor && !is_for_users {
            poor.push(doc.to_owned());
        }
        attributes.clear();
    }
    poor
}

/// The test of this test: poor docs are found, and no others.
#[test]
fn poor_docs_are_found() {
    let text = "/// The plan.\npub struct A {\n    /// The same as above, doubled.\n    pub b: u8,\n    /// Bytes in one piece.\n    \
                pub c: u8,\n}\n/// A key.\n#[derive(JsonSchema)]\npub struct B {\n    /// Its name.\n    pub d: u8,\n}\n";
    assert_eq!(poor_docs(text), ["The plan.", "The same as above, doubled."]);
}
