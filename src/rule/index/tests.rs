use super::*;
use crate::rule::spec::MatchSpec;
use crate::yaml::decode::decode;
use crate::yaml::report::Sources;
use crate::yaml::tree::{add_source, parse};
use http::{HeaderMap, Method};
use proptest::prelude::*;

pub(in crate::rule) fn condition(json: serde_json::Value) -> Condition {
    let (mut sources, mut diagnostics) = (Sources::default(), Vec::new());
    let source = add_source(
        &mut sources,
        "test",
        json.to_string().into_bytes(),
        ".",
        &mut diagnostics,
    )
    .unwrap();
    let node = parse(&sources, source, Some(&|_| None), &mut diagnostics).unwrap();
    let spec: MatchSpec = decode(&node, &mut diagnostics).unwrap();
    let mut mistakes = Vec::new();
    let condition = Condition::compile(&spec, &mut mistakes);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    condition
}

fn index(conditions: &[Condition]) -> Index {
    Index::build((0u32..).zip(conditions))
}

#[test]
fn ten_thousand_rules_bring_few_candidates() {
    let conditions: Vec<Condition> = (0..10_000)
        .map(|i| {
            condition(match i % 8 {
                0 => serde_json::json!({"path": format!("/exact/{i}")}),
                1 => serde_json::json!({"path": format!("/api/*/glob-{i}/**")}),
                2 => serde_json::json!({"path": {"prefix": format!("/prefix/{i}/")}}),
                3 => serde_json::json!({"path": {"regex": format!("^/re-{i}/[0-9]+$")}}),
                4 => serde_json::json!({"headers": {"x-tenant": format!("t{i}")}, "method": "GET"}),
                5 => serde_json::json!({"host": format!("h{i}.example.com")}),
                6 => serde_json::json!({"client": format!("10.{}.{}.0/24", i / 256, i % 256)}),
                _ => serde_json::json!({"query": {"id": i.to_string()}, "path": "/**"}),
            })
        })
        .collect();
    let index = index(&conditions);
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", "none".parse().unwrap());
    headers.insert("host", "shop.example.com".parse().unwrap());
    let client = Some("127.0.0.1".parse().unwrap());
    let head = Head::new(&Method::GET, "/api/v1/nothing?id=x", None, &headers, client);
    assert_eq!(index.candidates(&head).as_slice(), &[] as &[u32]);
    let head = Head::new(&Method::GET, "/api/v1/glob-9?id=7", None, &headers, client);
    assert_eq!(index.candidates(&head).as_slice(), &[7, 9]);
}

#[test]
fn a_connection_meets_only_conditions_on_its_client_and_its_server_name() {
    let head = Head::of_connection("10.0.0.1".parse().ok(), Some("shop.example.com"));
    for (json, expect) in [
        (serde_json::json!({}), true),
        (serde_json::json!({"client": "10.0.0.0/8"}), true),
        (serde_json::json!({"client": "11.0.0.0/8"}), false),
        (serde_json::json!({"host": "*.example.com"}), true),
        (serde_json::json!({"host": "other.com"}), false),
        (serde_json::json!({"host": "*.example.com:443"}), false),
        (serde_json::json!({"method": "GET"}), false),
        (serde_json::json!({"path": "/**"}), false),
        (serde_json::json!({"headers": {"x": "absent"}}), false),
        (serde_json::json!({"query": {"x": "absent"}}), false),
        (serde_json::json!({"cookies": {"x": "absent"}}), false),
        (serde_json::json!({"grpc": {}}), false),
        (serde_json::json!({"not": {"method": "GET"}}), true),
    ] {
        let condition = condition(json.clone());
        assert_eq!(condition.matches(&head), expect, "{json}");
        assert_eq!(condition.failures(&head).is_empty(), expect, "{json}");
    }
}

#[test]
fn any_is_filed_under_all_its_branches() {
    let conditions = [
        condition(serde_json::json!({"any": [{"path": "/a"}, {"headers": {"x": "1"}}]})),
        condition(serde_json::json!({"any": [{"path": "/a"}, {"method": "GET"}]})),
    ];
    let index = index(&conditions);
    let headers = HeaderMap::new();
    let candidates = |path| index.candidates(&Head::new(&Method::GET, path, None, &headers, None));
    assert_eq!(candidates("/a").as_slice(), &[0, 1]);
    assert_eq!(candidates("/b").as_slice(), &[1]);
}

proptest! {
    /// The index never loses a rule that matches.
    #[test]
    fn candidates_are_a_superset(
        patterns in proptest::collection::vec("(/[ab*]{0,2}){1,3}(/\\*\\*)?", 1..40),
        path in "(/[ab]{0,2}){1,4}",
    ) {
        let conditions: Vec<Condition> =
            patterns.iter().map(|pattern| condition(serde_json::json!({"path": pattern}))).collect();
        let index = index(&conditions);
        let headers = HeaderMap::new();
        let head = Head::new(&Method::GET, &path, None, &headers, None);
        let candidates = index.candidates(&head);
        for (id, condition) in (0u32..).zip(&conditions) {
            if condition.matches(&head) {
                prop_assert!(candidates.contains(&id), "{path} lost {condition}");
            }
        }
    }
}
