//! Faults in the words of other tools, and their settings.

use std::time::Duration;

use super::distribution::{self, around};
use super::value::{first, flow, ms, ms_or, number, percent, probability, size, time, word as scalar};
use super::{condition, instead, rule, said, write};
use crate::yaml::decode::word::{Hint, Word};
use crate::yaml::tree::{Node, Value};
use crate::yaml::units::Time;

/// A word in the list of faults: a name that is none of squall's, or a key beside a fault.
pub(super) fn fault(word: &Word<'_>) -> Option<Hint> {
    match word.key {
        _ if word.is_value => value(word),
        // Toxiproxy's own form of a toxic.
        "type" | "toxic" | "attributes" => {
            let attributes = word.map.get("attributes").unwrap_or(word.map);
            let name = first(word.map, &["type", "toxic", "name"]).and_then(Node::text)?;
            let line = named(name, attributes)?;
            match word.map.get("toxicity").filter(|share| number(share) != Some(1.0)) {
                Some(share) => said(format!(
                    "write `{line}`, and `when: {}` beside the rule's `faults`",
                    probability(share)
                )),
                None => write(line),
            }
        }
        "loss" | "packet_loss" | "packetLoss" => said(format!(
            "squall acts above TCP, where a lost packet is a wait: write `delay: {{uniform: [0ms, 300ms]}}`, or `drop: {}` for \
             the messages of a stream",
            percent(first(word.value, &["loss", "percent", "percentage"]).unwrap_or(word.value))
        )),
        "rate" if number(word.value).is_some() => rule::beside_faults(word),
        // `- delay: 1s` with `jitter: 200ms` below it.
        "jitter" => {
            let length = word.map.get("delay").and_then(ms);
            let length = length.unwrap_or_else(|| Time::from_millis(100));
            write(around(length, ms(word.value).or_else(|| "20ms".parse().ok())))
        }
        "faults" => said("put the faults into one list: `faults: [delay: 200ms, abort: 503]`"),
        "nothing" | "none" | "noop" | "pass" | "passthrough" => {
            said("a rule without effect is one with `enabled: false`")
        }
        name => named(name, word.value)
            .and_then(write)
            .or_else(|| rule::beside_faults(word))
            .or_else(|| condition::beside_faults(word)),
    }
}

/// A value that one of squall's faults can't have.
fn value(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    let list = |items: &[Node]| items.iter().map(|item| flow(item, "…")).collect::<Vec<_>>();
    match (word.key, &value.value) {
        ("delay", Value::Seq(items)) => write(format!("delay: {{uniform: [{}]}}", list(items).join(", "))),
        ("abort", Value::Seq(items)) => {
            let outcomes = list(items)
                .into_iter()
                .map(|status| format!("{{weight: 1, faults: [abort: {status}]}}"));
            said(format!(
                "write `choose: [{}]` instead of `faults`",
                outcomes.collect::<Vec<_>>().join(", ")
            ))
        }
        ("delay", Value::Int(_)) => write(format!("delay: {}", ms(value)?)),
        ("delay", Value::Float(_)) => write(format!("delay: {}", time(value, Duration::from_secs(1))?)),
        ("delay", Value::String(text)) => {
            let (low, high) = ["..", " - ", "-", " to "]
                .iter()
                .find_map(|sign| text.split_once(*sign))?;
            let unit = high
                .trim()
                .trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
            let low = low.trim();
            let low = if low.parse::<f64>().is_ok() {
                format!("{low}{unit}")
            } else {
                low.to_owned()
            };
            let [low, high] = [low.parse::<Time>().ok()?, high.trim().parse().ok()?];
            write(format!("delay: {{uniform: [{low}, {high}]}}"))
        }
        ("abort", Value::String(text)) => {
            let status: String = text
                .chars()
                .take(3)
                .map(|letter| if letter == 'x' { '0' } else { letter })
                .collect();
            write(format!(
                "abort: {}",
                status.parse::<u16>().ok().map_or("503", |_| &*status)
            ))
        }
        ("abort", Value::Bool(_)) => write("abort: 503"),
        ("hang" | "stall", _) if ms(value).is_some() => write(format!("{}: {{limit: {}}}", word.key, ms(value)?)),
        ("close" | "reset", _) if ms(value).is_some() => {
            write(format!("faults: [delay: {}, {}: {{}}]", ms(value)?, word.key))
        }
        ("close" | "reset" | "hang" | "goaway" | "stall", Value::Bool(_) | Value::String(_)) => {
            write(format!("{}: {{}}", word.key))
        }
        ("drop" | "duplicate", Value::Bool(_) | Value::Int(_) | Value::Float(_)) => {
            write(format!("{}: {{messages: {}}}", word.key, share_of(value)))
        }
        ("corrupt", Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_)) => match value.text() {
            Some("json" | "chunk" | "header" | "status-line" | "encoding") => {
                write(format!("corrupt: {{malformed: {}}}", value.text()?))
            }
            _ => write(format!("corrupt: {{bytes: {}}}", share_of(value))),
        },
        ("truncate", Value::Bool(_)) => write("truncate: 50%"),
        ("bandwidth", Value::Int(_)) => write(format!("bandwidth: {}kB/s", value.text()?)),
        ("quota", Value::Int(_)) => write(format!("quota: {}/1m", value.text()?)),
        ("concurrency", Value::Int(_)) => write(format!("concurrency: {{limit: {}}}", value.text()?)),
        ("rewrite", Value::Int(_)) => write(format!("rewrite: {{status: {}}}", value.text()?)),
        _ => None,
    }
}

