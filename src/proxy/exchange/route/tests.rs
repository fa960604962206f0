use super::back::{changes, host_of};
use super::*;

fn place(secure: bool, authority: &str) -> Place {
    Place {
        secure,
        authority: authority.into(),
    }
}

#[test]
fn paths_there_and_back() {
    let check = |(strip, add, base): (&str, &str, &str), client: &str, upstream: &str| {
        let paths = Paths::new(strip, add, base);
        let sent = paths.to_upstream(client.as_bytes()).into_owned();
        assert_eq!(String::from_utf8(sent).unwrap(), upstream, "{client}");
        assert_eq!(
            paths.to_client(upstream).as_deref(),
            Some(client),
            "back from {upstream}"
        );
    };
    check(("", "", ""), "/a/../b", "/a/../b");
    check(("/a", "", ""), "/a/b?x=/a/c", "/b?x=/a/c");
    check(("/a", "", ""), "/a/", "/");
    check(("/a", "", ""), "/a/b%2Fc/", "/b%2Fc/");
    check(("/a", "/v1", ""), "/a/b", "/v1/b");
    check(("/a", "/v1", ""), "/a", "/v1");
    check(("/a", "/v1", "/base"), "/a/b", "/base/v1/b");
    check(("", "", "/base"), "/", "/base/");
    check(("/a/b", "", ""), "/a/b/c", "/c");
}

#[test]
fn prefixes_are_of_whole_segments_however_they_are_written() {
    let sent = |client: &str| {
        let sent = Paths::new("/api", "", "").to_upstream(client.as_bytes()).into_owned();
        String::from_utf8(sent).unwrap()
    };
    for (client, upstream) in [
        ("/api", "/"),
        ("/%61pi/x", "/x"),
        ("//api/x", "/x"),
        ("/api//x", "//x"),
        ("/b/../api/x", "/x"),
        ("/api/%2e%2E/api/x", "/x"),
        ("/api/./x/..", "/"),
        ("/apis", "/apis"),
        ("/api?x", "/?x"),
        ("*", "*"),
    ] {
        assert_eq!(sent(client), upstream, "{client}");
    }
    let base = |client: &str| {
        let sent = Paths::new("", "", "/base").to_upstream(client.as_bytes()).into_owned();
        String::from_utf8(sent).unwrap()
    };
    for (client, upstream) in [
        ("/../admin", "/base/admin"),
        ("/..%2f..%2Fadmin", "/base/admin"),
        ("/x/%2e%2e%2fadmin", "/base/admin"),
        ("/x/y%5c..%5c..%5C..\\admin", "/base/admin"),
        ("/..;/admin", "/base/admin"),
        ("/.;a=1/admin", "/base/admin"),
        ("/..%2f", "/base/"),
        // Neither leads anywhere.
        ("/a%2Fb/c%5cd", "/base/a%2Fb/c%5cd"),
        ("/a..b/..c/d..%2Fe;x", "/base/a..b/..c/d..%2Fe;x"),
        ("/%252e%252e%252fadmin", "/base/%252e%252e%252fadmin"),
    ] {
        assert_eq!(base(client), upstream, "{client}: nothing leads out of the base path");
    }
    assert_eq!(Paths::new("", "", "/base").to_client("/other"), None);
}

/// Both sides as a client at `http://squall:8080` sees them, through a route that strips `/a` from `upstream`.
fn mapping<'a>(places: &'a [Place], paths: &'a Paths) -> Mapping<'a> {
    Mapping {
        client: (false, "squall:8080"),
        asked: places.first().map_or("squall:8080", |place| &place.authority),
        places,
        is_fake: places.is_empty(),
        secure: places.first().is_some_and(|place| place.secure),
        paths,
        target: "/users/7?x=1",
    }
}

