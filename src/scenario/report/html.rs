//! The report as one HTML page without scripts or anything to load, for any browser, offline.

use std::fmt::Write as _;

use super::junit::{escape, timestamp};
use super::plot::{self, Bar, Line, Scale, TimeAxis};
use super::{Course, Expectation, Sample, ScenarioReport};
use crate::scenario::curve::Property;

/// The style sheet of the page.
const STYLE: &str = include_str!("style.css");
/// The most bars of the first plot; what begins later is left to the JSON report.
const MOST_BARS: usize = 40;
/// The height of a plot of lines.
const HEIGHT: f64 = 190.0;

impl ScenarioReport {
    /// The report as one HTML page, with its plots drawn.
    pub fn html(&self) -> String {
        let title = escape(&self.scenario);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}: {verdict}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header><h1>{title}</h1>\
             <span class=\"verdict {verdict}\">{verdict}</span></header>\n",
            verdict = self.verdict
        );
        if let Some(reason) = &self.reason {
            let _ = writeln!(page, "<p class=\"reason\">{}</p>", escape(&capitalized(reason)));
        }
        if !self.reverted {
            page.push_str("<p class=\"alarm\">Not everything was put back. Look at the rules of this squall.</p>\n");
        }
        page.push_str(&self.facts());
        page.push_str(&self.checks_table());
        let axis = TimeAxis {
            from: -self.seconds.before,
            reverted: self.seconds.during,
            to: self.seconds.during + self.seconds.after,
        };
        page.push_str(&self.bars(axis));
        for course in &self.curves {
            page.push_str(&course.figure(axis));
        }
        if self.windows.before.requests + self.windows.during.requests + self.windows.after.requests > 0 {
            page.push_str(&self.latencies(axis));
            page.push_str(&self.errors(axis));
            page.push_str(&self.rates(axis));
        }
        page.push_str(&self.windows_table());
        let _ = write!(
            page,
            "<h2>The scenario</h2>\n<details><summary>Its YAML</summary><pre>{}</pre></details>\n</body>\n</html>\n",
            escape(&self.yaml)
        );
        page
    }

    fn facts(&self) -> String {
        let seconds = &self.seconds;
        let took = format!(
            "{} ({} before, {} during, {} after)",
            plot::seconds(seconds.before + seconds.during + seconds.after),
            plot::seconds(seconds.before),
            plot::seconds(seconds.during),
            plot::seconds(seconds.after)
        );
        format!(
            "<dl>\n<dt>Started</dt><dd>{} UTC</dd>\n<dt>Took</dt><dd>{took}</dd>\n<dt>Play it again</dt><dd><code>{}</code></dd>\n\
             <dt>Seed</dt><dd>{}</dd>\n<dt>Configuration</dt><dd>{}, squall {}</dd>\n</dl>\n",
            timestamp(self.started).replace('T', " "),
            escape(&self.command),
            self.seed,
            escape(&self.config_hash),
            escape(&self.squall)
        )
    }

    fn checks_table(&self) -> String {
        let rows: String = self
            .expectations
            .iter()
            .chain(&self.steady)
            .map(|one| one.row(self.is_required(one)))
            .collect();
        if rows.is_empty() {
            return "<h2>Expectations</h2>\n<p class=\"note\">The scenario expects nothing.</p>\n".into();
        }
        format!(
            "<h2>Expectations</h2>\n<div class=\"scroll\"><table>\n<tr><th>Expected<th>When<th class=\"number\">Measured<th>Result\
             <th>Margin to the threshold</tr>\n{rows}</table></div>\n"
        )
    }

    fn bars(&self, axis: TimeAxis) -> String {
        let heading = "<h2>What was injected when</h2>\n";
        if self.injected.is_empty() {
            return format!("{heading}<p class=\"note\">Nothing.</p>\n");
        }
        let bars: Vec<Bar<'_>> = self
            .injected
            .iter()
            .take(MOST_BARS)
            .map(|one| Bar {
                text: &one.text,
                from: one.from,
                until: one.until,
            })
            .collect();
        let more = match self.injected.len().saturating_sub(MOST_BARS) {
            0 => String::new(),
            more => format!(" The JSON report has {more} more."),
        };
        format!(
            "{heading}<figure>{}<figcaption>Time is counted from the first step on; it is shaded where nothing was \
             injected.{more}</figcaption></figure>\n",
            plot::bars("What was injected when", axis, &bars)
        )
    }

    fn latencies(&self, axis: TimeAxis) -> String {
        let lines = [
            self.line("what clients waited in all, p99", "total", |sample| sample.total_ms.p99),
            self.line("injected, p99", "injected", |sample| sample.injected_ms.p99),
            self.line("injected, median", "injected median", |sample| sample.injected_ms.p50),
            self.line("natural, p99", "natural", |sample| sample.natural_ms.p99),
            self.line("natural, median", "natural median", |sample| sample.natural_ms.p50),
        ];
        let plot = plot::lines(
            "Latency over time",
            axis,
            HEIGHT * 1.4,
            Scale::Logarithmic,
            &lines,
            &millis,
        );
        figure(
            "Latency, injected and natural",
            &lines,
            &plot,
            "The scale is logarithmic.",
        )
    }

    fn errors(&self, axis: TimeAxis) -> String {
        let mut lines = [
            self.line("injected errors", "injected", |sample| {
                sample.share(sample.errors_injected)
            }),
            self.line("natural errors", "bad", |sample| sample.share(sample.errors_natural)),
        ];
        lines.iter_mut().for_each(|line| line.filled = true);
        let percent = |value: f64| format!("{value}%");
        let plot = plot::lines("Errors over time", axis, HEIGHT, Scale::Linear(1.0), &lines, &percent);
        let note = "The share of requests without a response, with a status of 500 or above, or cut off.";
        figure("Errors", &lines, &plot, note)
    }

    fn rates(&self, axis: TimeAxis) -> String {
        let rate = |count: u64, sample: &Sample| Some(count as f64 / sample.seconds.max(1e-3));
        let lines = [
            self.line("requests", "natural", |sample| rate(sample.requests, sample)),
            self.line("requests with faults", "injected", |sample| rate(sample.faults, sample)),
        ];
        let write = |value: f64| format!("{value}/s");
        let plot = plot::lines("Requests over time", axis, HEIGHT, Scale::Linear(1.0), &lines, &write);
        figure("Requests", &lines, &plot, "Finished requests a second.")
    }

    /// A value of each sample, in the middle of the sample's time.
    fn line(&self, label: &'static str, class: &'static str, value: impl Fn(&Sample) -> Option<f64>) -> Line {
        let point = |sample: &Sample| (sample.at + sample.seconds / 2.0, value(sample));
        Line {
            label,
            class,
            points: self.series.iter().map(point).collect(),
            stairs: false,
            filled: false,
        }
    }

    fn windows_table(&self) -> String {
        let parts = [
            ("before", &self.windows.before),
            ("during", &self.windows.during),
            ("after", &self.windows.after),
        ];
        let mut rows = String::new();
        for (name, sample) in parts {
            let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), millis);
            let _ = write!(
                rows,
                "<tr><td>{name}<td class=\"number\">{}",
                plot::seconds(sample.seconds)
            );
            for count in [
                sample.requests,
                sample.faults,
                sample.errors_natural,
                sample.errors_injected,
            ] {
                let _ = write!(rows, "<td class=\"number\">{count}");
            }
            for times in [&sample.total_ms, &sample.natural_ms, &sample.injected_ms] {
                let _ = write!(
                    rows,
                    "<td class=\"number\">{}<td class=\"number\">{}",
                    shown(times.p50),
                    shown(times.p99)
                );
            }
            rows.push('\n');
        }
        let number = |text: &str| format!("<th class=\"number\">{text}");
        let heads: String = [
            "Time",
            "Requests",
            "With faults",
            "Natural errors",
            "Injected errors",
            "Total p50",
            "p99",
            "Natural p50",
            "p99",
            "Injected p50",
            "p99",
        ]
        .map(number)
        .concat();
        format!(
            "<h2>Before, during and after</h2>\n<div class=\"scroll\"><table>\n<tr><th>{heads}\n{rows}</table></div>\n"
        )
    }
}

