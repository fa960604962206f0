//! Loads a configuration file and everything that it includes, as YAML documents.
//!
//! `include:` lists files and globs, relative to the including file. Included documents follow the including one, in the
//! order of the list, the matches of a glob sorted by name, and each file before its own includes.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::files::{self, Seen};
use crate::yaml::env::Lookup;
use crate::yaml::report::{Diagnostic, Sources, Span};
use crate::yaml::tree::{self, Node, Value};

/// How deep includes may nest.
pub const MAX_INCLUDE_DEPTH: usize = 8;
/// The most files of one configuration.
pub const MAX_FILES: usize = 1000;
/// The most levels of folders that `**` descends.
const MAX_FOLDERS: usize = 16;

/// A source of files: the file system, or a substitute.
pub trait Files {
    /// Reads a file.
    ///
    /// # Errors
    /// As the file system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Lists the names in a folder, in any order, each with whether it is a folder. A link to a folder counts as a file.
    ///
    /// # Errors
    /// As the file system says.
    fn list(&self, folder: &Path) -> io::Result<Vec<(String, bool)>>;
}

/// The real file system, which notes what is read.
#[derive(Debug, Default)]
pub struct Disk(RefCell<Seen>);

impl Disk {
    /// What was read so far.
    pub fn into_seen(self) -> Seen {
        self.0.into_inner()
    }
}

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.borrow_mut().file(path);
        files::read(path, tree::MAX_FILE_BYTES)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<(String, bool)>> {
        self.0.borrow_mut().folder(folder);
        files::names(folder)
    }
}

/// What a configuration is loaded from.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// A file.
    Path(&'a Path),
    /// A text without a file; its includes are relative to the working directory.
    Text {
        /// The name that diagnostics show.
        name: &'a str,
        /// The YAML.
        text: &'a [u8],
    },
}

/// A configuration as YAML documents, not decoded yet.
#[derive(Debug, Default)]
pub struct Tree {
    /// The texts that its spans point into.
    pub sources: Sources,
    /// The main document, then the included ones, all without `include`. Empty if the main document can't be read.
    pub documents: Vec<Node>,
    /// The problems found so far.
    pub diagnostics: Vec<Diagnostic>,
    /// The variables of the environment that were asked for, with their values.
    pub variables: Vec<(String, String)>,
    /// Whether a document is missing, since it could not be read.
    pub lacks_file: bool,
}

/// Reads a configuration and everything that it includes. `${VAR}` is replaced by `environment`.
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
    /// The files that were read or are being read.
    seen: HashSet<PathBuf>,
}

impl Loader<'_> {
    /// Reads a file that was included at `asked`.
    fn file(&mut self, path: &Path, asked: Option<Span>) {
        let bytes = match self.files.read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let message = format!("can't read {}: {}", path.display(), in_words(&error));
                let mistake = Diagnostic::error(asked, message);
                let is_folder = error.kind() == io::ErrorKind::IsADirectory && asked.is_some();
                let help = is_folder.then_some("to include all its files, use `folder/*.yaml`");
                return self.refuse(help.into_iter().fold(mistake, Diagnostic::help));
            }
        };
        let identity = tidy(path);
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
            sources,
            diagnostics,
            variables,
            ..
        } = &mut self.tree;
        let Some(source) = tree::add_source(sources, name, bytes, &folder, diagnostics) else {
            self.tree.lacks_file = true;
            return;
        };
        let variables = RefCell::new(variables);
        let noted = |name: &str| {
            let value = (self.environment)(name)?;
            variables.borrow_mut().push((name.to_owned(), value.clone()));
            Some(value)
        };
        let Some(mut document) = tree::parse(sources, source, Some(&noted), diagnostics) else {
            self.tree.lacks_file = true;
            return;
        };
        tree::remove_anchors(&mut document);
        // Where JSON files name their schema, for editors.
        let _schema = document.remove("$schema");
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
                (Value::Unusable, _) => self.tree.lacks_file = true,
                (Value::String(_), Some(pattern)) if !pattern.is_empty() => self.include(pattern, item.span, folder),
                _ => {
                    let message = "`include` must be the path of a file, or a list of paths and globs";
                    self.refuse(Diagnostic::error(item.span, message));
                }
            }
        }
    }

    /// Reports that a document is missing.
    fn refuse(&mut self, mistake: Diagnostic) {
        self.tree.lacks_file = true;
        self.tree.diagnostics.push(mistake);
    }

    /// Reads the files of one entry of `include`.
    fn include(&mut self, pattern: &str, span: Span, folder: &Path) {
        if self.open.len() > MAX_INCLUDE_DEPTH {
            let message = format!("includes are nested more than {MAX_INCLUDE_DEPTH} deep");
            return self.refuse(Diagnostic::error(span, message));
        }
        if !is_glob(pattern) {
            return self.named(&folder.join(pattern), span);
        }
        let matches = match glob(self.files, folder, pattern) {
            Ok(matches) => matches,
            Err(message) => return self.refuse(Diagnostic::error(span, message)),
        };
        if matches.is_empty() {
            let message = format!("no file matches {}", folder.join(pattern).display());
            self.tree.diagnostics.push(Diagnostic::warning(span, message));
        }
        for path in matches {
            // A glob may match the including file itself, or one that has its own entry.
            if !self.seen.contains(&tidy(&path)) && self.has_room(span) {
                self.file(&path, Some(span));
            }
        }
    }

    /// Reads a file that is included by name.
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
            self.refuse(Diagnostic::error(span, message));
        }
        room
    }
}

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', '{'])
}

/// Normalises a path by removing `.` and `..`. Does not follow links: a file with two names counts as two.
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

/// The files that match a pattern, sorted by name. As in a shell, names with a leading dot must be matched explicitly,
/// which skips the hidden folders of a mounted Kubernetes ConfigMap.
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
        names_left: files::MAX_NAMES,
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
    /// Searches a folder. `below` is the part of its path that the pattern matches, with a slash at the end.
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
mod tests;
