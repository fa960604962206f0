//! Files to documents: one file and all that it includes.
//!
//! `include:` names files and globs, relative to the file that it stands in. What they hold comes after that file, in the
//! order of the list, the matches of one glob by name, and each file before what it includes itself.

use std::collections::HashSet;
use std::io;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::yaml::env::Lookup;
use crate::yaml::report::{Diagnostic, Sources, Span};
use crate::yaml::tree::{self, Node, Value};

/// How deep includes may nest.
pub const MAX_INCLUDE_DEPTH: usize = 8;
/// How many files one configuration may have.
pub const MAX_FILES: usize = 1000;
/// How many folders deep `**` looks.
const MAX_FOLDERS: usize = 16;
/// How many names one glob may look at.
const MAX_NAMES: usize = 100_000;

/// Where files come from.
pub trait Files {
    /// A file's bytes.
    ///
    /// # Errors
    /// As the file system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The names in a folder, in any order, each with whether it is a folder itself. A link to a folder counts as a file.
    ///
    /// # Errors
    /// As the file system says.
    fn list(&self, folder: &Path) -> io::Result<Vec<(String, bool)>>;
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    /// Reads one byte more than a file may have, so that the rest is never in memory.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        use std::io::Read;
        let mut bytes = Vec::new();
        let bound = u64::try_from(tree::MAX_FILE_BYTES)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        std::fs::File::open(path)?.take(bound).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, bool)>> {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)?.take(MAX_NAMES) {
            let entry = entry?;
            // A name that is not UTF-8 can't be matched by a pattern that is.
            if let Ok(name) = entry.file_name().into_string() {
                names.push((name, entry.file_type()?.is_dir()));
            }
        }
        Ok(names)
    }
}

/// What a configuration is loaded from.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// A file.
    Path(&'a Path),
    /// A text that is in no file; what it includes is relative to the working directory.
    Text {
        /// The name that diagnostics show.
        name: &'a str,
        /// The YAML.
        text: &'a str,
    },
}

/// A configuration as read, not yet understood.
#[derive(Debug, Default)]
pub struct Tree {
    /// The texts that the spans in it point into.
    pub sources: Sources,
    /// The main document and then the included ones, all without their `include`. Empty if the main one can't be read.
    pub documents: Vec<Node>,
    /// The files that were opened, also those that turned out to be bad.
    pub files: Vec<PathBuf>,
    /// What is wrong so far.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a configuration and all that it includes, with `${VAR}` replaced by what `environment` says.
pub fn load_tree(start: Start<'_>, files: &dyn Files, environment: &Lookup<'_>) -> Tree {
    let mut loader = Loader {
        files,
        environment,
        tree: Tree::default(),
        open: Vec::new(),
        seen: HashSet::new(),
    };
    match start {
        Start::Path(path) => loader.file(path, None),
        Start::Text { name, text } => loader.bytes(name, text.into(), PathBuf::new()),
    }
    loader.tree
}

struct Loader<'a> {
    files: &'a dyn Files,
    environment: &'a Lookup<'a>,
    tree: Tree,
    /// The files that are being read, the outermost first.
    open: Vec<PathBuf>,
    /// The files that have been read or are being read.
    seen: HashSet<PathBuf>,
}

impl Loader<'_> {
    /// Reads a file that was asked for at `asked`.
    fn file(&mut self, path: &Path, asked: Option<Span>) {
        let bytes = match self.files.read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let message = format!("can't read {}: {}", path.display(), in_words(&error));
                return self.tree.diagnostics.push(Diagnostic::error(asked, message));
            }
        };
        let identity = tidy(path);
        self.tree.files.push(path.to_owned());
        self.seen.insert(identity.clone());
        self.open.push(identity);
        self.bytes(
            &path.display().to_string(),
            bytes,
            path.parent().unwrap_or(Path::new("")).to_owned(),
        );
        self.open.pop();
    }

    fn bytes(&mut self, name: &str, bytes: Vec<u8>, folder: PathBuf) {
        let Tree {
            sources, diagnostics, ..
        } = &mut self.tree;
        let Some(source) = tree::add_source(sources, name, bytes, &folder, diagnostics) else {
            return;
        };
        let Some(mut document) = tree::parse(sources, source, Some(self.environment), diagnostics) else {
            return;
        };
        let include = document.remove("include");
        self.tree.documents.push(document);
        if let Some((_, include)) = include {
            self.includes(&include, &folder);
        }
    }

    fn includes(&mut self, include: &Node, folder: &Path) {
        let one = std::slice::from_ref(include);
        let items = match &include.value {
            Value::Null => &[],
            Value::Seq(items) => items.as_slice(),
            _ => one,
        };
        for item in items {
            match (&item.value, item.text()) {
                (Value::Unusable, _) => {}
                (Value::String(_), Some(pattern)) if !pattern.is_empty() => self.include(pattern, item.span, folder),
                _ => {
                    let message = "`include` must be the path of a file, or a list of paths and globs";
                    self.tree.diagnostics.push(Diagnostic::error(item.span, message));
                }
            }
        }
    }

    /// One line of an `include`.
    fn include(&mut self, pattern: &str, span: Span, folder: &Path) {
        if self.open.len() > MAX_INCLUDE_DEPTH {
            let message = format!("includes are nested more than {MAX_INCLUDE_DEPTH} deep");
            return self.tree.diagnostics.push(Diagnostic::error(span, message));
        }
        if !is_glob(pattern) {
            return self.named(&folder.join(pattern), span);
        }
        let matches = match glob(self.files, folder, pattern) {
            Ok(matches) => matches,
            Err(message) => return self.tree.diagnostics.push(Diagnostic::error(span, message)),
        };
        if matches.is_empty() {
            let message = format!("no file matches {}", folder.join(pattern).display());
            self.tree.diagnostics.push(Diagnostic::warning(span, message));
        }
        for path in matches {
            // A glob may well match the file that it stands in, or one that has a line of its own.
            if !self.seen.contains(&tidy(&path)) && self.has_room(span) {
                self.file(&path, Some(span));
            }
        }
    }

    /// A file that is included by its name.
    fn named(&mut self, path: &Path, span: Span) {
        let identity = tidy(path);
        let diagnostic = if let Some(place) = self.open.iter().position(|open| *open == identity) {
            let circle = self.open.iter().skip(place).chain([&identity]);
            let circle: Vec<_> = circle.map(|file| file.display().to_string()).collect();
            Diagnostic::error(span, "this file includes itself").help(circle.join(" includes "))
        } else if self.seen.contains(&identity) {
            Diagnostic::warning(
                span,
                format!("{} is already included; it is not read again", path.display()),
            )
        } else if self.has_room(span) {
            return self.file(path, Some(span));
        } else {
            return;
        };
        self.tree.diagnostics.push(diagnostic);
    }

    fn has_room(&mut self, span: Span) -> bool {
        let room = self.seen.len() < MAX_FILES;
        if !room {
            let message = format!("a configuration can have at most {MAX_FILES} files");
            self.tree.diagnostics.push(Diagnostic::error(span, message));
        }
        room
    }
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::IsADirectory => "it is a folder: to include all its files, use `folder/*.yaml`".into(),
        _ => error.to_string(),
    }
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{'])
}

