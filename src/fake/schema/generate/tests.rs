use super::*;
use crate::fake::made_up::dice::Stream;
use serde_json::{Map, json};

fn make(root: &Value, schema: &Value, seed: u64) -> Value {
    Maker::new(root, Dice::new(seed, Stream::Documents, 0)).value(schema, "x")
}

/// Makes a value for the root itself.
fn made(root: &Value) -> Value {
    make(root, root, 1)
}

fn definitions() -> Value {
    json!({
        "Node": {"type": "object", "required": ["id", "next"], "properties": {
            "id": {"type": "integer"}, "next": {"$ref": "#/$defs/Node"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}}}},
        "Cat": {"type": "object", "required": ["kind"], "properties": {"kind": {"type": "string"}, "lives": {"type": "integer"}}},
        "Text": {"type": "string"},
        "Pet": {"type": "object", "required": ["pet"], "properties": {"pet": {"type": "string"}},
            "discriminator": {"propertyName": "pet", "mapping": {"dog": "#/$defs/Dog"}}},
        "Dog": {"allOf": [{"$ref": "#/$defs/Pet"}, {"required": ["bark"], "properties": {"pet": {"const": "dog"}, "bark": {"type": "boolean"}}}]},
        "Deep1": {"required": ["n"], "properties": {"n": {"anyOf": [{"$ref": "#/$defs/Deep2"}]}}},
        "Deep2": {"required": ["n"], "properties": {"n": {"allOf": [{"$ref": "#/$defs/Deep3"}]}}},
        "Deep3": {"required": ["n"], "properties": {"n": {"type": "array", "minItems": 1, "items": {"anyOf": [{"$ref": "#/$defs/Deep1"}, {"type": "integer"}]}}}},
        "Loop": {"allOf": [{"$ref": "#/$defs/Loop"}, {"type": "object"}]},
        "Term": {"oneOf": [{"$ref": "#/$defs/Sum"}, {"type": "integer"}]},
        "Sum": {"type": "object", "required": ["left"], "properties": {"left": {"$ref": "#/$defs/Term"}}},
        "Base": {"type": "object", "required": ["id", "parent"], "properties": {
            "id": {"type": "integer"}, "kind": {"type": "string"}, "parent": {"anyOf": [{"$ref": "#/$defs/Base"}, {"type": "null"}]}}},
    })
}

