//! Expands `${NAME}` in the texts of a configuration, in the forms of compose files (Compose Specification, "Interpolation").
//!
//! | form | unset | empty | otherwise |
//! |---|---|---|---|
//! | `${NAME}` | an error | empty | the value |
//! | `${NAME:-text}` | the text | the text | the value |
//! | `${NAME-text}` | the text | empty | the value |
//! | `${NAME:?text}` | an error with the text | an error with the text | the value |
//! | `${NAME?text}` | an error with the text | empty | the value |
//! | `${NAME:+text}` | empty | empty | the text |
//! | `${NAME+text}` | empty | the text | the text |
//!
//! The text may itself contain variables; only the one that is used is looked at. `$${` is the text `${`. The value of a variable
//! is not expanded again, and can't add YAML structure.

use std::borrow::Cow;
use std::ops::Range;

/// Looks up an environment variable.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// How deep texts within `${…}` may nest: `${A:-${B:-c}}` is two deep.
const MAX_DEPTH: usize = 8;

/// The most bytes that expansion adds to one file.
pub const MAX_EXPANSION_BYTES: usize = 16 << 20;

/// A `${…}` that can't be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its range in the unexpanded text.
    pub range: Range<usize>,
    /// What is wrong with it.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

/// Expands texts with the variables of one environment, up to [`MAX_EXPANSION_BYTES`] in total.
pub struct Expander<'a> {
    lookup: &'a Lookup<'a>,
    bytes_left: usize,
}

impl<'a> Expander<'a> {
    /// Creates an expander for the environment of `lookup`.
    pub fn new(lookup: &'a Lookup<'a>) -> Self {
        Self {
            lookup,
            bytes_left: MAX_EXPANSION_BYTES,
        }
    }

    /// Replaces the variables in a text.
    ///
    /// # Errors
    /// Every `${…}` that is malformed, or that names a variable which has to be set and is not.
    pub fn expand<'t>(&mut self, text: &'t str) -> Result<Cow<'t, str>, Vec<Problem>> {
        if !text.contains("${") {
            return Ok(Cow::Borrowed(text));
        }
        let mut problems = Vec::new();
        let expanded = self.expand_within(text, 0, &mut problems);
        if problems.is_empty() {
            Ok(Cow::Owned(expanded))
        } else {
            Err(problems)
        }
    }

    fn expand_within(&mut self, text: &str, depth: usize, problems: &mut Vec<Problem>) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut done = 0;
        for range in references(text) {
            push_literal(&mut expanded, text.get(done..range.start).unwrap_or_default());
            let reference = text.get(range.clone()).unwrap_or_default();
            match self.replacement(reference, depth) {
                Ok(value) => expanded.push_str(&value),
                Err((message, help)) => problems.push(Problem {
                    range: range.clone(),
                    message,
                    help,
                }),
            }
            done = range.end;
        }
        push_literal(&mut expanded, text.get(done..).unwrap_or_default());
        expanded
    }

    /// The value of a `${…}`, or a message and a line of help.
    fn replacement(&mut self, reference: &str, depth: usize) -> Result<String, (String, String)> {
        let Some(inside) = reference.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
            return Err((
                "`${` is not closed with `}`".into(),
                "for a literal `${` write `$${`".into(),
            ));
        };
        let Some((name, form)) = parts(inside) else {
            let help = "use `${NAME}`, `${NAME:-default}`, `${NAME:?message}` or `${NAME:+text}`; for a literal `${` \
                        write `$${`";
            return Err((
                format!("`{}` is not a valid variable name", shortened(reference)),
                help.into(),
            ));
        };
        let known = (self.lookup)(name);
        let is_empty = known.as_ref().is_some_and(String::is_empty);
        // An empty variable counts as unset where the form has a colon.
        let set = known.filter(|value| !(value.is_empty() && form.is_some_and(|form| form.colon)));
        let state = if is_empty { "empty" } else { "not set" };
        let value = match (set, form) {
            (Some(_), Some(Form { sign: '+', text, .. })) | (None, Some(Form { sign: '-', text, .. })) => {
                self.inner(text, depth)?
            }
            (None, Some(Form { sign: '?', text, .. })) => {
                let message = self.inner(text, depth)?;
                let message = match message.trim() {
                    "" => String::new(),
                    message => format!(": {message}"),
                };
                return Err((format!("the variable `{name}` is {state}{message}"), "set it".into()));
            }
            (None, Some(_)) => String::new(),
            (Some(value), _) => value,
            (None, None) => {
                return Err((
                    format!("the variable `{name}` is not set"),
                    format!("set it, or give a default: `${{{name}:-…}}`"),
                ));
            }
        };
        match self.bytes_left.checked_sub(value.len()) {
            Some(left) => self.bytes_left = left,
            None => {
                return Err((
                    "the values of this file's variables are larger than 16 MiB".into(),
                    "use fewer variables".into(),
                ));
            }
        }
        Ok(value)
    }

    /// Expands the text within a `${…}`, or fails with the first of its problems.
    fn inner(&mut self, text: &str, depth: usize) -> Result<String, (String, String)> {
        if depth >= MAX_DEPTH {
            return Err((
                "defaults are nested too deep".into(),
                format!("use at most {MAX_DEPTH} levels"),
            ));
        }
        let mut problems = Vec::new();
        let value = self.expand_within(text, depth + 1, &mut problems);
        match problems.into_iter().next() {
            Some(problem) => Err((problem.message, problem.help)),
            None => Ok(value),
        }
    }
}

