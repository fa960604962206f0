use super::*;
use serde_json::json;

fn servers() -> Servers {
    let document = json!({"openapi": "3.1.0",
        "servers": [{"url": "https://api.example.com/v1/"}, {"url": "https://{region}.example.com",
            "variables": {"region": {"default": "eu", "enum": ["eu", "us"]}}}, {"url": "/base"}],
        "paths": {"/a": {"get": {"servers": [{"url": "https://files.example.com"}]}}}});
    Servers::read(&Document::read_from(document.to_string().as_bytes(), None).unwrap())
}

fn check(target: &str, of: impl Fn(&Links<'_>)) {
    let request = http::Request::builder().uri(target).header("host", "h:80");
    let (head, ()) = request.body(()).unwrap().into_parts();
    of(&servers().links(&head, "/p"));
}

#[test]
fn urls_of_servers_become_those_of_the_fake() {
    check("/p/a", |links| {
        for (url, turned) in [
            ("https://api.example.com/v1/a?b=c", "http://h:80/p/a?b=c"),
            ("https://api.example.com/v1", "http://h:80/p"),
            ("https://api.example.com/v10", "https://api.example.com/v10"),
            ("https://US.example.com/x", "http://h:80/p/x"),
            ("see https://files.example.com/f, or not", "see http://h:80/p/f, or not"),
            ("https://example.org/", "https://example.org/"),
        ] {
            assert_eq!(links.text(url), turned);
        }
        let mut value = json!({"a": ["https://eu.example.com/1", 5]});
        links.turn(&mut value);
        assert_eq!(value, json!({"a": ["http://h:80/p/1", 5]}));
        assert_eq!(links.location("/base/x"), "/p/x");
        assert_eq!(links.location("/v1/x"), "/p/x");
        assert_eq!(links.location("/basement"), "/basement");
        assert_eq!(links.made(true, "7"), "http://h:80/p/a/7");
    });
}

#[test]
fn bodies_have_the_prefix_that_was_stripped_and_fields_leave_it_to_the_proxy() {
    let mut request = http::Request::builder()
        .uri("/p/a")
        .header("host", "h")
        .body(())
        .unwrap();
    request.extensions_mut().insert(crate::fake::Mount {
        outer: "/fz".to_owned(),
        inner: String::new(),
    });
    let (head, ()) = request.into_parts();
    let servers = servers();
    let links = servers.links(&head, "/p");
    assert_eq!(links.text("https://api.example.com/v1/a"), "http://h/fz/p/a");
    assert_eq!(links.location("https://api.example.com/v1/a"), "http://h/p/a");
    assert_eq!(links.link("<https://api.example.com/v1/b>"), "<http://h/p/b>");
}

#[test]
fn pages_end() {
    let field =
        r#"<https://api.example.com/v1/a?page=2>; rel="next", <https://api.example.com/v1/a?page=9,1>; rel="last""#;
    let turned = r#"<http://h:80/p/a?page=2>; rel="next", <http://h:80/p/a?page=9,1>; rel="last""#;
    check("/p/a", |links| assert_eq!(links.link(field), turned));
    for (query, later) in [
        ("page=1", false),
        ("page=2", true),
        ("offset=0&limit=5", false),
        ("page[after]=x", true),
    ] {
        check(&format!("/p/a?{query}"), |links| {
            assert_eq!(links.is_for_later_page(), later)
        });
    }
    check("/p/a?page=2", |links| {
        assert_eq!(links.link(field), r#"<http://h:80/p/a?page=9,1>; rel="last""#);
    });
}
