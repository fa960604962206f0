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
}

/// An entry or an item of a top-level key.
#[derive(Clone, Debug)]
struct GapEntry {
    top: String,
    name: Option<String>,
    span: Span,
}

impl Gaps {
    /// Nothing was left out.
    pub const NONE: &'static Gaps = &Gaps {
        spans: Vec::new(),
        entries: Vec::new(),
    };

    /// The gaps of a document; `is_gap` tells which values are left out.
    pub(super) fn of(node: &Node, is_gap: &dyn Fn(&Node) -> bool) -> Gaps {
        let mut gaps = Gaps::default();
        for (top, value) in entries(node) {
            let before = gaps.spans.len();
            if is_gap(value) {
                gaps.spans.push(around(top, value));
            }
            match &value.value {
                Value::Seq(items) => {
                    for item in items {
                        gaps.entry(top, None, item, item.span, is_gap);
                    }
                }
                _ => {
                    for (name, entry) in entries(value) {
                        gaps.entry(top, Some(name), entry, around(name, entry), is_gap);
                    }
                }
            }
            if gaps.spans.len() > before && !gaps.has(top.text().unwrap_or_default()) {
                gaps.entries.push(GapEntry {
                    top: top.text().unwrap_or_default().to_owned(),
                    name: None,
                    span: around(top, value),
                });
            }
        }
        gaps
    }

    fn entry(&mut self, top: &Node, name: Option<&Node>, value: &Node, span: Span, is_gap: &dyn Fn(&Node) -> bool) {
        let before = self.spans.len();
        if is_gap(value) {
            self.spans.push(span);
        } else {
            self.below(value, is_gap);
        }
        if self.spans.len() > before {
            self.entries.push(GapEntry {
                top: top.text().unwrap_or_default().to_owned(),
                name: name.and_then(Node::text).map(str::to_owned),
                span,
            });
        }
    }

    fn below(&mut self, node: &Node, is_gap: &dyn Fn(&Node) -> bool) {
        if let Value::Seq(items) = &node.value {
            for item in items {
                self.value(item, item.span, is_gap);
            }
        }
        for (key, value) in entries(node) {
            self.value(value, around(key, value), is_gap);
        }
    }

    fn value(&mut self, value: &Node, span: Span, is_gap: &dyn Fn(&Node) -> bool) {
        if is_gap(value) {
            self.spans.push(span);
        } else {
            self.below(value, is_gap);
        }
    }

    /// Adds the gaps of another document of the same configuration.
    pub fn extend(&mut self, other: Gaps) {
        self.spans.extend(other.spans);
        self.entries.extend(other.entries);
    }

    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
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

    /// Whether something was left out of the value at a position.
    pub fn within(&self, span: Span) -> bool {
        self.spans.iter().any(|gap| encloses(span, *gap))
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
