use axum::body::Body;
use axum::routing::get;
use tower::ServiceExt as _;

use super::*;
use crate::yaml::testing::read;

fn cors(text: &str) -> Cors {
    Cors::new(&read(text).unwrap())
}

fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

fn text(added: &Added) -> Vec<String> {
    let shown = |(name, value): &(HeaderName, HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    added.iter().map(shown).collect()
}

const PREFLIGHT: &[(&str, &str)] = &[
    ("origin", "https://a.example"),
    ("access-control-request-method", "PUT"),
    ("access-control-request-headers", "authorization,x-a"),
];

#[test]
fn an_answer_can_be_read_with_all_its_fields() {
    let request = fields(&[("origin", "https://a.example")]);
    let response = fields(&[
        ("content-type", "application/json"),
        ("retry-after", "5"),
        ("ratelimit", "x"),
        ("set-cookie", "a=b"),
        ("squall-fault", "rule=\"r\""),
    ]);
    let added = cors("mirror").completes(&Method::GET, &request, &response);
    assert_eq!(
        text(&added),
        [
            "vary: Origin",
            "access-control-allow-origin: https://a.example",
            "access-control-allow-credentials: true",
            "access-control-expose-headers: retry-after, squall-fault, ratelimit"
        ]
    );
    let added = cors("{origins: https://a.example, credentials: false, expose: X-B}");
    let added = added.completes(&Method::GET, &request, &HeaderMap::new());
    assert_eq!(
        text(&added),
        [
            "vary: Origin",
            "access-control-allow-origin: https://a.example",
            "access-control-expose-headers: retry-after, squall-fault, x-b"
        ]
    );
}

#[test]
fn what_is_not_allowed_or_not_asked_gets_vary_alone() {
    let cors = cors("https://a.example");
    for request in [
        fields(&[("origin", "https://b.example")]),
        fields(&[("origin", "null")]),
        HeaderMap::new(),
    ] {
        let added = cors.completes(&Method::GET, &request, &HeaderMap::new());
        assert_eq!(text(&added), ["vary: Origin"]);
        for vary in ["*", "accept, origin"] {
            let added = cors.completes(&Method::GET, &request, &fields(&[("vary", vary)]));
            assert!(added.is_empty(), "{vary}");
        }
    }
}

#[test]
fn an_answer_with_an_origin_of_its_own_keeps_it() {
    let request = fields(&[("origin", "https://a.example")]);
    let response = fields(&[("access-control-allow-origin", "https://other.example")]);
    assert!(cors("mirror").completes(&Method::GET, &request, &response).is_empty());
}

/// Fields of one name can't be told apart by those who read only one of them, so there is one.
#[test]
fn what_is_exposed_stands_in_one_field() {
    let request = fields(&[("origin", "https://a.example")]);
    let origin = ("access-control-allow-origin", "https://a.example");
    let exposed = ("access-control-expose-headers", "ETag,Squall-Fault");
    let delayed = fields(&[
        origin,
        exposed,
        ("squall-fault", "x"),
        ("server-timing", "squall;dur=1"),
    ]);
    let added = cors("mirror").adjusts(&Method::GET, &request, &delayed);
    assert_eq!(
        text(&added),
        ["access-control-expose-headers: ETag, Squall-Fault, server-timing"]
    );
    assert!(supersedes(&added[0].0) && !supersedes(&VARY));
    let named = fields(&[origin, exposed, ("squall-fault", "x")]);
    assert!(cors("mirror").adjusts(&Method::GET, &request, &named).is_empty());
    // One of an injected response's own.
    let added = cors("mirror").completes(&Method::GET, &request, &fields(&[exposed]));
    let last = text(&added).pop().unwrap();
    assert_eq!(last, "access-control-expose-headers: ETag, Squall-Fault, retry-after");
}

#[test]
fn a_preflight_is_granted_what_it_asks_for() {
    let mut request = fields(PREFLIGHT);
    assert!(is_preflight(&Method::OPTIONS, &request) && !is_preflight(&Method::PUT, &request));
    assert!(!is_preflight(
        &Method::OPTIONS,
        &fields(&[("origin", "https://a.example")])
    ));
    request.insert(REQUEST_PRIVATE_NETWORK, TRUE);
    let added = cors("{origins: \"*\", max_age: 10m}").completes(&Method::OPTIONS, &request, &HeaderMap::new());
    assert_eq!(
        text(&added),
        [
            "vary: Origin",
            "access-control-allow-origin: https://a.example",
            "access-control-allow-credentials: true",
            "access-control-allow-methods: PUT",
            "access-control-allow-headers: authorization,x-a",
            "access-control-allow-private-network: true",
            "access-control-max-age: 600"
        ]
    );
}

#[test]
fn a_natural_response_gets_what_concerns_squall_alone() {
    let cors = cors("mirror");
    let request = fields(&[("origin", "https://a.example")]);
    let own = ("access-control-allow-origin", "https://a.example");
    let untouched = cors.adjusts(&Method::GET, &request, &fields(&[own, ("etag", "x")]));
    assert!(untouched.is_empty());
    let delayed = fields(&[own, ("squall-fault", "x"), ("server-timing", "squall;dur=1")]);
    let added = cors.adjusts(&Method::GET, &request, &delayed);
    assert_eq!(
        text(&added),
        ["access-control-expose-headers: squall-fault, server-timing"]
    );
    let closed = fields(&[("squall-fault", "x")]);
    assert!(cors.adjusts(&Method::GET, &request, &closed).is_empty());
    let mut preflight = fields(PREFLIGHT);
    assert!(cors.adjusts(&Method::OPTIONS, &preflight, &fields(&[own])).is_empty());
    preflight.insert(REQUEST_PRIVATE_NETWORK, TRUE);
    let added = cors.adjusts(&Method::OPTIONS, &preflight, &fields(&[own]));
    assert_eq!(text(&added), ["access-control-allow-private-network: true"]);
    assert!(cors.adjusts(&Method::OPTIONS, &preflight, &HeaderMap::new()).is_empty());
}

#[tokio::test]
async fn a_fake_of_its_own_answers_preflights_and_completes_the_rest() {
    let recorded = [
        ("access-control-allow-origin", "https://front.example"),
        ("access-control-expose-headers", "x-other"),
    ];
    let fake = Router::new()
        .route("/x", get(async || ([("x-total", "3")], "body")))
        .route("/recorded", get(async move || (recorded, "body")));
    let fake = Arc::new(cors("https://a.example")).around(fake);
    let ask = async |method: &str, path: &str, pairs: &[(&'static str, &'static str)]| {
        let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        *request.headers_mut() = fields(pairs);
        fake.clone().oneshot(request).await.unwrap()
    };
    let response = ask("OPTIONS", "/anywhere", PREFLIGHT).await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_METHODS], "PUT");
    let foreign = [
        ("origin", "https://b.example"),
        ("access-control-request-method", "PUT"),
    ];
    let response = ask("OPTIONS", "/x", &foreign).await;
    assert_eq!(response.status(), 403);
    assert!(!response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    for (method, path, status) in [("GET", "/x", 200), ("GET", "/nowhere", 404), ("PUT", "/x", 405)] {
        let response = ask(method, path, &[("origin", "https://a.example")]).await;
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "https://a.example");
    }
    // What a recording allowed is of another day.
    let response = ask("GET", "/recorded", &[("origin", "https://a.example")]).await;
    let allowed = response.headers().get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter();
    assert_eq!(allowed.collect::<Vec<_>>(), ["https://a.example"]);
    let exposed = &response.headers()[ACCESS_CONTROL_EXPOSE_HEADERS];
    assert_eq!(exposed, "retry-after, squall-fault");
    let response = ask("GET", "/recorded", &[("origin", "https://b.example")]).await;
    assert!(!response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    let response = ask("GET", "/x", &[("origin", "https://a.example")]).await;
    let exposed = response.headers()[ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap();
    assert!(exposed.contains("x-total"), "{exposed}");
}
