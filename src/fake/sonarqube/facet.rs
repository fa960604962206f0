//! What issues are counted by, and mostly also selected by: one list of values each.

use smallvec::{SmallVec, smallvec};

use super::dates;
use super::issue::Issue;
use super::query::Query;
use super::rules::{
    IMPACT_SEVERITIES, ISSUE_STATUSES, LANGUAGES, QUALITIES, RESOLUTIONS, RULES, SEVERITIES, STATUSES, TAGS, TYPES,
};
use super::world::{FILES, FIRST_ANALYSIS, LAST_ANALYSIS, World, file_uuid};

/// A facet. Its values are numbered from 0 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Facet {
    Severities,
    Statuses,
    Resolutions,
    /// By key.
    Projects,
    ProjectUuids,
    /// A project without modules is its own.
    ModuleUuids,
    Rules,
    Assignees,
    /// No issue is assigned to a caller.
    AssignedToMe,
    Authors,
    /// The later name of authors.
    Author,
    FileUuids,
    Directories,
    Languages,
    Tags,
    Types,
    CreatedAt,
    /// These three came with later versions.
    IssueStatuses,
    ImpactSeverities,
    Qualities,
}

use Facet::{
    AssignedToMe, Assignees, Author, Authors, CreatedAt, Directories, FileUuids, ImpactSeverities, IssueStatuses,
    Languages, ModuleUuids, ProjectUuids, Projects, Qualities, Resolutions, Rules, Severities, Statuses, Tags, Types,
};

/// All of them, by the names that requests use.
pub(super) const FACETS: &[(&str, Facet)] = &[
    ("projects", Projects),
    ("projectUuids", ProjectUuids),
    ("moduleUuids", ModuleUuids),
    ("fileUuids", FileUuids),
    ("assigned_to_me", AssignedToMe),
    ("severities", Severities),
    ("statuses", Statuses),
    ("resolutions", Resolutions),
    ("rules", Rules),
    ("assignees", Assignees),
    ("authors", Authors),
    ("author", Author),
    ("directories", Directories),
    ("languages", Languages),
    ("tags", Tags),
    ("types", Types),
    ("createdAt", CreatedAt),
    ("issueStatuses", IssueStatuses),
    ("impactSeverities", ImpactSeverities),
    ("impactSoftwareQualities", Qualities),
];

/// How many of [`FACETS`] came with later versions, at its end.
const LATER: usize = 3;

/// The facets of a version, by name.
pub(super) fn facets_of(world: &World) -> &'static [(&'static str, Facet)] {
    let older = FACETS.get(..FACETS.len() - LATER).unwrap_or(FACETS);
    if world.current { FACETS } else { older }
}

/// The most values of one facet that a response lists, beside those that the request selects.
const FACET_SIZE: usize = 100;

impl Facet {
    /// Which of its values an issue has.
    pub(super) fn values(self, issue: Issue<'_>) -> SmallVec<[usize; 4]> {
        match self {
            Severities => smallvec![issue.severity()],
            Statuses => smallvec![issue.status()],
            Resolutions => smallvec![issue.resolution().map_or(0, |resolution| resolution + 1)],
            Projects | ProjectUuids | ModuleUuids => smallvec![issue.project_index()],
            Rules => smallvec![issue.rule_index()],
            Assignees => smallvec![issue.assignee().map_or(0, |assignee| assignee + 1)],
            AssignedToMe => smallvec![],
            Authors | Author => smallvec![issue.author()],
            FileUuids | Directories => smallvec![issue.project_index() * FILES + issue.file()],
            Languages => smallvec![usize::from(issue.rule().language)],
            Tags => issue.rule().tags.iter().map(|tag| usize::from(*tag)).collect(),
            Types => smallvec![issue.kind()],
            IssueStatuses => smallvec![issue.issue_status()],
            ImpactSeverities => smallvec![issue.severity()],
            Qualities => smallvec![issue.kind()],
            CreatedAt => smallvec![usize::try_from(dates::day_of(issue.created()) - first_day()).unwrap_or_default()],
        }
    }

    /// How many values there are: at most twelve for each of 1,000 projects.
    pub(super) fn count(self, world: &World) -> usize {
        match self {
            Severities => SEVERITIES.len(),
            Statuses => STATUSES.len(),
            Resolutions => RESOLUTIONS.len() + 1,
            Projects | ProjectUuids | ModuleUuids => world.projects.len(),
            Rules => RULES.len(),
            Assignees => world.assignees() + 1,
            AssignedToMe => 0,
            Authors | Author => world.authors.len(),
            FileUuids | Directories => world.projects.len() * FILES,
            Languages => LANGUAGES.len(),
            Tags => TAGS.len(),
            Types | Qualities if world.current => TYPES.len() - 1,
            Types | Qualities => TYPES.len(),
            IssueStatuses => ISSUE_STATUSES.len(),
            ImpactSeverities => IMPACT_SEVERITIES.len(),
            CreatedAt => {
                let last = dates::day_of(LAST_ANALYSIS.unix_timestamp());
                usize::try_from(last - first_day() + 1).unwrap_or_default()
            }
        }
    }

