//! Diagnostics: what is wrong with a configuration, and where, rendered like compiler errors.
//!
//! ```text
//! error: unknown key `dellay`
//!  --> squall.yaml:7:9
//!   |
//! 7 |       - dellay: 200ms
//!   |         ^^^^^^
//!   |
//!   = help: did you mean `delay`?
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

use crate::files::Seen;

/// All texts of a configuration: files, and texts without a file (the embedded default, an API call).
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<Source>);

#[derive(Clone, Debug)]
struct Source {
    name: Arc<str>,
    text: Arc<str>,
    directory: PathBuf,
}

/// One of the [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(u32);

/// A part of a source, in byte offsets of its text: from `start` up to but not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The source of the span.
    pub source: SourceId,
    /// The offset of the first byte.
    pub start: usize,
    /// The offset after the last byte.
    pub end: usize,
}

impl Span {
    /// The span of a value that was not read from a source. Diagnostics don't show it.
    pub const NOWHERE: Self = Self {
        source: SourceId(u32::MAX),
        start: 0,
        end: 0,
    };

    /// Whether this is [`Span::NOWHERE`].
    pub fn is_nowhere(self) -> bool {
        self == Self::NOWHERE
    }
}

impl Default for Span {
    fn default() -> Self {
        Self::NOWHERE
    }
}

impl SourceId {
    /// The inverse of [`SourceId::number`].
    pub(super) fn from_number(number: u32) -> Self {
        Self(number)
    }

    pub(super) fn number(self) -> u32 {
        self.0
    }

    fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Sources {
    /// Adds a text. `name` is shown in diagnostics, and relative paths in the text start at `directory`.
    pub fn add(
        &mut self,
        name: impl Into<Arc<str>>,
        text: impl Into<Arc<str>>,
        directory: impl Into<PathBuf>,
    ) -> SourceId {
        let id = SourceId(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        self.0.push(Source {
            name: name.into(),
            text: text.into(),
            directory: directory.into(),
        });
        id
    }

    /// The beginning of the first source, for what is wrong with all of it.
    pub fn start(&self) -> Option<Span> {
        let start = Span {
            source: SourceId(0),
            start: 0,
            end: 0,
        };
        self.0.first().map(|_| start)
    }

    /// The text of a source; empty for an id of other `Sources`.
    pub fn text(&self, id: SourceId) -> &str {
        self.0.get(id.index()).map_or("", |source| &source.text)
    }

    /// The text of a source, shared.
    pub(super) fn shared_text(&self, id: SourceId) -> Arc<str> {
        self.0
            .get(id.index())
            .map_or_else(|| "".into(), |source| Arc::clone(&source.text))
    }

    /// The name of a source.
    pub fn name(&self, id: SourceId) -> Option<&str> {
        self.0.get(id.index()).map(|source| &*source.name)
    }

    /// The folder that relative paths in a source start from.
    pub fn directory(&self, id: SourceId) -> Option<&Path> {
        self.0.get(id.index()).map(|source| source.directory.as_path())
    }

    /// The line and the column (in characters) of a byte offset, both counted from 1.
    pub fn position(&self, id: SourceId, offset: usize) -> (usize, usize) {
        let text = self.text(id);
        let before = text.get(..floor(text, offset)).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let lines = before.bytes().filter(|byte| *byte == b'\n').count();
        (
            lines + 1,
            before.get(line_start..).unwrap_or_default().chars().count() + 1,
        )
    }

    /// The position of a span as `rules.yaml:12:7`; `None` for [`Span::NOWHERE`].
    pub fn locate(&self, span: Span) -> Option<String> {
        let (line, column) = self.position(span.source, span.start);
        Some(format!("{}:{line}:{column}", self.name(span.source)?))
    }
}

/// The severity of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration can't be used.
    Error,
    /// The configuration can be used, but something in it is probably a mistake.
    Warning,
}

/// A problem, with its position in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How severe the problem is.
    pub severity: Severity,
    /// The span that is underlined.
    pub span: Option<Span>,
    /// What is wrong, in one line without a full stop.
    pub message: String,
    /// A few words at the underline.
    pub label: Option<String>,
    /// What to do about it, one line each.
    pub help: Vec<String>,
    /// Related positions, each with a few words.
    pub secondary: Vec<(Span, String)>,
}

impl Diagnostic {
    /// An error at a position, or in the whole configuration.
    pub fn error(span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        let span = span.into().filter(|span| !span.is_nowhere());
        Self {
            severity: Severity::Error,
            span,
            message: message.into(),
            label: None,
            help: Vec::new(),
            secondary: Vec::new(),
        }
    }

