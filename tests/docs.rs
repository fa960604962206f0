//! The documentation: every relative link leads to a file, and every anchor to a heading. What the guide to the source names is
//! in the source.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where documents are looked for, below the root. Not all of it: the root also has what building leaves behind.
const FOLDERS: [&str; 5] = [".github", "config", "deploy", "src", "tests"];

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text) {
            if let Err(reason) = follow(&document, &link) {
                broken.push(format!("{}: {link}: {reason}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Each word of each path in `src/README.md`, such as `Record::done`, is a word of some source file or of its name.
#[test]
fn the_guide_names_what_there_is() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source, "rs", &mut files);
    let text: String = files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap() + &file.to_string_lossy())
        .collect();
    let known: BTreeSet<&str> = words(&text).collect();
    let guide = fs::read_to_string(source.join("README.md")).unwrap();
    let named: Vec<&str> = prose(&guide)
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|code| words(code).collect::<Vec<_>>().join("::") == *code)
        .collect();
    assert!(named.len() > 20, "{named:?}");
    let missing: BTreeSet<&str> = named
        .into_iter()
        .flat_map(words)
        .filter(|word| !known.contains(word))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
        .filter(|word| !word.is_empty())
}

#[test]
fn links_and_headings_are_found() {
    let text = "# A `b`, c!\n[x](y.md#z) `[no](link)`\n```sh\n# no heading\n[no](link)\n```\n## Twice\n## Twice\n";
    assert_eq!(links(text), ["y.md#z"]);
    assert_eq!(anchors(text), ["a-b-c", "twice", "twice-1"].map(str::to_owned).into());
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![root.join("README.md")];
    for folder in FOLDERS {
        collect(&root.join(folder), "md", &mut found);
    }
    found
}

fn collect(folder: &Path, kind: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if entry.file_type().unwrap().is_dir() && !hidden {
            collect(&entry.path(), kind, found);
        } else if entry.path().extension().is_some_and(|extension| extension == kind) {
            found.push(entry.path());
        }
    }
}

/// The lines outside fenced code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of links to other places in the repository.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        // Every other part of a line stands between backticks.
        let plain: String = line.split('`').step_by(2).collect();
        let targets = plain.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        found.extend(targets.map(|(target, _)| target.to_owned()));
    }
    found.retain(|target| !target.contains("://"));
    found
}

/// The anchors that GitHub gives to headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for heading in prose(text).filter(|line| line.starts_with('#')) {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let anchor: String = words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let again = (1..).map(|n| format!("{anchor}-{n}"));
        let free = std::iter::once(anchor.clone())
            .chain(again)
            .find(|name| !found.contains(name));
        found.extend(free);
    }
    found
}

fn follow(document: &Path, link: &str) -> Result<(), &'static str> {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => document.to_owned(),
        path => document.parent().unwrap().join(path),
    };
    if !target.exists() {
        return Err("no such file");
    }
    if !anchor.is_empty() && !anchors(&fs::read_to_string(&target).unwrap()).contains(anchor) {
        return Err("no such heading");
    }
    Ok(())
}
