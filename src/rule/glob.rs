//! Globs of literals, `*`, `?` and `**`, matched as they are typed: compiling a regular expression for each would take most of the
//! time and memory that loading many rules needs.

/// A glob that needs no regular expression.
#[derive(Debug, Clone)]
pub struct Glob {
    pattern: Box<str>,
    /// Whether `*` and `?` stay within a segment, and a whole segment `**` stands for any number of them.
    segments: bool,
}

impl Glob {
    /// A glob over a path; `None` if it needs a regular expression. `**` must be a whole segment.
    pub fn of_path(pattern: &str) -> Option<Glob> {
        let segments = pattern
            .split('/')
            .all(|segment| segment == "**" || !segment.contains("**"));
        // globset gives one before an empty segment, or another `**`, a meaning of its own.
        let odd = ["**//", "**/**"].iter().any(|odd| pattern.contains(odd)) || pattern.ends_with("**/");
        let simple = segments && !odd && pattern != "**";
        Glob::new(pattern, simple, true)
    }

    /// A glob over a text without segments; `None` if it needs a regular expression.
    pub fn of_text(pattern: &str) -> Option<Glob> {
        // globset gives `**` beside a slash a meaning of its own.
        Glob::new(pattern, !pattern.contains("**"), false)
    }

    fn new(pattern: &str, simple: bool, segments: bool) -> Option<Glob> {
        let pattern = (simple && !pattern.contains(['[', ']', '{', '}', '\\'])).then(|| pattern.into())?;
        Some(Glob { pattern, segments })
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        if self.segments {
            path_matches(&self.pattern, text)
        } else {
            text_matches(&self.pattern, text)
        }
    }

    /// The folder that a glob such as `/api/**` stands for, with all within it.
    pub fn folder(&self) -> Option<&str> {
        let folder = self.pattern.strip_suffix("/**").filter(|_| self.segments)?;
        (!folder.contains(['*', '?'])).then_some(folder)
    }

    /// The literal that every match begins with, and those that it contains further on.
    pub fn literals(&self) -> (Option<String>, Vec<String>) {
        // Any number of segments may be none: then the slash before or behind `**` is not in the text.
        let any_number = self.pattern.contains("**");
        let trimmed = |literal: &str| {
            let literal = if any_number { literal.trim_matches('/') } else { literal };
            literal.to_owned()
        };
        let mut literals = self.pattern.split(['*', '?']);
        let first = literals.next().unwrap_or_default();
        let prefix = if any_number { first.trim_end_matches('/') } else { first };
        let within = literals.map(trimmed).filter(|literal| !literal.is_empty());
        let prefix = Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty());
        (prefix, within.collect())
    }
}

/// Matches segment by segment. After a mismatch, the last `**` takes one more segment: going back further would find nothing
/// more, so the time is at most the product of both lengths.
fn path_matches(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    let mut last = None;
    loop {
        let before = path.clone();
        match (pattern.next(), path.next()) {
            (Some("**"), _) => {
                path = before;
                last = Some((pattern.clone(), path.clone()));
            }
            (None, None) => return true,
            (Some(segment), Some(text)) if text_matches(segment, text) => {}
            (Some(_), None) => return false,
            _ => {
                let Some((behind, rest)) = &mut last else { return false };
                // There is one left, as in the text that was just compared.
                rest.next();
                (pattern, path) = (behind.clone(), rest.clone());
            }
        }
    }
}

/// Matches letter by letter, with `*` for any number of letters and `?` for one. After a mismatch, the last `*` takes one more.
fn text_matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    let mut last = None;
    loop {
        let before = text.clone();
        match (pattern.next(), text.next()) {
            (Some('*'), _) => {
                text = before;
                last = Some((pattern.clone(), text.clone()));
            }
            (None, None) => return true,
            (Some(wanted), Some(letter)) if wanted == '?' || wanted == letter => {}
            (Some(_), None) => return false,
            _ => {
                let Some((behind, rest)) = &mut last else { return false };
                // There is one left, as in the text that was just compared.
                rest.next();
                (pattern, text) = (behind.clone(), rest.clone());
            }
        }
    }
}
