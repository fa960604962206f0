//! Everything but rules in the words of other tools: the top level, listeners, upstreams, and the routes of fakes.

use std::time::Duration;

use super::value::{flow, ms_or, number, time, word as scalar};
use super::{instead, said, write};
use crate::yaml::decode::word::{Hint, Word};
use crate::yaml::tree::{Node, Value};

/// A word among the top-level keys.
pub(super) fn top(word: &Word<'_>) -> Option<Hint> {
    match word.key {
        "listeners" | "upstreams" if word.is_value => {
            let one = if word.key == "listeners" {
                "web: {address: 127.0.0.1:8080, upstream: shop}"
            } else {
                "shop: {url: \"http://127.0.0.1:8000\"}"
            };
            write(format!("{}: {{{one}}}", word.key))
        }
        "rules" if word.is_value => write("rules: [{name: slow, faults: [delay: 200ms]}]"),
        "routes" => said(
            "routes belong to a listener or to a fake: write `listeners: {web: {…, routes: […]}}` or `upstreams: {shop: {fake: \
             {routes: […]}}}`",
        ),
        "route" | "virtual_hosts" | "virtualHosts" | "route_config" => {
            said("write `listeners: {web: {address: 127.0.0.1:8080, upstream: shop}}`")
        }
        "proxies" | "proxy" | "servers" | "server" | "frontends" | "entrypoints" | "entryPoints" | "services"
        | "apps" => write("listeners: {web: {address: 127.0.0.1:8080, upstream: shop}}"),
        "listen" | "port" | "address" | "bind" | "host" => {
            let address = address_of(word.value, "127.0.0.1:8080");
            write(format!("listeners: {{web: {{address: {address}, upstream: shop}}}}"))
        }
        "target" | "backend" | "backends" | "clusters" | "cluster" | "targets" | "destination" | "origin"
        | "proxy_pass" | "url" | "endpoints" | "hosts" | "proxyBaseUrl" => {
            let url = url_of(word.value, "http://127.0.0.1:8000");
            write(format!("upstreams: {{shop: {{url: \"{url}\"}}}}"))
        }
        "static_resources" | "http_filters" | "filters" | "filter_chains" | "http" | "spec" | "apiVersion" | "kind"
        | "metadata" | "middleware" | "middlewares" => {
            write("rules: [{name: slow, when: 10%, faults: [delay: 200ms]}]")
        }
        "faults" | "fault" | "toxics" | "plugins" | "chaos" | "errors" | "experiments" | "policies" | "abort"
        | "delay" | "latency" => write("rules: [{name: slow, faults: [delay: 200ms]}]"),
        "mappings" | "stubs" | "expectations" | "mocks" | "handlers" | "responses" | "fakes" | "fake" | "imposters" => {
            write("upstreams: {shop: {fake: {routes: [{path: /users, json: []}]}}}")
        }
        "errorsFile" | "urlsToWatch" | "rate" => write("rules: [{name: errors, when: 50%, faults: [abort: 503]}]"),
        "version" | "name" | "description" => said("leave it out, or write it as a comment, `# …`"),
        "workers" | "worker_threads" | "concurrency" => write(format!("threads: {}", scalar(Some(word.value), "2"))),
        "logging" | "log_level" | "logLevel" | "loglevel" | "access_log" => write("log: {level: info, format: text}"),
        "metrics" | "prometheus" | "dashboard" | "management" | "api" | "stats" => {
            write("admin: {address: 127.0.0.1:9900}")
        }
        "includes" | "import" | "imports" | "files" => write("include: [rules/*.yaml]"),
        "definitions" | "anchors" | "templates" | "variables" | "vars" | "defaults" | "common" => {
            said("keys of your own begin with `x-`: write `x-common: &common {…}`, and `*common` where it is used")
        }
        "timeout" | "timeouts" => {
            said("timeouts belong to a listener or an upstream: write `timeouts: {read: 60s}` there")
        }
        _ => None,
    }
}

