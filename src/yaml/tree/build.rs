//! The parser's events to nodes. The parser counts characters; everything here is byte offsets.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use super::{MAX_DEPTH, MAX_NODES, Node, Value, scalar};
use crate::yaml::env::{self, Expander, Lookup};
use crate::yaml::report::{Diagnostic, SourceId, Span};

/// The end of the reading, with what it died of.
type Fatal = Box<Diagnostic>;

/// Builds the tree of the only document in `text`.
pub(super) fn build(
    text: &str,
    source: SourceId,
    lookup: Option<&Lookup<'_>>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Node, Fatal> {
    refuse_unprintable(text, source)?;
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let place = Places {
        source,
        text,
        offset: text.len() - body.len(),
        starts: char_starts(body),
    };
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
        let (event, span) = event.map_err(|error| builder.place.syntax_error(&error))?;
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
    /// `None`: texts are taken as they are.
    expander: Option<Expander<'a>>,
    diagnostics: &'a mut Vec<Diagnostic>,
    /// The lists and maps that have begun and not ended, the innermost last.
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
                        .help("put it into its own file and `include` that")
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
            // The tag `!` alone means: not to be resolved.
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
        // The end of a flow collection is its bracket. That of a block is found only where the next thing starts, so
        // there the last child counts, unless it is an alias and so stands elsewhere.
        span.end = if end.end > end.start {
            end.end
        } else {
            last.unwrap_or(span.end).clamp(span.start, end.end.max(span.start))
        };
        let span = self.place.without_properties(span);
        let value = match kind {
            OpenKind::Seq(items) => Value::Seq(items),
            OpenKind::Map { entries, .. } => Value::Map(self.merged(entries)),
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

    /// Puts a finished node where it belongs.
    fn complete(&mut self, tree: Tree, anchor: usize) -> Result<(), Fatal> {
        // The nodes below this one were counted when they were finished. What is kept for an anchor is a copy of them all.
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
                match refuse_key(&key, keys) {
                    Some(diagnostic) => self.diagnostics.push(diagnostic),
                    None => entries.push((key, node)),
                }
            }
        }
        Ok(())
    }

    /// Replaces `<<` by the entries of its maps that are not given beside it. <https://yaml.org/type/merge.html>
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

/// Why a key can't stand where it does.
fn refuse_key(key: &Node, keys: &mut HashMap<Arc<str>, Span>) -> Option<Diagnostic> {
    if matches!(key.value, Value::Unusable) {
        return None;
    }
    let Some(name) = key.text() else {
        let help = "a string that starts with `{` or `[` must be quoted";
        return Some(Diagnostic::error(key.span, "a key must be a plain string").help(help));
    };
    if let Some(first) = keys.get(name) {
        return Some(
            Diagnostic::error(key.span, format!("the key `{name}` is given twice")).also(*first, "first given here"),
        );
    }
    keys.insert(name.into(), key.span);
    None
}

fn too_deep(span: Span) -> Fatal {
    Diagnostic::error(span, format!("lists and maps are nested more than {MAX_DEPTH} deep")).into()
}

fn too_many(span: Span) -> Fatal {
    let message = format!("with its aliases expanded, this file has more than {MAX_NODES} values");
    Diagnostic::error(span, message).into()
}

/// Where things are in the file.
struct Places<'a> {
    source: SourceId,
    text: &'a str,
    /// The bytes before what the parser saw: a byte order mark.
    offset: usize,
    /// The byte at which each character starts; empty if all are of one byte.
    starts: Vec<u32>,
}