/// What follows the name in `${NAME:-text}`.
#[derive(Clone, Copy, Debug)]
struct Form<'a> {
    /// Whether an empty variable counts as unset.
    colon: bool,
    /// `-`, `?` or `+`.
    sign: char,
    text: &'a str,
}

/// The name in a `${…}` and what follows it; `None` if this is neither.
fn parts(inside: &str) -> Option<(&str, Option<Form<'_>>)> {
    let end = inside.find([':', '-', '?', '+']).unwrap_or(inside.len());
    let (name, rest) = inside.split_at_checked(end)?;
    if !is_name(name) {
        return None;
    }
    if rest.is_empty() {
        return Some((name, None));
    }
    let (colon, rest) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let sign = rest.chars().next().filter(|sign| ['-', '?', '+'].contains(sign))?;
    let text = rest.get(1..)?;
    Some((name, Some(Form { colon, sign, text })))
}

/// The ranges of all `${…}`, except escaped ones (`$${`) and those within another's default. An unclosed one extends to the
/// end.
pub fn references(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(offset) = text.get(from..).and_then(|rest| rest.find("${")) {
        let start = from + offset;
        if offset > 0 && text.get(..start).is_some_and(|before| before.ends_with('$')) {
            from = start + 2;
            continue;
        }
        let end = closing(text, start + 2);
        found.push(start..end);
        from = end;
    }
    found
}

/// The end of a reference whose content starts at `from`.
fn closing(text: &str, from: usize) -> usize {
    let mut open = 1_usize;
    let mut previous = ' ';
    for (offset, letter) in text.get(from..).unwrap_or_default().char_indices() {
        match letter {
            '{' if previous == '$' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return from + offset + 1;
        }
        previous = letter;
    }
    text.len()
}

/// Appends a part without references, in which only `$${` has a meaning.
fn push_literal(expanded: &mut String, literal: &str) {
    expanded.push_str(&literal.replace("$${", "${"));
}

/// Whether a name is valid in POSIX: letters, digits and underscores, not starting with a digit.
fn is_name(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(letters) && name.bytes().all(|byte| letters(byte) || byte.is_ascii_digit())
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 40 {
        text.to_owned()
    } else {
        text.chars().take(39).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests;
