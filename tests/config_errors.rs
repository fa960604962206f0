//! What users read when their configuration is wrong: one snapshot for each mistake.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

#[path = "config_errors/pairs.rs"]
mod pairs;

use std::time::Instant;

use squall::config::load_text;
use squall::config::snapshot::Inputs;
use squall::metrics::Metrics;

/// A configuration that is right but for what `rules` and `more` say.
fn with(more: &str, rules: &str) -> String {
    let top = "listeners:\n  web: {address: 127.0.0.1:8080, upstream: todo}\nupstreams:\n  todo: {fake: test-api}\n";
    format!("{top}{more}rules:\n{rules}")
}

fn rule(body: &str) -> String {
    with("", &format!("  - name: r\n{}", indent(body)))
}

fn fault(fault: &str) -> String {
    rule(&format!("faults:\n  - {fault}\n"))
}

fn when(when: &str) -> String {
    rule(&format!("when: {when}\nfaults: [delay: 1s]\n"))
}

fn matching(condition: &str) -> String {
    rule(&format!("match: {condition}\nfaults: [delay: 1s]\n"))
}

/// A configuration with a TLS listener, a plain one, and one rule.
fn https(body: &str) -> String {
    let pair = "{certificate: config/examples/localhost.pem, key: config/examples/localhost.key}";
    let listeners = format!(
        "listeners:\n  web: {{address: 127.0.0.1:1, upstream: e, tls: {pair}}}\n  plain: {{address: 127.0.0.1:2, upstream: e}}\n"
    );
    let rule = indent(body);
    format!("{listeners}upstreams:\n  e: {{fake: echo}}\nrules:\n  - name: r\n{rule}")
}

fn tls(tls: &str) -> String {
    format!("listeners:\n  web: {{address: 127.0.0.1:1, upstream: e, tls: {tls}}}\nupstreams:\n  e: {{fake: echo}}\n")
}

/// A configuration with one declared fake.
fn declared(body: &str) -> String {
    let fake = indent(&indent(body));
    format!("listeners:\n  web: {{address: 127.0.0.1:1, upstream: a}}\nupstreams:\n  a:\n    fake:\n{fake}")
}

