//! Builds the tree of nodes from the parser's events. The parser counts characters, which are converted to byte offsets.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::places::Places;
use super::{MAX_DEPTH, MAX_NODES, Node, Value, scalar};
use crate::yaml::env::{Expander, Lookup};
use crate::yaml::report::{Diagnostic, SourceId, Span};

/// An error that ends the reading.
type Fatal = Box<Diagnostic>;

/// The most entries of a map whose keys are compared one by one.
const FEW: usize = 16;

/// Builds the tree of the only document in `text`.
pub(super) fn build(
    text: &str,
    source: SourceId,
    lookup: Option<&Lookup<'_>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Node, Fatal> {
    refuse_unprintable(text, source)?;
    let (place, body) = Places::new(source, text);
    let expander = lookup.map(Expander::new);
    let mut builder = Builder {
        place,
        expander,
        diagnostics,
        open: Vec::new(),
        root: None,
        documents: 0,
        anchors: HashMap::new(),
        nodes: 0,
    };
    for event in Parser::new_from_str(body) {
        let (event, span) = event.map_err(|error| Box::new(builder.place.syntax_error(&error)))?;
        let span = builder.place.span(span.start.index(), span.end.index());
        builder.take(event, span)?;
    }
    let nothing = Span {
        source,
        start: 0,
        end: 0,
    };
    Ok(match builder.root {
        None => Node::empty_map(nothing),
        Some(Node {
            value: Value::Null,
            span,
            ..
        }) => Node::empty_map(span),
        Some(root) => root,
    })
}

struct Builder<'a> {
    place: Places<'a>,
    /// `None`: texts are not expanded.
    expander: Option<Expander<'a>>,
    diagnostics: &'a mut Vec<Diagnostic>,
    /// The lists and maps that have not ended yet, the innermost last.
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    anchors: HashMap<usize, Tree>,
    nodes: usize,
}

/// A node with the number of nodes in it and the number of levels below it.
#[derive(Clone)]
struct Tree {
    node: Node,
    nodes: usize,
    height: usize,
}

/// A list or map that has not ended yet.
struct Open {
    span: Span,
    anchor: usize,
    kind: OpenKind,
    nodes: usize,
    height: usize,
}

