//! Delays in the words of other tools: a latency with its jitter, WireMock's distributions, a mean with its deviation.

use std::time::Duration;

use super::value::{first, ms, ms_or, number, word as scalar};
use super::write;
use crate::yaml::decode::word::{Hint, Word};
use crate::yaml::tree::{Node, Value};
use crate::yaml::units::Time;

/// The line for a delay of `length` that varies by `jitter` either way.
pub(super) fn around(length: Time, jitter: Option<Time>) -> String {
    let jitter = jitter.map_or(Duration::ZERO, Time::get);
    if jitter.is_zero() {
        return format!("delay: {length}");
    }
    let low = Time::saturating(length.get().saturating_sub(jitter));
    let high = Time::saturating(length.get().saturating_add(jitter));
    format!("delay: {{uniform: [{low}, {high}]}}")
}

/// The line for a delay whose parts have the names of other tools; an example if nothing is known of them.
pub(super) fn line(map: &Node) -> String {
    if let Value::Seq(items) = &map.value
        && let [low, high] = items.as_slice()
    {
        return format!("delay: {{uniform: [{}, {}]}}", ms_or(low, "50ms"), ms_or(high, "150ms"));
    }
    let one = |keys: &[&str]| first(map, keys).and_then(ms);
    let low = one(&["min", "minMs", "min_ms", "lower", "low", "from"]);
    let high = one(&["max", "maxMs", "max_ms", "upper", "high", "to"]);
    let deviation = one(&["stddev", "std", "sd", "deviation", "standardDeviation"]);
    let mean = one(&["mean", "average", "avg"]);
    let jitter = one(&["jitter", "variance", "variation"]);
    if let (Some(low), Some(high)) = (low, high) {
        return format!("delay: {{uniform: [{low}, {high}]}}");
    }
    if let Some(median) = one(&["median"]) {
        let sigma = first(map, &["sigma"]).and_then(number).unwrap_or(0.4);
        return format!("delay: {{lognormal: {{median: {median}, sigma: {sigma}}}}}");
    }
    let length = one(&[
        "latency",
        "time",
        "delay",
        "duration",
        "fixed",
        "fixedDelay",
        "fixed_delay",
        "value",
        "fixedDelayMilliseconds",
        "ms",
        "milliseconds",
        "base",
        "amount",
    ]);
    let is_normal = first(map, &["distribution", "type"]).and_then(Node::text) == Some("normal");
    let deviation = deviation.or(jitter.filter(|_| is_normal || mean.is_some()));
    match (length.or(mean), deviation) {
        (Some(mean), None) if is_normal => {
            let deviation = Time::saturating(mean.get() / 10);
            format!("delay: {{normal: {{mean: {mean}, deviation: {deviation}}}}}")
        }
        (Some(mean), Some(deviation)) => format!("delay: {{normal: {{mean: {mean}, deviation: {deviation}}}}}"),
        (Some(length), None) => around(with_unit(map, length), jitter),
        (None, _) => "delay: {uniform: [50ms, 150ms]}".to_owned(),
    }
}

/// MockServer's `{timeUnit: SECONDS, value: 1}`.
fn with_unit(map: &Node, length: Time) -> Time {
    let times = match first(map, &["timeUnit", "unit"]).and_then(Node::text) {
        Some("SECONDS" | "seconds" | "s") => 1_000,
        Some("MINUTES" | "minutes" | "m") => 60_000,
        _ => 1,
    };
    Time::saturating(length.get().saturating_mul(times))
}

/// A word in `delay`.
pub(super) fn delay(word: &Word<'_>) -> Option<Hint> {
    match word.key {
        "jitter"
        | "latency"
        | "time"
        | "duration"
        | "value"
        | "timeUnit"
        | "unit"
        | "mean"
        | "average"
        | "stddev"
        | "std"
        | "sd"
        | "deviation"
        | "min"
        | "minMs"
        | "maxMs"
        | "min_ms"
        | "max_ms"
        | "lower"
        | "upper"
        | "low"
        | "high"
        | "from"
        | "to"
        | "median"
        | "sigma"
        | "p99"
        | "distribution"
        | "type"
        | "ms"
        | "milliseconds"
        | "amount"
        | "variance"
        | "variation"
        | "base"
        | "fixedDelay"
        | "fixed_delay"
        | "fixedDelayMilliseconds"
        | "delay" => write(line(word.map)),
        "seconds" | "delay_seconds" => {
            let time = super::value::time(word.value, Duration::from_secs(1));
            write(time.map_or_else(|| "delay: 1s".to_owned(), |time| format!("delay: {time}")))
        }
        "random" | "range" | "between" => write(line(word.value)),
        "p50" | "p90" | "p95" | "p999" => {
            let time = ms_or(word.value, "200ms");
            write(format!("delay: {{percentiles: {{{}: {time}, …}}}}", word.key))
        }
        "file" | "csv" | "trace" => write(format!(
            "delay: {{samples: {}}}",
            scalar(Some(word.value), "latencies.csv")
        )),
        _ => None,
    }
}

/// A word in the map of a distribution, such as `normal`.
pub(super) fn part(word: &Word<'_>) -> Option<Hint> {
    let distribution = word.path.last().copied().unwrap_or_default();
    match (distribution, word.key) {
        ("normal", "stddev" | "std" | "sd" | "std_dev" | "sigma" | "jitter" | "standardDeviation" | "variance") => {
            super::instead("deviation", format!("deviation: {}", ms_or(word.value, "10ms")))
        }
        ("normal", "median" | "average" | "avg" | "mu") => {
            super::instead("mean", format!("mean: {}", ms_or(word.value, "100ms")))
        }
        ("lognormal", "mean" | "average" | "mu") => {
            super::instead("median", format!("median: {}", ms_or(word.value, "100ms")))
        }
        ("lognormal", "stddev" | "deviation" | "std") => write(format!("sigma: {}", scalar(Some(word.value), "0.4"))),
        ("uniform", _) => write(line(word.map)),
        ("exponential", "rate" | "lambda" | "median") => super::instead("mean", "mean: 100ms"),
        ("pareto", "min" | "minimum" | "xm") => {
            super::instead("scale", format!("scale: {}", ms_or(word.value, "10ms")))
        }
        ("pareto", "alpha") => super::instead("shape", format!("shape: {}", scalar(Some(word.value), "1.5"))),
        _ => None,
    }
}
