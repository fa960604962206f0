//! The configuration: its top level, the files that it includes, and the snapshot that they are assembled into.

pub mod apis;
pub mod guard;
pub mod layer;
pub mod load;
pub mod masks;
pub mod root;
pub mod snapshot;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::load::{Disk, Start, load_tree};
use self::masks::Masks;
use self::root::{ConfigSpec, FragmentSpec};
use self::snapshot::{Inputs, Snapshot};
use crate::files::Seen;
use crate::rule::{beside, doubts};
use crate::yaml::decode::word::{Hint, Word};
use crate::yaml::decode::{Gaps, Spanned, decode_parts};
use crate::yaml::report::{Diagnostic, Report, Span};
use crate::yaml::tree;
use crate::{fake, files, peers};

/// The demo: the embedded, commented default configuration.
pub const DEMO: &str = include_str!("../../config/squall.yaml");

/// Where a configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file and its includes.
    File(PathBuf),
    /// The embedded [`DEMO`].
    Demo,
}

/// Reads, checks and compiles a configuration.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load(source: &Source, inputs: Inputs<'_>) -> Result<Snapshot, Report> {
    match source {
        Source::File(path) if files::is_stream(path) => load_stream(path, inputs),
        Source::File(path) => load_from(Start::Path(path), inputs),
        Source::Demo => load_text("demo", DEMO, inputs),
    }
}

/// Loads what a pipe or a terminal gives, which can't be read again for a reload.
fn load_stream(path: &Path, inputs: Inputs<'_>) -> Result<Snapshot, Report> {
    let read = match inputs.previous {
        Some(_) => Err(io::Error::other("it is a pipe, which can be read only once")),
        None => File::open(path).and_then(|stream| files::read_at_most(stream, tree::MAX_FILE_BYTES)),
    };
    let name = path.display().to_string();
    match read {
        Ok(bytes) => load_bytes(&name, &bytes, inputs),
        Err(error) => {
            let mistake = Diagnostic::error(None, format!("can't read {name}: {error}"));
            Err(Report::new(vec![mistake], Arc::default()))
        }
    }
}

/// Checks and compiles a text, for tests and for configurations without a file.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load_text(name: &str, text: &str, inputs: Inputs<'_>) -> Result<Snapshot, Report> {
    load_bytes(name, text.as_bytes(), inputs)
}

/// Checks and compiles the bytes of a text, which may turn out not to be UTF-8.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load_bytes(name: &str, text: &[u8], inputs: Inputs<'_>) -> Result<Snapshot, Report> {
    load_from(Start::Text { name, text }, inputs)
}

fn load_from(start: Start<'_>, inputs: Inputs<'_>) -> Result<Snapshot, Report> {
    let disk = Disk::default();
    let tree = load_tree(start, &disk, &environment);
    build(tree, disk.into_seen(), inputs)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn build(mut tree: load::Tree, seen: Seen, inputs: Inputs<'_>) -> Result<Snapshot, Report> {
    let variables = std::mem::take(&mut tree.variables);
    match compile(tree, seen, inputs) {
        Ok(mut snapshot) => {
            let masks = Masks::of(&snapshot.spec, variables);
            if let Some(warnings) = Arc::get_mut(&mut snapshot.warnings) {
                warnings.change_texts(|text| masks.text(text));
            }
            snapshot.file_masks = Arc::new(masks);
            snapshot.masks = Arc::clone(&snapshot.file_masks);
            Ok(snapshot)
        }
        Err(mut report) => {
            let masks = Masks::of_variables(variables);
            report.change_texts(|text| masks.text(text));
            Err(report)
        }
    }
}

/// What is meant by a word that is unknown at its place.
fn hint(word: &Word<'_>) -> Option<Hint> {
    fake::spec::hint(word)
        .or_else(|| peers::of_file(word))
        .or_else(|| beside::of_file(word))
}

fn compile(tree: load::Tree, seen: Seen, inputs: Inputs<'_>) -> Result<Snapshot, Report> {
    let mut diagnostics = tree.diagnostics;
    let sources = Arc::new(tree.sources);
    // Each document is dropped once it is decoded: of a large configuration, it takes more memory than what it is decoded to.
    let mut documents = tree.documents.into_iter();
    let main = documents.next();
    let decoded = main.map(|main| {
        doubts::of_file(&main, &mut diagnostics);
        decode_parts::<ConfigSpec>(&main, &hint, &mut diagnostics)
    });
    let Some((Some(mut spec), mut gaps)) = decoded else {
        return Err(Report::new(diagnostics, sources).with_seen(Arc::new(seen)));
    };
    if tree.lacks_file {
        gaps.note_missing_file();
    }
    for document in documents {
        doubts::of_file(&document, &mut diagnostics);
        let (fragment, more) = decode_parts::<FragmentSpec>(&document, &hint, &mut diagnostics);
        gaps.extend(more);
        if let Some(fragment) = fragment {
            merge(&mut spec, fragment, &mut diagnostics);
        }
    }
    settle_addresses(&mut spec, &gaps);
    // Parts with errors are left out here. The rest is still checked, so that all errors are reported at once, but a
    // configuration with errors is never put into force.
    Snapshot::build(spec, sources, &gaps, seen, diagnostics, inputs)
}

/// Gives addresses that stand alone their position. An upstream that is one is meant for what its listeners speak.
fn settle_addresses(spec: &mut ConfigSpec, gaps: &Gaps) {
    if let Some(admin) = &mut spec.admin {
        apis::settle(admin.value.0.address.as_mut(), admin.span);
    }
    if let Some(toxiproxy) = &mut spec.toxiproxy {
        apis::settle(toxiproxy.value.0.address.as_mut(), toxiproxy.span);
    }
    let listeners = &spec.listeners;
    for (name, upstream) in spec.upstreams.iter_mut() {
        let mut users = listeners
            .iter()
            .filter(|(_, listener)| {
                listener
                    .upstream
                    .as_ref()
                    .filter(|upstream| upstream.value == name.value)
                    // One whose protocol was left out decides nothing.
                    .is_some_and(|upstream| listener.protocol.is_some() || !gaps.around(upstream.span))
            })
            .peekable();
        let is_for_tcp = users.peek().is_some() && users.all(|(_, listener)| listener.is_tcp());
        let span = upstream.span;
        upstream.value.settle(span, is_for_tcp);
    }
}

fn merge(spec: &mut ConfigSpec, fragment: FragmentSpec, diagnostics: &mut Vec<Diagnostic>) {
    let mut twice = |what: &str, first: Span, name: &Spanned<String>| {
        let message = format!("two {what} have the name `{}`", name.value);
        diagnostics.push(Diagnostic::error(name.span, message).also(first, "the first is here"));
    };
    for (name, listener) in fragment.listeners {
        if let Err((first, name, _)) = spec.listeners.insert(name, listener) {
            twice("listeners", first, &name);
        }
    }
    for (name, upstream) in fragment.upstreams {
        if let Err((first, name, _)) = spec.upstreams.insert(name, upstream) {
            twice("upstreams", first, &name);
        }
    }
    spec.rules.extend(fragment.rules);
}