/// A share for a flag or a number.
fn share_of(value: &Node) -> String {
    match number(value) {
        Some(_) => percent(value),
        None if value.text().is_some_and(|text| text.ends_with('%')) => percent(value),
        None => "10%".to_owned(),
    }
}

/// The line for a fault of another tool, with its settings.
pub(super) fn named(name: &str, settings: &Node) -> Option<String> {
    let one = |keys: &[&str]| first(settings, keys);
    let own = |keys: &[&str]| first(settings, keys).unwrap_or(settings);
    let status = |node: &Node| scalar(Some(own_status(node)), "503");
    Some(match name {
        "latency" | "slow" | "slowness" | "lag" | "Latency" => match ms(own(&["latency", "time", "delay"])) {
            Some(length) => around(length, one(&["jitter"]).and_then(ms)),
            None => distribution::line(settings),
        },
        "fixedDelay"
        | "fixed_delay"
        | "fixedDelayMilliseconds"
        | "delayMs"
        | "delay_ms"
        | "wait"
        | "sleep"
        | "pause"
        | "responseDelay"
        | "response_delay"
        | "connectionDelay"
        | "injectDelay" => {
            format!("delay: {}", ms_or(settings, "200ms"))
        }
        "delayDistribution" | "delay_distribution" | "randomDelay" | "random_delay" | "random" | "netem" => {
            distribution::line(settings)
        }
        "minMs" | "maxMs" => "delay: {uniform: [200ms, 10s]}".to_owned(),
        "chunkedDribbleDelay" => {
            let chunks = scalar(one(&["numberOfChunks"]), "5");
            let over = one(&["totalDuration"]).map_or("1s".to_owned(), |over| ms_or(over, "1s"));
            format!("dribble: {{chunks: {chunks}, over: {over}}}")
        }
        "slicer" => {
            let chunk = size(one(&["average_size"]), "64B");
            let vary = one(&["size_variation"]).filter(|vary| number(vary) != Some(0.0));
            let vary = vary.map_or(String::new(), |vary| format!(", vary: {}", size(Some(vary), "32B")));
            let gap = one(&["delay"]).and_then(|gap| time(gap, Duration::from_micros(1)));
            let gap = gap.map_or("10ms".to_owned(), |gap| gap.to_string());
            format!("dribble: {{chunk: {chunk}{vary}, gap: {gap}}}")
        }
        "timeout" | "blackhole" | "black_hole" | "no_response" | "noResponse" | "freeze" => {
            match ms(own(&["timeout", "limit"])).filter(|limit| !limit.get().is_zero()) {
                Some(limit) => format!("hang: {{limit: {limit}}}"),
                None => "hang: {}".to_owned(),
            }
        }
        "reset_peer" | "resetPeer" | "connection_reset" | "connectionReset" | "tcp_reset" | "rst" => {
            match ms(own(&["timeout"])).filter(|limit| !limit.get().is_zero()) {
                Some(limit) => format!("stall: {{limit: {limit}, end: reset}}"),
                None => "reset: {}".to_owned(),
            }
        }
        "down" | "refuse" | "connection_refused" | "unavailable" => "reset: {before: connection}".to_owned(),
        "limit_data" | "limitData" => format!("truncate: {}", size(Some(own(&["bytes"])), "1KiB")),
        "slow_close" | "slowClose" => format!("delay: {{fixed: {}, before: end}}", ms_or(own(&["delay"]), "1s")),
        "rate_limit" | "ratelimit" | "rateLimit" | "rate-limit" | "throttle" | "RateLimitingPlugin" => {
            "quota: 10/1m".to_owned()
        }
        "bandwidth" => {
            let rate = number(own(&["rate"])).map_or_else(|| "64KiB/s".to_owned(), |rate| format!("{rate}kB/s"));
            format!("bandwidth: {rate}")
        }
        "throughput" | "response_rate_limit" | "rate" | "slow_network" => "bandwidth: 64KiB/s".to_owned(),
        "httpStatus" | "http_status" | "status" | "statusCode" | "status_code" | "httpResponse" | "response"
        | "respond" | "error" | "errors" | "fail" | "failure" | "http_error" | "httpError" | "http_fault"
        | "http_abort" | "code" | "return" | "exception" => format!("abort: {}", status(settings)),
        "grpc_status" | "grpcStatus" | "grpc" => {
            format!("abort: {{grpc: {}}}", scalar(Some(settings), "UNAVAILABLE"))
        }
        "fault"
        | "EMPTY_RESPONSE"
        | "MALFORMED_RESPONSE_CHUNK"
        | "RANDOM_DATA_THEN_CLOSE"
        | "CONNECTION_RESET_BY_PEER" => {
            let name = if name == "fault" { settings.text()? } else { name };
            wiremock(name)?.to_owned()
        }
        "dropConnection" | "drop_connection" | "disconnect" | "empty_response" | "emptyResponse" | "kill"
        | "terminate" => "close: {}".to_owned(),
        "partition" => "reset: {before: connection}".to_owned(),
        "reorder" => "duplicate: {messages: 10%}".to_owned(),
        "headers" | "replace" | "patch" | "transform" | "modify" | "add_headers" => {
            "rewrite: {headers: {set: {x-name: value}}}".to_owned()
        }
        "body" | "json" | "response_body" => format!("abort: {{status: 503, body: {}}}", flow(settings, "text")),
        "corruption" | "garbage" | "randomData" => "corrupt: {bytes: 1%}".to_owned(),
        "cut" | "truncated" => "truncate: 50%".to_owned(),
        _ => return None,
    })
}

