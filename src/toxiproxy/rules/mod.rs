//! What a toxic means in squall: one rule, written as a configuration file would have it, and compiled with all its checks.
//!
//! | toxic | fault |
//! |---|---|
//! | `latency` | `delay`, uniform around the latency and never below 0, before each chunk |
//! | `bandwidth` | `bandwidth` for each connection; `stall` if the rate is 0 |
//! | `slow_close` | `delay` before the end |
//! | `timeout` | `stall` that discards what arrives, then closes |
//! | `reset_peer` | a `stall` that ends in a reset |
//! | `slicer` | `dribble` |
//! | `limit_data` | `truncate` |
//! | `noop`, and what waits for 0 ms | no rule |

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::kind::Kind;
use crate::draw::Seed;
use crate::fake::declared::TEMPLATES;
use crate::files;
use crate::metrics::{Counted, Layer, Metrics};
use crate::rule::compile;
use crate::rule::decide::Rule;
use crate::rule::spec::RuleSpec;
use crate::rule::stage::Stage;
use crate::shape::Direction;
use crate::yaml::decode::{Gaps, decode};
use crate::yaml::report::{Diagnostic, Severity, Sources};
use crate::yaml::tree;

/// The least time before a `reset_peer`, in milliseconds. Toxiproxy waits for data of the stream. Without any wait, the RST would
/// come while a client is still connecting, and a request would not reach the upstream.
const RESET_AFTER: i64 = 10;

/// The longest wait, and the longest stall: Toxiproxy's have no end.
pub(super) const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// [`LONGEST`] in milliseconds and in microseconds.
const LONGEST_MS: i64 = 604_800_000;
const LONGEST_US: i64 = 1_000 * LONGEST_MS;
/// The highest rate, in kB/s, and the most bytes: far beyond any network.
const MAX_RATE: i64 = 1_000_000_000;
const MAX_BYTES: i64 = 1 << 50;
/// The longest name of a rule, in bytes.
const MAX_NAME: usize = 200;

/// What is asked of a rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'a> {
    pub(super) proxy: &'a str,
    pub(super) toxic: &'a str,
    pub(super) kind: &'a Kind,
    pub(super) direction: Direction,
    /// The share of connections; below 0 none, above 1 all.
    pub(super) toxicity: f32,
}

/// Compiles the rules of toxics.
#[derive(Debug)]
pub(super) struct Rules {
    seed: Seed,
    metrics: Arc<Metrics>,
}

impl Rules {
    pub(super) fn new(seed: u64, metrics: Arc<Metrics>) -> Rules {
        Rules {
            seed: Seed(seed),
            metrics,
        }
    }

    /// The rule of a toxic; `None` if the toxic has no effect. `previous`, the rule before an update, is kept if nothing
    /// changed. Each toxic is compiled by itself, since one that ends connections may stand before others.
    ///
    /// # Errors
    /// What is wrong, in squall's words.
    pub(super) fn compile(&self, wish: &Wish<'_>, previous: Option<&Arc<Rule>>) -> Result<Option<Arc<Rule>>, String> {
        let Some(text) = text(wish)? else {
            return Ok(None);
        };
        let (mut sources, mut diagnostics) = (Sources::default(), Vec::new());
        let source = sources.add("toxic", text, PathBuf::new());
        // Without a look-up: clients can't read squall's environment.
        let spec = tree::parse(&sources, source, None, &mut diagnostics)
            .and_then(|node| decode::<RuleSpec>(&node, &mut diagnostics));
        if let Some(mistake) = first_error(&diagnostics) {
            return Err(mistake);
        }
        let Some(spec) = spec else {
            return Err("the toxic is not a valid rule".into());
        };
        let mut rules = compile::compile(&mut compile::Context {
            specs: &[spec],
            setting: compile::Setting {
                listeners: vec![wish.proxy],
                upstreams: Vec::new(),
                leads: Vec::new(),
                tls_listeners: Vec::new(),
                tcp_listeners: vec![wish.proxy],
                redirected_listeners: Vec::new(),
                seed: self.seed,
                keys: NonZeroUsize::MIN,
                longest_wait: LONGEST,
                templates: &TEMPLATES,
            },
            sources: &sources,
            overall: Arc::default(),
            previous: previous.into_iter().collect(),
            keeps_state: false,
            // Nor can they read squall's files.
            files: &files::Named::only([]),
            now: Instant::now(),
            metrics: &self.metrics,
            diagnostics: &mut diagnostics,
            gaps: Gaps::NONE,
        });
        match (rules.pop(), first_error(&diagnostics)) {
            (Some(rule), None) if rule.stage != Stage::Request => {
                Err("a toxic acts on a connection that is accepted: leave out `before`".into())
            }
            (Some(rule), None) => Ok(Some(rule)),
            (_, mistake) => Err(mistake.unwrap_or_default()),
        }
    }
}

