//! The keys of an upstream in the words of other tools, and those of `tls`.

use std::time::Duration;

use super::listener::rules;
use super::units::{self, MILLISECOND, SECOND, percent};
use super::value::{CUT, first, flow, is_nested, list, number, plain, word as scalar};
use super::{Hint, Word, address, instead, said, write};
use crate::yaml::tree::{Node, Value};

/// A word in `tls`.
pub(super) fn tls(word: &Word<'_>) -> Option<Hint> {
    let is_listener = word.path.first() == Some(&"listeners");
    match &*plain(word.key) {
        "cert" | "certfile" | "crt" | "clientcertificate" | "servercertificate" | "certificates"
        | "certificatefile" | "certificatechain" | "pem" | "tlscertificate" => {
            write(format!("certificate: {}", scalar(word.value, "web.pem")))
        }
        "keyfile" | "privatekey" => write(format!("key: {}", scalar(word.value, "web.key"))),
        "cafile" | "cacert" | "cacerts" | "trustedca" | "cacertificates" | "cacertificate" => {
            let key = if is_listener { "client_ca" } else { "ca" };
            write(format!("{key}: {}", scalar(word.value, "ca.pem")))
        }
        "credentialname" => said(
            "a secret of Kubernetes is a file here: write `certificate: web.pem` and `key: web.key`, relative to the configuration",
        ),
        "mode" => said(match word.value.text().map(plain).as_deref() {
            Some("disable" | "passthrough") => {
                "leave out the whole `tls`, and write `http://` in the URL of an upstream"
            }
            Some("mutual" | "istiomutual") if is_listener => {
                "write `client_ca: ca.pem`, the authority of the clients' certificates"
            }
            Some("mutual" | "istiomutual") => {
                "leave it out: squall sends a `certificate` with its `key` if it is asked for one"
            }
            _ => {
                "leave it out: `https://` in the URL of an upstream, or `certificate` and `key` of a listener, are TLS"
            }
        }),
        "subjectaltnames" => said(
            "leave it out: a server's certificate must be for the name in the URL, or for the one that `sni` gives",
        ),
        "insecure" | "skipverify" | "insecureskipverify" | "trustall" => write("verify: false"),
        "servername" => write(format!("sni: {}", scalar(word.value, "shop.example"))),
        _ => None,
    }
}

/// A value in the place of an upstream's settings.
pub(super) fn form(word: &Word<'_>) -> Option<Hint> {
    match &word.value.value {
        Value::Seq(_) if word.is_value => {
            let urls = address::urls(word.value);
            write(format!("{}: {{{}}}", word.key, endpoints(&urls)))
        }
        _ => None,
    }
}

/// The line for several URLs, or for one.
fn endpoints(urls: &[String]) -> String {
    let quoted = |url: &String| format!("\"{url}\"");
    match urls {
        [] => "endpoints: [\"http://10.0.0.1:80\", \"http://10.0.0.2:80\"]".to_owned(),
        [one] => format!("url: {}", quoted(one)),
        several => format!("endpoints: {}", list(several.iter().map(quoted))),
    }
}