fn mapped(mapping: &Mapping<'_>, name: http::HeaderName, value: &str) -> String {
    let mut headers = HeaderMap::new();
    headers.insert(name, value.parse().unwrap());
    let changes = changes(&headers, mapping, |_, _, _| None);
    let value = |(_, values): &(http::HeaderName, Vec<HeaderValue>)| values[0].to_str().unwrap().to_owned();
    changes.first().map_or_else(|| "as it is".to_owned(), value)
}

#[test]
fn redirects() {
    let places = [place(true, "shop.example"), place(true, "10.0.0.1:8443")];
    let (same, strip) = (Paths::default(), Paths::new("/a", "", "/base"));
    let check = |paths: &Paths, value: &str, expect: &str| {
        assert_eq!(mapped(&mapping(&places, paths), LOCATION, value), expect, "{value}");
    };
    for (value, expect) in [
        (
            "https://shop.example/login?next=//evil",
            "http://squall:8080/login?next=//evil",
        ),
        ("https://SHOP.example:443", "http://squall:8080"),
        ("https://10.0.0.1:8443/x#y", "http://squall:8080/x#y"),
        ("//shop.example/x", "//squall:8080/x"),
        ("http://shop.example/", "as it is"),
        ("https://shop.example:8443/", "as it is"),
        ("https://shop.example.evil/", "as it is"),
        ("https://other.example/x", "as it is"),
        ("/login", "as it is"),
        ("login?next=https://shop.example/", "as it is"),
        ("mailto:a@b.example", "as it is"),
        ("app://open", "as it is"),
        ("", "as it is"),
    ] {
        check(&same, value, expect);
    }
    for (value, expect) in [
        ("https://shop.example/base/login", "http://squall:8080/a/login"),
        ("https://shop.example/base", "http://squall:8080/a"),
        ("https://shop.example/elsewhere", "as it is"),
        ("/base/users", "/a/users"),
        ("/elsewhere", "as it is"),
        ("?page=2", "as it is"),
        ("#top", "as it is"),
    ] {
        check(&strip, value, expect);
    }
    let relative = Paths::new("/a", "", "");
    for (value, expect) in [("8", "/a/users/8"), ("../cart", "/a/cart"), ("./", "/a/users/")] {
        check(&relative, value, expect);
    }
    let content = mapped(&mapping(&places, &strip), CONTENT_LOCATION, "/base/1");
    assert_eq!(content, "/a/1");
}

#[test]
fn links() {
    let places = [place(true, "shop.example")];
    let strip = Paths::new("/a", "", "/base");
    let check = |value: &str, expect: &str| {
        assert_eq!(mapped(&mapping(&places, &strip), LINK, value), expect, "{value}");
    };
    check(
        r#"<https://shop.example/base/x?page=2>; rel="next"; title="<b>, \"</base/q>", </base/y>;rel=last, <https://cdn.example/base/z>"#,
        r#"<http://squall:8080/a/x?page=2>; rel="next"; title="<b>, \"</base/q>", </a/y>;rel=last, <https://cdn.example/base/z>"#,
    );
    for same in [
        "<?page=2>; rel=next",
        "</elsewhere>; rel=next",
        "nonsense",
        "<",
        ">",
        "\"<",
    ] {
        check(same, "as it is");
    }
    let refresh = |value: &str| mapped(&mapping(&places, &strip), REFRESH, value);
    assert_eq!(refresh("5; url=/base/login"), "5; url=/a/login");
    assert_eq!(refresh("5"), "as it is");
}

#[test]
fn a_fake_is_known_by_the_host_that_the_client_asked_for_whatever_the_scheme() {
    let strip = Paths::new("/fz", "", "");
    let check = |name, value: &str, expect: &str| assert_eq!(mapped(&mapping(&[], &strip), name, value), expect);
    check(LOCATION, "http://squall:8080/x", "http://squall:8080/fz/x");
    check(LOCATION, "https://squall:8080/x", "https://squall:8080/fz/x");
    check(LOCATION, "https://other:8080/x", "as it is");
    check(LINK, "</next?page=2>; rel=next", "</fz/next?page=2>; rel=next");
}

