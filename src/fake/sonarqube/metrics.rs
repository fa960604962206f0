//! What can be measured.

use serde_json::{Value, json};

use super::figures::Figures;
use super::gates;
use super::parameters::Parameters;
use super::world::World;

/// Key, type, name, domain, and whether more is better (1), worse (-1) or neither (0). Most have a second one, for new code.
const METRICS: &str = r"
accepted_issues | INT | Accepted Issues | Issues | -1
alert_status | LEVEL | Quality Gate Status | Releasability | 1
blocker_violations | INT | Blocker Issues | Issues | -1
bugs | INT | Bugs | Reliability | -1
classes | INT | Classes | Size | 0
code_smells | INT | Code Smells | Maintainability | -1
cognitive_complexity | INT | Cognitive Complexity | Complexity | -1
comment_lines | INT | Comment Lines | Size | 1
comment_lines_density | PERCENT | Comments (%) | Size | 1
complexity | INT | Cyclomatic Complexity | Complexity | -1
confirmed_issues | INT | Confirmed Issues | Issues | -1
coverage | PERCENT | Coverage | Coverage | 1
critical_violations | INT | Critical Issues | Issues | -1
duplicated_blocks | INT | Duplicated Blocks | Duplications | -1
duplicated_files | INT | Duplicated Files | Duplications | -1
duplicated_lines | INT | Duplicated Lines | Duplications | -1
duplicated_lines_density | PERCENT | Duplicated Lines (%) | Duplications | -1
false_positive_issues | INT | False Positive Issues | Issues | -1
files | INT | Files | Size | 0
functions | INT | Functions | Size | 0
info_violations | INT | Info Issues | Issues | -1
line_coverage | PERCENT | Line Coverage | Coverage | 1
lines | INT | Lines | Size | 0
lines_to_cover | INT | Lines to Cover | Coverage | 0
major_violations | INT | Major Issues | Issues | -1
minor_violations | INT | Minor Issues | Issues | -1
ncloc | INT | Lines of Code | Size | 0
maintainability_rating | RATING | Maintainability Rating | Maintainability | -1
open_issues | INT | Open Issues | Issues | 0
quality_gate_details | DATA | Quality Gate Details | General | 0
reliability_rating | RATING | Reliability Rating | Reliability | -1
reliability_remediation_effort | WORK_DUR | Reliability Remediation Effort | Reliability | -1
reopened_issues | INT | Reopened Issues | Issues | -1
security_hotspots | INT | Security Hotspots | SecurityReview | -1
security_hotspots_reviewed | PERCENT | Security Hotspots Reviewed | SecurityReview | 1
security_rating | RATING | Security Rating | Security | -1
security_remediation_effort | WORK_DUR | Security Remediation Effort | Security | -1
security_review_rating | RATING | Security Review Rating | SecurityReview | -1
skipped_tests | INT | Skipped Unit Tests | Coverage | -1
sqale_debt_ratio | PERCENT | Technical Debt Ratio | Maintainability | -1
sqale_index | WORK_DUR | Technical Debt | Maintainability | -1
sqale_rating | RATING | Maintainability Rating | Maintainability | -1
statements | INT | Statements | Size | 0
test_errors | INT | Unit Test Errors | Coverage | -1
test_execution_time | MILLISEC | Unit Test Duration | Coverage | -1
test_failures | INT | Unit Test Failures | Coverage | -1
test_success_density | PERCENT | Unit Test Success (%) | Coverage | 1
technical_debt | WORK_DUR | Added Technical Debt | Maintainability | -1
tests | INT | Unit Tests | Coverage | 1
uncovered_lines | INT | Uncovered Lines | Coverage | -1
violations | INT | Issues | Issues | -1
vulnerabilities | INT | Vulnerabilities | Security | -1
wont_fix_issues | INT | Won't Fix Issues | Issues | -1
software_quality_blocker_issues | INT | Blocker Severity Issues | Issues | -1
software_quality_high_issues | INT | High Severity Issues | Issues | -1
software_quality_info_issues | INT | Info Severity Issues | Issues | -1
software_quality_low_issues | INT | Low Severity Issues | Issues | -1
software_quality_maintainability_debt_ratio | PERCENT | Technical Debt Ratio | Maintainability | -1
software_quality_maintainability_issues | INT | Maintainability Issues | Maintainability | -1
software_quality_maintainability_rating | RATING | Maintainability Rating | Maintainability | -1
software_quality_maintainability_remediation_effort | WORK_DUR | Technical Debt | Maintainability | -1
software_quality_medium_issues | INT | Medium Severity Issues | Issues | -1
software_quality_reliability_issues | INT | Reliability Issues | Reliability | -1
software_quality_reliability_rating | RATING | Reliability Rating | Reliability | -1
software_quality_reliability_remediation_effort | WORK_DUR | Reliability Effort | Reliability | -1
software_quality_security_issues | INT | Security Issues | Security | -1
software_quality_security_rating | RATING | Security Rating | Security | -1
software_quality_security_remediation_effort | WORK_DUR | Security Effort | Security | -1
";

