use super::*;

fn parse(url: &str) -> Result<HttpTarget, String> {
    HttpTarget::parse(url, Path::new("/etc/squall"))
}

#[track_caller]
fn check(url: &str, place: &str, tls: bool, authority: Option<&str>) {
    let target = parse(url).unwrap();
    assert_eq!(target.place.to_string(), place, "{url}");
    assert_eq!(target.tls, tls, "{url}");
    assert_eq!(target.authority(None).as_deref(), authority, "{url}");
}

#[track_caller]
fn check_error(url: &str, part: &str) {
    let message = parse(url).unwrap_err();
    assert!(message.contains(part), "{url}: {message}");
}

#[test]
fn urls() {
    check("http://10.0.0.1:80", "10.0.0.1:80", false, Some("10.0.0.1"));
    check("http://10.0.0.1/", "10.0.0.1:80", false, Some("10.0.0.1"));
    check("HTTP://10.0.0.1:8080", "10.0.0.1:8080", false, Some("10.0.0.1:8080"));
    check(
        "https://shop.staging.internal",
        "shop.staging.internal:443",
        true,
        Some("shop.staging.internal"),
    );
    check(
        "https://shop.internal:80",
        "shop.internal:80",
        true,
        Some("shop.internal:80"),
    );
    check(
        "http://my_service:3000",
        "my_service:3000",
        false,
        Some("my_service:3000"),
    );
    check("http://[::1]:8080", "[::1]:8080", false, Some("[::1]:8080"));
    check(
        "https://[2001:db8::1]",
        "[2001:db8::1]:443",
        true,
        Some("[2001:db8::1]"),
    );
    check("unix:/run/app.sock", "unix:/run/app.sock", false, None);
    check("unix:///run/app.sock", "unix:/run/app.sock", false, None);
    check("unix:app.sock", "unix:/etc/squall/app.sock", false, None);
}

#[test]
fn paths_of_urls() {
    let base = |url: &str| parse(url).unwrap().base;
    assert_eq!(base("http://h"), "");
    assert_eq!(base("http://h/"), "");
    assert_eq!(base("http://h:80/a/b/"), "/a/b");
}

#[test]
fn another_name_keeps_the_port() {
    let target = parse("https://10.0.0.5:8443").unwrap();
    assert_eq!(target.authority(Some("shop.internal")).unwrap(), "shop.internal:8443");
}

#[test]
fn mistakes_in_urls() {
    check_error("", "empty");
    check_error("localhost:8080", "use http://localhost:8080");
    check_error("ftp://host", "use http://");
    check_error("h2c://host:1", "`protocol: h2c`");
    check_error("tcp://db:5432", "`address: db:5432`");
    check_error("ws://host", "use http://host");
    check_error("http://host/a/../b", "empty segments");
    check_error("http://host/*", "not a pattern");
    check_error("http://host?x=1", "can't have a query");
    check_error("http://host#x", "can't have a fragment");
    check_error("http://user:pw@host", "user and password");
    check_error("http://", "host is missing");
    check_error("http://:80", "host is missing");
    check_error("http://host:0", "1 to 65535");
    check_error("http://host:99999", "1 to 65535");
    check_error("http://host:+80", "1 to 65535");
    check_error("http://host:", "1 to 65535");
    check_error("http://::1:80", "brackets");
    check_error("http://[::1", "closing bracket");
    check_error("http://[::1]x", "only a port");
    check_error("http://[zz]", "not a valid IPv6");
    check_error("http://10.0.0.256", "not a valid IPv4");
    check_error("http://a b", "not a valid host name");
    check_error("http://a..b", "not a valid host name");
    check_error("http://h\u{f6}st", "xn--");
    check_error("unix:", "needs a path");
    check_error(&format!("unix:/{}", "x".repeat(200)), "too long");
}

#[test]
fn addresses() {
    let parse = |text| parse_address(text, Path::new("/etc/squall"));
    assert_eq!(parse("127.0.0.1:5432").unwrap().to_string(), "127.0.0.1:5432");
    assert_eq!(parse("db:5432").unwrap(), TargetAddress::Name("db".to_owned(), 5432));
    assert_eq!(parse("[::1]:1").unwrap().to_string(), "[::1]:1");
    assert_eq!(parse("unix:/run/pg").unwrap().to_string(), "unix:/run/pg");
    assert!(parse("db").unwrap_err().contains("needs a port"));
    assert!(parse("tcp://db:1").unwrap_err().contains("is a URL"));
}
