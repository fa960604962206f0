//! Which of the requests are hit, in the words of other tools: shares, counts, and how long.

use super::units::{SECOND, percent, probability, time};
use super::value::{entries, first, flow, is_true, map, number, plain, word};
use crate::yaml::tree::Node;

/// squall's `when`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct When {
    parts: Vec<(String, String)>,
    limits: Vec<(String, String)>,
    schedule: Vec<(String, String)>,
}

impl When {
    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.limits.is_empty() && self.schedule.is_empty()
    }

    /// Only requests that ask for the faults with Envoy's headers.
    pub(super) fn requested() -> Self {
        Self {
            parts: vec![("requested".to_owned(), "true".to_owned())],
            ..Self::default()
        }
    }

    /// Adds the share of requests, unless there is one.
    pub(super) fn with_share(mut self, share: &str) -> Self {
        set(&mut self.parts, "percentage", share.to_owned());
        self
    }

    /// Takes the share out.
    pub(super) fn take_share(&mut self) -> Option<String> {
        let at = self.parts.iter().position(|(key, _)| key == "percentage")?;
        Some(self.parts.remove(at).1)
    }

    /// Adds what another one says.
    pub(super) fn extend(&mut self, other: Self) {
        for (key, value) in other.parts {
            set(&mut self.parts, &key, value);
        }
        for (key, value) in other.limits {
            set(&mut self.limits, &key, value);
        }
        for (key, value) in other.schedule {
            set(&mut self.schedule, &key, value);
        }
    }

    /// Reads squall's own `when`.
    pub(super) fn own(&mut self, node: &Node) {
        if node.text().is_some() {
            if let Some(share) = percent(node) {
                set(&mut self.parts, "percentage", share);
            }
            return;
        }
        for (key, value) in entries(node) {
            match key {
                "limits" => entries(value).for_each(|(key, value)| set(&mut self.limits, key, flow(value))),
                "schedule" => entries(value).for_each(|(key, value)| set(&mut self.schedule, key, flow(value))),
                "key" | "every" | "attempts" | "requested" => set(&mut self.parts, key, flow(value)),
                "percentage" => set(&mut self.parts, key, percent(value).unwrap_or_else(|| "10%".to_owned())),
                _ => {}
            }
        }
    }

    /// The entries of `when`.
    pub(super) fn entries(&self) -> Vec<String> {
        let mut parts = self.parts.clone();
        for (key, inner) in [("schedule", &self.schedule), ("limits", &self.limits)] {
            if !inner.is_empty() {
                parts.push((key.to_owned(), map(inner.iter().cloned())));
            }
        }
        parts.iter().map(|(key, value)| format!("{key}: {value}")).collect()
    }

    /// The entry of `schedule`, if there is one.
    pub(super) fn schedule(&self) -> Option<String> {
        let (key, value) = self.schedule.first()?;
        Some(format!("{key}: {value}"))
    }

    /// The line.
    pub(super) fn line(&self) -> String {
        if let ([(key, share)], [], []) = (self.parts.as_slice(), self.limits.as_slice(), self.schedule.as_slice())
            && key == "percentage"
        {
            return format!("when: {share}");
        }
        format!("when: {{{}}}", self.entries().join(", "))
    }
}

fn set(parts: &mut Vec<(String, String)>, key: &str, value: String) {
    if parts.iter().all(|(own, _)| own != key) {
        parts.push((key.to_owned(), value));
    }
}

/// Whether a word is one of a share.
pub(super) fn is_share(key: &str) -> bool {
    matches!(
        &*plain(key),
        "percentage"
            | "percent"
            | "share"
            | "percentageofrequests"
            | "probability"
            | "toxicity"
            | "chance"
            | "sample"
            | "runtimefraction"
    )
}

/// The share that a word and its value say.
pub(super) fn share(key: &str, value: &Node) -> Option<String> {
    match &*plain(key) {
        // What is more than all is all.
        "toxicity" if number(value).is_some_and(|share| share >= 1.0) => Some("100%".to_owned()),
        "probability" | "toxicity" | "chance" | "sample" => probability(value),
        _ => percent(value),
    }
}

