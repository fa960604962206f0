//! The rooms of `src/`, and those of `src/proxy/`, stand in storeys: each imports what is below it, and no more than six files
//! import each other in a circle. Measured from the code's own `use` declarations and paths. Within a room of `src/` a type's
//! name stands for one type. Long files have their unit tests beside them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Files that may import each other in a circle.
const MOST_IN_A_CIRCLE: usize = 6;

/// Lines of a file that has its unit tests within.
const MOST_LINES_WITH_TESTS: usize = 300;

/// The rooms of the crate, the highest first, as `src/lib.rs` draws them.
const ROOMS: [&str; 27] = [
    "cli",
    "toxiproxy",
    "admin",
    "scenario",
    "watch",
    "server",
    "explain",
    "config",
    "proxy",
    "journal",
    "fake",
    "rule",
    "guards",
    "fault",
    "shape",
    "limits",
    "metrics",
    "traffic",
    "events",
    "histogram",
    "draw",
    "cors",
    "content",
    "peers",
    "grpc",
    "yaml",
    "files",
];

/// The rooms of the proxy, the highest first, as `src/proxy/mod.rs` draws them.
const PROXY: [&str; 12] = [
    "listen", "tcp", "exchange", "execute", "client", "upstream", "tls", "http2", "http1", "body", "record", "net",
];

/// A module's path below the crate: `["proxy", "client", "http1"]`.
type Module = Vec<String>;

#[test]
fn no_more_than_six_files_import_each_other_in_a_circle() {
    let circles = circles(&imports());
    let large: Vec<Vec<String>> = circles
        .into_iter()
        .filter(|circle| circle.len() > MOST_IN_A_CIRCLE)
        .map(|circle| circle.iter().map(|module| module.join("::")).collect())
        .collect();
    assert!(large.is_empty(), "{large:#?}");
}

#[test]
fn rooms_import_downwards_only() {
    check(&[], &ROOMS);
    check(&["proxy"], &PROXY);
}

/// Checks that the rooms within `house` are these, and that each imports only those behind it in the list.
fn check(house: &[&str], rooms: &[&str]) {
    let room = |module: &Module| -> Option<String> {
        let inside = module.iter().zip(house).filter(|(own, outer)| own == outer).count() == house.len();
        inside.then(|| module.get(house.len()).cloned()).flatten()
    };
    let imports = imports();
    let found: BTreeSet<String> = imports.keys().filter_map(room).collect();
    let known: BTreeSet<String> = rooms.iter().map(|room| (*room).to_owned()).collect();
    assert_eq!(found, known, "every room has a storey");
    let storey = |module: &Module| room(module).and_then(|own| rooms.iter().position(|room| *room == own));
    let mut upwards = Vec::new();
    for (module, imported) in &imports {
        for other in imported {
            if let (Some(from), Some(to)) = (storey(module), storey(other))
                && to < from
            {
                upwards.push(format!("{} imports {}", module.join("::"), other.join("::")));
            }
        }
    }
    assert!(upwards.is_empty(), "{upwards:#?}");
}

#[test]
fn no_two_types_of_a_room_share_a_name() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    let mut found: BTreeMap<(String, String), Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let room = module_of(&source, &file).swap_remove(0);
        for name in types_in(&text) {
            found.entry((room.clone(), name)).or_default().push(file.clone());
        }
    }
    found.retain(|_, files| files.len() > 1);
    assert!(found.is_empty(), "{found:#?}");
}

/// Unit tests stand in the file that they test only while the file is short.
#[test]
fn no_file_with_unit_tests_is_long() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    files.retain(|file| {
        let text = fs::read_to_string(file).unwrap();
        text.contains("#[cfg(test)]\nmod tests {") && text.lines().count() > MOST_LINES_WITH_TESTS
    });
    assert!(
        files.is_empty(),
        "move the tests of these into a tests.rs beside them: {files:#?}"
    );
}

/// The types that a file declares outside of its unit tests. Associated types, which are indented, don't count.
fn types_in(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut names = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace().peekable();
        words.next_if(|word| word.starts_with("pub"));
        // `pub(in crate::proxy::upstream)` is two words.
        words.next_if(|word| word.ends_with(')'));
        let is_type = match words.next() {
            Some("struct" | "enum" | "trait" | "union") => true,
            Some("type") => !line.starts_with(' '),
            _ => false,
        };
        if let Some(word) = words.next().filter(|_| is_type) {
            let end = word.find(|c: char| !c.is_alphanumeric() && c != '_');
            names.push(word[..end.unwrap_or(word.len())].to_owned());
        }
    }
    names
}

/// The test of this test: types of all forms are found.
#[test]
fn types_are_found() {
    let text = "pub struct A<T>(T);\npub(in crate::b) enum B {\n    type No = A;\n}\ntype C = A;\nfn f() {\n    struct D;\n}\n\
                // struct No\n#[cfg(test)]\nmod tests {\n    struct E;\n}";
    assert_eq!(types_in(text), ["A", "B", "C", "D"]);
}