/// A word among the keys of a listener.
pub(super) fn listener(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    match word.key {
        "listen" | "bind" | "port" | "listen_address" | "addr" | "host" | "url" | "socket_address" => {
            instead("address", format!("address: {}", address_of(value, "127.0.0.1:8080")))
        }
        "target" | "backend" | "proxy_to" | "proxy_pass" | "forward_to" | "cluster" | "service" | "to"
        | "destination" => instead(
            "upstream",
            format!(
                "upstream: {}",
                scalar(Some(value).filter(|value| is_name(value)), "shop")
            ),
        ),
        "upstreams" => instead("upstream", "upstream: shop"),
        "upstream" if word.is_value => instead("upstream", "upstream: shop"),
        "protocol" if word.is_value => match value.text() {
            Some("https" | "tls" | "ssl") => write("tls: {certificate: web.pem, key: web.key}"),
            Some("http2" | "h2" | "h2c" | "grpc" | "http1" | "http/1.1" | "ws" | "websocket") => {
                said("leave it out: an http listener speaks HTTP/1.1, HTTP/2, gRPC and WebSocket")
            }
            _ => write("protocol: tcp"),
        },
        "type" | "mode" => write("protocol: tcp"),
        "cert" | "certificate" | "ssl" | "https" | "key" => write("tls: {certificate: web.pem, key: web.key}"),
        "rules" | "faults" | "toxics" | "fault" | "http_filters" => said(
            "rules stand at the top level and name their listener: write `rules: [{name: slow, listener: NAME, faults: [delay: \
             200ms]}]`",
        ),
        "delay" | "latency" | "abort" => {
            said("write `rules: [{name: slow, listener: NAME, faults: [delay: 200ms]}]`, at the top level")
        }
        "fake" => said("a fake is an upstream: write `upstreams: {shop: {fake: test-api}}`, and `upstream: shop` here"),
        "timeout" => write(format!("timeouts: {{header: {}}}", ms_or(value, "60s"))),
        "disabled" | "down" => write("enabled: false"),
        "name" => said("a listener's name is its key: `listeners: {web: {…}}`"),
        _ => None,
    }
}

/// A word in `tls`.
pub(super) fn tls(word: &Word<'_>) -> Option<Hint> {
    let value = scalar(Some(word.value), "web.pem");
    match word.key {
        "cert" | "cert_file" | "certFile" | "crt" | "certificate_file" | "certificate_chain" | "pem"
        | "tls_certificate" => write(format!("certificate: {value}")),
        "key_file" | "keyFile" | "private_key" | "privateKey" => {
            write(format!("key: {}", scalar(Some(word.value), "web.key")))
        }
        "ca_file" | "caFile" | "ca_cert" | "trusted_ca" => write(format!("ca: {}", scalar(Some(word.value), "ca.pem"))),
        "insecure" | "skip_verify" | "insecureSkipVerify" | "insecure_skip_verify" | "trustAll" => {
            write("verify: false")
        }
        "server_name" | "servername" | "serverName" => {
            write(format!("sni: {}", scalar(Some(word.value), "shop.example")))
        }
        _ => None,
    }
}

/// A value in the place of an upstream's settings.
pub(super) fn upstream_form(word: &Word<'_>) -> Option<Hint> {
    if !word.is_value {
        return None;
    }
    match &word.value.value {
        Value::Seq(items) => {
            let urls: Vec<_> = items
                .iter()
                .map(|item| format!("\"{}\"", url_of(item, "http://127.0.0.1:8000")))
                .collect();
            write(format!("{}: {{endpoints: [{}]}}", word.key, urls.join(", ")))
        }
        _ => None,
    }
}

