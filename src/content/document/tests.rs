use std::io::Write as _;

use proptest::prelude::*;

use super::*;

fn written(node: &Node<'_>) -> String {
    let mut text = Vec::new();
    node.write(&mut text).unwrap();
    text.flush().unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn text_is_kept() {
    for text in [
        r#"{"a":18446744073709551617,"b":19.990,"c":1E3,"d":-0,"e":1e400,"f":123456789012345678901234567890}"#,
        r#"["\ud800","\u00e9","é","a \" b","{","]"]"#,
        r#"{"a":1,"a":2}"#,
        "[]",
        "{}",
        r#""a b""#,
        "1.50",
    ] {
        let mut node = Node::parse(text.as_bytes()).unwrap();
        assert_eq!(written(&node), text);
        assert_eq!(written(node.opened()), text);
    }
    let spaced = Node::parse(b" { \"a b\" : [ 1 ,\n2 ] , \"c\":{ } } \r\n").unwrap();
    assert_eq!(written(&spaced), r#"{"a b":[1,2],"c":{}}"#);
    assert_eq!(written(spaced.clone().opened()), r#"{"a b":[1,2],"c":{}}"#);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(written(&Node::parse(deep.as_bytes()).unwrap()), deep);
}

#[test]
fn what_is_not_json() {
    for text in [
        "", "[", "[1,]", "{a:1}", "01", "nul", "[] []", "\"\\x\"", "\"\n\"", "\u{a0}1", "1.", "[1}",
    ] {
        assert_eq!(Node::parse(text.as_bytes()), None, "{text}");
    }
    assert_eq!(Node::parse(b"\"\xff\""), None);
}

#[test]
fn compares_by_value() {
    let text = r#"{"a\u0062": [1.0, {"x": "\u0031", "y": null}], "n": 9007199254740993, "z": true}"#;
    let node = Node::parse(text.as_bytes()).unwrap();
    let check = |wanted: Value, is: bool, has: bool| {
        assert_eq!((node.is(&wanted), node.has(&wanted)), (is, has), "{wanted}");
        assert_eq!(node.clone().opened().is(&wanted), is, "{wanted}");
    };
    let whole = serde_json::json!({"z": true, "n": 9_007_199_254_740_993_u64, "ab": [1, {"y": null, "x": "1"}]});
    check(whole, true, true);
    check(serde_json::json!({"z": true}), false, true);
    check(serde_json::json!({"ab": [1, {"x": "1"}]}), false, true);
    check(serde_json::json!({"ab": [1]}), false, false);
    check(serde_json::json!({"n": 9_007_199_254_740_992.0}), false, false);
    check(serde_json::json!({"n": "9007199254740993"}), false, false);
    check(serde_json::json!([1]), false, false);
    check(Value::Null, false, false);
}

proptest! {
    /// Whatever a parser of values reads from a document, it reads from what is written again.
    #[test]
    fn written_as_it_was(text in r#"[\[\]{}:,"\\u0-9a-f. \n-]{0,40}"#) {
        if let Some(mut node) = Node::parse(text.as_bytes()) {
            let parsed = serde_json::from_str::<Value>(&text).ok();
            prop_assert_eq!(serde_json::from_str(&written(&node)).ok(), parsed.clone());
            prop_assert_eq!(serde_json::from_str(&written(node.opened())).ok(), parsed);
        }
    }

    #[test]
    fn values_are_themselves(value in value()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let mut node = Node::parse(text.as_bytes()).unwrap();
        prop_assert!(node.is(&value));
        prop_assert_eq!(written(node.opened()), value.to_string());
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,3}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}
