//! A distribution of observed delays, read from a file.

use std::borrow::Cow;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{nanos, text};
use crate::yaml::units::Time;

/// The most values of a samples file.
pub const MAX_VALUES: usize = 10_000_000;

/// Observed values. A draw returns one of them, with the probability of its frequency, and never a value in between.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// The values in nanoseconds, ascending.
    values: Vec<f64>,
    /// The sum of the weights up to and including each value; absent where all weights are 1.
    cumulative: Option<Vec<u64>>,
}

impl Samples {
    /// Creates samples from values in any order, each with the weight 1.
    ///
    /// # Errors
    /// There are no values.
    pub fn new(values: &[Duration]) -> Result<Self, String> {
        Self::weighted(values.iter().map(|value| (nanos(*value), 1)).collect())
    }

    /// Values in nanoseconds with their weights, in any order.
    fn weighted(mut values: Vec<(f64, u64)>) -> Result<Self, String> {
        values.retain(|(_, weight)| *weight > 0);
        if values.is_empty() {
            return Err("it contains no values".to_owned());
        }
        values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let all_alike = values.iter().all(|(_, weight)| *weight == 1);
        Ok(Self {
            cumulative: if all_alike { None } else { Some(running_sums(&values)?) },
            values: values.into_iter().map(|(value, _)| value).collect(),
        })
    }

    /// The empirical quantile in nanoseconds: the least value at or below which the share `u` lies, for 0 < u < 1.
    pub(super) fn quantile_nanos(&self, u: f64) -> f64 {
        let last = self.values.len().saturating_sub(1);
        let index = match &self.cumulative {
            None => ((u * self.values.len() as f64).ceil() as usize).saturating_sub(1),
            Some(sums) => {
                let position = u * sums.last().map_or(0.0, |sum| *sum as f64);
                sums.partition_point(|sum| (*sum as f64) < position)
            }
        };
        self.values.get(index.min(last)).copied().unwrap_or(0.0)
    }

    /// The number of values; with weights, of those whose weight is not 0.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Never true: there is at least one value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

fn running_sums(values: &[(f64, u64)]) -> Result<Vec<u64>, String> {
    let mut sum = 0_u64;
    let mut add = |weight: u64| {
        sum = sum.checked_add(weight)?;
        Some(sum)
    };
    let sums: Option<Vec<u64>> = values.iter().map(|(_, weight)| add(*weight)).collect();
    sums.ok_or_else(|| "the sum of the weights overflows 64 bits".to_owned())
}

/// A column of a samples file: by its name in the header, or by its number from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// The name in the header.
    Name(String),
    /// The position, from 1.
    Number(usize),
}

/// The unit of the bare numbers in a samples file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum SampleUnit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Milliseconds, the default.
    #[default]
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Minutes.
    #[serde(rename = "m")]
    Minutes,
}

impl SampleUnit {
    fn nanos(self) -> f64 {
        match self {
            Self::Nanoseconds => 1.0,
            Self::Microseconds => 1e3,
            Self::Milliseconds => 1e6,
            Self::Seconds => 1e9,
            Self::Minutes => 60e9,
        }
    }
}

/// How to read a samples file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleFormat {
    /// The column with the delays; optional if there is only one.
    pub column: Option<Column>,
    /// The column with how often each delay was seen. Absent: every line counts once.
    pub weights: Option<Column>,
    /// The unit of bare numbers; values such as `12ms` have their own.
    pub unit: SampleUnit,
    /// Longer values are errors, since they usually mean a wrong unit.
    pub longest: Duration,
}

/// Reads a samples file: plain text with one value per line, or CSV with commas, semicolons or tabs. Empty lines and lines
/// that begin with `#` are skipped. The first line is a header if its value begins with neither a digit nor a sign.
///
/// # Errors
/// The text says what is wrong and in which line of `file`: a value that is no delay, is negative, or above
/// `format.longest`; a column that is not there; too many values; none at all.
pub fn read_samples(file: &str, bytes: &[u8], format: &SampleFormat) -> Result<Samples, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let content = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes
            .iter()
            .take(error.valid_up_to())
            .filter(|byte| **byte == b'\n')
            .count();
        format!("{file}, line {line}: this is not valid UTF-8")
    })?;
    let mut lines = content
        .lines()
        .zip(1_usize..)
        .map(|(line, number)| (line.trim(), number))
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .peekable();
    let Some(&(first, number)) = lines.peek() else {
        return Err(format!("{file}: it contains no values"));
    };
    let layout = Layout::of(first, format).map_err(|error| format!("{file}, line {number}: {error}"))?;
    if layout.has_header {
        lines.next();
    }
    let mut values = Vec::new();
    for (line, number) in lines {
        if values.len() >= MAX_VALUES {
            return Err(format!(
                "{file}, line {number}: there are more than {MAX_VALUES} values"
            ));
        }
        let value = layout.value(line, format);
        values.push(value.map_err(|error| format!("{file}, line {number}: {error}"))?);
    }
    Samples::weighted(values).map_err(|error| format!("{file}: {error}"))
}

/// The positions of the value and the weight in a line.
struct Layout {
    separator: Option<char>,
    column: usize,
    weights: Option<usize>,
    has_header: bool,
}

