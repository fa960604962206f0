//! What is masked, and what is not.

use serde_json::json;

use super::*;

fn masks() -> Masks {
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut masks = Masks::of_variables(vec![
        variable("TOKEN", "s3cr3t-of-12"),
        variable("LONGER", "s3cr3t-of-12-and-more"),
        variable("QUOTED", "a\"b\nc-secret"),
        variable("SCHEME", "http"),
        variable("PORT", "8080"),
        variable("WAIT", "1500ms"),
        variable("RATE", "20KiB/s"),
        variable("LIKE", "12abc"),
        variable("ON", "true"),
        variable("TINY", "abc"),
    ]);
    masks.add("typed-secret".into(), None);
    masks
}

#[test]
fn secrets_are_replaced_in_texts() {
    let masks = masks();
    for (text, shown) in [
        ("Bearer s3cr3t-of-12", "Bearer ${TOKEN}"),
        ("xs3cr3t-of-12-and-morex", "x${LONGER}x"),
        ("is \"a\\\"b\\nc-secret\"", "is \"${QUOTED}\""),
        ("http://a, https://b", "${SCHEME}://a, https://b"),
        (
            "8080 1500ms 20KiB/s true abc 12abc",
            "8080 1500ms 20KiB/s true abc ${LIKE}",
        ),
        ("a typed-secret", "a ***"),
        ("${TOKEN}", "${TOKEN}"),
    ] {
        assert_eq!(masks.text(text), shown);
    }
}

#[test]
fn fields_for_secrets_are_hidden_whatever_they_have() {
    let value = json!({
        "headers": {"set": {"Authorization": "x", "accept": "x", "x-api-key": ["x", "Bearer s3cr3t-of-12"]}},
        "match": {"headers": {"cookie": "present", "x-token": {"prefix": "x"}}, "query": {"password": "x", "q": "x"}},
        "token": "x",
        "fake": {"match": {"headers": {"authorization": "x"}}, "headers": {"set-cookie": "x"}},
    });
    let shown = json!({
        "headers": {"set": {"Authorization": "***", "accept": "x", "x-api-key": ["***", "Bearer ${TOKEN}"]}},
        "match": {"headers": {"cookie": "present", "x-token": {"prefix": "***"}}, "query": {"password": "***", "q": "x"}},
        "token": "x",
        "fake": {"match": {"headers": {"authorization": "***"}}, "headers": {"set-cookie": "x"}},
    });
    assert_eq!(masks().json(&value).unwrap(), shown);
}

#[test]
fn yaml_names_its_variables_and_escapes_what_only_looks_so() {
    let value = json!({"a": "s3cr3t-of-12", "b": "Bearer s3cr3t-of-12: x # y", "c": "${TOKEN}", "d": ["typed-secret"]});
    let yaml = masks().yaml(&value).unwrap();
    assert_eq!(
        yaml,
        "a: ${TOKEN}\nb: 'Bearer ${TOKEN}: x # y'\nc: $${TOKEN}\nd:\n- '***'\n"
    );
}
