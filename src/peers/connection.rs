//! Faults of connections and of the network under them, by the names that other tools have for them.

use super::fault::Fault;
use super::units::{MICROSECOND, MILLISECOND, percent, probability, rate, size, time};
use super::value::{first, number, plain, text};
use crate::yaml::tree::Node;
use crate::yaml::units::Time;

/// How a connection ends, or breaks the message that it carries.
pub(super) fn ending(name: &str) -> Option<Fault> {
    Some(match &*plain(name) {
        "emptyresponse" | "dropconnection" | "disconnect" | "kill" | "terminate" | "closesocket"
        | "closeconnection" | "connectionclose" => Fault::new("close"),
        "malformedresponsechunk" => Fault::of("corrupt", "malformed", "chunk"),
        "randomdatathenclose" => Fault::of("corrupt", "malformed", "status-line"),
        "connectionresetbypeer" | "resetpeer" | "connectionreset" | "resetconnection" | "tcpreset" | "rst" => {
            Fault::new("reset")
        }
        "partition" | "refuse" | "connectionrefused" => Fault::of("reset", "before", "connection"),
        "blackhole" | "noresponse" | "freeze" => Fault::new("hang"),
        _ => return None,
    })
}

/// Whether a time was given that is not zero.
fn not_zero(time: Option<Time>) -> Option<Time> {
    time.filter(|time| !time.get().is_zero())
}

/// The faults for a toxic of Toxiproxy, with its attributes.
pub(super) fn toxic(name: &str, settings: &Node) -> Option<Vec<Fault>> {
    let one = |words: &[&str]| first(settings, words);
    let own = |words: &[&str]| first(settings, words).unwrap_or(settings);
    Some(match name {
        "slowclose" => {
            let wait = time(own(&["delay"]), MILLISECOND).unwrap_or_else(|| Time::from_millis(1_000));
            vec![Fault::of("delay", "fixed", wait).with("before", "end")]
        }
        "timeout" | "blackhole" | "noresponse" | "freeze" => {
            let limit = not_zero(time(own(&["timeout", "limit"]), MILLISECOND));
            vec![Fault::new("hang").maybe("limit", limit)]
        }
        "resetpeer" | "connectionreset" | "resetconnection" | "tcpreset" | "rst" | "connectionresetbypeer" => {
            let wait = not_zero(time(own(&["timeout"]), MILLISECOND));
            let wait = wait.map(|wait| Fault::of("delay", "fixed", wait));
            wait.into_iter().chain([Fault::new("reset")]).collect()
        }
        "limitdata" => {
            let after = size(own(&["bytes"])).unwrap_or_else(|| "1KiB".to_owned());
            vec![Fault::of("truncate", "after", after)]
        }
        "slicer" => {
            let chunk = one(&["averagesize"]).and_then(size).unwrap_or_else(|| "64B".to_owned());
            let vary = one(&["sizevariation"])
                .filter(|vary| number(vary) != Some(0.0))
                .and_then(size);
            let gap = one(&["delay"])
                .and_then(|gap| time(gap, MICROSECOND))
                .unwrap_or(Time::ZERO);
            vec![
                Fault::of("dribble", "chunk", chunk)
                    .maybe("vary", vary)
                    .with("gap", gap),
            ]
        }
        "bandwidth" => vec![toxic_bandwidth(settings)?],
        _ => return None,
    })
}

/// A toxic is of one direction; a rate in words, as Chaos Mesh and `tc` have it, is of both.
fn toxic_bandwidth(settings: &Node) -> Option<Fault> {
    let value = first(settings, &["rate"])?;
    Some(match (number(value), rate(value, "kB")) {
        (Some(0.0), _) => Fault::new("stall"),
        (Some(_), Some(rate)) => Fault::of("bandwidth", "response", rate),
        (None, Some(rate)) => Fault::of("bandwidth", "", rate),
        (_, None) => return None,
    })
}