impl Layout {
    /// Detects the layout from the first line.
    fn of(first: &str, format: &SampleFormat) -> Result<Self, String> {
        let separator = ['\t', ';', ',']
            .into_iter()
            .find(|separator| first.contains(*separator));
        let cells = cells(first, separator);
        let column = match &format.column {
            Some(column) => find_column(column, &cells)?,
            None => only_column(&cells, format.weights.as_ref())?,
        };
        let weights = format
            .weights
            .as_ref()
            .map(|weights| find_column(weights, &cells))
            .transpose()?;
        let is_data = |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        let named = |column: &Option<Column>| matches!(column, Some(Column::Name(_)));
        let has_header = named(&format.column)
            || named(&format.weights)
            || cells.get(column).is_some_and(|cell| !cell.is_empty() && !is_data(cell));
        Ok(Self {
            separator,
            column,
            weights,
            has_header,
        })
    }

    /// Reads the nanoseconds and the weight of a line.
    fn value(&self, line: &str, format: &SampleFormat) -> Result<(f64, u64), String> {
        if self.separator.is_none() && !line.contains('"') {
            return Ok((parse_nanos(line, format)?, 1));
        }
        let cells = cells(line, self.separator);
        let cell = |index: usize| {
            let cell = cells.get(index).filter(|cell| !cell.is_empty());
            cell.ok_or_else(|| format!("the value in column {} is missing", index + 1))
        };
        let nanos = parse_nanos(cell(self.column)?, format)?;
        let weight = match self.weights {
            None => 1,
            Some(index) => {
                let weight = cell(index)?;
                weight
                    .parse()
                    .map_err(|_| format!("{} is not a valid weight: use a whole number from 0", quoted(weight)))?
            }
        };
        Ok((nanos, weight))
    }
}

fn find_column(column: &Column, cells: &[Cow<'_, str>]) -> Result<usize, String> {
    match column {
        Column::Number(number) => (1..=cells.len())
            .contains(number)
            .then(|| number - 1)
            .ok_or_else(|| format!("there is no column {number}; the columns are 1 to {}", cells.len())),
        Column::Name(name) => cells
            .iter()
            .position(|cell| cell == name)
            .ok_or_else(|| format!("there is no column `{name}`; the columns are {}", listed(cells))),
    }
}

/// The one column that is not the weights.
fn only_column(cells: &[Cow<'_, str>], weights: Option<&Column>) -> Result<usize, String> {
    let weights = weights.map(|weights| find_column(weights, cells)).transpose()?;
    let mut others = (0..cells.len()).filter(|index| Some(*index) != weights);
    match (others.next(), others.next()) {
        (Some(column), None) => Ok(column),
        (None, _) => Err("there is no column besides the weights".to_owned()),
        _ => Err(format!(
            "there are {} columns ({}): select the delays' column with `column`, by name or number",
            cells.len(),
            listed(cells)
        )),
    }
}

/// Splits a line into cells, which may be in double quotes, with quotes doubled inside (RFC 4180). Line breaks inside quotes
/// are not supported, since a delay has none.
fn cells(line: &str, separator: Option<char>) -> Vec<Cow<'_, str>> {
    let mut quoted = false;
    let parts = line.split(move |c: char| {
        quoted ^= c == '"';
        !quoted && Some(c) == separator
    });
    parts
        .map(|part| {
            let cell = part.trim();
            let inner = cell.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            inner.map_or(Cow::Borrowed(cell), |inner| {
                Cow::Owned(inner.replace("\"\"", "\"").trim().to_owned())
            })
        })
        .collect()
}

fn parse_nanos(cell: &str, format: &SampleFormat) -> Result<f64, String> {
    if cell.starts_with('-') {
        return Err(format!("{} is negative: a delay can't be", quoted(cell)));
    }
    let parsed = match cell.parse::<f64>() {
        // Round, since decimal fractions are not exact in binary: 0.3 ms must be 300,000 ns.
        Ok(number) => (number * format.unit.nanos()).round(),
        Err(_) => cell
            .parse::<Time>()
            .map(|time| nanos(time.get()))
            .map_err(|error| error.to_string())?,
    };
    if parsed.is_nan() {
        return Err(format!("{} is not a number", quoted(cell)));
    }
    if parsed > nanos(format.longest) {
        return Err(format!(
            "{} is longer than the longest delay of {}: check `unit`, or cap the delay with `max`",
            quoted(cell),
            text(format.longest)
        ));
    }
    Ok(parsed)
}

/// Quotes a cell in backticks, shortened so that messages stay on one line.
fn quoted(cell: &str) -> String {
    match cell.char_indices().nth(40) {
        Some((end, _)) => format!("`{}…`", cell.get(..end).unwrap_or_default()),
        None => format!("`{cell}`"),
    }
}

/// The first few cells of a header.
fn listed(cells: &[Cow<'_, str>]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<String> = cells.iter().take(SHOWN).map(|cell| quoted(cell)).collect();
    shown.join(", ") + if cells.len() > SHOWN { ", …" } else { "" }
}

#[cfg(test)]
mod tests;
