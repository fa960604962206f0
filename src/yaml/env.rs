//! Expands `${NAME}` and `${NAME:-default}` in the texts of a configuration.
//!
//! As in a shell, the default replaces a variable that is unset or empty, and may itself contain variables. `$${` is the
//! text `${`. The value of a variable is not expanded again, and can't add YAML structure.

use std::borrow::Cow;
use std::ops::Range;

/// Looks up an environment variable.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// How deep defaults may nest: `${A:-${B:-c}}` is two deep.
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
    /// Every `${…}` that is malformed, or that names an unset variable without a default.
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
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_name(name) {
            let help = "use `${NAME}` or `${NAME:-default}`; for a literal `${` write `$${`";
            return Err((
                format!("`{}` is not a valid variable name", shortened(reference)),
                help.into(),
            ));
        }
        let value = match ((self.lookup)(name), default) {
            (Some(value), _) if !value.is_empty() => value,
            (Some(value), None) => value,
            (None, None) => {
                return Err((
                    format!("the variable `{name}` is not set"),
                    format!("set it, or give a default: `${{{name}:-…}}`"),
                ));
            }
            (_, Some(_)) if depth >= MAX_DEPTH => {
                return Err((
                    "defaults are nested too deep".into(),
                    format!("use at most {MAX_DEPTH} levels"),
                ));
            }
            (_, Some(default)) => {
                let mut problems = Vec::new();
                let value = self.expand_within(default, depth + 1, &mut problems);
                match problems.into_iter().next() {
                    Some(problem) => return Err((problem.message, problem.help)),
                    None => value,
                }
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("shop".into()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${HOST}".into()),
            "_9" => Some("nine".into()),
            _ => None,
        }
    }

    /// `text` becomes the expected text, or each `${…}` listed has a problem with that message.
    fn check(text: &str, expect: Result<&str, &[(&str, &str)]>) {
        let got = Expander::new(&environment).expand(text).map(Cow::into_owned);
        let got = got.map_err(|problems| {
            problems
                .into_iter()
                .map(|one| (text[one.range].to_owned(), one.message))
                .collect::<Vec<_>>()
        });
        let expect = expect.map(str::to_owned).map_err(|problems| {
            problems
                .iter()
                .map(|(part, message)| ((*part).to_owned(), (*message).to_owned()))
                .collect::<Vec<_>>()
        });
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn expansion() {
        check("plain $HOST {x} $", Ok("plain $HOST {x} $"));
        check("http://${HOST}:${PORT:-80}/", Ok("http://shop:80/"));
        check("${EMPTY}|${EMPTY:-x}|${NONE:-}", Ok("|x|"));
        check("${NONE:-${ALSO:-${HOST}}}!", Ok("shop!"));
        check("${NONE:-a:-b}", Ok("a:-b"));
        check("${NONE:-{x}", Ok("{x"));
        check("$${HOST} ${HOST} $$ $$${HOST}", Ok("${HOST} shop $$ $${HOST}"));
        check("${TRICK}", Ok("${HOST}"));
        check("${_9}", Ok("nine"));
        check("ü${HOST}ü", Ok("üshopü"));
    }

    #[test]
    fn problems() {
        check(
            "a ${NONE} ${HOST} ${OTHER}",
            Err(&[
                ("${NONE}", "the variable `NONE` is not set"),
                ("${OTHER}", "the variable `OTHER` is not set"),
            ]),
        );
        check("a ${HOST", Err(&[("${HOST", "`${` is not closed with `}`")]));
        check("${9}", Err(&[("${9}", "`${9}` is not a valid variable name")]));
        check("${}", Err(&[("${}", "`${}` is not a valid variable name")]));
        check("${A-b}", Err(&[("${A-b}", "`${A-b}` is not a valid variable name")]));
        check(
            "${NONE:-${MORE}}",
            Err(&[("${NONE:-${MORE}}", "the variable `MORE` is not set")]),
        );
        let deep = "${A:-".repeat(12) + &"}".repeat(12);
        check(&deep, Err(&[(&deep, "defaults are nested too deep")]));
    }

    #[test]
    fn bounded() {
        let long = |_: &str| Some("x".repeat(1 << 20));
        let mut expander = Expander::new(&long);
        assert_eq!(expander.expand(&"${X}".repeat(16)).unwrap().len(), 16 << 20);
        assert!(expander.expand("${X}").unwrap_err()[0].message.contains("16 MiB"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[$}{:A-Cö-]{0,24}|\\PC*") {
            let _ = Expander::new(&environment).expand(&text);
        }

        #[test]
        fn escaped_text_comes_back(text in "[$}{:A-Cö-]{0,24}") {
            let escaped = text.replace("${", "$${");
            prop_assert_eq!(Expander::new(&environment).expand(&escaped).unwrap(), text);
        }
    }
}
