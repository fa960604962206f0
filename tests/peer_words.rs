//! What users write first who come from another tool: each word gets an error with squall's own line, and the line is right.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test may panic")]

use std::fmt::Write as _;
use std::time::Instant;

use squall::config::load_text;
use squall::config::snapshot::Inputs;
use squall::metrics::Metrics;
use squall::yaml::report::Severity;

const TOP: &str = "listeners:\n  web: {address: 127.0.0.1:8080, upstream: shop}\nupstreams:\n  shop: {fake: echo}\n";

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// In a rule's list of faults.
    Faults,
    /// Among a rule's keys.
    Rule,
    /// Among the top-level keys.
    Top,
    /// Among the keys of a listener.
    Listener,
    /// Among the keys of an upstream.
    Upstream,
    /// In a route of a fake.
    Route,
    /// In a route of a listener.
    Way,
    /// As the whole file.
    Document,
}

use At::{Document, Faults, Listener, Route, Rule, Top, Upstream, Way};

/// A toxic of a TCP listener.
const TCP_TIMEOUT: &str = "listeners: {redis: {address: 127.0.0.1:26379, protocol: tcp, upstream: redis}}
upstreams: {redis: 127.0.0.1:6379}
rules: [{name: r, faults: [timeout: {timeout: 5000}]}]";
const TCP_TOXICS: &str = "listeners: {redis: {address: 127.0.0.1:26379, protocol: tcp, upstream: redis}, web: {address: 127.0.0.1:8080, upstream: shop}}
upstreams: {redis: 127.0.0.1:6379, shop: {fake: echo}}
rules:
  - {name: a, listener: redis, toxics: [{type: timeout, stream: upstream, attributes: {timeout: 0}}]}
  - {name: b, listener: redis, toxics: [{type: reset_peer, stream: upstream, attributes: {timeout: 730}}]}
  - {name: c, listener: redis, type: latency, stream: upstream, attributes: {latency: 730, jitter: 30}}
  - {name: d, listener: redis, faults: [reset_peer: {timeout: 0}]}
  - {name: e, listener: web, toxics: [{type: timeout, attributes: {timeout: 5300}}]}";

