//! Documents of several files, made one.
//!
//! Each file that a `$ref` leads to becomes a member of the document, and every reference is written anew as one within it:
//! `pets.yaml#/Dog` as `#/x-squall-files/pets.yaml/Dog`. References that lead through another one, or to an `$anchor`, are
//! written as the place where they arrive. So whoever reads the document knows one kind of reference only.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Component, Path, PathBuf};

use percent_encoding::percent_decode_str;
use regex::bytes::Regex;
use serde_json::{Map, Value};

use super::document::{escape, parse};
use crate::fake::schema::{pointer, reference};
use crate::files;

/// The member that holds the other files, by their names.
pub(super) const FILES: &str = "x-squall-files";

/// The most files of one document, and how many bytes they may have in all.
const FILES_LIMIT: usize = 10_000;
const BYTES_LIMIT: usize = 64 << 20;

/// How many references are followed from one to the next.
const HOPS_LIMIT: usize = 32;

/// Keys below which stand names that the author chose, so that none of them is a keyword.
const NAMES: &[&str] = &[
    "$defs",
    "callbacks",
    "definitions",
    "dependentSchemas",
    "encoding",
    "headers",
    "links",
    "parameters",
    "pathItems",
    "patternProperties",
    "properties",
    "requestBodies",
    "responses",
    "schemas",
    "securitySchemes",
];

/// What a map of a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MapKind {
    /// Described by keywords, or a reference.
    Described,
    /// Names that the author chose, of what is described.
    Named,
}

/// What stands below a key of such a map. `None`: data, in which nothing is a reference.
pub(super) fn below(kind: MapKind, key: &str, value: &Value) -> Option<MapKind> {
    match (kind, key) {
        (MapKind::Named, _) => Some(MapKind::Described),
        (_, "const" | "default" | "enum" | "example" | "value") => None,
        // Of schemas, it is a list of instances.
        (_, "examples") => value.is_object().then_some(MapKind::Named),
        (_, FILES) => Some(MapKind::Named),
        (_, key) if key.starts_with("x-") => None,
        (_, key) if NAMES.contains(&key) => Some(MapKind::Named),
        _ => Some(MapKind::Described),
    }
}

/// Reads the files that the references of `root` lead to, which stands in `file`, and writes all references anew. Problems are
/// added to `mistakes`, each with its place.
pub(super) fn bundle(root: &mut Value, file: Option<&Path>, mistakes: &mut Vec<String>) {
    let mut bundler = Bundler {
        folder: file.and_then(Path::parent).map(Path::to_owned),
        own_name: file.and_then(Path::file_name).map(PathBuf::from),
        names: HashMap::new(),
        pending: VecDeque::new(),
        bytes: 0,
        mistakes,
    };
    bundler.rewrite(root, MapKind::Described, None, &mut String::new());
    let mut files = Map::new();
    while let Some((path, name)) = bundler.pending.pop_front() {
        if bundler.is_full() {
            break;
        }
        if let Some(mut value) = bundler.read(&path, &name) {
            bundler.rewrite(&mut value, MapKind::Described, Some(&path), &mut String::new());
            files.insert(name, value);
        }
    }
    if !files.is_empty()
        && let Some(root) = root.as_object_mut()
    {
        root.insert(FILES.to_owned(), files.into());
    }
    settle(root);
}

struct Bundler<'a> {
    /// The folder of the document.
    folder: Option<PathBuf>,
    own_name: Option<PathBuf>,
    /// The names of the files that are known, by their paths relative to the folder.
    names: HashMap<PathBuf, String>,
    /// Those of them that are still to be read.
    pending: VecDeque<(PathBuf, String)>,
    bytes: usize,
    mistakes: &'a mut Vec<String>,
}

