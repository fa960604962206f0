//! What happened in a scenario: the report, as JSON, as JUnit XML, and as one HTML page.
//!
//! Times are in seconds since the steps began, so the observation before them has negative ones.

mod html;
mod junit;
mod plot;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::traffic::measure::{Slots, Tally};

/// The version of the report's JSON form. Members may be added to it; changing or removing one makes a new version.
pub const VERSION: u32 = 1;

/// How a scenario ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every expectation held.
    Passed,
    /// An expectation did not hold, the scenario was halted, or reverting failed.
    Failed,
    /// It was ended on request, or the steady state did not hold before anything was injected.
    Aborted,
    /// An expectation could not be checked, for lack of requests.
    Inconclusive,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Aborted => "aborted",
            Verdict::Inconclusive => "inconclusive",
        })
    }
}

/// What happened in a scenario, from beginning to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioReport {
    /// The version of this form: [`VERSION`].
    pub report: u32,
    /// The scenario's name, as typed.
    pub scenario: String,
    /// How the scenario ended.
    pub verdict: Verdict,
    /// Why it ended so, in a sentence; `None` if it passed.
    pub reason: Option<String>,
    /// Whether everything that the scenario changed was put back.
    pub reverted: bool,
    /// The version of squall.
    pub squall: String,
    /// The seed of all draws.
    pub seed: u64,
    /// The hash of the configuration that was in force at the beginning.
    pub config_hash: String,
    /// The command that plays the scenario again.
    pub command: String,
    /// When it was started, in seconds since 1970.
    pub started: f64,
    /// How long each part took, in seconds.
    pub seconds: Seconds,
    /// What was expected, and what was measured.
    pub expectations: Vec<Expectation>,
    /// The steady state, as far as it was checked.
    pub steady: Vec<Expectation>,
    /// What was injected when.
    pub injected: Vec<Injection>,
    /// The numbers of rules that changed over time.
    pub curves: Vec<Course>,
    /// What clients saw before, during and after the steps.
    pub windows: Windows,
    /// What clients saw over time.
    pub series: Vec<Sample>,
    /// The scenario's own YAML.
    pub yaml: String,
}

/// How long the parts of a scenario took, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seconds {
    /// The observation before the steps.
    pub before: f64,
    /// The steps, pauses included.
    pub during: f64,
    /// The observation after reverting.
    pub after: f64,
}

/// An expectation, with what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Expectation {
    /// What it is about: a metric, or `recovered within`.
    pub name: String,
    /// When it was measured: `before`, `during` or `after`.
    pub when: Phase,
    /// What was wanted: `< 3s`.
    pub wanted: String,
    /// What was measured: `1.2s`; `None` if nothing was.
    pub measured: Option<String>,
    /// Whether it held; `None` if nothing was measured.
    pub held: Option<bool>,
    /// How far the measured value is from the threshold, as a share of the threshold: 0.25 is a quarter to spare, and -0.25 a
    /// quarter too much. `None` where that has no meaning.
    pub margin: Option<f64>,
}

/// A part of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before anything is injected.
    Before,
    /// While the steps run.
    During,
    /// After everything was reverted.
    After,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Before => "before",
            Phase::During => "during",
            Phase::After => "after",
        })
    }
}

/// A step that took effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Injection {
    /// The step in words.
    pub text: String,
    /// The rule that it changed.
    pub rule: String,
    /// When the step began.
    pub from: f64,
    /// When the step ended.
    pub until: f64,
}

/// A number of a rule over time, as it was set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Course {
    /// The rule's name, as in the configuration.
    pub rule: String,
    /// The number: delay (in seconds), percentage, or bandwidth (in bytes a second).
    pub property: String,
    /// Pairs of time and value; between two of them the earlier value holds.
    pub points: Vec<(f64, f64)>,
}

/// What clients saw in the parts of a scenario.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Windows {
    /// Before anything was injected.
    pub before: Sample,
    /// While the steps ran.
    pub during: Sample,
    /// After everything was reverted.
    pub after: Sample,
}

