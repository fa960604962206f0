//! The server's settings, all at their defaults.

use serde_json::{Value, json};

use super::parameters::Parameters;

/// Key, name, type, category, and default.
const SETTINGS: &[(&str, &str, &str, &str, Option<&str>)] = &[
    ("sonar.core.serverBaseURL", "Server base URL", "STRING", "general", None),
    (
        "sonar.forceAuthentication",
        "Force user authentication",
        "BOOLEAN",
        "security",
        Some("true"),
    ),
    (
        "sonar.exclusions",
        "Source File Exclusions",
        "STRING",
        "exclusions",
        None,
    ),
    (
        "sonar.global.exclusions",
        "Global Source File Exclusions",
        "STRING",
        "exclusions",
        None,
    ),
    (
        "sonar.coverage.exclusions",
        "Coverage Exclusions",
        "STRING",
        "exclusions",
        None,
    ),
    (
        "sonar.cpd.exclusions",
        "Duplication Exclusions",
        "STRING",
        "exclusions",
        None,
    ),
    (
        "sonar.dbcleaner.daysBeforeDeletingClosedIssues",
        "Delete closed issues after",
        "INTEGER",
        "housekeeping",
        Some("30"),
    ),
    (
        "sonar.dbcleaner.weeksBeforeDeletingAllSnapshots",
        "Delete all analyses after",
        "INTEGER",
        "housekeeping",
        Some("260"),
    ),
    (
        "sonar.qualitygate.ignoreSmallChanges",
        "Ignore small changes",
        "BOOLEAN",
        "general",
        Some("true"),
    ),
    (
        "sonar.lf.enableGravatar",
        "Enable support of gravatars",
        "BOOLEAN",
        "general",
        Some("false"),
    ),
    (
        "sonar.technicalDebt.developmentCost",
        "Development cost",
        "INTEGER",
        "technicalDebt",
        Some("30"),
    ),
    (
        "sonar.technicalDebt.ratingGrid",
        "Maintainability rating grid",
        "STRING",
        "technicalDebt",
        Some("0.05,0.1,0.2,0.5"),
    ),
];

/// Settings that have a value, but are not listed.
const HIDDEN: &[(&str, &str)] = &[
    ("projects.default.visibility", "public"),
    ("sonar.ai.suggestions.enabled", "DISABLED"),
];

/// What there is to set.
pub(super) fn definitions() -> Value {
    let definitions = SETTINGS.iter().map(|(key, name, kind, category, default)| {
        let mut definition = json!({
            "key": key, "name": name, "description": name, "type": kind, "category": category, "subCategory": category,
            "multiValues": false, "options": [], "fields": [],
        });
        if let (Some(definition), Some(default)) = (definition.as_object_mut(), default) {
            definition.insert("defaultValue".to_owned(), (*default).into());
        }
        definition
    });
    json!({ "definitions": definitions.collect::<Vec<_>>() })
}

/// The values of all settings, or of those that are asked for.
pub(super) fn values(given: &Parameters) -> Value {
    let keys = given.list("keys");
    let listed = SETTINGS
        .iter()
        .filter_map(|(key, .., default)| Some((*key, (*default)?)));
    let hidden = HIDDEN.iter().copied().filter(|(key, _)| keys.contains(key));
    let settings = listed
        .filter(|(key, _)| keys.is_empty() || keys.contains(key))
        .chain(hidden)
        .map(|(key, value)| json!({ "key": key, "value": value, "inherited": true }));
    json!({ "settings": settings.collect::<Vec<_>>(), "setSecuredSettings": [] })
}
