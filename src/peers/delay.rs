//! Delays: a length with its jitter, a range, WireMock's and MockServer's distributions, a mean with its deviation.

use std::time::Duration;

use super::fault::{Fault, own_key};
use super::units::{MILLISECOND, SECOND, correlation, time, unit};
use super::value::{entries, first, flow, items, map, number, plain, text};
use super::{Hint, Word, write};
use crate::yaml::tree::{Node, Value};
use crate::yaml::units::Time;

/// The shortest delay of a range, by other tools.
const LOW: &[&str] = &[
    "min",
    "minms",
    "lower",
    "low",
    "from",
    "minimum",
    "mindelay",
    "mindelayms",
];
/// The longest delay of a range.
const HIGH: &[&str] = &[
    "max",
    "maxms",
    "upper",
    "high",
    "to",
    "maximum",
    "maxdelay",
    "maxdelayms",
];
const JITTER: &[&str] = &["jitter", "variance", "variation"];
const DEVIATION: &[&str] = &["stddev", "std", "sd", "deviation", "standarddeviation", "sigmams"];
const MEAN: &[&str] = &["mean", "average", "avg", "mu"];
/// The length itself.
const LENGTH: &[&str] = &[
    "latency",
    "time",
    "delay",
    "duration",
    "fixed",
    "fixeddelay",
    "fixeddelayms",
    "fixeddelaymilliseconds",
    "delayms",
    "delaymilliseconds",
    "latencyms",
    "value",
    "ms",
    "milliseconds",
    "base",
    "amount",
    "length",
    "adddelay",
];
const LENGTH_IN_SECONDS: &[&str] = &["seconds", "delayseconds", "secs"];
/// A distribution in a map of its own.
const NESTED: &[&str] = &[
    "distribution",
    "uniform",
    "normal",
    "gaussian",
    "lognormal",
    "random",
    "range",
    "between",
    "delaydistribution",
];

/// Whether a key belongs to a delay, in the words of other tools.
pub(super) fn is_part(key: &str) -> bool {
    let key = plain(key);
    let lists = [LOW, HIGH, JITTER, DEVIATION, MEAN, LENGTH, LENGTH_IN_SECONDS, NESTED];
    lists.iter().any(|list| list.contains(&&*key))
        || matches!(
            &*key,
            "timeunit"
                | "unit"
                | "median"
                | "sigma"
                | "type"
                | "maxvalue"
                | "correlation"
                | "headerdelay"
                | "exponential"
        )
        || is_percentile(&key)
}

/// Whether a map has words of other tools for its length.
pub(super) fn is_foreign(map: &Node) -> bool {
    entries(map).any(|(key, _)| own_key("delay", key).is_none() && is_part(key))
}

/// The delay that a value stands for. A number without a unit counts milliseconds.
pub(super) fn of(node: &Node) -> Option<Fault> {
    in_unit(node, MILLISECOND)
}

fn in_unit(node: &Node, unit: Duration) -> Option<Fault> {
    match &node.value {
        Value::Seq(items) => match items.as_slice() {
            [low, high] => Some(uniform(time(low, unit)?, time(high, unit)?)),
            [one] => in_unit(one, unit),
            _ => None,
        },
        // Protocol buffers write a duration as `{seconds, nanos}`.
        Value::Map(_) if entries(node).all(|(key, _)| matches!(key, "seconds" | "nanos")) => {
            Some(Fault::of("delay", "fixed", time(node, unit)?))
        }
        Value::Map(_) => of_map(node, unit).map(|delay| with_options(node, delay, unit)),
        _ => of_text(node.text()?, node, unit),
    }
}

/// The delay with the settings of its map that squall has, too.
fn with_options(map: &Node, mut delay: Fault, unit: Duration) -> Fault {
    let cap = first(map, &["maxvalue"]).or_else(|| {
        let is_option = !delay.has("uniform");
        map.get("max").filter(|_| is_option)
    });
    delay = delay.maybe("max", cap.and_then(|cap| time(cap, unit)));
    if !delay.has("fixed") {
        delay = delay.maybe("correlation", first(map, &["correlation"]).and_then(correlation));
    }
    for key in ["before", "direction", "mode"] {
        let key = own_key("delay", key).unwrap_or(key);
        delay = delay.maybe(key, map.get(key).map(flow));
    }
    delay
}

