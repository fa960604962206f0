use super::*;
use crate::config::load_text;
use crate::config::snapshot::Inputs;
use crate::metrics::Metrics;

const TWO: &str = "\
seed: 7
listeners:
  web: {address: '127.0.0.1:8080', upstream: echo}
  api: {address: '[::1]:8081', upstream: echo}
  sock: {address: 'unix:/run/squall.sock', upstream: echo}
upstreams: {echo: {fake: echo}}
rules: []
";

fn snapshot(yaml: &str) -> Snapshot {
    let metrics = Metrics::new().unwrap();
    let inputs = Inputs::new(&metrics, Instant::now());
    load_text("x.yaml", yaml, inputs).unwrap_or_else(|report| panic!("{report}"))
}

fn question(json: serde_json::Value) -> Result<Explanation, String> {
    let question: Question = serde_json::from_value(json).unwrap();
    question.answer(&snapshot(TWO), &[], Instant::now())
}

/// Listener, client and host of what is explained.
fn check(json: serde_json::Value, expect: Result<(&str, Option<&str>, &str), &str>) {
    let got = question(json.clone());
    match expect {
        Ok((listener, client, host)) => {
            let request = got.unwrap().request;
            let got_client = request.client.map(|client| client.to_string());
            assert_eq!(
                (&*request.listener, got_client.as_deref(), &*request.host),
                (listener, client, host),
                "{json}"
            );
        }
        Err(part) => {
            let error = got.unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}

#[test]
fn the_listener_is_where_the_request_would_arrive() {
    let json = |text: &str| serde_json::from_str(text).unwrap();
    check(
        json(r#"{"url": "http://localhost:8080/x"}"#),
        Ok(("web", Some("127.0.0.1"), "localhost")),
    );
    check(
        json(r#"{"url": "http://[::1]:8081/x"}"#),
        Ok(("api", Some("::1"), "::1")),
    );
    check(
        json(r#"{"url": "/x", "listener": "web"}"#),
        Ok(("web", Some("127.0.0.1"), "127.0.0.1")),
    );
    check(
        json(r#"{"url": "/x", "listener": "sock"}"#),
        Ok(("sock", None, "localhost")),
    );
    check(
        json(r#"{"curl": "curl --unix-socket /run/squall.sock http://h/"}"#),
        Ok(("sock", None, "h")),
    );
    check(
        json(r#"{"url": "http://shop/x", "listener": "web", "client": "10.1.2.3"}"#),
        Ok(("web", Some("10.1.2.3"), "shop")),
    );
    check(
        json(r#"{"url": "/x"}"#),
        Err("web (127.0.0.1:8080), api ([::1]:8081), sock (unix:/run/squall.sock)"),
    );
    check(json(r#"{"url": "/x", "listener": "wep"}"#), Err("did you mean `web`?"));
    check(json(r#"{"url": "http://h:9/x"}"#), Err("the listener is ambiguous"));
    check(json(r#"{"url": "/x", "listener": "web", "ordinal": 0}"#), Err("from 1"));
    check(json(r#"{"url": "/x", "curl": "curl h"}"#), Err("`url` or `curl`"));
    check(
        json(r#"{"curl": "curl h", "method": "PUT"}"#),
        Err("can't be combined with `curl`"),
    );
}

#[test]
fn fields_come_as_one_value_or_several() {
    let asked = |json: &str| {
        let question: Question = serde_json::from_str(json).unwrap();
        question.call().unwrap().asked
    };
    let asked = asked(r#"{"url": "http://h/", "method": "PUT", "headers": {"a": "1", "b": ["2", "3"], "c": ""}}"#);
    let fields: Vec<_> = asked
        .headers
        .iter()
        .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
        .collect();
    assert_eq!(fields, ["a=1", "b=2", "b=3", "c=", "host=h"]);
    assert_eq!(asked.method, "PUT");
}

#[test]
fn a_port_that_the_system_has_chosen_is_known() {
    let yaml = "listeners: {a: {address: '127.0.0.1:0', upstream: e}, b: {address: '127.0.0.1:0', upstream: e}}\nupstreams: {e: {fake: echo}}\n";
    let ask = |url: &str| {
        let question: Question = serde_json::from_value(serde_json::json!({ "url": url })).unwrap();
        let open = [("a", "127.0.0.1:41"), ("b", "127.0.0.1:42")].map(|(name, at)| (name.into(), at.to_owned()));
        question.answer(&snapshot(yaml), &open, Instant::now())
    };
    assert_eq!(&*ask("http://127.0.0.1:42/x").unwrap().request.listener, "b");
    assert!(ask("/x").unwrap_err().contains("b (127.0.0.1:42)"));
}

#[test]
fn a_port_that_is_nobodys_is_noted() {
    let yaml = "listeners: {web: {address: '127.0.0.1:8080', upstream: e}}\nupstreams: {e: {fake: echo}}\n";
    let notes = |url: &str| {
        let question: Question = serde_json::from_value(serde_json::json!({ "url": url })).unwrap();
        let explanation = question.answer(&snapshot(yaml), &[], Instant::now()).unwrap();
        explanation.notes.join("\n")
    };
    assert!(notes("http://127.0.0.1:8081/x").contains("no listener has the port 8081"));
    assert_eq!(
        notes("http://127.0.0.1:8080/x") + &notes("/x") + &notes("http://shop.example/x"),
        ""
    );
}
