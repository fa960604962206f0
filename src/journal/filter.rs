//! Which entries are meant: conditions on the request, and on what became of it.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::entry::{Entry, Kind};
use super::mask;
use crate::draw::head::Head;
use crate::rule::matcher::Condition;
use crate::yaml::forms::{self, Scalar, ShortForm};

/// A status, such as 503, or a class of them, such as `5xx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statuses {
    first: u16,
    last: u16,
}

/// Which entries are meant. All that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The name of the listener.
    pub listener: Option<String>,
    /// What the request's head must be like.
    pub condition: Option<Condition>,
    /// Whether a fault was injected.
    pub hit: Option<bool>,
    /// The name of a rule of which a fault was injected.
    pub rule: Option<String>,
    /// The status that the client got: one of these.
    pub statuses: Vec<Statuses>,
}

impl Filter {
    /// Whether an entry is meant.
    pub fn accepts(&self, entry: &Entry) -> bool {
        // Making the head again takes the longest, so it comes last.
        self.outcome(entry).next().is_none()
            && self
                .condition
                .as_ref()
                .is_none_or(|condition| entry.kind != Kind::Refused && entry.with_head(|head| condition.matches(head)))
    }

    /// Whether an entry might be meant if its head had not been cut.
    pub(super) fn might_accept(&self, entry: &Entry) -> bool {
        let surely_not = |condition: &Condition| entry.with_head(|head| surely_fails(condition, head));
        entry.head.is_cut() && self.outcome(entry).next().is_none() && !self.condition.as_ref().is_some_and(surely_not)
    }

    /// What does not hold, in words; empty if the entry is meant.
    pub fn failures(&self, entry: &Entry) -> Vec<String> {
        let condition = self.condition.iter().flat_map(|condition| match entry.kind {
            Kind::Refused => vec![format!("{condition}: the request's head was refused")],
            _ => entry.with_head(|head| condition.failures(head)),
        });
        let condition = condition.map(|text| mask::sentence(&entry.head, &text));
        condition.chain(self.outcome(entry)).collect()
    }

    /// What does not hold of what became of the request.
    fn outcome(&self, entry: &Entry) -> impl Iterator<Item = String> {
        let listener = self.listener.as_ref().filter(|name| **name != *entry.listener);
        let listener = listener.map(|name| format!("listener `{name}`: it came in through `{}`", entry.listener));
        let hit = self.hit.filter(|hit| *hit != entry.is_hit());
        let hit = hit.map(|hit| {
            let was = if entry.is_hit() { "a fault was" } else { "no fault was" };
            format!("hit {hit}: {was} injected")
        });
        let of_rule = |name: &&String| !entry.injected.iter().any(|one| *one.rule == ***name);
        let rule = self.rule.as_ref().filter(of_rule);
        let rule = rule.map(|name| {
            let skipped = entry.skipped.iter().filter(|one| *one.rule == **name);
            let skipped: Vec<String> = skipped
                .map(|one| format!("{} was skipped: {}", one.fault, one.reason))
                .collect();
            match skipped.as_slice() {
                [] => format!("rule `{name}`: no fault of it was injected"),
                skipped => format!("rule `{name}`: {}", skipped.join(", ")),
            }
        });
        let is_one = self.statuses.is_empty() || self.statuses.iter().any(|one| one.contain(entry.status));
        let status = (!is_one).then(|| {
            let asked: Vec<String> = self.statuses.iter().map(Statuses::to_string).collect();
            match entry.status {
                0 => format!("status {}: there was no response", asked.join(" or ")),
                status => format!("status {}: the response had {status}", asked.join(" or ")),
            }
        });
        [listener, hit, rule, status].into_iter().flatten()
    }
}

/// Whether a condition does not hold, whatever the fields are that were left out of the head.
fn surely_fails(condition: &Condition, head: &Head<'_>) -> bool {
    match condition {
        Condition::All(all) => all.iter().any(|one| surely_fails(one, head)),
        Condition::Any(any) => any.iter().all(|one| surely_fails(one, head)),
        Condition::Method(_) | Condition::Path(_) | Condition::Query(..) | Condition::Client(_) => {
            !condition.matches(head)
        }
        _ => false,
    }
}

impl Statuses {
    fn contain(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl FromStr for Statuses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let class = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX"));
        let parsed = match class {
            Some(class) => class.parse().ok().filter(|class| (1..=9).contains(class)),
            None => text.parse().ok().filter(|status| (100..=999).contains(status)),
        };
        match (parsed, class) {
            (Some(class), Some(_)) => Ok(Statuses {
                first: class * 100,
                last: class * 100 + 99,
            }),
            (Some(status), None) => Ok(Statuses {
                first: status,
                last: status,
            }),
            (None, _) => Err(format!(
                "`{text}` is not a valid status: use one such as 503, or a class such as 5xx"
            )),
        }
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}xx", self.first / 100)
        }
    }
}

impl ShortForm for Statuses {
    type Long = serde::de::IgnoredAny;
    const EXPECTING: &'static str = "a status such as 503, or a class such as 5xx";

    fn from_scalar(scalar: Scalar<'_>) -> Option<Result<Self, String>> {
        scalar.text().map(|text| text.parse())
    }

    fn from_long(_: serde::de::IgnoredAny) -> Result<Self, String> {
        Err(format!("a map is not valid: use {}", Self::EXPECTING))
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        forms::deserialize(deserializer)
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Statuses {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "integer", "minimum": 100, "maximum": 999},
            {"type": "string", "pattern": "^([1-9][0-9][0-9]|[1-9]xx)$"},
        ]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::entry::testing::entry;
    use crate::journal::entry::{Injected, Skipped};

    #[test]
    fn statuses_are_numbers_or_classes() {
        let of = |text: &str| text.parse::<Statuses>().map(|one| one.to_string());
        assert_eq!((of("503").as_deref(), of("5xx").as_deref()), (Ok("503"), Ok("5xx")));
        for bad in ["", "xx", "0xx", "99", "1000", "5x", "-503", "70000"] {
            assert!(of(bad).is_err(), "{bad}");
        }
        let class: Statuses = "5xx".parse().unwrap();
        assert!(class.contain(500) && class.contain(599) && !class.contain(600) && !class.contain(499));
    }

    #[test]
    fn what_does_not_hold_is_told() {
        let filter = Filter {
            listener: Some("other".into()),
            hit: Some(true),
            rule: Some("slow".into()),
            statuses: vec!["5xx".parse().unwrap(), "429".parse().unwrap()],
            condition: None,
        };
        let natural = entry("GET", "/", 0, 1, &[]);
        assert!(!filter.accepts(&natural));
        let failures = [
            "listener `other`: it came in through `web`",
            "hit true: no fault was injected",
            "rule `slow`: no fault of it was injected",
            "status 5xx or 429: the response had 200",
        ];
        assert_eq!(filter.failures(&natural), failures);
        let skipped = Entry {
            skipped: vec![Skipped {
                rule: "slow".into(),
                fault: "truncate",
                reason: "body too short",
                detail: None,
            }],
            ..natural.clone()
        };
        assert_eq!(
            filter.failures(&skipped)[2],
            "rule `slow`: truncate was skipped: body too short"
        );
        let hit = Entry {
            injected: vec![Injected {
                rule: "slow".into(),
                fault: "delay",
                ordinal: 1,
                drawn: 0,
            }],
            status: 503,
            listener: "other".into(),
            ..natural
        };
        assert!(filter.accepts(&hit) && filter.failures(&hit).is_empty());
    }
}