/// `100ms`, `5 seconds`, `100ms-200ms`, and `tc`'s `100ms 20ms 25%`.
fn of_text(text: &str, node: &Node, unit: Duration) -> Option<Fault> {
    if let Some(length) = time(node, unit) {
        return Some(Fault::of("delay", "fixed", length));
    }
    let parsed = |text: &str, unit| time(&Node::implied(text.trim(), node.span), unit);
    let range = ["..", " - ", "-", " to ", ","]
        .iter()
        .find_map(|sign| text.split_once(sign));
    if let Some((low, high)) = range {
        let named = high
            .trim()
            .trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        let unit = super::units::unit(named).unwrap_or(unit);
        return Some(uniform(parsed(low, unit)?, parsed(high, unit)?));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let [length, jitter, rest @ ..] = words.as_slice() else {
        return None;
    };
    let delay = around(parsed(length, unit)?, Some(parsed(jitter, unit)?));
    let resembles = rest
        .first()
        .and_then(|share| correlation(&Node::implied(share, node.span)));
    Some(delay.maybe("correlation", resembles))
}

fn uniform(low: Time, high: Time) -> Fault {
    Fault::of(
        "delay",
        "uniform",
        format_args!("[{}, {}]", low.min(high), high.max(low)),
    )
}

/// A delay that varies by `jitter` either way.
pub(super) fn around(length: Time, jitter: Option<Time>) -> Fault {
    match jitter.map(Time::get).filter(|jitter| !jitter.is_zero()) {
        None => Fault::of("delay", "fixed", length),
        // Toxiproxy and netem take a negative delay for none.
        Some(jitter) if jitter > length.get() => {
            let below = (jitter - length.get()).as_secs_f64() / (2.0 * jitter.as_secs_f64());
            let share = format!("{:.4}", (100.0 * below).min(99.9999));
            let share = share.trim_end_matches('0').trim_end_matches('.');
            let most = Time::saturating(length.get().saturating_add(jitter));
            Fault::of(
                "delay",
                "percentiles",
                format_args!("{{min: 0s, p{share}: 0s, max: {most}}}"),
            )
        }
        Some(jitter) => uniform(
            Time::saturating(length.get().saturating_sub(jitter)),
            Time::saturating(length.get().saturating_add(jitter)),
        ),
    }
}

/// A normal distribution. squall has none that is often below zero; the lognormal one of equal mean and deviation never is.
fn normal(mean: Time, deviation: Time) -> Fault {
    if deviation.get().saturating_mul(3) <= mean.get() {
        return Fault::of(
            "delay",
            "normal",
            format_args!("{{mean: {mean}, deviation: {deviation}}}"),
        );
    }
    spread(mean, deviation)
}

/// The lognormal distribution of a mean and a deviation.
fn spread(mean: Time, deviation: Time) -> Fault {
    let (middle, width) = (mean.get().as_secs_f64(), deviation.get().as_secs_f64());
    let spread = 1.0 + (width / middle).powi(2);
    let median = Duration::try_from_secs_f64((middle / spread.sqrt() * 1e6).round() / 1e6).unwrap_or_default();
    let sigma = (spread.ln().sqrt() * 1_000.0).round() / 1_000.0;
    lognormal(Time::saturating(median), format_args!("sigma: {sigma}"))
}

fn lognormal(median: Time, spread: impl std::fmt::Display) -> Fault {
    Fault::of("delay", "lognormal", format_args!("{{median: {median}, {spread}}}"))
}

fn of_map(map: &Node, default: Duration) -> Option<Fault> {
    // `{seconds: 5}` has its unit in the key; `{timeUnit: SECONDS, value: 5}` in a value.
    let unit = text(map, &["timeunit", "unit"]).and_then(unit).unwrap_or(default);
    if let Some((key, inner)) =
        entries(map).find(|(key, inner)| NESTED.contains(&&*plain(key)) && is_distribution(inner))
    {
        let kind = plain(key);
        return of_parts(inner, unit, &kind).or_else(|| in_unit(inner, unit));
    }
    // A map in a map, such as MockServer's `{delay: {timeUnit: …}}`.
    let inner = first(map, LENGTH).filter(|inner| matches!(inner.value, Value::Map(_)));
    if let Some(delay) = inner.and_then(|inner| in_unit(inner, unit)) {
        return Some(delay);
    }
    for key in ["exponential", "pareto", "wave", "percentiles", "samples"] {
        if let Some(own) = map.get(key) {
            return Some(Fault::of("delay", own_key("delay", key)?, flow(own)));
        }
    }
    let kind = text(map, &["type", "distribution"]).map(plain).unwrap_or_default();
    of_parts(map, unit, &kind)
}

fn is_distribution(node: &Node) -> bool {
    matches!(node.value, Value::Map(_)) || items(node).len() == 2
}

fn of_parts(map: &Node, unit: Duration, kind: &str) -> Option<Fault> {
    let one = |words: &[&str]| first(map, words).and_then(|part| time(part, unit));
    // Without one of its numbers a delay would be another one.
    let is_unread =
        |words: &[&str]| first(map, words).is_some_and(|part| number(part).is_some() && time(part, unit).is_none());
    if [LENGTH, JITTER, LOW, HIGH, MEAN].iter().any(|words| is_unread(words)) {
        return None;
    }
    let deviation = one(DEVIATION).or_else(|| one(&["sigma"]).filter(|_| matches!(kind, "normal" | "gaussian")));
    if let Some(median) = one(&["median", "p50"]).filter(|_| first(map, &["median"]).is_some()) {
        return Some(match one(&["p99"]) {
            Some(p99) => lognormal(median, format_args!("p99: {p99}")),
            None => {
                let sigma = first(map, &["sigma", "deviation", "stddev"])
                    .and_then(number)
                    .unwrap_or(0.4);
                lognormal(median, format_args!("sigma: {sigma}"))
            }
        });
    }
    if let Some(delay) = percentiles(map, unit) {
        return Some(delay);
    }
    let length = one(LENGTH).or_else(|| first(map, LENGTH_IN_SECONDS).and_then(|part| time(part, SECOND)));
    let mean = one(MEAN);
    let (low, high) = (one(LOW), one(HIGH));
    if let (None, None, true) = (length, mean, low.is_some() || high.is_some()) {
        return Some(range(low, high));
    }
    if kind == "exponential" {
        return Some(Fault::of(
            "delay",
            "exponential",
            format_args!("{{mean: {}}}", mean.or(length)?),
        ));
    }
    if let (Some(mean), "lognormal") = (mean, kind) {
        return Some(match (deviation, first(map, &["sigma"]).and_then(number)) {
            (Some(deviation), _) => spread(mean, deviation),
            (None, sigma) => lognormal(mean, format_args!("sigma: {}", sigma.unwrap_or(0.4))),
        });
    }
    let is_normal = matches!(kind, "normal" | "gaussian");
    let jitter = one(JITTER);
    let deviation = deviation.or(jitter.filter(|_| is_normal || mean.is_some()));
    match (length.or(mean), deviation) {
        (Some(mean), Some(deviation)) if !deviation.get().is_zero() => Some(normal(mean, deviation)),
        (Some(mean), _) if is_normal => Some(normal(mean, Time::saturating(mean.get() / 10))),
        (Some(length), _) => Some(around(length, jitter)),
        // A jitter of its own is about no delay.
        (None, _) => jitter.map(|jitter| around(Time::ZERO, Some(jitter))),
    }
}

/// A range of which one end may be missing: Dev Proxy's default is 5s.
fn range(low: Option<Time>, high: Option<Time>) -> Fault {
    let low = low.unwrap_or(Time::ZERO);
    let high = high.unwrap_or_else(|| Time::from_millis(5_000).max(Time::saturating(low.get().saturating_mul(2))));
    uniform(low, high)
}

fn is_percentile(key: &str) -> bool {
    key.strip_prefix('p')
        .is_some_and(|number| number.len() >= 2 && number.parse::<u16>().is_ok())
}

fn percentiles(node: &Node, unit: Duration) -> Option<Fault> {
    let parts: Vec<(&str, String)> = entries(node)
        .filter(|(key, _)| is_percentile(key))
        .filter_map(|(key, value)| Some((key, time(value, unit)?.to_string())))
        .collect();
    (parts.len() >= 2).then(|| Fault::of("delay", "percentiles", map(parts)))
}

/// A word in the map of a distribution, such as `normal`, or a value there that does not fit.
pub(super) fn part(name: &str, word: &Word<'_>) -> Option<Hint> {
    if name == "samples" {
        return None;
    }
    super::whole(write(distribution(name, word.map)?.to_string())?)
}

/// The delay for a value of one of squall's own distributions that does not fit it.
pub(super) fn distribution(name: &str, node: &Node) -> Option<Fault> {
    match name {
        "fixed" => Some(Fault::of("delay", "fixed", time(node, MILLISECOND)?)),
        "uniform" if items(node).len() == 2 => in_unit(node, MILLISECOND),
        "uniform" | "normal" | "lognormal" | "exponential" => of_parts(node, MILLISECOND, name),
        "pareto" => {
            let scale = first(node, &["scale", "min", "minimum", "xm"]).and_then(|scale| time(scale, MILLISECOND))?;
            let shape = first(node, &["shape", "alpha"]).and_then(number).unwrap_or(1.5);
            Some(Fault::of(
                "delay",
                "pareto",
                format_args!("{{scale: {scale}, shape: {shape}}}"),
            ))
        }
        "percentiles" => percentiles(node, MILLISECOND),
        _ => None,
    }
}
