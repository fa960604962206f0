//! Thresholds on what clients saw: `p99: "< 3s"`, `errors: "< 1%"`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;
use crate::traffic::measure::Tally;
use crate::yaml::forms::string_form;
use crate::yaml::report::did_you_mean;
use crate::yaml::units::{Percentage, Time};

/// What a threshold is on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Metric {
    /// A quantile of a time, from 0.0 to 1.0.
    Quantile(Times, f64),
    /// The share of requests that failed.
    Errors(Errors),
    /// The share of requests that any fault was injected into.
    Faults,
    /// The number of requests.
    Requests,
}

/// Which time of requests is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// From the request's head to the end of the response, as clients see it.
    Total,
    /// How long the upstream took to respond.
    Natural,
    /// The injected waits of those requests that had any.
    Injected,
}

/// Which errors are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errors {
    /// All of them, as clients see them.
    All,
    /// Those of the upstream and of squall itself.
    Natural,
    /// Those that a fault caused.
    Injected,
}

/// The names of quantiles, with what they mean.
const QUANTILES: [(&str, f64); 8] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("min", 0.0),
    ("max", 1.0),
];
/// All names but those with `natural` or `injected` before them.
const NAMES: [&str; 11] = [
    "p50", "p75", "p90", "p95", "p99", "p99.9", "min", "max", "errors", "faults", "requests",
];

/// What may stand for a metric, for error messages.
pub const METRICS: &str = "use p50, p75, p90, p95, p99, p99.9, min, max or errors, each also with `natural` or `injected` before it; \
     faults, requests";

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Metric, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (times, errors, name) = match words.as_slice() {
            ["natural", name] => (Times::Natural, Errors::Natural, *name),
            ["injected", name] => (Times::Injected, Errors::Injected, *name),
            [name] => (Times::Total, Errors::All, *name),
            _ => return Err(format!("`{text}` is not a metric: {METRICS}")),
        };
        let quantile = QUANTILES.iter().find(|(known, _)| *known == name);
        match (quantile, name) {
            (Some((_, share)), _) => Ok(Metric::Quantile(times, *share)),
            (None, "errors") => Ok(Metric::Errors(errors)),
            (None, "faults") if times == Times::Total => Ok(Metric::Faults),
            (None, "requests") if times == Times::Total => Ok(Metric::Requests),
            _ => {
                let meant = did_you_mean(name, NAMES).map(|meant| format!("; did you mean `{meant}`?"));
                Err(format!(
                    "`{text}` is not a metric{}: {METRICS}",
                    meant.unwrap_or_default()
                ))
            }
        }
    }
}

impl Metric {
    /// The metric of a tally; `None` where no request says anything about it.
    pub fn of(self, tally: &Tally) -> Option<f64> {
        let share = |count: u64| (tally.requests > 0).then(|| count as f64 / tally.requests as f64 * 100.0);
        match self {
            Metric::Quantile(times, at) => times.of(tally).quantile(at).map(|time| time.as_secs_f64()),
            Metric::Errors(Errors::All) => share(tally.errors()),
            Metric::Errors(Errors::Natural) => share(tally.errors_natural),
            Metric::Errors(Errors::Injected) => share(tally.errors_injected),
            Metric::Faults => share(tally.faulty),
            Metric::Requests => Some(tally.requests as f64),
        }
    }

    /// A value of this metric in words: `1.2s`, `0.4%`, `17`.
    pub fn write(self, value: f64) -> String {
        match self {
            Metric::Quantile(..) => {
                let micros = (value * 1e6).round();
                // Three digits are all that the histogram knows.
                let unit = 10_f64.powf((micros.max(1.0).log10() - 2.0).floor().max(0.0));
                let micros = ((micros / unit).round() * unit) as u64;
                Time::saturating(Duration::from_micros(micros)).to_string()
            }
            Metric::Errors(_) | Metric::Faults => {
                let ppm = (value * 1e4).round() as u32;
                let rounded = if ppm > 10_000 { ppm / 100 * 100 } else { ppm };
                Percentage::from_ppm(rounded).to_string()
            }
            Metric::Requests => format!("{value}"),
        }
    }