impl Rules {
    /// Notes all rules in force in the metrics. Those that are gone disappear from there.
    pub(super) fn note(&self, rules: Vec<Counted>) {
        self.metrics.replace_rules(Layer::Toxiproxy, rules);
    }
}

fn first_error(diagnostics: &[Diagnostic]) -> Option<String> {
    let mistake = diagnostics
        .iter()
        .find(|diagnostic| diagnostic.severity == Severity::Error)?;
    let help = mistake.help.iter().map(String::as_str);
    Some(
        std::iter::once(mistake.message.as_str())
            .chain(help)
            .collect::<Vec<_>>()
            .join("; "),
    )
}

/// The rule as text. JSON is YAML, too.
fn text(wish: &Wish<'_>) -> Result<Option<String>, String> {
    let Some(fault) = fault(wish.kind, wish.direction)? else {
        return Ok(None);
    };
    let mut rule = json!({"name": name(wish.proxy, wish.toxic), "faults": [fault]});
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is from 0 to 1,000,000"
    )]
    let ppm = (f64::from(wish.toxicity).clamp(0.0, 1.0) * 1e6).round() as u32;
    if let Some(object) = rule.as_object_mut().filter(|_| ppm < 1_000_000) {
        let percentage = format!("{}.{:04}%", ppm / 10_000, ppm % 10_000);
        object.insert("when".into(), json!({"percentage": percentage}));
    }
    Ok(Some(rule.to_string()))
}

/// The name of a toxic's rule: `proxy/toxic`, as far as the names of rules allow. One that is cut keeps apart from others by
/// a hash.
fn name(proxy: &str, toxic: &str) -> String {
    let full = format!("{proxy}/{toxic}");
    let mut name: String = full
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    if name == full && name.len() <= MAX_NAME {
        return name;
    }
    let hash = format!("#{:016x}", xxh3_64(full.as_bytes()));
    name.truncate(name.floor_char_boundary(MAX_NAME - hash.len()));
    name + &hash
}

/// The fault of a toxic, as in YAML; `None` if it has no effect.
///
/// # Errors
/// An attribute makes no sense.
fn fault(kind: &Kind, direction: Direction) -> Result<Option<Value>, String> {
    let way = match direction {
        Direction::Request => "request",
        Direction::Response => "response",
    };
    Ok(match kind {
        Kind::Noop => None,
        Kind::Latency { latency, jitter } => delay(*latency, *jitter).map(|mut delay| {
            delay.extend([("before".into(), "message".into()), ("direction".into(), way.into())]);
            json!({ "delay": delay })
        }),
        Kind::Bandwidth { rate: ..0 } => return Err("a rate can't be negative".into()),
        Kind::Bandwidth { rate: 0 } => Some(json!({"stall": {"direction": way}})),
        Kind::Bandwidth { rate } => {
            let rate = format!("{}kB/s", rate.min(&MAX_RATE));
            Some(json!({"bandwidth": {way: rate, "scope": "connection"}}))
        }
        Kind::SlowClose { delay: ..=0 } => None,
        Kind::SlowClose { delay } => Some(json!({"delay": {"fixed": ms(*delay), "before": "end", "direction": way}})),
        Kind::Timeout { timeout: ..=0 } => Some(json!({"stall": {"discard": true, "end": "close", "direction": way}})),
        Kind::Timeout { timeout } => {
            Some(json!({"stall": {"discard": true, "limit": ms(*timeout), "end": "close", "direction": way}}))
        }
        Kind::ResetPeer { timeout } => {
            let limit = ms(*timeout.max(&RESET_AFTER));
            Some(json!({"stall": {"limit": limit, "end": "reset", "direction": way}}))
        }
        Kind::Slicer {
            average_size,
            size_variation,
            delay,
        } => Some(slicer(*average_size, *size_variation, *delay, way)?),
        Kind::LimitData { bytes } => {
            let after = format!("{}B", bytes.clamp(&0, &MAX_BYTES));
            Some(json!({"truncate": {"after": after, "end": "close", "direction": way}}))
        }
        Kind::Fault { name, attributes } => Some(own(name, attributes, way)?),
    })
}