#[test]
fn made_up_values_fit_their_schema() {
    for mut schema in [
        json!({"type": "integer", "minimum": 3, "maximum": 4}),
        json!({"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5}),
        json!({"type": "integer", "exclusiveMinimum": 7, "multipleOf": 7}),
        json!({"type": "number", "minimum": 0.5, "maximum": 0.75}),
        json!({"type": "number", "exclusiveMinimum": 2, "maximum": 3.5}),
        json!({"type": "number", "maximum": -4, "multipleOf": 0.25}),
        json!({"type": "string", "minLength": 30, "maxLength": 31}),
        json!({"type": "string", "maxLength": 3}),
        json!({"type": "string", "pattern": "^[A-Z]{3}-\\d{2,4}(x|y)?$"}),
        json!({"type": "string", "format": "date-time"}),
        json!({"type": "string", "format": "date"}),
        json!({"type": "string", "format": "time"}),
        json!({"type": "string", "format": "duration"}),
        json!({"type": "string", "format": "uuid"}),
        json!({"type": "string", "format": "uri"}),
        json!({"type": "string", "format": "hostname"}),
        json!({"type": "string", "format": "ipv4"}),
        json!({"type": "string", "format": "ipv6"}),
        json!({"type": "string", "format": "no such"}),
        json!({"type": ["null", "string"], "format": "email"}),
        json!({"type": "array", "minItems": 4, "maxItems": 4, "items": {"type": ["boolean", "null"]}}),
        json!({"type": "array", "minItems": 500, "items": true}),
        json!({"type": "array", "maxItems": 0}),
        json!({"type": "array", "prefixItems": [{"const": 1}, {"type": "null"}], "items": false}),
        json!({"type": "array", "uniqueItems": true, "minItems": 2, "items": {"type": "integer", "minimum": 1, "maximum": 9}}),
        json!({"enum": [null, "a", 2]}),
        json!({"enum": [null]}),
        json!({"allOf": [{"required": ["a"], "properties": {"a": {"type": "string"}}},
                             {"required": ["b"], "properties": {"b": {"type": "integer"}}}]}),
        json!({"allOf": [{"$ref": "#/$defs/Base"}, {"properties": {"kind": {"const": "special"}}}]}),
        json!({"oneOf": [{"type": "null"}, {"type": "string"}]}),
        json!({"type": "object", "additionalProperties": {"type": "number"}}),
        json!({"type": "object", "properties": {"never": false, "any": true}}),
        json!({"oneOf": [{"$ref": "#/$defs/Cat"}], "discriminator": {"propertyName": "kind"}}),
        json!({"required": ["a", "b"], "properties": {"b": {"type": "string"}}}),
        json!({"properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}, "oneOf": [{"required": ["x"]}, {"required": ["y"]}]}),
        json!({"oneOf": [{"required": ["a"], "properties": {"a": {"type": "string"}}}, {"required": ["a", "b"], "properties": {
            "a": {"type": "string"}, "b": {"type": "integer"}}}]}),
        json!({"type": "string", "pattern": "^[a-z]+$", "minLength": 12, "maxLength": 14}),
        json!({"type": "string", "pattern": "^(?!-)[a-z]{3}-[0-9]{2}$"}),
        json!({"type": "string", "pattern": "^(?=.*[0-9])(?=.*[A-Z])(?=.*[a-z])[A-Za-z0-9]{8,12}$"}),
        json!({"allOf": [{"type": "string", "pattern": "^a"}, {"pattern": "b$"}, {"maxLength": 5}]}),
        json!({"type": "array", "minItems": 2, "uniqueItems": true, "items": {"type": "string", "enum": ["a", "b"]}}),
        json!({"type": "array", "minItems": 3, "uniqueItems": true, "items": {"enum": ["a", "b", "c"], "example": "b"}}),
        json!({"type": "object", "minProperties": 2, "additionalProperties": false, "patternProperties": {"^x-": {"type": "integer"}}}),
        json!({"required": ["a"], "properties": {"a": {"type": "integer", "not": {"const": 3}, "minimum": 3, "maximum": 4}}}),
        json!({"$ref": "#/$defs/Text", "minLength": 40}),
        json!({"type": "object", "properties": {"k": {"enum": ["x", "y"]}}, "required": ["k"],
            "if": {"properties": {"k": {"const": "x"}}}, "then": {"required": ["v"]}, "else": {"required": ["w"]}}),
        json!({"type": "object", "properties": {"card": {"type": "string"}}, "dependentRequired": {"card": ["addr"], "addr": ["zip"]}}),
        json!({"type": "object", "required": ["card"], "dependentSchemas": {"card": {"properties": {"addr": {"type": "integer"}}, "required": ["addr"]}}}),
        json!({"allOf": [{"$ref": "#/$defs/Cat"}], "properties": {"more": {"type": "integer"}}, "unevaluatedProperties": false}),
        json!({"allOf": [{"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}, {"properties": {"a": true}, "additionalProperties": false}]}),
        json!({"type": "array", "contains": {"const": 7}, "items": {"type": "integer"}}),
        json!({"type": "array", "contains": {"type": "string"}, "minContains": 2, "maxContains": 2, "maxItems": 3}),
        json!({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 2, "unevaluatedItems": false}),
        json!({"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "additionalProperties": {"type": "integer"}, "minProperties": 3}),
        json!({"type": "object", "maxProperties": 1, "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["b"]}),
        json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}),
        json!({"type": "integer", "allOf": [{"multipleOf": 4}, {"multipleOf": 6}, {"minimum": 5}]}),
        json!({"type": "integer", "minimum": 1e20, "maximum": 2e20}),
        json!({"type": "integer", "minimum": -9223372036854776000.0, "maximum": 9223372036854776000.0}),
        json!({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}, {"minimum": 5}]}),
        json!({"allOf": [{"enum": ["a", "b", "c"]}, {"enum": ["c", "d"]}]}),
        json!({"type": ["string", "integer"], "allOf": [{"type": ["integer", "boolean"]}]}),
        json!({"not": {"type": "object"}, "type": ["object", "string"]}),
        json!({"$ref": "#/$defs/Deep1"}),
        json!({"$ref": "#/$defs/Pet"}),
        json!({"$ref": "#/$defs/Base"}),
        json!({"$ref": "#/$defs/Term"}),
    ] {
        schema["$defs"] = definitions();
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&schema)
            .unwrap();
        for seed in 0..30 {
            let value = make(&schema, &schema, seed);
            let problem = validator.validate(&value).err();
            assert!(problem.is_none(), "{schema}: {value}: {problem:?}");
            assert_eq!(value, make(&schema, &schema, seed), "the same seed, the same value");
        }
    }
}

#[test]
fn what_a_schema_gives_is_taken() {
    assert_eq!(made(&json!({"type": "string", "example": "a", "default": "b"})), "a");
    assert_eq!(made(&json!({"type": "string", "examples": ["a", "b"]})), "a");
    assert_eq!(made(&json!({"const": 5})), 5);
    assert!(made(&json!({"type": "string", "default": null})).is_string());
    let cat =
        json!({"oneOf": [{"$ref": "#/$defs/Cat"}], "discriminator": {"propertyName": "kind"}, "$defs": definitions()});
    assert_eq!(made(&cat)["kind"], "Cat");
    let bounds = json!({"type": "integer", "minimum": 7, "exclusiveMinimum": true, "maximum": 8});
    assert_eq!(made(&bounds), 8, "as OpenAPI 3.0 excludes bounds");
    assert!(
        made(&json!({"properties": {"a": {"type": "string", "writeOnly": true}}}))
            .get("a")
            .is_none()
    );
    for bare in [
        json!(true),
        json!(false),
        json!({"$ref": "#/none"}),
        json!({"$ref": "#"}),
    ] {
        assert!(made(&bare).is_object(), "{bare}");
    }
}

#[test]
fn examples_are_taken_where_they_fit() {
    assert!(made(&json!({"type": "string", "example": 5, "default": "b"})) == "b");
    assert!(made(&json!({"type": "integer", "example": "5"})).is_i64());
    let spec = json!({"required": ["selector"], "properties": {"selector": {"type": "string"}}});
    assert!(made(&json!({"default": {}, "allOf": [spec]}))["selector"].is_string());
    let parts = json!({"allOf": [{"properties": {"id": {"type": "string"}}, "example": {"id": "7"}},
        {"required": ["owner"], "properties": {"owner": {"type": "string"}}}]});
    assert_eq!(made(&parts)["id"], "7", "what fits of it is kept");
    assert!(made(&parts)["owner"].is_string());
    let odd = json!({"properties": {"a": {"type": "integer"}, "b": {"type": "array", "items": {"type": "integer"}}}});
    let example = json!({"a": "no", "b": [1, "two", 3], "c": "more"});
    let root = json!({});
    let mut maker = Maker::new(&root, Dice::new(1, Stream::Documents, 0));
    let like = maker.value_like(&odd, &example);
    assert!(like["a"].is_i64() && like["b"][1].is_i64(), "{like}");
    assert_eq!(
        (&like["b"][0], &like["b"][2], &like["c"]),
        (&json!(1), &json!(3), &json!("more"))
    );
    let schema = json!({"type": "string", "example": "a"});
    let made = Maker::new(&schema, Dice::new(1, Stream::Documents, 0))
        .without_examples()
        .value(&schema, "x");
    assert_ne!(made, "a");
}

#[test]
fn the_last_page_says_so() {
    let page = made(&json!({"required": ["has_more", "next", "next_url"], "properties": {
        "has_more": {"type": "boolean", "example": true}, "next": {"type": ["string", "null"]}, "next_url": {"type": "string"},
        "nextPageToken": {"type": "string"}, "total_pages": {"type": "integer"}}}));
    assert_eq!(
        page,
        json!({"has_more": false, "next": null, "next_url": "", "total_pages": 1})
    );
}

#[test]
fn children_are_named_by_their_discriminator() {
    let root = json!({"$defs": definitions()});
    for name in ["Pet", "Dog"] {
        let pet = make(&root, &json!({"$ref": format!("#/$defs/{name}")}), 1);
        assert!(pet["pet"] == "dog" && pet["bark"].is_boolean(), "{pet}");
    }
}

#[test]
fn schemas_of_openapi_3_0() {
    let root = json!({"openapi": "3.0.3", "x": {"type": "object", "required": ["a", "secret", "n"], "properties": {
        "a": {"$ref": "#/y", "maxLength": 1}, "secret": {"type": "string", "writeOnly": true},
        "n": {"type": "integer", "minimum": 3, "exclusiveMinimum": true, "maximum": 4}, "z": {"type": "string", "nullable": true, "example": null}}},
        "y": {"type": "string", "minLength": 5}});
    let value = make(&root, &json!({"$ref": "#/x"}), 1);
    assert!(
        value["a"].as_str().unwrap().len() >= 5 && value["n"] == 4 && value["z"].is_null(),
        "{value}"
    );
    assert!(value.get("secret").is_none());
}

#[test]
fn schemas_that_hold_themselves_end() {
    let root = json!({"$defs": definitions()});
    let node = make(&root, &json!({"$ref": "#/$defs/Node"}), 1);
    let text = node.to_string();
    assert!(text.len() < 2000, "{text}");
    assert_eq!(node["children"], json!([]));
    assert!(make(&root, &json!({"$ref": "#/$defs/Loop"}), 1).is_object());
    let node = json!({
        "type": "object",
        "properties": {
            "next": { "anyOf": [{ "$ref": "#" }, { "type": "null" }] },
            "children": { "type": "array", "items": { "$ref": "#" } },
        },
        "required": ["next", "children"],
    });
    assert_eq!(made(&node), json!({"next": null, "children": []}));
}

#[test]
fn hostile_schemas_stay_small() {
    let mut wide = json!({"type": "string"});
    for _ in 0..10 {
        wide = json!({"type": "array", "minItems": 90, "items": wide});
    }
    assert!(made(&wide).to_string().len() < 500_000);
    let wide = json!({ "type": "array", "minItems": u64::MAX, "items": { "$ref": "#" } });
    assert!(made(&wide).to_string().len() < 100_000);
    for item in [
        json!({ "const": "x".repeat(10_000) }),
        json!({ "type": "string", "minLength": u64::MAX }),
    ] {
        let large = json!({ "type": "array", "minItems": 4096, "items": item });
        assert!(made(&large).to_string().len() < 500_000, "{item}");
    }
    let level = |next: usize| {
        let next = json!({"$ref": format!("#/$defs/{next}")});
        json!({"required": ["a"], "properties": {"a": next, "b": next}, "allOf": [{"oneOf": [next]}]})
    };
    let levels: Map<String, Value> = (0..1000).map(|n| (n.to_string(), level((n + 1) % 1000))).collect();
    let deep = json!({"$ref": "#/$defs/0", "$defs": levels});
    assert!(made(&deep).to_string().len() < 500_000);
}
