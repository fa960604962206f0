//! What there is in files and projects: issues that are counted, and sizes that are drawn.

use std::ops::AddAssign;

use super::dates;
use super::issue::Issue;
use super::rules::{SEVERITIES, TYPES};
use super::world::{FILES, LAST_ANALYSIS, World};
use crate::fake::made_up::dice::{Dice, Stream};

/// Minutes that a line of code takes to write, as SonarQube reckons.
const MINUTES_OF_A_LINE: f64 = 30.0;

/// Lines of a file at least: issues are on lines up to this one.
const LEAST_LINES: usize = 600;

/// The figures of a file; added up, of a project.
#[derive(Debug, Default, Clone)]
pub(super) struct Figures {
    /// Issues without a resolution.
    open: Tally,
    /// Those of the last month.
    new: Tally,
    /// By place in [`super::rules::ISSUE_STATUSES`], all issues.
    statuses: [u64; 5],
    reopened: u64,
    size: Sizes,
}

/// Issues, counted.
#[derive(Debug, Default, Clone)]
struct Tally {
    /// By place in [`TYPES`].
    kinds: [u64; TYPES.len()],
    /// The worst severity of each type: its place in [`SEVERITIES`], from 1 on.
    worst: [usize; TYPES.len()],
    /// By place in [`SEVERITIES`].
    severities: [u64; SEVERITIES.len()],
    /// Minutes, by type.
    effort: [u64; TYPES.len()],
}

#[derive(Debug, Default, Clone)]
struct Sizes {
    files: u64,
    lines: u64,
    ncloc: u64,
    statements: u64,
    functions: u64,
    classes: u64,
    comment_lines: u64,
    complexity: u64,
    cognitive_complexity: u64,
    lines_to_cover: u64,
    uncovered_lines: u64,
    duplicated_lines: u64,
    tests: u64,
}

/// The figures of all files of all projects. Looks at every issue.
pub(super) fn of_files(world: &World) -> Vec<Figures> {
    let files = world.projects.len() * FILES;
    let mut all: Vec<_> = (0..files).map(|file| Figures::sized(world.seed, file)).collect();
    let month = dates::before(LAST_ANALYSIS, "1m").unwrap_or(i64::MAX);
    for index in 0..world.issues {
        let issue = world.issue(index);
        if let Some(file) = all.get_mut(issue.project_index() * FILES + issue.file()) {
            file.count(issue, issue.created() >= month);
        }
    }
    all
}

impl Figures {
    fn sized(seed: u64, file: usize) -> Self {
        let mut dice = Dice::new(seed, Stream::Measures, file as u64);
        let lines = (LEAST_LINES + dice.below(400)) as u64;
        let mut share = |least: usize, most: usize| dice.from(least, most) as u64;
        let ncloc = lines * share(60, 80) / 100;
        let functions = share(10, 60);
        let lines_to_cover = ncloc * share(50, 70) / 100;
        let size = Sizes {
            files: 1,
            lines,
            ncloc,
            statements: ncloc * share(40, 60) / 100,
            functions,
            classes: share(1, 5),
            comment_lines: lines * share(2, 20) / 100,
            complexity: functions * share(2, 5),
            cognitive_complexity: functions * share(1, 6),
            lines_to_cover,
            uncovered_lines: lines_to_cover * share(5, 60) / 100,
            duplicated_lines: lines * share(0, 12) / 100,
            tests: share(0, 30),
        };
        Self {
            size,
            ..Self::default()
        }
    }

    fn count(&mut self, issue: Issue<'_>, new: bool) {
        add(&mut self.statuses, issue.issue_status(), 1);
        if issue.resolution().is_some() {
            return;
        }
        self.reopened += u64::from(issue.status() == 2);
        self.open.count(issue);
        if new {
            self.new.count(issue);
        }
    }

