//! Changes of a body by a rewrite: a replacement, or an edit by regular expressions and JSON patches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use regex::bytes::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::patch::{self, Operation, OperationSpec};
use crate::fault::content::{self, Content};
use crate::fault::context::Context;
use crate::limits::bodies::{Budget, Full, Unwritten, Writing};
use crate::yaml::units::ByteSize;

/// The default of `limit`.
pub const DEFAULT_LIMIT: usize = 1 << 20;
/// The largest `limit`, and the largest body that a rewrite may make, in bytes.
pub const MAX_LIMIT: usize = 64 << 20;

/// The longest time that one search and replace may take.
const LONGEST: Duration = Duration::from_secs(2);

/// `{find: REGEX, with: TEXT}`: each match is replaced by the text, in which `$1` and `$name` stand for the match's
/// groups.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceSpec {
    /// A regular expression over the body's bytes (RE2 syntax); `(?s)`, `(?i)` and such stand in front.
    pub find: String,
    /// The replacement. `$1` and `$name` are the match's groups, `$0` is all of it, `$$` is a dollar. Where a letter or
    /// digit follows, the group's name is put in braces, and since `${…}` is a variable of the configuration, that is
    /// written `$${1}`.
    pub with: String,
}

/// The settings that concern one body.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodySpec<'a> {
    pub(super) body: Option<&'a str>,
    pub(super) json: Option<&'a serde_json::Value>,
    pub(super) file: Option<&'a str>,
    pub(super) replace: &'a [ReplaceSpec],
    pub(super) json_patch: &'a [OperationSpec],
}

/// A compiled change of a body.
#[derive(Debug)]
pub enum BodyChange {
    /// Replace it.
    Whole(Content),
    /// Edit it: first text, then JSON.
    Edit(Edit),
}

/// Edits of a body.
#[derive(Debug)]
pub struct Edit {
    replace: Vec<(Regex, Arc<str>)>,
    patch: Vec<Operation>,
}

impl BodySpec<'_> {
    /// Compiles the settings; `None` if there are none.
    pub(super) fn compile(&self, context: &Context<'_>) -> Result<Option<BodyChange>, String> {
        let whole = content::given(self.body, self.json, self.file, context)?;
        if whole.is_some() && !(self.replace.is_empty() && self.json_patch.is_empty()) {
            return Err(
                "a whole new body can't be combined with changes to it: give one of `body`, `json`, `file`, or \
                `replace` and `json_patch`"
                    .into(),
            );
        }
        if let Some(content) = whole {
            return Ok(Some(BodyChange::Whole(content)));
        }
        let edit = Edit {
            replace: self
                .replace
                .iter()
                .map(ReplaceSpec::compile)
                .collect::<Result<_, _>>()?,
            patch: patch::compile(self.json_patch)?,
        };
        let empty = edit.replace.is_empty() && edit.patch.is_empty();
        Ok((!empty).then_some(BodyChange::Edit(edit)))
    }
}

impl ReplaceSpec {
    fn compile(&self) -> Result<(Regex, Arc<str>), String> {
        if self.find.is_empty() {
            return Err("`find` is empty: it would match everywhere".into());
        }
        let regex = Regex::new(&self.find).map_err(|error| {
            format!(
                "`find: {}` is not a valid regular expression: {}",
                self.find,
                brief(&error)
            )
        })?;
        for group in groups(&self.with) {
            let known = match group.parse::<usize>() {
                Ok(number) => number < regex.captures_len(),
                Err(_) => regex.capture_names().flatten().any(|name| name == group),
            };
            if !known {
                return Err(format!(
                    "`with: {}` refers to a group `{group}` that `find` does not have; `$${{1}}` \
                     separates a number from what follows, and `$$` is a dollar",
                    self.with
                ));
            }
        }
        Ok((regex, Arc::from(self.with.as_str())))
    }
}

impl BodyChange {
    /// Whether the change replaces the body, so that the old one does not matter.
    pub fn is_whole(&self) -> bool {
        matches!(self, BodyChange::Whole(_))
    }
}

impl Edit {
    /// Returns the new body, and counts what is made on the way there. Blocks for about 10 ms per megabyte, and for no more than
    /// two seconds beyond a single search.
    ///
    /// # Errors
    /// The reason why the body stays unchanged: one of [`crate::metrics::SKIP_REASONS`].
    pub fn apply(&self, body: &Bytes, budget: &Budget) -> Result<Bytes, &'static str> {
        let mut new = None;
        for (regex, with) in &self.replace {
            let old = new.as_ref().unwrap_or(body);
            if let Some(replaced) = replace(regex, with, old, budget)? {
                new = Some(replaced);
            }
        }
        if self.patch.is_empty() {
            return new.ok_or("no match");
        }
        patch::apply(&self.patch, new.as_ref().unwrap_or(body), budget)
    }

    /// The numbers of replacements and of JSON patch operations.
    pub fn parts(&self) -> (usize, usize) {
        (self.replace.len(), self.patch.len())
    }
}

/// Checks the limit: 1 byte to 64 MiB.
pub(crate) fn limit(limit: Option<ByteSize>) -> Result<usize, String> {
    let Some(limit) = limit else {
        return Ok(DEFAULT_LIMIT);
    };
    usize::try_from(limit.get())
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| format!("`limit: {limit}` is out of range: use 1B to 64MiB"))
}

/// Replaces all matches, within [`MAX_LIMIT`] and [`LONGEST`]. `None` if there is none.
fn replace(regex: &Regex, with: &str, body: &[u8], budget: &Budget) -> Result<Option<Bytes>, &'static str> {
    let mut new = Writing::new(budget, MAX_LIMIT);
    let mut copied = 0;
    let mut any = false;
    // All matches of a body can take time that grows with the square of its length, unlike a single one.
    let deadline = Instant::now() + LONGEST;
    for captures in regex.captures_iter(body) {
        let Some(found) = captures.get(0) else { continue };
        let append = |new: &mut Vec<u8>| {
            new.extend_from_slice(body.get(copied..found.start()).unwrap_or_default());
            captures.expand(with.as_bytes(), new);
        };
        if !any {
            new.reserve(body.len());
            any = true;
        }
        new.append(append).map_err(reason)?;
        copied = found.end();
        if Instant::now() > deadline {
            return Err("replacing took too long");
        }
    }
    if !any {
        return Ok(None);
    }
    new.append(|new| new.extend_from_slice(body.get(copied..).unwrap_or_default()))
        .map_err(reason)?;
    Ok(Some(new.finish()))
}

/// Why a fault is skipped whose new body can't be written.
pub(super) fn reason(error: Unwritten) -> &'static str {
    match error {
        Unwritten::TooLarge => "body too large",
        Unwritten::Full(_) => Full::REASON,
    }
}

/// The groups that a replacement refers to, parsed as the regex crate does: the longest run of letters, digits and `_`
/// after a dollar, or the text in braces.
fn groups(with: &str) -> Vec<&str> {
    let mut groups = Vec::new();
    let mut rest = with;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
        } else if let Some((group, after)) = after.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            groups.push(group);
            rest = after;
        } else {
            let end = after
                .find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
                .unwrap_or(after.len());
            let (group, after) = after.split_at(end);
            if !group.is_empty() {
                groups.push(group);
            }
            rest = after;
        }
    }
    groups
}

/// The last line of a regex error, which says what is wrong.
fn brief(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default().trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests;