/// The test of this test: paths of all forms are found, and circles are.
#[test]
fn imports_are_found() {
    let known: BTreeSet<Module> = ["a", "a::b", "a::b::c", "a::d"].map(module).into();
    let text = "//! [`super::d`]\nuse super::{d::Thing, super::b::{self, c::{X, Y}}};\nfn f() { super::d::g(); }\n#[cfg(test)]\nmod tests { use crate::a::b; }";
    let found = modules_in(text, &module("a::b"), &known);
    assert_eq!(found, [module("a::b::c"), module("a::d")].into());
    let circle = |pairs: &[(&str, &str)]| {
        let mut graph: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
        for (from, to) in pairs {
            graph.entry(module(from)).or_default().insert(module(to));
            graph.entry(module(to)).or_default();
        }
        circles(&graph).into_iter().map(|circle| circle.len()).max().unwrap()
    };
    assert_eq!(circle(&[("a", "b"), ("b", "c"), ("c", "d")]), 1);
    assert_eq!(circle(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]), 3);
}

fn module(path: &str) -> Module {
    path.split("::").map(str::to_owned).collect()
}

/// Which files of `src/` import which.
fn imports() -> BTreeMap<Module, BTreeSet<Module>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    files.retain(|file| !file.ends_with("lib.rs") && !file.ends_with("main.rs"));
    let files: BTreeMap<Module, PathBuf> = files
        .into_iter()
        .map(|file| (module_of(&source, &file), file))
        .collect();
    let known: BTreeSet<Module> = files.keys().cloned().collect();
    let found = files.iter().map(|(module, file)| {
        let text = fs::read_to_string(file).unwrap();
        (module.clone(), modules_in(&text, module, &known))
    });
    found.collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_of_tests(&path) {
            files.push(path);
        }
    }
}

fn is_of_tests(file: &Path) -> bool {
    file.file_stem()
        .is_some_and(|stem| stem == "tests" || stem == "testing")
}

fn module_of(source: &Path, file: &Path) -> Module {
    let path = file.strip_prefix(source).unwrap().with_extension("");
    let mut module: Module = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    module.pop_if(|last| last == "mod");
    module
}

/// The modules that a file names, other than itself. Its comments and its unit tests don't count.
fn modules_in(text: &str, own: &Module, known: &BTreeSet<Module>) -> BTreeSet<Module> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap())
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = BTreeSet::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            // `self::` within `super::self::` and the like begins no path, and `pub(in crate::…)` imports nothing.
            let before = code[..at].chars().next_back();
            let within = before.is_some_and(|before| before == ':' || before.is_alphanumeric() || before == '_');
            if within || code[..at].ends_with("(in ") {
                continue;
            }
            let mut paths = Vec::new();
            tree(&code[at..], &mut Vec::new(), &mut paths);
            found.extend(paths.iter().filter_map(|path| resolve(path, own, known)));
        }
    }
    found.remove(own);
    found
}

/// Reads a path, or a tree of them: `a::{b, c::{d, e}}`. Returns what is left.
fn tree<'a>(text: &'a str, prefix: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> &'a str {
    let depth = prefix.len();
    let mut rest = text.trim_start();
    loop {
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner.trim_start();
            while !rest.starts_with('}') && !rest.is_empty() {
                rest = tree(rest, prefix, paths).trim_start();
                rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            }
            rest = rest.strip_prefix('}').unwrap_or(rest);
            break;
        }
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        if name.is_empty() {
            // A glob, or something that is no path.
            rest = behind
                .strip_prefix('*')
                .unwrap_or_else(|| behind.get(1..).unwrap_or_default());
            paths.push(prefix.clone());
            break;
        }
        prefix.push(name.to_owned());
        match behind.strip_prefix("::") {
            Some(more) => rest = more,
            None => {
                paths.push(prefix.clone());
                rest = behind.strip_prefix(" as ").map_or(behind, |alias| {
                    alias.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_')
                });
                break;
            }
        }
    }
    prefix.truncate(depth);
    rest
}

/// The file that a path leads into: the longest beginning of it that is a module.
fn resolve(path: &[String], own: &Module, known: &BTreeSet<Module>) -> Option<Module> {
    let mut module: Module = own.clone();
    let mut rest = path;
    if rest.first()? == "crate" {
        module.clear();
        rest = &rest[1..];
    }
    while let Some(first) = rest.first() {
        match first.as_str() {
            "super" => drop(module.pop()),
            "self" => {}
            _ => break,
        }
        rest = &rest[1..];
    }
    for name in rest {
        module.push(name.clone());
        if !known.contains(&module)
            && known
                .range(module.clone()..)
                .next()
                .is_none_or(|next| !next.starts_with(&module))
        {
            module.pop();
            break;
        }
    }
    known.contains(&module).then_some(module)
}

/// The strongly connected sets of a graph, by what can be reached from each and from each of those.
fn circles(graph: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<BTreeSet<Module>> {
    let reached: BTreeMap<&Module, BTreeSet<Module>> =
        graph.keys().map(|module| (module, reach(graph, module))).collect();
    graph
        .keys()
        .map(|module| {
            let back = |other: &&Module| reached[other].contains(module);
            reached[module]
                .iter()
                .filter(back)
                .cloned()
                .chain([module.clone()])
                .collect()
        })
        .collect()
}

fn reach(graph: &BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<Module> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&Module> = graph[from].iter().collect();
    while let Some(module) = next.pop() {
        if reached.insert(module.clone()) {
            next.extend(graph.get(module).into_iter().flatten());
        }
    }
    reached
}