impl Places<'_> {
    /// The span between two of the parser's character counts.
    fn span(&self, start: usize, end: usize) -> Span {
        let (start, end) = (self.byte(start), self.byte(end));
        Span {
            source: self.source,
            start,
            end: end.max(start),
        }
    }

    fn byte(&self, character: usize) -> usize {
        let byte = match self.starts.get(character) {
            Some(start) => usize::try_from(*start).unwrap_or(usize::MAX),
            None if self.starts.is_empty() => character,
            None => usize::MAX,
        };
        byte.saturating_add(self.offset).min(self.text.len())
    }

    fn slice(&self, range: Range<usize>) -> &str {
        self.text.get(range).unwrap_or_default()
    }

    /// The span of a scalar's text without its anchor and tag before it, and without line ends and comments after it.
    fn scalar(&self, span: Span, style: ScalarStyle) -> Span {
        let mut span = match style {
            ScalarStyle::Literal | ScalarStyle::Folded => span,
            _ => self.without_properties(span),
        };
        let text = self.slice(span.start..span.end);
        span.end = span.start
            + match style {
                ScalarStyle::SingleQuoted => quoted_len(text, '\'', '\''),
                ScalarStyle::DoubleQuoted => quoted_len(text, '"', '\\'),
                _ => text.trim_end().len(),
            };
        span
    }

    /// The span without an anchor and a tag at its start.
    fn without_properties(&self, mut span: Span) -> Span {
        while self.slice(span.start..span.end).starts_with(['&', '!']) {
            let text = self.slice(span.start..span.end);
            let after = text
                .find(char::is_whitespace)
                .map_or("", |end| text.get(end..).unwrap_or_default());
            span.start = span.end - after.trim_start().len();
        }
        span
    }

    /// The diagnostics for what can't be expanded in a scalar, each at its `${…}` in the file.
    fn problems(&self, text: &str, span: Span, problems: Vec<env::Problem>) -> Vec<Diagnostic> {
        let (value, written) = (env::references(text), env::references(self.slice(span.start..span.end)));
        let locate = |range: &Range<usize>| {
            // Quotes and folds move the text about, but the references keep their order.
            let place = value
                .iter()
                .position(|one| one == range)
                .filter(|_| value.len() == written.len());
            let part = place.and_then(|place| written.get(place));
            part.map_or(span, |part| Span {
                start: span.start + part.start,
                end: span.start + part.end,
                ..span
            })
        };
        let diagnostic =
            |problem: env::Problem| Diagnostic::error(locate(&problem.range), problem.message).help(problem.help);
        problems.into_iter().map(diagnostic).collect()
    }

    fn syntax_error(&self, error: &ScanError) -> Fatal {
        let start = self.byte(error.marker().index());
        let rest = self.slice(start..self.text.len());
        let end = start
            + rest
                .chars()
                .next()
                .filter(|next| !next.is_control())
                .map_or(0, char::len_utf8);
        let span = Span {
            source: self.source,
            start,
            end,
        };
        let line_start = self.slice(0..start).rfind('\n').map_or(0, |newline| newline + 1);
        let line = self
            .slice(line_start..self.text.len())
            .lines()
            .next()
            .unwrap_or_default();
        let info = error.info();
        let mut diagnostic = Diagnostic::error(span, format!("not valid YAML: {info}"));
        for (applies, help) in [
            (info.contains("tab"), "indent with spaces"),
            (
                info.contains("unknown anchor"),
                "a string that starts with `*` must be quoted",
            ),
            (
                line.contains("${"),
                "within `{…}` or `[…]` a string with `${` must be quoted: \"${NAME}\"",
            ),
            (
                info.contains("mapping values are not allowed"),
                "a string that contains `: ` must be quoted",
            ),
            (
                rest.starts_with(['@', '`', '%']),
                "a string that starts with this character must be quoted",
            ),
            (
                info.contains("while parsing a block") || info.contains("simple key"),
                "all lines of one map or list must start in the same column",
            ),
        ] {
            if applies {
                diagnostic = diagnostic.help(help);
            }
        }
        diagnostic.into()
    }
}

/// The length of the quoted text at the start of `text`. In it `escape` takes away the meaning of the letter after it; in
/// single quotes a quote escapes a quote.
fn quoted_len(text: &str, quote: char, escape: char) -> usize {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        let next_is_quote = letters.peek().is_some_and(|(_, next)| *next == quote);
        if letter == escape && (escape != quote || next_is_quote) {
            letters.next();
        } else if letter == quote {
            return at + 1;
        }
    }
    text.len()
}

fn char_starts(text: &str) -> Vec<u32> {
    if text.is_ascii() {
        return Vec::new();
    }
    text.char_indices()
        .map(|(start, _)| u32::try_from(start).unwrap_or(u32::MAX))
        .collect()
}

/// Control characters can't stand in YAML (1.2.2, section 5.1), and the parser would take a NUL for the end.
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
