//! Rules and quality profiles.

use http::StatusCode;
use serde_json::{Value, json};

use super::dates::date_time;
use super::parameters::Parameters;
use super::render::{self, Impact, at, of_organization};
use super::rules::{CLEAN_CODE, LANGUAGES, Language, RULES, Rule, SEVERITIES, TAGS, TYPES};
use super::world::{FIRST_ANALYSIS, LAST_ANALYSIS, World};

/// What a rule's severity is. Issues have severities of their own.
fn severity(index: usize) -> usize {
    index % SEVERITIES.len()
}

fn language(rule: &Rule) -> Option<&'static Language> {
    LANGUAGES.get(usize::from(rule.language))
}

fn repository(rule: &Rule) -> &'static str {
    rule.key.split(':').next().unwrap_or_default()
}

/// A type's place; hotspots are rules of their own in all versions.
fn shown(world: &World, index: usize, rule: &Rule) -> Value {
    let (kind, severity) = (usize::from(rule.kind), severity(index));
    let (language, tags) = (language(rule), rule.tags.iter().map(|tag| at(TAGS, usize::from(*tag))));
    let description = format!("<p>{}.</p>", rule.name);
    let effort = format!("{}min", rule.effort);
    let mut shown = json!({
        "key": rule.key,
        "repo": repository(rule),
        "name": rule.name,
        "createdAt": date_time(FIRST_ANALYSIS.unix_timestamp()),
        "htmlDesc": description,
        "mdDesc": description,
        "severity": at(SEVERITIES, severity),
        "status": "READY",
        "isTemplate": false,
        "tags": [],
        "sysTags": tags.collect::<Vec<_>>(),
        "lang": language.map(|language| language.key),
        "langName": language.map(|language| language.name),
        "params": [],
        "defaultRemFnType": "CONSTANT_ISSUE",
        "defaultRemFnBaseEffort": effort,
        "remFnType": "CONSTANT_ISSUE",
        "remFnBaseEffort": effort,
        "remFnOverloaded": false,
        "type": at(TYPES, kind),
        "scope": "MAIN",
        "isExternal": false,
    });
    if let (Some(shown), true) = (shown.as_object_mut(), world.current) {
        let (attribute, category) = CLEAN_CODE.get(kind).copied().unwrap_or_default();
        shown.insert("updatedAt".to_owned(), date_time(LAST_ANALYSIS.unix_timestamp()).into());
        shown.insert("cleanCodeAttribute".to_owned(), attribute.into());
        shown.insert("cleanCodeAttributeCategory".to_owned(), category.into());
        shown.insert("impacts".to_owned(), json!([Impact::new(kind, severity)]));
        shown.insert(
            "descriptionSections".to_owned(),
            json!([{ "key": "default", "content": description }]),
        );
        shown.insert("educationPrinciples".to_owned(), json!([]));
    }
    shown
}

/// # Errors
/// What is wrong with a parameter.
pub(super) fn search(world: &World, given: &Parameters) -> Result<Value, String> {
    let page = given.page()?;
    let severities = given.several("severities", SEVERITIES)?;
    let types = given.several("types", TYPES)?;
    let (languages, repositories) = (given.list("languages"), given.list("repositories"));
    let (tags, keys) = (
        given.list("tags"),
        [given.list("rule_key"), given.list("rule_keys")].concat(),
    );
    let wanted = given.get("q").unwrap_or_default().to_lowercase();
    let never = given.boolean("is_template")?.unwrap_or_default();
    let allows = |list: &[&str], value: &str| list.is_empty() || list.contains(&value);
    let found: Vec<_> = RULES
        .iter()
        .enumerate()
        .filter(|(index, rule)| {
            let tagged = || rule.tags.iter().any(|tag| tags.contains(&at(TAGS, usize::from(*tag))));
            !never
                && allows(&severities, at(SEVERITIES, severity(*index)))
                && allows(&types, at(TYPES, usize::from(rule.kind)))
                && allows(&languages, language(rule).map_or("", |language| language.key))
                && allows(&repositories, repository(rule))
                && allows(&keys, rule.key)
                && (tags.is_empty() || tagged())
                && (rule.name.to_lowercase().contains(&wanted) || rule.key.to_lowercase() == wanted)
        })
        .collect();
    let rules = found.iter().skip(page.offset()).take(page.size);
    let rules: Vec<_> = rules.map(|(index, rule)| shown(world, *index, rule)).collect();
    let total = found.len();
    let mut answer = json!({ "total": total, "p": page.number, "ps": page.size, "rules": rules });
    if let (Some(answer), true) = (answer.as_object_mut(), world.current) {
        answer.insert("paging".to_owned(), render::paging(page, total as u64));
    }
    if let (Some(answer), Some(_)) = (answer.as_object_mut(), given.get("facets")) {
        answer.insert("facets".to_owned(), facets(given, &found));
    }
    Ok(answer)
}

