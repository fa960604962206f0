//! Hides secrets of requests where the journal is shown.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::kept::KeptHead;

/// What stands for a secret.
const HIDDEN: &str = "***";

/// Parts of the names of fields and parameters for secrets, in lower case.
const PARTS: [&str; 12] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "password",
    "passwd",
    "credential",
    "key",
    "session",
    "signature",
    "csrf",
    "jwt",
];

/// Names that are secrets' only as a whole word, such as in `x-auth`.
const WORDS: [&str; 5] = ["auth", "sig", "pwd", "pass", "otp"];

/// Names that contain `key`, and are none.
const PUBLIC: [&str; 2] = ["idempotency-key", "sec-websocket-key"];

/// Whether a name is that of a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let mut words = name.split(|one: char| !one.is_ascii_alphanumeric());
    !PUBLIC.contains(&name.as_str())
        && (PARTS.iter().any(|part| name.contains(part)) || words.any(|word| WORDS.contains(&word)))
}

/// The value of a header field, for showing.
pub(super) fn field(name: &str, value: &[u8]) -> String {
    if is_secret(name) {
        return HIDDEN.to_owned();
    }
    let value = String::from_utf8_lossy(value);
    match name {
        // They are URLs of other requests, whose queries are no safer.
        "referer" | "location" | "origin" => target(&value),
        _ => value.into_owned(),
    }
}

/// A target or a URL, for showing: without the values of parameters that are secrets.
pub(super) fn target(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return target.to_owned();
    };
    let pairs: Vec<Cow<'_, str>> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret(&decoded(name)) => format!("{name}={HIDDEN}").into(),
            _ => pair.into(),
        })
        .collect();
    format!("{path}?{}", pairs.join("&"))
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Hides the secrets of a head in a sentence about it, where values stand between backticks.
pub(super) fn sentence(head: &KeptHead, text: &str) -> String {
    let mut text = text.to_owned();
    let mut hide = |value: &str| {
        if !value.is_empty() {
            text = text.replace(&format!("`{value}`"), &format!("`{HIDDEN}`"));
        }
    };
    head.with((None, ""), &[], |head| {
        for (name, value) in head.headers {
            if is_secret(name.as_str()) {
                hide(&String::from_utf8_lossy(value.as_bytes()));
            }
        }
        for (_, value) in head.cookies() {
            hide(&value);
        }
        for (name, value) in head.query() {
            if is_secret(&name) {
                hide(&value);
            }
        }
    });
    text
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in [
            "Authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "X-Auth",
            "x-amz-security-token",
            "client_secret",
            "sig",
            "PASSWORD",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "idempotency-key",
            "host",
            "author",
            "x-design",
            "traceparent",
            "user-agent",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn values_of_secrets_are_hidden() {
        assert_eq!(
            target("/a?x=1&token=t0p&api%5Fkey=k&b"),
            "/a?x=1&token=***&api%5Fkey=***&b"
        );
        assert_eq!(target("/a"), "/a");
        assert_eq!(field("x-api-key", b"k"), "***");
        assert_eq!(field("referer", b"http://a/?token=t"), "http://a/?token=***");
        assert_eq!(field("accept", b"text/plain"), "text/plain");
    }

    #[test]
    fn sentences_about_secrets_tell_none() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer abc".parse().unwrap());
        headers.insert("cookie", "sid=s3cret".parse().unwrap());
        let head = KeptHead::new(&Method::GET, "/?token=t%20t", None, &headers);
        let text = "a `Bearer abc`, `s3cret`, `t t` and `/`";
        assert_eq!(sentence(&head, text), "a `***`, `***`, `***` and `/`");
    }
}
