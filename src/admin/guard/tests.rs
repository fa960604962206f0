use super::*;

#[derive(Default)]
struct Ask<'a> {
    token: Option<&'a str>,
    bound: Option<&'a str>,
    method: Method,
    target: &'a str,
    fields: &'a [(&'a str, &'a str)],
}

fn verdict(ask: Ask<'_>) -> u16 {
    let mut request = http::Request::builder().method(ask.method).uri(ask.target);
    for (name, value) in ask.fields {
        request = request.header(*name, *value);
    }
    let request = request.body(axum::body::Body::empty()).unwrap();
    let bound = ask.bound.unwrap_or("127.0.0.1:9900").parse().unwrap();
    let checked = Checked {
        token: ask.token,
        bound: &bound,
        request: &request,
    };
    checked
        .check()
        .map_or_else(|refusal| refusal.problem.status.as_u16(), |()| 200)
}

#[test]
fn without_a_token_the_host_is_this_machine() {
    let get = |host: &str| {
        verdict(Ask {
            target: "/metrics",
            fields: &[("host", host)],
            ..Ask::default()
        })
    };
    let local = [
        "localhost:9900",
        "127.0.0.1:9900",
        "[::1]:9900",
        "LOCALHOST",
        "127.9.9.9",
        "a.localhost",
        "localhost.",
    ];
    for host in local {
        assert_eq!(get(host), 200, "{host}");
    }
    let foreign = [
        "evil.example:9900",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "localhost.evil.example",
        "0.0.0.0",
        "[::]",
    ];
    for host in foreign {
        assert_eq!(get(host), 421, "{host}");
    }
    assert_eq!(get("a b"), 400);
    assert_eq!(get(""), 400);
    let two = [("host", "localhost"), ("host", "evil.example")];
    assert_eq!(
        verdict(Ask {
            target: "/",
            fields: &two,
            ..Ask::default()
        }),
        400
    );
    assert_eq!(
        verdict(Ask {
            target: "/",
            ..Ask::default()
        }),
        400,
        "HTTP/1.1 without Host"
    );
    let local = [("host", "localhost")];
    assert_eq!(
        verdict(Ask {
            target: "http://evil.example/",
            fields: &local,
            ..Ask::default()
        }),
        421
    );
    assert_eq!(
        verdict(Ask {
            target: "/healthz",
            fields: &[("host", "evil.example")],
            ..Ask::default()
        }),
        200
    );
    let elsewhere = Ask {
        bound: Some("[::1]:9900"),
        target: "/",
        fields: &[("host", "[::1]")],
        ..Ask::default()
    };
    assert_eq!(verdict(elsewhere), 200);
    let unix = Ask {
        bound: Some("unix:/run/admin"),
        target: "/",
        fields: &[("host", "squall")],
        ..Ask::default()
    };
    assert_eq!(verdict(unix), 200);
}

#[test]
fn other_origins_change_nothing() {
    let post = |token, fields: &[(&str, &str)]| {
        verdict(Ask {
            token,
            method: Method::POST,
            target: "/api/v1/reload",
            fields,
            ..Ask::default()
        })
    };
    let local = ("host", "localhost:9900");
    assert_eq!(post(None, &[local]), 200);
    assert_eq!(post(None, &[local, ("origin", "http://localhost:9900")]), 200);
    assert_eq!(post(None, &[local, ("origin", "http://LOCALHOST:9900")]), 200);
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost:3000",
        "http://127.0.0.1:9900",
        "",
        "://",
        "x",
    ] {
        assert_eq!(post(None, &[local, ("origin", origin)]), 403, "{origin}");
    }
    assert_eq!(post(None, &[local, ("sec-fetch-site", "cross-site")]), 403);
    let known = ("authorization", "Bearer s3cret");
    assert_eq!(
        post(Some("s3cret"), &[local, known, ("origin", "https://evil.example")]),
        403
    );
    let fields = [local, ("origin", "https://evil.example")];
    assert_eq!(
        verdict(Ask {
            target: "/metrics",
            fields: &fields,
            ..Ask::default()
        }),
        200,
        "reading changes nothing"
    );
}

#[test]
fn a_token_is_asked_for_everywhere_but_for_health() {
    let get = |target, fields: &[(&str, &str)]| {
        verdict(Ask {
            token: Some("s3cret"),
            bound: Some("0.0.0.0:9900"),
            target,
            fields,
            ..Ask::default()
        })
    };
    for target in ["/", "/metrics", "/api/v1/status", "/none", "/healthz/"] {
        assert_eq!(get(target, &[]), 401, "{target}");
    }
    for wrong in [
        "Bearer wrong!",
        "Bearer s3cre",
        "Bearer s3crets",
        "Bearer",
        "Bearer ",
        "Basic s3cret",
        "s3cret",
    ] {
        assert_eq!(get("/metrics", &[("authorization", wrong)]), 401, "{wrong}");
    }
    let twice = [("authorization", "Bearer s3cret"), ("authorization", "Bearer s3cret")];
    assert_eq!(get("/metrics", &twice), 401);
    assert_eq!(
        get(
            "/metrics",
            &[("authorization", "bearer s3cret"), ("host", "squall:9900")]
        ),
        200
    );
    assert_eq!(get("/healthz", &[("host", "squall:9900")]), 200);
}

#[test]
fn a_token_that_is_gone_opens_nothing_to_other_machines() {
    let ask = Ask {
        bound: Some("0.0.0.0:9900"),
        target: "/",
        fields: &[("host", "localhost")],
        ..Ask::default()
    };
    assert_eq!(verdict(ask), 403);
}
