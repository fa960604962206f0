//! One issue: a function of the seed and its number, of which nothing is kept.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::rules::{FIRST_RULE, RULES, Rule, SEVERITIES, VULNERABILITY};
use super::world::{FILES_EACH, FIRST_ANALYSIS, LAST_ANALYSIS, Project, World, key_of};
use crate::draw::below;
use crate::fake::made_up::words;

/// What is drawn for an issue.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Attribute {
    Key,
    Project,
    Rule,
    File,
    Line,
    Columns,
    Status,
    Resolution,
    Author,
    Assignee,
    Effort,
    Updated,
    Name,
    Flow,
    Hash,
}

/// One issue. Each attribute is drawn when it is asked for.
#[derive(Clone, Copy)]
pub(super) struct Issue<'a> {
    pub(super) world: &'a World,
    pub(super) index: u32,
}

impl<'a> Issue<'a> {
    fn draw(self, attribute: Attribute) -> u64 {
        let [a, b, c, d] = self.index.to_le_bytes();
        xxh3_64_with_seed(&[a, b, c, d, attribute as u8], self.world.seed)
    }

    fn below(self, attribute: Attribute, end: usize) -> usize {
        below(self.draw(attribute), end as u64) as usize
    }

    pub(super) fn key(self) -> String {
        let first = self.draw(Attribute::Key).to_be_bytes().into_iter().take(6);
        let hidden = (self.index ^ self.world.mask()).to_be_bytes();
        key_of(first.chain(hidden).chain(self.draw(Attribute::Hash).to_be_bytes()))
    }

    /// Its place in [`SEVERITIES`]: each has as many issues as the others, so that a pull can be sliced by it.
    pub(super) fn severity(self) -> usize {
        self.index as usize % SEVERITIES.len()
    }

    /// Its place in [`RULES`].
    pub(super) fn rule_index(self) -> usize {
        self.below(Attribute::Rule, RULES.len())
    }

    pub(super) fn rule(self) -> &'static Rule {
        RULES.get(self.rule_index()).unwrap_or(FIRST_RULE)
    }

    /// Its place in [`super::rules::TYPES`]. Later versions list hotspots elsewhere.
    pub(super) fn kind(self) -> usize {
        let kind = usize::from(self.rule().kind);
        if self.world.current {
            kind.min(VULNERABILITY)
        } else {
            kind
        }
    }

    pub(super) fn project_index(self) -> usize {
        self.below(Attribute::Project, self.world.projects.len())
    }

    pub(super) fn project(self) -> Option<&'a Project> {
        self.world.projects.get(self.project_index())
    }

    /// Its place among the project's files.
    pub(super) fn file(self) -> usize {
        usize::from(self.rule().language) * FILES_EACH + self.below(Attribute::File, FILES_EACH)
    }

    pub(super) fn path(self) -> &'a str {
        let files = self
            .project()
            .map(|project| project.files.as_slice())
            .unwrap_or_default();
        files.get(self.file()).map(String::as_str).unwrap_or_default()
    }

    /// From 1; a few issues are about the file as a whole.
    pub(super) fn line(self) -> Option<u32> {
        let drawn = self.below(Attribute::Line, 620);
        u32::try_from(drawn).ok().filter(|line| (1..=600).contains(line))
    }

    /// Where it begins and ends in its line.
    pub(super) fn columns(self) -> (u32, u32) {
        let drawn = self.draw(Attribute::Columns);
        let (start, length) = ((drawn % 40) as u32, (drawn >> 32) as u32 % 60 + 1);
        (start, start + length)
    }

    /// Its place in [`super::rules::STATUSES`].
    pub(super) fn status(self) -> usize {
        match self.below(Attribute::Status, 100) {
            0..60 => 0,
            60..68 => 1,
            68..72 => 2,
            72..85 => 3,
            _ => 4,
        }
    }

    /// Its place in [`super::rules::RESOLUTIONS`].
    pub(super) fn resolution(self) -> Option<usize> {
        let drawn = self.below(Attribute::Resolution, 100);
        match (self.status(), drawn) {
            (3, 0..30) => Some(0),
            (3, 30..55) => Some(1),
            (3, _) => Some(2),
            (4, 0..85) => Some(2),
            (4, _) => Some(3),
            _ => None,
        }
    }

    /// What later versions make of status and resolution: its place in [`super::rules::ISSUE_STATUSES`].
    pub(super) fn issue_status(self) -> usize {
        match (self.status(), self.resolution()) {
            (_, Some(0)) => 2,
            (_, Some(1)) => 3,
            (_, Some(_)) => 4,
            (1, None) => 1,
            _ => 0,
        }
    }

    pub(super) fn author(self) -> usize {
        self.below(Attribute::Author, self.world.authors.len())
    }

    /// The person that it is assigned to, if any; two of five issues are unassigned.
    pub(super) fn assignee(self) -> Option<usize> {
        let drawn = self.below(Attribute::Assignee, self.world.assignees() * 5 / 3);
        (drawn < self.world.assignees()).then_some(drawn)
    }

    /// Minutes.
    pub(super) fn effort(self) -> u32 {
        let least = u32::from(self.rule().effort);
        let times = u32::try_from(self.below(Attribute::Effort, 4)).unwrap_or_default();
        least + least * times / 3
    }

    /// Seconds since 1970. Later issues were created earlier: the order of indexes is that of a search.
    pub(super) fn created(self) -> i64 {
        let span = LAST_ANALYSIS.unix_timestamp() - FIRST_ANALYSIS.unix_timestamp();
        LAST_ANALYSIS.unix_timestamp() - span * i64::from(self.index) / i64::from(self.world.issues.max(1))
    }

    pub(super) fn updated(self) -> i64 {
        let since = usize::try_from(LAST_ANALYSIS.unix_timestamp() - self.created()).unwrap_or_default();
        let passed = self.below(Attribute::Updated, since + 1);
        self.created() + i64::try_from(passed).unwrap_or_default()
    }

    pub(super) fn closed(self) -> Option<i64> {
        (self.status() == 4).then(|| self.updated())
    }

    pub(super) fn message(self) -> String {
        let name = words::THINGS.get(self.below(Attribute::Name, words::THINGS.len()));
        self.rule()
            .message
            .replace("{}", &name.map(|name| name.0.replace(' ', "_")).unwrap_or_default())
    }

    /// The line of a second place in the same file, for one issue in ten.
    pub(super) fn other_line(self) -> Option<u32> {
        let drawn = u32::try_from(self.below(Attribute::Flow, 6000)).unwrap_or_default();
        (1..=600).contains(&drawn).then_some(drawn)
    }

    /// 32 digits, as of the text of its line.
    pub(super) fn hash(self) -> String {
        format!("{:016x}{:016x}", self.draw(Attribute::Hash), self.draw(Attribute::Line))
    }
}