/// The list for a map of faults, such as Istio's `fault: {delay: {fixedDelay: 5s}}`.
pub(super) fn of_map(map: &Node) -> Option<String> {
    let Value::Map(entries) = &map.value else { return None };
    let one = |(key, settings): &(Node, Node)| match key.text()? {
        "delay" => Some(match &settings.value {
            Value::Map(_) => distribution::line(settings),
            _ => format!("delay: {}", ms_or(settings, "200ms")),
        }),
        "abort" => Some(format!("abort: {}", scalar(Some(own_status(settings)), "503"))),
        name => named(name, settings),
    };
    let lines = entries.iter().map(one).collect::<Option<Vec<String>>>()?;
    (!lines.is_empty()).then(|| format!("faults: [{}]", lines.join(", ")))
}

/// The status within a map that stands for a response.
fn own_status(node: &Node) -> &Node {
    first(
        node,
        &[
            "statusCode",
            "status",
            "status_code",
            "code",
            "httpStatus",
            "http_status",
        ],
    )
    .unwrap_or(node)
}

/// The fault of one of WireMock's names.
pub(super) fn wiremock(name: &str) -> Option<&'static str> {
    Some(match name {
        "EMPTY_RESPONSE" => "close: {}",
        "MALFORMED_RESPONSE_CHUNK" => "corrupt: {malformed: chunk}",
        "RANDOM_DATA_THEN_CLOSE" => "corrupt: {malformed: status-line}",
        "CONNECTION_RESET_BY_PEER" => "reset: {}",
        _ => return None,
    })
}