    /// A warning at a position, or about the whole configuration.
    pub fn warning(span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    /// Adds a few words at the underline.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds a line of help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Adds a related position.
    #[must_use]
    pub fn also(mut self, span: Span, words: impl Into<String>) -> Self {
        self.secondary.push((span, words.into()));
        self
    }
}

/// Diagnostics in order of position, without duplicates, and the sources that they point into.
#[derive(Clone, Debug)]
pub struct Report {
    diagnostics: Vec<Diagnostic>,
    sources: Arc<Sources>,
    seen: Arc<Seen>,
}

impl Report {
    /// Sorts the diagnostics and removes duplicates. Those without a position come first.
    pub fn new(mut diagnostics: Vec<Diagnostic>, sources: Arc<Sources>) -> Self {
        diagnostics.sort_by_key(|one| (one.span, one.severity));
        let mut seen = BTreeSet::new();
        diagnostics.retain(|one| seen.insert((one.span, one.severity, one.message.clone())));
        Self {
            diagnostics,
            sources,
            seen: Arc::default(),
        }
    }

    /// Changes every text but those of the files themselves.
    pub fn change_texts(&mut self, change: impl Fn(&str) -> String) {
        for one in &mut self.diagnostics {
            let related = one.secondary.iter_mut().map(|(_, text)| text);
            let texts = [&mut one.message]
                .into_iter()
                .chain(&mut one.label)
                .chain(&mut one.help);
            for text in texts.chain(related) {
                *text = change(text);
            }
        }
    }

    /// Adds what was read before this was found.
    pub fn with_seen(self, seen: Arc<Seen>) -> Self {
        Self { seen, ..self }
    }

    /// What was read before this was found.
    pub fn seen(&self) -> &Arc<Seen> {
        &self.seen
    }

    /// Whether the configuration can't be used.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|one| one.severity == Severity::Error)
    }

