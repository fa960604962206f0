use super::super::document::Document;
use super::super::schemas::Schemas;
use super::*;
use serde_json::json;

/// A document of such a version that has these schemas, of which `X` is in use.
fn compile(version: &str, schemas: &Value) -> Result<(Validator, usize), String> {
    let text = json!({"openapi": version, "components": {"schemas": schemas}}).to_string();
    let document = Document::read_from(text.as_bytes(), None).map_err(|mistakes| mistakes.join("\n"))?;
    let mut used = Schemas::new(&document);
    let x = used.read(
        &document.root["components"]["schemas"]["X"],
        "/components/schemas/X".to_owned(),
    );
    Ok((used.compile()?, x.number))
}

fn problems_of(version: &str, schemas: &Value, value: Value) -> Vec<String> {
    let (validator, number) = compile(version, schemas).unwrap();
    let problems = validator.check(number, "body", "", value).into_iter();
    problems
        .map(|one| format!("{} {}", one.field, one.message).trim().to_owned())
        .collect()
}

/// Checks against one schema, in the words of 3.1.
fn problems(schema: Value, value: Value) -> Vec<String> {
    problems_of("3.1.0", &json!({ "X": schema }), value)
}

#[test]
fn every_problem_is_listed_at_its_place() {
    let schema = json!({"type": "object", "required": ["name", "id", "tags"], "additionalProperties": false, "properties": {
            "id": {"type": "integer", "readOnly": true}, "name": {"type": "string", "minLength": 2},
            "tags": {"type": "array", "items": {"type": "object", "properties": {"rank": {"type": "integer", "maximum": 3}}}},
            "when": {"type": "string", "format": "date", "nullable": true}}});
    let value = json!({"name": "x", "tags": [{"rank": 9}, {"rank": 1.5}], "when": null, "more": 1});
    let mut shown = problems(schema.clone(), value);
    shown.sort();
    assert_eq!(
        shown,
        [
            "more is unknown",
            "name must have at least 2 characters",
            "tags[0].rank must be at most 3",
            "tags[1].rank must be an integer"
        ]
    );
    assert_eq!(problems(schema.clone(), json!([])), ["must be an object"]);
    assert_eq!(problems(schema, json!({"tags": []})), ["name is missing"]);
}

#[test]
fn messages() {
    for (schema, value, expected) in [
        (
            json!({"type": ["string", "null"]}),
            json!(1),
            "must be null or a string",
        ),
        (json!({"enum": ["a", 1]}), json!("b"), "must be one of \"a\", 1"),
        (json!({"const": {"a": 1}}), json!(2), "must be {\"a\":1}"),
        (json!({"maxLength": 1}), json!("é́é"), "must have at most 1 characters"),
        (json!({"pattern": "^a+$"}), json!("b"), "must match ^a+$"),
        (json!({"pattern": "^(?!b)"}), json!("b"), "must match ^(?!b)"),
        (
            json!({"format": "date"}),
            json!("2019-02-29"),
            "must have the format date",
        ),
        (json!({"minimum": 1}), json!(0.5), "must be at least 1"),
        (json!({"exclusiveMinimum": 1}), json!(1), "must be more than 1"),
        (
            json!({"maximum": 1, "exclusiveMaximum": true}),
            json!(1),
            "must be less than 1",
        ),
        (json!({"multipleOf": 0.1}), json!(0.25), "must be a multiple of 0.1"),
        (json!({"minItems": 1}), json!([]), "must have at least 1 items"),
        (json!({"maxItems": 0}), json!([1]), "must have at most 0 items"),
        (
            json!({"uniqueItems": true}),
            json!([1, 1.0]),
            "must not have equal items",
        ),
        (
            json!({"minProperties": 1}),
            json!({}),
            "must have at least 1 properties",
        ),
        (
            json!({"not": {"type": "null"}}),
            json!(null),
            "must not match the schema of `not`",
        ),
        (
            json!({"properties": {"a": false}}),
            json!({"a": 1}),
            "a must not be there",
        ),
        (json!(false), json!(1), "must not be there"),
        (
            json!({"contains": {"const": 1}}),
            json!([2]),
            "must have an item that matches the schema of `contains`",
        ),
        (
            json!({"oneOf": [{"type": "null"}, {"minimum": 3}, {"type": "string"}]}),
            json!(1),
            "must match one of 3 schemas; it matches none",
        ),
        (
            json!({"oneOf": [{"type": "integer"}, {"minimum": 3}]}),
            json!(4),
            "must match only one of 2 schemas; it matches several",
        ),
        (
            json!({"anyOf": [{"type": "null"}, {"type": "string"}]}),
            json!(1),
            "must match at least one of 2 schemas; it matches none",
        ),
        (
            json!({"if": {"minimum": 5}, "then": {"maximum": 6}}),
            json!(7),
            "must be at most 6",
        ),
        (
            json!({"if": {"minimum": 5}, "else": false}),
            json!(4),
            "must not be there",
        ),
        (
            json!({"propertyNames": {"maxLength": 1}}),
            json!({"ab": 1}),
            "the name of a property must have at most 1 characters",
        ),
        (
            json!({"prefixItems": [true], "unevaluatedItems": false}),
            json!([1, 2]),
            "must not have further items",
        ),
        (
            json!({"prefixItems": [true], "items": false}),
            json!([1, 2]),
            "[1] must not be there",
        ),
        (
            json!({"dependentRequired": {"a": ["b"]}}),
            json!({"a": 1}),
            "b is missing",
        ),
    ] {
        assert_eq!(problems(schema.clone(), value), [expected], "{schema}");
    }
}

