//! What is known about one request, or one connection, that is over.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::kept::KeptHead;
use crate::draw::head::Head;
use crate::rule::decide::{Drawn, Rule};
use crate::rule::id::RuleId;
use crate::rule::when::Reason;

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request.
    Request,
    /// A request whose head was refused, so that no rule has seen it.
    Refused,
    /// A connection of a TCP listener, or one that a rule on connections has hit.
    Connection,
}

impl Kind {
    /// The word for it in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Request => "request",
            Kind::Refused => "refused",
            Kind::Connection => "connection",
        }
    }
}

/// A request or a connection that is over.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What the entry is about.
    pub kind: Kind,
    /// When its head had arrived, or the connection was accepted.
    pub started: Instant,
    /// When that was, on the wall clock.
    pub time: SystemTime,
    /// The listener's name in the configuration.
    pub listener: Arc<str>,
    /// The upstream's name in the configuration.
    pub upstream: Arc<str>,
    /// The space of the listener, if it has one. A request may [name](Entry::space) another way to be in one.
    pub listener_space: Option<Arc<str>>,
    /// The client's address; `None` on a unix socket.
    pub client: Option<IpAddr>,
    /// The head of the request, in one piece.
    pub head: KeptHead,
    /// The protocols that the client of a TLS connection offered.
    pub protocols: Box<[String]>,
    /// The status that the client got; 0 if it got no response.
    pub status: u16,
    /// The faults that were injected, in order.
    pub injected: Vec<Injected>,
    /// The faults of rules that hit that could not be applied, in order.
    pub skipped: Vec<Skipped>,
    /// The rules that matched and did not hit, in order.
    pub missed: Vec<Missed>,
    /// The rules that its body was read for and that did not match, in order.
    pub unmatched: Vec<Unmatched>,
    /// The time of all injected waits.
    pub waited: Duration,
    /// The time from sending the request to the upstream to its response head.
    pub natural: Option<Duration>,
    /// The time from the head to the end of the response.
    pub total: Duration,
    /// Bytes of the body from the client, and to it.
    pub bytes: [u64; 2],
    /// Whether the client disconnected before the response was complete.
    pub gone: bool,
    /// What went wrong, if it was not injected.
    pub error: Option<String>,
}

/// A fault that was injected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injected {
    /// The name of the rule, as configured.
    pub rule: Arc<str>,
    /// The fault's name in YAML.
    pub fault: &'static str,
    /// The request's number among those that the rule matched, from 1.
    pub ordinal: u64,
    /// The draw that was compared with the percentage, in parts per million.
    pub drawn: u32,
}

/// A fault that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The name of the rule, as configured.
    pub rule: Arc<str>,
    /// The fault's name in YAML.
    pub fault: &'static str,
    /// Why not: one of [`crate::metrics::SKIP_REASONS`].
    pub reason: &'static str,
    /// What exactly is the matter, where the reason alone doesn't say it.
    pub detail: Option<Arc<str>>,
}

/// A rule that matched a request and did not hit it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// The name of the rule, as configured.
    pub rule: Arc<str>,
    /// The request's number among those that the rule matched, from 1.
    pub ordinal: u64,
    /// Why it is not hit.
    pub reason: Reason,
}

/// A rule that a request's body was read for, and that did not match. The body itself is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmatched {
    /// The rule that did not match.
    pub rule: RuleId,
    /// The conditions that did not hold, in words.
    pub failed: Vec<String>,
}

/// The most rules of [`Entry::missed`], and of [`Entry::unmatched`]: with thousands of rules that match, the first ones tell enough.
const MOST_MISSED: usize = 16;

impl Missed {
    /// A rule that matched and does not hit; `None` if it hits, or if `before` others were noted already, which are enough.
    pub fn new(rule: &Rule, drawn: &Drawn, before: usize) -> Option<Missed> {
        let reason = drawn.outcome.as_ref().err()?;
        (before < MOST_MISSED).then(|| Missed {
            rule: Arc::clone(&rule.name),
            ordinal: drawn.ordinal,
            reason: reason.clone(),
        })
    }
}

