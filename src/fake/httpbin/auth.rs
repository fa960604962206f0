//! Authentication: basic, bearer and digest (RFC 7616).

use axum::response::Response;
use http::StatusCode;
use http::header::WWW_AUTHENTICATE;
use md5::{Digest as _, Md5};
use ring::digest;
use serde_json::json;

use super::request::HttpbinRequest;
use super::response::{cookie, empty, header, reply};
use super::status;
use crate::fake::made_up::dice::Dice;
use crate::fake::reply::basic_credentials;

/// The realm of httpbin's challenges.
const REALM: &str = "me@kennethreitz.com";

/// Basic authentication. `refusal` is the status for a wrong or missing name and password.
pub(super) fn basic(request: &HttpbinRequest, user: &str, password: &str, refusal: u16) -> Response {
    let shown = request
        .header("authorization")
        .and_then(|text| basic_credentials(&text));
    if shown.is_some_and(|shown| shown == format!("{user}:{password}").as_bytes()) {
        return reply(StatusCode::OK, &json!({"authenticated": true, "user": user}));
    }
    status::response(refusal)
}

pub(super) fn bearer(request: &HttpbinRequest) -> Response {
    match request
        .header("authorization")
        .as_deref()
        .and_then(|text| text.strip_prefix("Bearer "))
    {
        Some(token) => reply(StatusCode::OK, &json!({"authenticated": true, "token": token})),
        None => header(empty(StatusCode::UNAUTHORIZED), WWW_AUTHENTICATE, "Bearer"),
    }
}

/// What a digest route asks for.
pub(super) struct Wanted<'a> {
    pub(super) qop: &'a str,
    pub(super) user: &'a str,
    pub(super) password: &'a str,
    pub(super) algorithm: &'a str,
    pub(super) stale_after: &'a str,
}

/// A challenge until the credentials are right. The state (how often a nonce may still be used) is in cookies, as in
/// httpbin: `stale_after`, `last_nonce` and `fake`.
pub(super) fn digest_auth(request: &HttpbinRequest, wanted: &Wanted<'_>, dice: &mut Dice) -> Response {
    let cookie_wanted = request
        .parameter("require-cookie")
        .is_some_and(|value| ["1", "t", "true"].contains(&value.to_ascii_lowercase().as_str()));
    let credentials = request
        .header("authorization")
        .and_then(|text| Credentials::parse(&text));
    let Some(credentials) = credentials.filter(|_| !cookie_wanted || request.headers.contains_key("cookie")) else {
        let response = cookie(challenge(wanted, dice, false), "stale_after", wanted.stale_after);
        return cookie(response, "fake", "fake_value");
    };
    if cookie_wanted && request.cookie("fake").as_deref() != Some("fake_value") {
        let problem = json!({"errors": ["missing cookie set on challenge"]});
        return cookie(reply(StatusCode::FORBIDDEN, &problem), "fake", "fake_value");
    }
    let nonce = credentials.get("nonce").unwrap_or_default();
    let left = request.cookie("stale_after");
    let stale = request.cookie("last_nonce").as_deref() == Some(nonce) || left.as_deref() == Some("0");
    if stale || !credentials.answer(request, wanted) {
        let response = cookie(challenge(wanted, dice, stale), "stale_after", wanted.stale_after);
        return cookie(cookie(response, "last_nonce", nonce), "fake", "fake_value");
    }
    let response = cookie(
        reply(StatusCode::OK, &json!({"authenticated": true, "user": wanted.user})),
        "fake",
        "fake_value",
    );
    match left {
        Some(left) if !left.is_empty() => {
            let next = left
                .parse::<i64>()
                .map_or("never".to_owned(), |left| left.saturating_sub(1).to_string());
            cookie(response, "stale_after", &next)
        }
        _ => response,
    }
}

fn challenge(wanted: &Wanted<'_>, dice: &mut Dice, stale: bool) -> Response {
    let algorithm = known(wanted.algorithm);
    let nonce = hash(algorithm, &dice.throw().to_le_bytes());
    let opaque = hash(algorithm, &dice.throw().to_le_bytes());
    let qop = if ["auth", "auth-int"].contains(&wanted.qop) {
        wanted.qop
    } else {
        "auth, auth-int"
    };
    let stale = if stale { "True" } else { "False" };
    let text = format!(
        "Digest realm=\"{REALM}\", nonce=\"{nonce}\", opaque=\"{opaque}\", qop=\"{qop}\", algorithm={algorithm}, stale={stale}"
    );
    header(empty(StatusCode::UNAUTHORIZED), WWW_AUTHENTICATE, &text)
}

/// MD5 stands in for what is unknown.
fn known(algorithm: &str) -> &str {
    if ["SHA-256", "SHA-512"].contains(&algorithm) {
        algorithm
    } else {
        "MD5"
    }
}

fn hash(algorithm: &str, data: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match algorithm {
        "SHA-256" => hex(digest::digest(&digest::SHA256, data).as_ref()),
        "SHA-512" => hex(digest::digest(&digest::SHA512, data).as_ref()),
        _ => hex(&Md5::digest(data)),
    }
}

/// The parameters of an `Authorization: Digest`.
struct Credentials(Vec<(String, String)>);

impl Credentials {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let (mut all, mut piece, mut quoted) = (Vec::new(), String::new(), false);
        for letter in rest.chars().chain([',']) {
            match letter {
                '"' => quoted = !quoted,
                ',' if !quoted => {
                    if let Some((key, value)) = piece.split_once('=') {
                        all.push((key.trim().to_owned(), value.trim().to_owned()));
                    }
                    piece.clear();
                }
                _ => piece.push(letter),
            }
        }
        (!all.is_empty()).then_some(Self(all))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Whether the response is the right one (RFC 7616, section 3.4.1). The realm and the nonce are the client's word.
    fn answer(&self, request: &HttpbinRequest, wanted: &Wanted<'_>) -> bool {
        let algorithm = self.get("algorithm").unwrap_or("MD5");
        let get = |name| self.get(name).unwrap_or_default();
        let first = hash(
            algorithm,
            format!("{}:{}:{}", get("username"), get("realm"), wanted.password).as_bytes(),
        );
        let mut second = format!("{}:{}", request.method, request.target);
        if self.get("qop") == Some("auth-int") {
            second = format!("{second}:{}", hash(algorithm, &request.body));
        }
        let second = hash(algorithm, second.as_bytes());
        let joined = match self.get("qop") {
            None => format!("{first}:{}:{second}", get("nonce")),
            Some(qop) => format!(
                "{first}:{}:{}:{}:{qop}:{second}",
                get("nonce"),
                get("nc"),
                get("cnonce")
            ),
        };
        get("username") == wanted.user && self.get("response") == Some(hash(algorithm, joined.as_bytes()).as_str())
    }
}