impl Bundler<'_> {
    fn read(&mut self, path: &Path, name: &str) -> Option<Value> {
        let folder = self.folder.as_ref()?;
        let read = files::read(&folder.join(path), files::MAX_BYTES).map_err(|error| vec![error.to_string()]);
        let read = read.and_then(|bytes| {
            self.bytes += bytes.len();
            parse(&bytes)
        });
        read.map_err(|problems| {
            let of_file = problems.into_iter().map(|problem| format!("{name}: {problem}"));
            self.mistakes.extend(of_file);
        })
        .ok()
    }

    fn is_full(&mut self) -> bool {
        let full = self.bytes > BYTES_LIMIT || self.names.len() > FILES_LIMIT;
        if full {
            self.mistakes.push(format!(
                "the document has more than {FILES_LIMIT} files, or {} MiB in all",
                BYTES_LIMIT >> 20
            ));
        }
        full
    }

    /// Writes the references in `value` anew, which stands in `file`, or in the document itself.
    fn rewrite(&mut self, value: &mut Value, kind: MapKind, file: Option<&Path>, at: &mut String) {
        let length = at.len();
        match value {
            Value::Object(map) => {
                if kind == MapKind::Described {
                    if let Some(Value::String(reference)) = map.get_mut("$ref") {
                        self.redirect(reference, file, at);
                    }
                    if let Some(Value::Object(mapping)) =
                        map.get_mut("discriminator").and_then(|one| one.get_mut("mapping"))
                    {
                        // A bare name is that of a schema.
                        let references = mapping.values_mut().filter_map(|target| match target {
                            Value::String(target) if target.contains(['/', '#', '.']) => Some(target),
                            _ => None,
                        });
                        references.for_each(|target| self.redirect(target, file, at));
                    }
                }
                for (key, value) in map {
                    let Some(below) = below(kind, key, value) else { continue };
                    at.push('/');
                    at.push_str(&escape(key));
                    self.rewrite(value, below, file, at);
                    at.truncate(length);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    at.push_str(&format!("/{index}"));
                    self.rewrite(item, MapKind::Described, file, at);
                    at.truncate(length);
                }
            }
            _ => {}
        }
    }

    fn redirect(&mut self, reference: &mut String, file: Option<&Path>, at: &str) {
        let (target, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        if target.is_empty() && file.is_none() {
            return;
        }
        let path = match (target, file) {
            ("", Some(file)) => Ok(file.to_owned()),
            (target, file) => relative(target, file),
        };
        let written = path.and_then(|path| {
            if self.own_name.as_ref() == Some(&path) {
                return Ok(format!("#{fragment}"));
            }
            if self.folder.is_none() {
                return Err("points outside the document");
            }
            let name = self.name(path);
            Ok(format!("#/{FILES}/{}{fragment}", escape(&name).replace('%', "%25")))
        });
        match written {
            Ok(written) => *reference = written,
            Err(problem) => {
                let file = file.map_or_else(String::new, |file| format!("{}#", file.display()));
                self.mistakes.push(format!("{file}{at}/$ref: `{reference}` {problem}"));
            }
        }
    }

    /// The name of a file, which is now to be read.
    fn name(&mut self, path: PathBuf) -> String {
        let Self { names, pending, .. } = self;
        let name = names.entry(path).or_insert_with_key(|path| {
            let name = path.display().to_string();
            pending.push_back((path.clone(), name.clone()));
            name
        });
        name.clone()
    }
}

/// The path that a reference of `file` names, relative to the folder of the document.
fn relative(target: &str, file: Option<&Path>) -> Result<PathBuf, &'static str> {
    if target.contains("://") {
        return Err("is on another server, and only files are read: save it beside the document");
    }
    let target = percent_decode_str(target).decode_utf8_lossy();
    let target = Path::new(&*target);
    if target.is_absolute() {
        return Err("is an absolute path: give one that is relative to the file it stands in");
    }
    let mut path = PathBuf::new();
    let folder = file.and_then(Path::parent).unwrap_or(Path::new(""));
    for component in folder.components().chain(target.components()) {
        match component {
            Component::ParentDir if path.file_name().is_some() => drop(path.pop()),
            Component::CurDir => {}
            component => path.push(component),
        }
    }
    Ok(path)
}