/// The words, by tool.
const WORDS: &[(&str, &[(At, &str)])] = &[
    (
        "Routes",
        &[
            (Way, "{match: {prefix: /cart/}, upstream: shop, prefix_rewrite: /v7}"),
            (Way, "{match: {path: /cart/**}, upstream: shop, prefix_rewrite: /}"),
            (
                Way,
                "{match: [{uri: {prefix: /cart}}], rewrite: {uri: /basket}, upstream: shop}",
            ),
            (Way, "{match: {path: /cart/**}, route: {cluster: shop}}"),
            (
                Way,
                "{match: {path: /cart/**}, route: [{destination: {host: shop, port: {number: 80}}}]}",
            ),
            (Way, "{match: {path: /cart/**}, proxy_pass: \"http://10.7.0.1:81\"}"),
            (Way, "{path: /cart/**, upstream: shop}"),
            (Way, "{match: /cart/**, upstream: shop}"),
            (Way, "{match: {path: /cart/**}, upstream: shop, strip_path: /cart}"),
            (Way, "{match: {path: /cart/**}, upstream: shop, weight: 17}"),
            (Way, "{match: {path: /cart/**}, upstream: shop, fault: {delay: 1s}}"),
            (Listener, "address: 127.0.0.1:1\nroutes: {/cart: shop, /: shop}"),
            (
                Listener,
                "address: 127.0.0.1:1\nroutes: {match: {path: /cart}, upstream: shop}",
            ),
            (Rule, "match: {upstream: shop}\nfaults: [delay: 1s]"),
        ],
    ),
    (
        "Toxiproxy",
        &[
            (Faults, "latency: {latency: 1000, jitter: 500}"),
            (Faults, "latency: 300ms"),
            (
                Faults,
                "{type: latency, attributes: {latency: 1000, jitter: 0}, toxicity: 0.5}",
            ),
            (
                Faults,
                "{type: slicer, attributes: {average_size: 64, size_variation: 32, delay: 10}}",
            ),
            (Faults, "bandwidth: {rate: 100}"),
            (Faults, "timeout: {timeout: 5000}"),
            (Faults, "timeout: {timeout: 0}"),
            (Faults, "reset_peer: {timeout: 0}"),
            (Faults, "reset_peer: {timeout: 500}"),
            (Faults, "limit_data: {bytes: 100}"),
            (Faults, "slow_close: {delay: 1000}"),
            (Faults, "slicer: {average_size: 71, size_variation: 33, delay: 17}"),
            (Faults, "down"),
            (Faults, "toxicity: 0.5"),
            (Faults, "delay: {fixed: 1s, jitter: 200ms}"),
            (Faults, "jitter: 20ms"),
            (Rule, "type: bandwidth\nattributes: {rate: 64}\ntoxicity: 0.25"),
            (Rule, "toxics: [latency]"),
            (Rule, "toxics: [{type: latency, attributes: {latency: 1730}}]"),
            (
                Top,
                "proxies: [{name: redis, listen: \"127.0.0.1:26379\", upstream: \"127.0.0.1:6379\"}]",
            ),
            (Top, "toxics: []"),
            (Listener, "listen: 127.0.0.1:26379\nupstream: shop"),
            (Listener, "address: 127.0.0.1:1\nupstream: 127.0.0.1:6379"),
            (
                Faults,
                r#"{"name":"l","type":"latency","stream":"downstream","toxicity":0.35,"attributes":{"latency":170}}"#,
            ),
            (
                Faults,
                r#"{"stream":"upstream","name":"b","type":"bandwidth","toxicity":1,"attributes":{"rate":310}}"#,
            ),
            (
                Faults,
                r#"{"type":"timeout","stream":"upstream","attributes":{"timeout":5300}}"#,
            ),
            (
                Faults,
                r#"{"type":"latency","stream":"downstream","attributes":{"latency":530}}"#,
            ),
            (
                Faults,
                r#"{"type":"reset_peer","stream":"upstream","attributes":{"timeout":530}}"#,
            ),
            (Faults, "latency: {latency: 1000, jitter: 2000}"),
            (Faults, "latency: {latency: 1e30}"),
            (Faults, "bandwidth: {rate: 1e30}"),
            (Faults, "throttle: {rate: x7}"),
            (Faults, "toxicity: 1.0"),
            (Faults, "toxicity: 7"),
            (Rule, "toxicity: 1.0\nfaults: [delay: 1s]"),
            (
                Rule,
                "toxics: [{type: latency, toxicity: 0.3, stream: upstream, attributes: {latency: 730}}, {type: slow_close, toxicity: 0.7, stream: upstream, attributes: {delay: 330}}]",
            ),
            (Document, TCP_TIMEOUT),
            (Document, TCP_TOXICS),
            (Faults, "{type: abort, status: 418}"),
            (Faults, "{type: delay, duration: 7s}"),
            (Faults, "bandwidth: {rate: 0}"),
            (Faults, "bandwidth: {rate: 130, stream: upstream}"),
            (Faults, "reset: {timeout: 730}"),
            (Faults, "stream: downstream"),
            (Rule, "stream: upstream\nfaults: [bandwidth: 90KiB/s, delay: 2s]"),
            (Rule, "stream: downstream\nfaults: [delay: 1s]"),
            (Rule, "toxic: latency\nattributes: {latency: 930, jitter: 30}"),
            (Listener, "listen: \"[::]:26379\"\nupstream: shop"),
            (
                Document,
                r#"[{"name": "redis", "listen": "127.0.0.1:26390", "upstream": "127.0.0.1:6390", "enabled": true}]"#,
            ),
        ],
    ),
    (
        "Envoy",
        &[
            (Faults, "fixed_delay: 5s"),
            (
                Faults,
                "delay: {fixed_delay: 3s, percentage: {numerator: 10, denominator: HUNDRED}}",
            ),
            (Faults, "delay: {header_delay: {}}"),
            (
                Faults,
                "abort: {http_status: 503, percentage: {numerator: 5, denominator: TEN_THOUSAND}}",
            ),
            (Faults, "abort: {grpc_status: 14}"),
            (Faults, "max_active_faults: 5"),
            (Faults, "response_rate_limit: {fixed_limit: {limit_kbps: 97}}"),
            (Faults, "bandwidth: {fixed_limit: {limit_kbps: 71}}"),
            (Rule, "max_active_faults: 5\nfaults: [delay: 1s]"),
            (
                Rule,
                "match: {headers: [{name: x-user, exact_match: beta}, {name: x-debug, present_match: true}]}\nfaults: [delay: 1s]",
            ),
            (Rule, "match: {safe_regex: {regex: \"/api/.*\"}}\nfaults: [delay: 1s]"),
            (Top, "static_resources: {listeners: [], clusters: []}"),
            (Top, "clusters: []"),
            (Upstream, "connect_timeout: 0.25s\nurl: \"http://127.0.0.1:1\""),
            (Upstream, "lb_policy: ROUND_ROBIN\nurl: \"http://127.0.0.1:1\""),
            (
                Upstream,
                "outlier_detection: {consecutive_5xx: 7}\nurl: \"http://127.0.0.1:1\"",
            ),
            (Faults, "bandwidth: {limit_kbps: 130}"),
            (Faults, "delay: {header_delay: {}, percentage: {numerator: 35}}"),
            (Faults, "max_active_faults: {default_value: 17}"),
            (Faults, "delay: {fixed_delay: {seconds: 3, nanos: 500000000}}"),
            (
                Rule,
                "typed_config: {delay: {fixed_delay: 3s, percentage: {numerator: 17, denominator: HUNDRED}}, abort: {http_status: 418, percentage: {numerator: 29, denominator: TEN_THOUSAND}}}",
            ),
            (Rule, "abort: {http_status: 418, percentage: {numerator: 17}}"),
            (Rule, "delay: {fixed_delay: 3s, percentage: {numerator: 17}}"),
            (
                Rule,
                "match: {headers: [{name: x-user, exact_match: beta, invert_match: true}]}\nfaults: [delay: 1s]",
            ),
            (
                Rule,
                "match: {headers: [{name: x-user, string_match: {prefix: beta}}]}\nfaults: [delay: 1s]",
            ),
            (
                Rule,
                "match: {headers: [{name: \":path\", string_match: {prefix: /api}}, {name: \":method\", string_match: {exact: PUT}}, {name: \":authority\", string_match: {suffix: .shop}}]}\nfaults: [delay: 1s]",
            ),
            (
                Rule,
                "match: {headers: [{name: x-user, string_match: {safe_regex: {regex: \"be.a\"}, ignore_case: true}}]}\nfaults: [delay: 1s]",
            ),
            (
                Top,
                "http_filters: [{name: envoy.filters.http.fault, typed_config: {delay: {fixed_delay: 3s, percentage: {numerator: 17, denominator: HUNDRED}}}}]",
            ),
            (
                Top,
                "static_resources: {listeners: [{filter_chains: [{filters: [{typed_config: {http_filters: [{typed_config: {abort: {http_status: 418, percentage: {numerator: 290, denominator: TEN_THOUSAND}}}}]}}]}]}]}",
            ),
            (
                Listener,
                "address: {socket_address: {address: 0.0.0.0, port_value: 10017}}\nupstream: shop",
            ),
            (
                Upstream,
                "lb_policy: LEAST_REQUEST\nendpoints: [\"http://127.0.0.1:1\"]",
            ),
            (Upstream, "type: STRICT_DNS\nurl: \"http://127.0.0.1:1\""),
            (
                Upstream,
                "load_assignment: {endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: shop, port_value: 8117}}}}]}]}",
            ),
            (Faults, "quota: {requests_per_unit: 17, unit: SECOND}"),
            (
                Top,
                "http_filters: [{name: envoy.filters.http.fault, typed_config: {delay: {header_delay: {}, percentage: {numerator: 25}}, abort: {header_abort: {}, percentage: {numerator: 35}}, response_rate_limit: {header_limit: {}, percentage: {numerator: 45}}}}]",
            ),
            (
                Top,
                "http_filters: [{name: envoy.filters.http.fault, typed_config: {upstream_cluster: shop, downstream_nodes: [node-7], abort: {http_status: 418}}}]",
            ),
            (
                Rule,
                "typed_config: {delay: {fixed_delay: 3s, percentage: {numerator: 17}}, abort: {http_status: 418, percentage: {numerator: 17}}}",
            ),
            (Rule, "delay: {fixed_delay: 3s}\nabort: {http_status: 418}"),
            (
                Rule,
                "match: {headers: [{name: x-user, range_match: {start: 3, end: 6}}]}\nfaults: [delay: 1s]",
            ),
            (
                Rule,
                "match: {headers: [{name: x-user, range_match: {start: 3, end: 6000}}, {name: x-b, exact_match: c}]}\nfaults: [delay: 1s]",
            ),
            (Rule, "match: {path_separated_prefix: /api}\nfaults: [delay: 1s]"),
            (
                Rule,
                "match: {runtime_fraction: {default_value: {numerator: 13, denominator: HUNDRED}, runtime_key: a.b}}\nfaults: [delay: 1s]",
            ),
            (
                Rule,
                "runtime_fraction: {default_value: {numerator: 13, denominator: HUNDRED}}\nruntime_key: a.b\nfaults: [delay: 1s]",
            ),
            (Rule, "timeout: 3s\nfaults: [delay: 1s]"),
            (
                Rule,
                "route: {cluster: shop, timeout: 7s, retry_policy: {num_retries: 3}}\nfaults: [delay: 1s]",
            ),
            (Rule, "direct_response: {status: 418, body: {inline_string: tea}}"),
            (Faults, "direct_response: {status: 418, body: {inline_string: tea}}"),
            (
                Faults,
                "local_rate_limit: {token_bucket: {max_tokens: 17, tokens_per_fill: 17, fill_interval: 70s}}",
            ),
            (Faults, "timeout: 3s"),
            (
                Rule,
                "weighted_clusters: {clusters: [{name: a, weight: 90}, {name: b, weight: 10}]}\nfaults: [delay: 1s]",
            ),
            (
                Top,
                "static_resources: {listeners: [{filter_chains: [{filters: [{typed_config: {route_config: {virtual_hosts: [{routes: [{match: {prefix: /a}, route: {cluster: shop, timeout: 7s}, typed_per_filter_config: {envoy.filters.http.fault: {abort: {http_status: 418, percentage: {numerator: 17}}}}}, {match: {prefix: /}, route: {weighted_clusters: {clusters: [{name: b, weight: 90}, {name: c, weight: 10}]}}, typed_per_filter_config: {envoy.filters.http.fault: {delay: {fixed_delay: 3s, percentage: {numerator: 17}}}}}]}]}}}]}]}]}",
            ),
        ],
    ),
    (
        "Istio",
        &[
            (Faults, "fixedDelay: 5s"),
            (Faults, "delay: {percentage: {value: 0.1}, fixedDelay: 5s}"),
            (Faults, "abort: {httpStatus: 500, percentage: {value: 10}}"),
            (Faults, "abort: {grpcStatus: UNAVAILABLE}"),
            (Rule, "fault: {delay: {fixedDelay: 5s}}"),
            (Rule, "match: {uri: {prefix: /api}}\nfaults: [delay: 1s]"),
            (
                Rule,
                "match: {headers: {end-user: {exact: jason}}, authority: {exact: shop}}\nfaults: [delay: 1s]",
            ),
            (Rule, "when: {percentage: {value: 0.1}}\nfaults: [delay: 1s]"),
            (Rule, "percentage: 10\nfaults: [delay: 1s]"),
            (Top, "spec: {http: []}"),
            (Rule, "fault: {delay: {fixedDelay: 7s, percentage: {value: 17}}}"),
            (Rule, "fault: {abort: {httpStatus: 418, percentage: {value: 0.3}}}"),
            (
                Rule,
                "fault: {delay: {fixedDelay: 7s, percentage: {value: 17}}, abort: {httpStatus: 418, percentage: {value: 0.3}}}",
            ),
            (Rule, "fault: {abort: {grpcStatus: UNAVAILABLE}}"),
            (Rule, "fault: {abort: {http2Error: REFUSED_STREAM}}"),
            (
                Rule,
                "match: [{headers: {end-user: {exact: jason}}}]\nfaults: [delay: 1s]",
            ),
            (
                Rule,
                "match: [{uri: {prefix: /api}, method: {exact: GET}}, {uri: {regex: \"/v[12]/.*\"}}]\nfaults: [delay: 1s]",
            ),
            (
                Rule,
                "match: {withoutHeaders: {x-user: {exact: a}, x-b: {exact: c}}}\nfaults: [delay: 1s]",
            ),
            (Rule, "match: {source: {ip: 10.0.0.1}}\nfaults: [delay: 1s]"),
            (Rule, "route: [{destination: {host: shop}}]\nfaults: [delay: 1s]"),
            (Rule, "mirror: {host: shop-v2}\nmirrorPercentage: {value: 17}"),
            (Rule, "timeout: 10s\nroute: [{destination: {host: shop}}]"),
            (
                Rule,
                "retries: {attempts: 3, perTryTimeout: 2s, retryOn: 5xx}\nfaults: [delay: 1s]",
            ),
            (Rule, "retries: 3\nfaults: [delay: 1s]"),
            (Rule, "perTryTimeout: 2s\nfaults: [delay: 1s]"),
            (Rule, "headers: {request: {set: {x-a: b}}}"),
            (
                Rule,
                "headers: {request: {add: {x-a: b}, remove: [x-c]}, response: {remove: [etag]}}",
            ),
            (
                Way,
                "{match: {path: /cart/**}, upstream: shop, headers: {request: {set: {x-a: b}}}}",
            ),
            (Way, "{match: {path: /cart/**}, upstream: shop, timeout: 3s}"),
            (Way, "{match: {path: /cart/**}, upstream: shop, retries: {attempts: 3}}"),
            (Way, "{match: {path: /cart/**}, upstream: shop, mirror: {host: b}}"),
            (
                Way,
                "{match: {path: /cart/**}, weighted_clusters: {clusters: [{name: shop, weight: 90}, {name: b, weight: 10}]}}",
            ),
            (
                Way,
                "{match: {path: /cart/**}, route: [{destination: {host: shop}, weight: 90}, {destination: {host: b}, weight: 10}]}",
            ),
            (
                Rule,
                "match: {uri: {prefix: /api}, ignoreUriCase: true, gateways: [mesh]}\nfaults: [delay: 1s]",
            ),
            (
                Rule,
                "match: [{uri: {exact: /api}, ignoreUriCase: true, sourceLabels: {app: a}}]\nfaults: [delay: 1s]",
            ),
            (
                Rule,
                "route: [{destination: {host: a}, weight: 90}, {destination: {host: b}, weight: 10}]\nfaults: [delay: 1s]",
            ),
            (Rule, "redirect: {uri: /new}\nfaults: [delay: 1s]"),
            (
                Rule,
                "corsPolicy: {allowOrigins: [{exact: \"https://a.example\"}]}\nfaults: [delay: 1s]",
            ),
            (Rule, "directResponse: {status: 418, body: {string: tea}}"),
            (
                Top,
                "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: ratings}\nspec: {http: [{match: [{uri: {prefix: /a}}], timeout: 10s, retries: {attempts: 3}, route: [{destination: {host: a}, weight: 90}, {destination: {host: b}, weight: 10}]}, {mirror: {host: c}, route: [{destination: {host: a}}]}]}",
            ),
            (
                Top,
                "apiVersion: networking.istio.io/v1\nkind: VirtualService\nspec: {http: [{match: [{uri: {prefix: /a}}], fault: {delay: {fixedDelay: 7s, percentage: {value: 17}}, abort: {httpStatus: 418, percentage: {value: 17}}}}, {match: [{headers: {end-user: {exact: ada}}}], route: [{destination: {host: a}}]}, {timeout: 10s, fault: {abort: {httpStatus: 503, percentage: {value: 100}}}}, {fault: {delay: {fixedDelay: 3s, percentage: {value: 100}}}}]}",
            ),
            (
                Top,
                "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nspec: {rules: [{matches: [{path: {type: PathPrefix, value: /api}}], backendRefs: [{name: a, weight: 9}], timeouts: {request: 10s}}]}",
            ),
            (
                Top,
                "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nspec: {action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}",
            ),
            (
                Top,
                "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nspec: {host: a, trafficPolicy: {connectionPool: {http: {maxRetries: 3}}, outlierDetection: {consecutive5xxErrors: 3}}}",
            ),
            (
                Top,
                "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: ratings}\nspec: {hosts: [ratings], http: [{match: [{headers: {end-user: {exact: jason}}}], fault: {delay: {fixedDelay: 7s, percentage: {value: 17}}}, route: [{destination: {host: ratings}}]}, {route: [{destination: {host: ratings}}]}]}",
            ),
        ],
    ),
    (
        "WireMock",
        &[
            (Faults, "fixedDelayMilliseconds: 500"),
            (Faults, "delay: {fixedDelayMilliseconds: 500}"),
            (Faults, "delayDistribution: {type: lognormal, median: 80, sigma: 0.4}"),
            (Faults, "delayDistribution: {type: uniform, lower: 15, upper: 25}"),
            (Faults, "chunkedDribbleDelay: {numberOfChunks: 5, totalDuration: 1000}"),
            (Faults, "EMPTY_RESPONSE"),
            (Faults, "fault: MALFORMED_RESPONSE_CHUNK"),
            (Faults, "RANDOM_DATA_THEN_CLOSE"),
            (Faults, "fault: CONNECTION_RESET_BY_PEER"),
            (Rule, "fault: EMPTY_RESPONSE"),
            (Rule, "request: {method: POST, urlPath: /pay}\nfaults: [delay: 1s]"),
            (Rule, "match: {urlPathPattern: \"/api/.*\"}\nfaults: [delay: 1s]"),
            (Rule, "match: {queryParameters: {q: {equalTo: x}}}\nfaults: [delay: 1s]"),
            (
                Rule,
                "match: {headers: {accept: {matches: \"json\"}}}\nfaults: [delay: 1s]",
            ),
            (Top, "mappings: []"),
            (Route, "urlPath: /a\njsonBody: {a: 1}"),
            (Route, "path: /a\nbodyFileName: page.html"),
            (Route, "path: /a\nresponse: {status: 200}"),
            (Route, "path: /a\nbody: x\nfixedDelayMilliseconds: 100"),
            (Route, "path: /a\nbody: x\nstatusCode: 201"),
            (Rule, "response: {fixedDelayMilliseconds: 2300}"),
            (
                Rule,
                "response: {status: 200, delayDistribution: {type: lognormal, median: 83, sigma: 0.3}}",
            ),
            (
                Rule,
                "response: {status: 200, chunkedDribbleDelay: {numberOfChunks: 7, totalDuration: 1300}}",
            ),
            (Rule, "response: {fault: MALFORMED_RESPONSE_CHUNK}"),
            (Faults, "response: {status: 200, fault: EMPTY_RESPONSE}"),
            (
                Rule,
                "request: {method: GET, urlPathPattern: \"/api/.*\"}\nresponse: {status: 418, body: overloaded, headers: {x-a: b}}",
            ),
            (
                Rule,
                "request: {method: POST, urlPath: /pay, headers: {x-user: {equalTo: ada}}, queryParameters: {q: {absent: true}}, bodyPatterns: [{equalToJson: {a: 7}}]}\nfaults: [delay: 1s]",
            ),
            (
                Rule,
                "match: {headers: {accept: {doesNotMatch: \"json\"}}}\nfaults: [delay: 1s]",
            ),
            (Rule, "match: {body: {equalToJson: {a: 7}}}\nfaults: [delay: 1s]"),
            (
                Rule,
                "match: {bodyPatterns: [{matchesJsonPath: {expression: \"$.b\", equalTo: \"x\"}}]}\nfaults: [delay: 1s]",
            ),
            (Rule, "scenarioName: order\nfaults: [delay: 1s]"),
            (
                Faults,
                "delayDistribution: {type: lognormal, median: 93, sigma: 0.2, maxValue: 530}",
            ),
            (Faults, "corrupt: MALFORMED_RESPONSE_CHUNK"),
            (Faults, "connection_reset_by_peer"),
            (
                Top,
                "mappings: [{request: {method: POST, urlPath: /pay}, response: {status: 418, jsonBody: {a: 7}}}, {request: {urlPath: /slow}, response: {status: 200, fixedDelayMilliseconds: 1700, fault: EMPTY_RESPONSE}}]",
            ),
            (
                Route,
                "request: {urlPath: /hang}\nresponse: {fault: CONNECTION_RESET_BY_PEER}",
            ),
            (
                Route,
                "request: {urlPath: /slow, basicAuth: {username: a, password: b}}\nresponse: {status: 200, base64Body: aGk=, delayDistribution: {type: uniform, lower: 17, upper: 29}}",
            ),
            (
                Route,
                "request: {urlPattern: \"/b/.*\\\\?x=.*\"}\nresponse: {status: 200, base64Body: aGk=}",
            ),
            (
                Route,
                "request: {method: POST, urlPath: /pay, bodyPatterns: [{equalToJson: {a: 7}}, {matchesJsonPath: \"$.b\"}, {contains: c}]}\nresponse: {status: 201}",
            ),
            (
                Upstream,
                "fake: {mappings: [{request: {urlPath: /pay}, response: {status: 201, jsonBody: {a: 7}}}, {request: {urlPath: /slow}, response: {fault: EMPTY_RESPONSE}}]}",
            ),
            (
                Top,
                "mappings: [{request: {method: ANY}, response: {proxyBaseUrl: \"http://a\"}}]",
            ),
            (
                Top,
                "mappings: [{request: {urlPath: /pay, basicAuth: {username: a, password: b}}, response: {status: 201, jsonBody: {a: 7}}}, {response: {proxyBaseUrl: \"http://a\"}}]",
            ),
            (Route, "urlPathPattern: /a/.*\nbody: x"),
            (Route, "urlPathPattern: \"/users/[0-9]+/orders\"\nbody: x"),
            (Route, "path: /a/{id}\nbody: x\nfault: EMPTY_RESPONSE"),
            (
                Route,
                "path: /a\nbody: x\ndelayDistribution: {type: uniform, lower: 17, upper: 29}",
            ),
            (
                Route,
                "request: {method: POST, urlPath: /pay}\nresponse: {status: 201, jsonBody: {a: 7}, fixedDelayMilliseconds: 130}",
            ),
        ],
    ),
    (
        "MockServer",
        &[
            (Faults, "dropConnection: true"),
            (Faults, "httpResponse: {statusCode: 500}"),
            (Faults, "delay: {timeUnit: SECONDS, value: 1}"),
            (Faults, "times: {remainingTimes: 2, unlimited: false}"),
            (
                Rule,
                "httpRequest: {method: GET, path: /a}\nhttpResponse: {statusCode: 500}\ntimes: {remainingTimes: 1}",
            ),
            (Rule, "timeToLive: 60\nfaults: [delay: 1s]"),
            (
                Rule,
                "match: {queryStringParameters: [{name: q, values: [x]}]}\nfaults: [delay: 1s]",
            ),
            (Top, "expectations: []"),
            (Faults, "httpError: {dropConnection: true}"),
            (Faults, "httpError: dropConnection"),
            (
                Rule,
                "httpError: {dropConnection: true, delay: {timeUnit: MILLISECONDS, value: 77}}",
            ),
            (
                Faults,
                "httpResponse: {statusCode: 200, delay: {timeUnit: SECONDS, value: 7}}",
            ),
            (
                Faults,
                "httpResponse: {statusCode: 418, body: overloaded, headers: [{name: x-a, values: [b]}]}",
            ),
            (
                Rule,
                "httpResponse: {statusCode: 200, connectionOptions: {closeSocket: true}}",
            ),
            (Faults, "connectionOptions: {closeSocket: true}"),
            (Faults, "delay: {timeUnit: MINUTES, value: 17}"),
            (Faults, "delay: {timeUnit: MICROSECONDS, value: 530}"),
            (
                Faults,
                "delay: {timeUnit: MILLISECONDS, distribution: {type: GAUSSIAN, mean: 230, stdDev: 51}}",
            ),
            (
                Faults,
                "delay: {timeUnit: SECONDS, distribution: {type: UNIFORM, min: 3, max: 7}}",
            ),
            (Faults, "delay: {mean: 130, stdDev: 17}"),
            (Faults, "delay: {mean: 130, stdDev: 117}"),
            (
                Faults,
                "timeToLive: {timeUnit: SECONDS, timeToLive: 90, unlimited: false}",
            ),
            (Rule, "times: {unlimited: true}\nfaults: [delay: 1s]"),
            (
                Rule,
                "httpRequest: {method: GET, path: \"/a/.*\", queryStringParameters: {q: [x, y]}}\nhttpResponse: {statusCode: 418}\ntimeToLive: {timeUnit: MINUTES, timeToLive: 7}",
            ),
            (
                Top,
                "expectations: [{httpRequest: {path: /a}, httpResponse: {statusCode: 201, body: hi}}]",
            ),
        ],
    ),
    (
        "Dev Proxy",
        &[
            (Faults, "rate: 50"),
            (Faults, "minMs: 240"),
            (Faults, "{minMs: 53, maxMs: 517}"),
            (Faults, "delay: {minMs: 200, maxMs: 10000}"),
            (Top, "errorsFile: errors.json"),
            (Top, "urlsToWatch: [\"https://api.example/*\"]"),
            (Top, "plugins: []"),
            (Rule, "rate: 50\nfaults: [abort: 503]"),
            (Faults, "latencyPlugin: {minMs: 230, maxMs: 11000}"),
            (Rule, "LatencyPlugin: {minMs: 230, maxMs: 11000}"),
            (Faults, "genericRandomErrorPlugin: {rate: 37}"),
            (Faults, "rateLimiting: {rateLimit: 130, resetTimeWindowSeconds: 70}"),
            (Faults, "quota: {rateLimit: 130, resetTimeWindowSeconds: 70}"),
            (
                Top,
                "urlsToWatch: [\"https://api.example/users/*\", \"!https://api.example/users/me\"]\nplugins: [{name: LatencyPlugin, enabled: true, configSection: latencyPlugin}, {name: GenericRandomErrorPlugin, enabled: true, configSection: errors}]\nlatencyPlugin: {minMs: 230, maxMs: 11000}\nerrors: {errorsFile: errors.json, rate: 37}",
            ),
        ],
    ),
    (
        "Chaos Mesh, Pumba, tc",
        &[
            (Faults, "loss: 10%"),
            (Faults, "delay: {latency: 10ms, correlation: \"100\", jitter: 5ms}"),
            (Faults, "delay: {time: 100, jitter: 10, distribution: normal}"),
            (Faults, "delay: {mean: 100ms, stddev: 10ms}"),
            (Faults, "delay: {normal: {mean: 100ms, stddev: 10ms}}"),
            (Faults, "netem: {delay: 100ms}"),
            (Faults, "corrupt: {percentage: 1}"),
            (Faults, "duplicate: {percent: 1}"),
            (Faults, "partition: {}"),
            (
                Rule,
                "action: delay\ndelay: {latency: 17ms, jitter: 3ms, correlation: \"35\"}\nduration: 7m",
            ),
            (Rule, "action: loss\nloss: {loss: \"17\", correlation: \"25\"}"),
            (Rule, "action: netem\ndelay: {latency: 19ms}"),
            (Rule, "loss: 17%"),
            (Faults, "loss 17%"),
            (Faults, "packet-loss: 17"),
            (Faults, "delay 130ms"),
            (Faults, "bandwidth: {rate: 3mbps}"),
            (Faults, "bandwidth: {rate: 3mbit, limit: 20971520, buffer: 10000}"),
            (Faults, "bandwidth: {download: 3mbit, upload: 700kbit}"),
            (Faults, "rate: 3mbit"),
            (Faults, "netem: {loss: 17%}"),
            (Faults, "netem: {delay: {time: 3100, jitter: 31}}"),
            (Faults, "netem: delay 130ms 17ms loss 3%"),
            (Faults, "delay: 130ms 20ms 25%"),
            (Faults, "reorder: 25% 50%"),
            (Faults, "replace: {code: 404, body: x}"),
            (
                Top,
                "apiVersion: chaos-mesh.org/v1alpha1\nkind: NetworkChaos\nmetadata: {name: slow-db}\nspec: {action: delay, mode: one, selector: {namespaces: [default]}, delay: {latency: 17ms, jitter: 3ms, correlation: \"35\"}, duration: 7m}",
            ),
        ],
    ),
    (
        "anyone",
        &[
            (Faults, "probability: 0.5"),
            (Faults, "error: 500"),
            (Faults, "status: 404"),
            (Faults, "sleep: 2s"),
            (Faults, "hang: 5s"),
            (Faults, "close: true"),
            (Faults, "delay: [100ms, 200ms]"),
            (Faults, "delay: 100ms-200ms"),
            (Faults, "delay: 100"),
            (Faults, "delay: {min: 50ms, max: 1s}"),
            (Faults, "delay: {fixed: 1s, percentage: 10}"),
            (Faults, "delay: {fixed: 1s, path: /api}"),
            (Faults, "abort: {status: 503, path: /api, every: 3}"),
            (Faults, "abort: [500, 502]"),
            (Faults, "abort: 5xx"),
            (Faults, "abort: {code: 503, content_type: text/plain}"),
            (Faults, "truncate: {bytes: 100}"),
            (Faults, "quota: {limit: 10, window: 60}"),
            (Faults, "concurrency: {max: 8}"),
            (Faults, "rate_limit: {requests: 53, per: 7s}"),
            (Faults, "rate_limit: 130/s"),
            (Faults, "rate_limit: {requests_per_second: 9}"),
            (Faults, "throttle: 53kbps"),
            (Rule, "delay: 1s"),
            (Rule, "faults: {delay: 1s, abort: 503}"),
            (Rule, "when: 10\nfaults: [delay: 1s]"),
            (Rule, "when: 0.1\nfaults: [delay: 1s]"),
            (Rule, "when: {probability: 0.1}\nfaults: [delay: 1s]"),
            (Rule, "when: {times: 3}\nfaults: [delay: 1s]"),
            (Rule, "match: /api\nfaults: [delay: 1s]"),
            (Rule, "path: /api\nfaults: [delay: 1s]"),
            (Rule, "match: {path: \"^/api/.*$\"}\nfaults: [delay: 1s]"),
            (Rule, "match: {path: {startsWith: /api}}\nfaults: [delay: 1s]"),
            (Rule, "match: {path: \"http://shop/api\"}\nfaults: [delay: 1s]"),
            (Rule, "match: {host: \"http://a.b:80/\"}\nfaults: [delay: 1s]"),
            (Rule, "disabled: true\nfaults: [delay: 1s]"),
            (Rule, "description: slow\nfaults: [delay: 1s]"),
            (Top, "routes: []"),
            (Top, "port: 8080"),
            (Top, "target: http://localhost:3000"),
            (Top, "faults: [delay: 1300ms]"),
            (Top, "log_level: debug"),
            (Upstream, "url: \"http://127.0.0.1:1\"\nprotocol: http2"),
            (Upstream, "url: \"https://127.0.0.1:1\"\nprotocol: grpc"),
            (Upstream, "url: \"https://127.0.0.1:1\"\nhttp2: true"),
            (
                Upstream,
                "url: \"http://127.0.0.1:1\"\nhttp2: true\nh2: true\ngrpc: true",
            ),
            (Upstream, "url: \"http://127.0.0.1:1\"\nhttp2: false"),
            (Upstream, "url: \"https://127.0.0.1:1\"\nprotocol: https"),
            (
                Upstream,
                "url: \"https://127.0.0.1:1\"\ntls: {mode: MUTUAL, caCertificates: /x.pem, clientCertificate: /c.pem, privateKey: /k.pem, subjectAltNames: [a.example]}",
            ),
            (
                Upstream,
                "url: \"https://127.0.0.1:1\"\ntls: {mode: SIMPLE, credentialName: a}",
            ),
            (
                Listener,
                "address: 127.0.0.1:1\nupstream: shop\ntls: {mode: MUTUAL, serverCertificate: c.pem, privateKey: k.pem, caCertificates: ca.pem}",
            ),
            (Listener, "port: 8080\nbind: 127.0.0.1\nupstream: shop"),
            (
                Listener,
                "address: 127.0.0.1:1\nupstream: shop\ncors: {allow_origins: [{exact: \"https://a.example\"}], allow_credentials: true, max_age: 7s, allow_methods: [GET]}",
            ),
            (
                Listener,
                "address: 127.0.0.1:1\nupstream: shop\ncors: {allow_origins: [{prefix: \"https://a\"}]}",
            ),
            (Top, "cors: {allow_origins: [\"*\"]}"),
            (Top, "filter_chains: []\nhttp_filters: []"),
            (Top, "cluster: []\nclusters: []"),
            (Rule, "faults: [delay: 1s]\nstop_when: [{errors: 5%, over: 30s}]"),
            (Rule, "match: {headers: {\":authority\": shop}}\nfaults: [delay: 1s]"),
            (Rule, "match: {headers: {\":method\": PUT}}\nfaults: [delay: 1s]"),
            (Rule, "match: \"POST /checkout\"\nfaults: [delay: 1s]"),
            (Faults, "rewrite: {uri: /v2}"),
            (Rule, "rewrite: {uri: /v2}\nfaults: [delay: 1s]"),
            (Route, "path: /a\nmethod: all\nbody: x"),
            (Route, "path: /a\nmethod: \"*\"\nbody: x"),
            (Route, "path: /users/:id/posts/:postId?\nbody: x"),
            (Route, "path: \"https://api.example/x\"\nbody: x"),
            (
                Route,
                "path: /a\nmatch: {bodyPatterns: [{equalToJson: {a: 7}}]}\nbody: x",
            ),
            (Route, "path: /a\nmatch: {body: {json: {a: 7}}}\nbody: x"),
            (Route, "path: /a\nmatch: {body: {graphql: GetUser}}\nbody: x"),
            (Listener, "port: 8080\nupstream: shop"),
            (Listener, "address: 127.0.0.1:1\ntarget: shop"),
            (Listener, "address: 127.0.0.1:1\nupstream: shop\nprotocol: https"),
            (Listener, "address: 127.0.0.1:1\nupstream: shop\nrules: []"),
            (Upstream, "host: localhost\nport: 3000"),
            (Upstream, "urls: [\"http://shop-a:81\", \"http://shop-b:82\"]"),
            (Upstream, "url: \"http://127.0.0.1:1\"\nread_timeout: 5"),
            (Upstream, "url: \"https://127.0.0.1:1\"\ninsecure: true"),
            (Upstream, "fake: {name: echo, jitter: 10%}"),
            (Upstream, "fake: {name: llm, tokns_per_second: 10}"),
            (Upstream, "fake: {path: /a, json: {}}"),
            (Route, "path: /users/:id\njson: {}"),
            (Route, "path: /v/*\njson: {}"),
            (Route, "path: /a\ntext: hi"),
            (Faults, "delay: {fixed: 530}"),
            (Faults, "delay: \"530\""),
            (Faults, "delay: 7sec"),
            (Faults, "delay: 7 seconds"),
            (Faults, "delay: {uniform: {min: 130ms, max: 170ms}}"),
            (Faults, "delay: {normal: {mean: 130, stdDev: 17}}"),
            (Faults, "abort: {status: [429, 418]}"),
            (Faults, "status: [429, 418]"),
            (Rule, "errors: [429, 418]"),
            (Faults, "abort: UNAVAILABLE"),
            (Faults, "bandwidth: {bytes_per_second: 7000}"),
            (Faults, "bandwidth: 17"),
            (Faults, "throughput: 130"),
            (Faults, "hang: {seconds: 7}"),
            (Faults, "http2Error: REFUSED_STREAM"),
            (Faults, "closeConnection"),
            (Faults, "fixed_delay_milliseconds: 530"),
            (Faults, "addDelay: 530"),
            (Faults, "fixed: 530"),
            (Faults, "uniform: [17ms, 29ms]"),
            (Faults, "lognormal: {median: 83ms, sigma: 0.3}"),
            (Rule, "fault: delay"),
            (Rule, "actions: [{delay: 7s}]"),
            (Rule, "then: {status: 418}"),
            (Rule, "duration: 70s\nfaults: [delay: 1s]"),
            (Rule, "limits: {times: 7}\nfaults: [delay: 1s]"),
            (Rule, "responses: [{statusCode: 429}, {statusCode: 418}]"),
            (
                Rule,
                "percentage: 17\nmax_active_faults: 7\npath: /api\nmethod: PUT\nfaults: [delay: 1s]",
            ),
            (Rule, "match: {method: {exact: GET}}\nfaults: [delay: 1s]"),
            (
                Document,
                "listeners: [\"127.0.0.1:8017\"]\nupstreams: {shop: {fake: echo}}",
            ),
        ],
    ),
];