/// Metrics that real servers have, and of which nothing is measured here.
const UNMEASURED: &[&str] = &[
    "ncloc_language_distribution",
    "projects",
    "quality_profiles",
    "last_commit_date",
    "development_cost",
    "high_impact_accepted_issues",
    "maintainability_issues",
    "reliability_issues",
    "security_issues",
    "pull_request_fixed_issues",
    "effort_to_reach_maintainability_rating_a",
    "conditions_to_cover",
    "uncovered_conditions",
    "branch_coverage",
    "generated_lines",
    "generated_ncloc",
    "directories",
    "unanalyzed_c",
    "unanalyzed_cpp",
];

/// What is known of a metric.
pub(super) struct Metric {
    key: String,
    kind: &'static str,
    name: String,
    domain: &'static str,
    direction: i8,
}

impl Metric {
    pub(super) fn is(&self, key: &str) -> bool {
        self.key == key
    }

    pub(super) fn shown(&self) -> Value {
        json!({
            "key": self.key, "type": self.kind, "name": self.name, "description": self.name, "domain": self.domain,
            "direction": self.direction, "qualitative": self.direction != 0, "hidden": false,
        })
    }
}

/// The metrics of some version: those that have a value.
pub(super) fn of(world: &World) -> Vec<Metric> {
    let none = Figures::default();
    let rows = METRICS.trim().lines().map(|row| row.split(" | "));
    let rows = rows.map(|mut cells| std::array::from_fn(|_| cells.next().unwrap_or_default()));
    let mut all = Vec::new();
    for [key, kind, name, domain, direction] in rows {
        if !world.current && key.starts_with("software_quality_") {
            continue;
        }
        let direction = direction.parse().unwrap_or_default();
        for (key, name) in [
            (key.to_owned(), name.to_owned()),
            (format!("new_{key}"), format!("{name} on New Code")),
        ] {
            if gates::value(&none, &key).is_some() {
                all.push(Metric {
                    key,
                    kind,
                    name,
                    domain,
                    direction,
                });
            }
        }
    }
    all
}

/// Whether real servers take a metric.
pub(super) fn is_known(metrics: &[Metric], key: &str) -> bool {
    metrics.iter().any(|metric| metric.is(key)) || UNMEASURED.contains(&key)
}

/// # Errors
/// What is wrong with the page.
pub(super) fn search(world: &World, given: &Parameters) -> Result<Value, String> {
    let page = given.page()?;
    let mut all: Vec<_> = of(world).iter().map(Metric::shown).collect();
    if !world.current {
        for (metric, id) in all.iter_mut().filter_map(Value::as_object_mut).zip(1_u32..) {
            metric.insert("id".to_owned(), id.to_string().into());
            metric.insert("custom".to_owned(), false.into());
        }
    }
    let total = all.len();
    let shown: Vec<_> = all.into_iter().skip(page.offset()).take(page.size).collect();
    Ok(json!({ "metrics": shown, "total": total, "p": page.number, "ps": page.size }))
}
