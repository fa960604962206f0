//! Declared routes, as a client sees them.

use std::path::Path;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::fake::build;
use crate::fake::context::{Context, Store};
use crate::fake::spec::FakeSpec;
use crate::yaml::report::Span;

fn built(yaml: &str) -> Result<axum::Router, Vec<String>> {
    let spec: FakeSpec = crate::yaml::testing::read(&format!("routes:\n{yaml}")).unwrap();
    let context = Context {
        seed: 1,
        store: Store::Memory,
        folder: Path::new(env!("CARGO_MANIFEST_DIR")),
        place: Span::NOWHERE,
        warnings: std::cell::RefCell::default(),
    };
    build(&spec, &context).map_err(|mistakes| mistakes.into_iter().map(|mistake| mistake.message).collect())
}

async fn ask_with(router: &axum::Router, method: &str, target: &str, body: &str) -> Response {
    let request = Request::builder().method(method).uri(target).header("host", "h:80");
    let request = request.body(Body::from(body.to_owned())).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

async fn ask(router: &axum::Router, target: &str) -> (u16, String) {
    let response = ask_with(router, "GET", target, "").await;
    let status = response.status().as_u16();
    (status, text(response).await)
}

async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn json_of(router: &axum::Router, target: &str) -> Value {
    let (_, text) = ask(router, target).await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{target}: {error}: {text}"))
}

#[tokio::test]
async fn templates_read_bodies_as_conditions_do() {
    let router = built(
        r#"
- {path: /form, method: POST, match: {form: {user: bob}}, json: {user: "{{ form.user }}", all: "{{ form }}"}}
- {path: /json, method: POST, match: {json: {a: 1}}, json: "{{ json.a }}"}
"#,
    )
    .unwrap();
    let ask = async |target: &str, kind: &str, body: Vec<u8>| {
        let request = Request::post(target).header("content-type", kind);
        let request = if body.starts_with(&[0x1f, 0x8b]) {
            request.header("content-encoding", "gzip")
        } else {
            request
        };
        let response = router.clone().oneshot(request.body(Body::from(body)).unwrap()).await;
        text(response.unwrap()).await
    };
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\nbob\r\n--b\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\r\nx\r\n--b--\r\n";
    let expected = r#"{"user":"bob","all":{"user":"bob"}}"#;
    let answer = ask("/form", "multipart/form-data; boundary=b", multipart.into()).await;
    assert_eq!(answer, expected);
    let answer = ask("/form", "application/x-www-form-urlencoded", "user=bob".into()).await;
    assert_eq!(answer, expected);
    assert_eq!(ask("/json", "application/json", "\u{feff}{\"a\": 1}".into()).await, "1");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, b"user=bob").unwrap();
    let answer = ask("/form", "application/x-www-form-urlencoded", gzip.finish().unwrap()).await;
    assert_eq!(answer, expected);
}