fn indented(text: &str, by: usize) -> String {
    let space = " ".repeat(by);
    text.lines().map(|line| format!("{space}{line}\n")).collect()
}

fn configuration(at: At, text: &str) -> String {
    match at {
        Faults => format!("{TOP}rules:\n  - name: r\n    faults:\n      - {text}\n"),
        Rule => format!("{TOP}rules:\n  - name: r\n{}", indented(text, 4)),
        Top => format!("{TOP}{text}\n"),
        Listener => format!(
            "listeners:\n  web:\n{}upstreams:\n  shop: {{fake: echo}}\n",
            indented(text, 4)
        ),
        Upstream => format!(
            "listeners:\n  web: {{address: 127.0.0.1:8080, upstream: shop}}\nupstreams:\n  shop:\n{}",
            indented(text, 4)
        ),
        Document => text.to_owned(),
        Way => format!(
            "listeners:\n  web:\n    address: 127.0.0.1:8080\n    routes:\n      -\n{}upstreams:\n  shop: {{fake: echo}}\n",
            indented(text, 8)
        ),
        Route => configuration(Upstream, &format!("fake:\n  routes:\n    -\n{}", indented(text, 6))),
    }
}

/// Each message with its help; none for a valid configuration.
fn messages(yaml: &str) -> Vec<(Severity, String, Vec<String>)> {
    let metrics = Metrics::new().unwrap();
    let report = match load_text("squall.yaml", yaml, Inputs::new(&metrics, Instant::now())) {
        Ok(snapshot) => snapshot.warnings.diagnostics().to_vec(),
        Err(report) => report.into_diagnostics(),
    };
    report
        .into_iter()
        .map(|one| (one.severity, one.message, one.help))
        .collect()
}

