//! A fault in squall's words: its name and settings, written in the shortest form.

use std::fmt;

use super::value;

/// A fault of squall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    name: String,
    /// The settings, in order. A key without a name is the value alone, such as the rate of both directions.
    settings: Vec<(&'static str, String)>,
}

/// squall's own faults, each with its keys and with the key that may stand alone.
const OWN: &[(&str, &str, &[&str])] = &[
    (
        "delay",
        "fixed",
        &[
            "fixed",
            "uniform",
            "normal",
            "lognormal",
            "exponential",
            "pareto",
            "percentiles",
            "samples",
            "wave",
            "max",
            "correlation",
            "before",
            "direction",
            "mode",
        ],
    ),
    (
        "abort",
        "status",
        &[
            "status",
            "grpc",
            "message",
            "body",
            "json",
            "file",
            "problem",
            "headers",
            "echo",
            "retry_after",
            "before",
        ],
    ),
    ("close", "", &["before"]),
    ("reset", "", &["code", "before"]),
    ("goaway", "", &[]),
    ("hang", "", &["limit", "before"]),
    (
        "quota",
        "",
        &[
            "requests",
            "per",
            "key",
            "punish",
            "status",
            "retry_after",
            "headers",
            "echo",
            "body",
            "json",
            "file",
            "problem",
            "grpc",
            "message",
            "fields",
        ],
    ),
    (
        "concurrency",
        "",
        &[
            "limit",
            "queue",
            "timeout",
            "status",
            "retry_after",
            "headers",
            "echo",
            "body",
            "json",
            "file",
            "problem",
            "grpc",
            "message",
            "before",
        ],
    ),
    (
        "rewrite",
        "",
        &[
            "status",
            "headers",
            "body",
            "json",
            "file",
            "replace",
            "json_patch",
            "limit",
            "request",
        ],
    ),
    ("profile", "", &[]),
    ("bandwidth", "", &["response", "request", "scope"]),
    ("dribble", "", &["chunk", "vary", "gap", "chunks", "over", "direction"]),
    ("stall", "after", &["after", "limit", "end", "direction", "discard"]),
    (
        "truncate",
        "after",
        &["after", "end", "code", "grpc", "close_code", "reason", "direction"],
    ),
    (
        "corrupt",
        "",
        &["bytes", "messages", "events", "malformed", "difference", "direction"],
    ),
    ("drop", "messages", &["messages", "events", "every", "direction"]),
    ("duplicate", "", &["messages", "events", "every", "limit", "direction"]),
    ("certificate", "", &[]),
];

/// Faults on bodies, which have a direction.
const DIRECTED: &[&str] = &["dribble", "stall", "truncate", "corrupt", "drop"];

/// Whether squall has a fault of this name.
pub(super) fn is_own(name: &str) -> bool {
    OWN.iter().any(|(own, ..)| *own == name)
}

/// squall's name for one of a fault's own keys.
pub(super) fn own_key(name: &str, key: &str) -> Option<&'static str> {
    let (.., keys) = OWN.iter().find(|(own, ..)| *own == name)?;
    keys.iter().find(|own| **own == key).copied()
}

impl Fault {
    /// A fault without settings.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            settings: Vec::new(),
        }
    }

    /// A fault with one setting.
    pub(super) fn of(name: &str, key: &'static str, value: impl fmt::Display) -> Self {
        Self::new(name).with(key, value)
    }

    /// Adds a setting, unless it has one of that name.
    pub(super) fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        if self.settings.iter().all(|(own, _)| *own != key) {
            self.settings.push((key, value.to_string()));
        }
        self
    }

    /// Adds a setting that may be absent.
    pub(super) fn maybe(self, key: &'static str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// The fault's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The length of a fixed delay.
    pub(super) fn fixed(&self) -> Option<String> {
        self.get("fixed")
    }

    /// The value of a setting.
    pub(super) fn get(&self, key: &str) -> Option<String> {
        let setting = self.settings.iter().find(|(own, _)| *own == key);
        setting.map(|(_, value)| value.clone())
    }

    /// Whether the fault has a setting of this name.
    pub(super) fn has(&self, key: &str) -> bool {
        self.settings.iter().any(|(own, _)| *own == key)
    }

    /// The fault on the body of the request.
    pub(super) fn on_request(mut self) -> Self {
        match &*self.name {
            "bandwidth" => {
                for (key, _) in &mut self.settings {
                    if matches!(*key, "" | "response") {
                        *key = "request";
                    }
                }
                self
            }
            "delay" if self.settings.contains(&("before", "end".to_owned())) => self.with("direction", "request"),
            name if DIRECTED.contains(&name) => {
                let alone = OWN
                    .iter()
                    .find(|(own, ..)| *own == name)
                    .map_or("", |(_, alone, _)| *alone);
                for (key, _) in &mut self.settings {
                    if key.is_empty() {
                        *key = alone;
                    }
                }
                self.with("direction", "request")
            }
            _ => self,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alone = OWN
            .iter()
            .find(|(own, ..)| *own == self.name)
            .map_or("", |(_, alone, _)| *alone);
        match self.settings.as_slice() {
            [("requests", requests), ("per", per)] if self.name == "quota" => write!(f, "quota: {requests}/{per}"),
            [(key, value)] if *key == alone || key.is_empty() => write!(f, "{}: {value}", self.name),
            settings => {
                let settings = settings.iter().map(|(key, value)| match *key {
                    "" => (alone, value.clone()),
                    key => (key, value.clone()),
                });
                write!(f, "{}: {}", self.name, value::map(settings))
            }
        }
    }
}
