//! Compiled patterns for text, made from [`TextSpec`]: comparisons, globs and regular expressions.

use globset::GlobBuilder;
use regex::{Regex, RegexBuilder};

use super::glob::Glob;
use crate::rule::spec::TextSpec;

/// The largest compiled regular expression, in bytes.
const MAX_REGEX: usize = 1 << 20;

/// A compiled pattern for text.
#[derive(Debug, Clone)]
pub enum Text {
    /// The whole text.
    Exact(Box<str>),
    /// How the text begins.
    Prefix(Box<str>),
    /// How the text ends.
    Suffix(Box<str>),
    /// A part of the text.
    Contains(Box<str>),
    /// A glob of literals, `*`, `?` and `**`.
    Glob(Glob),
    /// A regular expression, or any other glob turned into one.
    Regex(Box<Regex>),
}

/// Where a pattern is used, which decides what a plain string and a `*` mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A path: plain strings are globs, `*` stays within a segment.
    Path,
    /// A host: plain strings are globs, `*` crosses dots, case does not matter.
    Host,
    /// A field's value: plain strings are exact.
    Value,
}

impl Text {
    /// Compiles a pattern for its place.
    pub fn compile(spec: &TextSpec, place: Place) -> Result<Text, String> {
        let lower = |text: &str| match place {
            Place::Host => text.to_ascii_lowercase(),
            _ => text.to_owned(),
        };
        let boxed = |text: &str| lower(text).into_boxed_str();
        match place {
            Place::Path => check_path(spec)?,
            Place::Host => check_host(spec)?,
            Place::Value => {}
        }
        Ok(match spec {
            TextSpec::Plain(text) if place == Place::Value => Text::Exact(boxed(text)),
            TextSpec::Plain(text) | TextSpec::Glob(text) => glob(&lower(text), place)?,
            TextSpec::Exact(text) => Text::Exact(boxed(text)),
            TextSpec::Prefix(text) => Text::Prefix(boxed(text)),
            TextSpec::Suffix(text) => Text::Suffix(boxed(text)),
            TextSpec::Contains(text) => Text::Contains(boxed(text)),
            TextSpec::Regex(text) => Text::Regex(Box::new(regex(text, place)?)),
        })
    }

    /// Whether `text` matches the pattern.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Text::Exact(pattern) => text == &**pattern,
            Text::Prefix(pattern) => text.starts_with(&**pattern),
            Text::Suffix(pattern) => text.ends_with(&**pattern),
            Text::Contains(pattern) => text.contains(&**pattern),
            Text::Glob(pattern) => pattern.matches(text),
            Text::Regex(pattern) => pattern.is_match(text),
        }
    }
}

/// Refuses patterns that can match no path: paths are matched decoded, and begin with a slash.
fn check_path(spec: &TextSpec) -> Result<(), String> {
    let text = spec.text();
    let whole = matches!(
        spec,
        TextSpec::Plain(_) | TextSpec::Exact(_) | TextSpec::Prefix(_) | TextSpec::Glob(_)
    );
    if let Some((_, rest)) = text.split_once("://").filter(|_| whole) {
        let (host, path) = rest
            .find('/')
            .and_then(|at| rest.split_at_checked(at))
            .unwrap_or((rest, "/"));
        return Err(format!(
            "a path is matched without its host: use `path: {path}` with `host: {host}`"
        ));
    }
    if whole && !text.starts_with(['/', '*', '{', '[', '?']) {
        return Err(if looks_like_regex(text) {
            use_regex(text)
        } else {
            format!("a path must start with `/`: use `/{text}`")
        });
    }
    if matches!(spec, TextSpec::Regex(_)) {
        return Ok(());
    }
    if let Some((path, query)) = text.split_once('?')
        && let Some((name, value)) = query.split_once('=')
    {
        return Err(format!(
            "a path is matched without its query: use `path: {path}` with `query: {{{name}: {value}}}`"
        ));
    }
    let protected = text.replace("%2F", "%252F").replace("%2f", "%252F");
    let decoded = percent_encoding::percent_decode_str(&protected).decode_utf8_lossy();
    if decoded == text {
        Ok(())
    } else {
        Err(format!(
            "paths are matched percent-decoded (except %2F): use `{decoded}`"
        ))
    }
}

/// Refuses patterns that can match no host: a host has neither a scheme nor a path.
pub(super) fn check_host(spec: &TextSpec) -> Result<(), String> {
    let text = spec.text();
    let is_regex = matches!(spec, TextSpec::Regex(_));
    if !text.contains(if is_regex { "://" } else { "/" }) {
        return Ok(());
    }
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let and = if path.is_empty() || is_regex {
        String::new()
    } else {
        format!(" with `path: /{path}`")
    };
    Err(if host.is_empty() || is_regex {
        "a host is matched without scheme and path: use a pattern such as `shop.example:8080`".to_owned()
    } else {
        format!("a host is matched without scheme and path: use `host: {host}`{and}")
    })
}

/// Whether a text has what regular expressions have and globs hardly ever.
fn looks_like_regex(text: &str) -> bool {
    let any = text.replace("*.*", "");
    text.starts_with('^')
        || text.ends_with('$')
        || [".*", ".+", "\\d", "\\w", "\\.", "(?", "|", "[^/]"]
            .iter()
            .any(|part| any.contains(part))
}