#[test]
fn each_word_of_another_tool_gets_the_line_to_write() {
    let mut told = String::new();
    let mut words = 0;
    let mut wrong = Vec::new();
    for (tool, cases) in WORDS {
        writeln!(told, "# {tool}\n").unwrap();
        for (at, text) in *cases {
            words += 1;
            let messages = messages(&configuration(*at, text));
            if messages.is_empty() {
                wrong.push(format!("{text} is accepted"));
            }
            writeln!(told, "{}", text.replace('\n', "\n  ")).unwrap();
            for (_, message, help) in &messages {
                writeln!(told, "  {message}").unwrap();
                for help in help {
                    writeln!(told, "    = {help}").unwrap();
                }
            }
            let says = |(_, message, help): &(Severity, String, Vec<String>)| {
                message.contains(": use `")
                    || help
                        .iter()
                        .any(|help| help.contains('`') || help.contains("leave") || help.contains("valid"))
            };
            if !messages.iter().any(says) {
                wrong.push(format!("{text}: nothing says what to write: {messages:?}"));
            }
            for help in messages.iter().flat_map(|(_, _, help)| help) {
                check_line(*at, text, help, &mut wrong);
            }
        }
        told.push('\n');
    }
    assert!(words >= 290, "{words}");
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("peer_words", told);
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The lines that an error tells users to write are valid where they belong.
fn check_line(at: At, text: &str, help: &str, wrong: &mut Vec<String>) {
    let lines: Vec<&str> = help
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|line| line.contains(": ") && !line.contains('…') && !line.starts_with("squall "))
        .collect();
    let mut refused = String::new();
    for line in &lines {
        let valid = places(at, text, line).into_iter().any(|yaml| {
            let errors = errors(&yaml);
            if !errors.is_empty() {
                writeln!(refused, "{yaml}\n{errors:?}").unwrap();
            }
            errors.is_empty()
        });
        if !valid {
            wrong.push(format!("{text}: `{line}` is valid nowhere:\n{refused}"));
        }
    }
    // What is said to stand together does.
    let of_rule = |line: &&&str| {
        let key = line.split(':').next().unwrap();
        ["match", "when", "faults", "choose"].contains(&key)
    };
    let together: Vec<&str> = lines.iter().filter(of_rule).copied().collect();
    let is_choice = help.contains(", or `") || help.contains("for the messages");
    if together.len() > 1 && !is_choice {
        let mut rule = together.join("\n");
        if !rule.contains("faults: ") && !rule.contains("choose: ") {
            let fault = lines.iter().find(|line| !of_rule(line)).copied().unwrap_or("delay: 1s");
            write!(rule, "\nfaults: [{fault}]").unwrap();
        }
        let yaml = configuration(Rule, &rule);
        if !errors(&yaml).is_empty() {
            wrong.push(format!(
                "{text}: {help}: {:?}
{yaml}",
                errors(&yaml)
            ));
        }
    }
}