    /// A metric's value; nothing if there is no such metric.
    pub(super) fn value(&self, metric: &str) -> Option<String> {
        let (size, open) = (&self.size, &self.open);
        if let Some(metric) = metric.strip_prefix("new_") {
            return self.new_value(metric);
        }
        Some(match metric {
            "files" => size.files.to_string(),
            "lines" => size.lines.to_string(),
            "ncloc" => size.ncloc.to_string(),
            "statements" => size.statements.to_string(),
            "functions" => size.functions.to_string(),
            "classes" => size.classes.to_string(),
            "comment_lines" => size.comment_lines.to_string(),
            "comment_lines_density" => percent(size.comment_lines, size.comment_lines + size.ncloc),
            "complexity" => size.complexity.to_string(),
            "cognitive_complexity" => size.cognitive_complexity.to_string(),
            "lines_to_cover" => size.lines_to_cover.to_string(),
            "uncovered_lines" => size.uncovered_lines.to_string(),
            "coverage" | "line_coverage" => percent(
                size.lines_to_cover.saturating_sub(size.uncovered_lines),
                size.lines_to_cover,
            ),
            "duplicated_lines" => size.duplicated_lines.to_string(),
            "duplicated_lines_density" => percent(size.duplicated_lines, size.lines),
            "duplicated_blocks" => (size.duplicated_lines / 20).to_string(),
            "duplicated_files" => (size.files / 3).to_string(),
            "tests" => size.tests.to_string(),
            "test_errors" | "test_failures" | "skipped_tests" => "0".to_owned(),
            "test_success_density" => "100.0".to_owned(),
            "test_execution_time" => (size.tests * 17).to_string(),
            "open_issues" => open.all().saturating_sub(self.status(1) + self.reopened).to_string(),
            "confirmed_issues" => self.status(1).to_string(),
            "reopened_issues" => self.reopened.to_string(),
            "false_positive_issues" => self.status(2).to_string(),
            "wont_fix_issues" | "accepted_issues" => self.status(3).to_string(),
            "sqale_debt_ratio" | "software_quality_maintainability_debt_ratio" => format!("{:.1}", self.debt_ratio()),
            "security_hotspots_reviewed" => "100.0".to_owned(),
            "security_review_rating" => "1.0".to_owned(),
            "sqale_rating" | "software_quality_maintainability_rating" => rating(self.debt_grade()),
            other => return open.value(other),
        })
    }

    fn new_value(&self, metric: &str) -> Option<String> {
        let size = &self.size;
        Some(match metric {
            "lines" => (size.lines / 20).to_string(),
            "coverage" | "line_coverage" => percent(
                size.lines_to_cover.saturating_sub(size.uncovered_lines),
                size.lines_to_cover,
            ),
            "lines_to_cover" => (size.lines_to_cover / 20).to_string(),
            "uncovered_lines" => (size.uncovered_lines / 20).to_string(),
            "duplicated_lines" => (size.duplicated_lines / 20).to_string(),
            "duplicated_lines_density" => percent(size.duplicated_lines, size.lines),
            "security_hotspots" => "0".to_owned(),
            "sqale_debt_ratio" | "software_quality_maintainability_debt_ratio" => format!("{:.1}", self.debt_ratio()),
            "technical_debt" | "software_quality_maintainability_remediation_effort" => {
                self.new.effort_of(0).to_string()
            }
            "security_hotspots_reviewed" => "100.0".to_owned(),
            "security_review_rating" => "1.0".to_owned(),
            "maintainability_rating" | "software_quality_maintainability_rating" => rating(self.debt_grade()),
            other => return self.new.value(other),
        })
    }

    fn status(&self, at: usize) -> u64 {
        self.statuses.get(at).copied().unwrap_or_default()
    }

    /// The cost of all smells, in per cent of the cost of all lines.
    fn debt_ratio(&self) -> f64 {
        let cost = (self.size.ncloc as f64 * MINUTES_OF_A_LINE).max(1.0);
        self.open.effort_of(0) as f64 * 100.0 / cost
    }

    fn debt_grade(&self) -> usize {
        let ratio = self.debt_ratio();
        1 + [5.0, 10.0, 20.0, 50.0].iter().filter(|limit| ratio > **limit).count()
    }
}

impl Tally {
    fn count(&mut self, issue: Issue<'_>) {
        let (kind, severity) = (issue.kind(), issue.severity());
        add(&mut self.kinds, kind, 1);
        add(&mut self.severities, severity, 1);
        add(&mut self.effort, kind, u64::from(issue.effort()));
        if let Some(worst) = self.worst.get_mut(kind) {
            *worst = (*worst).max(severity + 1);
        }
    }