#[test]
fn the_host_that_was_asked_counts_as_the_upstream_s_own() {
    let (places, paths) = ([place(false, "10.0.0.1:80")], Paths::default());
    let mapping = Mapping {
        client: (true, "shop.example"),
        asked: "shop.example",
        ..mapping(&places, &paths)
    };
    let check = |value: &str, expect: &str| assert_eq!(mapped(&mapping, LOCATION, value), expect);
    check("http://shop.example/login", "https://shop.example/login");
    check("https://shop.example/login", "as it is");
    let strip = Paths::new("/a", "", "");
    let behind_tls = Mapping {
        client: (true, "shop.example"),
        asked: "shop.example",
        ..self::mapping(&places, &strip)
    };
    let location = mapped(&behind_tls, LOCATION, "https://shop.example/login");
    assert_eq!(
        location, "https://shop.example/a/login",
        "it was told of the client's TLS"
    );
    let nameless = Mapping {
        client: (false, ""),
        asked: "10.0.0.1",
        ..self::mapping(&places, &strip)
    };
    assert_eq!(mapped(&nameless, LOCATION, "http://10.0.0.1/login"), "/a/login");
}

#[test]
fn cookies() {
    let places = [place(true, "www.shop.example")];
    let (same, strip) = (Paths::default(), Paths::new("/a", "/v1", ""));
    let check = |paths: &Paths, value: &str, expect: &str| {
        assert_eq!(mapped(&mapping(&places, paths), SET_COOKIE, value), expect, "{value}");
    };
    for (value, expect) in [
        ("s=1; Path=/; Secure; HttpOnly", "s=1; Path=/; HttpOnly"),
        ("s=1;SECURE;SameSite=None;Partitioned", "s=1"),
        ("s=1; SameSite=Lax", "as it is"),
        ("s=1; Domain=shop.example", "s=1"),
        ("s=1; domain=.WWW.shop.example; Max-Age=3", "s=1; Max-Age=3"),
        ("s=1; Domain=op.example", "as it is"),
        ("s=1; Domain=other.example", "as it is"),
        ("__Secure-s=1; Secure; Domain=shop.example", "__Secure-s=1; Secure"),
        ("__Host-s=1; Secure; Path=/", "as it is"),
        ("s=secure; Path=/", "as it is"),
        ("s", "as it is"),
    ] {
        check(&same, value, expect);
    }
    for (value, expect) in [
        ("s=1; Path=/", "s=1; Path=/a"),
        ("s=1; Path=/v1", "s=1; Path=/a"),
        ("s=1; Path=/v1/", "s=1; Path=/a"),
        ("s=1; Path=/v1/cart", "s=1; Path=/a/cart"),
        ("s=1; Path=/v10", "as it is"),
        ("s=1", "as it is"),
        ("__Host-s=1; Secure; Path=/", "as it is"),
    ] {
        check(&strip, value, expect);
    }
    let two = {
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, "a=1".parse().unwrap());
        headers.append(SET_COOKIE, "b=1; Secure".parse().unwrap());
        changes(&headers, &mapping(&places, &same), |_, _, _| None)
    };
    assert_eq!(two[0].1, ["a=1", "b=1"], "both stay, in order");
}

#[test]
fn a_domain_that_the_client_knows_stays() {
    let (places, paths) = ([place(false, "10.0.0.1:80")], Paths::default());
    let mapping = Mapping {
        client: (false, "a.shop.example:8080"),
        asked: "a.shop.example:8080",
        ..mapping(&places, &paths)
    };
    assert_eq!(mapped(&mapping, SET_COOKIE, "s=1; Domain=shop.example"), "as it is");
    assert_eq!(mapped(&mapping, SET_COOKIE, "s=1; Domain=10.0.0.1"), "s=1");
    assert_eq!((host_of("[::1]:80"), host_of("a:80"), host_of("a")), ("::1", "a", "a"));
}