/// A delay of `latency` ± `jitter` milliseconds; `None` if there is none. What would be below 0 is no wait, as in Toxiproxy, so
/// with more jitter than latency a share of the chunks is not delayed.
fn delay(latency: i64, jitter: i64) -> Option<Map<String, Value>> {
    let jitter = jitter.clamp(0, LONGEST_MS);
    let [low, high] = [latency.saturating_sub(jitter), latency.saturating_add(jitter)];
    let (key, value) = match (high, jitter) {
        (..=0, _) => return None,
        (_, 0) => ("fixed", ms(high).into()),
        _ if low >= 0 => ("uniform", json!([ms(low), ms(high)])),
        _ => {
            // The part of the range that is below 0.
            let undelayed = 100.0 * low.unsigned_abs() as f64 / low.abs_diff(high) as f64;
            let undelayed = format!("p{:.4}", undelayed.min(99.9999));
            (
                "percentiles",
                json!({"min": "0ms", (undelayed): "0ms", "max": ms(high)}),
            )
        }
    };
    Some(Map::from_iter([(key.into(), value)]))
}

/// A time in milliseconds, from 0 to [`LONGEST`].
fn ms(time: i64) -> String {
    format!("{}ms", time.clamp(0, LONGEST_MS))
}

fn slicer(size: i64, variation: i64, delay: i64, way: &str) -> Result<Value, String> {
    if size < 1 {
        return Err("the average size of a slice must be at least 1 byte: set `average_size`".into());
    }
    if variation >= size {
        return Err("the size variation must be less than the average size".into());
    }
    let size = size.min(MAX_BYTES);
    let mut dribble = json!({
        "chunk": format!("{size}B"),
        "gap": format!("{}us", delay.clamp(0, LONGEST_US)),
        "direction": way,
    });
    // Below 0 Toxiproxy does not vary the size either.
    if let Some(dribble) = dribble.as_object_mut().filter(|_| variation > 0) {
        dribble.insert("vary".into(), format!("{}B", variation.min(size - 1)).into());
    }
    Ok(json!({ "dribble": dribble }))
}

/// A fault of squall with the attributes as its keys. Those that act on one direction take it from the toxic's stream.
fn own(name: &str, attributes: &Map<String, Value>, way: &str) -> Result<Value, String> {
    if attributes.contains_key("direction") {
        return Err("the direction is that of the toxic: use `stream`".into());
    }
    if name == "profile" {
        // In YAML it is a name alone, and has no keys.
        return match attributes.get("name") {
            Some(profile) if attributes.len() == 1 => Ok(json!({ name: profile })),
            _ => Err("a profile has one attribute, `name`, such as 3g".into()),
        };
    }
    let mut keys = attributes.clone();
    if name == "delay" {
        keys.entry("before").or_insert_with(|| "message".into());
    }
    let before = keys.get("before").and_then(Value::as_str);
    let has_direction = match name {
        "delay" => matches!(before, Some("body" | "message" | "event" | "end")),
        name => matches!(name, "dribble" | "stall" | "truncate" | "corrupt"),
    };
    if has_direction {
        keys.insert("direction".into(), way.into());
    }
    Ok(json!({ name: keys }))
}

#[cfg(test)]
mod tests;