/// The fault for a limited rate, by the key and value that say so. Envoy counts KiB and limits responses.
pub(super) fn bandwidth(key: &str, value: &Node) -> Option<Fault> {
    let key = plain(key);
    if let Some(limit) = first(value, &["fixedlimit", "limitkbps"]) {
        return bandwidth("limit_kbps", limit);
    }
    if first(value, &["headerlimit"]).is_some() {
        // The least that callers may ask for.
        return Some(Fault::of("bandwidth", "response", "1KiB/s"));
    }
    let part = |words: &[&str]| first(value, words).and_then(|part| rate(part, "kB"));
    let (down, up) = (
        part(&["download", "downstream", "down", "response", "downloadkbps"]),
        part(&["upload", "upstream", "up", "request", "uploadkbps"]),
    );
    if down.is_some() || up.is_some() {
        return Some(Fault::new("bandwidth").maybe("response", down).maybe("request", up));
    }
    let inner = first(value, &["rate", "limit", "bandwidth", "throughput", "speed"]).unwrap_or(value);
    Some(match &*key {
        "limitkbps" => Fault::of("bandwidth", "response", rate(inner, "KiB")?),
        "bytespersecond" | "bps" => Fault::of("bandwidth", "", rate(inner, "B")?),
        "download" | "downstream" | "down" => Fault::of("bandwidth", "response", rate(inner, "kB")?),
        "upload" | "upstream" | "up" => Fault::of("bandwidth", "request", rate(inner, "kB")?),
        _ => Fault::of("bandwidth", "", rate(inner, "kB")?),
    })
}

/// WireMock's dribble: pieces over a time.
pub(super) fn dribble(settings: &Node) -> Fault {
    let chunks = text(settings, &["numberofchunks", "chunks"]).unwrap_or("5");
    let over = first(settings, &["totalduration", "duration"]).and_then(|over| time(over, MILLISECOND));
    let over = over.unwrap_or_else(|| Time::from_millis(1_000));
    Fault::of("dribble", "chunks", chunks).with("over", over)
}

/// What happens to packets, as `tc`, Pumba and Chaos Mesh have it: squall's fault for it, and the share of the requests.
pub(super) fn packets(name: &str, settings: &Node) -> Option<(Fault, Option<String>)> {
    let words = [name, "loss", "percent", "percentage", "rate", "value"];
    let value = first(settings, &words).unwrap_or(settings);
    let share = first(settings, &["probability"]).map_or_else(|| percent(value), probability);
    Some(match name {
        // squall acts above TCP, where a lost packet is a wait for its retransmission.
        "loss" | "packetloss" => (Fault::of("delay", "fixed", "200ms"), share),
        "corrupt" | "corruption" => (Fault::of("corrupt", "bytes", "0.1%"), share),
        "duplicate" => (Fault::new("duplicate"), share),
        "reorder" => (
            Fault::of("delay", "uniform", "[0ms, 100ms]"),
            share.filter(|_| number(value).is_some()),
        ),
        _ => return None,
    })
}

/// What squall has in place of a quota of requests: `{requests: 10, per: 1m}` in other words.
pub(super) fn quota(settings: &Node) -> Option<Fault> {
    let settings = first(settings, &["tokenbucket"]).unwrap_or(settings);
    let requests = first(
        settings,
        &[
            "requests",
            "ratelimit",
            "requestsperunit",
            "limit",
            "max",
            "maxrequests",
            "count",
            "tokens",
            "maxtokens",
            "rps",
            "requestspersecond",
            "average",
            "rate",
        ],
    );
    let is_second = first(settings, &["rps", "requestspersecond", "average"]).is_some();
    let per = first(
        settings,
        &[
            "per",
            "resettimewindowseconds",
            "window",
            "windowseconds",
            "period",
            "interval",
            "unit",
            "duration",
            "fillinterval",
        ],
    );
    let (requests, per) = match (requests, settings.text()) {
        (Some(requests), _) => (number(requests)?.to_string(), per.and_then(period)),
        (None, Some(text)) => {
            let (requests, per) = text.split_once('/').unwrap_or((text, ""));
            requests.trim().parse::<u64>().ok()?;
            (
                requests.trim().to_owned(),
                period(&Node::implied(per.trim(), settings.span)),
            )
        }
        (None, None) => return None,
    };
    let default = if is_second { "1s" } else { "1m" };
    Some(Fault::of("quota", "requests", requests).with("per", per.unwrap_or_else(|| default.to_owned())))
}

/// A window: `60` seconds, `1m`, or a unit alone.
pub(super) fn period(node: &Node) -> Option<String> {
    let alone = node.text().and_then(super::units::unit).map(Time::saturating);
    let time = alone.or_else(|| time(node, super::units::SECOND))?;
    (!time.get().is_zero()).then(|| time.to_string())
}