/// The path without `.` and `..`, as the name of a file. Links are not followed: a file that is reached by two names
/// counts as two.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match (part, tidy.components().next_back()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                tidy.pop();
            }
            _ => tidy.push(part),
        }
    }
    tidy
}

/// The files that match a pattern, by name. A part that starts with a dot is matched only by one that says so, which
/// leaves out the hidden folders of a mounted Kubernetes ConfigMap.
fn glob(files: &dyn Files, folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let parts: Vec<&str> = pattern.split('/').collect();
    let fixed = parts.iter().take_while(|part| !is_glob(part)).count();
    let start = match parts.get(..fixed).unwrap_or_default() {
        [] => folder.to_owned(),
        [""] => PathBuf::from("/"),
        fixed => folder.join(fixed.join("/")),
    };
    let rest = parts.get(fixed..).unwrap_or_default();
    let compiled = GlobBuilder::new(&rest.join("/")).literal_separator(true).build();
    let matcher = compiled
        .map_err(|error| format!("`{pattern}` is not a valid glob: {}", error.kind()))?
        .compile_matcher();
    let depth = if rest.contains(&"**") { MAX_FOLDERS } else { rest.len() };
    let hidden = rest.iter().any(|part| part.starts_with('.'));
    let mut search = Search {
        files,
        matcher,
        hidden,
        names_left: MAX_NAMES,
        found: Vec::new(),
    };
    search.folder(&start, "", depth)?;
    search.found.sort();
    Ok(search.found)
}

struct Search<'a> {
    files: &'a dyn Files,
    matcher: GlobMatcher,
    hidden: bool,
    names_left: usize,
    found: Vec<PathBuf>,
}

impl Search<'_> {
    /// Looks through a folder; `below` is what the pattern has to match of its path, with a slash at the end.
    fn folder(&mut self, folder: &Path, below: &str, depth: usize) -> Result<(), String> {
        let names = match self.files.list(folder) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                return Err(format!(
                    "can't read the folder {}: {}",
                    folder.display(),
                    in_words(&error)
                ));
            }
        };
        let hidden = self.hidden;
        for (name, is_folder) in names.into_iter().filter(|(name, _)| hidden || !name.starts_with('.')) {
            self.names_left = self
                .names_left
                .checked_sub(1)
                .ok_or("this glob searches too many files")?;
            let relative = format!("{below}{name}");
            if is_folder && depth > 1 {
                self.folder(&folder.join(&name), &format!("{relative}/"), depth - 1)?;
            } else if !is_folder && self.matcher.is_match(&relative) {
                self.found.push(folder.join(&name));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::report::Report;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    /// Files by their path.
    struct Memory(BTreeMap<&'static str, String>);

    impl Files for Memory {
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            let file = tidy(path).to_str().and_then(|path| self.0.get(path).cloned());
            file.map(String::into_bytes)
                .ok_or_else(|| io::ErrorKind::NotFound.into())
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
        let memory = Memory(files.iter().map(|(path, text)| (*path, (*text).to_owned())).collect());
        let tree = load_tree(start, &memory, &|name| (name == "DIR").then(|| "rules".to_owned()));
        let names = tree.documents.iter().map(|node| match &node.value {
            Value::Map(entries) => entries.iter().map(|(key, _)| key.text().unwrap()).collect(),
            other => format!("{other:?}"),
        });
        let names = names.collect::<Vec<_>>().join(" ");
        (names, tree.files, Report::new(tree.diagnostics, Arc::new(tree.sources)))
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
            text: "x: 1\ninclude: a.yaml\ny: [",
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
                text: "x: 1\ninclude: a.yaml\n",
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
        let tree = load_tree(Start::Path(&main), &Disk, &|_| None);
        let names: Vec<_> = tree
            .files
            .iter()
            .map(|file| file.strip_prefix(folder.path()).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["main.yaml", "rules/a.yaml", "rules/b.yaml"]);
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
}