/// A word among the keys of an upstream.
pub(super) fn upstream(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    let map = word.map;
    let has_server = first(map, &["url", "endpoints", "address", "fake", "forward"]).is_some();
    match &*plain(word.key) {
        "port" | "target" | "server" | "backend" | "service" | "uri" | "baseurl" | "hostname" | "listen"
        | "upstream" | "scheme" | "ip" | "to" | "proxypass" | "endpoint" => {
            let url = address::joined(map).or_else(|| address::url(value));
            instead(
                "url",
                format!("url: \"{}\"", url.unwrap_or_else(|| "http://127.0.0.1:8000".to_owned())),
            )
        }
        "servers" | "urls" | "hosts" | "targets" | "addresses" | "instances" | "lbendpoints" | "loadassignment"
        | "backends" => {
            let urls = address::urls(value);
            instead(if urls.len() == 1 { "url" } else { "endpoints" }, endpoints(&urls))
        }
        "lbpolicy" | "loadbalancing" | "balancer" | "loadbalancer" | "strategy" | "algorithm" => {
            with_endpoints(map, format!("balance: {}", balance(value)))
        }
        "balance" if word.is_value => with_endpoints(map, format!("balance: {}", balance(value))),
        "connecttimeout" => write(format!("timeouts: {{connect: {}}}", timeout(value, MILLISECOND, "5s"))),
        "readtimeout" | "timeout" | "responsetimeout" | "idletimeout" => {
            // A small number is one of seconds.
            let unit = if number(value).is_some_and(|number| number < 100.0) {
                SECOND
            } else {
                MILLISECOND
            };
            let key = if plain(word.key) == "idletimeout" {
                "idle"
            } else {
                "read"
            };
            write(format!("timeouts: {{{key}: {}}}", timeout(value, unit, "60s")))
        }
        "insecure" | "verify" | "skipverify" | "sslverify" => write("tls: {verify: false}"),
        "ca" | "sni" | "certificate" | "key" => write(format!("tls: {{{}: {}}}", word.key, flow(value))),
        "outlierdetection" | "circuitbreaker" | "healthcheck" | "circuitbreakers" | "healthchecks" => {
            with_endpoints(map, ejection(value))
        }
        "http2" | "h2" | "grpc" | "http2protocoloptions" | "typedextensionprotocoloptions" | "h2c"
            if value.text() != Some("false") =>
        {
            http2(map)
        }
        "http2" | "h2" | "grpc" | "h2c" => {
            said("leave it out: squall speaks HTTP/1.1 to an upstream unless it is told otherwise")
        }
        "protocol" if word.is_value => match value.text().map(plain).as_deref() {
            Some("http2" | "grpc" | "grpcweb" | "h2" | "h2c" | "http/2") => http2(map),
            Some("https" | "tls" | "ssl") => said("leave it out: `https://` in the URL is TLS"),
            Some("tcp") => said("leave it out: `protocol: tcp` is one of a listener; its upstream has an `address`"),
            Some("http" | "http1.1" | "http/1.1" | "http/1" | "http11") => write("protocol: http1"),
            _ => None,
        },
        "routes" | "collections" | "openapi" | "har" => {
            let inner = if is_nested(value) { CUT.to_owned() } else { flow(value) };
            write(format!("fake: {{{}: {inner}}}", word.key))
        }
        "type" | "name" | "altstatname" | "commonlbconfig" if has_server => {
            said("leave it out: an upstream's name is its key, and its URL says what it is")
        }
        "mock" | "stub" | "type" | "name" => write("fake: test-api"),
        "rules" | "faults" | "fault" | "delay" | "latency" | "toxics" | "abort" => said(format!(
            "rules stand at the top level: write `rules: {}`",
            rules(word, "upstream: NAME")
        )),
        "headers" | "addheaders" => {
            let fields = if is_nested(value) {
                flow(value)
            } else {
                "{x-a: b}".to_owned()
            };
            said(format!(
                "write `rules: [{{name: headers, faults: [rewrite: {{request: {{headers: {{set: {fields}}}}}}}]}}]`"
            ))
        }
        _ => None,
    }
}

/// HTTP/2, which is `h2` with TLS and `h2c` without.
fn http2(map: &Node) -> Option<Hint> {
    let urls = address::urls(first(map, &["url", "endpoints"]).unwrap_or(map));
    let is_tls = urls.iter().any(|url| url.starts_with("https://"));
    write(if is_tls { "protocol: h2" } else { "protocol: h2c" })
}

fn timeout(value: &Node, unit: Duration, example: &str) -> String {
    units::time(value, unit).map_or_else(|| example.to_owned(), |time| time.to_string())
}

/// What is of several endpoints is refused beside a `url`.
fn with_endpoints(map: &Node, line: String) -> Option<Hint> {
    match map.get("url") {
        Some(url) => said(format!(
            "write `{line}`, and `endpoints: [\"{}\", …]` in place of `url`",
            url.text().unwrap_or_default()
        )),
        None => write(line),
    }
}

fn balance(value: &Node) -> &'static str {
    let policy = value.text().map(plain).unwrap_or_default();
    match &*policy {
        _ if policy.contains("least") => "least-requests",
        _ if policy.contains("random") => "random",
        _ => "round-robin",
    }
}

/// Envoy's outlier detection. Its errors are those of the server: they have a status.
fn ejection(value: &Node) -> String {
    let words = [
        "consecutive5xx",
        "consecutive5xxerrors",
        "consecutivegatewayerrors",
        "consecutivegatewayfailure",
        "consecutiveerrors",
        "consecutivelocaloriginfailure",
        "maxfailures",
        "failures",
        "threshold",
        "unhealthythreshold",
    ];
    let failures = first(value, &words).map_or_else(|| "5".to_owned(), |failures| scalar(failures, "5"));
    let duration = first(value, &["baseejectiontime", "ejectiontime", "duration", "interval"]);
    let duration = duration.map_or_else(|| "30s".to_owned(), |duration| timeout(duration, SECOND, "30s"));
    let most = first(value, &["maxejectionpercent"]).and_then(percent);
    let most = most.map_or_else(String::new, |most| format!(", max: {most}"));
    let statuses = if first(value, &["consecutivegatewayerrors", "consecutivegatewayfailure"]).is_some() {
        "[502, 503, 504]"
    } else {
        "[500, 502, 503, 504]"
    };
    format!("ejection: {{failures: {failures}, duration: {duration}{most}, statuses: {statuses}}}")
}