/// A fake with these routes.
fn routes(routes: &str) -> String {
    let lines: String = routes.lines().map(|line| format!("        {line}\n")).collect();
    format!(
        "listeners:\n  web: {{address: 127.0.0.1:1, upstream: a}}\nupstreams:\n  a:\n    fake:\n      routes:\n{lines}"
    )
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

/// A listener with these routes.
fn routed(routes: &str) -> String {
    let upstreams = "  shop: {url: \"http://127.0.0.1:2/base\"}\n  db: {address: 127.0.0.1:3}\n  original: {original_destination: true}\n";
    format!("listeners:\n  web:\n   address: 127.0.0.1:1\n   routes:\n{routes}upstreams:\n{upstreams}")
}

/// A configuration with a TCP listener and a rule.
fn tcp(rule: &str) -> String {
    format!(
        "listeners:\n  db: {{address: 127.0.0.1:1, protocol: tcp, upstream: db}}\nupstreams:\n  db: {{address: 127.0.0.1:2}}\n\
         rules:\n  - name: a\n    {rule}"
    )
}

fn report(yaml: &str) -> String {
    let metrics = Metrics::new().unwrap();
    let inputs = Inputs::new(&metrics, Instant::now());
    match load_text("squall.yaml", yaml, inputs) {
        Ok(snapshot) if snapshot.warnings.is_empty() => "no error".to_owned(),
        Ok(snapshot) => snapshot.warnings.render(false),
        Err(report) => report.render(false),
    }
}

/// One mistake each, with its name.
fn cases() -> Vec<(&'static str, String)> {
    vec![
        // The file
        ("yaml_syntax", "listeners: [\n".into()),
        ("yaml_tab", "listeners:\n\tweb: {}\n".into()),
        ("duplicate_key", "seed: 1\nseed: 2\nlisteners: {}\n".into()),
        ("two_documents", "seed: 1\n---\nseed: 2\n".into()),
        ("empty", String::new()),
        ("not_a_map", "- a\n- b\n".into()),
        ("unset_variable", with("admin: {token: \"${SQUALL_TEST_NOT_SET}\"}\n", "")),
        ("include_device", "include: [/dev/zero, src]\n".into()),
        // Top level
        ("unknown_top_key", with("upstream: {}\n", "  []\n")),
        ("bad_seed", with("seed: many\n", "  []\n")),
        ("bad_log_level", with("log: {level: loud}\n", "  []\n")),
        ("bad_threads", with("threads: 0\n", "  []\n")),
        ("too_many_threads", with("threads: 30000\n", "  []\n")),
        ("bodies_too_small", with("bounds: {bodies: 1000KiB}\n", "  []\n")),
        ("admin_on_a_listener", with("admin: {address: 127.0.0.1:8080}\n", "  []\n")),
        ("toxiproxy_on_a_listener", with("toxiproxy: {address: 127.0.0.1:8080}\n", "  []\n")),
        ("admin_needs_token", with("admin: {address: 0.0.0.0:9900}\n", "  []\n")),
        ("admin_port_alone", with("admin: 7390\ntoxiproxy: 7391\n", "  []\n")),
        ("admin_bad_address", with("admin: localhost\n", "  []\n")),
        ("admin_short_on_a_listener", with("admin: 127.0.0.1:8080\n", "  []\n")),
        ("admin_short_needs_token", with("admin: 0.0.0.0:9900\n", "  []\n")),
        ("stop_when_bad_share", with("stop_when: [errors: 105%, p99: 2, health: http://127.0.0.1:1]\n", "  []\n")),
        ("stop_when_never", with("stop_when: [errors: 100%]\n", "  []\n")),
        ("no_listeners", "upstreams: {a: {fake: echo}}\n".into()),
        // Listeners and upstreams
        ("tcp_with_http_upstream", "listeners:\n  db: {address: 127.0.0.1:1, protocol: tcp, upstream: db}\nupstreams:\n  db: {url: \"http://127.0.0.1:2\"}\n".into()),
        ("tcp_settings_of_http", "listeners:\n  db: {address: 127.0.0.1:1, protocol: tcp, upstream: db, timeouts: {header: 5s}, trusted_proxies: 10.0.0.0/8}\nupstreams:\n  db: {address: 127.0.0.1:2, host: db, timeouts: {read: 5s}}\n".into()),
        ("cors_bad_origins", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a, cors: {origins: [app.example.com, \"https://app.example.com/x\", \"http://a*b\"], credentails: true, expose: a b}}\nupstreams:\n  a: {fake: echo}\n".into()),
        ("cors_true", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a, cors: true}\nupstreams:\n  a: {fake: {name: echo, cors: all}}\n".into()),
        ("cors_natural_of_a_fake", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {fake: {name: echo, cors: {origins: \"*\", natural: replace}}}\n".into()),
        ("cors_on_tcp", "listeners:\n  db: {address: 127.0.0.1:1, protocol: tcp, upstream: db, cors: mirror}\nupstreams:\n  db: {address: 127.0.0.1:2}\n".into()),
        ("tcp_upstream_bad_address", "listeners:\n  db: {address: 127.0.0.1:1, protocol: tcp, upstream: db}\nupstreams:\n  db: {address: \"tcp://127.0.0.1\"}\n".into()),
        ("tcp_rule_on_requests", tcp("match: {path: /pay, client: 10.0.0.0/8}\n    when: {key: header:x-user}\n    faults: [abort: 503, reset: {}]\n")),
        ("tcp_rule_on_messages", tcp("faults: [drop: 10%, truncate: 3 messages]\n")),
        ("proxy_protocol_to_http", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {url: \"http://127.0.0.1:2\", proxy_protocol: v3}\n".into()),
        ("alpn_of_requests", with("", "  - name: a\n    match: {alpn: h2}\n    faults: [delay: 1s]\n")),
        ("bad_address", "listeners:\n  web: {address: localhost, upstream: a}\nupstreams:\n  a: {fake: echo}\n".into()),
        ("port_alone", "listeners:\n  web: {address: 7341, upstream: a}\nupstreams:\n  a: {fake: echo}\n".into()),
        ("port_too_large", "listeners:\n  web: {address: 127.0.0.1:99999, upstream: a}\nupstreams:\n  a: {fake: echo}\n".into()),
        ("upstream_port_alone", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: 26001\n".into()),
        ("two_in_a_listener", "listeners:\n  web: {adress: 127.0.0.1:1, upstream: apii}\nupstreams:\n  api: {fake: echo}\n".into()),
        ("two_in_a_rule", with("", "  - {nmae: r, listener: wbe, upstream: tood, faults: [delay: 1s]}\n")),
        ("references_beside_other_mistakes", "upstrems: {svc: {fake: echo}}\nupstreams: {api: localhost}\nlisteners:\n  a: {address: 127.0.0.1:99999, upstream: svc}\n  b: {address: 127.0.0.1:1, upstream: ap}\n  c: {address: 127.0.0.1:1, upstream: api}\nrules: [{name: r, upstream: [svc, api, sv], faults: [delay: 1s]}]\n".into()),
        ("include_missing_with_its_upstream", "include: no-such-file.yaml\nlisteners:\n  web: {address: 127.0.0.1:1, upstream: a}\n".into()),
        ("grpc_over_http1", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {url: \"http://127.0.0.1:2\"}\nrules:\n  - {name: r, when: 10%, faults: [abort: {grpc: UNAVAILABLE}]}\n  - {name: s, match: {grpc: {service: a.B}}, faults: [delay: 1s]}\n".into()),
        ("missing_address", "listeners:\n  web: {upstream: a}\nupstreams:\n  a: {fake: echo}\n".into()),
        ("unknown_upstream", "listeners:\n  web: {address: 127.0.0.1:1, upstream: shpo}\nupstreams:\n  shop: {fake: echo}\n".into()),
        ("same_address", "listeners:\n  a: {address: 127.0.0.1:1, upstream: e}\n  b: {address: 127.0.0.1:1, upstream: e}\nupstreams:\n  e: {fake: echo}\n".into()),
        ("certificate_unreadable", "listeners:\n  web: {address: 127.0.0.1:1, upstream: e, tls: {certificate: no.pem, key: no.key}}\nupstreams:\n  e: {fake: echo}\n".into()),
        ("http_with_tcp_upstream", "listeners:\n  web: {address: 127.0.0.1:1, upstream: db}\nupstreams:\n  db: {address: 127.0.0.1:2}\n".into()),
        ("listener_timeouts", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a, timeouts: {handshake: 0, header: 0s, idle: 0ms}}\nupstreams:\n  a: {url: 'http://127.0.0.1:2'}\n".into()),
        ("upstream_without_target", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {timeouts: {read: 1s}}\n".into()),
        ("upstream_two_targets", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {fake: echo, url: \"http://a\"}\n".into()),
        ("upstream_bad_url", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {url: ftp://a}\n".into()),
        ("upstream_url_with_query", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {url: \"http://a/v1?x\"}\n".into()),
        ("upstream_url_with_dots", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {url: \"http://a/v1/../v2\"}\n".into()),
        ("upstream_urls_of_two_paths", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {endpoints: [\"http://a/v1\", \"http://b/v2\"]}\n".into()),
        ("forward_bad_hosts", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {forward: {hosts: [\"http://a.example/x\", \"b:x\", \"c d\"]}}\n".into()),
        ("forward_over_http2", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {forward: {hosts: b}, protocol: h2}\n".into()),
        ("forward_and_url", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {forward: {}, url: \"http://a\"}\n".into()),
        ("listener_without_upstream", "listeners:\n  web: {address: 127.0.0.1:1}\n  db: {address: 127.0.0.1:2, protocol: tcp}\n".into()),
        ("route_unknown_upstream", routed("    - {upstream: shpo}\n")),
        (
            "route_by_body",
            routed("    - {match: {body: {json: {a: 1}}}, upstream: shop}\n"),
        ),
        ("route_without_upstream", routed("    - {strip_prefix: /a}\n")),
        ("listener_route_unknown_key", routed("    - {upstream: shop, strip_path: /a}\n")),
        ("route_bad_prefixes", routed("    - {upstream: shop, strip_prefix: api, add_prefix: /}\n    - {upstream: shop, strip_prefix: /a/**, add_prefix: /a b}\n")),
        ("route_never_reached", routed("    - {upstream: shop, strip_prefix: /a}\n    - {upstream: shop, match: {path: /a/b/**, method: GET}}\n    - {upstream: shop}\n    - {upstream: shop, match: {host: b.example}}\n")),
        ("route_takes_nothing", routed("    - {upstream: shop, match: {path: /b/**}, strip_prefix: /a}\n    - {upstream: shop, match: {not: {}}}\n")),
        ("route_of_one_path", routed("    - {upstream: shop, match: {path: /a}, strip_prefix: /a}\n    - {upstream: shop, match: {path: /b/}}\n    - {upstream: shop, match: {path: /c}}\n")),
        ("route_to_tcp", routed("    - {upstream: db}\n")),
        ("route_to_original_destination", routed("    - {upstream: original, match: {alpn: h2}}\n")),
        ("route_takes_all", routed("    - {upstream: shop}\n   upstream: shop\n")),
        ("routes_empty", routed("    []\n")),
        ("routes_on_tcp", "listeners:\n  db: {address: 127.0.0.1:1, protocol: tcp, upstream: db, routes: [{upstream: db}]}\nupstreams:\n  db: {address: 127.0.0.1:2}\n".into()),
        ("rule_unknown_upstream", rule("upstream: tood\nfaults: [delay: 1s]\n")),
        ("rule_upstream_without_listener", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\n  other: {address: 127.0.0.1:2, upstream: b}\nupstreams: {a: {fake: echo}, b: {fake: echo}}\nrules:\n  - {name: r, listener: web, upstream: [a, b], faults: [delay: 1s]}\n".into()),
        ("rule_upstream_on_connections", rule("upstream: todo\nfaults: [delay: {fixed: 1s, before: connection}]\n")),
        ("h2c_over_tls", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {url: \"https://a\", protocol: h2c}\n".into()),
        ("unknown_fake", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {fake: test-ap}\n".into()),
        ("unknown_upstream_key", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {fake: echo, timeout: 1s}\n".into()),
        ("unused_upstream", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {fake: echo}\n  b: {fake: echo}\n".into()),
        ("original_false", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {original_destination: false}\n".into()),
        ("original_over_tls", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a, tls: {certificate: a.pem, key: a.key}}\nupstreams:\n  a: {original_destination: true}\n".into()),
        ("original_on_unix", "listeners:\n  web: {address: 'unix:/tmp/a.sock', upstream: a}\nupstreams:\n  a: {original_destination: true}\n".into()),
        ("original_settings", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {original_destination: true, host: upstream, balance: random, tls: {verify: false}, protocol: h2}\n".into()),
        ("original_host", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {original_destination: true, host: upstream}\n".into()),
        ("original_certificate", "listeners:\n  web: {address: 127.0.0.1:1, upstream: a}\nupstreams:\n  a: {original_destination: true}\nrules:\n  - {name: bad, faults: [{certificate: expired}]}\n".into()),
        // Collections, documents and recordings of declared fakes
        ("collection_bad_type", declared("collections: {a: {fields: {n: strin!}}}\n")),
        ("collection_bad_id", declared("collections: {a: {id: number}}\n")),
        ("collection_bad_names", declared("collections: {'a b': {fields: {id: string, 'x\"y': any}}, sqlite_x: {}}\n")),
        ("collection_bad_field", declared("collections:\n  a:\n    fields:\n      n: {type: string, minimum: 1, pattern: '('}\n      m: {type: integer, minimum: 2, maximum: 1}\n      o: {enum: [1], default: 2}\n")),
        ("collection_bad_rows", declared("collections:\n  a:\n    fields: {n: integer!}\n    rows:\n      - {n: x, m: 1}\n      - {}\n      - {n: 1, id: x}\n      - 5\n")),
        ("collection_taken_row", declared("collections:\n  a:\n    rows:\n      - {id: 1}\n      - {id: 1}\n")),
        ("collection_bad_settings", declared("collections:\n  a: {path: a, generate: 1000000, page: {size: 20, max: 10}, envelope: total}\n  b: {path: /x, generate: 7}\n  c: {path: /x/, page: {size: 0}}\n")),
        ("openapi_missing_file", declared("openapi: no.yaml\n")),
        ("openapi_device", declared("openapi: /dev/zero\n")),
        ("openapi_no_document", declared("openapi: {file: config/examples/har.yaml, prefix: v1}\n")),
        ("openapi_no_yaml", declared("openapi: config/examples/localhost.pem\n")),
        ("har_no_recording", declared("har: {file: Cargo.toml, speed: 0, match: []}\n")),
        ("har_no_host", declared("har: {file: config/examples/files/recorded.har, host: other.example}\n")),
        ("har_directory", declared("har: src\n")),
        ("har_device", declared("har: /dev/zero\n")),
        // Declared routes
        ("route_unknown_key", routes("- {path: /a, jsn: {}}")),
        ("route_without_path", routes("- {json: {}}")),
        ("route_bad_path", routes("- {path: \"/a/{b\", json: {}}")),
        ("route_no_answer", routes("- {path: /a}")),
        ("route_two_bodies", routes("- {path: /a, json: {}, body: a}")),
        ("route_unreachable", routes("- {path: \"/a/{id}\", body: x}\n- {path: \"/a/{name}\", match: {query: {q: 1}}, body: y}")),
        ("route_bad_template", routes("- path: /a\n  json:\n    list: [1, \"{{ 1 + }}\"]")),
        ("route_unknown_variable", routes("- {path: /a, body: \"hello {{ qurey.name }}\"}")),
        ("route_unknown_parameter", routes("- {path: \"/a/{id}\", body: \"{{ path.idd }}\"}")),
        ("route_unknown_filter", routes("- {path: /a, body: \"{{ method | uper }}\"}")),
        ("route_bad_status", routes("- {path: /a, status: 1000}")),
        ("route_empty_sequence", routes("- {path: /a, sequence: []}")),
        ("route_sequence_and_body", routes("- {path: /a, body: x, sequence: [{body: y}]}")),
        ("route_bad_end", routes("- {path: /a, sequence: [{body: y}], end: stop}")),
        ("route_unknown_state", routes("- {path: /a, body: x, state: {name: order, is: created, becomes: paid}}\n- {path: /b, body: x, state: {name: order, is: payed}}")),
        ("route_page_without_items", routes("- {path: /a, page: {size: 5}}")),
        ("route_page_wrong_parameter", routes("- {path: /a, page: {items: [1], style: offset, parameters: {page: p}}}")),
        ("route_every_alone", routes("- {path: /a, events: [{data: x, every: 1s}]}")),
        ("route_bad_match", routes("- {path: /a, body: x, match: {json_path: {\"$.a[\": 1}}}")),
        ("route_file_missing", routes("- {path: /a, file: no-such-file.html}")),
        ("route_file_device", routes("- {path: /a, file: /dev/zero}")),
        ("route_page_folder", routes("- {path: /a, page: {file: src}}")),
        // Rules
        ("rule_without_name", with("", "  - faults: [delay: 1s]\n")),
        ("rule_without_faults", rule("match: {path: /a}\n")),
        ("rule_empty_faults", rule("faults: []\n")),
        ("rule_unknown_key", rule("mach: {path: /a}\nfaults: [delay: 1s]\n")),
        ("rule_faults_and_choose", rule("faults: [delay: 1s]\nchoose: [{weight: 1, faults: [delay: 1s]}]\n")),
        ("rule_duplicate_name", with("", "  - {name: a, faults: [delay: 1s]}\n  - {name: a, faults: [delay: 2s]}\n")),
        ("rule_without_name_and_more", with("", "  - {upstream: tood, faults: [delay: 1]}\n")),
        ("rule_unknown_listener", rule("listener: wbe\nfaults: [delay: 1s]\n")),
        ("rule_shadowed", with("", "  - {name: all, faults: [abort: 500]}\n  - {name: never, faults: [delay: 2s]}\n")),
        ("rule_unreachable_fault", fault("abort: 500\n  - delay: 1s")),
        ("abort_body_of_no_content", fault("abort: {status: 204, body: hello}")),
        ("choose_no_weight", rule("choose: [{weight: 0, faults: [delay: 1s]}]\n")),
        ("choose_nothing", rule("choose: [{weight: 1}]\n")),
        // Match
        ("method_lower_case", matching("{method: purge}")),
        ("openapi_document_as_configuration", "openapi: 3.0.3\ninfo: {title: Shop, version: '1'}\npaths: {}\n".to_owned()),
        ("recording_as_configuration", r#"{"log": {"version": "1.2", "creator": {"name": "x"}, "entries": []}}"#.to_owned()),
        ("braces_within_a_word", "upstreams: {s: {fake: {routes: [{path: /x/{id}, json: 1}]}}}\n".to_owned()),
        ("method_alternatives", matching("{method: \"GET|POST\"}")),
        ("method_any", matching("{method: \"*\"}")),
        ("header_any", matching("{headers: {x-user: \"*\"}, any: [{query: {page: \"*\"}}]}")),
        ("grpc_path_as_method", matching("{grpc: {method: /demo.Greeter/SayHello}}")),
        ("grpc_service_with_slash", matching("{grpc: {service: /demo.Greeter}}")),
        ("path_without_slash", matching("{path: api/*}")),
        ("bad_glob", matching("{path: \"/a/[\"}")),
        ("bad_regex", matching("{path: {regex: \"(\"}}")),
        ("two_patterns", matching("{path: {exact: /a, prefix: /b}}")),
        ("unknown_pattern", matching("{path: {regexp: /a}}")),
        ("bad_network", matching("{client: 10.0.0.0/33}")),
        ("bad_header_name", matching("{headers: {\"x y\": present}}")),
        ("empty_any", matching("{any: []}")),
        ("body_key", matching("{body: {jsn: {a: 1}}}")),
        ("body_empty", matching("{body: {limit: 1KiB}}")),
        ("body_path", matching("{body: {json_path: {\"$.a[\": 1}}}")),
        ("body_graphql", matching("{body: {graphql: {name: A}}}")),
        ("body_graphql_type", matching("{body: {graphql: {operation: A, type: get}}}")),
        ("body_limit", matching("{body: {model: gpt-4*, limit: 1GiB}}")),
        ("body_texts", matching("{body: {text: a, contains: b}}")),
        ("body_of_connections", with("", "  - name: a\n    match: {body: {json: {a: 1}}}\n    faults: [reset: {before: connection}]\n")),
        ("tcp_rule_on_bodies", tcp("match: {body: {contains: a}}\n    faults: [reset: {}]\n")),
        ("match_nothing", matching("{not: {}}")),
        ("path_encoded", matching("{path: \"/a%20b\"}")),
        ("rule_keys_in_match", matching("{upstream: todo, all: [{space: a}], path: /a}")),
        ("conditions_beside_match", rule("body: {contains: a}\nany: [{path: /a}]\npath: /b\nfaults: [delay: 1s]\n")),
        ("upstream_in_the_match_of_a_route", routed("    - {match: {path: /a/**, upstream: shop}}\n")),
        ("unknown_condition", matching("{paths: /a}")),
        // When
        ("percentage_of_a_half", with("stop_when: [errors: 0.05, errors: {above: 0.5}]\nlimits: {share: 0.25}\n", "  - {name: r, when: {percentage: 0.5, limits: {share: \"0.1\"}}, faults: [delay: 1s]}\n  - {name: s, when: {percentage: 0.5%, limits: {share: 1}}, faults: [delay: 1s]}\n")),
        ("percentage_too_large", when("{percentage: 101}")),
        ("percentage_negative", when("{percentage: -1}")),
        ("share_without_sign", fault("drop: 0.1\n  - corrupt: {bytes: 30}\n  - delay: {normal: {mean: 100ms, deviation: 20ms}, correlation: 0.7}")),
        ("path_with_query", matching("{path: \"/api?x=1\"}")),
        ("path_of_a_router", matching("{any: [{path: \"/users/{id}/cart\"}, {not: {path: {prefix: /users/:id}}}]}")),
        ("host_pattern_with_port", matching("{host: {regex: \"^shop:8080\"}}")),
        ("host_prefix_with_port", matching("{host: {prefix: \"shop:8080\"}}")),
        ("percentage_word", when("{percentage: half}")),
        ("unknown_key_kind", when("{key: headers:x}")),
        ("key_without_name", when("{key: \"header:\"}")),
        ("attempts_without_key", when("{attempts: 2}")),
        ("attempts_zero", when("{attempts: 0, key: client}")),
        ("every_zero", when("{every: 0}")),
        ("schedule_never_open", when("{schedule: {duration: 0s}}")),
        ("schedule_overlap", when("{schedule: {duration: 1m, repeat: 10s}}")),
        ("schedule_after_expiry", when("{schedule: {start: 2m}, limits: {expires: 1m}}")),
        ("limit_zero", when("{limits: {total: 0}}")),
        ("requested_reset", rule("when: {requested: true}\nfaults: [reset: {}]\n")),
        // Faults
        ("unknown_fault", fault("dellay: 1s")),
        ("two_faults_in_one", fault("{delay: 1s, abort: 500}")),
        ("delay_without_unit", fault("delay: 200")),
        ("delay_bad_unit", fault("delay: 200 parsecs")),
        ("delay_negative", fault("delay: -1s")),
        ("delay_uniform_reversed", fault("delay: {uniform: [2s, 1s]}")),
        ("delay_jitter_negative", fault("delay: {normal: {mean: 100ms, deviation: 200ms}}")),
        ("delay_two_distributions", fault("delay: {fixed: 1s, uniform: [1s, 2s]}")),
        ("delay_percentiles_fall", fault("delay: {percentiles: {p50: 2s, p99: 1s}}")),
        ("delay_samples_missing", fault("delay: {samples: no-such-file.csv}")),
        ("delay_samples_device", fault("delay: {samples: /dev/zero}")),
        ("delay_unknown_moment", fault("delay: {fixed: 1s, before: bodies}")),
        ("delay_floor_before_body", fault("delay: {fixed: 1s, before: body, mode: floor}")),
        ("delay_direction_of_head", fault("delay: {fixed: 1s, direction: request}")),
        ("delay_correlation_with_key", rule("when: {key: client}\nfaults: [delay: {exponential: {mean: 1s}, correlation: 50%}]\n")),
        ("delay_too_long", fault("delay: 2h")),
        ("abort_bad_status", fault("abort: 99")),
        ("abort_grpc_body", fault("abort: {grpc: UNAVAILABLE, body: text}")),
        ("abort_grpc_retry_after", fault("abort: {grpc: UNAVAILABLE, retry_after: 1s}")),
        ("abort_bad_status_in_map", fault("abort: {status: 5003, body: text}")),
        ("abort_two_bodies", fault("abort: {status: 500, body: a, json: {}}")),
        ("abort_file_missing", fault("abort: {status: 500, file: no-such-file.html}")),
        ("abort_file_device", fault("abort: {status: 500, file: /dev/zero}")),
        ("abort_bad_grpc", fault("abort: {grpc: UNAVAILBLE}")),
        ("abort_framing_header", fault("abort: {status: 500, headers: {content-length: 5}}")),
        ("abort_template", fault("abort: {status: 500, json: {a: [\"{{ request.pth }}\"]}}")),
        ("abort_template_of_routes", fault("abort: {status: 500, body: \"{{ path.id }}\"}")),
        ("abort_template_syntax", fault("abort: {status: 500, headers: {x-a: \"{{ 1 +\"}}")),
        ("abort_problem_and_body", fault("abort: {status: 500, problem: {}, body: a}")),
        ("abort_problem_is_text", fault("abort: {status: 500, problem: broken}")),
        ("abort_retry_after", fault("abort: {status: 500, retry_after: date}")),
        ("abort_retry_after_key", fault("abort: {status: 500, retry_after: {at: 5s}}")),
        ("abort_headers_empty", fault("abort: {status: 500, headers: {set-cookie: []}}")),
        ("abort_echo", fault("abort: {status: 500, echo: [\"x y\"]}")),
        ("quota_bad_grpc", fault("quota: {requests: 1, per: 1m, grpc: EXHAUSTED}")),
        ("concurrency_of_connections", fault("concurrency: {limit: 1, before: connection, problem: {}}")),
        ("abort_unknown_key", fault("abort: {statsu: 500}")),
        ("reset_bad_code", fault("reset: {code: OOPS}")),
        ("quota_by_ordinal", fault("quota: {requests: 1, per: 1s, key: ordinal}")),
        ("quota_missing_per", fault("quota: {requests: 1}")),
        ("concurrency_zero", fault("concurrency: {limit: 0}")),
        ("rewrite_nothing", fault("rewrite: {}")),
        ("rewrite_two_bodies", fault("rewrite: {body: a, json: {}}")),
        ("rewrite_body_and_edit", fault("rewrite: {body: a, replace: [{find: b, with: c}]}")),
        ("rewrite_request_two_bodies", fault("rewrite: {request: {file: a.txt, json: 1}}")),
        ("rewrite_file_missing", fault("rewrite: {file: no/such/file}")),
        ("rewrite_file_folder", fault("rewrite: {file: src}")),
        ("rewrite_bad_regex", fault("rewrite: {replace: [{find: \"(\", with: x}]}")),
        ("rewrite_empty_find", fault("rewrite: {replace: [{find: \"\", with: x}]}")),
        ("rewrite_no_such_group", fault("rewrite: {replace: [{find: \"(a)\", with: $1st}]}")),
        ("rewrite_find_without_with", fault("rewrite: {replace: [{find: a}]}")),
        ("rewrite_unknown_operation", fault("rewrite: {json_patch: [{op: set, path: /a, value: 1}]}")),
        ("rewrite_bad_pointer", fault("rewrite: {json_patch: [{op: remove, path: /a}, {op: remove, path: a}]}")),
        ("rewrite_patch_without_value", fault("rewrite: {request: {json_patch: [{op: add, path: /a}]}}")),
        ("rewrite_patch_with_from", fault("rewrite: {json_patch: [{op: add, path: /a, from: /b, value: 1}]}")),
        ("rewrite_limit_too_large", fault("rewrite: {limit: 1GiB, replace: [{find: a, with: b}]}")),
        ("rewrite_limit_of_nothing", fault("rewrite: {limit: 1KiB, status: 200}")),
        ("rewrite_body_of_204", fault("rewrite: {status: 204, body: text}")),
        ("duplicate_limit", fault("duplicate: {limit: 0}")),
        ("duplicate_limit_of_messages", fault("duplicate: {every: 3, limit: 1KiB}")),
        ("profile_unknown", fault("profile: 6g")),
        // Faults in bodies and streams
        // Connections and handshakes
        ("connection_mixed", fault("close: {before: connection}\n  - abort: 500")),
        ("connection_path", rule("match: {client: 10.0.0.0/8, any: [{path: /a}, {client: 10.1.0.0/16}]}\nfaults: [close: {before: connection}]\n")),
        ("connection_host", rule("match: {host: a.test}\nfaults: [close: {before: connection}]\n")),
        ("connection_key", rule("when: {percentage: 10, key: \"header:x-user\"}\nfaults: [close: {before: connection}]\n")),
        ("connection_requested", rule("when: {requested: true}\nfaults: [delay: {fixed: 1s, before: connection}]\n")),
        ("connection_delay_mode", fault("delay: {fixed: 1s, before: connection, mode: total}")),
        ("connection_delay_direction", fault("delay: {fixed: 1s, before: connection, direction: request}")),
        ("connection_reset_code", fault("reset: {before: connection, code: CANCEL}")),
        ("connection_concurrency_status", fault("concurrency: {limit: 1, before: connection, status: 429}")),
        ("connection_shadowed", with("", "  - {name: all, faults: [close: {before: connection}]}\n  - {name: never, faults: [delay: {fixed: 1s, before: connection}]}\n")),
        ("connection_unreachable", fault("close: {before: connection}\n  - delay: {fixed: 1s, before: connection}")),
        ("handshake_headers", https("faults: [close: {before: handshake}]\nmatch: {not: {headers: {x-a: present}}}\n")),
        ("handshake_without_tls", fault("certificate: expired")),
        ("handshake_at_a_plain_listener", https("listener: plain\nfaults: [hang: {before: handshake}]\n")),
        ("handshake_concurrency", fault("concurrency: {limit: 1, before: handshake}")),
        ("hang_before_response", fault("hang: {before: response}")),
        ("certificate_unknown", fault("certificate: revoked")),
        ("tls_nothing", tls("{}")),
        ("tls_without_key", tls("{certificate: config/examples/localhost.pem}")),
        ("tls_two_forms", tls("{certificate: a.pem, key: a.key, certificates: [{certificate: a.pem, key: a.key}]}")),
        ("tls_no_certificates", tls("{certificates: []}")),
        ("tls_list_unreadable", tls("{certificates: [{certificate: config/examples/localhost.pem, key: config/examples/localhost.key}, {certificate: no.pem, key: no.key}]}")),
        ("tls_devices", tls("{certificate: /dev/zero, key: /dev/zero}")),
        ("tls_key_device", tls("{certificate: config/examples/localhost.pem, key: /dev/zero}")),
        ("tls_client_ca_folder", tls("{certificate: config/examples/localhost.pem, key: config/examples/localhost.key, client_ca: src}")),
        ("upstream_ca_device", "listeners:\n  web: {address: 127.0.0.1:1, upstream: e}\nupstreams:\n  e: {url: 'https://127.0.0.1:1', tls: {ca: /dev/zero}}\n".into()),
        ("fault_ca_unreadable", with("fault_ca: {certificate: no.pem, key: no.key}\n", "  []\n")),
        ("fault_ca_device", with("fault_ca: {certificate: /dev/zero, key: src}\n", "  []\n")),
        ("fault_ca_no_authority", with("fault_ca: {certificate: config/examples/localhost.pem, key: config/examples/localhost.key}\n", "  []\n")),
        ("reset_before_body", fault("reset: {before: body}")),
        ("body_fault_overtaken", fault("truncate: 50%\n  - bandwidth: {request: 1KiB/s}\n  - abort: {status: 500, before: response}")),
        ("bandwidth_zero", fault("bandwidth: 0B/s")),
        ("bandwidth_without_unit", fault("bandwidth: 64")),
        ("bandwidth_nothing", fault("bandwidth: {scope: rule}")),
        ("bandwidth_unknown_key", fault("bandwidth: {respnse: 64KiB/s}")),
        ("bandwidth_unknown_scope", fault("bandwidth: {response: 64KiB/s, scope: connections}")),
        ("bandwidth_requested_shared", rule("when: {requested: true}\nfaults: [bandwidth: {response: 1KiB/s, scope: rule}]\n")),
        ("bandwidth_requested_request", rule("when: {requested: true}\nfaults: [bandwidth: {request: 1KiB/s}]\n")),
        ("dribble_two_forms", fault("dribble: {chunk: 64B, chunks: 10, gap: 100ms}")),
        ("dribble_without_gap", fault("dribble: {chunk: 64B}")),
        ("dribble_empty_chunk", fault("dribble: {chunk: 0B, gap: 100ms}")),
        ("dribble_one_chunk", fault("dribble: {chunks: 1, over: 5s}")),
        ("stall_place", fault("stall: lunch")),
        ("stall_no_limit", fault("stall: {limit: 0s}")),
        ("stall_resume_never", fault("stall: {after: 1KiB, end: resume}")),
        ("stall_too_long", fault("stall: {limit: 2h}")),
        ("truncate_nowhere", fault("truncate: {end: clean}")),
        ("truncate_all", fault("truncate: 100%")),
        ("truncate_share_too_large", fault("truncate: 150%")),
        ("truncate_half_an_event", fault("truncate: 2.5 events")),
        ("truncate_two_counts", fault("truncate: {after: {events: 3, messages: 3}}")),
        ("truncate_code_with_close", fault("truncate: {after: 50%, end: close, code: CANCEL}")),
        ("truncate_bad_code", fault("truncate: {after: 50%, code: CANCELED}")),
        ("truncate_grpc_with_reset", fault("truncate: {after: 3 messages, end: reset, grpc: UNAVAILABLE}")),
        ("truncate_grpc_request", fault("truncate: {after: 3 messages, grpc: UNAVAILABLE, direction: request}")),
        ("truncate_close_code_range", fault("truncate: {after: 3 messages, close_code: 999}")),
        ("truncate_close_code_reserved", fault("truncate: {after: 3 messages, close_code: 1006}")),
        ("truncate_long_reason", fault(&format!("truncate: {{after: 1, reason: {}}}", "x".repeat(124)))),
        ("truncate_unknown_end", fault("truncate: {after: 50%, end: claen}")),
        ("corrupt_nothing", fault("corrupt: {}")),
        ("corrupt_short", fault("corrupt: 1%")),
        ("corrupt_no_bytes", fault("corrupt: {bytes: 0%}")),
        ("corrupt_no_messages", fault("corrupt: {messages: 0%}")),
        ("corrupt_unknown_malformed", fault("corrupt: {malformed: statusline}")),
        ("corrupt_two_kinds", fault("corrupt: {bytes: 1%, malformed: json}")),
        ("corrupt_right_length", fault("corrupt: {malformed: content-length, difference: 0}")),
        ("corrupt_request_line", fault("corrupt: {malformed: status-line, direction: request}")),
        ("drop_nothing", fault("drop: {direction: request}")),
        ("drop_none", fault("drop: 0%")),
        ("drop_every_zero", fault("drop: {every: 0}")),
        ("drop_share_and_every", fault("drop: {messages: 10%, every: 3}")),
        ("drop_unknown_direction", fault("drop: {every: 3, direction: upstream}")),
        ("duplicate_short", fault("duplicate: 10%")),
        ("duplicate_direction", fault("duplicate: {direction: request}")),
        // Several at once
        ("all_at_once", with("", "  - name: a\n    match: {method: purge, paths: /x}\n    faults: [dellay: 1s]\n  - name: b\n    when: {percentage: 101}\n    faults: [abort: 99]\n")),
    ]
}

#[test]
fn every_mistake_is_explained() {
    let mut errors = 0;
    for (name, yaml) in &cases() {
        let report = report(yaml);
        assert_ne!(report, "no error", "{name} is accepted:\n{yaml}");
        errors += usize::from(report.contains("error: "));
        insta::with_settings!({description => yaml, omit_expression => true, prepend_module_to_snapshot => false}, {
            insta::assert_snapshot!(*name, report);
        });
    }
    assert!(errors >= 120, "only {errors} of the cases are errors");
}