    /// Whether there are no diagnostics.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// All diagnostics of the report.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// Takes all diagnostics out of the report.
    pub fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics
    }

    /// The sources that the diagnostics point into.
    pub fn sources(&self) -> &Arc<Sources> {
        &self.sources
    }

    /// Renders the report as text: a paragraph per diagnostic, then a line with their number, without a final newline.
    /// `coloured` adds ANSI escapes.
    pub fn render(&self, coloured: bool) -> String {
        let renderer = if coloured {
            Renderer::styled()
        } else {
            Renderer::plain()
        }
        .decor_style(DecorStyle::Ascii);
        let mut text = String::new();
        for diagnostic in &self.diagnostics {
            text.push_str(&self.render_one(&renderer, diagnostic));
            text.push_str("\n\n");
        }
        text.push_str(&self.summary());
        text
    }

    /// Summarizes the report: `2 errors and 1 warning in rules.yaml`.
    pub fn summary(&self) -> String {
        let of = |severity| self.diagnostics.iter().filter(|one| one.severity == severity).count();
        let counted = |count: usize, noun: &str| match count {
            1 => format!("1 {noun}"),
            _ => format!("{count} {noun}s"),
        };
        let counts = match (of(Severity::Error), of(Severity::Warning)) {
            (0, 0) => "no errors".to_owned(),
            (errors, 0) => counted(errors, "error"),
            (0, warnings) => counted(warnings, "warning"),
            (errors, warnings) => format!("{} and {}", counted(errors, "error"), counted(warnings, "warning")),
        };
        let spans = self.diagnostics.iter().filter_map(|one| one.span);
        let names: BTreeSet<&str> = spans.filter_map(|span| self.sources.name(span.source)).collect();
        match (names.len(), names.first()) {
            (1, Some(name)) => format!("{counts} in {name}"),
            (0, _) => counts,
            (files, _) => format!("{counts} in {files} files"),
        }
    }

    /// The report as JSON: an array of objects with `file`, `line`, `column`, `end_line`, `end_column` (counted from 1, in
    /// characters, the end exclusive; null without a position), `severity`, `message`, `help`, and `related` positions.
    pub fn to_json(&self) -> serde_json::Value {
        let places = |span: Option<Span>| match span {
            Some(span) => {
                let (line, column) = self.sources.position(span.source, span.start);
                let (end_line, end_column) = self.sources.position(span.source, span.end);
                (
                    self.sources.name(span.source),
                    Some([line, column, end_line, end_column]),
                )
            }
            None => (None, None),
        };
        let at = |place: Option<[usize; 4]>, part: usize| place.and_then(|place| place.get(part).copied());
        let one = |diagnostic: &Diagnostic| {
            let (file, place) = places(diagnostic.span);
            let related = diagnostic.secondary.iter().map(|(span, words)| {
                let (file, place) = places(Some(*span));
                serde_json::json!({"file": file, "line": at(place, 0), "column": at(place, 1), "message": words})
            });
            serde_json::json!({
                "file": file,
                "line": at(place, 0),
                "column": at(place, 1),
                "end_line": at(place, 2),
                "end_column": at(place, 3),
                "severity": diagnostic.severity,
                "message": diagnostic.message,
                "help": diagnostic.help,
                "related": related.collect::<Vec<_>>(),
            })
        };
        self.diagnostics.iter().map(one).collect()
    }

    fn render_one(&self, renderer: &Renderer, diagnostic: &Diagnostic) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = level
            .primary_title(&diagnostic.message)
            .elements(self.snippets(diagnostic));
        for help in &diagnostic.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }

    /// One snippet for each source that the diagnostic points into, the primary one first.
    fn snippets<'a>(&'a self, diagnostic: &'a Diagnostic) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
        let primary = diagnostic
            .span
            .iter()
            .map(|span| (*span, AnnotationKind::Primary, diagnostic.label.as_deref()));
        let others = diagnostic
            .secondary
            .iter()
            .map(|(span, words)| (*span, AnnotationKind::Context, Some(words.as_str())));
        let places: Vec<_> = primary
            .chain(others)
            .filter(|(span, ..)| self.sources.name(span.source).is_some())
            .collect();
        let mut ids: Vec<SourceId> = Vec::new();
        for (span, ..) in &places {
            if !ids.contains(&span.source) {
                ids.push(span.source);
            }
        }
        let snippet = |id: SourceId| {
            let text = self.sources.text(id);
            let here = || places.iter().filter(move |(span, ..)| span.source == id);
            // Only the lines between the positions: the renderer indexes the whole text, and a file may have 16 MiB.
            let first = here().map(|(span, ..)| span.start).min().unwrap_or(0);
            let last = here().map(|(span, ..)| span.start).max().unwrap_or(0);
            let window = line_start(text, first)..line_end(text, last);
            let annotations = here().map(|(span, kind, label)| {
                let Range { start, end } = underlined(text, *span);
                kind.span(start - window.start..end - window.start).label(*label)
            });
            let annotations: Vec<_> = annotations.collect();
            Snippet::source(text.get(window.clone()).unwrap_or_default())
                .line_start(self.sources.position(id, first).0)
                .path(self.sources.name(id))
                .annotations(annotations)
        };
        ids.into_iter().map(snippet).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

/// The candidate that `word` was probably meant to be: a third of its letters may be wrong, missing or swapped, or it may
/// be the beginning of exactly one candidate.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let wanted = plain(word);
    let candidates: Vec<(String, &str)> = candidates.into_iter().map(|one| (plain(one), one)).collect();
    let distance = |candidate: &str| {
        let distance = strsim::damerau_levenshtein(&wanted, candidate);
        let allowed = wanted.chars().count().max(candidate.chars().count()) / 3;
        (distance <= allowed).then_some(distance)
    };
    let near = candidates
        .iter()
        .filter_map(|(plain, one)| Some((distance(plain)?, *one)))
        .min_by_key(|(far, _)| *far);
    let mut longer = candidates
        .iter()
        .filter(|(plain, _)| wanted.len() >= 3 && plain.starts_with(&wanted));
    let only_longer = longer.next().filter(|_| longer.next().is_none());
    near.map(|(_, one)| one).or(only_longer.map(|(_, one)| *one))
}

/// The part of a span to underline: only its first line.
fn underlined(text: &str, span: Span) -> Range<usize> {
    let start = floor(text, span.start);
    let end = floor(text, span.end).clamp(start, line_end(text, start));
    start..end
}

/// The nearest character boundary at or before `offset`.
fn floor(text: &str, offset: usize) -> usize {
    text.floor_char_boundary(offset)
}

fn line_start(text: &str, offset: usize) -> usize {
    text.get(..floor(text, offset))
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |newline| newline + 1)
}

fn line_end(text: &str, offset: usize) -> usize {
    let start = floor(text, offset);
    let rest = text.get(start..).unwrap_or_default();
    start + rest.find(['\n', '\r']).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests;
