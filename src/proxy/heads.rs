//! Keeps heads as they were sent, where Pingora would move fields about or write its own.
//!
//! Fields of one name stay together, behind the first of them: that is how a header map keeps them, and the meaning is the
//! same (RFC 9110, section 5.3).

pub(super) mod http10;
pub(super) mod own;

use std::collections::HashMap;

use http::Version;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use super::connection::Connection;
use own::Own;

/// What a connection's fields are on HTTP/1, and what must not be sent over HTTP/2 (RFC 9113, section 8.2.2).
const OF_THE_CONNECTION: [HeaderName; 5] = [
    TRANSFER_ENCODING,
    CONNECTION,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Puts a request to an upstream right, after Pingora has removed the fields of the connection, which moves others:
/// the fields are in the order of `original` again, new ones behind them.
pub(super) fn restore_request(original: &RequestHeader, request: &mut RequestHeader) -> Result<()> {
    let http2 = request.version == Version::HTTP_2;
    if !http2 {
        if original.version == Version::HTTP_2 {
            join_cookies(request)?;
        }
        restore_chunked(original, request)?;
    }
    if is_in_order(original, request, http2) {
        return Ok(());
    }
    let mut places: HashMap<&HeaderName, usize> = HashMap::with_capacity(original.headers.len());
    for (place, name) in original.headers.keys().enumerate() {
        places.insert(name, place);
    }
    let place = |name: &HeaderName| match name {
        // Pingora is going to remove it, and fills the gap with what is last.
        name if http2 && *name == HOST => usize::MAX,
        name => places.get(name).copied().unwrap_or(usize::MAX - 1),
    };
    let names: Vec<HeaderName> = request.headers.keys().cloned().collect();
    if request.has_case() {
        let mut fields: Vec<_> = request
            .headers
            .keys()
            .flat_map(|name| std::iter::repeat_n(place(name), request.headers.get_all(name).iter().count()))
            .zip(
                request
                    .case_header_iter()
                    .map(|(name, value)| (name.clone(), value.clone())),
            )
            .collect();
        fields.sort_by_key(|(place, _)| *place);
        names.iter().for_each(|name| drop(request.remove_header(name)));
        for (_, (name, value)) in fields {
            request.append_header(name, value)?;
        }
    } else {
        let mut fields: Vec<_> = request
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        fields.sort_by_key(|(name, _)| place(name));
        names.iter().for_each(|name| drop(request.remove_header(name)));
        for (name, value) in fields {
            request.append_header(name, value)?;
        }
    }
    Ok(())
}

/// Whether the fields that both have come in the same order, and a `Host` that HTTP/2 does without is the last.
fn is_in_order(original: &RequestHeader, request: &RequestHeader, http2: bool) -> bool {
    let mut left = request.headers.keys().peekable();
    for name in original.headers.keys() {
        left.next_if_eq(&name);
    }
    let all_passed = left.all(|name| !original.headers.contains_key(name));
    let host = request.headers.keys().position(|name| http2 && *name == HOST);
    all_passed && host.is_none_or(|place| place + 1 == request.headers.keys_len())
}

/// Cookies may come as one field each over HTTP/2 alone (RFC 9113, section 8.2.3).
fn join_cookies(request: &mut RequestHeader) -> Result<()> {
    let cookies: Vec<&[u8]> = request
        .headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if cookies.len() < 2 {
        return Ok(());
    }
    let joined = cookies.join(&b"; "[..]);
    request.insert_header(COOKIE, joined)
}

/// Pingora would put the field back at the end.
fn restore_chunked(original: &RequestHeader, request: &mut RequestHeader) -> Result<()> {
    let chunked = original.headers.get(TRANSFER_ENCODING);
    if chunked.is_none_or(|value| !value.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || request.headers.contains_key(TRANSFER_ENCODING)
        || request.headers.contains_key(CONTENT_LENGTH)
    {
        return Ok(());
    }
    let written = original
        .case_header_iter()
        .find(|(name, _)| {
            name.as_slice()
                .eq_ignore_ascii_case(TRANSFER_ENCODING.as_str().as_bytes())
        })
        .map(|(name, value)| (name.clone(), value.clone()));
    if let Some((name, value)) = written {
        request.append_header(name, value)?;
    }
    Ok(())
}

/// Gives a request from an HTTP/1.0 client the `Host` that later versions demand, if it has none.
pub(super) fn complete_host(request: &mut RequestHeader, upstream: &str) -> Result<()> {
    let origin_form = request.raw_path().starts_with(b"/") && request.uri.authority().is_none();
    if !origin_form || request.headers.contains_key(HOST) {
        return Ok(());
    }
    let host = if upstream.starts_with("unix:") {
        "localhost"
    } else {
        upstream
    };
    request.insert_header(HOST, host)
}

/// Whether the client waits for leave to send its body (RFC 9110, section 10.1.1).
pub(super) fn expects_continue(request: &RequestHeader) -> bool {
    let expect = request.headers.get(EXPECT);
    request.version == Version::HTTP_11
        && expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Whether an upgrade is to be passed on as it was asked for. Not one to HTTP/2: rules meet requests, which squall could
/// not see any more in what follows.
pub(super) fn passes_upgrade(request: &RequestHeader) -> bool {
    let upgrade = request.headers.get(UPGRADE);
    upgrade.is_some_and(|value| !value.as_bytes().to_ascii_lowercase().starts_with(b"h2"))
}

/// Lets an upstream's response leave as it is: over HTTP/2 without the fields of the connection, which Pingora would
/// remove with others moved about; over HTTP/1 with the fields that Pingora would overwrite.
pub(super) fn keep_own(session: &Session, response: &mut ResponseHeader) -> Result<()> {
    let client = session.req_header().version;
    if client == Version::HTTP_2 {
        return OF_THE_CONNECTION.iter().try_for_each(|name| remove(response, name));
    }
    if !response.status.is_informational()
        && let Some(connection) = Connection::of(session)
    {
        connection.set_own(Some(Own::of(client, response)));
    }
    Ok(())
}

/// To be called at a request's start: the head that was prepared last may never have been sent.
pub(super) fn forget_own(session: &Session) {
    if let Some(connection) = Connection::of(session) {
        connection.set_own(None);
    }
}

/// Removes a field; the others keep their order.
fn remove(response: &mut ResponseHeader, unwanted: &HeaderName) -> Result<()> {
    let Some(place) = response.headers.keys().position(|name| name == unwanted) else {
        return Ok(());
    };
    // Whatever is last fills a gap: a gap that only moves on to the end harms nobody.
    let behind: Vec<HeaderName> = response.headers.keys().skip(place + 1).cloned().collect();
    let fields: Vec<_> = behind
        .iter()
        .flat_map(|name| {
            response
                .headers
                .get_all(name)
                .iter()
                .map(move |value| (name, value.clone()))
        })
        .collect();
    let cases: Vec<_> = response
        .case_header_iter()
        .skip(response.headers.len() - fields.len())
        .map(|(name, _)| name.clone())
        .collect();
    response.remove_header(unwanted);
    behind.iter().for_each(|name| drop(response.remove_header(name)));
    let mut cases = cases.into_iter();
    for (name, value) in fields {
        match cases.next() {
            Some(case) => response.append_header(case, value)?,
            None => response.append_header(name, value)?,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(version: Version, fields: &[(&'static str, &'static str)]) -> RequestHeader {
        let mut request = match version {
            Version::HTTP_2 => RequestHeader::build_no_case("GET", b"/", None).unwrap(),
            _ => RequestHeader::build("GET", b"/", None).unwrap(),
        };
        request.set_version(version);
        for (name, value) in fields {
            request.append_header(*name, *value).unwrap();
        }
        request
    }

    fn wire(request: &RequestHeader) -> String {
        let mut bytes = Vec::new();
        request.header_to_h1_wire(&mut bytes);
        String::from_utf8(bytes).unwrap().replace("\r\n", "|")
    }

    fn names(head: &http::HeaderMap) -> Vec<&str> {
        head.keys().map(HeaderName::as_str).collect()
    }

    const FIELDS: [(&str, &str); 6] = [
        ("hOst", "a"),
        ("x-one", "1"),
        ("Connection", "keep-alive"),
        ("X-oNe", "2"),
        ("accept", "*/*"),
        ("X-Last", "3"),
    ];

    #[test]
    fn fields_get_their_order_and_their_case_back() {
        let original = request(Version::HTTP_11, &FIELDS);
        let mut sent = original.clone();
        sent.remove_header(&CONNECTION);
        sent.append_header("X-New", "4").unwrap();
        assert_eq!(wire(&sent), "hOst: a|x-one: 1|X-oNe: 2|X-Last: 3|accept: */*|X-New: 4|");
        restore_request(&original, &mut sent).unwrap();
        let restored = "hOst: a|x-one: 1|X-oNe: 2|accept: */*|X-Last: 3|X-New: 4|";
        assert_eq!(wire(&sent), restored);
        restore_request(&original, &mut sent).unwrap();
        assert_eq!(wire(&sent), restored);
    }

    #[test]
    fn the_host_can_leave_a_request_over_http2_without_a_gap() {
        let original = request(Version::HTTP_11, &FIELDS);
        let mut sent = original.clone();
        sent.remove_header(&CONNECTION);
        sent.set_version(Version::HTTP_2);
        restore_request(&original, &mut sent).unwrap();
        sent.remove_header(&HOST);
        assert_eq!(names(&sent.headers), ["x-one", "accept", "x-last"]);
    }

    #[test]
    fn chunked_stays_where_and_as_it_was() {
        let fields = [
            ("Host", "a"),
            ("transfer-Encoding", "Chunked"),
            ("TE", "trailers"),
            ("X-Last", "3"),
        ];
        let original = request(Version::HTTP_11, &fields);
        let mut sent = original.clone();
        sent.remove_header(&TRANSFER_ENCODING);
        sent.remove_header("te");
        restore_request(&original, &mut sent).unwrap();
        assert_eq!(wire(&sent), "Host: a|transfer-Encoding: Chunked|X-Last: 3|");
    }

    #[test]
    fn cookies_become_one_field_on_the_way_to_http1() {
        let original = request(
            Version::HTTP_2,
            &[("cookie", "a=1"), ("te", "trailers"), ("x", "y"), ("cookie", "b=2")],
        );
        let mut sent = original.clone();
        restore_request(&original, &mut sent).unwrap();
        assert_eq!(sent.headers.get_all(COOKIE).iter().count(), 2);
        sent.set_version(Version::HTTP_11);
        sent.remove_header("te");
        restore_request(&original, &mut sent).unwrap();
        assert_eq!(sent.headers[COOKIE], "a=1; b=2");
        assert_eq!(names(&sent.headers), ["cookie", "x"]);
    }

    #[test]
    fn a_host_is_made_up_only_where_there_is_none() {
        let mut old = request(Version::HTTP_10, &[]);
        complete_host(&mut old, "10.0.0.1:80").unwrap();
        assert_eq!(old.headers[HOST], "10.0.0.1:80");
        complete_host(&mut old, "10.0.0.2:80").unwrap();
        assert_eq!(old.headers[HOST], "10.0.0.1:80");
        let mut old = request(Version::HTTP_10, &[]);
        complete_host(&mut old, "unix:/run/app.sock").unwrap();
        assert_eq!(old.headers[HOST], "localhost");
        let mut absolute = RequestHeader::build("GET", b"http://elsewhere/", None).unwrap();
        complete_host(&mut absolute, "10.0.0.1:80").unwrap();
        assert!(!absolute.headers.contains_key(HOST));
    }

    #[test]
    fn upgrades_to_http2_are_not_passed_on() {
        for (upgrade, passes) in [("websocket", true), ("tcp", true), ("h2c", false), ("H2C", false)] {
            assert_eq!(
                passes_upgrade(&request(Version::HTTP_11, &[("Upgrade", upgrade)])),
                passes
            );
        }
        assert!(!passes_upgrade(&request(Version::HTTP_11, &[])));
    }

    proptest! {
        /// Whatever Pingora takes out of a request: the rest is in the order in which it came.
        #[test]
        fn any_order_is_restored(
            fields in prop::collection::vec(0_usize..12, 0..20),
            removed in prop::collection::vec(0_usize..12, 0..5),
            version in prop::sample::select(vec![Version::HTTP_11, Version::HTTP_2]),
        ) {
            const NAMES: [&str; 12] = ["host", "B", "c", "d", "E", "f", "g", "h", "i", "j", "k", "l"];
            let fields: Vec<_> = fields.iter().map(|at| (NAMES[*at], "v")).collect();
            let original = request(Version::HTTP_11, &fields);
            let mut sent = original.clone();
            removed.iter().for_each(|at| drop(sent.remove_header(NAMES[*at])));
            sent.set_version(version);
            restore_request(&original, &mut sent).unwrap();
            if version == Version::HTTP_2 {
                sent.remove_header(&HOST);
            }
            let gone = |name: &str| removed.iter().any(|at| NAMES[*at].eq_ignore_ascii_case(name))
                || version == Version::HTTP_2 && name == "host";
            let kept: Vec<_> = names(&original.headers).into_iter().filter(|name| !gone(name)).collect();
            prop_assert_eq!(names(&sent.headers), kept);
        }

        #[test]
        fn a_removed_field_moves_no_other(
            fields in prop::collection::vec(0_usize..8, 0..16),
            removed in 0_usize..8,
            case: bool,
        ) {
            const NAMES: [&str; 8] = ["A", "b", "C", "d", "e", "f", "g", "h"];
            let build = if case { ResponseHeader::build } else { ResponseHeader::build_no_case };
            let fields_of = |skip: Option<usize>| {
                let mut head = build(http::StatusCode::OK, None).unwrap();
                for (number, at) in fields.iter().enumerate().filter(|(_, at)| Some(**at) != skip) {
                    head.append_header(NAMES[*at], number.to_string()).unwrap();
                }
                head
            };
            let wire = |head: &ResponseHeader| {
                let mut bytes = Vec::new();
                head.header_to_h1_wire(&mut bytes);
                bytes
            };
            let mut head = fields_of(None);
            remove(&mut head, &HeaderName::from_bytes(NAMES[removed].as_bytes()).unwrap()).unwrap();
            prop_assert_eq!(wire(&head), wire(&fields_of(Some(removed))));
        }
    }
}
