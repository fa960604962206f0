use super::*;

#[test]
fn origins_are_matched_by_scheme_host_and_port() {
    let matches = |pattern: &str, origin: &str| pattern.parse::<Origin>().unwrap().matches(origin);
    for (pattern, origin) in [
        ("*", "https://a.example"),
        ("*", "null"),
        ("null", "null"),
        ("https://a.example", "https://a.example"),
        ("https://A.Example/", "https://a.example"),
        ("https://a.example:443", "https://a.example"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://localhost:*", "http://localhost:5173"),
        ("http://localhost:*", "http://localhost"),
        ("https://*.example.com", "https://a.b.example.com"),
        ("https://*", "https://a.example"),
        ("http://*:8080", "http://a.example:8080"),
        ("http://[::1]:5173", "http://[::1]:5173"),
        ("http://[::1]", "http://[::1]"),
        ("tauri://localhost", "tauri://localhost"),
        ("chrome-extension://*", "chrome-extension://abcdef"),
    ] {
        assert!(matches(pattern, origin), "{pattern} {origin}");
    }
    for (pattern, origin) in [
        ("null", "https://a.example"),
        ("https://a.example", "http://a.example"),
        ("https://a.example", "https://a.example:8443"),
        ("https://a.example", "https://a.example.evil.example"),
        ("https://a.example", "https://b.a.example"),
        ("https://*.example.com", "https://example.com"),
        ("https://*.example.com", "https://evil-example.com"),
        ("https://*.example.com", "https://a.example.com.evil.example"),
        ("http://localhost:5173", "http://localhost:51730"),
        ("http://localhost:5173", "http://localhost"),
        ("http://[::1]", "http://[::1]:80"),
        ("https://*", "null"),
        ("https://*", "a.example"),
        // No browser sends these.
        ("http://localhost:*", "http://localhost:3000.evil.example"),
        ("http://localhost:*", "http://localhost:"),
        ("https://*.example.com", "https://evil.example/.example.com"),
        ("https://*.example.com", "https://user@a.example.com"),
        ("https://*", "https://evil.example/path"),
    ] {
        assert!(!matches(pattern, origin), "{pattern} {origin}");
    }
}

#[test]
fn mistakes_say_what_to_write() {
    let error = |text: &str| text.parse::<Origin>().unwrap_err();
    assert!(error("a.example").contains("write `https://a.example`"));
    assert!(error("localhost:3000").contains("write `http://localhost:3000`"));
    assert!(error("https://a.example/app/").contains("write `https://a.example`"));
    assert!(error("https://a.example?x").contains("write `https://a.example`"));
    for bad in [
        "",
        "https://",
        "https://:80",
        "https://*.",
        "https://a*.example",
        "https://*.*.example",
        "https://user@a.example",
        "https://a.example:x",
        "https://a.example:65536",
        "://a",
        "1a://b",
        "https://ä.example",
        "https://a b",
    ] {
        assert!(bad.parse::<Origin>().is_err(), "{bad}");
    }
}

#[test]
fn patterns_are_written_as_they_are_read() {
    for text in [
        "*",
        "null",
        "https://a.example",
        "http://localhost:*",
        "https://*.example.com:8443",
        "http://*",
    ] {
        assert_eq!(text.parse::<Origin>().unwrap().to_string(), text);
    }
}
