//! Quantities as other tools write them, in squall's units: times without a unit, shares as fractions, `mbit` and `mbps`.

use std::time::Duration;

use super::value::{first, number, plain, text};
use crate::yaml::tree::Node;
use crate::yaml::units::{ByteRate, ByteSize, Percentage, Time};

/// What a number counts that has no unit.
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MICROSECOND: Duration = Duration::from_micros(1);

/// A unit of time by one of its names.
pub(super) fn unit(name: &str) -> Option<Duration> {
    Some(match &*plain(name) {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => Duration::from_nanos(1),
        "us" | "usec" | "usecs" | "micro" | "micros" | "microsecond" | "microseconds" => MICROSECOND,
        "ms" | "msec" | "msecs" | "milli" | "millis" | "millisecond" | "milliseconds" => MILLISECOND,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => Duration::from_secs(60),
        "h" | "hr" | "hrs" | "hour" | "hours" => Duration::from_secs(60 * 60),
        "d" | "day" | "days" => Duration::from_secs(24 * 60 * 60),
        _ => return None,
    })
}

/// A time. A number without a unit counts `default`s; a map may have a unit of its own, as MockServer's `{timeUnit, value}`.
pub(super) fn time(node: &Node, default: Duration) -> Option<Time> {
    match node.text() {
        Some(text) => time_of(text, default),
        None if first(node, &["seconds", "nanos"]).is_some_and(|part| number(part).is_some()) => {
            let part = |word, unit| first(node, &[word]).map_or(Some(Time::ZERO), |part| time(part, unit));
            let sum = part("seconds", SECOND)?.get() + part("nanos", Duration::from_nanos(1))?.get();
            Some(Time::saturating(sum))
        }
        None => {
            let unit = text(node, &["timeunit", "unit"]).and_then(unit).unwrap_or(default);
            let value = first(node, &["value", "timetolive", "amount", "duration", "time", "window"])?;
            time_of(value.text()?, unit)
        }
    }
}

fn time_of(text: &str, default: Duration) -> Option<Time> {
    let text = text.trim();
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let end = end.filter(|_| text.parse::<f64>().is_err()).unwrap_or(text.len());
    let (count, name) = text.split_at_checked(end)?;
    let unit = if name.trim().is_empty() {
        default
    } else {
        unit(name.trim())?
    };
    let seconds = count.parse::<f64>().ok()? * unit.as_secs_f64();
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    (time <= Time::MAX.get()).then(|| Time::saturating(time))
}

/// A share: with a percent sign, of a hundred, or as Istio's `{value: 10}` and Envoy's `{numerator: 10, denominator: HUNDRED}`.
pub(super) fn percent(node: &Node) -> Option<String> {
    share(node, 1.0)
}

/// A share of which 1 is all; what is more is meant as a share of a hundred.
pub(super) fn probability(node: &Node) -> Option<String> {
    match number(node) {
        Some(number) if number <= 1.0 => share(node, 100.0),
        _ => share(node, 1.0),
    }
}

fn share(node: &Node, times: f64) -> Option<String> {
    if let Some(numerator) = first(node, &["numerator"]).and_then(number) {
        let whole = match text(node, &["denominator"]) {
            Some("TEN_THOUSAND") => 100.0,
            Some("MILLION") => 10_000.0,
            _ => 1.0,
        };
        return ppm(numerator / whole);
    }
    if let Some(inner) = first(node, &["value", "defaultvalue", "percentage", "percent"]) {
        return share(inner, times);
    }
    let text = node.text()?.trim();
    match text.strip_suffix('%') {
        Some(number) => ppm(number.trim().parse().ok()?),
        None => ppm(number(node)? * times),
    }
}

fn ppm(percent: f64) -> Option<String> {
    if !(0.0..=100.0).contains(&percent) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is from 0 to 1,000,000"
    )]
    let ppm = (percent * 10_000.0).round() as u32;
    Some(Percentage::from_ppm(ppm).to_string())
}

/// How much a delay resembles the one before it. squall has 95% at most.
pub(super) fn correlation(node: &Node) -> Option<String> {
    let share = percent(node)?;
    let number: f64 = share.trim_end_matches('%').parse().ok()?;
    match number {
        0.0 => None,
        95.0.. => Some("95%".to_owned()),
        _ => Some(share),
    }
}

/// A number of bytes.
pub(super) fn size(node: &Node) -> Option<String> {
    let text = node.text()?.trim();
    let size = text.parse::<ByteSize>().ok().or_else(|| {
        let (number, unit) = split(text)?;
        format!("{number}{}", bytes(unit)?).parse().ok()
    })?;
    Some(size.to_string())
}

/// A rate. A number without a unit counts `default`s, such as `KiB`; nothing for a rate of 0.
pub(super) fn rate(node: &Node, default: &str) -> Option<String> {
    let text = node.text()?.trim();
    if text.parse::<ByteRate>().is_ok() {
        return Some(text.to_owned());
    }
    let (number, unit) = split(text)?;
    let unit = match unit.trim_end_matches("/s").trim_end_matches("/sec") {
        "" => default,
        unit => units(unit)?,
    };
    let rate = format!("{number}{unit}/s");
    let exact = rate.parse::<ByteRate>().ok()?;
    // Bytes alone are many digits.
    Some(if unit == "B" { exact.to_string() } else { rate })
}

fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, unit) = text.split_at_checked(end.unwrap_or(text.len()))?;
    number.parse::<f64>().ok()?;
    Some((number, unit.trim()))
}

/// squall's unit for one of other tools. `mbit` are bits, and `mbps` bytes, as `tc` and Chaos Mesh have it; `Mbps` are the bits of
/// everybody else.
fn units(unit: &str) -> Option<&'static str> {
    match unit {
        "Kbps" => return Some("kbit"),
        "Mbps" => return Some("Mbit"),
        "Gbps" => return Some("Gbit"),
        _ => {}
    }
    let lower = unit.to_ascii_lowercase();
    let bits = [
        ("bit", "bit"),
        ("kbit", "kbit"),
        ("mbit", "Mbit"),
        ("gbit", "Gbit"),
        ("tbit", "Tbit"),
        ("kibit", "Kibit"),
        ("mibit", "Mibit"),
        ("gibit", "Gibit"),
    ];
    let bit = bits.iter().find(|(name, _)| *name == lower).map(|(_, own)| *own);
    bit.or_else(|| bytes(lower.strip_suffix("ps").unwrap_or(&lower)))
}

fn bytes(unit: &str) -> Option<&'static str> {
    Some(match &*unit.to_ascii_lowercase() {
        "b" | "byte" | "bytes" => "B",
        "k" | "kb" => "kB",
        "m" | "mb" => "MB",
        "g" | "gb" => "GB",
        "ki" | "kib" => "KiB",
        "mi" | "mib" => "MiB",
        "gi" | "gib" => "GiB",
        _ => return None,
    })
}
