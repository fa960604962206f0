use http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use serde_json::json;

use super::*;

fn load_all(bytes: &[u8], host: Option<&str>) -> Result<Recording, String> {
    load(bytes, host, &|name| {
        (name == "a.txt")
            .then(|| b"beside".to_vec())
            .ok_or_else(|| "nothing there".to_owned())
    })
}

/// The exchanges of one entry, and why it was left out.
fn read(entry: &Value) -> Result<Recorded, String> {
    let mut recording = load_all(&file(std::slice::from_ref(entry)), None).unwrap();
    assert_eq!(recording.entries, 1);
    let reason = recording.left_out.pop();
    recording.exchanges.pop().ok_or_else(|| reason.unwrap().0.into_owned())
}

fn response(response: &Value) -> Result<Recorded, String> {
    read(&entry("http://a/", response))
}

fn body(content: &Value) -> Result<String, String> {
    let read = response(&json!({"status": 200, "content": content}))?;
    Ok(String::from_utf8_lossy(&read.body).into_owned())
}

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
    let [one] = <[Recorded; 1]>::try_from(load_all(&bytes, Some("A.example:8443")).unwrap().exchanges).unwrap();
    assert_eq!(
        one.request,
        ComparableRequest::new("GET", "/x y", "a=1&b=2", "", Bytes::new())
    );
    assert_eq!(
        (one.body.as_ref(), one.wait),
        ("h\u{e9}llo".as_bytes(), Duration::from_millis(21))
    );
    assert_eq!(one.headers[CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(one.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(one.headers.len(), 3);
    assert!(load_all(&bytes, Some("b.example")).unwrap().exchanges.is_empty());
}

#[test]
fn binary_bodies_and_exchanges_without_an_answer() {
    let content = json!({"mimeType": "image/png", "text": "AAH/", "encoding": "base64"});
    let bytes = file(&[
        entry("http://a/", &json!({"status": 0})),
        entry("http://a", &json!({"status": 200, "content": content})),
    ]);
    let [one] = <[Recorded; 1]>::try_from(load_all(&bytes, None).unwrap().exchanges).unwrap();
    assert_eq!(
        (one.body.as_ref(), one.request.path.as_str()),
        ([0, 1, 255].as_slice(), "/")
    );
    assert_eq!(one.headers[CONTENT_TYPE], "image/png");
}

#[test]
fn what_is_odd_is_left_out_and_counted() {
    let reason = |entry: Value| read(&entry).unwrap_err();
    let url = |url: &str| reason(entry(url, &json!({"status": 200})));
    for odd in [
        "ftp://a/",
        "data:text/plain,x",
        "blob:http://a/1",
        "about:blank",
        "chrome-extension://x/y",
        "a:443",
        "",
    ] {
        assert_eq!(url(odd), "not an http URL", "{odd}");
    }
    assert_eq!(
        (url("wss://a/"), url("ws://a/x")),
        ("a WebSocket".to_owned(), "a WebSocket".to_owned())
    );
    let status = |status: Value| response(&json!({"status": status})).unwrap_err();
    for none in [json!(0), json!(-2), json!(null), json!("-1"), json!(1)] {
        assert_eq!(status(none), "no response came (a status below 100)");
    }
    assert_eq!(status(json!(999)), "999 is not a valid response status");
    assert_eq!(status(json!("OK")), "the status is not a number");
    assert_eq!(status(json!(101)), "an upgraded connection, such as a WebSocket");
    assert_eq!(status(json!(103)), "only an interim response");
    assert_eq!(
        body(&json!({"text": "truncated==", "encoding": "base64"})).unwrap_err(),
        "its body is not valid base64"
    );
    assert_eq!(
        body(&json!({"text": "x", "encoding": "gzip"})).unwrap_err(),
        "its body has an unknown encoding, `gzip`"
    );
    assert_eq!(reason(json!({})), "no request was recorded");
    assert_eq!(reason(json!(null)), "no request was recorded");
    assert_eq!(
        reason(json!({"request": {"method": "GET", "url": "http://a/"}})),
        "no response was recorded"
    );
    assert_eq!(
        reason(json!({"request": {"method": "CONNECT", "url": "a:443"}})),
        "a tunnel (CONNECT)"
    );
    assert_eq!(
        reason(json!({"request": {"url": "http://a/"}})),
        "no valid request method"
    );
    let many = [
        entry("data:,", &json!({"status": 200})),
        entry("http://a/", &json!({"status": 200})),
        entry("", &json!({})),
    ];
    let recording = load_all(&file(&many), None).unwrap();
    assert_eq!(recording.left_out, [("not an http URL".into(), vec![0, 2])]);
    assert_eq!((recording.entries, recording.exchanges.len()), (3, 1));
    assert_eq!(load_all(&file(&many), Some("a")).unwrap().entries, 1);
}

#[test]
fn what_is_plain_is_read() {
    for status in [json!("201"), json!(201.0)] {
        assert_eq!(response(&json!({"status": status})).unwrap().status, 201);
    }
    for (content, expected) in [
        (json!(null), ""),
        (json!({"text": null, "mimeType": null, "encoding": null}), ""),
        (json!("plain"), "plain"),
        (json!({"text": {"a": 1}}), "{\"a\":1}"),
        (json!({"text": "aGk", "encoding": "BASE64"}), "hi"),
        (json!({"text": "aG\nk=", "encoding": "base64"}), "hi"),
        (json!({"text": "hi", "encoding": "utf-8"}), "hi"),
        (json!({"_file": "a.txt"}), "beside"),
    ] {
        assert_eq!(body(&content).as_deref(), Ok(expected), "{content}");
    }
    assert_eq!(
        body(&json!({"_file": "b.txt"})).unwrap_err(),
        "its body can't be read: nothing there"
    );
    for headers in [
        json!([{"name": "Set-Cookie", "value": ["a=1", "b=2"]}, {"name": "x", "value": null}, {"name": "n", "value": 5}]),
        json!({"set-cookie": ["a=1", "b=2"], "x": null, "n": 5}),
    ] {
        let headers = response(&json!({"status": 200, "headers": headers})).unwrap().headers;
        let cookies: Vec<_> = headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect();
        assert_eq!(
            (cookies, headers["n"].to_str().unwrap(), headers.len()),
            (vec!["a=1", "b=2"], "5", 3)
        );
    }
    let moved = response(&json!({"status": 301, "headers": null, "redirectURL": "/x"})).unwrap();
    assert_eq!(moved.headers[LOCATION], "/x");
    let relative = read(&entry("/x?y=1", &json!({"status": 200}))).unwrap();
    assert_eq!((relative.host.as_str(), relative.request.path.as_str()), ("", "/x"));
    let timed = json!({"request": {"method": "get", "url": "//a:1"}, "response": {"status": 200}, "time": "12.5"});
    let timed = read(&timed).unwrap();
    assert_eq!(
        (timed.wait, timed.host.as_str()),
        (Duration::from_micros(12_500), "a:1")
    );
}

#[test]
fn bodies_that_were_not_recorded_are_known() {
    let incomplete = |response: Value| super::tests::response(&response).unwrap().incomplete;
    for (content, expected) in [
        (json!({"size": 500, "mimeType": "text/html"}), true),
        (json!({"size": 500, "mimeType": "text/html", "text": ""}), true),
        (json!({"size": -1, "mimeType": "text/html"}), true),
        (json!({"size": 0, "mimeType": "text/html", "text": null}), false),
        (json!({"size": 2, "mimeType": "text/html", "text": "hi"}), false),
    ] {
        assert_eq!(
            incomplete(json!({"status": 200, "content": content})),
            expected,
            "{content}"
        );
        assert!(!incomplete(json!({"status": 302, "content": content})));
    }
    let length = json!([{"name": "content-length", "value": "7"}]);
    assert!(incomplete(
        json!({"status": 200, "headers": length, "content": {"text": ""}})
    ));
}

#[test]
fn forms_are_compared_by_their_fields() {
    let posted = |data: Value| {
        let request = json!({"method": "POST", "url": "http://a/", "postData": data});
        read(&json!({"request": request, "response": {"status": 200}}))
            .unwrap()
            .request
    };
    let asked = |content_type: &str, body: &str| {
        ComparableRequest::new("POST", "/", "", content_type, Bytes::copy_from_slice(body.as_bytes()))
    };
    let params = json!([{"name": "b", "value": "x y"}, {"name": "a", "value": "1"}]);
    let form = "application/x-www-form-urlencoded; charset=UTF-8";
    for data in [
        json!({"mimeType": form, "params": params, "text": null}),
        json!({"mimeType": form, "params": params}),
        json!({"mimeType": form, "params": [], "text": "a=1&b=x%20y"}),
    ] {
        assert_eq!(posted(data), asked("application/x-www-form-urlencoded", "b=x+y&a=1"));
    }
    let part = |name: &str, body: &str| format!("--B\r\nContent-Disposition: form-data; {name}\r\n\r\n{body}\r\n");
    let multipart = part("name=a", "1") + &part("name=f; filename=\"x.png\"", "bytes") + "--B--\r\n";
    let files = json!([{"name": "a", "value": "1"}, {"name": "f", "fileName": "x.png", "contentType": "image/png"}]);
    let kind = "multipart/form-data; boundary=";
    for data in [
        json!({"mimeType": "multipart/form-data", "params": files}),
        json!({"mimeType": format!("{kind}C"), "text": multipart.replace("--B", "--C")}),
    ] {
        assert_eq!(posted(data), asked(&format!("{kind}B"), &multipart));
    }
    let coded = json!({"mimeType": "image/png", "text": "aGk=", "encoding": "base64"});
    assert_eq!(posted(coded), asked("image/png", "hi"));
    assert_ne!(posted(json!(null)), asked("text/plain", "hi"));
}

#[test]
fn texts_that_unicode_does_not_allow() {
    for (text, expected) in [
        (r"\ud83d cut", "\u{fffd} cut"),
        (r"\udc00\ud83d\ude00\ud800\u0041", "\u{fffd}\u{1f600}\u{fffd}A"),
        (r"\\ud83d\\\ud83d\n", "\\ud83d\\\u{fffd}\n"),
    ] {
        let entry = entry("http://a/", &json!({"status": 200, "content": {"text": "TEXT"}}));
        let raw = String::from_utf8(file(&[entry])).unwrap().replace("TEXT", text);
        let recording = load_all(raw.as_bytes(), None).unwrap();
        assert_eq!(String::from_utf8_lossy(&recording.exchanges[0].body), expected);
    }
    let plain = String::from_utf8(file(&[entry("http://a/", &json!({"status": 200}))])).unwrap();
    let wide: Vec<u8> = [0xfeff]
        .into_iter()
        .chain(plain.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(load_all(&wide, None).unwrap().exchanges.len(), 1);
}

#[test]
fn files_that_hold_no_recording_say_where() {
    assert!(
        load_all(b"{\"log\": {}}", None)
            .unwrap_err()
            .contains("missing field `entries` at line 1")
    );
    assert!(load_all(b"", None).unwrap_err().contains("EOF"));
    assert!(
        load_all(b"onInputData({})", None)
            .unwrap_err()
            .contains("line 1 column 1")
    );
}

proptest::proptest! {
    #[test]
    fn no_entry_is_too_odd(text in r#"(\\(u[dD][89a-fA-F]|u[0-9a-f]{4}|["\\/bn])|[a-z]|é){0,12}"#) {
        let _ = without_lone_surrogates(&text);
        let raw = format!("{{\"log\":{{\"entries\":[{{\"request\":\"{text}\"}}]}}}}");
        let _ = load_all(raw.as_bytes(), None);
    }
}
