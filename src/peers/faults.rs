//! Faults in the words of other tools where squall's own stand: in the list of a rule, and the settings of a fault.

use super::block::{Block, Hit};
use super::fault::{Fault, is_own, own_key};
use super::units::{MILLISECOND, percent, time};
use super::value::{entries, first, flow, is_nested, number, plain, text};
use super::{abort, condition, connection, delay, listener, read, said, settings, tc, when, write};
use crate::yaml::decode::word::{Hint, Word};
use crate::yaml::tree::{NOTHING, Node, Value};

/// A word in the list of faults: a name that is none of squall's, or a key beside a fault.
pub(super) fn fault(word: &Word<'_>) -> Option<Hint> {
    if word.is_value {
        return value(word);
    }
    // What is wrong with one of squall's own is not its name.
    if is_own(word.key) {
        return None;
    }
    match &*plain(word.key) {
        "down" => said("a proxy that is down is a listener that is: write `enabled: false` among the listener's keys"),
        "faults" => {
            let hint = Block::of_word(word.key, word.value, word.map).in_rule()?;
            Some(Hint { meant: None, ..hint })
        }
        "nothing" | "none" | "noop" | "pass" | "passthrough" => {
            said("a rule without effect is one with `enabled: false`")
        }
        "match" => said("`match` stands beside the rule's `faults`, one level further out"),
        "stream" | "direction" if Block::of_map(word.map).faults.is_empty() => direction(word.value),
        // A time with a unit is one among faults, while it is none elsewhere.
        "timeout" if !is_nested(word.value) && entries(word.map).nth(1).is_none() => {
            let limit = time(word.value, MILLISECOND)?;
            write(format!("hang: {{limit: {limit}}}"))
        }
        "reorder" => {
            let lines = Block::of_word(word.key, word.value, word.map).in_faults()?;
            said(format!(
                "squall keeps bytes in order, while requests may overtake each other: {}",
                lines.help
            ))
        }
        "loss" | "packetloss" => {
            let lines = whole(word).in_faults()?;
            said(format!(
                "squall acts above TCP, where a lost packet is a wait: {}",
                lines.help
            ))
        }
        _ => apart(word, whole(word))
            .placed(listener::is_tcp(word))
            .in_faults()
            .or_else(|| unread(word, example(word.key)?)),
    }
}

/// Says of a fault with a share of its own that it can't stand beside others: a rule draws once.
fn apart(word: &Word<'_>, mut block: Block) -> Block {
    let has_share =
        block.has_effect() && (!block.when.is_empty() || block.faults.iter().any(|hit| hit.share.is_some()));
    let list = listener::rule_of(word).and_then(|rule| rule.get("faults"));
    if has_share && list.is_some_and(|list| matches!(&list.value, Value::Seq(items) if items.len() > 1)) {
        block.note("a rule draws once for all its faults: put this one into a rule of its own");
    }
    block
}

/// A line for a word whose value can't be read; nobody asked for its numbers.
pub(super) fn unread(word: &Word<'_>, hint: Hint) -> Option<Hint> {
    if !has_number(word.value) {
        return Some(hint);
    }
    let line = hint.help.strip_prefix("write ")?;
    let help = format!(
        "squall can't read what `{}` asks for here; its own line is one such as {line}",
        word.key
    );
    Some(Hint { help, ..hint })
}

fn has_number(node: &Node) -> bool {
    let is_number = |text: &str| text.contains(|letter: char| letter.is_ascii_digit());
    node.text().is_some_and(is_number)
        || entries(node).any(|(_, value)| has_number(value))
        || matches!(&node.value, Value::Seq(items) if items.iter().any(has_number))
}

/// What the item of the list says that a word is in.
fn whole(word: &Word<'_>) -> Block {
    if entries(word.map).nth(1).is_some() {
        return Block::of_map(word.map);
    }
    match tc::of(word.key, word.value) {
        Some(block) if word.key.contains(' ') => block,
        _ => Block::of_word(word.key, word.value, word.map),
    }
}

/// A line for a word whose value says nothing.
pub(super) fn example(key: &str) -> Option<Hint> {
    match &*plain(key) {
        "latency" | "delay" | "delaydistribution" | "latencyplugin" => write("delay: 200ms"),
        "abort" | "fault" | "error" | "errors" | "status" | "response" | "httpresponse" => write("abort: 503"),
        "grpcstatus" | "grpc" => write("abort: {grpc: UNAVAILABLE}"),
        "throttle" | "ratelimit" | "ratelimiting" | "ratelimitingplugin" => write("quota: 10/1m"),
        "bandwidth" | "throughput" | "responseratelimit" | "slownetwork" => write("bandwidth: 64KiB/s"),
        "headers" | "replace" | "patch" | "transform" | "modify" | "addheaders" => {
            write("rewrite: {headers: {set: {x-name: value}}}")
        }
        "duplicate" | "mirror" => write("duplicate: {}"),
        _ => None,
    }
}

