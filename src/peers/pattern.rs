//! Comparisons in the words of other tools: `equalTo`, `safe_regex`, `{exact: a}`, `invert_match`.

use super::value::{entries, first, flow, is_true, items, map, plain, quoted, text};
use crate::yaml::tree::{Node, Value};

/// A comparison in squall's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// The kind of the comparison, such as `prefix`; nothing for an exact text, `present` and `absent`.
    pub(super) kind: &'static str,
    /// The text, as a line has it.
    pub(super) text: String,
    /// Whether it must not hold.
    pub(super) inverted: bool,
}

/// What a comparison is about, which decides how an exact text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// A path or a host: a plain text is a glob.
    Glob,
    /// The value of a field: a plain text is exact.
    Field,
}

impl Pattern {
    fn new(kind: &'static str, text: String) -> Self {
        Self {
            kind,
            text,
            inverted: false,
        }
    }

    /// The comparison with a whole text by a regular expression, as all tools but squall mean it.
    fn regex(text: &str) -> Self {
        Self::new("regex", quoted(&whole(text)))
    }

    /// The comparison as it stands in `match`.
    pub(super) fn line(&self, of: Of) -> String {
        let is_literal = match of {
            Of::Glob => !self.text.contains(['*', '?', '[', '{', '^', '\\']),
            Of::Field => !matches!(&*self.text, "present" | "absent"),
        };
        match self.kind {
            "" => self.text.clone(),
            "exact" if is_literal => self.text.clone(),
            kind => map([(kind, self.text.clone())]),
        }
    }
}

/// The comparison with a whole text by a regular expression.
pub(super) fn regex(text: &str) -> Pattern {
    Pattern::regex(text)
}

/// The comparison that any value meets.
pub(super) fn present() -> Pattern {
    Pattern::new("", "present".to_owned())
}

/// A path and everything below it, by whole segments: `/api/**` fits `/api`, too.
pub(super) fn below(path: &str) -> String {
    let path = path.trim_end_matches('/');
    if path.contains(['*', '?', '[', '{', '\\']) {
        map([("regex", quoted(&format!("^{}(/.*)?$", escaped(path))))])
    } else {
        quoted(&format!("{path}/**"))
    }
}

/// The whole numbers from `start` up to, but not including, `end`, if they are few.
fn range(value: &Node) -> Option<Pattern> {
    let bound = |word| first(value, &[word]).map_or(Some(0), |bound| bound.text()?.parse::<i64>().ok());
    let (start, end) = (bound("start")?, bound("end")?);
    let is_short = start >= 0 && end > start && end.checked_sub(start)? <= 20;
    let numbers: Vec<String> = (start..end).take(20).map(|number| number.to_string()).collect();
    is_short.then(|| Pattern::regex(&numbers.join("|")))
}

/// A regular expression that must fit the whole text.
fn whole(text: &str) -> String {
    let (start, end) = (text.starts_with('^'), text.ends_with('$'));
    match (start, end) {
        (true, true) => text.to_owned(),
        _ if text.contains('|') => format!("^(?:{})$", text.trim_start_matches('^').trim_end_matches('$')),
        (true, false) => format!("{text}$"),
        (false, true) => format!("^{text}"),
        (false, false) => format!("^{text}$"),
    }
}

/// Whether a word is one of squall's own comparisons.
pub(super) fn is_own(key: &str) -> bool {
    ["exact", "prefix", "suffix", "contains", "glob", "regex"].contains(&key)
}

/// The kind of comparison that a word stands for.
fn kind(key: &str) -> Option<&'static str> {
    Some(match &*plain(key) {
        "exact" | "equalto" | "equals" | "eq" | "is" | "exactmatch" | "equal" | "value" | "equaltoignorecase"
        | "string" | "iexact" => "exact",
        "prefix" | "prefixmatch" | "startswith" | "beginswith" | "pathprefix" => "prefix",
        "suffix" | "suffixmatch" | "endswith" => "suffix",
        "contains" | "containsmatch" | "includes" | "substring" => "contains",
        "regex" | "regexp" | "matches" | "pattern" | "saferegex" | "saferegexmatch" | "regexmatch" | "re" => "regex",
        "glob" | "wildcard" => "glob",
        _ => return None,
    })
}

