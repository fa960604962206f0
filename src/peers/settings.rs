//! Settings of squall's own faults that other tools have by another name, and that need no other translation.

use super::connection;
use super::fault::{Fault, own_key};
use super::units::{MILLISECOND, SECOND, percent, size, time};
use super::value::{entries, first, flow, is_nested, number, plain, word as scalar};
use super::{Hint, Word, instead, said, write};
use crate::yaml::tree::Node;

/// A word in the map of a fault, for the faults whose settings are names and values alone.
pub(super) fn of(fault: &str, word: &Word<'_>) -> Option<Hint> {
    let key = plain(word.key);
    match fault {
        "truncate" => truncate(&key, word),
        "dribble" => dribble(&key, word),
        "stall" | "hang" => pause(fault, &key, word),
        "quota" => quota(&key, word),
        "concurrency" => concurrency(&key, word),
        "reset" | "close" => ending(fault, &key, word),
        "rewrite" => rewrite(&key, word),
        _ => None,
    }
}

fn ms_or(node: &Node, example: &str) -> String {
    time(node, MILLISECOND).map_or_else(|| example.to_owned(), |time| time.to_string())
}

fn size_or(node: &Node, example: &str) -> String {
    size(node).unwrap_or_else(|| example.to_owned())
}

fn truncate(key: &str, word: &Word<'_>) -> Option<Hint> {
    let after = match key {
        "bytes" | "size" | "limit" | "at" | "length" => size_or(word.value, "1KiB"),
        "percent" | "percentage" | "share" => percent(word.value).unwrap_or_else(|| "50%".to_owned()),
        "events" | "messages" => format!("{} {key}", scalar(word.value, "3")),
        _ => return None,
    };
    instead("after", format!("after: {after}"))
}

fn dribble(key: &str, word: &Word<'_>) -> Option<Hint> {
    match key {
        "averagesize" | "size" | "chunksize" | "bytes" => {
            instead("chunk", format!("chunk: {}", size_or(word.value, "64B")))
        }
        "sizevariation" => write(format!("vary: {}", size_or(word.value, "32B"))),
        // Toxiproxy's slicer counts microseconds.
        "delay" if first(word.map, &["averagesize"]).is_some() => {
            let gap = time(word.value, super::units::MICROSECOND)?;
            instead("gap", format!("gap: {gap}"))
        }
        "delay" | "interval" | "every" | "wait" => instead("gap", format!("gap: {}", ms_or(word.value, "100ms"))),
        "numberofchunks" | "count" | "pieces" => instead("chunks", format!("chunks: {}", scalar(word.value, "10"))),
        "totalduration" | "duration" => instead("over", format!("over: {}", ms_or(word.value, "5s"))),
        _ => None,
    }
}

fn pause(fault: &str, key: &str, word: &Word<'_>) -> Option<Hint> {
    match key {
        "timeout" | "duration" | "for" | "time" | "delay" => {
            write(format!("{fault}: {{limit: {}}}", ms_or(word.value, "10s")))
        }
        "seconds" | "secs" => write(format!("{fault}: {{limit: {}}}", time(word.value, SECOND)?)),
        "limit" if word.is_value => write(format!("{fault}: {{limit: {}}}", time(word.value, MILLISECOND)?)),
        "bytes" | "at" if fault == "stall" => write(format!("stall: {{after: {}}}", size_or(word.value, "1KiB"))),
        _ => None,
    }
}

fn quota(key: &str, word: &Word<'_>) -> Option<Hint> {
    let is_part = matches!(
        key,
        "limit"
            | "max"
            | "rate"
            | "count"
            | "maxrequests"
            | "tokens"
            | "maxtokens"
            | "rps"
            | "requestsperunit"
            | "ratelimit"
            | "window"
            | "period"
            | "interval"
            | "duration"
            | "unit"
            | "time"
            | "fillinterval"
            | "every"
            | "windowseconds"
            | "resettimewindowseconds"
    );
    match key {
        _ if is_part || (key == "per" && word.is_value) => {
            let mut quota = connection::quota(word.map).or_else(|| {
                let per = connection::period(word.value).unwrap_or_else(|| "1m".to_owned());
                Some(Fault::of("quota", "requests", "100").with("per", per))
            })?;
            for (key, value) in entries(word.map) {
                if let Some(own) = own_key("quota", key) {
                    quota = quota.with(own, flow(value));
                }
            }
            super::whole(write(quota.to_string())?)
        }
        "by" | "perclient" => write("key: client"),
        "retryafter" => said("a refusal's `Retry-After` is the time until the window ends"),
        _ => None,
    }
}

fn concurrency(key: &str, word: &Word<'_>) -> Option<Hint> {
    match key {
        "max" | "active" | "workers" | "maxrequests" | "maxconcurrent" | "requests" | "maxconnections" => {
            instead("limit", format!("limit: {}", scalar(word.value, "8")))
        }
        "pending" | "maxpendingrequests" | "backlog" => write(format!("queue: {}", scalar(word.value, "100"))),
        _ => None,
    }
}

fn ending(fault: &str, key: &str, word: &Word<'_>) -> Option<Hint> {
    match key {
        // Toxiproxy's `reset_peer` with a timeout of 0 resets at once.
        "timeout" | "delay" | "limit" if number(word.value) == Some(0.0) => write(format!("{fault}: {{}}")),
        "timeout" | "delay" | "limit" => write(format!("faults: [delay: {}, {fault}: {{}}]", ms_or(word.value, "1s"))),
        "after" | "bytes" => write(format!(
            "truncate: {{after: {}, end: {fault}}}",
            size_or(word.value, "1KiB")
        )),
        _ => None,
    }
}

fn rewrite(key: &str, word: &Word<'_>) -> Option<Hint> {
    match key {
        "code" | "statuscode" | "httpstatus" => write(format!("status: {}", scalar(word.value, "500"))),
        "body" if word.is_value => write(format!("json: {}", flow(word.value))),
        "jsonbody" => write(format!("json: {}", flow(word.value))),
        "header" | "addheaders" | "setheaders" | "responseheaders" => {
            let fields = if is_nested(word.value) {
                flow(word.value)
            } else {
                "{x-name: value}".to_owned()
            };
            write(format!("headers: {{set: {fields}}}"))
        }
        "removeheaders" => write(format!("headers: {{remove: {}}}", scalar(word.value, "[x-name]"))),
        "patch" | "jsonpatch" => write("json_patch: [{op: replace, path: /a, value: 1}]"),
        "find" | "search" | "regex" => write("replace: [{find: REGEX, with: TEXT}]"),
        "uri" | "path" | "prefix" | "prefixrewrite" | "uriregexrewrite" | "authority" => said(super::read::REWRITE),
        "response" => {
            said("what concerns the response stands in `rewrite` itself; `request:` holds what concerns the request")
        }
        _ => None,
    }
}
