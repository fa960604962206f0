//! What a search of `api/issues/search` asks for.
//!
//! Values are checked in the order in which SonarQube reads them, and the response names the first mistake. Unknown
//! parameters are ignored, as SonarQube does.

use std::ops::Range;

use super::components;
use super::dates::{self, Bound};
use super::facet::{FACETS, Facet, facets_of};
use super::parameters::{MAX_PAGE, Page, Parameters};
use super::rules::{
    IMPACT_SEVERITIES, ISSUE_STATUSES, QUALITIES, RESOLUTIONS, SEVERITIES, STATUSES, TYPES, VULNERABILITY,
};
use super::world::{LAST_ANALYSIS, World};

const FACET_MODES: &[&str] = &["count", "effort", "debt"];
const ADDITIONAL_FIELDS: &[&str] = &[
    "_all",
    "comments",
    "languages",
    "actionPlans",
    "rules",
    "transitions",
    "actions",
    "users",
];

/// What results can be sorted by.
const SORTS: &[(&str, Sort)] = &[
    ("CREATION_DATE", Sort::CreationDate),
    ("UPDATE_DATE", Sort::UpdateDate),
    ("CLOSE_DATE", Sort::CloseDate),
    ("ASSIGNEE", Sort::Assignee),
    ("SEVERITY", Sort::Severity),
    ("STATUS", Sort::Status),
    ("FILE_LINE", Sort::FileLine),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    CreationDate,
    UpdateDate,
    CloseDate,
    Assignee,
    Severity,
    Status,
    FileLine,
}

/// A search, ready to be made.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) page: Page,
    /// `None`: the latest first.
    pub(super) sort: Option<Sort>,
    pub(super) ascending: bool,
    /// Each once, in the order in which they were asked for.
    pub(super) facets: Vec<Facet>,
    /// For each of those, the values that the request selects, which the response lists in any case.
    pub(super) selected: Vec<(Facet, Vec<String>)>,
    /// Facets add up effort instead of counting issues.
    pub(super) by_effort: bool,
    /// What the response has beside issues and components.
    pub(super) additional: Vec<String>,
    pub(super) filters: Vec<Filter>,
    /// When issues must have been created, in seconds since 1970.
    pub(super) created: Range<i64>,
    /// Only these issues, by their index, in order.
    pub(super) only: Option<Vec<u32>>,
}

/// One condition on issues.
#[derive(Debug)]
pub(super) enum Filter {
    /// One of these values of a facet; `wanted` has one entry for each.
    Values {
        facet: Facet,
        wanted: Vec<bool>,
    },
    Resolved(bool),
    Assigned(bool),
    /// No issue is meant.
    Nothing,
}

impl Query {
    /// Reads a search.
    ///
    /// # Errors
    /// The message of SonarQube for the first thing that is wrong.
    pub(super) fn read(given: &Parameters, world: &World) -> Result<Self, String> {
        let additional = given.several("additionalFields", ADDITIONAL_FIELDS)?;
        let ascending = given.boolean("asc")?.unwrap_or(true);
        let assigned = given.boolean("assigned")?;
        let by_effort = given
            .one_of("facetMode", FACET_MODES)?
            .is_some_and(|mode| mode != "count");
        let names: Vec<_> = facets_of(world).iter().map(|(name, _)| *name).collect();
        let facets = facets(&given.several("facets", &names)?);
        given.boolean("onComponentOnly")?;
        given.numbers()?;
        let resolutions = given.several("resolutions", RESOLUTIONS)?;
        let resolved = given.boolean("resolved")?;
        given.boolean("sinceLeakPeriod")?;
        let names: Vec<_> = SORTS.iter().map(|(name, _)| *name).collect();
        let sort = given.one_of("s", &names)?;
        let severities = given.several("severities", SEVERITIES)?;
        let statuses = given.several("statuses", STATUSES)?;
        let kinds = if world.current { VULNERABILITY + 1 } else { TYPES.len() };
        let types = given.several("types", TYPES.get(..kinds).unwrap_or(TYPES))?;
        let mut later = Vec::new();
        if world.current {
            later.push((Facet::IssueStatuses, given.several("issueStatuses", ISSUE_STATUSES)?));
            later.push((
                Facet::ImpactSeverities,
                given.several("impactSeverities", IMPACT_SEVERITIES)?,
            ));
            let qualities = QUALITIES.get(..kinds).unwrap_or(QUALITIES);
            later.push((Facet::Qualities, given.several("impactSoftwareQualities", qualities)?));
        }
        let page = given.page()?;

        let mut filters = vec![];
        filters.extend(resolved.map(Filter::Resolved));
        filters.extend(assigned.map(Filter::Assigned));
        let listed = [
            (Facet::Severities, severities),
            (Facet::Statuses, statuses),
            (Facet::Resolutions, resolutions),
            (Facet::Types, types),
            (Facet::Rules, rules(given)?),
            (Facet::Tags, given.list("tags")),
            (Facet::Assignees, given.list("assignees")),
            (Facet::Authors, authors(given)),
            (Facet::Languages, given.list("languages")),
        ];
        filters.extend(
            listed
                .iter()
                .chain(&later)
                .filter_map(|(facet, values)| choose(*facet, values, world)),
        );
        filters.extend(components::filters(given, world)?);
        let only = only(given, world)?;
        let created = created(given)?;
        check_facets(&facets, given, &filters)?;
        let selected = facets.iter().map(|facet| {
            let values = given.list(facet.property());
            let values = values.into_iter().filter(|value| *value != "__me__").map(str::to_owned);
            (*facet, values.collect())
        });
        Ok(Self {
            page,
            sort: sort
                .and_then(|sort| SORTS.iter().find(|(name, _)| *name == sort))
                .map(|(_, sort)| *sort),
            ascending,
            selected: selected.collect(),
            facets,
            by_effort,
            additional: additional.into_iter().map(str::to_owned).collect(),
            filters,
            created,
            only,
        })
    }

