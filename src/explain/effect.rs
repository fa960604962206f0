//! Describes the effects of faults in words.

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_with::skip_serializing_none;

use super::shape;
use crate::fault::answer::describe_field;
use crate::fault::before::{Before, Mode};
use crate::fault::effect::Effect;
use crate::fault::rewrite::BodyChange;
use crate::fault::rewrite::change::{HeaderChanges, Rewrite};
use crate::rule::decide::RuleFault;
use crate::rule::plan::Action;
use crate::yaml::units::{ByteSize, Time};

/// One fault of a rule that hits, and what it would do.
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Fault {
    /// The fault's name in YAML.
    pub fault: &'static str,
    /// A description of the fault that its effect lacks, such as a delay's distribution.
    pub from: Option<String>,
    /// What it would do, in words, or why nothing.
    pub effect: String,
    /// Why it can't be applied to this request: one of the reasons of `squall_faults_skipped_total`.
    pub skipped: Option<&'static str>,
    /// What has to be true of the request or of its response so that it can do that, if that is not known beforehand.
    pub condition: Option<String>,
    /// For a wait: how long, in milliseconds.
    pub wait_ms: Option<f64>,
    /// For an injected response: its status.
    pub status: Option<u16>,
}

/// What a rule has just added to a plan.
pub(super) struct Context<'a> {
    pub(super) added: &'a [Action],
    /// Whether its last effect ends the request.
    pub(super) ends: bool,
    pub(super) longest_wait: Duration,
}

impl Context<'_> {
    pub(super) fn fault(&self, fault: &RuleFault) -> Fault {
        let effects: Vec<&Effect> = self
            .added
            .iter()
            .filter(|action| action.fault == fault.position as usize)
            .map(|action| &action.effect)
            .collect();
        let last = self.added.last().map(|action| action.fault);
        let unreached = self.ends && last.is_some_and(|last| last < fault.position as usize);
        let words: Vec<String> = effects.iter().map(|effect| words(effect, self.longest_wait)).collect();
        Fault {
            fault: fault.name,
            from: fault.fault.describe(),
            effect: if !words.is_empty() {
                words.join("; ")
            } else if unreached {
                "nothing: the request has ended".to_owned()
            } else {
                "nothing: the request does not ask for it".to_owned()
            },
            skipped: effects.iter().find_map(|effect| match effect {
                Effect::Skip(skip) => Some(skip.reason),
                _ => None,
            }),
            condition: effects
                .iter()
                .map(|effect| condition(effect))
                .collect::<Option<BTreeSet<String>>>()
                .filter(|conditions| !conditions.is_empty())
                .map(|conditions| conditions.into_iter().collect::<Vec<_>>().join("; or if ")),
            wait_ms: effects.iter().find_map(|effect| wait_of(effect)).map(milliseconds),
            status: effects.iter().find_map(|effect| status(effect)),
        }
    }
}

/// Describes an effect in words that follow the name of the fault.
pub(super) fn words(effect: &Effect, longest_wait: Duration) -> String {
    match effect {
        Effect::Wait { before, mode, time } => wait(*before, *mode, *time, longest_wait),
        Effect::End { ending, before } => format!("{}{}", ending.describe(longest_wait), instead(*before)),
        Effect::Queue { station, .. } => format!("takes a slot of an overloaded server: {}", station.describe()),
        Effect::Certificate(certificate) => format!("presents {}", certificate.describe()),
        Effect::Fields(fields) => {
            let listed: Vec<String> = fields.iter().map(|(name, value)| describe_field(name, value)).collect();
            if listed.is_empty() {
                "lets it pass".to_owned()
            } else {
                format!("lets it pass and adds {} to the response", listed.join(", "))
            }
        }
        Effect::GoAway => {
            "makes the response the last one on its connection: over HTTP/2 with GOAWAY, over HTTP/1 with \
            `Connection: close`"
                .into()
        }
        Effect::Rewrite(rewrite) => rewritten(rewrite),
        Effect::Shape(parts) => shape::words(parts, longest_wait),
        Effect::Duplicate { .. } => "sends the request to the upstream twice".to_owned(),
        Effect::Skip(skip) => format!("can't be applied: {skip}"),
    }
}

/// What has to be true of the request or of its response so that the effect can be applied; `None` if nothing.
fn condition(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Shape(parts) => {
            let conditions: Option<Vec<String>> = parts.iter().map(shape::condition).collect();
            let mut conditions = conditions?;
            conditions.dedup();
            Some(conditions.join("; or if ")).filter(|conditions| !conditions.is_empty())
        }
        Effect::Rewrite(rewrite) => edit_condition(rewrite),
        Effect::Duplicate { limit } => Some(format!("the body of the request is at most {}", bytes(*limit))),
        _ => None,
    }
}