/// A word among the keys of an upstream.
pub(super) fn upstream(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    let map = word.map;
    match word.key {
        "port" | "target" | "server" | "backend" | "service" | "uri" | "base_url" | "baseUrl" | "hostname"
        | "listen" | "upstream" | "scheme" | "ip" | "to" | "proxy_pass" => {
            let url = joined(map).unwrap_or_else(|| url_of(value, "http://127.0.0.1:8000"));
            instead("url", format!("url: \"{url}\""))
        }
        "endpoint" => write(format!("url: \"{}\"", url_of(value, "http://127.0.0.1:8000"))),
        "servers" | "urls" | "hosts" | "targets" | "addresses" | "instances" | "lb_endpoints" | "load_assignment" => {
            write("endpoints: [\"http://10.0.0.1:80\", \"http://10.0.0.2:80\"]")
        }
        "lb_policy" | "load_balancing" | "balancer" | "loadBalancer" | "strategy" | "algorithm" => {
            write("balance: round-robin")
        }
        "connect_timeout" | "connectTimeout" => write(format!("timeouts: {{connect: {}}}", ms_or(value, "5s"))),
        "read_timeout" | "readTimeout" | "timeout" | "response_timeout" | "idle_timeout" => {
            // A small number is one of seconds.
            let unit = if number(value).is_some_and(|number| number < 100.0) {
                1_000
            } else {
                1
            };
            let time = time(value, Duration::from_millis(unit));
            write(format!(
                "timeouts: {{read: {}}}",
                time.map_or_else(|| "60s".to_owned(), |time| time.to_string())
            ))
        }
        "insecure" | "verify" | "skip_verify" | "ssl_verify" => write("tls: {verify: false}"),
        "ca" | "sni" | "certificate" | "key" => write(format!("tls: {{{}: {}}}", word.key, flow(value, "ca.pem"))),
        "outlier_detection" | "circuit_breaker" | "health_check" | "healthcheck" => {
            write("ejection: {failures: 5, duration: 30s}")
        }
        "http2" | "h2" | "grpc" => write("protocol: h2c"),
        "routes" | "collections" | "openapi" | "har" => write(format!("fake: {{{}: {}}}", word.key, flow(value, "…"))),
        "mock" | "stub" | "type" | "name" => write("fake: test-api"),
        "rules" | "faults" | "fault" | "delay" | "latency" => {
            said("rules stand at the top level: write `rules: [{name: slow, faults: [delay: 200ms]}]`")
        }
        "headers" | "add_headers" => {
            said("write `rules: [{name: headers, faults: [rewrite: {request: {headers: {set: {x-a: b}}}}]}]`")
        }
        _ => None,
    }
}

