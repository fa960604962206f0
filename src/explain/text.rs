//! Renders an explanation as lines of text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::effect::Fault;
use super::{DrawExplained, Explanation, RuleExplained, Step, Verdict};
use crate::rule::stage::Stage;

/// The width of the labels before the values.
const LABEL: usize = 11;

pub(super) fn render(explanation: &Explanation, coloured: bool) -> String {
    let mut page = Page {
        text: String::new(),
        coloured,
        subject: match &explanation.request.head {
            Some(_) => "request",
            None => "connection",
        },
    };
    page.request(explanation);
    page.rules(&explanation.rules);
    page.plan(&explanation.plan);
    page.notes(&explanation.notes);
    page.text
}

#[derive(Clone, Copy)]
enum Style {
    Bold,
    Dim,
    Green,
    Yellow,
    Red,
}

struct Page {
    text: String,
    coloured: bool,
    /// What is explained: `request` or `connection`.
    subject: &'static str,
}

impl Page {
    fn request(&mut self, explanation: &Explanation) {
        let request = &explanation.request;
        let title = match &request.head {
            Some(head) => format!("{} {}", head.method, head.target),
            None => "a connection".to_owned(),
        };
        let title = self.styled(Style::Bold, &title);
        self.line(&title);
        if let Some(head) = &request.head
            && head.target.split('?').next() != Some(head.path.as_str())
        {
            self.pair(2, "path", &head.path);
        }
        if !request.host.is_empty() {
            self.pair(2, "host", &request.host);
        }
        let client = request
            .client
            .map_or("no address (a unix socket)".to_owned(), |client| client.to_string());
        self.pair(2, "client", &client);
        let to = match request.upstream.as_str() {
            "" => "no upstream".to_owned(),
            upstream => format!("upstream {upstream}"),
        };
        self.pair(2, "listener", &format!("{} -> {to}", request.listener));
        if let Some(route) = &request.route {
            let words = match (route.number, &route.takes) {
                (Some(number), Some(takes)) => format!("{number} of {}: {takes}", route.of),
                _ => format!("none of {}", route.of),
            };
            self.pair(2, "route", &words);
        }
        if let Some(sent) = &request.sent {
            self.pair(2, "sent as", sent);
        }
        self.pair(2, "seed", &explanation.seed.to_string());
    }

    fn rules(&mut self, rules: &[RuleExplained]) {
        let title = self.styled(Style::Bold, "rules");
        self.line("");
        self.line(&title);
        if rules.is_empty() {
            self.line("  none");
        }
        let width = rules
            .iter()
            .map(|rule| rule.rule.chars().count())
            .max()
            .unwrap_or(0)
            .min(50);
        let digits = rules.len().to_string().len();
        for (number, rule) in (1..).zip(rules) {
            let (words, style) = verdict(rule);
            let words = self.styled(style, &words);
            let padding = " ".repeat(width.saturating_sub(rule.rule.chars().count()));
            self.line(&format!("  {number:>digits$}. {}{padding}  {words}", rule.rule));
            self.details(digits + 4, &rule.verdict);
        }
    }

    fn details(&mut self, indent: usize, verdict: &Verdict) {
        match verdict {
            Verdict::Disabled { reason } => {
                if let Some(reason) = reason {
                    self.line(&format!("{:indent$}{}", "", clean(reason)));
                }
            }
            Verdict::OtherListener { listeners } => self.pair(indent, "listener", &listeners.join(", ")),
            Verdict::Connection { faults, .. } => self.pair(indent, "faults", &faults.join(", ")),
            Verdict::NoMatch { failed } => {
                for failed in failed {
                    self.line(&format!("{:indent$}{}", "", clean(failed)));
                }
            }
            Verdict::NotHit { draw, reason } => {
                self.draw(indent, draw);
                self.pair(indent, "not hit", reason);
            }
            Verdict::Hit { draw, outcome, faults } => {
                self.draw(indent, draw);
                if let Some(outcome) = outcome {
                    let of = format!(
                        "{} of {}, weight {} of {}",
                        outcome.number, outcome.of, outcome.weight, outcome.weights
                    );
                    self.pair(indent, "outcome", &of);
                }
                if faults.is_empty() {
                    self.pair(indent, "faults", "none: it passes");
                }
                // One condition of all faults stands beside the name of the rule.
                let several = conditions(faults).len() > 1;
                for fault in faults {
                    let from = fault.from.as_ref().map_or(String::new(), |from| format!("{from}: "));
                    let condition = fault.condition.as_ref().filter(|_| several);
                    let condition = condition.map_or(String::new(), |what| format!(", if {what}"));
                    self.pair(indent, fault.fault, &format!("{from}{}{condition}", fault.effect));
                }
            }
        }
    }

