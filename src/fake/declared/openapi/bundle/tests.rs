use super::*;
use crate::fake::declared::openapi::document::Document;

/// The document of such files, of which the first is the root.
fn read(texts: &[(&str, &str)]) -> Result<Document, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in texts {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let root = folder.path().join(texts[0].0);
    Document::read_from(&std::fs::read(&root).unwrap(), Some(&root)).map_err(|mistakes| mistakes.join("\n"))
}

#[test]
fn references_to_other_files_are_followed() {
    let document = read(&[
        (
            "api.yaml",
            "openapi: 3.1.0\na: {$ref: './schemas/pet.yaml'}\nb: {$ref: schemas/all.json#/Pet}\n\
                 c: {discriminator: {mapping: {cat: schemas/pet.yaml, dog: Dog}}}\nd: {$ref: '#/b/name'}\n\
                 e: {$ref: api.yaml#/f}\nf: 7\ng: {$ref: '#it'}\nh: [{$anchor: it, type: 'null'}]",
        ),
        (
            "schemas/pet.yaml",
            "name: {$ref: '../names.yaml#/x-y~1z'}\nown: {$ref: '#/name'}",
        ),
        ("schemas/all.json", "{\"Pet\": {\"$ref\": \"pet.yaml#\"}}"),
        ("names.yaml", "x-y/z: {type: string}\nback: {$ref: api.yaml#/f}"),
    ])
    .unwrap();
    let at = |key: &str| document.get(&document.root, key).unwrap();
    let string = serde_json::json!({"type": "string"});
    for pet in [at("a"), at("b")] {
        assert_eq!(document.get(pet, "name"), Some(&string));
        assert_eq!(document.get(pet, "own"), Some(&string));
    }
    assert_eq!(at("d"), &string);
    assert_eq!((at("e"), &at("g")["type"]), (&Value::from(7), &Value::from("null")));
    let mapping = &document.root["c"]["discriminator"]["mapping"];
    assert_eq!(
        mapping,
        &serde_json::json!({"cat": "#/x-squall-files/schemas~1pet.yaml", "dog": "Dog"})
    );
}

#[test]
fn what_is_wrong_with_another_file_names_it() {
    let error = |texts: &[(&str, &str)]| read(texts).map(|_| ()).unwrap_err();
    assert_eq!(
        error(&[("a.yaml", "openapi: 3.0.0\nx: {$ref: none.yaml}")]),
        "none.yaml: there is no such file"
    );
    assert_eq!(
        error(&[("a.yaml", "openapi: 3.0.0\nx: {$ref: b.yaml}"), ("b.yaml", "y: [")]),
        "b.yaml: line 1, column 5: not valid YAML: while parsing a node, did not find expected node content"
    );
    assert_eq!(
        error(&[
            ("a.yaml", "openapi: 3.0.0\nx: {$ref: b.yaml#/y}"),
            ("b.yaml", "y: {$ref: '#/z'}")
        ]),
        "b.yaml#/y/$ref: `b.yaml#/z` points to nothing"
    );
    assert!(
        error(&[("a.yaml", "openapi: 3.0.0\nx: {$ref: 'https://a.b/c'}")])
            .contains("/x/$ref: `https://a.b/c` is on another")
    );
    assert!(error(&[("a.yaml", "openapi: 3.0.0\nx: {$ref: /etc/passwd}")]).contains("is an absolute path"));
}

#[test]
fn the_files_of_a_document_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(
        path("a.yaml"),
        "x: {$ref: b.json}\ny: {$ref: none.yaml#/a}\nz: {\"$ref\": '#/x'}",
    )
    .unwrap();
    std::fs::write(
        path("b.json"),
        "{\"$ref\":\"c.yaml#/x\", \"d\": {\"$ref\": \"a.yaml\"}}",
    )
    .unwrap();
    std::fs::write(path("c.yaml"), "x: 1").unwrap();
    assert_eq!(named(&path("a.yaml")), [path("a.yaml"), path("b.json"), path("c.yaml")]);
}
