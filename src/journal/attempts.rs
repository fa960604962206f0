//! Attempts of the same logical request: a request that a client makes again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Numbered;
use super::entry::{Entry, Kind};

/// The longest time after a request in which an equal one of the same client counts as its next attempt, if neither says which
/// logical request it belongs to.
const NEXT_WITHIN: Duration = Duration::from_secs(30);

/// Which attempt of a logical request an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// The number of the attempt, from 1, as far as the journal goes back.
    pub number: u32,
    /// The time from the end of the attempt before to the beginning of this one, 0 if they overlap.
    pub gap: Option<Duration>,
    /// What tells that they belong together: `idempotency-key`, `x-request-id`, `traceparent` or `client`.
    pub by: &'static str,
}

/// The attempts of all entries that are requests, by the entry's number.
pub fn attempts(entries: &[Numbered]) -> HashMap<u64, Attempt> {
    let mut in_order: Vec<&Numbered> = entries.iter().filter(|one| one.entry.kind == Kind::Request).collect();
    in_order.sort_by_key(|one| one.entry.started);
    let mut last: HashMap<(&'static str, String), (u32, Instant)> = HashMap::new();
    let mut found = HashMap::new();
    for Numbered { id, entry } in in_order {
        let key = key(entry);
        let by = key.0;
        let before = last.get(&key).copied().filter(|(_, ended)| {
            let apart = entry.started.saturating_duration_since(*ended);
            by != "client" || apart <= NEXT_WITHIN
        });
        let number = before.map_or(1, |(number, _)| number.saturating_add(1));
        let gap = before.map(|(_, ended)| entry.started.saturating_duration_since(ended));
        // Attempts may overlap, and the one that began first may end last.
        let ended = before.map_or(entry.ended(), |(_, ended)| ended.max(entry.ended()));
        last.insert(key, (number, ended));
        found.insert(*id, Attempt { number, gap, by });
    }
    found
}

/// What is equal in all attempts of a logical request. The method and the path always are, since services pass ids on to
/// other requests that they make.
fn key(entry: &Entry) -> (&'static str, String) {
    let head = &entry.head;
    let target = head.target();
    let path = target.split('?').next().unwrap_or_default();
    let method = head.method().map_or("", http::Method::as_str);
    for name in ["idempotency-key", "x-request-id"] {
        if let Some(id) = head.field(name) {
            return (name, format!("{method} {path} {id}"));
        }
    }
    if let Some(trace) = head.field("traceparent").and_then(|value| value.split('-').nth(1)) {
        return ("traceparent", format!("{method} {path} {trace}"));
    }
    ("client", format!("{method} {target} {:?}", entry.client))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::journal::entry::testing::entry;

    fn of(entries: Vec<Entry>) -> Vec<(u32, Option<u64>, &'static str)> {
        let numbered: Vec<Numbered> = (1..)
            .zip(entries)
            .map(|(id, entry)| Numbered {
                id,
                entry: Arc::new(entry),
            })
            .collect();
        let found = attempts(&numbered);
        let tuple = |one: &Attempt| (one.number, one.gap.map(|gap| gap.as_millis() as u64), one.by);
        numbered.iter().map(|one| tuple(&found[&one.id])).collect()
    }

    #[test]
    fn ids_tell_attempts_of_the_same_method_and_path() {
        let key = &[("idempotency-key", "k1"), ("x-request-id", "other")][..];
        let found = of(vec![
            entry("POST", "/pay?try=1", 0, 10, key),
            entry("POST", "/pay?try=2", 110, 10, key),
            entry("POST", "/refund", 130, 10, key),
            entry("POST", "/pay?try=3", 320, 10, key),
        ]);
        let by = "idempotency-key";
        assert_eq!(
            found,
            [(1, None, by), (2, Some(100), by), (1, None, by), (3, Some(200), by)]
        );
        let trace = |span: &str| format!("00-0af7651916cd43dd8448eb211c80319c-{span}-01");
        let (one, two) = (trace("b7ad6b7169203331"), trace("00f067aa0ba902b7"));
        let found = of(vec![
            entry("GET", "/", 0, 10, &[("traceparent", &one)]),
            entry("GET", "/", 20, 10, &[("traceparent", &two)]),
        ]);
        assert_eq!(found, [(1, None, "traceparent"), (2, Some(10), "traceparent")]);
    }

    #[test]
    fn without_ids_an_equal_request_soon_after_is_the_next_attempt() {
        let found = of(vec![
            entry("GET", "/a", 0, 10, &[]),
            entry("GET", "/b", 5, 10, &[]),
            entry("GET", "/a", 20, 10, &[]),
            entry("GET", "/a", 25, 10, &[]),
            entry("GET", "/a", 40_000, 10, &[]),
        ]);
        let by = "client";
        assert_eq!(
            found,
            [
                (1, None, by),
                (1, None, by),
                (2, Some(10), by),
                (3, Some(0), by),
                (1, None, by)
            ]
        );
    }
}