impl Expectation {
    fn row(&self, is_required: bool) -> String {
        let (class, word) = match (self.held, is_required) {
            (Some(true), _) => ("held", "held"),
            (Some(false), true) => ("failed", "failed"),
            (Some(false), false) => ("unknown", "did not hold (only reported)"),
            (None, _) => ("unknown", "not checked: no requests"),
        };
        let margin = self.margin.map(|margin| {
            let share = (margin.abs() * 100.0).min(100.0);
            let words = if margin < 0.0 { "beyond it" } else { "to spare" };
            format!(
                "<span class=\"margin {class}\"><i style=\"width:{share:.0}%\"></i></span>{:.0}% {words}",
                margin.abs() * 100.0
            )
        });
        format!(
            "<tr><td>{} {}<td>{}<td class=\"number\">{}<td class=\"{class}\">{word}<td>{}\n",
            escape(&self.name),
            escape(&self.wanted),
            self.when,
            escape(self.measured.as_deref().unwrap_or("–")),
            margin.unwrap_or_default()
        )
    }
}

impl Course {
    fn figure(&self, axis: TimeAxis) -> String {
        let property = Property::ALL
            .into_iter()
            .find(|property| property.name() == self.property);
        let write = |value: f64| match property {
            Some(Property::Delay) => millis(value * 1e3),
            Some(Property::Percentage) => format!("{value}%"),
            Some(Property::Bandwidth) => rate(value),
            None => value.to_string(),
        };
        let mut points: Vec<(f64, Option<f64>)> =
            self.points.iter().map(|(time, value)| (*time, Some(*value))).collect();
        // The last value held until everything was put back.
        points.extend(self.points.last().map(|(_, value)| (axis.reverted, Some(*value))));
        let lines = [Line {
            label: "as it was set",
            class: "injected",
            points,
            stairs: true,
            filled: true,
        }];
        let title = format!("The {} of {}", self.property, self.rule);
        let plot = plot::lines(&title, axis, HEIGHT * 0.8, Scale::Linear(0.0), &lines, &write);
        format!("<h2>{}</h2>\n<figure>{plot}</figure>\n", escape(&title))
    }
}

