use proptest::prelude::*;

use super::*;

fn request(text: &str) -> Result<RequestHeader, Malformed> {
    parse_request(&mut BytesMut::from(text)).map(|head| head.expect("a whole head"))
}

fn written(head: &RequestHeader) -> String {
    let mut buffer = BytesMut::new();
    write_request(head, &mut buffer, |_| Fate::Pass, &[]);
    String::from_utf8(buffer.to_vec()).unwrap()
}

#[test]
fn a_request_passes_as_it_is() {
    for text in [
        "GET /a%2Fb?x=+%20 HTTP/1.1\r\nhOst: test:80\r\nX-UPPER: A\r\nx-lower: b\r\nX-Empty: \r\n\r\n",
        "M-SEARCH * HTTP/1.1\r\nHost: test\r\nMAN: \"ssdp\"\r\n\r\n",
        "GET //double//./.. HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n\r\n",
    ] {
        assert_eq!(written(&request(text).unwrap()), text);
    }
}

#[test]
fn bytes_after_a_head_stay() {
    let mut input = BytesMut::from("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nbody");
    assert!(parse_request(&mut input).unwrap().is_some());
    assert_eq!(&input[..], b"body");
    let mut input = BytesMut::from("GET / HTTP/1.1\r\nHost: a\r\n");
    assert!(parse_request(&mut input).unwrap().is_none());
    assert_eq!(input.len(), 25);
}

/// RFC 9112, section 3.2.1: an origin gets a path.
#[test]
fn a_target_that_names_its_host_becomes_a_path() {
    let head = request("GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(written(&head).starts_with("GET /b?c HTTP/1.1\r\n"));
    let head = request("GET http://a:81/ HTTP/1.1\r\nHost: b\r\n\r\n").unwrap();
    assert_eq!(head.headers["host"], "a:81", "RFC 9112, section 3.2.2");
    for host in ["", "a", "a:", "a:80", "[::1]", "[::1]:80", "a_b.example", "127.0.0.1:1"] {
        assert!(
            request(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_ok(),
            "{host}"
        );
    }
    let head = request("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(written(&head).starts_with("GET / HTTP/1.1\r\n"));
}

#[test]
fn ambiguous_requests_are_refused() {
    for text in [
        "GET @evil/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET a/b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Host\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1]80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: :80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET gopher://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
        "GET /a b HTTP/1.2\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        assert_eq!(request(text).unwrap_err().status, 400, "{text:?}");
    }
    let mut long = BytesMut::from(&b"GET /"[..]);
    long.resize(MAX_HEAD + 1, b'a');
    assert_eq!(parse_request(&mut long).unwrap_err().status, 414);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
    assert_eq!(request(&many).unwrap_err().status, 431);
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "b".repeat(MAX_HEAD));
    assert_eq!(request(&large).unwrap_err().status, 431);
}

/// RFC 9110, sections 2.5 and 15.6.6.
#[test]
fn later_minor_versions_are_read_as_http_1_1() {
    let head = request("\r\nGET / HTTP/1.3\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(head.version, Version::HTTP_11);
    for version in ["HTTP/0.9", "HTTP/2.0", "HTTP/9.9"] {
        let text = format!("GET / {version}\r\nHost: a\r\n\r\n");
        assert_eq!(request(&text).unwrap_err().status, 505, "{version}");
    }
    let mut response = BytesMut::from(&b"HTTP/1.2 200 OK\r\n\r\n"[..]);
    assert_eq!(
        parse_response(&mut response).unwrap().unwrap().version,
        Version::HTTP_11
    );
}

/// RFC 9112, section 3.2.4.
#[test]
fn an_options_without_a_path_has_an_asterisk() {
    for (target, line) in [
        ("http://a", "OPTIONS * "),
        ("http://a/", "OPTIONS / "),
        ("http://a?b", "OPTIONS /?b "),
    ] {
        let head = request(&format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap();
        assert!(written(&head).starts_with(line), "{target}");
    }
}

/// RFC 9112, sections 2.2 and 8.
#[test]
fn a_connection_may_end_behind_empty_lines_only() {
    assert!(check_absent(b"").is_ok() && check_absent(b"\r\n\r\n").is_ok());
    assert!(check_absent(b"\r\nGET").is_err());
}

#[test]
fn a_length_beside_a_coding_does_not_count_and_ends_the_connection() {
    let text = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    let head = request(text).unwrap();
    assert!(!head.headers.contains_key(CONTENT_LENGTH));
    assert!(!keeps_alive(head.version, &head.headers));
}

#[test]
fn a_response_passes_as_it_is() {
    for text in [
        "HTTP/1.1 200 All is Well\r\nX-UPPER: A\r\nx-lower: b\r\n\r\n",
        "HTTP/1.1 299 \r\nServer: x\r\n\r\n",
    ] {
        let head = parse_response(&mut BytesMut::from(text)).unwrap().unwrap();
        let mut buffer = BytesMut::new();
        write_response(&head, &mut buffer, |_| Fate::Pass, &[]);
        assert_eq!(buffer, text);
    }
    let folded = "HTTP/1.0 200 OK\r\nA: b\r\n c\r\nD : e\r\n\r\n";
    let head = parse_response(&mut BytesMut::from(folded)).unwrap().unwrap();
    assert_eq!(head.version, Version::HTTP_10);
    assert_eq!(head.headers.len(), 2);
    assert!(parse_response(&mut BytesMut::from("HTTP-1.1 OK\r\n\r\n")).is_err());
}

#[test]
fn connections_go_on_as_their_version_says() {
    let alive = |version, value: Option<&'static str>| {
        let mut fields = HeaderMap::new();
        if let Some(value) = value {
            fields.insert(CONNECTION, HeaderValue::from_static(value));
        }
        keeps_alive(version, &fields)
    };
    let (old, new) = (Version::HTTP_10, Version::HTTP_11);
    assert!(alive(new, None) && !alive(old, None));
    assert!(alive(old, Some("Keep-Alive")) && alive(new, Some("upgrade")));
    assert!(!alive(new, Some("keep-alive, Close")) && !alive(old, Some("close")));
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
        let _any = parse_request(&mut BytesMut::from(&bytes[..]));
        let _any = parse_response(&mut BytesMut::from(&bytes[..]));
        let request = [b"GET / HTTP/1.1\r\n", &bytes[..], b"\r\n\r\n"].concat();
        let _any = parse_request(&mut BytesMut::from(&request[..]));
    }
}