#[test]
fn what_fits() {
    for (schema, value) in [
        (json!(true), json!({"a": [1]})),
        (json!({}), json!(null)),
        (json!({"type": "integer"}), json!(2.0)),
        (json!({"multipleOf": 0.01}), json!(4.35)),
        (json!({"format": "no such"}), json!("x")),
        (json!({"format": "int32", "example": {"$ref": 5}}), json!("x")),
        (
            json!({"allOf": [{"properties": {"a": true}}, {"$ref": "#/components/schemas/X/allOf/0"}], "unevaluatedProperties": false}),
            json!({"a": 1}),
        ),
        (
            json!({"anyOf": [{"properties": {"a": {"type": "string"}}}], "unevaluatedProperties": false}),
            json!({"a": ""}),
        ),
    ] {
        assert_eq!(problems(schema.clone(), value), [""; 0], "{schema}");
    }
}

#[test]
fn nullable_adds_null() {
    let schemas = |x: Value| json!({"X": x, "Name": {"type": "string"}, "Maybe": {"type": "string", "nullable": true}});
    let name = json!({"$ref": "#/components/schemas/Name"});
    for (schema, nulls) in [
        (json!({"type": "string", "nullable": true}), true),
        (json!({"type": "string", "nullable": false}), false),
        (json!({"enum": ["a"], "nullable": true}), true),
        (json!({"allOf": [name], "nullable": true}), true),
        (json!({"oneOf": [name, {"type": "integer"}], "nullable": true}), true),
        (json!({"$ref": "#/components/schemas/Maybe"}), true),
        // What stands beside a reference counts since 3.1, but `nullable` is gone there from the words of JSON Schema.
        (json!({"$ref": "#/components/schemas/Name", "nullable": true}), false),
    ] {
        let problems = problems_of("3.0.3", &schemas(schema.clone()), json!(null));
        assert_eq!(problems.is_empty(), nulls, "{schema}: {problems:?}");
        assert!(
            !problems_of("3.0.3", &schemas(schema.clone()), json!(true)).is_empty(),
            "{schema}"
        );
    }
}

