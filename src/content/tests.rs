use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::graphql::OperationType;
use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, value.parse().unwrap());
    }
    map
}

fn content(pairs: &[(&'static str, &str)], body: impl AsRef<[u8]>) -> Content {
    Content::new(&headers(pairs), Bytes::copy_from_slice(body.as_ref()), 1000)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn encoded_bodies_are_decoded_within_the_limit() {
    let text = br#"{"a": 1}"#;
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(text).unwrap();
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(text).unwrap();
    let mut brotli = Vec::new();
    brotli::BrotliCompress(&mut &text[..], &mut brotli, &Default::default()).unwrap();
    for (coding, body) in [
        ("identity", text.to_vec()),
        ("gzip", gzip(text)),
        ("X-GZIP", gzip(text)),
        ("deflate", zlib.finish().unwrap()),
        ("deflate", deflate.finish().unwrap()),
        ("br", brotli),
        ("gzip, gzip", gzip(&gzip(text))),
    ] {
        let content = content(&[("content-encoding", coding)], body);
        assert_eq!(content.json().unwrap()["a"], 1, "{coding}");
    }
    let reason = |coding, body: &[u8]| {
        content(&[("content-encoding", coding)], body)
            .bytes()
            .unwrap_err()
            .to_string()
    };
    insta::assert_snapshot!(
        [
            reason("gzip", &gzip(&[0; 100_000])),
            reason("gzip", b"plain"),
            reason("br", b"plain plain plain"),
            reason("zstd", b"x"),
            reason("gzip,gzip,gzip,gzip", b"x"),
        ]
        .join("\n"),
        @r"
    is longer than 1000 bytes once decoded
    is not valid gzip, which is its content encoding
    is not valid br, which is its content encoding
    has the content encoding `zstd`, which is not supported
    has too many content encodings
    "
    );
    assert_eq!(content(&[("content-encoding", "zstd")], "").bytes().unwrap(), "");
}

#[test]
fn what_is_not_json_says_why() {
    assert_eq!(content(&[], "\u{feff}{\"a\": 1}").json().unwrap()["a"], 1);
    assert_eq!(content(&[], "").json().unwrap_err(), "is empty");
    let error = content(&[], "{a: 1}").json().unwrap_err();
    assert_eq!(error, "is not valid JSON: key must be a string at line 1 column 2");
    assert!(content(&[], "[".repeat(1000)).json().is_err());
    assert_eq!(Content::unknown("is gone").json().unwrap_err(), "is gone");
}

#[test]
fn forms_of_both_kinds() {
    let fields = |kind: &str, body: &str| {
        let content = content(&[("content-type", kind)], body);
        let fields = content
            .form()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        fields.collect::<Vec<_>>().join("|")
    };
    assert_eq!(
        fields("application/x-www-form-urlencoded", "a=b+c&d=%C3%A9&&e"),
        "a=b c|d=é|e="
    );
    assert_eq!(fields("text/plain", "a=1"), "a=1");
    let parts = "preamble\r\n--x y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n--x y\r\n\
        content-disposition: form-data; name=f; filename=\"n\"\r\nContent-Type: text/plain\r\n\r\nfile\r\n--x y\r\n\
        Content-Disposition: form-data; name=\"q\\\"\"\r\n\r\n\r\n--x y--\r\n";
    assert_eq!(fields("multipart/form-data; boundary=\"x y\"", parts), "a=1\r\n2|q\"=");
    assert_eq!(fields("multipart/form-data", parts), "");
    assert_eq!(fields("multipart/form-data; boundary=z", parts), "");
}

#[test]
fn graphql_operations() {
    let two = "query A { a } mutation B { b } fragment F on T { f }";
    for (body, expect) in [
        (serde_json::json!({"query": "{ a }"}), "-:query"),
        (
            serde_json::json!({"query": "query A($x: Int = 1) { a(x: \"} mutation B {\") }"}),
            "A:query",
        ),
        (
            serde_json::json!({"query": "# mutation X\nsubscription S { s }"}),
            "S:subscription",
        ),
        (serde_json::json!({"query": two, "operationName": "B"}), "B:mutation"),
        (serde_json::json!({"query": two, "operationName": "C"}), "C:-"),
        (serde_json::json!({"query": two, "operationName": null}), ""),
        (serde_json::json!({"operationName": "P", "extensions": {}}), "P:-"),
        (serde_json::json!({"query": "{ a }", "operationName": ""}), "-:query"),
        (
            serde_json::json!([{"query": "{ a }"}, {"query": "mutation M { m }"}, 7]),
            "-:query M:mutation",
        ),
        (serde_json::json!({"query": 7}), ""),
        (serde_json::json!({"query": ""}), ""),
        (serde_json::json!("query"), ""),
    ] {
        let shown = show(&content(&[], body.to_string()));
        assert_eq!(shown, expect, "{body}");
    }
    assert_eq!(
        show(&content(&[("content-type", "application/graphql")], "mutation M { m }")),
        "M:mutation"
    );
    let deep = content(&[("content-type", "application/graphql")], "{".repeat(9999));
    assert!(deep.operations().is_ok());
}

fn show(content: &Content) -> String {
    let operations = content.operations().unwrap().iter().map(|operation| {
        let kind = operation.kind.map_or("-", OperationType::name);
        format!("{}:{kind}", operation.name.as_deref().unwrap_or("-"))
    });
    operations.collect::<Vec<_>>().join(" ")
}

#[test]
fn models_of_both_kinds_of_bodies() {
    assert_eq!(content(&[], r#"{"model": "gpt-4o"}"#).model().unwrap(), "gpt-4o");
    let kind = [("content-type", "multipart/form-data; boundary=b")];
    let part = "--b\r\nContent-Disposition: form-data; name=model\r\n\r\nwhisper-1\r\n--b--";
    assert_eq!(content(&kind, part).model().unwrap(), "whisper-1");
    assert_eq!(
        content(&[], r#"{"model": 4}"#).model().unwrap_err(),
        "has no text in `model`"
    );
}

proptest! {
    #[test]
    fn no_body_makes_it_panic(
        body: Vec<u8>,
        kind in "(multipart/form-data; ?boundary=\"?.{0,3}|application/graphql|application/json|.{0,9})",
        coding in "(gzip|deflate|br|identity)?",
    ) {
        let mut map = HeaderMap::new();
        map.extend(kind.parse().ok().map(|kind| (header::CONTENT_TYPE, kind)));
        map.extend(coding.parse().ok().map(|coding| (header::CONTENT_ENCODING, coding)));
        let content = Content::new(&map, body.into(), 100);
        let _ = (content.json(), content.form(), content.operations(), content.model(), content.text());
    }
}

#[test]
fn json_that_can_not_be_held_is_not_called_invalid() {
    let reason = |body: &str| content(&[], body).json().unwrap_err().to_string();
    assert!(reason(r#"{"p":1e400}"#).starts_with("is JSON beyond what squall can hold: number out of range"));
    assert!(reason(r#"["\ud800"]"#).starts_with("is JSON beyond what squall can hold: "));
    assert!(reason(&format!("{}{}", "[".repeat(200), "]".repeat(200))).starts_with("is JSON beyond"));
    assert!(reason("[1,]").starts_with("is not valid JSON: "));
    assert_eq!(content(&[], "\u{feff}7").json().unwrap(), &Value::from(7));
}