fn facets(given: &Parameters, found: &[(usize, &'static Rule)]) -> Value {
    let facets = given.list("facets").into_iter().map(|facet| {
        let mut counts: Vec<(&str, u64)> = Vec::new();
        for (index, rule) in found {
            let value = match facet {
                "languages" => language(rule).map_or("", |language| language.key),
                "repositories" => repository(rule),
                "severities" | "active_severities" => at(SEVERITIES, severity(*index)),
                "types" => at(TYPES, usize::from(rule.kind)),
                "statuses" => "READY",
                _ => continue,
            };
            match counts.iter_mut().find(|(known, _)| *known == value) {
                Some((_, count)) => *count += 1,
                None => counts.push((value, 1)),
            }
        }
        let values: Vec<_> = counts
            .iter()
            .map(|(value, count)| json!({ "val": value, "count": count }))
            .collect();
        json!({ "property": facet, "values": values })
    });
    facets.collect::<Vec<_>>().into()
}

/// # Errors
/// Status and message, if there is no such rule.
pub(super) fn show(world: &World, given: &Parameters) -> Result<Value, (StatusCode, String)> {
    let missing = || (StatusCode::BAD_REQUEST, "The 'key' parameter is missing".to_owned());
    let key = given.get("key").ok_or_else(missing)?;
    let found = RULES.iter().enumerate().find(|(_, rule)| rule.key == key);
    let (index, rule) = found.ok_or_else(|| (StatusCode::NOT_FOUND, format!("Rule not found: {key}")))?;
    let mut answer = json!({ "rule": shown(world, index, rule) });
    if let (Some(answer), true) = (
        answer.as_object_mut(),
        given.boolean("actives").ok().flatten().unwrap_or_default(),
    ) {
        let active = json!({
            "qProfile": profile_key(language(rule).map_or("", |language| language.key)), "inherit": "NONE",
            "severity": at(SEVERITIES, severity(index)), "params": [],
            "createdAt": date_time(FIRST_ANALYSIS.unix_timestamp()),
        });
        answer.insert("actives".to_owned(), json!([active]));
    }
    Ok(answer)
}

/// All repositories of rules.
pub(super) fn repositories(given: &Parameters) -> Value {
    let wanted = given.get("language");
    let mut listed: Vec<(&str, &Language)> = Vec::new();
    for rule in RULES {
        if let Some(language) = language(rule).filter(|language| wanted.is_none_or(|wanted| wanted == language.key))
            && !listed.iter().any(|(key, _)| *key == repository(rule))
        {
            listed.push((repository(rule), language));
        }
    }
    let shown = listed.iter().map(|(key, language)| {
        json!({ "key": key, "name": format!("SonarAnalyzer for {}", language.name), "language": language.key })
    });
    json!({ "repositories": shown.collect::<Vec<_>>() })
}

fn profile_key(language: &str) -> String {
    format!("sonar-way-{language}")
}

/// The profiles: one for each language, which all projects use.
pub(super) fn profiles(world: &World, given: &Parameters) -> Value {
    let (wanted, name) = (given.get("language"), given.get("qualityProfile"));
    let languages = LANGUAGES.iter().enumerate();
    let languages = languages.filter(|(_, language)| wanted.is_none_or(|wanted| wanted == language.key));
    let profiles: Vec<_> = languages
        .filter(|_| name.is_none_or(|name| name == "Sonar way"))
        .map(|(at, one)| {
            let rules = RULES.iter().filter(|rule| usize::from(rule.language) == at).count();
            let profile = json!({
                "key": profile_key(one.key), "name": "Sonar way", "language": one.key, "languageName": one.name,
                "isInherited": false, "isDefault": true, "isBuiltIn": true, "activeRuleCount": rules,
                "activeDeprecatedRuleCount": 0, "rulesUpdatedAt": date_time(FIRST_ANALYSIS.unix_timestamp()),
                "lastUsed": date_time(LAST_ANALYSIS.unix_timestamp()),
                "actions": {
                    "edit": false, "setAsDefault": false, "copy": false, "associateProjects": false, "delete": false,
                },
            });
            of_organization(world, profile)
        })
        .collect();
    json!({ "profiles": profiles, "actions": { "create": false } })
}