#[tokio::test]
async fn a_state_can_become_what_a_template_says() {
    let router = built(
        r#"
- {path: /set, method: POST, state: {name: s, initial: new, becomes: "{{ json.to }}"}, status: 204}
- {path: /get, state: {name: s, is: [new, sold]}, json: "{{ state }}"}
"#,
    )
    .unwrap();
    assert_eq!(ask(&router, "/get").await.1, "\"new\"");
    assert_eq!(
        ask_with(&router, "POST", "/set", r#"{"to": "sold"}"#).await.status(),
        204
    );
    assert_eq!(ask(&router, "/get").await.1, "\"sold\"");
    let mistakes = built(r#"- {path: /x, state: {name: s, becomes: "{{ state }}x"}, status: 204}"#).unwrap_err();
    assert!(mistakes[0].starts_with("`state` is not known yet"), "{mistakes:?}");
    let mistakes = built(r#"- {path: /x, json: {a: {"{{ query.k }}": 1}}}"#).unwrap_err();
    assert_eq!(mistakes, ["`{{ query.k }}` is a key, and keys can't be templates"]);
}

#[tokio::test]
async fn a_failure_names_the_template_and_its_values() {
    let router =
        built(r#"- {path: "/users/{id}", json: {id: "{{ path.id | int }}", a: "{{ headers.host }}"}}"#).unwrap();
    let failed = json_of(&router, "/users/abc").await;
    let cause = failed["cause"].as_str().unwrap();
    assert!(
        cause.ends_with(r#"in `{{ path.id | int }}` with path.id = "abc""#),
        "{cause}"
    );
}

#[tokio::test]
async fn a_copy_that_the_client_has_is_not_sent_again() {
    let router = built(
        r#"
- {path: /a, headers: {etag: '"v1"', cache-control: max-age=1}, json: {a: 1}}
- {path: /b, headers: {etag: '"v1"'}, status: 404, json: {a: 1}}
"#,
    )
    .unwrap();
    let ask = async |target: &str, tag: &str| {
        let request = Request::get(target)
            .header("if-none-match", tag)
            .body(Body::empty())
            .unwrap();
        router.clone().oneshot(request).await.unwrap()
    };
    for (target, tag, status) in [
        ("/a", "\"v1\"", 304),
        ("/a", "\"v0\", W/\"v1\"", 304),
        ("/a", "*", 304),
        ("/a", "\"v2\"", 200),
        ("/b", "\"v1\"", 404),
    ] {
        let response = ask(target, tag).await;
        assert_eq!(response.status(), status, "{target} {tag}");
        assert_eq!(response.headers()["etag"], "\"v1\"");
        assert_eq!(text(response).await.is_empty(), status == 304);
    }
}

#[tokio::test]
async fn the_more_specific_path_answers_and_conditions_choose() {
    let router = built(
        r#"
- {path: "/users/{id}", json: {id: "{{ path.id }}"}}
- {path: /users/me, json: {me: true}}
- {path: /pick, match: {query: {a: 1}}, body: first}
- {path: /pick, match: {query: {a: present}}, body: second}
- {path: /pick, body: else}
- {path: /post, method: POST, match: {json: {n: 1}}, body: one}
"#,
    )
    .unwrap();
    assert_eq!(json_of(&router, "/users/7").await, json!({"id": "7"}));
    assert_eq!(json_of(&router, "/users/me").await, json!({"me": true}));
    assert_eq!(ask(&router, "/pick?a=1").await.1, "first");
    assert_eq!(ask(&router, "/pick?a=2").await.1, "second");
    assert_eq!(ask(&router, "/pick").await.1, "else");
    assert_eq!(
        text(ask_with(&router, "POST", "/post", r#"{"n": 1}"#).await).await,
        "one"
    );
    assert_eq!(ask_with(&router, "POST", "/post", "{}").await.status(), 404);
    let refused = ask_with(&router, "DELETE", "/post", "").await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );
    let options = ask_with(&router, "OPTIONS", "/pick", "").await;
    assert_eq!(
        (options.status().as_u16(), &options.headers()["allow"]),
        (204, &"GET, HEAD".parse().unwrap())
    );
    let page = ask(&router, "/").await.1;
    assert!(page.contains("/users/{id}") && page.contains("curl"), "{page}");
}

#[tokio::test]
async fn heads_have_no_body_but_its_length() {
    let router = built("- {path: /a, body: hello}").unwrap();
    let response = ask_with(&router, "HEAD", "/a", "").await;
    assert_eq!(response.headers()["content-length"], "5");
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn answers_have_status_headers_and_one_of_many_bodies() {
    let router = built(
        r#"
- {path: /status, status: "{{ query.s }}", body: ""}
- {path: /headers, headers: {x-a: [1, "{{ query.b }}"], content-type: text/css}, body: x}
- {path: /file, file: LICENSE}
- {path: /bytes, base64: AAEC}
- {path: /null, json: null}
- {path: /echo, method: POST, json: "{{ json }}"}
- {path: /form, method: POST, body: "{{ form.a }}/{{ body }}"}
"#,
    )
    .unwrap();
    assert_eq!(ask(&router, "/status?s=418").await.0, 418);
    let (status, error) = ask(&router, "/status?s=1000").await;
    assert_eq!(status, 500);
    assert!(error.contains("GET /status") && error.contains("1000"), "{error}");
    let response = ask_with(&router, "GET", "/headers?b=2", "").await;
    assert_eq!(response.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(response.headers()["content-type"], "text/css");
    assert_eq!(
        ask(&router, "/headers?b=a%0d%0ab").await.0,
        500,
        "no header can be smuggled in"
    );
    let file = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("LICENSE")).unwrap();
    assert_eq!(ask(&router, "/file").await.1, file);
    assert_eq!(ask(&router, "/bytes").await.1, "\0\x01\x02");
    assert_eq!(ask(&router, "/null").await.1, "null");
    let body = r#"{"z":1,"a":[1.5,null]}"#;
    assert_eq!(text(ask_with(&router, "POST", "/echo", body).await).await, body);
    assert_eq!(text(ask_with(&router, "POST", "/form", "a=1").await).await, "1/a=1");
    let large = "x".repeat((8 << 20) + 1);
    assert_eq!(ask_with(&router, "POST", "/echo", &large).await.status(), 413);
}

#[tokio::test]
async fn random_data_depend_on_the_seed_alone() {
    let yaml = r#"
- path: /x
  json: ["{{ uuid() }}", "{{ random(1, 6) }}", "{{ name() }}", "{{ random(0.5, 1) }}", "{{ choice([1, 2, 3]) }}"]
- {path: /n, body: "{{ request_number }} {{ counter('c') }} {{ counter('c') }}"}
"#;
    let (first, second) = (built(yaml).unwrap(), built(yaml).unwrap());
    let one = json_of(&first, "/x").await;
    assert_eq!(one, json_of(&second, "/x").await);
    assert_ne!(one, json_of(&first, "/x").await);
    assert!((1..=6).contains(&one[1].as_i64().unwrap()) && (0.5..1.0).contains(&one[3].as_f64().unwrap()));
    assert_eq!(
        uuid::Uuid::parse_str(one[0].as_str().unwrap())
            .unwrap()
            .get_version_num(),
        4
    );
    assert_eq!(ask(&first, "/n").await.1, "1 1 2");
    assert_eq!(ask(&first, "/n").await.1, "2 3 4");
}

#[tokio::test]
async fn sequences_and_states() {
    let router = built(
        r#"
- path: /jobs/{id}
  key: "{{ path.id }}"
  end: 410
  sequence: [{status: 202, body: pending, times: 2}, {body: done}]
- {path: "/o/{id}", state: {name: o, key: "{{ path.id }}"}, body: "{{ state }}"}
- {path: "/o/{id}/pay", state: {name: o, key: "{{ path.id }}", is: new, becomes: paid}, status: 204}
"#,
    )
    .unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(ask(&router, "/jobs/1").await.0);
    }
    assert_eq!(seen, [202, 202, 200, 410]);
    assert_eq!(ask(&router, "/jobs/2").await, (202, "pending".to_owned()));
    assert_eq!(ask(&router, "/o/1").await.1, "new");
    assert_eq!(ask(&router, "/o/1/pay").await.0, 204);
    assert_eq!(ask(&router, "/o/1/pay").await.0, 404);
    assert_eq!(
        (ask(&router, "/o/1").await.1, ask(&router, "/o/2").await.1),
        ("paid".into(), "new".into())
    );
}

#[tokio::test]
async fn pages_of_every_style() {
    let router = built(
        r#"
- {path: /p, page: {count: 45, item: {id: "{{ number }}", name: "{{ name() }}"}}}
- {path: /o, page: {items: [a, b, c], style: offset, size: 2}}
- {path: /c, page: {items: [a, b, c], style: cursor, size: 2, parameters: {cursor: after}, envelope: {data: "{{ items }}", next: "{{ next }}"}}}
- {path: /l, page: {count: 5, item: "{{ index }}", style: link, size: 2}}
"#,
    )
    .unwrap();
    let last = json_of(&router, "/p?page=3").await;
    assert_eq!(
        (&last["page"], &last["pages"], &last["total"]),
        (&json!(3), &json!(3), &json!(45))
    );
    assert_eq!(
        (last["items"].as_array().unwrap().len(), &last["items"][0]["id"]),
        (5, &json!(41))
    );
    assert_eq!(
        last["items"][0],
        json_of(&router, "/p?page=41&size=1").await["items"][0]
    );
    assert_eq!(json_of(&router, "/p?page=99").await["items"], json!([]));
    for wrong in [
        "/p?page=0",
        "/p?page=x",
        "/p?size=0",
        "/p?size=101",
        "/o?offset=-1",
        "/c?after=zzz",
    ] {
        assert_eq!(ask(&router, wrong).await.0, 400, "{wrong}");
    }
    assert_eq!(
        json_of(&router, "/o?offset=2").await,
        json!({"items": ["c"], "offset": 2, "limit": 2, "total": 3})
    );
    let first = json_of(&router, "/c").await;
    assert_eq!(first["data"], json!(["a", "b"]));
    let second = json_of(&router, &format!("/c?after={}", first["next"].as_str().unwrap())).await;
    assert_eq!(second, json!({"data": ["c"], "next": null}));
    let response = ask_with(&router, "GET", "/l?page=2&q=x", "").await;
    assert_eq!(
        response.headers()["link"],
        "<http://h:80/l?q=x&page=1>; rel=\"prev\", <http://h:80/l?q=x&page=1>; rel=\"first\", \
         <http://h:80/l?q=x&page=3>; rel=\"next\", <http://h:80/l?q=x&page=3>; rel=\"last\""
    );
    assert_eq!(text(response).await, "[2,3]");
}

#[tokio::test(start_paused = true)]
async fn streams_keep_their_schedule() {
    let router = built(
        r#"
- path: /sse
  delay: 1s
  events:
    - {data: {n: "{{ n }}"}, id: "{{ n }}", after: 100ms, repeat: 3, every: 50ms}
    - {event: done, data: "a\nb", retry: 2s, after: 1s}
- path: /chunks
  chunks: [{json: {n: "{{ n }}"}, repeat: 2}]
"#,
    )
    .unwrap();
    let began = tokio::time::Instant::now();
    let response = ask_with(&router, "GET", "/sse", "").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(began.elapsed().as_millis(), 1000);
    let mut body = response.into_body();
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap();
        seen.push((began.elapsed().as_millis(), data));
    }
    let expect = [
        (1100, "id: 0\ndata: {\"n\":0}\n\n"),
        (1150, "id: 1\ndata: {\"n\":1}\n\n"),
        (1200, "id: 2\ndata: {\"n\":2}\n\n"),
        (2200, "event: done\nretry: 2000\ndata: a\ndata: b\n\n"),
    ];
    assert_eq!(seen, expect.map(|(at, text)| (at, text.to_owned())));
    assert_eq!(ask(&router, "/chunks").await.1, "{\"n\":0}\n{\"n\":1}\n");
}

/// A reload notices when one of them changes.
#[test]
fn a_fake_names_the_files_that_it_is_made_from() {
    let yaml = "
openapi: a.yaml
routes:
  - {path: /b, file: b.html}
  - {path: /c, file: {path: c.html, template: true}}
  - {path: /d, sequence: [{file: d.txt}, {page: {file: e.json}}, {status: 204}]}
  - {path: /f, page: {file: f.json}}
";
    let spec: FakeSpec = crate::yaml::testing::read(yaml).unwrap();
    let files = crate::fake::files(&spec, Path::new("/etc"));
    let expect = ["a.yaml", "b.html", "c.html", "d.txt", "e.json", "f.json"];
    assert_eq!(files.len(), expect.len());
    assert!(
        expect.iter().all(|file| files.contains(&Path::new("/etc").join(file))),
        "{files:?}"
    );
}

#[test]
fn mistakes_are_found_when_the_configuration_is_loaded() {
    for (yaml, expect) in [
        ("- {path: users, body: x}", "a path must start with `/`"),
        ("- {path: /a}", "response is missing"),
        (
            "- {path: /a, body: x, json: 1}",
            "`body` can't be combined with `json`: give one body",
        ),
        (
            "- {path: /a, body: x}\n- {path: /a, body: y}",
            "`GET /a` is never reached",
        ),
        (
            "- {path: \"/a/{x}\", body: x}\n- {path: \"/a/{y}\", body: y}",
            "`GET /a/{y}` is never reached",
        ),
        ("- {path: /a, status: 99}", "99 is not a valid response status"),
        ("- {path: /a, status: 204, body: x}", "status 204 can't have a body"),
        ("- {path: /a, body: \"{{ pth.id }}\"}", "unknown variable `pth`"),
        ("- {path: /a, json: {b: [\"{{ path.id }}\"]}}", "the path has no `{id}`"),
        ("- {path: /a, sequence: []}", "the sequence has 0 steps"),
        (
            "- {path: /a, body: x, sequence: [{body: y}]}",
            "`body` can't be combined with `sequence`",
        ),
        ("- {path: /a, body: x, key: y}", "`key` needs `sequence`"),
        ("- {path: /a, sequence: [{times: 2}]}", "the step's response is missing"),
        ("- {path: /a, events: []}", "there are no events"),
        ("- {path: /a, events: [{after: 1s}]}", "the event's content is missing"),
        (
            "- {path: /a, chunks: [{text: a, json: b}]}",
            "the chunk has more than one content",
        ),
        ("- {path: /a, page: {}}", "the page's items are missing"),
        ("- {path: /a, page: {count: 3}}", "`item` is missing"),
        (
            "- {path: /a, page: {items: [], size: 0}}",
            "a page's size must be 1 to 10000, not 0",
        ),
        (
            "- {path: /a, page: {items: [], parameters: {cursor: c}}}",
            "`cursor` can't be set with `by: page`",
        ),
        ("- {path: /a, file: no-such-file}", "can't read"),
        ("- {path: /a, base64: \"?\"}", "this is not valid base64"),
        (
            "- {path: /a, headers: {\"x y\": 1}, body: x}",
            "is not a valid header name",
        ),
        (
            "- {path: /a, headers: {content-length: 1}, body: x}",
            "it follows from the body",
        ),
        ("- {path: /a, match: {}, body: x}", "the conditions are missing"),
        (
            "- {path: /a, match: {json_path: {\"$.a[\": 1}}, body: x}",
            "is not a valid JSONPath",
        ),
        (
            "- {path: /a, body: x, state: {name: s, is: [a, b]}}",
            "the state `s` is never `b`",
        ),
        (" []", "0 routes are given"),
    ] {
        let mistakes = built(yaml).map(drop).unwrap_err();
        assert!(
            mistakes.iter().any(|mistake| mistake.contains(expect)),
            "{yaml}: {mistakes:?}"
        );
    }
}