    /// Whether the response has this field.
    pub(super) fn wants(&self, field: &str) -> bool {
        self.additional.iter().any(|name| name == field || name == "_all")
    }
}

/// The facets of these names, each once.
fn facets(names: &[&str]) -> Vec<Facet> {
    let mut facets = Vec::new();
    for name in names {
        let facet = FACETS.iter().find(|(known, _)| known == name).map(|(_, facet)| *facet);
        facets.extend(facet.filter(|facet| !facets.contains(facet)));
    }
    facets
}

/// Some facets have too many values but within a project.
fn check_facets(facets: &[Facet], given: &Parameters, filters: &[Filter]) -> Result<(), String> {
    let in_project = filters
        .iter()
        .any(|filter| matches!(filter, Filter::Values { facet, .. } if facet.bit() == Facet::ProjectUuids.bit()));
    let needing = facets.iter().filter(|facet| facet.needs_project());
    let needing: Vec<_> = needing.map(|facet| facet.property()).collect();
    if needing.is_empty() || in_project || given.get("organization").is_some() {
        return Ok(());
    }
    let needing = needing.join(",");
    Err(format!(
        "Facet(s) '{needing}' require to also filter by project or organization"
    ))
}

/// A filter by some values of a facet, if there are any; those that do not exist select nothing.
pub(super) fn choose(facet: Facet, values: &[&str], world: &World) -> Option<Filter> {
    if values.is_empty() {
        return None;
    }
    let wanted = (0..facet.count(world)).map(|value| {
        let name = facet.name(value, world);
        !name.is_empty() && values.contains(&name.as_str())
    });
    Some(Filter::Values {
        facet,
        wanted: wanted.collect(),
    })
}

fn rules(given: &Parameters) -> Result<Vec<&str>, String> {
    let rules = given.list("rules");
    match rules.iter().find(|rule| !rule.contains(':')) {
        Some(wrong) => Err(format!("Invalid rule key: {wrong}")),
        None => Ok(rules),
    }
}

/// `authors` has several values, and `author`, which came later, comes once for each.
fn authors(given: &Parameters) -> Vec<&str> {
    let mut authors = given.list("authors");
    authors.extend(given.repeated("author"));
    authors
}

fn only(given: &Parameters, world: &World) -> Result<Option<Vec<u32>>, String> {
    let keys = given.list("issues");
    if i64::try_from(keys.len()).is_ok_and(|number| number > MAX_PAGE) {
        let number = keys.len();
        return Err(format!(
            "Number of issue keys must be less than {MAX_PAGE} (got {number})"
        ));
    }
    let mut only: Vec<_> = keys.iter().filter_map(|key| world.issue_of(key)).collect();
    only.sort_unstable();
    only.dedup();
    Ok((!keys.is_empty()).then_some(only))
}

fn created(given: &Parameters) -> Result<Range<i64>, String> {
    let date = |name: &str, bound| {
        let text = given.get(name);
        text.map(|text| dates::parse(text, bound)).transpose()
    };
    let at = date("createdAt", Bound::Start)?;
    let before = date("createdBefore", Bound::End)?;
    let mut after = date("createdAfter", Bound::Start)?;
    if given.boolean("sinceLeakPeriod")?.unwrap_or_default() {
        if after.is_some() {
            return Err("Parameters 'createdAfter' and 'sinceLeakPeriod' cannot be set simultaneously".to_owned());
        }
        if given.list("componentKeys").len() != 1 {
            return Err("One and only one component must be provided when searching since leak period".to_owned());
        }
        // All projects have the same one: the last month.
        after = dates::before(LAST_ANALYSIS, "1m");
    }
    if let Some(span) = given.get("createdInLast") {
        if after.is_some() {
            return Err("Parameters createdAfter and createdInLast cannot be set simultaneously".to_owned());
        }
        // In the words of Java, by which SonarQube reads it.
        after = Some(dates::before(LAST_ANALYSIS, span).ok_or("Text cannot be parsed to a Period")?);
    }
    if let (Some(after), Some(before)) = (after, before)
        && after >= before
    {
        return Err("Start bound cannot be larger or equal to end bound".to_owned());
    }
    let (after, before) = (after.unwrap_or(i64::MIN), before.unwrap_or(i64::MAX));
    Ok(match at {
        Some(at) => after.max(at)..before.min(at + 1),
        None => after..before,
    })
}
