//! Responses as JSON. Fields that an issue does not have are left out.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};
use serde_with::skip_serializing_none;

use super::ORGANIZATION;
use super::dates::date_time;
use super::issue::Issue;
use super::parameters::Page;
use super::query::Query;
use super::rules::{
    CLEAN_CODE, IMPACT_SEVERITIES, ISSUE_STATUSES, LANGUAGES, QUALITIES, RESOLUTIONS, RULES, SEVERITIES, STATUSES,
    TAGS, TYPES,
};
use super::search::SearchResult;
use super::world::{LAST_ANALYSIS, Project, World, file_uuid};

/// SonarQube's working day.
const MINUTES_OF_A_DAY: u64 = 8 * 60;

/// The response to a search, as text.
///
/// # Errors
/// Never in practice: nothing here is refused by JSON.
pub(super) fn search(world: &World, query: &Query, found: &SearchResult) -> serde_json::Result<Vec<u8>> {
    let issues: Vec<_> = found
        .page
        .iter()
        .map(|index| issue(world.issue(*index), query))
        .collect();
    let facets = found.facets.iter().map(|(facet, values)| {
        let values: Vec<_> = values
            .iter()
            .map(|(value, count)| json!({ "val": value, "count": count }))
            .collect();
        json!({ "property": facet.property(), "values": values })
    });
    serde_json::to_vec(&SearchResponse {
        total: found.total,
        p: query.page.number,
        ps: query.page.size,
        paging: paging(query.page, found.total),
        effort_total: found.effort,
        debt_total: (!world.current).then_some(found.effort),
        issues,
        components: components(world, found),
        rules: query.wants("rules").then(|| rules(world, found)),
        users: query.wants("users").then(|| users(world, found)),
        languages: query.wants("languages").then(languages),
        facets: facets.collect(),
    })
}

#[skip_serializing_none]
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SearchResponse<'a> {
    total: u64,
    p: usize,
    ps: usize,
    paging: Value,
    effort_total: u64,
    debt_total: Option<u64>,
    issues: Vec<ListedIssue<'a>>,
    components: Vec<Value>,
    rules: Option<Vec<Value>>,
    users: Option<Vec<Value>>,
    languages: Option<Vec<Value>>,
    facets: Vec<Value>,
}