/// What a path pattern that looks like a router's is taken for: `/users/{id}`, `/users/:id`.
pub fn path_hint(spec: &TextSpec) -> Option<String> {
    if matches!(spec, TextSpec::Regex(_)) {
        return None;
    }
    let is_parameter = |segment: &&str| {
        let braced = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let name = braced.or_else(|| segment.strip_prefix(':'));
        name.is_some_and(|name| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_'))
    };
    let text = spec.text();
    if matches!(spec, TextSpec::Plain(_)) && text.starts_with('/') && looks_like_regex(text) {
        return Some(use_regex(text));
    }
    let segments: Vec<&str> = text.split('/').collect();
    let parameter = segments.iter().find(|segment| is_parameter(segment))?;
    let glob = segments
        .iter()
        .map(|segment| if is_parameter(segment) { "*" } else { segment });
    let glob = glob.collect::<Vec<_>>().join("/");
    Some(format!(
        "`{parameter}` matches only itself, not any segment: use the glob `{glob}`"
    ))
}

/// Says to write a path as a regular expression, for the whole path as it is elsewhere.
fn use_regex(text: &str) -> String {
    let begin = if text.starts_with('^') { "" } else { "^" };
    let end = if text.ends_with('$') { "" } else { "$" };
    format!(
        "a plain path is a glob, and this looks like a regular expression: use `path: {{regex: \"{begin}{text}{end}\"}}`"
    )
}

fn regex(text: &str, place: Place) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(text);
    builder.size_limit(MAX_REGEX);
    if place == Place::Host {
        // The flag is part of the pattern, so that it also applies where the pattern is parsed again (`literals`).
        builder = RegexBuilder::new(&format!("(?i:{text})"));
        builder.size_limit(MAX_REGEX);
    }
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "this regular expression is too large once compiled (1 MiB)".to_owned(),
        other => {
            let lines = other.to_string();
            let reason = lines
                .lines()
                .last()
                .unwrap_or("")
                .trim()
                .trim_start_matches("error: ")
                .to_owned();
            format!("not a valid regular expression: {reason}")
        }
    })
}

/// Compiles a glob: `*` and `?` match within a segment, `**` across segments; also `{a,b}` and `[abc]`. A final `/**` also
/// matches the folder itself.
fn glob(text: &str, place: Place) -> Result<Text, String> {
    if !text.contains(['*', '?', '[', ']', '{', '}', '\\']) {
        return Ok(Text::Exact(text.into()));
    }
    let simple = match place {
        Place::Path => Glob::of_path(text),
        Place::Host | Place::Value => Glob::of_text(text),
    };
    match simple {
        Some(glob) => Ok(Text::Glob(glob)),
        None => complex_glob(text, place).map(|regex| Text::Regex(Box::new(regex))),
    }
}

/// A glob with alternatives, classes or escapes, turned into a regular expression.
fn complex_glob(text: &str, place: Place) -> Result<Regex, String> {
    if let Some(folder) = text.strip_suffix("/**").filter(|_| place == Place::Path) {
        let inner = if folder.is_empty() {
            String::new()
        } else {
            glob_regex(folder, place)?
        };
        return regex(&format!("(?s)^{inner}(?:/.*)?$"), Place::Value);
    }
    let inner = glob_regex(text, place)?;
    regex(&format!("(?s)^{inner}$"), Place::Value)
}

/// The regular expression of a glob, without flags and anchors.
fn glob_regex(text: &str, place: Place) -> Result<String, String> {
    let glob = GlobBuilder::new(text)
        .literal_separator(place == Place::Path)
        .backslash_escape(true)
        .build()
        .map_err(|error| format!("not a valid glob: {}", error.kind()))?;
    let full = glob.regex();
    let bare = full.strip_prefix("(?-u)^").and_then(|rest| rest.strip_suffix('$'));
    bare.map(characters).ok_or_else(|| format!("not a valid glob: {text}"))
}

/// Turns globset's escaped bytes, such as `\xc3\xa9` for `é`, into characters: globset matches bytes, squall characters.
fn characters(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut bytes = Vec::new();
    let mut rest = pattern;
    while !rest.is_empty() {
        let hex = rest.strip_prefix("\\x").and_then(|hex| hex.get(..2));
        let byte = hex
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .filter(|byte| !byte.is_ascii());
        if let Some(byte) = byte {
            bytes.push(byte);
            rest = rest.get(4..).unwrap_or("");
            continue;
        }
        text.push_str(&String::from_utf8_lossy(&std::mem::take(&mut bytes)));
        // Take escapes as a whole, so that the `x` in `\\x` does not begin one.
        let taken = if rest.starts_with('\\') { 2 } else { 1 };
        let end = rest.char_indices().nth(taken).map_or(rest.len(), |(at, _)| at);
        let (head, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        text.push_str(head);
        rest = tail;
    }
    text.push_str(&String::from_utf8_lossy(&bytes));
    text
}

/// Literals that every match of a pattern contains: the one at its beginning, if it is anchored, and the others. Taken from
/// the outermost sequence of the parsed expression.
pub fn literals(pattern: &str) -> (Option<String>, Vec<String>) {
    use regex_syntax::hir::{HirKind, Look};
    let Ok(hir) = regex_syntax::parse(pattern) else {
        return (None, Vec::new());
    };
    let parts = match hir.kind() {
        HirKind::Concat(parts) => parts.as_slice(),
        _ => std::slice::from_ref(&hir),
    };
    let anchored = matches!(
        parts.first().map(regex_syntax::hir::Hir::kind),
        Some(HirKind::Look(Look::Start))
    );
    let mut prefix = None;
    let mut within = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        // A literal that is not valid UTF-8 can't be filed, and is left out.
        let HirKind::Literal(literal) = part.kind() else {
            continue;
        };
        let Ok(text) = std::str::from_utf8(&literal.0) else {
            continue;
        };
        if anchored && at == 1 {
            prefix = Some(text.to_owned())
        } else {
            within.push(text.to_owned())
        }
    }
    (prefix, within)
}

#[cfg(test)]
mod tests;