/// A word in a route of a fake, or in a response of its sequence.
pub(super) fn route(word: &Word<'_>) -> Option<Hint> {
    let value = word.value;
    match word.key {
        "url" | "urlPath" | "uri" | "route" | "endpoint" | "urlPattern" | "urlPathPattern" | "urlPathTemplate" => {
            instead("path", format!("path: {}", flow(value, "/users/{id}")))
        }
        "body" if word.is_value => write(format!("json: {}", flow(value, "{a: 1}"))),
        "jsonBody" | "json_body" | "data" | "payload" | "schema" => write(format!("json: {}", flow(value, "{id: 1}"))),
        "text" | "html" | "content" | "string" | "responseBody" => write(format!("body: {}", flow(value, "text"))),
        "bodyFileName" | "bodyFile" | "body_file" => write(format!("file: {}", scalar(Some(value), "page.html"))),
        "base64Body" => write(format!("base64: {}", scalar(Some(value), "aGk="))),
        "statusCode" | "status_code" | "code" | "http_status" | "httpStatus" => {
            write(format!("status: {}", scalar(Some(value), "200")))
        }
        "fixedDelayMilliseconds" | "latency" | "delayMs" | "delay_ms" | "fixedDelay" | "wait" => {
            write(format!("delay: {}", ms_or(value, "200ms")))
        }
        "delayDistribution" | "fault" | "faults" | "chunkedDribbleDelay" => {
            said("write `rules: [{name: slow, match: {path: /users/*}, faults: [delay: 200ms]}]`, at the top level")
        }
        "response" | "httpResponse" | "respond" | "returns" | "reply" | "res" => {
            said("the response stands in the route itself: write `{path: /users, status: 200, json: []}`")
        }
        "request" | "httpRequest" => {
            said("the request stands in the route itself: write `{path: /users, method: POST, json: []}`")
        }
        "responses" | "replies" => write("sequence: [{status: 503}, {json: {ok: true}}]"),
        "methods" | "verb" => write(format!("method: {}", flow(value, "[GET, POST]"))),
        "contentType" | "content_type" | "content-type" | "mime" => {
            write(format!("headers: {{content-type: {}}}", flow(value, "text/plain")))
        }
        "header" | "responseHeaders" | "response_headers" => write("headers: {x-name: value}"),
        "query" | "queryParameters" | "bodyPatterns" | "cookies" | "host" | "params" => {
            let key = match word.key {
                "bodyPatterns" => "json",
                "queryParameters" | "params" => "query",
                key => key,
            };
            write(format!("match: {{{key}: {}}}", flow(value, "{a: 1}")))
        }
        "scenarioName" | "requiredScenarioState" | "newScenarioState" => {
            write("state: {name: order, is: created, becomes: paid}")
        }
        "transformers" | "template" | "dynamic" => {
            said("every body is a template: write `json: {id: \"{{ path.id }}\"}`")
        }
        "priority" => said("a more specific path goes first; among equals, the route that is listed first"),
        "name" | "id" | "description" => said("leave it out, or write it as a comment, `# …`"),
        _ => None,
    }
}

/// A word in the settings of an API.
pub(super) fn api(word: &Word<'_>) -> Option<Hint> {
    match word.key {
        "port" | "listen" | "host" | "bind" | "url" => {
            write(format!("address: {}", address_of(word.value, "127.0.0.1:9900")))
        }
        "password" | "key" | "auth" | "secret" | "api_key" => write("token: ${SQUALL_TOKEN}"),
        "enabled" | "disabled" => {
            said("leave out the whole key where it is not wanted; the admin API is always served")
        }
        _ => None,
    }
}

/// An address to listen on, from a port, a URL or an address.
fn address_of(value: &Node, example: &str) -> String {
    let Some(text) = value.text() else {
        return example.to_owned();
    };
    let text = text
        .trim_start_matches("http://")
        .trim_start_matches("https://")
        .trim_end_matches('/');
    match text.parse::<u16>() {
        Ok(port) => format!("127.0.0.1:{port}"),
        Err(_) => match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None if text.contains(':') => text.to_owned(),
            None => example.to_owned(),
        },
    }
}

/// A URL, from a port, an address or a URL.
pub(super) fn url_of(value: &Node, example: &str) -> String {
    match value.text() {
        Some(text) if text.contains("://") => text.to_owned(),
        Some(text) if text.parse::<u16>().is_ok() => format!("http://127.0.0.1:{text}"),
        Some(text) if text.contains(':') => format!("http://{text}"),
        Some(text) if !text.is_empty() && is_name(value) && text.contains('.') => format!("http://{text}"),
        _ => example.to_owned(),
    }
}

/// The URL that a host and a port together make.
fn joined(map: &Node) -> Option<String> {
    let text = |keys: &[&str]| keys.iter().find_map(|key| map.get(key)?.text());
    let host = text(&["host", "hostname", "ip", "server", "target"])?;
    let port = text(&["port"])?;
    let scheme = text(&["scheme"]).unwrap_or("http");
    Some(format!("{scheme}://{host}:{port}"))
}

fn is_name(value: &Node) -> bool {
    value
        .text()
        .is_some_and(|text| !text.is_empty() && !text.contains([' ', '/', ':', '`']))
}
