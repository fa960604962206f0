use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::*;
use crate::yaml::decode::decode;
use crate::yaml::report::Sources;
use crate::yaml::tree;

fn conditions(yaml: &str) -> Result<Vec<BodyCondition>, String> {
    let (mut sources, mut diagnostics) = (Sources::default(), Vec::new());
    let source = sources.add("test.yaml", yaml, ".");
    let node = tree::parse(&sources, source, Some(&|_| None), &mut diagnostics).unwrap();
    let spec: Option<Spanned<BodySpec>> = decode(&node, &mut diagnostics);
    let mut mistakes = Vec::new();
    let compiled = spec.map(|spec| compile(&spec, &mut mistakes));
    match (compiled, mistakes.as_slice()) {
        (Some(compiled), []) => Ok(compiled),
        (_, mistakes) => Err(format!("{diagnostics:?} {mistakes:?}")),
    }
}

fn content(kind: &str, body: &str) -> Content {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
    Content::new(&headers, Bytes::copy_from_slice(body.as_bytes()), usize::MAX)
}

/// Why a body does not match; empty if it does.
fn failure(yaml: &str, content: &Content) -> String {
    let conditions = conditions(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"));
    let failed = conditions
        .iter()
        .filter_map(|one| Some(format!("{one}: {}", one.check(content).err()?)));
    failed.collect::<Vec<_>>().join("; ")
}

#[test]
fn parts_of_bodies() {
    let json = content(
        "application/json",
        r#"{"type": "card", "items": [{"id": 1}, {"id": 2.5}], "n": 5.0, "big": 9007199254740993, "x y": null, "model": "gpt-4o"}"#,
    );
    let form = content("application/x-www-form-urlencoded", "a=b+c&d=&a=2");
    for (yaml, content, expect) in [
        ("{contains: card}", &json, ""),
        ("{text: {regex: '^.\"type'}}", &json, ""),
        ("card", &json, "body exact `card`: differs"),
        ("{json: {type: card, n: 5}}", &json, ""),
        ("{json: {items: [{}, {id: 2.5}]}}", &json, ""),
        (
            "{json: {items: [{id: 1}]}}",
            &json,
            "body json `{\"items\":[{\"id\":1}]}`: differs",
        ),
        ("{json: {big: 9007199254740993}}", &json, ""),
        (
            "{json: {big: 9007199254740992}}",
            &json,
            "body json `{\"big\":9007199254740992}`: differs",
        ),
        (
            "{json: {big: 9007199254740992.0}}",
            &json,
            "body json `{\"big\":9007199254740992.0}`: differs",
        ),
        (
            "{json: {n: 123456789012345678}}",
            &content("a/b", r#"{"n": 123456789012345679.0}"#),
            "body json `{\"n\":123456789012345678}`: differs",
        ),
        (
            "{json: {n: 1}}",
            &content("a/b", r#"{"n": 1.0, "p": 1e400, "q": "\ud800"}"#),
            "",
        ),
        ("{json: {n: '5'}}", &json, "body json `{\"n\":\"5\"}`: differs"),
        ("{json_path: {n: '5'}}", &json, ""),
        ("{json: {x y: null}}", &json, ""),
        ("{json: null}", &content("a/b", "null"), ""),
        ("{json_path: {'$.items[*].id': 1}}", &json, ""),
        ("{json_path: {'$.items[*].id': 1.0}}", &json, ""),
        ("{json_path: {'$.items[?@.id > 2].id': 2.5}}", &json, ""),
        (
            "{json_path: {'$..id': 3}}",
            &json,
            "body json_path `$..id` `3`: differs",
        ),
        ("{json_path: {'type': {prefix: c}}}", &json, ""),
        ("{json_path: {\"$['x y']\": present, $.none: absent}}", &json, ""),
        (
            "{json_path: {$.none: 1}}",
            &json,
            "body json_path `$.none` `1`: has nothing at `$.none`",
        ),
        ("{form: {a: b c, d: '', e: absent}}", &form, ""),
        ("{form: {a: {regex: '^[0-9]$'}}}", &form, ""),
        ("{form: {x: present}}", &form, "body form x present: has no field `x`"),
        ("{model: gpt-4*}", &json, ""),
        (
            "{model: claude-*}",
            &json,
            "body model `claude-*`: has the model `gpt-4o`",
        ),
        (
            "{model: gpt, json: {n: 6}}",
            &json,
            "body json `{\"n\":6}`: differs; body model `gpt`: has the model `gpt-4o`",
        ),
        (
            "{json: {a: 1}}",
            &form,
            "body json `{\"a\":1}`: is not valid JSON: expected value at line 1 column 1",
        ),
        (
            "{json_path: {$.a: absent}}",
            &form,
            "body json_path `$.a` absent: is not valid JSON: expected value at line 1 column 1",
        ),
        (
            "{contains: b, limit: 11B}",
            &form,
            "body contains `b`: is longer than the limit of 11B",
        ),
        ("{contains: b, limit: 12B}", &form, ""),
    ] {
        assert_eq!(failure(yaml, content), expect, "{yaml}");
    }
}

#[test]
fn graphql_by_name_and_type() {
    let query = content("application/json", r#"{"query": "query GetUser { a }"}"#);
    let batch = content(
        "application/json",
        r#"[{"query": "query GetUser { a }"}, {"query": "mutation { b }"}]"#,
    );
    for (yaml, content, expect) in [
        ("{graphql: GetUser}", &query, ""),
        ("{graphql: Get*}", &query, ""),
        ("{graphql: {operation: GetUser, type: query}}", &query, ""),
        (
            "{graphql: {type: [mutation, subscription]}}",
            &query,
            "body graphql mutation subscription: has the query `GetUser`",
        ),
        ("{graphql: {}}", &query, ""),
        ("{graphql: {type: mutation}}", &batch, ""),
        (
            "{graphql: {operation: GetUser, type: mutation}}",
            &batch,
            "body graphql mutation `GetUser`: has the query `GetUser`",
        ),
        (
            "{graphql: X}",
            &content("application/json", "{}"),
            "body graphql `X`: is not a GraphQL request with one operation",
        ),
    ] {
        assert_eq!(failure(yaml, content), expect, "{yaml}");
    }
}

#[test]
fn what_can_not_be_asked() {
    for (yaml, part) in [
        ("{}", "what the body must have is missing"),
        ("{limit: 1KiB}", "what the body must have is missing"),
        ("{text: a, limit: 0}", "`limit: 0B` is out of range: use 1B to 64MiB"),
        ("{text: a, contains: b}", "`text` is a comparison of the body already"),
        ("{prefix: a, suffix: b}", "more than one comparison"),
        ("{jason: {}}", "jason"),
        ("{json_path: {'$.a[': 1}}", "`$.a[` is not a valid JSONPath (RFC 9535)"),
        ("{graphql: {name: A}}", "name"),
        ("{graphql: {type: get}}", "get"),
        ("{text: {regex: '('}}", "regular expression"),
    ] {
        let error = conditions(yaml).map(drop).unwrap_err();
        assert!(error.contains(part), "{yaml}: {error}");
    }
}
