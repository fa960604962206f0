use super::*;

#[track_caller]
fn check(hosts: &[&str], host: &str, address: &str, allowed: bool) {
    let allow = Allow::new(hosts).unwrap();
    let address = address.parse().unwrap();
    let checked = allow.check(host, address);
    assert_eq!(checked.is_ok(), allowed, "{hosts:?}: {host} at {address}: {checked:?}");
}

#[test]
fn only_what_is_listed_is_allowed() {
    let nothing: &[&str] = &[];
    check(nothing, "localhost", "127.0.0.1:3", true);
    check(nothing, "127.0.0.9", "127.0.0.9:3", true);
    check(nothing, "app.localhost", "[::1]:3", true);
    check(nothing, "api.example.com", "198.51.100.1:80", false);
    check(nothing, "10.0.0.1", "10.0.0.1:80", false);
    check(&["api.example.com"], "API.example.com.", "198.51.100.1:80", true);
    check(&["api.example.com"], "api.example.com", "10.0.0.1:80", true);
    check(&["api.example.com"], "localhost", "127.0.0.1:3", false);
    check(&["api.example.com:8080"], "api.example.com", "198.51.100.1:80", false);
    check(&["*.internal"], "a.b.internal", "10.0.0.1:80", true);
    check(&["*.internal"], "internal", "10.0.0.1:80", false);
    check(&["10.0.0.0/8"], "anything.example", "10.1.1.1:80", true);
    check(&["10.0.0.0/8"], "anything.example", "11.1.1.1:80", false);
    check(&["[::1]", "10.0.0.1:81"], "10.0.0.1", "10.0.0.1:80", false);
    check(&["10.0.0.1:81"], "10.0.0.1", "10.0.0.1:81", true);
}

#[test]
fn a_name_can_not_lead_to_this_machine_or_to_a_link() {
    for address in [
        "127.0.0.1:3",
        "[::1]:3",
        "[::ffff:127.0.0.1]:3",
        "169.254.169.254:80",
        "[fe80::1]:80",
        "0.0.0.0:3",
    ] {
        check(&["*"], "api.example.com", address, false);
    }
    check(&["loopback"], "evil.example", "127.0.0.1:3", false);
    check(&["loopback", "shop.test"], "shop.test", "127.0.0.1:3", true);
    check(&["169.254.0.0/16"], "meta", "169.254.169.254:80", true);
    check(&["loopback", "0.0.0.0/0"], "0.0.0.0", "0.0.0.0:3", false);
}

#[test]
fn names_that_can_not_be_allowed_are_not_looked_up() {
    let knows = |hosts: &[&str], host| Allow::new(hosts).unwrap().knows(host, 80);
    assert!(!knows(&[], "api.example.com") && !knows(&["b.example"], "a.example"));
    assert!(knows(&["*.example"], "a.example") && knows(&[], "localhost") && knows(&["10.0.0.0/8"], "a.example"));
}

#[test]
fn squall_itself_is_not_allowed() {
    let _open = crate::proxy::net::own::OwnPort::new("127.0.0.1:4".parse().unwrap());
    check(&["loopback", "0.0.0.0/0"], "127.0.0.1", "127.0.0.1:4", false);
    check(&["loopback"], "127.0.0.1", "127.0.0.1:5", true);
}

#[test]
fn mistakes() {
    let mistake = |host: &str| Allow::new(&[host]).unwrap_err()[0].1.clone();
    assert!(mistake("http://a.example/x").contains("use `a.example`"));
    assert!(mistake("a.example:x").contains("not a valid port"));
    assert!(mistake("a b").contains("not a host"));
    assert!(mistake("").contains("not a host"));
}
