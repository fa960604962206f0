//! Addresses and URLs as other tools write them: a port, a host with a port, a map of both.

use super::value::{entries, first, items, quoted, text};
use crate::yaml::tree::{Node, Value};

/// An address to listen on, from a port, a URL, an address, or Envoy's `{socket_address: {address, port_value}}`.
pub(super) fn listen(value: &Node) -> Option<String> {
    if let Value::Map(_) = &value.value {
        if let Some(inner) = first(value, &["socketaddress"]) {
            return listen(inner);
        }
        let host = text(value, &["address", "host", "ip", "hostname"]).unwrap_or("127.0.0.1");
        let port = text(value, &["portvalue", "port"])?;
        return Some(written(&format!("{}:{port}", bracketed(host))));
    }
    let text = value.text()?;
    let text = text
        .split_once("://")
        .map_or(text, |(_, rest)| rest)
        .trim_end_matches('/');
    if let Ok(port) = text.parse::<u16>() {
        return Some(format!("127.0.0.1:{port}"));
    }
    let (host, port) = text.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    match host {
        "localhost" => Some(format!("127.0.0.1:{port}")),
        _ => Some(written(text)),
    }
}

/// The address that the keys of a listener make together: a host with a port.
pub(super) fn of_listener(map: &Node, value: &Node) -> Option<String> {
    let alone = matches!(value.value, Value::Map(_)) || value.text().is_some_and(|text| text.contains(':'));
    match (text(map, &["host", "ip", "bind", "addr"]), text(map, &["port"])) {
        (Some(host), Some(port)) if !alone && !host.contains(':') => {
            let host = if host == "localhost" { "127.0.0.1" } else { host };
            Some(written(&format!("{host}:{port}")))
        }
        _ => listen(value),
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// An address as a line has it. That of IPv6 begins as a list does.
pub(super) fn written(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || ".:-_".contains(letter);
    if text.starts_with(|letter: char| letter.is_ascii_alphanumeric()) && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A URL, from a port, an address, a URL, or a map of a host and a port.
pub(super) fn url(value: &Node) -> Option<String> {
    if let Value::Map(_) = &value.value {
        return joined(value).or_else(|| {
            let inner = first(
                value,
                &[
                    "url",
                    "uri",
                    "address",
                    "endpoint",
                    "socketaddress",
                    "target",
                    "server",
                    "upstream",
                ],
            );
            inner
                .and_then(url)
                .or_else(|| entries(value).find_map(|(_, inner)| is_deep(inner).then(|| url(inner))?))
        });
    }
    let text = value.text()?;
    match text {
        _ if text.contains("://") => Some(text.to_owned()),
        _ if text.parse::<u16>().is_ok() => Some(format!("http://127.0.0.1:{text}")),
        _ if is_host(text) && text.contains([':', '.']) => Some(format!("http://{text}")),
        _ => None,
    }
}

fn is_deep(node: &Node) -> bool {
    matches!(node.value, Value::Map(_))
}

/// All URLs of a list, however deep Envoy puts them.
pub(super) fn urls(value: &Node) -> Vec<String> {
    let mut found = Vec::new();
    collect(value, 16, &mut found);
    found
}

fn collect(value: &Node, depth: usize, found: &mut Vec<String>) {
    for item in items(value) {
        match joined(item).or_else(|| item.text().and_then(|_| url(item))) {
            Some(url) => found.push(url),
            None if depth > 0 => entries(item).for_each(|(_, inner)| collect_inner(inner, depth - 1, found)),
            None => {}
        }
    }
}

/// Texts within a map are not all addresses.
fn collect_inner(value: &Node, depth: usize, found: &mut Vec<String>) {
    if matches!(value.value, Value::Map(_) | Value::Seq(_)) {
        collect(value, depth, found);
    } else if value.text().is_some_and(|text| text.contains("://")) {
        found.extend(url(value));
    }
}

/// The URL that a host and a port together make.
pub(super) fn joined(map: &Node) -> Option<String> {
    let host = text(map, &["host", "hostname", "ip", "server", "target", "address"])?;
    let port = text(map, &["port", "portvalue"])?;
    let scheme = text(map, &["scheme", "protocol"]).filter(|scheme| matches!(*scheme, "http" | "https"));
    Some(format!("{}://{}:{port}", scheme.unwrap_or("http"), bracketed(host)))
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && !text.contains([' ', '`', '"', '{'])
}

/// A name of a listener or an upstream, if a value is one.
pub(super) fn name(value: &Node) -> Option<&str> {
    value
        .text()
        .filter(|text| !text.is_empty() && !text.contains([' ', '/', ':', '`', '"']))
}