    fn all(&self) -> u64 {
        self.kinds.iter().sum()
    }

    fn kind(&self, at: usize) -> u64 {
        self.kinds.get(at).copied().unwrap_or_default()
    }

    fn effort_of(&self, at: usize) -> u64 {
        self.effort.get(at).copied().unwrap_or_default()
    }

    /// A for nothing, B for a minor issue, and so on.
    fn grade(&self, kind: usize) -> String {
        rating(self.worst.get(kind).copied().unwrap_or_default().max(1))
    }

    fn value(&self, metric: &str) -> Option<String> {
        let severity = SEVERITIES.iter().position(|name| {
            let violations = metric.strip_suffix("_violations");
            violations.is_some_and(|start| start.eq_ignore_ascii_case(name))
        });
        if let Some(severity) = severity {
            return self.severities.get(severity).map(ToString::to_string);
        }
        let impact = metric.strip_prefix("software_quality_");
        let impact = impact.and_then(|rest| rest.strip_suffix("_issues"));
        if let Some(impact) = impact {
            let names = super::rules::IMPACT_SEVERITIES;
            let at = names.iter().position(|name| name.eq_ignore_ascii_case(impact));
            let quality = super::rules::QUALITIES
                .iter()
                .position(|name| name.eq_ignore_ascii_case(impact));
            let count = at.and_then(|at| self.severities.get(at)).copied();
            return count
                .or_else(|| quality.map(|at| self.kind(at)))
                .map(|count| count.to_string());
        }
        Some(match metric {
            "violations" => self.all().to_string(),
            "code_smells" => self.kind(0).to_string(),
            "bugs" => self.kind(1).to_string(),
            "vulnerabilities" => self.kind(2).to_string(),
            "security_hotspots" => self.kind(3).to_string(),
            "sqale_index" | "software_quality_maintainability_remediation_effort" => self.effort_of(0).to_string(),
            "reliability_remediation_effort" | "software_quality_reliability_remediation_effort" => {
                self.effort_of(1).to_string()
            }
            "security_remediation_effort" | "software_quality_security_remediation_effort" => {
                self.effort_of(2).to_string()
            }
            "reliability_rating" | "software_quality_reliability_rating" => self.grade(1),
            "security_rating" | "software_quality_security_rating" => self.grade(2),
            _ => return None,
        })
    }
}

impl AddAssign<&Figures> for Figures {
    fn add_assign(&mut self, other: &Figures) {
        self.open += &other.open;
        self.new += &other.new;
        sum(&mut self.statuses, &other.statuses);
        self.reopened += other.reopened;
        let (size, more) = (&mut self.size, &other.size);
        size.files += more.files;
        size.lines += more.lines;
        size.ncloc += more.ncloc;
        size.statements += more.statements;
        size.functions += more.functions;
        size.classes += more.classes;
        size.comment_lines += more.comment_lines;
        size.complexity += more.complexity;
        size.cognitive_complexity += more.cognitive_complexity;
        size.lines_to_cover += more.lines_to_cover;
        size.uncovered_lines += more.uncovered_lines;
        size.duplicated_lines += more.duplicated_lines;
        size.tests += more.tests;
    }
}

impl AddAssign<&Tally> for Tally {
    fn add_assign(&mut self, other: &Tally) {
        sum(&mut self.kinds, &other.kinds);
        sum(&mut self.severities, &other.severities);
        sum(&mut self.effort, &other.effort);
        for (worst, more) in self.worst.iter_mut().zip(&other.worst) {
            *worst = (*worst).max(*more);
        }
    }
}

fn sum(all: &mut [u64], more: &[u64]) {
    for (one, more) in all.iter_mut().zip(more) {
        *one += more;
    }
}

fn add(all: &mut [u64], at: usize, more: u64) {
    if let Some(one) = all.get_mut(at) {
        *one += more;
    }
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1}", part as f64 * 100.0 / whole.max(1) as f64)
}

fn rating(grade: usize) -> String {
    format!("{grade}.0")
}
