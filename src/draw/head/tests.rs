use super::*;
use proptest::prelude::*;

#[test]
fn paths_are_normalised() {
    let cases = [
        ("/a/b", "/a/b"),
        ("/a%20b", "/a b"),
        ("/a/./b/../c", "/a/c"),
        ("/a//b", "/a/b"),
        ("/../..", "/"),
        ("/a/..", "/"),
        ("/a/b/.", "/a/b/"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a%2fb/%2e%2e/c", "/c"),
        ("/caf%C3%A9", "/café"),
        ("/%ff", "/\u{fffd}"),
        ("/", "/"),
        ("/a/", "/a/"),
        ("*", "*"),
        ("/%", "/%"),
        ("http://host:80/x", "/x"),
        ("http://host", "/"),
        ("/.hidden", "/.hidden"),
    ];
    for (raw, expect) in cases {
        assert_eq!(normalise(raw), expect, "{raw}");
    }
}

#[test]
fn hosts_lose_port_case_and_dot() {
    let headers = HeaderMap::new();
    for (authority, expect) in [
        ("Shop.Example.COM:8080", "shop.example.com"),
        ("[::1]:80", "::1"),
        ("a.b.", "a.b"),
        ("", ""),
    ] {
        assert_eq!(
            Head::new(&Method::GET, "/", Some(authority), &headers, None).host(),
            expect
        );
    }
}

#[test]
fn a_connection_has_a_host_and_a_client_at_most() {
    let head = Head::of_connection(None, Some("Shop.Example"));
    assert!(head.is_connection());
    assert_eq!((head.host(), head.client), ("shop.example", None));
    assert_eq!(Head::of_connection(None, None).host(), "");
    let fields = HeaderMap::new();
    assert!(!Head::new(&Method::GET, "/", None, &fields, None).is_connection());
}

#[test]
fn default_ports_can_be_left_out() {
    let headers = HeaderMap::new();
    for (authority, port, expect) in [
        ("shop:8080", 8080, true),
        ("shop:8080", 80, false),
        ("[::1]:8080", 8080, true),
        ("shop", 80, true),
        ("shop", 443, true),
        ("[::1]", 443, true),
        ("shop:", 80, true),
        ("shop", 8080, false),
        ("shop:x", 80, false),
    ] {
        let head = Head::new(&Method::GET, "/", Some(authority), &headers, None);
        assert_eq!(head.is_for_port(port), expect, "{authority} {port}");
    }
}

#[test]
fn queries_and_cookies_are_read() {
    let mut headers = HeaderMap::new();
    headers.append("cookie", "a=1; b=\"2\"".parse().unwrap());
    headers.append("cookie", "c=3".parse().unwrap());
    let head = Head::new(&Method::GET, "/p?x=1&y=a+b%26c&flag", None, &headers, None);
    let query: Vec<_> = head.query().map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
    let pairs = [("x", "1"), ("y", "a b&c"), ("flag", "")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    assert_eq!(query, pairs);
    let cookies: Vec<_> = head.cookies().map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
    assert_eq!(
        cookies,
        [("a", "1"), ("b", "2"), ("c", "3")].map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
}

proptest! {
    #[test]
    fn normalising_never_panics_and_leaves_no_dots(raw in "\\PC*") {
        let normal = normalise(&raw);
        if normal != raw.as_str() {
            prop_assert!(!normal.split('/').any(|segment| segment == ".."));
        }
    }

    #[test]
    fn normalising_plain_paths_is_idempotent(raw in "/[a-z./]{0,40}") {
        let once = normalise(&raw).into_owned();
        prop_assert_eq!(normalise(&once).into_owned(), once.clone());
    }
}

#[test]
fn a_request_names_its_space() {
    let space = |fields: &[(&str, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, value.parse().unwrap());
        }
        space_of(&headers).map(Cow::into_owned)
    };
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(space(&[]), None);
    assert_eq!(space(&[("squall-space", " ")]), None);
    assert_eq!(
        space(&[("Squall-Space", "a"), ("baggage", "squall-space=b")]),
        named("a")
    );
    assert_eq!(space(&[("baggage", "k=v, squall-space = t%201 ;p=1")]), named("t 1"));
    assert_eq!(space(&[("baggage", "k=v"), ("baggage", "squall-space=x")]), named("x"));
    assert_eq!(space(&[("baggage", "squall-spaces=x,squall-space=,=,")]), None);
}
