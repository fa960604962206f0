use super::*;
use crate::yaml::report::Report;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Files by their path, and those that were opened.
struct Memory(BTreeMap<&'static str, String>, RefCell<Vec<PathBuf>>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = tidy(path).to_str().and_then(|path| self.0.get(path).cloned());
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        self.1.borrow_mut().push(path.to_owned());
        Ok(file.into_bytes())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, bool)>> {
        let folder = tidy(folder).to_str().unwrap().to_owned();
        let below = |path: &str| match folder.as_str() {
            "" => Some(path.to_owned()),
            folder => path.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned),
        };
        let names = self
            .0
            .keys()
            .filter_map(|path| below(path))
            .map(|path| match path.split_once('/') {
                Some((folder, _)) => (folder.to_owned(), true),
                None => (path, false),
            });
        // Not in the order of names, as on a disk.
        Ok(names.collect::<BTreeSet<_>>().into_iter().rev().collect())
    }
}

fn load(files: &[(&'static str, &str)], start: Start<'_>) -> (String, Vec<PathBuf>, Report) {
    let texts = files.iter().map(|(path, text)| (*path, (*text).to_owned()));
    let memory = Memory(texts.collect(), RefCell::default());
    let tree = load_tree(start, &memory, &|name| (name == "DIR").then(|| "rules".to_owned()));
    let names = tree.documents.iter().map(|node| match &node.value {
        Value::Map(entries) => entries.iter().map(|(key, _)| key.text().unwrap()).collect(),
        other => format!("{other:?}"),
    });
    let names = names.collect::<Vec<_>>().join(" ");
    (
        names,
        memory.1.into_inner(),
        Report::new(tree.diagnostics, Arc::new(tree.sources)),
    )
}

/// The documents' keys, those of one document together, and a line for each diagnostic.
fn check(files: &[(&'static str, &str)], documents: &str, diagnostics: &[&str]) {
    let (names, _, report) = load(files, Start::Path(Path::new("main.yaml")));
    let line = |one: &Diagnostic| {
        let place = one
            .span
            .and_then(|span| report.sources().locate(span))
            .unwrap_or_default();
        format!("{place} {:?}: {}", one.severity, one.message)
    };
    assert_eq!(names, documents);
    assert_eq!(report.diagnostics().iter().map(line).collect::<Vec<_>>(), diagnostics);
}

#[test]
fn order_of_documents() {
    check(&[("main.yaml", "a: 1\nb: 2\n")], "ab", &[]);
    check(
        &[
            ("main.yaml", "m: 1\ninclude: [z.yaml, \"${DIR}/*.yaml\", './y.yaml']\n"),
            ("z.yaml", "include: sub/deep.yaml\nz: 1"),
            ("sub/deep.yaml", "d: 1\ninclude: ../up.yaml"),
            ("up.yaml", "u: 1"),
            ("y.yaml", "y: 1"),
            ("rules/b.yaml", "b: 1"),
            ("rules/a.yaml", "a: 1"),
            ("rules/c.txt", "c: 1"),
            ("rules/.hidden.yaml", "h: 1"),
            ("rules/below/x.yaml", "x: 1"),
        ],
        "m z d u a b y",
        &[],
    );
    check(&[("main.yaml", "include:\nm: 1")], "m", &[]);
    check(
        &[("main.yaml", "m: 1\ninclude: '*.yaml'"), ("a.yaml", "a: 1")],
        "m a",
        &[],
    );
    let nested = [
        ("main.yaml", "include: 'r/**/*.yaml'"),
        ("r/a.yaml", "a: 1"),
        ("r/x/y/b.yaml", "b: 1"),
    ];
    check(&nested, " a b", &[]);
    let absolute = [
        ("main.yaml", "include: [/etc/a.yaml, '/etc/*/b.yaml']"),
        ("/etc/a.yaml", "a: 1"),
        ("/etc/x/b.yaml", "b: 1"),
    ];
    check(&absolute, " a b", &[]);
}

#[test]
fn mistakes() {
    check(&[], "", &[" Error: can't read main.yaml: there is no such file"]);
    check(
        &[(
            "main.yaml",
            "include:\n  - none.yaml\n  - none/*.yaml\n  - [x]\n  - 5\n  - '[z-a]'\n  - ${X}\n",
        )],
        "",
        &[
            "main.yaml:2:5 Error: can't read none.yaml: there is no such file",
            "main.yaml:3:5 Warning: no file matches none/*.yaml",
            "main.yaml:4:5 Error: `include` must be the path of a file, or a list of paths and globs",
            "main.yaml:5:5 Error: `include` must be the path of a file, or a list of paths and globs",
            "main.yaml:6:5 Error: `[z-a]` is not a valid glob: invalid range; 'z' > 'a'",
            "main.yaml:7:5 Error: the variable `X` is not set",
        ],
    );
    check(
        &[
            ("main.yaml", "include: r/a.yaml"),
            ("r/a.yaml", "a: 1\ninclude: ./../main.yaml"),
        ],
        " a",
        &["r/a.yaml:2:10 Error: this file includes itself"],
    );
    check(
        &[("main.yaml", "include: [a.yaml, a.yaml]"), ("a.yaml", "a: 1")],
        " a",
        &["main.yaml:1:19 Warning: a.yaml is already included; it is not read again"],
    );
    check(
        &[
            ("main.yaml", "m: 1\ninclude: [bad.yaml, a.yaml]"),
            ("bad.yaml", "x: ["),
            ("a.yaml", "a: 1"),
        ],
        "m a",
        &["bad.yaml:1:5 Error: not valid YAML: while parsing a node, did not find expected node content"],
    );
}

#[test]
fn bounded() {
    let chain = ["main.yaml", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
    let text = |n: usize| format!("include: '{}'", chain.get(n + 1).unwrap_or(&"end"));
    let texts: Vec<_> = chain.iter().enumerate().map(|(n, name)| (*name, text(n))).collect();
    let files: Vec<_> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let (_, opened, report) = load(&files, Start::Path(Path::new("main.yaml")));
    assert_eq!(opened.len(), MAX_INCLUDE_DEPTH + 1);
    assert!(report.to_string().contains("nested more than 8 deep"), "{report}");
}

#[test]
fn texts_without_a_file() {
    let start = Start::Text {
        name: "demo",
        text: b"x: 1\ninclude: a.yaml\ny: [",
    };
    let (names, files, report) = load(&[("a.yaml", "a: 1")], start);
    assert!(
        names.is_empty() && files.is_empty() && report.to_string().contains("--> demo:"),
        "{report}"
    );
    let (names, files, _) = load(
        &[("a.yaml", "a: 1")],
        Start::Text {
            name: "demo",
            text: b"x: 1\ninclude: a.yaml\n",
        },
    );
    assert_eq!((names.as_str(), files), ("x a", vec![PathBuf::from("a.yaml")]));
}

#[test]
fn on_disk() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("rules/x")).unwrap();
    for (name, text) in [
        ("main.yaml", "m: 1\ninclude: [rules/*.yaml, rules]"),
        ("rules/b.yaml", "b: 1"),
        ("rules/a.yaml", "a: 1"),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let main = folder.path().join("main.yaml");
    let disk = Disk::default();
    let tree = load_tree(Start::Path(&main), &disk, &|_| None);
    let seen = disk.into_seen();
    let names: Vec<_> = seen
        .files()
        .map(|file| file.strip_prefix(folder.path()).unwrap().to_str().unwrap())
        .collect();
    // What could not be read counts too.
    assert_eq!(names, ["main.yaml", "rules", "rules/a.yaml", "rules/b.yaml"]);
    assert_eq!(tree.diagnostics.len(), 1);
    assert!(
        tree.diagnostics[0].message.contains("it is a folder"),
        "{:?}",
        tree.diagnostics
    );
    let source = tree.documents[1].span.source;
    assert_eq!(
        tree.sources.directory(source),
        Some(folder.path().join("rules").as_path())
    );
}

proptest! {
    #[test]
    fn no_pattern_panics(pattern in "[a*?/.\\[\\]{}!,-]{0,10}|\\PC{0,10}") {
        let text = format!("include: [{}]", serde_json::to_string(&pattern).unwrap());
        load(&[("a/a.yaml", ""), ("main.yaml", &text)], Start::Path(Path::new("main.yaml")));
    }
}

#[test]
fn json_may_have_comments_and_name_its_schema() {
    let json = "{\n  // one\n  \"$schema\": \"squall.schema.json\", /* two */\n\t\"a\": [1, 2,], // three\n  \"include\": \"b.json\",\n}";
    let start = || Start::Path(Path::new("main.jsonc"));
    let files = [
        ("main.jsonc", json),
        ("b.json", "{\"b\": \"\\ud83d\\ude00 // no comment\"}"),
    ];
    let (names, read, report) = load(&files, start());
    assert_eq!((names.as_str(), read.len(), report.diagnostics().len()), ("a b", 2, 0));
    // Positions are those of the file.
    let (_, _, report) = load(&[("main.jsonc", "{ /* ä */\n  // x\n  \"a\": 1, \"a\": 2 }")], start());
    let mistake = report.diagnostics().first().unwrap();
    let place = report.sources().locate(mistake.span.unwrap()).unwrap();
    assert_eq!(place, "main.jsonc:3:11");
    // YAML has no such comments.
    let (_, _, report) = load(&[("main.yaml", "{a: 1} // x")], Start::Path(Path::new("main.yaml")));
    assert!(!report.is_empty());
}