enum OpenKind {
    Seq(Vec<Node>),
    Map {
        entries: Vec<(Node, Node)>,
        key: Option<Node>,
        /// The positions of the keys, once there are more than [`FEW`].
        keys: HashMap<Arc<str>, Span>,
    },
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fatal> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    let message = "a second document starts here: a file can contain only one";
                    return Err(Diagnostic::error(span, message)
                        .help("move it into its own file, and `include` that; what another tool's document means is said for a file of its own")
                        .into());
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let node = self.scalar(&text, style, tag.as_deref(), span);
                self.complete(
                    Tree {
                        node,
                        nodes: 1,
                        height: 0,
                    },
                    anchor,
                )?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(span, anchor, tag.as_deref(), "seq", OpenKind::Seq(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                let kind = OpenKind::Map {
                    entries: Vec::new(),
                    key: None,
                    keys: HashMap::new(),
                };
                self.begin(span, anchor, tag.as_deref(), "map", kind)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span)?,
            Event::Alias(anchor) => self.alias(anchor, span)?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Node {
        let span = self.place.scalar(span, style);
        let expanded = match &mut self.expander {
            Some(expander) => expander.expand(text),
            None => Ok(text.into()),
        };
        let text: Arc<str> = match expanded {
            Ok(text) => text.into(),
            Err(problems) => {
                let problems = self.place.problems(text, span, problems);
                self.diagnostics.extend(problems);
                return Node {
                    span,
                    value: Value::Unusable,
                    plain: None,
                };
            }
        };
        let plain = style == ScalarStyle::Plain;
        let value = match tag {
            None if plain => scalar::resolve(&text),
            None => Value::String(Arc::clone(&text)),
            Some(tag) => self.tagged(tag, &text, span),
        };
        Node {
            span,
            value,
            plain: (plain && tag.is_none()).then_some(text),
        }
    }

    /// The value of a scalar with a tag: `!!str 5`.
    fn tagged(&mut self, tag: &Tag, text: &Arc<str>, span: Span) -> Value {
        let core = tag.is_yaml_core_schema().then_some(tag.suffix.as_str());
        let value = scalar::resolve(text);
        match (core, value) {
            (Some("str"), _) => Value::String(Arc::clone(text)),
            (Some("null"), value @ Value::Null)
            | (Some("bool"), value @ Value::Bool(_))
            | (Some("int"), value @ Value::Int(_))
            | (Some("float"), value @ (Value::Int(_) | Value::Float(_))) => value,
            (Some(kind @ ("null" | "bool" | "int" | "float")), _) => {
                self.diagnostics
                    .push(Diagnostic::error(span, format!("this is not a valid `!!{kind}`")));
                Value::Unusable
            }
            // The non-specific tag `!` prevents resolution.
            (None, _) if tag.handle.len() + tag.suffix.len() <= 1 => Value::String(Arc::clone(text)),
            _ => {
                self.refuse_tag(tag, span);
                Value::Unusable
            }
        }
    }

    fn refuse_tag(&mut self, tag: &Tag, span: Span) {
        let shown = match tag.handle.as_str() {
            "tag:yaml.org,2002:" => format!("!!{}", tag.suffix),
            handle => format!("{handle}{}", tag.suffix),
        };
        let message = format!("the tag `{shown}` is not supported here");
        self.diagnostics
            .push(Diagnostic::error(span, message).help("a string that starts with `!` must be quoted"));
    }

    fn begin(&mut self, span: Span, anchor: usize, tag: Option<&Tag>, core: &str, kind: OpenKind) -> Result<(), Fatal> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(span));
        }
        if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && tag.suffix == core)) {
            self.refuse_tag(tag, span);
        }
        self.open.push(Open {
            span,
            anchor,
            kind,
            nodes: 1,
            height: 0,
        });
        Ok(())
    }

    fn end(&mut self, end: Span) -> Result<(), Fatal> {
        let Some(Open {
            mut span,
            anchor,
            kind,
            nodes,
            height,
        }) = self.open.pop()
        else {
            return Ok(());
        };
        let last = match &kind {
            OpenKind::Seq(items) => items.last().map(|item| item.span.end),
            OpenKind::Map { entries, .. } => entries.last().map(|(key, value)| key.span.end.max(value.span.end)),
        };
        // A flow collection ends at its bracket. The parser reports the end of a block only where the next event starts, so
        // the end of the last child is used, unless that is an alias, which is elsewhere.
        span.end = if end.end > end.start {
            end.end
        } else {
            last.unwrap_or(span.end).clamp(span.start, end.end.max(span.start))
        };
        let span = self.place.without_properties(span);
        // Most lists and maps are small, and half of their room would stay unused.
        let value = match kind {
            OpenKind::Seq(mut items) => {
                items.shrink_to_fit();
                Value::Seq(items)
            }
            OpenKind::Map { entries, .. } => {
                let mut entries = self.merged(entries);
                entries.shrink_to_fit();
                Value::Map(entries)
            }
        };
        self.complete(
            Tree {
                node: Node {
                    span,
                    value,
                    plain: None,
                },
                nodes,
                height,
            },
            anchor,
        )
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Fatal> {
        let Some(tree) = self.anchors.get(&anchor) else {
            return Err(Diagnostic::error(span, "this alias is inside the value that it refers to").into());
        };
        if self.open.len() + tree.height > MAX_DEPTH {
            return Err(too_deep(span));
        }
        if self.nodes + tree.nodes > MAX_NODES {
            return Err(too_many(span));
        }
        self.nodes += tree.nodes - 1;
        let tree = tree.clone();
        self.complete(tree, 0)
    }

    /// Adds a finished node to its parent.
    fn complete(&mut self, tree: Tree, anchor: usize) -> Result<(), Fatal> {
        // Nodes below this one are already counted. An anchor keeps a copy of all of them.
        self.nodes += if anchor == 0 { 1 } else { 1 + tree.nodes };
        if self.nodes > MAX_NODES {
            return Err(too_many(tree.node.span));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, tree.clone());
        }
        let Tree {
            mut node,
            nodes,
            height,
        } = tree;
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.nodes += nodes;
        open.height = open.height.max(height + 1);
        match &mut open.kind {
            OpenKind::Seq(items) => items.push(node),
            OpenKind::Map { key: key @ None, .. } => *key = Some(node),
            OpenKind::Map { entries, key, keys } => {
                let Some(key) = key.take() else { return Ok(()) };
                if node.span.start == node.span.end {
                    node.span = key.span;
                }
                match refuse_key(&key, entries, keys) {
                    Some(diagnostic) => self.diagnostics.push(diagnostic),
                    None => entries.push((key, node)),
                }
            }
        }
        Ok(())
    }

    /// Replaces `<<` by the entries of its maps that are not overridden. <https://yaml.org/type/merge.html>
    fn merged(&mut self, mut entries: Vec<(Node, Node)>) -> Vec<(Node, Node)> {
        let is_merge = |key: &Node| key.is_plain() && key.text() == Some("<<");
        let Some(place) = entries.iter().position(|(key, _)| is_merge(key)) else {
            return entries;
        };
        let (_, merge) = entries.remove(place);
        let maps = match merge.value {
            Value::Seq(maps) => maps,
            _ => vec![merge],
        };
        let mut names: std::collections::HashSet<Arc<str>> = entries
            .iter()
            .filter_map(|(key, _)| key.text().map(Arc::from))
            .collect();
        for map in maps {
            match map.value {
                Value::Map(more) => {
                    entries.extend(
                        more.into_iter()
                            .filter(|(key, _)| key.text().is_none_or(|name| names.insert(name.into()))),
                    );
                }
                Value::Unusable => {}
                _ => self
                    .diagnostics
                    .push(Diagnostic::error(map.span, "`<<` needs a map or a list of maps")),
            }
        }
        entries
    }
}