/// What clients saw in a span of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// When the span began.
    pub at: f64,
    /// How long it is, in seconds.
    pub seconds: f64,
    /// The number of finished requests.
    pub requests: u64,
    /// Requests that any fault was injected into.
    pub faults: u64,
    /// Requests that failed by themselves.
    pub errors_natural: u64,
    /// Requests that an injected fault made fail.
    pub errors_injected: u64,
    /// From each request's head to the end of its response.
    pub total_ms: Quantiles,
    /// How long the upstream took to respond.
    pub natural_ms: Quantiles,
    /// Injected waits of those requests that had any.
    pub injected_ms: Quantiles,
}

/// Quantiles of a time, in milliseconds; `None` if there was none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quantiles {
    /// The median of all times.
    pub p50: Option<f64>,
    /// 90 % were shorter than this.
    pub p90: Option<f64>,
    /// 99 % were shorter than this.
    pub p99: Option<f64>,
}

impl Sample {
    /// The figures of a tally of the span from `at` on.
    pub fn of(tally: &Tally, at: f64, seconds: f64) -> Sample {
        let quantiles = |times: &crate::histogram::Histogram| {
            let at = |share| {
                times
                    .quantile(share)
                    .map(|time| (time.as_secs_f64() * 1e6).round() / 1e3)
            };
            Quantiles {
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
            }
        };
        Sample {
            at,
            seconds,
            requests: tally.requests,
            faults: tally.faulty,
            errors_natural: tally.errors_natural,
            errors_injected: tally.errors_injected,
            total_ms: quantiles(&tally.total),
            natural_ms: quantiles(&tally.natural),
            injected_ms: quantiles(&tally.injected),
        }
    }

    /// The samples of all slots; the first slot began `before` seconds before the steps, and the last one is not over after
    /// `elapsed` seconds.
    pub fn series(slots: &Slots, before: f64, elapsed: f64) -> Vec<Sample> {
        let width = slots.width.as_secs_f64();
        let tallies = slots.tallies.iter().enumerate();
        tallies
            .map(|(number, tally)| {
                let began = number as f64 * width;
                let seconds = (elapsed - began).clamp(1e-3, width);
                Sample::of(tally, began - before, seconds)
            })
            .collect()
    }

    /// The share of requests that failed for one reason, in percent.
    pub fn share(&self, errors: u64) -> Option<f64> {
        (self.requests > 0).then(|| errors as f64 / self.requests as f64 * 100.0)
    }
}

impl ScenarioReport {
    /// Everything that was checked: the steady state and the expectations.
    pub fn checks(&self) -> impl Iterator<Item = &Expectation> {
        self.steady.iter().chain(&self.expectations)
    }

    /// The report in a few lines of text, for a terminal.
    pub fn summary(&self) -> String {
        let mut text = format!("{}: {}", self.scenario, self.verdict);
        if let Some(reason) = &self.reason {
            text.push_str(&format!(": {reason}"));
        }
        text.push('\n');
        for one in self.checks() {
            let verdict = match (one.held, self.is_required(one)) {
                (Some(true), _) => "held",
                (Some(false), true) => "failed",
                (Some(false), false) => "did not hold",
                (None, _) => "not checked",
            };
            text.push_str(&format!("  {verdict:<12} {one}\n"));
        }
        let during = &self.windows.during;
        text.push_str(&format!(
            "  {} requests, {} with faults, {} errors ({} of them injected)\n",
            during.requests,
            during.faults,
            during.errors_natural + during.errors_injected,
            during.errors_injected
        ));
        if !self.reverted {
            text.push_str("  NOT EVERYTHING WAS REVERTED: look at `squall ctl rules`, or reload\n");
        }
        text
    }
}

impl fmt::Display for Expectation {
    /// `p99 < 3s (during): 4.2s`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measured = self.measured.as_deref().unwrap_or("nothing was measured");
        write!(f, "{} {} ({}): {measured}", self.name, self.wanted, self.when)
    }
}