fn errors(yaml: &str) -> Vec<(Severity, String, Vec<String>)> {
    let mut messages = messages(yaml);
    messages.retain(|one| one.0 == Severity::Error && !one.1.ends_with("there is no such file"));
    messages
}

/// The configurations in which a line stands where an error may mean it.
fn places(at: At, text: &str, line: &str) -> Vec<String> {
    let key = line.split(':').next().unwrap();
    let with_faults = |rule: &str| configuration(Rule, &format!("{rule}\nfaults: [delay: 1s]"));
    match key {
        "when" | "match" if at != Route && at != Way => return vec![with_faults(line)],
        "faults" | "choose" => return vec![configuration(Rule, line)],
        "strip_prefix" | "add_prefix" => {
            return vec![configuration(Way, &format!("upstream: shop\n{line}"))];
        }
        "cors" => {
            return vec![configuration(
                Listener,
                &format!("address: 127.0.0.1:1\nupstream: shop\n{line}"),
            )];
        }
        "routes" if at == Upstream => {
            return vec![configuration(Upstream, &format!("fake: {{{line}}}"))];
        }
        "errors" if line.contains("above") => {
            return vec![with_faults(&format!("stop_when: [{{{line}}}]"))];
        }
        "timeouts" => {
            return vec![
                configuration(Upstream, &format!("url: \"http://127.0.0.1:1\"\n{line}")),
                configuration(Listener, &format!("address: 127.0.0.1:1\nupstream: shop\n{line}")),
            ];
        }
        "rules" => {
            let line = line
                .replace("listener: NAME", "listener: web")
                .replace("upstream: NAME", "upstream: shop");
            return vec![format!("{TOP}{line}\n")];
        }
        "listeners" => {
            let upstreams = ["redis", "shop", "a", "b"].map(|name| format!("{name}: {{fake: echo}}"));
            let http = format!("{line}\nupstreams: {{{}}}\n", upstreams.join(", "));
            let tcp = http.replace("redis: {fake: echo}", "redis: 127.0.0.1:6379");
            return vec![http, tcp];
        }
        "upstreams" => {
            let name = line.trim_start_matches("upstreams: {").split(':').next().unwrap();
            let listener = format!("listeners: {{web: {{address: \"127.0.0.1:1\", upstream: {name}}}}}\n");
            return vec![format!("{listener}{line}\n")];
        }
        _ => {}
    }
    match at {
        Faults => {
            let fault = text.split(':').next().unwrap();
            let beside = [
                "",
                ", requests: 5",
                ", per: 1m",
                ", gap: 5ms",
                ", chunk: 5B",
                ", chunks: 5",
                ", over: 5s",
                ", limit: 5",
            ];
            let within = beside.map(|beside| configuration(Faults, &format!("{fault}: {{{line}{beside}}}")));
            let listener = format!("address: 127.0.0.1:1\nupstream: shop\n{line}");
            [
                vec![configuration(Faults, line), configuration(Listener, &listener)],
                within.to_vec(),
            ]
            .concat()
        }
        Rule => vec![
            with_faults(line),
            configuration(Rule, line),
            configuration(Faults, line),
            with_faults(&format!("match: {{{line}}}")),
            with_faults(&format!("match: {{headers: {{{line}}}}}")),
            with_faults(&format!("match: {{query: {{{line}}}}}")),
            with_faults(&format!("when: {{{line}}}")),
            format!(
                "listeners: {{web: {{address: 127.0.0.1:1, upstream: shop}}}}\nupstreams: {{shop: {{fake: {{routes: [{{path: /a, body: x, {line}}}]}}}}}}\n"
            ),
        ],
        Top => vec![format!("{TOP}{line}\n"), with_faults(line), configuration(Faults, line)],
        Listener => vec![
            configuration(Listener, &format!("address: 127.0.0.1:1\nupstream: shop\n{line}")),
            configuration(Listener, &format!("address: 127.0.0.1:1\n{line}")),
            configuration(Listener, &format!("upstream: shop\n{line}")),
            configuration(
                Listener,
                &format!("address: 127.0.0.1:1\nupstream: shop\ntls: {{certificate: a.pem, {line}}}"),
            ),
            configuration(
                Listener,
                &format!("address: 127.0.0.1:1\nupstream: shop\ntls: {{key: a.pem, {line}}}"),
            ),
            configuration(
                Listener,
                &format!("address: 127.0.0.1:1\nupstream: shop\ntls: {{certificate: a.pem, key: a.key, {line}}}"),
            ),
            configuration(
                Listener,
                &format!("address: 127.0.0.1:1\nupstream: shop\ncors: {{{line}}}"),
            ),
            configuration(
                Listener,
                &format!("address: 127.0.0.1:1\nupstream: shop\ncors: {{origins: \"*\", {line}}}"),
            ),
            configuration(Listener, &format!("address: 127.0.0.1:1\nupstream: shop\n{line}"))
                .replace("fake: echo", "address: 127.0.0.1:2"),
        ],
        Upstream => vec![
            configuration(Upstream, line),
            configuration(Upstream, &format!("url: \"https://127.0.0.1:1\"\n{line}")),
            configuration(
                Upstream,
                &format!("endpoints: [\"http://127.0.0.1:1\", \"http://127.0.0.1:2\"]\n{line}"),
            ),
            configuration(Upstream, &format!("fake: {{{line}}}")),
            configuration(Upstream, &format!("url: \"https://127.0.0.1:1\"\ntls: {{{line}}}")),
            configuration(
                Upstream,
                &format!("url: \"https://127.0.0.1:1\"\ntls: {{certificate: a.pem, {line}}}"),
            ),
            configuration(
                Upstream,
                &format!("url: \"https://127.0.0.1:1\"\ntls: {{key: a.pem, {line}}}"),
            ),
        ],
        Route => vec![
            configuration(Route, &format!("path: /a\nbody: x\n{line}")),
            configuration(Route, &format!("path: /a\n{line}")),
            configuration(Route, &format!("body: x\n{line}")),
            configuration(Upstream, &format!("fake:\n  routes:\n    - {line}")),
        ],
        Way => {
            let beside = [
                "",
                "upstream: shop",
                "match: {path: /cart/**}",
                "match: {path: /cart/**}\nupstream: shop",
            ];
            let line = line.replace("NAME", "shop");
            let whole = beside
                .iter()
                .map(|beside| configuration(Way, &format!("{beside}\n{line}")));
            let within = configuration(Way, &format!("match: {{{line}}}\nupstream: shop"));
            whole.chain([within, configuration(Faults, &line)]).collect()
        }
        Document => vec![configuration(Faults, line)],
    }
}