/// Writes references that lead through another reference, or to an anchor, as the place where they arrive.
fn settle(root: &mut Value) {
    let mut unsettled = HashMap::new();
    let mut anchors = None;
    collect(root, MapKind::Described, &mut |found: &str| {
        if unsettled.contains_key(found) {
            return;
        }
        let settled = match pointer(found).filter(|pointer| pointer.is_empty() || pointer.starts_with('/')) {
            Some(pointer) if root.pointer(&pointer).is_some() => return,
            Some(pointer) => through(root, &pointer),
            None => {
                let anchors = anchors.get_or_insert_with(|| {
                    let mut anchors = HashMap::new();
                    name_anchors(root, &mut String::new(), &mut anchors);
                    anchors
                });
                anchors.get(found.trim_start_matches('#')).cloned()
            }
        };
        if let Some(settled) = settled {
            unsettled.insert(found.to_owned(), format!("#{}", settled.replace('%', "%25")));
        }
    });
    if !unsettled.is_empty() {
        replace(root, MapKind::Described, &unsettled);
    }
}

/// Calls `found` with each reference.
fn collect(value: &Value, kind: MapKind, found: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) => {
            if kind == MapKind::Described
                && let Some(reference) = reference(value)
            {
                found(reference);
            }
            for (key, value) in map {
                if let Some(below) = below(kind, key, value) {
                    collect(value, below, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, MapKind::Described, found)),
        _ => {}
    }
}

fn replace(value: &mut Value, kind: MapKind, with: &HashMap<String, String>) {
    match value {
        Value::Object(map) => {
            if kind == MapKind::Described
                && let Some(Value::String(reference)) = map.get_mut("$ref")
                && let Some(settled) = with.get(reference)
            {
                reference.clone_from(settled);
            }
            for (key, value) in map {
                if let Some(below) = below(kind, key, value) {
                    replace(value, below, with);
                }
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| replace(item, MapKind::Described, with)),
        _ => {}
    }
}

/// The pointer to where another one arrives if the references on its way are followed.
fn through(root: &Value, wanted: &str) -> Option<String> {
    let mut at = String::new();
    let mut hops = 0;
    for segment in wanted.split('/').skip(1) {
        while let Some(target) = root.pointer(&at).and_then(reference) {
            hops += 1;
            at = pointer(target).filter(|_| hops < HOPS_LIMIT)?.into_owned();
        }
        at.push('/');
        at.push_str(segment);
    }
    root.pointer(&at).map(|_| at)
}

fn name_anchors(value: &Value, at: &mut String, anchors: &mut HashMap<String, String>) {
    let length = at.len();
    match value {
        Value::Object(map) => {
            for key in ["$anchor", "$dynamicAnchor"] {
                if let Some(Value::String(name)) = map.get(key) {
                    anchors.entry(name.clone()).or_insert_with(|| at.clone());
                }
            }
            for (key, value) in map {
                at.push('/');
                at.push_str(&escape(key));
                name_anchors(value, at, anchors);
                at.truncate(length);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                at.push_str(&format!("/{index}"));
                name_anchors(item, at, anchors);
                at.truncate(length);
            }
        }
        _ => {}
    }
}

/// The files that a document in `file` may be made of, itself included: whatever a `$ref` names that exists.
pub(in crate::fake::declared) fn named(file: &Path) -> Vec<PathBuf> {
    let mut all = vec![file.to_owned()];
    let Ok(pattern) = Regex::new(r#"\$ref["']?\s*:\s*["']?([^"'#\s,{}\[\]]+)"#) else {
        return all;
    };
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut known: HashSet<_> = all.iter().cloned().collect();
    let mut next = 0;
    while let Some(path) = all.get(next).filter(|_| next < FILES_LIMIT) {
        let within = path.strip_prefix(folder).ok().map(Path::to_owned);
        let bytes = files::read(path, files::MAX_BYTES).unwrap_or_default();
        for found in pattern.captures_iter(&bytes) {
            let target = found
                .get(1)
                .and_then(|target| std::str::from_utf8(target.as_bytes()).ok());
            let path = target.and_then(|target| relative(target, within.as_deref()).ok());
            if let Some(path) = path.map(|path| folder.join(path))
                && known.insert(path.clone())
                && path.is_file()
            {
                all.push(path);
            }
        }
        next += 1;
    }
    all
}

#[cfg(test)]
mod tests;