/// A word in the map of one of squall's faults.
pub(super) fn part(name: &str, word: &Word<'_>) -> Option<Hint> {
    let own = match name {
        "delay" => distribution::delay(word),
        "abort" => abort(word),
        "bandwidth" => bandwidth(word),
        "truncate" => truncate(word),
        "dribble" => dribble(word),
        "stall" | "hang" => pause(name, word),
        "quota" => quota(word),
        "concurrency" => concurrency(word),
        "drop" | "duplicate" | "corrupt" => share(name, word),
        "reset" | "close" => ending(name, word),
        "rewrite" => rewrite(word),
        _ => None,
    };
    if word.is_value {
        return own;
    }
    own.or_else(|| rule::beside_faults(word))
        .or_else(|| condition::beside_faults(word))
}

fn abort(word: &Word<'_>) -> Option<Hint> {
    let value = |example| scalar(Some(word.value), example);
    match word.key {
        "http_status" | "httpStatus" | "statusCode" | "status_code" | "code" | "http" | "error_code" | "http_code" => {
            write(format!("abort: {{status: {}}}", value("503")))
        }
        "grpc_status" | "grpcStatus" | "grpc_code" => write(format!("abort: {{grpc: {}}}", value("UNAVAILABLE"))),
        "text" | "content" | "responseBody" | "error" | "reason" | "detail" => {
            write(format!("body: {}", flow(word.value, "text")))
        }
        "body" if word.is_value => write(format!("json: {}", flow(word.value, "{error: overloaded}"))),
        "body_filename" | "bodyFileName" | "body_file" => write(format!("file: {}", value("error.html"))),
        "jsonBody" | "json_body" | "data" => write(format!("json: {}", flow(word.value, "{error: overloaded}"))),
        "header" | "add_headers" | "response_headers" => write("headers: {x-name: value}"),
        "content_type" | "contentType" | "content-type" => {
            write(format!("headers: {{content-type: {}}}", value("application/json")))
        }
        "delay" | "latency" | "fixedDelay" => {
            write(format!("faults: [delay: {}, abort: 503]", ms_or(word.value, "200ms")))
        }
        "retryAfter" | "retry-after" | "Retry-After" => {
            let after = time(word.value, Duration::from_secs(1));
            write(format!(
                "retry_after: {}",
                after.map_or("5s".to_owned(), |after| after.to_string())
            ))
        }
        _ => None,
    }
}

fn bandwidth(word: &Word<'_>) -> Option<Hint> {
    let rate = number(word.value).map_or_else(|| scalar(Some(word.value), "100kB/s"), |rate| format!("{rate}kB/s"));
    match word.key {
        "rate" | "limit" | "bandwidth" | "bytes_per_second" | "limit_kbps" | "kbps" => {
            write(format!("bandwidth: {rate}"))
        }
        "fixed_limit" => write(format!(
            "bandwidth: {}KiB/s",
            scalar(word.value.get("limit_kbps").or(Some(word.value)), "64")
        )),
        "download" | "downstream" | "down" => write(format!("response: {rate}")),
        "upload" | "upstream" | "up" => write(format!("request: {rate}")),
        _ => None,
    }
}

fn truncate(word: &Word<'_>) -> Option<Hint> {
    match word.key {
        "bytes" | "size" | "limit" | "at" | "length" => {
            instead("after", format!("after: {}", size(Some(word.value), "1KiB")))
        }
        "percent" | "percentage" | "share" => instead("after", format!("after: {}", percent(word.value))),
        "events" | "messages" => instead(
            "after",
            format!("after: {} {}", scalar(Some(word.value), "3"), word.key),
        ),
        _ => None,
    }
}