/// The condition of a rewrite that does nothing but edit bodies.
fn edit_condition(rewrite: &Rewrite) -> Option<String> {
    let is_plain =
        |changes: &HeaderChanges| changes.remove.is_empty() && changes.set.is_empty() && changes.add.is_empty();
    if rewrite.status.is_some() || !is_plain(&rewrite.request) || !is_plain(&rewrite.response) {
        return None;
    }
    let condition = |whose: &str, change: &BodyChange| match change {
        BodyChange::Whole(_) => None,
        BodyChange::Edit(edit) => Some(match edit.parts() {
            (0, _) => format!("the body of the {whose} is JSON that the patch fits"),
            (_, 0) => format!("the body of the {whose} has something to replace"),
            _ => format!("the body of the {whose} is JSON that the patch fits, and has something to replace"),
        }),
    };
    let bodies = [("request", &rewrite.request_body), ("response", &rewrite.response_body)];
    let changed = bodies
        .iter()
        .filter_map(|(whose, change)| Some((whose, change.as_ref()?)));
    let conditions: Option<Vec<String>> = changed.map(|(whose, change)| condition(whose, change)).collect();
    Some(conditions?.join("; or if ")).filter(|conditions| !conditions.is_empty())
}

/// The status of the response that squall sends, if any.
pub(super) fn status(effect: &Effect) -> Option<u16> {
    match effect {
        Effect::End { ending, .. } => ending.status().map(|status| status.as_u16()),
        _ => None,
    }
}

/// The wait of a request, a response or a body as a whole.
pub(super) fn wait_of(effect: &Effect) -> Option<Duration> {
    match effect {
        Effect::Wait { time, .. } => Some(*time),
        Effect::Shape(parts) => parts.iter().find_map(shape::hold),
        _ => None,
    }
}

/// A drawn time in the format of `Squall-Fault`.
pub(super) fn drawn(time: Duration) -> String {
    format!("{:.3}ms", milliseconds(time))
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub(super) fn shown(time: Duration) -> Time {
    Time::try_from(time).unwrap_or(Time::MAX)
}

fn wait(before: Before, mode: Mode, time: Duration, longest_wait: Duration) -> String {
    let cut = if time > longest_wait {
        format!(", cut to {} by `bounds.delay`", shown(longest_wait))
    } else {
        String::new()
    };
    let time = drawn(time);
    match (mode, before) {
        (Mode::Add, Before::Request) => format!("waits {time} before the request goes on{cut}"),
        (Mode::Add, Before::Response) => format!("waits {time} before the response goes on{cut}"),
        (Mode::Floor, _) => format!("waits until the upstream's response time is at least {time}{cut}"),
        (Mode::Total, Before::Request) => {
            format!("waits until {time} after the request arrived, before it goes on{cut}")
        }
        (Mode::Total, Before::Response) => {
            format!("waits until {time} after the request arrived, before the response{cut}")
        }
        (_, Before::Body | Before::Message | Before::End | Before::Connection | Before::Handshake) => {
            format!("waits {time}{cut}")
        }
    }
}

fn instead(before: Before) -> &'static str {
    match before {
        Before::Request => "",
        Before::Response => ", in place of the upstream's response",
        Before::Body | Before::Message | Before::End => "",
        Before::Connection => ", as soon as the connection is accepted",
        Before::Handshake => ", before the TLS handshake",
    }
}

fn rewritten(rewrite: &Rewrite) -> String {
    let status = rewrite.status.map(|status| format!("status {}", status.as_u16()));
    let body = |change: &Option<BodyChange>| change.as_ref().map(|change| new_body(change, rewrite.limit));
    let request = [Some(changes(&rewrite.request)), body(&rewrite.request_body)];
    let response = [status, Some(changes(&rewrite.response)), body(&rewrite.response_body)];
    let mut parts = Vec::new();
    for (what, changes) in [("request", request.to_vec()), ("response", response.to_vec())] {
        let changes: Vec<String> = changes.into_iter().flatten().filter(|part| !part.is_empty()).collect();
        if !changes.is_empty() {
            parts.push(format!("changes the {what}: {}", changes.join(", ")));
        }
    }
    parts.join("; ")
}

fn new_body(change: &BodyChange, limit: usize) -> String {
    let edit = match change {
        BodyChange::Whole(content) => {
            let (length, kind) = (content.bytes.len(), content.kind);
            return format!("a new body of {length} bytes ({kind})");
        }
        BodyChange::Edit(edit) => edit,
    };
    let counted = |count: usize, one: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {one}s")),
    };
    let (replaced, patched) = edit.parts();
    let parts = [
        counted(replaced, "replacement"),
        counted(patched, "JSON patch operation"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("{} in its body of at most {}", parts.join(" and "), bytes(limit))
}

/// A number of bytes in the format of the configuration.
fn bytes(count: usize) -> ByteSize {
    ByteSize::from_bytes(u64::try_from(count).unwrap_or(u64::MAX))
}

fn changes(changes: &HeaderChanges) -> String {
    let removed = changes.remove.iter().map(|name| format!("removes `{name}`"));
    let set = changes
        .set
        .iter()
        .map(|(name, value)| format!("sets {}", describe_field(name, value)));
    let added = changes
        .add
        .iter()
        .map(|(name, value)| format!("adds {}", describe_field(name, value)));
    removed.chain(set).chain(added).collect::<Vec<_>>().join(", ")
}
