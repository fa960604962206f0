use super::*;
use crate::fake::made_up::dice::Stream;

fn field(name: &str, json: Value) -> Field {
    let long: FieldLong = serde_json::from_value(json).unwrap();
    let mut mistakes = Vec::new();
    let field = Field::read(&Spanned::nowhere(name.to_owned()), &long, &mut mistakes);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    field
}

#[test]
fn values_that_do_not_fit_are_told_why() {
    use serde_json::json;
    for (spec, value, expected) in [
        (json!({"type": "string"}), json!(1), Some("must be a string")),
        (json!({"type": "string"}), json!(null), None),
        (
            json!({"type": "string", "required": true}),
            json!(null),
            Some("must not be null"),
        ),
        (json!({"type": "integer"}), json!(1.5), Some("must be an integer")),
        (json!({"type": "integer"}), json!(2.0), None),
        (
            json!({"type": "number", "minimum": 0}),
            json!(-1),
            Some("must be at least 0"),
        ),
        (
            json!({"type": "number", "maximum": 5}),
            json!(5.1),
            Some("must be at most 5"),
        ),
        (
            json!({"enum": ["red", 1]}),
            json!("blue"),
            Some("must be one of \"red\", 1"),
        ),
        (json!({"enum": ["red", 1]}), json!(1.0), None),
        (
            json!({"type": "date-time"}),
            json!("2019-03-28"),
            Some("must be a date and time such as 2019-03-28T08:30:00Z"),
        ),
        (
            json!({"type": "date"}),
            json!("2019-02-29"),
            Some("must be a date such as 2019-03-28"),
        ),
        (
            json!({"type": "email"}),
            json!("a b@c"),
            Some("must be an email address"),
        ),
        (
            json!({"type": "url"}),
            json!("nowhere"),
            Some("must be an absolute URL"),
        ),
        (json!({"type": "uuid"}), json!("x"), Some("must be a UUID")),
        (
            json!({"max_length": 2}),
            json!("\u{e9}\u{e9}\u{e9}"),
            Some("must have at most 2 characters"),
        ),
        (
            json!({"type": "array", "min_length": 1}),
            json!([]),
            Some("must have at least 1 items"),
        ),
        (json!({"pattern": "^a+$"}), json!("ab"), Some("must match ^a+$")),
    ] {
        assert_eq!(
            field("f", spec.clone()).problem(&value).as_deref(),
            expected,
            "{spec} {value}"
        );
    }
}

#[test]
fn made_up_values_fit() {
    use serde_json::json;
    for (name, _) in FieldKind::ALL {
        for more in [json!({}), json!({"unique": true})] {
            let mut spec = more.as_object().unwrap().clone();
            spec.insert("type".into(), json!(name));
            let field = field("some_name", Value::Object(spec));
            for index in 0..50 {
                let value = field.made_up(index, &mut Dice::new(3, Stream::Rows, index as u64));
                assert_eq!(field.problem(&value), None, "{name}: {value}");
            }
        }
    }
    let narrow = field("n", json!({"type": "string", "min_length": 40, "max_length": 41}));
    let count = field("n", json!({"type": "integer", "minimum": -3, "maximum": -3}));
    let high = field("n", json!({"type": "number", "maximum": -7.5}));
    for index in 0..50 {
        let dice = &mut Dice::new(3, Stream::Rows, index as u64);
        for field in [&narrow, &count, &high] {
            let value = field.made_up(index, dice);
            assert_eq!(field.problem(&value), None, "{value}");
        }
    }
}
