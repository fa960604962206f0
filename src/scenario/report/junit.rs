//! The report as JUnit XML: a test case for each check, and one for the scenario itself.

use std::fmt::Write as _;

use super::{Expectation, Phase, ScenarioReport, Verdict};

impl ScenarioReport {
    /// The report as JUnit XML, as Jenkins, GitLab and GitHub's actions read it. The scenario itself is a test case too, so
    /// that there is one even without expectations.
    pub fn junit(&self) -> String {
        let time = self.seconds.before + self.seconds.during + self.seconds.after;
        let name = escape(&self.scenario);
        let mut cases = String::new();
        let (mut tests, mut failures, mut errors) = (1, 0, 0);
        let outcome = self.outcome();
        count(&outcome, &mut failures, &mut errors);
        case(
            &mut cases,
            &name,
            "the scenario runs to its end and everything is put back",
            time,
            &outcome,
        );
        for one in self.checks().filter(|one| self.is_required(one)) {
            tests += 1;
            let outcome = one.outcome();
            count(&outcome, &mut failures, &mut errors);
            let title = format!("{} {} ({})", one.name, one.wanted, one.when);
            case(&mut cases, &name, &title, self.seconds_of(one.when), &outcome);
        }
        let counts = format!(r#"tests="{tests}" failures="{failures}" errors="{errors}" skipped="0" time="{time:.3}""#);
        let mut properties = String::new();
        for (key, value) in [
            ("seed", self.seed.to_string()),
            ("command", self.command.clone()),
            ("squall", self.squall.clone()),
            ("config_hash", self.config_hash.clone()),
            ("verdict", self.verdict.to_string()),
        ] {
            let _ = writeln!(
                properties,
                r#"      <property name="{key}" value="{}"/>"#,
                escape(&value)
            );
        }
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <testsuites name=\"squall\" {counts}>\n\
             \x20 <testsuite name=\"{name}\" timestamp=\"{}\" {counts}>\n\
             \x20   <properties>\n{properties}    </properties>\n{cases}\
             \x20   <system-out>{}</system-out>\n  </testsuite>\n</testsuites>\n",
            timestamp(self.started),
            escape(&self.summary()),
        )
    }

    /// Whether a check decides about the verdict. The steady state during the steps is only reported.
    pub fn is_required(&self, check: &Expectation) -> bool {
        let only_reported = |one: &Expectation| one.when == Phase::During && std::ptr::eq(one, check);
        !self.steady.iter().any(only_reported)
    }

    fn outcome(&self) -> Outcome {
        let failed = self.checks().any(|one| self.is_required(one) && one.held != Some(true));
        let reason = self.reason.clone().unwrap_or_default();
        match self.verdict {
            Verdict::Passed => Outcome::Passed,
            // The check that failed has its own test case.
            Verdict::Failed if self.reverted && failed && reason.starts_with("did not hold") => Outcome::Passed,
            Verdict::Failed => Outcome::Failed(reason),
            Verdict::Inconclusive if failed => Outcome::Passed,
            Verdict::Aborted | Verdict::Inconclusive => Outcome::Unknown(format!("{}: {reason}", self.verdict)),
        }
    }

    fn seconds_of(&self, phase: Phase) -> f64 {
        match phase {
            Phase::Before => self.seconds.before,
            Phase::During => self.seconds.during,
            Phase::After => self.seconds.after,
        }
    }
}

enum Outcome {
    Passed,
    Failed(String),
    Unknown(String),
}

impl Expectation {
    fn outcome(&self) -> Outcome {
        match (self.held, &self.measured) {
            (Some(true), _) => Outcome::Passed,
            (Some(false), measured) => {
                let measured = measured.as_deref().unwrap_or("unknown");
                Outcome::Failed(format!("{} was {measured}, not {}", self.name, self.wanted))
            }
            (None, _) => Outcome::Unknown(format!("no request says anything about `{}`", self.name)),
        }
    }
}

fn count(outcome: &Outcome, failures: &mut u32, errors: &mut u32) {
    match outcome {
        Outcome::Passed => {}
        Outcome::Failed(_) => *failures += 1,
        Outcome::Unknown(_) => *errors += 1,
    }
}

/// `class` is escaped already.
fn case(xml: &mut String, class: &str, name: &str, time: f64, outcome: &Outcome) {
    let _ = write!(
        xml,
        r#"    <testcase classname="{class}" name="{}" time="{time:.3}""#,
        escape(name)
    );
    let (element, message) = match outcome {
        Outcome::Passed => return xml.push_str("/>\n"),
        Outcome::Failed(message) => ("failure", message),
        Outcome::Unknown(message) => ("error", message),
    };
    let message = escape(message);
    let _ = write!(
        xml,
        ">\n      <{element} message=\"{message}\" type=\"{element}\">{message}</{element}>\n    </testcase>\n"
    );
}

/// A time in seconds since 1970, as the schema of JUnit wants it: ISO 8601 without a zone.
pub(super) fn timestamp(seconds: f64) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    // Casts of floats saturate.
    let time = time::OffsetDateTime::from_unix_timestamp(seconds as i64);
    time.ok().and_then(|time| time.format(format).ok()).unwrap_or_default()
}

/// Escapes a text for XML and HTML. Characters that XML 1.0 can't have become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}