#[skip_serializing_none]
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedIssue<'a> {
    key: String,
    rule: &'static str,
    severity: &'static str,
    component: String,
    project: &'a str,
    line: Option<u32>,
    hash: Option<String>,
    text_range: Option<TextRange>,
    flows: Vec<Value>,
    status: &'static str,
    resolution: Option<&'static str>,
    message: String,
    effort: Option<String>,
    debt: Option<String>,
    author: &'a str,
    assignee: Option<&'a str>,
    tags: Vec<&'static str>,
    transitions: Option<[&'static str; 0]>,
    actions: Option<[&'static str; 0]>,
    comments: Option<[&'static str; 0]>,
    creation_date: String,
    update_date: String,
    close_date: Option<String>,
    #[serde(rename = "type")]
    kind: &'static str,
    organization: Option<&'static str>,
    #[serde(flatten)]
    later: Option<LaterFields>,
}

/// What later versions say of an issue.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LaterFields {
    scope: &'static str,
    quick_fix_available: bool,
    message_formattings: [&'static str; 0],
    code_variants: [&'static str; 0],
    clean_code_attribute: &'static str,
    clean_code_attribute_category: &'static str,
    impacts: [Impact; 1],
    issue_status: &'static str,
    prioritized_rule: bool,
}

/// On which quality of the software an issue bears, and how much.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Impact {
    software_quality: &'static str,
    severity: &'static str,
}

impl Impact {
    pub(super) fn new(kind: usize, severity: usize) -> Self {
        Self {
            software_quality: at(QUALITIES, kind),
            severity: at(IMPACT_SEVERITIES, severity),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TextRange {
    start_line: u32,
    end_line: u32,
    start_offset: u32,
    end_offset: u32,
}

impl TextRange {
    fn new(line: u32, (start_offset, end_offset): (u32, u32)) -> Self {
        Self {
            start_line: line,
            end_line: line,
            start_offset,
            end_offset,
        }
    }
}

fn issue<'a>(issue: Issue<'a>, query: &Query) -> ListedIssue<'a> {
    let (rule, world, line) = (issue.rule(), issue.world, issue.line());
    let component = component_key(issue);
    let effort = (issue.effort() > 0).then(|| duration(u64::from(issue.effort())));
    let flows = issue.other_line().map(|line| {
        let range = TextRange::new(line, issue.columns());
        json!({ "locations": [{ "component": component, "textRange": range, "msg": "And here." }] })
    });
    let assignee = issue.assignee().and_then(|assignee| world.authors.get(assignee));
    ListedIssue {
        key: issue.key(),
        rule: rule.key,
        severity: at(SEVERITIES, issue.severity()),
        project: issue.project().map(|project| project.key.as_str()).unwrap_or_default(),
        line,
        hash: line.map(|_| issue.hash()),
        text_range: line.map(|line| TextRange::new(line, issue.columns())),
        flows: flows.into_iter().collect(),
        resolution: issue.resolution().map(|resolution| at(RESOLUTIONS, resolution)),
        status: at(STATUSES, issue.status()),
        message: issue.message(),
        debt: effort.clone(),
        effort,
        assignee: assignee.map(|person| person.login.as_str()),
        author: world
            .authors
            .get(issue.author())
            .map(|person| person.email.as_str())
            .unwrap_or_default(),
        tags: rule.tags.iter().map(|tag| at(TAGS, usize::from(*tag))).collect(),
        transitions: query.wants("transitions").then_some([]),
        actions: query.wants("actions").then_some([]),
        comments: query.wants("comments").then_some([]),
        creation_date: date_time(issue.created()),
        update_date: date_time(issue.updated()),
        close_date: issue.closed().map(date_time),
        kind: at(TYPES, issue.kind()),
        organization: (!world.current).then_some(ORGANIZATION),
        later: world.current.then(|| later(issue)),
        component,
    }
}

fn later(issue: Issue<'_>) -> LaterFields {
    let (attribute, category) = CLEAN_CODE.get(issue.kind()).copied().unwrap_or_default();
    LaterFields {
        scope: "MAIN",
        quick_fix_available: false,
        message_formattings: [],
        code_variants: [],
        clean_code_attribute: attribute,
        clean_code_attribute_category: category,
        impacts: [Impact::new(issue.kind(), issue.severity())],
        issue_status: at(ISSUE_STATUSES, issue.issue_status()),
        prioritized_rule: false,
    }
}

fn component_key(issue: Issue<'_>) -> String {
    let project = issue.project().map(|project| project.key.as_str()).unwrap_or_default();
    format!("{project}:{}", issue.path())
}

pub(super) fn at(list: &'static [&'static str], place: usize) -> &'static str {
    list.get(place).copied().unwrap_or_default()
}

/// `2h1min`; a day has eight hours.
fn duration(minutes: u64) -> String {
    let (days, rest) = (minutes / MINUTES_OF_A_DAY, minutes % MINUTES_OF_A_DAY);
    [(days, "d"), (rest / 60, "h"), (rest % 60, "min")]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect()
}

/// The place of a page in its list.
pub(super) fn paging(page: Page, total: u64) -> Value {
    json!({ "pageIndex": page.number, "pageSize": page.size, "total": total })
}

/// The files of the page's issues, and then their projects, each once.
fn components(world: &World, found: &SearchResult) -> Vec<Value> {
    let issues = found.page.iter().map(|index| world.issue(*index));
    let places: BTreeSet<_> = issues.map(|issue| (issue.project_index(), issue.file())).collect();
    let files = places.iter().filter_map(|(at, file)| {
        let project = world.projects.get(*at)?;
        let path = project.files.get(*file)?;
        let component = json!({
            "key": format!("{}:{path}", project.key),
            "uuid": file_uuid(world.seed, *at, *file),
            "enabled": true,
            "qualifier": "FIL",
            "name": path.rsplit('/').next(),
            "longName": path,
            "path": path,
        });
        Some(of_organization(world, component))
    });
    let projects: BTreeSet<_> = places.iter().map(|(at, _)| *at).collect();
    let projects = projects.iter().filter_map(|at| world.projects.get(*at));
    files.chain(projects.map(|one| project(world, one))).collect()
}

/// Earlier versions name the organization everywhere.
pub(super) fn of_organization(world: &World, mut object: Value) -> Value {
    if let (Some(object), false) = (object.as_object_mut(), world.current) {
        object.insert("organization".to_owned(), ORGANIZATION.into());
    }
    object
}

/// A project among components.
fn project(world: &World, project: &Project) -> Value {
    let component = json!({
        "key": project.key,
        "uuid": project.uuid,
        "enabled": true,
        "qualifier": "TRK",
        "name": project.name,
        "longName": project.name,
    });
    of_organization(world, component)
}

/// A project in a list of projects.
pub(super) fn listed_project(world: &World, project: &Project) -> Value {
    let mut listed = json!({
        "key": project.key,
        "name": project.name,
        "qualifier": "TRK",
        "project": project.key,
        "visibility": "public",
    });
    let more = if world.current {
        let analysed = date_time(LAST_ANALYSIS.unix_timestamp());
        json!({ "lastAnalysisDate": analysed, "managed": false, "revision": project.uuid })
    } else {
        json!({ "id": project.uuid })
    };
    if let (Some(listed), Value::Object(more)) = (listed.as_object_mut(), more) {
        listed.extend(more);
    }
    of_organization(world, listed)
}

fn rules(world: &World, found: &SearchResult) -> Vec<Value> {
    let issues = found.page.iter().map(|index| world.issue(*index));
    let used: BTreeSet<_> = issues.map(Issue::rule_index).collect();
    used.iter()
        .filter_map(|at| RULES.get(*at))
        .map(|rule| {
            let language = LANGUAGES.get(usize::from(rule.language));
            json!({
                "key": rule.key,
                "name": rule.name,
                "lang": language.map(|language| language.key),
                "status": "READY",
                "langName": language.map(|language| language.name),
            })
        })
        .collect()
}

fn users(world: &World, found: &SearchResult) -> Vec<Value> {
    let issues = found.page.iter().map(|index| world.issue(*index));
    let used: BTreeSet<_> = issues.filter_map(Issue::assignee).collect();
    used.iter()
        .filter_map(|at| world.authors.get(*at))
        .map(|person| json!({ "login": person.login, "name": person.name, "active": true }))
        .collect()
}

/// All languages.
pub(super) fn languages() -> Vec<Value> {
    let one = |language: &super::rules::Language| json!({ "key": language.key, "name": language.name });
    let mut all: Vec<_> = LANGUAGES.iter().map(one).collect();
    all.sort_by_key(|language| language.get("key").map(Value::to_string));
    all
}

/// `{"errors":[{"msg":"…"}]}`
pub(super) fn errors(message: &str) -> Value {
    json!({ "errors": [{ "msg": message }] })
}