    fn parse(self, text: &str) -> Result<f64, String> {
        match self {
            Metric::Quantile(..) => {
                let time = text.parse::<Time>().map_err(|error| error.to_string())?;
                Ok(time.get().as_secs_f64())
            }
            Metric::Errors(_) | Metric::Faults => {
                let share = text.parse::<Percentage>().map_err(|error| error.to_string())?;
                Ok(f64::from(share.ppm()) / 1e4)
            }
            Metric::Requests => {
                let count = text.parse::<u32>();
                count
                    .map(f64::from)
                    .map_err(|_| format!("`{text}` is not a number of requests"))
            }
        }
    }
}

impl Times {
    fn of(self, tally: &Tally) -> &Histogram {
        match self {
            Times::Total => &tally.total,
            Times::Natural => &tally.natural,
            Times::Injected => &tally.injected,
        }
    }
}

/// How a measured value compares with the threshold's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// Below the threshold.
    #[serde(rename = "<")]
    Below,
    /// At the threshold or below it.
    #[serde(rename = "<=")]
    AtMost,
    /// Above the threshold.
    #[serde(rename = ">")]
    Above,
    /// At the threshold or above it.
    #[serde(rename = ">=")]
    AtLeast,
}

/// The signs of comparisons; those that begin with another one first.
const SIGNS: [(&str, Comparison); 4] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("<", Comparison::Below),
    (">", Comparison::Above),
];

impl Comparison {
    /// Whether a value compares so with a threshold.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Comparison::Below => value < threshold,
            Comparison::AtMost => value <= threshold,
            Comparison::Above => value > threshold,
            Comparison::AtLeast => value >= threshold,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = SIGNS.iter().find(|(_, comparison)| comparison == self);
        f.write_str(sign.map_or("<", |(sign, _)| sign))
    }
}

/// The text of a bound as typed, `< 3s`; what its value means depends on the metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundSpec {
    comparison: Comparison,
    value: String,
}

impl FromStr for BoundSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<BoundSpec, String> {
        let found = SIGNS
            .iter()
            .find_map(|(sign, comparison)| Some((comparison, text.trim().strip_prefix(sign)?)));
        match found {
            Some((comparison, value)) if !value.trim().is_empty() => Ok(BoundSpec {
                comparison: *comparison,
                value: value.trim().to_owned(),
            }),
            _ => Err(format!(
                "`{text}` is not a threshold: use <, <=, > or >= and a value, such as \"< 3s\" or \"< 1%\""
            )),
        }
    }
}

impl fmt::Display for BoundSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.comparison, self.value)
    }
}

string_form!(
    BoundSpec,
    "Bound",
    "a threshold such as \"< 3s\"",
    r"^\s*(<|<=|>|>=)\s*[0-9.]+.*$"
);

/// A metric and what it must be.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// The metric as typed.
    pub name: String,
    /// What is measured for it.
    pub metric: Metric,
    /// How the measured value must compare.
    pub comparison: Comparison,
    /// The value to compare with, in seconds, percent or a number of requests.
    pub value: f64,
}

/// What a threshold says about a span of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// The measured value; `None` if nothing was measured.
    pub measured: Option<f64>,
    /// Whether the threshold holds; `None` if nothing was measured.
    pub held: Option<bool>,
}

impl Threshold {
    /// A threshold from its name and its bound.
    ///
    /// # Errors
    /// A sentence: which of the two is wrong, and what would be valid.
    pub fn new(name: &str, bound: &BoundSpec) -> Result<Threshold, String> {
        let metric: Metric = name.parse()?;
        Ok(Threshold {
            name: name.to_owned(),
            metric,
            comparison: bound.comparison,
            value: metric.parse(&bound.value)?,
        })
    }

    /// Judges the requests of a span of time.
    pub fn judge(&self, tally: &Tally) -> Judgement {
        let measured = self.metric.of(tally);
        Judgement {
            measured,
            held: measured.map(|value| self.comparison.holds(value, self.value)),
        }
    }

    /// What is wanted: `< 3s`.
    pub fn wanted(&self) -> String {
        format!("{} {}", self.comparison, self.metric.write(self.value))
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.wanted())
    }
}

#[cfg(test)]
mod tests;
