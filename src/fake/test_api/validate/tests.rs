use proptest::prelude::*;
use serde_json::json;

use super::*;

fn delay(query: &str) -> Result<Option<i64>, String> {
    let uri = format!("/?{query}").parse().unwrap();
    let mut parameters = QueryParameters::of(&uri);
    let delay = parameters.integer("delay", 1..=10);
    parameters
        .finish()
        .map(|()| delay)
        .map_err(|problems| serde_json::to_string(&problems).unwrap())
}

#[test]
fn integers_are_read_as_python_reads_them() {
    assert_eq!(delay("x=1"), Ok(None));
    for three in [
        "delay=3",
        "delay=%203+",
        "delay=+3",
        "delay=%2B3",
        "delay=003",
        "delay=99&delay=3",
    ] {
        assert_eq!(delay(three), Ok(Some(3)), "{three}");
    }
    assert_eq!(delay("delay=1_0"), Ok(Some(10)));
    for wrong in [
        "delay",
        "delay=",
        "delay=abc",
        "delay=1.0",
        "delay=_1",
        "delay=1__0",
        "delay=--1",
        "delay=%FF",
    ] {
        assert!(delay(wrong).unwrap_err().contains("type_error.integer"), "{wrong}");
    }
    assert!(delay("delay=99999999999999999999999").unwrap_err().contains("not_le"));
    assert!(delay("delay=-99999999999999999999999").unwrap_err().contains("not_ge"));
}

#[test]
fn any_text_is_a_boolean() {
    for (text, expected) in [
        ("1", true),
        ("TRUE", true),
        ("oN", true),
        ("yes", true),
        ("0", false),
        ("2", false),
    ] {
        let uri = format!("/?complete={text}").parse().unwrap();
        assert_eq!(QueryParameters::of(&uri).boolean("complete"), Some(expected), "{text}");
    }
    let uri = "/?complete".parse().unwrap();
    assert_eq!(QueryParameters::of(&uri).boolean("complete"), Some(false));
    assert_eq!(QueryParameters::of(&uri).boolean("active"), None);
}

fn fields(body: Option<Value>) -> String {
    let mut fields = Fields::new("todo", body, Problems::default());
    fields.required("title");
    fields.optional("description");
    fields.optional_date("dateDue");
    fields.finish().map_or_else(
        |problems| serde_json::to_string(&problems).unwrap(),
        |()| "fine".to_owned(),
    )
}

#[test]
fn bodies_are_as_lenient_and_as_strict_as_the_original() {
    assert_eq!(fields(Some(json!({"title": "t", "more": 1}))), "fine");
    assert_eq!(
        fields(Some(json!({"title": 1, "description": null, "dateDue": null}))),
        "fine"
    );
    assert_eq!(
        fields(None),
        r#"{"detail":[{"loc":["body","todo"],"msg":"field required","type":"value_error.missing"}]}"#
    );
    assert_eq!(
        fields(Some(json!("text"))),
        r#"{"detail":[{"loc":["body","todo"],"msg":"value is not a valid dict","type":"type_error.dict"}]}"#
    );
    assert_eq!(
        fields(Some(json!({"title": null, "description": []}))),
        concat!(
            r#"{"detail":[{"loc":["body","todo","title"],"msg":"none is not an allowed value","#,
            r#""type":"type_error.none.not_allowed"},"#,
            r#"{"loc":["body","todo","description"],"msg":"str type expected","type":"type_error.str"},"#,
            r#"{"loc":["body","todo","description"],"msg":"value is not none","type":"type_error.none.allowed"}]}"#
        )
    );
    assert!(fields(Some(json!({"title": "t", "dateDue": "2019-06-01"}))).contains("invalid datetime format"));
}

proptest! {
    #[test]
    fn no_integer_text_panics(text in "\\PC{0,30}") {
        let _ = parse_integer(&text);
    }

    #[test]
    fn every_integer_is_read_back(number: i64) {
        prop_assert_eq!(parse_integer(&number.to_string()), Some(number.max(-i64::MAX)));
    }
}
