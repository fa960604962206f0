//! Converts the parser's character counts to byte spans of the file, and reports errors at them.

use std::ops::Range;

use saphyr_parser::{ScalarStyle, ScanError};

use crate::yaml::env;
use crate::yaml::report::{Diagnostic, SourceId, Span};

/// Converts the parser's character counts to byte offsets.
pub(super) struct Places<'a> {
    source: SourceId,
    text: &'a str,
    /// The number of bytes before the parser's input: those of a byte order mark.
    offset: usize,
    /// The byte offset of each character; empty if all characters are single bytes.
    starts: Vec<u32>,
}

impl<'a> Places<'a> {
    /// Prepares a file. Also returns the text for the parser, without a byte order mark.
    pub(super) fn new(source: SourceId, text: &'a str) -> (Self, &'a str) {
        let body = text.strip_prefix('\u{feff}').unwrap_or(text);
        let places = Places {
            source,
            text,
            offset: text.len() - body.len(),
            starts: char_starts(body),
        };
        (places, body)
    }

    /// The span between two of the parser's character counts.
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
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

    /// The span of a scalar's text, without an anchor and tag before it or line ends and comments after it.
    pub(super) fn scalar(&self, span: Span, style: ScalarStyle) -> Span {
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
    pub(super) fn without_properties(&self, mut span: Span) -> Span {
        while self.slice(span.start..span.end).starts_with(['&', '!']) {
            let text = self.slice(span.start..span.end);
            let after = text
                .find(char::is_whitespace)
                .map_or("", |end| text.get(end..).unwrap_or_default());
            span.start = span.end - after.trim_start().len();
        }
        span
    }

    /// The diagnostics for failed expansions in a scalar, each at its `${…}` in the file.
    pub(super) fn problems(&self, text: &str, span: Span, problems: Vec<env::Problem>) -> Vec<Diagnostic> {
        let (value, written) = (env::references(text), env::references(self.slice(span.start..span.end)));
        let locate = |range: &Range<usize>| {
            // Quotes and folds shift the text, but the references keep their order.
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

    /// The diagnostic of a syntax error, with help for likely causes.
    pub(super) fn syntax_error(&self, error: &ScanError) -> Diagnostic {
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
        if let Some(word) = braced_word(line, start - line_start) {
            let help = format!("within `{{…}}` or `[…]` a string with brackets must be quoted: \"{word}\"");
            diagnostic = diagnostic.help(help);
        }
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
        diagnostic
    }
}

/// The word of a line around a bracket within it, as in `/users/{id}`; `None` if a bracket at this place begins a map or a list,
/// or follows a `$`.
fn braced_word(line: &str, at: usize) -> Option<&str> {
    let (before, rest) = line.split_at_checked(at)?;
    let begin = before
        .rfind(|letter: char| letter.is_whitespace() || "{[,\"'".contains(letter))
        .map_or(0, |found| found + 1);
    let is_within = |word: &&str| !word.is_empty() && !word.ends_with(['$', ':']);
    let word = before.get(begin..).filter(is_within)?;
    rest.strip_prefix(['{', '['])?;
    let mut depth = 0_usize;
    for (place, letter) in rest.char_indices() {
        match letter {
            '{' | '[' => depth += 1,
            '}' | ']' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            '}' | ']' | ',' => return line.get(at - word.len()..at + place),
            _ if letter.is_whitespace() => return line.get(at - word.len()..at + place),
            _ => {}
        }
    }
    (depth == 0).then(|| line.get(at - word.len()..))?
}

/// The length of the quoted text at the start of `text`. `escape` escapes the character after it; in single quotes, a quote
/// escapes a quote.
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
