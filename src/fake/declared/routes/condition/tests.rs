use super::*;
use crate::yaml::decode::decode;
use crate::yaml::report::Sources;
use crate::yaml::tree;

fn compile(yaml: &str) -> Result<Condition, Vec<Diagnostic>> {
    let mut sources = Sources::default();
    let mut mistakes = Vec::new();
    let source = sources.add("test.yaml", yaml, ".");
    let node = tree::parse(&sources, source, Some(&|_| None), &mut mistakes).unwrap();
    let spec: Spanned<RouteMatchSpec> = decode(&node, &mut mistakes).unwrap();
    let condition = Condition::compile(&spec, &mut mistakes);
    if mistakes.is_empty() {
        Ok(condition)
    } else {
        Err(mistakes)
    }
}

fn holds(yaml: &str, body: &str) -> bool {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-a", "1".parse().unwrap());
    let head = Head::new(&http::Method::POST, "/p?q=1", None, &headers, None);
    compile(yaml).unwrap().holds(
        &head,
        &Content::new(&headers, bytes::Bytes::copy_from_slice(body.as_bytes()), 1000),
    )
}

#[test]
fn heads_and_bodies() {
    let body = r#"{"type": "card", "items": [{"id": 1}, {"id": 2}], "n": 5.0, "x y": null}"#;
    for (yaml, expect) in [
        ("headers: {x-a: 1}", true),
        ("headers: {x-a: absent}", false),
        ("query: {q: 1}", true),
        ("body: {contains: card}", true),
        ("body: card", false),
        ("json: {type: card}", true),
        ("json: {type: cash}", false),
        ("json: {n: 5}", true),
        ("json: {items: [{id: 1}, {}]}", true),
        ("json: {items: [{id: 1}]}", false),
        ("json_path: {'$.items[1].id': 2}", true),
        ("json_path: {'items[*].id': 2}", true),
        ("json_path: {'$.items[*].id': 3}", false),
        ("json_path: {\"$['x y']\": present}", true),
        ("json_path: {\"$.nothing\": absent}", true),
        ("json_path: {\"$.type\": {regex: '^c'}}", true),
        ("any: [{query: {q: 2}}, {json: {type: card}}]", true),
        ("not: {json: {type: card}}", false),
    ] {
        assert_eq!(holds(yaml, body), expect, "{yaml}");
    }
    assert!(holds("form: {a: 'b c'}", "x=1&a=b+c"));
    assert!(!holds("json: {}", "no json"));
}

#[test]
fn only_conditions_on_bodies_need_them() {
    assert!(!compile("query: {q: 1}").unwrap().needs_body());
    assert!(compile("not: {any: [{form: {a: present}}]}").unwrap().needs_body());
}

#[test]
fn paths_into_json() {
    for (path, expect) in [
        ("$.a[0]['b.c'].*", true),
        ("a[0]", true),
        ("$..a", true),
        ("$.a[?@.b > 1]", true),
        ("$.a[", false),
        ("$.a[x]", false),
        ("a...b", false),
        ("$a", false),
    ] {
        let yaml = format!("json_path: {{\"{path}\": present}}");
        assert_eq!(compile(&yaml).is_ok(), expect, "{path}");
    }
}