/// The lines carry what the user wrote: other numbers make other lines.
#[test]
fn numbers_of_a_word_are_those_of_the_line() {
    let cases: &[(At, &str, &str)] = &[
        (Faults, "latency: {latency: <n>, jitter: 0}", "delay: <n>ms"),
        (
            Faults,
            "{type: latency, attributes: {latency: <n>}, toxicity: 0.<m>}",
            "delay: <n>ms",
        ),
        (
            Faults,
            "{type: latency, attributes: {latency: <n>}, toxicity: 0.<m>}",
            "when: <m>%",
        ),
        (Faults, "bandwidth: {rate: <n>}", "bandwidth: {response: <n>kB/s}"),
        (Faults, "bandwidth: {rate: <n>mbps}", "bandwidth: <n>MB/s"),
        (Faults, "bandwidth: {rate: <n>mbit}", "bandwidth: <n>Mbit/s"),
        (
            Faults,
            "response_rate_limit: {fixed_limit: {limit_kbps: <n>}}",
            "bandwidth: {response: <n>KiB/s}",
        ),
        (Faults, "delay: {timeUnit: NANOSECONDS, value: <n>}", "delay: <n>ns"),
        (
            Faults,
            "delay: {minMs: <m>, maxMs: <n>}",
            "delay: {uniform: [<m>ms, <n>ms]}",
        ),
        (
            Faults,
            "delayDistribution: {type: lognormal, median: <n>, sigma: 0.<m>}",
            "median: <n>ms, sigma: 0.<m>",
        ),
        (
            Faults,
            "chunkedDribbleDelay: {numberOfChunks: <m>, totalDuration: <n>}",
            "dribble: {chunks: <m>, over: <n>ms}",
        ),
        (Faults, "limit_data: {bytes: <n>}", "truncate: <n>B"),
        (
            Faults,
            "abort: {http_status: 4<m>, percentage: {numerator: <n>, denominator: MILLION}}",
            "abort: 4<m>",
        ),
        (
            Faults,
            "abort: {http_status: 4<m>, percentage: {numerator: <n>, denominator: MILLION}}",
            "when: 0.0<n>%",
        ),
        (
            Faults,
            "rateLimiting: {rateLimit: <n>, resetTimeWindowSeconds: <m>}",
            "quota: <n>/<m>s",
        ),
        (
            Rule,
            "fault: {delay: {fixedDelay: <n>s, percentage: {value: <m>}}}",
            "when: <m>%",
        ),
        (
            Rule,
            "response: {fixedDelayMilliseconds: <n>}",
            "faults: [delay: <n>ms]",
        ),
        (
            Rule,
            "times: {remainingTimes: <n>}\nfaults: [delay: 1s]",
            "when: {limits: {total: <n>}}",
        ),
        (
            Rule,
            "limits: {times: <n>}\nfaults: [delay: 1s]",
            "when: {limits: {total: <n>}}",
        ),
        (
            Top,
            "latencyPlugin: {minMs: <m>, maxMs: <n>}",
            "delay: {uniform: [<m>ms, <n>ms]}",
        ),
        (Top, "target: <n>", "127.0.0.1:<n>"),
        (
            Upstream,
            "outlier_detection: {consecutive_5xx: <n>}\nendpoints: [\"http://127.0.0.1:1\"]",
            "failures: <n>",
        ),
        (Route, "path: /a\nbody: x\nfixedDelayMilliseconds: <n>", "delay: <n>ms"),
    ];
    for (n, m) in [(113, 17), (739, 41), (257, 31)] {
        for (at, text, line) in cases {
            let with = |text: &str| text.replace("<n>", &n.to_string()).replace("<m>", &m.to_string());
            let (text, line) = (with(text), with(line));
            let told: Vec<String> = messages(&configuration(*at, &text))
                .into_iter()
                .flat_map(|(_, _, help)| help)
                .collect();
            assert!(
                told.iter().any(|help| help.contains(&line)),
                "{text}: no `{line}` in {told:?}"
            );
        }
    }
}