#[test]
fn what_stands_beside_a_reference_counts_since_3_1() {
    let schemas = json!({"X": {"$ref": "#/components/schemas/Name", "maxLength": 2}, "Name": {"type": "string"}});
    assert!(problems_of("3.0.3", &schemas, json!("abc")).is_empty());
    assert_eq!(
        problems_of("3.1.0", &schemas, json!("abc")),
        ["must have at most 2 characters"]
    );
    assert_eq!(problems_of("3.1.0", &schemas, json!(5)), ["must be a string"]);
}

#[test]
fn mistakes_in_schemas_have_their_place() {
    let mistake = |schemas: Value| compile("3.1.0", &schemas).map(|_| ()).unwrap_err();
    assert_eq!(
        mistake(json!({"X": {"properties": {"a/b": {"minLength": -1}}}})),
        "/components/schemas/X/properties/a~1b/minLength: -1 is less than the minimum of 0"
    );
    assert_eq!(
        mistake(json!({"X": {"items": {"$ref": "#/components/schemas/Y"}}, "Y": {"allOf": [{"pattern": "["}]}})),
        "/components/schemas/Y/allOf/0/pattern: \"[\" is not a \"regex\""
    );
    assert!(mistake(json!({"X": {"items": [5]}})).starts_with("/components/schemas/X/items: "));
    assert!(mistake(json!({"X": {"type": "date"}})).starts_with("/components/schemas/X/type: \"date\""));
    assert_eq!(
        mistake(json!({"X": {"$ref": "https://example.org/schema.json#/a"}})),
        "/components/schemas/X/$ref: `https://example.org/schema.json#/a` is on another server, and only \
            files are read: save it beside the document"
    );
}

#[test]
fn schemas_that_hold_themselves_end() {
    let schemas = json!({
        "X": {"type": "object", "required": ["a"], "properties": {"next": {"$ref": "#/components/schemas/X"}}},
        "Loop": {"allOf": [{"$ref": "#/components/schemas/Loop"}, {"$ref": "#/components/schemas/X"}]},
    });
    assert_eq!(
        problems_of("3.1.0", &schemas, json!({"a": 1, "next": {"a": 1, "next": {}}})),
        ["next.next.a is missing"]
    );
    let looped = json!({"X": {"allOf": [{"$ref": "#/components/schemas/X"}, {"type": "string"}]}});
    assert_eq!(problems_of("3.1.0", &looped, json!(5)), ["must be a string"]);
    assert!(compile("3.1.0", &json!({"X": {"$ref": "#/components/schemas/X"}})).is_err());
}

/// A value of 120 levels, the innermost of which does not fit.
fn deep() -> Value {
    (0..120).fold(json!(5), |inner, _| json!({ "a": inner, "b": "x".repeat(1000) }))
}

#[test]
fn hostile_schemas_end() {
    let x = json!({"$ref": "#/components/schemas/X"});
    let holds = json!({"type": "object", "properties": {"a": x}});
    for key in ["allOf", "anyOf", "oneOf"] {
        let problems = problems(json!({key: [holds, holds, holds]}), deep());
        assert!(problems.len() <= PROBLEMS_LIMIT);
    }
    let next = |n: usize| json!({"$ref": format!("#/components/schemas/{n}")});
    for width in 1..=3 {
        let level = |n: usize| json!({"allOf": vec![next(n + 1); width]});
        let mut levels: Map<String, Value> = (0..1000).map(|n| (n.to_string(), level(n))).collect();
        levels.insert("1000".to_owned(), json!({"type": "string"}));
        levels.insert("X".to_owned(), json!({"properties": {"a": next(0)}}));
        problems_of("3.1.0", &levels.into(), deep());
    }
    let nested = (0..100).fold(
        json!({"type": "string"}),
        |inner, _| json!({"type": "array", "items": inner}),
    );
    let list = (0..100).fold(json!(5), |inner, _| json!([inner]));
    assert_eq!(
        problems(nested, list),
        [format!("{} must be a string", "[0]".repeat(100)).trim()]
    );
}