fn dribble(word: &Word<'_>) -> Option<Hint> {
    match word.key {
        "average_size" | "size" | "chunk_size" | "bytes" => {
            instead("chunk", format!("chunk: {}", size(Some(word.value), "64B")))
        }
        "size_variation" => write(format!("vary: {}", size(Some(word.value), "32B"))),
        "delay" | "interval" | "every" | "wait" => instead("gap", format!("gap: {}", ms_or(word.value, "100ms"))),
        "numberOfChunks" | "count" | "pieces" => {
            instead("chunks", format!("chunks: {}", scalar(Some(word.value), "10")))
        }
        "totalDuration" | "duration" => instead("over", format!("over: {}", ms_or(word.value, "5s"))),
        _ => None,
    }
}

fn pause(name: &str, word: &Word<'_>) -> Option<Hint> {
    match word.key {
        "timeout" | "duration" | "for" | "time" | "seconds" | "delay" => {
            write(format!("{name}: {{limit: {}}}", ms_or(word.value, "10s")))
        }
        "bytes" | "at" if name == "stall" => write(format!("stall: {{after: {}}}", size(Some(word.value), "1KiB"))),
        _ => None,
    }
}

fn quota(word: &Word<'_>) -> Option<Hint> {
    let value = |example| scalar(Some(word.value), example);
    match word.key {
        "limit" | "max" | "rate" | "count" | "max_requests" | "tokens" | "max_tokens" | "rps" | "requests_per_unit" => {
            instead("requests", format!("requests: {}", value("100")))
        }
        "window" | "period" | "interval" | "duration" | "unit" | "time" | "fill_interval" | "every" => instead(
            "per",
            format!(
                "per: {}",
                time(word.value, Duration::from_secs(1)).map_or("1m".to_owned(), |per| per.to_string())
            ),
        ),
        "by" | "per_client" => write("key: client"),
        "retry_after" | "retryAfter" => said("a refusal's `Retry-After` is the time until the window ends"),
        _ => None,
    }
}

fn concurrency(word: &Word<'_>) -> Option<Hint> {
    match word.key {
        "max" | "active" | "workers" | "max_requests" | "maxConcurrent" | "requests" | "max_connections" => {
            instead("limit", format!("limit: {}", scalar(Some(word.value), "8")))
        }
        "pending" | "max_pending_requests" | "backlog" => write(format!("queue: {}", scalar(Some(word.value), "100"))),
        _ => None,
    }
}

fn share(name: &str, word: &Word<'_>) -> Option<Hint> {
    let share = match word.key {
        "probability" | "chance" => probability(word.value),
        "percentage" | "percent" | "rate" | "loss" | "share" | "corrupt" | "duplicate" | "drop" => percent(word.value),
        _ => return None,
    };
    let part = if name == "corrupt" { "bytes" } else { "messages" };
    write(format!("{name}: {{{part}: {share}}}"))
}

fn ending(name: &str, word: &Word<'_>) -> Option<Hint> {
    match word.key {
        "timeout" | "delay" | "limit" => write(format!("faults: [delay: {}, {name}: {{}}]", ms_or(word.value, "1s"))),
        "after" | "bytes" => write(format!(
            "truncate: {{after: {}, end: {name}}}",
            size(Some(word.value), "1KiB")
        )),
        _ => None,
    }
}

fn rewrite(word: &Word<'_>) -> Option<Hint> {
    let value = |example| scalar(Some(word.value), example);
    match word.key {
        "code" | "statusCode" | "status_code" | "http_status" | "httpStatus" => {
            write(format!("status: {}", value("500")))
        }
        "body" if word.is_value => write(format!("json: {}", flow(word.value, "{a: 1}"))),
        "jsonBody" | "json_body" => write(format!("json: {}", flow(word.value, "{a: 1}"))),
        "header" | "add_headers" | "set_headers" => write("headers: {set: {x-name: value}}"),
        "remove_headers" => write("headers: {remove: [x-name]}"),
        "patch" | "jsonPatch" => write("json_patch: [{op: replace, path: /a, value: 1}]"),
        "find" | "search" | "regex" => write("replace: [{find: REGEX, with: TEXT}]"),
        "response" => {
            said("what concerns the response stands in `rewrite` itself; `request:` holds what concerns the request")
        }
        _ => None,
    }
}