/// The direction of a fault, which is Toxiproxy's stream.
pub(super) fn direction(value: &Node) -> Option<Hint> {
    match value.text() {
        Some("downstream" | "response") => said("leave it out: faults on bodies are about the response"),
        _ => said(
            "put `direction: request` into the fault, as in `truncate: {after: 50%, direction: request}`; a rate is \
             `bandwidth: {request: 64KiB/s}`",
        ),
    }
}

/// A value that one of squall's faults can't have.
fn value(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    let limit = || time(value, MILLISECOND);
    match (word.key, &value.value) {
        ("abort", Value::Bool(_)) => write("abort: 503"),
        ("hang" | "stall", _) if limit().is_some() => write(format!("{}: {{limit: {}}}", word.key, limit()?)),
        ("close" | "reset", _) if limit().is_some() => {
            write(format!("faults: [delay: {}, {}: {{}}]", limit()?, word.key))
        }
        ("close" | "reset" | "hang" | "goaway" | "stall", Value::Bool(_) | Value::String(_)) => {
            write(format!("{}: {{}}", word.key))
        }
        ("drop", Value::Bool(_) | Value::Int(_) | Value::Float(_)) => {
            write(format!("drop: {}", percent(value).unwrap_or_else(|| "10%".to_owned())))
        }
        ("duplicate", Value::Bool(_)) => write("duplicate: {}"),
        ("corrupt", Value::String(text)) if text.ends_with('%') => said(format!(
            "write `corrupt: {{bytes: {text}}}` for that share of the bytes, or `corrupt: {{messages: {text}}}` for that of \
             the messages of a stream"
        )),
        ("duplicate" | "corrupt", _) if number(value).is_some() || percent(value).is_some() => {
            packets(word.key, &percent(value)?)
        }
        ("corrupt", _) => match value.text() {
            Some(kind @ ("json" | "chunk" | "header" | "status-line" | "encoding" | "content-length")) => {
                write(format!("corrupt: {{malformed: {kind}}}"))
            }
            Some(name) if connection::ending(name).is_some() => write(connection::ending(name)?.to_string()),
            _ => write("corrupt: {bytes: 1%}"),
        },
        ("truncate", Value::Bool(_)) => write("truncate: 50%"),
        ("bandwidth", _) if value.text().is_some() => write(connection::bandwidth(word.key, value)?.to_string()),
        ("quota", Value::Int(_)) => write(format!("quota: {}/1m", value.text()?)),
        ("concurrency", Value::Int(_)) => write(format!("concurrency: {{limit: {}}}", value.text()?)),
        ("rewrite", Value::Int(_)) => write(format!("rewrite: {{status: {}}}", value.text()?)),
        ("abort", Value::String(text)) if abort::of(value).is_empty() => {
            write(connection::ending(text).map_or_else(|| "abort: 503".to_owned(), |fault| fault.to_string()))
        }
        ("delay" | "abort", _) => Block::of_word(word.key, value, word.map).in_faults(),
        _ => None,
    }
}

/// A share of packets, which is one of messages in a stream and one of requests elsewhere.
fn packets(name: &str, share: &str) -> Option<Hint> {
    let whole = if name == "corrupt" {
        "corrupt: {bytes: 0.1%}"
    } else {
        "duplicate: {}"
    };
    said(format!(
        "write `{whole}`, and `when: {share}` beside the rule's `faults`; for the messages of a stream write `{name}: \
         {{messages: {share}}}`"
    ))
}

/// A word in the map of one of squall's faults.
pub(super) fn part(name: &str, word: &Word<'_>) -> Option<Hint> {
    let is_own = own_key(name, word.key).is_some();
    if is_own && !(word.is_value && mends(name, word)) {
        return None;
    }
    let own = match name {
        "drop" => read::as_share(word.key, word.value).and_then(|share| write(format!("drop: {share}"))),
        "duplicate" | "corrupt" => read::as_share(word.key, word.value).and_then(|share| packets(name, &share)),
        _ => settings::of(name, word),
    };
    own.or_else(|| of_settings(name, word))
}

/// Whether another tool's value stands in one of squall's own settings, such as a list of statuses.
fn mends(name: &str, word: &Word<'_>) -> bool {
    let value = word.value;
    match (name, word.key) {
        ("delay", "correlation") => delay::is_foreign(word.map),
        ("delay", "max") => time(value, MILLISECOND).is_some(),
        ("delay", key) => delay::distribution(key, value).is_some(),
        ("abort", "status") => is_nested(value) || abort::status(value).is_some(),
        ("abort" | "rewrite", "body" | "headers") => is_nested(value),
        ("bandwidth", "response" | "request") => connection::bandwidth(word.key, value).is_some(),
        ("hang" | "stall", "limit") => time(value, MILLISECOND).is_some(),
        ("quota", "per") => connection::period(value).is_some(),
        (_, "direction") => matches!(value.text(), Some("upstream" | "downstream")),
        _ => false,
    }
}