#[test]
fn large_bodies_have_few_problems() {
    let schema = json!({"type": "array", "items": {"oneOf": [{"type": "integer"}, {"type": "null"}]}});
    let body: Value = vec!["x"; 500_000].into();
    assert_eq!(problems(schema, body).len(), PROBLEMS_LIMIT);
}

#[test]
fn patterns_do_not_take_for_ever() {
    for pattern in ["^(a+)+$", "^(a|a)*(?!b)$", "^(?=(a+)+c)"] {
        problems(json!({ "pattern": pattern }), json!(format!("{}!", "a".repeat(10_000))));
    }
}

/// Two methods whose fields overlap, told apart by `method`.
fn methods(mapping: &Value) -> Value {
    let one = |required: Value| json!({"type": "object", "required": required, "properties": {"method": {"enum": ["link", "code"]}}});
    json!({
        "X": {"oneOf": [{"$ref": "#/components/schemas/link"}, {"$ref": "#/components/schemas/Code"}],
              "discriminator": {"propertyName": "method", "mapping": mapping}},
        "link": one(json!(["method", "email"])),
        "Code": one(json!(["method"])),
    })
}

#[test]
fn a_discriminator_says_which_schema_is_meant() {
    for mapping in [
        json!({"link": "#/components/schemas/link", "code": "Code"}),
        json!({"code": "#/components/schemas/Code"}),
    ] {
        let problems = |value: Value| problems_of("3.0.3", &methods(&mapping), value);
        assert!(problems(json!({"method": "link", "email": "x"})).is_empty());
        assert!(problems(json!({"method": "code", "email": "x"})).is_empty());
        assert_eq!(problems(json!({"method": "link"})), ["email is missing"]);
        assert_eq!(
            problems(json!({"method": "Code"})),
            ["method must be one of \"link\", \"code\""]
        );
        assert_eq!(problems(json!({})), ["must match one of 2 schemas; it matches none"]);
    }
    let kinds = |kind: Value, other: Value| {
        json!({"X": {"anyOf": [
        {"type": "object", "required": ["a"], "properties": {"kind": kind}},
        {"allOf": [{"type": "object", "properties": {"kind": other}}]}], "discriminator": {"propertyName": "kind"}}})
    };
    let own = kinds(json!({"const": "a"}), json!({"enum": ["b", "c"]}));
    assert_eq!(problems_of("3.1.0", &own, json!({"kind": "a"})), ["a is missing"]);
    assert!(problems_of("3.1.0", &own, json!({"kind": "c"})).is_empty());
    assert_eq!(
        problems_of("3.1.0", &own, json!({"kind": "d"})),
        ["kind must be one of \"a\", \"b\", \"c\""]
    );
    let problems = |value: Value| problems_of("3.0.3", &methods(&json!({"link": "link", "code": "Code"})), value);
    assert_eq!(
        problems(json!({"method": "x"})),
        ["method must be one of \"link\", \"code\", \"Code\""]
    );
    // An option that has options of its own.
    let nested = json!({
        "X": {"oneOf": [{"$ref": "#/components/schemas/Item"}, {"$ref": "#/components/schemas/C"}], "discriminator": {"propertyName": "kind"}},
        "Item": {"oneOf": [{"$ref": "#/components/schemas/A"}, {"$ref": "#/components/schemas/B"}], "discriminator": {"propertyName": "kind"}},
        "A": {"type": "object", "required": ["a"], "properties": {"kind": {"const": "a"}}},
        "B": {"type": "object", "properties": {"kind": {"const": "b"}}},
        "C": {"type": "object", "properties": {"kind": {"const": "c"}}},
    });
    assert!(problems_of("3.1.0", &nested, json!({"kind": "b"})).is_empty());
    assert_eq!(problems_of("3.1.0", &nested, json!({"kind": "a"})), ["a is missing"]);
    // Nothing says which is which.
    let unknown = kinds(json!({"type": "string"}), json!({"const": "b"}));
    assert!(problems_of("3.1.0", &unknown, json!({"kind": "x", "a": 1})).is_empty());
}