/// Why a key is not valid, if so.
fn refuse_key(key: &Node, entries: &[(Node, Node)], keys: &mut HashMap<Arc<str>, Span>) -> Option<Diagnostic> {
    if matches!(key.value, Value::Unusable) {
        return None;
    }
    let Some(name) = key.text() else {
        let help = "a string that starts with `{` or `[` must be quoted";
        return Some(Diagnostic::error(key.span, "a key must be a plain string").help(help));
    };
    if let Some(first) = first_given(name, entries, keys) {
        return Some(
            Diagnostic::error(key.span, format!("the key `{name}` is given twice")).also(first, "first given here"),
        );
    }
    if !keys.is_empty() {
        keys.insert(name.into(), key.span);
    }
    None
}

/// Where a key is among the entries. Small maps are searched, since filling a hash map for each would take longer.
fn first_given(name: &str, entries: &[(Node, Node)], keys: &mut HashMap<Arc<str>, Span>) -> Option<Span> {
    if entries.len() <= FEW {
        let same = entries.iter().find(|(key, _)| key.text() == Some(name));
        return same.map(|(key, _)| key.span);
    }
    if keys.is_empty() {
        let known = entries
            .iter()
            .filter_map(|(key, _)| Some((key.text()?.into(), key.span)));
        keys.extend(known);
    }
    keys.get(name).copied()
}

fn too_deep(span: Span) -> Fatal {
    Diagnostic::error(span, format!("lists and maps are nested more than {MAX_DEPTH} deep")).into()
}

fn too_many(span: Span) -> Fatal {
    let message = format!("with its aliases expanded, this file has more than {MAX_NODES} values");
    Diagnostic::error(span, message).into()
}

/// Refuses control characters, which are not valid in YAML (1.2.2, section 5.1). The parser would take a NUL for the end.
fn refuse_unprintable(text: &str, source: SourceId) -> Result<(), Fatal> {
    let printable = |letter: char| match letter {
        '\t' | '\n' | '\r' | '\u{85}' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        _ => !letter.is_control(),
    };
    let Some((start, letter)) = text.char_indices().find(|(_, letter)| !printable(*letter)) else {
        return Ok(());
    };
    let span = Span {
        source,
        start,
        end: start + letter.len_utf8(),
    };
    let code = u32::from(letter);
    let message = format!("the control character U+{code:04X} is not allowed in YAML");
    Err(Diagnostic::error(span, message)
        .help(format!("in double quotes write it as \"\\u{code:04X}\""))
        .into())
}
