use super::*;
use crate::fake::made_up::dice::Stream;
use serde_json::json;

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