/// The comparison that a key and its value say, such as `exact_match: beta`.
pub(super) fn of_key(key: &str, value: &Node) -> Option<Pattern> {
    let inverted = |pattern: Pattern| Pattern {
        inverted: !pattern.inverted,
        ..pattern
    };
    match &*plain(key) {
        "stringmatch" => return of(value),
        "doesnotmatch" | "notmatches" => return of_key("regex", value).map(inverted),
        "doesnotcontain" => return of_key("contains", value).map(inverted),
        "ne" | "notequal" | "notequals" | "notequalto" => return of_key("exact", value).map(inverted),
        "not" => return of(value).map(inverted),
        "presentmatch" | "present" | "exists" => {
            let word = if value.text() == Some("false") {
                "absent"
            } else {
                "present"
            };
            return Some(Pattern::new("", word.to_owned()));
        }
        "absent" | "missing" => return Some(Pattern::new("", "absent".to_owned())),
        "values" | "anyof" | "in" | "oneof" => return of(value),
        "rangematch" => return range(value),
        _ => {}
    }
    let kind = kind(key)?;
    let text = match &value.value {
        Value::Map(_) => entries(value).find(|(key, _)| self::kind(key) == Some("regex"))?.1,
        _ => value,
    };
    let pattern = match kind {
        "regex" => Pattern::regex(text.text()?),
        kind => Pattern::new(kind, flow(text)),
    };
    let ignores = matches!(&*plain(key), "equaltoignorecase" | "iexact");
    Some(if ignores { without_case(&pattern, text) } else { pattern })
}

fn looks_like_regex(text: &str) -> bool {
    [".*", ".+", "\\d", "\\w", "[0-9", "[a-z", "[^"]
        .iter()
        .any(|part| text.contains(part))
        || text.starts_with('^')
}

/// The text in the maps around it.
pub(super) fn plain_text(node: &Node) -> &Node {
    match entries(node).find(|(key, _)| kind(key).is_some()) {
        Some((_, inner)) => plain_text(inner),
        None => node,
    }
}

/// The comparison without regard to case.
pub(super) fn without_case(pattern: &Pattern, text: &Node) -> Pattern {
    let text = text.text().unwrap_or_default();
    let literal = escaped(text);
    let regex = match pattern.kind {
        "prefix" => format!("(?i)^{literal}"),
        "suffix" => format!("(?i){literal}$"),
        "contains" => format!("(?i){literal}"),
        "regex" => format!("(?i){}", whole(text)),
        _ => format!("(?i)^{literal}$"),
    };
    Pattern {
        kind: "regex",
        text: quoted(&regex),
        inverted: pattern.inverted,
    }
}

/// A text as a regular expression that fits it alone.
fn escaped(text: &str) -> String {
    let mut regex = String::new();
    for letter in text.chars() {
        if !letter.is_alphanumeric() && !matches!(letter, '/' | '_' | '-' | ' ') {
            regex.push('\\');
        }
        regex.push(letter);
    }
    regex
}

/// The comparison that a value says: a text, a list of texts, or a map with a word for the comparison.
pub(super) fn of(node: &Node) -> Option<Pattern> {
    match &node.value {
        Value::Map(_) => {
            // A path of the Gateway API.
            if let (Some("PathPrefix"), Some(path)) = (text(node, &["type"]), text(node, &["value"])) {
                return Some(Pattern::new("", below(path)));
            }
            let (key, value) = entries(node).find(|(key, value)| of_key(key, value).is_some())?;
            let mut pattern = of_key(key, value)?;
            let has = |words: &[&str]| {
                let mut flags = entries(node).filter(|(key, _)| words.contains(&&*plain(key)));
                flags.any(|(_, flag)| is_true(flag))
            };
            if has(&["ignorecase", "caseinsensitive"]) {
                pattern = without_case(&pattern, plain_text(value));
            }
            if has(&["invertmatch", "invert"]) {
                pattern.inverted = !pattern.inverted;
            }
            Some(pattern)
        }
        Value::Seq(_) => match items(node) {
            [] => Some(Pattern::new("", "present".to_owned())),
            [one] => of(one),
            several => {
                let texts: Option<Vec<String>> = several.iter().map(|item| item.text().map(escaped)).collect();
                Some(Pattern::regex(&texts?.join("|")))
            }
        },
        Value::Null | Value::Unusable => None,
        _ => match node.text() {
            // MockServer's `!value`.
            Some(text) if text.len() > 1 && text.starts_with('!') => Some(Pattern {
                inverted: true,
                ..Pattern::new("exact", quoted(text.trim_start_matches('!')))
            }),
            // MockServer has regular expressions for texts.
            Some(text) if looks_like_regex(text) => Some(Pattern::regex(text)),
            _ => Some(Pattern::new("exact", flow(node))),
        },
    }
}
