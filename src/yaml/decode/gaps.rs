//! What was left out of a document with errors, so that later checks don't report what only follows from it.

use crate::yaml::report::{Diagnostic, Span};
use crate::yaml::tree::{Node, Value};

/// The parts of a document that could not be decoded. Empty for a document without errors.
#[derive(Clone, Debug, Default)]
pub struct Gaps {
    /// Where they are, each with its key.
    spans: Vec<Span>,
    /// The entries and items of the top-level keys that have gaps or are one.
    entries: Vec<GapEntry>,
    /// Whether a whole file is missing.
    lacks_file: bool,
}

/// An entry or an item of a top-level key.
#[derive(Clone, Debug)]
struct GapEntry {
    top: String,
    name: Option<String>,
    span: Span,
    /// Its own keys whose values have gaps or are one.
    keys: Vec<String>,
    /// Whether all of the top-level key was left out, perhaps since nobody knows it.
    of_whole: bool,
}

/// Which nodes of a document are gaps.
struct Search<'a> {
    /// Whether a value is left out.
    is_gap: &'a dyn Fn(&Node) -> bool,
    /// Where something stands in for what a map lacks.
    stand_in: &'a dyn Fn(&Node) -> Option<Span>,
}

impl Gaps {
    /// Nothing was left out.
    pub const NONE: &'static Gaps = &Gaps {
        spans: Vec::new(),
        entries: Vec::new(),
        lacks_file: false,
    };

    /// The gaps of a document; `is_gap` tells which values are left out, and `stand_in` where something stands in for what a map lacks.
    pub(super) fn of(node: &Node, is_gap: &dyn Fn(&Node) -> bool, stand_in: &dyn Fn(&Node) -> Option<Span>) -> Gaps {
        let (mut gaps, search) = (Gaps::default(), Search { is_gap, stand_in });
        gaps.spans.extend(stand_in(node));
        for (top, value) in entries(node) {
            gaps.top(top, value, &search);
        }
        gaps
    }

    fn top(&mut self, top: &Node, value: &Node, search: &Search<'_>) {
        let before = self.spans.len();
        let of_whole = (search.is_gap)(value);
        if of_whole {
            self.spans.push(around(top, value));
        }
        self.spans.extend((search.stand_in)(value));
        match &value.value {
            Value::Seq(items) => {
                for item in items {
                    self.entry(top, None, item, item.span, search);
                }
            }
            _ if of_whole => {
                for (name, entry) in entries(value) {
                    self.note(top, name.text(), around(name, entry), true, Vec::new());
                }
            }
            _ => {
                for (name, entry) in entries(value) {
                    self.entry(top, Some(name), entry, around(name, entry), search);
                }
            }
        }
        if self.spans.len() > before && !self.has(top.text().unwrap_or_default()) {
            self.note(top, None, around(top, value), of_whole, Vec::new());
        }
    }

    fn note(&mut self, top: &Node, name: Option<&str>, span: Span, of_whole: bool, keys: Vec<String>) {
        self.entries.push(GapEntry {
            top: top.text().unwrap_or_default().to_owned(),
            name: name.map(str::to_owned),
            span,
            keys,
            of_whole,
        });
    }

    fn entry(&mut self, top: &Node, name: Option<&Node>, value: &Node, span: Span, search: &Search<'_>) {
        let before = self.spans.len();
        self.value(value, span, search);
        if self.spans.len() > before {
            let has_gap = |(key, inner): &&(Node, Node)| {
                let inner = around(key, inner);
                self.spans.iter().skip(before).any(|gap| encloses(inner, *gap))
            };
            let keys = entries(value).filter(has_gap).filter_map(|(key, _)| key.text());
            let keys = keys.map(str::to_owned).collect();
            self.note(top, name.and_then(Node::text), span, false, keys);
        }
    }

    fn below(&mut self, node: &Node, search: &Search<'_>) {
        self.spans.extend((search.stand_in)(node));
        if let Value::Seq(items) = &node.value {
            for item in items {
                self.value(item, item.span, search);
            }
        }
        for (key, value) in entries(node) {
            self.value(value, around(key, value), search);
        }
    }

    fn value(&mut self, value: &Node, span: Span, search: &Search<'_>) {
        if (search.is_gap)(value) {
            self.spans.push(span);
        } else {
            self.below(value, search);
        }
    }

    /// Notes that a whole file could not be read.
    pub fn note_missing_file(&mut self) {
        self.lacks_file = true;
    }

    /// Adds the gaps of another document of the same configuration.
    pub fn extend(&mut self, other: Gaps) {
        self.spans.extend(other.spans);
        self.entries.extend(other.entries);
        self.lacks_file |= other.lacks_file;
    }

    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty() && !self.lacks_file
    }

    /// Whether a top-level key that has no entries may have had some: in a file that could not be read, or under a key that nobody
    /// knows.
    pub fn may_have_any(&self, top: &str) -> bool {
        self.lacks_file || self.has(top) || self.entries.iter().any(|entry| entry.of_whole && entry.name.is_some())
    }

    /// Whether a top-level key may have an entry of this name that was left out, or lacks a part.
    pub fn may_have(&self, top: &str, name: &str) -> bool {
        let is_it = |entry: &GapEntry| {
            let is_named = entry.name.as_deref() == Some(name);
            // A list, say, where a map of names is meant.
            let is_unreadable = entry.of_whole && entry.name.is_none() && entry.top == top;
            (is_named && (entry.top == top || entry.of_whole)) || is_unreadable
        };
        self.lacks_file || self.entries.iter().any(is_it)
    }

    /// Whether a top-level key has gaps or is one.
    pub fn has(&self, top: &str) -> bool {
        self.entries.iter().any(|entry| entry.top == top)
    }

    /// The names of a top-level key's entries that have gaps or are one.
    pub fn names<'a>(&'a self, top: &'a str) -> impl Iterator<Item = &'a str> {
        let entries = self.entries.iter().filter(move |entry| entry.top == top);
        entries.filter_map(|entry| entry.name.as_deref())
    }

    /// Removes what was reported since `before` only because a part was left out of the entry or item whose name has this
    /// position: what is about the whole, or about a value that lacks the part.
    pub fn forget_consequences(&self, diagnostics: &mut Vec<Diagnostic>, before: usize, name: Span) {
        if self.around(name) {
            let found = diagnostics.split_off(before);
            let is_own = |one: &Diagnostic| one.span.is_some_and(|span| span != name && !self.within(span));
            diagnostics.extend(found.into_iter().filter(is_own));
        }
    }

    /// Removes what was reported since `before` about values that lack a part.
    pub fn forget_within(&self, diagnostics: &mut Vec<Diagnostic>, before: usize) {
        let found = diagnostics.split_off(before);
        let is_own = |one: &Diagnostic| one.span.is_none_or(|span| !self.within(span));
        diagnostics.extend(found.into_iter().filter(is_own));
    }

    /// Whether something was left out of the value at a position.
    pub fn within(&self, span: Span) -> bool {
        self.spans.iter().any(|gap| encloses(span, *gap))
    }

    /// The keys of the entry or item of a top-level key that has this position, as far as their values have gaps or are one.
    pub fn keys_around(&self, span: Span) -> impl Iterator<Item = &str> {
        let around = self.entries.iter().filter(move |entry| encloses(entry.span, span));
        around.flat_map(|entry| entry.keys.iter().map(String::as_str))
    }

    /// Whether something was left out of the entry or item of a top-level key that has this position.
    pub fn around(&self, span: Span) -> bool {
        self.entries.iter().any(|entry| encloses(entry.span, span))
    }
}

fn entries(node: &Node) -> impl Iterator<Item = &(Node, Node)> {
    let entries: &[(Node, Node)] = match &node.value {
        Value::Map(entries) => entries,
        _ => &[],
    };
    entries.iter()
}

/// From the beginning of a key to the end of its value, which an alias may have put elsewhere.
fn around(key: &Node, value: &Node) -> Span {
    Span {
        end: value.span.end.max(key.span.end),
        ..key.span
    }
}

fn encloses(outer: Span, inner: Span) -> bool {
    outer.source == inner.source && outer.start <= inner.start && inner.end <= outer.end
}
