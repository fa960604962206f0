//! Words that are unknown where they stand, for callers who may know what was meant.

use crate::yaml::report::Span;
use crate::yaml::tree::{NOTHING, Node, Value};

/// What callers know about the words of an error.
pub type Hints<'a> = dyn Fn(&Word<'_>) -> Option<Hint> + 'a;

/// What to do about a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The line to write, in a few words.
    pub help: String,
    /// The key of the same map that was meant, whose absence is then not an error of its own.
    pub meant: Option<&'static str>,
    /// Whether the line takes the place of the whole map, so that no key of it is missing.
    pub whole: bool,
}

impl Hint {
    /// What to do, in a few words.
    pub fn said(help: impl Into<String>) -> Self {
        Self {
            help: help.into(),
            meant: None,
            whole: false,
        }
    }
}

/// A key that an error is about, with where it stands.
#[derive(Clone, Debug)]
pub struct Word<'a> {
    /// The keys that lead to the map or list that it is in, from the top. The items of lists add nothing.
    pub path: Vec<&'a str>,
    /// The key, or a name that stands alone.
    pub key: &'a str,
    /// The value of the key; nothing for a name that stands alone.
    pub value: &'a Node,
    /// The map that the key is in; nothing for a name that stands alone.
    pub map: &'a Node,
    /// Whether the error is about the value rather than the key.
    pub is_value: bool,
    /// The root of the document, for words that mean another thing in another file.
    pub root: &'a Node,
}

/// The word at a position. A whole document that is not a map is a word without a key.
pub(super) fn at(node: &Node, span: Span) -> Option<Word<'_>> {
    if node.span == span && !matches!(node.value, Value::Map(_)) {
        return Some(Word {
            path: Vec::new(),
            key: "",
            value: node,
            map: &NOTHING,
            is_value: true,
            root: node,
        });
    }
    search(node, node, span, &mut Vec::new())
}

fn search<'a>(root: &'a Node, node: &'a Node, span: Span, path: &mut Vec<&'a str>) -> Option<Word<'a>> {
    let word = |path: &[&'a str], key: &'a Node, value, map, is_value| {
        Some(Word {
            path: path.to_vec(),
            key: key.text()?,
            value,
            map,
            is_value,
            root,
        })
    };
    match &node.value {
        Value::Seq(items) => items.iter().find_map(|item| {
            if item.span == span && !matches!(item.value, Value::Map(_)) {
                return word(path, item, &NOTHING, &NOTHING, false);
            }
            search(root, item, span, path)
        }),
        Value::Map(entries) => entries.iter().find_map(|(key, value)| {
            if key.span == span {
                return word(path, key, value, node, false);
            }
            if value.span == span {
                return word(path, key, value, node, true);
            }
            path.push(key.text()?);
            let found = search(root, value, span, path);
            path.pop();
            found
        }),
        _ => None,
    }
}
