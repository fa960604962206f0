use super::*;
use serde_json::{Value, json};

fn file(entries: &[Value]) -> Vec<u8> {
    json!({"log": {"version": "1.2", "creator": {"name": "t", "version": "1"}, "entries": entries}})
        .to_string()
        .into_bytes()
}

fn entry(url: &str, response: &Value) -> Value {
    json!({"request": {"method": "GET", "url": url}, "response": response, "timings": {"send": 1, "wait": 20, "receive": null}})
}

#[test]
fn answers_are_made_to_fit() {
    let response = json!({"status": 200, "headers": [
            {"name": "Content-Type", "value": "text/plain; charset=ISO-8859-1"}, {"name": ":status", "value": "200"},
            {"name": "Content-Encoding", "value": "gzip"}, {"name": "Content-Length", "value": "3"},
            {"name": "Set-Cookie", "value": "a=1\nb=2"}, {"name": "Transfer-Encoding", "value": "chunked"}],
            "content": {"size": 5, "mimeType": "text/plain", "text": "h\u{e9}llo"}});
    let mut bytes = b"\xef\xbb\xbf".to_vec();
    bytes.extend(file(&[entry(
        "https://u:p@a.example:8443/x%20y?b=2&a=1#top",
        &response,
    )]));
    let [one] = <[Recorded; 1]>::try_from(load(&bytes, Some("A.example:8443")).unwrap()).unwrap();
    assert_eq!(
        one.request,
        ComparableRequest::new("GET", "/x y", "a=1&b=2", Bytes::new())
    );
    assert_eq!(
        (one.body.as_ref(), one.wait),
        ("h\u{e9}llo".as_bytes(), Duration::from_millis(21))
    );
    assert_eq!(one.headers[CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(one.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(one.headers.len(), 3);
    assert!(load(&bytes, Some("b.example")).unwrap().is_empty());
}

#[test]
fn binary_bodies_and_exchanges_without_an_answer() {
    let content = json!({"mimeType": "image/png", "text": "AAH/", "encoding": "base64"});
    let bytes = file(&[
        entry("http://a/", &json!({"status": 0})),
        entry("http://a", &json!({"status": 200, "content": content})),
    ]);
    let [one] = <[Recorded; 1]>::try_from(load(&bytes, None).unwrap()).unwrap();
    assert_eq!(
        (one.body.as_ref(), one.request.path.as_str()),
        ([0, 1, 255].as_slice(), "/")
    );
    assert_eq!(one.headers[CONTENT_TYPE], "image/png");
}

#[test]
fn mistakes_name_their_place() {
    let error = |entry: Value| load(&file(&[entry]), None).unwrap_err();
    assert_eq!(
        error(entry("ftp://a/", &json!({"status": 200}))),
        "/log/entries/0: /request/url: `ftp://a/` is not an http URL"
    );
    let bad = json!({"status": 200, "content": {"text": "%", "encoding": "base64"}});
    assert!(error(entry("http://a/", &bad)).starts_with("/log/entries/0: /response/content/text is not valid base64"));
    assert!(error(json!({})).contains("missing field `request` at line 1"));
}