/// What a word means is what its line does, where another meaning is near.
#[test]
fn a_line_means_what_the_word_meant() {
    let told = |at: At, text: &str| -> String {
        let help: Vec<String> = messages(&configuration(at, text))
            .into_iter()
            .flat_map(|(_, _, help)| help)
            .collect();
        help.join("\n")
    };
    for (at, text, line) in MEANT {
        let told = told(*at, text);
        assert!(told.contains(line), "{text}: no `{line}` in {told}");
    }
    for (at, text, line) in NOT_MEANT {
        let told = told(*at, text);
        assert!(!told.contains(line), "{text}: `{line}` in {told}");
    }
}

/// Several unknown keys of a map for which one line is to be written are all named.
#[test]
fn every_unknown_key_is_named() {
    let cases = [
        (
            Listener,
            "port: 8080\nbind: 127.0.0.1\nupstream: shop",
            "unknown keys `port` and `bind`",
        ),
        (
            Upstream,
            "url: \"http://127.0.0.1:1\"\nhttp2: true\nh2: true\ngrpc: true",
            "unknown keys `http2`, `h2` and `grpc`",
        ),
        (
            Top,
            "filter_chains: [{delay: 1s}]\nhttp_filters: [{delay: 1s}]",
            "unknown keys `filter_chains` and `http_filters`",
        ),
        (
            Top,
            "cluster: []\nclusters: []",
            "unknown keys `cluster` and `clusters`",
        ),
    ];
    for (at, text, message) in cases {
        let told = messages(&configuration(at, text));
        assert!(told.iter().any(|(_, told, _)| told == message), "{text}: {told:?}");
    }
}