/// What a word says of `when`. `is_inside`: it stands in `when` itself, where some words have no other meaning.
pub(super) fn read(key: &str, value: &Node, is_inside: bool) -> Option<When> {
    let mut when = When::default();
    let name = plain(key);
    match &*name {
        _ if is_share(key) => when.parts.push(("percentage".to_owned(), share(key, value)?)),
        "rate" if !is_inside => {
            number(value)?;
            when.parts.push(("percentage".to_owned(), percent(value)?));
        }
        "rate" | "value" if is_inside => when.parts.push(("percentage".to_owned(), percent(value)?)),
        "every" | "nth" | "modulo" | "each" => when.parts.push(("every".to_owned(), word(value, "10"))),
        "attempts" | "failures" | "attempt" | "failfirst" => {
            when.parts.push(("attempts".to_owned(), word(value, "2")));
            when.parts.push(("key".to_owned(), "client".to_owned()));
        }
        "key" | "sticky" | "hash" => {
            let key = value.text().filter(|key| *key != "true").unwrap_or("client");
            when.parts.push(("percentage".to_owned(), "10%".to_owned()));
            when.parts.push(("key".to_owned(), key.to_owned()));
        }
        "requested" | "headerdelay" | "headerabort" | "headerlimit" => {
            when.parts.push(("requested".to_owned(), "true".to_owned()));
        }
        "times" | "remainingtimes" | "maxtimes" | "count" | "total" | "first" => {
            if first(value, &["unlimited"]).is_some_and(is_true) {
                return None;
            }
            let count = first(value, &["remainingtimes", "exactly", "count", "times", "total"]).unwrap_or(value);
            when.limits.push(("total".to_owned(), word(count, "3")));
        }
        "maxactivefaults" | "active" => {
            let count = first(value, &["defaultvalue", "value"]).unwrap_or(value);
            when.limits.push(("active".to_owned(), word(count, "10")));
        }
        "timetolive" | "ttl" | "expires" => {
            if first(value, &["unlimited"]).is_some_and(is_true) {
                return None;
            }
            let time = time(value, SECOND).map_or_else(|| "15m".to_owned(), |time| time.to_string());
            when.limits.push(("expires".to_owned(), time));
        }
        "limits" => limits(value, &mut when),
        "schedule" => {
            for (key, value) in entries(value) {
                when.schedule.push((key.to_owned(), seconds(value)));
            }
        }
        "start" | "duration" | "repeat" | "after" | "until" | "for" | "cron" => {
            let key = match &*name {
                "after" => "start",
                "until" | "for" | "cron" => "duration",
                key => key,
            };
            when.schedule.push((key.to_owned(), seconds(value)));
        }
        "from" | "delay" if is_inside => when.schedule.push(("start".to_owned(), seconds(value))),
        "time" if is_inside => when.schedule.push(("duration".to_owned(), seconds(value))),
        _ => return None,
    }
    Some(when)
}

fn limits(node: &Node, when: &mut When) {
    for (key, value) in entries(node) {
        if let Some((key, value)) = limit(key, value) {
            set(&mut when.limits, key, value);
        }
    }
}

/// The limit that a word in `limits` stands for.
pub(super) fn limit(key: &str, value: &Node) -> Option<(&'static str, String)> {
    Some(match &*plain(key) {
        "concurrent" | "concurrency" | "maxactive" | "maxactivefaults" | "parallel" | "active" => {
            ("active", word(value, "10"))
        }
        "times" | "max" | "count" | "requests" | "hits" | "total" => ("total", word(value, "10")),
        "percentage" | "percent" | "share" => ("share", percent(value)?),
        "ttl" | "duration" | "timetolive" | "after" | "expires" => (
            "expires",
            time(value, SECOND).map_or_else(|| "15m".to_owned(), |time| time.to_string()),
        ),
        "rps" | "persecond" => ("rate", format!("{}/s", word(value, "10"))),
        "rate" => ("rate", flow(value)),
        _ => return None,
    })
}

/// A time that counts seconds unless it has a unit.
fn seconds(value: &Node) -> String {
    time(value, SECOND).map_or_else(|| "30s".to_owned(), |time| time.to_string())
}