impl Unmatched {
    /// Those of the `rules` that don't match a request, whose body was looked at.
    pub fn of<'a>(rules: impl IntoIterator<Item = &'a Arc<Rule>>, head: &Head<'_>) -> Vec<Unmatched> {
        let failing = rules.into_iter().map(|rule| Unmatched {
            rule: rule.id(),
            failed: rule.condition.failures(head),
        });
        failing
            .filter(|rule| !rule.failed.is_empty())
            .take(MOST_MISSED)
            .collect()
    }
}

impl Entry {
    /// The space: that of its listener, or the one that the request names.
    pub fn space(&self) -> Option<String> {
        match &self.listener_space {
            Some(space) => Some(space.to_string()),
            None => self.head.space(),
        }
    }

    /// Calls `then` with the head, as rules see it.
    pub fn with_head<T>(&self, then: impl FnOnce(&Head<'_>) -> T) -> T {
        self.head.with((self.client, &self.upstream), &self.protocols, then)
    }

    /// When the request or connection ended.
    pub fn ended(&self) -> Instant {
        self.started.checked_add(self.total).unwrap_or(self.started)
    }

    /// Whether a fault was injected.
    pub fn is_hit(&self) -> bool {
        !self.injected.is_empty()
    }

    /// The size in memory, in bytes. Names of rules count, although they are shared.
    pub(super) fn size(&self) -> usize {
        let injected = self.injected.iter().map(|one| size_of::<Injected>() + one.rule.len());
        let skipped = self.skipped.iter().map(|one| size_of::<Skipped>() + one.rule.len());
        let missed = self.missed.iter().map(|one| size_of::<Missed>() + one.rule.len());
        let protocols = self.protocols.iter().map(|one| size_of::<String>() + one.len());
        let unmatched = self.unmatched.iter().map(|one| {
            let texts = one.failed.iter().map(|text| size_of::<String>() + text.len());
            size_of::<Unmatched>() + one.rule.name.len() + texts.sum::<usize>()
        });
        let protocols = protocols.chain(unmatched);
        let error = self.error.as_ref().map_or(0, String::len);
        let parts: usize = injected.chain(skipped).chain(missed).chain(protocols).sum();
        size_of::<Entry>() + self.head.size() + error + parts
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use http::{HeaderMap, Method};

    use super::*;

    /// A request that began `at` milliseconds after the first call, and took `took` milliseconds.
    pub(crate) fn entry(method: &str, target: &str, at: u64, took: u64, headers: &[(&'static str, &str)]) -> Entry {
        static BEGIN: std::sync::LazyLock<(Instant, SystemTime)> =
            std::sync::LazyLock::new(|| (Instant::now(), SystemTime::UNIX_EPOCH));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Entry {
            kind: Kind::Request,
            started: BEGIN.0 + Duration::from_millis(at),
            time: BEGIN.1 + Duration::from_millis(at),
            listener: "web".into(),
            upstream: "app".into(),
            listener_space: None,
            client: Some([127, 0, 0, 1].into()),
            head: KeptHead::new(&Method::from_bytes(method.as_bytes()).unwrap(), target, None, &map),
            protocols: Box::default(),
            status: 200,
            injected: Vec::new(),
            skipped: Vec::new(),
            missed: Vec::new(),
            unmatched: Vec::new(),
            waited: Duration::ZERO,
            natural: None,
            total: Duration::from_millis(took),
            bytes: [0, 0],
            gone: false,
            error: None,
        }
    }

    /// An entry with `size` bytes of text.
    pub(crate) fn entry_of_size(size: usize) -> Entry {
        Entry {
            error: Some("x".repeat(size)),
            ..entry("GET", "/", 0, 1, &[])
        }
    }
}