    /// A value as responses have it; empty for "none of them".
    pub(super) fn name(self, value: usize, world: &World) -> String {
        let of = |list: &[&str], at: Option<usize>| at.and_then(|at| list.get(at)).map(ToString::to_string);
        let project = || world.projects.get(value);
        let name = match self {
            Severities => of(SEVERITIES, Some(value)),
            Statuses => of(STATUSES, Some(value)),
            Resolutions => of(RESOLUTIONS, value.checked_sub(1)),
            Projects => project().map(|project| project.key.clone()),
            ProjectUuids | ModuleUuids => project().map(|project| project.uuid.clone()),
            Rules => RULES.get(value).map(|rule| rule.key.to_owned()),
            Assignees => {
                let person = value.checked_sub(1).and_then(|at| world.authors.get(at));
                person.map(|person| person.login.clone())
            }
            AssignedToMe => None,
            Authors | Author => world.authors.get(value).map(|author| author.email.clone()),
            FileUuids => Some(file_uuid(world.seed, value / FILES, value % FILES)),
            Directories => world
                .projects
                .get(value / FILES)
                .and_then(|project| project.files.get(value % FILES))
                .and_then(|path| path.rsplit_once('/'))
                .map(|(directory, _)| directory.to_owned()),
            Languages => LANGUAGES.get(value).map(|language| language.key.to_owned()),
            Tags => of(TAGS, Some(value)),
            Types => of(TYPES, Some(value)),
            IssueStatuses => of(ISSUE_STATUSES, Some(value)),
            ImpactSeverities => of(IMPACT_SEVERITIES, Some(value)),
            Qualities => of(QUALITIES, Some(value)),
            CreatedAt => i64::try_from(value)
                .ok()
                .map(|day| dates::midnight(dates::date_of(first_day() + day))),
        };
        name.unwrap_or_default()
    }

    /// The name that requests use.
    pub(super) fn property(self) -> &'static str {
        let mut facets = FACETS.iter();
        facets.find(|(_, facet)| *facet == self).map_or("", |(name, _)| *name)
    }

    /// Whether it makes sense within a project only.
    pub(super) fn needs_project(self) -> bool {
        matches!(self, FileUuids | Directories | ModuleUuids)
    }

    /// The bit in a set of facets that it shares with others which count the same.
    pub(super) fn bit(self) -> u32 {
        let same = match self {
            Projects | ModuleUuids => ProjectUuids,
            Author => Authors,
            ImpactSeverities => Severities,
            Qualities => Types,
            other => other,
        };
        1 << same as u32
    }

    /// Whether responses list this value even if no issue has it.
    fn always_lists(self, name: &str) -> bool {
        match self {
            Severities | Statuses | Resolutions | Types | IssueStatuses | ImpactSeverities | Qualities => true,
            Assignees => name.is_empty(),
            _ => false,
        }
    }
}

fn first_day() -> i64 {
    dates::day_of(FIRST_ANALYSIS.unix_timestamp())
}

/// The values that a response lists, from the sum for each value: the largest first, and then those that must be there.
pub(super) fn listed(facet: Facet, sums: Vec<u64>, query: &Query, world: &World) -> Vec<(String, u64)> {
    if facet == CreatedAt {
        return histogram(&sums, query);
    }
    let mut all: Vec<_> = sums
        .into_iter()
        .enumerate()
        .filter(|(_, sum)| *sum > 0 || facet.count(world) <= FACET_SIZE)
        .map(|(value, sum)| (facet.name(value, world), sum))
        .collect();
    if facet == Directories {
        // Several files are in the same one.
        all.sort();
        all.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0 };
            same
        });
    }
    all.sort_by(|(a, more), (b, less)| less.cmp(more).then_with(|| a.cmp(b)));
    let selected = query.selected.iter().filter(|(of, _)| *of == facet);
    let selected: Vec<_> = selected.flat_map(|(_, values)| values).collect();
    let mut place = 0;
    all.retain(|(name, sum)| {
        place += 1;
        (place <= FACET_SIZE && *sum > 0) || facet.always_lists(name) || selected.contains(&name)
    });
    for name in selected {
        if !all.iter().any(|(listed, _)| listed == name) {
            all.push((name.clone(), 0));
        }
    }
    all
}

/// Sums by day, week, month or year, in order, from the first with an issue (or `createdAfter`) to the present (or
/// `createdBefore`): by the longest of these of which there are about twenty at most, but for years.
fn histogram(days: &[u64], query: &Query) -> Vec<(String, u64)> {
    let Some(first) = days.iter().position(|sum| *sum > 0) else {
        return Vec::new();
    };
    let (after, before) = (query.created.start, query.created.end);
    let start = if after == i64::MIN {
        first_day() + i64::try_from(first).unwrap_or_default()
    } else {
        dates::day_of(after).max(first_day())
    };
    let present = LAST_ANALYSIS.unix_timestamp();
    let end = dates::day_of(if before == i64::MAX {
        present
    } else {
        (before - 1).min(present)
    });
    let bucket = match end - start {
        ..20 => dates::Bucket::Day,
        20..140 => dates::Bucket::Week,
        140..600 => dates::Bucket::Month,
        _ => dates::Bucket::Year,
    };
    let mut sums: Vec<(String, u64)> = Vec::new();
    for day in start..=end {
        let at = usize::try_from(day - first_day()).ok();
        let sum = at.and_then(|at| days.get(at)).copied().unwrap_or_default();
        let name = dates::midnight(bucket.start(dates::date_of(day)));
        match sums.last_mut().filter(|(last, _)| *last == name) {
            Some((_, total)) => *total += sum,
            None => sums.push((name, sum)),
        }
    }
    sums
}