/// What the whole map of a fault says, in the words of other tools or of squall.
fn of_settings(name: &str, word: &Word<'_>) -> Option<Hint> {
    let is_part = |key: &str| match name {
        "delay" => delay::is_part(key),
        "abort" => abort::is_part(key) || matches!(&*plain(key), "headerabort" | "delay" | "latency"),
        "bandwidth" => matches!(
            &*plain(key),
            "rate"
                | "limit"
                | "bandwidth"
                | "bytespersecond"
                | "limitkbps"
                | "kbps"
                | "fixedlimit"
                | "headerlimit"
                | "download"
                | "downstream"
                | "down"
                | "upload"
                | "upstream"
                | "up"
                | "throughput"
        ),
        _ => false,
    };
    let key = word.key;
    if matches!(name, "bandwidth") && matches!(&*plain(key), "limit" | "buffer") && first(word.map, &["rate"]).is_some()
    {
        return said("leave it out: squall buffers as much as `bounds.buffer`");
    }
    let is_foreign =
        |key: &str, value: &Node| own_key(name, key).is_none() || (word.is_value && std::ptr::eq(value, word.value));
    let speaks = entries(word.map).any(|(key, value)| is_foreign(key, value) && is_part(key));
    let mut block = Block::default();
    for (key, value) in entries(word.map).filter(|(key, _)| own_key(name, key).is_none() && !is_part(key)) {
        block.extend(beside(key, value));
    }
    if let Some(asked) = ["headerdelay", "headerabort", "headerlimit"]
        .iter()
        .find(|asked| first(word.map, &[asked]).is_some())
    {
        block.when.extend(when::read(asked, &NOTHING, false)?);
    }
    let is_stream = matches!(&*plain(key), "stream") || (key == "direction" && own_key(name, key).is_none());
    if !is_stream && !word.is_value && !is_part(key) && beside(key, word.value).is_empty() {
        return None;
    }
    if speaks && read::is_unset(word.map) {
        block.note(read::UNSET);
    }
    let faults = if speaks { spoken(name, word.map) } else { Vec::new() };
    if faults.is_empty() && !word.is_value && is_part(key) && number(word.value).is_some() {
        return unread(word, example(name)?);
    }
    match faults.as_slice() {
        [] => block.faults.extend(written(name, word.map).map(Hit::from)),
        [one] => block.faults.push(one.clone().into()),
        several if name == "abort" => {
            block.choose = several
                .iter()
                .map(|one| ("1".to_owned(), vec![one.to_string()]))
                .collect();
        }
        several => block.faults.extend(several.iter().cloned().map(Hit::from)),
    }
    if text(word.map, &["stream", "direction"]).is_some_and(|stream| matches!(stream, "upstream" | "request")) {
        block.direct(Some(true));
    }
    super::whole(apart(word, block).placed(listener::is_tcp(word)).in_faults()?)
}

/// What a word in a fault says that belongs beside the rule's faults.
fn beside(key: &str, value: &Node) -> Block {
    let mut block = Block::default();
    if let Some(when) = when::read(key, value, false) {
        block.when = when;
    } else if let Some(conditions) = condition::read(key, value).filter(|_| !matches!(key, "exact" | "from")) {
        block.conditions = conditions;
    }
    block
}

/// The faults that a map says in other words.
fn spoken(name: &str, map: &Node) -> Vec<Fault> {
    let after = first(map, &["delay", "latency", "fixeddelay"]).filter(|_| name == "abort");
    let waits = after.and_then(delay::of);
    let faults = match name {
        "delay" => delay::of(map)
            .or_else(|| first(map, &["headerdelay"]).map(|_| Fault::of("delay", "fixed", "10s")))
            .into_iter()
            .collect(),
        "abort" => match first(map, &["http2error"]) {
            Some(code) => vec![Fault::of("reset", "code", flow(code))],
            None if first(map, &["headerabort"]).is_some() => vec![Fault::of("abort", "status", 503)],
            None => abort::of(map),
        },
        "bandwidth" => bandwidth(map).into_iter().collect(),
        _ => Vec::new(),
    };
    match waits {
        Some(waits) => [vec![waits], faults].concat(),
        None => faults,
    }
}

fn bandwidth(map: &Node) -> Option<Fault> {
    if let Some(toxic) = connection::toxic("bandwidth", map).and_then(|faults| faults.into_iter().next()) {
        return Some(toxic);
    }
    let (key, value) = entries(map).find(|(key, value)| connection::bandwidth(key, value).is_some())?;
    let mut fault = connection::bandwidth(key, value)?;
    if let Some(both) =
        connection::bandwidth("bandwidth", map).filter(|both| both.has("response") || both.has("request"))
    {
        fault = both;
    }
    Some(fault.maybe("scope", map.get("scope").map(flow)))
}

/// The fault with those of its settings that are squall's own.
fn written(name: &str, map: &Node) -> Option<Fault> {
    let mut fault = Fault::new(name);
    for (key, value) in entries(map) {
        match own_key(name, key) {
            Some("direction") if value.text() == Some("downstream") => {}
            Some("direction") if value.text() == Some("upstream") => fault = fault.with("direction", "request"),
            Some(own) => fault = fault.with(own, flow(value)),
            None => {}
        }
    }
    let needs_none = matches!(name, "close" | "reset" | "hang" | "goaway" | "duplicate");
    (needs_none || fault != Fault::new(name)).then_some(fault)
}