    fn draw(&mut self, indent: usize, draw: &DrawExplained) {
        self.pair(indent, self.subject, &format!("number {} of this rule", draw.ordinal));
        if draw.key != "ordinal" {
            let value = match &draw.key_value {
                Some(value) => format!("{} = `{value}`", draw.key),
                None => format!("{}: the {} has none, so its number is used", draw.key, self.subject),
            };
            self.pair(indent, "key", &value);
        }
        self.pair(indent, "draw", &format!("{}, from {}", draw.comparison(), draw.draw));
    }

    fn plan(&mut self, steps: &[Step]) {
        let title = self.styled(Style::Bold, "plan");
        self.line("");
        self.line(&title);
        let digits = steps.len().to_string().len();
        for (number, step) in (1..).zip(steps) {
            let words = match step {
                Step::Fault {
                    rule, fault, effect, ..
                } => self.step(Style::Yellow, rule, fault, effect),
                Step::End {
                    rule, fault, effect, ..
                } => self.step(Style::Red, rule, fault, effect),
                Step::Refused { status, reason } => {
                    format!("{} {status}: {}", self.styled(Style::Red, "answers"), clean(reason))
                }
                Step::Upstream { name } if self.subject == "request" => {
                    format!("sends the request to upstream {}", self.styled(Style::Green, name))
                }
                Step::Upstream { name } => format!("connects to upstream {}", self.styled(Style::Green, name)),
                Step::Response if self.subject == "request" => "sends the response to the client".to_owned(),
                Step::Response => "passes bytes on, both ways".to_owned(),
            };
            self.line(&format!("  {number:>digits$}. {words}"));
        }
    }

    fn notes(&mut self, notes: &[String]) {
        if !notes.is_empty() {
            self.line("");
        }
        for note in notes {
            self.line(&format!("note: {}", clean(note)));
        }
    }

    fn step(&self, style: Style, rule: &str, fault: &str, effect: &str) -> String {
        format!("{} {} [{}]", self.styled(style, fault), clean(effect), clean(rule))
    }

    fn pair(&mut self, indent: usize, label: &str, value: &str) {
        let label = self.styled(Style::Dim, &format!("{label:LABEL$}"));
        self.line(&format!("{:indent$}{label} {}", "", clean(value)));
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn styled(&self, style: Style, words: &str) -> String {
        let words = clean(words);
        if !self.coloured {
            return words;
        }
        let code = match style {
            Style::Bold => 1,
            Style::Dim => 2,
            Style::Red => 31,
            Style::Green => 32,
            Style::Yellow => 33,
        };
        let mut styled = String::new();
        let _ = write!(styled, "\x1b[{code}m{words}\x1b[0m");
        styled
    }
}

/// Removes control characters: values and paths come from requests, whose escape sequences must not reach the terminal.
pub(crate) fn clean(words: &str) -> String {
    words
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// That a rule hits, and on what that depends if none of its faults can be applied to every body.
fn hit(faults: &[Fault]) -> String {
    if !faults.is_empty() && faults.iter().all(|fault| fault.skipped.is_some()) {
        return "hit, but no fault can be applied".to_owned();
    }
    match conditions(faults).into_iter().collect::<Option<Vec<_>>>().as_deref() {
        Some([one]) => format!("hit, if {one}"),
        Some([_, ..]) => "hit, if a fault can be applied".to_owned(),
        Some([]) | None => "hit".to_owned(),
    }
}

/// The different conditions of those faults that can be applied; `None` among them for a fault without one.
fn conditions(faults: &[Fault]) -> BTreeSet<Option<&str>> {
    let possible = faults.iter().filter(|fault| fault.skipped.is_none());
    possible.map(|fault| fault.condition.as_deref()).collect()
}

fn verdict(rule: &RuleExplained) -> (String, Style) {
    let shadow = if rule.shadow {
        " (shadow: counted, not injected)"
    } else {
        ""
    };
    let (words, style) = match &rule.verdict {
        Verdict::OtherListener { .. } => ("other listener", Style::Dim),
        Verdict::Disabled { .. } => ("disabled", Style::Dim),
        Verdict::Connection {
            before: Stage::Handshake,
            ..
        } => ("matches; runs in the TLS handshake", Style::Green),
        Verdict::Connection { .. } => ("matches; runs when a connection is accepted", Style::Green),
        Verdict::NoMatch { .. } => ("does not match", Style::Dim),
        Verdict::NotHit { .. } => ("matches, not hit", Style::Green),
        Verdict::Hit { faults, .. } => return (format!("{}{shadow}", hit(faults)), Style::Red),
    };
    (format!("{words}{shadow}"), style)
}