/// What the help for a text has.
const MEANT: &[(At, &str, &str)] = &[
    (
        Upstream,
        "url: \"http://127.0.0.1:1\"\nprotocol: http2",
        "`protocol: h2c`",
    ),
    (
        Upstream,
        "url: \"https://127.0.0.1:1\"\nprotocol: http2",
        "`protocol: h2`",
    ),
    (Upstream, "url: \"https://127.0.0.1:1\"\ngrpc: true", "`protocol: h2`"),
    (
        Upstream,
        "url: \"https://127.0.0.1:1\"\ntls: {caCertificates: /x}",
        "`ca: /x`",
    ),
    (
        Route,
        "request: {urlPath: /hang}\nresponse: {fault: CONNECTION_RESET_BY_PEER}",
        "`rules: [{name: reset, match: {path: /hang}, faults: [reset: {}]}]`",
    ),
    (
        Route,
        "request: {urlPattern: \"/b/.*\\\\?x=.*\"}\nresponse: {base64Body: aGk=}",
        "`{path: \"/b/{*rest}\", match: {query: {x: present}}, base64: \"aGk=\"}`",
    ),
    (
        Route,
        "path: /a\nmatch: {body: {json: {a: 7}}}\nbody: x",
        "`json: {a: 7}`",
    ),
    (
        Route,
        "path: /a\nmatch: {body: {graphql: GetUser}}\nbody: x",
        "`json: {operationName: GetUser}`",
    ),
    (
        Rule,
        "match: \"POST /checkout\"\nfaults: [delay: 1s]",
        "`match: {method: POST, path: /checkout}`",
    ),
    (
        Rule,
        "faults: [delay: {fixed_delay: 3s, percentage: {numerator: 17}}, abort: {http_status: 418, percentage: {numerator: 17}}]",
        "`when: 17%` beside the rule's `faults`; a rule draws once for all its faults: put this one into a rule of its own",
    ),
    (
        Document,
        "kind: DestinationRule\n---\nkind: VirtualService",
        "is said for a file of its own",
    ),
    (
        Document,
        TCP_TIMEOUT,
        "write `stall: {discard: true, limit: 5s, end: close}`",
    ),
    (
        Document,
        TCP_TOXICS,
        "`faults: [stall: {discard: true, end: close, direction: request}]`",
    ),
    (
        Document,
        TCP_TOXICS,
        "`faults: [stall: {limit: 730ms, end: reset, direction: request}]`",
    ),
    (
        Document,
        TCP_TOXICS,
        "`faults: [delay: {uniform: [700ms, 760ms], before: message, direction: request}]`",
    ),
    (Document, TCP_TOXICS, "`stall: {limit: 10ms, end: reset}`"),
    (
        Document,
        TCP_TOXICS,
        "`faults: [delay: {fixed: 5.3s, before: response}, close: {before: response}]`",
    ),
    (
        Faults,
        "latency: {latency: 1000, jitter: 2000}",
        "`delay: {percentiles: {min: 0s, p25: 0s, max: 3s}}`",
    ),
    (Faults, "latency: {latency: 1e30}", "can't read"),
    (Faults, "latency: {latency: 100, jitter: 1e30}", "can't read"),
    (Faults, "bandwidth: {rate: 1e30}", "can't read"),
    (Rule, "toxicity: 1.0\nfaults: [delay: 1s]", "leave it out"),
    (
        Rule,
        "toxics: [{type: latency, toxicity: 0.3, attributes: {latency: 730}}, {type: limit_data, toxicity: 0.7, attributes: {bytes: 330}}]",
        "`rules: [{name: slow, when: 30%, faults: [delay: 730ms]}, {name: truncate, when: 70%, faults: [truncate: 330B]}]`",
    ),
    (
        Top,
        "static_resources: {routes: [{match: {prefix: /a}, typed_per_filter_config: {envoy.filters.http.fault: {abort: {http_status: 418, percentage: {numerator: 17}}}}}]}",
        "`rules: [{name: errors, match: {path: {prefix: /a}}, when: 17%, faults: [abort: 418]}]`",
    ),
    (
        Rule,
        "timeout: 10s\nroute: [{destination: {host: a}}]",
        "`timeouts: {read: 10s}` at the upstream",
    ),
    (Rule, "timeout: 3s\nfaults: [delay: 1s]", "`hang: {limit: 3s}`"),
    (Faults, "timeout: 3s", "write `hang: {limit: 3s}`"),
    (Rule, "retries: 3\nfaults: [delay: 1s]", "does not retry"),
    (
        Rule,
        "fault: {delay: {header_delay: {}, percentage: {numerator: 25}}}",
        "`when: {requested: true, percentage: 25%}` and `faults: [delay: 10s]`",
    ),
    (
        Rule,
        "fault: {abort: {header_abort: {}, percentage: {numerator: 35}}}",
        "`when: {requested: true, percentage: 35%}` and `faults: [abort: 503]`",
    ),
    (
        Rule,
        "fault: {delay: {fixedDelay: 7s, percentage: {value: 17}}, abort: {httpStatus: 418, percentage: {value: 17}}}",
        "`rules: [{name: slow, when: 17%, faults: [delay: 7s]}, {name: errors, when: 17%, faults: [abort: 418]}]`",
    ),
    (
        Rule,
        "fault: {delay: {fixedDelay: 7s, percentage: {value: 100}}, abort: {httpStatus: 418, percentage: {value: 100}}}",
        "`faults: [delay: 7s, abort: 418]`",
    ),
    (
        Rule,
        "fault: {delay: {fixedDelay: 7s}}",
        "inject nothing without a `percentage`",
    ),
    (
        Faults,
        "delay: {fixedDelay: 7s}",
        "inject nothing without a `percentage`",
    ),
    (
        Rule,
        "headers: {request: {set: {x-a: b}}}",
        "`faults: [rewrite: {request: {headers: {set: {x-a: b}}}}]`",
    ),
    (
        Top,
        "http: [{match: [{uri: {prefix: /a}}], route: []}, {fault: {abort: {httpStatus: 418, percentage: {value: 100}}}}]",
        "`rules: [{name: errors, match: {not: {path: {prefix: /a}}}, faults: [abort: 418]}]`",
    ),
    (
        Top,
        "http_filters: [{typed_config: {upstream_cluster: shop, abort: {http_status: 418, percentage: {numerator: 100}}}}]",
        "`rules: [{name: errors, upstream: shop, faults: [abort: 418]}]`",
    ),
    (
        Rule,
        "match: {path_separated_prefix: /api}\nfaults: [delay: 1s]",
        "`path: /api/**`",
    ),
    (
        Rule,
        "match: {uri: {prefix: /api}, ignoreUriCase: true}\nfaults: [delay: 1s]",
        "`path: {regex: \"(?i)^/api\"}`",
    ),
];

/// What the help for a text must not have.
const NOT_MEANT: &[(At, &str, &str)] = &[
    (Faults, "rewrite: {uri: /v2}", "match"),
    (
        Route,
        "request: {urlPath: /hang}\nresponse: {fault: CONNECTION_RESET_BY_PEER}",
        "body: \"\"",
    ),
    (Faults, "toxicity: 7", "7%"),
    (Faults, "toxicity: 1.0", "when: 100%"),
    (Rule, "timeout: 10s\nroute: [{destination: {host: a}}]", "hang"),
    (Rule, "retries: {attempts: 3}\nfaults: [delay: 1s]", "when"),
    (Rule, "mirror: {host: a}\nfaults: [delay: 1s]", "faults: ["),
    (
        Top,
        "kind: VirtualService\nspec: {http: [{timeout: 10s, retries: {attempts: 3}, mirror: {host: c}, route: [{weight: 90}, {weight: 10}]}]}",
        "rules: [",
    ),
    (
        Top,
        "kind: HTTPRoute\nspec: {rules: [{timeouts: {request: 10s}}]}",
        "rules: [",
    ),
    (Top, "kind: Deployment\nspec: {template: {latency: 7}}", "rules: ["),
];