/// A plot with its title, its legend and a note below.
fn figure(title: &str, lines: &[Line], plot: &str, note: &str) -> String {
    let legend: String = lines
        .iter()
        .filter(|line| line.points.iter().any(|(_, value)| value.is_some()))
        .map(|line| {
            format!(
                "<li><svg viewBox=\"0 0 28 10\" aria-hidden=\"true\"><path class=\"line {}\" d=\"M0 5H28\"/></svg>{}</li>",
                line.class, line.label
            )
        })
        .collect();
    format!(
        "<h2>{title}</h2>\n<ul class=\"legend\">{legend}</ul>\n<figure>{plot}<figcaption>{note}</figcaption></figure>\n"
    )
}

/// A time in milliseconds, in words: `0.5ms`, `120ms`, `2.5s`.
fn millis(value: f64) -> String {
    let (value, unit) = if value >= 1_000.0 {
        (value / 1e3, "s")
    } else {
        (value, "ms")
    };
    // Three digits.
    let digits = if value >= 100.0 {
        1.0
    } else {
        10_f64.powf(2.0 - value.max(1e-9).log10().floor())
    };
    format!("{}{unit}", (value * digits).round() / digits)
}

fn rate(value: f64) -> String {
    let units = [(1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s")];
    let unit = units.into_iter().find(|(size, _)| value >= *size);
    let (size, unit) = unit.unwrap_or((1.0, "B/s"));
    format!("{}{unit}", (value / size * 10.0).round() / 10.0)
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}", first.unwrap_or_default(), letters.as_str())
}
