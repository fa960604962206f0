//! The parameters of a request, read and checked as SonarQube 7 checks them and with its words.

use crate::fake::query::{Pairs, pairs_with};

/// The largest page, and the most keys in `issues`.
pub(super) const MAX_PAGE: i64 = 500;
/// No search shows more results than this, on whichever page.
const MAX_RESULTS: i64 = 10_000;

const BOOLEANS: &[&str] = &["true", "false", "yes", "no"];

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    /// From 1.
    pub(super) number: usize,
    /// 1 to 500.
    pub(super) size: usize,
}

impl Page {
    /// How many come before it.
    pub(super) fn offset(self) -> usize {
        (self.number - 1) * self.size
    }
}

/// The parameters as they came, from a query and from a form, which is written as a query is. Of one that comes more than
/// once, the first counts.
pub(super) struct Parameters(Pairs);

impl Parameters {
    pub(super) fn read(texts: &[&[u8]]) -> Self {
        let trimmed = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Self(texts.iter().flat_map(|text| pairs_with(text, trimmed)).collect())
    }

    /// A parameter that has a value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        let value = pairs.find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    pub(super) fn one_of(&self, name: &str, allowed: &[&str]) -> Result<Option<&str>, String> {
        let value = self.get(name);
        value.map_or(Ok(()), |value| check(name, value, allowed))?;
        Ok(value)
    }

    /// Values that are separated by commas, each of them one of `allowed`.
    pub(super) fn several(&self, name: &str, allowed: &[&str]) -> Result<Vec<&str>, String> {
        let values = self.list(name);
        values.iter().try_for_each(|value| check(name, value, allowed))?;
        Ok(values)
    }

    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        let values = self.get(name).unwrap_or_default().split(',').map(str::trim);
        values.filter(|value| !value.is_empty()).collect()
    }

    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, String> {
        let value = self.one_of(name, BOOLEANS)?;
        Ok(value.map(|value| matches!(value, "true" | "yes")))
    }

    /// `p` and `ps`, which must be numbers.
    pub(super) fn numbers(&self) -> Result<(i64, i64), String> {
        let page = self.get("p").unwrap_or("1");
        let number = page.parse::<i32>();
        let number = number.map_err(|_| format!("The 'p' parameter cannot be parsed as an integer value: {page}"))?;
        let size = self.get("ps").unwrap_or("100");
        let parsed = size.parse::<i32>().map(i64::from);
        // The size has an upper limit, which is checked before it is read; hence the other words.
        let parsed = parsed.map_err(|_| format!("'ps' value '{size}' cannot be parsed as an integer"))?;
        if parsed > MAX_PAGE {
            return Err(format!("'ps' value ({parsed}) must be less than {MAX_PAGE}"));
        }
        Ok((i64::from(number), parsed))
    }

    /// All values of a parameter that comes once for each.
    pub(super) fn repeated(&self, name: &str) -> impl Iterator<Item = &str> {
        let pairs = self
            .0
            .iter()
            .filter(move |(key, value)| key == name && !value.is_empty());
        pairs.map(|(_, value)| value.as_str())
    }

    /// A page, within the bounds of every search.
    pub(super) fn page(&self) -> Result<Page, String> {
        let (number, size) = self.numbers()?;
        if number < 1 {
            return Err(format!("Page must be greater or equal to 1 (got {number})"));
        }
        // SonarQube takes 0 and less for "as many as may be".
        let size = if size <= 0 { MAX_PAGE } else { size };
        let last = number.saturating_mul(size);
        if last > MAX_RESULTS {
            return Err(format!(
                "Can return only the first {MAX_RESULTS} results. {last}th result asked."
            ));
        }
        Ok(Page {
            number: usize::try_from(number).unwrap_or(1),
            size: usize::try_from(size).unwrap_or(1),
        })
    }
}

fn check(name: &str, value: &str, allowed: &[&str]) -> Result<(), String> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let allowed = allowed.join(", ");
    Err(format!(
        "Value of parameter '{name}' ({value}) must be one of: [{allowed}]"
    ))
}
